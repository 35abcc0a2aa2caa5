/* SPDX-License-Identifier: Apache-2.0 */
/* Properties of what a client may send: what is read is in the message, and every answer to it is a whole
 * message within its limit that says what it was told to. */
#include "tests/fuzz/fuzz.h"

#include "common/base/err.h"
#include "common/dns/dns_ldns.h"
#include "common/dns/dns_rr.h"

#include <stdlib.h>

#define ADDRS 40

static void require_inside(struct span msg, struct span part)
{
    REQUIRE(part.len == 0 || (part.data >= msg.data && part.data + part.len <= msg.data + msg.len));
}

static void require_fields(struct span msg, const struct dns_query *q, enum dns_rcode rcode)
{
    require_inside(msg, q->question);
    require_inside(msg, q->qname);
    REQUIRE(q->udp_size >= 512);
    REQUIRE(q->question.len == 0 || q->question.len == q->qname.len + 4);
    REQUIRE(q->has_opt || (!q->dnssec_ok && q->edns_version == 0 && q->udp_size == 512));
    REQUIRE(rcode != DNS_BADVERS || q->has_opt);
    REQUIRE(rcode != DNS_NOERROR || (q->qclass == DNS_IN && q->opcode == 0 && q->edns_version == 0));
}

/* The answer is a message that our own strict reader takes. */
static void require_whole(struct span answer, const struct dns_answer *a, size_t limit)
{
    const struct dns_query *q = a->query;
    struct cursor c = cursor_make(answer);
    struct dns_header h;
    struct dns_records found;
    REQUIRE(answer.len <= limit);
    dns_header_read(&c, &h);
    REQUIRE(cursor_is_ok(&c) && h.id == q->id && (h.flags & DNS_FLAG_QR) != 0 &&
            (h.flags & DNS_FLAG_RA) != 0);
    REQUIRE(dns_header_opcode(&h) == q->opcode && (h.flags & 0x0460U) == 0);
    REQUIRE(((h.flags & DNS_FLAG_RD) != 0) == q->rd && ((h.flags & DNS_FLAG_CD) != 0) == q->cd);
    REQUIRE(h.qd_count == (q->question.len > 0 ? 1 : 0));
    REQUIRE(span_is_equal(cursor_take(&c, q->question.len), q->question));
    REQUIRE(dns_records_walk(&c, &h, &found) && found.plain_count == 0);
    bool is_cut = (h.flags & DNS_FLAG_TC) != 0;
    size_t addr_count = q->question.len > 0 ? a->addr_count : 0;
    REQUIRE(is_cut || (h.an_count == addr_count && h.ns_count == (a->soa != NULL ? 1 : 0)));
    REQUIRE(h.an_count <= addr_count && !(found.has_opt && !q->has_opt) &&
            (is_cut || found.has_opt == q->has_opt));
    REQUIRE(!found.has_opt || (found.opt_do == q->dnssec_ok && found.opt_version == 0));
    uint32_t rcode = (uint32_t)found.opt_rcode << 4 | dns_header_rcode(&h);
    REQUIRE(rcode == (uint32_t)a->rcode || (a->rcode > 15 && !found.has_opt));
}

static void require_answer(const struct dns_answer *a, size_t limit)
{
    uint8_t *out = malloc(limit == 0 ? 1 : limit);
    REQUIRE(out != NULL);
    size_t len = dns_answer_build(a, out, limit);
    if (len > 0) {
        require_whole(span_make(out, len), a, limit);
    } else {
        REQUIRE(limit < DNS_HEADER_LEN + a->query->question.len);
    }
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span msg = span_make(data, size);
    struct dns_query q;
    enum dns_rcode rcode = DNS_NOERROR;
    enum dns_query_result result = dns_query_parse(msg, &q, &rcode);
    if (result == DNS_QUERY_DROP) {
        REQUIRE(size < DNS_HEADER_LEN || (data[2] & 0x80) != 0);
        return 0;
    }
    REQUIRE((result == DNS_QUERY_OK) == (rcode == DNS_NOERROR));
    require_fields(msg, &q, rcode);
    struct ip addrs[ADDRS];
    for (size_t i = 0; i < ADDRS; i++) {
        addrs[i] = ip_v4(192, 0, 2, (uint8_t)i);
        addrs[i].family = q.qtype == DNS_AAAA ? IP_V6 : IP_V4;
    }
    struct dns_soa_template soa;
    REQUIRE(dns_soa_template_build(&soa) == 0);
    struct dns_answer positive = {.query = &q, .addrs = addrs, .addr_count = ADDRS, .ede = DNS_EDE_FORGED};
    struct dns_answer negative = {.query = &q,
                                  .rcode = rcode == DNS_NOERROR ? DNS_NXDOMAIN : rcode,
                                  .soa = &soa,
                                  .ede = DNS_EDE_BLOCKED,
                                  .ede_text = "policy_denied"};
    const size_t limits[] = {size % 700, 512, q.udp_size < DNS_UDP_MAX ? q.udp_size : DNS_UDP_MAX,
                             DNS_MESSAGE_MAX};
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        require_answer(&positive, limits[i]);
        require_answer(&negative, limits[i]);
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Properties of what an upstream may say: whatever it is reduced to is consistent in itself, and a reply to
 * another question is none. The question asked is the one in the input, so that the rest gets read. */
#include "tests/fuzz/fuzz.h"

#include "common/base/err.h"
#include "common/dns/dns_rr.h"
#include "common/dns/dns_rrset.h"
#include "tests/support/dns_oracle.h"

static void require_sound(const struct dns_reply *r, uint16_t qtype)
{
    REQUIRE((r->addr_count > 0) == (r->kind == DNS_REPLY_ADDRS) && r->addr_count <= DNS_ADDRS_MAX);
    REQUIRE((r->target.len > 0) == (r->hop_count > 0 && r->kind != DNS_REPLY_ERROR));
    REQUIRE(r->ttl_s <= INT32_MAX);
    for (size_t i = 0; i < r->addr_count; i++) {
        REQUIRE(r->addrs[i].family == (qtype == DNS_A ? IP_V4 : IP_V6));
        for (size_t j = 0; j < i; j++) {
            REQUIRE(!ip_is_equal(&r->addrs[i], &r->addrs[j]));
        }
    }
    switch (r->kind) {
    case DNS_REPLY_MISMATCH:
    case DNS_REPLY_TRUNCATED:
        REQUIRE(r->hop_count == 0 && r->ttl_s == 0);
        break;
    case DNS_REPLY_ADDRS:
        REQUIRE(r->rcode == DNS_NOERROR && r->hop_count <= 8 && (qtype == DNS_A || qtype == DNS_AAAA));
        break;
    case DNS_REPLY_RECORDS:
        REQUIRE(r->rcode == DNS_NOERROR && r->hop_count <= 8 && dns_rrset_is_type(qtype));
        break;
    case DNS_REPLY_CNAME:
        REQUIRE(r->rcode == DNS_NOERROR && r->hop_count >= 1 && r->hop_count <= 8);
        break;
    case DNS_REPLY_NODATA:
        REQUIRE(r->rcode == DNS_NOERROR && r->hop_count <= 8);
        break;
    case DNS_REPLY_NXDOMAIN:
        REQUIRE(r->rcode == DNS_NXDOMAIN && r->hop_count <= 8);
        break;
    case DNS_REPLY_ERROR:
        REQUIRE(r->rcode != DNS_NOERROR && r->rcode != DNS_NXDOMAIN && r->ttl_s == 0);
        break;
    }
}

/* What is kept is within bounds, can be read again, and fills an answer without an error. */
static void require_sound_records(const struct dns_rrset *s, const struct dns_sent *sent)
{
    size_t at = 0;
    size_t count = 0;
    size_t bytes = 0;
    struct span rdata;
    struct dns_rrset again;
    dns_rrset_start(&again, s->qtype);
    REQUIRE(s->qtype == sent->qtype && s->len <= DNS_RRSET_CAP && s->count + s->left_out > 0);
    while (dns_rrset_next(s, &at, &rdata)) {
        struct dns_srv srv;
        count++;
        bytes += rdata.len;
        if (s->qtype == DNS_SRV) {
            dns_srv_read(rdata, &srv);
            REQUIRE(srv.target.len > 0 && rdata.len == 6U + srv.target.len + 2U);
        }
        dns_rrset_add(&again, rdata);
    }
    REQUIRE(count == s->count && at == s->len && count <= (s->qtype == DNS_SRV ? DNS_SRV_MAX : DNS_TXT_MAX));
    REQUIRE(s->qtype == DNS_SRV || bytes <= DNS_TXT_BYTES_MAX);
    REQUIRE(again.count == s->count && again.len == s->len && again.left_out == 0);
    REQUIRE(dns_rrset_size(s) <= sizeof *s);
}

static void require_other_questions_mismatch(struct span msg, const struct dns_sent *sent)
{
    struct dns_reply r;
    struct dns_sent other = *sent;
    other.id ^= 0x8000;
    dns_reply_parse(msg, &other, &r);
    REQUIRE(r.kind == DNS_REPLY_MISMATCH);
    other = *sent;
    other.qtype ^= 1;
    dns_reply_parse(msg, &other, &r);
    REQUIRE(r.kind == DNS_REPLY_MISMATCH ||
            (r.kind == DNS_REPLY_ERROR && msg.data[5] == 0)); /* a bare error */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span msg = span_make(data, size);
    struct dns_reply r;
    struct dns_sent fixed = {.id = 0x4242, .qtype = DNS_A, .qname = SPAN_LIT("\3www\7example\3com\0")};
    dns_reply_parse(msg, &fixed, &r);
    require_sound(&r, DNS_A);
    struct dns_sent sent;
    if (!oracle_sent_from(msg, &sent)) {
        return 0;
    }
    struct dns_rrset records;
    sent.records = &records;
    dns_reply_parse(msg, &sent, &r);
    require_sound(&r, sent.qtype);
    if (r.kind == DNS_REPLY_RECORDS) {
        require_sound_records(&records, &sent);
    }
    sent.records = NULL;
    require_other_questions_mismatch(msg, &sent);
    uint8_t folded[DNS_NAME_MAX];
    const uint8_t zeros[32] = {0};
    memcpy(folded, sent.qname.data, sent.qname.len);
    dns_wire_name_randomise(folded, sent.qname.len, zeros);
    sent.qname.data = folded;
    sent.exact_case = false; /* the case of what was sent changes nothing now */
    struct dns_reply again;
    dns_reply_parse(msg, &sent, &again);
    REQUIRE(again.kind == r.kind && again.addr_count == r.addr_count && again.ttl_s == r.ttl_s);
    return 0;
}

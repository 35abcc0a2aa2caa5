/* SPDX-License-Identifier: Apache-2.0 */
/* Properties of what an upstream may say: whatever it is reduced to is consistent in itself, and a reply to
 * another question is none. The question asked is the one in the input, so that the rest gets read. */
#include "tests/fuzz/fuzz.h"

#include "common/base/err.h"
#include "common/dns/dns_rr.h"
#include "tests/support/dns_oracle.h"

static void require_sound(const struct dns_reply *r, uint16_t qtype)
{
    REQUIRE((r->addr_count > 0) == (r->kind == DNS_REPLY_ADDRS) && r->addr_count <= DNS_ADDRS_MAX);
    REQUIRE((r->target.len > 0) == (r->kind == DNS_REPLY_CNAME));
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
    dns_reply_parse(msg, &sent, &r);
    require_sound(&r, sent.qtype);
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

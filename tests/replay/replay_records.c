/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/replay/replay_records.h"

#include "common/base/buf.h"
#include "common/base/num.h"
#include "common/dns/dns_rr.h"

uint16_t replay_type(const struct replay_line *w, size_t i)
{
    static const struct {
        const char *word;
        uint16_t qtype;
    } types[] = {{"A", DNS_A}, {"AAAA", DNS_AAAA}, {"SRV", DNS_SRV}, {"TXT", DNS_TXT}};
    const char *word = replay_word(w, i);
    for (size_t k = 0; k < sizeof(types) / sizeof(types[0]); k++) {
        if (replay_is(word, types[k].word)) {
            return types[k].qtype;
        }
    }
    replay_fail(w, "A, AAAA, SRV or TXT, not %s", word);
}

void replay_add_record(const struct replay_line *w, const char *word, struct dns_rrset *out)
{
    uint8_t bytes[6 + DNS_NAME_MAX];
    struct wbuf b = wbuf_make(bytes, sizeof bytes);
    const struct span text = span_str(word);
    if (out->qtype == DNS_TXT) {
        wbuf_u8(&b, (uint8_t)text.len);
        wbuf_put(&b, text);
        dns_rrset_add(out, wbuf_span(&b));
        return;
    }
    const char *colon = strrchr(word, ':');
    const size_t at = colon == NULL ? text.len : (size_t)(colon - word);
    struct host_name target;
    uint64_t port = 0;
    uint8_t wire[DNS_NAME_MAX];
    if (colon == NULL || host_name_parse(span_sub(text, 0, at), &target) != HOST_FAULT_NONE ||
        num_u64(span_sub(text, at + 1, text.len - at - 1), 0, UINT16_MAX, &port) != 0) {
        replay_fail(w, "%s is no HOST:PORT", word);
    }
    wbuf_u32(&b, 0); /* priority, weight */
    wbuf_u16(&b, (uint16_t)port);
    const size_t len = host_name_to_wire(&target, wire);
    wbuf_put(&b, span_make(wire, len));
    dns_rrset_add(out, wbuf_span(&b));
}

void replay_check_records(const struct replay_line *w, const struct dns_rrset *have,
                          const struct dns_rrset *want)
{
    if (have->qtype != want->qtype || have->count != want->count) {
        replay_fail(w, "it has %u records of type %u", have->count, have->qtype);
    }
    if (!span_is_equal(span_make(have->bytes, have->len), span_make(want->bytes, want->len))) {
        replay_fail(w, "it has other records, or in another order");
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/loop_guard.h"

#include "common/base/rng.h"

#define PREFIX "openshell-dnsd="
#define RANDOM_BYTES ((size_t)16)
#define MARKER_LEN (sizeof(PREFIX) - 1 + 2 * RANDOM_BYTES)

static const uint8_t wire_name[] = "\4loop\11openshell\7invalid"; /* and the root, which the compiler adds */

static struct span qname(void)
{
    return span_make(wire_name, sizeof(wire_name));
}

void loop_marker_init(struct loop_marker *m)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t bytes[RANDOM_BYTES];
    rng_bytes(bytes, sizeof(bytes));
    struct wbuf w = wbuf_make(m->text, sizeof(m->text) - 1);
    wbuf_str(&w, PREFIX);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        wbuf_u8(&w, (uint8_t)digits[bytes[i] >> 4]);
        wbuf_u8(&w, (uint8_t)digits[bytes[i] & 15]);
    }
    m->text[w.len] = '\0';
}

size_t loop_guard_query(uint16_t id, uint8_t out[LOOP_GUARD_QUERY_CAP])
{
    struct wbuf w = wbuf_make(out, LOOP_GUARD_QUERY_CAP);
    dns_query_build(&w, id, qname(), DNS_TXT, false);
    return w.len;
}

static bool is_marker(struct span text)
{
    struct span prefix = SPAN_LIT(PREFIX);
    if (text.len != MARKER_LEN || !span_is_equal(span_sub(text, 0, prefix.len), prefix)) {
        return false;
    }
    for (size_t i = prefix.len; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    return true;
}

enum loop_verdict loop_guard_judge(struct span reply, uint16_t id, const struct loop_marker *own)
{
    struct dns_rrset records;
    struct dns_reply r;
    dns_rrset_start(&records, DNS_TXT);
    const struct dns_sent sent = {.id = id, .qtype = DNS_TXT, .qname = qname(), .records = &records};
    dns_reply_parse(reply, &sent, &r);
    if (r.kind == DNS_REPLY_MISMATCH) {
        return LOOP_MISMATCH;
    }
    size_t at = 0;
    struct span rdata;
    if (r.kind != DNS_REPLY_RECORDS || records.count != 1 || !dns_rrset_next(&records, &at, &rdata) ||
        rdata.len != 1 + MARKER_LEN || rdata.data[0] != MARKER_LEN) {
        return LOOP_NONE;
    }
    struct span text = span_sub(rdata, 1, MARKER_LEN);
    if (!is_marker(text)) {
        return LOOP_NONE;
    }
    return own != NULL && span_is_equal(text, span_str(own->text)) ? LOOP_SELF : LOOP_OTHER;
}

bool loop_guard_is_question(const struct dns_query *q)
{
    return q->qtype == DNS_TXT && dns_wire_name_is_equal(q->qname, qname());
}

void loop_guard_records(const struct loop_marker *own, struct dns_rrset *out)
{
    uint8_t rdata[1 + MARKER_LEN] = {MARKER_LEN};
    memcpy(rdata + 1, own->text, MARKER_LEN);
    dns_rrset_start(out, DNS_TXT);
    dns_rrset_add(out, span_make(rdata, sizeof(rdata)));
}

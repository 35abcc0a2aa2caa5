/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_rrset.h"

#include "common/base/err.h"
#include "common/dns/dns_rr.h"

#define LENGTH_LEN 2
#define SRV_HEAD_LEN 6 /* priority, weight, port */

void dns_rrset_start(struct dns_rrset *s, uint16_t qtype)
{
    s->qtype = qtype;
    s->count = 0;
    s->left_out = 0;
    s->len = 0;
}

static void leave_out(struct dns_rrset *s)
{
    s->left_out = (uint16_t)(s->left_out + (s->left_out < UINT16_MAX));
}

static bool has_room(const struct dns_rrset *s, size_t len)
{
    if (s->qtype == DNS_TXT) {
        const size_t used = (size_t)s->len - LENGTH_LEN * (size_t)s->count;
        return s->count < DNS_TXT_MAX && used + len <= DNS_TXT_BYTES_MAX;
    }
    return s->count < DNS_SRV_MAX && s->len + LENGTH_LEN + len <= DNS_RRSET_CAP;
}

static bool has_record(const struct dns_rrset *s, struct span rdata)
{
    size_t at = 0;
    struct span known;
    while (dns_rrset_next(s, &at, &known)) {
        if (span_is_equal(known, rdata)) {
            return true;
        }
    }
    return false;
}

void dns_rrset_add(struct dns_rrset *s, struct span rdata)
{
    if (has_record(s, rdata)) {
        return; /* a set has each once (RFC 2181 5) */
    }
    if (!has_room(s, rdata.len)) {
        leave_out(s);
        return;
    }
    struct wbuf w = wbuf_make(s->bytes + s->len, sizeof s->bytes - s->len);
    wbuf_u16(&w, (uint16_t)rdata.len);
    wbuf_put(&w, rdata);
    REQUIRE(!w.overflow);
    s->len = (uint16_t)(s->len + w.len);
    s->count++;
}

/* The target may be compressed, as old servers do (RFC 2052 allowed it), and in any case. */
static void read_srv(struct dns_rrset *s, struct span msg, size_t rdata_at)
{
    uint8_t rdata[SRV_HEAD_LEN + DNS_NAME_MAX];
    struct cursor c = cursor_make(msg);
    struct dns_name name;
    struct host_name target;
    c.pos = rdata_at + SRV_HEAD_LEN;
    dns_name_read(&c, &name);
    if (!cursor_is_ok(&c) || host_name_from_wire(dns_name_span(&name), &target) != HOST_FAULT_NONE) {
        leave_out(s); /* nobody could be sent there */
        return;
    }
    memcpy(rdata, msg.data + rdata_at, SRV_HEAD_LEN);
    size_t len = host_name_to_wire(&target, rdata + SRV_HEAD_LEN);
    dns_rrset_add(s, span_make(rdata, SRV_HEAD_LEN + len));
}

void dns_rrset_read(struct dns_rrset *s, struct span msg, size_t rdata_at, size_t rdata_len)
{
    if (s->qtype == DNS_SRV) {
        read_srv(s, msg, rdata_at);
    } else {
        dns_rrset_add(s, span_sub(msg, rdata_at, rdata_len)); /* strings that the walk has counted */
    }
}

bool dns_rrset_next(const struct dns_rrset *s, size_t *at, struct span *rdata)
{
    struct cursor c = cursor_make(span_make(s->bytes, s->len));
    c.pos = *at;
    if (cursor_left(&c) == 0) {
        return false;
    }
    *rdata = cursor_take(&c, cursor_u16(&c));
    *at = c.pos;
    return cursor_is_ok(&c);
}

void dns_srv_read(struct span rdata, struct dns_srv *out)
{
    struct cursor c = cursor_make(rdata);
    out->priority = cursor_u16(&c);
    out->weight = cursor_u16(&c);
    out->port = cursor_u16(&c);
    struct span target = cursor_take(&c, cursor_left(&c));
    if (!CHECK(cursor_is_ok(&c) && host_name_from_wire(target, &out->target) == HOST_FAULT_NONE)) {
        *out = (struct dns_srv){0};
    }
}

size_t dns_rrset_size(const struct dns_rrset *s)
{
    return offsetof(struct dns_rrset, bytes) + s->len;
}

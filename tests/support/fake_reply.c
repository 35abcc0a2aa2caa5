/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_reply.h"

#include "common/base/buf.h"
#include "common/base/cursor.h"

#include <stdlib.h>

#define HEADER_LEN 12U
#define TYPE_A 1U
#define TYPE_CNAME 5U
#define TYPE_SOA 6U
#define TYPE_AAAA 28U
#define TYPE_OPT 41U
#define TYPE_TXT 16U

/* QNAME with its root, as wire bytes; empty if there is none. */
static struct span query_qname(struct span msg)
{
    struct cursor c = cursor_make(msg);
    cursor_skip(&c, HEADER_LEN);
    for (;;) {
        uint8_t len = cursor_u8(&c);
        if (!cursor_is_ok(&c) || len > 63) {
            return span_make(NULL, 0);
        }
        if (len == 0) {
            return span_sub(msg, HEADER_LEN, c.pos - HEADER_LEN);
        }
        cursor_skip(&c, len);
    }
}

bool fake_query_read(struct span msg, struct fake_query *out)
{
    *out = (struct fake_query){0};
    struct span qname = query_qname(msg);
    if (qname.len == 0 || host_name_from_wire(qname, &out->name) != HOST_FAULT_NONE) {
        return false;
    }
    for (size_t i = 0; i < qname.len; i++) {
        out->is_mixed_case = out->is_mixed_case || ascii_lower(qname.data[i]) != qname.data[i];
    }
    struct cursor c = cursor_make(msg);
    cursor_skip(&c, HEADER_LEN + qname.len);
    out->qtype = cursor_u16(&c);
    cursor_skip(&c, 2);
    if (cursor_left(&c) >= 11) {
        cursor_skip(&c, 1);
        out->has_opt = cursor_u16(&c) == TYPE_OPT;
    }
    return cursor_is_ok(&c);
}

static uint8_t turn_case(uint8_t b)
{
    bool is_letter = ascii_lower(b) >= 'a' && ascii_lower(b) <= 'z';
    return is_letter ? (uint8_t)(b ^ 0x20U) : b;
}

static void put_question(struct wbuf *w, const struct fake_reply *f, struct span qname, uint16_t qtype)
{
    for (size_t i = 0; i < qname.len; i++) {
        uint8_t b = qname.data[i];
        if (f->other_case) {
            b = turn_case(b);
        }
        if (f->lower_case) {
            b = ascii_lower(b);
        }
        if (f->bad_question && i == 1) {
            b = b == 'x' ? 'y' : 'x';
        }
        wbuf_u8(w, b);
    }
    wbuf_u16(w, qtype);
    wbuf_u16(w, 1);
}

/* Owner: the name asked by pointer, or the last CNAME written out. */
static void put_owner(struct wbuf *w, const struct fake_reply *f, size_t hops)
{
    if (hops == 0) {
        wbuf_u16(w, 0xC00C);
        return;
    }
    uint8_t wire[255];
    wbuf_put(w, span_make(wire, host_name_to_wire(&f->cnames[hops - 1], wire)));
}

static void put_answers(struct wbuf *w, const struct fake_reply *f)
{
    for (size_t i = 0; i < f->cname_count; i++) {
        uint8_t wire[255];
        size_t len = host_name_to_wire(&f->cnames[i], wire);
        put_owner(w, f, i);
        wbuf_u16(w, TYPE_CNAME);
        wbuf_u16(w, 1);
        wbuf_u32(w, f->ttl_s);
        wbuf_u16(w, (uint16_t)len);
        wbuf_put(w, span_make(wire, len));
    }
    for (size_t i = 0; i < f->addr_count; i++) {
        bool is_v4 = f->addrs[i].family == IP_V4;
        put_owner(w, f, f->cname_count);
        wbuf_u16(w, is_v4 ? TYPE_A : TYPE_AAAA);
        wbuf_u16(w, 1);
        wbuf_u32(w, f->ttl_s);
        wbuf_u16(w, is_v4 ? 4 : 16);
        wbuf_put(w, span_make(f->addrs[i].bytes, is_v4 ? 4 : 16));
    }
}

static void put_soa(struct wbuf *w, const struct fake_reply *f)
{
    wbuf_u8(w, 0); /* owner: the root */
    wbuf_u16(w, TYPE_SOA);
    wbuf_u16(w, 1);
    wbuf_u32(w, f->soa_min_s);
    wbuf_u16(w, 22);
    wbuf_u8(w, 0); /* MNAME, RNAME: the root */
    wbuf_u8(w, 0);
    for (int i = 0; i < 4; i++) {
        wbuf_u32(w, 1);
    }
    wbuf_u32(w, f->soa_min_s);
}

size_t fake_reply_build(const struct fake_reply *f, struct span query, uint8_t *out, size_t cap)
{
    struct fake_query q;
    if (!fake_query_read(query, &q)) {
        abort();
    }
    unsigned flags = (f->not_response ? 0U : 0x8000U) | 0x0100U | (f->tc ? 0x0200U : 0U) |
                     (f->no_ra ? 0U : 0x0080U) | (f->rcode & 15U);
    bool with_opt = q.has_opt && !f->no_question;
    unsigned id = (unsigned)query.data[0] << 8 | query.data[1];

    struct wbuf w = wbuf_make(out, cap);
    wbuf_u16(&w, (uint16_t)(f->bad_id ? id ^ 1U : id));
    wbuf_u16(&w, (uint16_t)flags);
    wbuf_u16(&w, f->no_question ? 0 : 1);
    wbuf_u16(&w, (uint16_t)(f->cname_count + f->addr_count + (f->txt != NULL ? 1U : 0U)));
    wbuf_u16(&w, f->has_soa ? 1 : 0);
    wbuf_u16(&w, with_opt ? 1 : 0);
    if (!f->no_question) {
        put_question(&w, f, query_qname(query), q.qtype);
    }
    put_answers(&w, f);
    if (f->txt != NULL) {
        size_t len = strlen(f->txt);
        wbuf_u16(&w, 0xc00c);
        wbuf_u16(&w, TYPE_TXT);
        wbuf_u16(&w, 1);
        wbuf_u32(&w, f->ttl_s);
        wbuf_u16(&w, (uint16_t)(1 + len));
        wbuf_u8(&w, (uint8_t)len);
        wbuf_put(&w, span_make((const uint8_t *)f->txt, len));
    }
    if (f->has_soa) {
        put_soa(&w, f);
    }
    if (with_opt) {
        wbuf_u8(&w, 0);
        wbuf_u16(&w, TYPE_OPT);
        wbuf_u16(&w, 1232);
        wbuf_u32(&w, (uint32_t)(f->rcode >> 4) << 24);
        wbuf_u16(&w, 0);
    }
    if (w.overflow) {
        abort();
    }
    return w.len;
}

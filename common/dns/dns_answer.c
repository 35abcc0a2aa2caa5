/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_wire.h"

#include "common/base/err.h"
#include "common/dns/dns_rr.h"
#include "common/dns/dns_rrset.h"

#define OWNER_QNAME 0xC00CU /* a pointer to the question's name */
#define OPT_LEN 11          /* without options */
#define OPTION_EDE 15       /* RFC 8914 2 */
#define EDE_HEAD_LEN 6      /* option code, option length, INFO-CODE */

/* The message while it is written: what did not fit is taken back and shows as TC. */
struct draft {
    struct wbuf w;
    uint16_t an_count, ns_count, ar_count;
    bool truncated;
};

/* Call after each record with the length before it. True if it fitted. */
static bool record_end(struct draft *d, size_t before)
{
    if (!d->w.overflow) {
        return true;
    }
    d->w.overflow = false;
    d->w.len = before;
    d->truncated = true;
    return false;
}

static void record_head(struct wbuf *w, uint16_t type, uint32_t ttl_s, uint16_t rdata_len)
{
    wbuf_u16(w, OWNER_QNAME);
    wbuf_u16(w, type);
    wbuf_u16(w, DNS_IN);
    wbuf_u32(w, ttl_s);
    wbuf_u16(w, rdata_len);
}

static void put_addrs(struct draft *d, const struct dns_answer *a)
{
    for (size_t i = 0; i < a->addr_count; i++) {
        const struct ip *ip = &a->addrs[i];
        size_t before = d->w.len;
        uint16_t len = ip->family == IP_V4 ? 4 : 16;
        if (!CHECK(ip->family == IP_V4 || ip->family == IP_V6)) {
            continue;
        }
        record_head(&d->w, ip->family == IP_V4 ? DNS_A : DNS_AAAA, a->ttl_s, len);
        wbuf_put(&d->w, span_make(ip->bytes, len));
        if (!record_end(d, before)) {
            return;
        }
        d->an_count++;
    }
}

static void put_ptr(struct draft *d, const struct dns_answer *a)
{
    uint8_t wire[DNS_NAME_MAX];
    size_t len = host_name_to_wire(a->ptr, wire);
    size_t before = d->w.len;
    record_head(&d->w, DNS_PTR, a->ttl_s, (uint16_t)len);
    wbuf_put(&d->w, span_make(wire, len));
    if (record_end(d, before)) {
        d->an_count++;
    }
}

static void put_records(struct draft *d, const struct dns_answer *a)
{
    size_t at = 0;
    struct span rdata;
    while (dns_rrset_next(a->records, &at, &rdata)) {
        size_t before = d->w.len;
        record_head(&d->w, a->records->qtype, a->ttl_s, (uint16_t)rdata.len);
        wbuf_put(&d->w, rdata);
        if (!record_end(d, before)) {
            return;
        }
        d->an_count++;
    }
}

static void patch_u32(uint8_t *at, uint32_t v)
{
    struct wbuf w = wbuf_make(at, 4);
    wbuf_u32(&w, v);
}

static void put_soa(struct draft *d, const struct dns_answer *a)
{
    const struct dns_soa_template *soa = a->soa;
    size_t before = d->w.len;
    wbuf_put(&d->w, span_make(soa->wire, soa->len));
    if (record_end(d, before)) {
        patch_u32(d->w.data + before + soa->ttl_at, a->soa_ttl_s);
        patch_u32(d->w.data + before + soa->serial_at, a->soa_serial);
        patch_u32(d->w.data + before + soa->minimum_at, a->soa_ttl_s);
        d->ns_count++;
    }
}

/* How much of text fits into room bytes without cutting a UTF-8 sequence. */
static size_t text_cut(struct span text, size_t room)
{
    if (text.len <= room) {
        return text.len;
    }
    while (room > 0 && (text.data[room] & 0xC0) == 0x80) {
        room--;
    }
    return room;
}

/* The EDE gets what is left: it explains, so it is the first thing to go without. */
static void put_opt(struct draft *d, const struct dns_answer *a)
{
    size_t room = d->w.cap - d->w.len;
    if (room < OPT_LEN) {
        d->truncated = true;
        return;
    }
    room -= OPT_LEN;
    bool with_ede = a->ede != DNS_EDE_NONE && room >= EDE_HEAD_LEN;
    struct span text = span_str(a->ede_text);
    if (with_ede) {
        text.len = text_cut(text, room - EDE_HEAD_LEN);
    }
    uint32_t rcode_bits = (uint32_t)a->rcode >> 4;
    wbuf_u8(&d->w, 0);
    wbuf_u16(&d->w, DNS_OPT);
    wbuf_u16(&d->w, DNS_UDP_MAX);
    wbuf_u32(&d->w, (rcode_bits << 24) | (a->query->dnssec_ok ? 0x8000U : 0U));
    wbuf_u16(&d->w, with_ede ? (uint16_t)(EDE_HEAD_LEN + text.len) : 0);
    if (with_ede) {
        wbuf_u16(&d->w, OPTION_EDE);
        wbuf_u16(&d->w, (uint16_t)(text.len + 2));
        wbuf_u16(&d->w, (uint16_t)a->ede);
        wbuf_put(&d->w, text);
    }
    d->ar_count++;
}

static void put_header(const struct draft *d, const struct dns_answer *a)
{
    const struct dns_query *q = a->query;
    struct wbuf w = wbuf_make(d->w.data, DNS_HEADER_LEN);
    uint32_t rcode = (uint32_t)a->rcode & 15U;
    if (a->rcode > 15 && !CHECK(q->has_opt)) {
        rcode = DNS_SERVFAIL; /* without OPT its low bits would say something else */
    }
    uint32_t flags = DNS_FLAG_QR | ((uint32_t)q->opcode << 11) | DNS_FLAG_RA | rcode;
    flags |= (q->rd ? DNS_FLAG_RD : 0U) | (q->cd ? DNS_FLAG_CD : 0U) | (d->truncated ? DNS_FLAG_TC : 0U);
    wbuf_u16(&w, q->id);
    wbuf_u16(&w, (uint16_t)flags);
    wbuf_u16(&w, q->question.len > 0 ? 1 : 0);
    wbuf_u16(&w, d->an_count);
    wbuf_u16(&w, d->ns_count);
    wbuf_u16(&w, d->ar_count);
}

size_t dns_answer_build(const struct dns_answer *a, uint8_t *out, size_t limit)
{
    const struct dns_query *q = a->query;
    struct draft d = {.w = wbuf_make(out, limit < DNS_MESSAGE_MAX ? limit : DNS_MESSAGE_MAX)};
    size_t start_len = DNS_HEADER_LEN + q->question.len;
    if (d.w.cap < start_len) {
        return 0;
    }
    d.w.len = DNS_HEADER_LEN; /* written last, when the counts are known */
    wbuf_put(&d.w, q->question);
    size_t cap = d.w.cap;
    if (q->has_opt && cap - start_len >= OPT_LEN) {
        d.w.cap -= OPT_LEN; /* kept for OPT: addresses never push it out */
    }
    if (q->question.len > 0) { /* the records' owner is the question's name */
        put_addrs(&d, a);
        if (a->ptr != NULL) {
            put_ptr(&d, a);
        }
        if (a->records != NULL) {
            put_records(&d, a);
        }
    }
    if (a->soa != NULL) {
        put_soa(&d, a);
    }
    d.w.cap = cap;
    if (q->has_opt) {
        put_opt(&d, a);
    }
    put_header(&d, a);
    return d.w.len;
}

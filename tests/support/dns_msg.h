/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes DNS messages for tests, right and wrong ones: nothing is checked, counts are what the test says.
 */
#pragma once

#include "common/dns/dns_wire.h"

static inline void msg_header(struct wbuf *w, uint16_t id, uint16_t flags, const uint16_t counts[4])
{
    wbuf_u16(w, id);
    wbuf_u16(w, flags);
    for (size_t i = 0; i < 4; i++) {
        wbuf_u16(w, counts[i]);
    }
}
#define MSG_COUNTS(qd, an, ns, ar) ((const uint16_t[4]){(qd), (an), (ns), (ar)})

/* "a.b" or "a.b." as labels; "" and "." are the root. "@N" at the end of the text is a pointer to offset N
 * (one or two digits). */
static inline void msg_name(struct wbuf *w, const char *text)
{
    while (*text != '\0' && *text != '@' && !(text[0] == '.' && text[1] == '\0')) {
        size_t len = strcspn(text, ".@");
        wbuf_u8(w, (uint8_t)len);
        wbuf_put(w, span_make(text, len));
        text += len;
        if (*text == '.') {
            text++;
        }
    }
    if (*text == '@') {
        unsigned at = (unsigned)(text[1] - '0');
        if (text[2] != '\0') {
            at = at * 10 + (unsigned)(text[2] - '0');
        }
        wbuf_u16(w, (uint16_t)(0xC000U | at));
    } else {
        wbuf_u8(w, 0);
    }
}

static inline void msg_question(struct wbuf *w, const char *name, uint16_t type)
{
    msg_name(w, name);
    wbuf_u16(w, type);
    wbuf_u16(w, DNS_IN);
}

static inline void msg_rr_head(struct wbuf *w, const char *owner, uint16_t type, uint16_t class, uint32_t ttl)
{
    msg_name(w, owner);
    wbuf_u16(w, type);
    wbuf_u16(w, class);
    wbuf_u32(w, ttl);
}

static inline void msg_rr(struct wbuf *w, const char *owner, uint16_t type, uint32_t ttl, struct span rdata)
{
    msg_rr_head(w, owner, type, DNS_IN, ttl);
    wbuf_u16(w, (uint16_t)rdata.len);
    wbuf_put(w, rdata);
}

static inline void msg_a(struct wbuf *w, const char *owner, uint32_t ttl, const char *address)
{
    struct ip ip = {0};
    int rc = ip_parse(span_str(address), &ip);
    bool is_v4 = rc == 0 && ip.family == IP_V4;
    msg_rr(w, owner, is_v4 ? DNS_A : DNS_AAAA, ttl, span_make(ip.bytes, is_v4 ? 4 : 16));
}

/* A record whose RDATA is one name. */
static inline void msg_rr_name(struct wbuf *w, const char *owner, uint16_t type, uint32_t ttl,
                               const char *target)
{
    uint8_t rdata[300];
    struct wbuf r = wbuf_make(rdata, sizeof rdata);
    msg_name(&r, target);
    msg_rr(w, owner, type, ttl, wbuf_span(&r));
}

static inline void msg_cname(struct wbuf *w, const char *owner, uint32_t ttl, const char *target)
{
    msg_rr_name(w, owner, DNS_CNAME, ttl, target);
}

static inline void msg_soa(struct wbuf *w, const char *owner, uint32_t ttl, uint32_t minimum)
{
    uint8_t rdata[300];
    struct wbuf r = wbuf_make(rdata, sizeof rdata);
    msg_name(&r, "ns.example");
    msg_name(&r, "root.example");
    for (uint32_t i = 1; i <= 4; i++) {
        wbuf_u32(&r, i);
    }
    wbuf_u32(&r, minimum);
    msg_rr(w, owner, DNS_SOA, ttl, wbuf_span(&r));
}

/* bits: extended rcode, version, DO and the rest of the TTL field */
static inline void msg_opt(struct wbuf *w, uint16_t size, uint32_t bits, struct span options)
{
    msg_rr_head(w, ".", DNS_OPT, size, bits);
    wbuf_u16(w, (uint16_t)options.len);
    wbuf_put(w, options);
}

/* algorithm "x.", no MAC, no other data */
static inline void msg_tsig(struct wbuf *w)
{
    static const uint8_t rdata[] = {1, 'x', 0, 0, 0, 0, 0, 0, 1, 1, 44, 0, 0, 0, 7, 0, 0, 0, 0};
    msg_rr_head(w, "key", DNS_TSIG, 255, 0);
    wbuf_u16(w, sizeof rdata);
    wbuf_put(w, span_make(rdata, sizeof rdata));
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reply under test: written with dns_msg.h, parsed from an exact copy.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/dns_msg.h"

#include <stdlib.h>

#define NAME "www.example.com"
#define WIRE "\3www\7example\3com\0"
#define ID 0x4242

struct probe {
    uint8_t bytes[DNS_MESSAGE_MAX];
    struct wbuf w;
    struct dns_reply r;
};

static inline struct probe *probe_new(void)
{
    struct probe *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->w = wbuf_make(p->bytes, sizeof p->bytes);
    return p;
}

static inline void parse_as(struct probe *p, size_t len, const struct dns_sent *sent)
{
    uint8_t *copy = malloc(len == 0 ? 1 : len); /* exact, so that one byte too far is seen by the sanitizer */
    assert_non_null(copy);
    memcpy(copy, p->bytes, len);
    memset(&p->r, 0xAA, sizeof p->r);
    dns_reply_parse(span_make(copy, len), sent, &p->r);
    free(copy);
}

static inline enum dns_reply_kind parse_type(struct probe *p, uint16_t qtype)
{
    struct dns_sent sent = {.id = ID, .qtype = qtype, .qname = SPAN_LIT(WIRE)};
    assert_false(p->w.overflow);
    parse_as(p, p->w.len, &sent);
    return p->r.kind;
}

static inline enum dns_reply_kind parse(struct probe *p)
{
    return parse_type(p, DNS_A);
}

/* Header with the flags, and the question for A. */
static inline void begin(struct probe *p, uint16_t flags, uint16_t an, uint16_t ns, uint16_t ar)
{
    msg_header(&p->w, ID, flags, MSG_COUNTS(1, an, ns, ar));
    msg_question(&p->w, NAME, DNS_A);
}

#define OKAY 0x8180 /* QR RD RA */
#define NX 0x8183

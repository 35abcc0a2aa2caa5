/* SPDX-License-Identifier: Apache-2.0 */
/* Ours against ldns: every truncation, every single bit flip and many small changes of good messages. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/dns/dns_rrset.h"
#include "tests/support/dns_msg.h"
#include "tests/support/dns_oracle.h"

#include <stdio.h>
#include <stdlib.h>

#define CAP 2048
#define CHANGES 6000

typedef void build_fn(struct wbuf *w);

static void query_plain(struct wbuf *w)
{
    msg_header(w, 1, 0x0100, MSG_COUNTS(1, 0, 0, 0));
    msg_question(w, "gateway.discord.gg", DNS_A);
}
static void query_opt(struct wbuf *w)
{
    msg_header(w, 1, 0x0110, MSG_COUNTS(1, 0, 0, 1));
    msg_question(w, "Gateway.discord.gg", DNS_AAAA);
    msg_opt(w, 1232, 0x8000, SPAN_LIT("\0\12\0\10abcdefgh\0\3\0\0"));
}
static void query_tsig(struct wbuf *w)
{
    msg_header(w, 1, 0x0100, MSG_COUNTS(1, 0, 0, 2));
    msg_question(w, "a.example", DNS_HTTPS);
    msg_opt(w, 512, 0, SPAN_LIT(""));
    msg_tsig(w);
}
static void query_ixfr(struct wbuf *w)
{
    msg_header(w, 1, 0x0100, MSG_COUNTS(1, 0, 1, 0));
    msg_question(w, "example", DNS_IXFR);
    msg_soa(w, "@12", 0, 0);
}

static void reply_addrs(struct wbuf *w)
{
    msg_header(w, 1, 0x8180, MSG_COUNTS(1, 4, 0, 1));
    msg_question(w, "www.example.com", DNS_A);
    msg_cname(w, "@12", 50, "b@16");
    msg_a(w, "b@16", 40, "192.0.2.1");
    msg_a(w, "b.example.com", 30, "192.0.2.2");
    msg_a(w, "@45", 40, "192.0.2.1"); /* offset 45: the CNAME's target */
    msg_opt(w, 1232, 0, SPAN_LIT("\0\17\0\4\0\2ok"));
}
static void reply_aaaa(struct wbuf *w)
{
    msg_header(w, 1, 0x8180, MSG_COUNTS(1, 2, 1, 0));
    msg_question(w, "www.example.com", DNS_AAAA);
    msg_a(w, "@12", 50, "2001:db8::1");
    msg_a(w, "@12", 50, "2001:db8::2");
    msg_rr_name(w, "@16", DNS_NS, 900, "ns@16");
}
static void reply_nxdomain(struct wbuf *w)
{
    msg_header(w, 1, 0x8183, MSG_COUNTS(1, 1, 1, 1));
    msg_question(w, "www.example.com", DNS_A);
    msg_cname(w, "@12", 50, "b@16");
    msg_soa(w, "@16", 300, 60);
    msg_opt(w, 1232, 0, SPAN_LIT(""));
}
static void reply_nodata(struct wbuf *w)
{
    msg_header(w, 1, 0x8180, MSG_COUNTS(1, 0, 1, 0));
    msg_question(w, "www.example.com", DNS_AAAA);
    msg_soa(w, "com", 300, 600);
}
static void reply_error(struct wbuf *w)
{
    msg_header(w, 1, 0x8185, MSG_COUNTS(1, 0, 0, 1));
    msg_question(w, "www.example.com", DNS_A);
    msg_opt(w, 1232, 0, SPAN_LIT("\0\17\0\2\0\22"));
}
/* One record of each type whose fields are checked. */
static void reply_types(struct wbuf *w)
{
    msg_header(w, 1, 0x8180, MSG_COUNTS(1, 2, 13, 2));
    msg_question(w, "w.example", DNS_A);
    msg_a(w, "@12", 50, "192.0.2.1");
    msg_rr(w, "@12", 46, 50, SPAN_LIT("\0\1\5\2\0\0\0\62\1\2\3\4\1\2\3\4\0\1\7example\0SIGNATURE"));
    msg_rr(w, "@14", 15, 50, SPAN_LIT("\0\12\2mx\7example\0"));
    msg_rr(w, "@14", DNS_TXT, 50, SPAN_LIT("\2ab\0\1c"));
    msg_rr(w, "@14", 13, 50, SPAN_LIT("\2ab\1c"));
    msg_rr(w, "@14", 17, 50, SPAN_LIT("\1a\0\1b\0"));
    msg_rr(w, "@14", 33, 50, SPAN_LIT("\0\1\0\2\0\3\1a\0"));
    msg_rr(w, "@14", 35, 50, SPAN_LIT("\0\1\0\2\1u\1s\0\1a\0"));
    msg_rr(w, "@14", 39, 50, SPAN_LIT("\1d\0"));
    msg_rr(w, "@14", 43, 50, SPAN_LIT("\1\2\3\4digest"));
    msg_rr(w, "@14", 47, 50, SPAN_LIT("\1n\0\0\1\100"));
    msg_rr(w, "@14", 48, 50, SPAN_LIT("\1\1\3\10key"));
    msg_rr(w, "@14", 50, 50, SPAN_LIT("\1\0\0\12\2ab\4hash\0\1\100"));
    msg_rr(w, "@14", 51, 50, SPAN_LIT("\1\0\0\12\2ab"));
    msg_rr(w, "@14", 3000, 50, SPAN_LIT("anything"));
    msg_opt(w, 1232, 0, SPAN_LIT(""));
    msg_tsig(w);
}

static void reply_srv(struct wbuf *w)
{
    msg_header(w, 1, 0x8180, MSG_COUNTS(1, 6, 0, 1));
    msg_question(w, "_db._tcp.example.com", DNS_SRV);
    msg_cname(w, "@12", 50, "srv.example.com");
    msg_rr(w, "srv.example.com", DNS_SRV, 40, SPAN_LIT("\0\1\0\2\151\211\2S1\7Example\3com\0"));
    msg_rr(w, "@50", DNS_SRV, 30, SPAN_LIT("\0\1\0\2\151\211\2s2\300\25")); /* @21: example.com */
    msg_rr(w, "@50", DNS_SRV, 60, SPAN_LIT("\0\1\0\2\151\211\2s1\300\25"));
    msg_rr(w, "@50", DNS_SRV, 60, SPAN_LIT("\0\0\0\0\0\0\0"));
    msg_rr(w, "@50", DNS_SRV, 60, SPAN_LIT("\0\1\0\2\151\211\3a b\300\25"));
    msg_opt(w, 1232, 0, SPAN_LIT(""));
}
static void reply_txt(struct wbuf *w)
{
    msg_header(w, 1, 0x8180, MSG_COUNTS(1, 4, 0, 0));
    msg_question(w, "db.example.com", DNS_TXT);
    msg_rr(w, "@12", DNS_TXT, 40, SPAN_LIT("\3a=b\0\2\0\377"));
    msg_rr(w, "DB.Example.com", DNS_TXT, 30, SPAN_LIT("\0"));
    msg_rr(w, "@12", DNS_TXT, 20, SPAN_LIT("\3a=b\0\2\0\377"));
    msg_rr(w, "@15", DNS_TXT, 1, SPAN_LIT("\5other"));
}

static build_fn *const queries[] = {query_plain, query_opt, query_tsig, query_ixfr};
static build_fn *const replies[] = {reply_addrs, reply_aaaa,  reply_nxdomain, reply_nodata,
                                    reply_error, reply_types, reply_srv,      reply_txt};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct sample {
    uint8_t bytes[CAP];
    size_t len;
    bool is_query;
    const char *what;
    size_t row;
};

static void sample_make(struct sample *s, bool is_query, size_t row)
{
    struct wbuf w = wbuf_make(s->bytes, CAP);
    (is_query ? queries : replies)[row](&w);
    assert_false(w.overflow);
    s->len = w.len;
    s->is_query = is_query;
    s->row = row;
}

static void check(const struct sample *s, const uint8_t *bytes, size_t len, size_t at)
{
    uint8_t *copy = malloc(len == 0 ? 1 : len);
    assert_non_null(copy);
    memcpy(copy, bytes, len);
    struct span msg = span_make(copy, len);
    struct dns_sent sent;
    const char *difference = NULL;
    if (s->is_query) {
        difference = oracle_query(msg);
    } else if (oracle_sent_from(msg, &sent)) {
        difference = oracle_reply(msg, &sent);
    }
    if (difference != NULL) {
        for (size_t i = 0; i < len; i++) {
            (void)fprintf(stderr, "%02x", copy[i]);
        }
        fail_msg("%s %zu, %s %zu: %s", s->is_query ? "query" : "reply", s->row, s->what, at, difference);
    }
    free(copy);
}

typedef void each_fn(struct sample *s);

static void each_sample(each_fn *fn)
{
    static struct sample s;
    for (size_t i = 0; i < COUNT(queries); i++) {
        sample_make(&s, true, i);
        fn(&s);
    }
    for (size_t i = 0; i < COUNT(replies); i++) {
        sample_make(&s, false, i);
        fn(&s);
    }
}

/* Otherwise all else here would prove nothing. */
static void accept_one(struct sample *s)
{
    struct span msg = span_make(s->bytes, s->len);
    if (s->is_query) {
        struct dns_query q;
        enum dns_rcode rcode;
        enum dns_query_result r = dns_query_parse(msg, &q, &rcode);
        assert_true(r == DNS_QUERY_OK || (queries[s->row] == query_ixfr && rcode == DNS_REFUSED));
    } else {
        struct dns_sent sent;
        struct dns_reply r;
        assert_true(oracle_sent_from(msg, &sent));
        dns_reply_parse(msg, &sent, &r);
        if (r.kind == DNS_REPLY_MISMATCH) {
            fail_msg("reply %zu is not accepted", s->row);
        }
        assert_true((r.kind == DNS_REPLY_RECORDS) == dns_rrset_is_type(sent.qtype));
    }
    s->what = "whole";
    check(s, s->bytes, s->len, 0);
}

static void truncate_one(struct sample *s)
{
    s->what = "cut at";
    for (size_t len = 0; len < s->len; len++) {
        check(s, s->bytes, len, len);
    }
}

static void flip_one(struct sample *s)
{
    s->what = "bit";
    for (size_t bit = 0; bit < s->len * 8; bit++) {
        uint8_t mask = (uint8_t)(1U << (bit % 8));
        s->bytes[bit / 8] ^= mask;
        check(s, s->bytes, s->len, bit);
        s->bytes[bit / 8] ^= mask;
    }
}

/* Marsaglia's xorshift: the same numbers on every run. */
static uint32_t next_random(uint32_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 17;
    *x ^= *x << 5;
    return *x;
}

static void change_one(struct sample *s)
{
    static const uint8_t favourites[] = {0, 1, 4, 12, 16, 41, 63, 64, 0xC0, 0xFF};
    uint32_t x = 2463534242U + (uint32_t)s->row;
    s->what = "change";
    for (size_t n = 0; n < CHANGES; n++) {
        uint8_t bytes[CAP];
        size_t len = s->len;
        memcpy(bytes, s->bytes, len);
        for (uint32_t k = 1 + next_random(&x) % 3; k > 0 && len > 1; k--) {
            size_t at = next_random(&x) % len;
            uint32_t how = next_random(&x) % 4;
            if (how == 0 && len < CAP) {
                memmove(bytes + at + 1, bytes + at, len - at); /* a byte more */
                len++;
            } else if (how == 1) {
                memmove(bytes + at, bytes + at + 1, len - at - 1); /* a byte less */
                len--;
            } else if (how == 2) {
                bytes[at] = favourites[next_random(&x) % sizeof favourites];
            } else {
                bytes[at] = (uint8_t)next_random(&x);
            }
        }
        check(s, bytes, len, n);
    }
}

static void test_samples_are_accepted(void **state)
{
    (void)state;
    each_sample(accept_one);
}
static void test_every_truncation(void **state)
{
    (void)state;
    each_sample(truncate_one);
}
static void test_every_bit_flip(void **state)
{
    (void)state;
    each_sample(flip_one);
}
static void test_small_changes(void **state)
{
    (void)state;
    each_sample(change_one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples_are_accepted),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_every_bit_flip),
        cmocka_unit_test(test_small_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

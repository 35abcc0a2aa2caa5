/* SPDX-License-Identifier: Apache-2.0 */
/* dns_rrset: SRV and TXT records from a reply to an answer, within every bound. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/dns/dns_rrset.h"
#include "tests/support/dns_msg.h"

#include <stdio.h>
#include <stdlib.h>

#define QNAME "_db._tcp.example.com"
#define CAP 60000

struct made {
    uint8_t bytes[CAP];
    struct wbuf w;
    uint16_t qtype;
    uint16_t count;
};

static void start(struct made *m, uint16_t qtype)
{
    m->w = wbuf_make(m->bytes, sizeof m->bytes);
    m->qtype = qtype;
    m->count = 0;
    msg_header(&m->w, 1, 0x8180, MSG_COUNTS(1, 0, 0, 0));
    msg_question(&m->w, QNAME, qtype);
}

static void add(struct made *m, uint16_t type, uint32_t ttl, struct span rdata)
{
    msg_rr(&m->w, "@12", type, ttl, rdata);
    m->count++;
}

static void add_srv(struct made *m, uint16_t priority, uint16_t port, const char *target)
{
    uint8_t rdata[300];
    struct wbuf w = wbuf_make(rdata, sizeof rdata);
    wbuf_u16(&w, priority);
    wbuf_u16(&w, 7);
    wbuf_u16(&w, port);
    msg_name(&w, target);
    assert_false(w.overflow);
    add(m, DNS_SRV, 60, wbuf_span(&w));
}

static enum dns_reply_kind parse(struct made *m, struct dns_reply *r, struct dns_rrset *records)
{
    uint8_t wire[255];
    struct host_name n;
    assert_int_equal(host_name_parse(SPAN_LIT(QNAME), &n), HOST_FAULT_NONE);
    size_t len = host_name_to_wire(&n, wire);
    const struct dns_sent sent = {
        .id = 1, .qtype = m->qtype, .qname = span_make(wire, len), .records = records};
    assert_false(m->w.overflow);
    m->bytes[6] = (uint8_t)(m->count >> 8);
    m->bytes[7] = (uint8_t)m->count;
    dns_reply_parse(wbuf_span(&m->w), &sent, r);
    return r->kind;
}

static struct dns_srv srv_at(const struct dns_rrset *s, size_t which)
{
    struct dns_srv srv = {0};
    struct span rdata;
    size_t at = 0;
    for (size_t i = 0; i <= which; i++) {
        assert_true(dns_rrset_next(s, &at, &rdata));
    }
    dns_srv_read(rdata, &srv);
    return srv;
}

static void test_srv(void **state)
{
    (void)state;
    static struct made m;
    struct dns_reply r;
    struct dns_rrset s;
    start(&m, DNS_SRV);
    add_srv(&m, 1, 27017, "Shard-1.Example.COM");
    add_srv(&m, 2, 27018, "shard-2@21"); /* compressed: 21 is example.com */
    add_srv(&m, 1, 27017, "shard-1.example.com");
    add_srv(&m, 0, 0, ".");
    add_srv(&m, 3, 1, "a b.example.com");
    add_srv(&m, 3, 1, "0x7f.1");
    add(&m, DNS_TXT, 1, SPAN_LIT("\2no"));
    assert_int_equal(parse(&m, &r, &s), DNS_REPLY_RECORDS);
    assert_int_equal(r.ttl_s, 60); /* the TXT record is nobody's business */
    assert_int_equal(r.addr_count, 0);
    assert_int_equal(s.count, 2);
    assert_int_equal(s.left_out, 3);
    struct dns_srv one = srv_at(&s, 0);
    assert_string_equal(one.target.text, "shard-1.example.com");
    assert_int_equal(one.priority, 1);
    assert_int_equal(one.weight, 7);
    assert_int_equal(one.port, 27017);
    assert_string_equal(srv_at(&s, 1).target.text, "shard-2.example.com");
    assert_int_equal(srv_at(&s, 1).port, 27018);
    /* the same without a place for them */
    assert_int_equal(parse(&m, &r, NULL), DNS_REPLY_RECORDS);
}

static void test_nothing_usable_is_still_an_answer(void **state)
{
    (void)state;
    static struct made m;
    struct dns_reply r;
    struct dns_rrset s;
    start(&m, DNS_SRV);
    add_srv(&m, 0, 0, ".");
    assert_int_equal(parse(&m, &r, &s), DNS_REPLY_RECORDS);
    assert_int_equal(s.count, 0);
    assert_int_equal(s.left_out, 1);
    start(&m, DNS_SRV);
    assert_int_equal(parse(&m, &r, &s), DNS_REPLY_NODATA);
}

static void test_bad_messages(void **state)
{
    (void)state;
    static struct made m;
    struct dns_reply r;
    struct dns_rrset s;
    const struct {
        uint16_t type;
        struct span rdata;
        enum dns_reply_kind expect;
    } rows[] = {
        {DNS_SRV, SPAN_LIT("\0\1\0\2\0"), DNS_REPLY_MISMATCH},             /* cut */
        {DNS_SRV, SPAN_LIT("\0\1\0\2\0\3\1a"), DNS_REPLY_MISMATCH},        /* no root */
        {DNS_SRV, SPAN_LIT("\0\1\0\2\0\3\1a\0\0"), DNS_REPLY_MISMATCH},    /* surplus */
        {DNS_SRV, SPAN_LIT("\0\1\0\2\0\3\300\377"), DNS_REPLY_MISMATCH},   /* a pointer forward */
        {DNS_SRV, SPAN_LIT("\0\1\0\2\0\3\300\3"), DNS_REPLY_MISMATCH},     /* into the header */
        {DNS_SRV, SPAN_LIT("\0\1\0\2\0\3\1\0\300\14"), DNS_REPLY_RECORDS}, /* a NUL in the target */
        {DNS_TXT, SPAN_LIT(""), DNS_REPLY_MISMATCH},
        {DNS_TXT, SPAN_LIT("\2a"), DNS_REPLY_MISMATCH},
        {DNS_TXT, SPAN_LIT("\1a\3b"), DNS_REPLY_MISMATCH},
        {DNS_TXT, SPAN_LIT("\0"), DNS_REPLY_RECORDS},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        start(&m, rows[i].type);
        add(&m, rows[i].type, 60, rows[i].rdata);
        assert_int_equal(parse(&m, &r, &s), rows[i].expect);
        assert_true(r.kind != DNS_REPLY_RECORDS || s.count + s.left_out == 1);
    }
    start(&m, DNS_SRV); /* a CNAME beside records (RFC 1034 3.6.2) */
    add_srv(&m, 1, 1, "a.example.com");
    msg_cname(&m.w, "@12", 60, "b.example.com");
    m.count++;
    assert_int_equal(parse(&m, &r, &s), DNS_REPLY_ERROR);
    start(&m, DNS_SRV); /* a CNAME with or without what it leads to: the same */
    msg_cname(&m.w, "@12", 60, "b.example.com");
    m.count++;
    assert_int_equal(parse(&m, &r, &s), DNS_REPLY_RECORDS);
    assert_int_equal(s.count, 0);
    assert_int_equal(s.left_out, 1);
    assert_int_equal(r.ttl_s, 60);
    m.bytes[3] = 0x83;
    assert_int_equal(parse(&m, &r, &s), DNS_REPLY_RECORDS);
    assert_int_equal(r.rcode, DNS_NOERROR);
    start(&m, DNS_SRV);
    add_srv(&m, 1, 1, "a.example.com");
    m.bytes[3] = 0x83; /* NXDOMAIN beside records: what the code says counts */
    assert_int_equal(parse(&m, &r, &s), DNS_REPLY_NXDOMAIN);
}

/* Every cut of a message is no message. */
static void test_every_truncation(void **state)
{
    (void)state;
    static struct made m;
    struct dns_reply r;
    struct dns_rrset s;
    start(&m, DNS_SRV);
    add_srv(&m, 1, 27017, "shard-1.example.com");
    add_srv(&m, 2, 27018, "shard-2@21");
    size_t whole = m.w.len;
    for (m.w.len = DNS_HEADER_LEN; m.w.len < whole; m.w.len++) {
        assert_int_equal(parse(&m, &r, &s), DNS_REPLY_MISMATCH);
    }
    assert_int_equal(parse(&m, &r, &s), DNS_REPLY_RECORDS);
}

static void test_bounds_of_srv(void **state)
{
    (void)state;
    static struct made m;
    struct dns_reply r;
    struct dns_rrset s;
    char target[64];
    for (uint16_t count = 1; count <= 40; count++) {
        start(&m, DNS_SRV);
        for (uint16_t i = 0; i < count; i++) {
            (void)snprintf(target, sizeof target, "cluster0-shard-00-%02u.abcde.mongodb.example.net", i);
            add_srv(&m, 0, 27017, target);
        }
        assert_int_equal(parse(&m, &r, &s), DNS_REPLY_RECORDS);
        assert_int_equal(s.count, count < DNS_SRV_MAX ? count : DNS_SRV_MAX);
        assert_int_equal(s.left_out, count - s.count);
    }
    /* names as long as can be: bytes end before the number does */
    start(&m, DNS_SRV);
    for (uint16_t i = 0; i < DNS_SRV_MAX; i++) {
        char longest[254];
        memset(longest, 'x', 253);
        longest[253] = '\0';
        longest[63] = longest[127] = longest[191] = '.';
        longest[0] = (char)('a' + i % 26);
        longest[1] = (char)('a' + i / 26);
        add_srv(&m, 0, 27017, longest);
    }
    assert_int_equal(parse(&m, &r, &s), DNS_REPLY_RECORDS);
    assert_int_equal(s.count, DNS_RRSET_CAP / (2 + 6 + 255));
    assert_int_equal(s.left_out, DNS_SRV_MAX - s.count);
}

static void test_bounds_of_txt(void **state)
{
    (void)state;
    static struct made m;
    static uint8_t rdata[DNS_TXT_BYTES_MAX + 1];
    struct dns_reply r;
    struct dns_rrset s;
    for (uint16_t count = 1; count <= 20; count++) {
        start(&m, DNS_TXT);
        for (uint16_t i = 0; i < count; i++) {
            const uint8_t text[] = {2, 0, (uint8_t)i};
            add(&m, DNS_TXT, 60, span_make(text, sizeof text));
        }
        assert_int_equal(parse(&m, &r, &s), DNS_REPLY_RECORDS);
        assert_int_equal(s.count, count < DNS_TXT_MAX ? count : DNS_TXT_MAX);
        assert_int_equal(s.left_out, count - s.count);
    }
    for (size_t len = DNS_TXT_BYTES_MAX - 1; len <= DNS_TXT_BYTES_MAX + 1; len++) {
        for (size_t at = 0; at < len; at += 256) { /* strings of 255 bytes, a shorter one at the end */
            rdata[at] = (uint8_t)(len - at > 256 ? 255 : len - at - 1);
        }
        start(&m, DNS_TXT);
        add(&m, DNS_TXT, 60, span_make(rdata, len));
        add(&m, DNS_TXT, 60, SPAN_LIT("\0")); /* fits where one byte is left */
        assert_int_equal(parse(&m, &r, &s), DNS_REPLY_RECORDS);
        assert_int_equal(s.count, len == DNS_TXT_BYTES_MAX - 1 ? 2 : 1);
        assert_int_equal(s.left_out, len == DNS_TXT_BYTES_MAX - 1 ? 0 : 1);
        size_t at = 0;
        struct span first;
        assert_true(dns_rrset_next(&s, &at, &first));
        assert_true(span_is_equal(first, len > DNS_TXT_BYTES_MAX ? SPAN_LIT("\0") : span_make(rdata, len)));
        assert_true(dns_rrset_size(&s) <= sizeof s);
    }
}

/* An answer holds as many as fit, whole; names are never compressed; TC tells of the others. */
static void test_answer(void **state)
{
    (void)state;
    static struct made m;
    struct dns_reply r;
    struct dns_rrset s;
    struct dns_query q;
    enum dns_rcode rcode;
    uint8_t asked[100];
    struct wbuf w = wbuf_make(asked, sizeof asked);
    msg_header(&w, 9, 0x0100, MSG_COUNTS(1, 0, 0, 0));
    msg_question(&w, QNAME, DNS_SRV);
    assert_int_equal(dns_query_parse(wbuf_span(&w), &q, &rcode), DNS_QUERY_OK);
    start(&m, DNS_SRV);
    add_srv(&m, 1, 27017, "Shard-1@21");
    add_srv(&m, 2, 27018, "shard-2@21");
    assert_int_equal(parse(&m, &r, &s), DNS_REPLY_RECORDS);
    static const uint8_t want[] = "\300\14\0\41\0\1\0\0\0\5\0\33\0\1\0\7\151\211\7shard-1\7example\3com\0"
                                  "\300\14\0\41\0\1\0\0\0\5\0\33\0\2\0\7\151\212\7shard-2\7example\3com\0";
    const size_t one = (sizeof want - 1) / 2;
    const struct dns_answer a = {.query = &q, .records = &s, .ttl_s = 5, .ede = DNS_EDE_NONE};
    for (size_t limit = w.len; limit <= w.len + sizeof want - 1; limit++) {
        uint8_t *out = malloc(limit);
        assert_non_null(out);
        size_t len = dns_answer_build(&a, out, limit);
        size_t count = (limit - w.len) / one;
        assert_int_equal(len, w.len + count * one);
        assert_int_equal(out[7], count);
        assert_int_equal(out[2] & 2, count < 2 ? 2 : 0); /* TC */
        assert_memory_equal(out + w.len, want, count * one);
        free(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_srv),           cmocka_unit_test(test_nothing_usable_is_still_an_answer),
        cmocka_unit_test(test_bad_messages),  cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_bounds_of_srv), cmocka_unit_test(test_bounds_of_txt),
        cmocka_unit_test(test_answer),
    };
    return cmocka_run_group_tests_name("dns_rrset", tests, NULL, NULL);
}

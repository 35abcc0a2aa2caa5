/* SPDX-License-Identifier: Apache-2.0 */
/* dns_reply: what a reply to our question is reduced to. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/dns_probe.h"

#include <stdio.h>

static void assert_addr(const struct probe *p, size_t i, const char *text)
{
    char have[IP_TEXT_CAP];
    assert_true(i < p->r.addr_count);
    assert_string_equal(ip_text(&p->r.addrs[i], have), text);
}

static void test_addresses(void **state)
{
    (void)state;
    struct probe *p = probe_new();
    begin(p, OKAY, 3, 0, 1);
    msg_a(&p->w, "@12", 300, "192.0.2.1");
    msg_a(&p->w, "WWW@16", 60, "192.0.2.2");
    msg_a(&p->w, "@12", 61, "192.0.2.1"); /* said twice: kept once */
    msg_opt(&p->w, 1232, 0, SPAN_LIT(""));
    assert_int_equal(parse(p), DNS_REPLY_ADDRS);
    assert_int_equal(p->r.rcode, DNS_NOERROR);
    assert_true(p->r.ra);
    assert_true(p->r.has_opt);
    assert_int_equal(p->r.hop_count, 0);
    assert_int_equal(p->r.ttl_s, 60);
    assert_int_equal(p->r.addr_count, 2);
    assert_addr(p, 0, "192.0.2.1");
    assert_addr(p, 1, "192.0.2.2");
    assert_int_equal(p->r.target.len, 0);
    free(p);
}

static void test_only_the_asked_family_counts(void **state)
{
    (void)state;
    struct probe *p = probe_new();
    msg_header(&p->w, ID, OKAY, MSG_COUNTS(1, 2, 0, 0));
    msg_question(&p->w, NAME, DNS_AAAA);
    msg_a(&p->w, "@12", 10, "192.0.2.1");
    msg_a(&p->w, "@12", 20, "2001:db8::1");
    assert_int_equal(parse_type(p, DNS_AAAA), DNS_REPLY_ADDRS);
    assert_int_equal(p->r.addr_count, 1);
    assert_addr(p, 0, "2001:db8::1");
    assert_int_equal(p->r.ttl_s, 20);
    assert_int_equal(parse_type(p, DNS_A), DNS_REPLY_MISMATCH);
    free(p);
}

static void test_records_off_the_chain_do_not_count(void **state)
{
    (void)state;
    struct probe *p = probe_new();
    begin(p, OKAY, 3, 1, 1);
    msg_a(&p->w, "evil.example.com", 1, "192.0.2.66");
    msg_rr_head(&p->w, "@12", DNS_A, 3, 1); /* class CHAOS */
    wbuf_u16(&p->w, 4);
    wbuf_u32(&p->w, 0xC0000243);
    msg_a(&p->w, "@12", 30, "192.0.2.1");
    msg_a(&p->w, "@12", 1, "192.0.2.67"); /* authority and additional sections are no answers */
    msg_a(&p->w, "@12", 1, "192.0.2.68");
    assert_int_equal(parse(p), DNS_REPLY_ADDRS);
    assert_int_equal(p->r.addr_count, 1);
    assert_addr(p, 0, "192.0.2.1");
    assert_int_equal(p->r.ttl_s, 30);
    free(p);
}

static void test_address_counts(void **state)
{
    (void)state;
    static const uint16_t counts[] = {0, 1, DNS_ADDRS_MAX - 1, DNS_ADDRS_MAX, DNS_ADDRS_MAX + 1, 1000};
    for (size_t row = 0; row < sizeof counts / sizeof counts[0]; row++) {
        struct probe *p = probe_new();
        begin(p, OKAY, counts[row], 0, 0);
        for (uint16_t i = 0; i < counts[row]; i++) {
            msg_rr_head(&p->w, "@12", DNS_A, DNS_IN, 5);
            wbuf_u16(&p->w, 4);
            wbuf_u32(&p->w, 0xCB000000U + i);
        }
        assert_int_equal(parse(p), counts[row] == 0 ? DNS_REPLY_NODATA : DNS_REPLY_ADDRS);
        assert_int_equal(p->r.addr_count, counts[row] < DNS_ADDRS_MAX ? counts[row] : DNS_ADDRS_MAX);
        for (size_t i = 0; i < p->r.addr_count; i++) {
            assert_int_equal(p->r.addrs[i].bytes[3], i); /* the order is kept */
        }
        free(p);
    }
}

static void test_ttl_bounds(void **state)
{
    (void)state;
    static const struct {
        uint32_t wire, read;
    } rows[] = {{0, 0}, {1, 1}, {INT32_MAX, INT32_MAX}, {0x80000000U, 0}, {UINT32_MAX, 0}}; /* RFC 2181 8 */
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct probe *p = probe_new();
        begin(p, OKAY, 1, 0, 0);
        msg_a(&p->w, "@12", rows[i].wire, "192.0.2.1");
        assert_int_equal(parse(p), DNS_REPLY_ADDRS);
        assert_int_equal(p->r.ttl_s, rows[i].read);
        free(p);
    }
}

static void test_cname_followed_inside(void **state)
{
    (void)state;
    struct probe *p = probe_new();
    begin(p, OKAY, 4, 0, 0);
    msg_a(&p->w, "c.example.net", 100, "192.0.2.9"); /* order does not matter */
    msg_cname(&p->w, "B.example.net", 40, "C.example.net");
    msg_cname(&p->w, "@12", 50, "b.Example.NET");
    msg_cname(&p->w, "unrelated.example", 1, "x.example");
    assert_int_equal(parse(p), DNS_REPLY_ADDRS);
    assert_int_equal(p->r.hop_count, 2);
    assert_int_equal(p->r.ttl_s, 40);
    assert_addr(p, 0, "192.0.2.9");
    assert_string_equal(p->r.target.text, "c.example.net");
    free(p);
}

static void test_cname_without_address_names_its_target(void **state)
{
    (void)state;
    struct probe *p = probe_new();
    begin(p, OKAY, 2, 0, 0);
    msg_cname(&p->w, "@12", 50, "b.example.net");
    msg_cname(&p->w, "b.example.net", 70, "Edge-7.CDN.example.net");
    assert_int_equal(parse(p), DNS_REPLY_CNAME);
    assert_string_equal(p->r.target.text, "edge-7.cdn.example.net");
    assert_int_equal(p->r.hop_count, 2);
    assert_int_equal(p->r.ttl_s, 50);
    free(p);
}

/* The upstream looked and found nothing: the SOA at the end of the chain says so (RFC 2308 2.2). */
static void test_cname_with_soa_is_nodata(void **state)
{
    (void)state;
    static const struct {
        const char *soa_owner;
        enum dns_reply_kind kind;
        uint32_t ttl_s;
    } rows[] = {
        {"example.net", DNS_REPLY_NODATA, 25},
        {"b.example.net", DNS_REPLY_NODATA, 25},
        {".", DNS_REPLY_NODATA, 25},
        {"example.com", DNS_REPLY_CNAME, 50},
        {"x.b.example.net", DNS_REPLY_CNAME, 50},
        {"ample.net", DNS_REPLY_CNAME, 50},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct probe *p = probe_new();
        begin(p, OKAY, 1, 1, 0);
        msg_cname(&p->w, "@12", 50, "b.example.net");
        msg_soa(&p->w, rows[i].soa_owner, 30, 25);
        if (parse(p) != rows[i].kind || p->r.ttl_s != rows[i].ttl_s) {
            fail_msg("row %zu: kind %d, ttl %u", i, (int)p->r.kind, (unsigned)p->r.ttl_s);
        }
        free(p);
    }
}

static void chain_of(struct probe *p, unsigned hops, bool loop)
{
    begin(p, OKAY, (uint16_t)(hops + 1), 0, 0);
    char from[32] = "@12";
    for (unsigned i = 1; i <= hops; i++) {
        char to[32];
        (void)snprintf(to, sizeof to, "h%u.example", i);
        msg_cname(&p->w, from, 10, to);
        (void)snprintf(from, sizeof from, "%s", to);
    }
    if (loop) {
        msg_cname(&p->w, from, 10, NAME);
    } else {
        msg_a(&p->w, from, 10, "192.0.2.1");
    }
}

static void test_chain_limit_and_loops(void **state)
{
    (void)state;
    for (unsigned hops = 0; hops <= 20; hops++) {
        struct probe *p = probe_new();
        chain_of(p, hops, false);
        assert_int_equal(parse(p), hops <= 8 ? DNS_REPLY_ADDRS : DNS_REPLY_ERROR);
        assert_int_equal(p->r.addr_count, hops <= 8 ? 1 : 0);
        assert_int_equal(p->r.rcode, hops <= 8 ? DNS_NOERROR : DNS_SERVFAIL);
        free(p);
        p = probe_new();
        chain_of(p, hops, true); /* hops == 0: a name that is its own CNAME */
        assert_int_equal(parse(p), DNS_REPLY_ERROR);
        assert_int_equal(p->r.rcode, DNS_SERVFAIL);
        free(p);
    }
}

static void test_contradictions_are_errors(void **state)
{
    (void)state;
    for (int row = 0; row < 3; row++) {
        struct probe *p = probe_new();
        begin(p, OKAY, 2, 0, 0);
        msg_cname(&p->w, "@12", 50, "b.example.net");
        if (row == 0) {
            msg_cname(&p->w, "@12", 50, "c.example.net"); /* RFC 2181 10.1 */
        } else if (row == 1) {
            msg_a(&p->w, "@12", 50, "192.0.2.1"); /* RFC 1034 3.6.2 */
        } else {
            msg_cname(&p->w, "@12", 40, "B.example.net"); /* the same again is none */
        }
        assert_int_equal(parse(p), row < 2 ? DNS_REPLY_ERROR : DNS_REPLY_CNAME);
        assert_int_equal(p->r.rcode, row < 2 ? DNS_SERVFAIL : DNS_NOERROR);
        assert_int_equal(p->r.addr_count, 0);
        assert_int_equal(p->r.ttl_s, row < 2 ? 0 : 40);
        free(p);
    }
}

static void test_cname_targets_that_are_no_host_names(void **state)
{
    (void)state;
#define ROW(lit)                                                                                             \
    {                                                                                                        \
        (lit), sizeof(lit) - 1                                                                               \
    }
    static const struct {
        const char *wire;
        size_t len;
    } rows[] = {
        ROW("\0"),                    /* the root */
        ROW("\3a.b\7example\0"),      /* a dot inside a label */
        ROW("\3a\0b\7example\0"),     /* a NUL */
        ROW("\3a b\7example\0"),      /* a space */
        ROW("\2\xC3\xA9\7example\0"), /* raw UTF-8 */
        ROW("\1*\7example\0"),        /* a wildcard */
        ROW("\3"
            "127"
            "\1"
            "0"
            "\1"
            "0"
            "\1"
            "1\0"),             /* reads as an address */
        ROW("\2-a\7example\0"), /* a hyphen in front */
    };
#undef ROW
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct probe *p = probe_new();
        begin(p, OKAY, 1, 0, 0);
        msg_rr(&p->w, "@12", DNS_CNAME, 50, span_make(rows[i].wire, rows[i].len));
        if (parse(p) != DNS_REPLY_ERROR || p->r.rcode != DNS_SERVFAIL || p->r.target.len != 0) {
            fail_msg("row %zu: kind %d", i, (int)p->r.kind);
        }
        free(p);
    }
}

static void test_negatives(void **state)
{
    (void)state;
    static const struct {
        uint32_t soa_ttl, minimum;
        const char *owner;
        uint32_t ttl_s;
    } rows[] = {
        {900, 60, "example.com", 60},
        {60, 900, "com", 60},
        {900, 60, "example.net", 0},
        {0x80000001U, 60, ".", 0},
        {60, 0x80000001U, "www.EXAMPLE.com", 0},
    };
    for (int nx = 0; nx <= 1; nx++) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            struct probe *p = probe_new();
            begin(p, nx == 1 ? NX : OKAY, 0, 1, 0);
            msg_soa(&p->w, rows[i].owner, rows[i].soa_ttl, rows[i].minimum);
            assert_int_equal(parse(p), nx == 1 ? DNS_REPLY_NXDOMAIN : DNS_REPLY_NODATA);
            assert_int_equal(p->r.ttl_s, rows[i].ttl_s);
            assert_int_equal(p->r.rcode, nx == 1 ? DNS_NXDOMAIN : DNS_NOERROR);
            free(p);
        }
        struct probe *p = probe_new();
        begin(p, nx == 1 ? 0x8103 : 0x8100, 0, 1, 0);
        msg_rr_name(&p->w, "example.com", DNS_NS, 60, "ns.example.com"); /* a referral: no SOA, RA=0 */
        assert_int_equal(parse(p), nx == 1 ? DNS_REPLY_NXDOMAIN : DNS_REPLY_NODATA);
        assert_int_equal(p->r.ttl_s, 0);
        assert_false(p->r.ra);
        free(p);
    }
}

static void test_soa_of_another_class_does_not_count(void **state)
{
    (void)state;
    struct probe *p = probe_new();
    begin(p, NX, 0, 1, 0);
    size_t owner = p->w.len;
    msg_soa(&p->w, ".", 300, 60);
    assert_int_equal(parse(p), DNS_REPLY_NXDOMAIN);
    assert_int_equal(p->r.ttl_s, 60);
    p->bytes[owner + 4] = 3; /* CHAOS */
    assert_int_equal(parse(p), DNS_REPLY_NXDOMAIN);
    assert_int_equal(p->r.ttl_s, 0);
    free(p);
}

static void test_nxdomain_is_about_the_end_of_the_chain(void **state)
{
    (void)state;
    struct probe *p = probe_new();
    begin(p, NX, 1, 1, 0);
    msg_cname(&p->w, "@12", 20, "b.example.net");
    msg_soa(&p->w, "example.net", 30, 25);
    assert_int_equal(parse(p), DNS_REPLY_NXDOMAIN);
    assert_int_equal(p->r.ttl_s, 20); /* the chain's TTL bounds it too */
    assert_int_equal(p->r.hop_count, 1);
    free(p);
    p = probe_new();
    begin(p, NX, 1, 0, 0);
    msg_a(&p->w, "@12", 20, "192.0.2.1"); /* addresses of a name that does not exist */
    assert_int_equal(parse(p), DNS_REPLY_NXDOMAIN);
    assert_int_equal(p->r.addr_count, 0);
    assert_int_equal(p->r.ttl_s, 0);
    free(p);
}

static void test_rcodes(void **state)
{
    (void)state;
    for (uint32_t rcode = 0; rcode < 4096; rcode += rcode < 64 ? 1 : 61) {
        struct probe *p = probe_new();
        begin(p, (uint16_t)(0x8180 | (rcode & 15)), 1, 0, 1);
        msg_a(&p->w, "@12", 20, "192.0.2.1");
        msg_opt(&p->w, 1232, (rcode >> 4) << 24, SPAN_LIT(""));
        enum dns_reply_kind want = rcode == DNS_NOERROR    ? DNS_REPLY_ADDRS
                                   : rcode == DNS_NXDOMAIN ? DNS_REPLY_NXDOMAIN
                                                           : DNS_REPLY_ERROR;
        assert_int_equal(parse(p), want);
        assert_int_equal(p->r.rcode, rcode);
        assert_int_equal(p->r.addr_count, rcode == 0 ? 1 : 0);
        free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_only_the_asked_family_counts),
        cmocka_unit_test(test_records_off_the_chain_do_not_count),
        cmocka_unit_test(test_address_counts),
        cmocka_unit_test(test_ttl_bounds),
        cmocka_unit_test(test_cname_followed_inside),
        cmocka_unit_test(test_cname_without_address_names_its_target),
        cmocka_unit_test(test_cname_with_soa_is_nodata),
        cmocka_unit_test(test_chain_limit_and_loops),
        cmocka_unit_test(test_contradictions_are_errors),
        cmocka_unit_test(test_cname_targets_that_are_no_host_names),
        cmocka_unit_test(test_negatives),
        cmocka_unit_test(test_soa_of_another_class_does_not_count),
        cmocka_unit_test(test_nxdomain_is_about_the_end_of_the_chain),
        cmocka_unit_test(test_rcodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

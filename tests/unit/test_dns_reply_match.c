/* SPDX-License-Identifier: Apache-2.0 */
/* dns_reply: which messages answer our question at all, and which are ignored. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/dns_probe.h"

/* What a message may cost is bounded by its records; nobody has that many addresses. */
static void test_too_many_records(void **state)
{
    (void)state;
    for (uint16_t extra = 0; extra <= 1; extra++) {
        struct probe *p = probe_new();
        begin(p, OKAY, 400, 400, (uint16_t)(200 + extra));
        for (unsigned i = 0; i < 1000U + extra; i++) {
            msg_a(&p->w, "@12", 5, "192.0.2.1");
        }
        assert_int_equal(parse(p), extra == 0 ? DNS_REPLY_ADDRS : DNS_REPLY_MISMATCH);
        free(p);
    }
}

static void test_bare_errors(void **state)
{
    (void)state;
    for (uint16_t rcode = 0; rcode < 16; rcode++) {
        struct probe *p = probe_new();
        msg_header(&p->w, ID, (uint16_t)(0x8000 | rcode), MSG_COUNTS(0, 0, 0, 0));
        bool is_bare = rcode == DNS_FORMERR || rcode == DNS_NOTIMP;
        assert_int_equal(parse(p), is_bare ? DNS_REPLY_ERROR : DNS_REPLY_MISMATCH);
        assert_int_equal(p->r.rcode, is_bare ? rcode : 0);
        wbuf_u8(&p->w, 0);
        assert_int_equal(parse(p), DNS_REPLY_MISMATCH);
        free(p);
    }
}

/* Only the header alone, perhaps with an OPT, goes without our question. */
static void test_errors_that_are_not_bare(void **state)
{
    (void)state;
    static const uint16_t rows[][4] = {{0, 0, 0, 1}, {1, 0, 0, 1}, {1, 0, 0, 1}, {0, 1, 0, 1}, {0, 0, 1, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct probe *p = probe_new();
        msg_header(&p->w, ID, 0x8181, rows[i]);
        if (rows[i][0] == 1) {
            msg_question(&p->w, i == 1 ? NAME : "other.example.com", DNS_A);
        }
        if (rows[i][1] + rows[i][2] == 1) {
            msg_a(&p->w, NAME, 5, "192.0.2.1");
        }
        msg_opt(&p->w, 1232, 0, SPAN_LIT(""));
        assert_int_equal(parse(p), i < 2 ? DNS_REPLY_ERROR : DNS_REPLY_MISMATCH);
        free(p);
    }
}

static void test_truncated(void **state)
{
    (void)state;
    struct probe *p = probe_new();
    begin(p, OKAY | 0x0200, 5, 0, 1);
    msg_a(&p->w, "@12", 20, "192.0.2.1");
    p->w.len -= 3; /* cut anywhere */
    assert_int_equal(parse(p), DNS_REPLY_TRUNCATED);
    assert_int_equal(p->r.addr_count, 0);
    p->bytes[DNS_HEADER_LEN + 1] = 'v'; /* the question still has to be ours */
    assert_int_equal(parse(p), DNS_REPLY_MISMATCH);
    free(p);
}

static void test_not_our_question(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        uint16_t id, flags, qd;
        const char *name;
        uint16_t type, class;
    } rows[] = {
        {"fine", ID, OKAY, 1, NAME, DNS_A, DNS_IN},
        {"id", ID ^ 1, OKAY, 1, NAME, DNS_A, DNS_IN},
        {"a query", ID, 0x0100, 1, NAME, DNS_A, DNS_IN},
        {"opcode", ID, 0x9180, 1, NAME, DNS_A, DNS_IN},
        {"no question", ID, OKAY, 0, NAME, DNS_A, DNS_IN},
        {"two questions", ID, OKAY, 2, NAME, DNS_A, DNS_IN},
        {"name", ID, OKAY, 1, "wwx.example.com", DNS_A, DNS_IN},
        {"shorter name", ID, OKAY, 1, "example.com", DNS_A, DNS_IN},
        {"longer name", ID, OKAY, 1, "www.example.com.com", DNS_A, DNS_IN},
        {"type", ID, OKAY, 1, NAME, DNS_AAAA, DNS_IN},
        {"class", ID, OKAY, 1, NAME, DNS_A, 3},
        {"compressed", ID, OKAY, 1, "www.example.com@12", DNS_A, DNS_IN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct probe *p = probe_new();
        msg_header(&p->w, rows[i].id, rows[i].flags, MSG_COUNTS(rows[i].qd, 0, 0, 0));
        msg_name(&p->w, rows[i].name);
        wbuf_u16(&p->w, rows[i].type);
        wbuf_u16(&p->w, rows[i].class);
        if ((parse(p) != DNS_REPLY_MISMATCH) != (i == 0)) {
            fail_msg("%s: kind %d", rows[i].what, (int)p->r.kind);
        }
        free(p);
    }
}

static void test_exact_case(void **state)
{
    (void)state;
    struct probe *p = probe_new();
    msg_header(&p->w, ID, OKAY, MSG_COUNTS(1, 1, 0, 0));
    msg_question(&p->w, "wWw.exaMple.com", DNS_A);
    msg_a(&p->w, NAME, 20, "192.0.2.1"); /* the owner's case is the upstream's */
    struct dns_sent sent = {.id = ID, .qtype = DNS_A, .exact_case = true, .qname = SPAN_LIT(WIRE)};
    parse_as(p, p->w.len, &sent);
    assert_int_equal(p->r.kind, DNS_REPLY_MISMATCH);
    sent.exact_case = false;
    parse_as(p, p->w.len, &sent);
    assert_int_equal(p->r.kind, DNS_REPLY_ADDRS);
    sent.exact_case = true;
    sent.qname = SPAN_LIT("\3wWw\7exaMple\3com\0");
    parse_as(p, p->w.len, &sent);
    assert_int_equal(p->r.kind, DNS_REPLY_ADDRS);
    free(p);
}

/* The message whose truncations and changes are tried: chain, addresses, SOA, NS, OPT. */
static void build_rich(struct probe *p)
{
    begin(p, OKAY, 3, 2, 2);
    msg_cname(&p->w, "@12", 50, "b@16");
    msg_a(&p->w, "b@16", 40, "192.0.2.1");
    msg_a(&p->w, "b@16", 40, "192.0.2.2");
    msg_soa(&p->w, "@16", 900, 60);
    msg_rr_name(&p->w, "@24", DNS_NS, 900, "ns@16");
    msg_a(&p->w, "ns@16", 900, "192.0.2.53");
    msg_opt(&p->w, 1232, 0, SPAN_LIT("\0\12\0\10abcdefgh"));
}

static void test_every_truncation(void **state)
{
    (void)state;
    struct probe *p = probe_new();
    struct dns_sent sent = {.id = ID, .qtype = DNS_A, .qname = SPAN_LIT(WIRE)};
    build_rich(p);
    assert_int_equal(parse(p), DNS_REPLY_ADDRS);
    assert_int_equal(p->r.addr_count, 2);
    for (size_t len = 0; len < p->w.len; len++) {
        parse_as(p, len, &sent);
        assert_int_equal(p->r.kind, DNS_REPLY_MISMATCH);
        assert_int_equal(p->r.addr_count, 0);
        assert_false(p->r.has_opt);
    }
    wbuf_u8(&p->w, 0);
    assert_int_equal(parse(p), DNS_REPLY_MISMATCH); /* one byte too many */
    free(p);
}

static void test_largest_message(void **state)
{
    (void)state;
    struct probe *p = probe_new();
    begin(p, OKAY, 2, 0, 0);
    msg_a(&p->w, "@12", 20, "192.0.2.1");
    msg_rr_head(&p->w, "pad", 65400, DNS_IN, 1);
    size_t left = DNS_MESSAGE_MAX - p->w.len - 2;
    wbuf_u16(&p->w, (uint16_t)left);
    for (size_t i = 0; i < left; i++) {
        wbuf_u8(&p->w, 0xC0);
    }
    assert_int_equal(p->w.len, DNS_MESSAGE_MAX);
    assert_int_equal(parse(p), DNS_REPLY_ADDRS);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_too_many_records),         cmocka_unit_test(test_bare_errors),
        cmocka_unit_test(test_errors_that_are_not_bare), cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_not_our_question),         cmocka_unit_test(test_exact_case),
        cmocka_unit_test(test_every_truncation),         cmocka_unit_test(test_largest_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* dns_answer: the bytes a client gets, within every limit. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/dns/dns_ldns.h"
#include "tests/support/dns_msg.h"

#include <stdlib.h>

#define ID 0x7A01
#define QNAME "\7Gateway\7discord\2gg\0"
#define QLEN (DNS_HEADER_LEN + sizeof(QNAME) - 1 + 4)
#define OPT_LEN 11

/* A query for Gateway.discord.gg, parsed as the daemon does it. */
struct asked {
    uint8_t bytes[600];
    struct dns_query q;
};

static void ask(struct asked *k, uint16_t flags, uint16_t type, bool with_opt, uint32_t opt_bits)
{
    struct wbuf w = wbuf_make(k->bytes, sizeof k->bytes);
    enum dns_rcode rcode;
    msg_header(&w, ID, flags, MSG_COUNTS(1, 0, 0, with_opt ? 1 : 0));
    msg_question(&w, "Gateway.discord.gg", type);
    if (with_opt) {
        msg_opt(&w, 4096, opt_bits, SPAN_LIT("\0\12\0\10abcdefgh"));
    }
    (void)dns_query_parse(wbuf_span(&w), &k->q, &rcode);
    assert_int_not_equal(k->q.question.len, 0);
}

/* Builds into exactly limit bytes on the heap. The caller frees *out. */
static size_t build(const struct dns_answer *a, size_t limit, uint8_t **out)
{
    *out = malloc(limit == 0 ? 1 : limit);
    assert_non_null(*out);
    size_t len = dns_answer_build(a, *out, limit);
    assert_true(len <= limit);
    return len;
}

static unsigned u16_at(const uint8_t *m, size_t at)
{
    return (unsigned)m[at] << 8 | m[at + 1];
}

static void assert_counts(const uint8_t *m, unsigned qd, unsigned an, unsigned ns, unsigned ar)
{
    assert_int_equal(u16_at(m, 4), qd);
    assert_int_equal(u16_at(m, 6), an);
    assert_int_equal(u16_at(m, 8), ns);
    assert_int_equal(u16_at(m, 10), ar);
}

static void test_one_address_byte_for_byte(void **state)
{
    (void)state;
    struct asked k;
    ask(&k, 0x0100, DNS_A, false, 0);
    struct ip ip = ip_v4(198, 18, 0, 1);
    struct dns_answer a = {.query = &k.q, .addrs = &ip, .addr_count = 1, .ttl_s = 30, .ede = DNS_EDE_FORGED};
    uint8_t *m;
    size_t len = build(&a, 512, &m);
    static const uint8_t want[] = "\x7A\x01\x81\x80\0\1\0\1\0\0\0\0" QNAME "\0\1\0\1"
                                  "\xC0\x0C\0\1\0\1\0\0\0\36\0\4\306\22\0\1";
    assert_int_equal(len, sizeof want - 1);
    assert_memory_equal(m, want, len); /* the question as received, no OPT, so no EDE */
    free(m);
}

static void test_flags(void **state)
{
    (void)state;
    static const struct {
        uint16_t query, answer;
    } rows[] = {{0x0000, 0x8080}, {0x0100, 0x8180}, {0x0010, 0x8090}, {0x0110, 0x8190}, {0x07EF, 0x8180}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct asked k;
        ask(&k, rows[i].query, DNS_A, false, 0);
        struct dns_answer a = {.query = &k.q, .ede = DNS_EDE_NONE};
        uint8_t *m;
        (void)build(&a, 512, &m);
        assert_int_equal(u16_at(m, 2), rows[i].answer);
        free(m);
    }
}

static void test_opt_only_if_asked(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct asked k;
        ask(&k, 0, DNS_A, i > 0, i == 2 ? 0x8000 : 0x4000);
        struct dns_answer a = {.query = &k.q, .ede = DNS_EDE_NONE};
        uint8_t *m;
        size_t len = build(&a, 1232, &m);
        assert_int_equal(len, QLEN + (i > 0 ? OPT_LEN : 0));
        assert_counts(m, 1, 0, 0, i > 0 ? 1 : 0);
        if (i > 0) {
            static const uint8_t plain[] = "\0\0\51\4\320\0\0\0\0\0\0";
            static const uint8_t with_do[] = "\0\0\51\4\320\0\0\200\0\0\0";
            assert_memory_equal(m + QLEN, i == 2 ? with_do : plain, OPT_LEN);
        }
        free(m);
    }
}

static void test_badvers_splits_the_rcode(void **state)
{
    (void)state;
    struct asked k;
    ask(&k, 0x0100, DNS_A, true, 0x00FF8000);
    struct dns_answer a = {.query = &k.q, .rcode = DNS_BADVERS, .ede = DNS_EDE_NONE};
    uint8_t *m;
    size_t len = build(&a, 512, &m);
    assert_int_equal(len, QLEN + OPT_LEN);
    assert_int_equal(m[3] & 15, 0);
    assert_memory_equal(m + QLEN, "\0\0\51\4\320\1\0\200\0\0\0",
                        OPT_LEN); /* 16 = 1 << 4; version 0; DO copied */
    free(m);
}

static void test_negative_with_soa_and_ede(void **state)
{
    (void)state;
    struct asked k;
    ask(&k, 0x0100, DNS_A, true, 0);
    struct dns_soa_template soa;
    assert_int_equal(dns_soa_template_build(&soa), 0);
    struct dns_answer a = {.query = &k.q,
                           .rcode = DNS_NXDOMAIN,
                           .soa = &soa,
                           .soa_serial = 0x01020304,
                           .soa_ttl_s = 10,
                           .ede = DNS_EDE_BLOCKED,
                           .ede_text = "policy_denied"};
    uint8_t *m;
    size_t len = build(&a, 1232, &m);
    static const uint8_t tail[] = "\0\0\6\0\1\0\0\0\12\0\74\4dnsd\11openshell\7invalid\0\6nobody\7invalid\0"
                                  "\1\2\3\4\0\0\16\20\0\0\2\130\0\1\121\200\0\0\0\12"
                                  "\0\0\51\4\320\0\0\0\0\0\23\0\17\0\17\0\17policy_denied";
    assert_int_equal(len, QLEN + sizeof tail - 1);
    assert_memory_equal(m + QLEN, tail, sizeof tail - 1);
    assert_counts(m, 1, 0, 1, 1);
    assert_int_equal(m[3] & 15, DNS_NXDOMAIN);
    struct dns_soa_template again;
    assert_int_equal(dns_soa_template_build(&again), 0);
    assert_memory_equal(soa.wire, again.wire, soa.len); /* the template itself was not patched */
    free(m);
}

static void test_ptr(void **state)
{
    (void)state;
    struct asked k;
    ask(&k, 0, DNS_PTR, false, 0);
    struct host_name name;
    assert_int_equal(host_name_parse(SPAN_LIT("discord.com"), &name), HOST_FAULT_NONE);
    struct dns_answer a = {.query = &k.q, .ptr = &name, .ttl_s = 7, .ede = DNS_EDE_NONE};
    uint8_t *m;
    size_t len = build(&a, 512, &m);
    static const uint8_t tail[] = "\300\14\0\14\0\1\0\0\0\7\0\15\7discord\3com\0";
    assert_int_equal(len, QLEN + sizeof tail - 1);
    assert_memory_equal(m + QLEN, tail, sizeof tail - 1);
    free(m);
}

static void test_error_without_question(void **state)
{
    (void)state;
    static const uint8_t query[] = {0x7A, 1, 0x29, 0x10, 0, 0, 0, 0, 0, 0, 0, 0}; /* opcode 5, RD, CD */
    struct dns_query q;
    enum dns_rcode rcode;
    assert_int_equal(dns_query_parse(span_make(query, sizeof query), &q, &rcode), DNS_QUERY_ERROR);
    struct ip ip = ip_v4(192, 0, 2, 1);
    struct dns_answer a = {.query = &q, .rcode = rcode, .addrs = &ip, .addr_count = 1, .ede = DNS_EDE_OTHER};
    uint8_t *m;
    assert_int_equal(build(&a, 512, &m), DNS_HEADER_LEN);
    assert_memory_equal(m, "\x7A\1\xA9\x94\0\0\0\0\0\0\0\0",
                        DNS_HEADER_LEN); /* no record without its owner */
    free(m);
}

/* Every limit from 0 up: nothing is written past it, TC says so, and as much as possible is there. */
static void test_every_limit(void **state)
{
    (void)state;
    struct ip ips[DNS_ADDRS_MAX];
    for (size_t i = 0; i < DNS_ADDRS_MAX; i++) {
        ips[i] =
            i % 2 == 0 ? ip_v4(203, 0, 113, (uint8_t)i) : (struct ip){.family = IP_V6, .bytes = {0x20, 1}};
    }
    for (int with_opt = 0; with_opt <= 1; with_opt++) {
        struct asked k;
        ask(&k, 0, DNS_A, with_opt == 1, 0);
        struct dns_answer a = {.query = &k.q,
                               .addrs = ips,
                               .addr_count = DNS_ADDRS_MAX,
                               .ttl_s = 1,
                               .ede = DNS_EDE_FORGED,
                               .ede_text = "synthetic"};
        size_t opt = with_opt == 1 ? OPT_LEN : 0;
        for (size_t limit = 0; limit < 1600; limit++) {
            uint8_t *m;
            size_t len = build(&a, limit, &m);
            if (limit < QLEN) {
                assert_int_equal(len, 0);
                free(m);
                continue;
            }
            size_t room = limit - QLEN < opt ? 0 : limit - QLEN - opt;
            size_t count = 0;
            for (size_t used = 0; count < DNS_ADDRS_MAX; count++) {
                used += count % 2 == 0 ? 16 : 28;
                if (used > room) {
                    break;
                }
            }
            bool has_opt = with_opt == 1 && limit - QLEN >= opt;
            if (limit - QLEN < opt) {
                count = limit - QLEN >= 16 ? 1 : 0;
            }
            assert_counts(m, 1, (unsigned)count, 0, has_opt ? 1 : 0);
            assert_int_equal((m[2] & 2) != 0, count < DNS_ADDRS_MAX || (with_opt == 1 && !has_opt));
            struct dns_sent sent = {.id = ID, .qtype = DNS_A, .exact_case = true, .qname = k.q.qname};
            struct dns_reply r;
            m[2] &= 0xFD; /* without TC, so that the rest is read: it has to be whole */
            dns_reply_parse(span_make(m, len), &sent, &r);
            assert_int_equal(r.kind, count == 0 ? DNS_REPLY_NODATA : DNS_REPLY_ADDRS);
            assert_int_equal(r.addr_count, (count + 1) / 2);
            assert_int_equal(r.has_opt, has_opt);
            free(m);
        }
    }
}

static void test_soa_and_ptr_that_do_not_fit(void **state)
{
    (void)state;
    struct asked k;
    ask(&k, 0, DNS_PTR, false, 0);
    struct dns_soa_template soa;
    assert_int_equal(dns_soa_template_build(&soa), 0);
    struct host_name name;
    assert_int_equal(host_name_parse(SPAN_LIT("discord.com"), &name), HOST_FAULT_NONE);
    struct dns_answer with_soa = {.query = &k.q, .soa = &soa, .ede = DNS_EDE_NONE};
    struct dns_answer with_ptr = {.query = &k.q, .ptr = &name, .ede = DNS_EDE_NONE};
    const size_t ptr_len = 12 + 13;
    for (int fits = 0; fits <= 1; fits++) {
        uint8_t *m;
        size_t len = build(&with_soa, QLEN + soa.len - (fits == 1 ? 0 : 1), &m);
        assert_int_equal(len, fits == 1 ? QLEN + soa.len : QLEN);
        assert_int_equal((m[2] & 2) != 0, fits == 0);
        assert_counts(m, 1, 0, (unsigned)fits, 0);
        free(m);
        len = build(&with_ptr, QLEN + ptr_len - (fits == 1 ? 0 : 1), &m);
        assert_int_equal(len, fits == 1 ? QLEN + ptr_len : QLEN);
        assert_int_equal((m[2] & 2) != 0, fits == 0);
        assert_counts(m, 1, (unsigned)fits, 0, 0);
        free(m);
    }
}

static void test_ede_text_is_cut_at_a_character(void **state)
{
    (void)state;
    struct asked k;
    ask(&k, 0, DNS_A, true, 0);
    struct dns_answer a = {.query = &k.q, .ede = DNS_EDE_BLOCKED, .ede_text = "a\xC3\xA9\xE2\x82\xAC!"};
    static const struct {
        size_t room; /* behind the bare OPT */
        size_t rdata;
    } rows[] = {{0, 0},  {5, 0},  {6, 6},   {7, 7},   {8, 7},   {9, 9},
                {10, 9}, {11, 9}, {12, 12}, {13, 13}, {14, 13}, {500, 13}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t *m;
        size_t len = build(&a, QLEN + OPT_LEN + rows[i].room, &m);
        assert_int_equal(len, QLEN + OPT_LEN + rows[i].rdata);
        assert_int_equal(u16_at(m, QLEN + 9), rows[i].rdata);
        if (rows[i].rdata > 0) {
            assert_memory_equal(m + QLEN + OPT_LEN, "\0\17", 2);
            assert_int_equal(u16_at(m, QLEN + OPT_LEN + 2), rows[i].rdata - 4);
            assert_int_equal(u16_at(m, QLEN + OPT_LEN + 4), DNS_EDE_BLOCKED);
            assert_memory_equal(m + QLEN + OPT_LEN + 6, a.ede_text, rows[i].rdata - 6);
        }
        assert_int_equal(m[2] & 2, 0); /* an explanation left out is no truncation */
        free(m);
    }
    a.ede_text = NULL;
    uint8_t *m;
    assert_int_equal(build(&a, 512, &m), QLEN + OPT_LEN + 6);
    free(m);
}

static void test_limit_beyond_a_message(void **state)
{
    (void)state;
    struct asked k;
    ask(&k, 0, DNS_A, true, 0);
    char *text = malloc(100000);
    assert_non_null(text);
    memset(text, 'x', 99999);
    text[99999] = '\0';
    struct dns_answer a = {.query = &k.q, .ede = DNS_EDE_OTHER, .ede_text = text};
    uint8_t *m;
    size_t len = build(&a, 200000, &m);
    assert_int_equal(len, DNS_MESSAGE_MAX);
    assert_int_equal(u16_at(m, QLEN + 9), DNS_MESSAGE_MAX - QLEN - OPT_LEN);
    free(m);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_address_byte_for_byte),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_opt_only_if_asked),
        cmocka_unit_test(test_badvers_splits_the_rcode),
        cmocka_unit_test(test_negative_with_soa_and_ede),
        cmocka_unit_test(test_ptr),
        cmocka_unit_test(test_error_without_question),
        cmocka_unit_test(test_every_limit),
        cmocka_unit_test(test_soa_and_ptr_that_do_not_fit),
        cmocka_unit_test(test_ede_text_is_cut_at_a_character),
        cmocka_unit_test(test_limit_beyond_a_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

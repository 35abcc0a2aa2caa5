/* SPDX-License-Identifier: Apache-2.0 */
/* dns_wire: names on the wire and reverse names. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/dns/dns_wire.h"

#include <stdio.h>

static void test_equal_without_case(void **state)
{
    (void)state;
    assert_true(dns_wire_name_is_equal(SPAN_LIT("\3wWw\2GG\0"), SPAN_LIT("\3Www\2gg\0")));
    assert_true(dns_wire_name_is_equal(SPAN_LIT("\0"), SPAN_LIT("\0")));
    assert_false(dns_wire_name_is_equal(SPAN_LIT("\3www\2gg\0"), SPAN_LIT("\3www\2gh\0")));
    assert_false(dns_wire_name_is_equal(SPAN_LIT("\3www\2gg\0"), SPAN_LIT("\2gg\0")));
    assert_false(
        dns_wire_name_is_equal(SPAN_LIT("\3a.b\0"), SPAN_LIT("\1a\1b\0")));     /* a dot is no label end */
    assert_false(dns_wire_name_is_equal(SPAN_LIT("\1[\0"), SPAN_LIT("\1{\0"))); /* next to the letters */
    assert_false(dns_wire_name_is_equal(SPAN_LIT("\1@\0"), SPAN_LIT("\1`\0")));
    assert_false(dns_wire_name_is_equal(SPAN_LIT("\1\xC1\0"), SPAN_LIT("\1\xE1\0"))); /* ASCII only */
}

static void test_randomise(void **state)
{
    (void)state;
    uint8_t ones[32];
    uint8_t zeros[32] = {0};
    uint8_t every_other[32];
    memset(ones, 0xFF, sizeof ones);
    memset(every_other, 0xAA, sizeof every_other);
    uint8_t name[] = "\3w-w\7ex4mple\2GG";
    dns_wire_name_randomise(name, sizeof name, ones);
    assert_memory_equal(name, "\3W-W\7EX4MPLE\2GG", sizeof name);
    dns_wire_name_randomise(name, sizeof name, zeros);
    assert_memory_equal(name, "\3w-w\7ex4mple\2gg", sizeof name);
    dns_wire_name_randomise(name, sizeof name, every_other); /* odd offsets upper */
    assert_memory_equal(name, "\3W-W\7Ex4mPlE\2Gg", sizeof name);
}

/* Every length, which need not be a multiple of anything: what is behind the name stays. */
static void test_randomise_to_the_end(void **state)
{
    (void)state;
    uint8_t ones[32];
    memset(ones, 0xFF, sizeof ones);
    for (size_t len = 0; len <= 33; len++) {
        uint8_t name[40];
        memset(name, 'x', sizeof name);
        dns_wire_name_randomise(name, len, ones);
        for (size_t i = 0; i < sizeof name; i++) {
            assert_int_equal(name[i], i < len ? 'X' : 'x');
        }
    }
}

/* Each letter has a bit of its own, up to the last of the longest name; nothing else changes. */
static void test_randomise_uses_every_bit(void **state)
{
    (void)state;
    for (size_t i = 0; i < 255; i++) {
        uint8_t rnd[32] = {0};
        uint8_t name[255];
        memset(name, 'x', sizeof name);
        rnd[i / 8] = (uint8_t)(1U << (i % 8));
        dns_wire_name_randomise(name, sizeof name, rnd);
        for (size_t j = 0; j < sizeof name; j++) {
            assert_int_equal(name[j], j == i ? 'X' : 'x');
        }
    }
    uint8_t bytes[255];
    uint8_t rnd[32];
    memset(rnd, 0xFF, sizeof rnd);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)i;
    }
    dns_wire_name_randomise(bytes, sizeof bytes, rnd);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bool is_lower = i >= 'a' && i <= 'z';
        assert_int_equal(bytes[i], is_lower ? i - 32 : i);
    }
}

static void test_reverse(void **state)
{
    (void)state;
#define V6 "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
    static const struct {
        const char *name;
        const char *ip; /* NULL: not a full reverse name */
    } rows[] = {
        {"1.0.18.198.in-addr.arpa", "198.18.0.1"},
        {"4.3.2.1.in-addr.arpa", "1.2.3.4"},
        {"255.255.255.255.IN-ADDR.Arpa", "255.255.255.255"},
        {V6 ".ip6.arpa", "2001:db8::1"},
        {V6 ".IP6.ARPA.", "2001:db8::1"},
        {"f." V6 ".ip6.arpa", NULL},
        {V6 ".ip6.arpa.example", NULL},
        {"0.0.0." V6 ".ip6.arpa", NULL},
        {"g" V6 ".ip6.arpa", NULL},
        {"1" V6 ".ip6.arpa", NULL},
        {"18.198.in-addr.arpa", NULL},
        {"5.1.0.18.198.in-addr.arpa", NULL},
        {"01.0.18.198.in-addr.arpa", NULL},
        {"256.0.18.198.in-addr.arpa", NULL},
        {"a.0.18.198.in-addr.arpa", NULL},
        {"1.0.18.198.in-addr.example", NULL},
        {"1.0.18.198.ip6.arpa", NULL},
        {V6 ".in-addr.arpa", NULL},
        {"1.0.18.198.inaddr.arpa", NULL},
        {"in-addr.arpa", NULL},
        {"ip6.arpa", NULL},
        {"arpa", NULL},
        {"example", NULL},
    };
#undef V6
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct host_name n;
        struct ip ip = {0};
        assert_int_equal(host_name_parse(span_str(rows[i].name), &n), HOST_FAULT_NONE);
        bool found = dns_reverse_parse(&n, &ip);
        char text[IP_TEXT_CAP];
        if (found != (rows[i].ip != NULL) || (found && strcmp(ip_text(&ip, text), rows[i].ip) != 0)) {
            fail_msg("%s: found %d", rows[i].name, (int)found);
        }
        assert_true(found || ip.family == IP_NONE); /* *out is left alone */
    }
    struct host_name none = {0};
    struct ip ip = {0};
    assert_false(dns_reverse_parse(&none, &ip));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_without_case),
        cmocka_unit_test(test_randomise),
        cmocka_unit_test(test_randomise_to_the_end),
        cmocka_unit_test(test_randomise_uses_every_bit),
        cmocka_unit_test(test_reverse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

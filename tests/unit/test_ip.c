/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and prefixes: text both ways, order, containment. What class an address is of: test_ip_class. */
#include "tests/support/ip_must.h"

#include <errno.h>

static void test_parse_good(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        /* as written, as printed (RFC 5952) */
        {"0.0.0.0", "0.0.0.0"},
        {"255.255.255.255", "255.255.255.255"},
        {"192.0.2.1", "192.0.2.1"},
        {"::", "::"},
        {"::1", "::1"},
        {"1::", "1::"},
        {"0:0:0:0:0:0:0:0", "::"},
        {"2001:DB8::0A", "2001:db8::a"},
        {"2001:0db8:0000:0000:0001:0000:0000:0001", "2001:db8::1:0:0:1"}, /* 4.2.3: the first of two runs */
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},                 /* 4.2.2: one group is no run */
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},                          /* 4.2.3: the longest */
        {"0:0:0:1:0:0:0:0", "0:0:0:1::"},
        {"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
        {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
        {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
        {"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"},
        {"::ffff:192.0.2.1", "::ffff:192.0.2.1"},
        {"::FFFF:c000:0201", "::ffff:192.0.2.1"},
        {"::192.0.2.1", "::c000:201"},
        {"64:ff9b::192.0.2.1", "64:ff9b::c000:201"},
        {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ip a = must_ip(rows[i][0]);
        char text[IP_TEXT_CAP];
        assert_string_equal(ip_text(&a, text), rows[i][1]);
        struct ip b = must_ip(text);
        assert_true(ip_is_equal(&a, &b));
    }
    struct ip a = must_ip("1.2.3.4");
    assert_int_equal(a.family, IP_V4);
    assert_memory_equal(a.bytes, "\1\2\3\4\0\0\0\0\0\0\0\0\0\0\0", 16);
    a = must_ip("::ffff:1.2.3.4");
    assert_int_equal(a.family, IP_V6); /* mapped stays IPv6 */
    assert_int_equal(ip_parse(span_make("1.2.3.45", 7), &a), 0);
    assert_int_equal(a.bytes[3], 4); /* the span ends it */
}

static void test_parse_bad(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "",
        ".",
        "1",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.4.",
        "1..2.3",
        ".1.2.3.4",
        "256.1.1.1",
        "1.2.3.256",
        "01.2.3.4",
        "1.2.3.04",
        "1.2.3.00",
        "0x7f.0.0.1",
        "1.2.3.0x4",
        "127.1",
        "2130706433",
        "+1.2.3.4",
        "1.2.3.-4",
        " 1.2.3.4",
        "1.2.3.4 ",
        "1.2.3.4/32",
        "1.2.3.4:80",
        "1,2,3,4",
        ":",
        ":::",
        "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9",
        "1::2::3",
        "::1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7:8::",
        ":1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7:",
        "12345::",
        "g::",
        "::00001",
        "fe80::1%eth0",
        "fe80::1%25eth0",
        "[::1]",
        "::1/128",
        "::1.2.3",
        "::1.2.3.256",
        "::1.2.3.04",
        "1.2.3.4::",
        "1:2:3:4:5:6:7:1.2.3.4",
        "::ffff:1.2.3.4:5",
        " ::1",
        "::1 ",
        "localhost",
        "1111111111111111111111111111111111111111111111111",
        "0000:0000:0000:0000:0000:ffff:255.255.255.2555",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ip a = {.family = 77};
        if (ip_parse(span_str(rows[i]), &a) != -EINVAL) {
            fail_msg("'%s' parses", rows[i]);
        }
        assert_int_equal(a.family, 77); /* left alone */
    }
    struct ip a;
    assert_int_equal(ip_parse(SPAN_LIT("1.2.3.4\0"), &a), -EINVAL);
    assert_int_equal(ip_parse(SPAN_LIT("1.2.3\0.4"), &a), -EINVAL);
    assert_int_equal(ip_parse(SPAN_LIT("::1\0"), &a), -EINVAL);
    assert_int_equal(ip_parse(span_make(NULL, 0), &a), -EINVAL);
}

/* Every truncation of an address is refused, or is the shorter address that it spells. */
static void test_parse_truncations(void **state)
{
    (void)state;
    static const char v4[] = "192.168.100.200";
    for (size_t len = 0; len < sizeof v4; len++) {
        struct ip a;
        bool is_whole = len > 12; /* 192.168.100.2, .20 and .200 */
        assert_int_equal(ip_parse(span_make(v4, len), &a), is_whole ? 0 : -EINVAL);
    }
    static const char v6[] = "2001:db8:1:2:3:4:5:6";
    for (size_t len = 0; len < sizeof v6; len++) {
        struct ip a;
        assert_int_equal(ip_parse(span_make(v6, len), &a), len == sizeof v6 - 1 ? 0 : -EINVAL);
    }
}

static void test_none(void **state)
{
    (void)state;
    struct ip none = {0};
    struct ip any = must_ip("0.0.0.0");
    struct ip_prefix all = must_prefix("0.0.0.0/0");
    struct ip_prefix nothing = {0};
    char text[IP_TEXT_CAP];
    assert_string_equal(ip_text(&none, text), "-");
    assert_false(ip_is_equal(&none, &none));
    assert_false(ip_is_equal(&none, &any));
    assert_int_equal(ip_compare(&none, &none), 0);
    assert_true(ip_compare(&none, &any) < 0);
    assert_false(ip_prefix_contains(&all, &none));
    assert_false(ip_prefix_contains(&nothing, &none));
    assert_false(ip_prefix_contains(&nothing, &any));
    assert_false(ip_prefix_overlaps(&nothing, &nothing));
    assert_false(ip_prefix_overlaps(&nothing, &all));
    assert_class(&none, IP_CLASS_UNKNOWN);
    struct ip odd = {.family = 10};
    assert_class(&odd, IP_CLASS_UNKNOWN);
    assert_false(ip_is_equal(&odd, &odd));
}

static void test_compare(void **state)
{
    (void)state;
    static const char *const ascending[] = {
        "0.0.0.0", "9.255.255.255", "10.0.0.0", "10.0.0.1", "255.255.255.255",
        "::",      "::1",           "1::",      "fe80::",   "ff02::1"};
    size_t count = sizeof ascending / sizeof ascending[0];
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < count; k++) {
            struct ip a = must_ip(ascending[i]);
            struct ip b = must_ip(ascending[k]);
            assert_int_equal(ip_compare(&a, &b), (i > k) - (i < k));
            assert_int_equal(ip_is_equal(&a, &b), i == k);
        }
    }
    struct ip a = ip_v4(192, 0, 2, 1);
    struct ip b = must_ip("192.0.2.1");
    assert_true(ip_is_equal(&a, &b));
}

static void test_prefix_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        uint8_t bits;
    } rows[] = {
        {"10.0.0.0/8", 0, 8},
        {"10.1.2.3", 0, 32},
        {"10.1.2.3/32", 0, 32},
        {"0.0.0.0/0", 0, 0},
        {"128.0.0.0/1", 0, 1},
        {"10.1.2.2/31", 0, 31},
        {"::/0", 0, 0},
        {"2001:db8::1", 0, 128},
        {"2001:db8::/32", 0, 32},
        {"8000::/1", 0, 1},
        {"2001:db8::2/127", 0, 127},
        {"10.0.0.1/8", -EDOM, 0},
        {"10.1.2.3/31", -EDOM, 0},
        {"0.0.0.1/0", -EDOM, 0},
        {"128.0.0.0/0", -EDOM, 0},
        {"64.0.0.0/1", -EDOM, 0},
        {"::1/127", -EDOM, 0},
        {"2001:db8::1/64", -EDOM, 0},
        {"10.0.0.0/33", -EINVAL, 0},
        {"::/129", -EINVAL, 0},
        {"10.0.0.0/", -EINVAL, 0},
        {"10.0.0.0/08", -EINVAL, 0},
        {"10.0.0.0/+8", -EINVAL, 0},
        {"10.0.0.0/-1", -EINVAL, 0},
        {"10.0.0.0/8/8", -EINVAL, 0},
        {"10.0.0.0/ 8", -EINVAL, 0},
        {"10.0.0.0 /8", -EINVAL, 0},
        {"10.0.0.0/255.0.0.0", -EINVAL, 0},
        {"10.0.0.0/264", -EINVAL, 0}, /* 8 modulo 256 */
        {"10/8", -EINVAL, 0},
        {"/8", -EINVAL, 0},
        {"", -EINVAL, 0},
        {"example.com", -EINVAL, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ip_prefix p = {.bits = 77};
        if (ip_prefix_parse(span_str(rows[i].text), &p) != rows[i].rc) {
            fail_msg("'%s'", rows[i].text);
        }
        assert_int_equal(p.bits, rows[i].rc == 0 ? rows[i].bits : 77);
    }
}

/* For every length of both families: the base, an address that differs in the last bit of the prefix, in the
 * next. */
static void test_prefix_contains(void **state)
{
    (void)state;
    static const char *const bases[] = {"172.21.170.85", "2001:db8:aaaa:5555:1234:5678:9abc:def0"};
    for (size_t f = 0; f < 2; f++) {
        struct ip a = must_ip(bases[f]);
        uint8_t max = a.family == IP_V4 ? 32 : 128;
        for (uint8_t bits = 0; bits <= max; bits++) {
            struct ip_prefix p = {.base = a, .bits = bits};
            for (uint8_t i = bits; i < max; i++) {
                p.base.bytes[i / 8] &= (uint8_t) ~(0x80U >> (i % 8U));
            }
            assert_true(ip_prefix_contains(&p, &a));
            assert_true(ip_prefix_overlaps(&p, &p));
            for (uint8_t i = 0; i < max; i++) {
                struct ip other = a;
                other.bytes[i / 8] ^= (uint8_t)(0x80U >> (i % 8U));
                assert_int_equal(ip_prefix_contains(&p, &other), i >= bits);
                struct ip_prefix host = {.base = other, .bits = max};
                assert_int_equal(ip_prefix_overlaps(&p, &host), i >= bits);
                assert_int_equal(ip_prefix_overlaps(&host, &p), i >= bits);
            }
        }
    }
    struct ip_prefix v4 = must_prefix("0.0.0.0/0");
    struct ip_prefix v6 = must_prefix("::/0");
    struct ip a4 = must_ip("1.2.3.4");
    struct ip a6 = must_ip("::1.2.3.4");
    assert_false(ip_prefix_contains(&v4, &a6));
    assert_false(ip_prefix_contains(&v6, &a4));
    assert_false(ip_prefix_overlaps(&v4, &v6));
    struct ip_prefix inner = must_prefix("10.64.0.0/10");
    struct ip_prefix outer = must_prefix("10.0.0.0/8");
    struct ip_prefix beside = must_prefix("10.128.0.0/10");
    assert_true(ip_prefix_overlaps(&inner, &outer) && ip_prefix_overlaps(&outer, &inner));
    assert_false(ip_prefix_overlaps(&inner, &beside));
    struct ip_prefix broken = {.base = a4, .bits = 33};
    assert_false(ip_prefix_contains(&broken, &a4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_good),        cmocka_unit_test(test_parse_bad),
        cmocka_unit_test(test_parse_truncations), cmocka_unit_test(test_none),
        cmocka_unit_test(test_compare),           cmocka_unit_test(test_prefix_parse),
        cmocka_unit_test(test_prefix_contains),
    };
    return cmocka_run_group_tests_name("ip", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/addr.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <sys/un.h>

struct good {
    const char *in;
    uint16_t default_port;
    const char *text;
};

static void test_parse_good(void **state)
{
    (void)state;
    static const struct good table[] = {
        {"1.2.3.4:53", 0, "1.2.3.4:53"},
        {"1.2.3.4:0", 0, "1.2.3.4:0"},
        {"1.2.3.4:1", 0, "1.2.3.4:1"},
        {"1.2.3.4:65534", 53, "1.2.3.4:65534"},
        {"1.2.3.4:65535", 53, "1.2.3.4:65535"},
        {"1.2.3.4", 53, "1.2.3.4:53"},
        {"0.0.0.0:3128", 0, "0.0.0.0:3128"},
        {"255.255.255.255:65535", 0, "255.255.255.255:65535"},
        {"[::1]:53", 0, "[::1]:53"},
        {"[::]:0", 0, "[::]:0"},
        {"[::1]", 53, "[::1]:53"},
        {"::1", 53, "[::1]:53"},
        {"2001:DB8::0001", 5353, "[2001:db8::1]:5353"},
        {"[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535", 0,
         "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct addr a;
        char text[ADDR_TEXT_CAP];
        assert_int_equal(addr_parse(span_str(table[i].in), table[i].default_port, &a), 0);
        assert_string_equal(addr_text(&a, text), table[i].text);
        struct addr again;
        assert_int_equal(addr_parse(span_str(text), 0, &again), 0);
        assert_true(addr_is_equal(&a, &again));
    }
}

static void test_parse_bad(void **state)
{
    (void)state;
    static const char *const table[] = {
        "",
        ":",
        ":53",
        "1.2.3.4:",
        "1.2.3.4:65536",
        "1.2.3.4:053",
        "1.2.3.4:+1",
        "1.2.3.4:-1",
        "1.2.3.4:5 ",
        " 1.2.3.4:5",
        "1.2.3.4:0x35",
        "1.2.3:53",
        "01.2.3.4:5",
        "1.2.3.4.5:5",
        "[1.2.3.4]:5",
        "[::1",
        "[::1]53",
        "[::1]:",
        "[::1]:65536",
        "[]:53",
        "[::1%lo]:53",
        "::1]:53",
        "[[::1]]:53",
        "localhost:53",
        "1.2.3.4:99999999999999999999",
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct addr a = {.port = 7};
        if (addr_parse(span_str(table[i]), 53, &a) == 0) {
            fail_msg("accepted: \"%s\"", table[i]);
        }
        assert_int_equal(a.port, 7); /* left alone */
    }
    struct addr a;
    assert_int_not_equal(addr_parse(SPAN_LIT("1.2.3.4"), 0, &a), 0); /* no port, no default */
    assert_int_not_equal(addr_parse(SPAN_LIT("::1"), 0, &a), 0);
    assert_int_not_equal(addr_parse(SPAN_LIT("[::1]"), 0, &a), 0);
    assert_int_not_equal(addr_parse(span_make("1.2.3.4:5\0", 10), 53, &a), 0);
}

/* No truncation of an address with port is taken for another address with a port of its own. */
static void test_parse_truncations(void **state)
{
    (void)state;
    struct span whole = SPAN_LIT("[2001:db8::1]:53");
    struct addr a;
    assert_int_equal(addr_parse(whole, 0, &a), 0);
    for (size_t len = 0; len < whole.len - 1; len++) {
        assert_int_not_equal(addr_parse(span_sub(whole, 0, len), 0, &a), 0);
    }
}

static void test_is_equal(void **state)
{
    (void)state;
    struct addr a = {.ip = ip_v4(1, 2, 3, 4), .port = 5};
    struct addr b = a;
    assert_true(addr_is_equal(&a, &b));
    b.port = 6;
    assert_false(addr_is_equal(&a, &b));
    b = a;
    b.ip.bytes[3] = 5;
    assert_false(addr_is_equal(&a, &b));
    struct addr none = {0};
    assert_false(addr_is_equal(&none, &none));
}

static void test_sockaddr_round_trip(void **state)
{
    (void)state;
    static const char *const table[] = {"1.2.3.4:53", "0.0.0.0:0", "[2001:db8::1]:65535", "[::]:1"};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct addr a;
        struct addr b;
        struct sockaddr_storage ss;
        assert_int_equal(addr_parse(span_str(table[i]), 0, &a), 0);
        socklen_t len = addr_to_sockaddr(&a, &ss);
        assert_int_equal(len,
                         a.ip.family == IP_V4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
        assert_int_equal(addr_from_sockaddr((struct sockaddr *)&ss, len, &b), 0);
        assert_true(addr_is_equal(&a, &b));
        /* one byte short is no address */
        assert_int_equal(addr_from_sockaddr((struct sockaddr *)&ss, len - 1, &b), -EAFNOSUPPORT);
        assert_int_equal(addr_from_sockaddr((struct sockaddr *)&ss, 0, &b), -EAFNOSUPPORT);
    }
}

static void test_network_order(void **state)
{
    (void)state;
    struct addr a = {.ip = ip_v4(1, 2, 3, 4), .port = 0x1234};
    struct sockaddr_storage ss;
    struct sockaddr_in in;
    (void)addr_to_sockaddr(&a, &ss);
    memcpy(&in, &ss, sizeof(in));
    assert_int_equal(in.sin_family, AF_INET);
    assert_int_equal(ntohs(in.sin_port), 0x1234);
    assert_int_equal(ntohl(in.sin_addr.s_addr), 0x01020304);
}

static void test_mapped_is_ipv4(void **state)
{
    (void)state;
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
    assert_int_equal(inet_pton(AF_INET6, "::ffff:9.8.7.6", &in6.sin6_addr), 1);
    struct addr a;
    char text[ADDR_TEXT_CAP];
    assert_int_equal(addr_from_sockaddr((struct sockaddr *)&in6, sizeof(in6), &a), 0);
    assert_string_equal(addr_text(&a, text), "9.8.7.6:80");
    assert_int_equal(inet_pton(AF_INET6, "::fffe:9.8.7.6", &in6.sin6_addr), 1);
    assert_int_equal(addr_from_sockaddr((struct sockaddr *)&in6, sizeof(in6), &a), 0);
    assert_int_equal(a.ip.family, IP_V6);
}

static void test_other_families(void **state)
{
    (void)state;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct addr a;
    assert_int_equal(addr_from_sockaddr((struct sockaddr *)&un, sizeof(un), &a), -EAFNOSUPPORT);
    struct addr none = {0};
    struct sockaddr_storage ss;
    assert_int_equal(addr_to_sockaddr(&none, &ss), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_good),          cmocka_unit_test(test_parse_bad),
        cmocka_unit_test(test_parse_truncations),   cmocka_unit_test(test_is_equal),
        cmocka_unit_test(test_sockaddr_round_trip), cmocka_unit_test(test_network_order),
        cmocka_unit_test(test_mapped_is_ipv4),      cmocka_unit_test(test_other_families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

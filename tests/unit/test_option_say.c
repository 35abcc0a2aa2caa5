/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/option_say.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const struct option_wanted listen_at = {"--listen", "ADDR[:PORT]", "127.0.0.1:53", true};

static void test_what_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"localhost", "is a name, and an address is wanted: ADDR[:PORT], as 127.0.0.1:53"},
        {"localhost:53", "is a name, and an address is wanted: ADDR[:PORT], as 127.0.0.1:53"},
        {"localhost:", "is a name, and an address is wanted: ADDR[:PORT], as 127.0.0.1:53"},
        {"DNS.example.net:53", "is a name, and an address is wanted: ADDR[:PORT], as 127.0.0.1:53"},
        {"http://127.0.0.1:53", "is a URL, and ADDR[:PORT] is wanted: 127.0.0.1:53"},
        {"https://dns.example.net/dns-query", "is a URL, and ADDR[:PORT] is wanted: 127.0.0.1:53"},
        {"fe80::1%eth0",
         "has a zone (%): addresses with one are not taken; write ADDR[:PORT], as 127.0.0.1:53"},
        {"10.0.0.1/8", "has bits behind the prefix; did you mean 10.0.0.0/8 or 10.0.0.1/32?"},
        {"10.0.0.1/0", "has bits behind the prefix; did you mean 0.0.0.0/0 or 10.0.0.1/32?"},
        {"10.0.0.1/8:443", "has bits behind the prefix; did you mean 10.0.0.0/8:443 or 10.0.0.1/32:443?"},
        {"fd00::1/8", "has bits behind the prefix; did you mean fd00::/8 or fd00::1/128?"},
        {"[fd00::1/8]:443", "has bits behind the prefix; did you mean [fd00::/8]:443 or [fd00::1/128]:443?"},
        {"10.0.0.0/33", "has a prefix longer than the address: at most /32"},
        {"10.0.0.0/99999999999999999999:1", "has a prefix longer than the address: at most /32"},
        {"fd00::/129", "has a prefix longer than the address: at most /128"},
        {"[fd00::/129]:1", "has a prefix longer than the address: at most /128"},
        {"10.0.0.0/08", "is not ADDR[:PORT]: write it as 127.0.0.1:53"},
        {"10.0.0.0/", "is not ADDR[:PORT]: write it as 127.0.0.1:53"},
        {"10.0.0.0/8", "is not ADDR[:PORT]: write it as 127.0.0.1:53"},
        {"127.0.0.1:", "does not end with a port, a number from 1 to 65535: write it as 127.0.0.1:53"},
        {"127.0.0.1:65536", "does not end with a port, a number from 1 to 65535: write it as 127.0.0.1:53"},
        {"127.0.0.1:-1", "does not end with a port, a number from 1 to 65535: write it as 127.0.0.1:53"},
        {"[::1]:dns", "does not end with a port, a number from 1 to 65535: write it as 127.0.0.1:53"},
        {"10.0.0.0/8:0", "does not end with a port, a number from 1 to 65535: write it as 127.0.0.1:53"},
        {"[fd00::/8]:x", "does not end with a port, a number from 1 to 65535: write it as 127.0.0.1:53"},
        {"[::1", "is not ADDR[:PORT]: write it as 127.0.0.1:53"},
        {"[", "is not ADDR[:PORT]: write it as 127.0.0.1:53"},
        {"]", "is not ADDR[:PORT]: write it as 127.0.0.1:53"},
        {":", "is not ADDR[:PORT]: write it as 127.0.0.1:53"},
        {"/", "is not ADDR[:PORT]: write it as 127.0.0.1:53"},
        {"[/", "is not ADDR[:PORT]: write it as 127.0.0.1:53"},
        {":53", "is not ADDR[:PORT]: write it as 127.0.0.1:53"},
        {"127.0.0.256", "is not ADDR[:PORT]: write it as 127.0.0.1:53"},
        {"-1", "is not ADDR[:PORT]: write it as 127.0.0.1:53"},
        {"", "is not ADDR[:PORT]: write it as 127.0.0.1:53"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {""};
        char want[sizeof(err.text)];
        (void)snprintf(want, sizeof(want), "--listen: \"%s\" %s", cases[i].text, cases[i].says);
        assert_int_equal(option_say(&listen_at, cases[i].text, &err), -EINVAL);
        assert_string_equal(err.text, want);
    }
}

/* Where one address is wanted, no prefix is proposed. */
static void test_no_prefix(void **state)
{
    (void)state;
    static const struct option_wanted steer = {"--steer-address", "ADDR", "10.0.0.1", false};
    static const char *const bad[] = {"10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/8:0", "10.0.0.1:443"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct err err = {""};
        assert_int_equal(option_say(&steer, bad[i], &err), -EINVAL);
        assert_non_null(strstr(err.text, "is not ADDR: write it as 10.0.0.1"));
    }
}

static void test_brackets(void **state)
{
    (void)state;
    struct err err = {""};
    assert_int_equal(option_check_brackets(&listen_at, "::1:53", &err), -EINVAL);
    assert_string_equal(err.text, "--listen: \"::1:53\" lacks its brackets: [::1]:53");
    static const char *const good[] = {"::1",  "::",      "[::1]:53",  "127.0.0.1:53", "2001:db8::1:53",
                                       "::12", "::1:2:3", "::1:99999", "::1:53/128",   ""};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(option_check_brackets(&listen_at, good[i], &err), 0);
    }
}

static void test_names(void **state)
{
    (void)state;
    static const char *const names[] = {"localhost", "localhost:53", "a.b-c_d.example", "dns9"};
    static const char *const others[] = {"",  "127.0.0.1", "127.0.0.1:53", "::1",   "[::1]:53",
                                         "1", "a b",       "http://a",     "tls:/", "a:1/x"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_true(option_is_name(span_str(names[i])));
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_false(option_is_name(span_str(others[i])));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_said),
        cmocka_unit_test(test_no_prefix),
        cmocka_unit_test(test_brackets),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests_name("option_say", tests, NULL, NULL);
}

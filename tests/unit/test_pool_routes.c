/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/run/pool_routes.h"

#include <arpa/inet.h>
#include <stdio.h>

static void test_v4(void **state)
{
    (void)state;
    struct pool_route r;
    char line[128];
    char text[IP_TEXT_CAP];
    /* as this machine's byte order has it */
    (void)snprintf(line, sizeof line, "tun0\t%08X\t00000000\t0001\t0\t0\t0\t%08X\t0\t0\t0\n",
                   htonl(0xc6120000), htonl(0xfffe0000));
    assert_true(pool_route_parse(IP_V4, span_str(line), &r));
    assert_string_equal(ip_text(&r.prefix.base, text), "198.18.0.0");
    assert_int_equal(r.prefix.bits, 15);
    assert_string_equal(r.dev, "tun0");
    static const char *const none[] = {
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n",
        "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\t0\t0\t0\n", /* default */
        "tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\t0\t0\t0\n", /* half of everything */
        "lo\t000012C6\t00000000\t0001\t0\t0\t0\t0000FEFF\t0\t0\t0\n",
        "tun0\t000012C\t00000000\t0001\t0\t0\t0\t0000FEFF\t0\t0\t0\n",
        "tun0\t000012CX\t00000000\t0001\t0\t0\t0\t0000FEFF\t0\t0\t0\n",
        "a-name-too-long-1\t000012C6\t00000000\t0001\t0\t0\t0\t0000FEFF\t0\t0\t0\n",
        "tun0\t000012C6\t00000000\t0001\t0\t0\t0\n",
        "tun0",
        "",
    };
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_false(pool_route_parse(IP_V4, span_str(none[i]), &r));
    }
}

static void test_v6(void **state)
{
    (void)state;
    struct pool_route r;
    char text[IP_TEXT_CAP];
    assert_true(pool_route_parse(IP_V6,
                                 SPAN_LIT("fd005e11000000000000000000000000 30 "
                                          "00000000000000000000000000000000 00 "
                                          "00000000000000000000000000000000 00000100 00000001 00000000 "
                                          "00000001     wg0\n"),
                                 &r));
    assert_string_equal(ip_text(&r.prefix.base, text), "fd00:5e11::");
    assert_int_equal(r.prefix.bits, 48);
    assert_string_equal(r.dev, "wg0");
    static const char *const none[] = {
        "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
        "fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n",
        "fd005e11000000000000000000000000 40 00000000000000000000000000000000 00 "
        "00000000000000000000000000000000 00000100 00000001 00000000 00000001       lo\n",
        "fd005e11000000000000000000000000 90 00000000000000000000000000000000 00 "
        "00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n",
        "fd005e11000000000000000000000000 30",
        "",
    };
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        assert_false(pool_route_parse(IP_V6, span_str(none[i]), &r));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_v4), cmocka_unit_test(test_v6)};
    return cmocka_run_group_tests_name("pool_routes", tests, NULL, NULL);
}

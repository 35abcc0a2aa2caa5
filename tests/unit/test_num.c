/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/num.h"

#include <errno.h>
#include <stdio.h>

#define DAY_MS INT64_C(86400000)

static void test_u64(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        uint64_t value;
    } rows[] = {
        {"0", 0, 0},
        {"1", 0, 1},
        {"10", 0, 10},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", -ERANGE, 0},
        {"18446744073709551620", -ERANGE, 0},
        {"99999999999999999999999999", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"00", -EINVAL, 0},
        {"01", -EINVAL, 0},
        {"+1", -EINVAL, 0},
        {"-1", -EINVAL, 0},
        {" 1", -EINVAL, 0},
        {"1 ", -EINVAL, 0},
        {"1\n", -EINVAL, 0},
        {"1e3", -EINVAL, 0},
        {"0x10", -EINVAL, 0},
        {"1.0", -EINVAL, 0},
        {"1_000", -EINVAL, 0},
        {"\xd9\xa1", -EINVAL, 0}, /* an Arabic-Indic digit */
        {"/", -EINVAL, 0},        /* the neighbours of the digits */
        {":", -EINVAL, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t v = 4711;
        assert_int_equal(num_u64(span_str(rows[i].text), 0, UINT64_MAX, &v), rows[i].rc);
        assert_true(v == (rows[i].rc == 0 ? rows[i].value : 4711)); /* left alone on error */
    }
    uint64_t v = 4711;
    assert_int_equal(num_u64(span_make("12", 1), 0, 9, &v), 0); /* the span ends it, not a NUL */
    assert_int_equal(v, 1);
    assert_int_equal(num_u64(SPAN_LIT("1\0"), 0, 9, &v), -EINVAL);
    assert_int_equal(num_u64(span_make(NULL, 0), 0, 9, &v), -EINVAL);
}

static void test_u64_bounds(void **state)
{
    (void)state;
    uint64_t v = 0;
    assert_int_equal(num_u64(SPAN_LIT("4"), 5, 7, &v), -ERANGE);
    assert_int_equal(num_u64(SPAN_LIT("5"), 5, 7, &v), 0);
    assert_int_equal(num_u64(SPAN_LIT("7"), 5, 7, &v), 0);
    assert_int_equal(num_u64(SPAN_LIT("8"), 5, 7, &v), -ERANGE);
    assert_int_equal(num_u64(SPAN_LIT("07"), 5, 7, &v), -EINVAL);
    assert_int_equal(v, 7);
}

static void test_port(void **state)
{
    (void)state;
    uint16_t port = 9;
    assert_int_equal(num_port(SPAN_LIT("0"), &port), -ERANGE);
    assert_int_equal(num_port(SPAN_LIT("65536"), &port), -ERANGE);
    assert_int_equal(num_port(SPAN_LIT("4294967739"), &port), -ERANGE); /* 443 modulo 2^32 */
    assert_int_equal(num_port(SPAN_LIT("0443"), &port), -EINVAL);
    assert_int_equal(num_port(SPAN_LIT(""), &port), -EINVAL);
    assert_int_equal(port, 9);
    assert_int_equal(num_port(SPAN_LIT("1"), &port), 0);
    assert_int_equal(port, 1);
    assert_int_equal(num_port(SPAN_LIT("65535"), &port), 0);
    assert_int_equal(port, 65535);
}

static void test_duration(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        int64_t ms;
    } rows[] = {
        {"0", 0, 0},
        {"0s", 0, 0},
        {"0ms", 0, 0},
        {"250ms", 0, 250},
        {"10s", 0, 10000},
        {"5m", 0, 300000},
        {"1h", 0, 3600000},
        {"365d", 0, 365 * DAY_MS},
        {"8760h", 0, 365 * DAY_MS},
        {"31536000000ms", 0, 365 * DAY_MS},
        {"366d", -ERANGE, 0},
        {"8761h", -ERANGE, 0},
        {"31536000001ms", -ERANGE, 0},
        {"18446744073709551615ms", -ERANGE, 0},
        {"18446744073709551616d", -ERANGE, 0},
        {"213503982334602d", -ERANGE, 0}, /* wraps to a small number in 64 bits */
        {"", -EINVAL, 0},
        {"10", -EINVAL, 0}, /* the unit is mandatory */
        {"00", -EINVAL, 0},
        {"s", -EINVAL, 0},
        {"010s", -EINVAL, 0},
        {"-1s", -EINVAL, 0},
        {"1.5s", -EINVAL, 0},
        {"1 s", -EINVAL, 0},
        {"1s ", -EINVAL, 0},
        {"1S", -EINVAL, 0},
        {"1sec", -EINVAL, 0},
        {"1h30m", -EINVAL, 0},
        {"1w", -EINVAL, 0},
        {"1us", -EINVAL, 0},
        {"never", -EINVAL, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t ms = -4711;
        assert_int_equal(num_duration_ms(span_str(rows[i].text), &ms), rows[i].rc);
        assert_true(ms == (rows[i].rc == 0 ? rows[i].ms : -4711));
    }
}

static void test_size(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        uint64_t bytes;
    } rows[] = {
        {"0", 0, 0},
        {"1", 0, 1},
        {"64KiB", 0, 65536},
        {"10MiB", 0, UINT64_C(10) << 20},
        {"2GiB", 0, UINT64_C(2) << 30},
        {"18446744073709551615", 0, UINT64_MAX},
        {"17179869183GiB", 0, UINT64_C(17179869183) << 30},
        {"17179869184GiB", -ERANGE, 0}, /* 2^64 */
        {"18014398509481984KiB", -ERANGE, 0},
        {"18446744073709551616", -ERANGE, 0},
        {"", -EINVAL, 0},
        {"KiB", -EINVAL, 0},
        {"1kib", -EINVAL, 0},
        {"1KB", -EINVAL, 0},
        {"1K", -EINVAL, 0},
        {"1B", -EINVAL, 0},
        {"1 KiB", -EINVAL, 0},
        {"1KiBs", -EINVAL, 0},
        {"01KiB", -EINVAL, 0},
        {"1TiB", -EINVAL, 0},
        {"-1", -EINVAL, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t bytes = 4711;
        assert_int_equal(num_size_bytes(span_str(rows[i].text), &bytes), rows[i].rc);
        assert_true(bytes == (rows[i].rc == 0 ? rows[i].bytes : 4711));
    }
}

static void test_duration_text(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {
        {0, "0"},
        {1, "1ms"},
        {999, "999ms"},
        {1000, "1s"},
        {1500, "1500ms"},
        {60000, "1m"},
        {90000, "90s"},
        {300000, "5m"},
        {3600000, "1h"},
        {5400000, "90m"},
        {DAY_MS, "1d"},
        {36 * 3600000, "36h"},
        {365 * DAY_MS, "365d"},
        {365 * DAY_MS - 1, "31535999999ms"},
    };
    char text[16];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_string_equal(num_duration_text(rows[i].ms, text, sizeof text), rows[i].text);
        int64_t back = -1;
        assert_int_equal(num_duration_ms(span_str(text), &back), 0);
        assert_true(back == rows[i].ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_u64),  cmocka_unit_test(test_u64_bounds),
        cmocka_unit_test(test_port), cmocka_unit_test(test_duration),
        cmocka_unit_test(test_size), cmocka_unit_test(test_duration_text),
    };
    return cmocka_run_group_tests_name("num", tests, NULL, NULL);
}

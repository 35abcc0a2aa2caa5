/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static void test_monotonic(void **state)
{
    (void)state;
    int64_t before = clock_mono_ms();
    struct timespec ts;
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
    int64_t after = clock_mono_ms();
    int64_t ours = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
    assert_true(before > 0);
    assert_true(before <= ours && ours <= after);
}

static void test_microseconds(void **state)
{
    (void)state;
    const int64_t before_ms = clock_mono_ms();
    const int64_t us = clock_mono_us();
    const int64_t after_ms = clock_mono_ms();
    assert_true(before_ms <= us / 1000 && us / 1000 <= after_ms);
    int64_t later = us;
    while (later == us) { /* it counts microseconds, not milliseconds */
        later = clock_mono_us();
    }
    assert_true(later > us && (later - us) % 1000 != 0);
}

static void test_boot(void **state)
{
    (void)state;
    struct timespec ts;
    int64_t before = clock_boot_s();
    assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &ts), 0);
    int64_t after = clock_boot_s();
    assert_true(before <= ts.tv_sec && ts.tv_sec <= after);
}

static void test_wall_text(void **state)
{
    (void)state;
    char text[25];
    time_t before = time(NULL);
    assert_ptr_equal(clock_wall_text(text, sizeof text), text);
    time_t after = time(NULL);
    assert_int_equal(strlen(text), 24);
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    assert_non_null(end);
    assert_int_equal(strspn(end, ".0123456789"), 4);
    assert_string_equal(end + 4, "Z");
    time_t said = timegm(&tm);
    assert_true(said >= before && said <= after + 1); /* time() may lag a tick behind */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_monotonic),
        cmocka_unit_test(test_microseconds),
        cmocka_unit_test(test_boot),
        cmocka_unit_test(test_wall_text),
    };
    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}

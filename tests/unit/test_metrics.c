/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/metrics.h"

static void test_add_and_read(void **state)
{
    (void)state;
    struct metrics m = {0};
    metrics_add(&m, 0, 1);
    metrics_add(&m, 0, 41);
    metrics_add(&m, METRICS_MAX - 1, UINT64_MAX);
    assert_int_equal(metrics_read(&m, 0), 42);
    assert_int_equal(metrics_read(&m, 1), 0);
    assert_true(metrics_read(&m, METRICS_MAX - 1) == UINT64_MAX);
    metrics_add(&m, METRICS_MAX - 1, 2); /* counters wrap, as readers of counters expect */
    assert_int_equal(metrics_read(&m, METRICS_MAX - 1), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_add_and_read)};
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}

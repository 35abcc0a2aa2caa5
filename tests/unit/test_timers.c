/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/policy/timers.h"

#include <limits.h>

static void test_builtin(void **state)
{
    (void)state;
    struct tunnel_timers t;
    struct tunnel_keepalive k;
    tunnel_timers_builtin(&t, &k);
    assert_int_equal(t.connect_ms, 10000);
    assert_int_equal(t.idle_ms, 0);
    assert_int_equal(t.lifetime_ms, 0);
    assert_int_equal(t.half_close_ms, 300000);
    assert_int_equal(t.user_ms, TIMER_AUTO);
    assert_int_equal(k.mode, KEEPALIVE_ON);
    assert_int_equal(k.idle_s, 60);
    assert_int_equal(k.interval_s, 15);
    assert_int_equal(k.probes, 4);
}

/* 0 means never: it is said, so nothing below replaces it. */
static void test_inherit(void **state)
{
    (void)state;
    struct tunnel_timers t;
    struct tunnel_timers lower = {
        .connect_ms = 1, .idle_ms = 2, .lifetime_ms = 3, .half_close_ms = 4, .user_ms = 5};
    tunnel_timers_unset(&t);
    tunnel_timers_inherit(&t, &lower);
    assert_memory_equal(&t, &lower, sizeof t);
    tunnel_timers_unset(&t);
    t.idle_ms = 0;
    t.user_ms = TIMER_AUTO;
    tunnel_timers_inherit(&t, &lower);
    assert_int_equal(t.connect_ms, 1);
    assert_int_equal(t.idle_ms, 0);
    assert_int_equal(t.lifetime_ms, 3);
    assert_int_equal(t.half_close_ms, 4);
    assert_int_equal(t.user_ms, TIMER_AUTO);
    struct tunnel_timers unset;
    tunnel_timers_unset(&unset);
    tunnel_timers_unset(&t);
    tunnel_timers_inherit(&t, &unset);
    assert_int_equal(t.connect_ms, TIMER_UNSET);
    assert_int_equal(t.user_ms, TIMER_UNSET);
}

static void test_keepalive_inherit(void **state)
{
    (void)state;
    const struct tunnel_keepalive on = {KEEPALIVE_ON, 7, 8, 9};
    struct tunnel_keepalive k = {0};
    tunnel_keepalive_inherit(&k, &on);
    assert_int_equal(k.mode, KEEPALIVE_ON);
    assert_int_equal(k.idle_s, 7);
    assert_int_equal(k.probes, 9);
    k = (struct tunnel_keepalive){.mode = KEEPALIVE_OFF};
    tunnel_keepalive_inherit(&k, &on);
    assert_int_equal(k.mode, KEEPALIVE_OFF);
}

static void test_user_timeout(void **state)
{
    (void)state;
    struct tunnel_timers t;
    struct tunnel_keepalive k;
    tunnel_timers_builtin(&t, &k);
    assert_int_equal(tunnel_user_timeout_ms(&t, &k), 120000); /* 60 + 15 x 4 s */
    k = (struct tunnel_keepalive){KEEPALIVE_ON, 2, 1, 2};
    assert_int_equal(tunnel_user_timeout_ms(&t, &k), 4000);
    k.mode = KEEPALIVE_OFF;
    assert_int_equal(tunnel_user_timeout_ms(&t, &k), 120000);
    t.user_ms = 1234;
    assert_int_equal(tunnel_user_timeout_ms(&t, &k), 1234);
    t.user_ms = 0;
    assert_int_equal(tunnel_user_timeout_ms(&t, &k), 0);
    t.user_ms = TIMER_UNSET;
    assert_int_equal(tunnel_user_timeout_ms(&t, &k), 0);
    /* the largest keepalive is longer than the socket option can say */
    t.user_ms = TIMER_AUTO;
    k = (struct tunnel_keepalive){KEEPALIVE_ON, 32767, 32767, 127};
    assert_int_equal(tunnel_user_timeout_ms(&t, &k), INT_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_builtin),
        cmocka_unit_test(test_inherit),
        cmocka_unit_test(test_keepalive_inherit),
        cmocka_unit_test(test_user_timeout),
    };
    return cmocka_run_group_tests_name("timers", tests, NULL, NULL);
}

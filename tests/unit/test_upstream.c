/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/upstream.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>

#define T0 1000000 /* a time like any other */

static struct addr address(uint8_t last)
{
    return (struct addr){.ip = ip_v4(192, 0, 2, last), .port = 53};
}

static struct upstream_set make_set(size_t count)
{
    struct addr addrs[UPSTREAM_MAX];
    for (size_t i = 0; i < count; i++) {
        addrs[i] = address((uint8_t)(i + 1));
    }
    struct upstream_set set;
    struct err err = {0};
    assert_int_equal(upstream_set_init(&set, addrs, count, &err), 0);
    assert_int_equal(set.count, count);
    return set;
}

static void test_init(void **state)
{
    (void)state;
    struct upstream_set set;
    struct err err = {0};
    struct addr addrs[UPSTREAM_MAX + 1];
    for (size_t i = 0; i <= UPSTREAM_MAX; i++) {
        addrs[i] = address((uint8_t)(i + 1));
    }
    assert_int_equal(upstream_set_init(&set, addrs, 0, &err), -EINVAL);
    assert_int_equal(upstream_set_init(&set, addrs, 1, &err), 0);
    assert_int_equal(upstream_set_init(&set, addrs, UPSTREAM_MAX - 1, &err), 0);
    assert_int_equal(upstream_set_init(&set, addrs, UPSTREAM_MAX, &err), 0);
    assert_true(addr_is_equal(&set.list[UPSTREAM_MAX - 1].addr, &addrs[UPSTREAM_MAX - 1]));
    assert_int_equal(upstream_set_init(&set, addrs, UPSTREAM_MAX + 1, &err), -EINVAL);

    addrs[2] = addrs[0];
    assert_int_equal(upstream_set_init(&set, addrs, 3, &err), -EINVAL);
    assert_non_null(strstr(err.text, "192.0.2.1:53"));
    addrs[2].port = 54; /* another port is another server */
    assert_int_equal(upstream_set_init(&set, addrs, 3, &err), 0);
    addrs[1].port = 0;
    assert_int_equal(upstream_set_init(&set, addrs, 3, NULL), -EINVAL);
    addrs[1] = (struct addr){.port = 53};
    assert_int_equal(upstream_set_init(&set, addrs, 3, NULL), -EINVAL);
}

static void test_pick_in_order(void **state)
{
    (void)state;
    struct upstream_set set = make_set(3);
    assert_int_equal(upstream_pick(&set, 0), 0);
    assert_int_equal(upstream_pick(&set, 1U << 0), 1);
    assert_int_equal(upstream_pick(&set, 1U << 0 | 1U << 1), 2);
    assert_int_equal(upstream_pick(&set, 7), UPSTREAM_NONE);
}

static void test_failed_steps_back(void **state)
{
    (void)state;
    struct upstream_set set = make_set(3);
    upstream_note_failure(&set.list[0], T0, T0 + 800);
    assert_int_equal(upstream_pick(&set, 0), 1);
    upstream_note_failure(&set.list[1], T0 + 800, T0 + 1600);
    assert_int_equal(upstream_pick(&set, 0), 2);
    upstream_note_failure(&set.list[2], T0 + 1600, T0 + 2400);
    assert_int_equal(upstream_pick(&set, 0), 0); /* none works: the one that failed first */
    upstream_note_reply(&set.list[1], T0 + 3000);
    assert_int_equal(upstream_pick(&set, 0), 1);
    upstream_note_reply(&set.list[0], T0 + 3000);
    assert_int_equal(upstream_pick(&set, 0), 0);
}

/* 1 s, doubling to 30 s, one probe each time. */
static void test_probes_back_off(void **state)
{
    (void)state;
    static const int64_t waits_ms[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};
    struct upstream_set set = make_set(2);
    int64_t now_ms = T0;
    assert_int_equal(upstream_pick_probe(&set, 0, now_ms), UPSTREAM_NONE);
    for (size_t i = 0; i < sizeof(waits_ms) / sizeof(waits_ms[0]); i++) {
        upstream_note_failure(&set.list[0], now_ms, now_ms);
        assert_int_equal(set.list[0].failures, i + 1);
        assert_int_equal(upstream_pick_probe(&set, 0, now_ms + waits_ms[i] - 1), UPSTREAM_NONE);
        now_ms += waits_ms[i];
        assert_int_equal(upstream_pick_probe(&set, 1, now_ms), UPSTREAM_NONE); /* asked anyway */
        assert_int_equal(upstream_pick_probe(&set, 0, now_ms), 0);
        assert_int_equal(upstream_pick_probe(&set, 0, now_ms), UPSTREAM_NONE); /* one is under way */
    }
    upstream_note_reply(&set.list[0], now_ms);
    assert_int_equal(set.list[0].failures, 0);
    assert_int_equal(upstream_pick_probe(&set, 0, now_ms + 100000), UPSTREAM_NONE);
}

static void test_a_burst_is_one_failure(void **state)
{
    (void)state;
    struct upstream_set set = make_set(1);
    struct upstream *u = &set.list[0];
    for (int i = 0; i < 100; i++) {
        upstream_note_failure(u, T0 + i, T0 + 800 + i); /* all sent before the first was judged */
    }
    assert_int_equal(u->failures, 1);
    upstream_note_failure(u, T0 + 801, T0 + 1601);
    assert_int_equal(u->failures, 2);
}

static void test_silence_on_one_name(void **state)
{
    (void)state;
    struct upstream_set set = make_set(1);
    struct upstream *u = &set.list[0];
    upstream_note_reply(u, T0 + 400); /* to another question */
    upstream_note_failure(u, T0, T0 + 800);
    assert_int_equal(u->failures, 0);
    upstream_note_failure(u, T0 + 401, T0 + 1201);
    assert_int_equal(u->failures, 1);
}

static void test_edns(void **state)
{
    (void)state;
    struct upstream_set set = make_set(1);
    struct upstream *u = &set.list[0];
    assert_true(upstream_wants_edns(u, T0));
    upstream_note_no_edns(u, T0);
    assert_false(upstream_wants_edns(u, T0));
    assert_false(upstream_wants_edns(u, T0 + 3599999));
    assert_true(upstream_wants_edns(u, T0 + 3600000));
}

static void test_silence_to_opt(void **state)
{
    (void)state;
    struct upstream u = {0};
    upstream_note_opt_silent(&u, 1000, 1800); /* four questions that one gap has swallowed */
    upstream_note_opt_silent(&u, 1001, 1801);
    upstream_note_opt_silent(&u, 1002, 1802);
    upstream_note_opt_silent(&u, 1003, 1803);
    assert_true(upstream_wants_edns(&u, 1803));
    upstream_note_opt_silent(&u, 2000, 2800);
    upstream_note_opt_reply(&u, 2900);
    upstream_note_opt_silent(&u, 2200, 3000); /* asked before that reply */
    upstream_note_opt_silent(&u, 3100, 3900);
    upstream_note_opt_silent(&u, 4000, 4800);
    assert_true(upstream_wants_edns(&u, 4800));
    upstream_note_opt_silent(&u, 5000, 5800);
    assert_false(upstream_wants_edns(&u, 5800));
    assert_true(upstream_wants_edns(&u, 5800 + 3600 * 1000));
}

static void test_case(void **state)
{
    (void)state;
    struct upstream_set set = make_set(1);
    struct upstream *u = &set.list[0];
    assert_false(upstream_wants_random_case(u));
    upstream_note_plain_reply(u);
    assert_int_equal(u->casing, UPSTREAM_CASE_PROBE);
    assert_true(upstream_wants_random_case(u));
    upstream_note_case(u, true);
    assert_int_equal(u->casing, UPSTREAM_CASE_ECHOED);
    assert_true(upstream_wants_random_case(u));
    upstream_note_plain_reply(u); /* late, from before: changes nothing */
    assert_int_equal(u->casing, UPSTREAM_CASE_ECHOED);
    upstream_note_failure(u, T0, T0 + 800); /* who comes back may be another */
    assert_int_equal(u->casing, UPSTREAM_CASE_PLAIN);

    upstream_note_plain_reply(u);
    upstream_note_case(u, false);
    assert_int_equal(u->casing, UPSTREAM_CASE_FOLDED);
    assert_false(upstream_wants_random_case(u));
    upstream_note_plain_reply(u);
    assert_int_equal(u->casing, UPSTREAM_CASE_FOLDED);

    u->casing = UPSTREAM_CASE_PROBE;
    upstream_note_failure(u, T0 + 900, T0 + 1700); /* perhaps because of the case */
    assert_int_equal(u->casing, UPSTREAM_CASE_FOLDED);
}

static void test_late(void **state)
{
    (void)state;
    struct upstream u = {0};
    assert_int_equal(upstream_late_ms(&u), 250);
    upstream_note_rtt(&u, 0);
    assert_int_equal(upstream_late_ms(&u), 50); /* the least */
    for (int i = 0; i < 100; i++) {
        upstream_note_rtt(&u, 40);
    }
    assert_in_range(upstream_late_ms(&u), 50, 60); /* steady: little more than the usual time */
    upstream_note_rtt(&u, 400);
    assert_in_range(upstream_late_ms(&u), 400, 600);
    upstream_note_rtt(&u, -5);
    upstream_note_rtt(&u, INT64_MAX);
    assert_in_range(upstream_late_ms(&u), 50, 20000);
}

static void test_udp_blocked(void **state)
{
    (void)state;
    struct upstream u = {0};
    assert_false(upstream_wants_tcp(&u));
    assert_false(upstream_take_udp_probe(&u, 5000)); /* UDP is in use */
    upstream_note_udp_blocked(&u, 1000);
    assert_true(upstream_wants_tcp(&u));
    int64_t at_ms = 1000;
    int64_t wait_ms = 10000;
    for (int i = 0; i < 10; i++) {
        assert_false(upstream_take_udp_probe(&u, at_ms + wait_ms - 1));
        assert_true(upstream_take_udp_probe(&u, at_ms + wait_ms));
        assert_false(upstream_take_udp_probe(&u, at_ms + wait_ms)); /* one at a time */
        upstream_note_udp_blocked(&u, at_ms + wait_ms);             /* known already */
        at_ms += wait_ms;
        wait_ms = wait_ms * 2 < 600000 ? wait_ms * 2 : 600000;
    }
    upstream_note_udp_reply(&u, at_ms);
    assert_false(upstream_wants_tcp(&u));
    assert_int_equal(u.udp_silences, 0);
    upstream_note_udp_blocked(&u, at_ms);
    upstream_note_tcp_failed(&u);
    assert_false(upstream_wants_tcp(&u));
    u.is_stream_only = true;
    assert_true(upstream_wants_tcp(&u));
    upstream_note_udp_blocked(&u, at_ms);
    assert_false(u.prefers_tcp);
}

static void test_ill(void **state)
{
    (void)state;
    struct upstream u = {.addr = address(1)};
    upstream_note_failure(&u, T0, T0 + 800);
    assert_false(upstream_is_down(&u)); /* one packet may have been lost */
    upstream_note_failure(&u, T0 + 500, T0 + 1300);
    assert_false(upstream_is_down(&u)); /* together with the first */
    upstream_note_failure(&u, T0 + 1800, T0 + 2600);
    assert_true(upstream_is_down(&u));
    assert_int_equal(u.down_ms, T0);
    assert_int_equal(u.failed_sent_ms, T0 + 1800);
    upstream_note_reply(&u, T0 + 3000);
    assert_false(upstream_is_down(&u));
    upstream_note_failure(&u, T0 + 4000, T0 + 4800);
    assert_false(upstream_is_down(&u));
    assert_int_equal(u.down_ms, T0 + 4000);

    upstream_note_udp_lost(&u, T0);
    assert_false(upstream_is_udp_blocked(&u));
    upstream_note_udp_lost(&u, T0 + 10000);
    assert_true(upstream_is_udp_blocked(&u));
    assert_int_equal(u.udp_lost_ms, T0);
    assert_int_equal(u.udp_lost_sent_ms, T0 + 10000);
    upstream_note_udp_reply(&u, T0 + 20000);
    assert_false(upstream_is_udp_blocked(&u));
}

static void test_no_tcp(void **state)
{
    (void)state;
    struct upstream_set set = {.count = 2};
    struct upstream *u = &set.list[0];
    assert_false(upstream_has_no_tcp(u));
    assert_false(upstream_take_tcp_probe(u, 100));
    assert_true(upstream_is_any_with_tcp(&set, 2));
    upstream_note_no_tcp(u, 100, 900);
    assert_true(upstream_has_no_tcp(u));
    assert_false(upstream_is_any_with_tcp(&set, 2));
    assert_true(upstream_is_any_with_tcp(&set, 0));
    assert_int_equal(upstream_pick_working(&set, 2), 0); /* it works all the same */
    upstream_note_no_tcp(u, 500, 1300);                  /* was under way when it failed */
    assert_false(upstream_take_tcp_probe(u, 1899));
    assert_true(upstream_take_tcp_probe(u, 1900));
    assert_false(upstream_take_tcp_probe(u, 1900)); /* one at a time */
    upstream_note_no_tcp(u, 1900, 2700);
    assert_false(upstream_take_tcp_probe(u, 4699));
    assert_true(upstream_take_tcp_probe(u, 4700));
    upstream_note_reply(u, 4710); /* over UDP, say: nothing to TCP */
    upstream_note_udp_reply(u, 4710);
    assert_true(upstream_has_no_tcp(u));
    upstream_note_tcp_reply(u, 4720);
    assert_false(upstream_has_no_tcp(u));
    upstream_note_no_tcp(u, 4700, 5500); /* it has answered since: the name is to blame */
    assert_false(upstream_has_no_tcp(u));
}

static void test_loop_is_not_picked(void **state)
{
    (void)state;
    struct upstream_set set = {.count = 2};
    set.list[0].is_loop = true;
    assert_int_equal(upstream_pick(&set, 0), 1);
    set.list[1].failures = 1;
    assert_int_equal(upstream_pick(&set, 0), 1);
    assert_int_equal(upstream_pick_working(&set, 0), UPSTREAM_NONE);
    assert_int_equal(upstream_pick(&set, 2), UPSTREAM_NONE);
    set.list[0].failures = 1;
    assert_int_equal(upstream_pick_probe(&set, 2, 100000), UPSTREAM_NONE);
    assert_int_equal(upstream_pick_probe(&set, 0, 100000), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_pick_in_order),
        cmocka_unit_test(test_failed_steps_back),
        cmocka_unit_test(test_probes_back_off),
        cmocka_unit_test(test_a_burst_is_one_failure),
        cmocka_unit_test(test_silence_on_one_name),
        cmocka_unit_test(test_edns),
        cmocka_unit_test(test_silence_to_opt),
        cmocka_unit_test(test_case),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_udp_blocked),
        cmocka_unit_test(test_ill),
        cmocka_unit_test(test_no_tcp),
        cmocka_unit_test(test_loop_is_not_picked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

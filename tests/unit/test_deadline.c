/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/deadline.h"

#include "common/base/clock.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>

#define COUNT 500

struct scene {
    struct ev_loop *loop;
    struct deadline_list *list;
    struct deadline d[COUNT];
    unsigned fired[COUNT]; /* how often each did */
    unsigned total;
    int64_t last_at_ms; /* of the one that fired last */
    size_t rearm;       /* this one is armed again, due at once, when it fires; COUNT = none */
    size_t cancels;     /* this one cancels the next one when it fires */
};

static void on_deadline_event(void *ctx, struct deadline *d, int64_t now_ms)
{
    struct scene *s = ctx;
    size_t i = (size_t)(d - s->d);
    assert_true(i < COUNT);
    assert_int_equal(d->index, 0);          /* disarmed */
    assert_true(now_ms >= d->at_ms);        /* never early */
    assert_true(d->at_ms >= s->last_at_ms); /* in order */
    s->last_at_ms = d->at_ms;
    s->fired[i]++;
    s->total++;
    if (i == s->rearm && s->fired[i] < 3) {
        assert_int_equal(deadline_arm(s->list, d, now_ms), 0);
    }
    if (i == s->cancels) {
        deadline_cancel(s->list, &s->d[i + 1]);
    }
}

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->rearm = COUNT;
    s->cancels = COUNT;
    s->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    assert_non_null(s->loop);
    assert_int_equal(deadline_list_new(s->loop, on_deadline_event, s, &s->list), 0);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    deadline_list_free(s->list);
    ev_loop_destroy(s->loop);
    free(s);
    return 0;
}

static void arm(struct scene *s, size_t i, int64_t at_ms)
{
    assert_int_equal(deadline_arm(s->list, &s->d[i], at_ms), 0);
    assert_int_not_equal(s->d[i].index, 0);
}

/* The loop ends by itself when the last one has fired. */
static void test_fires_in_order_and_ends(void **state)
{
    struct scene *s = *state;
    int64_t now_ms = clock_mono_ms();
    arm(s, 0, now_ms + 20);
    arm(s, 1, now_ms + 5);
    arm(s, 2, now_ms + 10);
    arm(s, 3, now_ms - 1000);      /* long due */
    assert_int_equal(s->total, 0); /* never inside arm */
    (void)ev_run(s->loop, 0);
    assert_int_equal(s->total, 4);
    assert_true(clock_mono_ms() >= now_ms + 20);
}

static void test_cancel(void **state)
{
    struct scene *s = *state;
    int64_t now_ms = clock_mono_ms();
    arm(s, 0, now_ms + 1);
    arm(s, 1, now_ms + 2);
    deadline_cancel(s->list, &s->d[0]);
    assert_int_equal(s->d[0].index, 0);
    deadline_cancel(s->list, &s->d[0]); /* idempotent */
    deadline_cancel(s->list, &s->d[7]); /* never armed */
    (void)ev_run(s->loop, 0);
    assert_int_equal(s->fired[0], 0);
    assert_int_equal(s->fired[1], 1);
    arm(s, 2, now_ms + 100000);
    deadline_cancel(s->list, &s->d[2]);
    (void)ev_run(s->loop, 0); /* nothing keeps it running */
}

static void test_move(void **state)
{
    struct scene *s = *state;
    int64_t now_ms = clock_mono_ms();
    arm(s, 0, now_ms + 100000);
    arm(s, 1, now_ms + 10);
    arm(s, 0, now_ms + 5); /* earlier than all */
    arm(s, 1, now_ms + 15);
    (void)ev_run(s->loop, 0);
    assert_int_equal(s->fired[0], 1);
    assert_int_equal(s->fired[1], 1);

    now_ms = clock_mono_ms();
    arm(s, 2, now_ms + 1);
    arm(s, 2, now_ms + 20); /* later: the timer that was set fires for nothing */
    (void)ev_run(s->loop, 0);
    assert_int_equal(s->fired[2], 1);
    assert_true(clock_mono_ms() >= now_ms + 20);
}

/* One that is due again at once waits for the next turn: no call back starves the loop. */
static void test_arm_inside_call_back(void **state)
{
    struct scene *s = *state;
    s->rearm = 0;
    arm(s, 0, clock_mono_ms());
    for (unsigned turn = 1; turn <= 3; turn++) {
        (void)ev_run(s->loop, EVRUN_ONCE);
        assert_int_equal(s->fired[0], turn);
    }
    (void)ev_run(s->loop, 0);
    assert_int_equal(s->fired[0], 3);
}

static void test_cancel_inside_call_back(void **state)
{
    struct scene *s = *state;
    int64_t now_ms = clock_mono_ms();
    s->cancels = 0;
    arm(s, 0, now_ms - 2);
    arm(s, 1, now_ms - 1); /* due in the same turn */
    arm(s, 2, now_ms);
    (void)ev_run(s->loop, 0);
    assert_int_equal(s->fired[1], 0);
    assert_int_equal(s->fired[2], 1);
}

static void test_free_disarms(void **state)
{
    struct scene *s = *state;
    arm(s, 0, clock_mono_ms());
    deadline_list_free(s->list);
    s->list = NULL;
    assert_int_equal(s->d[0].index, 0);
    (void)ev_run(s->loop, 0);
    assert_int_equal(s->total, 0);
}

/* A fixed pseudo-random mix of arming, moving and cancelling; order is checked by the call back. */
static void test_many(void **state)
{
    struct scene *s = *state;
    int64_t now_ms = clock_mono_ms();
    uint32_t x = 1;
    bool is_armed[COUNT] = {false};
    for (unsigned step = 0; step < 4 * COUNT; step++) {
        x = x * 1664525U + 1013904223U;
        size_t i = (x >> 8) % COUNT;
        if (x >> 30 == 0) {
            deadline_cancel(s->list, &s->d[i]);
            is_armed[i] = false;
        } else {
            arm(s, i, now_ms + (x >> 20) % 40);
            is_armed[i] = true;
        }
    }
    (void)ev_run(s->loop, 0);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(s->fired[i], is_armed[i] ? 1 : 0);
    }
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_fires_in_order_and_ends),
        CASE(test_cancel),
        CASE(test_move),
        CASE(test_arm_inside_call_back),
        CASE(test_free_disarms),
        CASE(test_cancel_inside_call_back),
        CASE(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

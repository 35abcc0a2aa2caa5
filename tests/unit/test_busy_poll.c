/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/busy_poll.h"

#include "common/base/clock.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

struct scene {
    struct ev_loop *loop;
    struct busy_poll poll;
};

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    assert_non_null(s->loop);
    busy_poll_init(&s->poll, s->loop);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    busy_poll_stop(&s->poll);
    ev_loop_destroy(s->loop);
    free(s);
    return 0;
}

/* Waits in vain. The loop has nothing else to do: ev_run() would return at once if the wait did not keep it,
 * and would never return if the wait did not end. */
static void miss(struct scene *s)
{
    const int64_t before_us = clock_mono_us();
    busy_poll_start(&s->poll);
    assert_true(busy_poll_is_on(&s->poll));
    (void)ev_run(s->loop, 0);
    assert_false(busy_poll_is_on(&s->poll));
    assert_true(clock_mono_us() - before_us >= BUSY_POLL_US);
}

static void hit(struct scene *s)
{
    busy_poll_start(&s->poll);
    assert_true(busy_poll_is_on(&s->poll));
    busy_poll_hit(&s->poll);
    assert_false(busy_poll_is_on(&s->poll));
}

static void decline(struct scene *s)
{
    busy_poll_start(&s->poll);
    assert_false(busy_poll_is_on(&s->poll));
    busy_poll_hit(&s->poll); /* an answer that was not waited for earns nothing */
}

/* Where answers are slow, it waits once in a while. */
static void test_misses(void **state)
{
    struct scene *s = *state;
    for (unsigned round = 0; round < 3; round++) {
        miss(s);
        for (unsigned i = 1; i < BUSY_POLL_TRIAL_EVERY; i++) {
            decline(s);
        }
    }
}

/* Where they are fast it always waits, and a few late ones do not end that. */
static void test_hits(void **state)
{
    struct scene *s = *state;
    for (unsigned i = 0; i < 100; i++) {
        hit(s);
    }
    for (unsigned i = 0; i < BUSY_POLL_CREDIT_MAX; i += BUSY_POLL_MISS_COST) {
        miss(s);
    }
    decline(s);
}

/* One in two in time is too little: the waits in vain would cost more than the others save. */
static void test_even(void **state)
{
    struct scene *s = *state;
    hit(s);
    hit(s);
    miss(s);
    decline(s);
}

/* Three in time of four are enough. */
static void test_mostly_hits(void **state)
{
    struct scene *s = *state;
    for (unsigned i = 0; i < 20; i++) {
        hit(s);
        hit(s);
        hit(s);
        miss(s);
    }
}

/* A question that was cancelled says nothing of how fast answers are. */
static void test_stop(void **state)
{
    struct scene *s = *state;
    hit(s);
    for (unsigned i = 0; i < 10; i++) {
        busy_poll_start(&s->poll);
        assert_true(busy_poll_is_on(&s->poll));
        busy_poll_stop(&s->poll);
        assert_false(busy_poll_is_on(&s->poll));
        busy_poll_stop(&s->poll);
    }
    miss(s);
    decline(s);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_misses), CASE(test_hits), CASE(test_even), CASE(test_mostly_hits), CASE(test_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

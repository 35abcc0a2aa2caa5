/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/reap.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

struct thing {
    struct reap_node node;
    struct reap *reap;
    struct thing *queues; /* queued when this one is freed */
    unsigned *freed;
};

static void free_thing(struct reap_node *n)
{
    struct thing *t = (struct thing *)(void *)n; /* node comes first */
    (*t->freed)++;
    if (t->queues != NULL) {
        reap_later(t->reap, &t->queues->node);
    }
    free(t);
}

static struct thing *new_thing(struct reap *r, unsigned *freed)
{
    struct thing *t = calloc(1, sizeof(*t));
    assert_non_null(t);
    *t = (struct thing){.node.free_fn = free_thing, .reap = r, .freed = freed};
    return t;
}

struct scene {
    struct ev_loop *loop;
    struct reap *reap;
    unsigned freed;
    unsigned freed_seen[2]; /* by the two call backs of one iteration */
    ev_timer first, second;
};

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    assert_non_null(s->loop);
    assert_int_equal(reap_new(s->loop, &s->reap), 0);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    reap_free(s->reap);
    ev_loop_destroy(s->loop);
    free(s);
    return 0;
}

static void on_first_event(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    struct scene *s = w->data;
    reap_later(s->reap, &new_thing(s->reap, &s->freed)->node);
    s->freed_seen[0] = s->freed;
}

static void on_second_event(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    struct scene *s = w->data;
    s->freed_seen[1] = s->freed;
}

/* Another call back of the same iteration still sees the memory; the next iteration does not. */
static void test_frees_after_the_iteration(void **state)
{
    struct scene *s = *state;
    s->freed_seen[0] = s->freed_seen[1] = 9;
    ev_timer_init(&s->first, on_first_event, 0.0, 0.0);
    ev_timer_init(&s->second, on_second_event, 0.0, 0.0);
    ev_set_priority(&s->first, EV_MAXPRI); /* goes first */
    s->first.data = s;
    s->second.data = s;
    ev_timer_start(s->loop, &s->first);
    ev_timer_start(s->loop, &s->second);
    (void)ev_run(s->loop, EVRUN_ONCE);
    assert_int_equal(s->freed_seen[0], 0);
    assert_int_equal(s->freed_seen[1], 0);
    assert_int_equal(s->freed, 0);
    (void)ev_run(s->loop, EVRUN_NOWAIT);
    assert_int_equal(s->freed, 1);
}

static void test_free_function_may_queue(void **state)
{
    struct scene *s = *state;
    struct thing *a = new_thing(s->reap, &s->freed);
    a->queues = new_thing(s->reap, &s->freed);
    a->queues->queues = new_thing(s->reap, &s->freed);
    reap_later(s->reap, &a->node);
    assert_int_equal(s->freed, 0);
    (void)ev_run(s->loop, EVRUN_NOWAIT);
    assert_int_equal(s->freed, 3);
}

/* With nothing queued it keeps no loop running, and neither after it has freed. */
static void test_idle_loop_ends(void **state)
{
    struct scene *s = *state;
    assert_int_equal(ev_run(s->loop, 0), 0);
    reap_later(s->reap, &new_thing(s->reap, &s->freed)->node);
    assert_int_equal(ev_run(s->loop, 0), 0);
    assert_int_equal(s->freed, 1);
}

static void test_free_frees_the_queue(void **state)
{
    struct scene *s = *state;
    reap_later(s->reap, &new_thing(s->reap, &s->freed)->node);
    reap_later(s->reap, &new_thing(s->reap, &s->freed)->node);
    reap_free(s->reap);
    assert_int_equal(s->freed, 2);
    s->reap = NULL; /* tear_down: reap_free(NULL) is fine */
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_frees_after_the_iteration),
        CASE(test_free_function_may_queue),
        CASE(test_idle_loop_ends),
        CASE(test_free_frees_the_queue),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

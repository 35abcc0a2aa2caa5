/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/wake.h"

#include "tests/support/failing_epoll.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static unsigned calls;

static void on_wake(void *ctx)
{
    calls++;
    ev_break(ctx, EVBREAK_ONE);
}

static void *send_one(void *arg)
{
    wake_send(arg);
    return NULL;
}

static void test_sends_before_the_call_back_are_one(void **state)
{
    (void)state;
    struct wake w;
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    calls = 0;
    assert_non_null(loop);
    assert_int_equal(wake_init(&w, loop, on_wake, loop), 0);
    wake_send(&w);
    wake_send(&w);
    (void)ev_run(loop, 0);
    assert_int_equal(calls, 1);
    (void)ev_run(loop, EVRUN_NOWAIT);
    assert_int_equal(calls, 1);
    wake_fini(&w);
    wake_fini(&w);
    ev_loop_destroy(loop);
}

/* libev's own: deaf for good, or an abort. */
static void test_heard_after_a_failed_epoll_ctl(void **state)
{
    (void)state;
    struct wake w;
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    pthread_t thread;
    calls = 0;
    assert_non_null(loop);
    assert_int_equal(wake_init(&w, loop, on_wake, loop), 0);
    failing_epoll_adds(1);
    (void)ev_run(loop, EVRUN_NOWAIT);
    assert_int_equal(failing_epoll_left(), 0);
    assert_int_equal(pthread_create(&thread, NULL, send_one, &w), 0);
    (void)ev_run(loop, 0); /* the look of the next try */
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(calls, 1);
    wake_send(&w);
    (void)ev_run(loop, 0);
    assert_int_equal(calls, 2);
    wake_fini(&w);
    ev_loop_destroy(loop);
}

static unsigned reads, reads_before_call;

static void on_read_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)revents;
    reads++;
    reads_before_call += calls == 0 ? 1 : 0;
    ev_io_stop(loop, w);
}

/* What was asked after the daemon had said "stopping" was answered as before. */
static void test_news_before_what_sockets_hold(void **state)
{
    (void)state;
    struct wake w;
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    const int first = eventfd(1, EFD_CLOEXEC), last = eventfd(1, EFD_CLOEXEC);
    ev_io before, behind;
    calls = 0;
    assert_non_null(loop);
    assert_true(first >= 0 && last >= 0);
    ev_io_init(&before, on_read_event, first, EV_READ);
    ev_io_start(loop, &before);
    assert_int_equal(wake_init(&w, loop, on_wake, loop), 0);
    ev_io_init(&behind, on_read_event, last, EV_READ);
    ev_io_start(loop, &behind);
    wake_send(&w);
    (void)ev_run(loop, EVRUN_NOWAIT);
    assert_int_equal(reads, 2);
    assert_int_equal(calls, 1);
    assert_int_equal(reads_before_call, 0);
    wake_fini(&w);
    ev_loop_destroy(loop);
    (void)close(first);
    (void)close(last);
}

static void test_none(void **state)
{
    (void)state;
    struct wake w;
    memset(&w, 0, sizeof(w));
    wake_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sends_before_the_call_back_are_one),
        cmocka_unit_test(test_heard_after_a_failed_epoll_ctl),
        cmocka_unit_test(test_news_before_what_sockets_hold),
        cmocka_unit_test(test_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

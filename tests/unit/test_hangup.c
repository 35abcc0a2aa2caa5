/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/net/sock.h"
#include "tunneld/hangup.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

static struct ev_loop *loop;
static struct hangup *hangup;

struct seen {
    struct hangup_watch watch;
    int calls;
    int error;
    struct seen *stops; /* stopped from inside the call back */
};

static void make_pair(int out[2])
{
    struct addr a = {.ip = ip_v4(127, 0, 0, 1)};
    int listener = sock_listen_tcp(&a, false, NULL);
    assert_true(listener >= 0);
    assert_int_equal(sock_local_addr(listener, &a), 0);
    out[0] = sock_connect_tcp(&a);
    struct pollfd p = {.fd = listener, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 5000), 1);
    out[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(out[0] >= 0 && out[1] >= 0);
    assert_int_equal(close(listener), 0);
}

static void on_hangup(struct hangup_watch *w)
{
    struct seen *s = w->ctx;
    s->calls++;
    s->error = hangup_error(w->fd);
    assert_false(w->is_active);
    if (s->stops != NULL) {
        hangup_stop(hangup, &s->stops->watch);
    }
}

static void watch(struct seen *s, int fd)
{
    s->watch = (struct hangup_watch){.fn = on_hangup, .ctx = s};
    assert_int_equal(hangup_start(hangup, &s->watch, fd), 0);
    assert_int_equal(hangup_start(hangup, &s->watch, fd), 0); /* again is fine */
}

static void settle(void)
{
    for (int i = 0; i < 10; i++) {
        ev_run(loop, EVRUN_NOWAIT);
    }
}

static void test_reset_is_seen_and_nothing_else(void **state)
{
    (void)state;
    int fds[2];
    struct seen s = {.calls = 0};
    make_pair(fds);
    watch(&s, fds[1]);
    settle();
    assert_int_equal(s.calls, 0);
    assert_int_equal(send(fds[0], "x", 1, MSG_NOSIGNAL), 1);
    settle();
    assert_int_equal(s.calls, 0); /* bytes are no hang-up */
    assert_int_equal(shutdown(fds[0], SHUT_WR), 0);
    settle();
    assert_int_equal(s.calls, 0); /* nor is a FIN */
    sock_close_reset(fds[0]);
    settle();
    assert_int_equal(s.calls, 1);
    assert_int_equal(s.error, EPIPE); /* what the kernel calls a reset that follows a FIN */
    assert_int_equal(close(fds[1]), 0);
}

static void test_stopped_watches_are_silent(void **state)
{
    (void)state;
    int fds[2];
    struct seen s = {.calls = 0};
    make_pair(fds);
    watch(&s, fds[1]);
    hangup_stop(hangup, &s.watch);
    hangup_stop(hangup, &s.watch);
    sock_close_reset(fds[0]);
    settle();
    assert_int_equal(s.calls, 0);
    watch(&s, fds[1]); /* it happened before: seen all the same */
    settle();
    assert_int_equal(s.calls, 1);
    assert_int_equal(s.error, ECONNRESET);
    assert_int_equal(close(fds[1]), 0);
}

/* Both have finished and bytes are still to be read: a hang-up, but not an error. */
static void test_both_fins_are_no_error(void **state)
{
    (void)state;
    int fds[2];
    struct seen s = {.error = -1};
    char c;
    make_pair(fds);
    watch(&s, fds[1]);
    assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
    settle();
    assert_int_equal(s.calls, 0);
    assert_int_equal(recv(fds[0], &c, 1, 0), 0);
    assert_int_equal(send(fds[0], "x", 1, MSG_NOSIGNAL), 1);
    assert_int_equal(close(fds[0]), 0);
    settle();
    assert_int_equal(s.calls, 1);
    assert_int_equal(s.error, 0);
    assert_int_equal(recv(fds[1], &c, 1, 0), 1);
    assert_int_equal(close(fds[1]), 0);
}

/* Two at once, and the first call back stops the other one: no call back after a stop. */
static void test_stop_from_a_call_back(void **state)
{
    (void)state;
    int a[2];
    int b[2];
    struct seen one = {.calls = 0};
    struct seen two = {.stops = &one};
    one.stops = &two;
    make_pair(a);
    make_pair(b);
    watch(&one, a[1]);
    watch(&two, b[1]);
    sock_close_reset(a[0]);
    sock_close_reset(b[0]);
    settle();
    assert_int_equal(one.calls + two.calls, 1);
    assert_int_equal(close(a[1]), 0);
    assert_int_equal(close(b[1]), 0);
}

static void test_bad_descriptor(void **state)
{
    (void)state;
    struct hangup_watch w = {.fn = on_hangup};
    assert_int_equal(hangup_start(hangup, &w, -1), -EBADF);
    assert_false(w.is_active);
}

/* A FIN counts only for those who want it, and is told from a reset. */
static void test_fin(void **state)
{
    (void)state;
    int fin[2];
    int other[2];
    make_pair(fin);
    make_pair(other);
    struct seen wants = {.watch = {.fn = on_hangup, .ctx = &wants, .wants_fin = true}};
    struct seen wants_reset = {.watch = {.fn = on_hangup, .ctx = &wants_reset, .wants_fin = true}};
    struct seen does_not = {.calls = 0};
    assert_int_equal(hangup_start(hangup, &wants.watch, fin[0]), 0);
    assert_int_equal(hangup_start(hangup, &wants_reset.watch, other[0]), 0);
    watch(&does_not, fin[1]);
    settle();
    assert_int_equal(wants.calls, 0);
    assert_int_equal(send(fin[1], "data", 4, 0), 4); /* what waits to be read is no reason */
    settle();
    assert_int_equal(wants.calls, 0);
    assert_int_equal(shutdown(fin[1], SHUT_WR), 0);
    sock_close_reset(other[1]);
    settle();
    assert_int_equal(wants.calls, 1);
    assert_true(hangup_is_fin(fin[0]));
    assert_int_equal(wants_reset.calls, 1);
    assert_false(hangup_is_fin(other[0]));
    assert_int_equal(does_not.calls, 0);
    hangup_stop(hangup, &does_not.watch);
    assert_int_equal(close(fin[0]), 0);
    assert_int_equal(close(fin[1]), 0);
    assert_int_equal(close(other[0]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reset_is_seen_and_nothing_else),
        cmocka_unit_test(test_stopped_watches_are_silent),
        cmocka_unit_test(test_both_fins_are_no_error),
        cmocka_unit_test(test_stop_from_a_call_back),
        cmocka_unit_test(test_bad_descriptor),
        cmocka_unit_test(test_fin),
    };
    loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (loop == NULL || hangup_new(loop, &hangup) != 0) {
        return 99;
    }
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    hangup_free(hangup);
    hangup_free(NULL);
    ev_loop_destroy(loop);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Datagrams over a real socket; what answers is the test, in the place of the query engine. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "dnsd/listen_udp.h"

#include "common/base/clock.h"
#include "common/net/sock.h"
#include "tests/support/failing_epoll.h"

#include <sys/socket.h>
#include <unistd.h>

#define BURST 150 /* more than one turn of the loop takes: the listener goes on without the loop's epoll */
#define PATIENCE_MS 10000

static unsigned taken;

enum query_outcome query_handle(struct query_engine *e, struct span message, int64_t now_ms,
                                uint64_t foreseen, const struct reply *to)
{
    (void)e;
    assert_in_range(clock_mono_ms() - now_ms, 0, PATIENCE_MS);
    (void)foreseen;
    taken++;
    to->send(to, message);
    return QUERY_TAKEN;
}

uint64_t query_foresee(const struct query_engine *e, struct span message)
{
    (void)e;
    (void)message;
    return 0;
}

void query_fetch(const struct query_engine *e, uint64_t foreseen)
{
    (void)e;
    (void)foreseen;
}

static void on_tick_event(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
}

/* Is it taken and answered? */
static bool serves(struct worker *w, int fd, unsigned questions)
{
    const unsigned want = taken + questions;
    const int64_t end_ms = clock_mono_ms() + PATIENCE_MS;
    uint8_t byte = 0;
    ev_timer tick;
    ev_timer_init(&tick, on_tick_event, 0.005, 0.005);
    ev_timer_start(w->loop, &tick);
    for (unsigned i = 0; i < questions; i++) {
        assert_int_equal(send(fd, &byte, 1, MSG_NOSIGNAL), 1);
    }
    while (taken < want && clock_mono_ms() < end_ms) {
        (void)ev_run(w->loop, EVRUN_ONCE);
    }
    (void)ev_run(w->loop, EVRUN_ONCE); /* finds the socket empty, and sends what waits */
    ev_timer_stop(w->loop, &tick);
    return taken == want && recv(fd, &byte, 1, MSG_DONTWAIT) == 1;
}

/* Given back to epoll after a burst, the socket was never read again: one failure was the end of UDP. */
static void test_deaf_after_a_failed_epoll_ctl(void **state)
{
    (void)state;
    const struct addr any = {.ip = ip_v4(127, 0, 0, 1), .port = 0};
    struct worker w = {.loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV)};
    struct listen_udp *u = NULL;
    struct addr local;
    struct err err = {""};
    assert_non_null(w.loop);
    int fd = sock_listen_udp(&any, false, &err);
    assert_true(fd >= 0);
    assert_int_equal(sock_local_addr(fd, &local), 0);
    assert_int_equal(listen_udp_new(&w, NULL, fd, &u), 0);
    int client = sock_connect_udp(&local);
    assert_true(client >= 0);
    assert_true(serves(&w, client, 1));
    failing_epoll_adds(1);
    assert_true(serves(&w, client, BURST));
    for (unsigned i = 0; i < 10 && failing_epoll_left() > 0; i++) {
        (void)ev_run(w.loop, EVRUN_NOWAIT);
    }
    assert_int_equal(failing_epoll_left(), 0);
    (void)ev_run(w.loop, EVRUN_NOWAIT); /* it hears of the failure */
    assert_true(serves(&w, client, 1));
    assert_true(serves(&w, client, BURST));
    assert_true(serves(&w, client, 1));
    (void)close(client);
    listen_udp_free(u);
    ev_loop_destroy(w.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_deaf_after_a_failed_epoll_ctl)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

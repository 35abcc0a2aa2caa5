/* SPDX-License-Identifier: Apache-2.0 */
/* Dials on loopback. Addresses of 127.0.0.0/8 are all this host, so that a port may be open on one and closed
 * on another. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/clock.h"
#include "common/net/sock.h"
#include "tests/support/failing_epoll.h"
#include "tunneld/dial.h"

#include <dirent.h>
#include <errno.h>
#include <unistd.h>

static struct ev_loop *loop;

struct seen {
    struct dial *dial;
    int calls;
    struct dial_result result;
};

static void on_dial(void *ctx, const struct dial_result *r)
{
    struct seen *s = ctx;
    s->calls++;
    s->result = *r;
    dial_cancel(s->dial);
    s->dial = NULL;
}

static int open_fds(void)
{
    int count = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d) != NULL) {
        count++;
    }
    (void)closedir(d);
    return count;
}

static int listen_on(struct ip ip, uint16_t *port)
{
    struct addr a = {.ip = ip, .port = *port};
    int fd = sock_listen_tcp(&a, false, NULL);
    assert_true(fd >= 0);
    assert_int_equal(sock_local_addr(fd, &a), 0);
    *port = a.port;
    return fd;
}

static void start(struct seen *s, uint16_t port)
{
    assert_int_equal(dial_start(loop, port, on_dial, s, &s->dial), 0);
}

static void add(struct seen *s, struct ip ip)
{
    dial_add(s->dial, &ip);
    assert_int_equal(s->calls, 0);
}

static void wait_done(struct seen *s)
{
    int64_t end = clock_mono_ms() + 5000;
    while (s->calls == 0 && clock_mono_ms() < end) {
        ev_run(loop, EVRUN_ONCE);
    }
    assert_int_equal(s->calls, 1);
    ev_run(loop, EVRUN_NOWAIT);
    assert_int_equal(s->calls, 1);
}

static void test_connects(void **state)
{
    (void)state;
    struct seen s = {0};
    struct addr peer;
    uint16_t port = 0;
    int listener = listen_on(ip_v4(127, 0, 0, 1), &port);
    int before = open_fds();
    start(&s, port);
    add(&s, ip_v4(127, 0, 0, 1));
    dial_complete(s.dial);
    wait_done(&s);
    assert_true(s.result.fd >= 0);
    assert_int_equal(s.result.addr.port, port);
    assert_int_equal(sock_peer_addr(s.result.fd, &peer), 0);
    assert_true(addr_is_equal(&peer, &s.result.addr));
    assert_int_equal(close(s.result.fd), 0);
    assert_int_equal(open_fds(), before);
    assert_int_equal(close(listener), 0);
}

/* A refused address costs nothing: the next one is tried at once, not after the stagger. */
static void test_next_after_refused(void **state)
{
    (void)state;
    struct seen s = {0};
    uint16_t port = 0;
    struct ip v6 = {.family = IP_V6, .bytes = {[15] = 1}};
    int listener = listen_on(ip_v4(127, 0, 0, 3), &port);
    int before = open_fds();
    int64_t began = clock_mono_ms();
    start(&s, port);
    add(&s, v6);
    add(&s, ip_v4(127, 0, 0, 1));
    add(&s, ip_v4(127, 0, 0, 2));
    add(&s, ip_v4(127, 0, 0, 3));
    dial_complete(s.dial);
    wait_done(&s);
    assert_true(s.result.fd >= 0);
    struct ip want = ip_v4(127, 0, 0, 3);
    assert_true(ip_is_equal(&s.result.addr.ip, &want));
    assert_true(clock_mono_ms() - began < 200);
    assert_int_equal(close(s.result.fd), 0);
    assert_int_equal(open_fds(), before);
    assert_int_equal(close(listener), 0);
}

static void test_all_refused(void **state)
{
    (void)state;
    struct seen s = {0};
    uint16_t port = 0;
    int listener = listen_on(ip_v4(127, 0, 0, 9), &port); /* keeps the port from others */
    int before = open_fds();
    start(&s, port);
    add(&s, ip_v4(127, 0, 0, 1));
    add(&s, ip_v4(240, 0, 0, 1)); /* no route, or refused by it: says less than a refusal */
    add(&s, ip_v4(127, 0, 0, 2));
    dial_complete(s.dial);
    wait_done(&s);
    assert_int_equal(s.result.fd, -1);
    assert_true(s.result.error == ECONNREFUSED || s.result.error == ETIMEDOUT);
    assert_int_equal(open_fds(), before);
    assert_int_equal(close(listener), 0);
}

static void test_waits_for_more_addresses(void **state)
{
    (void)state;
    struct seen s = {0};
    uint16_t port = 0;
    int listener = listen_on(ip_v4(127, 0, 0, 2), &port);
    start(&s, port);
    add(&s, ip_v4(127, 0, 0, 1));
    for (int i = 0; i < 20; i++) {
        ev_run(loop, EVRUN_NOWAIT);
    }
    assert_int_equal(s.calls, 0); /* it failed, but more may come */
    add(&s, ip_v4(127, 0, 0, 2));
    wait_done(&s);
    assert_true(s.result.fd >= 0);
    assert_int_equal(close(s.result.fd), 0);
    assert_int_equal(close(listener), 0);
}

static void test_nothing_to_dial(void **state)
{
    (void)state;
    struct seen s = {0};
    start(&s, 1);
    dial_complete(s.dial);
    assert_int_equal(s.calls, 0);
    wait_done(&s);
    assert_int_equal(s.result.fd, -1);
    assert_int_equal(s.result.error, 0);
}

/* Losers and cancelled dials leave no descriptor and no watcher behind. */
static void test_cancel(void **state)
{
    (void)state;
    struct seen s = {0};
    uint16_t port = 0;
    int listener = listen_on(ip_v4(127, 0, 0, 1), &port);
    int before = open_fds();
    for (int turns = 0; turns < 3; turns++) {
        start(&s, port);
        add(&s, ip_v4(127, 0, 0, 1));
        for (int i = 0; i < turns && s.calls == 0; i++) {
            ev_run(loop, EVRUN_NOWAIT);
        }
        if (s.calls == 0) {
            dial_cancel(s.dial);
        } else if (s.result.fd >= 0) {
            assert_int_equal(close(s.result.fd), 0);
        }
        assert_int_equal(open_fds(), before);
        s = (struct seen){0};
    }
    ev_run(loop, 0); /* returns at once: no watcher is left */
    assert_int_equal(close(listener), 0);
}

/* It passed for connected, before it was. */
static void test_refused_by_epoll(void **state)
{
    (void)state;
    struct seen s = {0};
    uint16_t port = 0;
    int listener = listen_on(ip_v4(127, 0, 0, 1), &port);
    int before = open_fds();
    failing_epoll_adds(1);
    start(&s, port);
    add(&s, ip_v4(127, 0, 0, 1));
    dial_complete(s.dial);
    wait_done(&s);
    assert_int_equal(failing_epoll_left(), 0);
    assert_int_equal(s.result.fd, -1);
    assert_int_equal(s.result.error, ENOMEM);
    assert_int_equal(open_fds(), before);
    assert_int_equal(close(listener), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connects),         cmocka_unit_test(test_next_after_refused),
        cmocka_unit_test(test_all_refused),      cmocka_unit_test(test_waits_for_more_addresses),
        cmocka_unit_test(test_nothing_to_dial),  cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_refused_by_epoll),
    };
    loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (loop == NULL) {
        return 99;
    }
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    ev_loop_destroy(loop);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/acceptor.h"

#include "common/base/log.h"
#include "common/net/sock.h"
#include "tests/support/failing_epoll.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define CLIENTS_MAX 100
#define TURNS_MAX 2000 /* of the loop, 5 ms each at most: what has not come by then never comes */

struct scene {
    struct ev_loop *loop;
    struct acceptor *acceptor;
    struct addr addr;
    unsigned accepted, refused;
    struct addr last_peer;
    bool keeps; /* what is accepted stays open, as last_fd */
    int last_fd;
    unsigned paused;
    unsigned stop_after; /* acceptor_stop() inside the call back; 0 = never */
    bool stop_in_refuse;
    int clients[CLIENTS_MAX];
    size_t client_count;
};

static void on_accept(void *ctx, int fd, const struct addr *peer)
{
    struct scene *s = ctx;
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    s->accepted++;
    s->last_peer = *peer;
    if (s->keeps) {
        s->last_fd = fd;
        return;
    }
    (void)close(fd);
    if (s->accepted == s->stop_after) {
        acceptor_stop(s->acceptor);
        s->acceptor = NULL;
    }
}

static void on_refuse(void *ctx, int fd, const struct addr *peer)
{
    struct scene *s = ctx;
    assert_int_equal(peer->ip.family, IP_V4);
    assert_int_equal(send(fd, "no", 2, MSG_NOSIGNAL), 2);
    s->refused++;
    if (s->stop_in_refuse) {
        acceptor_stop(s->acceptor);
        s->acceptor = NULL;
    }
}

static void on_pause(void *ctx)
{
    struct scene *s = ctx;
    s->paused++;
}

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    assert_non_null(s->loop);
    struct addr any = {.ip = ip_v4(127, 0, 0, 1), .port = 0};
    struct err err = {0};
    int fd = sock_listen_tcp(&any, false, &err);
    assert_true(fd >= 0);
    assert_int_equal(sock_local_addr(fd, &s->addr), 0);
    struct acceptor_config cfg = {.loop = s->loop,
                                  .fd = fd,
                                  .on_accept = on_accept,
                                  .on_refuse = on_refuse,
                                  .on_pause = on_pause,
                                  .ctx = s};
    assert_int_equal(acceptor_new(&cfg, &s->acceptor), 0);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    acceptor_stop(s->acceptor); /* NULL where the test has stopped it */
    for (size_t i = 0; i < s->client_count; i++) {
        (void)close(s->clients[i]);
    }
    ev_loop_destroy(s->loop);
    free(s);
    return 0;
}

static int add_client(struct scene *s)
{
    int fd = sock_connect_tcp(&s->addr);
    assert_true(fd >= 0);
    s->clients[s->client_count++] = fd;
    return fd;
}

static void on_tick_event(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
}

/* Turns the loop until *count reaches want. */
static void run_until(struct scene *s, const unsigned *count, unsigned want)
{
    ev_timer tick;
    ev_timer_init(&tick, on_tick_event, 0.005, 0.005);
    ev_timer_start(s->loop, &tick);
    for (int i = 0; i < TURNS_MAX && *count < want; i++) {
        (void)ev_run(s->loop, EVRUN_ONCE);
    }
    ev_timer_stop(s->loop, &tick);
    assert_int_equal(*count, want);
}

static void test_accepts(void **state)
{
    struct scene *s = *state;
    int fd = add_client(s);
    struct addr local;
    run_until(s, &s->accepted, 1);
    assert_int_equal(sock_local_addr(fd, &local), 0);
    assert_true(addr_is_equal(&local, &s->last_peer));
}

static void test_accepts_more_than_a_batch(void **state)
{
    struct scene *s = *state;
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        (void)add_client(s);
    }
    (void)ev_run(s->loop, EVRUN_ONCE);
    assert_in_range(s->accepted, 1, 64); /* the rest waits for its turn */
    run_until(s, &s->accepted, CLIENTS_MAX);
}

static void test_stop_inside_call_back(void **state)
{
    struct scene *s = *state;
    s->stop_after = 2;
    for (unsigned i = 0; i < 5; i++) {
        (void)add_client(s);
    }
    run_until(s, &s->accepted, 2);
    (void)ev_run(s->loop, EVRUN_NOWAIT);
    assert_int_equal(s->accepted, 2);
    assert_null(s->acceptor);
    int fd = sock_connect_tcp(&s->addr); /* the port is closed */
    if (fd >= 0) {
        (void)ev_run(s->loop, EVRUN_NOWAIT);
        assert_int_equal(sock_connect_result(fd), -ECONNREFUSED);
        (void)close(fd);
    }
}

static void test_stop_outside(void **state)
{
    struct scene *s = *state;
    (void)add_client(s);
    acceptor_stop(s->acceptor);
    s->acceptor = NULL;
    (void)ev_run(s->loop, EVRUN_NOWAIT);
    assert_int_equal(s->accepted, 0);
}

/* From now on so many new descriptors are to be had, and no more; returns the limit to restore. */
static struct rlimit leave_descriptors(unsigned left)
{
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    int lowest_free = dup(0);
    assert_true(lowest_free >= 0);
    (void)close(lowest_free);
    struct rlimit none = {.rlim_cur = (rlim_t)lowest_free + left, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    return old;
}

static struct rlimit forbid_descriptors(void)
{
    return leave_descriptors(0);
}

static size_t count_lines_with(int fd, const char *word)
{
    char text[4096];
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    size_t count = 0;
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        count++;
    }
    return count;
}

/* Out of descriptors: clients are told at once, the loop does not spin, and it goes on when there is room
 * again. */
static void test_out_of_descriptors(void **state)
{
    struct scene *s = *state;
    int log_fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(log_fd >= 0);
    log_init("test", LOG_INFO, LOG_TEXT, log_fd);
    int first = add_client(s);
    int second = add_client(s);
    struct rlimit old = forbid_descriptors();
    run_until(s, &s->refused, 2);
    assert_int_equal(s->accepted, 0);

    char told[8];
    assert_int_equal(recv(first, told, sizeof(told), 0), 2);
    assert_int_equal(recv(first, told, sizeof(told), 0), 0); /* and closed */
    assert_int_equal(recv(second, told, sizeof(told), 0), 2);

    /* paused: a third one waits, and the loop sleeps meanwhile instead of waking for it */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    (void)add_client(s);
    unsigned turns = 0;
    while (s->accepted == 0 && turns < TURNS_MAX) {
        (void)ev_run(s->loop, EVRUN_ONCE); /* nothing but the acceptor's own timer wakes it */
        turns++;
    }
    assert_int_equal(s->accepted, 1);
    assert_true(turns <= 4);
    assert_int_equal(s->refused, 2);
    assert_int_equal(s->paused, 1);
    assert_int_equal(count_lines_with(log_fd, "accept_paused"), 1);
    assert_int_equal(count_lines_with(log_fd, "refused=2"), 1);
    log_init("test", LOG_INFO, LOG_TEXT, 2);
    (void)close(log_fd);
}

/* accept(2) says EMFILE also when nobody waits: that is no reason to pause. */
static void test_last_descriptor(void **state)
{
    struct scene *s = *state;
    s->keeps = true;
    (void)add_client(s);
    struct rlimit old = leave_descriptors(1);
    run_until(s, &s->accepted, 1);
    assert_int_equal(s->paused, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    (void)close(s->last_fd);
}

static void test_stop_while_paused(void **state)
{
    struct scene *s = *state;
    (void)add_client(s);
    struct rlimit old = forbid_descriptors();
    run_until(s, &s->refused, 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    acceptor_stop(s->acceptor);
    s->acceptor = NULL;
    (void)ev_run(s->loop, 0); /* its timer went with it: the loop has nothing to wait for */
}

static void test_stop_inside_refuse(void **state)
{
    struct scene *s = *state;
    s->stop_in_refuse = true;
    (void)add_client(s);
    (void)add_client(s);
    struct rlimit old = forbid_descriptors();
    run_until(s, &s->refused, 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    (void)ev_run(s->loop, 0);
    assert_int_equal(s->refused, 1);
}

/* One failed epoll_ctl(2), and nobody was accepted any more. */
static void test_deaf_after_a_failed_epoll_ctl(void **state)
{
    struct scene *s = *state;
    failing_epoll_adds(1);
    (void)ev_run(s->loop, EVRUN_NOWAIT); /* fails; the acceptor hears of it */
    assert_int_equal(failing_epoll_left(), 0);
    (void)add_client(s);
    run_until(s, &s->accepted, 1);
    (void)add_client(s);
    run_until(s, &s->accepted, 2);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_accepts),
        CASE(test_accepts_more_than_a_batch),
        CASE(test_stop_inside_call_back),
        CASE(test_stop_outside),
        CASE(test_out_of_descriptors),
        CASE(test_last_descriptor),
        CASE(test_stop_while_paused),
        CASE(test_stop_inside_refuse),
        CASE(test_deaf_after_a_failed_epoll_ctl),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

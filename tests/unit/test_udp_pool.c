/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/net/udp_pool.h"

#include "common/net/sock.h"
#include "tests/support/failing_epoll.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

struct fixture {
    struct ev_loop *loop;
    struct udp_pool *pool;
    int server;
    struct addr at;
    struct udp_socket *socket;
    unsigned readable;
    char got[16];
};

static void on_readable(void *ctx, int fd)
{
    struct fixture *f = ctx;
    ssize_t n = recv(fd, f->got, sizeof(f->got) - 1, 0);
    assert_true(n > 0);
    f->got[n] = '\0';
    f->readable++;
    ev_break(f->loop, EVBREAK_ALL);
}

static int set_up(void **state)
{
    static struct fixture f;
    struct err err = {""};
    f = (struct fixture){.at = {.ip = ip_v4(127, 0, 0, 1)}};
    f.loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    assert_non_null(f.loop);
    assert_int_equal(udp_pool_new(f.loop, 2, &f.pool), 0);
    f.server = sock_listen_udp(&f.at, false, &err);
    assert_true(f.server >= 0);
    assert_int_equal(sock_local_addr(f.server, &f.at), 0);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    udp_pool_free(f->pool);
    (void)close(f->server);
    ev_loop_destroy(f->loop);
    return 0;
}

static uint16_t port_of(const struct udp_socket *s)
{
    struct addr a;
    assert_int_equal(sock_local_addr(udp_socket_fd(s), &a), 0);
    return a.port;
}

static void take(struct fixture *f)
{
    assert_int_equal(udp_pool_take(f->pool, &f->at, on_readable, f, &f->socket), 0);
}

/* Sends a question and its answer through the server's end. */
static void converse(struct fixture *f, const char *text)
{
    struct sockaddr_storage from;
    socklen_t len = (socklen_t)sizeof(from);
    char in[16];
    assert_int_equal(send(udp_socket_fd(f->socket), "q", 1, 0), 1);
    assert_int_equal(recvfrom(f->server, in, sizeof(in), 0, (struct sockaddr *)&from, &len), 1);
    assert_true(sendto(f->server, text, strlen(text), 0, (struct sockaddr *)&from, len) > 0);
    (void)ev_run(f->loop, 0);
    assert_string_equal(f->got, text);
}

static void a_socket_serves_again_from_another_port(void **state)
{
    struct fixture *f = *state;
    unsigned different = 0;
    uint16_t port = 0;
    int fd = -1;
    for (unsigned i = 0; i < 20; i++) {
        take(f);
        if (i > 0) {
            assert_int_equal(udp_socket_fd(f->socket), fd);
        }
        fd = udp_socket_fd(f->socket);
        different += port_of(f->socket) != port;
        port = port_of(f->socket);
        converse(f, i % 2 == 0 ? "even" : "odd");
        udp_pool_give(f->socket, true);
    }
    assert_int_equal(f->readable, 20);
    assert_true(different >= 18); /* the kernel may draw the same twice */
}

static void a_tag_stays_with_its_socket(void **state)
{
    struct fixture *f = *state;
    take(f);
    const int fd = udp_socket_fd(f->socket);
    assert_int_equal(udp_socket_tag(f->socket), 0);
    udp_socket_set_tag(f->socket, 7);
    udp_pool_give(f->socket, true);
    take(f);
    assert_int_equal(udp_socket_fd(f->socket), fd);
    assert_int_equal(udp_socket_tag(f->socket), 7);
    udp_pool_give(f->socket, false);
    take(f);
    assert_int_equal(udp_socket_tag(f->socket), 0);
    udp_pool_give(f->socket, true);
}

static void the_former_port_is_gone(void **state)
{
    struct fixture *f = *state;
    struct addr client;
    take(f);
    converse(f, "hello");
    assert_int_equal(sock_local_addr(udp_socket_fd(f->socket), &client), 0);
    udp_pool_give(f->socket, true);
    (void)ev_run(f->loop, EVRUN_NOWAIT);
    struct sockaddr_storage to;
    socklen_t len = addr_to_sockaddr(&client, &to);
    assert_true(sendto(f->server, "late", 4, 0, (struct sockaddr *)&to, len) > 0);
    (void)ev_run(f->loop, EVRUN_NOWAIT);
    take(f);
    converse(f, "again");
    udp_pool_give(f->socket, true);
    assert_int_equal(f->readable, 2);
}

/* A second answer lies in the socket when it is given back: whoever comes next does not see it. */
static void what_is_left_over_ends_the_socket(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_storage from;
    socklen_t len = (socklen_t)sizeof(from);
    char in[4];
    take(f);
    assert_int_equal(send(udp_socket_fd(f->socket), "q", 1, 0), 1);
    assert_int_equal(recvfrom(f->server, in, sizeof(in), 0, (struct sockaddr *)&from, &len), 1);
    assert_true(sendto(f->server, "one", 3, 0, (struct sockaddr *)&from, len) > 0);
    assert_true(sendto(f->server, "two", 3, 0, (struct sockaddr *)&from, len) > 0);
    (void)ev_run(f->loop, 0);
    assert_string_equal(f->got, "one");
    udp_pool_give(f->socket, true);
    (void)ev_run(f->loop, EVRUN_NOWAIT);
    assert_int_equal(f->readable, 1);
    take(f);
    converse(f, "three");
    udp_pool_give(f->socket, true);
}

/* What was connected ahead needs no system call any more, and nobody has used its port. */
static void the_next_one_is_ready(void **state)
{
    struct fixture *f = *state;
    uint16_t ports[20];
    for (unsigned i = 0; i < 20; i++) {
        take(f);
        ports[i] = port_of(f->socket);
        udp_pool_prepare(f->pool);
        converse(f, "answer");
        udp_pool_give(f->socket, true);
    }
    unsigned same = 0;
    for (unsigned i = 0; i < 20; i++) {
        for (unsigned j = 0; j < i; j++) {
            same += ports[i] == ports[j] ? 1 : 0;
        }
    }
    assert_true(same <= 2); /* two sockets served them all; the kernel may draw the same port twice */
    assert_int_equal(f->readable, 20);
}

static struct addr local_of(int fd)
{
    struct addr a;
    assert_int_equal(sock_local_addr(fd, &a), 0);
    return a;
}

/* What comes to a port that is ready comes before there is a question: the socket is not used. */
static void what_comes_too_early_ends_a_ready_one(void **state)
{
    struct fixture *f = *state;
    struct sockaddr_storage to;
    take(f);
    udp_pool_give(f->socket, true);
    take(f);
    const int fd = udp_socket_fd(f->socket);
    const int next = dup(fd); /* so that the number of the next one is known */
    assert_true(next >= 0);
    (void)close(next);
    udp_pool_prepare(f->pool);
    struct addr ahead = local_of(next);
    assert_true(ahead.port != 0);
    socklen_t len = addr_to_sockaddr(&ahead, &to);
    assert_true(sendto(f->server, "forged", 6, 0, (struct sockaddr *)&to, len) > 0);
    (void)ev_run(f->loop, EVRUN_NOWAIT);
    assert_int_equal(fcntl(next, F_GETFD), -1);
    converse(f, "true");
    udp_pool_give(f->socket, true);
    assert_int_equal(f->readable, 1);
}

static void stop_loop(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)w;
    (void)revents;
    ev_break(loop, EVBREAK_ALL);
}

static void run_for(struct fixture *f, double s)
{
    ev_timer timer;
    ev_timer_init(&timer, stop_loop, s, 0.0);
    ev_timer_start(f->loop, &timer);
    (void)ev_run(f->loop, 0);
}

static void nobody_s_sockets_are_closed_soon(void **state)
{
    struct fixture *f = *state;
    take(f);
    const int first = udp_socket_fd(f->socket);
    udp_pool_prepare(f->pool); /* the only question for long: nothing is made ahead */
    const int next = dup(first);
    (void)close(next);
    assert_int_equal(fcntl(next, F_GETFD), -1);
    udp_pool_give(f->socket, true);
    take(f);
    udp_pool_prepare(f->pool);
    assert_true(fcntl(next, F_GETFD) >= 0);
    udp_pool_give(f->socket, true);
    run_for(f, 3.5);
    assert_int_equal(fcntl(first, F_GETFD), -1);
    assert_int_equal(fcntl(next, F_GETFD), -1);
}

/* Perhaps there is another route by now, and the sockets have the address of the former one. */
static void a_question_without_answer_ends_the_unused(void **state)
{
    struct fixture *f = *state;
    struct udp_socket *s[2];
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(udp_pool_take(f->pool, &f->at, on_readable, f, &s[i]), 0);
    }
    const int kept = udp_socket_fd(s[0]);
    udp_pool_give(s[0], true); /* which alone would leave it open for more than a second */
    udp_pool_give(s[1], false);
    assert_true(fcntl(kept, F_GETFD) >= 0);
    run_for(f, 1.2);
    assert_int_equal(fcntl(kept, F_GETFD), -1);
}

static void an_open_question_closes_its_socket(void **state)
{
    struct fixture *f = *state;
    take(f);
    assert_int_equal(send(udp_socket_fd(f->socket), "q", 1, 0), 1);
    const int fd = udp_socket_fd(f->socket);
    udp_pool_give(f->socket, false);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    udp_pool_give(NULL, true);
}

static void no_more_than_max_unused_are_kept(void **state)
{
    struct fixture *f = *state;
    struct udp_socket *s[3];
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(udp_pool_take(f->pool, &f->at, on_readable, f, &s[i]), 0);
    }
    int fds[3];
    for (size_t i = 0; i < 3; i++) {
        fds[i] = udp_socket_fd(s[i]);
        udp_pool_give(s[i], true);
    }
    unsigned closed = 0;
    for (size_t i = 0; i < 3; i++) {
        closed += fcntl(fds[i], F_GETFD) == -1 ? 1 : 0;
    }
    assert_int_equal(closed, 1);
}

static void unused_ones_are_given_up_on_request(void **state)
{
    struct fixture *f = *state;
    struct udp_socket *s[2];
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(udp_pool_take(f->pool, &f->at, on_readable, f, &s[i]), 0);
    }
    const int unused = udp_socket_fd(s[0]);
    assert_int_equal(udp_pool_close_unused(f->pool), 0);
    udp_pool_give(s[0], true);
    udp_pool_prepare(f->pool); /* connects it anew: one that is ready is given up as well */
    assert_int_equal(udp_pool_close_unused(f->pool), 1);
    assert_int_equal(fcntl(unused, F_GETFD), -1);
    assert_true(fcntl(udp_socket_fd(s[1]), F_GETFD) >= 0);
    f->socket = s[1];
    converse(f, "answer");
    udp_pool_give(s[1], true);
    assert_int_equal(udp_pool_close_unused(f->pool), 1);
    run_for(f, 1.2); /* a tick that finds none */
}

static void the_other_family_gets_a_socket_of_its_own(void **state)
{
    struct fixture *f = *state;
    struct addr v6 = {.ip = {.family = IP_V6}, .port = 9};
    struct udp_socket *s;
    v6.ip.bytes[15] = 1;
    take(f);
    converse(f, "v4");
    udp_pool_give(f->socket, true);
    int rc = udp_pool_take(f->pool, &v6, on_readable, f, &s);
    if (rc == 0) { /* else the machine has no IPv6, and said so */
        udp_pool_give(s, true);
    } else {
        assert_true(rc == -EADDRNOTAVAIL || rc == -ENETUNREACH || rc == -EAFNOSUPPORT);
    }
    take(f);
    converse(f, "v4 again");
    udp_pool_give(f->socket, true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

static void on_refused(void *ctx, int fd)
{
    struct fixture *f = ctx;
    assert_int_equal(fd, -ENOMEM);
    f->readable++;
}

/* It hung until its question's time was up, and was deaf to the next one. */
static void deaf_after_a_failed_epoll_ctl(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 2; i++) {
        const bool is_quiet = i == 0;
        assert_int_equal(udp_pool_take(f->pool, &f->at, on_refused, f, &f->socket), 0);
        failing_epoll_adds(1);
        (void)ev_run(f->loop, EVRUN_NOWAIT);
        assert_int_equal(failing_epoll_left(), 0);
        assert_int_equal(f->readable, 1);
        udp_pool_give(f->socket, is_quiet);
        assert_int_equal(udp_pool_close_unused(f->pool), 0); /* neither is kept */
        f->readable = 0;
    }
    take(f);
    converse(f, "heard");
    udp_pool_give(f->socket, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(a_socket_serves_again_from_another_port),
                                       TEST(a_tag_stays_with_its_socket),
                                       TEST(the_former_port_is_gone),
                                       TEST(what_is_left_over_ends_the_socket),
                                       TEST(an_open_question_closes_its_socket),
                                       TEST(the_next_one_is_ready),
                                       TEST(what_comes_too_early_ends_a_ready_one),
                                       TEST(nobody_s_sockets_are_closed_soon),
                                       TEST(a_question_without_answer_ends_the_unused),
                                       TEST(no_more_than_max_unused_are_kept),
                                       TEST(unused_ones_are_given_up_on_request),
                                       TEST(deaf_after_a_failed_epoll_ctl),
                                       TEST(the_other_family_gets_a_socket_of_its_own)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

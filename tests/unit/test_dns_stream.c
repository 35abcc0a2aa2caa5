/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to one upstream: the server is the test itself, on the other end of real sockets. */
#include "common/dns/dns_stream.h"

#include "common/net/sock.h"
#include "tests/support/fake_upstream.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define LIMIT_MS 5000
#define QUERY_LEN 20U

struct scene {
    struct ev_loop *loop;
    int listen_fd;
    struct addr addr;
    struct dns_streams *streams;
    int64_t stall_ms;
};

struct asked {
    struct scene *scene;
    struct dns_stream_query *query;
    uint8_t tag; /* the last byte of the query, and of its answer */
    bool is_asking;
    bool refuses; /* says "not mine" to whatever comes */
    unsigned refused;
    bool is_done;
    int error;
    struct asked *asks;    /* asked by the call back */
    struct asked *cancels; /* cancelled by the call back */
};

static void ask(struct asked *q, uint8_t tag);

static bool on_event(void *ctx, struct span msg, int error)
{
    struct asked *q = ctx;
    assert_false(q->is_asking);
    assert_false(q->is_done);
    if (error == 0) {
        assert_true(msg.len >= 12);
        assert_int_equal(msg.data[0], 0xab); /* the caller's ID, whatever was on the wire */
        assert_int_equal(msg.data[1], q->tag);
        if (q->refuses) {
            q->refused++;
            return false;
        }
        assert_int_equal(msg.data[msg.len - 1], q->tag);
    }
    q->is_done = true;
    q->error = error;
    if (q->asks != NULL) {
        ask(q->asks, 0x77);
    }
    if (q->cancels != NULL) {
        dns_stream_cancel(q->cancels->query);
    }
    return true;
}

static void ask(struct asked *q, uint8_t tag)
{
    uint8_t msg[QUERY_LEN] = {0xab, tag};
    q->tag = tag;
    msg[QUERY_LEN - 1] = tag;
    q->is_asking = true;
    assert_int_equal(dns_streams_ask(q->scene->streams, span_make(msg, sizeof(msg)), on_event, q, &q->query),
                     0);
    q->is_asking = false;
}

static void renew(struct scene *s, int64_t connect_ms, int64_t idle_ms)
{
    struct dns_stream_config cfg = {
        .to = s->addr, .connect_ms = connect_ms, .idle_ms = idle_ms, .stall_ms = s->stall_ms};
    dns_streams_free(s->streams);
    assert_int_equal(dns_streams_new(s->loop, &cfg, &s->streams), 0);
}

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    struct addr any = {.ip = ip_v4(127, 0, 0, 1), .port = 0};
    s->listen_fd = sock_listen_tcp(&any, false, NULL);
    assert_true(s->loop != NULL && s->listen_fd >= 0);
    assert_int_equal(sock_local_addr(s->listen_fd, &s->addr), 0);
    renew(s, 3000, 10000);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    dns_streams_free(s->streams);
    if (s->listen_fd >= 0) {
        (void)close(s->listen_fd);
    }
    ev_loop_destroy(s->loop);
    free(s);
    return 0;
}

/* Turns of the loop until fd is readable. */
static void wait_readable(struct scene *s, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    for (int i = 0; i < LIMIT_MS && poll(&p, 1, 0) == 0; i++) {
        fake_run_for(s->loop, 1);
    }
    assert_int_equal(poll(&p, 1, 0), 1);
}

static int accept_one(struct scene *s)
{
    wait_readable(s, s->listen_fd);
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    sock_set_nodelay(fd);
    return fd;
}

static bool has_connection_waiting(struct scene *s)
{
    struct pollfd p = {.fd = s->listen_fd, .events = POLLIN};
    fake_run_for(s->loop, 5);
    return poll(&p, 1, 0) == 1;
}

struct seen {
    uint8_t frame[2 + QUERY_LEN];
};

static uint16_t id_of(const struct seen *q)
{
    return (uint16_t)(q->frame[2] << 8 | q->frame[3]);
}

static uint8_t tag_of(const struct seen *q)
{
    return q->frame[2 + QUERY_LEN - 1];
}

static void read_query(struct scene *s, int fd, struct seen *out)
{
    size_t have = 0;
    while (have < sizeof(out->frame)) {
        wait_readable(s, fd);
        ssize_t n = recv(fd, out->frame + have, sizeof(out->frame) - have, 0);
        assert_true(n > 0);
        have += (size_t)n;
    }
    assert_int_equal(out->frame[0], 0);
    assert_int_equal(out->frame[1], QUERY_LEN);
}

static void send_all(int fd, const void *data, size_t len)
{
    assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

static void answer(int fd, const struct seen *q)
{
    send_all(fd, q->frame, sizeof(q->frame));
}

/* The other end has closed. */
static void expect_end(struct scene *s, int fd)
{
    uint8_t byte;
    wait_readable(s, fd);
    assert_true(recv(fd, &byte, 1, 0) <= 0);
}

static void finish(struct scene *s, struct asked *q)
{
    assert_true(fake_run(s->loop, &q->is_done, LIMIT_MS));
}

static void test_one_connection_for_many(void **state)
{
    struct scene *s = *state;
    struct asked q[3] = {{.scene = s}, {.scene = s}, {.scene = s}};
    ask(&q[0], 1);
    ask(&q[1], 2);
    int fd = accept_one(s);
    struct seen seen[3];
    read_query(s, fd, &seen[0]);
    read_query(s, fd, &seen[1]);
    assert_int_not_equal(id_of(&seen[0]), id_of(&seen[1]));
    assert_int_equal(tag_of(&seen[0]), 1);
    answer(fd, &seen[1]); /* out of order */
    finish(s, &q[1]);
    assert_false(q[0].is_done);
    answer(fd, &seen[0]);
    finish(s, &q[0]);
    ask(&q[2], 3); /* after a pause too */
    read_query(s, fd, &seen[2]);
    answer(fd, &seen[2]);
    finish(s, &q[2]);
    assert_int_equal(q[0].error | q[1].error | q[2].error, 0);
    assert_int_equal(dns_streams_stats(s->streams)->opened, 1);
    assert_int_equal(dns_streams_stats(s->streams)->reused, 2);
    assert_false(has_connection_waiting(s));
    (void)close(fd);
}

static void test_answer_in_pieces_and_at_once(void **state)
{
    struct scene *s = *state;
    struct asked q[3] = {{.scene = s}, {.scene = s}, {.scene = s}};
    struct seen seen[3];
    for (uint8_t i = 0; i < 3; i++) {
        ask(&q[i], i);
    }
    int fd = accept_one(s);
    for (size_t i = 0; i < 3; i++) {
        read_query(s, fd, &seen[i]);
    }
    for (size_t i = 0; i < sizeof(seen[0].frame); i++) {
        assert_false(q[0].is_done);
        send_all(fd, seen[0].frame + i, 1);
        fake_run_for(s->loop, 1);
    }
    finish(s, &q[0]);
    uint8_t both[2 * sizeof(seen[0].frame)];
    memcpy(both, seen[1].frame, sizeof(seen[1].frame));
    memcpy(both + sizeof(seen[1].frame), seen[2].frame, sizeof(seen[2].frame));
    send_all(fd, both, sizeof(both));
    finish(s, &q[1]);
    finish(s, &q[2]);
    (void)close(fd);
}

static void test_largest_message(void **state)
{
    struct scene *s = *state;
    struct asked q = {.scene = s};
    struct seen seen;
    ask(&q, 9);
    int fd = accept_one(s);
    read_query(s, fd, &seen);
    uint8_t *big = calloc(1, 2 + 65535);
    assert_non_null(big);
    big[0] = 0xff;
    big[1] = 0xff;
    memcpy(big + 2, seen.frame + 2, 12);
    big[2 + 65535 - 1] = 9;
    size_t sent = 0;
    while (sent < 2 + 65535) {
        size_t left = 2 + 65535 - sent;
        send_all(fd, big + sent, left < 4000 ? left : 4000);
        sent += left < 4000 ? left : 4000;
        fake_run_for(s->loop, 1);
    }
    finish(s, &q);
    assert_int_equal(q.error, 0);
    free(big);
    (void)close(fd);
}

/* What nobody asked is passed over: an unknown ID, a message without a header, an empty one. */
static void test_ignored(void **state)
{
    struct scene *s = *state;
    struct asked q = {.scene = s, .refuses = true};
    struct seen seen;
    ask(&q, 5);
    int fd = accept_one(s);
    read_query(s, fd, &seen);
    struct seen other = seen;
    other.frame[3] = (uint8_t)~other.frame[3];
    answer(fd, &other);
    static const uint8_t empty_and_short[] = {0, 0, 0, 3, 1, 2, 3};
    send_all(fd, empty_and_short, sizeof(empty_and_short));
    answer(fd, &seen); /* refused by the owner: another question in it */
    for (int i = 0; i < LIMIT_MS && q.refused == 0; i++) {
        fake_run_for(s->loop, 1);
    }
    assert_int_equal(q.refused, 1);
    assert_int_equal(dns_streams_stats(s->streams)->ignored, 3);
    assert_false(q.is_done);
    q.refuses = false;
    answer(fd, &seen);
    finish(s, &q);
    assert_int_equal(q.error, 0);
    (void)close(fd);
}

/* RFC 7766 6.2.4: a server closes an idle connection just as the next question is on its way. */
static void test_retried_on_a_fresh_connection(void **state)
{
    struct scene *s = *state;
    struct asked q[2] = {{.scene = s}, {.scene = s}};
    struct seen seen;
    ask(&q[0], 1);
    int fd = accept_one(s);
    read_query(s, fd, &seen);
    answer(fd, &seen);
    finish(s, &q[0]);
    ask(&q[1], 2);
    read_query(s, fd, &seen);
    (void)close(fd);
    int second = accept_one(s);
    read_query(s, second, &seen);
    assert_int_equal(tag_of(&seen), 2);
    (void)close(second); /* a fresh one that dies before the answer: given up */
    finish(s, &q[1]);
    assert_int_equal(q[1].error, -ECONNRESET);
    assert_int_equal(dns_streams_stats(s->streams)->retried, 1);
    assert_int_equal(dns_streams_stats(s->streams)->opened, 2);
}

/* A server that closes after one answer is found out and gets a connection for each question. */
static void test_one_question_a_connection(void **state)
{
    struct scene *s = *state;
    struct asked q[4] = {{.scene = s}, {.scene = s}, {.scene = s}, {.scene = s}};
    struct seen seen;
    for (uint8_t i = 0; i < 3; i++) {
        ask(&q[i], i);
    }
    int fd = accept_one(s);
    read_query(s, fd, &seen);
    answer(fd, &seen);
    (void)shutdown(fd, SHUT_RDWR);
    (void)close(fd);
    for (int i = 0; i < 2; i++) {
        fd = accept_one(s);
        read_query(s, fd, &seen);
        answer(fd, &seen);
        (void)close(fd);
    }
    for (size_t i = 0; i < 3; i++) {
        finish(s, &q[i]);
        assert_int_equal(q[i].error, 0);
    }
    assert_int_equal(dns_streams_stats(s->streams)->retried, 2);
    assert_int_equal(dns_streams_stats(s->streams)->opened, 3);
    fake_run_for(s->loop, 5);
    ask(&q[3], 3);
    fd = accept_one(s);
    read_query(s, fd, &seen);
    answer(fd, &seen);
    finish(s, &q[3]);
    (void)close(fd);
}

static void test_refused_fails_only_its_own(void **state)
{
    struct scene *s = *state;
    struct asked q = {.scene = s};
    struct asked next = {.scene = s};
    (void)close(s->listen_fd);
    s->listen_fd = -1;
    q.asks = &next; /* from the call back, on a connection of its own */
    ask(&q, 1);
    finish(s, &q);
    assert_int_equal(q.error, -ECONNREFUSED);
    finish(s, &next);
    assert_int_equal(next.error, -ECONNREFUSED);
    assert_int_equal(dns_streams_stats(s->streams)->retried, 0);
}

static void test_idle_is_closed(void **state)
{
    struct scene *s = *state;
    renew(s, 3000, 30);
    struct asked q = {.scene = s};
    struct seen seen;
    ask(&q, 1);
    int fd = accept_one(s);
    read_query(s, fd, &seen);
    answer(fd, &seen);
    finish(s, &q);
    expect_end(s, fd);
    (void)close(fd);
}

/* Nothing comes back: the connection has a deadline even if its questions' owner never cancels. */
static void test_silent_connection_ends(void **state)
{
    struct scene *s = *state;
    renew(s, 3000, 30);
    struct asked q = {.scene = s};
    ask(&q, 1);
    int fd = accept_one(s);
    finish(s, &q);
    assert_int_equal(q.error, -ETIMEDOUT);
    (void)close(fd);
}

/* A connection that went dead (a NAT that forgot it): others are asked on a new one, then it is given up. */
static void test_stalled_connection(void **state)
{
    struct scene *s = *state;
    struct asked q[5] = {{.scene = s}, {.scene = s}, {.scene = s}, {.scene = s}, {.scene = s}};
    struct seen seen;
    s->stall_ms = 100;
    renew(s, 3000, 10000);
    ask(&q[0], 0);
    int dead = accept_one(s);
    read_query(s, dead, &seen);
    answer(dead, &seen);
    finish(s, &q[0]);
    ask(&q[1], 1);
    ask(&q[2], 2);
    dns_stream_cancel(q[2].query); /* that its owner has given up does not make it good */
    fake_run_for(s->loop, 120);
    ask(&q[3], 3);
    int fresh = accept_one(s);
    read_query(s, fresh, &seen);
    assert_int_equal(tag_of(&seen), 3);
    answer(fresh, &seen);
    finish(s, &q[3]);
    fake_run_for(s->loop, 320);
    ask(&q[4], 4); /* the question that waits still is asked again on another connection */
    int third = accept_one(s);
    read_query(s, third, &seen);
    assert_int_equal(tag_of(&seen), 1);
    answer(third, &seen);
    finish(s, &q[1]);
    read_query(s, fresh, &seen);
    answer(fresh, &seen);
    finish(s, &q[4]);
    assert_int_equal(q[1].error | q[3].error | q[4].error, 0);
    assert_int_equal(dns_streams_stats(s->streams)->retried, 1);
    (void)close(dead);
    (void)close(fresh);
    (void)close(third);
}

static void test_cancel(void **state)
{
    struct scene *s = *state;
    struct asked q[3] = {{.scene = s}, {.scene = s}, {.scene = s}};
    struct seen seen[3];
    ask(&q[0], 0);
    dns_stream_cancel(q[0].query); /* before it is even connected */
    ask(&q[1], 1);
    ask(&q[2], 2);
    q[1].cancels = &q[2];
    int fd = accept_one(s);
    for (size_t i = 0; i < 3; i++) {
        read_query(s, fd, &seen[i]);
    }
    answer(fd, &seen[0]);
    answer(fd, &seen[1]);
    answer(fd, &seen[2]);
    finish(s, &q[1]);
    fake_run_for(s->loop, 5);
    assert_false(q[0].is_done || q[2].is_done);
    assert_int_equal(dns_streams_stats(s->streams)->ignored, 2);
    dns_stream_cancel(NULL);
    (void)close(fd);
}

/* The call back for one question of a dying connection cancels another of it. */
static void test_cancel_while_it_dies(void **state)
{
    struct scene *s = *state;
    struct asked q[2] = {{.scene = s}, {.scene = s}};
    q[0].cancels = &q[1];
    ask(&q[0], 0);
    ask(&q[1], 1);
    (void)close(s->listen_fd);
    s->listen_fd = -1;
    finish(s, &q[0]);
    assert_true(q[0].error < 0);
    fake_run_for(s->loop, 5);
    assert_false(q[1].is_done);
}

/* More open questions than one connection is good for: more connections, and an end to it. */
static void test_bounds(void **state)
{
    struct scene *s = *state;
    const size_t all = (size_t)DNS_STREAM_CONNS_MAX * DNS_STREAM_PIPELINE_MAX;
    struct asked *q = calloc(all + 1, sizeof(*q));
    assert_non_null(q);
    for (size_t i = 0; i < all; i++) {
        q[i].scene = s;
        ask(&q[i], (uint8_t)i);
        size_t expected = i < DNS_STREAM_BUSY ? 1 : (i / DNS_STREAM_BUSY) + 1;
        expected = expected > DNS_STREAM_CONNS_MAX ? DNS_STREAM_CONNS_MAX : expected;
        assert_int_equal(dns_streams_stats(s->streams)->opened, expected);
    }
    uint8_t msg[QUERY_LEN] = {0};
    struct dns_stream_query *none = NULL;
    assert_int_equal(dns_streams_ask(s->streams, span_make(msg, sizeof(msg)), on_event, &q[all], &none),
                     -ENOBUFS);
    assert_int_equal(dns_streams_ask(s->streams, span_make(msg, 11), on_event, &q[all], &none), -EINVAL);
    assert_null(none);
    dns_streams_free(s->streams); /* with all of them open, and no call back */
    s->streams = NULL;
    for (size_t i = 0; i < all; i++) {
        assert_false(q[i].is_done);
    }
    free(q);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_one_connection_for_many),
        CASE(test_answer_in_pieces_and_at_once),
        CASE(test_largest_message),
        CASE(test_ignored),
        CASE(test_retried_on_a_fresh_connection),
        CASE(test_one_question_a_connection),
        CASE(test_refused_fails_only_its_own),
        CASE(test_idle_is_closed),
        CASE(test_silent_connection_ends),
        CASE(test_stalled_connection),
        CASE(test_cancel),
        CASE(test_cancel_while_it_dies),
        CASE(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to one upstream, what is asked on them and how they end. */
#include "tests/support/stream_scene.h"

#include "tests/support/failing_epoll.h"
#include "tests/support/fake_upstream.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

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

/* RFC 5452 9.1: who has seen one ID does not know the next. */
static void test_ids_are_random(void **state)
{
    struct scene *s = *state;
    struct asked q[8];
    struct seen seen;
    uint16_t last = 0;
    unsigned steps_of_one = 0;
    int fd = -1;
    for (uint8_t i = 0; i < 8; i++) {
        q[i] = (struct asked){.scene = s};
        ask(&q[i], i);
        fd = fd < 0 ? accept_one(s) : fd;
        read_query(s, fd, &seen);
        const uint16_t id = id_of(&seen);
        steps_of_one += (uint16_t)(id - last) == 1 || (uint16_t)(last - id) == 1 || id == last;
        last = id;
        answer(fd, &seen);
        finish(s, &q[i]);
    }
    assert_in_range(steps_of_one, 0, 3); /* more than that by chance: once in 10^16 */
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

/* What its owner does not take is no answer, and is waited for; it is asked for all the same. */
static void test_refused_by_its_owner(void **state)
{
    struct scene *s = *state;
    struct asked q = {.scene = s, .refuses = true};
    struct seen seen;
    ask(&q, 5);
    int fd = accept_one(s);
    read_query(s, fd, &seen);
    answer(fd, &seen);
    for (int i = 0; i < LIMIT_MS && q.refused == 0; i++) {
        fake_run_for(s->loop, 1);
    }
    assert_int_equal(q.refused, 1);
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

/* A server that is started anew, or a worker of it that is: nobody else may be there to ask. */
static void test_broken_connection_is_tried_again_once(void **state)
{
    struct scene *s = *state;
    struct asked q[2] = {{.scene = s}, {.scene = s}};
    struct seen seen;
    for (uint8_t i = 0; i < 2; i++) {
        ask(&q[i], i);
        int fd = accept_one(s);
        read_query(s, fd, &seen);
        send_all(fd, seen.frame, 7); /* in the middle of the answer */
        (void)close(fd);
        fd = accept_one(s);
        read_query(s, fd, &seen);
        assert_int_equal(tag_of(&seen), i);
        if (i == 0) {
            answer(fd, &seen);
        }
        (void)close(fd);
        finish(s, &q[i]);
        assert_int_equal(q[i].error, i == 0 ? 0 : -ECONNRESET);
        fake_run_for(s->loop, 5); /* it is seen to be closed */
    }
    assert_int_equal(dns_streams_stats(s->streams)->retried, 2);
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

static void test_cancel(void **state)
{
    struct scene *s = *state;
    struct asked q[3] = {{.scene = s}, {.scene = s}, {.scene = s}};
    struct seen seen[3];
    ask(&q[0], 0);
    dns_stream_cancel(q[0].query); /* before it is even connected: it is never sent */
    ask(&q[1], 1);
    ask(&q[2], 2);
    q[1].cancels = &q[2];
    int fd = accept_one(s);
    for (size_t i = 1; i < 3; i++) {
        read_query(s, fd, &seen[i]);
        assert_int_equal(tag_of(&seen[i]), i);
    }
    answer(fd, &seen[1]);
    answer(fd, &seen[2]);
    finish(s, &q[1]);
    fake_run_for(s->loop, 5);
    assert_false(q[0].is_done || q[2].is_done);
    assert_int_equal(dns_streams_stats(s->streams)->ignored, 1);
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

/* More open questions than one connection is good for: more connections, then a queue, and an end to it. */
static void test_bounds(void **state)
{
    struct scene *s = *state;
    const size_t all = (size_t)DNS_STREAM_CONNS_MAX * DNS_STREAM_PIPELINE_MAX + DNS_STREAM_WAITING_MAX;
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

/* A session that keeps bytes back, and whose writes can be held up. */
struct keeper {
    int fd;
    size_t len, at;
    uint8_t kept[4096];
};
static bool is_held_up;

static int keeper_open(void *ctx, int fd, void **session)
{
    struct keeper *k = calloc(1, sizeof(*k));
    (void)ctx;
    assert_non_null(k);
    k->fd = fd;
    *session = k;
    return 0;
}

static ssize_t keeper_read(void *session, uint8_t *out, size_t cap, int *want)
{
    struct keeper *k = session;
    *want = EV_READ;
    if (k->at == k->len) {
        ssize_t n = recv(k->fd, k->kept, sizeof(k->kept), 0);
        if (n <= 0) {
            return n == 0 ? 0 : -errno;
        }
        k->at = 0;
        k->len = (size_t)n;
    }
    assert_true(cap >= 2 + QUERY_LEN && k->len - k->at >= 2 + QUERY_LEN); /* one message at a time */
    memcpy(out, k->kept + k->at, 2 + QUERY_LEN);
    k->at += 2 + QUERY_LEN;
    return 2 + QUERY_LEN;
}

static ssize_t keeper_write(void *session, struct span data, int *want)
{
    const struct keeper *k = session;
    *want = EV_WRITE;
    ssize_t n = is_held_up ? -1 : send(k->fd, data.data, data.len, MSG_NOSIGNAL);
    return n >= 0 ? n : -EAGAIN;
}

static const struct dns_stream_ops keeper_ops = {
    .open = keeper_open, .read = keeper_read, .write = keeper_write, .close = free};

/* The socket is empty, and what the session has is read all the same: in turns, whatever else is watched for.
 */
static void test_session_keeps_bytes_back(void **state)
{
    struct scene *s = *state;
    enum { COUNT = DNS_STREAM_BUSY, LATE = 1 };
    struct asked q[COUNT + LATE] = {{.scene = NULL}};
    uint8_t frames[COUNT][2 + QUERY_LEN];
    s->transport.ops = &keeper_ops;
    renew(s, 3000, 10000);
    for (size_t i = 0; i < COUNT + LATE; i++) {
        q[i].scene = s;
    }
    ask(&q[0], 0);
    int fd = accept_one(s);
    for (size_t i = 1; i < DNS_STREAM_BUSY; i++) {
        ask(&q[i], (uint8_t)i);
    }
    for (size_t i = 0; i < DNS_STREAM_BUSY; i++) {
        struct seen seen;
        read_query(s, fd, &seen);
        memcpy(frames[i], seen.frame, sizeof(seen.frame));
    }
    dns_stream_cancel(q[0].query);
    is_held_up = true;
    ask(&q[COUNT], COUNT);
    is_held_up = false;
    send_all(fd, frames, DNS_STREAM_BUSY * sizeof(frames[0]));
    for (int i = 0; i < LIMIT_MS && !q[DNS_STREAM_BUSY - 1].is_done; i++) {
        fake_run_for(s->loop, 1);
    }
    for (size_t i = 1; i < DNS_STREAM_BUSY; i++) {
        assert_true(q[i].is_done && q[i].error == 0);
    }
    dns_streams_free(s->streams);
    s->streams = NULL;
    (void)close(fd);
}

/* Taken for connected, and silent for ever. */
static void test_deaf_after_a_failed_epoll_ctl(void **state)
{
    struct scene *s = *state;
    struct asked q[2] = {{.scene = s}, {.scene = s}};
    struct seen seen;
    failing_epoll_adds(1);
    ask(&q[0], 1);
    fake_run_for(s->loop, 1); /* libev tells it when it wakes up */
    assert_int_equal(failing_epoll_left(), 0);
    assert_true(q[0].is_done);
    assert_int_equal(q[0].error, -ENOMEM);
    (void)close(accept_one(s));
    ask(&q[1], 2);
    int fd = accept_one(s);
    read_query(s, fd, &seen);
    answer(fd, &seen);
    finish(s, &q[1]);
    assert_int_equal(q[1].error, 0);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STREAM_CASE(test_deaf_after_a_failed_epoll_ctl),
        STREAM_CASE(test_one_connection_for_many),
        STREAM_CASE(test_ids_are_random),
        STREAM_CASE(test_answer_in_pieces_and_at_once),
        STREAM_CASE(test_largest_message),
        STREAM_CASE(test_refused_by_its_owner),
        STREAM_CASE(test_retried_on_a_fresh_connection),
        STREAM_CASE(test_broken_connection_is_tried_again_once),
        STREAM_CASE(test_one_question_a_connection),
        STREAM_CASE(test_refused_fails_only_its_own),
        STREAM_CASE(test_idle_is_closed),
        STREAM_CASE(test_silent_connection_ends),
        STREAM_CASE(test_cancel),
        STREAM_CASE(test_cancel_while_it_dies),
        STREAM_CASE(test_bounds),
        STREAM_CASE(test_session_keeps_bytes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

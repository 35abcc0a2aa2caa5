/* SPDX-License-Identifier: Apache-2.0 */
/* Messages on a connection that answer nothing asked there. */
#include "tests/support/stream_scene.h"

#include "tests/support/fake_upstream.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static void send_unasked(int fd, const struct seen *like)
{
    struct seen other = *like;
    other.frame[3] = (uint8_t)~other.frame[3];
    answer(fd, &other);
}

/* The only question of a connection can only be meant, whatever the message looks like. */
static void ends_its_question(void **state)
{
    struct scene *s = *state;
    static const uint8_t empty[] = {0, 0};
    static const uint8_t brief[] = {0, 11, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    for (uint8_t i = 0; i < 3; i++) {
        struct asked q = {.scene = s};
        struct seen seen;
        ask(&q, i);
        int fd = accept_one(s);
        read_query(s, fd, &seen);
        if (i == 0) {
            send_unasked(fd, &seen);
        } else {
            send_all(fd, i == 1 ? empty : brief, i == 1 ? sizeof(empty) : sizeof(brief));
        }
        finish(s, &q);
        assert_int_equal(q.error, -EBADMSG);
        expect_end(s, fd);
        (void)close(fd);
    }
    assert_int_equal(dns_streams_stats(s->streams)->retried, 0);
}

/* Of several nobody knows which was meant: each is asked again, once, where it can spoil no other one. */
static void others_are_asked_again_alone(void **state)
{
    struct scene *s = *state;
    struct asked q[3] = {{.scene = s}, {.scene = s}, {.scene = s}};
    struct seen seen[3];
    int fds[3];
    for (uint8_t i = 0; i < 3; i++) {
        ask(&q[i], i);
    }
    int fd = accept_one(s);
    for (size_t i = 0; i < 3; i++) {
        read_query(s, fd, &seen[i]);
    }
    send_unasked(fd, &seen[1]);
    expect_end(s, fd);
    (void)close(fd);
    for (size_t i = 0; i < 3; i++) {
        fds[i] = accept_one(s);
        read_query(s, fds[i], &seen[i]);
        assert_int_equal(tag_of(&seen[i]), i);
    }
    send_unasked(fds[1], &seen[1]); /* and once more */
    finish(s, &q[1]);
    assert_int_equal(q[1].error, -EBADMSG);
    assert_false(q[0].is_done || q[2].is_done);
    answer(fds[0], &seen[0]);
    answer(fds[2], &seen[2]);
    finish(s, &q[0]);
    finish(s, &q[2]);
    assert_int_equal(q[0].error | q[2].error, 0);
    assert_int_equal(dns_streams_stats(s->streams)->retried, 3);
    assert_int_equal(dns_streams_stats(s->streams)->opened, 4);
    for (size_t i = 0; i < 3; i++) {
        (void)close(fds[i]);
    }
}

/* One that comes to a connection that has been good so far is not to blame for sure. */
static void behind_others_is_asked_again_once(void **state)
{
    struct scene *s = *state;
    struct asked q[2] = {{.scene = s}, {.scene = s}};
    struct seen seen;
    ask(&q[0], 0);
    int fd = accept_one(s);
    read_query(s, fd, &seen);
    answer(fd, &seen);
    finish(s, &q[0]);
    ask(&q[1], 1);
    for (int i = 0; i < 2; i++) {
        read_query(s, fd, &seen);
        assert_int_equal(tag_of(&seen), 1);
        send_unasked(fd, &seen);
        expect_end(s, fd);
        (void)close(fd);
        fd = i == 0 ? accept_one(s) : -1;
    }
    finish(s, &q[1]);
    assert_int_equal(q[1].error, -EBADMSG);
    assert_int_equal(dns_streams_stats(s->streams)->retried, 1);
}

/* A server that talks without end to nobody would keep its connection, which is never idle. */
static void ends_a_connection_without_questions(void **state)
{
    struct scene *s = *state;
    struct asked q = {.scene = s};
    struct seen seen;
    ask(&q, 1);
    int fd = accept_one(s);
    read_query(s, fd, &seen);
    answer(fd, &seen);
    finish(s, &q);
    assert_int_equal(q.error, 0);
    answer(fd, &seen); /* the same answer, a second time */
    expect_end(s, fd);
    (void)close(fd);
}

/* Answers to questions that were cancelled are expected, once each, in whatever order. */
static void cancelled_ones_were_asked(void **state)
{
    struct scene *s = *state;
    enum { COUNT = 20 };
    struct asked q[COUNT + 1] = {{.scene = NULL}};
    struct seen seen[COUNT + 1];
    for (size_t i = 0; i <= COUNT; i++) {
        q[i].scene = s;
        ask(&q[i], (uint8_t)i);
    }
    int fd = accept_one(s);
    for (size_t i = 0; i <= COUNT; i++) {
        read_query(s, fd, &seen[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        dns_stream_cancel(q[i].query);
    }
    for (size_t i = 0; i < COUNT; i++) {
        answer(fd, &seen[(i * 7) % COUNT]);
    }
    answer(fd, &seen[COUNT]);
    finish(s, &q[COUNT]);
    assert_int_equal(q[COUNT].error, 0);
    assert_int_equal(dns_streams_stats(s->streams)->ignored, COUNT);
    answer(fd, &seen[3]);
    expect_end(s, fd);
    (void)close(fd);
}

/* They are remembered up to a bound, and no new question has the ID of one. */
static void cancelled_ones_are_bounded(void **state)
{
    struct scene *s = *state;
    enum { COUNT = 3 * DNS_STREAM_PIPELINE_MAX };
    struct seen *seen = calloc(COUNT, sizeof(*seen));
    assert_non_null(seen);
    int fd = -1;
    for (size_t i = 0; i < COUNT; i++) {
        struct asked q = {.scene = s};
        ask(&q, (uint8_t)i);
        fd = fd < 0 ? accept_one(s) : fd;
        read_query(s, fd, &seen[i]);
        dns_stream_cancel(q.query);
        for (size_t j = i < DNS_STREAM_PIPELINE_MAX ? 0 : i - DNS_STREAM_PIPELINE_MAX; j < i; j++) {
            assert_int_not_equal(id_of(&seen[i]), id_of(&seen[j]));
        }
    }
    for (size_t i = COUNT - DNS_STREAM_PIPELINE_MAX; i < COUNT; i++) {
        answer(fd, &seen[i]);
    }
    for (int i = 0; i < LIMIT_MS && dns_streams_stats(s->streams)->ignored < DNS_STREAM_PIPELINE_MAX; i++) {
        fake_run_for(s->loop, 1);
    }
    assert_int_equal(dns_streams_stats(s->streams)->ignored, DNS_STREAM_PIPELINE_MAX);
    answer(fd, &seen[0]); /* much too late: forgotten by then, but not held against the server */
    for (int i = 0; i < LIMIT_MS && dns_streams_stats(s->streams)->ignored == DNS_STREAM_PIPELINE_MAX; i++) {
        fake_run_for(s->loop, 1);
    }
    assert_int_equal(dns_streams_stats(s->streams)->ignored, DNS_STREAM_PIPELINE_MAX + 1);
    assert_int_equal(dns_streams_stats(s->streams)->opened, 1);
    (void)close(fd);
    free(seen);
}

/* More are cancelled than are remembered, and a healthy server answers one of the first, late. */
static void late_answers_harm_nobody(void **state)
{
    struct scene *s = *state;
    enum { COUNT = DNS_STREAM_PIPELINE_MAX + 1 };
    struct seen *seen = calloc(COUNT, sizeof(*seen));
    int fd = -1;
    for (size_t i = 0; i < COUNT; i++) {
        struct asked q = {.scene = s};
        ask(&q, (uint8_t)i);
        fd = fd < 0 ? accept_one(s) : fd;
        read_query(s, fd, &seen[i]);
        dns_stream_cancel(q.query);
    }
    struct asked w[2] = {{.scene = s}, {.scene = s}};
    struct seen last[2];
    for (size_t i = 0; i < 2; i++) {
        ask(&w[i], (uint8_t)i);
        read_query(s, fd, &last[i]);
    }
    answer(fd, &seen[0]);
    answer(fd, &last[1]);
    answer(fd, &last[0]);
    finish(s, &w[0]);
    assert_true(w[1].is_done && w[0].error == 0 && w[1].error == 0);
    assert_int_equal(dns_streams_stats(s->streams)->retried, 0);
    assert_int_equal(dns_streams_stats(s->streams)->opened, 1);
    free(seen);
    (void)close(fd);
}

/* What was cancelled before the connection stood was never asked: the next one is the first. */
static void never_sent_is_not_in_front(void **state)
{
    struct scene *s = *state;
    struct asked a = {.scene = s};
    struct asked b = {.scene = s};
    struct seen seen;
    ask(&a, 0);
    dns_stream_cancel(a.query);
    ask(&b, 1);
    int fd = accept_one(s);
    read_query(s, fd, &seen);
    send_unasked(fd, &seen);
    finish(s, &b);
    assert_int_equal(b.error, -EBADMSG);
    assert_int_equal(dns_streams_stats(s->streams)->reused, 0);
    assert_int_equal(dns_streams_stats(s->streams)->retried, 0);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STREAM_CASE(ends_its_question),
        STREAM_CASE(others_are_asked_again_alone),
        STREAM_CASE(behind_others_is_asked_again_once),
        STREAM_CASE(ends_a_connection_without_questions),
        STREAM_CASE(cancelled_ones_were_asked),
        STREAM_CASE(cancelled_ones_are_bounded),
        STREAM_CASE(late_answers_harm_nobody),
        STREAM_CASE(never_sent_is_not_in_front),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

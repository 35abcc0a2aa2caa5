/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that went dead, or never come to life: they hold no other question up. */
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

/* All connections that may be open went dead: they take no place from the ones that are opened for the next.
 */
static void test_all_are_dead(void **state)
{
    struct scene *s = *state;
    enum { DEAD = DNS_STREAM_CONNS_MAX * DNS_STREAM_BUSY };
    struct asked *q = calloc(DEAD + 1, sizeof(*q));
    struct seen seen;
    int dead[DNS_STREAM_CONNS_MAX];
    assert_non_null(q);
    s->stall_ms = 100;
    renew(s, 3000, 10000);
    for (size_t i = 0; i <= DEAD; i++) {
        q[i].scene = s;
    }
    for (size_t i = 0; i < DEAD; i++) {
        ask(&q[i], (uint8_t)i);
    }
    for (size_t i = 0; i < DNS_STREAM_CONNS_MAX; i++) {
        dead[i] = accept_one(s);
    }
    assert_int_equal(dns_streams_stats(s->streams)->opened, DNS_STREAM_CONNS_MAX);
    fake_run_for(s->loop, 420);
    ask(&q[DEAD], 0xfe);
    int fresh = accept_one(s);
    read_query(s, fresh, &seen);
    assert_int_equal(tag_of(&seen), 0xfe);
    answer(fresh, &seen);
    finish(s, &q[DEAD]);
    assert_int_equal(q[DEAD].error, 0);
    for (size_t i = 0; i < DNS_STREAM_CONNS_MAX; i++) {
        (void)close(dead[i]);
    }
    (void)close(fresh);
    dns_streams_free(s->streams); /* before the questions go */
    s->streams = NULL;
    free(q);
}

/* A handshake that never ends, of the first connection; the others have none. */
static unsigned handshakes;

static int fake_open(void *ctx, int fd, void **session)
{
    int *copy = malloc(2 * sizeof(*copy));
    (void)ctx;
    assert_non_null(copy);
    copy[0] = fd;
    copy[1] = handshakes++ == 0;
    *session = copy;
    return 0;
}

static int fake_handshake(void *session, int *want)
{
    *want = EV_READ;
    return ((const int *)session)[1] != 0 ? -EAGAIN : 0;
}

static ssize_t fake_read(void *session, uint8_t *out, size_t cap, int *want)
{
    ssize_t n = recv(*(const int *)session, out, cap, 0);
    *want = EV_READ;
    return n >= 0 ? n : -errno;
}

static ssize_t fake_write(void *session, struct span data, int *want)
{
    ssize_t n = send(*(const int *)session, data.data, data.len, MSG_NOSIGNAL);
    *want = EV_WRITE;
    return n >= 0 ? n : -errno;
}

static void test_handshake_that_never_ends(void **state)
{
    static const struct dns_stream_ops ops = {.open = fake_open,
                                              .handshake = fake_handshake,
                                              .read = fake_read,
                                              .write = fake_write,
                                              .close = free};
    struct scene *s = *state;
    struct asked q[3] = {{.scene = s}, {.scene = s}, {.scene = s}};
    struct seen seen;
    s->stall_ms = 200;
    s->transport.ops = &ops;
    handshakes = 0;
    renew(s, 1600, 10000);
    ask(&q[0], 0);
    int stuck = accept_one(s);
    ask(&q[1], 1); /* too early to tell: it waits with the first one */
    fake_run_for(s->loop, 220);
    ask(&q[2], 2);
    int second = accept_one(s);
    read_query(s, second, &seen);
    assert_int_equal(tag_of(&seen), 2);
    answer(second, &seen);
    finish(s, &q[2]);
    assert_int_equal(q[2].error, 0);
    fake_run_for(s->loop, 620);
    q[2].is_done = false;
    ask(&q[2], 3); /* more than four times too long: a handshake has until connect_ms all the same */
    read_query(s, second, &seen);
    answer(second, &seen);
    finish(s, &q[2]);
    assert_false(q[0].is_done || q[1].is_done);
    finish(s, &q[0]);
    finish(s, &q[1]);
    assert_int_equal(q[0].error, -ETIMEDOUT);
    assert_int_equal(q[1].error, -ETIMEDOUT);
    assert_int_equal(dns_streams_stats(s->streams)->opened, 2);
    (void)close(stuck);
    (void)close(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STREAM_CASE(test_stalled_connection),
        STREAM_CASE(test_all_are_dead),
        STREAM_CASE(test_handshake_that_never_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A relay between two loopback TCP connections; the test plays both ends. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/clock.h"
#include "common/net/sock.h"
#include "tunneld/relay.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define GIVE_UP_MS 5000

static struct relay_env env;

struct rig {
    int app[2];   /* the test's ends: client, upstream */
    int inner[2]; /* the relay's */
    struct relay relay;
    int half_closed, ended;
};

static void make_pair(int out[2])
{
    struct addr a = {.ip = ip_v4(127, 0, 0, 1)};
    int listener = sock_listen_tcp(&a, false, NULL);
    assert_true(listener >= 0);
    assert_int_equal(sock_local_addr(listener, &a), 0);
    out[0] = sock_connect_tcp(&a);
    assert_true(out[0] >= 0);
    struct pollfd p = {.fd = listener, .events = POLLIN};
    assert_int_equal(poll(&p, 1, GIVE_UP_MS), 1);
    out[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(out[1] >= 0);
    p = (struct pollfd){.fd = out[0], .events = POLLOUT};
    assert_int_equal(poll(&p, 1, GIVE_UP_MS), 1);
    assert_int_equal(close(listener), 0);
}

static void on_event(void *ctx, enum relay_event e)
{
    struct rig *rig = ctx;
    if (e == RELAY_HALF_CLOSED) {
        rig->half_closed++;
    } else {
        rig->ended++;
    }
}

/* Less than the kernel would grow them to, so that a stalled reader is felt soon. */
static void limit_buffers(int fd)
{
    int bytes = 64 * 1024;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes), 0);
}

static void rig_start(struct rig *rig, const char *early)
{
    struct buf b = {0};
    *rig = (struct rig){0};
    int pair[2];
    for (int i = 0; i < 2; i++) {
        make_pair(pair);
        rig->app[i] = pair[0];
        rig->inner[i] = pair[1];
        limit_buffers(pair[0]);
        limit_buffers(pair[1]);
    }
    rig->relay = (struct relay){.env = &env, .fn = on_event, .ctx = rig};
    assert_int_equal(buf_append(&b, span_str(early), RELAY_BUFFER_BYTES), 0);
    assert_int_equal(relay_start(&rig->relay, rig->inner, &b, clock_mono_ms()), 0);
    assert_int_equal(b.len, 0);
    assert_int_equal(rig->half_closed + rig->ended, 0);
}

static void close_app(struct rig *rig, int side)
{
    if (rig->app[side] >= 0) {
        assert_int_equal(close(rig->app[side]), 0);
        rig->app[side] = -1;
    }
}

static void rig_stop(struct rig *rig)
{
    relay_stop(&rig->relay);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(close(rig->inner[i]), 0);
        close_app(rig, i);
    }
    ev_run(env.loop, EVRUN_NOWAIT); /* libev forgets the descriptors before the next test reuses them */
}

static void on_wake(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
}

/* One turn of the loop, at most 20 ms long. */
static void turn(void)
{
    ev_timer wake;
    ev_timer_init(&wake, on_wake, 0.02, 0.0);
    ev_now_update(env.loop);
    ev_timer_start(env.loop, &wake);
    ev_run(env.loop, EVRUN_ONCE);
    ev_timer_stop(env.loop, &wake);
}

/* Reads from an end until it has len bytes; returns how many there were before the end of the stream. */
static size_t read_all(struct rig *rig, int side, char *out, size_t len)
{
    int64_t end = clock_mono_ms() + GIVE_UP_MS;
    size_t have = 0;
    while (have < len && clock_mono_ms() < end) {
        ssize_t n = recv(rig->app[side], out + have, len - have, MSG_DONTWAIT);
        if (n == 0) {
            break;
        }
        if (n > 0) {
            have += (size_t)n;
        } else {
            turn();
        }
    }
    return have;
}

static void wait_ended(struct rig *rig)
{
    int64_t end = clock_mono_ms() + GIVE_UP_MS;
    while (rig->ended == 0 && clock_mono_ms() < end) {
        turn();
    }
    assert_int_equal(rig->ended, 1);
}

static void put(struct rig *rig, int side, const char *text)
{
    assert_int_equal(send(rig->app[side], text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void test_both_ways_and_early_bytes(void **state)
{
    (void)state;
    struct rig rig;
    char text[32] = "";
    rig_start(&rig, "early ");
    put(&rig, RELAY_CLIENT, "ping");
    assert_int_equal(read_all(&rig, RELAY_UPSTREAM, text, 10), 10);
    assert_memory_equal(text, "early ping", 10);
    put(&rig, RELAY_UPSTREAM, "pong");
    assert_int_equal(read_all(&rig, RELAY_CLIENT, text, 4), 4);
    assert_memory_equal(text, "pong", 4);
    assert_int_equal(rig.relay.leg[RELAY_UPSTREAM].sent_bytes, 10);
    assert_int_equal(rig.relay.leg[RELAY_CLIENT].sent_bytes, 4);
    assert_false(relay_has_unsent(&rig.relay));
    rig_stop(&rig);
}

static void half_close(int first, enum reason want)
{
    struct rig rig;
    char text[64];
    int second = 1 - first;
    rig_start(&rig, "");
    put(&rig, first, "request");
    assert_int_equal(shutdown(rig.app[first], SHUT_WR), 0);
    assert_int_equal(read_all(&rig, second, text, sizeof text), 7); /* and then its FIN */
    assert_int_equal(rig.half_closed, 1);
    assert_int_equal(rig.ended, 0);
    put(&rig, second, "a later answer");
    assert_int_equal(read_all(&rig, first, text, 14), 14);
    close_app(&rig, second);
    wait_ended(&rig);
    assert_int_equal(rig.half_closed, 1);
    assert_int_equal(rig.relay.end.reason, want);
    assert_int_equal(rig.relay.end.side, first);
    assert_false(rig.relay.end.must_reset);
    rig_stop(&rig);
}

static void test_half_close_client_first(void **state)
{
    (void)state;
    half_close(RELAY_CLIENT, REASON_CLIENT_CLOSED);
}

static void test_half_close_upstream_first(void **state)
{
    (void)state;
    half_close(RELAY_UPSTREAM, REASON_UPSTREAM_CLOSED);
}

static uint8_t byte_at(size_t offset)
{
    return (uint8_t)((uint32_t)offset * 2654435761U >> 13);
}

/* A writer that is never throttled would fill memory: the tail is bounded, and every byte arrives in order.
 */
static void test_back_pressure(void **state)
{
    (void)state;
    enum { TOTAL = 4 << 20 };
    struct rig rig;
    uint8_t chunk[8192];
    size_t written = 0;
    size_t seen = 0;
    rig_start(&rig, "");
    for (int turns = 0; seen < TOTAL && turns < 100000; turns++) {
        for (size_t i = 0; i < sizeof chunk; i++) {
            chunk[i] = byte_at(written + i);
        }
        ssize_t put =
            written < TOTAL ? send(rig.app[0], chunk, sizeof chunk, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
        written += put > 0 ? (size_t)put : 0;
        ev_run(env.loop, EVRUN_NOWAIT);
        assert_true(rig.relay.leg[RELAY_UPSTREAM].unsent.len <= RELAY_BUFFER_BYTES);
        /* The reader is the slower one, so that the tail is in use most of the time. */
        ssize_t got = recv(rig.app[1], chunk, put > 0 ? sizeof chunk / 2 : sizeof chunk, MSG_DONTWAIT);
        for (ssize_t i = 0; i < got; i++) {
            assert_int_equal(chunk[i], byte_at(seen + (size_t)i));
        }
        seen += got > 0 ? (size_t)got : 0;
        if (put <= 0 && got <= 0) {
            turn();
        }
    }
    assert_true(seen >= TOTAL);
    rig_stop(&rig);
}

/* Fills the direction until the relay keeps a tail and reads no more from the writer. */
static void fill(struct rig *rig, int from)
{
    static char zeros[65536];
    for (int i = 0; i < 1000 && rig->relay.leg[1 - from].unsent.len == 0; i++) {
        if (send(rig->app[from], zeros, sizeof zeros, MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
            ev_run(env.loop, EVRUN_NOWAIT);
        } else {
            turn();
        }
    }
    assert_true(rig->relay.leg[1 - from].unsent.len > 0);
}

static void reset_app(struct rig *rig, int side)
{
    sock_close_reset(rig->app[side]);
    rig->app[side] = -1;
}

static void want_reset(struct rig *rig, int side)
{
    wait_ended(rig);
    assert_int_equal(rig->relay.end.reason,
                     side == RELAY_CLIENT ? REASON_CLIENT_RESET : REASON_UPSTREAM_RESET);
    assert_int_equal(rig->relay.end.side, side);
    assert_true(rig->relay.end.must_reset);
}

static void test_reset_while_idle(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct rig rig;
        rig_start(&rig, "");
        reset_app(&rig, side);
        want_reset(&rig, side);
        rig_stop(&rig);
    }
}

/* The writer is not read meanwhile, and nothing is to be written to it: only the second epoll sees its reset.
 */
static void test_reset_while_paused(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct rig rig;
        rig_start(&rig, "");
        fill(&rig, side);
        reset_app(&rig, side);
        want_reset(&rig, side);
        rig_stop(&rig);
    }
}

static void test_reset_of_the_stalled_reader(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct rig rig;
        rig_start(&rig, "");
        fill(&rig, 1 - side);
        reset_app(&rig, side);
        want_reset(&rig, side);
        rig_stop(&rig);
    }
}

static void test_reset_after_half_close(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        for (int finished = 0; finished < 2; finished++) {
            struct rig rig;
            char c;
            rig_start(&rig, "");
            assert_int_equal(shutdown(rig.app[finished], SHUT_WR), 0);
            assert_int_equal(read_all(&rig, 1 - finished, &c, 1), 0);
            reset_app(&rig, side);
            want_reset(&rig, side);
            rig_stop(&rig);
        }
    }
}

/* A server answers, then resets an upload that it did not read. The upload finds out first: the client still
 * gets the answer. */
static void test_last_words_before_a_reset(void **state)
{
    (void)state;
    struct rig rig;
    char text[16];
    rig_start(&rig, "");
    put(&rig, RELAY_CLIENT, "upload");
    assert_int_equal(read_all(&rig, RELAY_UPSTREAM, text, 1), 1); /* the rest stays unread: close() resets */
    ev_io_stop(env.loop, &rig.relay.leg[RELAY_UPSTREAM].io);
    put(&rig, RELAY_UPSTREAM, "413");
    reset_app(&rig, RELAY_UPSTREAM);
    put(&rig, RELAY_CLIENT, "more");
    wait_ended(&rig);
    assert_int_equal(rig.relay.end.reason, REASON_UPSTREAM_RESET);
    assert_false(rig.relay.end.must_reset); /* that could take the answer away from the client again */
    assert_int_equal(read_all(&rig, RELAY_CLIENT, text, 3), 3);
    assert_memory_equal(text, "413", 3);
    rig_stop(&rig);
}

/* An idle tunnel costs no wake-ups: nothing is pending for it, also in every half-closed form. */
static void test_no_spinning(void **state)
{
    (void)state;
    for (int finished = 0; finished < 2; finished++) {
        struct rig rig;
        char c;
        rig_start(&rig, "");
        assert_int_equal(shutdown(rig.app[finished], SHUT_WR), 0);
        assert_int_equal(read_all(&rig, 1 - finished, &c, 1), 0);
        fill(&rig, 1 - finished);
        for (int i = 0; i < 20; i++) {
            ev_run(env.loop, EVRUN_NOWAIT); /* what was pending has been seen */
        }
        for (int i = 0; i < 20; i++) {
            ev_run(env.loop, EVRUN_NOWAIT);
            assert_int_equal(ev_pending_count(env.loop), 0);
        }
        int64_t began = clock_mono_ms();
        turn();
        assert_true(clock_mono_ms() - began >= 15); /* only the timer woke it */
        rig_stop(&rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_ways_and_early_bytes),
        cmocka_unit_test(test_half_close_client_first),
        cmocka_unit_test(test_half_close_upstream_first),
        cmocka_unit_test(test_back_pressure),
        cmocka_unit_test(test_reset_while_idle),
        cmocka_unit_test(test_reset_while_paused),
        cmocka_unit_test(test_reset_of_the_stalled_reader),
        cmocka_unit_test(test_reset_after_half_close),
        cmocka_unit_test(test_last_words_before_a_reset),
        cmocka_unit_test(test_no_spinning),
    };
    env.loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    env.buffer = malloc(RELAY_BUFFER_BYTES);
    if (env.loop == NULL || env.buffer == NULL || hangup_new(env.loop, &env.hangup) != 0) {
        return 99;
    }
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    hangup_free(env.hangup);
    ev_loop_destroy(env.loop);
    free(env.buffer);
    return rc;
}

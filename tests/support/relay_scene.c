/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/relay_scene.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/clock.h"
#include "common/net/sock.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

struct relay_env relay_scene_env;
struct pipe_pool relay_scene_pipes;

int relay_scene_init(void)
{
    relay_scene_env.loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    relay_scene_env.buffer = malloc(RELAY_BUFFER_BYTES);
    relay_scene_env.pipes = &relay_scene_pipes;
    (void)signal(SIGPIPE, SIG_IGN); /* splice(2) has no MSG_NOSIGNAL */
    bool is_fine = relay_scene_env.loop != NULL && relay_scene_env.buffer != NULL &&
                   hangup_new(relay_scene_env.loop, &relay_scene_env.hangup) == 0;
    return is_fine ? 0 : 99;
}

void relay_scene_fini(void)
{
    pipe_pool_fini(&relay_scene_pipes);
    hangup_free(relay_scene_env.hangup);
    ev_loop_destroy(relay_scene_env.loop);
    free(relay_scene_env.buffer);
}

void relay_scene_pair(int out[2])
{
    struct addr a = {.ip = ip_v4(127, 0, 0, 1)};
    int listener = sock_listen_tcp(&a, false, NULL);
    assert_true(listener >= 0);
    assert_int_equal(sock_local_addr(listener, &a), 0);
    out[0] = sock_connect_tcp(&a);
    assert_true(out[0] >= 0);
    struct pollfd p = {.fd = listener, .events = POLLIN};
    assert_int_equal(poll(&p, 1, RELAY_SCENE_GIVE_UP_MS), 1);
    out[1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(out[1] >= 0);
    p = (struct pollfd){.fd = out[0], .events = POLLOUT};
    assert_int_equal(poll(&p, 1, RELAY_SCENE_GIVE_UP_MS), 1);
    assert_int_equal(close(listener), 0);
}

static void on_event(void *ctx, enum relay_event e)
{
    struct relay_scene *s = ctx;
    if (e == RELAY_HALF_CLOSED) {
        s->half_closed++;
    } else {
        s->ended++;
    }
}

/* Less than the kernel would grow them to, so that a stalled reader is felt soon. */
static void limit_buffers(int fd)
{
    int bytes = 64 * 1024;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes), 0);
}

void relay_scene_start(struct relay_scene *s, const char *early)
{
    struct buf b = {0};
    *s = (struct relay_scene){0};
    int pair[2];
    for (int i = 0; i < 2; i++) {
        relay_scene_pair(pair);
        s->app[i] = pair[0];
        s->inner[i] = pair[1];
        limit_buffers(pair[0]);
        limit_buffers(pair[1]);
    }
    s->relay = (struct relay){.env = &relay_scene_env, .fn = on_event, .ctx = s};
    assert_int_equal(buf_append(&b, span_str(early), RELAY_BUFFER_BYTES), 0);
    assert_int_equal(relay_start(&s->relay, s->inner, &b, clock_mono_ms()), 0);
    assert_int_equal(b.len, 0);
    assert_int_equal(s->half_closed + s->ended, 0);
}

void relay_scene_close_app(struct relay_scene *s, int side)
{
    if (s->app[side] >= 0) {
        assert_int_equal(close(s->app[side]), 0);
        s->app[side] = -1;
    }
}

void relay_scene_stop(struct relay_scene *s)
{
    relay_stop(&s->relay);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(close(s->inner[i]), 0);
        relay_scene_close_app(s, i);
    }
    ev_run(relay_scene_env.loop,
           EVRUN_NOWAIT); /* libev forgets the descriptors before the next test reuses them */
    assert_int_equal(relay_scene_pipes.lent_count, 0);
}

static void on_wake(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents;
}

/* One turn of the loop, at most 20 ms long. */
void relay_scene_turn(void)
{
    ev_timer wake;
    ev_timer_init(&wake, on_wake, 0.02, 0.0);
    ev_now_update(relay_scene_env.loop);
    ev_timer_start(relay_scene_env.loop, &wake);
    ev_run(relay_scene_env.loop, EVRUN_ONCE);
    ev_timer_stop(relay_scene_env.loop, &wake);
}

bool relay_scene_is_quiet(void)
{
    bool is_quiet = false;
    for (int i = 0; i < 20 && !is_quiet; i++) {
        int64_t began = clock_mono_ms();
        relay_scene_turn();
        is_quiet = clock_mono_ms() - began >= 15;
    }
    return is_quiet;
}

/* Reads from an end until it has len bytes; returns how many there were before the end of the stream. */
size_t relay_scene_read(struct relay_scene *s, int side, void *out, size_t len)
{
    int64_t end = clock_mono_ms() + RELAY_SCENE_GIVE_UP_MS;
    size_t have = 0;
    while (have < len && clock_mono_ms() < end) {
        ssize_t n = recv(s->app[side], (uint8_t *)out + have, len - have, MSG_DONTWAIT);
        if (n == 0) {
            break;
        }
        if (n > 0) {
            have += (size_t)n;
        } else {
            relay_scene_turn();
        }
    }
    return have;
}

void relay_scene_wait_ended(struct relay_scene *s)
{
    int64_t end = clock_mono_ms() + RELAY_SCENE_GIVE_UP_MS;
    while (s->ended == 0 && clock_mono_ms() < end) {
        relay_scene_turn();
    }
    assert_int_equal(s->ended, 1);
}

void relay_scene_put(struct relay_scene *s, int side, const char *text)
{
    assert_int_equal(send(s->app[side], text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

void relay_scene_reset_app(struct relay_scene *s, int side)
{
    sock_close_reset(s->app[side]);
    s->app[side] = -1;
}

uint8_t relay_scene_byte(size_t offset)
{
    return (uint8_t)((uint32_t)offset * 2654435761U >> 13);
}

size_t relay_scene_fill(struct relay_scene *s, int from, bool is_bulk)
{
    uint8_t chunk[65536];
    size_t written = 0;
    int full = 0; /* turns in a row in which nothing moved */
    for (int i = 0; i < 1000 && full < 3; i++) {
        s->relay.leg[from].full_reads = is_bulk ? RELAY_BULK_READS : 0;
        for (size_t k = 0; k < sizeof chunk; k++) {
            chunk[k] = relay_scene_byte(written + k);
        }
        ssize_t n = send(s->app[from], chunk, sizeof chunk, MSG_NOSIGNAL | MSG_DONTWAIT);
        written += n > 0 ? (size_t)n : 0;
        if (n > 0) {
            ev_run(relay_scene_env.loop, EVRUN_NOWAIT);
        } else {
            relay_scene_turn();
        }
        full = n <= 0 && relay_has_unsent(&s->relay) ? full + 1 : 0;
    }
    const struct relay_leg *to = &s->relay.leg[1 - from];
    assert_true(relay_has_unsent(&s->relay));
    assert_true(is_bulk ? to->pipe != NULL && to->pipe->len > 0 : to->unsent.len > 0);
    return written;
}

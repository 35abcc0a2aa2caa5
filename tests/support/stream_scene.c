/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/stream_scene.h"

#include "common/net/sock.h"
#include "tests/support/fake_upstream.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

bool on_event(void *ctx, struct span msg, int error)
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

void ask(struct asked *q, uint8_t tag)
{
    uint8_t msg[QUERY_LEN] = {0xab, tag};
    q->tag = tag;
    msg[QUERY_LEN - 1] = tag;
    q->is_asking = true;
    assert_int_equal(dns_streams_ask(q->scene->streams, span_make(msg, sizeof(msg)), on_event, q, &q->query),
                     0);
    q->is_asking = false;
}

void renew(struct scene *s, int64_t connect_ms, int64_t idle_ms)
{
    struct dns_stream_config cfg = {.to = s->addr,
                                    .transport = s->transport,
                                    .connect_ms = connect_ms,
                                    .idle_ms = idle_ms,
                                    .stall_ms = s->stall_ms,
                                    .free_descriptors = s->free_descriptors,
                                    .ctx = s};
    dns_streams_free(s->streams);
    assert_int_equal(dns_streams_new(s->loop, &cfg, &s->streams), 0);
}

int stream_scene_set_up(void **state)
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

int stream_scene_tear_down(void **state)
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

int accept_one(struct scene *s)
{
    wait_readable(s, s->listen_fd);
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    sock_set_nodelay(fd);
    return fd;
}

bool has_connection_waiting(struct scene *s)
{
    struct pollfd p = {.fd = s->listen_fd, .events = POLLIN};
    fake_run_for(s->loop, 5);
    return poll(&p, 1, 0) == 1;
}

uint16_t id_of(const struct seen *q)
{
    return (uint16_t)(q->frame[2] << 8 | q->frame[3]);
}

uint8_t tag_of(const struct seen *q)
{
    return q->frame[2 + QUERY_LEN - 1];
}

void read_query(struct scene *s, int fd, struct seen *out)
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

void send_all(int fd, const void *data, size_t len)
{
    assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

void answer(int fd, const struct seen *q)
{
    send_all(fd, q->frame, sizeof(q->frame));
}

/* The other end has closed. */
void expect_end(struct scene *s, int fd)
{
    uint8_t byte;
    wait_readable(s, fd);
    assert_true(recv(fd, &byte, 1, 0) <= 0);
}

void finish(struct scene *s, struct asked *q)
{
    assert_true(fake_run(s->loop, &q->is_done, LIMIT_MS));
}

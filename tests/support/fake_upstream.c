/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_upstream.h"

#include "common/net/sock.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static void require(bool ok)
{
    if (!ok) {
        abort();
    }
}

static void on_udp_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    (void)revents;
    struct fake_upstream *u = w->data;
    uint8_t in[512];
    uint8_t out[4096];
    struct sockaddr_storage from;
    socklen_t from_len = (socklen_t)sizeof(from);
    ssize_t n = recvfrom(w->fd, in, sizeof(in), 0, (struct sockaddr *)&from, &from_len);
    struct fake_query q;
    struct addr source = {0};
    if (n < 0) {
        return; /* ICMP of a socket that the resolver has closed */
    }
    require(fake_query_read(span_make(in, (size_t)n), &q));
    require(addr_from_sockaddr((const struct sockaddr *)&from, from_len, &source) == 0);
    u->udp_count++;
    u->last_source_port = source.port;

    struct fake_reply reply = {.ttl_s = 60};
    enum fake_verdict verdict = u->fn(u->ctx, &q, false, &reply);
    if (verdict == FAKE_SILENT) {
        return;
    }
    if (verdict == FAKE_FORGE) {
        struct fake_reply forged = reply;
        forged.rcode = 3;
        forged.bad_id = true;
        size_t len = fake_reply_build(&forged, span_make(in, (size_t)n), out, sizeof(out));
        (void)sendto(w->fd, out, len, 0, (const struct sockaddr *)&from, from_len);
        forged.bad_id = false;
        forged.bad_question = true;
        len = fake_reply_build(&forged, span_make(in, (size_t)n), out, sizeof(out));
        (void)sendto(w->fd, out, len, 0, (const struct sockaddr *)&from, from_len);
    }
    size_t len = fake_reply_build(&reply, span_make(in, (size_t)n), out, sizeof(out));
    for (int times = u->sends_twice ? 2 : 1; times > 0; times--) {
        (void)sendto(w->fd, out, len, 0, (const struct sockaddr *)&from, from_len);
    }
}

static void close_conn(struct fake_conn *c)
{
    if (c->fd >= 0) {
        ev_io_stop(c->owner->loop, &c->io);
        (void)close(c->fd);
        c->fd = -1;
    }
}

static void watch_conn(struct fake_conn *c, int events)
{
    ev_io_stop(c->owner->loop, &c->io);
    ev_io_set(&c->io, c->fd, events);
    ev_io_start(c->owner->loop, &c->io);
}

static void write_conn(struct fake_conn *c)
{
    size_t left = c->out_len - c->out_sent;
    ssize_t n = send(c->fd, c->out + c->out_sent, c->owner->dribbles ? 1 : left, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        close_conn(c);
        return;
    }
    c->out_sent += (size_t)n;
    if (c->out_sent < c->out_len) {
        return;
    }
    if (c->is_cut_short || c->owner->closes_each) {
        close_conn(c);
        return;
    }
    c->in_len = 0;
    watch_conn(c, EV_READ);
}

static void answer_conn(struct fake_conn *c)
{
    struct fake_upstream *u = c->owner;
    struct span query = span_make(c->in + 2, c->in_len - 2);
    struct fake_query q;
    require(fake_query_read(query, &q));
    u->tcp_count++;
    struct fake_reply reply = {.ttl_s = 60};
    enum fake_verdict verdict = u->fn(u->ctx, &q, true, &reply);
    if (verdict == FAKE_SILENT) {
        c->in_len = 0; /* the next one may be answered */
        return;
    }
    size_t len = fake_reply_build(&reply, query, c->out + 2, sizeof(c->out) - 2);
    c->out[0] = (uint8_t)(len >> 8);
    c->out[1] = (uint8_t)(len & 0xff);
    c->is_cut_short = verdict == FAKE_CUT_SHORT;
    c->out_len = c->is_cut_short ? 2 + len / 2 : 2 + len;
    c->out_sent = 0;
    watch_conn(c, EV_WRITE);
}

static void on_conn_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    struct fake_conn *c = w->data;
    if ((revents & EV_WRITE) != 0) {
        write_conn(c);
        return;
    }
    /* Up to the end of one query: what is behind it waits in the socket until that is answered. */
    size_t want = c->in_len < 2 ? 2 : 2U + ((size_t)c->in[0] << 8 | c->in[1]);
    require(want <= sizeof(c->in));
    ssize_t n = recv(c->fd, c->in + c->in_len, want - c->in_len, 0);
    if (n <= 0) {
        close_conn(c);
        return;
    }
    c->in_len += (size_t)n;
    if (c->in_len > 2 && c->in_len == 2U + ((size_t)c->in[0] << 8 | c->in[1])) {
        answer_conn(c);
    }
}

static void on_tcp_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)revents;
    struct fake_upstream *u = w->data;
    int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    for (size_t i = 0; i < FAKE_CONNS_MAX; i++) {
        struct fake_conn *c = &u->conns[i];
        if (c->fd < 0) {
            c->owner = u;
            c->fd = fd;
            c->in_len = 0;
            u->conn_count++;
            sock_set_nodelay(fd);
            ev_io_init(&c->io, on_conn_event, fd, EV_READ);
            c->io.data = c;
            ev_io_start(loop, &c->io);
            return;
        }
    }
    (void)close(fd);
}

/* The port is free for TCP; that it is for UDP too is likely but not sure. */
static void bind_both(struct fake_upstream *u)
{
    for (int tries = 0; tries < 20; tries++) {
        struct addr any = {.ip = ip_v4(127, 0, 0, 1), .port = 0};
        struct err err = {0};
        u->tcp_fd = sock_listen_tcp(&any, false, &err);
        require(u->tcp_fd >= 0 && sock_local_addr(u->tcp_fd, &u->addr) == 0);
        u->udp_fd = sock_listen_udp(&u->addr, false, &err);
        if (u->udp_fd >= 0) {
            return;
        }
        (void)close(u->tcp_fd);
    }
    abort();
}

void fake_upstream_init(struct fake_upstream *u, struct ev_loop *loop, fake_upstream_fn *fn, void *ctx)
{
    *u = (struct fake_upstream){.loop = loop, .fn = fn, .ctx = ctx};
    bind_both(u);
    for (size_t i = 0; i < FAKE_CONNS_MAX; i++) {
        u->conns[i].fd = -1;
    }
    ev_io_init(&u->udp_io, on_udp_event, u->udp_fd, EV_READ);
    u->udp_io.data = u;
    ev_io_start(loop, &u->udp_io);
    ev_io_init(&u->tcp_io, on_tcp_event, u->tcp_fd, EV_READ);
    u->tcp_io.data = u;
    ev_io_start(loop, &u->tcp_io);
}

void fake_upstream_fini(struct fake_upstream *u)
{
    for (size_t i = 0; i < FAKE_CONNS_MAX; i++) {
        close_conn(&u->conns[i]);
    }
    ev_io_stop(u->loop, &u->udp_io);
    ev_io_stop(u->loop, &u->tcp_io);
    (void)close(u->udp_fd);
    (void)close(u->tcp_fd);
}

static void on_limit_event(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)revents;
    *(bool *)w->data = true;
    ev_break(loop, EVBREAK_ONE);
}

bool fake_run(struct ev_loop *loop, const bool *done, int limit_ms)
{
    bool is_over = false;
    ev_timer limit;
    ev_now_update(loop);
    ev_timer_init(&limit, on_limit_event, (double)limit_ms / 1000.0, 0.0);
    limit.data = &is_over;
    ev_timer_start(loop, &limit);
    while (!*done && !is_over) {
        (void)ev_run(loop, EVRUN_ONCE);
    }
    ev_timer_stop(loop, &limit);
    return *done;
}

void fake_run_for(struct ev_loop *loop, int ms)
{
    const bool never = false;
    (void)fake_run(loop, &never, ms);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/loop_check.h"

#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/net/deadline.h"
#include "common/net/sock.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define READS_PER_WAKE 8
#define REPLY_CAP 1500 /* a marker takes 100 bytes; what is longer is none */

/* A question to one upstream. */
struct probe {
    struct loop_check *owner;
    size_t upstream;
    bool is_open;
    uint16_t id;
    int fd; /* -1: it goes over a connection, or could not be sent */
    ev_io io;
    struct dns_stream_query *query;
    struct deadline deadline;
};

struct loop_check {
    struct ev_loop *loop;
    struct loop_check_config cfg;
    loop_check_event_fn *fn;
    void *ctx;
    struct deadline_list *deadlines;
    size_t open_count;
    struct probe probes[UPSTREAM_MAX];
};

static void close_probe(struct probe *p)
{
    struct loop_check *l = p->owner;
    if (!p->is_open) {
        return;
    }
    if (p->fd >= 0) {
        ev_io_stop(l->loop, &p->io);
        (void)close(p->fd);
        p->fd = -1;
    }
    dns_stream_cancel(p->query);
    p->query = NULL;
    deadline_cancel(l->deadlines, &p->deadline);
    p->is_open = false;
    l->open_count--;
}

static void finish(struct probe *p, enum loop_verdict v)
{
    struct loop_check *l = p->owner;
    close_probe(p);
    l->fn(l->ctx, p->upstream, v);
}

static void on_deadline_event(void *ctx, struct deadline *d, int64_t now_ms)
{
    (void)ctx;
    (void)now_ms;
    finish((struct probe *)(void *)((char *)d - offsetof(struct probe, deadline)), LOOP_MISMATCH);
}

static void on_udp_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    struct probe *p = w->data;
    uint8_t in[REPLY_CAP];
    if ((revents & EV_ERROR) != 0) {
        finish(p, LOOP_MISMATCH); /* epoll has refused it: the next check comes */
        return;
    }
    for (int i = 0; i < READS_PER_WAKE; i++) {
        ssize_t n = recv(p->fd, in, sizeof(in), 0);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                finish(p, LOOP_MISMATCH); /* refused: as good as silent */
            }
            return;
        }
        enum loop_verdict v = loop_guard_judge(span_make(in, (size_t)n), p->id, p->owner->cfg.own);
        if (v != LOOP_MISMATCH) {
            finish(p, v);
            return;
        }
    }
}

static bool on_stream_event(void *ctx, struct span msg, int error)
{
    struct probe *p = ctx;
    enum loop_verdict v = LOOP_MISMATCH;
    if (error == 0) {
        v = loop_guard_judge(msg, p->id, p->owner->cfg.own);
        if (v == LOOP_MISMATCH) {
            return false;
        }
    }
    p->query = NULL; /* the stream frees it */
    finish(p, v);
    return true;
}

static int send_udp(struct probe *p, const struct addr *to, struct span msg)
{
    p->fd = sock_connect_udp(to);
    if (p->fd < 0) {
        return p->fd;
    }
    ev_io_set(&p->io, p->fd, EV_READ);
    ev_io_start(p->owner->loop, &p->io);
    return send(p->fd, msg.data, msg.len, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

void loop_check_ask(struct loop_check *l, size_t upstream, const struct addr *to, struct dns_streams *streams)
{
    REQUIRE(upstream < UPSTREAM_MAX);
    struct probe *p = &l->probes[upstream];
    uint8_t query[LOOP_GUARD_QUERY_CAP];
    if (p->is_open) {
        return;
    }
    p->id = rng_u16();
    p->fd = -1;
    p->is_open = true;
    l->open_count++;
    int64_t now_ms = clock_mono_ms();
    if (deadline_arm(l->deadlines, &p->deadline, now_ms + l->cfg.wait_ms) != 0) {
        close_probe(p); /* out of memory: the next check comes */
        return;
    }
    struct span msg = span_make(query, loop_guard_query(p->id, query));
    int rc =
        streams != NULL ? dns_streams_ask(streams, msg, on_stream_event, p, &p->query) : send_udp(p, to, msg);
    if (rc != 0) {
        (void)deadline_arm(l->deadlines, &p->deadline, now_ms); /* says so in a turn of its own */
    }
}

void loop_check_cancel(struct loop_check *l)
{
    for (size_t i = 0; i < UPSTREAM_MAX; i++) {
        close_probe(&l->probes[i]);
    }
}

size_t loop_check_pending(const struct loop_check *l)
{
    return l->open_count;
}

int loop_check_new(struct ev_loop *loop, const struct loop_check_config *cfg, loop_check_event_fn *fn,
                   void *ctx, struct loop_check **out)
{
    struct loop_check *l = calloc(1, sizeof(*l));
    if (l == NULL) {
        return -ENOMEM;
    }
    l->loop = loop;
    l->cfg = *cfg;
    l->fn = fn;
    l->ctx = ctx;
    int rc = deadline_list_new(loop, on_deadline_event, l, &l->deadlines);
    if (rc != 0) {
        free(l);
        return rc;
    }
    for (size_t i = 0; i < UPSTREAM_MAX; i++) {
        struct probe *p = &l->probes[i];
        p->owner = l;
        p->upstream = i;
        p->fd = -1;
        ev_io_init(&p->io, on_udp_event, -1, EV_READ);
        p->io.data = p;
    }
    *out = l;
    return 0;
}

void loop_check_free(struct loop_check *l)
{
    if (l == NULL) {
        return;
    }
    loop_check_cancel(l);
    deadline_list_free(l->deadlines);
    free(l);
}

/* ---- all at once, at start ---- */

struct start_check {
    struct ev_loop *loop;
    size_t left;
    enum loop_verdict *found;
};

static void on_found(void *ctx, size_t upstream, enum loop_verdict v)
{
    struct start_check *s = ctx;
    s->found[upstream] = v;
    s->left--;
    if (s->left == 0) {
        ev_break(s->loop, EVBREAK_ALL);
    }
}

int loop_check_all(const struct loop_check_config *cfg, const struct addr *addrs,
                   const struct dns_stream_transport *transports, size_t count,
                   enum loop_verdict found[UPSTREAM_MAX])
{
    REQUIRE(count <= UPSTREAM_MAX);
    struct dns_streams *streams[UPSTREAM_MAX] = {NULL};
    struct loop_check *l = NULL;
    errno = 0;
    struct start_check s = {.loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV), .found = found};
    if (s.loop == NULL) {
        return errno != 0 ? -errno : -ENOMEM;
    }
    memset(found, 0, UPSTREAM_MAX * sizeof(found[0]));
    int rc = loop_check_new(s.loop, cfg, on_found, &s, &l);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (transports != NULL && transports[i].ops != NULL) {
            const struct dns_stream_config stream_cfg = {.to = addrs[i],
                                                         .transport = transports[i],
                                                         .connect_ms = cfg->wait_ms,
                                                         .idle_ms = cfg->wait_ms};
            rc = dns_streams_new(s.loop, &stream_cfg, &streams[i]);
        }
        if (rc == 0) {
            loop_check_ask(l, i, &addrs[i], streams[i]);
        }
    }
    s.left = l != NULL ? loop_check_pending(l) : 0;
    if (rc == 0 && s.left > 0) {
        (void)ev_run(s.loop, 0);
    }
    loop_check_free(l);
    for (size_t i = 0; i < count; i++) {
        dns_streams_free(streams[i]);
    }
    ev_loop_destroy(s.loop);
    return rc;
}

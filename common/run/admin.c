/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/admin.h"

#include "common/base/clock.h"
#include "common/net/acceptor.h"
#include "common/net/deadline.h"
#include "common/net/sock.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define REPLY_MAX ((size_t)1 << 20)      /* bytes of an answer, head included */
#define DISCARD_MAX ((size_t)256 * 1024) /* read and thrown away behind a request */

enum conn_state { CONN_FREE = 0, CONN_READ, CONN_WRITE, CONN_LINGER };

struct conn {
    struct admin *admin;
    enum conn_state state;
    int fd;
    ev_io io;
    struct deadline deadline;
    struct addr local; /* with TCP */
    struct buf reply;  /* what is not sent yet */
    size_t discarded_bytes;
    size_t len;
    uint8_t request[ADMIN_HTTP_HEAD_MAX];
};

struct admin {
    struct ev_loop *loop;
    bool is_tcp;
    admin_page_fn *page;
    void *ctx;
    struct acceptor *acceptor;
    struct deadline_list *deadlines;
    struct conn conns[ADMIN_CONNECTIONS];
};

#define CONN_OF(ptr, member) ((struct conn *)(void *)((char *)(ptr)-offsetof(struct conn, member)))

static void conn_end(struct conn *c)
{
    if (c->state == CONN_FREE) {
        return;
    }
    c->state = CONN_FREE;
    ev_io_stop(c->admin->loop, &c->io); /* before close(2): libev must not meet a descriptor that is gone */
    deadline_cancel(c->admin->deadlines, &c->deadline);
    (void)close(c->fd);
    c->fd = -1;
    buf_fini(&c->reply);
}

static void watch(struct conn *c, int events)
{
    ev_io_stop(c->admin->loop, &c->io);
    ev_io_set(&c->io, c->fd, events);
    ev_io_start(c->admin->loop, &c->io);
}

/* ---- the answer ---- */

static int append_reply(struct conn *c, const struct admin_reply *r)
{
    char head[ADMIN_HTTP_REPLY_HEAD];
    size_t len = admin_http_reply_head(r->status, r->type, r->body.len, r->is_stale, head);
    int rc = buf_append(&c->reply, span_make(head, len), REPLY_MAX);
    return rc == 0 ? buf_append(&c->reply, buf_span(&r->body), REPLY_MAX) : rc;
}

static int append_text(struct conn *c, int status, const char *text)
{
    struct admin_reply r = {.status = status, .type = "text/plain; charset=utf-8"};
    int rc = buf_append(&r.body, span_str(text), REPLY_MAX);
    rc = rc == 0 ? append_reply(c, &r) : rc;
    buf_fini(&r.body);
    return rc;
}

static int build_reply(struct conn *c, const struct admin_request *req)
{
    if (req->status != 200) {
        return append_text(c, req->status, req->text);
    }
    struct admin *a = c->admin;
    struct admin_reply r = {.status = 0};
    int rc = a->page(a->ctx, req->page, &r);
    rc = rc == 0 ? append_reply(c, &r) : rc;
    buf_fini(&r.body);
    if (rc != 0) {
        buf_fini(&c->reply);
        rc = append_text(c, 500, "this page could not be built\n");
    }
    return rc;
}

/*
 * Everything is sent; what the client may still be sending is read, so that the kernel does not answer it
 * with a reset that overtakes our answer.
 */
static void start_linger(struct conn *c)
{
    if (shutdown(c->fd, SHUT_WR) < 0) {
        conn_end(c);
        return;
    }
    c->state = CONN_LINGER;
    watch(c, EV_READ);
}

static void write_some(struct conn *c)
{
    struct span left = buf_span(&c->reply);
    ssize_t n = send(c->fd, left.data, left.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        conn_end(c);
        return;
    }
    if (n > 0) {
        buf_consume(&c->reply, (size_t)n);
    }
    if (c->reply.len == 0) {
        start_linger(c);
    } else if (c->state != CONN_WRITE) {
        c->state = CONN_WRITE;
        watch(c, EV_WRITE);
    }
}

/* ---- the request ---- */

static void read_request(struct conn *c)
{
    ssize_t n = recv(c->fd, c->request + c->len, sizeof c->request - c->len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        conn_end(c);
        return;
    }
    struct admin_request req;
    c->len += (size_t)n;
    admin_http_parse(span_make(c->request, c->len), c->admin->is_tcp ? &c->local : NULL, &req);
    if (req.status == 0) {
        return;
    }
    if (build_reply(c, &req) != 0) {
        conn_end(c);
        return;
    }
    write_some(c);
}

static void discard(struct conn *c)
{
    uint8_t unwanted[4096];
    ssize_t n = recv(c->fd, unwanted, sizeof unwanted, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    c->discarded_bytes += n > 0 ? (size_t)n : 0;
    if (n <= 0 || c->discarded_bytes > DISCARD_MAX) {
        conn_end(c);
    }
}

static void on_conn_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    struct conn *c = w->data;
    if ((revents & EV_ERROR) != 0) {
        conn_end(c); /* epoll has refused it: nothing would be heard of it */
        return;
    }
    switch (c->state) {
    case CONN_READ:
        read_request(c);
        break;
    case CONN_WRITE:
        write_some(c);
        break;
    case CONN_LINGER:
        discard(c);
        break;
    case CONN_FREE:
        (void)CHECK(c->state != CONN_FREE); /* its watcher is stopped */
        break;
    }
}

static void on_deadline(void *ctx, struct deadline *d, int64_t now_ms)
{
    (void)ctx;
    (void)now_ms;
    conn_end(CONN_OF(d, deadline));
}

static void on_accept(void *ctx, int fd, const struct addr *peer)
{
    (void)peer;
    struct admin *a = ctx;
    struct conn *c = NULL;
    struct addr local = {.port = 0};
    for (size_t i = 0; i < ADMIN_CONNECTIONS && c == NULL; i++) {
        c = a->conns[i].state == CONN_FREE ? &a->conns[i] : NULL;
    }
    if (c == NULL || (a->is_tcp && sock_local_addr(fd, &local) != 0)) {
        (void)close(fd);
        return;
    }
    c->admin = a;
    c->state = CONN_READ;
    c->fd = fd;
    c->local = local;
    c->len = 0;
    c->discarded_bytes = 0;
    ev_io_init(&c->io, on_conn_event, fd, EV_READ);
    c->io.data = c;
    ev_io_start(a->loop, &c->io);
    if (deadline_arm(a->deadlines, &c->deadline, clock_mono_ms() + ADMIN_DEADLINE_MS) != 0) {
        conn_end(c);
    }
}

/* ---- life ---- */

int admin_new(struct ev_loop *loop, struct admin_socket *socket, admin_page_fn *page, void *ctx,
              struct admin **out)
{
    struct admin *a = calloc(1, sizeof(*a));
    if (a == NULL) {
        return -ENOMEM;
    }
    a->loop = loop;
    a->is_tcp = socket->is_tcp;
    a->page = page;
    a->ctx = ctx;
    int rc = deadline_list_new(loop, on_deadline, a, &a->deadlines);
    if (rc == 0) {
        const struct acceptor_config cfg = {.loop = loop, .fd = socket->fd, .on_accept = on_accept, .ctx = a};
        rc = acceptor_new(&cfg, &a->acceptor);
    }
    if (rc != 0) {
        admin_free(a);
        return rc;
    }
    socket->fd = -1;
    *out = a;
    return 0;
}

void admin_free(struct admin *a)
{
    if (a == NULL) {
        return;
    }
    acceptor_stop(a->acceptor);
    for (size_t i = 0; i < ADMIN_CONNECTIONS; i++) {
        conn_end(&a->conns[i]);
    }
    deadline_list_free(a->deadlines);
    free(a);
}

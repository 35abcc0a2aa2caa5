/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_stream_priv.h"

#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/net/sock.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define LENGTH_LEN 2 /* RFC 1035 4.2.2 */
#define HEADER_LEN 12
#define MESSAGE_MAX 65535
#define TX_MAX ((size_t)64 << 10) /* bytes that wait to be written */
#define READ_BYTES 8192
#define READS_PER_WAKE 16

/* The session of plain TCP is a copy of the descriptor. */
static int plain_open(void *ctx, int fd, void **session)
{
    (void)ctx;
    int *copy = malloc(sizeof(*copy));
    if (copy == NULL) {
        return -ENOMEM;
    }
    *copy = fd;
    *session = copy;
    return 0;
}

static ssize_t plain_read(void *session, uint8_t *out, size_t cap, int *want)
{
    const int *fd = session;
    ssize_t n = recv(*fd, out, cap, 0);
    *want = EV_READ;
    return n >= 0 ? n : -(errno == EINTR ? EAGAIN : errno);
}

static ssize_t plain_write(void *session, struct span data, int *want)
{
    const int *fd = session;
    ssize_t n = send(*fd, data.data, data.len, MSG_NOSIGNAL);
    *want = EV_WRITE;
    return n >= 0 ? n : -(errno == EINTR ? EAGAIN : errno);
}

static void plain_close(void *session)
{
    free(session);
}

const struct dns_stream_ops dns_stream_plain = {
    .open = plain_open, .handshake = NULL, .read = plain_read, .write = plain_write, .close = plain_close};

/* The one place where a watcher changes. */
static void watch(struct dns_stream_conn *c, int events)
{
    struct ev_loop *loop = c->owner->loop;
    if (events == c->events) {
        return;
    }
    ev_io_stop(loop, &c->io);
    c->events = events;
    if (events != 0) {
        ev_io_set(&c->io, c->fd, events);
        ev_io_start(loop, &c->io);
    }
}

static void watch_for_state(struct dns_stream_conn *c)
{
    switch (c->state) {
    case DNS_STREAM_CONNECTING:
        watch(c, EV_WRITE);
        break;
    case DNS_STREAM_HANDSHAKE:
        watch(c, c->want_read);
        break;
    case DNS_STREAM_OPEN:
        watch(c, c->want_read | (c->tx.len > 0 ? c->want_write : 0));
        break;
    }
}

void dns_stream_list_add(struct dns_stream_list *l, struct dns_stream_query *q)
{
    q->prev = l->last;
    q->next = NULL;
    if (l->last != NULL) {
        l->last->next = q;
    } else {
        l->first = q;
    }
    l->last = q;
    l->count++;
}

void dns_stream_list_remove(struct dns_stream_list *l, struct dns_stream_query *q)
{
    if (q->prev != NULL) {
        q->prev->next = q->next;
    } else {
        l->first = q->next;
    }
    if (q->next != NULL) {
        q->next->prev = q->prev;
    } else {
        l->last = q->prev;
    }
    l->count--;
}

static struct dns_stream_query **find_id(struct dns_stream_conn *c, uint16_t id)
{
    struct dns_stream_query **at = &c->by_id[id % DNS_STREAM_IDS];
    while (*at != NULL && (*at)->id != id) {
        at = &(*at)->next_of_id;
    }
    return at;
}

static void link_query(struct dns_stream_conn *c, struct dns_stream_query *q)
{
    q->conn = c;
    dns_stream_list_add(&c->open, q);
    struct dns_stream_query **bucket = &c->by_id[q->id % DNS_STREAM_IDS];
    q->next_of_id = *bucket;
    *bucket = q;
}

void dns_stream_conn_unlink(struct dns_stream_query *q)
{
    struct dns_stream_conn *c = q->conn;
    struct dns_stream_query **at = find_id(c, q->id);
    REQUIRE(*at == q);
    *at = q->next_of_id;
    dns_stream_list_remove(&c->open, q);
    q->conn = NULL;
}

static size_t find_gone(const struct dns_stream_conn *c, uint16_t id)
{
    size_t i = 0;
    while (i < c->gone_count && c->gone[i] != id) {
        i++;
    }
    return i;
}

/* True if it was there. */
static bool take_gone(struct dns_stream_conn *c, uint16_t id)
{
    const size_t i = find_gone(c, id);
    if (i == c->gone_count) {
        return false;
    }
    c->gone[i] = c->gone[--c->gone_count];
    return true;
}

void dns_stream_conn_forget(struct dns_stream_query *q)
{
    struct dns_stream_conn *c = q->conn;
    if (c->state != DNS_STREAM_OPEN) {
        c->unqueued -= LENGTH_LEN + q->msg_len; /* it has not been sent */
        dns_stream_conn_unlink(q);
        return;
    }
    if (c->gone_count < DNS_STREAM_PIPELINE_MAX) {
        c->gone[c->gone_count++] = q->id;
    } else { /* an answer that has not come behind so many others will not come */
        c->gone[c->gone_next++ % DNS_STREAM_PIPELINE_MAX] = q->id;
    }
    dns_stream_conn_unlink(q);
}

struct dns_stream_query *dns_stream_conn_pop(struct dns_stream_conn *c)
{
    struct dns_stream_query *q = c->open.first;
    if (q != NULL) {
        dns_stream_conn_unlink(q);
    }
    return q;
}

/* A watcher is stopped before its descriptor goes, always here: libev aborts otherwise. */
void dns_stream_conn_close(struct dns_stream_conn *c)
{
    struct dns_streams *s = c->owner;
    if (c->fd < 0) {
        return;
    }
    watch(c, 0);
    ev_timer_stop(s->loop, &c->more);
    if (c->state != DNS_STREAM_CONNECTING) {
        s->cfg.transport.ops->close(c->session);
    }
    (void)close(c->fd);
    c->fd = -1;
    deadline_cancel(s->deadlines, &c->deadline);
    buf_fini(&c->tx);
    buf_fini(&c->rx);
    if (c->prev != NULL) {
        c->prev->next = c->next;
    } else {
        s->conns = c->next;
    }
    if (c->next != NULL) {
        c->next->prev = c->prev;
    }
    s->conn_count--;
    s->ending_count -= c->error != 0 ? 1U : 0U;
}

/* What failed inside ask() is dealt with in a turn of the loop of its own. */
void dns_stream_conn_end_later(struct dns_stream_conn *c, int error)
{
    if (c->error == 0) {
        c->error = error;
        c->owner->ending_count++;
        ev_feed_event(c->owner->loop, &c->io, EV_READ);
    }
}

/* Writes what is there; false: the connection failed with *error. */
static bool flush(struct dns_stream_conn *c, int *error)
{
    const struct dns_stream_ops *ops = c->owner->cfg.transport.ops;
    while (c->tx.len > 0) {
        ssize_t n = ops->write(c->session, buf_span(&c->tx), &c->want_write);
        if (n == -EAGAIN) {
            return true;
        }
        if (n < 0) {
            *error = (int)n;
            return false;
        }
        buf_consume(&c->tx, (size_t)n);
    }
    return true;
}

bool dns_stream_conn_has_room(const struct dns_stream_conn *c)
{
    return c->tx.len + c->unqueued + LENGTH_LEN + DNS_STREAM_QUERY_MAX <= TX_MAX;
}

static int queue_query(struct dns_stream_conn *c, const struct dns_stream_query *q)
{
    uint8_t head[LENGTH_LEN + 2] = {(uint8_t)(q->msg_len >> 8), (uint8_t)(q->msg_len & 0xff),
                                    (uint8_t)(q->id >> 8), (uint8_t)(q->id & 0xff)};
    if (c->tx.len + LENGTH_LEN + q->msg_len > TX_MAX) {
        return -ENOBUFS;
    }
    int rc = buf_append(&c->tx, span_make(head, sizeof(head)), TX_MAX);
    if (rc != 0) {
        return rc;
    }
    rc = buf_append(&c->tx, span_make(q->msg + 2, q->msg_len - 2), TX_MAX);
    if (rc != 0) {
        dns_stream_conn_end_later(c, rc); /* half a message is in the stream: it is of no use any more */
    }
    return rc;
}

/* The session over a TCP connection that stands. */
static int begin_session(struct dns_stream_conn *c)
{
    const struct dns_stream_transport *t = &c->owner->cfg.transport;
    int rc = t->ops->open(t->ctx, c->fd, &c->session);
    if (rc == 0) {
        c->state = t->ops->handshake != NULL ? DNS_STREAM_HANDSHAKE : DNS_STREAM_OPEN;
    }
    return rc;
}

static void count_asked(struct dns_stream_conn *c, struct dns_stream_query *q)
{
    q->was_behind = c->asked > 0;
    c->owner->stats.reused += q->was_behind ? 1 : 0;
    c->asked++;
}

/* Those that have waited for the connection, and that somebody still wants to ask. */
static int queue_waiting(struct dns_stream_conn *c)
{
    int rc = 0;
    c->unqueued = 0;
    for (struct dns_stream_query *q = c->open.first; q != NULL && rc == 0; q = q->next) {
        rc = queue_query(c, q);
        count_asked(c, q);
    }
    return rc;
}

/* One step towards DNS_STREAM_OPEN: 0, -EAGAIN or -errno. */
static int step_to_open(struct dns_stream_conn *c)
{
    int rc = 0;
    if (c->state == DNS_STREAM_CONNECTING) {
        rc = sock_connect_result(c->fd);
        if (rc == 0) {
            rc = begin_session(c);
        }
    }
    if (rc == 0 && c->state == DNS_STREAM_HANDSHAKE) {
        c->want_read = EV_READ;
        rc = c->owner->cfg.transport.ops->handshake(c->session, &c->want_read);
        if (rc == 0) {
            c->state = DNS_STREAM_OPEN;
            c->want_read = EV_READ;
        }
    }
    if (rc == 0) {
        c->active_ms = clock_mono_ms();
        c->unheard_ms = c->open.count > 0 ? c->active_ms : 0;
        rc = deadline_arm(c->owner->deadlines, &c->deadline, c->active_ms + c->owner->cfg.idle_ms);
    }
    return rc == 0 ? queue_waiting(c) : rc;
}

/* msg is whole, in c->rx. False: nobody has asked for it. */
static bool take_message(struct dns_stream_conn *c, uint8_t *msg, size_t len)
{
    struct dns_streams *s = c->owner;
    if (len < HEADER_LEN) {
        return false;
    }
    const uint16_t id = (uint16_t)(msg[0] << 8 | msg[1]);
    struct dns_stream_query *q = *find_id(c, id);
    if (q == NULL) {
        const bool was_asked = take_gone(c, id) || c->gone_next > 0; /* or it is one that gave way */
        s->stats.ignored += was_asked ? 1 : 0;
        return was_asked;
    }
    msg[0] = (uint8_t)(q->caller_id >> 8);
    msg[1] = (uint8_t)(q->caller_id & 0xff);
    if (!q->fn(q->ctx, span_make(msg, len), 0)) {
        return true; /* q may be gone */
    }
    dns_stream_conn_unlink(q);
    free(q);
    c->answered += c->answered < 2 ? 1 : 0;
    if (c->answered == 2) {
        s->is_single = false;
    }
    return true;
}

/* 0 or -EBADMSG. */
static int take_messages(struct dns_stream_conn *c)
{
    for (;;) {
        struct span have = buf_span(&c->rx);
        if (have.data == NULL || have.len < LENGTH_LEN) {
            return 0;
        }
        size_t len = (size_t)have.data[0] << 8 | have.data[1];
        if (have.len - LENGTH_LEN < len) {
            return 0;
        }
        if (!take_message(c, c->rx.data + c->rx.start + LENGTH_LEN, len)) {
            return -EBADMSG;
        }
        buf_consume(&c->rx, LENGTH_LEN + len);
    }
}

int dns_stream_conn_put(struct dns_stream_conn *c, struct dns_stream_query *q)
{
    int64_t now_ms = clock_mono_ms();
    do {
        q->id = rng_u16();
    } while (*find_id(c, q->id) != NULL ||
             find_gone(c, q->id) < c->gone_count); /* ends: at most 2 * PIPELINE_MAX of 65,536 are taken */
    /* Before it stands nothing is written down: what nobody wants to ask any more is not to be sent then. */
    int rc = c->state == DNS_STREAM_OPEN ? queue_query(c, q) : 0;
    if (rc != 0) {
        return rc;
    }
    if (c->state == DNS_STREAM_OPEN) {
        count_asked(c, q);
    }
    if (c->open.count == 0) {
        c->active_ms = now_ms;
    }
    link_query(c, q);
    c->unqueued += c->state == DNS_STREAM_OPEN ? 0 : LENGTH_LEN + q->msg_len;
    if (c->unheard_ms == 0) {
        c->unheard_ms = now_ms;
    }
    if (c->state == DNS_STREAM_OPEN && c->error == 0) {
        int error = 0;
        if (!flush(c, &error)) {
            dns_stream_conn_end_later(c, error);
        } else {
            watch_for_state(c);
        }
    }
    return 0;
}

/* 0: all that was there, or as much as one turn may take. -errno: the connection is over. */
static int read_messages(struct dns_stream_conn *c)
{
    struct dns_streams *s = c->owner;
    uint8_t in[READ_BYTES];
    for (int i = 0; i < READS_PER_WAKE; i++) {
        ssize_t n = s->cfg.transport.ops->read(c->session, in, sizeof(in), &c->want_read);
        if (n == -EAGAIN) {
            return 0;
        }
        if (n <= 0) {
            return n == 0 ? -ECONNRESET : (int)n;
        }
        c->active_ms = clock_mono_ms();
        /* Never more than a message and the reads of one turn: whole messages leave at once. */
        int rc = buf_append(&c->rx, span_make(in, (size_t)n), LENGTH_LEN + MESSAGE_MAX + sizeof(in));
        if (rc == 0) {
            rc = take_messages(c);
        }
        if (rc != 0) {
            return rc;
        }
        c->unheard_ms = c->open.count > 0 ? c->active_ms : 0;
        if ((size_t)n < sizeof(in) && s->cfg.transport.ops == &dns_stream_plain) {
            return 0; /* a socket that gave less than asked for is empty */
        }
    }
    if (!ev_is_active(&c->more)) { /* a session may hold more, of which the socket knows nothing */
        ev_timer_set(&c->more, 0.0, 0.0);
        ev_timer_start(s->loop, &c->more);
    }
    return 0;
}

static void on_conn_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    struct dns_stream_conn *c = w->data;
    int rc = c->error;
    if (rc == 0 && (revents & EV_ERROR) != 0) {
        rc = -ENOMEM; /* epoll has refused it: nothing will be heard of it */
    }
    if (rc == 0 && c->state != DNS_STREAM_OPEN) {
        rc = step_to_open(c);
        if (rc == -EAGAIN) {
            watch_for_state(c);
            return;
        }
    }
    if (rc == 0) {
        (void)flush(c, &rc);
    }
    if (rc == 0) {
        rc = read_messages(c);
    }
    if (rc == 0) {
        rc = c->error; /* a question asked from a call back may have failed it; its event comes, or this */
    }
    if (rc != 0) {
        dns_stream_conn_end(c, rc);
        return;
    }
    watch_for_state(c);
    dns_stream_serve_later(c->owner); /* answers and what was written have left room */
}

static int connect_to(const struct dns_streams *s)
{
    int fd = sock_connect_tcp(&s->cfg.to);
    bool is_short = fd == -EMFILE || fd == -ENFILE;
    return is_short && s->cfg.free_descriptors != NULL && s->cfg.free_descriptors(s->cfg.ctx)
               ? sock_connect_tcp(&s->cfg.to)
               : fd;
}

/* In the next turn of the loop: others have theirs in between. */
static void on_more_event(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)revents;
    struct dns_stream_conn *c = w->data;
    on_conn_event(loop, &c->io, EV_READ);
}

/* A new connection that is being made. */
int dns_stream_conn_new(struct dns_streams *s, struct dns_stream_conn **out)
{
    struct dns_stream_conn *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return -ENOMEM;
    }
    int64_t now_ms = clock_mono_ms();
    int rc = deadline_arm(s->deadlines, &c->deadline, now_ms + s->cfg.connect_ms);
    c->fd = rc == 0 ? connect_to(s) : rc;
    if (c->fd < 0) {
        rc = c->fd;
        deadline_cancel(s->deadlines, &c->deadline);
        free(c);
        return rc;
    }
    c->owner = s;
    c->want_read = EV_READ;
    c->want_write = EV_WRITE;
    c->active_ms = now_ms;
    ev_io_init(&c->io, on_conn_event, c->fd, EV_WRITE);
    c->io.data = c;
    ev_timer_init(&c->more, on_more_event, 0.0, 0.0);
    c->more.data = c;
    c->next = s->conns;
    if (s->conns != NULL) {
        s->conns->prev = c;
    }
    s->conns = c;
    s->conn_count++;
    s->stats.opened++;
    watch_for_state(c);
    *out = c;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/listen_tcp.h"

#include "common/base/clock.h"
#include "common/base/htab.h"
#include "common/net/acceptor.h"
#include "common/net/sock.h"
#include "dnsd/dnsd_counters.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define FRAME_LEN 2
/* Unsent bytes beyond which a connection is not read: room for what its questions in flight may still bring.
 */
#define UNSENT_PAUSE (LISTEN_TCP_UNSENT_MAX / 2)

struct tcp_conn {
    struct reap_node reap;
    struct listen_tcp *listener;
    uint32_t slot;
    int fd; /* -1 = ended */
    struct addr peer;
    ev_io reader;
    ev_io writer;
    struct deadline deadline;
    struct tcp_conn *newer, *older; /* by last activity */
    size_t in_flight;
    bool is_eof;     /* the client has sent all it will */
    bool is_closing; /* nothing more is read; ends when the answers are out */
    bool is_busy;    /* its bytes are being read: answers wait for the end of that */
    struct buf out;
    size_t in_len;
    uint8_t in[FRAME_LEN + LISTEN_TCP_MESSAGE_MAX];
};

struct listen_tcp {
    struct worker *worker;
    struct query_engine *engine;
    struct acceptor *acceptor;
    struct deadline_list *deadlines;
    struct tcp_conn *newest, *oldest;
    size_t count;
    struct tcp_conn *slots[LISTEN_TCP_CONNECTIONS_MAX];
    uint32_t generations[LISTEN_TCP_CONNECTIONS_MAX]; /* of what is or was last in the slot; never 0 in use */
};

static void count_event(struct listen_tcp *t, enum dnsd_counter c)
{
    metrics_add(&t->worker->metrics, (size_t)c, 1);
}

static void list_remove(struct listen_tcp *t, struct tcp_conn *c)
{
    *(c->newer != NULL ? &c->newer->older : &t->newest) = c->older;
    *(c->older != NULL ? &c->older->newer : &t->oldest) = c->newer;
    c->newer = NULL;
    c->older = NULL;
}

static void list_add(struct listen_tcp *t, struct tcp_conn *c)
{
    c->older = t->newest;
    *(t->newest != NULL ? &t->newest->newer : &t->oldest) = c;
    t->newest = c;
}

static void free_conn(struct reap_node *n)
{
    free(HTAB_ENTRY(n, struct tcp_conn, reap));
}

/* The one end of a connection. Answers that come later find its ticket stale. */
static void end_conn(struct tcp_conn *c)
{
    struct listen_tcp *t = c->listener;
    if (c->fd < 0) {
        return;
    }
    ev_io_stop(t->worker->loop, &c->reader);
    ev_io_stop(t->worker->loop, &c->writer);
    deadline_cancel(t->deadlines, &c->deadline);
    (void)close(c->fd);
    c->fd = -1;
    list_remove(t, c);
    t->slots[c->slot] = NULL;
    t->count--;
    buf_fini(&c->out);
    c->reap.free_fn = free_conn;
    reap_later(t->worker->reap, &c->reap);
}

/* Something whole happened: another ten seconds. */
static void note_activity(struct tcp_conn *c)
{
    list_remove(c->listener, c);
    list_add(c->listener, c);
    (void)deadline_arm(c->listener->deadlines, &c->deadline, clock_mono_ms() + LISTEN_TCP_IDLE_MS);
}

static bool wants_read(const struct tcp_conn *c)
{
    return !c->is_eof && !c->is_closing && c->in_flight < LISTEN_TCP_IN_FLIGHT_MAX &&
           c->out.len < UNSENT_PAUSE;
}

static void set_watcher(struct ev_loop *loop, ev_io *w, bool is_wanted)
{
    if (is_wanted) {
        ev_io_start(loop, w);
    } else {
        ev_io_stop(loop, w);
    }
}

/* The one place that arms the watchers, and that ends a connection which has nothing left to do. */
static void settle_conn(struct tcp_conn *c)
{
    if (c->fd < 0) {
        return;
    }
    if ((c->is_eof || c->is_closing) && c->in_flight == 0 && c->out.len == 0) {
        end_conn(c);
        return;
    }
    set_watcher(c->listener->worker->loop, &c->reader, wants_read(c));
    set_watcher(c->listener->worker->loop, &c->writer, c->out.len > 0);
}

static void flush_conn(struct tcp_conn *c)
{
    while (c->fd >= 0 && c->out.len > 0) {
        struct span s = buf_span(&c->out);
        ssize_t n = send(c->fd, s.data, s.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            buf_consume(&c->out, (size_t)n);
            note_activity(c);
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n < 0 && errno == EAGAIN) {
            return;
        } else {
            end_conn(c);
        }
    }
}

static struct tcp_conn *find_conn(struct listen_tcp *t, uint64_t ticket)
{
    const size_t slot = (size_t)(ticket & 0xffffffffU);
    if (slot >= LISTEN_TCP_CONNECTIONS_MAX || t->generations[slot] != ticket >> 32) {
        return NULL;
    }
    return t->slots[slot];
}

static void process_frames(struct tcp_conn *c);

static void send_stream(const struct reply *to, struct span message)
{
    struct listen_tcp *t = to->owner;
    struct tcp_conn *c = find_conn(t, to->ticket);
    if (c == NULL) {
        count_event(t, DNSD_COUNTER_UNSENT);
        return;
    }
    c->in_flight--;
    const uint8_t frame[FRAME_LEN] = {(uint8_t)(message.len >> 8), (uint8_t)(message.len & 0xff)};
    if (message.len == 0 || message.len > DNS_MESSAGE_MAX ||
        c->out.len + FRAME_LEN + message.len > LISTEN_TCP_UNSENT_MAX ||
        buf_append(&c->out, span_make(frame, sizeof(frame)), LISTEN_TCP_UNSENT_MAX) != 0 ||
        buf_append(&c->out, message, LISTEN_TCP_UNSENT_MAX) != 0) {
        /* A stream with a hole in it is worth nothing to the client. */
        count_event(t, DNSD_COUNTER_UNSENT);
        end_conn(c);
        return;
    }
    if (!c->is_busy) {
        process_frames(c); /* a question may have waited for this one's place */
        settle_conn(c);
    }
}

/* Hands one message on. A message that is no question ends the reading: what follows is no DNS either. */
static void handle_message(struct tcp_conn *c, struct span message)
{
    struct listen_tcp *t = c->listener;
    const struct reply r = {.send = send_stream,
                            .owner = t,
                            .client = c->peer,
                            .is_stream = true,
                            .ticket = ((uint64_t)t->generations[c->slot] << 32) | c->slot};
    c->in_flight++;
    if (query_handle(t->engine, message, &r) == QUERY_DROPPED && c->fd >= 0) {
        c->in_flight--;
        c->is_closing = true;
    }
}

/* Takes the next whole frame out of c->in. False if there is none. */
static bool next_frame(struct tcp_conn *c, size_t *at)
{
    const size_t have = c->in_len - *at;
    if (have < FRAME_LEN) {
        return false;
    }
    const uint8_t *p = c->in + *at;
    const size_t len = ((size_t)p[0] << 8) | p[1];
    if (len > LISTEN_TCP_MESSAGE_MAX) {
        if (have < FRAME_LEN + DNS_HEADER_LEN) {
            return false;
        }
        c->is_closing = true; /* the bare header is a FORMERR with the right ID */
        handle_message(c, span_make(p + FRAME_LEN, DNS_HEADER_LEN));
        return false;
    }
    if (have < FRAME_LEN + len) {
        return false;
    }
    *at += FRAME_LEN + len;
    handle_message(c, span_make(p + FRAME_LEN, len));
    return true;
}

static bool may_take(const struct tcp_conn *c)
{
    return c->fd >= 0 && !c->is_closing && c->in_flight < LISTEN_TCP_IN_FLIGHT_MAX &&
           c->out.len < UNSENT_PAUSE;
}

/* True if it took anything; more may be left when a limit was met. */
static bool take_frames(struct tcp_conn *c)
{
    size_t at = 0;
    bool is_any = false;
    c->is_busy = true;
    while (may_take(c) && next_frame(c, &at)) {
        is_any = true;
    }
    c->is_busy = false;
    if (c->fd >= 0) {
        c->in_len -= at;
        memmove(c->in, c->in + at, c->in_len);
        if (is_any) {
            note_activity(c);
        }
    }
    return is_any;
}

/* Takes what the limits allow and sends; sending may make room for more. The input buffer bounds the rounds.
 */
static void process_frames(struct tcp_conn *c)
{
    bool is_any = true;
    while (is_any && c->fd >= 0) {
        is_any = take_frames(c);
        flush_conn(c);
    }
}

static void on_read_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    (void)revents;
    struct tcp_conn *c = w->data;
    /* One read a wake-up: a connection that pipelines without end gets its turn, not all of them. */
    ssize_t n = recv(c->fd, c->in + c->in_len, sizeof(c->in) - c->in_len, MSG_DONTWAIT);
    if (n > 0) {
        c->in_len += (size_t)n;
        process_frames(c);
    } else if (n == 0) {
        c->is_eof = true;
    } else if (errno != EAGAIN && errno != EINTR) {
        end_conn(c);
    }
    settle_conn(c);
}

static void on_write_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    (void)revents;
    struct tcp_conn *c = w->data;
    flush_conn(c);
    process_frames(c);
    settle_conn(c);
}

static void on_conn_deadline(void *ctx, struct deadline *d, int64_t now_ms)
{
    (void)ctx;
    (void)now_ms;
    end_conn(HTAB_ENTRY(d, struct tcp_conn, deadline));
}

/* Room for one more: the connection that has been idle longest goes, if one has nothing to wait for. */
static bool make_room(struct listen_tcp *t)
{
    if (t->count < LISTEN_TCP_CONNECTIONS_MAX) {
        return true;
    }
    count_event(t, DNSD_COUNTER_TCP_EVICTED);
    for (struct tcp_conn *c = t->oldest; c != NULL; c = c->newer) {
        if (c->in_flight == 0 && c->out.len == 0) {
            end_conn(c);
            return true;
        }
    }
    return false;
}

/*
 * Left alone, the kernel takes megabytes for a client that does not read, and shows no progress of one that
 * reads slowly until a third of that has gone.
 */
static void set_options(int fd)
{
    const int bytes = LISTEN_TCP_UNSENT_MAX;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, (socklen_t)sizeof(bytes));
    sock_set_nodelay(fd);
}

static bool take_slot(struct listen_tcp *t, struct tcp_conn *c)
{
    for (uint32_t i = 0; i < LISTEN_TCP_CONNECTIONS_MAX; i++) {
        if (t->slots[i] == NULL) {
            t->generations[i]++;
            if (t->generations[i] == 0) {
                t->generations[i] = 1;
            }
            t->slots[i] = c;
            c->slot = i;
            return true;
        }
    }
    return false;
}

static void on_connection_event(void *ctx, int fd, const struct addr *peer)
{
    struct listen_tcp *t = ctx;
    struct tcp_conn *c = make_room(t) ? calloc(1, sizeof(*c)) : NULL;
    if (c == NULL || !take_slot(t, c)) {
        free(c);
        (void)close(fd);
        return;
    }
    count_event(t, DNSD_COUNTER_TCP_CONNECTIONS);
    set_options(fd);
    c->listener = t;
    c->fd = fd;
    c->peer = *peer;
    t->count++;
    list_add(t, c);
    ev_io_init(&c->reader, on_read_event, fd, EV_READ);
    c->reader.data = c;
    ev_io_init(&c->writer, on_write_event, fd, EV_WRITE);
    c->writer.data = c;
    if (deadline_arm(t->deadlines, &c->deadline, clock_mono_ms() + LISTEN_TCP_IDLE_MS) != 0) {
        end_conn(c); /* without a deadline nothing is kept */
        return;
    }
    settle_conn(c);
}

int listen_tcp_new(struct worker *w, struct query_engine *engine, int fd, struct listen_tcp **out)
{
    struct listen_tcp *t = calloc(1, sizeof(*t));
    int rc = t == NULL ? -ENOMEM : 0;
    if (rc == 0) {
        t->worker = w;
        t->engine = engine;
        rc = deadline_list_new(w->loop, on_conn_deadline, t, &t->deadlines);
    }
    if (rc == 0) {
        const struct acceptor_config cfg = {
            .loop = w->loop, .fd = fd, .on_accept = on_connection_event, .ctx = t};
        rc = acceptor_new(&cfg, &t->acceptor);
    }
    if (rc != 0) {
        (void)close(fd);
        if (t != NULL) {
            deadline_list_free(t->deadlines);
        }
        free(t);
        return rc;
    }
    *out = t;
    return 0;
}

void listen_tcp_drain(struct listen_tcp *t)
{
    acceptor_stop(t->acceptor);
    t->acceptor = NULL;
    for (struct tcp_conn *c = t->oldest; c != NULL;) {
        struct tcp_conn *next = c->newer;
        c->is_closing = true;
        settle_conn(c);
        c = next;
    }
}

void listen_tcp_free(struct listen_tcp *t)
{
    if (t == NULL) {
        return;
    }
    acceptor_stop(t->acceptor);
    while (t->oldest != NULL) {
        end_conn(t->oldest);
    }
    deadline_list_free(t->deadlines);
    free(t);
}

size_t listen_tcp_count(const struct listen_tcp *t)
{
    return t->count;
}

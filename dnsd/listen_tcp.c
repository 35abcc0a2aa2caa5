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
#define SEND_BUFFER 65536 /* the kernel's */

struct tcp_client { /* an address with connections */
    struct ip ip;
    uint32_t count; /* 0: the place is free */
};

struct tcp_conn {
    struct reap_node reap;
    struct listen_tcp *listener;
    uint32_t slot;
    int fd; /* -1 = ended */
    struct addr peer;
    struct tcp_client *client;
    int64_t born_ms;
    ev_io reader;
    ev_io writer;
    struct deadline deadline;
    struct tcp_conn *newer, *older; /* by last activity */
    size_t in_flight;
    bool is_eof;     /* the client has sent all it will */
    bool is_closing; /* nothing more is read; ends when the answers are out */
    bool is_leaving; /* ends as soon as no answer is owed; until then it is read */
    bool is_busy;    /* its bytes are being read: answers wait for the end of that */
    struct buf out;
    size_t whole_at; /* of out: the first frame of which nothing has been sent, or its end */
    size_t in_len;
    uint8_t in[FRAME_LEN + LISTEN_TCP_MESSAGE_MAX];
};

struct listen_tcp {
    struct worker *worker;
    struct query_engine *engine;
    struct listen_tcp_times times;
    struct acceptor *acceptor;
    struct deadline_list *deadlines;
    struct tcp_conn *newest, *oldest;
    size_t count;
    void (*on_empty)(void *ctx); /* while it drains, until it has been called */
    void *on_empty_ctx;
    struct tcp_client clients[LISTEN_TCP_CONNECTIONS_MAX];
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

static void say_empty(struct listen_tcp *t)
{
    void (*on_empty)(void *ctx) = t->on_empty;
    if (t->count == 0 && on_empty != NULL) {
        t->on_empty = NULL;
        on_empty(t->on_empty_ctx);
    }
}

/* The end of the frame at this place of the answers that wait. */
static size_t frame_end(struct span out, size_t at)
{
    if (out.data == NULL || at + FRAME_LEN >= out.len) {
        return out.len;
    }
    return at + FRAME_LEN + (((size_t)out.data[at] << 8) | out.data[at + 1]);
}

static void note_sent(struct tcp_conn *c, size_t sent)
{
    while (c->whole_at < sent) {
        c->whole_at = frame_end(buf_span(&c->out), c->whole_at);
    }
    c->whole_at -= sent;
    buf_consume(&c->out, sent);
}

static void count_unsent(struct tcp_conn *c)
{
    const struct span out = buf_span(&c->out);
    if (c->whole_at > 0) {
        count_event(c->listener, DNSD_COUNTER_UNSENT); /* a part of it is sent */
    }
    for (size_t at = c->whole_at; at < out.len; at = frame_end(out, at)) {
        count_event(c->listener, DNSD_COUNTER_UNSENT);
    }
}

/* The one end of a connection. Answers that come later find its ticket stale. */
static void end_conn(struct tcp_conn *c)
{
    struct listen_tcp *t = c->listener;
    if (c->fd < 0) {
        return;
    }
    count_unsent(c);
    ev_io_stop(t->worker->loop, &c->reader);
    ev_io_stop(t->worker->loop, &c->writer);
    deadline_cancel(t->deadlines, &c->deadline);
    (void)close(c->fd);
    c->fd = -1;
    list_remove(t, c);
    t->slots[c->slot] = NULL;
    t->count--;
    c->client->count--;
    buf_fini(&c->out);
    c->reap.free_fn = free_conn;
    reap_later(t->worker->reap, &c->reap);
    say_empty(t);
}

/* The next deadline. At the end of its life the connection gets the usual time to take what is under way. */
static int arm_deadline(struct tcp_conn *c, int64_t now_ms)
{
    int64_t at_ms = now_ms + c->listener->times.idle_ms;
    const int64_t end_ms = c->born_ms + c->listener->times.life_ms;
    if (!c->is_closing && at_ms > end_ms) {
        at_ms = end_ms;
    }
    return deadline_arm(c->listener->deadlines, &c->deadline, at_ms);
}

/* Something whole happened: another ten seconds. */
static void note_activity(struct tcp_conn *c)
{
    list_remove(c->listener, c);
    list_add(c->listener, c);
    (void)arm_deadline(c, clock_mono_ms());
}

/* Is there room for one question more, whatever the answers will be? */
static bool may_take(const struct tcp_conn *c)
{
    return c->fd >= 0 && !c->is_closing &&
           c->out.len + (c->in_flight + 1) * (FRAME_LEN + REPLY_MAX) <= LISTEN_TCP_UNSENT_MAX;
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
    if ((c->is_eof || c->is_closing || c->is_leaving) && c->in_flight == 0 && c->out.len == 0) {
        end_conn(c);
        return;
    }
    set_watcher(c->listener->worker->loop, &c->reader, !c->is_eof && may_take(c));
    set_watcher(c->listener->worker->loop, &c->writer, c->out.len > 0);
}

static void flush_conn(struct tcp_conn *c)
{
    while (c->fd >= 0 && c->out.len > 0) {
        struct span s = buf_span(&c->out);
        ssize_t n = send(c->fd, s.data, s.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            note_sent(c, (size_t)n);
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
    if (message.len == 0 || !CHECK(message.len <= REPLY_MAX) ||
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
    if (query_handle(t->engine, message, clock_mono_ms(), 0, &r) == QUERY_DROPPED && c->fd >= 0) {
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

/*
 * Sends, then takes what the limits allow, as long as there is any: an answer that waits to be sent takes
 * the place of a question. A whole frame that is left then waits for an answer in flight or for the socket,
 * and either comes back here. The input buffer bounds the rounds.
 */
static void process_frames(struct tcp_conn *c)
{
    do {
        flush_conn(c);
    } while (c->fd >= 0 && take_frames(c));
}

static void on_read_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    struct tcp_conn *c = w->data;
    if ((revents & EV_ERROR) != 0) {
        end_conn(c); /* epoll has refused it: nothing would be heard of it */
        return;
    }
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
    struct tcp_conn *c = w->data;
    if ((revents & EV_ERROR) != 0) {
        end_conn(c);
        return;
    }
    process_frames(c);
    settle_conn(c);
}

static void on_conn_deadline(void *ctx, struct deadline *d, int64_t now_ms)
{
    (void)ctx;
    struct tcp_conn *c = HTAB_ENTRY(d, struct tcp_conn, deadline);
    if (c->is_closing || now_ms < c->born_ms + c->listener->times.life_ms) {
        end_conn(c);
        return;
    }
    c->is_closing = true; /* the end of its life: what is in flight is still answered */
    if (arm_deadline(c, now_ms) != 0) {
        end_conn(c);
        return;
    }
    settle_conn(c);
}

/* The client's place in the table, which has one for each connection; a free one if it has none. */
static struct tcp_client *find_client(struct listen_tcp *t, const struct ip *ip)
{
    struct tcp_client *vacant = NULL;
    for (size_t i = 0; i < LISTEN_TCP_CONNECTIONS_MAX; i++) {
        struct tcp_client *c = &t->clients[i];
        if (c->count == 0) {
            vacant = vacant != NULL ? vacant : c;
        } else if (ip_is_equal(&c->ip, ip)) {
            return c;
        }
    }
    return vacant;
}

static const struct tcp_client *heaviest_client(const struct listen_tcp *t)
{
    const struct tcp_client *heaviest = &t->clients[0];
    for (size_t i = 1; i < LISTEN_TCP_CONNECTIONS_MAX; i++) {
        if (t->clients[i].count > heaviest->count) {
            heaviest = &t->clients[i];
        }
    }
    return heaviest;
}

static bool is_idle(const struct tcp_conn *c)
{
    return c->in_flight == 0 && c->out.len == 0;
}

/* The connection that was active longest ago: of the client, NULL of anybody; an idle one, or any. */
static struct tcp_conn *oldest_of(const struct listen_tcp *t, const struct tcp_client *client,
                                  bool wants_idle)
{
    struct tcp_conn *c = t->oldest;
    while (c != NULL && ((client != NULL && c->client != client) || (wants_idle && !is_idle(c)))) {
        c = c->newer;
    }
    return c;
}

/*
 * Who has to go for one more of this client (NULL: it has none). Somebody who would still hold less than
 * another gets a place of the one that holds the most, an idle one if it can be; anybody else only an idle
 * one, his own before another's.
 */
static struct tcp_conn *choose_victim(const struct listen_tcp *t, const struct tcp_client *client)
{
    const struct tcp_client *heaviest = heaviest_client(t);
    const uint32_t held = client != NULL ? client->count : 0;
    const bool has_less = held + 1 < heaviest->count;
    struct tcp_conn *c = has_less || held > 0 ? oldest_of(t, has_less ? heaviest : client, true) : NULL;
    if (c == NULL) {
        c = has_less ? oldest_of(t, heaviest, false) : oldest_of(t, NULL, true);
    }
    return c;
}

static bool make_room(struct listen_tcp *t, const struct tcp_client *client)
{
    if (t->count < LISTEN_TCP_CONNECTIONS_MAX) {
        return true;
    }
    struct tcp_conn *victim = choose_victim(t, client);
    count_event(t, DNSD_COUNTER_TCP_EVICTED);
    if (victim != NULL) {
        end_conn(victim);
    }
    return victim != NULL;
}

/*
 * Left alone, the kernel takes megabytes for a client that does not read, and shows no progress of one that
 * reads slowly until a third of that has gone.
 */
static void set_options(int fd)
{
    const int bytes = SEND_BUFFER;
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
    struct tcp_client *client = find_client(t, &peer->ip); /* NULL: all places are other clients' */
    struct tcp_conn *c = make_room(t, client) ? calloc(1, sizeof(*c)) : NULL;
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
    c->born_ms = clock_mono_ms();
    c->client = client != NULL ? client : find_client(t, &peer->ip);
    c->client->ip = peer->ip;
    c->client->count++;
    t->count++;
    list_add(t, c);
    ev_io_init(&c->reader, on_read_event, fd, EV_READ);
    c->reader.data = c;
    ev_io_init(&c->writer, on_write_event, fd, EV_WRITE);
    c->writer.data = c;
    if (arm_deadline(c, c->born_ms) != 0) {
        end_conn(c); /* without a deadline nothing is kept */
        return;
    }
    settle_conn(c);
}

const struct listen_tcp_times listen_tcp_times = {.idle_ms = 10000, .life_ms = 600000};

int listen_tcp_new(struct worker *w, struct query_engine *engine, int fd,
                   const struct listen_tcp_times *times, struct listen_tcp **out)
{
    struct listen_tcp *t = calloc(1, sizeof(*t));
    int rc = t == NULL ? -ENOMEM : 0;
    if (rc == 0) {
        t->worker = w;
        t->engine = engine;
        t->times = *times;
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

void listen_tcp_drain(struct listen_tcp *t, void (*on_empty)(void *ctx), void *ctx)
{
    acceptor_stop(t->acceptor);
    t->acceptor = NULL;
    for (struct tcp_conn *c = t->oldest; c != NULL;) {
        struct tcp_conn *next = c->newer;
        c->is_leaving = true;
        settle_conn(c);
        c = next;
    }
    t->on_empty = on_empty;
    t->on_empty_ctx = ctx;
    say_empty(t);
}

void listen_tcp_free(struct listen_tcp *t)
{
    if (t == NULL) {
        return;
    }
    acceptor_stop(t->acceptor);
    t->on_empty = NULL;
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

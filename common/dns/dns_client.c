/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_client.h"

#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/net/deadline.h"
#include "common/net/sock.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define READS_PER_WAKE 32
#define TCP_LENGTH_LEN 2

/* The socket of one slot of the exchange. */
struct leg {
    struct dns_call *call;
    size_t slot;
    int fd; /* -1 = none */
    ev_io io;
    bool tcp;
    bool is_connected; /* TCP */
    struct buf tx;     /* TCP: what is still to be sent */
    struct buf rx;     /* TCP: at most one message with its length */
};

struct dns_call {
    struct dns_client *client;
    struct dns_call *prev, *next;
    struct deadline deadline; /* when the exchange wants to be looked at again */
    dns_client_event_fn *fn;  /* NULL once called */
    void *ctx;
    struct dns_exchange exchange;
    struct leg legs[DNS_EXCHANGE_SLOTS];
};

struct dns_client {
    struct ev_loop *loop;
    struct deadline_list *deadlines;
    struct dns_exchange_env env;
    struct dns_call *calls;
    struct dns_entropy entropy;
    struct dns_action action;    /* scratch of pump() */
    uint8_t rx[DNS_MESSAGE_MAX]; /* scratch of one recv() */
};

/* A watcher is stopped before its descriptor goes, always here: libev aborts otherwise. */
static void close_leg(struct leg *leg)
{
    if (leg->fd >= 0) {
        ev_io_stop(leg->call->client->loop, &leg->io);
        (void)close(leg->fd);
        leg->fd = -1;
    }
    buf_fini(&leg->tx);
    buf_fini(&leg->rx);
}

static void free_call(struct dns_call *call)
{
    struct dns_client *c = call->client;
    for (size_t i = 0; i < DNS_EXCHANGE_SLOTS; i++) {
        close_leg(&call->legs[i]);
    }
    deadline_cancel(c->deadlines, &call->deadline);
    if (call->prev != NULL) {
        call->prev->next = call->next;
    } else {
        c->calls = call->next;
    }
    if (call->next != NULL) {
        call->next->prev = call->prev;
    }
    free(call);
}

static void watch_leg(struct leg *leg, int events)
{
    struct ev_loop *loop = leg->call->client->loop;
    ev_io_stop(loop, &leg->io);
    ev_io_set(&leg->io, leg->fd, events);
    ev_io_start(loop, &leg->io);
}

static bool is_local_error(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

static void fail_leg(struct leg *leg, int error)
{
    dns_exchange_io_failed(&leg->call->exchange, leg->slot, is_local_error(error), clock_mono_ms());
}

static int open_udp(struct leg *leg, const struct dns_action *act)
{
    int fd = sock_connect_udp(&act->to);
    if (fd < 0) {
        return fd;
    }
    leg->fd = fd;
    watch_leg(leg, EV_READ);
    /* What the kernel has no room for now is as good as lost on the way: the schedule sends again. */
    if (send(fd, act->msg, act->msg_len, MSG_NOSIGNAL) < 0 && errno != EAGAIN && errno != ENOBUFS) {
        return -errno;
    }
    return 0;
}

static int open_tcp(struct leg *leg, const struct dns_action *act)
{
    uint8_t length[TCP_LENGTH_LEN] = {(uint8_t)(act->msg_len >> 8), (uint8_t)(act->msg_len & 0xff)};
    size_t limit = TCP_LENGTH_LEN + act->msg_len;
    int rc = buf_append(&leg->tx, span_make(length, sizeof(length)), limit);
    if (rc == 0) {
        rc = buf_append(&leg->tx, span_make(act->msg, act->msg_len), limit);
    }
    int fd = rc == 0 ? sock_connect_tcp(&act->to) : rc;
    if (fd < 0) {
        return fd;
    }
    leg->fd = fd;
    leg->is_connected = false;
    watch_leg(leg, EV_WRITE);
    return 0;
}

static void open_leg(struct dns_call *call, const struct dns_action *act)
{
    struct leg *leg = &call->legs[act->slot];
    leg->tcp = act->tcp;
    int rc = act->tcp ? open_tcp(leg, act) : open_udp(leg, act);
    if (rc != 0) {
        fail_leg(leg, -rc);
    }
}

static void answer(struct dns_call *call, const struct dns_exchange_result *result)
{
    dns_client_event_fn *fn = call->fn;
    call->fn = NULL;
    if (fn != NULL) {
        fn(call->ctx, result);
    }
}

/* Does what the exchange wants until it waits. The call may be gone afterwards. */
static void pump(struct dns_call *call)
{
    struct dns_client *c = call->client;
    struct dns_action *act = &c->action;
    int64_t now_ms = clock_mono_ms();
    for (;;) {
        dns_exchange_next(&call->exchange, now_ms, &c->entropy, act);
        switch (act->kind) {
        case DNS_ACTION_OPEN:
            rng_bytes(&c->entropy, sizeof(c->entropy));
            open_leg(call, act);
            break;
        case DNS_ACTION_CLOSE:
            close_leg(&call->legs[act->slot]);
            break;
        case DNS_ACTION_ANSWER:
            answer(call, &call->exchange.result);
            break;
        case DNS_ACTION_WAIT:
            if (deadline_arm(c->deadlines, &call->deadline, act->until_ms) != 0) {
                struct dns_exchange_result failed = {.why = DNS_EXCHANGE_FAIL_MEMORY};
                answer(call, &failed);
                free_call(call); /* nothing may wait without a deadline */
            }
            return;
        case DNS_ACTION_END:
            free_call(call);
            return;
        }
    }
}

static void on_deadline_event(void *ctx, struct deadline *d, int64_t now_ms)
{
    (void)ctx;
    (void)now_ms;
    pump((struct dns_call *)(void *)((char *)d - offsetof(struct dns_call, deadline)));
}

static void read_udp(struct leg *leg)
{
    struct dns_client *c = leg->call->client;
    for (int i = 0; i < READS_PER_WAKE; i++) {
        ssize_t n = recv(leg->fd, c->rx, sizeof(c->rx), 0);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                fail_leg(leg, errno);
            }
            return;
        }
        struct span msg = span_make(c->rx, (size_t)n);
        if (dns_exchange_reply(&leg->call->exchange, leg->slot, msg, clock_mono_ms())) {
            return;
        }
    }
}

static void write_tcp(struct leg *leg)
{
    if (!leg->is_connected) {
        int rc = sock_connect_result(leg->fd);
        if (rc != 0) {
            fail_leg(leg, -rc);
            return;
        }
        leg->is_connected = true;
    }
    struct span left = buf_span(&leg->tx);
    ssize_t n = send(leg->fd, left.data, left.len, MSG_NOSIGNAL);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            fail_leg(leg, errno);
        }
        return;
    }
    buf_consume(&leg->tx, (size_t)n);
    if (leg->tx.len == 0) {
        watch_leg(leg, EV_READ);
    }
}

/* How many bytes the message that is being read still lacks; 0 = it is whole. */
static size_t missing_bytes(const struct buf *rx)
{
    struct span have = buf_span(rx);
    if (have.data == NULL || have.len < TCP_LENGTH_LEN) {
        return TCP_LENGTH_LEN - have.len;
    }
    size_t whole = TCP_LENGTH_LEN + ((size_t)have.data[0] << 8 | have.data[1]);
    return whole - have.len;
}

static void read_tcp(struct leg *leg)
{
    struct dns_client *c = leg->call->client;
    for (int i = 0; i < READS_PER_WAKE; i++) {
        ssize_t n = recv(leg->fd, c->rx, missing_bytes(&leg->rx), 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        int rc = n < 0 ? -errno : -ECONNRESET; /* end of file in the middle */
        if (n > 0) {
            rc = buf_append(&leg->rx, span_make(c->rx, (size_t)n), TCP_LENGTH_LEN + DNS_MESSAGE_MAX);
        }
        if (rc != 0) {
            fail_leg(leg, -rc);
            return;
        }
        struct span have = buf_span(&leg->rx);
        if (have.len < TCP_LENGTH_LEN || missing_bytes(&leg->rx) > 0) {
            continue;
        }
        struct span msg = span_sub(have, TCP_LENGTH_LEN, have.len - TCP_LENGTH_LEN);
        if (dns_exchange_reply(&leg->call->exchange, leg->slot, msg, clock_mono_ms())) {
            return;
        }
        buf_consume(&leg->rx, have.len);
    }
}

static void on_leg_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    struct leg *leg = w->data;
    if (!leg->tcp) {
        read_udp(leg);
    } else if ((revents & EV_WRITE) != 0) {
        write_tcp(leg);
    } else {
        read_tcp(leg);
    }
    pump(leg->call);
}

int dns_client_new(struct ev_loop *loop, const struct dns_client_config *cfg, struct dns_client **out,
                   struct err *err)
{
    struct dns_client *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    c->loop = loop;
    c->env.attempt_ms = cfg->attempt_ms;
    c->env.total_ms = cfg->total_ms;
    rng_bytes(&c->entropy, sizeof(c->entropy));
    int rc = upstream_set_init(&c->env.upstreams, cfg->upstreams, cfg->upstream_count, err);
    if (rc == 0) {
        rc = deadline_list_new(loop, on_deadline_event, c, &c->deadlines);
        if (rc != 0) {
            err_set(err, "out of memory");
        }
    }
    if (rc != 0) {
        free(c);
        return rc;
    }
    *out = c;
    return 0;
}

void dns_client_free(struct dns_client *c)
{
    if (c == NULL) {
        return;
    }
    while (c->calls != NULL) {
        free_call(c->calls);
    }
    deadline_list_free(c->deadlines);
    free(c);
}

struct dns_call *dns_client_start(struct dns_client *c, const struct host_name *name, uint16_t qtype,
                                  dns_client_event_fn *fn, void *ctx)
{
    struct dns_call *call = calloc(1, sizeof(*call));
    if (call == NULL) {
        return NULL;
    }
    int64_t now_ms = clock_mono_ms();
    call->client = c;
    call->fn = fn;
    call->ctx = ctx;
    for (size_t i = 0; i < DNS_EXCHANGE_SLOTS; i++) {
        struct leg *leg = &call->legs[i];
        leg->call = call;
        leg->slot = i;
        leg->fd = -1;
        ev_io_init(&leg->io, on_leg_event, -1, EV_READ);
        leg->io.data = leg;
    }
    dns_exchange_start(&call->exchange, &c->env, name, qtype, now_ms);
    /* Due at once, but in a turn of the loop of its own: a failure to send must not call back from in here.
     */
    if (deadline_arm(c->deadlines, &call->deadline, now_ms) != 0) {
        free(call);
        return NULL;
    }
    call->next = c->calls;
    if (c->calls != NULL) {
        c->calls->prev = call;
    }
    c->calls = call;
    return call;
}

int dns_client_set_upstreams(struct dns_client *c, const struct addr *upstreams, size_t count,
                             struct err *err)
{
    uint8_t moved[UPSTREAM_MAX];
    int rc = upstream_set_replace(&c->env.upstreams, upstreams, count, moved, err);
    if (rc != 0) {
        return rc;
    }
    int64_t now_ms = clock_mono_ms();
    for (struct dns_call *call = c->calls; call != NULL; call = call->next) {
        dns_exchange_upstreams_moved(&call->exchange, moved);
        /* In a turn of the loop of its own, which may call back. It is armed already, so this takes no
         * memory. */
        (void)CHECK(deadline_arm(c->deadlines, &call->deadline, now_ms) == 0);
    }
    return 0;
}

void dns_client_cancel(struct dns_call *call)
{
    if (call != NULL) {
        free_call(call);
    }
}

const struct dns_exchange_stats *dns_client_stats(const struct dns_client *c)
{
    return &c->env.stats;
}

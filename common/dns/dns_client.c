/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_client_priv.h"

#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/dns/dns_client_errors.h"
#include "common/dns/dns_rrset.h"
#include "common/dns/upstream_watch.h"

#include <errno.h>
#include <stdlib.h>

#define READS_PER_WAKE 32
#ifdef __SANITIZE_ADDRESS__
#define POOL_MAX 0 /* a call that is used after its end has to be seen */
#else
#define POOL_MAX 256 /* calls kept for the next questions */
#endif
#define SOCKETS_MAX 256 /* kept for the next questions */
#define STREAM_CONNECT_MS 3000
#define STREAM_STALL_MS 500
#define STREAM_IDLE_MS 10000 /* RFC 7766 6.2.3: a few seconds */

static void list_add(struct call_list *l, struct dns_call *call)
{
    call->prev = l->last;
    call->next = NULL;
    if (l->last != NULL) {
        l->last->next = call;
    } else {
        l->first = call;
    }
    l->last = call;
    l->count++;
}

static void list_remove(struct call_list *l, struct dns_call *call)
{
    if (call->prev != NULL) {
        call->prev->next = call->next;
    } else {
        l->first = call->next;
    }
    if (call->next != NULL) {
        call->next->prev = call->prev;
    } else {
        l->last = call->prev;
    }
    l->count--;
}

void dns_client_close_leg(struct leg *leg)
{
    udp_burst_drop(&leg->unsent);
    if (leg->udp != NULL || leg->query != NULL) {
        udp_pool_give(leg->udp, leg->is_answered);
        leg->udp = NULL;
        dns_stream_cancel(leg->query);
        leg->query = NULL;
    }
}

static void free_call(struct dns_call *call)
{
    struct dns_client *c = call->client;
    for (size_t i = 0; i < call->leg_count; i++) {
        dns_client_close_leg(&call->legs[i]);
    }
    deadline_cancel(c->deadlines, &call->deadline);
    list_remove(call->is_fresh ? &c->fresh : &c->calls, call);
    if (c->calls.first == NULL) {
        busy_poll_stop(&c->busy_poll);
    }
    free(call->records);
    call->records = NULL;
    if (c->pool_count == POOL_MAX) {
        free(call);
        return;
    }
    call->next = c->pool;
    c->pool = call;
    c->pool_count++;
}

/* One of the pool, or a new one. Its legs are good for every use: they are left closed. */
static struct dns_call *new_call(struct dns_client *c)
{
    struct dns_call *call = c->pool;
    if (call != NULL) {
        c->pool = call->next;
        c->pool_count--;
        return call;
    }
    call = calloc(1, sizeof(*call));
    if (call == NULL) {
        return NULL;
    }
    call->client = c;
    for (size_t i = 0; i < DNS_EXCHANGE_SLOTS; i++) {
        struct leg *leg = &call->legs[i];
        leg->call = call;
        leg->slot = i;
    }
    return call;
}

static void fail_leg(struct leg *leg, int error)
{
    dns_exchange_fail_reason(&leg->call->exchange, leg->slot, dns_client_error_why(error));
    dns_exchange_io_failed(&leg->call->exchange, leg->slot, dns_client_error_is_local(error),
                           clock_mono_ms());
}

static void on_leg_readable(void *ctx, int fd);

static void pump(struct dns_call *call, int64_t now_ms);

static void on_unsent_event(void *ctx, int error)
{
    struct leg *leg = ctx;
    fail_leg(leg, error);
    pump(leg->call, clock_mono_ms());
}

/* All sockets are connected, now all questions are sent. What is asked again meanwhile goes out at once. */
static void send_collected(struct dns_client *c)
{
    c->is_collecting = false;
    udp_burst_send(&c->burst, on_unsent_event);
}

/* The ID of a message, as the tag of a socket: never 0 for a whole one. */
static uint32_t tag_of(struct span msg)
{
    return msg.len >= 2 ? 0x10000U | (uint32_t)msg.data[0] << 8 | msg.data[1] : 0;
}

static int open_udp(struct leg *leg, const struct dns_action *act)
{
    int rc = udp_pool_take(leg->call->client->sockets, &act->to, on_leg_readable, leg, &leg->udp);
    if (rc != 0) {
        return rc;
    }
    leg->is_answered = false;
    struct dns_client *c = leg->call->client;
    const int fd = udp_socket_fd(leg->udp);
    const struct span msg = span_make(act->msg, act->msg_len);
    leg->udp_tag = tag_of(msg);
    leg->udp_former_tag = udp_socket_tag(leg->udp);
    udp_socket_set_tag(leg->udp, leg->udp_tag);
    bool is_collected = c->is_collecting && udp_burst_add(&c->burst, fd, msg, leg, &leg->unsent);
    return is_collected ? 0 : udp_burst_send_one(fd, msg);
}

/* Of a leg's question on a connection. The call may be gone afterwards. */
static bool on_stream_event(void *ctx, struct span msg, int error)
{
    struct leg *leg = ctx;
    bool is_over = true;
    const int64_t now_ms = clock_mono_ms();
    if (error != 0) {
        fail_leg(leg, -error);
    } else {
        is_over = dns_exchange_reply(&leg->call->exchange, leg->slot, msg, now_ms);
    }
    if (is_over) {
        leg->query = NULL; /* the stream frees it */
    }
    pump(leg->call, now_ms);
    return is_over;
}

/* A socket that is kept for a later question gives way to a connection that is wanted now. */
static bool free_descriptors(void *ctx)
{
    const struct dns_client *c = ctx;
    return udp_pool_close_unused(c->sockets) > 0;
}

/* The connections to an upstream; NULL: out of memory. */
static struct dns_streams *get_streams(struct dns_client *c, size_t upstream)
{
    if (c->streams[upstream] == NULL) {
        const struct dns_stream_config cfg = {.to = c->env.upstreams.list[upstream].addr,
                                              .transport = c->transports[upstream],
                                              .connect_ms = STREAM_CONNECT_MS,
                                              .idle_ms = STREAM_IDLE_MS,
                                              .stall_ms = STREAM_STALL_MS,
                                              .free_descriptors = free_descriptors,
                                              .ctx = c};
        if (dns_streams_new(c->loop, &cfg, &c->streams[upstream]) != 0) {
            return NULL;
        }
    }
    return c->streams[upstream];
}

static struct dns_streams *on_watch_streams(void *ctx, size_t upstream)
{
    return get_streams(ctx, upstream);
}

/* Does the call wait for a connection to the upstream already? Then it keeps its place, and this is asked
 * there. */
static bool take_waiting(struct leg *leg, struct span msg)
{
    struct dns_call *call = leg->call;
    for (size_t i = 0; i < call->leg_count; i++) {
        struct leg *former = &call->legs[i];
        if (former->query != NULL && former->upstream == leg->upstream &&
            dns_stream_renew(former->query, msg, leg)) {
            leg->query = former->query;
            former->query = NULL;
            return true;
        }
    }
    return false;
}

static int open_stream(struct leg *leg, const struct dns_action *act)
{
    const struct span msg = span_make(act->msg, act->msg_len);
    if (take_waiting(leg, msg)) {
        return 0;
    }
    struct dns_streams *streams = get_streams(leg->call->client, act->upstream);
    return streams == NULL ? -ENOMEM : dns_streams_ask(streams, msg, on_stream_event, leg, &leg->query);
}

static void open_leg(struct dns_call *call, const struct dns_action *act)
{
    struct leg *leg = &call->legs[act->slot];
    leg->upstream = act->upstream;
    call->leg_count = act->slot < call->leg_count ? call->leg_count : act->slot + 1;
    /* Whatever the exchange thinks: nothing for an upstream with a transport goes in another way. */
    bool is_stream = act->tcp || call->client->transports[act->upstream].ops != NULL;
    int rc = is_stream ? open_stream(leg, act) : open_udp(leg, act);
    if ((rc == -EMFILE || rc == -ENFILE) && !is_stream && free_descriptors(call->client)) {
        rc = open_udp(leg, act);
    }
    if (rc != 0) {
        fail_leg(leg, -rc);
    }
}

static void answer(struct dns_call *call, const struct dns_exchange_result *result, int64_t now_ms)
{
    dns_client_event_fn *fn = call->fn;
    call->fn = NULL;
    busy_poll_hit(&call->client->busy_poll);
    if (fn != NULL) {
        fn(call->ctx, result, now_ms);
    }
}

/* The exchange has nothing to do for now. */
static void note_pause(struct dns_client *c, int64_t now_ms)
{
    dns_client_counters_say(&c->counters, &c->env.stats);
    if (c->env.has_health_news) {
        c->env.has_health_news = false;
        if (c->watch != NULL) {
            upstream_watch_health(c->watch, now_ms);
        }
    }
}

/* Does what the exchange wants until it waits. The call may be gone afterwards. */
static void pump(struct dns_call *call, int64_t now_ms)
{
    struct dns_client *c = call->client;
    struct dns_action *act = &c->action;
    for (;;) {
        if (c->entropy_at == ENTROPY_COUNT) {
            rng_bytes(c->entropy, sizeof(c->entropy));
            c->entropy_at = 0;
        }
        dns_exchange_next(&call->exchange, now_ms, &c->entropy[c->entropy_at], act);
        switch (act->kind) {
        case DNS_ACTION_OPEN:
            c->entropy_at++;
            open_leg(call, act);
            break;
        case DNS_ACTION_CLOSE:
            dns_client_close_leg(&call->legs[act->slot]);
            break;
        case DNS_ACTION_ANSWER:
            answer(call, &call->exchange.result, now_ms);
            break;
        case DNS_ACTION_WAIT:
            note_pause(c, now_ms);
            if (deadline_arm(c->deadlines, &call->deadline, act->until_ms) != 0) {
                struct dns_exchange_result failed = {.why = DNS_EXCHANGE_FAIL_MEMORY};
                answer(call, &failed, now_ms);
                free_call(call); /* nothing may wait without a deadline */
            }
            return;
        case DNS_ACTION_END:
            note_pause(c, now_ms);
            free_call(call);
            return;
        }
    }
}

static void on_deadline_event(void *ctx, struct deadline *d, int64_t now_ms)
{
    (void)ctx;
    pump((struct dns_call *)(void *)((char *)d - offsetof(struct dns_call, deadline)), now_ms);
}

/*
 * A second reply to the question that the socket carried before lay in it already when it was connected anew:
 * the network, or a server, sends things twice. It is late, not forged.
 */
static bool is_late(const struct leg *leg, struct span msg)
{
    const uint32_t tag = tag_of(msg);
    return tag != 0 && tag == leg->udp_former_tag && tag != leg->udp_tag;
}

static void read_udp(struct leg *leg, int fd, int64_t now_ms)
{
    struct dns_client *c = leg->call->client;
    for (int i = 0; i < READS_PER_WAKE; i++) {
        ssize_t n = recv(fd, c->rx, sizeof(c->rx), 0);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                fail_leg(leg, errno);
            }
            return;
        }
        struct span msg = span_make(c->rx, (size_t)n);
        if (is_late(leg, msg)) {
            continue;
        }
        if (dns_exchange_reply(&leg->call->exchange, leg->slot, msg, now_ms)) {
            leg->is_answered = true;
            return;
        }
        if (c->watch != NULL) {
            upstream_watch_forged(c->watch, leg->upstream, now_ms);
        }
    }
}

static void on_leg_readable(void *ctx, int fd)
{
    struct leg *leg = ctx;
    const int64_t now_ms = clock_mono_ms();
    if (fd < 0) {
        fail_leg(leg, -fd);
    } else {
        read_udp(leg, fd, now_ms);
    }
    pump(leg->call, now_ms);
}

/*
 * Sends what was started in this turn of the loop, before it sleeps. Not from dns_client_start() itself: a
 * failure to send must not call back from in there. What a call back starts now waits for the next turn.
 */
static void on_prepare_event(struct ev_loop *loop, ev_prepare *w, int revents)
{
    (void)revents;
    struct dns_client *c = w->data;
    const int64_t now_ms = clock_mono_ms();
    c->fresh_ms = now_ms;
    for (size_t budget = c->fresh.count; budget > 0 && c->fresh.first != NULL; budget--) {
        struct dns_call *call = c->fresh.first;
        if (c->burst.count == UDP_BURST_MAX) {
            send_collected(c);
        }
        c->is_collecting = true;
        list_remove(&c->fresh, call);
        list_add(&c->calls, call);
        call->is_fresh = false;
        pump(call, now_ms);
    }
    send_collected(c);
    udp_pool_prepare(c->sockets);
    if (c->fresh.first == NULL) {
        ev_prepare_stop(loop, &c->prepare);
        ev_idle_stop(loop, &c->idle);
    }
    if (c->calls.count == 1 && c->fresh.first == NULL) {
        busy_poll_start(&c->busy_poll);
    }
}

static void on_idle_event(struct ev_loop *loop, ev_idle *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents; /* that it is active is all it is for */
}

static int start_helpers(struct dns_client *c, const struct dns_client_config *cfg)
{
    int rc = deadline_list_new(c->loop, on_deadline_event, c, &c->deadlines);
    if (rc == 0) {
        rc = udp_pool_new(c->loop, SOCKETS_MAX, &c->sockets);
    }
    if (rc == 0 && cfg->watches) {
        const struct upstream_watch_config watch = {.set = &c->env.upstreams,
                                                    .own = cfg->marker,
                                                    .news = cfg->news,
                                                    .streams = on_watch_streams,
                                                    .ctx = c};
        rc = upstream_watch_new(c->loop, &watch, &c->watch);
    }
    return rc;
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
    c->env.hedge_credit = DNS_EXCHANGE_HEDGE_CREDIT_MAX / 2;
    c->entropy_at = ENTROPY_COUNT;
    c->counters = (struct dns_client_counters){.metrics = cfg->metrics, .first = cfg->metrics_first};
    ev_prepare_init(&c->prepare, on_prepare_event);
    c->prepare.data = c;
    ev_idle_init(&c->idle, on_idle_event);
    busy_poll_init(&c->busy_poll, loop);
    if (cfg->transports != NULL && cfg->upstream_count <= UPSTREAM_MAX) {
        memcpy(c->transports, cfg->transports, cfg->upstream_count * sizeof(c->transports[0]));
    }
    int rc = upstream_set_init(&c->env.upstreams, cfg->upstreams, cfg->upstream_count, err);
    for (size_t i = 0; rc == 0 && i < cfg->upstream_count; i++) {
        c->env.upstreams.list[i].is_stream_only = c->transports[i].ops != NULL;
        c->env.upstreams.list[i].is_private = c->transports[i].is_private;
    }
    if (rc == 0) {
        rc = start_helpers(c, cfg);
        if (rc != 0) {
            err_set(err, "out of memory");
        }
    }
    if (rc != 0) {
        dns_client_free(c);
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
    while (c->fresh.first != NULL) {
        free_call(c->fresh.first);
    }
    while (c->calls.first != NULL) {
        free_call(c->calls.first);
    }
    while (c->pool != NULL) {
        struct dns_call *call = c->pool;
        c->pool = call->next;
        free(call);
    }
    upstream_watch_free(c->watch);
    for (size_t i = 0; i < UPSTREAM_MAX; i++) {
        dns_streams_free(c->streams[i]);
    }
    ev_prepare_stop(c->loop, &c->prepare);
    ev_idle_stop(c->loop, &c->idle);
    busy_poll_stop(&c->busy_poll);
    deadline_list_free(c->deadlines);
    udp_pool_free(c->sockets);
    free(c);
}

struct dns_call *dns_client_start(struct dns_client *c, const struct host_name *name, uint16_t qtype,
                                  dns_client_event_fn *fn, void *ctx)
{
    struct dns_rrset *records = NULL;
    if (dns_rrset_is_type(qtype)) {
        records = malloc(sizeof(*records));
        if (records == NULL) {
            return NULL;
        }
    }
    struct dns_call *call = new_call(c);
    if (call == NULL) {
        free(records);
        return NULL;
    }
    call->records = records;
    call->fn = fn;
    call->ctx = ctx;
    call->is_fresh = true;
    call->leg_count = 0;
    if (c->fresh.first == NULL) {
        c->fresh_ms = clock_mono_ms();
        ev_prepare_start(c->loop, &c->prepare);
        ev_idle_start(c->loop, &c->idle);
    }
    dns_exchange_start(&call->exchange, &c->env, name, qtype, c->fresh_ms);
    call->exchange.result.records = records;
    list_add(&c->fresh, call);
    return call;
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

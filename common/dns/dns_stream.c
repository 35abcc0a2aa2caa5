/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_stream_priv.h"

#include "common/base/clock.h"

#include <errno.h>
#include <stdlib.h>

#define HEADER_LEN 12

static int ask_on_fresh(struct dns_streams *s, struct dns_stream_query *q);

/*
 * The end of a connection. Each question on it fails, or is asked again if the server may have closed without
 * having seen it. Frees c. Call backs may ask and cancel: the list is looked at afresh each time.
 */
void dns_stream_conn_end(struct dns_stream_conn *c, int error)
{
    struct dns_streams *s = c->owner;
    bool was_open = c->state == DNS_STREAM_OPEN;
    bool was_closed = error == -ECONNRESET || error == -EPIPE;
    if (was_open && was_closed && c->answered == 1 && c->open_count > 0) {
        s->is_single = true; /* until a connection answers a second question */
    }
    dns_stream_conn_close(c);
    struct dns_stream_query *q;
    while ((q = dns_stream_conn_pop(c)) != NULL) {
        int rc = error;
        if (was_open && q->was_behind && !q->is_retry) {
            q->is_retry = true;
            s->stats.retried++;
            rc = ask_on_fresh(s, q);
        }
        if (rc != 0) {
            (void)q->fn(q->ctx, (struct span){0}, rc);
            free(q);
        }
    }
    free(c);
}

static void on_deadline_event(void *ctx, struct deadline *d, int64_t now_ms)
{
    struct dns_streams *s = ctx;
    struct dns_stream_conn *c =
        (struct dns_stream_conn *)(void *)((char *)d - offsetof(struct dns_stream_conn, deadline));
    int64_t due_ms = c->active_ms + s->cfg.idle_ms;
    if (c->state == DNS_STREAM_OPEN && now_ms < due_ms && deadline_arm(s->deadlines, d, due_ms) == 0) {
        return;
    }
    dns_stream_conn_end(c, -ETIMEDOUT);
}

static size_t conns_max(const struct dns_streams *s)
{
    return s->is_single ? DNS_STREAM_SINGLE_CONNS_MAX : DNS_STREAM_CONNS_MAX;
}

/* One that ends takes no place. */
static bool may_open(const struct dns_streams *s)
{
    return s->conn_count - s->ending_count < conns_max(s);
}

static bool takes_more(const struct dns_streams *s, const struct dns_stream_conn *c)
{
    return c->error == 0 && c->open_count < (s->is_single ? 1 : DNS_STREAM_PIPELINE_MAX);
}

static int64_t silent_ms(const struct dns_streams *s, const struct dns_stream_conn *c, int64_t now_ms)
{
    return c->unheard_ms != 0 && s->cfg.stall_ms > 0 ? now_ms - c->unheard_ms : 0;
}

/* One that stands and went dead. A handshake may be slow, it has a deadline of its own. */
static void give_up_dead(struct dns_streams *s, int64_t now_ms)
{
    for (struct dns_stream_conn *c = s->conns; c != NULL; c = c->next) {
        if (c->state == DNS_STREAM_OPEN && silent_ms(s, c, now_ms) > 4 * s->cfg.stall_ms) {
            dns_stream_conn_end_later(c, -ETIMEDOUT);
        }
    }
}

/* The connection with the fewest open questions that takes one more, or NULL: a new one is wanted. */
static struct dns_stream_conn *pick_conn(struct dns_streams *s, int64_t now_ms)
{
    struct dns_stream_conn *best = NULL;
    give_up_dead(s, now_ms);
    for (struct dns_stream_conn *c = s->conns; c != NULL; c = c->next) {
        bool is_stalled = silent_ms(s, c, now_ms) > s->cfg.stall_ms;
        bool is_last_choice = is_stalled || c->open_count >= DNS_STREAM_BUSY;
        if (!takes_more(s, c) || (may_open(s) && is_last_choice)) {
            continue;
        }
        if (best == NULL || c->open_count < best->open_count) {
            best = c;
        }
    }
    return best;
}

/* What has been on a connection that died goes on one that is being made, or a new one. */
static int ask_on_fresh(struct dns_streams *s, struct dns_stream_query *q)
{
    struct dns_stream_conn *c = NULL;
    for (struct dns_stream_conn *at = s->conns; at != NULL && c == NULL; at = at->next) {
        if (at->state != DNS_STREAM_OPEN && takes_more(s, at)) {
            c = at; /* it is as fresh as can be */
        }
    }
    int rc = 0;
    if (c == NULL) {
        rc = may_open(s) ? dns_stream_conn_new(s, &c) : -ENOBUFS;
    }
    return rc == 0 ? dns_stream_conn_put(c, q) : rc;
}

int dns_streams_ask(struct dns_streams *s, struct span msg, dns_stream_event_fn *fn, void *ctx,
                    struct dns_stream_query **out)
{
    if (msg.len < HEADER_LEN || msg.len > DNS_STREAM_QUERY_MAX) {
        return -EINVAL;
    }
    struct dns_stream_query *q = malloc(sizeof(*q));
    if (q == NULL) {
        return -ENOMEM;
    }
    q->fn = fn;
    q->ctx = ctx;
    q->caller_id = (uint16_t)(msg.data[0] << 8 | msg.data[1]);
    q->is_retry = false;
    q->msg_len = msg.len;
    memcpy(q->msg, msg.data, msg.len);
    struct dns_stream_conn *c = pick_conn(s, clock_mono_ms());
    int rc = 0;
    if (c == NULL) {
        rc = may_open(s) ? dns_stream_conn_new(s, &c) : -ENOBUFS;
    }
    if (rc == 0) {
        rc = dns_stream_conn_put(c, q);
    }
    if (rc != 0) {
        free(q);
        return rc;
    }
    *out = q;
    return 0;
}

void dns_stream_cancel(struct dns_stream_query *q)
{
    if (q == NULL) {
        return;
    }
    dns_stream_conn_unlink(q);
    free(q);
}

int dns_streams_new(struct ev_loop *loop, const struct dns_stream_config *cfg, struct dns_streams **out)
{
    struct dns_streams *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return -ENOMEM;
    }
    s->loop = loop;
    s->cfg = *cfg;
    if (cfg->transport.ops == NULL) {
        s->cfg.transport.ops = &dns_stream_plain;
    }
    int rc = deadline_list_new(loop, on_deadline_event, s, &s->deadlines);
    if (rc != 0) {
        free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void dns_streams_free(struct dns_streams *s)
{
    if (s == NULL) {
        return;
    }
    struct dns_stream_conn *next;
    for (struct dns_stream_conn *c = s->conns; c != NULL; c = next) {
        next = c->next;
        struct dns_stream_query *q;
        while ((q = dns_stream_conn_pop(c)) != NULL) {
            free(q);
        }
        dns_stream_conn_close(c);
        free(c);
    }
    deadline_list_free(s->deadlines);
    free(s);
}

const struct dns_stream_stats *dns_streams_stats(const struct dns_streams *s)
{
    return &s->stats;
}

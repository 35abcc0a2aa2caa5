/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_stream_priv.h"

#include "common/base/clock.h"

#include <errno.h>
#include <stdlib.h>

#define HEADER_LEN 12

static size_t conns_max(const struct dns_streams *s)
{
    return s->is_single ? DNS_STREAM_SINGLE_CONNS_MAX : DNS_STREAM_CONNS_MAX;
}

/* One that ends takes no place. */
static bool may_open(const struct dns_streams *s)
{
    return s->conn_count - s->ending_count < conns_max(s);
}

/* What has been on one that died gets a new one, also where more than DNS_STREAM_CONNS_MAX are left of a time
 * when the server took one question each: those may have died with it. */
static bool may_open_for(const struct dns_streams *s, const struct dns_stream_query *q)
{
    return may_open(s) || (q->is_retry && s->conn_count - s->ending_count < DNS_STREAM_SINGLE_CONNS_MAX);
}

static bool takes_more(const struct dns_streams *s, const struct dns_stream_conn *c)
{
    const size_t max = s->is_single ? 1 : DNS_STREAM_PIPELINE_MAX;
    return c->error == 0 && c->open.count < max && dns_stream_conn_has_room(c);
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

static bool is_stalled(const struct dns_streams *s, const struct dns_stream_conn *c, int64_t now_ms)
{
    return silent_ms(s, c, now_ms) > s->cfg.stall_ms;
}

/* The connection with the fewest open questions that takes one more, or NULL: a new one is wanted. */
static struct dns_stream_conn *pick_conn(struct dns_streams *s, int64_t now_ms)
{
    struct dns_stream_conn *best = NULL;
    for (struct dns_stream_conn *c = s->conns; c != NULL; c = c->next) {
        bool is_last_choice = is_stalled(s, c, now_ms) || c->open.count >= DNS_STREAM_BUSY;
        if (!takes_more(s, c) || (may_open(s) && is_last_choice)) {
            continue;
        }
        if (best == NULL || c->open.count < best->open.count) {
            best = c;
        }
    }
    return best;
}

/*
 * What has been on a connection that died goes on one that is being made, or a new one: it is not asked a
 * third time. Where a server answers one question a connection, one that has done so makes room for that.
 */
static struct dns_stream_conn *pick_fresh(struct dns_streams *s, const struct dns_stream_query *q,
                                          int64_t now_ms)
{
    struct dns_stream_conn *idle = NULL;
    for (struct dns_stream_conn *c = s->conns; c != NULL; c = c->next) {
        bool is_last_choice = may_open(s) && is_stalled(s, c, now_ms);
        if (c->state != DNS_STREAM_OPEN && takes_more(s, c) && !is_last_choice) {
            return c; /* it is as fresh as can be */
        }
        if (c->state == DNS_STREAM_OPEN && takes_more(s, c)) {
            idle = c;
        }
    }
    if (may_open_for(s, q)) {
        return NULL;
    }
    if (!s->is_single) {
        return pick_conn(s, now_ms);
    }
    if (idle != NULL) {
        dns_stream_conn_end_later(idle, -ECONNRESET);
    }
    return NULL;
}

/* Where no connection can be made: one that is busy, has stalled or is not fresh is better than none. */
static struct dns_stream_conn *pick_any(const struct dns_streams *s, const struct dns_stream_query *q)
{
    struct dns_stream_conn *c = s->conns;
    while (c != NULL && !takes_more(s, c)) {
        c = c->next;
    }
    return q->is_retry && s->is_single ? NULL : c;
}

/* A connection for q. 0, and *out is NULL if it has to wait for one; -errno: none could be made, none is
 * left. */
static int find_conn(struct dns_streams *s, const struct dns_stream_query *q, struct dns_stream_conn **out)
{
    const int64_t now_ms = clock_mono_ms();
    give_up_dead(s, now_ms);
    *out = q->is_retry ? pick_fresh(s, q, now_ms) : pick_conn(s, now_ms);
    if (*out != NULL || !may_open_for(s, q)) {
        return 0;
    }
    int rc = dns_stream_conn_new(s, out);
    if (rc != 0 && s->conn_count > 0) {
        *out = pick_any(s, q);
        rc = 0;
    }
    return rc;
}

static struct dns_stream_list *list_of(struct dns_streams *s, const struct dns_stream_query *q)
{
    return q->is_retry ? &s->retried : &s->waiting;
}

static struct dns_stream_query *first_waiting(const struct dns_streams *s)
{
    return s->retried.first != NULL ? s->retried.first : s->waiting.first;
}

void dns_stream_serve_later(struct dns_streams *s)
{
    if (first_waiting(s) != NULL) {
        ev_feed_event(s->loop, &s->serve, EV_CUSTOM);
    }
}

/* On a connection, or in the list of those that wait. 0 or -errno: neither. Calls nobody back. */
static int settle(struct dns_streams *s, struct dns_stream_query *q)
{
    struct dns_stream_conn *c = NULL;
    bool is_first = s->retried.count == 0 && (q->is_retry || s->waiting.count == 0);
    int rc = is_first ? find_conn(s, q, &c) : 0;
    if (rc != 0) {
        return rc;
    }
    if (c != NULL) {
        return dns_stream_conn_put(c, q);
    }
    if (s->retried.count + s->waiting.count >= DNS_STREAM_WAITING_MAX) {
        return -ENOBUFS;
    }
    dns_stream_list_add(list_of(s, q), q);
    dns_stream_serve_later(s); /* for what went dead meanwhile */
    return 0;
}

static void fail_query(struct dns_stream_query *q, int error)
{
    (void)q->fn(q->ctx, (struct span){0}, error);
    free(q);
}

/* So many of those that wait. Call backs may ask and cancel: the list is looked at afresh each time. */
static void fail_waiting(struct dns_streams *s, size_t count, int error)
{
    struct dns_stream_query *q;
    for (; count > 0 && (q = first_waiting(s)) != NULL; count--) {
        dns_stream_list_remove(list_of(s, q), q);
        fail_query(q, error);
    }
}

/* Puts those that wait on connections, until there is no place for the next one. If no connection can be made
 * for it and there is none left, all fail. */
static void on_serve_event(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    struct dns_streams *s = w->data;
    struct dns_stream_query *q;
    while ((q = first_waiting(s)) != NULL) {
        struct dns_stream_conn *c = NULL;
        int rc = find_conn(s, q, &c);
        if (rc != 0) {
            fail_waiting(s, s->retried.count + s->waiting.count, rc);
        }
        if (c == NULL) {
            return; /* until one more is answered, cancelled, or ends */
        }
        dns_stream_list_remove(list_of(s, q), q);
        rc = dns_stream_conn_put(c, q);
        if (rc != 0) {
            fail_query(q, rc);
        }
    }
}

/*
 * If the server has closed the connection, or may have without having seen the question: once, or as often as
 * some are answered, for servers close after so many. If it has sent what nobody asked for, once, unless that
 * can only have been meant for this one.
 */
static bool is_asked_again(const struct dns_stream_conn *c, const struct dns_stream_query *q, int error)
{
    if (c->state != DNS_STREAM_OPEN) {
        return false;
    }
    if (error == -EBADMSG) {
        return c->asked > 1 && !q->is_retry;
    }
    const bool was_closed = error == -ECONNRESET || error == -EPIPE;
    return (q->was_behind || was_closed) && (!q->is_retry || c->answered > 0);
}

/*
 * The end of a connection. Each question on it fails, or is asked again. If it never stood and there is no
 * other one, those that wait fail, too. Frees c. Call backs may ask and cancel: the list is looked at afresh
 * each time.
 */
void dns_stream_conn_end(struct dns_stream_conn *c, int error)
{
    struct dns_streams *s = c->owner;
    bool was_open = c->state == DNS_STREAM_OPEN;
    bool was_closed = error == -ECONNRESET || error == -EPIPE;
    if (was_open && was_closed && c->answered == 1 && c->open.count > 0) {
        s->is_single = true; /* until a connection answers a second question */
    }
    if (was_open && error == -EBADMSG && c->open.count > 1) {
        s->is_single = true; /* which of them it is that the server answers so has to come out */
    }
    dns_stream_conn_close(c);
    bool is_any_left = s->conn_count > s->ending_count;
    size_t hopeless = was_open || is_any_left ? 0 : s->retried.count + s->waiting.count;
    struct dns_stream_query *q;
    while ((q = dns_stream_conn_pop(c)) != NULL) {
        int rc = error;
        if (is_asked_again(c, q, error)) {
            q->is_retry = true;
            s->stats.retried++;
            rc = settle(s, q);
        }
        if (rc != 0) {
            fail_query(q, rc);
        }
    }
    free(c);
    fail_waiting(s, hopeless, error);
    dns_stream_serve_later(s);
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

static bool is_question(struct span msg)
{
    return msg.len >= HEADER_LEN && msg.len <= DNS_STREAM_QUERY_MAX;
}

static void set_question(struct dns_stream_query *q, struct span msg, void *ctx)
{
    q->ctx = ctx;
    q->caller_id = (uint16_t)(msg.data[0] << 8 | msg.data[1]);
    q->msg_len = msg.len;
    memcpy(q->msg, msg.data, msg.len);
}

int dns_streams_ask(struct dns_streams *s, struct span msg, dns_stream_event_fn *fn, void *ctx,
                    struct dns_stream_query **out)
{
    if (!is_question(msg)) {
        return -EINVAL;
    }
    struct dns_stream_query *q = malloc(sizeof(*q));
    if (q == NULL) {
        return -ENOMEM;
    }
    q->owner = s;
    q->conn = NULL;
    q->fn = fn;
    q->is_retry = false;
    set_question(q, msg, ctx);
    int rc = settle(s, q);
    if (rc != 0) {
        free(q);
        return rc;
    }
    *out = q;
    return 0;
}

bool dns_stream_renew(struct dns_stream_query *q, struct span msg, void *ctx)
{
    if (q->conn != NULL || !is_question(msg)) {
        return false;
    }
    set_question(q, msg, ctx);
    return true;
}

void dns_stream_cancel(struct dns_stream_query *q)
{
    if (q == NULL) {
        return;
    }
    struct dns_streams *s = q->owner;
    if (q->conn != NULL) {
        dns_stream_conn_forget(q);
    } else {
        dns_stream_list_remove(list_of(s, q), q);
    }
    free(q);
    dns_stream_serve_later(s);
}

int dns_streams_new(struct ev_loop *loop, const struct dns_stream_config *cfg, struct dns_streams **out)
{
    struct dns_streams *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return -ENOMEM;
    }
    s->loop = loop;
    s->cfg = *cfg;
    ev_timer_init(&s->serve, on_serve_event, 0.0, 0.0);
    ev_set_priority(&s->serve, EV_MINPRI); /* once, after what happened to all connections */
    s->serve.data = s;
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

static void free_list(struct dns_stream_list *l)
{
    struct dns_stream_query *next;
    for (struct dns_stream_query *q = l->first; q != NULL; q = next) {
        next = q->next;
        free(q);
    }
}

void dns_streams_free(struct dns_streams *s)
{
    if (s == NULL) {
        return;
    }
    struct dns_stream_conn *next;
    for (struct dns_stream_conn *c = s->conns; c != NULL; c = next) {
        next = c->next;
        free_list(&c->open);
        dns_stream_conn_close(c);
        free(c);
    }
    free_list(&s->retried);
    free_list(&s->waiting);
    (void)ev_clear_pending(s->loop, &s->serve);
    deadline_list_free(s->deadlines);
    free(s);
}

const struct dns_stream_stats *dns_streams_stats(const struct dns_streams *s)
{
    return &s->stats;
}

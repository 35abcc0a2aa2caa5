/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/tunneld_worker.h"

#include "common/base/clock.h"
#include "tunneld/session.h"
#include "tunneld/tunneld_counters.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DENIED_LOGS_PER_S 50
#define FAILED_LOGS_PER_S 20
#define SUPPRESSED_AFTER_S 10.0
#define USE_S (SYNTH_USE_EVERY_S - 30.0) /* the map must hear in time, also of a loop that is late */

const struct metrics_info tunneld_counters[TUNNELD_COUNTER_COUNT] = {
#define X(name, text, kind, help) {text, METRICS_##kind, help},
    TUNNELD_COUNTER_LIST(X) RESOLVER_COUNTER_LIST(X) DNS_CLIENT_COUNTER_LIST(X)
#undef X
};

static void on_accept(void *ctx, int fd, const struct addr *peer)
{
    struct tunneld_listener *l = ctx;
    session_accept(l->tw, fd, peer, l->kind);
}

static void on_refuse(void *ctx, int fd, const struct addr *peer)
{
    struct tunneld_listener *l = ctx;
    session_refuse(l->tw, fd, peer, l->kind);
}

static void on_pause(void *ctx)
{
    struct tunneld_listener *l = ctx;
    metrics_add(&l->tw->worker->metrics, TUNNELD_COUNTER_ACCEPT_PAUSED, 1);
}

static void stop_listener(struct tunneld_listener **at)
{
    struct tunneld_listener *l = *at;
    *at = l->next;
    acceptor_stop(l->acceptor);
    free(l);
}

static void stop_listeners(struct tunneld_worker *tw)
{
    while (tw->listeners != NULL) {
        stop_listener(&tw->listeners);
    }
}

static int start_listener(struct tunneld_worker *tw, struct listen_socket *s, struct tunneld_listener **at)
{
    struct tunneld_listener *l = calloc(1, sizeof(*l));
    int *fd = &s->fds[tw->worker->index];
    int rc = -ENOMEM;
    if (l != NULL) {
        *l = (struct tunneld_listener){.tw = tw, .next = *at, .id = s->id, .kind = s->kind};
        const struct acceptor_config cfg = {.loop = tw->worker->loop,
                                            .fd = *fd,
                                            .on_accept = on_accept,
                                            .on_refuse = on_refuse,
                                            .on_pause = on_pause,
                                            .ctx = l};
        rc = acceptor_new(&cfg, &l->acceptor);
    }
    if (rc == 0) {
        *at = l;
    } else {
        free(l);
        (void)close(*fd); /* or it would be dealt connections that nobody takes */
    }
    *fd = -1;
    return rc;
}

/* Both lists are in the order of ids: what is here only goes, what is there only is taken. */
static int match_listeners(struct tunneld_worker *tw, struct listen_set *set)
{
    struct tunneld_listener **at = &tw->listeners;
    int rc = 0;
    for (size_t i = 0; i < set->count; i++) {
        struct listen_socket *s = &set->items[i];
        while (*at != NULL && (*at)->id < s->id) {
            stop_listener(at);
        }
        if (s->fds[tw->worker->index] >= 0) {
            int started = start_listener(tw, s, at);
            rc = started != 0 ? started : rc;
        }
        at = *at != NULL && (*at)->id == s->id ? &(*at)->next : at;
    }
    while (*at != NULL) {
        stop_listener(at);
    }
    return rc;
}

/* What the daemon listens on, and the guard that knows it. */
static int take_listeners(struct tunneld_worker *tw)
{
    struct tunneld *d = tw->daemon;
    struct own_guard *former = tw->guard;
    (void)pthread_mutex_lock(&d->listen_lock);
    int rc = match_listeners(tw, &d->listeners);
    tw->guard = own_guard_ref(d->guard);
    (void)pthread_mutex_unlock(&d->listen_lock);
    tw->admit.guard = &own_guard_of(tw->guard)->view;
    own_guard_unref(former);
    return rc;
}

static int start_resolver(struct tunneld_worker *tw, struct err *err)
{
    struct resolver_config cfg;
    resolver_config_defaults(&cfg);
    cfg.upstreams = tw->daemon->upstreams.addrs;
    cfg.upstream_count = tw->daemon->upstreams.count;
    cfg.tls_names = tw->daemon->upstreams.tls_names;
    cfg.tls = tw->daemon->tls;
    cfg.zones = &tw->daemon->zones;
    cfg.cache_bytes = cfg.cache_bytes / tw->daemon->worker_count;
    cfg.metrics = &tw->worker->metrics;
    cfg.metrics_first = TUNNELD_COUNTER_RESOLVER;
    cfg.client_metrics_first = TUNNELD_COUNTER_UPSTREAM;
    cfg.watches_upstreams = true;
    cfg.news = tw->daemon->news;
    return resolver_new(tw->worker->loop, &cfg, &tw->resolver, err);
}

static void on_use_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct tunneld_worker *tw = w->data;
    (void)revents;
    size_t count = 0;
    for (struct session *s = tw->sessions; s != NULL; s = session_next(s)) {
        count += session_uses_map(s) ? 1 : 0;
    }
    if (count == 0) {
        ev_timer_stop(loop, w);
    }
}

void tunneld_worker_captured(struct tunneld_worker *tw)
{
    if (!ev_is_active(&tw->use_timer)) {
        ev_timer_again(tw->worker->loop, &tw->use_timer);
    }
}

static void log_suppressed(struct log_limit *limit, const char *event)
{
    if (limit->refused > 0) {
        log_event(LOG_WARN, event, LOG_KV(kv_u64("suppressed", limit->refused)));
        limit->refused = 0;
    }
}

static void on_log_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    struct tunneld_worker *tw = w->data;
    (void)revents;
    ev_timer_stop(loop, w);
    log_suppressed(&tw->denied_limit, "tunnel_denied");
    log_suppressed(&tw->failed_limit, "tunnel_failed");
}

bool tunneld_worker_may_log(struct tunneld_worker *tw, struct log_limit *limit, uint64_t *suppressed)
{
    const bool may = log_limit_take(limit, clock_mono_ms(), suppressed);
    if (!may && !ev_is_active(&tw->log_timer)) {
        ev_timer_again(tw->worker->loop, &tw->log_timer);
    }
    return may;
}

static int start_parts(struct tunneld_worker *tw, struct err *err)
{
    struct ev_loop *loop = tw->worker->loop;
    tw->relay_env.loop = loop;
    tw->relay_env.pipes = &tw->pipes;
    tw->relay_env.buffer = malloc(RELAY_BUFFER_BYTES);
    if (tw->relay_env.buffer == NULL) {
        return -ENOMEM;
    }
    int rc = hangup_new(loop, &tw->relay_env.hangup);
    if (rc == 0) {
        rc = deadline_list_new(loop, session_on_deadline, tw, &tw->deadlines);
    }
    if (rc == 0) {
        rc = start_resolver(tw, err);
    }
    return rc == 0 ? take_listeners(tw) : rc;
}

int tunneld_worker_start(struct worker *w, struct err *err)
{
    struct tunneld *daemon = w->ctx;
    struct tunneld_worker *tw = calloc(1, sizeof(*tw));
    if (tw == NULL) {
        err_set(err, "out of memory for a worker");
        return -ENOMEM;
    }
    tw->worker = w;
    tw->daemon = daemon;
    tw->admit = (struct admit){.judge = &daemon->judge, .policy = w->policy}; /* guard: take_listeners */
    tw->denied_limit.rate = DENIED_LOGS_PER_S;
    tw->failed_limit.rate = FAILED_LOGS_PER_S;
    brakes_log_init(&tw->brakes_log, w->loop);
    ev_timer_init(&tw->use_timer, on_use_timer, 0., USE_S);
    tw->use_timer.data = tw;
    ev_timer_init(&tw->log_timer, on_log_timer, 0., SUPPRESSED_AFTER_S);
    tw->log_timer.data = tw;
    w->data = tw;
    daemon->is_serving = true;
    if (w->index == 0) {
        tunneld_warn_raw(daemon, w->policy);
    }
    int rc = start_parts(tw, err);
    if (rc != 0) {
        if (err->text[0] == '\0') {
            err_set(err, "cannot start a worker: %s", strerror(-rc));
        }
        tunneld_worker_stop(w);
    }
    return rc;
}

void tunneld_worker_policy(struct worker *w, struct policy *previous)
{
    struct tunneld_worker *tw = w->data;
    tw->admit.policy = w->policy;
    if (!tw->is_draining && take_listeners(tw) != 0) {
        log_event(LOG_ERROR, "listen_failed",
                  LOG_KV(kv_str("why", "out of memory: a worker goes without some listeners"),
                         kv_str("hint", "the other workers have them")));
    }
    if (w->index == 0) {
        tunneld_warn_raw(tw->daemon, w->policy);
    }
    struct session *next = NULL;
    for (struct session *s = tw->sessions; s != NULL; s = next) {
        next = session_next(s);
        session_rejudge(s, previous); /* nothing points into it afterwards */
    }
}

void tunneld_worker_upstreams(struct worker *w, const struct upstream_list *list)
{
    struct tunneld_worker *tw = w->data;
    struct err err = {""};
    if (!CHECK(resolver_set_upstreams(tw->resolver, list->addrs, list->count, &err) == 0)) {
        log_event(LOG_ERROR, "upstreams_refused", LOG_KV(kv_str("why", err.text)));
    }
}

static void done_if_empty(struct tunneld_worker *tw)
{
    if (tw->is_draining && !tw->is_done && tw->session_count == 0) {
        tw->is_done = true;
        daemon_worker_done(tw->worker);
    }
}

void tunneld_worker_session_gone(struct tunneld_worker *tw)
{
    done_if_empty(tw);
}

void tunneld_worker_drain(struct worker *w)
{
    struct tunneld_worker *tw = w->data;
    stop_listeners(tw);
    struct session *next = NULL;
    for (struct session *s = tw->sessions; s != NULL; s = next) {
        next = session_next(s);
        if (session_is_unused(s)) {
            session_end(s, REASON_SHUTDOWN);
        }
    }
    tw->is_draining = true;
    done_if_empty(tw);
}

void tunneld_worker_stop(struct worker *w)
{
    struct tunneld_worker *tw = w->data;
    if (tw == NULL) {
        return;
    }
    stop_listeners(tw);
    tw->is_draining = false;
    while (tw->sessions != NULL) {
        session_shut_down(tw->sessions);
    }
    ev_timer_stop(tw->worker->loop, &tw->use_timer);
    on_log_timer(tw->worker->loop, &tw->log_timer, 0);
    brakes_log_fini(&tw->brakes_log);
    if (tw->resolver != NULL) {
        resolver_free(tw->resolver);
    }
    deadline_list_free(tw->deadlines);
    hangup_free(tw->relay_env.hangup);
    pipe_pool_fini(&tw->pipes);
    free(tw->relay_env.buffer);
    own_guard_unref(tw->guard);
    free(tw);
    w->data = NULL;
}

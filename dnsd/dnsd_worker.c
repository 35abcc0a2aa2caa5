/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/dnsd_worker.h"

#include "dnsd/dnsd_counters.h"
#include "dnsd/hot_answers.h"
#include "dnsd/ipv6_route.h"
#include "dnsd/listen_tcp.h"
#include "dnsd/listen_udp.h"

#include <errno.h>
#include <stdlib.h>

struct dnsd_worker {
    struct worker *worker;
    const struct dnsd_shared *shared;
    struct resolver *resolver;
    struct query_engine *engine;
    struct ipv6_route ipv6;
    struct listen_udp **udp;
    size_t udp_count;
    struct listen_tcp **tcp;
    size_t tcp_count;
    size_t undrained; /* while it drains: the engine and the TCP listeners that have something left */
};

static bool has_ipv6(void *ctx, int64_t now_ms)
{
    struct dnsd_worker *d = ctx;
    return ipv6_route_has(&d->ipv6, now_ms);
}

/* The engine has nothing in flight, or a listener no connection: with the last of them all is answered. */
static void on_part_drained(void *ctx)
{
    struct dnsd_worker *d = ctx;
    d->undrained--;
    if (d->undrained == 0) {
        d->shared->on_drained(d->worker);
    }
}

static int start_engine(struct dnsd_worker *d, struct err *err)
{
    struct resolver_config resolver = *d->shared->resolver;
    /* Both keep upstream answers: --cache-size bounds them together. */
    const size_t hot_bytes =
        d->shared->answer->mode == ANSWER_REAL ? hot_answers_bytes(resolver.cache_bytes / 2) : 0;
    resolver.cache_bytes -= hot_bytes;
    resolver.metrics = &d->worker->metrics;
    resolver.metrics_first = DNSD_COUNTER_RESOLVER;
    resolver.client_metrics_first = DNSD_COUNTER_UPSTREAM;
    int rc = resolver_new(d->worker->loop, &resolver, &d->resolver, err);
    if (rc != 0) {
        return rc;
    }
    const struct query_engine_config cfg = {.worker = d->worker,
                                            .answer = d->shared->answer,
                                            .acl = d->shared->acl,
                                            .soa = d->shared->soa,
                                            .resolver = d->resolver,
                                            .brakes = d->shared->brakes,
                                            .hot_bytes = hot_bytes,
                                            .map = d->shared->map,
                                            .direct = d->shared->direct,
                                            .direct_grace_s = d->shared->direct_grace_s,
                                            .marker = d->shared->resolver->marker,
                                            .has_ipv6 = has_ipv6,
                                            .on_idle = on_part_drained,
                                            .ctx = d};
    rc = query_engine_new(&cfg, &d->engine);
    if (rc != 0) {
        err_set(err, "cannot start a worker: %s", strerror(-rc));
    }
    return rc;
}

static int start_socket(struct dnsd_worker *d, struct dnsd_socket *s, struct err *err)
{
    const int fd = s->fd;
    s->fd = -1; /* taken, also on failure */
    int rc = 0;
    if (s->is_tcp) {
        rc = listen_tcp_new(d->worker, d->engine, fd, &listen_tcp_times, &d->tcp[d->tcp_count]);
        d->tcp_count += rc == 0 ? 1 : 0;
    } else {
        rc = listen_udp_new(d->worker, d->engine, fd, &d->udp[d->udp_count]);
        d->udp_count += rc == 0 ? 1 : 0;
    }
    if (rc != 0) {
        char text[ADDR_TEXT_CAP];
        err_set(err, "cannot serve %s: %s", addr_text(&s->local, text), strerror(-rc));
    }
    return rc;
}

int dnsd_worker_start(struct worker *w, const struct dnsd_shared *shared, struct dnsd_socket *sockets,
                      size_t socket_count, struct err *err)
{
    struct dnsd_worker *d = calloc(1, sizeof(*d));
    if (d == NULL) {
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    w->data = d;
    d->worker = w;
    d->shared = shared;
    d->ipv6.news = shared->ipv6_news;
    d->udp = calloc(socket_count + 1, sizeof(struct listen_udp *));
    d->tcp = calloc(socket_count + 1, sizeof(struct listen_tcp *));
    int rc = 0;
    if (d->udp == NULL || d->tcp == NULL) {
        err_set(err, "out of memory");
        rc = -ENOMEM;
    }
    if (rc == 0) {
        rc = start_engine(d, err);
    }
    for (size_t i = 0; rc == 0 && i < socket_count; i++) {
        if (sockets[i].worker == w->index && sockets[i].fd >= 0) {
            rc = start_socket(d, &sockets[i], err);
        }
    }
    if (rc != 0) {
        dnsd_worker_stop(w);
    }
    return rc;
}

void dnsd_worker_upstreams(struct worker *w, const struct upstream_list *list)
{
    struct dnsd_worker *d = w->data;
    struct err err = {""};
    if (!CHECK(resolver_set_upstreams(d->resolver, list->addrs, list->count, &err) == 0)) {
        log_event(LOG_ERROR, "upstreams_refused", LOG_KV(kv_str("why", err.text)));
    }
    query_engine_take_upstreams(d->engine);
}

void dnsd_worker_policy(struct worker *w)
{
    struct dnsd_worker *d = w->data;
    query_engine_take_policy(d->engine);
}

void dnsd_worker_drain(struct worker *w)
{
    struct dnsd_worker *d = w->data;
    /* Our own sockets end with us, and a question that nobody reads costs its client 5 s: what is known is
     * still answered, and the rest told that we go. */
    for (size_t i = 0; i < d->udp_count && d->shared->has_passed_sockets; i++) {
        listen_udp_drain(d->udp[i]);
    }
    d->undrained = d->tcp_count + 1;
    for (size_t i = 0; i < d->tcp_count; i++) {
        listen_tcp_drain(d->tcp[i], on_part_drained, d);
    }
    query_engine_drain(d->engine);
}

const struct metrics_info dnsd_counters[DNSD_COUNTER_COUNT] = {
#define X(name, text, help) {text, METRICS_COUNTER, help},
    DNSD_COUNTER_LIST(X)
#undef X
#define X(name, text, kind, help) {text, METRICS_##kind, help},
        RESOLVER_COUNTER_LIST(X) DNS_CLIENT_COUNTER_LIST(X)
#undef X
};

static void log_counters(const struct worker *w)
{
    struct log_kv kv[DNSD_COUNTER_COUNT + 2];
    kv[0] = kv_u64("worker", w->index);
    for (size_t i = 0; i < DNSD_COUNTER_COUNT; i++) {
        kv[i + 1] = kv_u64(dnsd_counters[i].name, metrics_read(&w->metrics, i));
    }
    kv[DNSD_COUNTER_COUNT + 1] = (struct log_kv){.key = NULL, .kind = LOG_KIND_END, .v.u64 = 0};
    log_event(LOG_INFO, "dns_totals", kv);
}

void dnsd_worker_stop(struct worker *w)
{
    struct dnsd_worker *d = w->data;
    if (d == NULL) {
        return;
    }
    w->data = NULL;
    if (d->engine != NULL) {
        log_counters(w);
    }
    query_engine_free(d->engine);
    for (size_t i = 0; i < d->udp_count; i++) {
        listen_udp_free(d->udp[i]);
    }
    for (size_t i = 0; i < d->tcp_count; i++) {
        listen_tcp_free(d->tcp[i]);
    }
    resolver_free(d->resolver);
    free(d->udp);
    free(d->tcp);
    free(d);
}

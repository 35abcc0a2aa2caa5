/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/resolver.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/dns/dns_ldns.h"
#include "common/dns/dns_routes.h"

#include <errno.h>
#include <stdlib.h>

#define CNAME_LINES_PER_S 50
#define TYPE_TEXT_CAP 16

struct resolver {
    struct ev_loop *loop;
    struct resolver_core *core;
    struct dns_routes *routes;
    ev_timer turn;    /* runs at once while something is ready: answers go out from a turn of their own */
    int64_t reply_ms; /* when the last exchange ended; of a turn that was fed by one */
    ev_timer line;    /* runs while somebody waits for a stale answer */
    int64_t line_at_ms;
    struct log_limit cnames;
};

void resolver_config_defaults(struct resolver_config *c)
{
    *c = (struct resolver_config){
        .ttl_min_s = 0,
        .ttl_max_s = 3600,
        .ttl_neg_max_s = 60,
        .stale_s = 3600,
        .cache_bytes = (size_t)8 << 20,
        .attempt_ms = 800,
        .total_ms = 3500,
        .max_questions = 4096,
    };
}

/* Wakes when the core wants to be run. The timer of the line is left alone when its end moves later: it fires
 * for nothing then, once. */
static void schedule(struct resolver *r)
{
    const int64_t until_ms = resolver_core_until_ms(r->core);
    if (until_ms == INT64_MAX) {
        return;
    }
    if (until_ms == INT64_MIN) {
        if (!ev_is_active(&r->turn)) {
            ev_timer_set(&r->turn, 0.0, 0.0);
            ev_timer_start(r->loop, &r->turn);
        }
        return;
    }
    if (ev_is_active(&r->line) && r->line_at_ms <= until_ms) {
        return;
    }
    ev_timer_stop(r->loop, &r->line);
    const int64_t wait_ms = until_ms - clock_mono_ms();
    ev_timer_set(&r->line, (double)(wait_ms > 0 ? wait_ms : 0) / 1000.0, 0.0);
    r->line_at_ms = until_ms;
    ev_timer_start(r->loop, &r->line);
}

static void on_run_event(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    struct resolver *r = w->data;
    if (resolver_core_run(r->core, (revents & EV_CUSTOM) != 0 ? r->reply_ms : clock_mono_ms())) {
        schedule(r);
    }
}

/* Nobody but the log hears of CNAMEs: what they lead to is answered as an address of the asked name. */
static void log_cname(struct resolver *r, const struct resolver_question *q,
                      const struct dns_exchange_result *result, int64_t now_ms)
{
    uint64_t suppressed = 0;
    char type[TYPE_TEXT_CAP];
    if (!log_is_on(LOG_DEBUG) || !log_limit_take(&r->cnames, now_ms, &suppressed)) {
        return;
    }
    log_event(LOG_DEBUG, "dns_cname",
              LOG_KV(kv_name("name", resolver_core_name(q)),
                     kv_str("type", dns_type_text(resolver_core_type(q), type, sizeof(type))),
                     kv_name("target", &result->target), kv_u64("hops", result->hops),
                     kv_u64("suppressed", suppressed)));
}

static void on_call_event(void *ctx, const struct dns_exchange_result *result, int64_t now_ms)
{
    struct resolver_question *q = ctx;
    struct resolver *r = resolver_core_driver_ctx(q);
    if (result->target.len > 0) {
        log_cname(r, q, result, now_ms);
    }
    resolver_core_done(q, result, now_ms);
    /* Still in this turn of the loop, but from a stack of its own: call backs may free the resolver. */
    if (resolver_core_until_ms(r->core) == INT64_MIN) {
        r->reply_ms = now_ms;
        ev_feed_event(r->loop, &r->turn, EV_CUSTOM);
    }
}

static void *start_call(void *ctx, const struct host_name *name, uint16_t qtype, struct resolver_question *q)
{
    struct resolver *r = ctx;
    return dns_routes_start(r->routes, name, qtype, on_call_event, q);
}

static size_t route_of(void *ctx, const struct host_name *name)
{
    const struct resolver *r = ctx;
    return dns_routes_of(r->routes, name);
}

static void cancel_call(void *ctx, void *exchange)
{
    (void)ctx;
    dns_client_cancel(exchange);
}

bool resolver_peek(struct resolver *r, const struct host_name *name, uint16_t qtype, int64_t now_ms,
                   struct resolver_answer *out)
{
    return resolver_core_peek(r->core, name, qtype, now_ms, out);
}

bool resolver_peek_stale(struct resolver *r, const struct host_name *name, uint16_t qtype, int64_t now_ms,
                         struct resolver_answer *out)
{
    return resolver_core_peek_stale(r->core, name, qtype, now_ms, out);
}

size_t resolver_route_count(const struct resolver *r)
{
    return dns_routes_count(r->routes);
}

size_t resolver_route_of(const struct resolver *r, const struct host_name *name)
{
    return dns_routes_of(r->routes, name);
}

bool resolver_is_asked(struct resolver *r, const struct host_name *name, uint16_t qtype)
{
    return resolver_core_is_asked(r->core, name, qtype);
}

uint32_t resolver_turn(const struct resolver *r)
{
    return resolver_core_turn(r->core);
}

resolver_ticket resolver_ask(struct resolver *r, const struct host_name *name, uint16_t qtype,
                             resolver_event_fn *fn, void *ctx)
{
    const struct resolver_ask ask = {.name = name, .qtype = qtype, .fn = fn, .ctx = ctx};
    return resolver_ask_at(r, &ask, clock_mono_ms());
}

resolver_ticket resolver_ask_at(struct resolver *r, const struct resolver_ask *ask, int64_t now_ms)
{
    const resolver_ticket ticket = resolver_core_ask(r->core, ask, now_ms);
    schedule(r);
    return ticket;
}

void resolver_cancel(struct resolver *r, resolver_ticket t)
{
    resolver_core_cancel(r->core, t);
}

void resolver_drop_unwanted(struct resolver *r)
{
    resolver_core_drop_unwanted(r->core);
}

bool resolver_take_stale(struct resolver *r, resolver_ticket t, struct resolver_answer *out)
{
    return resolver_core_take_stale(r->core, t, clock_mono_ms(), out);
}

static int check_config(const struct resolver_config *cfg, struct err *err)
{
    if (cfg->attempt_ms <= 0 || cfg->total_ms < cfg->attempt_ms || cfg->max_questions == 0 ||
        cfg->ttl_min_s > cfg->ttl_max_s) {
        err_set(err, "resolver: times, limits or TTL bounds contradict each other");
        return -EINVAL;
    }
    return 0;
}

static int start_core(struct resolver *r, const struct resolver_config *cfg)
{
    const struct resolver_core_config core = {
        .ttls = {.min_s = cfg->ttl_min_s, .max_s = cfg->ttl_max_s, .neg_max_s = cfg->ttl_neg_max_s},
        .stale_s = cfg->stale_s,
        .cache_bytes = cfg->cache_bytes,
        .max_questions = cfg->max_questions,
        .route_count = dns_routes_count(r->routes),
        .metrics = cfg->metrics,
        .metrics_first = cfg->metrics_first,
        .driver = {.start = start_call, .cancel = cancel_call, .route = route_of, .ctx = r},
    };
    return resolver_core_new(&core, &r->core);
}

int resolver_new(struct ev_loop *loop, const struct resolver_config *cfg, struct resolver **out,
                 struct err *err)
{
    int rc = check_config(cfg, err);
    if (rc != 0) {
        return rc;
    }
    struct resolver *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    r->loop = loop;
    r->cnames = (struct log_limit){.rate = CNAME_LINES_PER_S, .tokens = 2.0 * CNAME_LINES_PER_S};
    ev_timer_init(&r->turn, on_run_event, 0.0, 0.0);
    ev_timer_init(&r->line, on_run_event, 0.0, 0.0);
    r->turn.data = r;
    r->line.data = r;
    const struct dns_routes_config routes = {
        .client = {.upstreams = cfg->upstreams,
                   .upstream_count = cfg->upstream_count,
                   .attempt_ms = cfg->attempt_ms,
                   .total_ms = cfg->total_ms,
                   .watches = cfg->watches_upstreams,
                   .news = cfg->news,
                   .marker = cfg->marker,
                   .metrics = cfg->metrics,
                   .metrics_first = cfg->client_metrics_first},
        .tls_names = cfg->tls_names,
        .store = cfg->tls,
        .zones = cfg->zones,
    };
    rc = dns_routes_new(loop, &routes, &r->routes, err);
    if (rc == 0) {
        rc = start_core(r, cfg);
        if (rc != 0) {
            err_set(err, "out of memory");
        }
    }
    if (rc != 0) {
        resolver_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

void resolver_free(struct resolver *r)
{
    if (r == NULL) {
        return;
    }
    ev_timer_stop(r->loop, &r->turn); /* also takes back what was fed */
    ev_timer_stop(r->loop, &r->line);
    resolver_core_free(r->core); /* cancels its calls */
    dns_routes_free(r->routes);
    free(r);
}

int resolver_set_upstreams(struct resolver *r, const struct addr *upstreams, size_t count, struct err *err)
{
    int rc = dns_routes_set_upstreams(r->routes, upstreams, count, err);
    if (rc == 0) {
        resolver_core_forgive(r->core);
    }
    return rc;
}

void resolver_stats_read(const struct resolver *r, struct resolver_stats *out)
{
    struct dns_exchange_stats s;
    dns_routes_stats(r->routes, &s);
    *out = (struct resolver_stats){
        .sent_udp = s.sent_udp,
        .sent_tcp = s.sent_tcp,
        .replies = s.replies,
        .mismatches = s.mismatches,
        .timeouts = s.timeouts,
        .failovers = s.failovers,
        .hedges = s.hedges,
        .hedge_wins = s.hedge_wins,
        .cache_hits = resolver_core_counter(r->core, RESOLVER_COUNTER_CACHE_HITS),
        .cache_misses = resolver_core_counter(r->core, RESOLVER_COUNTER_CACHE_MISSES),
        .coalesced = resolver_core_counter(r->core, RESOLVER_COUNTER_COALESCED),
        .stale = resolver_core_counter(r->core, RESOLVER_COUNTER_STALE),
        .prefetches = resolver_core_counter(r->core, RESOLVER_COUNTER_PREFETCHES),
    };
}

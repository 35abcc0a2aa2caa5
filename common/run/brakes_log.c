/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/brakes_log.h"

/* Each such name is worth a line: where the brakes are on, ten clients at once do not reach this. */
#define NAMES_PER_S 2000
#define STOPS_PER_S 20
#define FLUSH_AFTER_S 10.0
#define KV_MAX 8

static void flush_names(struct log_limit *limit)
{
    if (limit->refused > 0) {
        log_event(LOG_INFO, "dns_wildcard_name", LOG_KV(kv_u64("suppressed", limit->refused)));
        limit->refused = 0;
    }
}

static void flush_stops(struct log_limit *limit, enum brakes_verdict verdict)
{
    if (limit->refused > 0) {
        log_event(
            LOG_WARN, "dns_braked",
            LOG_KV(kv_str("why", reason_text(brakes_reason(verdict))), kv_u64("suppressed", limit->refused)));
        limit->refused = 0;
    }
}

static void flush(struct brakes_log *l)
{
    flush_names(&l->names);
    for (enum brakes_verdict v = BRAKES_RATE; v < BRAKES_GO; v++) {
        flush_stops(&l->stops[v], v);
    }
}

static bool has_refused(const struct brakes_log *l)
{
    bool has = l->names.refused > 0;
    for (enum brakes_verdict v = BRAKES_RATE; v < BRAKES_GO; v++) {
        has = has || l->stops[v].refused > 0;
    }
    return has;
}

static void on_flush_event(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    flush(w->data);
}

void brakes_log_init(struct brakes_log *l, struct ev_loop *loop)
{
    *l = (struct brakes_log){.loop = loop, .names = {.rate = NAMES_PER_S}};
    for (enum brakes_verdict v = BRAKES_RATE; v < BRAKES_GO; v++) {
        l->stops[v].rate = STOPS_PER_S;
    }
    ev_timer_init(&l->flush, on_flush_event, 0.0, 0.0);
    l->flush.data = l;
}

void brakes_log_fini(struct brakes_log *l)
{
    if (l->loop != NULL) {
        ev_timer_stop(l->loop, &l->flush);
        flush(l);
        l->loop = NULL;
    }
}

static void flush_later(struct brakes_log *l)
{
    if (has_refused(l) && !ev_is_active(&l->flush)) {
        ev_timer_set(&l->flush, FLUSH_AFTER_S, 0.0);
        ev_timer_start(l->loop, &l->flush);
    }
}

/* why and detail: NULL where nothing was stopped. */
static void write_line(enum log_level level, const char *event, const char *why, const char *detail,
                       const struct brakes_question *q, const struct policy_endpoint *endpoint,
                       uint64_t suppressed)
{
    struct log_kv kv[KV_MAX];
    size_t n = 0;
    if (why != NULL) {
        kv[n++] = kv_str("why", why);
    }
    if (detail != NULL) {
        kv[n++] = kv_str("detail", detail);
    }
    kv[n++] = kv_name("name", q->name);
    if (endpoint != NULL) {
        kv[n++] = kv_str("rule", endpoint->rule->key);
    }
    if (q->pattern != NULL) {
        kv[n++] = kv_name("pattern", q->pattern);
    }
    kv[n++] = kv_ip("client", q->client);
    if (suppressed > 0) {
        kv[n++] = kv_u64("suppressed", suppressed);
    }
    kv[n] = (struct log_kv){.key = NULL, .kind = LOG_KIND_END, .v.u64 = 0};
    log_event(level, event, kv);
}

void brakes_log_name(struct brakes_log *l, const struct brakes_question *q,
                     const struct brakes_outcome *outcome, const struct policy_endpoint *endpoint)
{
    uint64_t suppressed = 0;
    if (outcome->verdict != BRAKES_GO || !outcome->is_new_name || !log_is_on(LOG_INFO)) {
        return;
    }
    if (log_limit_take(&l->names, q->now_ms, &suppressed)) {
        write_line(LOG_INFO, "dns_wildcard_name", NULL, NULL, q, endpoint, suppressed);
    }
    flush_later(l);
}

void brakes_log_stop(struct brakes_log *l, const struct brakes_question *q,
                     const struct brakes_outcome *outcome, const struct policy_endpoint *endpoint)
{
    uint64_t suppressed = 0;
    if (outcome->verdict == BRAKES_GO) {
        return;
    }
    struct log_limit *limit = &l->stops[outcome->verdict];
    if (!outcome->is_onset) {
        limit->refused++;
    } else if (log_limit_take(limit, q->now_ms, &suppressed)) {
        write_line(LOG_WARN, "dns_braked", reason_text(brakes_reason(outcome->verdict)),
                   brakes_text(outcome->verdict), q, endpoint, suppressed);
    }
    flush_later(l);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/resolver.h"

#include "common/base/clock.h"
#include "common/base/htab.h"
#include "common/dns/dns_routes.h"

#include <errno.h>
#include <stdlib.h>

#define NO_WAITER UINT32_MAX
#define WAITERS_MAX 65536U
#define FAILURE_TTL_S 1 /* RFC 9520 3.2: at least 1 s */

/* One who asked. Lives in a table of slots; a ticket is {generation, slot + 1}. */
struct waiter {
    resolver_event_fn *fn; /* NULL = the slot is free */
    void *ctx;
    struct question *question;
    uint32_t generation;
    uint32_t prev, next; /* of the same question, or next of the free list */
};

/* A question with all who wait for it: under way (in the table) or ready (in the list, with its answer). */
struct question {
    struct htab_node node;
    struct question *next_ready;
    struct resolver *owner;
    struct dns_call *call; /* NULL = ready */
    uint32_t first, last;  /* waiters, in order of arrival */
    struct host_name name;
    enum ip_family family;
    struct resolver_answer answer;
};

struct resolver {
    struct ev_loop *loop;
    struct resolver_config cfg;
    struct cache *cache;
    struct dns_routes *routes;
    struct htab asking;
    struct question *ready_first, *ready_last;
    ev_timer ready_timer; /* runs while something is ready: answers go out from a turn of their own */
    bool *gone;           /* set by resolver_free() for the delivery that is under way */
    struct waiter *waiters;
    uint32_t waiter_cap;
    uint32_t waiter_free; /* head of the free list */
    uint64_t cache_hits, cache_misses, coalesced;
};

void resolver_config_defaults(struct resolver_config *c)
{
    *c = (struct resolver_config){
        .ttl_min_s = 0,
        .ttl_max_s = 3600,
        .ttl_neg_max_s = 60,
        .cache_bytes = (size_t)8 << 20,
        .attempt_ms = 800,
        .total_ms = 3500,
        .max_questions = 4096,
    };
}

const char *resolver_fail_text(enum resolver_fail f)
{
    switch (f) {
    case RESOLVER_FAIL_NONE:
        return "none";
    case RESOLVER_FAIL_TIMEOUT:
        return "timeout";
    case RESOLVER_FAIL_SERVFAIL:
        return "servfail";
    case RESOLVER_FAIL_REFUSED:
        return "refused";
    case RESOLVER_FAIL_NETWORK:
        return "network";
    case RESOLVER_FAIL_CNAME:
        return "cname";
    case RESOLVER_FAIL_BUSY:
        return "busy";
    case RESOLVER_FAIL_MEMORY:
        return "memory";
    }
    return "unknown";
}

static enum resolver_fail fail_from_exchange(enum dns_exchange_fail f)
{
    switch (f) {
    case DNS_EXCHANGE_FAIL_NONE:
        return RESOLVER_FAIL_NONE;
    case DNS_EXCHANGE_FAIL_NETWORK:
        return RESOLVER_FAIL_NETWORK;
    case DNS_EXCHANGE_FAIL_TIMEOUT:
        return RESOLVER_FAIL_TIMEOUT;
    case DNS_EXCHANGE_FAIL_REFUSED:
        return RESOLVER_FAIL_REFUSED;
    case DNS_EXCHANGE_FAIL_SERVFAIL:
        return RESOLVER_FAIL_SERVFAIL;
    case DNS_EXCHANGE_FAIL_CNAME:
        return RESOLVER_FAIL_CNAME;
    case DNS_EXCHANGE_FAIL_MEMORY:
        return RESOLVER_FAIL_MEMORY;
    }
    return RESOLVER_FAIL_SERVFAIL;
}

static uint32_t clamp_ttl(uint32_t ttl_s, uint32_t min_s, uint32_t max_s)
{
    if (ttl_s < min_s) {
        ttl_s = min_s;
    }
    return ttl_s > max_s ? max_s : ttl_s;
}

/* The result of an exchange as callers see it, with the TTL they and the cache may use. */
static void answer_from_result(const struct resolver *r, const struct dns_exchange_result *result,
                               struct resolver_answer *out)
{
    *out = (struct resolver_answer){0};
    switch (result->status) {
    case DNS_EXCHANGE_FAILED:
        out->why = fail_from_exchange(result->why);
        break;
    case DNS_EXCHANGE_ADDRS:
        out->status = RESOLVER_ADDRS;
        out->ttl_s = clamp_ttl(result->ttl_s, r->cfg.ttl_min_s, r->cfg.ttl_max_s);
        out->addr_count = result->addr_count;
        memcpy(out->addrs, result->addrs, result->addr_count * sizeof(result->addrs[0]));
        break;
    case DNS_EXCHANGE_RECORDS: /* nobody asks for them here */
    case DNS_EXCHANGE_NODATA:
        out->status = RESOLVER_NODATA;
        out->ttl_s = clamp_ttl(result->ttl_s, 0, r->cfg.ttl_neg_max_s);
        break;
    case DNS_EXCHANGE_NXDOMAIN:
        out->status = RESOLVER_NXDOMAIN;
        out->ttl_s = clamp_ttl(result->ttl_s, 0, r->cfg.ttl_neg_max_s);
        break;
    }
}

static enum cache_kind kind_of(enum resolver_status status)
{
    switch (status) {
    case RESOLVER_FAILED:
        return CACHE_FAILURE;
    case RESOLVER_ADDRS:
        return CACHE_ADDRS;
    case RESOLVER_NODATA:
        return CACHE_NODATA;
    case RESOLVER_NXDOMAIN:
        return CACHE_NXDOMAIN;
    }
    return CACHE_FAILURE;
}

static void remember(struct resolver *r, const struct question *q)
{
    const struct resolver_answer *a = &q->answer;
    bool is_failure = a->status == RESOLVER_FAILED;
    if (is_failure && a->why == RESOLVER_FAIL_MEMORY) {
        return; /* ours, not the name's */
    }
    struct cache_answer entry = {
        .kind = kind_of(a->status),
        .ttl_s = is_failure ? FAILURE_TTL_S : a->ttl_s,
        .addr_count = a->addr_count,
    };
    memcpy(entry.addrs, a->addrs, a->addr_count * sizeof(a->addrs[0]));
    if (entry.ttl_s > 0) {
        cache_put(r->cache, &q->name, q->family, clock_mono_ms(), &entry);
    }
}

bool resolver_peek(struct resolver *r, const struct host_name *name, enum ip_family family, int64_t now_ms,
                   struct resolver_answer *out)
{
    struct cache_answer entry;
    enum cache_kind kind = cache_get(r->cache, name, family, now_ms, &entry);
    *out = (struct resolver_answer){.from_cache = true};
    switch (kind) {
    case CACHE_MISS:
        return false;
    case CACHE_ADDRS:
        out->status = RESOLVER_ADDRS;
        out->addr_count = entry.addr_count;
        memcpy(out->addrs, entry.addrs, entry.addr_count * sizeof(entry.addrs[0]));
        break;
    case CACHE_NODATA:
        out->status = RESOLVER_NODATA;
        break;
    case CACHE_NXDOMAIN:
        out->status = RESOLVER_NXDOMAIN;
        break;
    case CACHE_FAILURE:
        out->status = RESOLVER_FAILED;
        out->why = RESOLVER_FAIL_SERVFAIL; /* the cache keeps that it failed, not why */
        break;
    }
    out->ttl_s = entry.ttl_s;
    out->expires_ms = entry.expires_ms;
    r->cache_hits++;
    return true;
}

/* Doubles the table of waiters; indexes stay good. */
static int grow_waiters(struct resolver *r)
{
    uint32_t cap = r->waiter_cap == 0 ? 64 : r->waiter_cap * 2;
    if (cap > WAITERS_MAX) {
        return -ENOMEM;
    }
    struct waiter *waiters = reallocarray(r->waiters, cap, sizeof(*waiters));
    if (waiters == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = r->waiter_cap; i < cap; i++) {
        waiters[i] = (struct waiter){.generation = 1, .next = i + 1 < cap ? i + 1 : NO_WAITER};
    }
    r->waiter_free = r->waiter_cap;
    r->waiters = waiters;
    r->waiter_cap = cap;
    return 0;
}

/* Appends to the question's waiters. The caller has made sure that a slot is free. */
static resolver_ticket add_waiter(struct resolver *r, struct question *q, resolver_event_fn *fn, void *ctx)
{
    uint32_t i = r->waiter_free;
    struct waiter *w = &r->waiters[i];
    r->waiter_free = w->next;
    w->fn = fn;
    w->ctx = ctx;
    w->question = q;
    w->prev = q->last;
    w->next = NO_WAITER;
    if (q->last == NO_WAITER) {
        q->first = i;
    } else {
        r->waiters[q->last].next = i;
    }
    q->last = i;
    return (resolver_ticket)w->generation << 32 | (i + 1U);
}

static void remove_waiter(struct resolver *r, uint32_t i)
{
    struct waiter *w = &r->waiters[i];
    struct question *q = w->question;
    REQUIRE(q != NULL);
    if (w->prev == NO_WAITER) {
        q->first = w->next;
    } else {
        r->waiters[w->prev].next = w->next;
    }
    if (w->next == NO_WAITER) {
        q->last = w->prev;
    } else {
        r->waiters[w->next].prev = w->prev;
    }
    *w = (struct waiter){.generation = w->generation + 1, .next = r->waiter_free};
    r->waiter_free = i;
}

static void schedule_delivery(struct resolver *r)
{
    if (!ev_is_active(&r->ready_timer)) {
        ev_timer_set(&r->ready_timer, 0.0, 0.0);
        ev_timer_start(r->loop, &r->ready_timer);
    }
}

static void make_ready(struct question *q)
{
    struct resolver *r = q->owner;
    q->next_ready = NULL;
    if (r->ready_last == NULL) {
        r->ready_first = q;
    } else {
        r->ready_last->next_ready = q;
    }
    r->ready_last = q;
    schedule_delivery(r);
}

static void on_call_event(void *ctx, const struct dns_exchange_result *result)
{
    struct question *q = ctx;
    struct resolver *r = q->owner;
    htab_remove(&r->asking, &q->node);
    q->call = NULL;
    answer_from_result(r, result, &q->answer);
    remember(r, q);
    make_ready(q);
}

/* Calls back all who wait for q. False: a call back freed the resolver. */
static bool deliver(struct resolver *r, struct question *q, const bool *gone)
{
    struct resolver_answer answer = q->answer; /* outlives q if a call back frees the resolver */
    while (q->first != NO_WAITER) {
        resolver_event_fn *fn = r->waiters[q->first].fn;
        void *ctx = r->waiters[q->first].ctx;
        REQUIRE(fn != NULL);
        remove_waiter(r, q->first);
        fn(ctx, &answer);
        if (*gone) {
            return false;
        }
    }
    return true;
}

static void on_ready_event(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    struct resolver *r = w->data;
    bool gone = false;
    r->gone = &gone;
    /* What becomes ready meanwhile waits for the next turn: a cached answer asked for again must not spin
     * here. */
    const struct question *last = r->ready_last;
    bool is_last = last == NULL;
    for (struct question *q = r->ready_first; q != NULL && !is_last; q = r->ready_first) {
        if (!deliver(r, q, &gone)) {
            return;
        }
        is_last = q == last;
        r->ready_first = q->next_ready;
        if (r->ready_first == NULL) {
            r->ready_last = NULL;
        }
        free(q);
    }
    r->gone = NULL;
    if (r->ready_first != NULL) {
        schedule_delivery(r);
    }
}

struct question_key {
    const struct host_name *name;
    enum ip_family family;
};

static bool match_question(const struct htab_node *node, const void *key)
{
    const struct question *q = HTAB_ENTRY(node, const struct question, node);
    const struct question_key *k = key;
    return q->family == k->family && host_name_is_equal(&q->name, k->name);
}

static uint64_t hash_question(const struct resolver *r, const struct question_key *k)
{
    return htab_hash(&r->asking, host_name_span(k->name)) ^ (uint64_t)k->family;
}

static struct question *new_question(struct resolver *r, const struct question_key *k)
{
    struct question *q = calloc(1, sizeof(*q));
    if (q != NULL) {
        q->owner = r;
        q->name = *k->name;
        q->family = k->family;
        q->first = NO_WAITER;
        q->last = NO_WAITER;
    }
    return q;
}

/* A new question under way, or ready if there are too many; NULL if out of memory. */
static struct question *start_question(struct resolver *r, const struct question_key *k, uint64_t hash)
{
    struct question *q = new_question(r, k);
    if (q == NULL) {
        return NULL;
    }
    if (r->asking.count >= r->cfg.max_questions) {
        q->answer.why = RESOLVER_FAIL_BUSY;
        make_ready(q);
        return q;
    }
    uint16_t qtype = k->family == IP_V6 ? DNS_AAAA : DNS_A;
    q->call = dns_routes_start(r->routes, k->name, qtype, on_call_event, q);
    if (q->call == NULL) {
        free(q);
        return NULL;
    }
    htab_insert(&r->asking, &q->node, hash);
    return q;
}

resolver_ticket resolver_ask(struct resolver *r, const struct host_name *name, enum ip_family family,
                             resolver_event_fn *fn, void *ctx)
{
    if (r->waiter_free == NO_WAITER && grow_waiters(r) != 0) {
        return 0;
    }
    struct question_key key = {.name = name, .family = family};
    struct resolver_answer known;
    struct question *q = NULL;
    if (resolver_peek(r, name, family, clock_mono_ms(), &known)) {
        q = new_question(r, &key);
        if (q != NULL) {
            q->answer = known;
            make_ready(q);
        }
    } else {
        uint64_t hash = hash_question(r, &key);
        struct htab_node *node = htab_find(&r->asking, hash, match_question, &key);
        r->cache_misses++;
        if (node != NULL) {
            q = HTAB_ENTRY(node, struct question, node);
            r->coalesced++;
        } else {
            q = start_question(r, &key, hash);
        }
    }
    return q == NULL ? 0 : add_waiter(r, q, fn, ctx);
}

void resolver_cancel(struct resolver *r, resolver_ticket t)
{
    uint32_t slot = (uint32_t)(t & UINT32_MAX);
    if (slot == 0 || slot > r->waiter_cap) {
        return;
    }
    struct waiter *w = &r->waiters[slot - 1];
    if (w->fn == NULL || w->generation != (uint32_t)(t >> 32)) {
        return;
    }
    struct question *q = w->question;
    remove_waiter(r, slot - 1);
    /* Nobody wants it any more. A ready one goes when its turn comes. */
    if (q->first == NO_WAITER && q->call != NULL) {
        dns_client_cancel(q->call);
        htab_remove(&r->asking, &q->node);
        free(q);
    }
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
    r->cfg = *cfg;
    r->cfg.upstreams = NULL; /* the routes have their own copy */
    r->cfg.zones = NULL;
    r->waiter_free = NO_WAITER;
    ev_timer_init(&r->ready_timer, on_ready_event, 0.0, 0.0);
    r->ready_timer.data = r;
    struct dns_client_config client_cfg = {
        .upstreams = cfg->upstreams,
        .upstream_count = cfg->upstream_count,
        .attempt_ms = cfg->attempt_ms,
        .total_ms = cfg->total_ms,
    };
    rc = dns_routes_new(loop, &client_cfg, cfg->zones, &r->routes, err);
    if (rc != 0) {
        goto out;
    }
    rc = htab_init(&r->asking, 64);
    if (rc == 0) {
        rc = cache_new(cfg->cache_bytes, &r->cache);
    }
    if (rc != 0) {
        err_set(err, "out of memory");
    }
out:
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
    if (r->gone != NULL) {
        *r->gone = true;
    }
    ev_timer_stop(r->loop, &r->ready_timer);
    dns_routes_free(r->routes);
    while (r->asking.oldest != NULL) {
        struct question *q = HTAB_ENTRY(r->asking.oldest, struct question, node);
        htab_remove(&r->asking, &q->node);
        free(q);
    }
    htab_fini(&r->asking);
    while (r->ready_first != NULL) {
        struct question *q = r->ready_first;
        r->ready_first = q->next_ready;
        free(q);
    }
    cache_free(r->cache);
    free(r->waiters);
    free(r);
}

int resolver_set_upstreams(struct resolver *r, const struct addr *upstreams, size_t count, struct err *err)
{
    return dns_routes_set_upstreams(r->routes, upstreams, count, err);
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
        .cache_hits = r->cache_hits,
        .cache_misses = r->cache_misses,
        .coalesced = r->coalesced,
    };
}

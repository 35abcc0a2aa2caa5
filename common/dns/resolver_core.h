/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The resolver without I/O and without a clock: cache, questions under way and those who wait for them, stale
 * answers, renewal before the end of a TTL. Whoever drives it (resolver, or a test with invented time) starts
 * and cancels exchanges as it is told to, reports how they ended, and calls resolver_core_run() when
 * resolver_core_until_ms() has come. Policy is unknown here: callers judge a name before they ask for it, and
 * again what they do with the answer. Pure. One per worker.
 *
 * The rules. Equal questions share one exchange; a TTL of 0 is shared by those who wait and then forgotten. A
 * failure is remembered 1 to 30 s (cache) and then said to all who ask, but an answer that expired less than
 * stale_s ago is given in its place, and also to each who has waited RESOLVER_STALE_AFTER_MS for news, while
 * the exchange goes on for the next one (RFC 8767 5). Too many questions and what is missing here (memory,
 * descriptors, ports) are not remembered. A
 * popular answer near its end is renewed behind the answer; RESOLVER_RENEWALS_MAX at a time, and none while
 * the upstreams of its route are silent or cannot be reached.
 */
#pragma once

#include "common/base/metrics.h"
#include "common/dns/resolver_answer.h"
#include "common/dns/route_share.h"

#define RESOLVER_STALE_AFTER_MS 1800 /* RFC 8767 5: the client response timer */
#define RESOLVER_RENEWALS_MAX 64

typedef void resolver_event_fn(void *ctx, const struct resolver_answer *a); /* a is borrowed for the call */
/* 0 is none. Never reused while it could be confused (slot and generation). */
typedef uint64_t resolver_ticket;

/* Name, text, kind and help; a daemon puts these rows into its own list, all of them and in this order. */
/* clang-format off */
#define RESOLVER_COUNTER_LIST(X)                                                                                    \
    X(CACHE_HITS, "cache_hits", COUNTER, "Lookups that the cache answered, remembered failures too; hot ones are beside them")                \
    X(CACHE_MISSES, "cache_misses", COUNTER, "Lookups that the cache could not answer")                             \
    X(CACHE_ENTRIES, "cache_entries", GAUGE, "Names in the cache, each type by itself, stale ones too")           \
    X(CACHE_BYTES, "cache_bytes", GAUGE, "Memory of the cache")                                                     \
    X(CACHE_EVICTED, "cache_evicted", COUNTER, "Given up for others before they had expired: --cache-size is full") \
    X(COALESCED, "coalesced", COUNTER, "Lookups that joined one under way")                                         \
    X(STALE, "stale_lookups", COUNTER, "Lookups answered with what had expired")                                            \
    X(PREFETCHES, "prefetches", COUNTER, "Popular names asked again before they expire")                            \
    X(LOOKUP_FAILURES, "lookup_failures", COUNTER, "Lookups that failed upstream; remembered for 1 to 30 s")
/* clang-format on */

enum resolver_counter {
#define X(name, text, kind, help) RESOLVER_COUNTER_##name,
    RESOLVER_COUNTER_LIST(X)
#undef X
        RESOLVER_COUNTER_COUNT
};

struct resolver_question; /* one under way; lives until resolver_core_done(), cancel() or the core's end */

struct resolver_driver {
    /* Starts an exchange; reports its end with resolver_core_done(), never in here. NULL: no memory. */
    void *(*start)(void *ctx, const struct host_name *name, uint16_t qtype, struct resolver_question *q);
    void (*cancel)(void *ctx, void *exchange); /* what start() gave */
    /* Whose upstreams are asked for the name, below route_count. NULL: it is all one. */
    size_t (*route)(void *ctx, const struct host_name *name);
    void *ctx;
};

struct resolver_core_config { /* copied */
    struct resolver_ttls ttls;
    uint32_t stale_s; /* 0: expired answers are never used */
    size_t cache_bytes;
    size_t max_questions;    /* under way, shared out to the routes; beyond: RESOLVER_FAIL_BUSY */
    size_t route_count;      /* 1 to ROUTE_SHARE_MAX; 0 is 1 */
    struct metrics *metrics; /* NULL: counted for resolver_core_counter() only */
    size_t metrics_first;    /* where RESOLVER_COUNTER_LIST begins in there */
    struct resolver_driver driver;
};

struct resolver_core;
MUST_CHECK int resolver_core_new(const struct resolver_core_config *cfg, struct resolver_core **out);
/* Cancels what is under way, without call backs. Also from inside a call back. NULL-safe. */
void resolver_core_free(struct resolver_core *c);

/* What is known without asking: true and *out. May start a renewal behind it. */
bool resolver_core_peek(struct resolver_core *c, const struct host_name *name, uint16_t qtype, int64_t now_ms,
                        struct resolver_answer *out);

/* For one who may not ask: true and *out if there is a stale answer. */
bool resolver_core_peek_stale(struct resolver_core *c, const struct host_name *name, uint16_t qtype,
                              int64_t now_ms, struct resolver_answer *out);

struct resolver_ask { /* borrowed */
    const struct host_name *name;
    uint16_t qtype;
    bool is_again; /* a remembered failure will not do */
    resolver_event_fn *fn;
    void *ctx;
};
/* Calls back exactly once later, from resolver_core_run(); or gives 0 (no memory) and never calls back. */
MUST_CHECK resolver_ticket resolver_core_ask(struct resolver_core *c, const struct resolver_ask *ask,
                                             int64_t now_ms);
/* No call back after it. A ticket that is over is ignored. */
void resolver_core_cancel(struct resolver_core *c, resolver_ticket t);
/*
 * For one who cannot wait any longer: true if there is a stale answer; then *out is it, the ticket is over
 * and the exchange goes on. False: nothing has changed.
 */
bool resolver_core_take_stale(struct resolver_core *c, resolver_ticket t, int64_t now_ms,
                              struct resolver_answer *out);

/* The exchange of q ended; q is gone, or waits for resolver_core_run(). */
void resolver_core_done(struct resolver_question *q, const struct dns_exchange_result *result,
                        int64_t now_ms);

/* When to run: a time that has passed if answers are ready, INT64_MAX if nothing waits for a time. */
int64_t resolver_core_until_ms(const struct resolver_core *c);
/* Calls back whom it is time to answer. False: a call back freed the core. */
bool resolver_core_run(struct resolver_core *c, int64_t now_ms);

/* Ends every exchange that nobody waits for (renewals, news behind a stale answer). */
void resolver_core_drop_unwanted(struct resolver_core *c);

/* Is an answer to it on its way already? */
bool resolver_core_is_asked(struct resolver_core *c, const struct host_name *name, uint16_t qtype);

/* Of the cache (cache_turn). */
uint32_t resolver_core_turn(const struct resolver_core *c);

/* Other upstreams are asked from now on: what failed is worth asking again at once. */
void resolver_core_forgive(struct resolver_core *c);

void *resolver_core_driver_ctx(const struct resolver_question *q); /* driver.ctx of its core */
/* What q asks, as it lives. */
const struct host_name *resolver_core_name(const struct resolver_question *q);
uint16_t resolver_core_type(const struct resolver_question *q);
uint64_t resolver_core_counter(const struct resolver_core *c, enum resolver_counter which);

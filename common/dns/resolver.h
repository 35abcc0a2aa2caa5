/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole resolver of both daemons on libev: resolver_core (cache, coalescing, stale answers, renewal) over
 * exchanges with the upstreams. It knows no policy: callers judge before they ask and filter what comes back.
 * Never getaddrinfo, never the pod's own resolv.conf path once started. One per worker, on that worker's
 * loop; not thread-safe.
 */
#pragma once

#include "common/dns/loop_guard.h"
#include "common/dns/resolver_core.h"
#include "common/dns/zone.h"

#include <ev.h>

struct dns_tls_store;

struct resolver_config {          /* copied by resolver_new */
    const struct addr *upstreams; /* in order of preference; 1..16 */
    size_t upstream_count;
    const struct span *tls_names; /* of each: asked over TLS (dns_tls); empty: plain DNS; NULL: all of them */
    const struct dns_tls_store *tls; /* borrowed; NULL: nobody is asked over TLS */
    const struct zone_set *zones;    /* names that other upstreams are asked for; NULL: none */
    uint32_t ttl_min_s, ttl_max_s, ttl_neg_max_s;
    uint32_t stale_s; /* how long beyond its TTL an answer may be used when there is no news; 0: not at all */
    size_t cache_bytes;
    int64_t attempt_ms;   /* first wait for a reply before the next upstream or a retry: 800 */
    int64_t total_ms;     /* a question fails after this: 3500, well before a client's first 5 s timer */
    size_t max_questions; /* in flight, shared out to the routes; more fail at once with
                           * RESOLVER_FAIL_BUSY: 4096 */
    struct metrics
        *metrics; /* where RESOLVER_COUNTER_LIST is counted, from metrics_first on; NULL: nowhere */
    size_t metrics_first;
    size_t client_metrics_first;      /* of DNS_CLIENT_COUNTER_LIST, in the same metrics */
    struct upstream_news *news;       /* what has been said of upstreams, by all workers; may be NULL */
    bool watches_upstreams;           /* looks for loops and forgeries and logs them: in daemons */
    const struct loop_marker *marker; /* what this process answers to the loop question; NULL: nothing */
};
/* The defaults above: ttl 0, 3600, 60; stale 3600; 8 MiB; 800; 3500; 4096. */
void resolver_config_defaults(struct resolver_config *c);

struct resolver;
MUST_CHECK int resolver_new(struct ev_loop *loop, const struct resolver_config *cfg, struct resolver **out,
                            struct err *err);
void resolver_free(struct resolver *r); /* open questions are cancelled without a call back */

/* qtype is DNS_A, DNS_AAAA, DNS_SRV or DNS_TXT. Without asking: true and *out if the answer is known, a
 * remembered failure or a stale answer in its place included. A popular name near the end of its TTL is
 * renewed behind it. */
bool resolver_peek(struct resolver *r, const struct host_name *name, uint16_t qtype, int64_t now_ms,
                   struct resolver_answer *out);

/* For one who may not ask: true and *out if what had expired is still there. */
bool resolver_peek_stale(struct resolver *r, const struct host_name *name, uint16_t qtype, int64_t now_ms,
                         struct resolver_answer *out);

/* The default upstreams and each zone's are a route; for tables of questions that are shared out to them
 * (route_share). */
size_t resolver_route_count(const struct resolver *r);
size_t resolver_route_of(const struct resolver *r, const struct host_name *name);

/* Is an answer to it on its way already? Then resolver_ask() costs no packet. */
bool resolver_is_asked(struct resolver *r, const struct host_name *name, uint16_t qtype);

/* Of the cache (cache_turn): what is given again without resolver_peek() is to be looked up when it changes.
 */
uint32_t resolver_turn(const struct resolver *r);

/*
 * Asks. Returns a ticket and calls back exactly once later (never inside this call, also for cache hits), or
 * 0 if it could not even start (out of memory): then there is no call back.
 */
MUST_CHECK resolver_ticket resolver_ask(struct resolver *r, const struct host_name *name, uint16_t qtype,
                                        resolver_event_fn *fn, void *ctx);
/* The same for one who has just read the clock. */
MUST_CHECK resolver_ticket resolver_ask_at(struct resolver *r, const struct resolver_ask *ask,
                                           int64_t now_ms);
void resolver_cancel(struct resolver *r,
                     resolver_ticket t); /* no call back after it; a stale ticket is ignored */
/* Ends what is asked for the cache alone: nobody waits for it, and perhaps nobody may ask for it any more. */
void resolver_drop_unwanted(struct resolver *r);
/* For one who cannot wait any longer: true if a stale answer is there. Then the ticket is over. */
bool resolver_take_stale(struct resolver *r, resolver_ticket t, struct resolver_answer *out);

/*
 * Other default upstreams from now on, 1..16. What was learned of those that stay is kept; questions under
 * way go on and turn to the new ones. 0, or -EINVAL with *err and nothing changed.
 */
MUST_CHECK int resolver_set_upstreams(struct resolver *r, const struct addr *upstreams, size_t count,
                                      struct err *err);

struct resolver_stats {
    uint64_t sent_udp, sent_tcp, replies, mismatches, timeouts, failovers, cache_hits, cache_misses,
        coalesced, stale, prefetches, hedges, hedge_wins;
};
void resolver_stats_read(const struct resolver *r, struct resolver_stats *out);

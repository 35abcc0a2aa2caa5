/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole resolver of both daemons: cache, coalescing of equal questions, and exchanges with the upstreams
 * over libev. It knows no policy: callers judge before they ask and filter what comes back. Never
 * getaddrinfo, never the pod's own resolv.conf path once started. One per worker, on that worker's loop; not
 * thread-safe.
 */
#pragma once

#include "common/dns/cache.h"
#include "common/dns/zone.h"

#include <ev.h>

struct resolver_config {          /* copied by resolver_new */
    const struct addr *upstreams; /* in order of preference; 1..16 */
    size_t upstream_count;
    const struct zone_set *zones; /* names that other upstreams are asked for; NULL: none */
    uint32_t ttl_min_s, ttl_max_s, ttl_neg_max_s;
    size_t cache_bytes;
    int64_t attempt_ms;   /* first wait for a reply before the next upstream or a retry: 800 */
    int64_t total_ms;     /* a question fails after this: 3500, well before a client's first 5 s timer */
    size_t max_questions; /* in flight; more fail at once with RESOLVER_BUSY: 4096 */
};
/* The defaults above: ttl 0, 3600, 60; 8 MiB; 800; 3500; 4096. */
void resolver_config_defaults(struct resolver_config *c);

enum resolver_status {
    RESOLVER_FAILED = 0, /* why says more */
    RESOLVER_ADDRS,
    RESOLVER_NODATA,
    RESOLVER_NXDOMAIN
};
enum resolver_fail {
    RESOLVER_FAIL_NONE = 0,
    RESOLVER_FAIL_TIMEOUT,
    RESOLVER_FAIL_SERVFAIL,
    RESOLVER_FAIL_REFUSED,
    RESOLVER_FAIL_NETWORK,
    RESOLVER_FAIL_CNAME,
    RESOLVER_FAIL_BUSY,
    RESOLVER_FAIL_MEMORY
};
const char *resolver_fail_text(enum resolver_fail f);

struct resolver_answer {
    enum resolver_status status;
    enum resolver_fail why;
    bool from_cache;
    uint32_t ttl_s;
    int64_t expires_ms; /* from_cache: when the cache's entry ends (monotonic); else 0 */
    size_t addr_count;
    struct ip addrs[DNS_ADDRS_MAX];
};

struct resolver;
typedef void resolver_event_fn(void *ctx, const struct resolver_answer *a); /* a is borrowed for the call */

MUST_CHECK int resolver_new(struct ev_loop *loop, const struct resolver_config *cfg, struct resolver **out,
                            struct err *err);
void resolver_free(struct resolver *r); /* open questions are cancelled without a call back */

/* From the cache only: true and *out if it knows. Cached failures count as knowing. */
bool resolver_peek(struct resolver *r, const struct host_name *name, enum ip_family family, int64_t now_ms,
                   struct resolver_answer *out);

/* A ticket: 0 is none. Never reused while it could be confused (slot and generation). */
typedef uint64_t resolver_ticket;
/*
 * Asks. Returns a ticket and calls back exactly once later (never inside this call, also for cache hits), or
 * 0 if it could not even start (out of memory): then there is no call back.
 */
MUST_CHECK resolver_ticket resolver_ask(struct resolver *r, const struct host_name *name,
                                        enum ip_family family, resolver_event_fn *fn, void *ctx);
void resolver_cancel(struct resolver *r,
                     resolver_ticket t); /* no call back after it; a stale ticket is ignored */

/*
 * Other default upstreams from now on, 1..16. What was learned of those that stay is kept; questions under
 * way go on and turn to the new ones. 0, or -EINVAL with *err and nothing changed.
 */
MUST_CHECK int resolver_set_upstreams(struct resolver *r, const struct addr *upstreams, size_t count,
                                      struct err *err);

struct resolver_stats {
    uint64_t sent_udp, sent_tcp, replies, mismatches, timeouts, failovers, cache_hits, cache_misses,
        coalesced;
};
void resolver_stats_read(const struct resolver *r, struct resolver_stats *out);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one worker of dnsd has for itself: its sockets, its resolver with its share of the cache, its
 * conversations. Made in the main thread before the threads start, then that thread's only.
 */
#pragma once

#include "common/run/upstreams.h"
#include "dnsd/query.h"

struct dnsd_shared { /* immutable once the workers run; what it points to outlives them */
    const struct answer_config *answer;
    const struct acl *acl;
    const struct dns_soa_template *soa;
    const struct resolver_config *resolver; /* cache_bytes: of one worker, ready answers included */
    struct brakes *brakes;                  /* of all workers; has a lock of its own */
    struct synth_map *map;                  /* NULL in real mode */
    struct nft_set *direct;                 /* NULL: no --direct-nft-set */
    uint32_t direct_grace_s;
    struct ipv6_route_news *ipv6_news; /* of all workers */
    bool has_passed_sockets; /* whoever holds them gives them to the next process, with what waits in them */
    void (*on_drained)(struct worker *w); /* once, when nothing is in flight after dnsd_worker_drain() */
};

struct dnsd_socket {
    int fd; /* -1 once a worker has taken it */
    bool is_tcp;
    bool is_v6_only; /* [::] is not 0.0.0.0 too: so are those we bind, passed ones may be otherwise */
    unsigned worker; /* whose it is */
    struct addr local;
};

/* Takes the sockets of w->index out of sockets. Sets w->data. 0 or -errno with *err; w->data is then NULL. */
MUST_CHECK int dnsd_worker_start(struct worker *w, const struct dnsd_shared *shared,
                                 struct dnsd_socket *sockets, size_t socket_count, struct err *err);
void dnsd_worker_policy(struct worker *w); /* w->policy is another one */
void dnsd_worker_upstreams(struct worker *w, const struct upstream_list *list);
void dnsd_worker_drain(struct worker *w);
/* After its loop; safe when it never started. */
void dnsd_worker_stop(struct worker *w);

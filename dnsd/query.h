/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One conversation: PARSE -> DECIDE -> CACHE -> JOIN|ASK -> SYNTHESISE -> REPLY -> DONE. Malformed, denied
 * and cached names are answered within query_handle() and allocate nothing; others become an object with a
 * deadline until the resolver has said enough. The verdict is the worker's current policy's, also for an
 * answer that arrives after a reload. Each taken message gets exactly one reply. One engine per worker; that
 * worker's thread only.
 */
#pragma once

#include "common/dns/resolver.h"
#include "common/net/deadline.h"
#include "common/run/acl.h"
#include "common/run/brakes.h"
#include "common/run/worker.h"
#include "dnsd/dnsd_log.h"
#include "dnsd/synth_alloc.h"

#define QUERY_IN_FLIGHT_MAX 4096 /* shared out to the routes of the resolver (route_share) */
#define QUERY_OTHER_AFTER_MS 250 /* the asked family is silent for so long: ask the other one too */
#define QUERY_SILENT_MS 1000     /* a silent family is given up so long after the other one arrived */
#define QUERY_TOTAL_MS 3900      /* answered before 4 s: well before a client's first timer, 5 s */

struct query_engine_config { /* copied; what it points to outlives the engine */
    struct worker *worker;
    const struct answer_config *answer;
    const struct acl *acl;
    const struct dns_soa_template *soa;
    struct resolver *resolver;
    struct brakes *brakes;                       /* in front of the resolver, shared by all workers */
    size_t hot_bytes;                            /* for answers that are ready to be given again; 0: none */
    struct synth_map *map;                       /* NULL in real mode */
    struct nft_set *direct;                      /* --direct-nft-set; NULL: none */
    uint32_t direct_grace_s;                     /* how long beyond its TTL an address is let through */
    const struct loop_marker *marker;            /* the answer to the loop question; NULL: none */
    bool (*has_ipv6)(void *ctx, int64_t now_ms); /* is there an IPv6 default route? */
    void (*on_idle)(void *ctx); /* after query_engine_drain(): nothing is in flight; called once */
    void *ctx;
};

struct query_engine;
MUST_CHECK int query_engine_new(const struct query_engine_config *cfg, struct query_engine **out);
/* Conversations in flight end without a reply. */
void query_engine_free(struct query_engine *e);
/* Takes no new conversations (they are answered SERVFAIL) and calls on_idle, maybe at once. */
void query_engine_drain(struct query_engine *e);

/* The worker's policy is another one: names that it does not admit are answered so, and not asked for any
 * more. */
void query_engine_take_policy(struct query_engine *e);
/* The resolver's upstreams are others: which family the last ones did not answer is forgotten. */
void query_engine_take_upstreams(struct query_engine *e);

/*
 * The message is handled soon, after others: memory that it is likely to need is fetched while they are.
 * Without any effect otherwise. Returns what query_handle() need not find out again; 0 is nothing.
 */
uint64_t query_foresee(const struct query_engine *e, struct span message);
/* Between the two, and not at once: the answer that is there, if there is one, is fetched. */
void query_fetch(const struct query_engine *e, uint64_t foreseen);
enum query_outcome {
    QUERY_DROPPED = 0, /* not a question: nothing is sent, now or later */
    QUERY_TAKEN        /* one reply is sent, maybe before this returns */
};
/* now_ms: clock_mono_ms() of a moment ago, read after the message had come; messages that came together may
 * share it. foreseen: what query_foresee() said of this very message, or 0. */
enum query_outcome query_handle(struct query_engine *e, struct span message, int64_t now_ms,
                                uint64_t foreseen, const struct reply *to);
size_t query_in_flight(const struct query_engine *e);

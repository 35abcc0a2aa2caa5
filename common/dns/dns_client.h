/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs exchanges on sockets and libev: a connected UDP socket with a source port of the kernel's choice per
 * attempt, or a place on a connection that is kept (dns_stream). One per worker, on that worker's loop; owns
 * the upstream set. Knows neither cache nor policy.
 */
#pragma once

#include "common/dns/dns_client_counters.h"
#include "common/dns/dns_stream.h"
#include "common/dns/loop_guard.h"
#include "common/dns/upstream_news.h"

#include <ev.h>

struct dns_client_config {
    const struct addr *upstreams; /* 1..UPSTREAM_MAX, copied */
    /* NULL, or one for each upstream: where ops is set it is only ever asked over that */
    const struct dns_stream_transport *transports;
    size_t upstream_count;
    int64_t attempt_ms;
    int64_t total_ms;
    bool watches;                     /* looks for loops and forgeries, and logs them (upstream_watch) */
    struct upstream_news *news;       /* of the process; may be NULL. Outlives the client */
    const struct loop_marker *marker; /* our own; NULL: none. Outlives the client */
    struct metrics *metrics;          /* where DNS_CLIENT_COUNTER_LIST is counted; NULL: nowhere */
    size_t metrics_first;
};

struct dns_client;
struct dns_call;
/*
 * result is borrowed for the call; the dns_call is dead from here on. now_ms is the time of what ended it. It
 * may start and cancel other calls, but not free the client.
 */
typedef void dns_client_event_fn(void *ctx, const struct dns_exchange_result *result, int64_t now_ms);

MUST_CHECK int dns_client_new(struct ev_loop *loop, const struct dns_client_config *cfg,
                              struct dns_client **out, struct err *err); /* 0, -EINVAL or -ENOMEM */
void dns_client_free(struct dns_client *c); /* ends all calls without a call back; NULL-safe */

/* Calls back exactly once, never inside this call. NULL: out of memory, and no call back. */
MUST_CHECK struct dns_call *dns_client_start(struct dns_client *c, const struct host_name *name,
                                             uint16_t qtype, dns_client_event_fn *fn, void *ctx);
/*
 * Other upstreams from now on, 1..UPSTREAM_MAX. What was learned of those that stay is kept; open calls go on
 * and turn to the new ones where theirs is gone. Neither calls back nor may be
 * called from a call back. 0, or -EINVAL with *err and nothing
 * changed.
 */
MUST_CHECK int dns_client_set_upstreams(struct dns_client *c, const struct addr *upstreams, size_t count,
                                        struct err *err);
void dns_client_cancel(struct dns_call *call); /* no call back after it */
const struct dns_exchange_stats *dns_client_stats(const struct dns_client *c);

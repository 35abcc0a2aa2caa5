/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks upstreams whether they are a dnsd (loop_guard), each once and without retry: over UDP from a fresh
 * socket, or over connections. Silence is no loop. On one loop, at start and for each dns_client; not
 * thread-safe.
 */
#pragma once

#include "common/dns/dns_stream.h"
#include "common/dns/loop_guard.h"
#include "common/dns/upstream.h"

struct loop_check_config {
    const struct loop_marker *own; /* NULL, or outlives the check */
    int64_t wait_ms;               /* for a reply */
};

struct loop_check;
/* upstream is the index it was asked with. LOOP_MISMATCH: it was silent. May ask, but not free the check. */
typedef void loop_check_event_fn(void *ctx, size_t upstream, enum loop_verdict v);

MUST_CHECK int loop_check_new(struct ev_loop *loop, const struct loop_check_config *cfg,
                              loop_check_event_fn *fn, void *ctx, struct loop_check **out); /* 0 or -ENOMEM */
void loop_check_free(struct loop_check *l); /* no call back after it; NULL-safe */
/*
 * Asks. streams NULL: over UDP; else they outlive the answer, or loop_check_cancel(). Calls back once, never
 * inside this call, unless it is cancelled. upstream < UPSTREAM_MAX; one that is being asked is left alone.
 */
void loop_check_ask(struct loop_check *l, size_t upstream, const struct addr *to,
                    struct dns_streams *streams);
void loop_check_cancel(struct loop_check *l); /* all of them */
size_t loop_check_pending(const struct loop_check *l);

/*
 * Asks all at once and waits for the answers, at most wait_ms: for the start of a daemon, before anything is
 * served. own may be NULL. transports as in dns_client. found gets a verdict for each. 0 or -errno.
 */
MUST_CHECK int loop_check_all(const struct loop_check_config *cfg, const struct addr *addrs,
                              const struct dns_stream_transport *transports, size_t count,
                              enum loop_verdict found[UPSTREAM_MAX]);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both address families of one name, asked at the same time and handed on as Happy Eyeballs wants them (RFC
 * 8305 section 3): IPv6 addresses at once, IPv4 addresses at once if IPv6 has been answered and else after 50
 * ms, the family that comes later when it comes. A family that fails while the other is good is only missing.
 */
#pragma once

#include "common/dns/resolver.h"

#define RESOLVE_DELAY_MS 50 /* RFC 8305 section 8: Resolution Delay */

struct resolve;

struct resolve_result {
    const struct ip *addrs; /* new ones, IPv6 first; may be none */
    size_t addr_count;
    bool is_complete; /* the last call back */
    /* When is_complete and no call back had any address: what to tell. FAILED only if a family failed. */
    enum resolver_status status;
    enum resolver_fail why;
};
/* Called once or twice, the last time with is_complete; never inside resolve_start. r is borrowed. */
typedef void resolve_event_fn(void *ctx, const struct resolve_result *r);

/* 0 or -ENOMEM. */
MUST_CHECK int resolve_start(struct ev_loop *loop, struct resolver *resolver, const struct host_name *name,
                             resolve_event_fn *fn, void *ctx, struct resolve **out);
/* Frees it, with no call back after; also from inside the call back. Exactly once, whether complete or not.
 */
void resolve_cancel(struct resolve *r);

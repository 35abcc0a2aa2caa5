/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is there an IPv6 default route (--aaaa auto)? Asked of the kernel without sending anything, at most every
 * ten seconds. One per worker. Where there is no descriptor, memory or port to ask with, what was known
 * stays, no if nothing was, and the next call asks again.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* What the log was told last, for all workers; any thread. Zero-initialised: nothing yet. */
struct ipv6_route_news {
    atomic_int said;
};

struct ipv6_route { /* zero-initialised: not asked yet */
    struct ipv6_route_news
        *news; /* borrowed: what is found and was not said last is logged. NULL: nothing is */
    bool has;
    bool is_known;
    int64_t asked_ms;
};
bool ipv6_route_has(struct ipv6_route *r, int64_t now_ms);

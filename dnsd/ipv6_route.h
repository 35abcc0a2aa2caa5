/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is there an IPv6 default route (--aaaa auto)? Asked of the kernel without sending anything, at most every
 * ten seconds. One per worker. Where there is no descriptor, memory or port to ask with, what was known
 * stays, no if nothing was, and the next call asks again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct ipv6_route { /* zero-initialised: not asked yet */
    bool has;
    bool is_known;
    int64_t asked_ms;
};
bool ipv6_route_has(struct ipv6_route *r, int64_t now_ms);

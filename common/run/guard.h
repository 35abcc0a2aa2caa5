/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Builds the dest_guard of a daemon: own listeners (wildcard ones expanded over the host's addresses), pools
 * and
 * --never. Immutable once built.
 */
#pragma once

#include "common/net/addr.h"
#include "common/policy/judge_dest.h"
#include "common/run/settings_tables.h"

struct guard {
    struct dest_guard view; /* what judges take */
    struct dest_never *items;
    size_t cap;
};
MUST_CHECK int guard_build(const struct settings_shared *s, const struct addr *listeners,
                           size_t listener_count, struct guard *out, struct err *err);
void guard_fini(struct guard *g);
/* Is it one of the listeners that guard_build was given, or an address that may lead to one (unspecified, or
 * IPv6 that wraps IPv4)? */
bool guard_is_own(const struct guard *g, const struct addr *a);
/* "CIDR", "CIDR:PORT", "[v6/bits]:PORT", "ADDR". -EINVAL, or -EDOM if host bits are set. */
MUST_CHECK int guard_parse_never(struct span text, struct ip_prefix *prefix, uint16_t *port);
/* Every item of --never. -EINVAL. */
MUST_CHECK int guard_check_nevers(const struct str_list *list, struct err *err);
/* The pools of --pool (at most one per family), for guard and map. */
struct synth_pools {
    struct ip_prefix v4, v6;
    bool has_v4, has_v6;
};
/* --steer-address, at most one per family and in no pool; v4 and v6 are IP_NONE where there is none. -EINVAL.
 */
struct steer_addrs {
    struct ip v4, v6;
};
MUST_CHECK int guard_parse_steer(const struct settings_shared *s, struct steer_addrs *out, struct err *err);
/* Where synthetic addresses are given out, none of them may be that of a resolver. -EINVAL. */
MUST_CHECK int guard_check_pools(const struct synth_pools *pools, const struct addr *upstreams, size_t count,
                                 struct err *err);
MUST_CHECK int guard_parse_pools(const struct str_list *list, struct synth_pools *out, struct err *err);

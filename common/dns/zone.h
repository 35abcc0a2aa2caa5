/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split zones (--zone SUFFIX=ADDR[,ADDR...][,open]): names at or below SUFFIX are asked of other upstreams
 * than the rest. The longest suffix that fits decides. Pure.
 */
#pragma once

#include "common/base/host_name.h"
#include "common/dns/upstream.h"

#define ZONES_MAX 16

struct zone {
    struct host_name suffix;
    struct addr upstreams[UPSTREAM_MAX];
    struct span tls_names[UPSTREAM_MAX]; /* of each; parts of the text that was parsed; empty: plain DNS */
    size_t upstream_count;
    bool is_open; /* dnsd answers every name of it with real addresses, even where no rule does */
};

struct zone_set { /* immutable once made */
    struct zone items[ZONES_MAX];
    size_t count;
};

/* "SUFFIX=ADDR[:PORT][,ADDR[:PORT]...][,open]", each ADDR as upstream_parse takes it. 0, or -EINVAL with
 * *err, which begins with the text. */
MUST_CHECK int zone_parse(struct span text, struct zone *out, struct err *err);
/* Adds a zone. -EINVAL with *err: there are ZONES_MAX already, or one has the suffix. */
MUST_CHECK int zone_set_add(struct zone_set *set, const struct zone *zone, struct err *err);

/* The zone that the name is in, or NULL. set may be NULL: there are none. */
const struct zone *zone_find(const struct zone_set *set, const struct host_name *name);
/* The same, but only if that zone is open. */
const struct zone *zone_find_open(const struct zone_set *set, const struct host_name *name);
/* True for a name that has an open zone strictly below it: it must not look as if nothing were there (RFC
 * 8020).
 */
bool zone_is_open_parent(const struct zone_set *set, const struct host_name *name);

/* SPDX-License-Identifier: Apache-2.0 */
/* The cache for tests that have a name and a type, and make a key for each call. */
#pragma once

#include "common/dns/cache.h"

static inline enum cache_age get_by_name(struct cache *c, const struct host_name *name, uint16_t qtype,
                                         int64_t now_ms, struct cache_found *out)
{
    const struct cache_key key = cache_key_make(c, name, qtype);
    return cache_get(c, &key, now_ms, out);
}

static inline void put_by_name(struct cache *c, const struct host_name *name, uint16_t qtype, int64_t now_ms,
                               const struct cache_answer *a)
{
    const struct cache_key key = cache_key_make(c, name, qtype);
    cache_put(c, &key, now_ms, a);
}

static inline void fail_by_name(struct cache *c, const struct host_name *name, uint16_t qtype, int64_t now_ms,
                                uint8_t why)
{
    const struct cache_key key = cache_key_make(c, name, qtype);
    cache_fail(c, &key, now_ms, why);
}

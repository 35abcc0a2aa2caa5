/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer cache: (name, family) -> reduced answer. Bounded in bytes, least recently used goes first. Keeps
 * both positive and negative results and failures, each with an expiry; TTLs count down exactly in whole
 * seconds. Pure (time is a parameter). One per worker.
 */
#pragma once

#include "common/dns/dns_wire.h"

enum cache_kind { CACHE_MISS = 0, CACHE_ADDRS, CACHE_NODATA, CACHE_NXDOMAIN, CACHE_FAILURE };

struct cache_answer {
    enum cache_kind kind;
    uint32_t ttl_s;     /* what is left (get) or to keep (put) */
    int64_t expires_ms; /* get only */
    size_t addr_count;
    struct ip addrs[DNS_ADDRS_MAX];
};

struct cache;
MUST_CHECK int cache_new(size_t max_bytes, struct cache **out);
void cache_free(struct cache *c);
enum cache_kind cache_get(struct cache *c, const struct host_name *name, enum ip_family family,
                          int64_t now_ms, struct cache_answer *out);
void cache_put(struct cache *c, const struct host_name *name, enum ip_family family, int64_t now_ms,
               const struct cache_answer *a);
size_t cache_bytes(const struct cache *c);
size_t cache_count(const struct cache *c);

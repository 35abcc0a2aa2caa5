/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer cache: (name, type) -> reduced answer, and how often asking failed since. Bounded in bytes:
 * what has expired goes first, then the least recently used. TTLs count down exactly in whole seconds. An
 * expired answer is kept for a while as a stale one (RFC 8767); a failure is remembered beside the answer and
 * never in its place (RFC 9520). It knows no policy and no verdict. Pure (time is a parameter). One per
 * worker.
 */
#pragma once

#include "common/dns/dns_rrset.h"

/* RFC 9520 3.2: a failure is remembered for 1 s at least, longer if it persists, and 5 min at most. */
#define CACHE_FAILURE_FIRST_S 1
#define CACHE_FAILURE_MAX_S 30
/* A failure so long after the end of the previous one is a first one again. */
#define CACHE_FAILURE_FORGET_MS 60000

/* An answer is worth renewing before its end if its TTL is no less than this, a tenth of it or less is left,
 * and it was given from the cache at least twice. */
#define CACHE_RENEW_TTL_MIN_S 10
#define CACHE_RENEW_PART 10
#define CACHE_RENEW_HITS 2

enum cache_kind { CACHE_MISS = 0, CACHE_ADDRS, CACHE_RECORDS, CACHE_NODATA, CACHE_NXDOMAIN };

struct cache_answer {
    enum cache_kind kind;
    uint32_t ttl_s;                  /* what is left (get; 0 if it is stale) or to keep (put) */
    int64_t expires_ms;              /* get only */
    int64_t renew_ms;                /* get only: when it begins to be worth a renewal, at most expires_ms */
    const struct dns_rrset *records; /* of RECORDS; get: the cache's, good until the next get */
    size_t addr_count;
    struct ip addrs[DNS_ADDRS_MAX];
};

enum cache_age { CACHE_NOTHING = 0, CACHE_FRESH, CACHE_STALE };

struct cache_found {
    enum cache_age age;         /* NOTHING: answer.kind is CACHE_MISS */
    bool is_confirmed;          /* has_failed: and cache_confirm() has said so since */
    bool has_failed;            /* asking failed, so recently that it is not to be asked again now */
    uint8_t why;                /* what cache_fail() was told; 0 if no failure since the answer is known */
    bool is_worth_renew;        /* fresh, but not for long, and popular */
    struct cache_answer answer; /* only the first addr_count addresses are set */
};

/* What an entry is found by. The name is borrowed. */
struct cache_key {
    const struct host_name *name;
    uint16_t qtype;
    uint64_t hash; /* of both, with the cache's secret key: good for other tables as well */
};

struct cache;
/* stale_s: how long an expired answer is kept; 0: not at all. */
MUST_CHECK int cache_new(size_t max_bytes, uint32_t stale_s, struct cache **out);
void cache_free(struct cache *c);
/* Types are DNS_A, DNS_AAAA, DNS_SRV and DNS_TXT. A name that is asked for several times in a row, for other
 * types too, is hashed once. */
struct cache_key cache_key_make(struct cache *c, const struct host_name *name, uint16_t qtype);
enum cache_age cache_get(struct cache *c, const struct cache_key *key, int64_t now_ms,
                         struct cache_found *out);
/* Takes the place of what was there, failures included. With a TTL of 0 nothing is kept. */
void cache_put(struct cache *c, const struct cache_key *key, int64_t now_ms, const struct cache_answer *a);
/* Asking failed: remembered for 1 s, and twice as long each further time, up to 30 s. why: not 0. */
void cache_fail(struct cache *c, const struct cache_key *key, int64_t now_ms, uint8_t why);
/* The failure that cache_fail() has just been told was found although one was remembered; of the next one
 * nothing is said again. */
void cache_confirm(struct cache *c, const struct cache_key *key);
/* Who failed is not asked any more: every failure is forgotten, and may happen again as a first one. */
void cache_forgive(struct cache *c);
/*
 * Another number each time a quarter of the entries is new and less than half of the memory is left. Who
 * gives answers again without asking the cache has to ask it then: what seems to be used by nobody goes next.
 */
uint32_t cache_turn(const struct cache *c);
size_t cache_bytes(const struct cache *c);
size_t cache_count(const struct cache *c);
struct cache_stats {
    uint64_t entries, bytes;
    uint64_t evicted; /* so far: given up for others before they had expired */
};
struct cache_stats cache_stats(const struct cache *c);

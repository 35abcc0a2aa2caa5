/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a resolver says of a name and type, and how that comes from an exchange or from the cache and goes
 * into it. Plain data; pure.
 */
#pragma once

#include "common/dns/cache.h"
#include "common/dns/dns_exchange.h"

#define RESOLVER_STALE_TTL_S 30 /* RFC 8767 4 */

enum resolver_status {
    RESOLVER_FAILED = 0, /* why says more */
    RESOLVER_ADDRS,
    RESOLVER_RECORDS, /* SRV or TXT */
    RESOLVER_NODATA,
    RESOLVER_NXDOMAIN
};
enum resolver_fail {
    RESOLVER_FAIL_NONE = 0,
    RESOLVER_FAIL_TIMEOUT,
    RESOLVER_FAIL_SERVFAIL,
    RESOLVER_FAIL_REFUSED,
    RESOLVER_FAIL_NETWORK,
    RESOLVER_FAIL_LOOP,
    RESOLVER_FAIL_TLS,
    RESOLVER_FAIL_TLS_UNTRUSTED,
    RESOLVER_FAIL_TLS_EXPIRED,
    RESOLVER_FAIL_TLS_NAME,
    RESOLVER_FAIL_MALFORMED, /* over TCP or TLS */
    RESOLVER_FAIL_CNAME,
    RESOLVER_FAIL_LOCAL, /* no descriptor, source port or memory for asking */
    RESOLVER_FAIL_HELD,  /* only of a stale answer: nobody was asked, for the caller may not */
    RESOLVER_FAIL_BUSY,
    RESOLVER_FAIL_MEMORY
};

struct resolver_answer {
    enum resolver_status status;
    struct addr upstream;   /* a failure that is new: who was asked last; no family: nobody was */
    enum resolver_fail why; /* also of a stale answer: why there is no new one; NONE: it is not there yet */
    bool from_cache;        /* a failure: it is a remembered one */
    bool is_nobody_there;   /* a remembered failure: no upstream could be had, and none has answered since */
    bool is_confirmed;      /* a remembered failure: found by one who had asked again */
    bool is_stale;          /* it had expired; ttl_s is RESOLVER_STALE_TTL_S */
    uint32_t ttl_s;
    int64_t expires_ms; /* from_cache: when the cache's entry ends (monotonic); else 0 */
    int64_t renew_ms;   /* from_cache: ask again from then on, so that it is renewed in time; else 0 */
    const struct dns_rrset *records; /* of RECORDS: borrowed until the resolver is called again or freed */
    size_t addr_count;
    struct ip addrs[DNS_ADDRS_MAX]; /* only the first addr_count are set */
};

/* One word, for scripts. */
const char *resolver_fail_text(enum resolver_fail f);
/* What happened, for people: X(code, sentence) for each code but NONE. Literals, so that others can be made
 * of them. */
#define RESOLVER_FAIL_SAYS(X)                                                                                \
    X(RESOLVER_FAIL_TIMEOUT, "no upstream answered in time")                                                 \
    X(RESOLVER_FAIL_SERVFAIL, "the upstreams answer SERVFAIL, or what is no answer")                         \
    X(RESOLVER_FAIL_REFUSED, "the upstreams answer REFUSED")                                                 \
    X(RESOLVER_FAIL_NETWORK, "no upstream can be reached")                                                   \
    X(RESOLVER_FAIL_LOOP, "every upstream is an openshell-dnsd and not asked")                               \
    X(RESOLVER_FAIL_TLS, "TLS with the upstream fails")                                                      \
    X(RESOLVER_FAIL_TLS_UNTRUSTED, "the upstream's certificate is not trusted")                              \
    X(RESOLVER_FAIL_TLS_EXPIRED, "the upstream's certificate has expired or is not valid yet")               \
    X(RESOLVER_FAIL_TLS_NAME, "the upstream's certificate is for another name")                              \
    X(RESOLVER_FAIL_MALFORMED, "an upstream sends over TCP what is no reply to the question")                \
    X(RESOLVER_FAIL_CNAME, "the chain of CNAMEs is too long, loops, or leads to no host name")               \
    X(RESOLVER_FAIL_LOCAL, "out of descriptors, ports or memory")                                            \
    X(RESOLVER_FAIL_HELD, "this client may not ask upstream now")                                            \
    X(RESOLVER_FAIL_BUSY, "too many questions in flight to the upstreams of this name")                      \
    X(RESOLVER_FAIL_MEMORY, "out of memory")
const char *resolver_fail_sentence(enum resolver_fail f);

/* A failure, or an answer without addresses and TTL. */
void resolver_answer_set(struct resolver_answer *out, enum resolver_status status, enum resolver_fail why);
/* Copies what is set. */
void resolver_answer_copy(struct resolver_answer *to, const struct resolver_answer *from);

struct resolver_ttls {
    uint32_t min_s, max_s; /* of addresses */
    uint32_t neg_max_s;
};
void resolver_answer_from_exchange(const struct dns_exchange_result *result, const struct resolver_ttls *ttls,
                                   struct resolver_answer *out);
void resolver_answer_from_cache(const struct cache_answer *a, struct resolver_answer *out);
/* a is no failure. */
void resolver_answer_to_cache(const struct resolver_answer *a, struct cache_answer *out);

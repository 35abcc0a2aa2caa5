/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/resolver_answer.h"

const char *resolver_fail_text(enum resolver_fail f)
{
    switch (f) {
    case RESOLVER_FAIL_NONE:
        return "none";
    case RESOLVER_FAIL_TIMEOUT:
        return "timeout";
    case RESOLVER_FAIL_SERVFAIL:
        return "servfail";
    case RESOLVER_FAIL_REFUSED:
        return "refused";
    case RESOLVER_FAIL_NETWORK:
        return "network";
    case RESOLVER_FAIL_LOOP:
        return "loop";
    case RESOLVER_FAIL_TLS:
        return "tls_handshake";
    case RESOLVER_FAIL_TLS_UNTRUSTED:
        return "tls_untrusted";
    case RESOLVER_FAIL_TLS_EXPIRED:
        return "tls_expired";
    case RESOLVER_FAIL_TLS_NAME:
        return "tls_name";
    case RESOLVER_FAIL_MALFORMED:
        return "malformed";
    case RESOLVER_FAIL_CNAME:
        return "cname";
    case RESOLVER_FAIL_LOCAL:
        return "local";
    case RESOLVER_FAIL_HELD:
        return "held";
    case RESOLVER_FAIL_BUSY:
        return "busy";
    case RESOLVER_FAIL_MEMORY:
        return "memory";
    }
    return "unknown";
}

const char *resolver_fail_sentence(enum resolver_fail f)
{
#define SENTENCE(code, text) [code] = (text),
    static const char *const sentences[] = {[RESOLVER_FAIL_NONE] = "the upstreams failed",
                                            RESOLVER_FAIL_SAYS(SENTENCE)};
#undef SENTENCE
    return sentences[(size_t)f < sizeof sentences / sizeof sentences[0] ? f : RESOLVER_FAIL_NONE];
}

void resolver_answer_set(struct resolver_answer *out, enum resolver_status status, enum resolver_fail why)
{
    out->status = status;
    out->why = why;
    out->upstream = (struct addr){0};
    out->from_cache = false;
    out->is_nobody_there = false;
    out->is_confirmed = false;
    out->is_stale = false;
    out->ttl_s = 0;
    out->expires_ms = 0;
    out->renew_ms = 0;
    out->records = NULL;
    out->addr_count = 0;
}

void resolver_answer_copy(struct resolver_answer *to, const struct resolver_answer *from)
{
    memcpy(to, from, offsetof(struct resolver_answer, addrs));
    memcpy(to->addrs, from->addrs, from->addr_count * sizeof(from->addrs[0]));
}

static enum resolver_fail fail_from_exchange(enum dns_exchange_fail f)
{
    switch (f) {
    case DNS_EXCHANGE_FAIL_NETWORK:
        return RESOLVER_FAIL_NETWORK;
    case DNS_EXCHANGE_FAIL_LOOP:
        return RESOLVER_FAIL_LOOP;
    case DNS_EXCHANGE_FAIL_LOCAL:
        return RESOLVER_FAIL_LOCAL;
    case DNS_EXCHANGE_FAIL_TIMEOUT:
        return RESOLVER_FAIL_TIMEOUT;
    case DNS_EXCHANGE_FAIL_TLS:
        return RESOLVER_FAIL_TLS;
    case DNS_EXCHANGE_FAIL_TLS_UNTRUSTED:
        return RESOLVER_FAIL_TLS_UNTRUSTED;
    case DNS_EXCHANGE_FAIL_TLS_EXPIRED:
        return RESOLVER_FAIL_TLS_EXPIRED;
    case DNS_EXCHANGE_FAIL_TLS_NAME:
        return RESOLVER_FAIL_TLS_NAME;
    case DNS_EXCHANGE_FAIL_MALFORMED:
        return RESOLVER_FAIL_MALFORMED;
    case DNS_EXCHANGE_FAIL_REFUSED:
        return RESOLVER_FAIL_REFUSED;
    case DNS_EXCHANGE_FAIL_SERVFAIL:
        return RESOLVER_FAIL_SERVFAIL;
    case DNS_EXCHANGE_FAIL_CNAME:
        return RESOLVER_FAIL_CNAME;
    case DNS_EXCHANGE_FAIL_MEMORY:
        return RESOLVER_FAIL_MEMORY;
    case DNS_EXCHANGE_FAIL_NONE:
        break;
    }
    return RESOLVER_FAIL_SERVFAIL;
}

static uint32_t clamp_ttl(uint32_t ttl_s, uint32_t min_s, uint32_t max_s)
{
    if (ttl_s < min_s) {
        ttl_s = min_s;
    }
    return ttl_s > max_s ? max_s : ttl_s;
}

/* The result of an exchange as callers see it, with the TTL they and the cache may use. */
void resolver_answer_from_exchange(const struct dns_exchange_result *result, const struct resolver_ttls *ttls,
                                   struct resolver_answer *out)
{
    switch (result->status) {
    case DNS_EXCHANGE_FAILED:
        resolver_answer_set(out, RESOLVER_FAILED, fail_from_exchange(result->why));
        out->upstream = result->upstream;
        break;
    case DNS_EXCHANGE_ADDRS:
        resolver_answer_set(out, RESOLVER_ADDRS, RESOLVER_FAIL_NONE);
        out->ttl_s = clamp_ttl(result->ttl_s, ttls->min_s, ttls->max_s);
        out->addr_count = result->addr_count;
        memcpy(out->addrs, result->addrs, result->addr_count * sizeof(result->addrs[0]));
        break;
    case DNS_EXCHANGE_RECORDS:
        if (!CHECK(result->records != NULL)) {
            resolver_answer_set(out, RESOLVER_FAILED, RESOLVER_FAIL_MEMORY);
            break;
        }
        resolver_answer_set(out, RESOLVER_RECORDS, RESOLVER_FAIL_NONE);
        out->ttl_s = clamp_ttl(result->ttl_s, ttls->min_s, ttls->max_s);
        out->records = result->records;
        break;
    case DNS_EXCHANGE_NODATA:
        resolver_answer_set(out, RESOLVER_NODATA, RESOLVER_FAIL_NONE);
        out->ttl_s = clamp_ttl(result->ttl_s, 0, ttls->neg_max_s);
        break;
    case DNS_EXCHANGE_NXDOMAIN:
        resolver_answer_set(out, RESOLVER_NXDOMAIN, RESOLVER_FAIL_NONE);
        out->ttl_s = clamp_ttl(result->ttl_s, 0, ttls->neg_max_s);
        break;
    }
}

static enum resolver_status status_of(enum cache_kind kind)
{
    switch (kind) {
    case CACHE_ADDRS:
        return RESOLVER_ADDRS;
    case CACHE_RECORDS:
        return RESOLVER_RECORDS;
    case CACHE_NODATA:
        return RESOLVER_NODATA;
    case CACHE_NXDOMAIN:
        return RESOLVER_NXDOMAIN;
    case CACHE_MISS:
        break;
    }
    return RESOLVER_FAILED;
}

void resolver_answer_from_cache(const struct cache_answer *a, struct resolver_answer *out)
{
    resolver_answer_set(out, status_of(a->kind), RESOLVER_FAIL_NONE);
    out->from_cache = true;
    out->ttl_s = a->ttl_s;
    out->expires_ms = a->expires_ms;
    out->renew_ms = a->renew_ms;
    out->records = a->records;
    out->addr_count = a->addr_count;
    memcpy(out->addrs, a->addrs, a->addr_count * sizeof(a->addrs[0]));
}

static enum cache_kind kind_of(enum resolver_status status)
{
    switch (status) {
    case RESOLVER_ADDRS:
        return CACHE_ADDRS;
    case RESOLVER_RECORDS:
        return CACHE_RECORDS;
    case RESOLVER_NODATA:
        return CACHE_NODATA;
    case RESOLVER_NXDOMAIN:
        return CACHE_NXDOMAIN;
    case RESOLVER_FAILED:
        break;
    }
    return CACHE_MISS;
}

void resolver_answer_to_cache(const struct resolver_answer *a, struct cache_answer *out)
{
    out->kind = kind_of(a->status);
    out->ttl_s = a->ttl_s;
    out->records = a->records;
    out->addr_count = a->addr_count;
    memcpy(out->addrs, a->addrs, a->addr_count * sizeof(a->addrs[0]));
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/from_resolver.h"

static enum dns_ede failure_ede(enum resolver_fail why)
{
    switch (why) {
    case RESOLVER_FAIL_TIMEOUT:
    case RESOLVER_FAIL_SERVFAIL:
    case RESOLVER_FAIL_REFUSED:
        return DNS_EDE_NO_REACHABLE;
    case RESOLVER_FAIL_NETWORK:
    case RESOLVER_FAIL_LOOP:
    case RESOLVER_FAIL_TLS:
    case RESOLVER_FAIL_TLS_UNTRUSTED:
    case RESOLVER_FAIL_TLS_EXPIRED:
    case RESOLVER_FAIL_TLS_NAME:
    case RESOLVER_FAIL_MALFORMED:
        return DNS_EDE_NETWORK;
    case RESOLVER_FAIL_NONE:
    case RESOLVER_FAIL_CNAME:
    case RESOLVER_FAIL_LOCAL:
    case RESOLVER_FAIL_HELD:
    case RESOLVER_FAIL_BUSY:
    case RESOLVER_FAIL_MEMORY:
        break;
    }
    return DNS_EDE_OTHER;
}

static bool is_own_limit(enum resolver_fail why)
{
    return why == RESOLVER_FAIL_LOCAL || why == RESOLVER_FAIL_BUSY || why == RESOLVER_FAIL_MEMORY;
}

struct fail_text {
    const char *now;        /* it failed just now */
    const char *remembered; /* it failed, and is not asked again for some seconds */
    const char *stale;      /* the same, but there is an expired answer */
};

#define REMEMBERED "remembered for some seconds: "
#define STALE "expired, and "
#define ALL_THREE(why, text) [why] = {text, REMEMBERED text, STALE text},

static const struct fail_text *fail_text(enum resolver_fail why)
{
    static const struct fail_text texts[] = {[RESOLVER_FAIL_NONE] = {"the upstreams failed",
                                                                     REMEMBERED "the upstreams failed",
                                                                     STALE "no upstream has answered yet"},
                                             RESOLVER_FAIL_SAYS(ALL_THREE)};
    return &texts[(size_t)why < sizeof(texts) / sizeof(texts[0]) ? why : RESOLVER_FAIL_NONE];
}

static enum answer_family_state state_of(enum resolver_status status)
{
    switch (status) {
    case RESOLVER_ADDRS:
        return ANSWER_ADDRS;
    case RESOLVER_RECORDS:
        return ANSWER_RECORDS;
    case RESOLVER_NODATA:
        return ANSWER_NODATA;
    case RESOLVER_NXDOMAIN:
        return ANSWER_NXDOMAIN;
    case RESOLVER_FAILED:
        break;
    }
    return ANSWER_FAILED;
}

void from_resolver(const struct resolver_answer *a, bool is_silent, struct answer_family *out)
{
    *out = (struct answer_family){.state = is_silent ? ANSWER_SILENT : ANSWER_UNKNOWN,
                                  .ede = DNS_EDE_NO_REACHABLE,
                                  .text = "no upstream answered in time"};
    if (a == NULL) {
        return;
    }
    out->state = state_of(a->status);
    out->is_cached = a->from_cache;
    out->ttl_s = a->ttl_s;
    out->addrs = a->addrs;
    out->addr_count = a->addr_count;
    out->records = a->records;
    if (a->status == RESOLVER_FAILED) {
        out->ede = a->from_cache ? DNS_EDE_CACHED_ERROR : failure_ede(a->why);
        out->text = a->from_cache ? fail_text(a->why)->remembered : fail_text(a->why)->now;
        out->is_nobody_there = a->is_nobody_there;
        out->is_own_limit = is_own_limit(a->why);
        out->is_busy = a->why == RESOLVER_FAIL_BUSY;
        out->upstream = a->upstream;
    } else if (a->is_stale) {
        out->is_stale = true;
        out->text = fail_text(a->why)->stale;
    }
}

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
        return DNS_EDE_NETWORK;
    case RESOLVER_FAIL_NONE:
    case RESOLVER_FAIL_CNAME:
    case RESOLVER_FAIL_BUSY:
    case RESOLVER_FAIL_MEMORY:
        break;
    }
    return DNS_EDE_OTHER;
}

static const char *failure_text(const struct resolver_answer *a)
{
    if (a->from_cache) {
        return "the upstreams failed a moment ago";
    }
    switch (a->why) {
    case RESOLVER_FAIL_TIMEOUT:
        return "no upstream answered in time";
    case RESOLVER_FAIL_SERVFAIL:
        return "the upstreams answer SERVFAIL";
    case RESOLVER_FAIL_REFUSED:
        return "the upstreams answer REFUSED";
    case RESOLVER_FAIL_NETWORK:
        return "no upstream can be reached";
    case RESOLVER_FAIL_CNAME:
        return "the chain of CNAMEs is too long, loops, or leads to no host name";
    case RESOLVER_FAIL_BUSY:
        return "too many questions in flight";
    case RESOLVER_FAIL_MEMORY:
        return "out of memory";
    case RESOLVER_FAIL_NONE:
        break;
    }
    return "the upstreams failed";
}

static enum answer_family_state state_of(enum resolver_status status)
{
    switch (status) {
    case RESOLVER_ADDRS:
        return ANSWER_ADDRS;
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
    out->ttl_s = a->ttl_s;
    out->addrs = a->addrs;
    out->addr_count = a->addr_count;
    if (a->status == RESOLVER_FAILED) {
        out->ede = a->from_cache ? DNS_EDE_CACHED_ERROR : failure_ede(a->why);
        out->text = failure_text(a);
    }
}

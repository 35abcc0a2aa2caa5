/* SPDX-License-Identifier: Apache-2.0 */
/* The counters of a dnsd worker: indexes into its struct metrics, and their names in the log line at its end,
 * in /status and in /metrics. */
#pragma once

#include "common/base/metrics.h"
#include "common/dns/dns_client.h"
#include "common/dns/resolver_core.h"

/* clang-format off */
#define DNSD_COUNTER_LIST(X)                                                                                        \
    X(QUERIES, "queries", "Messages taken from clients")                                                            \
    X(DROPPED, "dropped", "Messages that are too short or are responses: no answer")                                \
    X(ERRORS, "errors", "Answers FORMERR, NOTIMP, REFUSED or BADVERS to what is no proper question")                \
    X(CLIENT_REFUSED, "client_refused", "Questions from outside --allow-client")                                    \
    X(DENIED, "denied", "Questions denied by the policy or by address rules")                                       \
    X(NOISE, "noise", "Questions for search lists, single labels and reverse lookups, denied")                      \
    X(LOCAL, "local", "Questions answered here: localhost, parents of names, own addresses in reverse, the loop question") \
    X(ADMITTED, "admitted", "Questions for admitted names: answered for the upstream or from egress.hosts, or another type") \
    X(OPEN_ZONE, "open_zone", "Questions for names of an open --zone: answered for the upstream, or another type")  \
    X(HOT, "hot", "Of admitted and open_zone, answers given again as they were a moment ago")                                        \
    X(STALE, "stale", "Answers made of what had expired, for want of news")                                         \
    X(REPAIRED, "repaired", "Answers NODATA for a family that is bad upstream while the other is good")             \
    X(ADDRESSES_LEFT_OUT, "addresses_left_out", "Addresses not given out beside others that are: the rules for addresses refuse them") \
    X(RECORDS_LEFT_OUT, "records_left_out", "SRV and TXT records not given out: targets that no endpoint admits, too many") \
    X(FAILED, "failed", "Answers SERVFAIL, but for those of --rate-limit")                                          \
    X(BUSY, "busy", "Of failed, because too many questions were in flight, or for the end")                          \
    X(RATE_LIMITED, "rate_limited", "Questions stopped by --rate-limit and not answered with what had expired")     \
    X(WILDCARD_BUDGET, "wildcard_budget", "Questions stopped by --wildcard-budget")                                 \
    X(WILDCARD_LENGTH, "wildcard_length", "Questions stopped by --wildcard-length")                                 \
    X(WILDCARD_NAMES, "wildcard_names", "Names that first went upstream through a wildcard")                        \
    X(UNSENT, "unsent", "Answers that the transport could not take")                                                \
    X(TCP_CONNECTIONS, "tcp_connections", "TCP connections accepted")                                               \
    X(TCP_EVICTED, "tcp_evicted", "TCP connections closed or refused for the limit on them")
/* clang-format on */

enum dnsd_counter {
#define X(name, text, help) DNSD_COUNTER_##name,
    DNSD_COUNTER_LIST(X)
#undef X
        DNSD_COUNTER_RESOLVER, /* where RESOLVER_COUNTER_LIST begins */
    DNSD_COUNTER_UPSTREAM = DNSD_COUNTER_RESOLVER + RESOLVER_COUNTER_COUNT, /* DNS_CLIENT_COUNTER_LIST */
    DNSD_COUNTER_COUNT = DNSD_COUNTER_UPSTREAM + DNS_CLIENT_COUNTER_COUNT
};

extern const struct metrics_info dnsd_counters[DNSD_COUNTER_COUNT];

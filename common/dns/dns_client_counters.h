/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client of upstreams counts, for the other threads to read: the exchanges count for themselves, and
 * this says the difference. One per client; its worker only.
 */
#pragma once

#include "common/base/metrics.h"
#include "common/dns/dns_exchange.h"

/* clang-format off */
#define DNS_CLIENT_COUNTER_LIST(X)                                                                                    \
    X(UDP, "upstream_udp", COUNTER, "Queries to upstreams over UDP, whether they could be sent or not")               \
    X(TCP, "upstream_tcp", COUNTER, "Queries to upstreams over connections; a repeat on another one is not counted")  \
    X(REPLIES, "upstream_replies", COUNTER, "Replies of upstreams that answered a query")                             \
    X(FORGED, "upstream_forged", COUNTER, "Messages on sockets to upstreams that answered nothing asked there")       \
    X(TIMEOUTS, "upstream_timeouts", COUNTER, "Queries to upstreams that were not answered in time")                  \
    X(FAILOVERS, "upstream_failovers", COUNTER, "Questions that went on to another upstream")                         \
    X(HEDGES, "upstream_hedges", COUNTER, "Questions asked of a second upstream because the first was late")          \
    X(HEDGE_WINS, "upstream_hedge_wins", COUNTER, "Of upstream_hedges, answered by the second")                                 \
    X(TLS_HANDSHAKES, "upstream_tls_handshakes", COUNTER, "Connections to upstreams over TLS that came to stand")     \
    X(TLS_RESUMED, "upstream_tls_resumed", COUNTER, "Of upstream_tls_handshakes, resumed from an earlier one")                          \
    X(TLS_FAILED, "upstream_tls_failed", COUNTER, "Connections to upstreams over TLS that failed in it")
/* clang-format on */

/* Those of TLS are counted by the transports (dns_routes). */
enum dns_client_counter {
#define X(name, text, kind, help) DNS_CLIENT_COUNTER_##name,
    DNS_CLIENT_COUNTER_LIST(X)
#undef X
        DNS_CLIENT_COUNTER_COUNT
};

struct dns_client_counters {
    struct metrics *metrics; /* borrowed; NULL: nobody is told */
    size_t first;            /* where DNS_CLIENT_COUNTER_LIST begins in there */
    uint64_t said[DNS_CLIENT_COUNTER_COUNT];
};

/* Adds what has been counted since the last time. */
void dns_client_counters_say(struct dns_client_counters *c, const struct dns_exchange_stats *now);

/* SPDX-License-Identifier: Apache-2.0 */
/* The counters of a tunneld worker: indexes into its struct metrics, and their names in /status and /metrics.
 */
#pragma once

#include "common/base/metrics.h"
#include "common/dns/dns_client.h"
#include "common/dns/resolver_core.h"

/* clang-format off */
#define TUNNELD_COUNTER_LIST(X)                                                                                     \
    X(CONNECTIONS, "connections", COUNTER, "Connections accepted, captured ones too")                               \
    X(TUNNELS, "tunnels", GAUGE, "Tunnels that stand")                                                              \
    X(TUNNELS_OPENED, "tunnels_opened", COUNTER, "Tunnels opened")                                                  \
    X(TUNNELS_CHAINED, "tunnels_chained", COUNTER, "Of those opened, through --chain-proxy")                           \
    X(CHAIN_FAILED, "chain_failed", COUNTER, "Of those failed, for the chain proxy: refused, silent, unreachable")     \
    X(FORWARDED, "requests_forwarded", COUNTER, "Requests for http:// URLs that reached a server")                  \
    X(DENIED, "denied", COUNTER, "Connections refused by a rule: policy, address, client, limit, map")              \
    X(FAILED, "failed", COUNTER, "Connections admitted that came to nothing: name, destination, client gone, memory") \
    X(LIMIT_REACHED, "limit_reached", COUNTER, "Of those denied, for a limit: --max-tunnels and the like, descriptors") \
    X(HEADS, "heads", GAUGE, "Connections whose request head is not complete")                                      \
    X(ACCEPT_PAUSED, "accept_paused", COUNTER, "Times that accepting paused because no descriptor or memory was left") \
    X(RATE_LIMITED, "rate_limited", COUNTER, "Of those denied, for --rate-limit")                                   \
    X(WILDCARD_BUDGET, "wildcard_budget", COUNTER, "Of those denied, for --wildcard-budget")                        \
    X(WILDCARD_LENGTH, "wildcard_length", COUNTER, "Of those denied, for --wildcard-length")                        \
    X(WILDCARD_NAMES, "wildcard_names", COUNTER, "Names that first went upstream through a wildcard")               \
    X(SNI_MISMATCHES, "sni_mismatches", COUNTER, "Tunnels whose TLS did not name their host (--sni)")               \
    X(SNI_ECH, "sni_ech", COUNTER, "Tunnels whose ClientHello was with ECH, or pretended to be (--sni)")            \
    X(BAD_REQUESTS, "bad_requests", COUNTER, "Request heads that were bad or late")                                 \
    X(BYTES_UP, "bytes_up", COUNTER, "Bytes handed to destinations, by tunnels and requests that have ended")                    \
    X(BYTES_DOWN, "bytes_down", COUNTER, "Bytes handed to clients, by tunnels and requests that have ended")
/* clang-format on */

enum tunneld_counter {
#define X(name, text, kind, help) TUNNELD_COUNTER_##name,
    TUNNELD_COUNTER_LIST(X)
#undef X
        TUNNELD_COUNTER_RESOLVER, /* where RESOLVER_COUNTER_LIST begins */
    TUNNELD_COUNTER_UPSTREAM =
        TUNNELD_COUNTER_RESOLVER + RESOLVER_COUNTER_COUNT, /* DNS_CLIENT_COUNTER_LIST */
    TUNNELD_COUNTER_COUNT = TUNNELD_COUNTER_UPSTREAM + DNS_CLIENT_COUNTER_COUNT
};

extern const struct metrics_info tunneld_counters[TUNNELD_COUNTER_COUNT];

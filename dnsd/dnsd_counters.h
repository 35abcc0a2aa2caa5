/* SPDX-License-Identifier: Apache-2.0 */
/* The counters of a dnsd worker: indexes into its struct metrics, and their names in the log line at its end.
 */
#pragma once

#define DNSD_COUNTER_LIST(X)                                                                                 \
    X(QUERIES, "queries")                 /* messages taken from clients */                                  \
    X(DROPPED, "dropped")                 /* too short, or a response: no answer */                          \
    X(ERRORS, "errors")                   /* FORMERR, NOTIMP, REFUSED, BADVERS */                            \
    X(CLIENT_REFUSED, "client_refused")   /* outside --allow-client */                                       \
    X(DENIED, "denied")                   /* by policy or address rules */                                   \
    X(NOISE, "noise")                     /* search lists, single labels, reverse lookups */                 \
    X(LOCAL, "local")                     /* localhost, parents, other types */                              \
    X(ADMITTED, "admitted")               /* answered for the upstream or from egress.hosts */               \
    X(REPAIRED, "repaired")               /* a bad family answered NODATA */                                 \
    X(FAILED, "failed")                   /* SERVFAIL */                                                     \
    X(BUSY, "busy")                       /* ... of those, because too many were in flight */                \
    X(UNSENT, "unsent")                   /* answers the transport could not take */                         \
    X(TCP_CONNECTIONS, "tcp_connections") /* accepted */                                                     \
    X(TCP_EVICTED, "tcp_evicted")         /* closed or refused for the limit on connections */

enum dnsd_counter {
#define X(name, text) DNSD_COUNTER_##name,
    DNSD_COUNTER_LIST(X)
#undef X
        DNSD_COUNTER_COUNT
};

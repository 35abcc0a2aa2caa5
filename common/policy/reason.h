/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The closed set of reason codes: the same word in a log line, a JSON error body, an EDE text, explain and
 * status. Scripts rely on the words. 0 is the safe one. Pure.
 */
#pragma once

#define REASON_LIST(X)                                                                                       \
    X(POLICY_DENIED, "policy_denied")           /* no endpoint names this host and port */                   \
    X(BINARY_DENIED, "binary_denied")           /* endpoints match, none admits the process */               \
    X(L7_REQUIRED, "l7_inspection_required")    /* a raw tunnel would widen the rule */                      \
    X(SSRF_DENIED, "ssrf_denied")               /* the address class or allowed_ips forbids it */            \
    X(CLIENT_NOT_ALLOWED, "client_not_allowed") /* --allow-client */                                         \
    X(NOT_MAPPED, "not_mapped")                 /* captured address never handed out, or expired */          \
    X(STEER_NO_NAME, "steer_no_name")           /* a steered client names no host, or not as it may */       \
    X(BAD_REQUEST, "bad_request")               /* malformed head */                                         \
    X(HEAD_TIMEOUT, "head_timeout")             /* no complete head in time */                               \
    X(HEAD_TOO_LARGE, "head_too_large")                                                                      \
    X(METHOD_NOT_ALLOWED, "method_not_allowed")                                                              \
    X(LIMIT_REACHED, "limit_reached")                                                                        \
    X(RATE_LIMITED, "rate_limited")       /* --rate-limit: this client asks upstream too often */            \
    X(WILDCARD_BUDGET, "wildcard_budget") /* --wildcard-budget: too many new names through one wildcard */   \
    X(WILDCARD_LENGTH, "wildcard_length") /* --wildcard-length: too long for a wildcard */                   \
    X(DNS_FAILED, "dns_failed")                                                                              \
    X(UPSTREAM_UNREACHABLE, "upstream_unreachable")                                                          \
    X(UPSTREAM_TIMEOUT, "upstream_timeout")                                                                  \
    X(CHAIN_FAILED, "chain_failed")                                                                          \
    X(PROXY_LOOP, "proxy_loop")                                                                              \
    X(BAD_RESPONSE, "bad_response") /* the server's answer to a forwarded request is not HTTP */             \
    /* ends of an established tunnel */                                                                      \
    X(CLIENT_CLOSED, "client_closed")     /* both ends finished, client first */                             \
    X(UPSTREAM_CLOSED, "upstream_closed") /* both ends finished, upstream first */                           \
    X(CLIENT_RESET, "client_reset")                                                                          \
    X(UPSTREAM_RESET, "upstream_reset")                                                                      \
    X(PEER_VANISHED, "peer_vanished") /* keepalive or TCP_USER_TIMEOUT gave up (ETIMEDOUT) */                \
    X(IDLE, "idle")                                                                                          \
    X(LIFETIME, "lifetime")                                                                                  \
    X(HALF_CLOSED, "half_closed")   /* one end finished, the other stayed silent */                          \
    X(SNI_MISMATCH, "sni_mismatch") /* --sni: the client's TLS does not name the host */                     \
    X(POLICY_CHANGED, "policy_changed")                                                                      \
    X(SHUTDOWN, "shutdown")                                                                                  \
    X(INTERNAL, "internal_error") /* out of memory or descriptors */

enum reason {
    REASON_NONE = 0,
#define X(name, text) REASON_##name,
    REASON_LIST(X)
#undef X
        REASON_COUNT
};

const char *reason_text(enum reason r); /* "-" for REASON_NONE */

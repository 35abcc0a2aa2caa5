/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS over TLS (RFC 7858) as a transport of dns_stream, in the strict profile (RFC 8310): an upstream proves
 * that it is who the operator named, or nothing is asked of it, and never in plain text. TLS 1.2 or later,
 * ALPN "dot", SNI, no renegotiation, sessions resumed.
 *
 * struct dns_tls_store: what is trusted, read once at start (before privileges are dropped), immutable and
 * used by all threads. struct dns_tls: one upstream of one worker, with its last session; not thread-safe.
 *
 * A connection that fails in TLS does so with one of the errors below, and is logged (upstream_tls_failed).
 */
#pragma once

#include "common/base/metrics.h"
#include "common/dns/dns_stream.h"
#include "common/dns/upstream_news.h"

#include <errno.h>

#define DNS_TLS_WRONG_NAME EKEYREJECTED /* the certificate is for another name */
#define DNS_TLS_EXPIRED EKEYEXPIRED     /* or not valid yet */
#define DNS_TLS_UNTRUSTED ENOKEY        /* no chain to what is trusted */
#define DNS_TLS_REFUSED EPROTO          /* no common version, an alert, no TLS at all, closed in the middle */

bool dns_tls_is_built(void); /* false: configured without OpenSSL, and nothing below ever succeeds */

struct dns_tls_store;
/*
 * Reads the system's trusted certificates: the file and the directory that OpenSSL was built with, or those
 * of the environment's SSL_CERT_FILE and SSL_CERT_DIR. 0, -ENOMEM, or -EINVAL with *err: what the environment
 * names cannot be read, or there is no certificate at all.
 */
MUST_CHECK int dns_tls_store_new(struct dns_tls_store **out, struct err *err);
void dns_tls_store_free(struct dns_tls_store *s); /* after all that use it; NULL-safe */

enum dns_tls_counter {                                 /* what is counted, in this order */
                       DNS_TLS_COUNTER_HANDSHAKES = 0, /* done, resumed or not */
                       DNS_TLS_COUNTER_RESUMED,
                       DNS_TLS_COUNTER_FAILED
};

struct dns_tls_config {
    const struct dns_tls_store *store; /* borrowed */
    struct addr to;
    /* A host name or an IP address, which the server's certificate has to be for (a subject alternative
     * name; RFC 6125). */
    struct span name;
    struct upstream_news *news; /* of the process, so that all say a thing once; NULL: this one speaks for
                                 * itself. Outlives it */
    struct metrics *metrics;    /* NULL: nothing is counted. Outlives it */
    size_t metrics_first;       /* of enum dns_tls_counter */
};

struct dns_tls;
/* 0, -EINVAL: the name is neither of them, or -ENOMEM. */
MUST_CHECK int dns_tls_new(const struct dns_tls_config *cfg, struct dns_tls **out);
void dns_tls_free(struct dns_tls *t); /* after the streams that use it; NULL-safe */
struct dns_stream_transport dns_tls_transport(struct dns_tls *t);

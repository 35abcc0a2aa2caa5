/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What carries the questions to each of a list of upstreams: nothing special, or TLS for those that have a
 * name for it. Owned by who made it, with the streams that use it; not thread-safe.
 */
#pragma once

#include "common/dns/dns_tls.h"
#include "common/dns/upstream.h"

struct dns_transports {
    struct dns_stream_transport list[UPSTREAM_MAX]; /* by index of the upstream */
    struct dns_tls *tls[UPSTREAM_MAX];              /* NULL: plain */
};

struct dns_transports_config {
    const struct dns_tls_store *store; /* NULL: nobody is asked over TLS */
    const struct addr *addrs;
    const struct span *tls_names; /* of each; empty: plain DNS; NULL: all of them */
    size_t count;                 /* at most UPSTREAM_MAX */
    struct upstream_news *news;   /* as in dns_tls */
    struct metrics *metrics;      /* likewise; all of them count together */
    size_t metrics_first;
};
/* The store is borrowed, the rest read. 0, -ENOMEM, or -EINVAL with *err. To be ended with fini always. */
MUST_CHECK int dns_transports_init(struct dns_transports *t, const struct dns_transports_config *cfg,
                                   struct err *err);
void dns_transports_fini(struct dns_transports *t);

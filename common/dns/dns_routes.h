/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which upstreams a question goes to: those of the zone that the asked name is in, else the default ones.
 * Each has a dns_client of its own, so that the health, the sockets and the lessons of one say nothing about
 * another.
 *
 * A question stays where it began. A CNAME from a public name into a zone does not make us ask the zone's
 * servers: whoever owns the public name would choose what we ask inside. And a CNAME that leaves a zone is
 * asked of the zone's own servers, as a stub resolver there would.
 *
 * One per worker, on that worker's loop; not thread-safe.
 */
#pragma once

#include "common/dns/dns_client.h"
#include "common/dns/dns_transports.h"
#include "common/dns/zone.h"

struct dns_routes;

struct dns_routes_config {
    struct dns_client_config client; /* of the default upstreams; the rest of it holds for the zones too. Its
                                      * transports are made here */
    const struct span *tls_names;    /* of each default upstream; empty: plain DNS; NULL: all of them */
    const struct dns_tls_store *store; /* borrowed; NULL: no upstream is asked over TLS */
    const struct zone_set *zones;      /* NULL: none */
};
/* Everything but the store is copied; names of zones' upstreams are parts of texts that have to stay. */
MUST_CHECK int dns_routes_new(struct ev_loop *loop, const struct dns_routes_config *cfg,
                              struct dns_routes **out, struct err *err);
void dns_routes_free(struct dns_routes *r); /* as dns_client_free */

size_t dns_routes_count(const struct dns_routes *r);
/* 0: the default upstreams; below dns_routes_count(). */
size_t dns_routes_of(const struct dns_routes *r, const struct host_name *name);

/* As dns_client_start; dns_client_cancel ends the call. */
MUST_CHECK struct dns_call *dns_routes_start(struct dns_routes *r, const struct host_name *name,
                                             uint16_t qtype, dns_client_event_fn *fn, void *ctx);
/* As dns_client_set_upstreams, for the default ones. */
MUST_CHECK int dns_routes_set_upstreams(struct dns_routes *r, const struct addr *upstreams, size_t count,
                                        struct err *err);
void dns_routes_stats(const struct dns_routes *r, struct dns_exchange_stats *out); /* all together */

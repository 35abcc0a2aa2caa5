/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_routes.h"

#include <errno.h>
#include <stdlib.h>

_Static_assert(DNS_CLIENT_COUNTER_TLS_RESUMED ==
                       DNS_CLIENT_COUNTER_TLS_HANDSHAKES + DNS_TLS_COUNTER_RESUMED &&
                   DNS_CLIENT_COUNTER_TLS_FAILED ==
                       DNS_CLIENT_COUNTER_TLS_HANDSHAKES + DNS_TLS_COUNTER_FAILED,
               "in the order of enum dns_tls_counter");

struct route {
    struct dns_client *client;
    struct dns_transports transports;
};

struct dns_routes {
    struct route main;
    struct zone_set zones;
    struct route of_zone[ZONES_MAX]; /* by index in zones */
};

/* cfg is as it came, but with the route's own upstreams. */
static int open_route(struct route *r, struct ev_loop *loop, const struct dns_routes_config *cfg,
                      struct err *err)
{
    struct dns_client_config own = cfg->client;
    const struct dns_transports_config transports = {.store = cfg->store,
                                                     .addrs = own.upstreams,
                                                     .tls_names = cfg->tls_names,
                                                     .count = own.upstream_count,
                                                     .news = own.news,
                                                     .metrics = own.metrics,
                                                     .metrics_first = own.metrics_first +
                                                                      DNS_CLIENT_COUNTER_TLS_HANDSHAKES};
    int rc = dns_transports_init(&r->transports, &transports, err);
    own.transports = r->transports.list;
    return rc == 0 ? dns_client_new(loop, &own, &r->client, err) : rc;
}

static void close_route(struct route *r)
{
    dns_client_free(r->client);
    dns_transports_fini(&r->transports);
}

static int add_zone(struct dns_routes *r, struct ev_loop *loop, const struct dns_routes_config *cfg, size_t i,
                    struct err *err)
{
    const struct zone *z = &r->zones.items[i];
    struct dns_routes_config own = *cfg;
    own.client.upstreams = z->upstreams;
    own.client.upstream_count = z->upstream_count;
    own.tls_names = z->tls_names;
    int rc = open_route(&r->of_zone[i], loop, &own, err);
    if (rc != 0) {
        err_prefix(err, "zone %s", z->suffix.text);
    }
    return rc;
}

int dns_routes_new(struct ev_loop *loop, const struct dns_routes_config *cfg, struct dns_routes **out,
                   struct err *err)
{
    struct dns_routes *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    if (cfg->zones != NULL) {
        r->zones = *cfg->zones;
    }
    int rc = open_route(&r->main, loop, cfg, err);
    for (size_t i = 0; rc == 0 && i < r->zones.count; i++) {
        rc = add_zone(r, loop, cfg, i, err);
    }
    if (rc != 0) {
        dns_routes_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

void dns_routes_free(struct dns_routes *r)
{
    if (r == NULL) {
        return;
    }
    close_route(&r->main);
    for (size_t i = 0; i < r->zones.count; i++) {
        close_route(&r->of_zone[i]);
    }
    free(r);
}

size_t dns_routes_count(const struct dns_routes *r)
{
    return r->zones.count + 1;
}

size_t dns_routes_of(const struct dns_routes *r, const struct host_name *name)
{
    const struct zone *z = zone_find(&r->zones, name);
    return z == NULL ? 0 : (size_t)(z - r->zones.items) + 1;
}

struct dns_call *dns_routes_start(struct dns_routes *r, const struct host_name *name, uint16_t qtype,
                                  dns_client_event_fn *fn, void *ctx)
{
    const size_t route = dns_routes_of(r, name);
    struct dns_client *c = route == 0 ? r->main.client : r->of_zone[route - 1].client;
    return dns_client_start(c, name, qtype, fn, ctx);
}

int dns_routes_set_upstreams(struct dns_routes *r, const struct addr *upstreams, size_t count,
                             struct err *err)
{
    return dns_client_set_upstreams(r->main.client, upstreams, count, err);
}

static void add(struct dns_exchange_stats *sum, const struct dns_exchange_stats *s)
{
    sum->sent_udp += s->sent_udp;
    sum->sent_tcp += s->sent_tcp;
    sum->replies += s->replies;
    sum->mismatches += s->mismatches;
    sum->timeouts += s->timeouts;
    sum->failovers += s->failovers;
    sum->hedges += s->hedges;
    sum->hedge_wins += s->hedge_wins;
}

void dns_routes_stats(const struct dns_routes *r, struct dns_exchange_stats *out)
{
    *out = *dns_client_stats(r->main.client);
    for (size_t i = 0; i < r->zones.count; i++) {
        add(out, dns_client_stats(r->of_zone[i].client));
    }
}

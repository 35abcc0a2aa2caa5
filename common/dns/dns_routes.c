/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_routes.h"

#include <errno.h>
#include <stdlib.h>

struct dns_routes {
    struct dns_client *main;
    struct zone_set zones;
    struct dns_client *of_zone[ZONES_MAX]; /* by index in zones */
};

static int add_zone(struct dns_routes *r, struct ev_loop *loop, const struct dns_client_config *cfg, size_t i,
                    struct err *err)
{
    const struct zone *z = &r->zones.items[i];
    struct dns_client_config own = *cfg;
    own.upstreams = z->upstreams;
    own.upstream_count = z->upstream_count;
    own.transports = NULL;
    int rc = dns_client_new(loop, &own, &r->of_zone[i], err);
    if (rc != 0) {
        err_prefix(err, "zone %s", z->suffix.text);
    }
    return rc;
}

int dns_routes_new(struct ev_loop *loop, const struct dns_client_config *cfg, const struct zone_set *zones,
                   struct dns_routes **out, struct err *err)
{
    struct dns_routes *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    if (zones != NULL) {
        r->zones = *zones;
    }
    int rc = dns_client_new(loop, cfg, &r->main, err);
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
    dns_client_free(r->main);
    for (size_t i = 0; i < r->zones.count; i++) {
        dns_client_free(r->of_zone[i]);
    }
    free(r);
}

struct dns_call *dns_routes_start(struct dns_routes *r, const struct host_name *name, uint16_t qtype,
                                  dns_client_event_fn *fn, void *ctx)
{
    const struct zone *z = zone_find(&r->zones, name);
    struct dns_client *c = z == NULL ? r->main : r->of_zone[z - r->zones.items];
    return dns_client_start(c, name, qtype, fn, ctx);
}

int dns_routes_set_upstreams(struct dns_routes *r, const struct addr *upstreams, size_t count,
                             struct err *err)
{
    return dns_client_set_upstreams(r->main, upstreams, count, err);
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
    *out = *dns_client_stats(r->main);
    for (size_t i = 0; i < r->zones.count; i++) {
        add(out, dns_client_stats(r->of_zone[i]));
    }
}

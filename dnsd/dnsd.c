/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/dnsd.h"

#include "common/base/clock.h"
#include "common/dns/dns_ldns.h"
#include "common/run/pool_routes.h"
#include "common/run/daemon.h"
#include "common/run/upstreams.h"
#include "dnsd/dnsd_counters.h"
#include "dnsd/ipv6_route.h"
#include "dnsd/listeners.h"
#include "dnsd/nft_set.h"

#include <errno.h>
#include <linux/capability.h>

#define DRAIN_MS (QUERY_TOTAL_MS + 500) /* every conversation has ended by then */
#define OWN_UPSTREAM_HINT "give the resolver behind it instead, or another --listen"
#define ADDRS_MAX 256 /* distinct listeners put on the list of addresses never answered */

struct dnsd {
    struct settings_dnsd settings;
    int64_t drain_ms;
    struct listeners listeners;
    struct upstream_list upstreams; /* main thread; workers have their own copy */
    struct zone_set zones;
    struct dns_tls_store *tls; /* NULL: no upstream is asked over TLS */
    struct guard guard;
    struct acl acl;
    struct dns_soa_template soa;
    struct answer_config answer;
    struct upstream_news *news;
    struct ipv6_route_news ipv6_news;
    struct loop_marker marker; /* what this process answers to the loop question */
    struct resolver_config resolver;
    struct brakes *brakes;
    struct synth_map *map;
    struct nft_set *direct;
    uint64_t keep_caps;
    struct dnsd_shared shared;
};

static int check_lists(const struct settings_dnsd *s, struct err *err)
{
    struct acl acl = {0};
    int rc = guard_check_nevers(&s->shared.never, err);
    if (rc != 0) {
        return rc;
    }
    rc = acl_build(&s->shared.allow_client, false, &acl, err);
    if (rc == 0) {
        acl_fini(&acl);
    }
    return rc;
}

static int check_steer(const struct settings_dnsd *s, struct err *err)
{
    struct steer_addrs steer;
    int rc = guard_parse_steer(&s->shared, &steer, err);
    if (rc == 0 && s->answer == ANSWER_STEER && s->shared.steer.count == 0) {
        err_set(err, "--answer steer needs --steer-address: an address at which openshell-tunneld listens");
        rc = -EINVAL;
    }
    return rc;
}

static int check_settings(void *ctx, struct err *err)
{
    struct dnsd *d = ctx;
    const struct settings_dnsd *s = &d->settings;
    struct synth_pools pools;
    if (s->ttl_min_s > s->ttl_max_s) {
        err_set(err, "--ttl-min is greater than --ttl-max");
        return -EINVAL;
    }
    int rc = listeners_check(&s->listen, s->shared.admin, err);
    if (rc == 0) {
        rc = upstreams_parse(&s->shared.upstream, &d->upstreams, err);
    }
    if (rc == 0) {
        rc = upstreams_parse_zones(&s->shared.zone, &d->zones, err);
    }
    if (rc == 0) {
        rc = guard_parse_pools(&s->shared.pool, &pools, err);
    }
    if (rc == 0) {
        rc = check_steer(s, err);
    }
    if (rc == 0 && s->direct_nft_set != NULL) {
        rc = nft_set_check(s->direct_nft_set, err);
    }
    return rc == 0 ? check_lists(s, err) : rc;
}

/* Of resolv.conf. The pools are known once it has been read at the start, where they have a check of their
 * own.
 */
static int check_upstream(void *ctx, const struct addr *upstream, struct err *err)
{
    const struct dnsd *d = ctx;
    int rc = listeners_check_upstreams(&d->listeners, upstream, 1, err);
    if (rc != 0) {
        err_add_hint(err, "give the resolver behind it with --upstream");
        return rc;
    }
    return guard_check_pools(&d->answer.pools, upstream, 1, err);
}

/* The file that names the default upstreams, or NULL: the options do. */
static const char *upstreams_file(const struct dnsd *d)
{
    return d->settings.shared.upstream.count == 0 ? d->settings.resolv_conf : NULL;
}

static void say_file(const struct dnsd *d, struct err *err)
{
    if (upstreams_file(d) != NULL) {
        err_prefix(err, "%s", upstreams_file(d));
    }
}

/* Nobody who is asked may be ourselves. What resolv.conf names beside ourselves, which goes to *own, will do.
 */
static int check_upstreams(struct dnsd *d, struct upstream_list *own, struct err *err)
{
    int rc = 0;
    *own = (struct upstream_list){.count = 0};
    if (upstreams_file(d) != NULL) {
        rc = upstreams_drop_own(&d->upstreams, check_upstream, d, own, err);
        if (rc != 0) {
            say_file(d, err);
        }
    } else {
        rc = listeners_check_upstreams(&d->listeners, d->upstreams.addrs, d->upstreams.count, err);
        if (rc != 0) {
            err_add_hint(err, OWN_UPSTREAM_HINT);
        }
    }
    for (size_t i = 0; rc == 0 && i < d->zones.count; i++) {
        const struct zone *z = &d->zones.items[i];
        rc = listeners_check_upstreams(&d->listeners, z->upstreams, z->upstream_count, err);
        if (rc != 0) {
            err_prefix(err, "--zone %s", z->suffix.text);
            err_add_hint(err, OWN_UPSTREAM_HINT);
        }
    }
    return rc;
}

static int open_sockets(struct dnsd *d, struct listen_fds *passed, unsigned worker_count,
                        const struct addr *admin, struct err *err)
{
    int rc = passed->count > 0 ? listeners_adopt(&d->listeners, passed, worker_count, err)
                               : listeners_bind(&d->listeners, &d->settings.listen, worker_count, err);
    if (rc != 0) {
        return rc;
    }
    struct upstream_list ignored;
    rc = check_upstreams(d, &ignored, err);
    if (rc != 0) {
        return rc;
    }
    upstreams_log_own(&ignored, upstreams_file(d), check_upstream, d);
    struct addr own[ADDRS_MAX + 1];
    size_t count = listeners_addrs(&d->listeners, own, ADDRS_MAX);
    if (admin != NULL) {
        own[count++] = *admin;
    }
    rc = guard_build(&d->settings.shared, own, count, &d->guard, err);
    if (rc == 0) {
        rc = acl_build(&d->settings.shared.allow_client, d->listeners.is_passed, &d->acl, err);
    }
    return rc;
}

/* No upstream may be a synthetic address. */
static int check_pools(struct dnsd *d, struct err *err)
{
    int rc = guard_parse_pools(&d->settings.shared.pool, &d->answer.pools, err);
    if (rc == 0) {
        rc = guard_check_pools(&d->answer.pools, d->upstreams.addrs, d->upstreams.count, err);
        if (rc != 0) {
            say_file(d, err);
        }
    }
    for (size_t i = 0; rc == 0 && i < d->zones.count; i++) {
        const struct zone *z = &d->zones.items[i];
        rc = guard_check_pools(&d->answer.pools, z->upstreams, z->upstream_count, err);
    }
    return rc;
}

static int check_open(void *ctx, struct err *err)
{
    struct dnsd *d = ctx;
    const struct settings_dnsd *s = &d->settings;
    struct upstream_list ignored;
    int rc = upstreams_find(&s->shared.upstream, s->resolv_conf, &d->upstreams, err);
    if (rc == 0) {
        rc = upstreams_open_tls(&d->upstreams, &d->zones, &d->tls, err);
        dns_tls_store_free(d->tls);
        d->tls = NULL;
    }
    if (rc == 0) {
        rc = listeners_foresee(&d->listeners, &s->listen, err);
    }
    if (rc == 0) {
        rc = check_upstreams(d, &ignored, err);
        listeners_fini(&d->listeners);
    }
    return rc == 0 && s->answer == ANSWER_SYNTHETIC ? check_pools(d, err) : rc;
}

static int open_map(struct dnsd *d, struct err *err)
{
    if (d->settings.answer == ANSWER_STEER) {
        return guard_parse_steer(&d->settings.shared, &d->answer.steer, err);
    }
    if (d->settings.answer != ANSWER_SYNTHETIC) {
        return 0;
    }
    int rc = check_pools(d, err);
    if (rc != 0) {
        return rc;
    }
    const struct synth_map_config cfg = {
        .path = d->settings.shared.map, .pools = d->answer.pools, .grace_s = d->settings.map_grace_s};
    pool_routes_warn(&cfg.pools);
    return synth_map_open_writer(&cfg, clock_boot_s(), &d->map, err);
}

/* The socket is opened with the privilege, and using it takes the privilege again. */
static int open_direct(struct dnsd *d, struct err *err)
{
    if (d->settings.direct_nft_set == NULL) {
        return 0;
    }
    int rc = nft_set_open(d->settings.direct_nft_set, &d->direct, err);
    if (rc == 0) {
        d->keep_caps = UINT64_C(1) << CAP_NET_ADMIN;
        log_event(LOG_WARN, "direct_nft_set",
                  LOG_KV(kv_str("set", d->settings.direct_nft_set),
                         kv_str("note",
                                "nft lets addresses through, not names: whatever else is at the address of a "
                                "proxy: direct name can be reached on its ports")));
    }
    return rc;
}

static void on_drained(struct worker *w)
{
    daemon_worker_done(w);
}

static void fill_shared(struct dnsd *d, unsigned worker_count)
{
    const struct settings_dnsd *s = &d->settings;
    answer_config_set(&d->answer, s, &d->guard.view, &d->zones);
    resolver_config_defaults(&d->resolver);
    d->resolver.upstreams = d->upstreams.addrs;
    d->resolver.upstream_count = d->upstreams.count;
    d->resolver.tls_names = d->upstreams.tls_names;
    d->resolver.tls = d->tls;
    d->resolver.zones = &d->zones;
    d->resolver.ttl_min_s = s->ttl_min_s;
    d->resolver.ttl_max_s = s->ttl_max_s;
    d->resolver.ttl_neg_max_s = s->ttl_neg_max_s;
    d->resolver.stale_s = s->stale_s;
    d->resolver.cache_bytes = (size_t)(s->cache_bytes / worker_count);
    d->resolver.watches_upstreams = true;
    d->resolver.news = d->news;
    d->resolver.marker = &d->marker;
    d->shared = (struct dnsd_shared){.answer = &d->answer,
                                     .acl = &d->acl,
                                     .soa = &d->soa,
                                     .resolver = &d->resolver,
                                     .brakes = d->brakes,
                                     .map = d->map,
                                     .direct = d->direct,
                                     .direct_grace_s = s->map_grace_s,
                                     .ipv6_news = &d->ipv6_news,
                                     .has_passed_sockets = d->listeners.is_passed,
                                     .on_drained = on_drained};
}

static const char *const answer_modes[] = {
    [ANSWER_REAL] = "real", [ANSWER_SYNTHETIC] = "synthetic", [ANSWER_STEER] = "steer"};

static void log_start(struct dnsd *d)
{
    struct ipv6_route ipv6 = {.news = &d->ipv6_news};
    upstreams_log(&d->upstreams, &d->zones, d->news);
    log_event(LOG_INFO, "answering", LOG_KV(kv_str("mode", answer_modes[d->answer.mode])));
    if (answer_minds_ipv6(&d->answer)) {
        (void)ipv6_route_has(&ipv6, clock_mono_ms());
    }
    listeners_log(&d->listeners);
}

static int make_shared(struct dnsd *d, struct err *err)
{
    const struct brakes_config cfg = brakes_config_of(&d->settings.shared);
    int rc = dns_soa_template_build(&d->soa);
    if (rc != 0) {
        err_set(err, "cannot build the SOA record: %s", strerror(-rc));
        return rc;
    }
    rc = brakes_new(&cfg, &d->brakes);
    if (rc == 0) {
        rc = upstream_news_new(&d->news);
    }
    if (rc != 0) {
        err_set(err, "cannot start: %s", strerror(-rc));
    }
    return rc;
}

static int open_all(void *ctx, struct listen_fds *passed, unsigned worker_count, const struct addr *admin,
                    struct err *err)
{
    struct dnsd *d = ctx;
    const struct settings_dnsd *s = &d->settings;
    int rc = upstreams_find(&s->shared.upstream, s->resolv_conf, &d->upstreams, err);
    if (rc == 0) {
        rc = upstreams_open_tls(&d->upstreams, &d->zones, &d->tls, err);
    }
    if (rc == 0) {
        rc = open_sockets(d, passed, worker_count, admin, err);
    }
    if (rc == 0) {
        rc = make_shared(d, err);
    }
    if (rc == 0) {
        loop_marker_init(&d->marker);
        const struct upstreams_loop_config loops = {
            .file = upstreams_file(d), .tls = d->tls, .own = &d->marker, .news = d->news};
        rc = upstreams_check_loops(&d->upstreams, &d->zones, &loops, err);
    }
    if (rc == 0) {
        rc = open_map(d, err);
    }
    if (rc == 0) {
        rc = open_direct(d, err);
    }
    if (rc == 0) {
        fill_shared(d, worker_count);
        log_start(d);
    }
    return rc;
}

static int start_worker(struct worker *w, struct err *err)
{
    struct dnsd *d = w->ctx;
    return dnsd_worker_start(w, &d->shared, d->listeners.items, d->listeners.count, err);
}

/* Every answer is judged by w->policy when it leaves; what it denies is not waited for either. */
static void take_policy(struct worker *w, struct policy *previous)
{
    (void)previous;
    dnsd_worker_policy(w);
    log_event(LOG_DEBUG, "policy_in_use",
              LOG_KV(kv_u64("worker", w->index), kv_u64("generation", policy_generation(w->policy))));
}

static void write_status(void *ctx, struct json *json)
{
    const struct dnsd *d = ctx;
    json_str(json, "answer", answer_modes[d->answer.mode]);
    json_array(json, "listeners");
    listeners_write(&d->listeners, json);
    json_end(json);
    upstreams_write(&d->upstreams, &d->zones, json);
    upstreams_write_failing(&d->upstreams, &d->zones, d->news, json);
}

static void close_all(void *ctx)
{
    struct dnsd *d = ctx;
    listeners_fini(&d->listeners);
    synth_map_close(d->map);
    nft_set_close(d->direct);
    brakes_free(d->brakes);
    dns_tls_store_free(d->tls);
    upstream_news_free(d->news);
    guard_fini(&d->guard);
    acl_fini(&d->acl);
}

int dnsd_main(int argc, char **argv)
{
    struct dnsd d = {.drain_ms = DRAIN_MS};
    const struct daemon_spec spec = {.program = "openshell-dnsd",
                                     .summary = "answer DNS for the names that an OpenShell policy admits",
                                     .env_prefix = "OPENSHELL_DNSD",
                                     .table = settings_dnsd_table,
                                     .settings = &d.settings,
                                     .shared = &d.settings.shared,
                                     .ctx = &d,
                                     .drain_ms = &d.drain_ms,
                                     .keep_caps = &d.keep_caps,
                                     .check_settings = check_settings,
                                     .check_policy = NULL,
                                     .check_open = check_open,
                                     .open = open_all,
                                     .worker_start = start_worker,
                                     .worker_policy = take_policy,
                                     .upstreams = &d.upstreams,
                                     .resolv_conf = &d.settings.resolv_conf,
                                     .check_upstream = check_upstream,
                                     .worker_upstreams = dnsd_worker_upstreams,
                                     .worker_drain = dnsd_worker_drain,
                                     .worker_stop = dnsd_worker_stop,
                                     .counters = dnsd_counters,
                                     .counter_count = DNSD_COUNTER_COUNT,
                                     .status = write_status,
                                     .close = close_all};
    return daemon_main(&spec, argc, argv);
}

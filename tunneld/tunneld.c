/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/tunneld.h"

#include "common/base/rng.h"
#include "common/run/listen_twice.h"
#include "common/run/privs.h"
#include "tunneld/admit.h"
#include "tunneld/tunneld_counters.h"
#include "tunneld/tunneld_worker.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool has_kind(const struct listen_set *set, enum listen_kind kind)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->items[i].kind == kind) {
            return true;
        }
    }
    return false;
}

static int check_twice(const struct settings_tunneld *s, struct err *err)
{
    const char *admin = s->shared.admin;
    const struct str_list admins = {.items = &admin, .count = admin != NULL ? 1 : 0};
    const struct listen_option options[] = {{"--listen", &s->listen, LISTEN_CONNECT_PORT},
                                            {"--transparent", &s->transparent, 0},
                                            {"--admin", &admins, 0}};
    return listen_twice_check(options, sizeof(options) / sizeof(options[0]), err);
}

/* Every list is read here once, before anything is opened: a bad item is an option error, and --check finds
 * it. */
static int check_lists(struct tunneld *d, struct err *err)
{
    const struct settings_tunneld *s = &d->settings;
    int rc = listen_check(&s->listen, LISTEN_CONNECT, err);
    rc = rc == 0 ? listen_check(&s->transparent, LISTEN_CAPTURE, err) : rc;
    rc = rc == 0 ? check_twice(s, err) : rc;
    rc = rc == 0 ? capture_auto_hosts(&s->transparent, &d->autos.hosts, err) : rc;
    rc = rc == 0 ? upstreams_parse(&s->shared.upstream, &d->upstreams, err) : rc;
    rc = rc == 0 ? upstreams_parse_zones(&s->shared.zone, &d->zones, err) : rc;
    if (rc == 0) {
        struct guard guard;
        rc = guard_build(&s->shared, NULL, 0, &guard, err);
        if (rc == 0) {
            guard_fini(&guard);
        }
    }
    if (rc == 0) {
        struct acl acl;
        rc = acl_build(&s->shared.allow_client, false, &acl, err);
        if (rc == 0) {
            acl_fini(&acl);
        }
    }
    return rc;
}

static int check_settings(void *ctx, struct err *err)
{
    struct tunneld *d = ctx;
    const struct settings_tunneld *s = &d->settings;
    if (s->transparent.count > 0 && (s->shared.map == NULL || s->shared.map[0] == '\0')) {
        err_set(err, "--transparent needs --map: without it no captured address has a name");
        return -EINVAL;
    }
    int rc = check_lists(d, err);
    if (rc == 0) {
        rc = guard_parse_steer(&s->shared, &d->steer, err);
    }
    if (rc != 0) {
        return rc;
    }
    rc = chain_config_build(s, &d->chain, err);
    d->judge = admit_config(s, &d->chain);
    return rc;
}

static int check_open(void *ctx, struct err *err)
{
    struct tunneld *d = ctx;
    int rc = upstreams_find(&d->settings.shared.upstream, d->settings.resolv_conf, &d->upstreams, err);
    if (rc == 0) {
        rc = upstreams_open_tls(&d->upstreams, &d->zones, &d->tls, err);
        dns_tls_store_free(d->tls);
        d->tls = NULL;
    }
    return rc;
}

/* Does --l7=tunnel carry it, as no chain proxy does? For a pattern: perhaps, if anything is excepted. */
static bool may_go_raw(const struct tunneld *d, const struct policy_endpoint *e)
{
    struct host host = {.kind = e->host_kind == ENDPOINT_IP ? HOST_IP : HOST_DNS};
    if (!d->judge.has_chain) {
        return e->proxy == PROXY_UNSET; /* proxy: chain is refused then */
    }
    if (e->host_kind != ENDPOINT_EXACT && e->host_kind != ENDPOINT_IP) {
        return d->chain.excepts.count > 0;
    }
    host.name = e->pattern.text;
    host.ip = e->ip;
    for (size_t i = 0; i < e->port_count; i++) {
        if (chain_excepts_cover(&d->chain.excepts, &host, e->ports[i])) {
            return true;
        }
    }
    return false;
}

void tunneld_warn_raw(const struct tunneld *d, const struct policy *p)
{
    const struct policy_rules *rules = policy_rules_of(p);
    for (size_t i = 0; i < rules->rule_count && d->judge.l7 == L7_TUNNEL; i++) {
        const struct policy_rule *r = &rules->rules[i];
        for (size_t k = 0; k < r->endpoint_count; k++) {
            const struct policy_endpoint *e = &r->endpoints[k];
            if (e->requires_l7 && e->proxy != PROXY_DIRECT && may_go_raw(d, e)) {
                log_event(LOG_WARN, "l7_carried_raw",
                          LOG_KV(kv_str("rule", r->key), kv_str("file", rules->files[e->pos.file]),
                                 kv_u64("line", e->pos.line), kv_str("why", "--l7=tunnel")));
            }
        }
    }
}

/* Does nothing without --chain-auth-file. */
static int load_credentials(struct tunneld *d, struct err *err)
{
    const char *file = d->settings.chain_auth_file;
    uid_t owner = 0;
    int rc = file == NULL ? 0 : privs_uid(d->settings.shared.user, &owner, err);
    return file == NULL || rc != 0 ? rc : chain_auth_load(&d->chain_auth, file, owner, err);
}

static int check_policy(void *ctx, const struct policy *p, struct err *err)
{
    struct tunneld *d = ctx;
    const struct policy_rule *r = admit_unenforceable(p, &d->judge);
    int rc = listen_auto_is_on(&d->autos) ? capture_auto_check(p, err) : 0;
    if (rc != 0) {
        return rc;
    }
    if (r == NULL) { /* credentials that cannot be read stop a start, but no reload */
        return d->is_serving ? 0 : load_credentials(d, err);
    }
    err_set(err,
            "%s:%u: rule \"%s\" names binaries, which this version cannot enforce: remove the list, or start "
            "with --binary-identity=ignore to admit every program",
            policy_rules_of(p)->files[r->pos.file], r->pos.line, r->key);
    return -EINVAL;
}

/* Reload: credentials may have changed with the policy or without it. */
static void reload_credentials(void *ctx)
{
    struct tunneld *d = ctx;
    struct err err = {""};
    if (load_credentials(d, &err) != 0) {
        log_event(LOG_ERROR, "chain_credentials_kept", LOG_KV(kv_str("why", err.text)));
    }
}

static int check_chain(const struct tunneld *d, struct err *err)
{
    const struct addr a = {.ip = d->chain.proxy.ip, .port = d->chain.port};
    char text[ADDR_TEXT_CAP];
    if (d->chain.proxy.kind != HOST_IP || !guard_is_own(own_guard_of(d->guard), &a)) {
        return 0;
    }
    err_set(err, "--chain-proxy: %s is, or may lead to, this daemon's own listener: it would ask itself",
            addr_text(&a, text));
    return -EINVAL;
}

static void log_chain(const struct tunneld *d)
{
    char text[CHAIN_CONFIG_TEXT_CAP];
    if (d->chain.proxy.kind == HOST_NONE) {
        return;
    }
    log_event(LOG_INFO, "chain_proxy",
              LOG_KV(kv_str("proxy", chain_config_text(&d->chain, text)),
                     kv_str("target", d->chain.by_name ? "name" : "address"),
                     kv_str("credentials", d->settings.chain_auth_file != NULL ? "yes" : "no"),
                     kv_str("checked_here", d->chain.by_name
                                                ? "name, port and binary; the addresses of names are the "
                                                  "chain proxy's to check"
                                                : "name, port, binary and address")));
}

static int open_listeners(struct tunneld *d, struct listen_fds *passed, struct err *err)
{
    d->listeners.worker_count = d->worker_count;
    if (passed->count > 0) { /* who passes sockets has chosen all of them, or passes one to ask for others */
        int rc = listen_adopt(&d->listeners, passed, err);
        d->is_auto = d->listeners.is_asking && listen_auto_is_on(&d->autos);
        if (rc == 0 && d->listeners.is_asking && !d->is_auto) {
            err_set(err,
                    "a descriptor named ports was passed (LISTEN_FDNAMES): that needs --transparent auto");
            rc = -EINVAL;
        }
        return rc;
    }
    d->is_auto = listen_auto_is_on(&d->autos);
    d->keep_caps = d->is_auto ? UINT64_C(1) << CAP_NET_BIND_SERVICE : 0;
    int rc = listen_bind(&d->listeners, &d->settings.listen, LISTEN_CONNECT, err);
    return rc != 0 ? rc : listen_bind(&d->listeners, &d->settings.transparent, LISTEN_CAPTURE, err);
}

/* What we listen on now in this network, and the admin's, are destinations that nothing may reach through us.
 */
static int build_guard(struct tunneld *d, struct own_guard **out, struct err *err)
{
    struct addr *own = calloc(d->listeners.count + 1, sizeof(*own));
    if (own == NULL) {
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    size_t count = 0;
    for (size_t i = 0; i < d->listeners.count; i++) {
        if (!d->listeners.items[i].is_foreign) {
            own[count] = d->listeners.items[i].addr;
            count++;
        }
    }
    if (d->autos.admin.port != 0) {
        own[count] = d->autos.admin;
        count++;
    }
    int rc = own_guard_new(&d->settings.shared, own, count, out, err);
    free(own);
    return rc;
}

static void log_listeners(const struct tunneld *d)
{
    for (size_t i = 0; i < d->listeners.count; i++) {
        char text[ADDR_TEXT_CAP];
        const struct listen_socket *s = &d->listeners.items[i];
        if (s->kind == LISTEN_CAPTURE) {
            log_event(LOG_INFO, "listening",
                      LOG_KV(kv_str("addr", addr_text(&s->addr, text)),
                             kv_str("kind", listen_kind_text(s->kind)),
                             kv_str("tproxy", s->takes_tproxy ? "yes" : "no")));
        } else {
            log_event(
                LOG_INFO, "listening",
                LOG_KV(kv_str("addr", addr_text(&s->addr, text)), kv_str("kind", listen_kind_text(s->kind))));
        }
    }
}

static int make_limits(struct tunneld *d, struct err *err)
{
    const struct brakes_config cfg = brakes_config_of(&d->settings.shared);
    const struct limits_config limits = {.max_total = d->settings.max_tunnels,
                                         .max_per_client = d->settings.max_tunnels_per_client,
                                         .max_per_rule = d->settings.max_tunnels_per_rule,
                                         .max_heads = d->settings.max_heads_per_client};
    int rc = limits_new(&limits, &d->limits);
    if (rc == 0) {
        rc = brakes_new(&cfg, &d->brakes);
    }
    if (rc == 0) {
        rc = upstream_news_new(&d->news);
    }
    if (rc != 0) {
        err_set(err, "cannot start: %s", strerror(-rc));
    }
    return rc;
}

static int open_daemon(void *ctx, struct listen_fds *passed, unsigned worker_count, const struct addr *admin,
                       struct err *err)
{
    struct tunneld *d = ctx;
    d->worker_count = worker_count;
    d->autos.admin = admin != NULL ? *admin : (struct addr){.port = 0};
    (void)snprintf(d->via, sizeof d->via, "openshell-tunneld-%08" PRIx32, rng_u32());
    const struct settings_tunneld *s = &d->settings;
    int rc = upstreams_find(&s->shared.upstream, s->resolv_conf, &d->upstreams, err);
    if (rc == 0) {
        rc = upstreams_open_tls(&d->upstreams, &d->zones, &d->tls, err);
    }
    if (rc == 0) {
        rc = acl_build(&d->settings.shared.allow_client, passed->count > 0, &d->acl, err);
    }
    if (rc == 0) {
        rc = open_listeners(d, passed, err);
    }
    if (rc == 0 && s->shared.steer.count > 0 && !d->is_auto && !has_kind(&d->listeners, LISTEN_CAPTURE)) {
        err_set(
            err,
            "--steer-address needs --transparent: a listener at that address for each port of the policy");
        rc = -EINVAL;
    }
    if (rc == 0 && (d->is_auto || has_kind(&d->listeners, LISTEN_CAPTURE))) {
        rc = synth_map_open_reader(d->settings.shared.map, &d->map, err);
    }
    if (rc == 0) {
        rc = make_limits(d, err);
    }
    if (rc == 0) {
        const struct upstreams_loop_config loops = {
            .file = s->shared.upstream.count == 0 ? s->resolv_conf : NULL, .tls = d->tls, .news = d->news};
        rc = upstreams_check_loops(&d->upstreams, &d->zones, &loops, err);
    }
    return rc;
}

/* The guard is made last: it has to know every listener. */
static int open_policy(void *ctx, const struct policy *p, struct err *err)
{
    struct tunneld *d = ctx;
    int rc = d->is_auto ? listen_auto_open(&d->autos, &d->listeners, p, err) : 0;
    if (rc == 0) {
        rc = build_guard(d, &d->guard, err);
    }
    if (rc == 0) {
        rc = check_chain(d, err);
    }
    if (rc == 0) {
        upstreams_log(&d->upstreams, &d->zones, d->news);
        log_listeners(d);
        log_chain(d);
    }
    return rc;
}

/* A listener that the guard does not know would be worse than none. */
static bool follow_locked(struct tunneld *d, const struct policy *p)
{
    uint64_t last_id = d->listeners.last_id;
    struct own_guard *guard = NULL;
    struct err err = {""};
    bool has_changed = listen_auto_follow(&d->autos, &d->listeners, p);
    if (has_changed && build_guard(d, &guard, &err) != 0) {
        listen_auto_undo(&d->autos, &d->listeners, last_id, &err);
    }
    if (guard != NULL) {
        own_guard_unref(d->guard);
        d->guard = guard;
    }
    return has_changed;
}

static bool follow_policy(void *ctx, const struct policy *p)
{
    struct tunneld *d = ctx;
    if (!d->is_auto) {
        return false;
    }
    (void)pthread_mutex_lock(&d->listen_lock);
    bool has_changed = follow_locked(d, p);
    (void)pthread_mutex_unlock(&d->listen_lock);
    return has_changed;
}

static void write_status(void *ctx, struct json *json)
{
    const struct tunneld *d = ctx;
    char text[ADDR_TEXT_CAP];
    json_array(json, "listeners");
    for (size_t i = 0; i < d->listeners.count; i++) {
        json_object(json, NULL);
        json_str(json, "kind", listen_kind_text(d->listeners.items[i].kind));
        json_str(json, "addr", addr_text(&d->listeners.items[i].addr, text));
        json_end(json);
    }
    json_end(json);
    if (d->is_auto) {
        listen_auto_write(&d->autos, json);
    }
    upstreams_write(&d->upstreams, &d->zones, json);
    upstreams_write_failing(&d->upstreams, &d->zones, d->news, json);
}

static void close_daemon(void *ctx)
{
    struct tunneld *d = ctx;
    listen_fini(&d->listeners);
    if (d->map != NULL) {
        synth_map_close(d->map);
    }
    limits_free(d->limits);
    brakes_free(d->brakes);
    dns_tls_store_free(d->tls);
    upstream_news_free(d->news);
    acl_fini(&d->acl);
    own_guard_unref(d->guard);
}

int tunneld_run(int argc, char **argv)
{
    struct tunneld d = {.worker_count = 0};
    const struct daemon_spec spec = {
        .program = "openshell-tunneld",
        .summary =
            "carries TCP connections to the network endpoints that a policy names, and to nothing else",
        .env_prefix = "OPENSHELL_TUNNELD",
        .table = settings_tunneld_table,
        .settings = &d.settings,
        .shared = &d.settings.shared,
        .ctx = &d,
        .drain_ms = &d.settings.drain_ms,
        .keep_caps = &d.keep_caps,
        .check_settings = check_settings,
        .check_policy = check_policy,
        .check_open = check_open,
        .reload = reload_credentials,
        .open = open_daemon,
        .open_policy = open_policy,
        .follow_policy = follow_policy,
        .worker_start = tunneld_worker_start,
        .worker_policy = tunneld_worker_policy,
        .upstreams = &d.upstreams,
        .resolv_conf = &d.settings.resolv_conf,
        .worker_upstreams = tunneld_worker_upstreams,
        .worker_drain = tunneld_worker_drain,
        .worker_stop = tunneld_worker_stop,
        .counters = tunneld_counters,
        .counter_count = TUNNELD_COUNTER_COUNT,
        .status = write_status,
        .close = close_daemon,
    };
    (void)pthread_mutex_init(&d.listen_lock, NULL); /* cannot fail for a default mutex on Linux */
    chain_auth_init(&d.chain_auth);
    int status = daemon_main(&spec, argc, argv);
    listen_auto_fini(&d.autos);
    chain_config_fini(&d.chain);
    chain_auth_fini(&d.chain_auth);
    (void)pthread_mutex_destroy(&d.listen_lock);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/explain_config.h"

#include "common/base/clock.h"
#include "common/run/capture_auto.h"
#include "dnsd/ipv6_route.h"
#include "tunneld/admit.h"

#include <errno.h>
#include <stdlib.h>

#define DNSD_PORT 53
#define TUNNELD_PORT 3128

/* What has no meaning here. Where the daemons listen matters, but the option would be both daemons'. */
static const char *const refused[] = {"listen",   "admin", "check",   "dump-config",
                                      "ready-fd", "user",  "version", NULL};
static const struct daemon_args_spec spec = {
    .command = "explain",
    .refused = refused,
    .refusal = "means nothing to explain; leave it out (where a daemon listens is read from "
               "OPENSHELL_DNSD_LISTEN, OPENSHELL_TUNNELD_LISTEN and the same with _ADMIN)"};

static int take_format(struct explain_options *out, struct cli_option *o, struct cli *c, struct err *err)
{
    int rc = cli_take_once(o, c, err);
    if (rc == 0 && strcmp(o->value, "json") != 0 && strcmp(o->value, "text") != 0) {
        err_set(err, "--format: '%.40s' is neither text nor json", o->value);
        return -EINVAL;
    }
    out->is_json = rc == 0 && strcmp(o->value, "json") == 0;
    return rc;
}

static int take_target(struct explain_options *out, const char *word, struct err *err)
{
    if (out->target != NULL) {
        err_set(err, "'%.80s': one HOST[:PORT] at a time", word);
        return -EINVAL;
    }
    out->target = word;
    return 0;
}

static int take_option(struct explain_options *out, struct cli *c, struct err *err)
{
    struct cli_option o = cli_option_at(c);
    if (cli_is_named(&o, "help")) {
        out->help = true;
        return cli_no_value(&o, err);
    }
    if (cli_is_named(&o, "live")) {
        out->is_live = true;
        return cli_no_value(&o, err);
    }
    if (cli_is_named(&o, "format")) {
        return take_format(out, &o, c, err);
    }
    return daemon_args_take(&out->daemons, &spec, c, err);
}

int explain_options_parse(int argc, char **argv, struct explain_options *out, struct err *err)
{
    *out = (struct explain_options){.target = NULL};
    struct cli c = {.argc = argc, .argv = argv, .at = 1};
    int rc = arg_list_add(&out->daemons.dnsd, "openshell-dnsd");
    rc = rc == 0 ? arg_list_add(&out->daemons.tunneld, "openshell-tunneld") : rc;
    bool has_ended = false;
    for (; c.at < argc && rc == 0; c.at++) {
        if (!has_ended && strcmp(argv[c.at], "--") == 0) {
            has_ended = true;
        } else if (!has_ended && argv[c.at][0] == '-') {
            if (argv[c.at][1] != '-') {
                err_set(err, "'%.80s': options begin with --", argv[c.at]);
                rc = -EINVAL;
            } else {
                rc = take_option(out, &c, err);
            }
        } else {
            rc = take_target(out, argv[c.at], err);
        }
    }
    if (rc == 0 && out->target == NULL && !out->help) {
        err_set(err, "no host: openshell-egress explain [OPTION]... HOST[:PORT]");
        rc = -EINVAL;
    }
    if (rc == -ENOMEM) {
        err_set(err, "out of memory");
    }
    if (rc != 0) {
        explain_options_fini(out);
    }
    return rc;
}

void explain_options_fini(struct explain_options *o)
{
    daemon_args_fini(&o->daemons);
}

static int read_settings(struct explain_config *c, struct daemon_args *args, struct err *err)
{
    const struct settings_source dnsd = {.table = settings_dnsd_table,
                                         .env_prefix = "OPENSHELL_DNSD",
                                         .argc = (int)args->dnsd.count,
                                         .argv = (char **)(uintptr_t)args->dnsd.items};
    const struct settings_source tunneld = {.table = settings_tunneld_table,
                                            .env_prefix = "OPENSHELL_TUNNELD",
                                            .argc = (int)args->tunneld.count,
                                            .argv = (char **)(uintptr_t)args->tunneld.items};
    int rc = settings_read(&dnsd, &c->dnsd, &c->dnsd_arena, NULL, err);
    return rc == 0 ? settings_read(&tunneld, &c->tunneld, &c->tunneld_arena, NULL, err) : rc;
}

/* The daemons are explained together: that makes sense only if they share their policy. */
static int check_same_policy(const struct explain_config *c, struct err *err)
{
    const struct str_list *a = &c->dnsd.shared.policy;
    const struct str_list *b = &c->tunneld.shared.policy;
    bool is_same = a->count == b->count;
    for (size_t i = 0; is_same && i < a->count; i++) {
        is_same = strcmp(a->items[i], b->items[i]) == 0;
    }
    if (!is_same) {
        err_set(err,
                "OPENSHELL_DNSD_POLICY (%.60s) and OPENSHELL_TUNNELD_POLICY (%.60s) "
                "name different files, the default where unset: say with --policy which to explain",
                a->count > 0 ? a->items[0] : "-", b->count > 0 ? b->items[0] : "-");
        return -EINVAL;
    }
    return 0;
}

struct listen_addrs {
    struct addr *items; /* owned */
    size_t count;
};

static int add_listeners(struct listen_addrs *l, const struct str_list *list, uint16_t port, struct err *err)
{
    struct addr *bigger = reallocarray(l->items, l->count + list->count + 1, sizeof *bigger);
    if (bigger == NULL) {
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    l->items = bigger;
    for (size_t i = 0; i < list->count; i++) {
        if (capture_auto_is(list->items[i])) {
            continue; /* add_auto */
        }
        if (addr_parse(span_str(list->items[i]), port, &l->items[l->count]) != 0) {
            err_set(err, "%.80s: not an address to listen on", list->items[i]);
            return -EINVAL;
        }
        l->count += l->items[l->count].port != 0; /* 0: the kernel's choice, known to nobody before */
    }
    return 0;
}

/* A socket file is no destination. */
static int add_admin(struct listen_addrs *l, const char *admin, struct err *err)
{
    const struct str_list one = {.items = &admin, .count = 1};
    if (admin == NULL || strncmp(admin, "unix:", 5) == 0) {
        return 0;
    }
    return add_listeners(l, &one, 0, err);
}

/* On the ports of the policy. */
static int add_auto(struct listen_addrs *l, const struct capture_hosts *hosts, const struct policy *p,
                    struct err *err)
{
    size_t port_count = 0;
    const uint16_t *ports = policy_ports(p, &port_count);
    struct addr *bigger = reallocarray(l->items, l->count + hosts->count * port_count + 1, sizeof *bigger);
    if (bigger == NULL) {
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    l->items = bigger;
    for (size_t h = 0; h < hosts->count; h++) {
        for (size_t i = 0; i < port_count; i++) {
            l->items[l->count++] = (struct addr){.ip = hosts->items[h], .port = ports[i]};
        }
    }
    return 0;
}

static int build_dnsd_guard(struct explain_config *c, struct err *err)
{
    struct listen_addrs l = {0};
    int rc = add_listeners(&l, &c->dnsd.listen, DNSD_PORT, err);
    rc = rc == 0 ? add_admin(&l, c->dnsd.shared.admin, err) : rc;
    rc = rc == 0 ? guard_build(&c->dnsd.shared, l.items, l.count, &c->dnsd_guard, err) : rc;
    free(l.items);
    return rc;
}

/* p NULL: without the listeners that depend on it. */
static int build_tunneld_guard(struct explain_config *c, const struct policy *p, struct err *err)
{
    struct listen_addrs l = {0};
    int rc = add_listeners(&l, &c->tunneld.listen, TUNNELD_PORT, err);
    rc = rc == 0 ? add_listeners(&l, &c->tunneld.transparent, 0, err) : rc;
    rc = rc == 0 && p != NULL ? add_auto(&l, &c->autos, p, err) : rc;
    rc = rc == 0 ? add_admin(&l, c->tunneld.shared.admin, err) : rc;
    rc = rc == 0 ? guard_build(&c->tunneld.shared, l.items, l.count, &c->tunneld_guard, err) : rc;
    free(l.items);
    return rc;
}

int explain_config_policy(struct explain_config *c, const struct policy *p, struct err *err)
{
    if (c->autos.count == 0) {
        return 0;
    }
    int rc = capture_auto_check(p, err);
    if (rc == 0) {
        guard_fini(&c->tunneld_guard);
        rc = build_tunneld_guard(c, p, err);
    }
    return rc;
}

int explain_config_init(struct explain_config *c, struct daemon_args *args, struct err *err)
{
    *c = (struct explain_config){.has_ipv6 = false};
    int rc = read_settings(c, args, err);
    rc = rc == 0 ? check_same_policy(c, err) : rc;
    rc = rc == 0 ? build_dnsd_guard(c, err) : rc;
    rc = rc == 0 ? capture_auto_hosts(&c->tunneld.transparent, &c->autos, err) : rc;
    rc = rc == 0 ? build_tunneld_guard(c, NULL, err) : rc;
    rc = rc == 0 ? upstreams_parse_zones(&c->dnsd.shared.zone, &c->dnsd_zones, err) : rc;
    rc = rc == 0 ? upstreams_parse_zones(&c->tunneld.shared.zone, &c->tunneld_zones, err) : rc;
    rc = rc == 0 ? chain_config_build(&c->tunneld, &c->chain, err) : rc;
    if (rc == 0 && c->dnsd.answer == ANSWER_SYNTHETIC) {
        rc = guard_parse_pools(&c->dnsd.shared.pool, &c->answer.pools, err);
    }
    if (rc == 0) {
        rc = guard_parse_steer(&c->dnsd.shared, &c->answer.steer, err);
    }
    if (rc == 0 && c->dnsd.answer == ANSWER_STEER && c->dnsd.shared.steer.count == 0) {
        err_set(err, "--answer steer needs --steer-address");
        rc = -EINVAL;
    }
    if (rc == 0) {
        struct ipv6_route route = {.is_known = false};
        answer_config_set(&c->answer, &c->dnsd, &c->dnsd_guard.view, &c->dnsd_zones);
        c->judge = admit_config(&c->tunneld, &c->chain);
        c->has_ipv6 = ipv6_route_has(&route, clock_mono_ms());
    }
    return rc;
}

void explain_config_fini(struct explain_config *c)
{
    chain_config_fini(&c->chain);
    capture_auto_fini(&c->autos);
    guard_fini(&c->dnsd_guard);
    guard_fini(&c->tunneld_guard);
    settings_free(c->dnsd_arena);
    settings_free(c->tunneld_arena);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/policy_parts.h"

#include <errno.h>
#include <stdio.h>

static bool says_something(const struct load_tuning *t)
{
    return t->has_proxy || t->has_timers || t->has_keepalive || t->dns.is_set;
}

static void load_defaults(struct load *l, const struct yaml_node *n)
{
    static const struct key_spec keys[] = {{"timeouts", KEY_MAP}, {"keepalive", KEY_ANY}};
    static const struct key_table table = KEY_TABLE("\"defaults\"", keys);
    if (l->defaults_at.line > 0) {
        load_error(l, n->key_pos, "keep one of the two",
                   "egress \"defaults\" were given before, in %s on line %u",
                   l->texts[l->defaults_at.file].file, l->defaults_at.line);
        return;
    }
    l->defaults_at = load_pos(l, n->key_pos);
    l->rules->defaults_pos = l->defaults_at;
    if (load_check_map(l, n, &table)) {
        struct load_tuning tuning;
        load_tuning(l, n, &tuning);
        l->rules->default_timers = tuning.timers;
        l->rules->default_keepalive = tuning.keepalive;
    }
}

static void load_overlay(struct load *l, const struct yaml_node *n)
{
    static const struct key_spec keys[] = {
        {"host", KEY_TEXT},    {"port", KEY_PORT},     {"ports", KEY_PORTS}, {"proxy", KEY_TEXT},
        {"timeouts", KEY_MAP}, {"keepalive", KEY_ANY}, {"dns", KEY_MAP},
    };
    static const struct key_table table = KEY_TABLE("an item of egress \"endpoints\"", keys);
    if (!load_check_map(l, n, &table)) {
        return;
    }
    struct load_overlay *o = load_alloc(l, l->scratch, 1, sizeof *o);
    if (o == NULL) {
        return;
    }
    const struct yaml_node *host = yaml_map_get(n, "host");
    size_t errors = l->diags->error_count;
    o->pos = load_pos(l, host == NULL ? n->pos : host->pos);
    o->ports = load_ports(l, n, &o->port_count);
    load_tuning(l, n, &o->tuning);
    if (host == NULL) {
        load_error(l, n->pos, "add host, written as in the rule that it shapes",
                   "an item of egress \"endpoints\" needs \"host\"");
        return;
    }
    if (l->diags->error_count == errors && !says_something(&o->tuning)) {
        load_error(l, n->pos, "add proxy, timeouts, keepalive or dns", "this item changes nothing");
    }
    bool has_bad_port =
        o->port_count == 0 && (yaml_map_get(n, "port") != NULL || yaml_map_get(n, "ports") != NULL);
    if (has_bad_port || !load_is_text(host) || !load_host_text(l, host, &o->host)) {
        return;
    }
    if (o->tuning.dns.types != 0) {
        load_check_dns_host(l, n, o->host.kind);
    }
    if (l->last_overlay == NULL) {
        l->first_overlay = o;
    } else {
        l->last_overlay->next = o;
    }
    l->last_overlay = o;
}

/* hosts: may be private or link-local, nothing else of what is never dialled. */
static bool is_static_class(enum ip_class c)
{
    return ip_class_group(c) != IP_GROUP_NEVER || c == IP_CLASS_LINK_LOCAL;
}

static bool has_addr(const struct ip *addrs, size_t count, const struct ip *ip)
{
    for (size_t i = 0; i < count; i++) {
        if (ip_is_equal(&addrs[i], ip)) {
            return true;
        }
    }
    return false;
}

static void load_static_addrs(struct load *l, const struct yaml_node *n, struct policy_host *host)
{
    struct ip *addrs = load_alloc(l, l->out, n->count, sizeof *addrs);
    char quoted[DIAG_QUOTE_CAP];
    for (const struct yaml_node *item = n->first; item != NULL && addrs != NULL; item = item->next) {
        struct ip ip;
        if (!load_is_text(item)) {
            continue; /* reported as a wrong type */
        }
        if (ip_parse(item->text, &ip) != 0) {
            load_error(l, item->pos, "write 10.200.0.1 or fd00::1", "%s is not an IP address",
                       diag_quote(item->text, quoted));
        } else if (!is_static_class(ip_classify(&ip))) {
            load_error(l, item->pos, "write an address of another machine: public, private or link-local",
                       "%s is never dialled: it is a %s address", diag_quote(item->text, quoted),
                       ip_class_name(ip_classify(&ip)));
        } else if (!has_addr(addrs, host->addr_count, &ip)) { /* a record is given once (RFC 2181 5) */
            addrs[host->addr_count++] = ip;
        }
    }
    host->addrs = addrs;
}

static void load_static(struct load *l, const struct yaml_node *n)
{
    char quoted[DIAG_QUOTE_CAP];
    enum host_fault why;
    struct load_static *s = load_alloc(l, l->scratch, 1, sizeof *s);
    if (s == NULL || !load_check_value(l, n, KEY_TEXTS)) {
        return;
    }
    why = host_name_parse(n->key, &s->host.name);
    if (why != HOST_FAULT_NONE) {
        load_error(l, n->key_pos, "write one exact host name", "host %s: %s", diag_quote(n->key, quoted),
                   host_fault_text(why));
        return;
    }
    if (n->count == 0) {
        load_error(l, n->pos, "add an address, or remove the name", "a name without an address");
        return;
    }
    if (n->count > POLICY_HOST_ADDRS_MAX) {
        load_error(l, n->pos, "keep those that are used", "a name can have at most %d addresses",
                   POLICY_HOST_ADDRS_MAX);
        return;
    }
    s->host.pos = load_pos(l, n->key_pos);
    load_static_addrs(l, n, &s->host);
    if (l->last_static == NULL) {
        l->first_static = s;
    } else {
        l->last_static->next = s;
    }
    l->last_static = s;
}

static void load_never(struct load *l, const struct yaml_node *n)
{
    char quoted[DIAG_QUOTE_CAP];
    struct load_never *v = load_alloc(l, l->scratch, 1, sizeof *v);
    if (v == NULL || !load_is_text(n)) {
        return;
    }
    int rc = policy_never_parse(n->text, &v->never.prefix, &v->never.port);
    if (rc == -EDOM) {
        char meant[IP_MEANT_CAP];
        char hint[IP_MEANT_CAP + 8];
        (void)snprintf(hint, sizeof hint, "write %s", ip_prefix_meant(n->text, meant));
        load_error(l, n->pos, hint, "%s has address bits behind its prefix length",
                   diag_quote(n->text, quoted));
        return;
    }
    if (rc != 0) {
        load_error(l, n->pos, "write 10.43.0.1:443, 10.0.0.0/8, fd00::/8 or \"[fd00::1]:443\"",
                   "%s is neither an address nor a range, with or without a port",
                   diag_quote(n->text, quoted));
        return;
    }
    v->never.pos = load_pos(l, n->pos);
    if (l->last_never == NULL) {
        l->first_never = v;
    } else {
        l->last_never->next = v;
    }
    l->last_never = v;
}

void load_egress(struct load *l, const struct yaml_node *n)
{
    static const struct key_spec keys[] = {
        {"defaults", KEY_MAP}, {"endpoints", KEY_LIST}, {"hosts", KEY_MAP}, {"never", KEY_TEXTS}};
    static const struct key_table table = KEY_TABLE("\"egress\"", keys);
    if (!load_check_map(l, n, &table)) {
        return;
    }
    const struct yaml_node *defaults = load_get_map(n, "defaults");
    const struct yaml_node *endpoints = load_get_list(n, "endpoints");
    const struct yaml_node *hosts = load_get_map(n, "hosts");
    const struct yaml_node *never = load_get_list(n, "never");
    if (defaults != NULL) {
        load_defaults(l, defaults);
    }
    for (const struct yaml_node *m = endpoints == NULL ? NULL : endpoints->first; m != NULL; m = m->next) {
        load_overlay(l, m);
    }
    for (const struct yaml_node *m = hosts == NULL ? NULL : hosts->first; m != NULL; m = m->next) {
        load_static(l, m);
    }
    for (const struct yaml_node *m = never == NULL ? NULL : never->first; m != NULL; m = m->next) {
        load_never(l, m);
    }
}

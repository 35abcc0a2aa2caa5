/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/policy_parts.h"

#include "common/base/num.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static const struct key_spec endpoint_keys[] = {
    {"host", KEY_TEXT},
    {"port", KEY_PORT},
    {"ports", KEY_PORTS},
    {"path", KEY_TEXT},
    {"protocol", KEY_TEXT},
    {"tls", KEY_TEXT},
    {"enforcement", KEY_TEXT},
    {"access", KEY_TEXT},
    {"rules", KEY_LIST},
    {"deny_rules", KEY_LIST},
    {"allowed_ips", KEY_TEXTS},
    {"allow_encoded_slash", KEY_BOOL},
    {"websocket_credential_rewrite", KEY_BOOL},
    {"request_body_credential_rewrite", KEY_BOOL},
    {"allow_uninspected_credentials", KEY_BOOL},
    {"persisted_queries", KEY_TEXT},
    {"graphql_persisted_queries", KEY_MAP},
    {"graphql_max_body_bytes", KEY_U32},
    {"credential_signing", KEY_TEXT},
    {"signing_service", KEY_TEXT},
    {"signing_region", KEY_TEXT},
    {"credential_binding", KEY_MAP},
    {"json_rpc", KEY_MAP},
    {"mcp", KEY_MAP},
    /* Ours from here on: what OpenShell learns goes above, what we invent below (load_is_extension). */
    {"proxy", KEY_TEXT},
    {"timeouts", KEY_MAP},
    {"keepalive", KEY_ANY},
    {"dns", KEY_MAP},
};
const struct key_table endpoint_table = {"an endpoint", endpoint_keys,
                                         sizeof endpoint_keys / sizeof endpoint_keys[0], false,
                                         "{ host: api.example.com, port: 443 }"};
static const char first_extension[] = "proxy";

bool load_is_extension(struct span key)
{
    bool is_ours = false;
    for (size_t i = 0; i < endpoint_table.count; i++) {
        struct span name = span_str(endpoint_table.keys[i].name);
        is_ours = is_ours || span_is_equal(name, SPAN_LIT(first_extension));
        if (span_is_equal(name, key)) {
            return is_ours;
        }
    }
    return false;
}

static bool has_byte(struct span s, uint8_t c)
{
    return span_find(s, c) < s.len;
}

/* What someone who wrote this most likely meant. */
static const char *host_hint(struct span text, enum host_fault why)
{
    switch (why) {
    case HOST_FAULT_NON_ASCII:
        return "write the ASCII form of the name, which starts with xn--";
    case HOST_FAULT_NUMERIC:
        return "an IPv4 address is four decimal numbers without leading zeros, as in 192.0.2.1";
    case HOST_FAULT_HYPHEN:
        return "a label must not begin or end with -";
    case HOST_FAULT_EMPTY_LABEL:
        return "remove the surplus dot";
    case HOST_FAULT_BAD_IP:
        return "write an IPv6 address without brackets, in quotes: \"2001:db8::1\"";
    case HOST_FAULT_ZONE_ID:
        return "write the address without % and what follows it";
    case HOST_FAULT_TOO_LONG:
    case HOST_FAULT_LABEL_TOO_LONG:
        return "no such name exists in DNS: shorten it, or look for a missing dot or line break";
    case HOST_FAULT_NONE:
    case HOST_FAULT_EMPTY:
    case HOST_FAULT_BAD_BYTE:
        break;
    }
    if (has_byte(text, ' ')) {
        return "remove the spaces";
    }
    if (has_byte(text, '/')) {
        return "write the host only: no scheme, no path; an address range goes into \"allowed_ips\"";
    }
    if (has_byte(text, ':') && !has_byte(text, '[')) {
        return "write the host only: the port goes into \"port\"";
    }
    return "a name is made of letters, digits, - and _, with dots between";
}

static const char *pattern_hint(enum pattern_fault fault)
{
    switch (fault) {
    case PATTERN_FAULT_NONE:
    case PATTERN_FAULT_EMPTY:
    case PATTERN_FAULT_HOST:
        break;
    case PATTERN_FAULT_BARE:
        return "write one endpoint for each domain that is meant, as in \"**.example.com\"";
    case PATTERN_FAULT_FEW_LABELS:
        return "write the host itself, or put a domain behind the wildcard, as in \"*.example.com\"";
    case PATTERN_FAULT_PARTIAL_MIDDLE:
        return "replace the whole label by *, or write the host itself";
    case PATTERN_FAULT_DOUBLE_STAR:
        return "write ** as the whole first label, or * for exactly one label";
    case PATTERN_FAULT_LAST_TWO:
        return "write one endpoint for each domain that is meant, with the wildcard further left";
    case PATTERN_FAULT_GLOB:
        return "write one endpoint for each host that is meant";
    }
    return NULL;
}

bool load_host_text(struct load *l, const struct yaml_node *n, struct load_host *out)
{
    char quoted[DIAG_QUOTE_CAP];
    struct host host;
    enum host_fault why = HOST_FAULT_NONE;
    bool is_pattern = has_byte(n->text, '*') || has_byte(n->text, '?') || has_byte(n->text, '{');
    memset(out, 0, sizeof *out);
    if (!is_pattern && host_parse(n->text, &host) == HOST_FAULT_NONE && host.kind == HOST_IP) {
        out->kind = ENDPOINT_IP;
        out->ip = host.ip;
        return true;
    }
    enum pattern_fault fault = PATTERN_FAULT_HOST;
    if (is_pattern || !has_byte(n->text, '[')) {
        fault = host_pattern_parse(n->text, &out->pattern, &why);
    } else {
        why = host_parse(n->text, &host);
    }
    if (fault == PATTERN_FAULT_NONE) {
        out->kind = out->pattern.is_wildcard ? ENDPOINT_WILDCARD : ENDPOINT_EXACT;
        return true;
    }
    if (fault == PATTERN_FAULT_HOST) {
        enum host_fault literal = has_byte(n->text, ':') ? host_parse(n->text, &host) : HOST_FAULT_NONE;
        why = literal == HOST_FAULT_ZONE_ID ? literal : why;
        load_error(l, n->pos, host_hint(n->text, why), "host %s: %s", diag_quote(n->text, quoted),
                   host_fault_text(why));
    } else {
        load_error(l, n->pos, pattern_hint(fault), "host %s: %s", diag_quote(n->text, quoted),
                   pattern_fault_text(fault));
    }
    return false;
}

static int compare_ports(const void *a, const void *b)
{
    const uint16_t *x = a;
    const uint16_t *y = b;
    return (*x > *y) - (*x < *y);
}

const uint16_t *load_ports(struct load *l, const struct yaml_node *map, size_t *count)
{
    const struct yaml_node *list = load_get_list(map, "ports");
    const struct yaml_node *single = list == NULL ? yaml_map_get(map, "port") : NULL;
    *count = 0;
    size_t max = list != NULL ? list->count : 1;
    if (list == NULL && single == NULL) {
        return NULL;
    }
    uint16_t *ports = load_alloc(l, l->out, max, sizeof *ports);
    if (ports == NULL) {
        return NULL;
    }
    size_t found = 0;
    for (const struct yaml_node *n = list != NULL ? list->first : single; n != NULL && found < max;
         n = n->next) {
        if (n->kind == YAML_SCALAR && n->is_plain && num_port(n->text, &ports[found]) == 0) {
            found++;
        }
    }
    if (found > 1) {
        qsort(ports, found, sizeof *ports, compare_ports);
    }
    size_t unique = 0;
    for (size_t i = 0; i < found; i++) {
        if (unique == 0 || ports[unique - 1] != ports[i]) {
            ports[unique++] = ports[i];
        }
    }
    *count = unique;
    return ports;
}

static void load_endpoint_ports(struct load *l, const struct yaml_node *n, struct load_endpoint *e)
{
    const struct yaml_node *port = yaml_map_get(n, "port");
    e->ep.ports = load_ports(l, n, &e->ep.port_count);
    if (e->ep.port_count == 0) {
        e->is_broken = true;
    }
    const struct yaml_node *ports = yaml_map_get(n, "ports");
    if (port == NULL && (ports == NULL || (ports->kind == YAML_LIST && ports->count == 0)) &&
        load_lacks(l, n, &endpoint_table, "port") && load_lacks(l, n, &endpoint_table, "ports")) {
        load_error(l, n->pos, "add port: 443, or ports: [80, 443]",
                   "an endpoint needs \"port\" or \"ports\"");
    }
    if (port != NULL && load_get_list(n, "ports") != NULL) {
        load_warning(l, load_pos(l, port->key_pos), "put every port into \"ports\" and remove \"port\"",
                     "\"port\" is ignored because \"ports\" is there");
    }
}

/* p holds addresses that are never dialled; `which` is where. */
static void refuse_never(struct load *l, const struct yaml_node *n, const struct ip_prefix *p,
                         const struct ip_prefix *which)
{
    char quoted[DIAG_QUOTE_CAP];
    char address[IP_TEXT_CAP];
    char hint[160] = "remove it: these addresses are never dialled";
    if (which->bits != p->bits) {
        bool is_one = which->bits == (which->base.family == IP_V4 ? 32 : 128);
        char bits[8] = "";
        (void)snprintf(bits, sizeof bits, "/%u", (unsigned)which->bits);
        (void)snprintf(hint, sizeof hint,
                       "write the ranges that are meant, without %s%s, which is never dialled",
                       ip_text(&which->base, address), is_one ? "" : bits);
    }
    load_error(l, n->pos, hint, "%s holds %s addresses", diag_quote(n->text, quoted),
               ip_class_name(ip_prefix_never_class(p, NULL)));
}

static void check_allowed_ip(struct load *l, const struct yaml_node *n, struct ip_prefix *out, size_t *count)
{
    char quoted[DIAG_QUOTE_CAP];
    struct ip_prefix p;
    int rc = ip_prefix_parse(n->text, &p);
    if (rc == -EDOM) {
        char meant[IP_MEANT_CAP];
        char hint[IP_MEANT_CAP + 8];
        (void)snprintf(hint, sizeof hint, "write %s", ip_prefix_meant(n->text, meant));
        load_error(l, n->pos, hint, "%s has address bits behind its prefix length",
                   diag_quote(n->text, quoted));
        return;
    }
    if (rc != 0) {
        load_error(l, n->pos, "write 10.0.0.0/8, 192.0.2.7, fd00::/8 or 2001:db8::1",
                   "%s is neither an address nor an address range", diag_quote(n->text, quoted));
        return;
    }
    struct ip_prefix which;
    if (ip_prefix_never_class(&p, &which) != IP_CLASS_UNKNOWN) {
        refuse_never(l, n, &p, &which);
        return;
    }
    out[(*count)++] = p;
}

static int compare_prefixes(const void *a, const void *b)
{
    const struct ip_prefix *x = a;
    const struct ip_prefix *y = b;
    int order = ip_compare(&x->base, &y->base);
    return order != 0 ? order : (x->bits > y->bits) - (x->bits < y->bits);
}

/* Sorted, and without those that lie inside another: what is left can be searched. Returns how many. */
static size_t normalise(struct ip_prefix *prefixes, size_t count)
{
    size_t kept = 0;
    if (count > 1) {
        qsort(prefixes, count, sizeof *prefixes, compare_prefixes);
    }
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || !ip_prefix_contains(&prefixes[kept - 1], &prefixes[i].base)) {
            prefixes[kept++] = prefixes[i];
        }
    }
    return kept;
}

static void load_allowed_ips(struct load *l, const struct yaml_node *n, struct load_endpoint *e)
{
    const struct yaml_node *list = load_get_list(n, "allowed_ips");
    if (list == NULL) {
        return;
    }
    e->has_allowed_ips = true;
    struct ip_prefix *prefixes = load_alloc(l, l->out, list->count, sizeof *prefixes);
    if (prefixes == NULL) {
        return;
    }
    for (const struct yaml_node *item = list->first; item != NULL; item = item->next) {
        if (load_is_text(item)) {
            check_allowed_ip(l, item, prefixes, &e->ep.allowed_ip_count);
        }
    }
    e->ep.allowed_ip_count = normalise(prefixes, e->ep.allowed_ip_count);
    e->ep.allowed_ips = prefixes;
}

static void load_endpoint_host(struct load *l, const struct yaml_node *n, struct load_endpoint *e)
{
    const struct yaml_node *value = yaml_map_get(n, "host");
    struct span text;
    if (!load_get_text(n, "host", &text)) {
        e->ep.host_kind = ENDPOINT_HOSTLESS;
        e->is_broken = value != NULL && (!load_is_text(value) || value->text.len > 0);
        if (!e->has_allowed_ips && !e->is_broken) {
            e->is_broken = true;
            if (load_lacks(l, n, &endpoint_table, "host") &&
                load_lacks(l, n, &endpoint_table, "allowed_ips")) {
                load_error(l, n->pos, "add host: NAME", "an endpoint needs \"host\" (or \"allowed_ips\")");
            }
        }
        return;
    }
    struct load_host host;
    if (!load_host_text(l, value, &host)) {
        e->is_broken = true;
        return;
    }
    e->ep.host_kind = host.kind;
    e->ep.pattern = host.pattern;
    e->ep.ip = host.ip;
}

static void load_words(struct load *l, const struct yaml_node *n, struct policy_endpoint *ep)
{
    /* in the order of the enums */
    static const char *const protocols[] = {"",        "tcp", "rest",     "websocket",
                                            "graphql", "sql", "json-rpc", "mcp"};
    static const struct word_list protocol_list = {protocols, 8, true};
    static const char *const accesses[] = {"", "read-only", "read-write", "full"};
    static const struct word_list access_list = {accesses, 4, false};
    static const char *const tls_modes[] = {"", "skip", "auto", "terminate", "passthrough"};
    static const struct word_list tls_list = {tls_modes, 5, false};
    static const char *const enforcements[] = {"", "enforce", "audit"};
    static const struct word_list enforcement_list = {enforcements, 3, false};
    ep->protocol = (enum policy_protocol)load_get_word(l, n, "protocol", &protocol_list);
    ep->access = (enum policy_access)load_get_word(l, n, "access", &access_list);
    ep->tls = load_get_word(l, n, "tls", &tls_list) == 1 ? TLS_SKIP : TLS_AUTO;
    ep->is_enforced = load_get_word(l, n, "enforcement", &enforcement_list) == 1;
}

void load_endpoint(struct load *l, const struct yaml_node *n, struct load_endpoint *out)
{
    out->ep.pos = load_pos(l, n->pos);
    tunnel_timers_unset(&out->ep.timers);
    if (!load_check_map(l, n, &endpoint_table)) {
        out->is_broken = true;
        return;
    }
    load_allowed_ips(l, n, out);
    load_endpoint_host(l, n, out);
    load_endpoint_ports(l, n, out);
    load_words(l, n, &out->ep);
    load_l7(l, n, out);
    struct load_tuning tuning;
    load_tuning(l, n, &tuning);
    out->ep.proxy = tuning.proxy;
    out->ep.timers = tuning.timers;
    out->ep.keepalive = tuning.keepalive;
    out->ep.dns = tuning.dns;
    if (!out->is_broken && tuning.dns.types != 0) {
        load_check_dns_host(l, n, out->ep.host_kind);
    }
}

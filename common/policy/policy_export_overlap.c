/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenShell refuses a policy in which endpoints that may serve one request disagree. What is certain is told
 * here: the same host, a host under a wildcard, and a hostless endpoint beside any other, on a common port.
 * Two wildcards that merely may meet, and endpoints told apart by path, are left to OpenShell.
 */
#include "common/policy/policy_export_parts.h"

#include <stdlib.h>

#define MAX_STEPS ((size_t)20000000) /* a note is not worth more than a moment */

static bool has_common_port(const struct policy_endpoint *a, const struct policy_endpoint *b)
{
    size_t i = 0;
    size_t k = 0;
    while (i < a->port_count && k < b->port_count) {
        if (a->ports[i] == b->ports[k]) {
            return true;
        }
        if (a->ports[i] < b->ports[k]) {
            i++;
        } else {
            k++;
        }
    }
    return false;
}

/* The loader has sorted them. */
static bool is_same_ips(const struct policy_endpoint *a, const struct policy_endpoint *b)
{
    bool is_same = a->allowed_ip_count == b->allowed_ip_count;
    for (size_t i = 0; is_same && i < a->allowed_ip_count; i++) {
        is_same = ip_is_equal(&a->allowed_ips[i].base, &b->allowed_ips[i].base) &&
                  a->allowed_ips[i].bits == b->allowed_ips[i].bits;
    }
    return is_same;
}

static bool is_l7(const struct policy_endpoint *ep)
{
    return ep->protocol != PROTOCOL_NONE && ep->protocol != PROTOCOL_TCP;
}

/* What two overlapping endpoints disagree on, or NULL. */
static const char *find_difference(const struct policy_endpoint *a, const struct policy_endpoint *b)
{
    if ((a->protocol == PROTOCOL_TCP) != (b->protocol == PROTOCOL_TCP)) {
        return "protocol";
    }
    if (a->tls != b->tls) {
        return "tls";
    }
    if (!is_same_ips(a, b)) {
        return "allowed_ips";
    }
    if (!is_l7(a) || !is_l7(b) || a->is_path_bound || b->is_path_bound) {
        return NULL;
    }
    if (a->protocol != b->protocol) {
        return "protocol";
    }
    return a->is_enforced != b->is_enforced ? "enforcement" : NULL;
}

/* Returns what it cost, in steps. */
static size_t look_at(struct exporter *e, const struct policy_endpoint *a, const struct policy_endpoint *b)
{
    size_t cost = a->port_count + b->port_count + a->allowed_ip_count;
    const char *what = has_common_port(a, b) ? find_difference(a, b) : NULL;
    if (what == NULL) {
        return cost;
    }
    bool is_in_order =
        a->pos.file < b->pos.file || (a->pos.file == b->pos.file && a->pos.line <= b->pos.line);
    const struct policy_endpoint *first = is_in_order ? a : b;
    const struct policy_endpoint *second = is_in_order ? b : a;
    export_note(
        e, second->pos,
        "OpenShell refuses this policy: the endpoint overlaps that of rule \"%s\" in %s on line %u, and "
        "they differ in \"%s\"",
        first->rule->key, e->texts[first->pos.file].file, first->pos.line, what);
    return cost;
}

static int compare_hosts(const struct policy_endpoint *a, const struct policy_endpoint *b)
{
    bool is_ip_a = a->host_kind == ENDPOINT_IP;
    bool is_ip_b = b->host_kind == ENDPOINT_IP;
    if (is_ip_a != is_ip_b) {
        return is_ip_a ? 1 : -1;
    }
    return is_ip_a ? ip_compare(&a->ip, &b->ip) : strcmp(a->pattern.text.text, b->pattern.text.text);
}

static int compare_items(const void *a, const void *b)
{
    const struct policy_endpoint *const *x = a;
    const struct policy_endpoint *const *y = b;
    int order = compare_hosts(*x, *y);
    if (order != 0) {
        return order;
    }
    return (*x > *y) - (*x < *y); /* of one array of endpoints, or of one arena: any order will do */
}

/* Hostless endpoints have the empty name, so they stand together, too. */
static size_t look_at_same_hosts(struct exporter *e, const struct policy_endpoint **all, size_t count)
{
    size_t steps = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = i + 1; k < count && compare_hosts(all[i], all[k]) == 0 && steps < MAX_STEPS; k++) {
            steps += look_at(e, all[i], all[k]);
        }
    }
    return steps;
}

static void look_at_wide(struct exporter *e, const struct policy_endpoint **all, size_t count, size_t steps)
{
    for (size_t i = 0; i < count; i++) {
        const struct policy_endpoint *wide = all[i];
        bool is_wide = wide->host_kind == ENDPOINT_WILDCARD || wide->host_kind == ENDPOINT_HOSTLESS;
        for (size_t k = 0; is_wide && k < count && steps < MAX_STEPS; k++) {
            const struct policy_endpoint *other = all[k];
            bool is_under = wide->host_kind == ENDPOINT_WILDCARD && other->host_kind == ENDPOINT_EXACT &&
                            host_pattern_matches(&wide->pattern, &other->pattern.text);
            bool is_beside = wide->host_kind == ENDPOINT_HOSTLESS && other->host_kind != ENDPOINT_HOSTLESS;
            steps += is_under || is_beside ? look_at(e, wide, other) : 2;
        }
    }
}

void export_note_overlaps(struct exporter *e)
{
    size_t count = 0;
    for (size_t i = 0; i < e->rules->rule_count; i++) {
        count += e->rules->rules[i].endpoint_count;
    }
    const struct policy_endpoint **all = arena_array(e->arena, count, sizeof *all);
    if (all == NULL) {
        e->is_out_of_memory = true;
        return;
    }
    count = 0;
    for (size_t i = 0; i < e->rules->rule_count; i++) {
        for (size_t k = 0; k < e->rules->rules[i].endpoint_count; k++) {
            all[count++] = &e->rules->rules[i].endpoints[k];
        }
    }
    if (count > 1) {
        qsort(all, count, sizeof *all, compare_items);
    }
    look_at_wide(e, all, count, look_at_same_hosts(e, all, count));
}

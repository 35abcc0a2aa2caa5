/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/policy.h"

#include "common/base/hash.h"
#include "common/policy/suffix_table.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define NO_ENDPOINT SUFFIX_NONE

struct policy {
    atomic_size_t refs;
    uint64_t generation;
    struct policy_rules *rules; /* owned */
    struct suffix_table names;
    const struct policy_endpoint **endpoints; /* all, by file and line */
    uint32_t *next; /* of each: the next with the same node and kind, or NO_ENDPOINT */
    size_t endpoint_count;
    const struct policy_endpoint **addresses; /* ENDPOINT_IP, sorted by address; ties as in endpoints */
    size_t address_count;
    const struct policy_endpoint **hostless;
    size_t hostless_count;
    uint16_t *ports;
    size_t port_count;
};

static struct span rest_after_label(struct span s)
{
    size_t dot = span_find(s, '.');
    return dot == s.len ? (struct span){0} : span_sub(s, dot + 1, s.len);
}

/* The longest run of labels on the right that holds no star. */
static struct span literal_suffix(const struct host_pattern *p)
{
    struct span s = host_name_span(&p->text);
    while (s.len > 0 && span_find(s, '*') < s.len) {
        s = rest_after_label(s);
    }
    return s;
}

/* Marks what lies above a name as existing without records (RFC 8020). */
static int mark_parents(struct policy *p, struct span name)
{
    for (struct span s = rest_after_label(name); s.len > 0; s = rest_after_label(s)) {
        struct suffix_node *n = suffix_table_add(&p->names, s);
        if (n == NULL) {
            return -ENOMEM;
        }
        n->is_parent = true;
    }
    return 0;
}

static int add_pattern(struct policy *p, uint32_t i)
{
    const struct host_pattern *pattern = &p->endpoints[i]->pattern;
    struct span key = pattern->is_wildcard ? literal_suffix(pattern) : host_name_span(&pattern->text);
    struct suffix_node *n = suffix_table_add(&p->names, key);
    if (n == NULL) {
        return -ENOMEM;
    }
    uint32_t *head = pattern->is_wildcard ? &n->first_wildcard : &n->first_exact;
    n->is_parent = n->is_parent || pattern->is_wildcard;
    p->next[i] = *head;
    *head = i;
    return mark_parents(p, key);
}

static int add_hosts(struct policy *p)
{
    for (size_t i = 0; i < p->rules->host_count; i++) {
        struct span name = host_name_span(&p->rules->hosts[i].name);
        struct suffix_node *n = suffix_table_add(&p->names, name);
        if (n == NULL || mark_parents(p, name) != 0) {
            return -ENOMEM;
        }
        n = suffix_table_find(&p->names, name);
        n->host = (uint32_t)i;
    }
    return 0;
}

static int compare_addresses(const void *a, const void *b)
{
    const struct policy_endpoint *const *x = a;
    const struct policy_endpoint *const *y = b;
    int order = ip_compare(&(*x)->ip, &(*y)->ip);
    return order != 0 ? order : policy_endpoint_compare(*x, *y);
}

static int index_endpoints(struct policy *p)
{
    for (size_t i = p->endpoint_count; i > 0; i--) { /* backwards: each chain ends up in order */
        const struct policy_endpoint *ep = p->endpoints[i - 1];
        int rc = 0;
        switch (ep->host_kind) {
        case ENDPOINT_HOSTLESS:
            p->hostless[p->hostless_count++] = ep;
            break;
        case ENDPOINT_IP:
            p->addresses[p->address_count++] = ep;
            break;
        case ENDPOINT_EXACT:
        case ENDPOINT_WILDCARD:
            rc = add_pattern(p, (uint32_t)(i - 1));
            break;
        }
        if (rc != 0) {
            return rc;
        }
    }
    if (p->address_count > 1) {
        qsort(p->addresses, p->address_count, sizeof *p->addresses, compare_addresses);
    }
    return add_hosts(p);
}

/* How many were new. */
static size_t mark_ports(const struct policy_endpoint *ep, uint8_t seen[65536 / 8])
{
    size_t count = 0;
    for (size_t k = 0; k < ep->port_count; k++) {
        uint8_t bit = (uint8_t)(1U << (ep->ports[k] % 8U));
        count += (seen[ep->ports[k] / 8] & bit) == 0;
        seen[ep->ports[k] / 8] |= bit;
    }
    return count;
}

static int collect_ports(struct policy *p)
{
    uint8_t seen[65536 / 8] = {0};
    for (size_t r = 0; r < p->rules->rule_count; r++) {
        const struct policy_rule *rule = &p->rules->rules[r];
        for (size_t i = 0; i < rule->endpoint_count; i++) {
            p->port_count += mark_ports(&rule->endpoints[i], seen);
        }
    }
    p->ports = calloc(p->port_count + 1, sizeof *p->ports);
    if (p->ports == NULL) {
        return -ENOMEM;
    }
    size_t used = 0;
    for (uint32_t port = 0; port < 65536 && used < p->port_count; port++) {
        if (((unsigned)seen[port / 8] >> (port % 8)) & 1U) {
            p->ports[used++] = (uint16_t)port;
        }
    }
    return 0;
}

static int collect_endpoints(struct policy *p)
{
    size_t count = 0;
    size_t addresses = 0;
    size_t hostless = 0;
    for (size_t r = 0; r < p->rules->rule_count; r++) {
        const struct policy_rule *rule = &p->rules->rules[r];
        count += rule->endpoint_count;
        for (size_t i = 0; i < rule->endpoint_count; i++) {
            addresses += rule->endpoints[i].host_kind == ENDPOINT_IP;
            hostless += rule->endpoints[i].host_kind == ENDPOINT_HOSTLESS;
        }
    }
    p->endpoints = calloc(count + 1, sizeof *p->endpoints);
    p->next = calloc(count + 1, sizeof *p->next);
    p->addresses = calloc(addresses + 1, sizeof *p->addresses);
    p->hostless = calloc(hostless + 1, sizeof *p->hostless);
    if (p->endpoints == NULL || p->next == NULL || p->addresses == NULL || p->hostless == NULL ||
        count >= NO_ENDPOINT) {
        return -ENOMEM;
    }
    for (size_t r = 0; r < p->rules->rule_count; r++) {
        const struct policy_rule *rule = &p->rules->rules[r];
        for (size_t i = 0; i < rule->endpoint_count; i++) {
            p->endpoints[p->endpoint_count++] = &rule->endpoints[i];
        }
    }
    return 0;
}

static void policy_free(struct policy *p)
{
    suffix_table_fini(&p->names);
    free(p->endpoints);
    free(p->next);
    free(p->addresses);
    free(p->hostless);
    free(p->ports);
    policy_rules_free(p->rules);
    free(p);
}

int policy_compile(struct policy_rules *rules, uint64_t generation, struct policy **out)
{
    *out = NULL;
    struct policy *p = calloc(1, sizeof *p);
    if (p == NULL) {
        policy_rules_free(rules);
        return -ENOMEM;
    }
    atomic_init(&p->refs, 1);
    p->generation = generation;
    p->rules = rules;
    int rc = suffix_table_init(&p->names);
    if (rc == 0) {
        rc = collect_endpoints(p);
    }
    if (rc == 0) {
        rc = collect_ports(p);
    }
    if (rc == 0) {
        rc = index_endpoints(p);
    }
    if (rc != 0) {
        policy_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

struct policy *policy_ref(struct policy *p)
{
    (void)atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void policy_unref(struct policy *p)
{
    /* release: what this thread read happens before the free; acquire: so does what the others read */
    if (p != NULL && atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1) {
        policy_free(p);
    }
}

uint64_t policy_generation(const struct policy *p)
{
    return p->generation;
}

const struct policy_rules *policy_rules_of(const struct policy *p)
{
    return p->rules;
}

const uint16_t *policy_ports(const struct policy *p, size_t *count)
{
    *count = p->port_count;
    return p->ports;
}

static int kind_rank(enum endpoint_host_kind k)
{
    switch (k) {
    case ENDPOINT_EXACT:
    case ENDPOINT_IP:
        return 0;
    case ENDPOINT_WILDCARD:
        return 1;
    case ENDPOINT_HOSTLESS:
        break;
    }
    return 2;
}

static int compare_u32(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

int policy_endpoint_compare(const struct policy_endpoint *a, const struct policy_endpoint *b)
{
    int order = kind_rank(a->host_kind) - kind_rank(b->host_kind);
    if (order == 0 && a->host_kind == ENDPOINT_WILDCARD) {
        order = host_pattern_compare(&a->pattern, &b->pattern);
    }
    if (order == 0) {
        order = compare_u32(a->pos.file, b->pos.file);
    }
    if (order == 0) {
        order = compare_u32(a->pos.line, b->pos.line);
    }
    if (order == 0) {
        order = compare_u32(a->pos.col, b->pos.col);
    }
    return order;
}

void policy_visit_name(const struct policy *p, const struct host_name *name, policy_visit_fn *visit,
                       void *ctx)
{
    struct span whole = host_name_span(name);
    for (struct span s = whole; s.len > 0; s = rest_after_label(s)) {
        const struct suffix_node *n = suffix_table_find(&p->names, s);
        if (n == NULL) {
            continue;
        }
        for (uint32_t i = s.len == whole.len ? n->first_exact : NO_ENDPOINT; i != NO_ENDPOINT;
             i = p->next[i]) {
            if (!visit(p->endpoints[i], ctx)) {
                return;
            }
        }
        for (uint32_t i = n->first_wildcard; i != NO_ENDPOINT; i = p->next[i]) {
            if (host_pattern_matches(&p->endpoints[i]->pattern, name) && !visit(p->endpoints[i], ctx)) {
                return;
            }
        }
    }
}

void policy_visit_ip(const struct policy *p, const struct ip *ip, policy_visit_fn *visit, void *ctx)
{
    size_t low = 0;
    size_t high = p->address_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ip_compare(&p->addresses[middle]->ip, ip) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (; low < p->address_count && ip_is_equal(&p->addresses[low]->ip, ip); low++) {
        if (!visit(p->addresses[low], ctx)) {
            return;
        }
    }
    for (size_t i = 0; i < p->hostless_count; i++) {
        if (policy_allows_ip(p->hostless[i], ip) && !visit(p->hostless[i], ctx)) {
            return;
        }
    }
}

struct collector { /* the cap most specific ones so far, in order */
    const struct policy_endpoint **out;
    size_t cap;
    size_t used;
    size_t count;
};

static bool collect(const struct policy_endpoint *ep, void *ctx)
{
    struct collector *c = ctx;
    c->count++;
    size_t at = c->used;
    while (at > 0 && policy_endpoint_compare(ep, c->out[at - 1]) < 0) {
        at--;
    }
    if (at >= c->cap) {
        return true;
    }
    size_t last = c->used < c->cap ? c->used++ : c->cap - 1;
    for (; last > at; last--) {
        c->out[last] = c->out[last - 1];
    }
    c->out[at] = ep;
    return true;
}

size_t policy_match_name(const struct policy *p, const struct host_name *name,
                         const struct policy_endpoint **out, size_t cap)
{
    struct collector c = {.out = out, .cap = cap};
    policy_visit_name(p, name, collect, &c);
    return c.count;
}

size_t policy_match_ip(const struct policy *p, const struct ip *ip, const struct policy_endpoint **out,
                       size_t cap)
{
    struct collector c = {.out = out, .cap = cap};
    policy_visit_ip(p, ip, collect, &c);
    return c.count;
}

const struct policy_host *policy_static_host(const struct policy *p, const struct host_name *name)
{
    const struct suffix_node *n = suffix_table_find(&p->names, host_name_span(name));
    return n == NULL || n->host == SUFFIX_NONE ? NULL : &p->rules->hosts[n->host];
}

bool policy_is_parent(const struct policy *p, const struct host_name *name)
{
    const struct suffix_node *own = suffix_table_find(&p->names, host_name_span(name));
    if (own != NULL && own->is_parent) {
        return true;
    }
    /* "foo.*.example.com" makes any "x.example.com" a parent */
    for (struct span s = rest_after_label(host_name_span(name)); s.len > 0; s = rest_after_label(s)) {
        const struct suffix_node *n = suffix_table_find(&p->names, s);
        for (uint32_t i = n == NULL ? NO_ENDPOINT : n->first_wildcard; i != NO_ENDPOINT; i = p->next[i]) {
            if (host_pattern_reaches_below(&p->endpoints[i]->pattern, name)) {
                return true;
            }
        }
    }
    return false;
}

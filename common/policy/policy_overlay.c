/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An overlay shapes endpoints that rules have declared; it never makes one. An entry applies to the endpoints
 * whose host is written the same, so that it can neither widen a wildcard nor turn a name under one into an
 * exact host.
 */
#include "common/policy/policy_parts.h"

#include <stdlib.h>

#define MAX_STATIC_LOOKS ((size_t)10000000) /* a warning is not worth more than a second */

struct index {
    struct load_endpoint **items; /* sorted by host */
    size_t count;
};

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
    const struct load_endpoint *const *x = a;
    const struct load_endpoint *const *y = b;
    return compare_hosts(&(*x)->ep, &(*y)->ep);
}

static bool is_indexed(const struct load_endpoint *e)
{
    return !e->is_broken && e->ep.host_kind != ENDPOINT_HOSTLESS;
}

static struct index make_index(struct load *l)
{
    struct index index = {0};
    size_t count = 0;
    for (const struct load_rule *r = l->first_rule; r != NULL; r = r->next) {
        for (const struct load_endpoint *e = r->first; e != NULL; e = e->next) {
            count += is_indexed(e);
        }
    }
    index.items = load_alloc(l, l->scratch, count, sizeof *index.items);
    for (const struct load_rule *r = index.items == NULL ? NULL : l->first_rule; r != NULL; r = r->next) {
        for (struct load_endpoint *e = r->first; e != NULL; e = e->next) {
            if (is_indexed(e)) {
                index.items[index.count++] = e;
            }
        }
    }
    if (index.count > 1) {
        qsort(index.items, index.count, sizeof *index.items, compare_items);
    }
    return index;
}

/* The first item whose host is not smaller. */
static size_t find_host(const struct index *index, const struct policy_endpoint *wanted)
{
    size_t low = 0;
    size_t high = index->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_hosts(&index->items[middle]->ep, wanted) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void shape(struct load *l, struct load_endpoint *e, const struct load_overlay *o)
{
    if (e->shaped_at.line > 0) {
        load_error_at(l, o->pos, "keep one of the two", "this endpoint is shaped before, in %s on line %u",
                      l->texts[e->shaped_at.file].file, e->shaped_at.line);
        return;
    }
    e->shaped_at = o->pos;
    struct policy_shape *said = load_alloc(l, l->out, 1, sizeof *said);
    if (said == NULL) {
        return;
    }
    *said = (struct policy_shape){.pos = o->pos,
                                  .timers = o->tuning.timers,
                                  .keepalive = o->tuning.keepalive,
                                  .proxy = o->tuning.proxy};
    e->ep.shape = said;
    if (o->tuning.has_proxy) {
        e->ep.proxy = o->tuning.proxy;
    }
    if (o->tuning.has_timers) {
        struct tunnel_timers timers = o->tuning.timers;
        tunnel_timers_inherit(&timers, &e->ep.timers);
        e->ep.timers = timers;
    }
    if (o->tuning.has_keepalive) {
        e->ep.keepalive = o->tuning.keepalive;
    }
}

static size_t common_ports(const struct policy_endpoint *ep, const struct load_overlay *o)
{
    size_t common = 0;
    for (size_t i = 0; i < ep->port_count; i++) {
        common += policy_has_port(o->ports, o->port_count, ep->ports[i]);
    }
    return common;
}

/*
 * Takes the overlay's ports, of which e has `common`, out of e into an endpoint of their own, right behind
 * it. The array of ports is e's alone, so what remains stays in it: an entry for each port of a long list
 * must not copy the list each time.
 */
static struct load_endpoint *split_ports(struct load *l, struct load_endpoint *e,
                                         const struct load_overlay *o, size_t common)
{
    uint16_t *taken = load_alloc(l, l->out, common, sizeof *taken);
    struct load_endpoint *piece = load_alloc(l, l->scratch, 1, sizeof *piece);
    if (taken == NULL || piece == NULL) {
        return NULL;
    }
    uint16_t *ports = (uint16_t *)(uintptr_t)e->ep.ports;
    size_t taken_count = 0;
    size_t rest = 0;
    for (size_t i = 0; i < e->ep.port_count; i++) {
        if (policy_has_port(o->ports, o->port_count, ports[i])) {
            taken[taken_count++] = ports[i];
        } else {
            ports[rest++] = ports[i];
        }
    }
    *piece = *e;
    piece->ep.ports = taken;
    piece->ep.port_count = taken_count;
    e->ep.port_count = rest;
    piece->pieces = NULL;
    piece->next_piece = e->pieces;
    e->pieces = piece;
    e->next = piece;
    return piece;
}

/* Shapes what of one endpoint the entry names. True if there was anything. */
static bool apply_to(struct load *l, struct load_endpoint *e, const struct load_overlay *o)
{
    size_t common = o->port_count == 0 ? e->ep.port_count : common_ports(&e->ep, o);
    if (common == 0) {
        return false;
    }
    if (common < e->ep.port_count && e->shaped_at.line == 0) {
        e = split_ports(l, e, o, common);
    }
    if (e != NULL) {
        shape(l, e, o);
    }
    return true;
}

static bool is_declared_port(const struct index *index, size_t first, const struct policy_endpoint *wanted,
                             uint16_t port)
{
    for (size_t i = first; i < index->count && compare_hosts(&index->items[i]->ep, wanted) == 0; i++) {
        const struct load_endpoint *e = index->items[i];
        if (policy_has_port(e->ep.ports, e->ep.port_count, port)) {
            return true;
        }
        for (const struct load_endpoint *p = e->pieces; p != NULL; p = p->next_piece) {
            if (policy_has_port(p->ep.ports, p->ep.port_count, port)) {
                return true;
            }
        }
    }
    return false;
}

static void apply(struct load *l, const struct index *index, const struct load_overlay *o)
{
    const struct policy_endpoint wanted = {
        .host_kind = o->host.kind, .pattern = o->host.pattern, .ip = o->host.ip};
    size_t first = find_host(index, &wanted);
    bool is_found = false;
    for (size_t i = 0; i < o->port_count; i++) {
        if (!is_declared_port(index, first, &wanted, o->ports[i])) {
            load_error_at(l, o->pos, "write the host as the rule does, with a port that the rule has",
                          "no rule has an endpoint with this host and port %u", o->ports[i]);
            return;
        }
    }
    for (size_t i = first; i < index->count && compare_hosts(&index->items[i]->ep, &wanted) == 0; i++) {
        struct load_endpoint *e = index->items[i];
        struct load_endpoint *pieces = e->pieces; /* those that were there before this entry */
        is_found = apply_to(l, e, o) || is_found;
        for (struct load_endpoint *p = pieces; p != NULL; p = p->next_piece) {
            is_found = apply_to(l, p, o) || is_found;
        }
    }
    if (!is_found) {
        load_error_at(l, o->pos, "an overlay shapes, it never grants: write the host as a rule does",
                      "no rule has an endpoint with this host");
    }
}

void load_apply_overlays(struct load *l)
{
    if (l->first_overlay == NULL) {
        return;
    }
    struct index index = make_index(l);
    for (const struct load_overlay *o = l->first_overlay; o != NULL && !l->is_out_of_memory; o = o->next) {
        apply(l, &index, o);
    }
}

static int compare_statics(const void *a, const void *b)
{
    const struct load_static *const *x = a;
    const struct load_static *const *y = b;
    int order = strcmp((*x)->host.name.text, (*y)->host.name.text);
    if (order != 0) {
        return order;
    }
    const struct policy_pos *p = &(*x)->host.pos;
    const struct policy_pos *q = &(*y)->host.pos;
    if (p->file != q->file) {
        return p->file < q->file ? -1 : 1;
    }
    if (p->line != q->line) {
        return p->line < q->line ? -1 : 1;
    }
    return (p->col > q->col) - (p->col < q->col);
}

static bool is_same_answer(const struct policy_host *a, const struct policy_host *b)
{
    if (a->addr_count != b->addr_count) {
        return false;
    }
    for (size_t i = 0; i < a->addr_count; i++) {
        if (!ip_is_equal(&a->addrs[i], &b->addrs[i])) {
            return false;
        }
    }
    return true;
}

/* Exactly written as a rule writes it: found in the index. Under a wildcard, or in hostless allowed_ips:
 * looked for. */
static bool is_admitted(const struct load *l, const struct index *index, const struct policy_host *host)
{
    const struct policy_endpoint wanted = {.host_kind = ENDPOINT_EXACT, .pattern = {.text = host->name}};
    size_t first = find_host(index, &wanted);
    if (first < index->count && compare_hosts(&index->items[first]->ep, &wanted) == 0) {
        return true;
    }
    for (const struct load_rule *r = l->first_rule; r != NULL; r = r->next) {
        for (const struct load_endpoint *e = r->first; e != NULL; e = e->next) {
            if (e->ep.host_kind == ENDPOINT_WILDCARD && host_pattern_matches(&e->ep.pattern, &host->name)) {
                return true;
            }
            for (size_t i = 0; e->ep.host_kind == ENDPOINT_HOSTLESS && i < host->addr_count; i++) {
                if (policy_allows_ip(&e->ep, &host->addrs[i])) {
                    return true;
                }
            }
        }
    }
    return false;
}

static void warn_unadmitted(struct load *l)
{
    struct index index = make_index(l);
    size_t looked_at = 0;
    for (const struct load_static *s = l->first_static; s != NULL; s = s->next) {
        looked_at += index.count;
        if (looked_at > MAX_STATIC_LOOKS) {
            return;
        }
        if (!is_admitted(l, &index, &s->host)) {
            load_warning(l, s->host.pos, "add a rule with this host, or remove the entry",
                         "no rule admits \"%s\", so egress.hosts is not asked for it", s->host.name.text);
        }
    }
}

/* The same name twice must have the same addresses. A name that no rule admits is of no use. */
void load_check_statics(struct load *l)
{
    if (l->first_static != NULL) {
        warn_unadmitted(l);
    }
    size_t count = 0;
    for (const struct load_static *s = l->first_static; s != NULL; s = s->next) {
        count++;
    }
    struct load_static **items =
        count < 2 ? NULL : load_alloc(l, l->scratch, count, sizeof(struct load_static *));
    if (items == NULL) {
        return;
    }
    count = 0;
    for (struct load_static *s = l->first_static; s != NULL; s = s->next) {
        items[count++] = s;
    }
    qsort(items, count, sizeof(struct load_static *), compare_statics);
    for (size_t i = 1; i < count; i++) {
        const struct policy_host *a = &items[i - 1]->host;
        const struct policy_host *b = &items[i]->host;
        if (host_name_is_equal(&a->name, &b->name) && !is_same_answer(a, b)) {
            load_error_at(l, b->pos, "keep one of the two",
                          "this name was given other addresses in %s on line %u", l->texts[a->pos.file].file,
                          a->pos.line);
        }
    }
}

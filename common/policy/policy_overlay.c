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
    return e->ep.host_kind != ENDPOINT_HOSTLESS;
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

/* One port of one endpoint, and the entry that shapes it. */
struct spot {
    struct load_endpoint *endpoint;
    struct load_overlay *by; /* NULL: none so far */
    uint32_t host;           /* number of the host in the index */
    uint32_t order;          /* of the endpoint there */
    uint16_t port;
};

struct spots {
    struct spot *at; /* by host, then port, then order */
    size_t count;
};

static int compare_u32(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

static int compare_spots(const void *a, const void *b)
{
    const struct spot *x = a;
    const struct spot *y = b;
    int order = compare_u32(x->host, y->host);
    order = order != 0 ? order : compare_u32(x->port, y->port);
    return order != 0 ? order : compare_u32(x->order, y->order);
}

/* By endpoint, then what shapes it (nothing first), then port. */
static int compare_shapes(const void *a, const void *b)
{
    const struct spot *x = a;
    const struct spot *y = b;
    int order = compare_u32(x->order, y->order);
    order = order != 0 ? order
                       : compare_u32(x->by == NULL ? 0 : x->by->number, y->by == NULL ? 0 : y->by->number);
    return order != 0 ? order : compare_u32(x->port, y->port);
}

/* hosts[i] becomes the number of the host of item i. */
static struct spots make_spots(struct load *l, const struct index *index, uint32_t *hosts)
{
    struct spots spots = {0};
    size_t count = 0;
    for (size_t i = 0; i < index->count; i++) {
        bool is_new = i > 0 && compare_items(&index->items[i - 1], &index->items[i]) != 0;
        hosts[i] = i == 0 ? 0 : hosts[i - 1] + is_new;
        count += index->items[i]->ep.port_count;
    }
    spots.at = load_alloc(l, l->scratch, count, sizeof *spots.at);
    for (size_t i = 0; spots.at != NULL && i < index->count; i++) {
        struct load_endpoint *e = index->items[i];
        for (size_t k = 0; k < e->ep.port_count; k++) {
            spots.at[spots.count++] =
                (struct spot){.endpoint = e, .host = hosts[i], .order = (uint32_t)i, .port = e->ep.ports[k]};
        }
    }
    if (spots.count > 1) {
        qsort(spots.at, spots.count, sizeof *spots.at, compare_spots);
    }
    return spots;
}

/* The first spot of the host whose port is not smaller. */
static size_t find_spot(const struct spots *spots, uint32_t host, uint16_t port)
{
    const struct spot wanted = {.host = host, .port = port};
    size_t low = 0;
    size_t high = spots->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_spots(&spots->at[middle], &wanted) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_spot(const struct spots *spots, size_t i, uint32_t host, uint16_t port)
{
    return i < spots->count && spots->at[i].host == host && (port == 0 || spots->at[i].port == port);
}

/* The host's spots with the port, 0 for all, are the entry's. One conflict is told and ends it: so that each
 * spot is come to once, and once more for each entry at most. */
static bool take_spots(struct load *l, const struct spots *spots, uint32_t host, uint16_t port,
                       struct load_overlay *o)
{
    for (size_t i = find_spot(spots, host, port); is_spot(spots, i, host, port); i++) {
        const struct load_overlay *before = spots->at[i].by;
        if (before != NULL) {
            load_error_at(l, o->pos, "keep one of the two",
                          "this endpoint is shaped before, in %s on line %u", l->texts[before->pos.file].file,
                          before->pos.line);
            return false;
        }
        spots->at[i].by = o;
    }
    return true;
}

static void apply(struct load *l, const struct index *index, const uint32_t *hosts, const struct spots *spots,
                  struct load_overlay *o)
{
    const struct policy_endpoint wanted = {
        .host_kind = o->host.kind, .pattern = o->host.pattern, .ip = o->host.ip};
    size_t first = find_host(index, &wanted);
    bool is_host = first < index->count && compare_hosts(&index->items[first]->ep, &wanted) == 0;
    for (size_t i = 0; i < o->port_count; i++) {
        if (!is_host ||
            !is_spot(spots, find_spot(spots, hosts[first], o->ports[i]), hosts[first], o->ports[i])) {
            load_error_at(l, o->pos, "write the host as the rule does, with a port that the rule has",
                          "no rule has an endpoint with this host and port %u", o->ports[i]);
            return;
        }
    }
    if (!is_host) {
        load_error_at(l, o->pos, "an overlay shapes, it never grants: write the host as a rule does",
                      "no rule has an endpoint with this host");
        return;
    }
    if (o->port_count == 0) {
        (void)take_spots(l, spots, hosts[first], 0, o);
    }
    for (size_t i = 0; i < o->port_count && take_spots(l, spots, hosts[first], o->ports[i], o); i++) {
    }
}

static void shape(struct load *l, struct load_endpoint *e, struct load_overlay *o)
{
    if (o->shape == NULL) {
        o->shape = load_alloc(l, l->out, 1, sizeof *o->shape);
        if (o->shape == NULL) {
            return;
        }
        *o->shape = (struct policy_shape){.pos = o->pos,
                                          .timers = o->tuning.timers,
                                          .keepalive = o->tuning.keepalive,
                                          .proxy = o->tuning.proxy,
                                          .dns = o->tuning.dns};
    }
    e->ep.shape = o->shape;
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
    if (o->tuning.dns.is_set) {
        e->ep.dns = o->tuning.dns;
    }
}

static size_t run_length(const struct spot *spots, size_t count)
{
    size_t len = 1;
    while (len < count && spots[len].endpoint == spots[0].endpoint && spots[len].by == spots[0].by) {
        len++;
    }
    return len;
}

static bool set_ports(struct load *l, struct load_endpoint *e, const struct spot *spots, size_t count)
{
    uint16_t *ports = load_alloc(l, l->out, count, sizeof *ports);
    for (size_t i = 0; ports != NULL && i < count; i++) {
        ports[i] = spots[i].port;
    }
    e->ep.ports = ports;
    e->ep.port_count = ports == NULL ? 0 : count;
    return ports != NULL;
}

/*
 * All spots of one endpoint, sorted by what shapes them. If that is not the same for all, each run of ports
 * but the first becomes an endpoint of its own behind it.
 */
static void shape_endpoint(struct load *l, const struct spot *spots, size_t count)
{
    struct load_endpoint *e = spots[0].endpoint;
    const struct load_endpoint whole = *e;
    size_t len = run_length(spots, count);
    if (len < count && !set_ports(l, e, spots, len)) {
        return;
    }
    if (spots[0].by != NULL) {
        shape(l, e, spots[0].by);
    }
    for (size_t i = len; i < count; i += len) {
        struct load_endpoint *piece = load_alloc(l, l->scratch, 1, sizeof *piece);
        len = run_length(spots + i, count - i);
        if (piece == NULL) {
            return;
        }
        *piece = whole;
        piece->next = e->next;
        e->next = piece;
        if (!set_ports(l, piece, spots + i, len)) {
            return;
        }
        shape(l, piece, spots[i].by); /* only the first run can be of ports that nothing shapes */
        e = piece;
    }
}

void load_apply_overlays(struct load *l)
{
    if (l->first_overlay == NULL) {
        return;
    }
    struct index index = make_index(l);
    uint32_t *hosts = load_alloc(l, l->scratch, index.count, sizeof *hosts);
    if (hosts == NULL) {
        return;
    }
    struct spots spots = make_spots(l, &index, hosts);
    uint32_t number = 0;
    for (struct load_overlay *o = l->first_overlay; o != NULL && !l->is_out_of_memory; o = o->next) {
        o->number = ++number;
        apply(l, &index, hosts, &spots, o);
    }
    if (spots.count > 1) {
        qsort(spots.at, spots.count, sizeof *spots.at, compare_shapes);
    }
    for (size_t i = 0, len = 0; i < spots.count && !l->is_out_of_memory; i += len) {
        for (len = 1; i + len < spots.count && spots.at[i + len].endpoint == spots.at[i].endpoint; len++) {
        }
        shape_endpoint(l, spots.at + i, len);
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

/* SPDX-License-Identifier: Apache-2.0 */
/* What the compiled policy says about one name or address: policy.h, on top of the index. */
#include "common/policy/policy_private.h"

struct found {
    struct policy_name *out;
    uint32_t tier;
    uint32_t best; /* endpoint, or INDEX_NONE */
};

/* Equal tiers are only those of partial labels, and equally specific then: the first one wins. */
static bool is_before(uint32_t tier, uint32_t endpoint, uint32_t best_tier, uint32_t best)
{
    return best == INDEX_NONE || tier < best_tier || (tier == best_tier && endpoint < best);
}

static bool find_node(const struct policy_index *x, struct match_at at, uint32_t tier, void *ctx)
{
    struct found *f = ctx;
    const struct match_node *n = &x->tree.nodes[at.node];
    f->out->is_parent = f->out->is_parent || (n->flags & MATCH_HAS_BELOW) != 0;
    if (n->flags & MATCH_HAS_HOST) {
        f->out->host = policy_index_host(x, at);
    }
    if (n->group != INDEX_NONE) {
        uint32_t first = policy_index_first(x, at.node);
        if (is_before(tier, first, f->tier, f->best)) {
            f->tier = tier;
            f->best = first;
            f->out->is_wildcard = (n->flags & MATCH_IS_WILDCARD) != 0;
            f->out->dns_types = (uint8_t)((n->flags & MATCH_DNS_TYPES) >> MATCH_DNS_SHIFT);
        }
    }
    /* what comes later is less specific, but among partial labels; the name itself comes first of all */
    return f->best == INDEX_NONE || tier % INDEX_TIER_STEP != 0;
}

void policy_find_name(const struct policy *p, const struct host_name *name, struct policy_name *out)
{
    struct found f = {.out = out, .best = INDEX_NONE};
    *out = (struct policy_name){0};
    policy_index_walk(&p->index, name, find_node, &f);
    if (f.best != INDEX_NONE) {
        out->endpoint = &p->rules->endpoints[f.best];
    }
}

bool policy_may_end_in(const struct policy *p, struct span label)
{
    return policy_index_may_end_in(&p->index, label);
}

static bool find_first(const struct policy_index *x, struct match_at at, uint32_t tier, void *ctx)
{
    (void)tier;
    uint32_t *best = ctx;
    uint32_t first = policy_index_first(x, at.node);
    *best = first < *best ? first : *best;
    return true;
}

static struct index_nets hostless_nets(const struct policy_index *x)
{
    return (struct index_nets){.lens = &x->hostless, .parent = match_tree_root(), .kind = MATCH_HOSTLESS};
}

const struct policy_endpoint *policy_find_hostless(const struct policy *p, const struct ip *ip)
{
    uint32_t best = INDEX_NONE;
    const struct index_nets nets = hostless_nets(&p->index);
    (void)policy_index_nets(&p->index, &nets, ip, find_first, &best);
    return best == INDEX_NONE ? NULL : &p->rules->endpoints[best];
}

struct sum {
    struct policy_candidates *c;
    const struct policy_host *host;
    uint32_t tier;
    uint32_t best; /* endpoint, or INDEX_NONE */
    bool is_tuned;
};

static void take_best(struct sum *s, uint32_t tier, uint32_t endpoint, bool is_tuned)
{
    if (endpoint != INDEX_NONE && is_before(tier, endpoint, s->tier, s->best)) {
        s->tier = tier;
        s->best = endpoint;
        s->is_tuned = is_tuned;
    }
}

/* An endpoint whose rule does not admit the process is no candidate: it neither opens nor requires anything.
 */
static void add_port(struct sum *s, const struct index_port *port, uint32_t tier)
{
    bool is_tuned = (port->flags & INDEX_PORT_TUNED) != 0;
    if (s->c->ignore_binaries) {
        s->c->requires_l7 = s->c->requires_l7 || (port->flags & INDEX_PORT_L7) != 0;
        take_best(s, tier, port->first, is_tuned);
        return;
    }
    s->c->requires_l7 = s->c->requires_l7 || (port->flags & INDEX_PORT_L7_ADMITTED) != 0;
    s->c->has_other_binary = s->c->has_other_binary || (port->flags & INDEX_PORT_BINARIES) != 0;
    take_best(s, tier, port->first_admitted, is_tuned);
}

static void add_member(struct sum *s, const struct policy_index *x, uint32_t endpoint)
{
    const struct policy_endpoint *ep = &x->rules->endpoints[endpoint];
    if (!policy_has_port(ep->ports, ep->port_count, s->c->port)) {
        return;
    }
    if (!s->c->ignore_binaries && !ep->rule->admits_any_binary) {
        s->c->has_other_binary = true;
        return;
    }
    s->c->requires_l7 = s->c->requires_l7 || ep->requires_l7;
    take_best(s, 0, endpoint, true);
}

static bool add_node(const struct policy_index *x, struct match_at at, uint32_t tier, void *ctx)
{
    struct sum *s = ctx;
    const struct match_node *n = &x->tree.nodes[at.node];
    if (n->flags & MATCH_HAS_HOST) {
        s->host = policy_index_host(x, at);
    }
    if (n->group == INDEX_NONE) {
        return true;
    }
    struct index_group g;
    policy_index_group(x, n, &g);
    const struct index_port *port = policy_index_port(&g, s->c->port);
    if (port != NULL) {
        add_port(s, port, tier);
    }
    return true;
}

static bool add_hostless(const struct policy_index *x, struct match_at at, uint32_t tier, void *ctx)
{
    struct index_group g;
    policy_index_group(x, &x->tree.nodes[at.node], &g);
    if (g.port_count > 0) {
        return add_node(x, at, tier, ctx);
    }
    for (uint32_t i = 0; i < g.member_count; i++) {
        add_member(ctx, x, g.members[i]);
    }
    return true;
}

static void finish(const struct policy *p, const struct sum *s)
{
    const struct policy_endpoint *best = s->best == INDEX_NONE ? NULL : &p->rules->endpoints[s->best];
    const struct policy_endpoint *before = s->c->best;
    bool is_better = before == NULL || (before->host_kind == ENDPOINT_HOSTLESS && best < before);
    if (best != NULL && is_better) {
        s->c->best = best; /* of two hostless ones the first in the array */
        s->c->is_tuned = s->is_tuned;
    }
}

void policy_name_candidates(const struct policy *p, const struct host_name *name, struct policy_candidates *c,
                            const struct policy_host **host)
{
    struct sum s = {.c = c, .best = INDEX_NONE};
    policy_index_walk(&p->index, name, add_node, &s);
    finish(p, &s);
    *host = s.host;
}

void policy_address_candidates(const struct policy *p, const struct ip *ip, struct policy_candidates *c)
{
    struct sum s = {.c = c, .best = INDEX_NONE};
    struct match_at at = policy_index_address(&p->index, ip);
    if (at.node != MATCH_NONE) {
        (void)add_node(&p->index, at, 0, &s);
        finish(p, &s);
    }
}

void policy_hostless_candidates(const struct policy *p, const struct ip *ip, struct policy_candidates *c)
{
    struct sum s = {.c = c, .best = INDEX_NONE};
    const struct index_nets nets = hostless_nets(&p->index);
    (void)policy_index_nets(&p->index, &nets, ip, add_hostless, &s);
    finish(p, &s);
}

struct dial {
    const struct ip *listed;
    policy_dial_fn *visit;
    void *ctx;
};

/* True to go on with the next endpoint. */
static bool dial_ports(const struct dial *d, const struct policy_endpoint *ep)
{
    struct policy_dial dial = {.endpoint = ep,
                               .is_exact = ep->host_kind == ENDPOINT_EXACT,
                               .has_allowed_ips = ep->allowed_ip_count > 0};
    for (size_t i = 0; i < ep->port_count; i++) {
        dial.port = ep->ports[i];
        switch (d->visit(&dial, d->ctx)) {
        case POLICY_STOP:
            return false;
        case POLICY_NEXT_ENDPOINT:
            return true;
        case POLICY_NEXT_PORT:
            break;
        }
    }
    return true;
}

static bool dial_members(const struct policy_index *x, struct match_at at, uint32_t tier, void *ctx)
{
    (void)tier;
    struct index_group g;
    policy_index_group(x, &x->tree.nodes[at.node], &g);
    for (uint32_t i = 0; i < g.member_count; i++) {
        if (!dial_ports(ctx, &x->rules->endpoints[g.members[i]])) {
            return false;
        }
    }
    return true;
}

/*
 * The endpoints of one host without allowed_ips: the address rule is the same for all of them, and the node
 * and its sums tell it without a look at any.
 */
static bool dial_open(const struct dial *d, const struct policy_index *x, const struct index_group *g,
                      bool is_exact)
{
    struct policy_dial dial = {.endpoint = &x->rules->endpoints[g->first_open], .is_exact = is_exact};
    for (uint32_t i = 0; i < g->port_count; i++) {
        if ((g->ports[i].flags & INDEX_PORT_OPEN) == 0) {
            continue;
        }
        dial.port = g->ports[i].port;
        switch (d->visit(&dial, d->ctx)) {
        case POLICY_STOP:
            return false;
        case POLICY_NEXT_ENDPOINT:
            return true;
        case POLICY_NEXT_PORT:
            break;
        }
    }
    return true;
}

static bool dial_node(const struct policy_index *x, struct match_at at, uint32_t tier, void *ctx)
{
    (void)tier;
    struct dial *d = ctx;
    const struct match_node *n = &x->tree.nodes[at.node];
    if (n->group == INDEX_NONE) {
        return true;
    }
    struct index_group g;
    policy_index_group(x, n, &g);
    if (g.first_open != INDEX_NONE && !dial_open(d, x, &g, (n->flags & MATCH_IS_WILDCARD) == 0)) {
        return false;
    }
    if (g.member_count == 1) {
        return g.first_open != INDEX_NONE || dial_ports(d, &x->rules->endpoints[g.first]);
    }
    const struct index_nets nets = {.lens = &x->listed, .parent = at, .kind = MATCH_LISTED};
    return (n->flags & MATCH_HAS_LISTED) == 0 || policy_index_nets(x, &nets, d->listed, dial_members, d);
}

void policy_visit_dial(const struct policy *p, const struct host_name *name, const struct ip *listed,
                       policy_dial_fn *visit, void *ctx)
{
    struct dial d = {.listed = listed, .visit = visit, .ctx = ctx};
    policy_index_walk(&p->index, name, dial_node, &d);
}

void policy_visit_dial_hostless(const struct policy *p, const struct ip *ip, policy_dial_fn *visit, void *ctx)
{
    struct dial d = {.visit = visit, .ctx = ctx};
    const struct index_nets nets = hostless_nets(&p->index);
    (void)policy_index_nets(&p->index, &nets, ip, dial_members, &d);
}

struct never {
    uint16_t port;
    bool is_hit;
};

static bool look_at_never(const struct policy_index *x, struct match_at at, uint32_t tier, void *ctx)
{
    (void)tier;
    struct never *n = ctx;
    unsigned flags = x->tree.nodes[at.node].flags;
    n->is_hit =
        (flags & MATCH_EVERY_PORT) != 0 ||
        ((flags & MATCH_HAS_PORTS) != 0 &&
         match_tree_find(&x->tree, at, MATCH_PORT, span_make(&n->port, sizeof n->port)).node != MATCH_NONE);
    return !n->is_hit;
}

bool policy_is_never(const struct policy *p, const struct ip *ip, uint16_t port)
{
    struct never n = {.port = port};
    if (p->rules->never_count == 0) {
        return false;
    }
    const struct index_nets nets = {
        .lens = &p->index.never, .parent = match_tree_root(), .kind = MATCH_NEVER};
    (void)policy_index_nets(&p->index, &nets, ip, look_at_never, &n);
    return n.is_hit;
}

struct visit {
    policy_visit_fn *visit;
    void *ctx;
};

static bool visit_node(const struct policy_index *x, struct match_at at, uint32_t tier, void *ctx)
{
    (void)tier;
    const struct visit *v = ctx;
    const struct match_node *n = &x->tree.nodes[at.node];
    if (n->group == INDEX_NONE) {
        return true;
    }
    struct index_group g;
    policy_index_group(x, n, &g);
    for (uint32_t i = 0; i < g.member_count; i++) {
        if (!v->visit(&x->rules->endpoints[g.members[i]], v->ctx)) {
            return false;
        }
    }
    return true;
}

void policy_visit_name(const struct policy *p, const struct host_name *name, policy_visit_fn *visit,
                       void *ctx)
{
    struct visit v = {visit, ctx};
    policy_index_walk(&p->index, name, visit_node, &v);
}

void policy_visit_ip(const struct policy *p, const struct ip *ip, policy_visit_fn *visit, void *ctx)
{
    struct visit v = {visit, ctx};
    struct match_at at = policy_index_address(&p->index, ip);
    const struct index_nets nets = hostless_nets(&p->index);
    if (at.node == MATCH_NONE || visit_node(&p->index, at, 0, &v)) {
        /* an endpoint's prefixes are disjoint: it comes once */
        (void)policy_index_nets(&p->index, &nets, ip, visit_node, &v);
    }
}

const struct policy_host *policy_static_host(const struct policy *p, const struct host_name *name)
{
    struct policy_name found;
    if (p->rules->host_count == 0) {
        return NULL;
    }
    policy_find_name(p, name, &found);
    return found.host;
}

static bool look_below(const struct policy_index *x, struct match_at at, uint32_t tier, void *ctx)
{
    (void)tier;
    bool *is_parent = ctx;
    *is_parent = (x->tree.nodes[at.node].flags & MATCH_HAS_BELOW) != 0;
    return !*is_parent;
}

bool policy_is_parent(const struct policy *p, const struct host_name *name)
{
    bool is_parent = false;
    policy_index_walk(&p->index, name, look_below, &is_parent);
    return is_parent;
}

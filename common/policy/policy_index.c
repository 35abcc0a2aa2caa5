/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/policy_index.h"

#include <errno.h>
#include <stdlib.h>

struct pair { /* endpoint is a member of group */
    uint32_t group;
    uint32_t endpoint;
};

struct group { /* before its record is written */
    uint32_t first, first_open, members, member_count;
    uint32_t ports, port_count; /* where its sums are in those of all groups */
    uint32_t record;            /* or what a node has in its place */
};

struct build {
    struct policy_index *x;
    struct group *groups;
    size_t group_count, group_cap;
    struct index_port *ports; /* the sums of all groups */
    size_t port_count, port_cap;
    const struct policy_endpoint *endpoints;
    size_t endpoint_count;
    uint32_t *nodes; /* of each endpoint with a host, or INDEX_NONE */
    struct pair *pairs;
    size_t pair_count, pair_cap;
    size_t mask_cap;
    uint64_t *sort; /* ports of one group */
    size_t sort_cap;
};

/* Room for one more of *array. */
static int reserve(void *array, size_t *cap, size_t count, size_t size)
{
    void *now;
    if (count < *cap) {
        return 0;
    }
    size_t wanted = count + count / 2 + 16;
    memcpy(&now, array, sizeof now); /* a pointer to a pointer of any type */
    void *moved = wanted >= INDEX_NONE ? NULL : realloc(now, wanted * size);
    if (moved == NULL) {
        return -ENOMEM;
    }
    memcpy(array, &moved, sizeof moved);
    *cap = wanted;
    return 0;
}

static struct match_node *node_at(struct build *b, uint32_t node)
{
    return &b->x->tree.nodes[node];
}

static void set_flags(struct build *b, uint32_t node, unsigned flags)
{
    node_at(b, node)->flags = (uint16_t)(node_at(b, node)->flags | flags);
}

/* The endpoint joins the node's group, which is made when needed. */
static int join(struct build *b, uint32_t node, uint32_t endpoint)
{
    uint32_t *group = &node_at(b, node)->group;
    if (*group == INDEX_NONE) {
        if (reserve(&b->groups, &b->group_cap, b->group_count, sizeof *b->groups) != 0) {
            return -ENOMEM;
        }
        b->groups[b->group_count] = (struct group){.first = endpoint, .first_open = INDEX_NONE};
        *group = (uint32_t)b->group_count++;
        if (!policy_index_is_chained(node_at(b, node))) {
            node_at(b, node)->value = endpoint;
        }
    }
    if (reserve(&b->pairs, &b->pair_cap, b->pair_count, sizeof *b->pairs) != 0) {
        return -ENOMEM;
    }
    b->pairs[b->pair_count++] = (struct pair){*group, endpoint};
    return 0;
}

/* The child for a label without stars, or for "*" or "**". */
static uint32_t add_label(struct build *b, uint32_t parent, struct span label)
{
    unsigned flags = MATCH_HAS_BELOW;
    if (span_is_equal(label, SPAN_LIT("*"))) {
        flags |= MATCH_HAS_STAR;
    } else if (span_is_equal(label, SPAN_LIT("**"))) {
        flags |= MATCH_HAS_STARS;
    }
    set_flags(b, parent, flags);
    return match_tree_add(&b->x->tree, parent, MATCH_LABEL, label);
}

/* Notes in node's mask that a part of so many bytes is there. */
static int note_len(struct build *b, uint32_t node, size_t len)
{
    struct policy_index *x = b->x;
    if (node_at(b, node)->value == MATCH_NONE) {
        if (reserve(&x->masks, &b->mask_cap, x->mask_count, sizeof *x->masks) != 0) {
            return -ENOMEM;
        }
        x->masks[x->mask_count] = 0;
        node_at(b, node)->value = (uint32_t)x->mask_count++;
    }
    x->masks[node_at(b, node)->value] |= UINT64_C(1) << len;
    return 0;
}

/* A first label with stars among other bytes. */
static uint32_t add_partial(struct build *b, uint32_t parent, struct span label)
{
    struct match_tree *t = &b->x->tree;
    size_t head_len = span_find(label, '*');
    size_t tail_len = 0;
    while (label.data[label.len - 1 - tail_len] != '*') {
        tail_len++;
    }
    set_flags(b, parent, MATCH_HAS_BELOW | MATCH_HAS_PARTIAL);
    uint32_t heads = match_tree_add(t, parent, MATCH_HEADS, (struct span){0});
    if (heads == MATCH_NONE || note_len(b, heads, head_len) != 0) {
        return MATCH_NONE;
    }
    uint32_t head = match_tree_add(t, parent, MATCH_HEAD, span_sub(label, 0, head_len));
    if (head == MATCH_NONE || note_len(b, head, tail_len) != 0) {
        return MATCH_NONE;
    }
    uint32_t tail = match_tree_add(t, head, MATCH_TAIL, span_sub(label, label.len - tail_len, label.len));
    if (tail == MATCH_NONE || head_len + 1 + tail_len == label.len) {
        return tail;
    }
    size_t before = t->node_count;
    uint32_t inner = match_tree_add(t, tail, MATCH_INNER, label);
    if (inner != MATCH_NONE && t->node_count > before) {
        node_at(b, inner)->value = node_at(b, tail)->value;
        node_at(b, tail)->value = inner;
    }
    return inner;
}

/* The node for a name or a pattern, label by label from the right. */
static uint32_t add_name(struct build *b, struct span name)
{
    uint32_t node = MATCH_ROOT;
    size_t end = name.len;
    for (size_t depth = 1;; depth++) {
        b->x->depth = depth > b->x->depth ? depth : b->x->depth;
        size_t start = end;
        while (start > 0 && name.data[start - 1] != '.') {
            start--;
        }
        struct span label = span_sub(name, start, end - start);
        bool is_whole = span_find(label, '*') == label.len || span_is_equal(label, SPAN_LIT("*")) ||
                        span_is_equal(label, SPAN_LIT("**"));
        node = is_whole ? add_label(b, node, label) : add_partial(b, node, label);
        if (start == 0 || node == MATCH_NONE) {
            return node;
        }
        end = start - 1;
    }
}

static uint32_t add_net(struct build *b, const struct ip_prefix *net, uint32_t parent, enum match_kind kind)
{
    uint8_t key[INDEX_NET_BYTES];
    size_t len = policy_index_net_bytes(net, key);
    return match_tree_add(&b->x->tree, parent, kind, span_make(key, len));
}

static void note_bits(struct index_lens *lens, const struct ip_prefix *net)
{
    if (net->base.family == IP_V4) {
        lens->v4 |= UINT64_C(1) << net->bits;
    } else {
        lens->v6[net->bits / 64] |= UINT64_C(1) << (net->bits % 64);
    }
}

static int add_hosts_of_endpoints(struct build *b)
{
    for (uint32_t i = 0; i < b->endpoint_count; i++) {
        const struct policy_endpoint *ep = &b->endpoints[i];
        uint32_t node = INDEX_NONE;
        b->nodes[i] = INDEX_NONE;
        switch (ep->host_kind) {
        case ENDPOINT_HOSTLESS:
            continue;
        case ENDPOINT_IP: {
            uint8_t bits = ep->ip.family == IP_V4 ? 32 : 128;
            node = add_net(b, &(struct ip_prefix){.base = ep->ip, .bits = bits}, MATCH_ROOT, MATCH_ADDRESS);
            break;
        }
        case ENDPOINT_EXACT:
        case ENDPOINT_WILDCARD:
            node = add_name(b, host_name_span(&ep->pattern.text));
            break;
        }
        if (node == MATCH_NONE || join(b, node, i) != 0) {
            return -ENOMEM;
        }
        b->nodes[i] = node;
        set_flags(b, node, ep->host_kind == ENDPOINT_WILDCARD ? MATCH_IS_WILDCARD : 0);
        set_flags(b, node, (unsigned)ep->dns.types << MATCH_DNS_SHIFT);
    }
    return 0;
}

/* Below the endpoint's own node, or the root if it has no host. */
static int add_nets_of(struct build *b, uint32_t endpoint)
{
    bool is_hostless = b->nodes[endpoint] == INDEX_NONE;
    uint32_t parent = is_hostless ? MATCH_ROOT : b->nodes[endpoint];
    struct index_lens *lens = is_hostless ? &b->x->hostless : &b->x->listed;
    const struct policy_endpoint *ep = &b->endpoints[endpoint];
    for (size_t i = 0; i < ep->allowed_ip_count; i++) {
        uint32_t node = add_net(b, &ep->allowed_ips[i], parent, is_hostless ? MATCH_HOSTLESS : MATCH_LISTED);
        if (node == MATCH_NONE || join(b, node, endpoint) != 0) {
            return -ENOMEM;
        }
        note_bits(lens, &ep->allowed_ips[i]);
    }
    return 0;
}

static int add_hostless(struct build *b)
{
    for (uint32_t i = 0; i < b->endpoint_count; i++) {
        if (b->endpoints[i].host_kind == ENDPOINT_HOSTLESS && add_nets_of(b, i) != 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

/* An endpoint alone with its host is looked at itself; among others it is found by what it lists. */
static int add_listed(struct build *b)
{
    for (uint32_t i = 0; b->groups != NULL && i < b->endpoint_count; i++) {
        uint32_t node = b->nodes[i];
        if (node == INDEX_NONE || b->endpoints[i].allowed_ip_count == 0 ||
            b->endpoints[i].host_kind == ENDPOINT_IP || b->groups[node_at(b, node)->group].member_count < 2) {
            continue;
        }
        set_flags(b, node, MATCH_HAS_LISTED);
        if (add_nets_of(b, i) != 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

static void count_members(struct build *b)
{
    for (size_t i = 0; i < b->pair_count; i++) {
        b->groups[b->pairs[i].group].member_count++;
    }
}

static int add_static_hosts(struct build *b)
{
    for (size_t i = 0; i < b->x->rules->host_count; i++) {
        uint32_t node = add_name(b, host_name_span(&b->x->rules->hosts[i].name));
        if (node == MATCH_NONE) {
            return -ENOMEM;
        }
        set_flags(b, node, MATCH_HAS_HOST);
        uint32_t host = match_tree_add(&b->x->tree, node, MATCH_HOST, (struct span){0});
        if (host == MATCH_NONE) {
            return -ENOMEM;
        }
        node_at(b, host)->value = (uint32_t)i;
    }
    return 0;
}

static int add_never(struct build *b)
{
    for (size_t i = 0; i < b->x->rules->never_count; i++) {
        const struct policy_never *never = &b->x->rules->never[i];
        uint32_t node = add_net(b, &never->prefix, MATCH_ROOT, MATCH_NEVER);
        if (node == MATCH_NONE) {
            return -ENOMEM;
        }
        note_bits(&b->x->never, &never->prefix);
        set_flags(b, node, never->port == 0 ? MATCH_EVERY_PORT : MATCH_HAS_PORTS);
        if (never->port != 0 && match_tree_add(&b->x->tree, node, MATCH_PORT,
                                               span_make(&never->port, sizeof never->port)) == MATCH_NONE) {
            return -ENOMEM;
        }
    }
    return 0;
}

/* Counting sort of the pairs: each group's members side by side, in the order in which they came. */
static int lay_out_members(struct build *b)
{
    struct policy_index *x = b->x;
    uint32_t start = 0;
    x->members = calloc(b->pair_count + 1, sizeof *x->members);
    if (x->members == NULL) {
        return -ENOMEM;
    }
    x->member_count = b->pair_count;
    for (size_t g = 0; g < b->group_count; g++) {
        b->groups[g].member_count = 0; /* those of hosts were counted before */
    }
    count_members(b);
    for (size_t g = 0; g < b->group_count; g++) {
        b->groups[g].members = start;
        start += b->groups[g].member_count;
        b->groups[g].member_count = 0;
    }
    for (size_t i = 0; i < b->pair_count; i++) {
        struct group *g = &b->groups[b->pairs[i].group];
        x->members[g->members + g->member_count++] = b->pairs[i].endpoint;
        if (g->first_open == INDEX_NONE && b->endpoints[b->pairs[i].endpoint].allowed_ip_count == 0) {
            g->first_open = b->pairs[i].endpoint;
        }
    }
    return 0;
}

static int compare_u64(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;
    return (*x > *y) - (*x < *y);
}

static bool is_tuned(const struct policy_endpoint *ep)
{
    const struct tunnel_timers *t = &ep->timers;
    bool has_timers = t->connect_ms != TIMER_UNSET || t->idle_ms != TIMER_UNSET ||
                      t->lifetime_ms != TIMER_UNSET || t->half_close_ms != TIMER_UNSET ||
                      t->user_ms != TIMER_UNSET;
    return has_timers || ep->keepalive.mode != KEEPALIVE_UNSET || ep->proxy != PROXY_UNSET;
}

/* Adds the endpoint to the group's sum for the port, which is the newest one or to be made. */
static int add_to_sum(struct build *b, size_t group_ports, uint16_t port, uint32_t endpoint)
{
    const struct policy_endpoint *ep = &b->endpoints[endpoint];
    if (b->port_count == group_ports || b->ports[b->port_count - 1].port != port) {
        if (reserve(&b->ports, &b->port_cap, b->port_count, sizeof *b->ports) != 0) {
            return -ENOMEM;
        }
        b->ports[b->port_count++] =
            (struct index_port){.first = endpoint, .first_admitted = INDEX_NONE, .port = port};
    }
    struct index_port *sum = &b->ports[b->port_count - 1];
    unsigned flags = ep->requires_l7 ? INDEX_PORT_L7 : 0;
    flags |= ep->allowed_ip_count == 0 ? INDEX_PORT_OPEN : 0;
    flags |= is_tuned(ep) ? INDEX_PORT_TUNED : 0;
    if (!ep->rule->admits_any_binary) {
        flags |= INDEX_PORT_BINARIES;
    } else {
        flags |= ep->requires_l7 ? INDEX_PORT_L7_ADMITTED : 0;
        sum->first_admitted = sum->first_admitted == INDEX_NONE ? endpoint : sum->first_admitted;
    }
    sum->flags = (uint8_t)(sum->flags | flags);
    return 0;
}

static int sum_up(struct build *b, const uint32_t *members, size_t member_count)
{
    size_t start = b->port_count;
    size_t count = 0;
    for (size_t i = 0; i < member_count; i++) {
        const struct policy_endpoint *ep = &b->endpoints[members[i]];
        for (size_t k = 0; k < ep->port_count; k++) {
            if (reserve(&b->sort, &b->sort_cap, count, sizeof *b->sort) != 0) {
                return -ENOMEM;
            }
            b->sort[count++] = (uint64_t)ep->ports[k] << 32 | members[i];
        }
    }
    if (member_count > 1) {
        qsort(b->sort, count, sizeof *b->sort, compare_u64);
    }
    for (size_t i = 0; i < count; i++) {
        if (add_to_sum(b, start, (uint16_t)(b->sort[i] >> 32), (uint32_t)b->sort[i]) != 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

static size_t ports_of(const struct build *b, const uint32_t *members, size_t count)
{
    size_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += b->endpoints[members[i]].port_count;
    }
    return sum;
}

/*
 * A host's sums are no more than its ports. A hostless endpoint is a member of each of its prefixes' groups,
 * so that sums for all of them could be ports times prefixes: what would be more than four for each port and
 * prefix that was written is left out, and its members are looked at one by one.
 */
static int lay_out_ports(struct build *b, size_t host_groups, size_t hostless_groups)
{
    struct policy_index *x = b->x;
    size_t budget = 4 * x->member_count + 65536;
    for (size_t i = 0; i < b->endpoint_count; i++) {
        budget += b->endpoints[i].host_kind == ENDPOINT_HOSTLESS ? 4 * b->endpoints[i].port_count : 0;
    }
    for (size_t g = 0; g < hostless_groups; g++) { /* behind them: found by what they list, one is enough */
        struct group *group = &b->groups[g];
        const uint32_t *members = x->members + group->members;
        group->ports = (uint32_t)b->port_count;
        if (g >= host_groups) {
            size_t cost = ports_of(b, members, group->member_count);
            if (group->member_count == 1 || cost > budget) {
                continue;
            }
            budget -= cost;
        }
        if (sum_up(b, members, group->member_count) != 0) {
            return -ENOMEM;
        }
        group->port_count = (uint32_t)(b->port_count - group->ports);
    }
    return 0;
}

/* Where each group's record will be, if it needs one. */
static int place_records(struct build *b)
{
    size_t used = 0;
    for (size_t i = 0; b->groups != NULL && i < b->x->tree.node_count; i++) {
        const struct match_node *n = &b->x->tree.nodes[i];
        if (n->group == INDEX_NONE) {
            continue;
        }
        struct group *group = &b->groups[n->group];
        const struct index_port *sum = &b->ports[group->ports];
        if (group->member_count == 1 && group->port_count == 1 && !policy_index_is_chained(n)) {
            group->record = INDEX_ONLY | (uint32_t)sum->flags << INDEX_ONLY_SHIFT | sum->port;
            continue;
        }
        group->record = (uint32_t)used;
        used += sizeof(struct index_record) + group->port_count * sizeof *sum;
        if (used >= INDEX_ONLY) {
            return -ENOMEM;
        }
    }
    b->x->record_bytes = used;
    return 0;
}

/* The groups, each with its sums behind it; and the nodes are told where. */
static int write_records(struct build *b)
{
    struct policy_index *x = b->x;
    x->records = place_records(b) != 0 ? NULL : malloc(x->record_bytes + 1);
    if (x->records == NULL) {
        return -ENOMEM;
    }
    for (size_t g = 0; g < b->group_count; g++) {
        const struct group *group = &b->groups[g];
        const struct index_record head = {.first = group->first,
                                          .first_open = group->first_open,
                                          .members = group->members,
                                          .member_count = group->member_count,
                                          .port_count = group->port_count};
        size_t len = group->port_count * sizeof *b->ports;
        if (group->record & INDEX_ONLY) {
            continue;
        }
        memcpy(x->records + group->record, &head, sizeof head);
        if (len > 0) {
            memcpy(x->records + group->record + sizeof head, b->ports + group->ports, len);
        }
    }
    for (size_t i = 0; b->groups != NULL && i < x->tree.node_count; i++) {
        uint32_t *group = &x->tree.nodes[i].group;
        *group = *group == INDEX_NONE ? INDEX_NONE : b->groups[*group].record;
    }
    return 0;
}

/* Nodes have moved: the chains of inner labels follow. */
static int seal(struct build *b)
{
    struct match_tree *t = &b->x->tree;
    uint32_t *places = NULL;
    int rc = match_tree_seal(t, &places);
    for (size_t i = 0; rc == 0 && i < t->node_count; i++) {
        struct match_node *n = &t->nodes[i];
        if (policy_index_is_chained(n) && n->value != MATCH_NONE) {
            n->value = places[n->value];
        }
    }
    free(places);
    return rc;
}

static int build_all(struct build *b)
{
    struct policy_index *x = b->x;
    int rc = match_tree_init(&x->tree);
    b->nodes = calloc(b->endpoint_count + 1, sizeof *b->nodes);
    if (rc != 0 || b->nodes == NULL || b->endpoint_count >= INDEX_NONE) {
        return -ENOMEM;
    }
    if (add_hosts_of_endpoints(b) != 0) {
        return -ENOMEM;
    }
    count_members(b);
    size_t host_groups = b->group_count;
    if (add_hostless(b) != 0) {
        return -ENOMEM;
    }
    size_t hostless_groups = b->group_count;
    if (add_listed(b) != 0 || add_static_hosts(b) != 0 || add_never(b) != 0 || lay_out_members(b) != 0 ||
        lay_out_ports(b, host_groups, hostless_groups) != 0 || write_records(b) != 0) {
        return -ENOMEM;
    }
    return seal(b);
}

int policy_index_build(struct policy_index *x, const struct policy_rules *rules)
{
    *x = (struct policy_index){.rules = rules};
    struct build b = {.x = x, .endpoints = rules->endpoints, .endpoint_count = rules->endpoint_count};
    int rc = build_all(&b);
    free(b.nodes);
    free(b.groups);
    free(b.ports);
    free(b.pairs);
    free(b.sort);
    return rc;
}

void policy_index_fini(struct policy_index *x)
{
    match_tree_fini(&x->tree);
    free(x->records);
    free(x->members);
    free(x->masks);
    *x = (struct policy_index){0};
}

size_t policy_index_memory(const struct policy_index *x)
{
    return match_tree_memory(&x->tree) + x->record_bytes + (x->member_count + 1) * sizeof *x->members +
           x->mask_count * sizeof *x->masks;
}

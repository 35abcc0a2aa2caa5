/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/policy_index.h"

#include "common/base/scratch.h"

#define LABELS_MAX 127
/* Of each label at most two ways wait ("**", "*") while a third is gone; of the first one more. */
#define STEPS_FOR(labels) (2 * ((labels) + 1) + 2)
#define FEW_LABELS 8

#define PREFETCH_LABELS 5
#define PREFETCH_NODES 2048 /* 64 KiB */

enum step_kind { STEP_NODE = 0, STEP_PARTIAL, STEP_STARS };

struct step {
    struct match_at at;
    uint8_t end;  /* bytes of the name that are still to be matched: its labels on the left */
    uint8_t kind; /* enum step_kind */
};

struct walk {
    const struct policy_index *x;
    const struct host_name *name;
    index_node_fn *visit;
    void *ctx;
    uint32_t tier;
    size_t depth;
    struct step *steps;
};

static void push(struct walk *w, struct match_at at, size_t end, enum step_kind kind)
{
    if (at.node != MATCH_NONE) {
        w->steps[w->depth++] = (struct step){.at = at, .end = (uint8_t)end, .kind = (uint8_t)kind};
    }
}

static size_t label_start(const struct host_name *name, size_t end)
{
    while (end > 0 && name->text[end - 1] != '.') {
        end--;
    }
    return end;
}

static struct span label_of(const struct host_name *name, size_t start, size_t end)
{
    return span_make(name->text + start, end - start);
}

/*
 * Down the name's own labels from at, below which `end` bytes of it are still to be matched. At each label
 * the patterns that also fit it wait, the more specific pushed later and so gone earlier.
 */
static bool walk_labels(struct walk *w, struct match_at at, size_t end)
{
    const struct match_tree *t = &w->x->tree;
    while (end > 0) {
        unsigned flags = t->nodes[at.node].flags;
        if ((flags & MATCH_HAS_BELOW) == 0) {
            return true;
        }
        size_t start = label_start(w->name, end);
        size_t rest = start == 0 ? 0 : start - 1;
        if (flags & MATCH_HAS_STARS) {
            push(w, at, end, STEP_STARS);
        }
        if (flags & MATCH_HAS_STAR) {
            push(w, match_tree_find(t, at, MATCH_LABEL, SPAN_LIT("*")), rest, STEP_NODE);
        }
        if (start == 0 && (flags & MATCH_HAS_PARTIAL)) {
            push(w, at, end, STEP_PARTIAL);
        }
        if (w->name->text[start] == '*') { /* a pattern taken for a name: its star is no label */
            return true;
        }
        at = match_tree_find(t, at, MATCH_LABEL, label_of(w->name, start, end));
        if (at.node == MATCH_NONE) {
            return true;
        }
        w->tier += INDEX_TIER_STEP;
        end = rest;
    }
    return w->visit(w->x, at, w->tier, w->ctx);
}

static bool visit_partial(struct walk *w, struct match_at at, size_t literal_len)
{
    return w->visit(w->x, at, w->tier + (INDEX_TIER_STEP - 1U) - (uint32_t)literal_len, w->ctx);
}

static bool walk_inners(struct walk *w, struct match_at tail, struct span label)
{
    const struct match_tree *t = &w->x->tree;
    for (uint32_t i = t->nodes[tail.node].value; i != MATCH_NONE; i = t->nodes[i].value) {
        struct span pattern = match_tree_bytes(t, i);
        size_t literal_len = 0;
        if (!host_label_matches(pattern, label)) {
            continue;
        }
        for (size_t k = 0; k < pattern.len; k++) {
            literal_len += pattern.data[k] != '*';
        }
        if (!visit_partial(w, match_tree_find(t, tail, MATCH_INNER, pattern), literal_len)) {
            return false;
        }
    }
    return true;
}

static bool walk_tails(struct walk *w, struct match_at head, struct span label)
{
    const struct match_tree *t = &w->x->tree;
    size_t head_len = t->nodes[head.node].len;
    for (uint64_t mask = w->x->masks[t->nodes[head.node].value]; mask != 0; mask &= mask - 1) {
        size_t len = (size_t)__builtin_ctzll(mask);
        if (head_len + len > label.len) {
            return true;
        }
        struct match_at tail =
            match_tree_find(t, head, MATCH_TAIL, span_sub(label, label.len - len, label.len));
        if (tail.node == MATCH_NONE) {
            continue;
        }
        if (t->nodes[tail.node].group != INDEX_NONE && !visit_partial(w, tail, head_len + len)) {
            return false;
        }
        if (!walk_inners(w, tail, label)) {
            return false;
        }
    }
    return true;
}

static bool walk_partials(struct walk *w, const struct step *s)
{
    const struct match_tree *t = &w->x->tree;
    struct span label = label_of(w->name, 0, s->end);
    struct match_at heads = match_tree_find(t, s->at, MATCH_HEADS, (struct span){0});
    for (uint64_t mask = w->x->masks[t->nodes[heads.node].value]; mask != 0; mask &= mask - 1) {
        size_t len = (size_t)__builtin_ctzll(mask);
        if (len > label.len) {
            return true;
        }
        struct match_at head = match_tree_find(t, s->at, MATCH_HEAD, span_sub(label, 0, len));
        if (head.node != MATCH_NONE && !walk_tails(w, head, label)) {
            return false;
        }
    }
    return true;
}

static bool take_step(struct walk *w, const struct step *s)
{
    const struct match_tree *t = &w->x->tree;
    w->tier += INDEX_TIER_STEP;
    switch ((enum step_kind)s->kind) {
    case STEP_NODE:
        return walk_labels(w, s->at, s->end);
    case STEP_PARTIAL:
        return walk_partials(w, s);
    case STEP_STARS:
        return w->visit(w->x, match_tree_find(t, s->at, MATCH_LABEL, SPAN_LIT("**")), w->tier, w->ctx);
    }
    return true;
}

/* The way to a top-level label, and whether there can be a node that fits it. (The loader accepts no wildcard
 * for one; an index that had one would be walked.) */
static bool find_way(const struct policy_index *x, struct span label, uint64_t *way)
{
    const unsigned any_label = MATCH_HAS_STAR | MATCH_HAS_STARS | MATCH_HAS_PARTIAL;
    *way = match_tree_way(&x->tree, match_tree_root().way, label);
    return match_tree_may_lead(&x->tree, *way) || (x->tree.nodes[MATCH_ROOT].flags & any_label) != 0;
}

bool policy_index_may_end_in(const struct policy_index *x, struct span label)
{
    uint64_t way;
    return find_way(x, label, &way);
}

/*
 * A large index is not in the processor's caches: the nodes on the way, of which each would have to be waited
 * for, are asked for together. The first labels from the right are enough: what is below is the exception.
 * False: nothing in the index fits the name, which is so of most names that are denied.
 */
static bool prefetch(const struct policy_index *x, const struct host_name *name)
{
    uint64_t ways[PREFETCH_LABELS];
    size_t count = 1;
    size_t start = label_start(name, name->len);
    if (!find_way(x, label_of(name, start, name->len), &ways[0])) {
        return false;
    }
    while (count < PREFETCH_LABELS && start > 0 && match_tree_may_lead(&x->tree, ways[count - 1])) {
        const size_t end = start - 1;
        start = label_start(name, end);
        ways[count] = match_tree_way(&x->tree, ways[count - 1], label_of(name, start, end));
        count++;
    }
    match_tree_prefetch(&x->tree, ways, count);
    return true;
}

static void run(struct walk *w)
{
    struct step s = {.at = match_tree_root(), .end = w->name->len, .kind = STEP_NODE};
    while (take_step(w, &s) && w->depth > 0) {
        s = w->steps[--w->depth];
    }
}

/* On a stack of its own: compilers are told to clear every variable, and this one is large. */
__attribute__((noinline)) static void run_deep(struct walk *w)
{
    SCRATCH struct step steps[STEPS_FOR(LABELS_MAX)];
    w->steps = steps;
    run(w);
    w->steps = NULL;
}

void policy_index_walk(const struct policy_index *x, const struct host_name *name, index_node_fn *visit,
                       void *ctx)
{
    SCRATCH struct step steps[STEPS_FOR(FEW_LABELS)];
    struct walk w = {.x = x, .name = name, .visit = visit, .ctx = ctx, .steps = steps};
    if (name->len == 0 || name->label_count > LABELS_MAX) {
        return;
    }
    if (x->tree.node_count >= PREFETCH_NODES && !prefetch(x, name)) {
        return;
    }
    /* what is not in the tree is not walked, however many labels a name has */
    if (name->label_count <= FEW_LABELS || x->depth <= FEW_LABELS) {
        run(&w);
    } else {
        run_deep(&w);
    }
}

static size_t address_len(const struct ip *ip)
{
    return ip->family == IP_V4 ? 4 : 16;
}

size_t policy_index_net_bytes(const struct ip_prefix *net, uint8_t out[INDEX_NET_BYTES])
{
    size_t len = address_len(&net->base);
    out[0] = net->base.family;
    out[1] = net->bits;
    memcpy(out + 2, net->base.bytes, len);
    return len + 2;
}

struct match_at policy_index_address(const struct policy_index *x, const struct ip *ip)
{
    uint8_t key[INDEX_NET_BYTES];
    if (ip->family == IP_NONE) {
        return (struct match_at){MATCH_NONE, 0};
    }
    const struct ip_prefix whole = {.base = *ip, .bits = (uint8_t)(address_len(ip) * 8)};
    size_t len = policy_index_net_bytes(&whole, key);
    return match_tree_find(&x->tree, match_tree_root(), MATCH_ADDRESS, span_make(key, len));
}

/* The prefix of ip with so many bits. */
static struct ip_prefix prefix_of(const struct ip *ip, size_t bits)
{
    struct ip_prefix p = {.base = *ip, .bits = (uint8_t)bits};
    size_t whole = bits / 8;
    if (bits % 8 != 0) {
        p.base.bytes[whole] &= (uint8_t)(0xffU << (8U - bits % 8U));
        whole++;
    }
    memset(p.base.bytes + whole, 0, sizeof p.base.bytes - whole);
    return p;
}

bool policy_index_nets(const struct policy_index *x, const struct index_nets *nets, const struct ip *ip,
                       index_node_fn *visit, void *ctx)
{
    bool is_v4 = ip->family == IP_V4;
    if (ip->family == IP_NONE) {
        return true;
    }
    for (size_t word = is_v4 ? 1 : 3; word-- > 0;) {
        uint64_t mask = is_v4 ? nets->lens->v4 : nets->lens->v6[word];
        while (mask != 0) {
            size_t bit = 63U - (size_t)__builtin_clzll(mask);
            uint8_t key[INDEX_NET_BYTES];
            struct ip_prefix net = prefix_of(ip, word * 64 + bit);
            size_t len = policy_index_net_bytes(&net, key);
            struct match_at at = match_tree_find(&x->tree, nets->parent, nets->kind, span_make(key, len));
            if (at.node != MATCH_NONE && !visit(x, at, 0, ctx)) {
                return false;
            }
            mask &= ~(UINT64_C(1) << bit);
        }
    }
    return true;
}

static const struct index_record *record_of(const struct policy_index *x, const struct match_node *node)
{
    return (const struct index_record *)(const void *)(x->records + node->group);
}

void policy_index_group(const struct policy_index *x, const struct match_node *node, struct index_group *out)
{
    if ((node->group & INDEX_ONLY) == 0) {
        const struct index_record *r = record_of(x, node);
        out->members = x->members + r->members;
        out->ports = r->ports;
        out->first = r->first;
        out->first_open = r->first_open;
        out->member_count = r->member_count;
        out->port_count = r->port_count;
        return;
    }
    unsigned flags = (node->group & ~INDEX_ONLY) >> INDEX_ONLY_SHIFT;
    out->only = (struct index_port){
        .first = node->value,
        .first_admitted = (flags & INDEX_PORT_BINARIES) != 0 ? INDEX_NONE : node->value,
        .port = (uint16_t)node->group,
        .flags = (uint8_t)flags,
    };
    out->members = &node->value;
    out->ports = &out->only;
    out->first = node->value;
    out->first_open = (flags & INDEX_PORT_OPEN) != 0 ? node->value : INDEX_NONE;
    out->member_count = 1;
    out->port_count = 1;
}

uint32_t policy_index_first(const struct policy_index *x, uint32_t node)
{
    const struct match_node *n = &x->tree.nodes[node];
    return policy_index_is_chained(n) ? record_of(x, n)->first : n->value;
}

const struct policy_host *policy_index_host(const struct policy_index *x, struct match_at at)
{
    if ((x->tree.nodes[at.node].flags & MATCH_HAS_HOST) == 0) {
        return NULL;
    }
    struct match_at host = match_tree_find(&x->tree, at, MATCH_HOST, (struct span){0});
    return &x->rules->hosts[x->tree.nodes[host.node].value];
}

const struct index_port *policy_index_port(const struct index_group *g, uint16_t port)
{
    size_t low = 0;
    size_t high = g->port_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (g->ports[middle].port < port) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < g->port_count && g->ports[low].port == port ? &g->ports[low] : NULL;
}

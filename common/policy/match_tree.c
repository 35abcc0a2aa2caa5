/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/match_tree.h"

#include <errno.h>
#include <stdlib.h>

#define INITIAL_COUNT ((size_t)16)
#define KEYS_TRIED 8 /* one is enough, but for an accident in 10^9 */

struct edge {
    uint32_t parent;
    enum match_kind kind;
    struct span bytes;
};

__extension__ typedef unsigned __int128 wide;

/* Both halves of the product, folded. */
static inline uint64_t fold(uint64_t a, uint64_t b)
{
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t load8(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v); /* the table never leaves this machine: any byte order will do */
    return v;
}

static inline uint64_t load4(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/*
 * Bytes read from both ends, so that no length needs a loop over single ones. Of up to ENDS_BYTES_MAX of one
 * length they are all that there are: equal ends, equal bytes.
 */
#define ENDS_BYTES_MAX 16U
struct ends {
    uint64_t a, b;
};

static inline struct ends ends_of(const uint8_t *p, size_t len)
{
    if (len >= 8) {
        return (struct ends){load8(p), load8(p + len - 8)};
    }
    if (len >= 4) {
        return (struct ends){load4(p), load4(p + len - 4)};
    }
    return (struct ends){len == 0 ? 0 : (uint64_t)p[0] << 16 | (uint64_t)p[len / 2] << 8 | p[len - 1], 0};
}

static inline uint64_t hash_edge(const struct hash_key *key, uint64_t parent_way, enum match_kind kind,
                                 struct span bytes)
{
    const uint8_t *p = bytes.data;
    size_t len = bytes.len;
    uint64_t h = parent_way ^ ((uint64_t)kind << 8 | len);
    for (; len > ENDS_BYTES_MAX; len -= ENDS_BYTES_MAX, p += ENDS_BYTES_MAX) {
        h = fold(load8(p) ^ key->k1, load8(p + 8) ^ h ^ key->k0);
    }
    struct ends e = ends_of(p, len);
    return fold(fold(e.a ^ key->k1, e.b ^ h ^ key->k0) ^ key->k0, h ^ key->k1);
}

int match_tree_init(struct match_tree *t)
{
    *t = (struct match_tree){
        .slot_count = INITIAL_COUNT, .node_cap = INITIAL_COUNT, .byte_cap = MATCH_BYTES_MAX + 1};
    hash_key_init(&t->key);
    t->slots = calloc(t->slot_count, sizeof *t->slots);
    t->nodes = calloc(t->node_cap, sizeof *t->nodes);
    t->bytes = calloc(t->byte_cap, 1);
    if (t->slots == NULL || t->nodes == NULL || t->bytes == NULL) {
        match_tree_fini(t);
        return -ENOMEM;
    }
    t->nodes[MATCH_ROOT] =
        (struct match_node){.parent = MATCH_NONE, .group = MATCH_NONE, .value = MATCH_NONE};
    t->node_count = 1;
    return 0;
}

void match_tree_fini(struct match_tree *t)
{
    free(t->nodes);
    free(t->slots);
    free(t->starts);
    free(t->bytes);
    free(t->filter);
    *t = (struct match_tree){0};
}

static const uint8_t *bytes_of(const struct match_tree *t, const struct match_node *n)
{
    return n->len <= MATCH_INLINE_BYTES ? n->bytes : t->bytes + load4(n->bytes);
}

struct span match_tree_bytes(const struct match_tree *t, uint32_t node)
{
    return (struct span){bytes_of(t, &t->nodes[node]), t->nodes[node].len};
}

size_t match_tree_memory(const struct match_tree *t)
{
    size_t tables = t->slots != NULL ? t->slot_count : t->bucket_count + 1;
    return t->node_cap * sizeof *t->nodes + tables * sizeof *t->slots + t->byte_cap + t->filter_bits / 8;
}

static inline bool is_edge(const struct match_tree *t, const struct match_node *n, const struct edge *e)
{
    if (n->parent != e->parent || n->kind != e->kind || n->len != e->bytes.len) {
        return false;
    }
    if (n->len > ENDS_BYTES_MAX) {
        return memcmp(bytes_of(t, n), e->bytes.data, n->len) == 0;
    }
    struct ends ours = ends_of(bytes_of(t, n), n->len);
    struct ends theirs = ends_of(e->bytes.data, n->len);
    return ours.a == theirs.a && ours.b == theirs.b;
}

/* The slot of the edge: taken by it, or free. While it is filled, a parent's number stands for the way. */
static size_t find_slot(const struct match_tree *t, const struct edge *e)
{
    uint64_t h = hash_edge(&t->key, e->parent, e->kind, e->bytes);
    size_t i = (size_t)h & (t->slot_count - 1); /* there is always a free one */
    while (t->slots[i] != 0 && !is_edge(t, &t->nodes[t->slots[i]], e)) {
        i = (i + 1) & (t->slot_count - 1);
    }
    return i;
}

/* To a capacity of `wanted` elements; false and unchanged if that is not possible. */
static bool resize(void **array, size_t *cap, size_t wanted, size_t size)
{
    void *moved = wanted > UINT32_MAX ? NULL : realloc(*array, wanted * size);
    if (moved == NULL) {
        return false;
    }
    *array = moved;
    *cap = wanted;
    return true;
}

static bool grow_slots(struct match_tree *t)
{
    uint32_t *slots = calloc(t->slot_count * 2, sizeof *slots);
    if (slots == NULL) {
        return false;
    }
    free(t->slots);
    t->slots = slots;
    t->slot_count *= 2;
    for (uint32_t i = 1; i < t->node_count; i++) {
        const struct match_node *n = &t->nodes[i];
        const struct edge e = {n->parent, (enum match_kind)n->kind, match_tree_bytes(t, i)};
        t->slots[find_slot(t, &e)] = i;
    }
    return true;
}

static bool make_room(struct match_tree *t, size_t len)
{
    void *nodes = t->nodes;
    void *bytes = t->bytes;
    if (t->node_count == t->node_cap &&
        !resize(&nodes, &t->node_cap, t->node_cap + t->node_cap / 2, sizeof *t->nodes)) {
        return false;
    }
    t->nodes = nodes;
    if (t->byte_cap - t->byte_count < len &&
        !resize(&bytes, &t->byte_cap, t->byte_cap + t->byte_cap / 2 + len, 1)) {
        return false;
    }
    t->bytes = bytes;
    return t->node_count * 4 < t->slot_count * 3 || grow_slots(t);
}

static void set_bytes(struct match_tree *t, struct match_node *n, struct span bytes)
{
    n->len = (uint8_t)bytes.len;
    if (bytes.len > MATCH_INLINE_BYTES) {
        uint32_t offset = (uint32_t)t->byte_count;
        memcpy(n->bytes, &offset, sizeof offset);
        memcpy(t->bytes + offset, bytes.data, bytes.len);
        t->byte_count += bytes.len;
    } else if (bytes.len > 0) {
        memcpy(n->bytes, bytes.data, bytes.len);
    }
}

uint32_t match_tree_add(struct match_tree *t, uint32_t parent, enum match_kind kind, struct span bytes)
{
    REQUIRE(bytes.len <= MATCH_BYTES_MAX && parent < t->node_count && t->slots != NULL);
    const struct edge e = {parent, kind, bytes};
    uint32_t found = t->slots[find_slot(t, &e)];
    if (found != 0) {
        return found;
    }
    if (!make_room(t, bytes.len)) {
        return MATCH_NONE;
    }
    uint32_t id = (uint32_t)t->node_count++;
    t->nodes[id] = (struct match_node){

        .parent = parent, .group = MATCH_NONE, .value = MATCH_NONE, .kind = (uint8_t)kind};
    set_bytes(t, &t->nodes[id], bytes);
    t->slots[find_slot(t, &e)] = id;
    return id;
}

/* Scaled instead of divided: any number of buckets will do. */
static inline size_t bucket_of(const struct match_tree *t, uint64_t way)
{
    return (size_t)((way >> 32) * t->bucket_count >> 32);
}

/*
 * Works out the way to each node (a parent comes before its children) and starts[b + 1], how many nodes
 * bucket b has. Returns the most that any has.
 */
static uint32_t count_buckets(struct match_tree *t, uint64_t *ways)
{
    uint32_t most = 0;
    memset(t->starts, 0, (t->bucket_count + 1) * sizeof *t->starts);
    ways[MATCH_ROOT] = 0;
    for (uint32_t i = 1; i < t->node_count; i++) {
        const struct match_node *n = &t->nodes[i];
        ways[i] = hash_edge(&t->key, ways[n->parent], (enum match_kind)n->kind, match_tree_bytes(t, i));
        uint32_t count = ++t->starts[bucket_of(t, ways[i]) + 1];
        most = count > most ? count : most;
    }
    return most;
}

/* Nodes by bucket into `sorted`; places[i] is where node i is there. */
static void sort_nodes(struct match_tree *t, const uint64_t *ways, struct match_node *sorted,
                       uint32_t *places)
{
    t->starts[0] = 1; /* behind the root */
    for (size_t b = 1; b <= t->bucket_count; b++) {
        t->starts[b] += t->starts[b - 1];
    }
    for (uint32_t i = (uint32_t)t->node_count; i-- > 1;) { /* backwards: each bucket is filled from its end */
        places[i] = --t->starts[bucket_of(t, ways[i]) + 1];
    }
    places[MATCH_ROOT] = MATCH_ROOT;
    sorted[MATCH_ROOT] = t->nodes[MATCH_ROOT];
    for (uint32_t i = 1; i < t->node_count; i++) {
        sorted[places[i]] = t->nodes[i];
        sorted[places[i]].parent = places[t->nodes[i].parent];
    }
    /* each start has become that of the bucket before it */
    memmove(t->starts, t->starts + 1, t->bucket_count * sizeof *t->starts);
    t->starts[t->bucket_count] = (uint32_t)t->node_count;
}

static void add_to_filter(struct match_tree *t, uint64_t way)
{
    const size_t a = (size_t)way & (t->filter_bits - 1);
    const size_t b = (size_t)(way >> 20) & (t->filter_bits - 1);
    t->filter[a / 64] |= UINT64_C(1) << a % 64;
    t->filter[b / 64] |= UINT64_C(1) << b % 64;
}

/* Which nodes lead anywhere, before they are sorted. Returns how many. */
static size_t find_leading(const struct match_tree *t, uint8_t *leads)
{
    size_t count = 0;
    for (uint32_t i = 1; i < t->node_count; i++) {
        const struct match_node *n = &t->nodes[i];
        if (n->kind == MATCH_LABEL) {
            const uint32_t at = n->parent == MATCH_ROOT ? i : n->parent;
            count += leads[at] == 0;
            leads[at] = 1;
        }
    }
    return count;
}

/* False: no memory. */
static bool make_filter(struct match_tree *t, const uint64_t *ways)
{
    uint8_t *leads = calloc(t->node_count, sizeof *leads);
    if (leads == NULL) {
        return false;
    }
    const size_t wanted = find_leading(t, leads) * 8;
    t->filter_bits = MATCH_FILTER_BITS_MIN;
    while (t->filter_bits < wanted && t->filter_bits < MATCH_FILTER_BITS_MAX) {
        t->filter_bits *= 2;
    }
    t->filter = calloc(t->filter_bits / 64, sizeof *t->filter);
    for (uint32_t i = 1; t->filter != NULL && i < t->node_count; i++) {
        if (leads[i] != 0) {
            add_to_filter(t, ways[i]);
        }
    }
    free(leads);
    return t->filter != NULL;
}

int match_tree_seal(struct match_tree *t, uint32_t **places)
{
    void *bytes = t->bytes;
    int rc = -ENOMEM;
    free(t->slots);
    t->slots = NULL;
    t->bucket_count = t->node_count;
    struct match_node *sorted = calloc(t->node_count, sizeof *sorted);
    uint64_t *ways = calloc(t->node_count, sizeof *ways);
    t->starts = calloc(t->bucket_count + 1, sizeof *t->starts);
    *places = calloc(t->node_count, sizeof **places);
    if (sorted != NULL && ways != NULL && t->starts != NULL && *places != NULL &&
        resize(&bytes, &t->byte_cap, t->byte_count + 1, 1)) {
        t->bytes = bytes;
        for (size_t i = 1; count_buckets(t, ways) > MATCH_BUCKET_MAX && i < KEYS_TRIED; i++) {
            hash_key_init(&t->key);
        }
        rc = make_filter(t, ways) ? 0 : -ENOMEM;
    }
    if (rc == 0) {
        sort_nodes(t, ways, sorted, *places);
        free(t->nodes);
        t->nodes = sorted;
        t->node_cap = t->node_count;
        sorted = NULL;
    }
    free(sorted);
    free(ways);
    if (rc != 0) {
        free(*places);
        *places = NULL;
    }
    return rc;
}

struct match_at match_tree_find(const struct match_tree *t, struct match_at parent, enum match_kind kind,
                                struct span bytes)
{
    if (bytes.len > MATCH_BYTES_MAX) {
        return (struct match_at){MATCH_NONE, 0};
    }
    const struct edge e = {parent.node, kind, bytes};
    uint64_t way = hash_edge(&t->key, parent.way, kind, bytes);
    if (parent.node == MATCH_ROOT && kind == MATCH_LABEL && !match_tree_may_lead(t, way)) {
        return (struct match_at){MATCH_NONE, way};
    }
    size_t b = bucket_of(t, way);
    for (uint32_t i = t->starts[b]; i < t->starts[b + 1]; i++) {
        if (is_edge(t, &t->nodes[i], &e)) {
            return (struct match_at){i, way};
        }
    }
    return (struct match_at){MATCH_NONE, way};
}

uint64_t match_tree_way(const struct match_tree *t, uint64_t parent_way, struct span label)
{
    return hash_edge(&t->key, parent_way, MATCH_LABEL, label);
}

void match_tree_prefetch(const struct match_tree *t, const uint64_t *ways, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        __builtin_prefetch(&t->starts[bucket_of(t, ways[i])]);
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t start = t->starts[bucket_of(t, ways[i])];
        __builtin_prefetch(&t->nodes[start < t->node_count ? start : MATCH_ROOT]);
    }
}

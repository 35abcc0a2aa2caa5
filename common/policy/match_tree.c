/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/match_tree.h"

#include <errno.h>
#include <stdlib.h>

#define INITIAL_COUNT ((size_t)16)

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
    free(t->bytes);
    *t = (struct match_tree){0};
}

struct span match_tree_bytes(const struct match_tree *t, uint32_t node)
{
    return (struct span){t->bytes + t->nodes[node].offset, t->nodes[node].len};
}

size_t match_tree_memory(const struct match_tree *t)
{
    return t->node_cap * sizeof *t->nodes + t->slot_count * sizeof *t->slots + t->byte_cap;
}

/* The parent and the kind are hashed with the bytes: equal edges of many parents must not meet. */
static size_t home_slot(const struct match_tree *t, uint32_t parent, enum match_kind kind, struct span bytes)
{
    uint8_t text[5 + MATCH_BYTES_MAX];
    memcpy(text, &parent, sizeof parent);
    text[4] = (uint8_t)kind;
    if (bytes.len > 0) {
        memcpy(text + 5, bytes.data, bytes.len);
    }
    return (size_t)hash_siphash(&t->key, (struct span){text, 5 + bytes.len}) & (t->slot_count - 1);
}

static bool is_edge(const struct match_tree *t, uint32_t node, uint32_t parent, enum match_kind kind,
                    struct span bytes)
{
    const struct match_node *n = &t->nodes[node];
    return n->parent == parent && n->kind == kind && n->len == bytes.len &&
           (bytes.len == 0 || memcmp(t->bytes + n->offset, bytes.data, bytes.len) == 0);
}

/* The slot of the edge: taken by it, or free. There is always a free one. */
static size_t find_slot(const struct match_tree *t, uint32_t parent, enum match_kind kind, struct span bytes)
{
    size_t i = home_slot(t, parent, kind, bytes);
    while (t->slots[i] != 0 && !is_edge(t, t->slots[i], parent, kind, bytes)) {
        i = (i + 1) & (t->slot_count - 1);
    }
    return i;
}

uint32_t match_tree_find(const struct match_tree *t, uint32_t parent, enum match_kind kind, struct span bytes)
{
    if (bytes.len > MATCH_BYTES_MAX) {
        return MATCH_NONE;
    }
    uint32_t node = t->slots[find_slot(t, parent, kind, bytes)];
    return node == 0 ? MATCH_NONE : node;
}

/* To cap elements; false and unchanged if that is not possible. */
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
        t->slots[find_slot(t, n->parent, (enum match_kind)n->kind, match_tree_bytes(t, i))] = i;
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

uint32_t match_tree_add(struct match_tree *t, uint32_t parent, enum match_kind kind, struct span bytes)
{
    REQUIRE(bytes.len <= MATCH_BYTES_MAX && parent < t->node_count);
    uint32_t found = match_tree_find(t, parent, kind, bytes);
    if (found != MATCH_NONE) {
        return found;
    }
    if (!make_room(t, bytes.len)) {
        return MATCH_NONE;
    }
    uint32_t node = (uint32_t)t->node_count++;
    t->nodes[node] = (struct match_node){
        .parent = parent,
        .offset = (uint32_t)t->byte_count,
        .group = MATCH_NONE,
        .value = MATCH_NONE,
        .len = (uint8_t)bytes.len,
        .kind = (uint8_t)kind,
    };
    if (bytes.len > 0) {
        memcpy(t->bytes + t->byte_count, bytes.data, bytes.len);
    }
    t->byte_count += bytes.len;
    t->slots[find_slot(t, parent, kind, bytes)] = node;
    return node;
}

int match_tree_seal(struct match_tree *t)
{
    void *nodes = t->nodes;
    void *bytes = t->bytes;
    bool is_done = resize(&nodes, &t->node_cap, t->node_count, sizeof *t->nodes);
    t->nodes = nodes;
    is_done = is_done && resize(&bytes, &t->byte_cap, t->byte_count + 1, 1);
    t->bytes = bytes;
    return is_done ? 0 : -ENOMEM;
}

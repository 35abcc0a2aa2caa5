/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/suffix_table.h"

#include <errno.h>
#include <stdlib.h>

#define INITIAL_SLOTS ((size_t)16)

int suffix_table_init(struct suffix_table *t)
{
    *t = (struct suffix_table){.slot_count = INITIAL_SLOTS, .node_cap = INITIAL_SLOTS};
    hash_key_init(&t->key);
    t->slots = calloc(t->slot_count, sizeof *t->slots);
    t->nodes = calloc(t->node_cap, sizeof *t->nodes);
    if (t->slots == NULL || t->nodes == NULL) {
        suffix_table_fini(t);
        return -ENOMEM;
    }
    return 0;
}

void suffix_table_fini(struct suffix_table *t)
{
    free(t->nodes);
    free(t->slots);
    *t = (struct suffix_table){0};
}

static struct span node_span(const struct suffix_node *n)
{
    return (struct span){n->text, n->len};
}

/* The slot of text: taken by it, or free. There is always a free one. */
static size_t find_slot(const struct suffix_table *t, struct span text)
{
    size_t i = (size_t)hash_siphash(&t->key, text) & (t->slot_count - 1);
    while (t->slots[i] != 0 && !span_is_equal(node_span(&t->nodes[t->slots[i] - 1]), text)) {
        i = (i + 1) & (t->slot_count - 1);
    }
    return i;
}

struct suffix_node *suffix_table_find(const struct suffix_table *t, struct span text)
{
    uint32_t slot = t->slots[find_slot(t, text)];
    return slot == 0 ? NULL : &t->nodes[slot - 1];
}

static int grow_nodes(struct suffix_table *t)
{
    size_t cap = t->node_cap + t->node_cap / 2;
    struct suffix_node *nodes = cap >= SUFFIX_NONE ? NULL : realloc(t->nodes, cap * sizeof *nodes);
    if (nodes == NULL) {
        return -ENOMEM;
    }
    t->nodes = nodes;
    t->node_cap = cap;
    return 0;
}

static int grow_slots(struct suffix_table *t)
{
    uint32_t *slots = calloc(t->slot_count * 2, sizeof *slots);
    if (slots == NULL) {
        return -ENOMEM;
    }
    free(t->slots);
    t->slots = slots;
    t->slot_count *= 2;
    for (size_t i = 0; i < t->node_count; i++) {
        t->slots[find_slot(t, node_span(&t->nodes[i]))] = (uint32_t)(i + 1);
    }
    return 0;
}

struct suffix_node *suffix_table_add(struct suffix_table *t, struct span text)
{
    REQUIRE(t->nodes != NULL && t->slot_count > 0); /* init and no fini */
    struct suffix_node *found = suffix_table_find(t, text);
    if (found != NULL) {
        return found;
    }
    if (t->node_count * 3 >= t->slot_count * 2 && grow_slots(t) != 0) {
        return NULL;
    }
    if (t->node_count == t->node_cap && grow_nodes(t) != 0) {
        return NULL;
    }
    size_t i = t->node_count++;
    t->nodes[i] = (struct suffix_node){
        .text = text.data,
        .len = (uint8_t)text.len,
        .first_exact = SUFFIX_NONE,
        .first_wildcard = SUFFIX_NONE,
        .host = SUFFIX_NONE,
    };
    t->slots[find_slot(t, text)] = (uint32_t)(i + 1);
    return &t->nodes[i];
}

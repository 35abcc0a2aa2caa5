/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of a compiled policy: one node for each name or suffix of names that matters. Open addressing
 * under a random SipHash key, keys compared; filled once, then only read. Keys are borrowed: they must
 * outlive the table.
 */
#pragma once

#include "common/base/err.h"
#include "common/base/hash.h"

#define SUFFIX_NONE UINT32_MAX

struct suffix_node {
    const uint8_t *text;     /* borrowed */
    uint32_t first_exact;    /* endpoint with exactly this name, or SUFFIX_NONE */
    uint32_t first_wildcard; /* endpoint whose pattern ends in this suffix, or SUFFIX_NONE */
    uint32_t host;           /* egress.hosts entry, or SUFFIX_NONE */
    uint8_t len;
    bool is_parent; /* admitted names lie strictly below */
};

struct suffix_table {
    struct hash_key key;
    struct suffix_node *nodes;
    uint32_t *slots; /* index of a node + 1; 0 = free */
    size_t node_count, node_cap;
    size_t slot_count; /* a power of two */
};

MUST_CHECK int suffix_table_init(struct suffix_table *t); /* 0 or -ENOMEM */
void suffix_table_fini(struct suffix_table *t);
/* NULL if absent. Valid until the next suffix_table_add(). */
struct suffix_node *suffix_table_find(const struct suffix_table *t, struct span text);
/* Finds or makes; text.len 1..253. NULL: out of memory. */
MUST_CHECK struct suffix_node *suffix_table_add(struct suffix_table *t, struct span text);

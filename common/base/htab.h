/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An intrusive hash table with an optional least-recently-used order. The table owns its bucket array only;
 * entries embed struct htab_node and are owned by the user. Keys are compared by the user's match function,
 * so a hash collision is never a wrong answer. Growth doubles the buckets; lookup never allocates. Not
 * thread-safe.
 */
#pragma once

#include "common/base/hash.h"
#include "common/base/err.h"

struct htab_node {
    struct htab_node *next;
    uint64_t hash;
    struct htab_node *newer, *older;
};

struct htab {
    struct htab_node **buckets;
    size_t bucket_count; /* power of two */
    size_t count;
    struct htab_node *newest, *oldest;
    struct hash_key key;
};

#define HTAB_ENTRY(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

typedef bool htab_match_fn(const struct htab_node *node, const void *key);

MUST_CHECK int htab_init(struct htab *t, size_t initial_buckets); /* 0 or -ENOMEM; random key */
void htab_fini(struct htab *t); /* frees the buckets; entries are the user's */
uint64_t htab_hash(const struct htab *t, struct span key);
struct htab_node *htab_find(const struct htab *t, uint64_t hash, htab_match_fn *match, const void *key);
/* Inserts node as newest; the caller has made sure that the key is not there. Never fails (growth is best
 * effort). */
void htab_insert(struct htab *t, struct htab_node *node, uint64_t hash);
void htab_remove(struct htab *t, struct htab_node *node);
void htab_touch(struct htab *t, struct htab_node *node); /* makes it newest */

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/htab.h"

#include <errno.h>
#include <stdlib.h>

#define BUCKETS_MIN 8U
#define BUCKET_BYTES sizeof(void *) /* a bucket is one pointer */
#define BUCKETS_MAX (SIZE_MAX / BUCKET_BYTES / 4)

static struct htab_node **bucket_of(const struct htab *t, uint64_t hash)
{
    return &t->buckets[(size_t)hash & (t->bucket_count - 1)];
}

int htab_init(struct htab *t, size_t initial_buckets)
{
    *t = (struct htab){0};
    if (initial_buckets > BUCKETS_MAX) {
        return -ENOMEM;
    }
    size_t count = BUCKETS_MIN;
    while (count < initial_buckets) {
        count *= 2;
    }
    t->buckets = calloc(count, BUCKET_BYTES);
    if (t->buckets == NULL) {
        return -ENOMEM;
    }
    t->bucket_count = count;
    hash_key_init(&t->key);
    return 0;
}

void htab_fini(struct htab *t)
{
    free(t->buckets);
    *t = (struct htab){0};
}

uint64_t htab_hash(const struct htab *t, struct span key)
{
    return hash_siphash(&t->key, key);
}

struct htab_node *htab_find(const struct htab *t, uint64_t hash, htab_match_fn *match, const void *key)
{
    if (t->bucket_count == 0) {
        return NULL;
    }
    for (struct htab_node *n = *bucket_of(t, hash); n != NULL; n = n->next) {
        if (n->hash == hash && match(n, key)) {
            return n;
        }
    }
    return NULL;
}

/* Doubles the buckets. Without the memory the table stays as it is: slower, never wrong. */
static void grow(struct htab *t)
{
    if (t->bucket_count > BUCKETS_MAX / 2) {
        return;
    }
    size_t old_count = t->bucket_count;
    struct htab_node **old = t->buckets;
    struct htab_node **buckets = calloc(old_count * 2, BUCKET_BYTES);
    if (buckets == NULL) {
        return;
    }
    t->buckets = buckets;
    t->bucket_count = old_count * 2;
    for (size_t i = 0; i < old_count; i++) {
        struct htab_node *next;
        for (struct htab_node *n = old[i]; n != NULL; n = next) {
            next = n->next;
            struct htab_node **head = bucket_of(t, n->hash);
            n->next = *head;
            *head = n;
        }
    }
    free(old);
}

static void link_newest(struct htab *t, struct htab_node *node)
{
    node->newer = NULL;
    node->older = t->newest;
    if (t->newest != NULL) {
        t->newest->newer = node;
    } else {
        t->oldest = node;
    }
    t->newest = node;
}

static void unlink_age(struct htab *t, struct htab_node *node)
{
    if (node->newer != NULL) {
        node->newer->older = node->older;
    } else {
        t->newest = node->older;
    }
    if (node->older != NULL) {
        node->older->newer = node->newer;
    } else {
        t->oldest = node->newer;
    }
    node->newer = NULL;
    node->older = NULL;
}

void htab_insert(struct htab *t, struct htab_node *node, uint64_t hash)
{
    REQUIRE(t->bucket_count > 0);
    if (t->count >= t->bucket_count) {
        grow(t);
    }
    struct htab_node **head = bucket_of(t, hash);
    node->hash = hash;
    node->next = *head;
    *head = node;
    t->count++;
    link_newest(t, node);
}

void htab_remove(struct htab *t, struct htab_node *node)
{
    REQUIRE(t->bucket_count > 0);
    struct htab_node **at = bucket_of(t, node->hash);
    while (*at != NULL && *at != node) {
        at = &(*at)->next;
    }
    REQUIRE(*at == node); /* a node that is not in its bucket is not in this table */
    *at = node->next;
    node->next = NULL;
    t->count--;
    unlink_age(t, node);
}

void htab_touch(struct htab *t, struct htab_node *node)
{
    if (t->newest != node) {
        unlink_age(t, node);
        link_newest(t, node);
    }
}

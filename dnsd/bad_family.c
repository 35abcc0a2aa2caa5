/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/bad_family.h"

#include "common/base/htab.h"

#include <errno.h>
#include <stdlib.h>

struct bad_entry {
    struct htab_node node;
    int64_t until_ms;
    enum ip_family family;
    enum bad_beside beside;
    struct host_name name;
};

struct bad_family {
    struct htab table;
};

struct bad_key {
    const struct host_name *name;
    enum ip_family family;
};

static bool is_match(const struct htab_node *node, const void *key)
{
    const struct bad_entry *e = HTAB_ENTRY(node, const struct bad_entry, node);
    const struct bad_key *k = key;
    return e->family == k->family && host_name_is_equal(&e->name, k->name);
}

/* The two families of a name share a bucket: no harm, they are compared. */
static struct bad_entry *find(struct bad_family *b, const struct bad_key *key)
{
    uint64_t hash = htab_hash(&b->table, host_name_span(key->name));
    struct htab_node *node = htab_find(&b->table, hash, is_match, key);
    return node == NULL ? NULL : HTAB_ENTRY(node, struct bad_entry, node);
}

static void drop(struct bad_family *b, struct bad_entry *e)
{
    htab_remove(&b->table, &e->node);
    free(e);
}

int bad_family_new(struct bad_family **out)
{
    struct bad_family *b = calloc(1, sizeof(*b));
    if (b == NULL) {
        return -ENOMEM;
    }
    int rc = htab_init(&b->table, 64);
    if (rc != 0) {
        free(b);
        return rc;
    }
    *out = b;
    return 0;
}

void bad_family_forget(struct bad_family *b)
{
    while (b->table.oldest != NULL) {
        drop(b, HTAB_ENTRY(b->table.oldest, struct bad_entry, node));
    }
}

void bad_family_free(struct bad_family *b)
{
    if (b == NULL) {
        return;
    }
    bad_family_forget(b);
    htab_fini(&b->table);
    free(b);
}

void bad_family_put(struct bad_family *b, const struct host_name *name, enum ip_family family,
                    enum bad_beside beside, int64_t now_ms)
{
    const struct bad_key key = {.name = name, .family = family};
    struct bad_entry *e = find(b, &key);
    if (e == NULL) {
        if (b->table.count >= BAD_FAMILY_MAX) {
            drop(b, HTAB_ENTRY(b->table.oldest, struct bad_entry, node));
        }
        e = calloc(1, sizeof(*e));
        if (e == NULL) {
            return;
        }
        e->name = *name;
        e->family = family;
        htab_insert(&b->table, &e->node, htab_hash(&b->table, host_name_span(name)));
        e->until_ms = now_ms;
    }
    if (e->until_ms <= now_ms || e->beside != beside) {
        e->until_ms = now_ms + BAD_FAMILY_KEEP_MS;
        e->beside = beside;
    }
}

/* What is still remembered, or NULL. */
static struct bad_entry *find_valid(struct bad_family *b, const struct host_name *name, enum ip_family family,
                                    int64_t now_ms)
{
    const struct bad_key key = {.name = name, .family = family};
    struct bad_entry *e = b->table.count == 0 ? NULL : find(b, &key);
    if (e != NULL && e->until_ms <= now_ms) {
        drop(b, e);
        return NULL;
    }
    if (e != NULL) {
        htab_touch(&b->table, &e->node);
    }
    return e;
}

uint32_t bad_family_left_s(struct bad_family *b, const struct host_name *name, enum ip_family family,
                           int64_t now_ms)
{
    const struct bad_entry *e = find_valid(b, name, family, now_ms);
    return e == NULL ? 0 : (uint32_t)((e->until_ms - now_ms + 999) / 1000);
}

enum bad_beside bad_family_get(struct bad_family *b, const struct host_name *name, enum ip_family family,
                               int64_t now_ms)
{
    const struct bad_entry *e = find_valid(b, name, family, now_ms);
    return e == NULL ? BAD_BESIDE_NOTHING : e->beside;
}

size_t bad_family_count(const struct bad_family *b)
{
    return b->table.count;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/cache.h"

#include "common/base/htab.h"

#include <errno.h>
#include <stdlib.h>

#define FIRST_BUCKETS 256
/* What an entry costs beside its own bytes: its share of the buckets, and of the allocator's. */
#define ENTRY_EXTRA 32

struct entry {
    struct htab_node node;
    int64_t expires_ms;
    uint8_t kind; /* enum cache_kind */
    uint8_t family;
    uint8_t addr_count;
    uint8_t name_len;
    struct ip addrs[]; /* addr_count of them, then name_len bytes of the name */
};

struct cache {
    struct htab table;
    size_t max_bytes;
    size_t bytes;
};

struct key {
    uint8_t family;
    struct span name;
};

static size_t entry_size(size_t addr_count, size_t name_len)
{
    return sizeof(struct entry) + addr_count * sizeof(struct ip) + name_len;
}

static size_t entry_cost(const struct entry *e)
{
    return entry_size(e->addr_count, e->name_len) + ENTRY_EXTRA;
}

static uint8_t *entry_name(struct entry *e)
{
    return (uint8_t *)(e->addrs + e->addr_count);
}

static struct entry *entry_of(struct htab_node *node)
{
    return HTAB_ENTRY(node, struct entry, node);
}

static bool entry_match(const struct htab_node *node, const void *key)
{
    const struct entry *e = HTAB_ENTRY(node, const struct entry, node);
    const struct key *k = key;
    const uint8_t *name = (const uint8_t *)(e->addrs + e->addr_count);
    return e->family == k->family && span_is_equal(span_make(name, e->name_len), k->name);
}

static struct key key_make(const struct host_name *name, enum ip_family family)
{
    return (struct key){.family = (uint8_t)family, .name = host_name_span(name)};
}

static uint64_t key_hash(const struct cache *c, const struct key *k)
{
    uint8_t bytes[1 + HOST_NAME_MAX_LEN];
    struct wbuf w = wbuf_make(bytes, sizeof bytes);
    wbuf_u8(&w, k->family);
    wbuf_put(&w, k->name);
    return htab_hash(&c->table, wbuf_span(&w));
}

static void entry_drop(struct cache *c, struct entry *e)
{
    htab_remove(&c->table, &e->node);
    c->bytes -= entry_cost(e);
    free(e);
}

int cache_new(size_t max_bytes, struct cache **out)
{
    struct cache *c = calloc(1, sizeof *c);
    if (c == NULL) {
        return -ENOMEM;
    }
    int rc = htab_init(&c->table, FIRST_BUCKETS);
    if (rc != 0) {
        free(c);
        return rc;
    }
    c->max_bytes = max_bytes;
    *out = c;
    return 0;
}

void cache_free(struct cache *c)
{
    if (c == NULL) {
        return;
    }
    while (c->table.oldest != NULL) {
        entry_drop(c, entry_of(c->table.oldest));
    }
    htab_fini(&c->table);
    free(c);
}

enum cache_kind cache_get(struct cache *c, const struct host_name *name, enum ip_family family,
                          int64_t now_ms, struct cache_answer *out)
{
    struct key key = key_make(name, family);
    *out = (struct cache_answer){0};
    struct htab_node *node = htab_find(&c->table, key_hash(c, &key), entry_match, &key);
    if (node == NULL) {
        return CACHE_MISS;
    }
    struct entry *e = entry_of(node);
    if (now_ms >= e->expires_ms) {
        entry_drop(c, e);
        return CACHE_MISS;
    }
    htab_touch(&c->table, node);
    out->kind = (enum cache_kind)e->kind;
    out->ttl_s =
        (uint32_t)((e->expires_ms - now_ms + 999) / 1000); /* a begun second counts: 1 until the very end */
    out->expires_ms = e->expires_ms;
    out->addr_count = e->addr_count;
    memcpy(out->addrs, e->addrs, e->addr_count * sizeof(struct ip));
    return out->kind;
}

/* An entry for the answer, or NULL: not worth keeping, larger than the cache, or no memory. */
static struct entry *entry_new(const struct cache *c, const struct key *k, const struct cache_answer *a)
{
    size_t count = a->kind == CACHE_ADDRS ? a->addr_count : 0;
    if (!CHECK(a->kind != CACHE_MISS && count <= DNS_ADDRS_MAX && (count > 0) == (a->kind == CACHE_ADDRS))) {
        return NULL;
    }
    size_t size = entry_size(count, k->name.len);
    if (a->ttl_s == 0 || size + ENTRY_EXTRA > c->max_bytes) {
        return NULL;
    }
    struct entry *e = calloc(1, size);
    if (e == NULL) {
        return NULL;
    }
    e->kind = (uint8_t)a->kind;
    e->family = k->family;
    e->addr_count = (uint8_t)count;
    e->name_len = (uint8_t)k->name.len;
    memcpy(e->addrs, a->addrs, count * sizeof(struct ip));
    memcpy(entry_name(e), k->name.data, k->name.len);
    return e;
}

void cache_put(struct cache *c, const struct host_name *name, enum ip_family family, int64_t now_ms,
               const struct cache_answer *a)
{
    struct key key = key_make(name, family);
    uint64_t hash = key_hash(c, &key);
    struct htab_node *old = htab_find(&c->table, hash, entry_match, &key);
    if (old != NULL) {
        entry_drop(c, entry_of(old)); /* also if the new one is not kept: it is no longer true */
    }
    struct entry *e = entry_new(c, &key, a);
    if (e == NULL) {
        return;
    }
    e->expires_ms = now_ms + (int64_t)a->ttl_s * 1000;
    c->bytes += entry_cost(e);
    while (c->bytes > c->max_bytes) {
        entry_drop(c, entry_of(c->table.oldest)); /* not e, which fits alone and is not in the table yet */
    }
    htab_insert(&c->table, &e->node, hash);
}

size_t cache_bytes(const struct cache *c)
{
    return c->bytes;
}

size_t cache_count(const struct cache *c)
{
    return c->table.count;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/cache.h"

#include "common/base/htab.h"

#include <errno.h>
#include <stdlib.h>

#define FIRST_BUCKETS 256
/* What an entry costs beside its own bytes: its bucket, its place in the heap, and the allocator's share. */
#define ENTRY_EXTRA 32
#define DROPS_PER_PUT 4 /* so many whose time is over altogether */
#define TURN_PART 4     /* of the entries make a turn */
#define V4_BYTES 4
#define V6_BYTES 16

struct entry {
    struct htab_node node;
    int64_t expires_ms; /* of the answer; of a failure without one: when it may be asked again */
    int64_t retry_ms;   /* the failure is remembered until then */
    uint32_t ttl_s;     /* when it was put */
    uint32_t place;     /* in the heap */
    uint16_t qtype;
    uint16_t data_len;
    uint8_t kind; /* enum cache_kind; CACHE_MISS: a failure without an answer */
    uint8_t name_len;
    uint8_t why;      /* 0: no failure since the answer */
    uint8_t failures; /* one after the other */
    uint8_t hits;
    bool is_confirmed; /* the failure */
    uint8_t bytes[];   /* data: the addresses, 4 or 16 bytes each, or a set of records; then the name */
};

/* The heap has the entry that expires first at its root. */
struct cache {
    struct htab table;
    struct entry **heap;
    size_t heap_cap;
    size_t max_bytes;
    size_t bytes;
    uint64_t evicted; /* cache_stats() */
    size_t inserted;  /* in this turn */
    uint32_t turn;
    int64_t stale_ms;
    struct dns_rrset records; /* of the last get */
    uint64_t last_hash;       /* of the name that was hashed last, … */
    size_t last_len;          /* … 0: none yet */
    uint8_t last_name[HOST_NAME_MAX_LEN];
};

static size_t addr_bytes(uint16_t qtype)
{
    return qtype == DNS_AAAA ? V6_BYTES : V4_BYTES;
}

static size_t entry_size(size_t data_len, size_t name_len)
{
    size_t size = offsetof(struct entry, bytes) + data_len + name_len;
    return size < sizeof(struct entry) ? sizeof(struct entry) : size;
}

static size_t entry_cost(const struct entry *e)
{
    return entry_size(e->data_len, e->name_len) + ENTRY_EXTRA;
}

static struct entry *entry_of(struct htab_node *node)
{
    return HTAB_ENTRY(node, struct entry, node);
}

static bool entry_match(const struct htab_node *node, const void *key)
{
    const struct entry *e = HTAB_ENTRY(node, const struct entry, node);
    const struct cache_key *k = key;
    const uint8_t *name = e->bytes + e->data_len;
    return e->qtype == k->qtype && span_is_equal(span_make(name, e->name_len), host_name_span(k->name));
}

struct cache_key cache_key_make(struct cache *c, const struct host_name *name, uint16_t qtype)
{
    (void)CHECK(qtype == DNS_A || qtype == DNS_AAAA || dns_rrset_is_type(qtype)); /* an enum ip_family? */
    const struct span text = host_name_span(name);
    if (text.len == 0 || !span_is_equal(text, span_make(c->last_name, c->last_len))) {
        c->last_hash = htab_hash(&c->table, text);
        c->last_len = text.len;
        memcpy(c->last_name, text.data, text.len);
    }
    /* Nobody who does not know the name's hash can aim at it with another type either. */
    return (struct cache_key){.name = name, .qtype = qtype, .hash = c->last_hash ^ qtype};
}

/* ---- the heap; as many elements as the table has entries ---- */

static void heap_place(struct cache *c, struct entry *e, size_t at)
{
    c->heap[at] = e;
    e->place = (uint32_t)at;
}

static void heap_up(struct cache *c, struct entry *e)
{
    size_t at = e->place;
    while (at > 0) {
        const size_t parent = (at - 1) / 2;
        if (c->heap[parent]->expires_ms <= e->expires_ms) {
            break;
        }
        heap_place(c, c->heap[parent], at);
        at = parent;
    }
    heap_place(c, e, at);
}

static void heap_down(struct cache *c, struct entry *e, size_t count)
{
    size_t at = e->place;
    for (size_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && c->heap[child + 1]->expires_ms < c->heap[child]->expires_ms) {
            child++;
        }
        if (e->expires_ms <= c->heap[child]->expires_ms) {
            break;
        }
        heap_place(c, c->heap[child], at);
        at = child;
    }
    heap_place(c, e, at);
}

/* Room for one more. False: no memory. */
static bool heap_reserve(struct cache *c)
{
    if (c->table.count < c->heap_cap) {
        return true;
    }
    const size_t cap = c->heap_cap == 0 ? FIRST_BUCKETS : c->heap_cap * 2;
    if (cap > UINT32_MAX) {
        return false;
    }
    struct entry **heap = reallocarray(c->heap, cap, sizeof(struct entry *));
    if (heap == NULL) {
        return false;
    }
    c->heap = heap;
    c->heap_cap = cap;
    return true;
}

static void entry_drop(struct cache *c, struct entry *e)
{
    const size_t last = c->table.count - 1;
    struct entry *moved = c->heap[last];
    if (moved != e) {
        heap_place(c, moved, e->place);
        heap_down(c, moved, last);
        heap_up(c, moved);
    }
    htab_remove(&c->table, &e->node);
    c->bytes -= entry_cost(e);
    free(e);
}

/* ---- age ---- */

static enum cache_age age_of(const struct cache *c, const struct entry *e, int64_t now_ms)
{
    if (e->kind == CACHE_MISS) {
        return CACHE_NOTHING;
    }
    if (now_ms < e->expires_ms) {
        return CACHE_FRESH;
    }
    return now_ms < e->expires_ms + c->stale_ms ? CACHE_STALE : CACHE_NOTHING;
}

static bool is_forgotten(const struct entry *e, int64_t now_ms)
{
    return e->failures == 0 || now_ms >= e->retry_ms + CACHE_FAILURE_FORGET_MS;
}

static bool is_over(const struct cache *c, const struct entry *e, int64_t now_ms)
{
    return age_of(c, e, now_ms) == CACHE_NOTHING && is_forgotten(e, now_ms);
}

/* Makes room for an entry of that cost, which fits alone. */
static void make_room(struct cache *c, size_t cost, int64_t now_ms)
{
    for (int i = 0; i < DROPS_PER_PUT && c->table.count > 0 && is_over(c, c->heap[0], now_ms); i++) {
        entry_drop(c, c->heap[0]);
    }
    while (c->bytes + cost > c->max_bytes) {
        const bool is_expired = c->heap[0]->expires_ms <= now_ms;
        c->evicted += is_expired ? 0 : 1;
        entry_drop(c, is_expired ? c->heap[0] : entry_of(c->table.oldest));
    }
}

int cache_new(size_t max_bytes, uint32_t stale_s, struct cache **out)
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
    c->stale_ms = (int64_t)stale_s * 1000;
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
    free(c->heap);
    free(c);
}

/* When the last part of its TTL begins. */
static int64_t renew_ms(const struct entry *e)
{
    const bool is_renewed = e->ttl_s >= CACHE_RENEW_TTL_MIN_S && e->kind != CACHE_NXDOMAIN;
    return e->expires_ms - (is_renewed ? (int64_t)e->ttl_s * 1000 / CACHE_RENEW_PART : 0);
}

static void copy_answer(struct cache *c, const struct entry *e, struct cache_answer *out)
{
    const size_t len = addr_bytes(e->qtype);
    out->kind = (enum cache_kind)e->kind;
    out->expires_ms = e->expires_ms;
    out->renew_ms = renew_ms(e);
    if (out->kind == CACHE_RECORDS) {
        memcpy(&c->records, e->bytes, e->data_len);
        out->records = &c->records;
        return;
    }
    out->addr_count = e->data_len / len;
    for (size_t i = 0; i < out->addr_count; i++) {
        out->addrs[i] = (struct ip){.family = len == V6_BYTES ? IP_V6 : IP_V4};
        memcpy(out->addrs[i].bytes, e->bytes + i * len, len);
    }
}

enum cache_age cache_get(struct cache *c, const struct cache_key *key, int64_t now_ms,
                         struct cache_found *out)
{
    out->age = CACHE_NOTHING;
    out->has_failed = false;
    out->why = 0;
    out->is_worth_renew = false;
    out->is_confirmed = false;
    out->answer.kind = CACHE_MISS;
    out->answer.ttl_s = 0;
    out->answer.expires_ms = 0;
    out->answer.renew_ms = 0;
    out->answer.records = NULL;
    out->answer.addr_count = 0;
    struct htab_node *node = htab_find(&c->table, key->hash, entry_match, key);
    if (node == NULL) {
        return CACHE_NOTHING;
    }
    struct entry *e = entry_of(node);
    if (is_over(c, e, now_ms)) {
        entry_drop(c, e);
        return CACHE_NOTHING;
    }
    htab_touch(&c->table, node);
    out->age = age_of(c, e, now_ms);
    out->has_failed = now_ms < e->retry_ms;
    out->is_confirmed = out->has_failed && e->is_confirmed;
    out->why = e->why;
    if (out->age == CACHE_NOTHING) {
        return CACHE_NOTHING;
    }
    copy_answer(c, e, &out->answer);
    if (out->age == CACHE_FRESH) {
        const int64_t left_ms = e->expires_ms - now_ms;
        e->hits = (uint8_t)(e->hits < UINT8_MAX ? e->hits + 1 : UINT8_MAX);
        out->answer.ttl_s = (uint32_t)((left_ms + 999) / 1000); /* a begun second counts: 1 until the end */
        out->is_worth_renew =
            !out->has_failed && e->hits >= CACHE_RENEW_HITS && now_ms >= out->answer.renew_ms;
    }
    return out->age;
}

static struct entry *find(struct cache *c, const struct cache_key *k)
{
    struct htab_node *node = htab_find(&c->table, k->hash, entry_match, k);
    return node == NULL ? NULL : entry_of(node);
}

static size_t data_len(const struct cache_key *k, const struct cache_answer *a)
{
    switch (a->kind) {
    case CACHE_ADDRS:
        return a->addr_count * addr_bytes(k->qtype);
    case CACHE_RECORDS:
        return dns_rrset_size(a->records);
    case CACHE_MISS:
    case CACHE_NODATA:
    case CACHE_NXDOMAIN:
        break;
    }
    return 0;
}

/* An entry without a place yet, or NULL: larger than the cache, or no memory. */
static struct entry *entry_new(struct cache *c, const struct cache_key *k, const struct cache_answer *a)
{
    const size_t len = data_len(k, a);
    const size_t size = entry_size(len, k->name->len);
    if (size + ENTRY_EXTRA > c->max_bytes) {
        return NULL;
    }
    struct entry *e = malloc(size);
    if (e == NULL) {
        return NULL;
    }
    memset(e, 0, offsetof(struct entry, bytes));
    e->kind = (uint8_t)a->kind;
    e->ttl_s = a->ttl_s;
    e->qtype = k->qtype;
    e->data_len = (uint16_t)len;
    e->name_len = (uint8_t)k->name->len;
    if (a->kind == CACHE_RECORDS) {
        memcpy(e->bytes, a->records, len);
    } else {
        const size_t one = addr_bytes(k->qtype);
        for (size_t i = 0; i < len / one; i++) {
            memcpy(e->bytes + i * one, a->addrs[i].bytes, one);
        }
    }
    memcpy(e->bytes + len, k->name->text, k->name->len);
    return e;
}

/* Takes e, which is nowhere yet. */
static void entry_insert(struct cache *c, struct entry *e, uint64_t hash, int64_t now_ms)
{
    make_room(c, entry_cost(e), now_ms);
    if (!heap_reserve(c)) {
        free(e);
        return;
    }
    heap_place(c, e, c->table.count);
    heap_up(c, e);
    c->bytes += entry_cost(e);
    htab_insert(&c->table, &e->node, hash);
    if (c->bytes > c->max_bytes / 2 && ++c->inserted * TURN_PART >= c->table.count) {
        c->inserted = 0;
        c->turn++;
    }
}

void cache_put(struct cache *c, const struct cache_key *key, int64_t now_ms, const struct cache_answer *a)
{
    if (!CHECK(a->kind != CACHE_MISS && a->addr_count <= DNS_ADDRS_MAX &&
               (a->kind != CACHE_ADDRS || a->addr_count > 0) &&
               (a->kind != CACHE_RECORDS || a->records != NULL))) {
        return;
    }
    struct entry *old = find(c, key);
    if (old != NULL) {
        entry_drop(c, old); /* also if the new one is not kept: it is no longer true */
    }
    struct entry *e = a->ttl_s == 0 ? NULL : entry_new(c, key, a);
    if (e != NULL) {
        e->expires_ms = now_ms + (int64_t)a->ttl_s * 1000;
        entry_insert(c, e, key->hash, now_ms);
    }
}

static void note_failure(struct entry *e, int64_t now_ms, uint8_t why)
{
    uint8_t failures = is_forgotten(e, now_ms) ? 0 : e->failures;
    int64_t keep_s = CACHE_FAILURE_MAX_S;
    if (failures < 8 && CACHE_FAILURE_FIRST_S << failures < CACHE_FAILURE_MAX_S) {
        keep_s = CACHE_FAILURE_FIRST_S << failures;
    }
    e->failures = (uint8_t)(failures < UINT8_MAX ? failures + 1 : UINT8_MAX);
    e->why = why;
    e->is_confirmed = false;
    e->retry_ms = now_ms + keep_s * 1000;
}

void cache_fail(struct cache *c, const struct cache_key *key, int64_t now_ms, uint8_t why)
{
    if (!CHECK(why != 0)) {
        return;
    }
    struct entry *e = find(c, key);
    if (e != NULL) {
        note_failure(e, now_ms, why);
        if (e->kind == CACHE_MISS) { /* it expires later now */
            e->expires_ms = e->retry_ms;
            heap_down(c, e, c->table.count);
        }
        htab_touch(&c->table, &e->node);
        return;
    }
    const struct cache_answer none = {.kind = CACHE_MISS};
    e = entry_new(c, key, &none);
    if (e != NULL) {
        note_failure(e, now_ms, why);
        e->expires_ms = e->retry_ms;
        entry_insert(c, e, key->hash, now_ms);
    }
}

void cache_confirm(struct cache *c, const struct cache_key *key)
{
    struct entry *e = find(c, key);
    if (e != NULL) {
        e->is_confirmed = true;
    }
}

void cache_forgive(struct cache *c)
{
    struct htab_node *node = c->table.oldest;
    while (node != NULL) {
        struct entry *e = entry_of(node);
        node = node->newer;
        if (e->kind == CACHE_MISS) {
            entry_drop(c, e);
        } else {
            e->failures = 0;
            e->why = 0;
            e->retry_ms = 0;
        }
    }
}

uint32_t cache_turn(const struct cache *c)
{
    return c->turn;
}

size_t cache_bytes(const struct cache *c)
{
    return c->bytes;
}

size_t cache_count(const struct cache *c)
{
    return c->table.count;
}

struct cache_stats cache_stats(const struct cache *c)
{
    return (struct cache_stats){.entries = c->table.count, .bytes = c->bytes, .evicted = c->evicted};
}

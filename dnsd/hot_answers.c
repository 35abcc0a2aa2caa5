/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/hot_answers.h"

#include "common/base/hash.h"

#include <errno.h>
#include <stdlib.h>

#define TYPE_A 1 /* whose addresses have four bytes; those of other types have sixteen */
#define SLOTS_MAX ((size_t)16384)
#define PLACES ((size_t)4) /* of a question in a row, side by side */
#define ROWS                                                                                                 \
    ((size_t)2) /* of a question: with one, every tenth is without a place when two thirds are full */
#define SLOT_COST (sizeof(struct slot) + sizeof(uint64_t))
#define LINE ((size_t)64) /* of the caches */
#define SLOT_BYTES 98

/* What an ordinary name with an address or two needs lies in the first line of the caches. */
struct slot {
    int64_t until_ms; /* 0: free */
    uint64_t generation;
    uint32_t turn;
    uint32_t rest_ms; /* its TTL ends so much later */
    uint16_t qtype;
    uint8_t name_len;
    uint8_t addr_count;
    uint8_t kind; /* enum hot_kind */
    bool has_ipv6;
    uint8_t
        bytes[SLOT_BYTES]; /* the name in lower case, then the addresses, those of an A record in 4 bytes */
};
_Static_assert(sizeof(struct slot) == 2 * LINE, "a slot begins where a line begins");

struct hot_answers {
    struct hash_key key;
    size_t slot_count; /* a power of two, or 0 */
    uint64_t *hashes;  /* of the slots: the places of a row lie in one cache line */
    struct slot *slots;
    void *memory[2]; /* which they lie in */
};

/* What is compared and hashed: the name in lower case, then the type. */
struct folded {
    uint8_t bytes[HOT_NAME_MAX + 2];
    size_t name_len;
    uint64_t hash;
};

/* A power of two, or 0 if there is no room for a question's places. */
static size_t slots_in(size_t max_bytes)
{
    size_t count = SLOTS_MAX;
    while (count >= PLACES && count * SLOT_COST > max_bytes) {
        count /= 2;
    }
    return count >= PLACES ? count : 0;
}

size_t hot_answers_bytes(size_t max_bytes)
{
    return slots_in(max_bytes) * SLOT_COST;
}

/* Zeroed, from the beginning of a line on. calloc(3): pages that are never used cost nothing. */
static void *new_lines(size_t len, void **memory)
{
    uint8_t *p = calloc(len + LINE - 1, 1);
    *memory = p;
    return p == NULL ? NULL : p + (LINE - (uintptr_t)p % LINE) % LINE;
}

int hot_answers_new(size_t max_bytes, struct hot_answers **out)
{
    struct hot_answers *h = calloc(1, sizeof(*h));
    const size_t count = slots_in(max_bytes);
    *out = h;
    if (h == NULL) {
        return -ENOMEM;
    }
    hash_key_init(&h->key);
    if (count == 0) {
        return 0;
    }
    h->hashes = new_lines(count * sizeof(*h->hashes), &h->memory[0]);
    h->slots = new_lines(count * sizeof(*h->slots), &h->memory[1]);
    if (h->hashes == NULL || h->slots == NULL) {
        hot_answers_free(h);
        *out = NULL;
        return -ENOMEM;
    }
    h->slot_count = count;
    return 0;
}

void hot_answers_free(struct hot_answers *h)
{
    if (h != NULL) {
        free(h->memory[0]);
        free(h->memory[1]);
        free(h);
    }
}

/* Label lengths are below 64 and so never letters: the whole name can be folded byte by byte. */
static bool fold(const struct hot_answers *h, const struct hot_question *q, struct folded *out)
{
    if (h->slot_count == 0 || q->qname.len > HOT_NAME_MAX) {
        return false;
    }
    ascii_lower_copy(out->bytes, q->qname);
    out->name_len = q->qname.len;
    out->bytes[q->qname.len] = (uint8_t)(q->qtype >> 8);
    out->bytes[q->qname.len + 1] = (uint8_t)(q->qtype & 0xffU);
    out->hash = q->hash != 0 ? q->hash : hash_siphash(&h->key, span_make(out->bytes, q->qname.len + 2));
    return true;
}

/* The first place of a question in its row 0 or 1; the rows may be the same one. */
static size_t first_place(const struct hot_answers *h, uint64_t hash, size_t row)
{
    return (size_t)(hash >> (32 * row)) & (h->slot_count - 1) & ~(PLACES - 1);
}

/* The place that a question gets if it is free: where it is looked for first. */
static size_t home_place(const struct hot_answers *h, uint64_t hash)
{
    return first_place(h, hash, 0) | ((size_t)(hash >> 30) & (PLACES - 1));
}

/* The slot that holds the question, expired or not, or NULL. */
static struct slot *find(const struct hot_answers *h, const struct hot_question *q, const struct folded *f)
{
    for (size_t row = 0; row < ROWS; row++) {
        const size_t first = first_place(h, f->hash, row);
        for (size_t i = first; i < first + PLACES; i++) {
            struct slot *s = &h->slots[i];
            if (h->hashes[i] == f->hash && s->until_ms != 0 && s->qtype == q->qtype &&
                span_is_equal(span_make(s->bytes, s->name_len), span_make(f->bytes, f->name_len))) {
                return s;
            }
        }
    }
    return NULL;
}

static size_t addr_len(uint16_t qtype)
{
    return qtype == TYPE_A ? 4 : 16;
}

/* Do name and addresses fit, and are these of the family that the type says? */
static bool fits(const struct hot_question *q, const struct folded *f, const struct hot_answer *a)
{
    const enum ip_family family = q->qtype == TYPE_A ? IP_V4 : IP_V6;
    for (size_t i = 0; i < a->addr_count; i++) {
        if (a->addrs[i].family != family) {
            return false;
        }
    }
    return f->name_len + a->addr_count * addr_len(q->qtype) <= SLOT_BYTES;
}

static void write_addrs(struct slot *s, const struct ip *addrs)
{
    const size_t len = addr_len(s->qtype);
    for (size_t i = 0; i < s->addr_count; i++) {
        memcpy(s->bytes + s->name_len + i * len, addrs[i].bytes, len);
    }
}

static void read_addrs(const struct slot *s, struct ip *out)
{
    const size_t len = addr_len(s->qtype);
    for (size_t i = 0; i < s->addr_count; i++) {
        out[i] = (struct ip){.family = s->qtype == TYPE_A ? IP_V4 : IP_V6};
        memcpy(out[i].bytes, s->bytes + s->name_len + i * len, len);
    }
}

bool hot_answers_get(const struct hot_answers *h, const struct hot_question *q, int64_t now_ms,
                     struct hot_answer *out)
{
    struct folded f;
    if (!fold(h, q, &f)) {
        return false;
    }
    const struct slot *s = find(h, q, &f);
    if (s == NULL || now_ms >= s->until_ms || s->generation != q->generation || s->turn != q->turn ||
        s->has_ipv6 != q->has_ipv6) {
        return false;
    }
    out->kind = (enum hot_kind)s->kind;
    out->addr_count = s->addr_count;
    out->expires_ms = s->until_ms + s->rest_ms;
    read_addrs(s, out->addrs);
    return true;
}

uint64_t hot_answers_foresee(const struct hot_answers *h, struct span qname, uint16_t qtype)
{
    struct folded f;
    if (!fold(h, &(struct hot_question){.qname = qname, .qtype = qtype}, &f)) {
        return 0;
    }
    for (size_t row = 0; row < ROWS; row++) {
        __builtin_prefetch(&h->hashes[first_place(h, f.hash, row)]);
    }
    return f.hash;
}

void hot_answers_fetch(const struct hot_answers *h, uint64_t hash)
{
    if (h->slot_count == 0 || hash == 0) {
        return;
    }
    const size_t home = home_place(h, hash);
    if (h->hashes[home] == hash) {
        __builtin_prefetch(&h->slots[home]);
    }
}

/* A free slot, or the one that ends first. */
static struct slot *make_room(const struct hot_answers *h, const struct folded *f)
{
    size_t best = home_place(h, f->hash);
    for (size_t row = 0; row < ROWS; row++) {
        const size_t first = first_place(h, f->hash, row);
        for (size_t i = first; i < first + PLACES; i++) {
            if (h->slots[i].until_ms < h->slots[best].until_ms) {
                best = i;
            }
        }
    }
    h->hashes[best] = f->hash;
    return &h->slots[best];
}

void hot_answers_put(struct hot_answers *h, const struct hot_question *q, int64_t now_ms,
                     const struct hot_answer *a)
{
    struct folded f;
    if (a->addr_count > HOT_ADDRS_MAX || a->until_ms <= now_ms || a->until_ms > a->expires_ms ||
        a->expires_ms - a->until_ms > UINT32_MAX || !fold(h, q, &f) || !fits(q, &f, a)) {
        return;
    }
    struct slot *s = find(h, q, &f);
    if (s == NULL) {
        s = make_room(h, &f);
    }
    s->until_ms = a->until_ms;
    s->rest_ms = (uint32_t)(a->expires_ms - a->until_ms);
    s->generation = q->generation;
    s->turn = q->turn;
    s->qtype = q->qtype;
    s->name_len = (uint8_t)f.name_len;
    s->kind = (uint8_t)a->kind;
    s->addr_count = (uint8_t)a->addr_count;
    s->has_ipv6 = q->has_ipv6;
    memcpy(s->bytes, f.bytes, f.name_len);
    write_addrs(s, a->addrs);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/hot_answers.h"

#include "common/base/hash.h"

#include <errno.h>
#include <stdlib.h>

#define SLOTS_MAX ((size_t)16384)
#define PLACES ((size_t)4) /* of a question in a row, side by side */
#define ROWS                                                                                                 \
    ((size_t)2) /* of a question: with one, every tenth is without a place when two thirds are full */
#define SLOT_COST (sizeof(struct slot) + sizeof(uint64_t))

struct slot {
    int64_t until_ms; /* 0: free */
    uint64_t generation;
    uint32_t rest_ms; /* its TTL ends so much later */
    uint16_t qtype;
    uint8_t name_len;
    uint8_t addr_count;
    uint8_t kind; /* enum hot_kind */
    bool has_ipv6;
    uint8_t name[HOT_NAME_MAX]; /* lower case */
    struct ip addrs[HOT_ADDRS_MAX];
};

struct hot_answers {
    struct hash_key key;
    size_t slot_count; /* a power of two, or 0 */
    uint64_t *hashes;  /* of the slots: the places of a row lie in one cache line */
    struct slot *slots;
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
    h->hashes = calloc(count, sizeof(*h->hashes));
    h->slots = calloc(count, sizeof(*h->slots)); /* pages that are never used cost nothing */
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
        free(h->hashes);
        free(h->slots);
        free(h);
    }
}

/* Label lengths are below 64 and so never letters: the whole name can be folded byte by byte. */
static bool fold(const struct hot_answers *h, const struct hot_question *q, struct folded *out)
{
    if (h->slot_count == 0 || q->qname.len > HOT_NAME_MAX) {
        return false;
    }
    for (size_t i = 0; i < q->qname.len; i++) {
        uint8_t c = q->qname.data[i];
        out->bytes[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20U) : c;
    }
    out->name_len = q->qname.len;
    out->bytes[q->qname.len] = (uint8_t)(q->qtype >> 8);
    out->bytes[q->qname.len + 1] = (uint8_t)(q->qtype & 0xffU);
    out->hash = hash_siphash(&h->key, span_make(out->bytes, q->qname.len + 2));
    return true;
}

/* The first place of the question in its row 0 or 1; the rows may be the same one. */
static size_t first_place(const struct hot_answers *h, const struct folded *f, size_t row)
{
    return (size_t)(f->hash >> (32 * row)) & (h->slot_count - 1) & ~(PLACES - 1);
}

/* The slot that holds the question, expired or not, or NULL. */
static struct slot *find(const struct hot_answers *h, const struct hot_question *q, const struct folded *f)
{
    for (size_t row = 0; row < ROWS; row++) {
        const size_t first = first_place(h, f, row);
        for (size_t i = first; i < first + PLACES; i++) {
            struct slot *s = &h->slots[i];
            if (h->hashes[i] == f->hash && s->until_ms != 0 && s->qtype == q->qtype &&
                span_is_equal(span_make(s->name, s->name_len), span_make(f->bytes, f->name_len))) {
                return s;
            }
        }
    }
    return NULL;
}

bool hot_answers_get(const struct hot_answers *h, const struct hot_question *q, int64_t now_ms,
                     struct hot_answer *out)
{
    struct folded f;
    if (!fold(h, q, &f)) {
        return false;
    }
    const struct slot *s = find(h, q, &f);
    if (s == NULL || now_ms >= s->until_ms || s->generation != q->generation || s->has_ipv6 != q->has_ipv6) {
        return false;
    }
    out->kind = (enum hot_kind)s->kind;
    out->addr_count = s->addr_count;
    out->expires_ms = s->until_ms + s->rest_ms;
    memcpy(out->addrs, s->addrs, s->addr_count * sizeof(s->addrs[0]));
    return true;
}

/* A free slot, or the one that ends first. */
static struct slot *make_room(const struct hot_answers *h, const struct folded *f)
{
    size_t best = first_place(h, f, 0);
    for (size_t row = 0; row < ROWS; row++) {
        const size_t first = first_place(h, f, row);
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
        a->expires_ms - a->until_ms > UINT32_MAX || !fold(h, q, &f)) {
        return;
    }
    struct slot *s = find(h, q, &f);
    if (s == NULL) {
        s = make_room(h, &f);
    }
    s->until_ms = a->until_ms;
    s->rest_ms = (uint32_t)(a->expires_ms - a->until_ms);
    s->generation = q->generation;
    s->qtype = q->qtype;
    s->name_len = (uint8_t)f.name_len;
    s->kind = (uint8_t)a->kind;
    s->addr_count = (uint8_t)a->addr_count;
    s->has_ipv6 = q->has_ipv6;
    memcpy(s->name, f.bytes, f.name_len);
    memcpy(s->addrs, a->addrs, a->addr_count * sizeof(a->addrs[0]));
}

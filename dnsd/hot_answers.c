/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/hot_answers.h"

#include "common/base/hash.h"

#include <errno.h>
#include <stdlib.h>

#define TYPE_A 1 /* whose addresses have four bytes; those of other types have sixteen */
#define SLOTS_MAX ((size_t)16384)
#define NO_PLACE SIZE_MAX
#define PLACES ((size_t)4) /* of a question in a row, side by side */
#define ROWS                                                                                                 \
    ((size_t)2) /* of a question: with one, every tenth is without a place when two thirds are full */
#define LINE ((size_t)64) /* of the caches */
#define SLOT_COST (sizeof(struct slot) + sizeof(struct row) / PLACES)
#define SLOT_BYTES 106

/* What says whether a place may hold a question, or may be given to another one: a slot is touched for what
 * is in it alone. */
struct row {
    uint64_t hashes[PLACES];
    int64_t until_ms[PLACES]; /* 0: free; the hash is that of a denial that was given there once, or 0 */
};
_Static_assert(sizeof(struct row) == LINE, "a row begins where a line begins");

/* What an ordinary name with an address or two needs lies in the first line of the caches. */
struct slot {
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
    size_t slot_count;  /* a power of two, or 0 */
    struct row *rows;   /* slot_count / PLACES */
    struct slot *slots; /* those of a row lie side by side */
    void *memory[2];    /* which they lie in */
};

/* What is compared and hashed: the name in lower case, then the type. */
struct folded {
    uint8_t bytes[HOT_NAME_MAX + 2];
    size_t name_len;
    bool is_made; /* not before it is needed: the hash may be known already, and not be there */
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
    h->rows = new_lines(count / PLACES * sizeof(*h->rows), &h->memory[0]);
    h->slots = new_lines(count * sizeof(*h->slots), &h->memory[1]);
    if (h->rows == NULL || h->slots == NULL) {
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
static void fold(const struct hot_question *q, struct folded *f)
{
    if (!f->is_made) {
        ascii_lower_copy(f->bytes, q->qname);
        f->name_len = q->qname.len;
        f->bytes[q->qname.len] = (uint8_t)(q->qtype >> 8);
        f->bytes[q->qname.len + 1] = (uint8_t)(q->qtype & 0xffU);
        f->is_made = true;
    }
}

/* Sets the hash. False: such a question is never kept. */
static bool hash(const struct hot_answers *h, const struct hot_question *q, struct folded *f)
{
    f->is_made = false;
    f->hash = q->hash;
    if (h->slot_count == 0 || q->qname.len > HOT_NAME_MAX) {
        return false;
    }
    if (f->hash == 0) {
        fold(q, f);
        f->hash = hash_siphash(&h->key, span_make(f->bytes, f->name_len + 2));
    }
    return true;
}

/* The first or the second row of a question; they may be the same one. */
static size_t row_of(const struct hot_answers *h, uint64_t hash, size_t which)
{
    return (size_t)(hash >> (32 * which)) & (h->slot_count / PLACES - 1);
}

/* The place that a question gets if it is free: where it is looked for first. */
static size_t home_place(const struct hot_answers *h, uint64_t hash)
{
    return row_of(h, hash, 0) * PLACES + ((size_t)(hash >> 30) & (PLACES - 1));
}

static int64_t *until_of(const struct hot_answers *h, size_t place)
{
    return &h->rows[place / PLACES].until_ms[place % PLACES];
}

static bool is_in_slot(const struct slot *s, const struct hot_question *q, struct folded *f)
{
    fold(q, f);
    return s->qtype == q->qtype &&
           span_is_equal(span_make(s->bytes, s->name_len), span_make(f->bytes, f->name_len));
}

/* The place that holds the question, expired or not, or NO_PLACE. */
static size_t find(const struct hot_answers *h, const struct hot_question *q, struct folded *f)
{
    for (size_t which = 0; which < ROWS; which++) {
        const size_t row = row_of(h, f->hash, which);
        const struct row *r = &h->rows[row];
        for (size_t i = 0; i < PLACES; i++) {
            const size_t place = row * PLACES + i;
            if (r->hashes[i] == f->hash && r->until_ms[i] != 0 && is_in_slot(&h->slots[place], q, f)) {
                return place;
            }
        }
    }
    return NO_PLACE;
}

static size_t addr_len(uint16_t qtype)
{
    return qtype == TYPE_A ? 4 : 16;
}

/* Do name and addresses fit, and are these of the family that the type says? */
static bool fits(const struct hot_question *q, const struct hot_answer *a)
{
    const enum ip_family family = q->qtype == TYPE_A ? IP_V4 : IP_V6;
    for (size_t i = 0; i < a->addr_count; i++) {
        if (a->addrs[i].family != family) {
            return false;
        }
    }
    return q->qname.len + a->addr_count * addr_len(q->qtype) <= SLOT_BYTES;
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
    if (!hash(h, q, &f)) {
        return false;
    }
    const size_t place = find(h, q, &f);
    if (place == NO_PLACE || now_ms >= *until_of(h, place)) {
        return false;
    }
    const struct slot *s = &h->slots[place];
    if (s->generation != q->generation || s->turn != q->turn || s->has_ipv6 != q->has_ipv6) {
        return false;
    }
    out->kind = (enum hot_kind)s->kind;
    out->addr_count = s->addr_count;
    out->expires_ms = *until_of(h, place) + s->rest_ms;
    read_addrs(s, out->addrs);
    return true;
}

uint64_t hot_answers_foresee(const struct hot_answers *h, struct span qname, uint16_t qtype)
{
    struct folded f;
    if (!hash(h, &(struct hot_question){.qname = qname, .qtype = qtype}, &f)) {
        return 0;
    }
    for (size_t which = 0; which < ROWS; which++) {
        __builtin_prefetch(&h->rows[row_of(h, f.hash, which)]);
    }
    return f.hash;
}

void hot_answers_fetch(const struct hot_answers *h, uint64_t hash)
{
    if (h->slot_count == 0 || hash == 0) {
        return;
    }
    const size_t home = home_place(h, hash);
    if (h->rows[home / PLACES].hashes[home % PLACES] == hash) {
        __builtin_prefetch(&h->slots[home]);
    }
}

/* The place that has the hash, noted or taken, or a free one, or the one that ends first. */
static size_t find_room(const struct hot_answers *h, uint64_t hash)
{
    size_t best = home_place(h, hash);
    int64_t best_ms = *until_of(h, best);
    for (size_t which = 0; which < ROWS; which++) {
        const size_t row = row_of(h, hash, which);
        const struct row *r = &h->rows[row];
        for (size_t i = 0; i < PLACES; i++) {
            if (r->hashes[i] == hash) {
                return row * PLACES + i;
            }
            if (r->until_ms[i] < best_ms) {
                best = row * PLACES + i;
                best_ms = r->until_ms[i];
            }
        }
    }
    return best;
}

/*
 * A denial is worth its slot if it is asked for again, which names that somebody makes up are not: the first
 * time no more than its hash is put down, in a place that is free, or as good as free.
 */
bool hot_answers_note_denied(struct hot_answers *h, uint64_t hash, int64_t now_ms)
{
    if (h->slot_count == 0 || hash == 0) {
        return false;
    }
    const size_t place = find_room(h, hash);
    struct row *r = &h->rows[place / PLACES];
    const size_t i = place % PLACES;
    if (r->hashes[i] == hash || r->until_ms[i] > now_ms) {
        return false;
    }
    r->hashes[i] = hash;
    r->until_ms[i] = 0;
    return true;
}

void hot_answers_put(struct hot_answers *h, const struct hot_question *q, int64_t now_ms,
                     const struct hot_answer *a)
{
    struct folded f;
    if (a->addr_count > HOT_ADDRS_MAX || a->until_ms <= now_ms || a->until_ms > a->expires_ms ||
        a->expires_ms - a->until_ms > UINT32_MAX || !hash(h, q, &f) || !fits(q, a)) {
        return;
    }
    const bool is_denial = a->kind == HOT_DENIED || a->kind == HOT_NOISE;
    size_t place = find(h, q, &f);
    if (place == NO_PLACE) {
        if (is_denial && hot_answers_note_denied(h, f.hash, now_ms)) {
            return;
        }
        place = find_room(h, f.hash);
    }
    fold(q, &f);
    h->rows[place / PLACES].hashes[place % PLACES] = f.hash;
    *until_of(h, place) = a->until_ms;
    struct slot *s = &h->slots[place];
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

/* SPDX-License-Identifier: Apache-2.0 */
/* The writer's memory of the map: which name has which slot, in the order of the last answers. */
#include "common/base/log.h"
#include "common/run/synth_priv.h"

#include <errno.h>
#include <stdlib.h>

/* Records read in one go when a map is taken over. */
#define BATCH 256u

void synth_slots_forget(struct synth_map *m)
{
    for (uint32_t i = 0; m->slots != NULL && i < m->header.capacity; i++) {
        if (m->slots[i] != NULL) {
            htab_remove(&m->names, &m->slots[i]->node);
            free(m->slots[i]);
            m->slots[i] = NULL;
        }
    }
    while (m->wildcards.newest != NULL) {
        struct synth_wildcard *w = HTAB_ENTRY(m->wildcards.newest, struct synth_wildcard, node);
        htab_remove(&m->wildcards, &w->node);
        free(w);
    }
    m->given_count = 0;
    m->none_before_s = 0;
    m->none_wild_before_s = 0;
}

static bool is_wildcard(const struct htab_node *node, const void *key)
{
    return HTAB_ENTRY(node, const struct synth_wildcard, node)->wildcard == *(const uint64_t *)key;
}

struct synth_wildcard *synth_slots_wildcard(const struct synth_map *m, uint64_t wildcard)
{
    const struct span key = span_make((const uint8_t *)&wildcard, sizeof(wildcard));
    struct htab_node *node = htab_find(&m->wildcards, htab_hash(&m->wildcards, key), is_wildcard, &wildcard);
    return node == NULL ? NULL : HTAB_ENTRY(node, struct synth_wildcard, node);
}

static int count_wildcard(struct synth_map *m, uint64_t wildcard)
{
    if (wildcard == 0) {
        return 0;
    }
    struct synth_wildcard *w = synth_slots_wildcard(m, wildcard);
    if (w == NULL) {
        const struct span key = span_make((const uint8_t *)&wildcard, sizeof(wildcard));
        w = calloc(1, sizeof(*w));
        if (w == NULL) {
            return -ENOMEM;
        }
        w->wildcard = wildcard;
        htab_insert(&m->wildcards, &w->node, htab_hash(&m->wildcards, key));
    }
    w->count++;
    return 0;
}

static void uncount_wildcard(struct synth_map *m, uint64_t wildcard)
{
    struct synth_wildcard *w = wildcard == 0 ? NULL : synth_slots_wildcard(m, wildcard);
    if (w != NULL && --w->count == 0) {
        htab_remove(&m->wildcards, &w->node);
        free(w);
    }
}

struct synth_slot *synth_slots_enter(struct synth_map *m, uint32_t slot, const struct synth_record *r)
{
    struct synth_slot *s = calloc(1, sizeof(*s));
    if (s == NULL || count_wildcard(m, r->wildcard) < 0) {
        free(s);
        return NULL;
    }
    s->slot = slot;
    s->until_s = r->until_s;
    s->wildcard = r->wildcard;
    s->name = r->name;
    m->slots[slot] = s;
    m->given_count++;
    htab_insert(&m->names, &s->node, htab_hash(&m->names, host_name_span(&s->name)));
    return s;
}

/* Out of the table and of memory; the file is as it is. */
void synth_slots_leave(struct synth_map *m, struct synth_slot *s)
{
    htab_remove(&m->names, &s->node);
    uncount_wildcard(m, s->wildcard);
    m->slots[s->slot] = NULL;
    m->given_count--;
    free(s);
}

/* Counts the damaged ones. */
static int load_batch(struct synth_map *m, uint32_t first, uint32_t count, uint8_t *bytes, int64_t now_s,
                      uint32_t *damaged)
{
    int rc = synth_file_read(m->fd, bytes, (size_t)count * SYNTH_RECORD_BYTES, synth_record_at(first));
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        struct synth_record r;
        enum synth_record_state found =
            synth_record_decode(&m->header, first + i, bytes + (size_t)i * SYNTH_RECORD_BYTES, &r);
        if (found == SYNTH_RECORD_FREE || found == SYNTH_RECORD_TORN) {
            continue; /* torn: its writer died before it could answer with the new name, and the old hold was
                         over */
        }
        if (found != SYNTH_RECORD_GOOD) { /* it may have been handed out with any TTL */
            r = (struct synth_record){.until_s = synth_hold_until(now_s, SYNTH_TTL_MAX_S, m->grace_s)};
            (*damaged)++;
        }
        if (synth_slots_enter(m, first + i, &r) == NULL) {
            return -ENOMEM;
        }
    }
    return rc;
}

static int by_end_of_hold(const void *a, const void *b)
{
    uint32_t x = (*(struct synth_slot *const *)a)->until_s, y = (*(struct synth_slot *const *)b)->until_s;
    return (x > y) - (x < y);
}

/* Of what was loaded the hold that ends first is the oldest. */
static int order_loaded(struct synth_map *m)
{
    if (m->given_count == 0) {
        return 0;
    }
    struct synth_slot **order = calloc(m->given_count, sizeof(struct synth_slot *));
    if (order == NULL) {
        return -ENOMEM;
    }
    size_t count = 0;
    for (uint32_t i = 0; i < m->header.capacity; i++) {
        if (m->slots[i] != NULL) {
            order[count++] = m->slots[i];
        }
    }
    qsort(order, count, sizeof(struct synth_slot *), by_end_of_hold);
    for (size_t i = 0; i < count; i++) {
        htab_touch(&m->names, &order[i]->node);
    }
    free(order);
    return 0;
}

int synth_slots_load(struct synth_map *m, int64_t now_s)
{
    uint8_t *bytes = malloc((size_t)BATCH * SYNTH_RECORD_BYTES);
    int rc = bytes == NULL ? -ENOMEM : 0;
    uint32_t damaged = 0;
    synth_slots_forget(m);
    for (uint32_t first = 0; rc == 0 && first < m->header.capacity; first += BATCH) {
        uint32_t left = m->header.capacity - first;
        rc = load_batch(m, first, left < BATCH ? left : BATCH, bytes, now_s, &damaged);
    }
    free(bytes);
    if (damaged > 0) {
        log_event(
            LOG_WARN, "map_damaged",
            LOG_KV(kv_str("path", m->path), kv_u64("records", damaged),
                   kv_str("note", "not believed: their names get other addresses, theirs are kept back")));
    }
    return rc == 0 ? order_loaded(m) : rc;
}

static bool has_name(const struct htab_node *node, const void *key)
{
    const struct synth_slot *s = HTAB_ENTRY(node, const struct synth_slot, node);
    return host_name_is_equal(&s->name, key);
}

struct synth_slot *synth_slots_find(const struct synth_map *m, const struct host_name *name)
{
    struct htab_node *node = htab_find(&m->names, htab_hash(&m->names, host_name_span(name)), has_name, name);
    return node == NULL ? NULL : HTAB_ENTRY(node, struct synth_slot, node);
}

int synth_slots_move(struct synth_map *m, struct synth_slot *s, uint64_t wildcard)
{
    int rc = count_wildcard(m, wildcard);
    if (rc == 0) {
        uncount_wildcard(m, s->wildcard);
        s->wildcard = wildcard;
        struct synth_wildcard *w = wildcard == 0 ? NULL : synth_slots_wildcard(m, wildcard);
        if (w != NULL) { /* searches so far have passed it over */
            w->none_before_s = 0;
        }
        m->none_wild_before_s = 0;
    }
    return rc;
}

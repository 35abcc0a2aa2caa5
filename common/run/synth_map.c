/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/synth_map.h"

#include "common/base/htab.h"
#include "common/base/log.h"
#include "common/base/rng.h"
#include "common/run/synth_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

/* Records read in one go when a map is taken over. */
#define BATCH 256u
/* A damaged record may have been handed out with any TTL: --synthetic-ttl is at most this. */
#define TTL_MAX_S 3600u
#define OPEN_ATTEMPTS 16
#define READ_ATTEMPTS 8
#define COMPLAIN_EVERY_S 60

/* A slot that was given to a name; the writer's memory of its record. Name of length 0: its record is
 * damaged. */
struct synth_slot {
    struct htab_node node; /* the order of use is that of the last answer */
    uint32_t slot;
    uint32_t until_s;
    struct host_name name;
};

struct synth_map {
    pthread_mutex_t lock;
    char *path;
    int fd; /* -1: a reader without a usable file */
    struct synth_header header;
    bool is_writer;
    /* writer */
    uint32_t grace_s;
    struct htab names;
    struct synth_slot **slots; /* by slot; NULL = never given out */
    uint32_t given_count;
    int64_t none_before_s; /* no hold ends before, as far as the last full search knows */
    /* reader */
    dev_t dev;
    ino_t ino;
    bool is_refused; /* what is there now was refused, at tried_s */
    int64_t tried_s, complained_s;
};

static uint64_t record_at(uint32_t slot)
{
    return SYNTH_HEADER_BYTES + (uint64_t)slot * SYNTH_RECORD_BYTES;
}

static bool is_held(uint32_t until_s, int64_t now_s)
{
    return now_s <= (int64_t)until_s;
}

static uint32_t hold_until(int64_t now_s, uint64_t ttl_s, uint32_t grace_s)
{
    uint64_t until = (uint64_t)(now_s < 0 ? 0 : now_s) + ttl_s + grace_s;
    return until > UINT32_MAX ? UINT32_MAX : (uint32_t)until;
}

static struct synth_map *map_new(const char *path)
{
    struct synth_map *m = calloc(1, sizeof(*m));
    if (m == NULL) {
        return NULL;
    }
    m->fd = -1;
    m->complained_s = INT64_MIN;
    m->path = strdup(path);
    if (m->path == NULL || pthread_mutex_init(&m->lock, NULL) != 0) {
        free(m->path);
        free(m);
        return NULL;
    }
    return m;
}

static void detach(struct synth_map *m)
{
    if (m->fd >= 0) {
        (void)close(m->fd); /* a writer's lock goes with it */
        m->fd = -1;
    }
}

void synth_map_close(struct synth_map *m)
{
    if (m == NULL) {
        return;
    }
    detach(m);
    for (uint32_t i = 0; m->slots != NULL && i < m->header.capacity; i++) {
        free(m->slots[i]);
    }
    free(m->slots);
    htab_fini(&m->names);
    (void)pthread_mutex_destroy(&m->lock);
    free(m->path);
    free(m);
}

/* ---- writer ---- */

static bool is_same_pool(bool has_a, const struct ip_prefix *a, bool has_b, const struct ip_prefix *b)
{
    return has_a == has_b && (!has_a || (a->bits == b->bits && ip_is_equal(&a->base, &b->base)));
}

static bool is_same_pools(const struct synth_pools *a, const struct synth_pools *b)
{
    return is_same_pool(a->has_v4, &a->v4, b->has_v4, &b->v4) &&
           is_same_pool(a->has_v6, &a->v6, b->has_v6, &b->v6);
}

static int new_header(const struct synth_map_config *cfg, struct synth_header *out, struct err *err)
{
    *out = (struct synth_header){.capacity = synth_capacity(&cfg->pools), .pools = cfg->pools};
    if (out->capacity == 0) {
        err_set(err, "--pool: no pool of synthetic addresses");
        return -EINVAL;
    }
    hash_key_init(&out->key);
    return synth_file_boot_id(out->boot_id, err);
}

/*
 * One attempt to get hold of the file: takes over what is there, or replaces it if it cannot serve. The old
 * file stays locked until the new one is in its place, so that no other writer can take it over meanwhile.
 * -EAGAIN: try again.
 */
static int take_file(struct synth_map *m, const struct synth_header *fresh, bool *taken_over, struct err *err)
{
    int old = -1;
    struct stat st;
    *taken_over = false;
    int rc = synth_file_open(m->path, O_RDWR, &old, &st, &m->header, err);
    bool exists = old >= 0;
    if (!exists && rc != -ENOENT) {
        return rc;
    }
    bool usable = rc == 0 && is_same_pools(&m->header.pools, &fresh->pools);
    rc = exists ? synth_file_lock(m->path, old) : 0;
    if (rc == -EBUSY) {
        err_set(err, "%s is in use by another openshell-dnsd", m->path);
    } else if (rc < 0 && rc != -EAGAIN) {
        err_set(err, "%s: lock: %s", m->path, strerror(-rc));
    }
    if (rc == 0 && usable) {
        m->fd = old;
        *taken_over = true;
        return 0;
    }
    if (rc == 0) {
        if (exists) {
            log_event(LOG_WARN, "map_replaced",
                      LOG_KV(kv_str("path", m->path),
                             kv_str("why", err->text[0] != '\0' ? err->text : "other pools")));
        }
        m->header = *fresh;
        err->text[0] = '\0';
        rc = synth_file_create(m->path, fresh, &m->fd, err);
    }
    if (old >= 0) {
        (void)close(old);
    }
    return rc;
}

static struct synth_slot *remember(struct synth_map *m, uint32_t slot)
{
    struct synth_slot *s = calloc(1, sizeof(*s));
    if (s != NULL) {
        s->slot = slot;
        m->slots[slot] = s;
        m->given_count++;
    }
    return s;
}

static int load_batch(struct synth_map *m, uint32_t first, uint32_t count, uint8_t *bytes, int64_t now_s)
{
    int rc = synth_file_read(m->fd, bytes, (size_t)count * SYNTH_RECORD_BYTES, record_at(first));
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        struct synth_record r;
        enum synth_record_state found =
            synth_record_decode(&m->header, first + i, bytes + (size_t)i * SYNTH_RECORD_BYTES, &r);
        if (found == SYNTH_RECORD_FREE || found == SYNTH_RECORD_TORN) {
            continue; /* torn: its writer died before it could answer with the new name, and the old hold was
                         over */
        }
        struct synth_slot *s = remember(m, first + i);
        if (s == NULL) {
            return -ENOMEM;
        }
        bool good = found == SYNTH_RECORD_GOOD;
        s->name = r.name;
        s->until_s = good ? r.until_s : hold_until(now_s, TTL_MAX_S, m->grace_s);
    }
    return rc;
}

static int by_end_of_hold(const void *a, const void *b)
{
    uint32_t x = (*(struct synth_slot *const *)a)->until_s, y = (*(struct synth_slot *const *)b)->until_s;
    return (x > y) - (x < y);
}

/* Enters what was loaded into the table, the hold that ends first as the oldest. */
static int enter_loaded(struct synth_map *m)
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
        htab_insert(&m->names, &order[i]->node, htab_hash(&m->names, host_name_span(&order[i]->name)));
    }
    free(order);
    return 0;
}

static int load(struct synth_map *m, int64_t now_s)
{
    uint8_t *bytes = malloc((size_t)BATCH * SYNTH_RECORD_BYTES);
    int rc = bytes == NULL ? -ENOMEM : 0;
    for (uint32_t first = 0; rc == 0 && first < m->header.capacity; first += BATCH) {
        uint32_t left = m->header.capacity - first;
        rc = load_batch(m, first, left < BATCH ? left : BATCH, bytes, now_s);
    }
    free(bytes);
    return rc == 0 ? enter_loaded(m) : rc;
}

static int open_writer(struct synth_map *m, const struct synth_map_config *cfg, int64_t now_s,
                       struct err *err)
{
    struct synth_header fresh;
    bool taken_over = false;
    int rc = new_header(cfg, &fresh, err);
    if (rc < 0) {
        return rc;
    }
    for (int i = 0; i == 0 || (rc == -EAGAIN && i < OPEN_ATTEMPTS); i++) {
        rc = take_file(m, &fresh, &taken_over, err);
    }
    if (rc == -EAGAIN) {
        err_set(err, "%s keeps being replaced", m->path);
        rc = -EBUSY;
    }
    if (rc < 0) {
        return rc;
    }
    m->slots = calloc(m->header.capacity, sizeof(struct synth_slot *));
    rc = m->slots == NULL ? -ENOMEM : htab_init(&m->names, 1024);
    if (rc == 0 && taken_over) {
        rc = load(m, now_s);
    }
    if (rc < 0) {
        err_set(err, "%s: %s", m->path, strerror(-rc));
    }
    return rc;
}

int synth_map_open_writer(const struct synth_map_config *cfg, int64_t now_boot_s, struct synth_map **out,
                          struct err *err)
{
    struct err own = {""};
    *out = NULL;
    struct synth_map *m = map_new(cfg->path);
    if (m == NULL) {
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    m->is_writer = true;
    m->grace_s = cfg->grace_s;
    int rc = open_writer(m, cfg, now_boot_s, &own);
    if (rc < 0) {
        err_set(err, "%s", own.text);
        synth_map_close(m);
        return rc;
    }
    *out = m;
    return 0;
}

static bool has_name(const struct htab_node *node, const void *key)
{
    const struct synth_slot *s = HTAB_ENTRY(node, const struct synth_slot, node);
    return host_name_is_equal(&s->name, key);
}

/* The name's own slot if nobody has it, else the next free one. */
static struct synth_slot *claim_free(struct synth_map *m, const struct host_name *name)
{
    uint32_t capacity = m->header.capacity;
    uint32_t first = synth_preferred_slot(name, capacity);
    for (uint32_t i = 0; i < capacity; i++) {
        uint32_t slot = (first + i) % capacity;
        if (m->slots[slot] == NULL) {
            return remember(m, slot);
        }
    }
    return NULL;
}

/* The slot whose name was answered longest ago and whose hold is over, taken out of the table. */
static struct synth_slot *claim_expired(struct synth_map *m, int64_t now_s)
{
    uint32_t earliest = UINT32_MAX;
    if (now_s < m->none_before_s) {
        return NULL;
    }
    for (struct htab_node *node = m->names.oldest; node != NULL; node = node->newer) {
        struct synth_slot *s = HTAB_ENTRY(node, struct synth_slot, node);
        if (!is_held(s->until_s, now_s)) {
            htab_remove(&m->names, node);
            return s;
        }
        earliest = s->until_s < earliest ? s->until_s : earliest;
    }
    /* Holds only get longer: until the first of them ends, searching again is of no use. */
    m->none_before_s = (int64_t)earliest + 1;
    return NULL;
}

/* Odd sequence, then the record with an odd sequence, then the even one: a reader never sees a mixture as
 * good. */
static int write_record(struct synth_map *m, const struct synth_slot *s)
{
    uint8_t bytes[SYNTH_RECORD_BYTES], was[8];
    uint64_t at = record_at(s->slot), sequence = 0;
    int rc = synth_file_read(m->fd, was, sizeof(was), at);
    for (size_t i = 0; i < sizeof(was); i++) {
        sequence = sequence << 8 | was[i];
    }
    const struct synth_record next = {.sequence = (sequence | 1) + 1, .until_s = s->until_s, .name = s->name};
    synth_record_encode(&m->header, s->slot, &next, bytes);
    was[7] |= 1;
    if (rc == 0) {
        rc = synth_file_write(m->fd, was, sizeof(was), at);
    }
    if (rc == 0) {
        rc = synth_file_write(m->fd, bytes + sizeof(was), sizeof(bytes) - sizeof(was), at + sizeof(was));
    }
    if (rc == 0) {
        rc = synth_file_write(m->fd, bytes, sizeof(was), at);
    }
    return rc;
}

static int give(struct synth_map *m, const struct host_name *name, uint32_t until_s, int64_t now_s,
                struct synth_slot **out)
{
    struct synth_slot *s =
        m->given_count < m->header.capacity ? claim_free(m, name) : claim_expired(m, now_s);
    if (s == NULL) {
        return m->given_count < m->header.capacity ? -ENOMEM : -ENOSPC;
    }
    s->name = *name;
    s->until_s = until_s;
    int rc = write_record(m, s);
    if (rc < 0) { /* torn in the file, free in memory */
        m->slots[s->slot] = NULL;
        m->given_count--;
        free(s);
        return rc;
    }
    htab_insert(&m->names, &s->node, htab_hash(&m->names, host_name_span(name)));
    *out = s;
    return 0;
}

static int renew(struct synth_map *m, struct synth_slot *s, uint32_t until_s)
{
    htab_touch(&m->names, &s->node);
    if (until_s <= s->until_s) {
        return 0;
    }
    uint8_t bytes[SYNTH_RECORD_BYTES];
    struct synth_record r;
    int rc = synth_file_read(m->fd, bytes, sizeof(bytes), record_at(s->slot));
    if (rc < 0) {
        return rc;
    }
    s->until_s = until_s;
    if (synth_record_decode(&m->header, s->slot, bytes, &r) != SYNTH_RECORD_GOOD ||
        !host_name_is_equal(&r.name, &s->name)) {
        return write_record(m, s); /* somebody damaged it: what we remember is what was answered */
    }
    r.until_s = until_s;
    synth_record_encode(&m->header, s->slot, &r, bytes);
    return synth_file_write(m->fd, bytes + SYNTH_TIMES_OFFSET, SYNTH_TIMES_BYTES,
                            record_at(s->slot) + SYNTH_TIMES_OFFSET);
}

int synth_map_assign(struct synth_map *m, const struct host_name *name, uint32_t ttl_s, int64_t now_boot_s,
                     struct ip *v4, struct ip *v6)
{
    *v4 = (struct ip){.family = IP_NONE};
    *v6 = (struct ip){.family = IP_NONE};
    if (!CHECK(m->is_writer && name->len > 0)) {
        return -EINVAL;
    }
    uint32_t until_s = hold_until(now_boot_s, ttl_s, m->grace_s);
    (void)pthread_mutex_lock(&m->lock);
    struct htab_node *node = htab_find(&m->names, htab_hash(&m->names, host_name_span(name)), has_name, name);
    struct synth_slot *s = node == NULL ? NULL : HTAB_ENTRY(node, struct synth_slot, node);
    int rc = s == NULL ? give(m, name, until_s, now_boot_s, &s) : renew(m, s, until_s);
    if (rc == 0) {
        *v4 = synth_address(&m->header.pools, IP_V4, s->slot);
        *v6 = synth_address(&m->header.pools, IP_V6, s->slot);
    }
    (void)pthread_mutex_unlock(&m->lock);
    return rc;
}

/* ---- reader ---- */

static int attach(struct synth_map *m, struct err *err)
{
    struct stat st;
    int fd = -1;
    int rc = synth_file_open(m->path, O_RDONLY, &fd, &st, &m->header, err);
    if (rc < 0) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return rc;
    }
    m->fd = fd;
    m->dev = st.st_dev;
    m->ino = st.st_ino;
    return 0;
}

int synth_map_open_reader(const char *path, struct synth_map **out, struct err *err)
{
    *out = NULL;
    struct synth_map *m = map_new(path);
    if (m == NULL) {
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    struct err own = {""};
    int rc = attach(m, &own);
    if (rc < 0 && rc != -ENOENT &&
        rc != -ESTALE) { /* none yet, or none since the boot: dnsd will write one */
        err_set(err, "%s", own.text);
        synth_map_close(m);
        return rc;
    }
    *out = m;
    return 0;
}

static void complain(struct synth_map *m, const char *why, int64_t now_s)
{
    if (m->complained_s == INT64_MIN || now_s - m->complained_s >= COMPLAIN_EVERY_S) {
        log_event(LOG_ERROR, "map_refused", LOG_KV(kv_str("why", why)));
        m->complained_s = now_s;
    }
}

/*
 * Follows the path: a writer may have replaced the file. One stat(2) per lookup, so that no address is ever
 * looked up in a file that no longer counts. A file that was refused is opened again at most once a second.
 */
static bool is_attached(struct synth_map *m, int64_t now_s)
{
    struct stat st;
    struct err err = {""};
    int rc = stat(m->path, &st) < 0 ? -errno : 0;
    bool same = rc == 0 && st.st_dev == m->dev && st.st_ino == m->ino;
    if (m->fd >= 0 && same && (st.st_uid == 0 || st.st_uid == geteuid()) &&
        (st.st_mode & (S_IWGRP | S_IWOTH)) == 0) {
        return true;
    }
    detach(m);
    if (rc == -ENOENT) {
        m->is_refused = false;
        return false;
    }
    if (rc < 0) {
        err_set(&err, "%s: %s", m->path, strerror(-rc));
        complain(m, err.text, now_s);
        return false;
    }
    if (m->is_refused && m->tried_s == now_s) {
        return false;
    }
    rc = attach(m, &err);
    m->is_refused = rc < 0;
    m->tried_s = now_s;
    if (rc < 0 && rc != -ENOENT && rc != -ESTALE) {
        complain(m, err.text, now_s);
    }
    return rc == 0;
}

/* A record caught in the middle of a write is read again; one that stays bad was never handed out. */
static enum synth_record_state read_record(const struct synth_map *m, uint32_t slot, struct synth_record *out)
{
    enum synth_record_state found = SYNTH_RECORD_DAMAGED;
    for (int i = 0; i < READ_ATTEMPTS && found == SYNTH_RECORD_DAMAGED; i++) {
        uint8_t bytes[SYNTH_RECORD_BYTES];
        if (synth_file_read(m->fd, bytes, sizeof(bytes), record_at(slot)) < 0) {
            break;
        }
        found = synth_record_decode(&m->header, slot, bytes, out);
    }
    return found;
}

enum synth_found synth_map_lookup(struct synth_map *m, const struct ip *ip, int64_t now_boot_s,
                                  struct host_name *out)
{
    enum synth_found found = SYNTH_NEVER;
    struct synth_record r;
    uint32_t slot = 0;
    *out = (struct host_name){0};
    (void)pthread_mutex_lock(&m->lock);
    if ((m->is_writer || is_attached(m, now_boot_s)) && synth_slot_of(&m->header, ip, &slot) &&
        read_record(m, slot, &r) == SYNTH_RECORD_GOOD) {
        found = is_held(r.until_s, now_boot_s) ? SYNTH_FOUND : SYNTH_EXPIRED;
        *out = r.name;
    }
    (void)pthread_mutex_unlock(&m->lock);
    return found;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The map as dnsd writes it. */
#include "common/base/buf.h"
#include "common/base/log.h"
#include "common/base/rng.h"
#include "common/run/synth_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define OPEN_ATTEMPTS 200 /* two seconds: at the start there is time, and the other's machine may be busy */
#define LOCK_ATTEMPTS 20  /* a change takes some microseconds: this waits for a few of another dnsd's */
#define OPEN_WAIT_NS 10000000
#define LOCK_WAIT_NS 100000

static void wait_ns(long ns)
{
    const struct timespec t = {.tv_nsec = ns};
    (void)nanosleep(&t, NULL);
}

static int read_changes(const struct synth_map *m, uint64_t *out)
{
    uint8_t b[8];
    int rc = synth_file_read(m->fd, b, sizeof(b), SYNTH_CHANGES_OFFSET);
    *out = 0;
    for (size_t i = 0; i < sizeof(b); i++) {
        *out = *out << 8 | b[i];
    }
    return rc;
}

static int write_number(const struct synth_map *m, uint64_t v, size_t bytes, uint64_t at)
{
    uint8_t b[8];
    for (size_t i = 0; i < bytes; i++) {
        b[i] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
    }
    return synth_file_write(m->fd, b, bytes, at);
}

/*
 * For one change. Another dnsd may have given slots away since the last one: then its changes are read first.
 * Bounded, since a process may be stopped while it holds the lock.
 */
static int lock_file(struct synth_map *m, int64_t now_s)
{
    uint64_t changes = 0;
    int rc = synth_file_lock(m->fd, SYNTH_LOCK_CHANGE, false);
    for (int i = 0; rc == -EBUSY && i < LOCK_ATTEMPTS; i++) {
        wait_ns(LOCK_WAIT_NS);
        rc = synth_file_lock(m->fd, SYNTH_LOCK_CHANGE, false);
    }
    if (rc < 0) {
        return rc;
    }
    rc = read_changes(m, &changes);
    if (rc == 0 && (!m->is_loaded || changes != m->changes)) {
        rc = synth_slots_load(m, now_s);
        m->is_loaded = rc == 0;
        m->changes = changes;
    }
    if (rc < 0) {
        synth_file_unlock(m->fd, SYNTH_LOCK_CHANGE);
    }
    return rc;
}

/* ---- opening ---- */

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

/* The map that is there serves: from now on nobody replaces it. */
static int take_over(struct synth_map *m, int fd)
{
    int rc = synth_file_lock(fd, SYNTH_LOCK_PRESENCE, true);
    if (rc == 0) {
        rc = synth_file_is_named(m->path, fd);
    }
    if (rc == 0) {
        m->fd = fd;
    }
    return rc == -EBUSY ? -EAGAIN : rc; /* it is being replaced */
}

/* The old file stays locked until the new one is in its place, so that no other writer takes it over. */
static int replace(struct synth_map *m, int old, const struct synth_header *fresh, struct err *err)
{
    int rc = synth_file_lock(old, SYNTH_LOCK_PRESENCE, false);
    if (rc == -EBUSY) {
        err_set(err, "%s is in use by another openshell-dnsd, of another --pool or version", m->path);
        return rc;
    }
    if (rc == 0) {
        rc = synth_file_is_named(m->path, old);
    }
    if (rc < 0) {
        return rc;
    }
    log_event(
        LOG_WARN, "map_replaced",
        LOG_KV(kv_str("path", m->path), kv_str("why", err->text[0] != '\0' ? err->text : "other pools")));
    m->header = *fresh;
    err->text[0] = '\0';
    return synth_file_create(m->path, fresh, true, &m->fd, err);
}

/* One attempt to get hold of the file. -EAGAIN: try again. */
static int take_file(struct synth_map *m, const struct synth_header *fresh, struct err *err)
{
    int old = -1;
    struct stat st;
    err->text[0] = '\0';
    int rc = synth_file_open(m->path, O_RDWR, &old, &st, &m->header, err);
    if (old < 0) {
        m->header = *fresh;
        return rc == -ENOENT ? synth_file_create(m->path, fresh, false, &m->fd, err) : rc;
    }
    if (rc == 0 && is_same_pools(&m->header.pools, &fresh->pools)) {
        rc = take_over(m, old);
    } else {
        rc = replace(m, old, fresh, err);
    }
    if (rc < 0 && rc != -EAGAIN && err->text[0] == '\0') {
        err_set(err, "%s: %s", m->path, strerror(-rc));
    }
    if (m->fd != old) {
        (void)close(old);
    }
    return rc;
}

static int open_tables(struct synth_map *m)
{
    m->slots = calloc(m->header.capacity, sizeof(struct synth_slot *));
    int rc = m->slots == NULL ? -ENOMEM : htab_init(&m->names, 1024);
    return rc == 0 ? htab_init(&m->wildcards, 16) : rc;
}

static int open_writer(struct synth_map *m, const struct synth_map_config *cfg, int64_t now_s,
                       struct err *err)
{
    struct synth_header fresh;
    int rc = new_header(cfg, &fresh, err);
    if (rc < 0) {
        return rc;
    }
    rc = take_file(m, &fresh, err);
    for (int i = 0; rc == -EAGAIN && i < OPEN_ATTEMPTS; i++) {
        wait_ns(OPEN_WAIT_NS);
        rc = take_file(m, &fresh, err);
    }
    if (rc == -EAGAIN) {
        err_set(err, "%s keeps being replaced", m->path);
        return -EBUSY;
    }
    if (rc < 0) {
        return rc;
    }
    rc = open_tables(m);
    for (int i = 0; rc == 0 || (rc == -EBUSY && i < OPEN_ATTEMPTS); i++) {
        rc = lock_file(m, now_s);
        if (rc == 0) {
            /* Under the lock: of two that begin at once one makes FILE.use, and both read it. */
            rc = synth_use_open_reader(m->path, &m->header, &m->use, err);
            rc = rc == 0 ? write_number(m, m->grace_s, 4, SYNTH_GRACE_OFFSET) : rc;
            synth_file_unlock(m->fd, SYNTH_LOCK_CHANGE);
            break;
        }
        wait_ns(OPEN_WAIT_NS);
    }
    if (rc < 0 && (err == NULL || err->text[0] == '\0')) { /* else it is told */
        err_set(err, "%s: %s", m->path,
                rc == -EBUSY ? "another openshell-dnsd keeps it locked" : strerror(-rc));
    }
    return rc;
}

int synth_map_open_writer(const struct synth_map_config *cfg, int64_t now_boot_s, struct synth_map **out,
                          struct err *err)
{
    struct err own = {""};
    *out = NULL;
    struct synth_map *m = synth_map_new(cfg->path);
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

/* ---- giving ---- */

static bool is_at_quota(const struct synth_map *m, const struct synth_wildcard *w)
{
    return w != NULL && w->count >= (m->header.capacity + 3) / 4;
}

/* The name's own slot if nobody has it, else the next one that is free. */
static uint32_t find_free(const struct synth_map *m, const struct host_name *name)
{
    uint32_t capacity = m->header.capacity;
    uint32_t first = synth_preferred_slot(name, capacity);
    for (uint32_t i = 0; i < capacity; i++) {
        uint32_t slot = (first + i) % capacity;
        if (m->slots[slot] == NULL) {
            return slot;
        }
    }
    return UINT32_MAX;
}

/*
 * Is its hold over? What the file says counts, since another dnsd may have renewed it and tunneld may have
 * seen it used; what is still held is remembered.
 */
static bool is_over(const struct synth_map *m, struct synth_slot *s, int64_t now_s)
{
    struct synth_record r;
    if (synth_is_held(s->until_s, now_s) || synth_is_held(s->used_until_s, now_s)) {
        return false;
    }
    if (synth_map_read(m, s->slot, &r) == SYNTH_RECORD_GOOD && host_name_is_equal(&r.name, &s->name) &&
        r.until_s > s->until_s) {
        s->until_s = r.until_s;
    }
    s->used_until_s = synth_map_hold(m, s->slot, s->until_s, m->grace_s, now_s);
    return !synth_is_held(s->used_until_s, now_s);
}

/* FILE.use may have been deleted: then tunneld goes by the one that comes next, and so must we, or make it.
 * What cannot be opened is tried again; until then what was read last counts. */
static void follow_use(struct synth_map *m)
{
    struct synth_use next;
    struct err err = {""};
    if (!synth_use_is_current(&m->use) && synth_file_is_named(m->path, m->fd) == 0 &&
        synth_use_open_reader(m->path, &m->header, &next, &err) == 0) {
        synth_use_close(&m->use);
        m->use = next;
    }
}

/*
 * The slot answered longest ago whose hold is over, among those that may go to such a name: to one of a
 * wildcard that holds its quarter only the wildcard's own, to one of another wildcard no exact name's.
 * *none_before_s: no search is of use before; holds only get longer.
 */
static struct synth_slot *find_expired(struct synth_map *m, uint64_t wildcard,
                                       const struct synth_wildcard *full, int64_t *none_before_s,
                                       int64_t now_s)
{
    uint32_t earliest = UINT32_MAX;
    if (now_s < *none_before_s) {
        return NULL;
    }
    follow_use(m);
    for (struct htab_node *node = m->names.oldest; node != NULL; node = node->newer) {
        struct synth_slot *s = HTAB_ENTRY(node, struct synth_slot, node);
        if (full != NULL ? s->wildcard != wildcard : wildcard != 0 && s->wildcard == 0) {
            continue;
        }
        if (is_over(m, s, now_s)) {
            return s;
        }
        const uint32_t until_s = s->used_until_s > s->until_s ? s->used_until_s : s->until_s;
        earliest = until_s < earliest ? until_s : earliest;
    }
    *none_before_s = (int64_t)earliest + 1;
    return NULL;
}

/* Odd sequence, then the record with an odd sequence, then the even one: a reader never sees a mixture as
 * good. */
static int write_record(struct synth_map *m, const struct synth_slot *s)
{
    uint8_t bytes[SYNTH_RECORD_BYTES], was[8];
    uint64_t at = synth_record_at(s->slot), sequence = 0;
    int rc = synth_file_read(m->fd, was, sizeof(was), at);
    for (size_t i = 0; i < sizeof(was); i++) {
        sequence = sequence << 8 | was[i];
    }
    const struct synth_record next = {
        .sequence = (sequence | 1) + 1, .until_s = s->until_s, .wildcard = s->wildcard, .name = s->name};
    synth_record_encode(&m->header, s->slot, &next, bytes);
    was[7] |= 1;
    if (rc == 0) { /* first of all: whoever comes next must know that its memory is old */
        m->changes++;
        rc = write_number(m, m->changes, 8, SYNTH_CHANGES_OFFSET);
    }
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

/* Which slot a new name gets. 0, -ENOSPC or -EDQUOT. */
static int claim(struct synth_map *m, const struct host_name *name, uint64_t wildcard, int64_t now_s,
                 uint32_t *slot)
{
    struct synth_wildcard *w = wildcard == 0 ? NULL : synth_slots_wildcard(m, wildcard);
    struct synth_wildcard *full = is_at_quota(m, w) ? w : NULL;
    if (full == NULL && m->given_count < m->header.capacity) {
        *slot = find_free(m, name);
        return CHECK(*slot != UINT32_MAX) ? 0 : -ENOSPC;
    }
    int64_t *none_before_s = full != NULL    ? &full->none_before_s
                             : wildcard != 0 ? &m->none_wild_before_s
                                             : &m->none_before_s;
    struct synth_slot *s = find_expired(m, wildcard, full, none_before_s, now_s);
    if (s == NULL) {
        return full != NULL ? -EDQUOT : -ENOSPC;
    }
    *slot = s->slot;
    synth_slots_leave(m, s); /* full may be gone with it */
    return 0;
}

static int give(struct synth_map *m, const struct synth_record *r, int64_t now_s, struct synth_slot **out)
{
    uint32_t slot = 0;
    int rc = claim(m, &r->name, r->wildcard, now_s, &slot);
    if (rc < 0) {
        return rc;
    }
    struct synth_slot *s = synth_slots_enter(m, slot, r);
    if (s == NULL) {
        return -ENOMEM;
    }
    rc = write_record(m, s);
    if (rc < 0) { /* torn in the file, free in memory */
        synth_slots_leave(m, s);
        return rc;
    }
    *out = s;
    return 0;
}

/* Another pattern admits the name. It is held, so that at no moment may its record look like a free one: all
 * that changes is written at once, and lies within 32 aligned bytes. */
static int write_wildcard(struct synth_map *m, const struct synth_slot *s, const struct synth_record *next)
{
    uint8_t bytes[SYNTH_RECORD_BYTES];
    synth_record_encode(&m->header, s->slot, next, bytes);
    m->changes++;
    int rc = write_number(m, m->changes, 8, SYNTH_CHANGES_OFFSET);
    return rc < 0 ? rc
                  : synth_file_write(m->fd, bytes + SYNTH_TIMES_OFFSET, SYNTH_HEAD_BYTES - SYNTH_TIMES_OFFSET,
                                     synth_record_at(s->slot) + SYNTH_TIMES_OFFSET);
}

/* Its record is damaged: what we remember is what was answered. It stays damaged until it is whole, since a
 * torn one counts as free. */
static int repair(struct synth_map *m, const struct synth_slot *s, struct synth_record *next)
{
    uint8_t bytes[SYNTH_RECORD_BYTES];
    const uint64_t at = synth_record_at(s->slot);
    next->sequence = (next->sequence | 1) + 1;
    next->name = s->name;
    synth_record_encode(&m->header, s->slot, next, bytes);
    m->changes++;
    int rc = write_number(m, m->changes, 8, SYNTH_CHANGES_OFFSET);
    if (rc == 0) {
        rc = synth_file_write(m->fd, bytes + SYNTH_TIMES_OFFSET, sizeof(bytes) - SYNTH_TIMES_OFFSET,
                              at + SYNTH_TIMES_OFFSET);
    }
    return rc == 0 ? synth_file_write(m->fd, bytes, SYNTH_TIMES_OFFSET, at) : rc;
}

/* What is remembered is what has been written: else the next answer would promise a hold that no file has. */
static int renew(struct synth_map *m, struct synth_slot *s, const struct synth_record *want)
{
    uint8_t bytes[SYNTH_RECORD_BYTES];
    struct synth_record r;
    int rc = synth_file_read(m->fd, bytes, sizeof(bytes), synth_record_at(s->slot));
    if (rc < 0) {
        return rc;
    }
    const bool is_good = synth_record_decode(&m->header, s->slot, bytes, &r) == SYNTH_RECORD_GOOD &&
                         host_name_is_equal(&r.name, &s->name);
    const bool is_moved = !is_good || r.wildcard != want->wildcard;
    const uint32_t was_s = is_good && r.until_s > s->until_s ? r.until_s : s->until_s;
    if (is_good && !is_moved && r.until_s >= want->until_s) { /* another dnsd was more generous */
        s->until_s = r.until_s;
        return 0;
    }
    r.until_s = want->until_s > was_s ? want->until_s : was_s;
    r.wildcard = want->wildcard;
    if (s->wildcard != want->wildcard) {
        rc = synth_slots_move(m, s, want->wildcard);
    }
    if (rc == 0 && !is_good) {
        rc = repair(m, s, &r);
    } else if (rc == 0 && is_moved) {
        rc = write_wildcard(m, s, &r);
    } else if (rc == 0) {
        synth_record_encode(&m->header, s->slot, &r, bytes);
        rc = synth_file_write(m->fd, bytes + SYNTH_TIMES_OFFSET, SYNTH_TIMES_BYTES,
                              synth_record_at(s->slot) + SYNTH_TIMES_OFFSET);
    }
    s->until_s = rc == 0 ? r.until_s : s->until_s;
    return rc;
}

/* Under the mutex. */
static int assign(struct synth_map *m, const struct synth_record *want, int64_t now_s,
                  struct synth_slot **out)
{
    struct synth_slot *s = synth_slots_find(m, &want->name);
    if (s != NULL && want->until_s <= s->until_s && want->wildcard == s->wildcard) {
        htab_touch(&m->names, &s->node); /* nothing to write: until then nobody takes it from the name */
        *out = s;
        return 0;
    }
    int rc = lock_file(m, now_s);
    if (rc < 0) {
        return rc;
    }
    s = synth_slots_find(m, &want->name); /* it may be another one now */
    rc = s == NULL ? give(m, want, now_s, &s) : renew(m, s, want);
    if (rc == 0) {
        htab_touch(&m->names, &s->node);
        *out = s;
    }
    synth_file_unlock(m->fd, SYNTH_LOCK_CHANGE);
    return rc;
}

int synth_map_assign(struct synth_map *m, const struct synth_request *r, struct ip *v4, struct ip *v6)
{
    *v4 = (struct ip){.family = IP_NONE};
    *v6 = (struct ip){.family = IP_NONE};
    if (!CHECK(m->is_writer && r->name->len > 0)) {
        return -EINVAL;
    }
    struct synth_slot *s = NULL;
    const struct synth_record want = {.until_s = synth_hold_until(r->now_boot_s, r->ttl_s, m->grace_s),
                                      .wildcard = r->wildcard == NULL ? 0 : synth_wildcard_of(r->wildcard),
                                      .name = *r->name};
    (void)pthread_mutex_lock(&m->lock);
    int rc = assign(m, &want, r->now_boot_s, &s);
    if (rc == 0) {
        *v4 = synth_address(&m->header.pools, IP_V4, s->slot);
        *v6 = synth_address(&m->header.pools, IP_V6, s->slot);
    }
    (void)pthread_mutex_unlock(&m->lock);
    return rc;
}

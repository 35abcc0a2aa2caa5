/* SPDX-License-Identifier: Apache-2.0 */
/* The map as tunneld reads it. */
#include "common/base/log.h"
#include "common/run/synth_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define COMPLAIN_EVERY_S 60
#define GRACE_MAX_S (720u * 3600u) /* of --map-grace */

void synth_reader_detach(struct synth_map *m)
{
    for (uint32_t i = 0; m->seen != NULL && i < m->header.capacity; i++) {
        free(m->seen[i]);
    }
    free(m->seen);
    m->seen = NULL;
    synth_use_close(&m->use);
    if (m->fd >= 0) {
        (void)close(m->fd);
        m->fd = -1;
    }
}

/* Without it connections are carried all the same, only a hold is not lengthened by them: said once. */
static void attach_use(struct synth_map *m, uid_t owner, int64_t now_s)
{
    struct err err = {""};
    m->use_tried_s = now_s;
    if (synth_use_open_writer(m->path, &m->header, owner, &m->use, &err) == 0) {
        m->is_use_refused = false;
    } else if (!m->is_use_refused) {
        m->is_use_refused = true;
        log_event(LOG_WARN, "map_use_refused", LOG_KV(kv_str("why", err.text)));
    }
}

/* A writer that starts replaces what it cannot use; one that runs does not look. */
static const char *remedy(int error)
{
    switch (error) {
    case EPROTO:
        return "restart both openshell-dnsd and openshell-tunneld";
    case EBADMSG:
        return "restart openshell-dnsd";
    default:
        return "";
    }
}

static int attach(struct synth_map *m, int64_t now_s, struct err *err)
{
    struct stat st;
    int fd = -1;
    int rc = synth_file_open(m->path, O_RDONLY, &fd, &st, &m->header, err);
    if (rc == 0) {
        m->seen = calloc(m->header.capacity, sizeof(struct synth_seen *));
        rc = m->seen == NULL ? -ENOMEM : 0;
    }
    if (rc < 0) {
        err_add_hint(err, remedy(-rc));
        if (fd >= 0) {
            (void)close(fd);
        }
        return rc;
    }
    m->fd = fd;
    m->dev = st.st_dev;
    m->ino = st.st_ino;
    attach_use(m, st.st_uid, now_s);
    return 0;
}

int synth_map_open_reader(const char *path, struct synth_map **out, struct err *err)
{
    *out = NULL;
    struct synth_map *m = synth_map_new(path);
    if (m == NULL) {
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    struct err own = {""};
    int rc = attach(m, INT64_MIN, &own);
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

static bool is_same_file(const struct synth_map *m, const struct stat *st)
{
    return m->fd >= 0 && st->st_dev == m->dev && st->st_ino == m->ino &&
           (st->st_uid == 0 || st->st_uid == geteuid()) && (st->st_mode & (S_IWGRP | S_IWOTH)) == 0 &&
           synth_use_is_current(&m->use);
}

/*
 * Follows the path: a writer may have replaced the file. A file that was refused is opened again at most once
 * a second.
 */
static bool is_attached(struct synth_map *m, int64_t now_s)
{
    struct stat st;
    struct err err = {""};
    int rc = stat(m->path, &st) < 0 ? -errno : 0;
    if (rc == 0 && is_same_file(m, &st)) {
        m->checked_s = now_s;
        if (m->use.fd < 0 && (m->use_tried_s == INT64_MIN || now_s - m->use_tried_s >= COMPLAIN_EVERY_S)) {
            attach_use(m, st.st_uid, now_s);
        }
        return true;
    }
    synth_reader_detach(m);
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
    rc = attach(m, now_s, &err);
    m->is_refused = rc < 0;
    m->tried_s = now_s;
    m->checked_s = now_s;
    if (rc < 0 && rc != -ENOENT && rc != -ESTALE) {
        complain(m, err.text, now_s);
    }
    return rc == 0;
}

/* Remembers what a record says; out of memory only means that it is read again. */
static void remember(struct synth_map *m, uint32_t slot, const struct synth_record *r)
{
    struct synth_seen *seen = realloc(m->seen[slot], sizeof(*seen) + r->name.len);
    if (seen == NULL) {
        return; /* what was there is a name that is no longer held */
    }
    *seen =
        (struct synth_seen){.until_s = r->until_s, .len = r->name.len, .label_count = r->name.label_count};
    memcpy(seen->text, r->name.text, r->name.len);
    m->seen[slot] = seen;
}

/* The grace of the dnsd that writes the map; no option allows more than GRACE_MAX_S. */
static uint32_t read_grace(const struct synth_map *m)
{
    uint8_t b[4];
    if (synth_file_read(m->fd, b, sizeof(b), SYNTH_GRACE_OFFSET) < 0) {
        return 0;
    }
    const uint32_t grace_s =
        (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | (uint32_t)b[3];
    return grace_s > GRACE_MAX_S ? 0 : grace_s;
}

static struct synth_seen *find_seen(const struct synth_map *m, const struct ip *ip, int64_t now_s)
{
    uint32_t slot = 0;
    if (m->fd < 0 || m->checked_s != now_s || !synth_slot_of(&m->header, ip, &slot)) {
        return NULL;
    }
    struct synth_seen *seen = m->seen[slot];
    return seen != NULL && synth_is_held(seen->until_s, now_s) ? seen : NULL;
}

enum synth_found synth_reader_lookup(struct synth_map *m, const struct ip *ip, int64_t now_s,
                                     struct host_name *out)
{
    struct synth_record r;
    uint32_t slot = 0;
    const struct synth_seen *seen = find_seen(m, ip, now_s);
    if (seen == NULL && is_attached(m, now_s)) {
        seen = find_seen(m, ip, now_s);
    }
    if (seen != NULL) {
        out->len = seen->len;
        out->label_count = seen->label_count;
        memcpy(out->text, seen->text, seen->len);
        return SYNTH_FOUND;
    }
    if (m->fd < 0 || !synth_slot_of(&m->header, ip, &slot)) {
        return SYNTH_NEVER;
    }
    const enum synth_record_state state = synth_map_read(m, slot, &r);
    if (state == SYNTH_RECORD_DAMAGED) {
        complain(m,
                 "a record is damaged: its name has an address again with the next answer of openshell-dnsd",
                 now_s);
    }
    if (state != SYNTH_RECORD_GOOD) {
        return SYNTH_NEVER;
    }
    *out = r.name;
    remember(m, slot, &r);
    /* What is only held by its use is read each time: a dnsd with less grace may give it away sooner. */
    if (!synth_is_held(r.until_s, now_s)) {
        r.until_s = synth_map_hold(m, slot, r.until_s, read_grace(m), now_s);
    }
    return synth_is_held(r.until_s, now_s) ? SYNTH_FOUND : SYNTH_EXPIRED;
}

void synth_map_use(struct synth_map *m, const struct ip *ip, int64_t now_boot_s)
{
    uint32_t slot = 0;
    (void)pthread_mutex_lock(&m->lock);
    if (!m->is_writer && m->fd >= 0 && m->use.fd >= 0 && synth_slot_of(&m->header, ip, &slot) &&
        (m->seen[slot] == NULL || m->seen[slot]->used_s < now_boot_s)) {
        int rc = synth_use_write(&m->use, slot, now_boot_s);
        if (rc < 0) {
            m->is_use_refused = true;
            log_event(LOG_WARN, "map_use_refused", LOG_KV(kv_str("why", strerror(-rc))));
            synth_use_close(&m->use);
        } else if (m->seen[slot] != NULL) {
            m->seen[slot]->used_s = (uint32_t)now_boot_s;
        }
    }
    (void)pthread_mutex_unlock(&m->lock);
}

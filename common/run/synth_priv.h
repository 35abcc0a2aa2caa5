/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a map of synthetic addresses, for synth_map.c (both sides), synth_writer.c and
 * synth_slots.c (dnsd), and synth_reader.c (tunneld). Everything but path is behind lock.
 */
#pragma once

#include "common/base/htab.h"
#include "common/run/synth_file.h"
#include "common/run/synth_use.h"

#include <pthread.h>

#define SYNTH_TTL_MAX_S 3600u /* --synthetic-ttl is at most this */

/* A slot that was given to a name: the writer's memory of its record. Name of length 0: its record is
 * damaged. */
struct synth_slot {
    struct htab_node node; /* the order of use is that of the last answer */
    uint32_t slot;
    uint32_t until_s;      /* as in the record: whatever the grace of another dnsd, it keeps to it */
    uint32_t used_until_s; /* longer by use, as this dnsd's grace has it */
    uint64_t wildcard;     /* as in the record */
    struct host_name name;
};

/* What the names of one wildcard hold. */
struct synth_wildcard {
    struct htab_node node;
    uint64_t wildcard;
    uint32_t count;
    int64_t none_before_s; /* none of them can be reclaimed before */
};

/* What a reader has seen: a record that is held cannot be given to another name, so it need not be read
 * again. */
struct synth_seen {
    uint32_t until_s;
    uint32_t used_s; /* last written to FILE.use; 0 = never */
    uint8_t len, label_count;
    char text[]; /* the name, exactly as long as it is */
};

struct synth_map {
    pthread_mutex_t lock;
    char *path;
    int fd; /* -1: a reader without a usable file */
    struct synth_header header;
    bool is_writer;
    struct synth_use use;
    /* writer */
    uint32_t grace_s;
    bool is_loaded;   /* the file has been read, up to changes */
    uint64_t changes; /* of the file, up to which this memory is right */
    struct htab names, wildcards;
    struct synth_slot **slots; /* by slot; NULL = never given out */
    uint32_t given_count;
    int64_t none_before_s, none_wild_before_s; /* nothing at all, no wildcard's, can be reclaimed before */
    /* reader */
    dev_t dev;
    ino_t ino;
    struct synth_seen **seen; /* by slot */
    int64_t checked_s;        /* when the path last led to this file */
    bool is_refused;          /* what is there now was refused, at tried_s */
    int64_t tried_s, complained_s;
    bool is_use_refused; /* FILE.use, at use_tried_s */
    int64_t use_tried_s;
};

static inline uint32_t synth_add_s(uint64_t a, uint64_t b)
{
    return a + b > UINT32_MAX ? UINT32_MAX : (uint32_t)(a + b);
}

static inline uint64_t synth_record_at(uint32_t slot)
{
    return SYNTH_HEADER_BYTES + (uint64_t)slot * SYNTH_RECORD_BYTES;
}

static inline bool synth_is_held(uint32_t until_s, int64_t now_s)
{
    return now_s <= (int64_t)until_s;
}

static inline uint32_t synth_hold_until(int64_t now_s, uint64_t ttl_s, uint32_t grace_s)
{
    const uint64_t from_s = now_s < 0 ? 0 : (uint64_t)now_s > UINT32_MAX ? UINT32_MAX : (uint64_t)now_s;
    return synth_add_s(from_s, ttl_s + grace_s);
}

struct synth_map *synth_map_new(const char *path); /* NULL: out of memory */
/* Reads the record of a slot; one caught in the middle of a write is read again. */
enum synth_record_state synth_map_read(const struct synth_map *m, uint32_t slot, struct synth_record *out);

/* The end of the hold of a slot whose record says until_s, its use considered. grace_s: the writer's. */
uint32_t synth_map_hold(const struct synth_map *m, uint32_t slot, uint32_t until_s, uint32_t grace_s,
                        int64_t now_s);

/* synth_slots.c: the writer's memory; the file is as it is */
/* From what the file says. 0 or -errno. */
MUST_CHECK int synth_slots_load(struct synth_map *m, int64_t now_s);
void synth_slots_forget(struct synth_map *m); /* all of them */
/* A slot that nobody has; it is the newest. NULL: out of memory. */
struct synth_slot *synth_slots_enter(struct synth_map *m, uint32_t slot, const struct synth_record *r);
void synth_slots_leave(struct synth_map *m, struct synth_slot *s); /* frees s */
struct synth_slot *synth_slots_find(const struct synth_map *m, const struct host_name *name);
/* Another pattern admits its name now. 0 or -ENOMEM. */
MUST_CHECK int synth_slots_move(struct synth_map *m, struct synth_slot *s, uint64_t wildcard);
/* NULL if it has no slot. */
struct synth_wildcard *synth_slots_wildcard(const struct synth_map *m, uint64_t wildcard);

/* synth_reader.c; both under the lock */
enum synth_found synth_reader_lookup(struct synth_map *m, const struct ip *ip, int64_t now_s,
                                     struct host_name *out);
void synth_reader_detach(struct synth_map *m);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map address -> name that dnsd writes and tunneld reads: one file of fixed size, fully allocated at
 * creation, never truncated, replaced only by rename. A versioned header (magic, version, record size,
 * capacity, pools, boot id) and one record per slot; slot i is pool address base + 1 + i of each family (the
 * first and the last address of a pool are never used). Each record has a sequence (odd while being written)
 * and a checksum; a torn, wrong or non-canonical record counts as never handed out. Times are CLOCK_BOOTTIME
 * seconds; another boot id: start anew.
 *
 * A name keeps its address. Hold = last answer + TTL + grace, or last use + grace + SYNTH_USE_EVERY_S,
 * whichever is later; after it the slot that was answered longest ago may be given to another name. A name
 * admitted exactly never loses its slot to one that a wildcard admits, and one wildcard has at most a quarter
 * of the slots.
 *
 * Writers: dnsd, its threads behind one mutex; two of them may overlap at a restart, each change is made
 * under an OFD lock. Readers: any number, without that lock; one reader may serve any thread. The file's
 * owner must be the reader's or root's, its mode must not let others write. Use is told through FILE.use
 * (synth_use.h).
 */
#pragma once

#include "common/base/host_name.h"
#include "common/run/guard.h"

#define SYNTH_MAP_CAPACITY 65536

struct synth_map;

struct synth_map_config {
    const char *path;
    struct synth_pools pools;
    uint32_t grace_s;
};
/*
 * Opens for writing, creating or taking over what a former dnsd left; a map of other pools, another boot or
 * another version, and a damaged one, is replaced and that is logged. 0 or -errno with *err (-EBUSY: another
 * dnsd works with what would have to be replaced; -EPERM: owner or mode; -EINVAL: a file that is no map).
 */
MUST_CHECK int synth_map_open_writer(const struct synth_map_config *cfg, int64_t now_boot_s,
                                     struct synth_map **out, struct err *err);

struct synth_request {
    const struct host_name *name;
    const struct host_name *wildcard; /* the pattern through which alone it is admitted; NULL = exactly */
    uint32_t ttl_s;
    int64_t now_boot_s;
};
/*
 * The addresses of a name, given out or renewed. *v6 is IP_NONE without an IPv6 pool, and likewise *v4. 0;
 * -ENOSPC: every slot is held; -EDQUOT: the wildcard holds its quarter; -EBUSY: another dnsd keeps the file
 * locked; other -errno. Any thread.
 */
MUST_CHECK int synth_map_assign(struct synth_map *m, const struct synth_request *r, struct ip *v4,
                                struct ip *v6);

/*
 * Opens for reading. A missing file, or one from before the last boot, is no error: lookups follow the path,
 * so a map that appears is found at once, and one that replaces another within a second. One of another
 * version, damaged, or not to be trusted is refused: -errno with *err at the start, logged later (and opened
 * again at most once a second). What was read of a name is remembered as long as it is held.
 */
MUST_CHECK int synth_map_open_reader(const char *path, struct synth_map **out, struct err *err);

enum synth_found { SYNTH_NEVER = 0, SYNTH_EXPIRED, SYNTH_FOUND };
/* *out is the name for FOUND and EXPIRED. Any thread. */
enum synth_found synth_map_lookup(struct synth_map *m, const struct ip *ip, int64_t now_boot_s,
                                  struct host_name *out);
/*
 * A reader's: a connection to the address exists now. Not later than SYNTH_USE_EVERY_S after the last time as
 * long as it exists, and when it ends. Any thread; what cannot be written is logged once.
 */
#define SYNTH_USE_EVERY_S 300
void synth_map_use(struct synth_map *m, const struct ip *ip, int64_t now_boot_s);
void synth_map_close(struct synth_map *m);

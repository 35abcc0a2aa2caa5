/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FILE.use beside the map: for each slot the CLOCK_BOOTTIME second in which a connection to its address was
 * last seen. dnsd creates it, tunneld writes it, dnsd reads it before a slot is given to another name. It can
 * only lengthen a hold, so little trust is needed: a second that is yet to come counts as none.
 *
 * File: magic[8] version[4] capacity[4] tag[8] zeros[40], then 4 bytes a slot; network order. tag ties it to
 * its map. Mode 0660: tunneld may be another user of the group.
 */
#pragma once

#include "common/run/synth_layout.h"

#include <sys/types.h>

#define SYNTH_USE_HEADER_BYTES 64u

struct synth_use {
    int fd; /* -1: none */
};

#define SYNTH_USE_NONE ((struct synth_use){.fd = -1})

/* dnsd: opens the file that belongs to the map, or makes a new one. 0 or -errno with *err. */
MUST_CHECK int synth_use_open_reader(const char *map_path, const struct synth_header *map,
                                     struct synth_use *out, struct err *err);
/* tunneld: opens it for writing; map_owner made the map. 0 or -errno with *err (-ENOENT: there is none). */
MUST_CHECK int synth_use_open_writer(const char *map_path, const struct synth_header *map, uid_t map_owner,
                                     struct synth_use *out, struct err *err);
/* Does the path still lead to what is open? True where nothing is open. */
bool synth_use_is_current(const struct synth_use *u);
/* When the slot's address was last used, at most now_s; 0 = not known. */
uint32_t synth_use_read(const struct synth_use *u, uint32_t slot, int64_t now_s);
MUST_CHECK int synth_use_write(const struct synth_use *u, uint32_t slot, int64_t now_s); /* 0 or -errno */
void synth_use_close(struct synth_use *u);

/* SPDX-License-Identifier: Apache-2.0 */
/* The map's file on disk: who may be trusted with it, its lock, its creation. Private to synth_map.c. */
#pragma once

#include "common/run/synth_layout.h"

#include <sys/stat.h>

/* The boot that CLOCK_BOOTTIME counts in. 0 or -errno. */
MUST_CHECK int synth_file_boot_id(uint8_t out[16], struct err *err);

/*
 * Opens an existing map. 0 with *fd, *st and *header; -ENOENT (nothing there; *err is not set); -EINVAL (no
 * map); -EPERM (owner or mode); other -errno. -ESTALE (of another boot), -EPROTO (of another version) and
 * -EBADMSG (damaged) leave *fd open, so that a writer can lock what it replaces.
 */
MUST_CHECK int synth_file_open(const char *path, int flags, int *fd, struct stat *st,
                               struct synth_header *header, struct err *err);

/* The OFD lock of the whole file, and that path still names it. 0, -EBUSY, -EAGAIN (replaced meanwhile) or
 * -errno. */
MUST_CHECK int synth_file_lock(const char *path, int fd);

/* Makes an empty map under a temporary name and renames it to path; *fd holds the lock. 0 or -errno with
 * *err. */
MUST_CHECK int synth_file_create(const char *path, const struct synth_header *header, int *fd,
                                 struct err *err);

/* Exactly len bytes. 0 or -errno (-EIO if the file is too short). */
MUST_CHECK int synth_file_read(int fd, void *out, size_t len, uint64_t at);
MUST_CHECK int synth_file_write(int fd, const void *data, size_t len, uint64_t at);

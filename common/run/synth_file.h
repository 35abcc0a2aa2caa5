/* SPDX-License-Identifier: Apache-2.0 */
/* The map's file on disk: who may be trusted with it, its lock, its creation. Private to synth_*.c. */
#pragma once

#include "common/run/synth_layout.h"

#include <sys/stat.h>

/* The boot that CLOCK_BOOTTIME counts in. 0 or -errno. */
MUST_CHECK int synth_file_boot_id(uint8_t out[16], struct err *err);

/*
 * Opens an existing map. 0 with *fd, *st and *header; -ENOENT (nothing there; *err is not set); -EINVAL (no
 * map); -EPERM (owner or mode); other -errno. -ESTALE (of another boot), -EPROTO (of another version) and
 * -EBADMSG (damaged) leave *fd open, so that a writer can lock what it replaces; *err says what is wrong, not
 * what to do about it.
 */
MUST_CHECK int synth_file_open(const char *path, int flags, int *fd, struct stat *st,
                               struct synth_header *header, struct err *err);

/*
 * OFD locks, each of a byte of its own. SYNTH_LOCK_CHANGE: exclusive for the time of a change.
 * SYNTH_LOCK_PRESENCE: shared as long as a writer works with the file, exclusive to replace it. They end with
 * the descriptor. 0, -EBUSY or -errno.
 */
enum synth_lock { SYNTH_LOCK_CHANGE = 0, SYNTH_LOCK_PRESENCE };
MUST_CHECK int synth_file_lock(int fd, enum synth_lock which, bool is_shared);
void synth_file_unlock(int fd, enum synth_lock which);
/* 0 if path names what fd is, -EAGAIN if it was replaced meanwhile, else -errno. */
MUST_CHECK int synth_file_is_named(const char *path, int fd);

/*
 * Makes an empty map under a temporary name and puts it at path; in the place of what is there only if
 * is_replacing. *fd holds the presence, shared. 0, -EAGAIN (another writer was quicker) or -errno with *err.
 */
MUST_CHECK int synth_file_create(const char *path, const struct synth_header *header, bool is_replacing,
                                 int *fd, struct err *err);

/* Exactly len bytes. 0 or -errno (-EIO if the file is too short). */
MUST_CHECK int synth_file_read(int fd, void *out, size_t len, uint64_t at);
MUST_CHECK int synth_file_write(int fd, const void *data, size_t len, uint64_t at);

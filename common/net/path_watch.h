/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells when what a set of paths leads to may have changed: edited in place, replaced by rename, swapped by
 * way of a symbolic link anywhere on the way (Kubernetes' ..data), gone, or back. A path may be a file or a
 * directory. Owned and used by the thread of its loop.
 *
 * It is told once things are quiet: quiet_ms after the last change, or limit_ms after the first one if
 * changes go on or a file that was written to is not closed yet.
 *
 * Not seen: a file system mounted over a component, and what other hosts do to a network file system
 * (inotify(7)).
 */
#pragma once

#include "common/base/err.h"
#include "common/net/path_interest.h"

#include <ev.h>

struct path_watch;

struct path_watch_config {
    struct ev_loop *loop;
    const char *const *paths; /* borrowed for the watch's life */
    size_t path_count;
    path_wants_fn *wants; /* which names count where a path is a directory; NULL: all */
    int64_t quiet_ms, limit_ms;
    void (*on_change)(void *ctx);
    /* Something is not watched (ENOSPC: fs.inotify.max_user_watches; EACCES, ENOMEM): told when it begins. */
    void (*on_failure)(void *ctx, const char *directory, int error);
    void *ctx;
};

/* Nothing is watched before path_watch_arm. 0, or -errno: -EMFILE is fs.inotify.max_user_instances too. */
MUST_CHECK int path_watch_new(const struct path_watch_config *cfg, struct path_watch **out);
void path_watch_free(struct path_watch *w); /* NULL-safe */
/* Looks where the paths lead now and watches that, no more. What changed before is not told. */
void path_watch_arm(struct path_watch *w);
/*
 * Around reading the paths, asked by on_change or not. What changed before path_watch_begin is not told any
 * more. path_watch_end is false if something changed while they were read: what was read may be half of one
 * version and half of another. on_change comes again then, soon if limit_ms is over.
 */
void path_watch_begin(struct path_watch *w);
MUST_CHECK bool path_watch_end(struct path_watch *w);

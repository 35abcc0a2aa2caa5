/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows resolv.conf while a daemon serves: a new list of nameservers is told, anything else is not. A file
 * that is gone, cannot be read, names nobody, or nobody who may be asked, changes nothing: the last good list
 * stays, and why is said once. Owned and used by the thread of its loop.
 *
 * Changes are seen by path_watch, and once more every 30 s by looking: a container has the file mounted from
 * elsewhere, where inotify does not see what happens to it.
 */
#pragma once

#include "common/run/upstreams.h"

#include <ev.h>

#define RESOLV_WATCH_QUIET_MS 200  /* after the last change of the file */
#define RESOLV_WATCH_LIMIT_MS 2000 /* after the first change, if they never stop */
#define RESOLV_WATCH_LOOK_S 30.0

struct resolv_watch;

struct resolv_watch_config {
    struct ev_loop *loop;
    const char *path;            /* borrowed for the watch's life */
    struct upstream_list in_use; /* what the file said when the daemon started */
    int64_t quiet_ms;            /* RESOLV_WATCH_QUIET_MS, but in tests */
    upstream_check_fn *check;    /* of the daemon's own addresses; NULL: it has none that answer DNS */
    void *check_ctx;
    void (*on_change)(void *ctx, const struct upstream_list *list); /* list is borrowed for the call */
    void *ctx;
};

/* Opens what the watch needs, before privileges are dropped; cfg is copied. 0 or -ENOMEM. */
MUST_CHECK int resolv_watch_new(const struct resolv_watch_config *cfg, struct resolv_watch **out);
/* Begins to watch, and looks: the file may have changed since it was read. May call on_change. */
void resolv_watch_start(struct resolv_watch *w);
/* Looks now. May call on_change. */
void resolv_watch_look(struct resolv_watch *w);
void resolv_watch_free(struct resolv_watch *w); /* NULL-safe */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replacing the policy of a daemon that serves: on SIGHUP at once, and by itself when the files have changed
 * and are quiet again. All or nothing: whatever is wrong with the new one, the last good one stays. Fills
 * daemon_loop.health. Private to daemon.c and daemon_loop.c; main thread.
 */
#pragma once

#include "common/run/daemon_loop.h"

#define RELOAD_QUIET_MS 200  /* after the last change of the files */
#define RELOAD_LIMIT_MS 2000 /* after the first one, if they never are quiet */
/* Where descriptors or memory were short, or a disk failed: the files are good, and nobody touches them. */
#define RELOAD_RETRY_S 1.0 /* doubled each time */
#define RELOAD_RETRY_MAX_S 30.0

/* Opens what the watch needs, before privileges are dropped. Without it only SIGHUP reloads: logged. */
void daemon_reload_init(struct daemon_loop *l);
/* Begins to watch, as the user that we are then. Before the policy is read for the last time by the start. */
void daemon_reload_watch(struct daemon_loop *l);
/* The policy that the workers start with; takes a reference. */
void daemon_reload_start(struct daemon_loop *l, struct policy *policy);
/* SIGHUP: reads now, and says what came of it whether it is news or not. */
void daemon_reload_asked(struct daemon_loop *l);
/* Every worker has what is published: logs what changed if that was not said yet, and does what had to wait.
 */
void daemon_reload_taken(struct daemon_loop *l);
void daemon_reload_fini(struct daemon_loop *l); /* before the loop is destroyed */

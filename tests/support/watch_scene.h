/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of real files, a path_watch of one path in it, and its loop. For tests only. */
#pragma once

#include "common/net/path_watch.h"
#include "tests/support/scratch_dir.h"

#define WATCH_QUIET_MS 10
#define WATCH_LIMIT_MS 5000 /* never reached but where a case sets less */
#define WATCH_PATIENCE_MS 10000

struct watch_scene {
    struct scratch_dir dir;
    struct ev_loop *loop;
    struct path_watch *watch;
    char path[SCRATCH_PATH_CAP];
    const char *paths[1];
    int64_t limit_ms;
    unsigned changes, failures;
    int error;
    bool during_read_once, ended; /* a change while on_change reads, and what path_watch_end said */
};

/* Of each case: a fresh directory that holds policy.yaml with the text "0". */
int watch_set_up(void **state);
int watch_tear_down(void **state);
/* The path of a name in the directory; good until the fourth call after. */
const char *watch_at(const struct watch_scene *f, const char *name);
void watch_put(const struct watch_scene *f, const char *name, const char *text); /* in place */
void watch_rename(const struct watch_scene *f, const char *from, const char *to);
void watch_link(const struct watch_scene *f, const char *target, const char *name);
void watch_make_dir(const struct watch_scene *f, const char *name);
/* Watches path from now on; in a directory only names that end with .yaml count. */
void watch_open(struct watch_scene *f, const char *path);
/* Runs the loop until on_change came once more, or for ms. */
bool watch_run(struct watch_scene *f, int ms);
/* The change is told, and the path then leads to text; NULL: to nothing. */
void watch_expect(struct watch_scene *f, const char *text);
void watch_expect_silence(struct watch_scene *f);

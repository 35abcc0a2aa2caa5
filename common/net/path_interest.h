/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which names in which directories decide what a path leads to: every component, and those of every symbolic
 * link on the way. A watch on the file itself would be lost with the first rename over it (inotify(7)), so
 * directories are watched, each before it is looked into: what changes after that look is an event. Internal
 * to path_watch.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct inotify_event;

/* Which names of a watched directory count; NULL: all. */
typedef bool path_wants_fn(const char *name);

struct path_interest {
    int wd;
    uint32_t mask;
    char *name; /* owned; NULL: every name that is wanted, in a directory that is itself a watched path */
};

struct path_interests { /* zero-initialised = empty; owner calls path_interests_fini */
    struct path_interest *items;
    size_t count, cap;
    int error;       /* the first failure to watch, an errno; 0: all is watched */
    char where[256]; /* the directory of that failure, cut */
};

/* Adds what concerns path to the set and to the inotify descriptor fd. What is absent is no failure. */
void path_interests_add(struct path_interests *set, int fd, const char *path, path_wants_fn *wants);
/* May the event change what a path leads to, or what is in it? */
bool path_interests_concern(const struct path_interests *set, const struct inotify_event *event,
                            path_wants_fn *wants);
bool path_interests_has(const struct path_interests *set, int wd);
void path_interests_fini(struct path_interests *set);

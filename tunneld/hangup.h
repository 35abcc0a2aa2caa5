/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notices a reset on sockets that are neither read nor written for the moment. libev reports errors only to
 * watchers that want to read or write, and such a watcher would fire for ever on data nobody may take yet; so
 * these sockets wait in a second epoll instance without any event asked for, which the kernel reports errors
 * and hang-ups to all the same (epoll_ctl(2)). One per worker.
 */
#pragma once

#include "common/base/err.h"

#include <ev.h>

struct hangup;
struct hangup_watch;
/* The watch is stopped when called. The peer has reset the connection, or the kernel has given it up; or
 * there is a FIN, which hangup_is_fin() tells apart; or a FIN has gone either way, of which hangup_error()
 * says 0. */
typedef void hangup_event_fn(struct hangup_watch *w);

struct hangup_watch { /* embedded; zero-initialised = stopped */
    hangup_event_fn *fn;
    void *ctx;
    int fd;
    bool is_active;
    bool wants_fin; /* set by the caller before: the peer's FIN counts, too */
};

MUST_CHECK int hangup_new(struct ev_loop *loop, struct hangup **out); /* 0 or -errno */
void hangup_free(struct hangup *h);                                   /* NULL-safe */
/* fn and ctx are set by the caller before. Fine when active already. 0 or -errno. */
MUST_CHECK int hangup_start(struct hangup *h, struct hangup_watch *w, int fd);
void hangup_stop(struct hangup *h,
                 struct hangup_watch *w); /* before the descriptor is closed; fine when stopped */
/* With wants_fin, when called: nothing is wrong with the socket, the peer has only finished sending. */
bool hangup_is_fin(int fd);
/* What became of the socket: a positive errno, or 0 if it has ended in order, perhaps with bytes to be read.
 * Asked once: the kernel forgets it. */
int hangup_error(int fd);

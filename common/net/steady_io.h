/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A watcher of reads that outlives a failed epoll_ctl(2). libev answers one (ENOSPC, ENOMEM) by stopping
 * every watcher of the descriptor, for good, and calls them with EV_ERROR; errno is lost by then. A steady
 * watcher says so, once a minute at most (watch_failed), and starts again after 100 ms, doubling to 5 s. For
 * whatever must not stay deaf: listeners, inotify, signals, wake-ups between threads. A socket of one
 * question or connection is ended instead. Owner: whoever embeds it. One loop, one thread.
 */
#pragma once

#include <ev.h>
#include <stdint.h>

/* There may be something to read, or not: it must not block. It may stop the watcher, and free it. */
typedef void steady_io_event_fn(void *ctx);

struct steady_io { /* embedded; its address stays */
    const char *what;
    steady_io_event_fn *fn;
    void *ctx;
    struct ev_loop *loop; /* NULL: never started */
    ev_io io;
    ev_timer again;    /* the next try; or, while io is active, a look whether the kernel has taken it */
    int64_t wait_ms;   /* before the next try, should this one fail */
    int64_t logged_ms; /* clock_mono_ms scale */
    uint64_t failures; /* since then */
};

/* what: for the log, a literal. fd is borrowed, non-blocking, and must be open while the watcher runs. */
void steady_io_init(struct steady_io *s, const char *what, int fd, steady_io_event_fn *fn, void *ctx);
void steady_io_start(struct steady_io *s, struct ev_loop *loop); /* fine when it runs; always the same loop */
void steady_io_stop(struct steady_io *s); /* before fd is closed; fine when stopped, or zero */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wakes the loop of another thread: an eventfd behind a steady watcher. libev's own ev_async is not used, for
 * it is deaf for good after a failed epoll_ctl(2), or aborts. Sends that come before the call back count as
 * one; it comes before what sockets hold in the same turn, which may be later than the news. Owner: the
 * thread of the loop, or who starts and joins it.
 */
#pragma once

#include "common/base/err.h"
#include "common/net/steady_io.h"

typedef void wake_event_fn(void *ctx); /* in the loop's thread; may also come without a send */

struct wake { /* embedded; its address stays; zero-initialised = none */
    struct steady_io io;
    wake_event_fn *fn;
    void *ctx;
    int fd;
    bool is_open;
};

MUST_CHECK int wake_init(struct wake *w, struct ev_loop *loop, wake_event_fn *fn,
                         void *ctx); /* 0 or -errno */
void wake_fini(struct wake *w);      /* while nobody can send; fine when there is none, or wake_init failed */
void wake_send(const struct wake *w); /* any thread */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accepts TCP connections on one listening socket. On EMFILE, ENFILE, ENOBUFS or ENOMEM it pauses (100 ms,
 * doubling to 5 s) and logs once per pause with the count; a reserve descriptor lets it take and close one
 * connection so that the client is refused at once rather than left hanging. Other per-connection errors are
 * skipped, and epoll_ctl(2) is asked again (steady_io); nothing ends it but acceptor_stop(). One per worker
 * and listening socket. At most 64 accepts per wake-up.
 */
#pragma once

#include "common/net/addr.h"

#include <ev.h>

struct acceptor;
/* Takes fd (non-blocking, close-on-exec). peer is the client's address. The callee owns fd from then on. */
typedef void acceptor_event_fn(void *ctx, int fd, const struct addr *peer);
/* refuse: called for a connection taken with the reserve descriptor; it may write a few bytes, the acceptor
 * closes. */
typedef void acceptor_refuse_fn(void *ctx, int fd, const struct addr *peer);
/* Accepting pauses. */
typedef void acceptor_pause_fn(void *ctx);

struct acceptor_config {
    struct ev_loop *loop;
    int fd; /* listening; the acceptor owns and closes it */
    acceptor_event_fn *on_accept;
    acceptor_refuse_fn *on_refuse; /* may be NULL */
    acceptor_pause_fn *on_pause;   /* likewise; after those that were refused */
    void *ctx;
};
MUST_CHECK int acceptor_new(const struct acceptor_config *cfg,
                            struct acceptor **out); /* takes cfg->fd on success */
void acceptor_stop(struct acceptor *a);             /* closes the socket and frees; NULL-safe */

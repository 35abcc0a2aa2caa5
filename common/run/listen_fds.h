/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets passed by systemd or by "openshell-egress run" (sd_listen_fds protocol: LISTEN_PID, LISTEN_FDS,
 * LISTEN_FDNAMES; descriptors from 3 on). Names: dns (datagram or stream by its type), connect, capture,
 * admin, and ports (port_ask.h: no listener, but where listeners are asked for). Others are an error.
 * Variables are removed from the environment; descriptors become close-on-exec and non-blocking.
 */
#pragma once

#include "common/base/err.h"

#include <stddef.h>

#define LISTEN_FDS_MAX 1024

struct listen_fds {
    int *fds;           /* owned by the taker of each */
    const char **names; /* owned */
    size_t count;
};
/* 0 (count may be 0) or -errno. */
MUST_CHECK int listen_fds_take(struct listen_fds *out, struct err *err);
void listen_fds_fini(struct listen_fds *l); /* frees the arrays, not the descriptors */

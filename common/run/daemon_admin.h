/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin listener as a part of a daemon's life: opened before the daemon's own sockets, so that its
 * address is known to the guard; served while the main loop runs, to the end of draining. Private to
 * daemon.c.
 */
#pragma once

#include "common/run/admin.h"
#include "common/run/daemon_loop.h"

struct daemon_admin { /* zero-initialised = none */
    struct admin_socket socket;
    struct admin *admin;
    const struct daemon_loop *loop;
    unsigned worker_count;
    int64_t started_ms;
};

/* Opens it if settings or passed say so; 0 or -errno with *err. */
MUST_CHECK int daemon_admin_open(struct daemon_admin *d, const struct daemon_spec *spec,
                                 struct listen_fds *passed, struct err *err);
/* The address that nothing may reach through us; NULL without a TCP listener. */
const struct addr *daemon_admin_addr(const struct daemon_admin *d);
/* Serves on the loop, whose pool is set. 0 or -errno with *err. Nothing to do without a listener. */
MUST_CHECK int daemon_admin_start(struct daemon_admin *d, const struct daemon_loop *loop,
                                  unsigned worker_count, struct err *err);
/* Before the loop and the pool go; idempotent. */
void daemon_admin_stop(struct daemon_admin *d);

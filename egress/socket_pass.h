/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handing sockets to a program by the protocol of sd_listen_fds(3): descriptors from 3 on, LISTEN_PID,
 * LISTEN_FDS, LISTEN_FDNAMES. The other side is common/run/listen_fds. For the process that is about to
 * exec.
 */
#pragma once

#include "common/base/err.h"

#include <stddef.h>

#define SOCKET_PASS_FIRST_FD 3 /* SD_LISTEN_FDS_START */

struct passed_socket {
    int fd; /* owned by whoever collects them */
    const char *name;
};

/* Sets the three variables, for the calling process. 0 or -ENOMEM. */
MUST_CHECK int socket_pass_environment(const struct passed_socket *sockets, size_t count);
/*
 * Moves fds[i] to SOCKET_PASS_FIRST_FD + i, through numbers out of the way, so that none of them overwrites
 * another; whatever else had such a number is closed. They survive exec. 0 or -errno; fds is changed.
 */
MUST_CHECK int socket_pass_place(int *fds, size_t count);

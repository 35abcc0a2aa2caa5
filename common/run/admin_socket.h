/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listening socket of the admin listener: --admin ADDR:PORT, --admin unix:PATH, or a passed descriptor
 * named admin, which comes before the option. Blocking; before threads start (it sets the umask for a
 * moment).
 */
#pragma once

#include "common/net/addr.h"
#include "common/run/listen_fds.h"

#include <sys/types.h>

#define ADMIN_SOCKET_TEXT_CAP 128 /* an address, or "unix:" and a path of at most 107 bytes */

struct admin_socket { /* zero-initialised = none; owner calls admin_socket_fini */
    bool is_open;
    bool is_tcp;
    int fd;           /* -1 once taken */
    struct addr addr; /* with is_tcp */
    bool has_file;    /* a socket file of our own making, removed at the end */
    dev_t dev;
    ino_t ino;
    char text[ADMIN_SOCKET_TEXT_CAP]; /* where it listens, for people */
};

/* Is this an address or a path? Opens nothing. NULL is fine. 0, or -EINVAL with *err. */
MUST_CHECK int admin_socket_check(const char *option, struct err *err);
/*
 * Listens, if option or passed say so. A descriptor named admin is taken out of passed. A socket file is made
 * with mode 0660; one that is there already is replaced only if nobody listens on it any more. 0 or -errno
 * with *err; -EINVAL is a matter of configuration.
 */
MUST_CHECK int admin_socket_open(const char *option, struct listen_fds *passed, struct admin_socket *out,
                                 struct err *err);
/* Removes the file if it is still ours; closes the descriptor if nobody took it. Before the taker closes it:
 * while it is open nobody else's file can have the same inode. */
void admin_socket_fini(struct admin_socket *s);

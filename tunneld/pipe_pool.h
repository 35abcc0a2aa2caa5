/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pipes for splice(2), one pool per worker. A pipe is lent to one direction of a tunnel while bulk passes
 * through it and comes back as soon as it is empty, so that a tunnel at rest holds none. What does not come
 * out of the pool is copied instead: every reason not to lend (all are out, no descriptor left, the user's
 * share of pipe memory is used up, the kernel or a seccomp filter refuses splice) ends in the same way.
 */
#pragma once

#include "common/base/span.h"

#include <sys/types.h>

#define PIPE_POOL_MAX 64U /* lent at once; two descriptors each */
#define PIPE_POOL_KEPT 8U /* not lent and kept open all the same */
#define PIPE_POOL_BYTES                                                                                      \
    ((size_t)256 * 1024) /* asked of F_SETPIPE_SZ: 64 slots, a segment of a packet in each */

struct pipe_lent {
    int read_fd, write_fd;
    size_t len; /* bytes inside */
    struct pipe_lent *next;
};

struct pipe_pool { /* zero-initialised = empty, nothing refused yet */
    struct pipe_lent *spare;
    size_t spare_count, lent_count;
    bool is_refused; /* splice does not work here: nothing is lent any more */
};

/* NULL: there is none to be had now. */
struct pipe_lent *pipe_pool_take(struct pipe_pool *p);
/* One with bytes inside is closed, and they are lost. NULL-safe. */
void pipe_pool_give(struct pipe_pool *p, struct pipe_lent *lent);
/* After an error of which pipe_is_refusal() is true: nothing is lent from now on. Logged once. */
void pipe_pool_refuse(struct pipe_pool *p, int error);
void pipe_pool_fini(struct pipe_pool *p); /* everything has been given back */

/* True of a positive errno with which splice(2) says that it will never do it. */
bool pipe_is_refusal(int error);
/* From a non-blocking stream socket into the empty pipe: bytes, 0 at the end of the stream, or -errno. */
ssize_t pipe_fill(struct pipe_lent *lent, int fd);
/* From the pipe into a non-blocking socket: bytes taken, 0 if it would block, or -errno. */
ssize_t pipe_drain(struct pipe_lent *lent, int fd);
/* The same without splice: bytes copied out of the pipe (0: it is empty), or -errno. */
ssize_t pipe_copy_out(struct pipe_lent *lent, void *out, size_t cap);

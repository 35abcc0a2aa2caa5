/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP sockets for one question each. A socket taken is connected to its peer from a fresh source port of the
 * kernel's choice (RFC 5452 9.2, RFC 6056), whether it was made for the purpose or has served before: one
 * that is given back is dissolved from peer and port (connect(2) to AF_UNSPEC) and stays registered with the
 * loop, so that the next use costs two connect(2) instead of socket, epoll_ctl and close. One loop, one
 * thread.
 */
#pragma once

#include "common/net/addr.h"

#include <ev.h>

struct udp_pool;
struct udp_socket;

/* The socket is readable, or has an error to be read. It may be given back from in here. */
typedef void udp_readable_fn(void *ctx, int fd);

/* Keeps at most max_idle sockets that nobody uses; those that a second has not needed are closed. 0 or
 * -ENOMEM. */
MUST_CHECK int udp_pool_new(struct ev_loop *loop, size_t max_idle, struct udp_pool **out);
/* Every socket has been given back. NULL-safe. */
void udp_pool_free(struct udp_pool *p);

/* 0, or -errno: no descriptor, no memory, no route, no free port. */
MUST_CHECK int udp_pool_take(struct udp_pool *p, const struct addr *to, udp_readable_fn *fn, void *ctx,
                             struct udp_socket **out);
int udp_socket_fd(const struct udp_socket *s);
/*
 * Ends the use. is_quiet: what was asked has been answered, nothing else is expected to come; otherwise the
 * socket is closed, lest a late datagram meets the next user. NULL-safe.
 */
void udp_pool_give(struct udp_socket *s, bool is_quiet);

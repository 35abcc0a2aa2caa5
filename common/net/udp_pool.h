/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP sockets for one question each. A socket taken is connected to its peer from a fresh source port of the
 * kernel's choice (RFC 5452 9.2, RFC 6056), whether it was made for the purpose or has served before: one
 * that is given back stays registered with the loop, and is taken from its port and given another by two
 * connect(2) before it serves again, instead of socket, epoll_ctl and close. It serves the same peer for
 * ever, from the address that the route to it had at first; when a question is not answered, all that nobody
 * uses are closed within a second, for the route may have changed. One loop, one thread.
 */
#pragma once

#include "common/net/addr.h"

#include <ev.h>

struct udp_pool;
struct udp_socket;

/*
 * The socket is readable, or has an error to be read. fd -ENOMEM: epoll has refused it, nothing will be heard
 * on it. It may be given back from in here.
 */
typedef void udp_readable_fn(void *ctx, int fd);

/* Keeps at most max_unused sockets that nobody uses; those that a second has not needed are closed. 0 or
 * -ENOMEM. */
MUST_CHECK int udp_pool_new(struct ev_loop *loop, size_t max_unused, struct udp_pool **out);
/* Every socket has been given back. NULL-safe. */
void udp_pool_free(struct udp_pool *p);

/* 0, or -errno: no descriptor, no memory, no route, no free port. */
MUST_CHECK int udp_pool_take(struct udp_pool *p, const struct addr *to, udp_readable_fn *fn, void *ctx,
                             struct udp_socket **out);
/* Closes those that nobody uses, for descriptors are needed elsewhere. How many it were. */
size_t udp_pool_close_unused(struct udp_pool *p);
/*
 * Connects a few sockets ahead, to the peer of the last one taken, so that the next questions need no more
 * than to be sent. For when there is time: the questions are under way. Best effort. A port that was chosen
 * ahead and is not used within two seconds is given up again; so is one that anything comes to before its
 * question was asked.
 */
void udp_pool_prepare(struct udp_pool *p);
int udp_socket_fd(const struct udp_socket *s);
/*
 * What its user keeps with a socket over all uses; 0 for a new one. Datagrams that came before the socket was
 * taken from its port are still to be read, by its next user: that is how they are told from others.
 */
uint32_t udp_socket_tag(const struct udp_socket *s);
void udp_socket_set_tag(struct udp_socket *s, uint32_t tag);
/*
 * Ends the use. is_quiet: what was asked has been answered, nothing else is expected to come; otherwise the
 * socket is closed, lest a late datagram meets the next user. NULL-safe.
 */
void udp_pool_give(struct udp_socket *s, bool is_quiet);

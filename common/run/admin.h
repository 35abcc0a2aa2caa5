/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serves the admin pages on the main thread's loop: one request a connection, at most ADMIN_CONNECTIONS at a
 * time (more are closed), each over after ADMIN_DEADLINE_MS whatever the client does. Never on the way of
 * anything that is carried.
 */
#pragma once

#include "common/run/admin_http.h"
#include "common/run/admin_socket.h"

#include <ev.h>

#define ADMIN_CONNECTIONS 16U
#define ADMIN_DEADLINE_MS 5000

/* Fills *out, which is zeroed. 0 or -errno: answered 500. body is taken over in either case. */
typedef int admin_page_fn(void *ctx, enum admin_page page, struct admin_reply *out);

struct admin;
/* Takes socket->fd on success; socket stays the caller's. 0 or -errno. */
MUST_CHECK int admin_new(struct ev_loop *loop, struct admin_socket *socket, admin_page_fn *page, void *ctx,
                         struct admin **out);
void admin_free(struct admin *a); /* closes what is open; not from its own callbacks; NULL-safe */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connects to the first of several checked addresses that answers, in the order and rhythm of dial_plan. What
 * is given to it is what is dialled: no name, no second lookup. The first winner ends it; the other attempts
 * are closed.
 */
#pragma once

#include "common/net/addr.h"

#include <ev.h>

struct dial;

struct dial_result {
    int fd;           /* connected, non-blocking, now the receiver's; -1 if every address failed */
    int error;        /* fd < 0: a positive errno, the most telling one */
    struct addr addr; /* fd < 0: the last that failed */
};
typedef void dial_event_fn(void *ctx, const struct dial_result *r);

/* 0 or -ENOMEM. Calls back once, never inside dial_start, dial_add or dial_complete. It has no deadline of
 * its own. */
MUST_CHECK int dial_start(struct ev_loop *loop, uint16_t port, dial_event_fn *fn, void *ctx,
                          struct dial **out);
void dial_add(struct dial *d, const struct ip *ip);
/* No more addresses will come: without it the dial waits after the last one failed. */
void dial_complete(struct dial *d);
/* Frees it and closes what is under way, with no call back after; also from inside the call back. Exactly
 * once. */
void dial_cancel(struct dial *d);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deadlines for many objects with one ev_timer per list. An object embeds struct deadline; a list groups
 * objects of one kind and fires each whose time has come, in order of time (a binary heap). Resolution is the
 * loop's. Logic passes times; the list reads ev_now-equivalent clock_mono_ms once per firing. One list per
 * worker and kind.
 */
#pragma once

#include <ev.h>
#include <stddef.h>
#include <stdint.h>

struct deadline {
    int64_t at_ms; /* clock_mono_ms scale */
    size_t index;  /* position in the heap + 1; 0 = not armed */
};

struct deadline_list;
typedef void deadline_event_fn(void *ctx, struct deadline *d, int64_t now_ms); /* d is disarmed when called */

int deadline_list_new(struct ev_loop *loop, deadline_event_fn *fn, void *ctx, struct deadline_list **out);
void deadline_list_free(struct deadline_list *l); /* what is armed is disarmed; not from its own callback */
/* Arms or moves d. 0 or -ENOMEM (d is then not armed). */
int deadline_arm(struct deadline_list *l, struct deadline *d, int64_t at_ms);
void deadline_cancel(struct deadline_list *l, struct deadline *d); /* fine when not armed */

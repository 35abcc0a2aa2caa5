/* SPDX-License-Identifier: Apache-2.0 */
/* A relay between two loopback TCP connections; the test plays both ends, and turns the loop. */
#pragma once

#include "tunneld/relay.h"

#define RELAY_SCENE_GIVE_UP_MS 5000

extern struct relay_env relay_scene_env;
extern struct pipe_pool relay_scene_pipes;

struct relay_scene {
    int app[2];   /* the test's ends: client, upstream */
    int inner[2]; /* the relay's */
    struct relay relay;
    int half_closed, ended;
};

/* Loop, buffer and pool of the whole program. 0, or the exit status. */
int relay_scene_init(void);
void relay_scene_fini(void);
/* Connected pair, both non-blocking. */
void relay_scene_pair(int out[2]);
void relay_scene_start(struct relay_scene *s, const char *early);
/* Closes everything; a pipe that was not given back is a failure. */
void relay_scene_stop(struct relay_scene *s);
void relay_scene_close_app(struct relay_scene *s, int side);
/* Closes the test's end so that the relay sees a reset. */
void relay_scene_reset_app(struct relay_scene *s, int side);
/* One turn of the loop, at most 20 ms long. */
void relay_scene_turn(void);
/* Whether a turn comes, soon, that only its timer ends. What is still on its way through the kernel wakes the
 * loop once or twice; a relay that spins does so at every turn. */
bool relay_scene_is_quiet(void);
/* Reads from an end until it has len bytes; returns how many there were before the end of the stream. */
size_t relay_scene_read(struct relay_scene *s, int side, void *out, size_t len);
void relay_scene_put(struct relay_scene *s, int side, const char *text);
void relay_scene_wait_ended(struct relay_scene *s);
/* Fills the direction until the relay keeps a tail, in memory or, if is_bulk, in a pipe, and the writer's
 * kernel has no room either: the reader's may take a little more later, when a timer of TCP asks it again.
 * Returns how many bytes were written: byte n of them is relay_scene_byte(n). */
size_t relay_scene_fill(struct relay_scene *s, int from, bool is_bulk);
uint8_t relay_scene_byte(size_t offset);

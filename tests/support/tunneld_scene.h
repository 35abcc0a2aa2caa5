/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker of the tunnel daemon as tunneld.c makes it, in this thread: real listeners, sessions and loop,
 * but invented time, a pretended resolver and pretended destinations. Its lines in the log are kept as they
 * are written. Linked with --wrap=daemon_worker_done,--wrap=sock_local_addr. For tests only.
 */
#pragma once

#include "tests/support/scene_acts.h"
#include "tunneld/session.h"

#define SCENE_OPTIONS_MAX 32
#define SCENE_POLICY_CAP 8192

struct tunneld_scene {
    struct tunneld daemon;
    struct worker worker;
    struct settings_arena *arena;
    char *options[SCENE_OPTIONS_MAX];
    int option_count;
    uint64_t generation;
    struct acts *acts; /* what it did */
    struct acts *logs; /* "EVENT key=value …" */
    int log_fd;
    size_t log_len;
    bool is_started, is_drained;
    unsigned invoked; /* callbacks of the last turn */
    struct synth_map *map;
    char map_path[96];
    struct addr connect_addr, capture_addr;
};

int tunneld_scene_init(struct tunneld_scene *t); /* 0, or -1 and *t is as good as empty */
void tunneld_scene_fini(struct tunneld_scene *t);
void tunneld_scene_option(struct tunneld_scene *t, const char *text); /* before the start */
/* 0, or -1 with the reason in *err. The policy is as in a file. */
int tunneld_scene_start(struct tunneld_scene *t, const char *policy, struct err *err);
int tunneld_scene_reload(struct tunneld_scene *t, const char *policy, struct err *err);
void tunneld_scene_drain(struct tunneld_scene *t);
/* The synthetic IPv4 address of name, from now on for ttl_s. 0 or -errno. */
int tunneld_scene_map(struct tunneld_scene *t, const struct host_name *name, uint32_t ttl_s, struct ip *out);
/* What captured connections seem to have dialled from now on; NULL: what they did dial. */
void tunneld_scene_captured(const struct addr *dialled);
/* Runs the loop until nothing is left to do. False: it does not come to rest. */
bool tunneld_scene_settle(struct tunneld_scene *t);
/* Time passes, in a hundred steps or in milliseconds if those are longer. False: likewise. */
bool tunneld_scene_pass(struct tunneld_scene *t, int64_t ms);
struct tunneld_worker *tunneld_scene_worker(const struct tunneld_scene *t);
/* "READ_HEAD" … of the session with this client; "CLOSED" if there is none. */
const char *tunneld_scene_state(const struct tunneld_scene *t, const struct addr *client);
/* How many bytes of this client its session keeps; 0 if there is none. */
size_t tunneld_scene_kept(const struct tunneld_scene *t, const struct addr *client);

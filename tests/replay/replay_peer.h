/* SPDX-License-Identifier: Apache-2.0 */
/* Clients and servers of a session scenario: their sockets, and the lines about what they send and get. */
#pragma once

#include "tests/replay/replay_line.h"
#include "tests/support/tunneld_scene.h"

#define PEERS_MAX 16

struct peer {
    char name[16];
    int fd; /* -1 = closed by us */
    struct addr local;
    char got[131072]; /* read and not asked for yet */
    size_t got_len;
    bool has_eof, has_rst;
};

struct player {
    const struct replay_line *at;
    struct tunneld_scene scene;
    struct ip synthetic; /* of the last "map" */
    struct addr captured;
    char policy[SCENE_POLICY_CAP];
    size_t policy_len;
    char hosts[1024];
    struct peer peers[PEERS_MAX];
    size_t peer_count;
    uint64_t stuffed; /* by the "stuff" lines */
};

void player_settle(struct player *p);
/* A real moment, for what the kernel does by itself. */
void player_wait(struct player *p);
struct peer *peer_find(struct player *p, size_t word);
struct peer *peer_add(struct player *p, size_t word, int fd);
/* What is left of the line from word on: quotes are dropped, \r \n \t \s \\ \xHH stand for bytes. */
size_t peer_text(const struct replay_line *w, size_t word, char *out, size_t cap);
/* Does the line begin with one of these verbs? Then it has been done. */
bool peer_line(struct player *p, const struct replay_line *w);

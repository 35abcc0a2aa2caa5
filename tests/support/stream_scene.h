/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to one upstream, for their tests: the server is the test itself, on the other end of real
 * sockets, and the answer to a question is the question.
 */
#pragma once

#include "common/dns/dns_stream.h"

#define LIMIT_MS 5000
#define QUERY_LEN 20U

struct scene {
    struct ev_loop *loop;
    int listen_fd;
    struct addr addr;
    struct dns_streams *streams;
    int64_t stall_ms;                      /* of the next renew() … */
    struct dns_stream_transport transport; /* … and this … */
    bool (*free_descriptors)(void *scene); /* … and this */
};

struct asked {
    struct scene *scene;
    struct dns_stream_query *query;
    uint8_t tag; /* the last byte of the query, and of its answer */
    bool is_asking;
    bool refuses; /* says "not mine" to whatever comes */
    unsigned refused;
    bool is_done;
    int error;
    struct asked *asks;    /* asked by the call back */
    struct asked *cancels; /* cancelled by the call back */
};

struct seen {
    uint8_t frame[2 + QUERY_LEN];
};

int stream_scene_set_up(void **state);
int stream_scene_tear_down(void **state);
#define STREAM_CASE(fn) cmocka_unit_test_setup_teardown(fn, stream_scene_set_up, stream_scene_tear_down)

/* New streams in place of the old ones. */
void renew(struct scene *s, int64_t connect_ms, int64_t idle_ms);
void ask(struct asked *q, uint8_t tag);               /* fails if it is called back inside */
bool on_event(void *ctx, struct span msg, int error); /* of a struct asked */
void finish(struct scene *s, struct asked *q);        /* waits for its end */

int accept_one(struct scene *s); /* waits for a connection */
bool has_connection_waiting(struct scene *s);
void read_query(struct scene *s, int fd, struct seen *out); /* waits for it */
uint16_t id_of(const struct seen *q);
uint8_t tag_of(const struct seen *q);
void send_all(int fd, const void *data, size_t len);
void answer(int fd, const struct seen *q);
void expect_end(struct scene *s, int fd); /* waits for the other end to close */

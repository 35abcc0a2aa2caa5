/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pretended upstream on 127.0.0.1, UDP and TCP on one port of the kernel's choice, on the test's own loop.
 * It answers each query with what the test's function says. For tests only.
 */
#pragma once

#include "common/net/addr.h"
#include "tests/support/fake_reply.h"

#include <ev.h>

#define FAKE_CONNS_MAX 8

enum fake_verdict {
    FAKE_SILENT = 0,
    FAKE_REPLY,     /* send *out */
    FAKE_FORGE,     /* send *out with another ID and another question first, then *out */
    FAKE_CUT_SHORT, /* TCP: send half of it and close */
};
typedef enum fake_verdict fake_upstream_fn(void *ctx, const struct fake_query *q, bool tcp,
                                           struct fake_reply *out);

struct fake_upstream;
struct fake_conn {
    struct fake_upstream *owner;
    int fd; /* -1 = free */
    ev_io io;
    uint8_t in[512];
    size_t in_len;
    uint8_t out[4096];
    size_t out_len, out_sent;
    bool is_cut_short;
};

struct fake_upstream {
    struct ev_loop *loop;
    struct addr addr;
    fake_upstream_fn *fn;
    void *ctx;
    int udp_fd, tcp_fd;
    ev_io udp_io, tcp_io;
    struct fake_conn conns[FAKE_CONNS_MAX];
    bool dribbles;                 /* TCP: one byte per turn of the loop */
    bool sends_twice;              /* UDP: each reply */
    bool closes_each;              /* TCP: one query a connection */
    unsigned conn_count;           /* TCP connections accepted */
    unsigned udp_count, tcp_count; /* queries seen */
    uint16_t last_source_port;
};

void fake_upstream_init(struct fake_upstream *u, struct ev_loop *loop, fake_upstream_fn *fn, void *ctx);
void fake_upstream_fini(struct fake_upstream *u);
/* Runs the loop until *done or for limit_ms; false if it took longer. */
bool fake_run(struct ev_loop *loop, const bool *done, int limit_ms);
/* Runs the loop for ms, whatever happens. */
void fake_run_for(struct ev_loop *loop, int ms);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves bytes between two connected sockets until both have finished. One buffer per worker serves every
 * tunnel: what is read is sent at once, only a tail that the other side would not take is kept, and nothing
 * more is read from that side until it is gone (back-pressure). A direction that has filled the buffer a few
 * times in a row is bulk: it is spliced through a pipe of the worker's pool instead, until a wake-up brings
 * little. What a pipe holds when the other side would not take it is such a tail as well. An idle tunnel
 * holds neither buffer nor pipe. A FIN is passed on as shutdown(SHUT_WR) behind the last byte, the other
 * direction goes on. A reset is noticed in every state, also while nothing is read. The relay owns its
 * watchers; the descriptors are the session's, which closes them after relay_stop().
 */
#pragma once

#include "common/base/buf.h"
#include "common/policy/reason.h"
#include "tunneld/hangup.h"
#include "tunneld/pipe_pool.h"

#define RELAY_BUFFER_BYTES 65536U /* also the longest tail of a direction that is copied */
#define RELAY_BULK_READS 4        /* that at least half filled the buffer, in a row, make a direction bulk */

enum relay_side { RELAY_CLIENT = 0, RELAY_UPSTREAM, RELAY_NEITHER };

struct relay_env { /* one per worker, borrowed */
    struct ev_loop *loop;
    struct hangup *hangup;
    uint8_t *buffer; /* RELAY_BUFFER_BYTES */
    struct pipe_pool *pipes;
};

enum relay_event {
    RELAY_HALF_CLOSED, /* one side has finished, the other has not */
    RELAY_ENDED        /* read r->end; the last call back */
};
struct relay;
typedef void relay_event_fn(void *ctx, enum relay_event e);

struct relay_end {
    enum reason reason;
    enum relay_side side; /* whose doing it was */
    int error;            /* positive errno, 0 = none */
    bool must_reset;      /* end the surviving side with RST: what it got is not all there was */
};

struct relay_leg {
    struct relay *relay;
    int fd;
    ev_io io;
    struct hangup_watch hangup;
    struct buf unsent;      /* for this side */
    struct pipe_lent *pipe; /* for this side, behind unsent; NULL unless bytes are inside or on their way */
    uint64_t sent_bytes;    /* to this side, taken by its socket */
    uint8_t full_reads;     /* of this side, in a row; at most RELAY_BULK_READS */
    bool has_eof;           /* its FIN was read, and ours was sent to the other side */
};

struct relay {
    const struct relay_env *env;
    relay_event_fn *fn;
    void *ctx;
    struct relay_leg leg[2];
    enum relay_side first_eof; /* who finished first; valid once one has_eof */
    bool is_running;
    int64_t last_ms; /* when a byte was last read or sent, either way: the one idle clock */
    struct relay_end end;
};

/*
 * Starts with early, the bytes the client sent behind the request head, which the relay takes over (early is
 * empty then). No call back inside. 0 or -errno (then nothing is active).
 */
MUST_CHECK int relay_start(struct relay *r, const int fds[2], struct buf *early, int64_t now_ms);
/* Stops every watcher and drops unsent bytes; the descriptors stay open. Fine when never started. */
void relay_stop(struct relay *r);
/* True if bytes are kept, in memory or in a pipe, that a side has not taken. */
bool relay_has_unsent(const struct relay *r);

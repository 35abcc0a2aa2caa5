/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to one upstream over connections that are kept (RFC 7766): pipelined, answered in any order,
 * closed when idle. What carries the bytes is behind struct dns_stream_ops: plain TCP is built in, TLS plugs
 * in there. One struct dns_streams per worker and upstream, on that worker's loop; not thread-safe.
 *
 * The deadline of a question is its owner's (dns_exchange): here only connections have deadlines. A
 * connection that fails takes its questions with it, and nothing else; those that had been sent behind others
 * on it are sent once more on a fresh one (RFC 7766 6.2.4: a server may close whenever it likes).
 *
 * A message that answers no question asked on its connection, and none that was cancelled either, ends the
 * connection with -EBADMSG: the server has lost count, and there is no telling what else it answers. If there
 * was but one question, that fails; of several nobody knows whom it was for, and those that are open are sent
 * once more, each on a connection of its own, so that one of them fails alone if it comes to that again.
 *
 * What exceeds the limits below, or the descriptors there are, waits, first come first served, until one more
 * is answered or cancelled, or a connection ends. If none can be made for it and none is left, all that wait
 * fail.
 */
#pragma once

#include "common/base/err.h"
#include "common/base/span.h"
#include "common/net/addr.h"

#include <ev.h>
#include <sys/types.h>

#define DNS_STREAM_CONNS_MAX 4         /* to one upstream; the next is opened when all are busy */
#define DNS_STREAM_BUSY 32             /* open questions that make a connection busy */
#define DNS_STREAM_PIPELINE_MAX 256    /* open questions on a connection */
#define DNS_STREAM_SINGLE_CONNS_MAX 64 /* to a server that answers one question a connection */
#define DNS_STREAM_WAITING_MAX 4096    /* questions that wait for a place on a connection */
#define DNS_STREAM_QUERY_MAX 512       /* bytes of a question, without the length in front */

/*
 * What is between the length-framed messages and a connected, non-blocking TCP socket. A session belongs to
 * one connection; the socket stays the connection's, which closes it after close(). None of the functions
 * blocks or calls back. want: set together with -EAGAIN to EV_READ or EV_WRITE: call again when the socket
 * is that.
 */
struct dns_stream_ops {
    /* Once, when the TCP connection stands. 0 or -errno. ctx is the transport's. */
    int (*open)(void *ctx, int fd, void **session);
    /* NULL: none is needed. 0 = done, -EAGAIN, or -errno: the connection failed. */
    int (*handshake)(void *session, int *want);
    /* Bytes read, 0 at the end of the stream, -EAGAIN or -errno. Called until -EAGAIN or a bound, so bytes
     * that a session keeps back need no event of their own. */
    ssize_t (*read)(void *session, uint8_t *out, size_t cap, int *want);
    /* Bytes taken (some of them will do), -EAGAIN or -errno. What was not taken comes again, at another
     * address. */
    ssize_t (*write)(void *session, struct span data, int *want);
    /* Says goodbye if that does not block, and frees the session. Also in the middle of a handshake. */
    void (*close)(void *session);
};

struct dns_stream_transport {
    const struct dns_stream_ops *ops; /* NULL: plain TCP */
    void *ctx;                        /* borrowed; outlives the streams */
    bool is_private;                  /* hides what it carries: questions are padded (RFC 8467) */
};

struct dns_stream_config {
    struct addr to;
    struct dns_stream_transport transport;
    int64_t connect_ms; /* TCP and handshake together */
    int64_t idle_ms;    /* nothing read for so long: closed. RFC 7766 6.2.3 */
    /* Nothing came for so long after a question, be it that the connection does not even stand yet: others go
     * to another one. Four times as long on one that stands: it is given up. 0: never */
    int64_t stall_ms;
    /* There is no descriptor for a connection: true if some have been freed. NULL: none can be. */
    bool (*free_descriptors)(void *ctx);
    void *ctx;
};

struct dns_stream_stats {
    uint64_t opened;  /* connections begun */
    uint64_t reused;  /* questions that went behind others on one */
    uint64_t retried; /* questions sent again on a fresh connection */
    uint64_t ignored; /* answers that nobody waited for any more */
};

struct dns_streams;
struct dns_stream_query;
/*
 * error == 0: msg has the ID of the question, nothing else is checked. True: it was the answer; the question
 * is over. False: go on waiting. error < 0: the question failed (-errno) and is over; the result is ignored.
 * A question that is over is freed by the streams and may not be cancelled any more, nor from in here.
 * It may ask and cancel other questions, but not free the streams.
 */
typedef bool dns_stream_event_fn(void *ctx, struct span msg, int error);

MUST_CHECK int dns_streams_new(struct ev_loop *loop, const struct dns_stream_config *cfg,
                               struct dns_streams **out); /* 0 or -ENOMEM */
void dns_streams_free(struct dns_streams *s); /* closes everything, without a call back; NULL-safe */

/*
 * Sends msg, a query of 12..DNS_STREAM_QUERY_MAX bytes without length, on a connection that stands or a new
 * one, or when there is a place for it. Its ID is the caller's and the one of the message in the call back;
 * on the wire is a random one, unique on its connection. Calls back exactly once for the end unless
 * cancelled, never inside this call; how long it waits is bounded by its owner alone. 0, or -errno if it
 * could not even start (-ENOBUFS: DNS_STREAM_WAITING_MAX wait): then there is no call back.
 */
MUST_CHECK int dns_streams_ask(struct dns_streams *s, struct span msg, dns_stream_event_fn *fn, void *ctx,
                               struct dns_stream_query **out);
/* True if q still waits for a place: from now on it is msg, for ctx, as if that had been asked instead. */
bool dns_stream_renew(struct dns_stream_query *q, struct span msg, void *ctx);
void dns_stream_cancel(struct dns_stream_query *q); /* no call back after it; NULL-safe */
const struct dns_stream_stats *dns_streams_stats(const struct dns_streams *s);

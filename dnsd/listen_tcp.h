/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One listening TCP socket of a worker and its connections (RFC 7766): two-byte length framing, pipelining,
 * answers in the order they are ready. That worker's thread only. Bounded are
 *  - connections: one client may hold all of them while nobody else wants one; then who holds the most gives
 *    one up, the longest idle one if it has an idle one, so that no client keeps another out;
 *  - questions in flight and unsent bytes of each: a question is read when there is room for the longest
 *    answer to it and to those in flight, so that no answer is lost to a client that reads late;
 *  - time: ten seconds for the next whole question or until more of the answers is taken (the kernel says so
 *    once a third of its buffer has gone, so reading in drops does not count), and the life of a connection,
 *    after which it ends as soon as nothing is in flight.
 */
#pragma once

#include "dnsd/query.h"

#define LISTEN_TCP_CONNECTIONS_MAX 256
#define LISTEN_TCP_IN_FLIGHT_MAX 32                                        /* questions of one connection */
#define LISTEN_TCP_UNSENT_MAX (LISTEN_TCP_IN_FLIGHT_MAX * (2 + REPLY_MAX)) /* bytes of one connection */
#define LISTEN_TCP_MESSAGE_MAX 4096 /* a longer question is malformed */

struct listen_tcp_times {
    int64_t idle_ms; /* for the next whole question: RFC 7766 6.2.3 says seconds; users need ten */
    int64_t life_ms; /* RFC 7766 6.2.3 lets a server end a connection at any time */
};
extern const struct listen_tcp_times listen_tcp_times; /* 10 s, 10 min */

struct listen_tcp;
/* Takes fd (listening, non-blocking, close-on-exec), also on failure. 0 or -errno. */
MUST_CHECK int listen_tcp_new(struct worker *w, struct query_engine *engine, int fd,
                              const struct listen_tcp_times *times, struct listen_tcp **out);
/* Accepts no more; connections end as soon as no answer is owed, and until then are served. on_empty is
 * called once none is left, may be at once. */
void listen_tcp_drain(struct listen_tcp *t, void (*on_empty)(void *ctx), void *ctx);
void listen_tcp_free(struct listen_tcp *t); /* after the engine's end; closes everything; NULL-safe */
size_t listen_tcp_count(const struct listen_tcp *t);

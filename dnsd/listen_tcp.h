/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One listening TCP socket of a worker and its connections (RFC 7766): two-byte length framing, pipelining,
 * answers in the order they are ready. Bounded: connections (the longest idle one makes room), questions in
 * flight and unsent bytes of each (then it is not read until some are gone), and ten seconds without a whole
 * question or a byte of answer taken. That worker's thread only.
 */
#pragma once

#include "dnsd/query.h"

#define LISTEN_TCP_CONNECTIONS_MAX 256
#define LISTEN_TCP_IN_FLIGHT_MAX 64 /* questions of one connection */
#define LISTEN_TCP_UNSENT_MAX 65536 /* bytes of one connection */
#define LISTEN_TCP_IDLE_MS 10000    /* RFC 7766 6.2.3: of the order of seconds; users need ten */
#define LISTEN_TCP_MESSAGE_MAX 4096 /* a longer question is malformed */

struct listen_tcp;
/* Takes fd (listening, non-blocking, close-on-exec), also on failure. 0 or -errno. */
MUST_CHECK int listen_tcp_new(struct worker *w, struct query_engine *engine, int fd, struct listen_tcp **out);
/* Accepts and reads no more; connections end when their answers are out. */
void listen_tcp_drain(struct listen_tcp *t);
void listen_tcp_free(struct listen_tcp *t); /* after the engine's end; closes everything; NULL-safe */
size_t listen_tcp_count(const struct listen_tcp *t);

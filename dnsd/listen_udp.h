/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One UDP socket of a worker: reads and answers in batches (recvmmsg, sendmmsg), each answer from the address
 * that was asked. What the socket cannot take at once is dropped and counted: the client asks again. That
 * worker's thread only.
 */
#pragma once

#include "dnsd/query.h"

struct listen_udp;
/* Takes fd (non-blocking, close-on-exec). IP_PKTINFO or IPV6_RECVPKTINFO is set here if it is bound to a
 * wildcard. 0 or -errno, fd then closed. */
MUST_CHECK int listen_udp_new(struct worker *w, struct query_engine *engine, int fd, struct listen_udp **out);
/* Reads no more; answers in flight still leave. */
void listen_udp_drain(struct listen_udp *u);
void listen_udp_free(struct listen_udp *u); /* after the engine's end; closes the socket; NULL-safe */

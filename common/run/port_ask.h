/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asking another process for a listening TCP socket: one that is in another network namespace, or may bind
 * what we may not. A question and its answer are one message each on a SOCK_SEQPACKET socket pair; the socket
 * comes with the answer (SCM_RIGHTS). Both halves are here, so that they cannot drift apart: port_ask() is
 * openshell-tunneld's, port_ask_serve() that of the process which openshell-egress run keeps inside its
 * fence.
 *
 * Neither half trusts the other: whatever is not exactly a question or an answer ends the talk, and no
 * descriptor that came with it stays open.
 */
#pragma once

#include "common/net/addr.h"

#define PORT_ASK_WAIT_MS 2000 /* the other half does nothing else: it is stopped, or the machine is */

struct port_question {
    uint32_t serial; /* the answer repeats it */
    uint16_t family; /* 4 or 6 */
    uint16_t port;   /* host byte order; not 0 */
    uint8_t ip[16];  /* 4 of them for IPv4, the others 0 */
    int64_t end_ms;  /* of clock_mono_ms(): whoever comes to it later refuses, for nobody waits any more */
};

struct port_answer {
    uint32_t serial;
    int32_t error;  /* 0: the socket is attached; else an errno, and nothing is */
    char text[208]; /* error: a sentence with the address in it */
};

struct port_asker { /* zero-initialised = there is nobody to ask */
    int fd;         /* owned while is_open */
    bool is_open;
    bool is_late; /* an answer did not come in time */
    uint32_t serial;
};

/* Takes fd if it succeeds. 0; -EINVAL with *err: it is no SOCK_SEQPACKET socket of the unix family. */
MUST_CHECK int port_ask_open(struct port_asker *p, int fd, struct err *err);
/* From now on an answer is waited for again, although one was late. */
void port_ask_begin(struct port_asker *p);
/*
 * A socket that listens on a, non-blocking and close-on-exec, the caller's; or, with *err, -errno of the
 * other half (-EADDRINUSE, -EACCES, ...), or
 * - -ETIMEDOUT: no answer in PORT_ASK_WAIT_MS; from then on at once, until port_ask_begin();
 * - -EMFILE: no descriptor is left for the socket (the other half's, or ours);
 * - -EPIPE: the other half is gone, or was given up: p is closed;
 * - -EPROTO: what came is no answer: p is closed.
 * Waits: for a thread that may.
 */
MUST_CHECK int port_ask(struct port_asker *p, const struct addr *a, struct err *err);
void port_ask_fini(struct port_asker *p);

/*
 * Answers until the asking end is closed (0); -EPROTO: what came is no question; else -errno. Sockets are
 * made with SO_REUSEPORT, so that one on every address may stand beside one on a single address. fd is
 * borrowed.
 */
MUST_CHECK int port_ask_serve(int fd);

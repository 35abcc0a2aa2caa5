/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One conversation, from accept to the last byte:
 *
 *   READ_HEAD | CAPTURED [-> STEER] -> DECIDE_NAME -> RESOLVE -> DECIDE_ADDR -> DIAL [-> CHAIN] -> REPLY_200
 *   [-> PEEK_SNI -> DECIDE_SNI] -> RELAY -> HALF_CLOSED -> CLOSED
 *
 * a request for an http:// URL instead: DIAL -> FORWARD -> READ_HEAD again, or RELAY after 101, or LINGER,
 * and from any state before RELAY, when it fails: LINGER (the answer is sent, the client's bytes are
 * discarded for a while so that it can read it) -> CLOSED; a captured one goes through REFUSED first. One
 * function moves the state, one arms its deadline, one ends it. The worker's list owns it; it is freed by the
 * reaper after session_end(). Single-threaded, on its worker's loop.
 */
#pragma once

#include "tunneld/tunneld_worker.h"

enum session_state {
    SESSION_CLOSED = 0,
    SESSION_READ_HEAD,
    SESSION_CAPTURED,
    SESSION_STEER, /* what the client says first is to name the host */
    SESSION_DECIDE_NAME,
    SESSION_RESOLVE,
    SESSION_DECIDE_ADDR,
    SESSION_DIAL,
    SESSION_CHAIN, /* the chain proxy was asked, its answer is not here yet */
    SESSION_REPLY_200,
    SESSION_PEEK_SNI, /* the tunnel stands, and the client's first bytes are looked at (--sni) */
    SESSION_DECIDE_SNI,
    SESSION_RELAY,
    SESSION_HALF_CLOSED,
    SESSION_FORWARD,
    SESSION_REFUSED, /* captured: what does the client speak, so that it can be told? */
    SESSION_LINGER
};

/* A new connection; takes fd. Everything that can go wrong ends the session and is logged here. */
void session_accept(struct tunneld_worker *tw, int fd, const struct addr *client, enum listen_kind kind);
/* For a connection taken only to be refused (no descriptor left); fd stays the caller's. */
void session_refuse(struct tunneld_worker *tw, int fd, const struct addr *client, enum listen_kind kind);
/* The worker has a new policy: tunnels that it no longer admits get their grace, unfinished ones start again.
 */
void session_rejudge(struct session *s, const struct policy *previous);
/* Closes at once, whatever the state. Idempotent. */
void session_end(struct session *s, enum reason reason);
/* The worker ends, and so does the session; a client that waits for an answer still gets one. */
void session_shut_down(struct session *s);
/* No request has been made on it yet: nothing is lost when it goes. */
bool session_is_unused(const struct session *s);
struct session *session_next(struct session *s);
/* True for a tunnel that was captured; the map is told that its synthetic address is in use. */
bool session_uses_map(struct session *s);
/* The deadline list's call back. */
void session_on_deadline(void *ctx, struct deadline *d, int64_t now_ms);

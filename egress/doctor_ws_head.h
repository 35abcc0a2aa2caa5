/* SPDX-License-Identifier: Apache-2.0 */
/* The opening handshake of a WebSocket, RFC 6455 4: what is asked, and what came back. Pure. */
#pragma once

#include "common/base/buf.h"
#include "egress/doctor.h"
#include "egress/doctor_ws_key.h"

#define DOCTOR_WS_HEAD_MAX 8192U

/* The request for t->ws_path. What does not fit sets w's flag. */
void doctor_ws_request(struct wbuf *w, const struct doctor_target *t, bool is_tls,
                       const char key[DOCTOR_WS_KEY_CAP]);

enum doctor_ws_answer {
    DOCTOR_WS_MORE = 0, /* not enough to tell */
    DOCTOR_WS_UPGRADED,
    DOCTOR_WS_REFUSED, /* HTTP, and another status than 101 */
    DOCTOR_WS_WRONG,   /* 101, and not as RFC 6455 4.1 has it: a client has to give up */
    DOCTOR_WS_FOREIGN  /* no HTTP/1 */
};
struct doctor_ws_head {
    enum doctor_ws_answer answer;
    int status;      /* 0: none was understood */
    size_t len;      /* of the head; what is behind it are frames, or a body */
    const char *why; /* of WRONG */
};
/*
 * bytes: what came so far, from the first on. Strict: CRLF only, no folding, no control characters, at most
 * DOCTOR_WS_HEAD_MAX. No extension and no subprotocol was asked for, so none may be answered.
 */
void doctor_ws_head_read(struct span bytes, const char key[DOCTOR_WS_KEY_CAP], struct doctor_ws_head *out);

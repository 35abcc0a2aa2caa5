/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of a WebSocket, RFC 6455 5: a client's control frames, and a strict reader of what a server sends.
 * Messages are of any length and read over; of control frames the payload is kept. Pure.
 */
#pragma once

#include "common/base/buf.h"

#define DOCTOR_WS_CONTROL_MAX 125U /* 5.5 */

enum doctor_ws_opcode {
    DOCTOR_WS_CONTINUATION = 0,
    DOCTOR_WS_TEXT = 1,
    DOCTOR_WS_BINARY = 2,
    DOCTOR_WS_CLOSE = 8,
    DOCTOR_WS_PING = 9,
    DOCTOR_WS_PONG = 10
};

/* A control frame with at most DOCTOR_WS_CONTROL_MAX bytes, masked as a client has to (5.3). */
void doctor_ws_frame_put(struct wbuf *w, enum doctor_ws_opcode opcode, struct span payload,
                         const uint8_t mask[4]);

enum doctor_ws_event {
    DOCTOR_WS_NOTHING = 0, /* all bytes are eaten, and no frame ended with them */
    DOCTOR_WS_GOT_DATA,
    DOCTOR_WS_GOT_PING,
    DOCTOR_WS_GOT_PONG,
    DOCTOR_WS_GOT_CLOSE,
    DOCTOR_WS_BROKEN /* no frame that a server may send: nothing behind it can be read */
};
struct doctor_ws_frames { /* zero: nothing was read */
    uint8_t head[10];     /* a server's has no mask */
    size_t head_len;
    uint64_t left;                          /* of the payload */
    uint8_t control[DOCTOR_WS_CONTROL_MAX]; /* of the last control frame */
    size_t control_len;
    bool is_inside;  /* head is whole */
    bool is_message; /* its last frame is still to come */
    const char *why; /* of BROKEN, which stays */
};
/* Reads up to the end of one frame, and takes what it read from the front of *bytes. */
enum doctor_ws_event doctor_ws_frames_next(struct doctor_ws_frames *f, struct span *bytes);
/* Of a close frame that was read: its code (1005, if it has none, 7.1.5), and the text behind it. */
unsigned doctor_ws_close_code(const struct doctor_ws_frames *f);
struct span doctor_ws_close_text(const struct doctor_ws_frames *f);

/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/doctor_ws_frame.h"

#include "common/base/err.h"

#define FIN 0x80U
#define RESERVED 0x70U
#define MASKED 0x80U
#define NO_CODE 1005U

void doctor_ws_frame_put(struct wbuf *w, enum doctor_ws_opcode opcode, struct span payload,
                         const uint8_t mask[4])
{
    REQUIRE(payload.len <= DOCTOR_WS_CONTROL_MAX);
    wbuf_u8(w, (uint8_t)(FIN | (unsigned)opcode));
    wbuf_u8(w, (uint8_t)(MASKED | payload.len));
    wbuf_put(w, span_make(mask, 4));
    for (size_t i = 0; i < payload.len; i++) {
        wbuf_u8(w, (uint8_t)(payload.data[i] ^ mask[i % 4]));
    }
}

static unsigned opcode_of(const struct doctor_ws_frames *f)
{
    return f->head[0] & 0x0fU;
}

static bool is_control(const struct doctor_ws_frames *f)
{
    return opcode_of(f) >= DOCTOR_WS_CLOSE;
}

/* 2, 4 or 10: how long the head is can be told from its second byte. */
static size_t head_want(const struct doctor_ws_frames *f)
{
    if (f->head_len < 2) {
        return 2;
    }
    unsigned len = f->head[1] & 0x7fU;
    return len < 126 ? 2 : len == 126 ? 4 : 10;
}

/* What the first two bytes may not be. */
static const char *fault_of_start(const struct doctor_ws_frames *f)
{
    unsigned opcode = opcode_of(f);
    unsigned len = f->head[1] & 0x7fU;
    bool is_final = (f->head[0] & FIN) != 0;
    bool is_known = opcode <= DOCTOR_WS_BINARY || (opcode >= DOCTOR_WS_CLOSE && opcode <= DOCTOR_WS_PONG);
    if ((f->head[0] & RESERVED) != 0) {
        return "a reserved bit is set";
    }
    if (!is_known) {
        return "an unknown opcode";
    }
    if ((f->head[1] & MASKED) != 0) {
        return "a masked frame from a server";
    }
    if (is_control(f)) {
        return !is_final                               ? "a control frame in parts"
               : len > DOCTOR_WS_CONTROL_MAX           ? "a control frame that is too long"
               : opcode == DOCTOR_WS_CLOSE && len == 1 ? "a close frame with half a code"
                                                       : NULL;
    }
    return (opcode == DOCTOR_WS_CONTINUATION) == f->is_message ? NULL : "a frame that is out of turn";
}

/* The payload's length, in as few bytes as it needs (5.2). */
static const char *take_length(struct doctor_ws_frames *f)
{
    uint64_t len = 0;
    for (size_t i = 2; i < f->head_len; i++) {
        len = len << 8 | f->head[i];
    }
    f->left = f->head_len == 2 ? f->head[1] & 0x7fU : len;
    bool is_long = f->head_len == 4 ? len < 126 : f->head_len == 10 && len <= UINT16_MAX;
    return is_long ? "a length in too many bytes" : len >> 63 != 0 ? "a length beyond 63 bits" : NULL;
}

/* Bytes of the head, one by one. True when it is whole; f->why: it may not be. */
static bool read_head(struct doctor_ws_frames *f, struct span *bytes)
{
    while (bytes->len > 0 && f->why == NULL && f->head_len < head_want(f)) {
        f->head[f->head_len++] = bytes->data[0];
        *bytes = span_sub(*bytes, 1, bytes->len);
        f->why = f->head_len == 2 ? fault_of_start(f) : NULL;
    }
    if (f->why != NULL || f->head_len < 2 || f->head_len < head_want(f)) {
        return false;
    }
    f->why = take_length(f);
    f->control_len = is_control(f) ? 0 : f->control_len;
    f->is_inside = f->why == NULL;
    return f->is_inside;
}

static void read_payload(struct doctor_ws_frames *f, struct span *bytes)
{
    struct span part = span_sub(*bytes, 0, f->left < bytes->len ? (size_t)f->left : bytes->len);
    if (is_control(f) && part.len > 0) {
        memcpy(f->control + f->control_len, part.data, part.len);
        f->control_len += part.len;
    }
    f->left -= part.len;
    *bytes = span_sub(*bytes, part.len, bytes->len);
}

static enum doctor_ws_event event_of(unsigned opcode)
{
    return opcode == DOCTOR_WS_CLOSE  ? DOCTOR_WS_GOT_CLOSE
           : opcode == DOCTOR_WS_PING ? DOCTOR_WS_GOT_PING
           : opcode == DOCTOR_WS_PONG ? DOCTOR_WS_GOT_PONG
                                      : DOCTOR_WS_GOT_DATA;
}

enum doctor_ws_event doctor_ws_frames_next(struct doctor_ws_frames *f, struct span *bytes)
{
    if (f->why != NULL) {
        return DOCTOR_WS_BROKEN;
    }
    if (!f->is_inside && !read_head(f, bytes)) {
        return f->why != NULL ? DOCTOR_WS_BROKEN : DOCTOR_WS_NOTHING;
    }
    read_payload(f, bytes);
    if (f->left > 0) {
        return DOCTOR_WS_NOTHING;
    }
    if (!is_control(f)) { /* control frames come between the parts of a message */
        f->is_message = (f->head[0] & FIN) == 0;
    }
    f->is_inside = false;
    f->head_len = 0;
    return event_of(opcode_of(f));
}

unsigned doctor_ws_close_code(const struct doctor_ws_frames *f)
{
    return f->control_len < 2 ? NO_CODE : (unsigned)f->control[0] << 8 | f->control[1];
}

struct span doctor_ws_close_text(const struct doctor_ws_frames *f)
{
    struct span all = span_make(f->control, f->control_len);
    return span_sub(all, 2, all.len);
}

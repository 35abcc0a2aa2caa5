/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two byte buffers.
 * struct wbuf: a bounded writer over memory of the caller's, with a sticky overflow flag (wire messages,
 * heads). struct buf: an owned, growing buffer with a hard limit (queues of unsent bytes, text).
 * Zero-initialised = empty. No function of either ever writes past its bound. Not thread-safe; owner calls
 * buf_fini().
 */
#pragma once

#include "common/base/span.h"

struct wbuf {
    uint8_t *data; /* borrowed */
    size_t len;
    size_t cap;
    bool overflow; /* sticky: something did not fit; len is then what fitted before */
};

static inline struct wbuf wbuf_make(void *data, size_t cap)
{
    return (struct wbuf){.data = (uint8_t *)data, .len = 0, .cap = cap, .overflow = false};
}
static inline struct span wbuf_span(const struct wbuf *w)
{
    return (struct span){w->data, w->len};
}
/* Room for len more bytes, or NULL and the sticky flag. The bytes count as written. */
static inline uint8_t *wbuf_room(struct wbuf *w, size_t len)
{
    if (w->overflow || len > w->cap - w->len) {
        w->overflow = true;
        return NULL;
    }
    uint8_t *at = w->data + w->len;
    w->len += len;
    return at;
}
static inline void wbuf_u8(struct wbuf *w, uint8_t v)
{
    uint8_t *at = wbuf_room(w, 1);
    if (at != NULL) {
        at[0] = v;
    }
}
static inline void wbuf_u16(struct wbuf *w, uint16_t v) /* network order */
{
    uint8_t *at = wbuf_room(w, 2);
    if (at != NULL) {
        at[0] = (uint8_t)(v >> 8);
        at[1] = (uint8_t)v;
    }
}
static inline void wbuf_u32(struct wbuf *w, uint32_t v) /* network order */
{
    uint8_t *at = wbuf_room(w, 4);
    if (at != NULL) {
        at[0] = (uint8_t)(v >> 24);
        at[1] = (uint8_t)(v >> 16);
        at[2] = (uint8_t)(v >> 8);
        at[3] = (uint8_t)v;
    }
}
void wbuf_put(struct wbuf *w, struct span s);
void wbuf_str(struct wbuf *w, const char *s);
/* v in decimal, with zeros in front up to this many digits (at most 20). All of it, or nothing and the flag.
 * Much cheaper than wbuf_printf, which reads its format each time: half of a log line's cost was numbers. */
void wbuf_decimal(struct wbuf *w, uint64_t v, size_t digits);
/* Needs one byte of room more than the text has: vsnprintf(3) ends it with a NUL, which is not counted. */
void wbuf_printf(struct wbuf *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Appends s as the inside of a JSON string: quotes, backslash and controls escaped, bytes above 126 as
 * \u00XX. All of it or, with the overflow flag, nothing. */
void wbuf_json(struct wbuf *w, struct span s);

struct buf {
    uint8_t *data; /* owned; bytes [start, start+len) are live */
    size_t start;
    size_t len;
    size_t cap;
};

/* 0, -ENOMEM, or -E2BIG if the live bytes would exceed limit (nothing is appended then). s is not of b
 * itself. */
int buf_append(struct buf *b, struct span s, size_t limit);
/* Drops n (<= len) bytes from the front; frees the memory when nothing is left. */
void buf_consume(struct buf *b, size_t n);
static inline struct span buf_span(const struct buf *b)
{
    return (struct span){b->data == NULL ? NULL : b->data + b->start, b->len};
}
void buf_fini(struct buf *b); /* frees and empties; safe on an empty one */

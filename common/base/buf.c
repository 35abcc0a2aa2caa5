/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/buf.h"

#include "common/base/err.h"
#include "common/base/json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BUF_FIRST_CAP 256U

void wbuf_put(struct wbuf *w, struct span s)
{
    if (s.len == 0) {
        return;
    }
    uint8_t *at = wbuf_room(w, s.len);
    if (at != NULL) {
        memcpy(at, s.data, s.len);
    }
}

void wbuf_str(struct wbuf *w, const char *s)
{
    wbuf_put(w, span_str(s));
}

void wbuf_decimal(struct wbuf *w, uint64_t v, size_t digits)
{
    uint8_t text[20]; /* 2^64 has as many */
    size_t at = sizeof(text);
    do {
        at--;
        text[at] = (uint8_t)('0' + v % 10);
        v /= 10;
    } while (at > 0 && (v > 0 || sizeof(text) - at < digits));
    wbuf_put(w, span_make(text + at, sizeof(text) - at));
}

void wbuf_printf(struct wbuf *w, const char *fmt, ...)
{
    if (w->overflow) {
        return;
    }
    size_t room = w->cap - w->len;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(room == 0 ? NULL : (char *)w->data + w->len, room, fmt, ap);
    va_end(ap);
    if (n < 0 || (n > 0 && (size_t)n >= room)) {
        w->overflow = true;
        return;
    }
    w->len += (size_t)n;
}

void wbuf_json(struct wbuf *w, struct span s)
{
    size_t before = w->len;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t escaped[JSON_ESCAPE_CAP];
        wbuf_put(w, span_make(escaped, json_escape(s.data[i], escaped)));
    }
    if (w->overflow) {
        w->len = before; /* all of it or nothing: half an escape is no JSON */
    }
}

/* Makes room for more bytes behind the live ones; need = live + more <= limit. */
static int buf_reserve(struct buf *b, size_t need, size_t limit)
{
    if (b->start + need <= b->cap) {
        return 0;
    }
    if (need <= b->cap) {
        memmove(b->data, b->data + b->start, b->len);
        b->start = 0;
        return 0;
    }
    size_t cap = b->cap == 0 ? BUF_FIRST_CAP : b->cap;
    while (cap < need && cap <= SIZE_MAX / 2) {
        cap *= 2;
    }
    if (cap > limit) {
        cap = limit;
    }
    uint8_t *data = malloc(cap);
    if (data == NULL) {
        return -ENOMEM;
    }
    if (b->len > 0) {
        memcpy(data, b->data + b->start, b->len);
    }
    free(b->data);
    b->data = data;
    b->start = 0;
    b->cap = cap;
    return 0;
}

int buf_append(struct buf *b, struct span s, size_t limit)
{
    if (b->len > limit || s.len > limit - b->len) {
        return -E2BIG;
    }
    if (s.len == 0) {
        return 0;
    }
    int rc = buf_reserve(b, b->len + s.len, limit);
    if (rc != 0) {
        return rc;
    }
    memcpy(b->data + b->start + b->len, s.data, s.len);
    b->len += s.len;
    return 0;
}

void buf_consume(struct buf *b, size_t n)
{
    REQUIRE(n <= b->len);
    b->start += n;
    b->len -= n;
    if (b->len == 0) {
        buf_fini(b);
    }
}

void buf_fini(struct buf *b)
{
    free(b->data);
    *b = (struct buf){0};
}

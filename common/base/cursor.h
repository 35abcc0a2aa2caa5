/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A read cursor over untrusted wire bytes with a sticky error: once a read runs past the end every later read
 * yields 0 and cursor_is_ok() is false, so a parser checks once at the end of each step.
 * Invariant: pos <= bytes.len. Big-endian readers (network order). Pure.
 */
#pragma once

#include "common/base/span.h"

struct cursor {
    struct span bytes;
    size_t pos;
    bool bad;
};

static inline struct cursor cursor_make(struct span bytes)
{
    return (struct cursor){.bytes = bytes, .pos = 0, .bad = false};
}

static inline bool cursor_is_ok(const struct cursor *c)
{
    return !c->bad;
}

static inline size_t cursor_left(const struct cursor *c)
{
    return c->bytes.len - c->pos;
}

/* The next len bytes as a borrowed span; an empty span and the sticky error if there are fewer. */
static inline struct span cursor_take(struct cursor *c, size_t len)
{
    if (c->bad || len > cursor_left(c)) {
        c->bad = true;
        return (struct span){NULL, 0};
    }
    struct span taken = span_sub(c->bytes, c->pos, len);
    c->pos += len;
    return taken;
}

static inline void cursor_skip(struct cursor *c, size_t len)
{
    (void)cursor_take(c, len);
}

static inline uint8_t cursor_u8(struct cursor *c)
{
    if (c->bad || cursor_left(c) < 1) {
        c->bad = true;
        return 0;
    }
    return c->bytes.data[c->pos++];
}

static inline uint16_t cursor_u16(struct cursor *c)
{
    if (c->bad || cursor_left(c) < 2) {
        c->bad = true;
        return 0;
    }
    const uint8_t *p = c->bytes.data + c->pos;
    c->pos += 2;
    return (uint16_t)((p[0] << 8) | p[1]);
}

uint32_t cursor_u24(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);

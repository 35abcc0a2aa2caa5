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

uint8_t cursor_u8(struct cursor *c);
uint16_t cursor_u16(struct cursor *c);
uint32_t cursor_u24(struct cursor *c);
uint32_t cursor_u32(struct cursor *c);

/* The next len bytes as a borrowed span; an empty span and the sticky error if there are fewer. */
struct span cursor_take(struct cursor *c, size_t len);
void cursor_skip(struct cursor *c, size_t len);

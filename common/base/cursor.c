/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/cursor.h"

struct span cursor_take(struct cursor *c, size_t len)
{
    if (c->bad || len > cursor_left(c)) {
        c->bad = true;
        return (struct span){NULL, 0};
    }
    struct span taken = span_sub(c->bytes, c->pos, len);
    c->pos += len;
    return taken;
}

void cursor_skip(struct cursor *c, size_t len)
{
    (void)cursor_take(c, len);
}

/* The next count (<= 4) bytes as one number. */
static uint32_t take_number(struct cursor *c, size_t count)
{
    struct span s = cursor_take(c, count);
    uint32_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        v = (v << 8) | s.data[i];
    }
    return v;
}

uint8_t cursor_u8(struct cursor *c)
{
    return (uint8_t)take_number(c, 1);
}

uint16_t cursor_u16(struct cursor *c)
{
    return (uint16_t)take_number(c, 2);
}

uint32_t cursor_u24(struct cursor *c)
{
    return take_number(c, 3);
}

uint32_t cursor_u32(struct cursor *c)
{
    return take_number(c, 4);
}

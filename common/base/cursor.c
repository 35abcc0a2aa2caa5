/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/cursor.h"

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

uint32_t cursor_u24(struct cursor *c)
{
    return take_number(c, 3);
}

uint32_t cursor_u32(struct cursor *c)
{
    return take_number(c, 4);
}

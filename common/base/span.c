/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/span.h"

bool span_is_equal_nocase(struct span a, struct span b)
{
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (ascii_lower(a.data[i]) != ascii_lower(b.data[i])) {
            return false;
        }
    }
    return true;
}

struct span span_sub(struct span s, size_t from, size_t len)
{
    if (from >= s.len) {
        /* past the end: empty, and no pointer arithmetic on a NULL data */
        return (struct span){s.data == NULL ? NULL : s.data + s.len, 0};
    }
    size_t left = s.len - from;
    return (struct span){s.data + from, len < left ? len : left};
}

size_t span_find(struct span s, uint8_t c)
{
    if (s.len == 0) {
        return 0;
    }
    const uint8_t *hit = memchr(s.data, c, s.len);
    return hit == NULL ? s.len : (size_t)(hit - s.data);
}

static bool is_ows(uint8_t c)
{
    return c == ' ' || c == '\t';
}

struct span span_trim_ows(struct span s)
{
    while (s.len > 0 && is_ows(s.data[0])) {
        s.data++;
        s.len--;
    }
    while (s.len > 0 && is_ows(s.data[s.len - 1])) {
        s.len--;
    }
    return s;
}

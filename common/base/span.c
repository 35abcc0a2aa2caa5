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

/* Eight bytes at a time: 0x80 marks a capital letter, whose bit 0x20 is to be set. */
static uint64_t lower8(uint64_t v)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t low = v & (ones * 0x7f);
    const uint64_t from_a = low + ones * (0x80 - 'A');
    const uint64_t behind_z = low + ones * (0x80 - 'Z' - 1);
    const uint64_t capitals = (from_a ^ behind_z) & ~v & (ones * 0x80);
    return v | capitals >> 2;
}

void ascii_lower_copy(uint8_t *out, struct span s)
{
    size_t i = 0;
    for (; s.len - i >= sizeof(uint64_t); i += sizeof(uint64_t)) {
        uint64_t v;
        memcpy(&v, s.data + i, sizeof(v));
        v = lower8(v);
        memcpy(out + i, &v, sizeof(v));
    }
    for (; i < s.len; i++) {
        out[i] = ascii_lower(s.data[i]);
    }
}

static size_t min_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t span_distance(struct span a, struct span b)
{
    size_t row[SPAN_DISTANCE_MAX_LEN + 1];
    if (a.len > SPAN_DISTANCE_MAX_LEN || b.len > SPAN_DISTANCE_MAX_LEN) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= b.len; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t above = row[j];
            size_t cost = ascii_lower(a.data[i - 1]) == ascii_lower(b.data[j - 1]) ? 0 : 1;
            row[j] = min_of(diagonal + cost, min_of(above, row[j - 1]) + 1);
            diagonal = above;
        }
    }
    return row[b.len];
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

static bool is_continuation(struct span s, size_t i)
{
    return i < s.len && (s.data[i] & 0xc0U) == 0x80;
}

size_t span_char_len(struct span s, size_t i)
{
    uint8_t c = s.data[i];
    if (c < 0x80) {
        return 1;
    }
    if (c < 0xc2 || c > 0xf4 || !is_continuation(s, i + 1)) {
        return 0;
    }
    if (c < 0xe0) {
        return 2;
    }
    uint8_t second = s.data[i + 1];
    if (!is_continuation(s, i + 2)) {
        return 0;
    }
    if (c < 0xf0) {
        bool is_overlong = c == 0xe0 && second < 0xa0;
        bool is_surrogate = c == 0xed && second > 0x9f;
        return is_overlong || is_surrogate ? 0 : 3;
    }
    if (!is_continuation(s, i + 3) || (c == 0xf0 && second < 0x90) || (c == 0xf4 && second > 0x8f)) {
        return 0;
    }
    return 4;
}

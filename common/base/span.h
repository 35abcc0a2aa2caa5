/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A borrowed run of bytes. A span never owns memory and is not NUL-terminated; all peer data travels as
 * spans. Pure: no state, any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const uint8_t *data; /* may be NULL only if len is 0 */
    size_t len;
};

#define SPAN_LIT(s) ((struct span){(const uint8_t *)(s), sizeof(s) - 1})

static inline struct span span_make(const void *data, size_t len)
{
    return (struct span){(const uint8_t *)data, len};
}

/* For strings of our own (options, policy text), never for peer data. */
static inline struct span span_str(const char *s)
{
    return (struct span){(const uint8_t *)s, s == NULL ? 0 : strlen(s)};
}

static inline bool span_is_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* ASCII only: bytes above 127 compare as they are. */
bool span_is_equal_nocase(struct span a, struct span b);

/* Bytes [from, from+len) of s, cut to what s has; never fails. */
static inline struct span span_sub(struct span s, size_t from, size_t len)
{
    if (from >= s.len) {
        /* past the end: empty, and no pointer arithmetic on a NULL data */
        return (struct span){s.len == 0 ? s.data : s.data + s.len, 0};
    }
    size_t left = s.len - from;
    return (struct span){s.data + from, len < left ? len : left};
}

/* Levenshtein distance, ASCII case ignored. Anything longer than the bound counts as infinitely far. */
#define SPAN_DISTANCE_MAX_LEN 255U
size_t span_distance(struct span a, struct span b);

/* Index of byte c, or s.len. */
static inline size_t span_find(struct span s, uint8_t c)
{
    const uint8_t *hit = s.len == 0 ? NULL : memchr(s.data, c, s.len);
    return hit == NULL ? s.len : (size_t)(hit - s.data);
}

/* s without leading and trailing SP and HTAB (RFC 9110 5.6.3 OWS). */
struct span span_trim_ows(struct span s);

/* Bytes of the UTF-8 character at s.data[i], i < s.len, or 0 if it is not valid (RFC 3629). */
size_t span_char_len(struct span s, size_t i);

static inline uint8_t ascii_lower(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') ? (uint8_t)(c + 32) : c;
}
/* s in lower case, ASCII only, into s.len bytes at out, which may be those of s. */
void ascii_lower_copy(uint8_t *out, struct span s);

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define CODE_REPLACEMENT 0xfffdU
#define NUMBER_CAP 24

/* ---- characters ---- */

static void put_unit(uint32_t unit, uint8_t out[6])
{
    static const char hex[] = "0123456789abcdef";
    out[0] = '\\';
    out[1] = 'u';
    for (unsigned i = 0; i < 4; i++) {
        out[2 + i] = (uint8_t)hex[(unit >> (12 - 4 * i)) & 15U];
    }
}

size_t json_escape(uint32_t code, uint8_t out[JSON_ESCAPE_CAP])
{
    /* RFC 8259 section 7: what has a short form, in the order of the forms */
    static const char plain[] = "\"\\\b\f\n\r\t";
    static const char shorts[] = "\"\\bfnrt";
    const char *hit = code < 0x80 ? memchr(plain, (int)code, sizeof plain - 1) : NULL;
    if (hit != NULL) {
        out[0] = '\\';
        out[1] = (uint8_t)shorts[hit - plain];
        return 2;
    }
    if (code >= 0x20 && code < 0x7f) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code > 0x10ffff) {
        code = CODE_REPLACEMENT;
    }
    if (code < 0x10000) {
        put_unit(code, out);
        return 6;
    }
    put_unit(0xd800U + ((code - 0x10000U) >> 10), out);
    put_unit(0xdc00U + ((code - 0x10000U) & 0x3ffU), out + 6);
    return 12;
}

/* The code point of the len bytes at c, which are valid UTF-8. */
static uint32_t decode(const uint8_t *c, size_t len)
{
    static const uint8_t first[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t code = c[0] & first[len];
    for (size_t i = 1; i < len; i++) {
        code = code << 6 | (c[i] & 0x3fU);
    }
    return code;
}

/* ---- output ---- */

static void put(struct json *j, struct span s)
{
    if (j->rc == 0) {
        j->rc = buf_append(&j->out, s, j->limit);
    }
}

/* The string and its quotes, through a block, so that the buffer is not asked byte by byte. */
static void put_string(struct json *j, struct span s)
{
    uint8_t mem[256];
    struct wbuf w = wbuf_make(mem, sizeof mem);
    wbuf_u8(&w, '"');
    for (size_t i = 0; i < s.len && j->rc == 0;) {
        uint8_t escaped[JSON_ESCAPE_CAP];
        size_t len = span_char_len(s, i);
        size_t escaped_len = json_escape(len == 0 ? CODE_REPLACEMENT : decode(s.data + i, len), escaped);
        if (w.cap - w.len < escaped_len) {
            put(j, wbuf_span(&w));
            w.len = 0;
        }
        wbuf_put(&w, span_make(escaped, escaped_len));
        i += len == 0 ? 1 : len;
    }
    put(j, wbuf_span(&w));
    put(j, SPAN_LIT("\""));
}

/* ---- structure ---- */

static bool is_in_object(const struct json *j)
{
    return j->depth > 0 && (j->objects >> (j->depth - 1) & 1U) != 0;
}

/* What stands in front of a value: comma and key. False if there may be no value here. */
static bool begin_value(struct json *j, const char *key)
{
    if (j->rc != 0) {
        return false;
    }
    bool is_second_at_top = j->depth == 0 && j->wants_comma;
    if (!CHECK(!is_second_at_top && is_in_object(j) == (key != NULL))) {
        j->rc = -EINVAL;
        return false;
    }
    if (j->wants_comma) {
        put(j, SPAN_LIT(","));
    }
    if (key != NULL) {
        put_string(j, span_str(key));
        put(j, SPAN_LIT(":"));
    }
    j->wants_comma = true;
    return j->rc == 0;
}

static void open_level(struct json *j, const char *key, bool is_object)
{
    if (!begin_value(j, key)) {
        return;
    }
    if (!CHECK(j->depth < JSON_DEPTH_MAX)) {
        j->rc = -EINVAL;
        return;
    }
    uint32_t bit = 1U << j->depth;
    j->objects = is_object ? j->objects | bit : j->objects & ~bit;
    j->depth++;
    j->wants_comma = false;
    put(j, is_object ? SPAN_LIT("{") : SPAN_LIT("["));
}

void json_object(struct json *j, const char *key)
{
    open_level(j, key, true);
}

void json_array(struct json *j, const char *key)
{
    open_level(j, key, false);
}

void json_end(struct json *j)
{
    if (j->rc != 0) {
        return;
    }
    if (!CHECK(j->depth > 0)) {
        j->rc = -EINVAL;
        return;
    }
    put(j, is_in_object(j) ? SPAN_LIT("}") : SPAN_LIT("]"));
    j->depth--;
    j->wants_comma = true;
}

/* ---- values ---- */

void json_span(struct json *j, const char *key, struct span s)
{
    if (begin_value(j, key)) {
        put_string(j, s);
    }
}

void json_str(struct json *j, const char *key, const char *s)
{
    if (s == NULL) {
        json_null(j, key);
    } else {
        json_span(j, key, span_str(s));
    }
}

static void put_plain(struct json *j, const char *key, struct span s)
{
    if (begin_value(j, key)) {
        put(j, s);
    }
}

void json_u64(struct json *j, const char *key, uint64_t n)
{
    char text[NUMBER_CAP];
    (void)snprintf(text, sizeof text, "%" PRIu64, n);
    put_plain(j, key, span_str(text));
}

void json_i64(struct json *j, const char *key, int64_t n)
{
    char text[NUMBER_CAP];
    (void)snprintf(text, sizeof text, "%" PRId64, n);
    put_plain(j, key, span_str(text));
}

void json_bool(struct json *j, const char *key, bool b)
{
    put_plain(j, key, b ? SPAN_LIT("true") : SPAN_LIT("false"));
}

void json_null(struct json *j, const char *key)
{
    put_plain(j, key, SPAN_LIT("null"));
}

int json_finish(struct json *j, struct span *text)
{
    if (j->rc == 0 && !CHECK(j->depth == 0 && j->wants_comma)) {
        j->rc = -EINVAL;
    }
    put(j, SPAN_LIT("\n"));
    *text = j->rc == 0 ? buf_span(&j->out) : (struct span){NULL, 0};
    return j->rc;
}

void json_fini(struct json *j)
{
    buf_fini(&j->out);
    *j = (struct json){.limit = j->limit};
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/log_line.h"

#include "common/base/cursor.h"
#include "common/base/num.h"

struct reader {
    struct span in; /* what is left of the line */
    struct log_line *out;
    size_t used; /* of out->text */
};

static bool put(struct reader *r, uint8_t c)
{
    if (c == '\0' || r->used + 1 >= LOG_LINE_CAP) {
        return false;
    }
    r->out->text[r->used++] = (char)c;
    return true;
}

static const char *finish(struct reader *r, size_t start)
{
    r->out->text[r->used++] = '\0'; /* put() kept the room */
    return r->out->text + start;
}

static bool take(struct reader *r, uint8_t c)
{
    if (r->in.len == 0 || r->in.data[0] != c) {
        return false;
    }
    r->in = span_sub(r->in, 1, r->in.len);
    return true;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* digits hexadecimal digits that say a byte: all that our logs write in that form. */
static bool put_hex(struct reader *r, size_t digits)
{
    unsigned value = 0;
    for (size_t i = 0; i < digits; i++) {
        int digit = r->in.len > i ? hex_digit(r->in.data[i]) : -1;
        if (digit < 0) {
            return false;
        }
        value = value << 4 | (unsigned)digit;
    }
    r->in = span_sub(r->in, digits, r->in.len);
    return value < 256 && put(r, value == 0 ? '?' : (uint8_t)value);
}

/* What is behind a backslash. */
static bool put_escaped(struct reader *r)
{
    static const char from[] = "\"\\/nrtbf";
    static const char to[] = "\"\\/\n\r\t\b\f";
    if (take(r, 'x')) {
        return put_hex(r, 2);
    }
    if (take(r, 'u')) {
        return put_hex(r, 4);
    }
    for (size_t i = 0; i < sizeof from - 1; i++) {
        if (take(r, (uint8_t)from[i])) {
            return put(r, (uint8_t)to[i]);
        }
    }
    return false;
}

/* NULL if it is not as it should be. */
static const char *read_quoted(struct reader *r)
{
    const size_t start = r->used;
    if (!take(r, '"')) {
        return NULL;
    }
    while (!take(r, '"')) {
        bool is_good = false;
        if (take(r, '\\')) {
            is_good = put_escaped(r);
        } else if (r->in.len > 0) {
            is_good = put(r, r->in.data[0]);
            r->in = span_sub(r->in, 1, r->in.len);
        }
        if (!is_good) {
            return NULL;
        }
    }
    return finish(r, start);
}

/* Up to one of the two bytes, or to the end; NULL if it is nothing. */
static const char *read_bare(struct reader *r, uint8_t end, uint8_t other)
{
    const size_t start = r->used;
    while (r->in.len > 0 && r->in.data[0] != end && r->in.data[0] != other) {
        if (!put(r, r->in.data[0])) {
            return NULL;
        }
        r->in = span_sub(r->in, 1, r->in.len);
    }
    return r->used == start ? NULL : finish(r, start);
}

static bool is_quote(const struct reader *r)
{
    return r->in.len > 0 && r->in.data[0] == '"';
}

static bool add(struct reader *r, const char *key, const char *value)
{
    if (key == NULL || value == NULL || r->out->count == LOG_LINE_FIELDS_MAX) {
        return false;
    }
    r->out->fields[r->out->count].key = key;
    r->out->fields[r->out->count].value = value;
    r->out->count++;
    return true;
}

/* {"key":"text","key":1,...} */
static bool read_json(struct reader *r)
{
    if (!take(r, '{')) {
        return false;
    }
    do {
        const char *key = read_quoted(r);
        if (key == NULL || !take(r, ':') ||
            !add(r, key, is_quote(r) ? read_quoted(r) : read_bare(r, ',', '}'))) {
            return false;
        }
    } while (take(r, ','));
    return take(r, '}') && r->in.len == 0;
}

/* TIME LEVEL PROGRAM EVENT key=value key="value"... */
static bool read_text(struct reader *r)
{
    static const char *const head[] = {"time", "level", "program", "event"};
    bool is_first = true;
    for (size_t i = 0; i < sizeof head / sizeof head[0]; i++) {
        if ((!is_first && !take(r, ' ')) || !add(r, head[i], read_bare(r, ' ', ' '))) {
            return false;
        }
        is_first = false;
    }
    while (take(r, ' ')) {
        const char *key = read_bare(r, '=', ' ');
        if (key == NULL || !take(r, '=') ||
            !add(r, key, is_quote(r) ? read_quoted(r) : read_bare(r, ' ', ' '))) {
            return false;
        }
    }
    return r->in.len == 0;
}

bool log_line_parse(struct span line, struct log_line *out)
{
    struct reader r = {.in = line, .out = out};
    out->count = 0;
    return line.len > 0 && line.data[0] == '{' ? read_json(&r) : read_text(&r);
}

const char *log_line_get(const struct log_line *l, const char *key)
{
    for (size_t i = 0; i < l->count; i++) {
        if (strcmp(l->fields[i].key, key) == 0) {
            return l->fields[i].value;
        }
    }
    return NULL;
}

uint64_t log_line_number(const struct log_line *l, const char *key)
{
    uint64_t n = 0;
    const char *value = log_line_get(l, key);
    return value != NULL && num_u64(span_str(value), 0, UINT64_MAX, &n) == 0 ? n : 0;
}

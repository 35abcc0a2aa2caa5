/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/yaml_text.h"

#include <errno.h>
#include <stdio.h>

size_t yaml_break_len(struct span s, size_t i)
{
    if (i >= s.len) {
        return 0;
    }
    switch (s.data[i]) {
    case '\r':
        return i + 1 < s.len && s.data[i + 1] == '\n' ? 2 : 1;
    case '\n':
        return 1;
    case 0xc2: /* U+0085 */
        return i + 1 < s.len && s.data[i + 1] == 0x85 ? 2 : 0;
    case 0xe2: /* U+2028, U+2029 */
        return i + 2 < s.len && s.data[i + 1] == 0x80 && (s.data[i + 2] & 0xfeU) == 0xa8 ? 3 : 0;
    default:
        return 0;
    }
}

/* Characters YAML 1.1 does not print (5.1); s.data[i..i+len) is valid UTF-8 and no line break. */
static bool is_forbidden(struct span s, size_t i, size_t len)
{
    const uint8_t *c = s.data + i;
    if (len == 1) {
        return (c[0] < 0x20 && c[0] != '\t') || c[0] == 0x7f;
    }
    if (len == 2) {
        return c[0] == 0xc2 && c[1] < 0xa0; /* C1 controls */
    }
    if (len == 3) {
        bool is_bom = c[0] == 0xef && c[1] == 0xbb && c[2] == 0xbf;
        bool is_noncharacter = c[0] == 0xef && c[1] == 0xbf && c[2] >= 0xbe;
        /* U+202A..E and U+2066..9 show a line in another order than it has (CVE-2021-42574) */
        bool is_embedding = c[0] == 0xe2 && c[1] == 0x80 && c[2] >= 0xaa && c[2] <= 0xae;
        bool is_isolate = c[0] == 0xe2 && c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9;
        return is_bom || is_noncharacter || is_embedding || is_isolate;
    }
    return false;
}

static int fail(struct yaml_fault *fault, struct yaml_pos pos, const char *message, const char *hint)
{
    fault->pos = pos;
    (void)snprintf(fault->message, sizeof fault->message, "%s", message);
    (void)snprintf(fault->hint, sizeof fault->hint, "%s", hint);
    return -EINVAL;
}

/* The code point of the len bytes at c, which are valid UTF-8. */
static unsigned code_point(const uint8_t *c, size_t len)
{
    unsigned value = len == 2 ? c[0] & 0x1fU : len == 3 ? c[0] & 0x0fU : c[0] & 0x07U;
    for (size_t i = 1; i < len; i++) {
        value = value << 6 | (c[i] & 0x3fU);
    }
    return value;
}

/* len: of the character at s.data[i], 0 if it is none. */
static int fail_at(struct yaml_fault *fault, struct yaml_pos pos, struct span s, size_t i, size_t len)
{
    char message[80];
    if (s.data[i] == 0) {
        return fail(fault, pos, "a NUL byte", "a policy is a text file in UTF-8: remove it");
    }
    if (len == 0) {
        (void)snprintf(message, sizeof message, "byte 0x%02x: not valid UTF-8", s.data[i]);
        return fail(fault, pos, message, "save the file as UTF-8");
    }
    if (len == 1) {
        (void)snprintf(message, sizeof message, "a control character (byte 0x%02x)", s.data[i]);
        return fail(fault, pos, message, "remove it, or write it as an escape inside double quotes");
    }
    (void)snprintf(message, sizeof message, "a character that cannot be seen (U+%04X)",
                   code_point(s.data + i, len));
    return fail(fault, pos, message, "remove it: what a policy says must be what it shows");
}

/*
 * libyaml compares every %TAG with all those before it, so a file of them would take hours. It reads a '%' in
 * the first column as a directive wherever one may stand.
 */
static bool is_tag_directive(struct span s, size_t i)
{
    return s.len - i > 4 && memcmp(s.data + i, "%TAG", 4) == 0 &&
           (s.data[i + 4] == ' ' || s.data[i + 4] == '\t');
}

static int check_characters(struct span s, struct yaml_fault *fault)
{
    struct yaml_pos pos = {.line = 1, .col = 1, .len = 1};
    size_t i = 0;
    while (i < s.len) {
        if (s.data[i] >= 0x20 && s.data[i] < 0x7f && s.data[i] != '%') { /* nearly all of a file */
            pos.col++;
            i++;
            continue;
        }
        size_t len = yaml_break_len(s, i);
        if (len > 0 && s.data[i] >= 0x80) {
            /* to libyaml a new line, to an editor still the comment in front of it */
            return fail(fault, pos, "a line break that is not seen as one (U+0085, U+2028 or U+2029)",
                        "replace it with a plain line break");
        }
        if (len > 0) {
            pos.line++;
            pos.col = 1;
            i += len;
            continue;
        }
        len = span_char_len(s, i);
        if (len == 0 || is_forbidden(s, i, len)) {
            return fail_at(fault, pos, s, i, len);
        }
        if (pos.col == 1 && is_tag_directive(s, i)) {
            pos.len = 4;
            return fail(fault, pos, "a %TAG directive is not accepted in a policy", "remove it");
        }
        pos.col++;
        i += len;
    }
    return 0;
}

static bool is_utf16(struct span s)
{
    if (s.len < 2) {
        return false;
    }
    uint8_t a = s.data[0];
    uint8_t b = s.data[1];
    bool is_halved = (a == 0) != (b == 0);
    if (is_halved && s.len >= 4) { /* not just one NUL */
        is_halved = (s.data[2] == 0) == (a == 0) && (s.data[3] == 0) == (b == 0);
    }
    return (a == 0xff && b == 0xfe) || (a == 0xfe && b == 0xff) || is_halved;
}

static bool is_header_key_byte(uint8_t c)
{
    return (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || (c >= '0' && c <= '9') || c == ' ' ||
           c == '_' || c == '-';
}

enum line_kind { LINE_OTHER = 0, LINE_BLANK, LINE_HEADER, LINE_END };

/* What a line may be in front of a policy: "Version:      3", a comment, nothing, or the "---" that ends it.
 */
static enum line_kind classify_line(struct span line)
{
    if (span_is_equal(span_trim_ows(line), SPAN_LIT("---")) && line.data[0] == '-') {
        return LINE_END;
    }
    if (span_trim_ows(line).len == 0 || line.data[0] == '#') {
        return LINE_BLANK;
    }
    size_t colon = span_find(line, ':');
    if (colon == line.len || ascii_lower(line.data[0]) < 'a' || ascii_lower(line.data[0]) > 'z') {
        return LINE_OTHER;
    }
    for (size_t i = 0; i < colon; i++) {
        if (!is_header_key_byte(line.data[i])) {
            return LINE_OTHER;
        }
    }
    struct span rest = span_sub(line, colon + 1, line.len);
    struct span value = span_trim_ows(rest);
    if (rest.len > 0 && value.data == rest.data) {
        return LINE_OTHER; /* no space behind the colon */
    }
    /* Anything that could hold more than a word or a sentence is policy, not header. */
    bool is_nested = value.len > 0 && memchr("{[|>&*!", value.data[0], 7) != NULL;
    return is_nested ? LINE_OTHER : LINE_HEADER;
}

/*
 * "openshell policy get --full" prints lines such as "Version:      3" and "---" before the policy. They are
 * no YAML of ours (an error text may stand there), so they are taken off as text.
 */
static void skip_header(struct yaml_text *t)
{
    size_t i = 0;
    size_t lines = 0;
    bool has_header = false;
    while (i < t->body.len) {
        size_t end = i;
        /* of the line breaks check_characters lets only these through */
        while (end < t->body.len && t->body.data[end] != '\n' && t->body.data[end] != '\r') {
            end++;
        }
        enum line_kind kind = classify_line(span_sub(t->body, i, end - i));
        if (kind == LINE_OTHER) {
            return;
        }
        if (kind == LINE_END) {
            break;
        }
        has_header = has_header || kind == LINE_HEADER;
        i = end + yaml_break_len(t->body, end);
        lines++;
    }
    if (has_header && i < t->body.len) {
        t->body = span_sub(t->body, i, t->body.len);
        t->first_line = lines;
    }
}

int yaml_text_check(struct span text, struct yaml_text *out, struct yaml_fault *fault)
{
    *out = (struct yaml_text){.body = text};
    struct yaml_pos start = {.line = 1, .col = 1, .len = 1};
    if (text.len > YAML_TEXT_MAX_BYTES) {
        (void)fail(fault, start, "the file is larger than 16 MiB", "split the policy into several files");
        return -E2BIG;
    }
    if (is_utf16(text)) {
        return fail(fault, start, "the file is UTF-16", "save it as UTF-8");
    }
    if (text.len >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0) {
        out->body = span_sub(text, 3, text.len);
    }
    int rc = check_characters(out->body, fault);
    if (rc == 0) {
        skip_header(out);
    }
    return rc;
}

void yaml_cursor_advance(struct yaml_cursor *c, struct span s, size_t line, size_t col)
{
    while (c->offset < s.len && (c->line < line || (c->line == line && c->col < col))) {
        size_t len = yaml_break_len(s, c->offset);
        if (len > 0) {
            if (c->line == line) {
                return;
            }
            c->line++;
            c->col = 0;
        } else {
            len = span_char_len(s, c->offset);
            len = len == 0 ? 1 : len;
            c->col++;
        }
        c->offset += len;
    }
}

uint8_t yaml_cursor_byte(const struct yaml_cursor *c, struct span s)
{
    return c->offset < s.len ? s.data[c->offset] : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/host_name.h"

#include "common/base/buf.h"
#include "common/base/cursor.h"

#define LABEL_MAX_LEN 63

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_name_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '-' || c == '_';
}

static enum host_fault check_label(struct span label)
{
    if (label.len == 0) {
        return HOST_FAULT_EMPTY_LABEL;
    }
    for (size_t i = 0; i < label.len; i++) {
        if (label.data[i] > 127) {
            return HOST_FAULT_NON_ASCII;
        }
        if (!is_name_byte(label.data[i])) {
            return HOST_FAULT_BAD_BYTE;
        }
    }
    if (label.len > LABEL_MAX_LEN) {
        return HOST_FAULT_LABEL_TOO_LONG;
    }
    if (label.data[0] == '-' || label.data[label.len - 1] == '-') {
        return HOST_FAULT_HYPHEN;
    }
    return HOST_FAULT_NONE;
}

/* Checks label and puts it, in lower case, behind those before it. */
static enum host_fault add_label(struct host_name *n, struct span label)
{
    enum host_fault f = check_label(label);
    if (f != HOST_FAULT_NONE) {
        return f;
    }
    size_t at = n->len == 0 ? 0 : (size_t)n->len + 1;
    if (at + label.len > HOST_NAME_MAX_LEN) {
        return HOST_FAULT_TOO_LONG;
    }
    if (at > 0) {
        n->text[at - 1] = '.';
    }
    for (size_t i = 0; i < label.len; i++) {
        n->text[at + i] = (char)ascii_lower(label.data[i]);
    }
    n->len = (uint8_t)(at + label.len);
    n->label_count++;
    return HOST_FAULT_NONE;
}

/* WHATWG URL 3.5, "ends in a number": all digits, or 0x and then nothing but hex digits. */
static bool is_numeric_label(struct span label)
{
    bool is_hex = label.len >= 2 && label.data[0] == '0' && label.data[1] == 'x';
    for (size_t i = is_hex ? 2 : 0; i < label.len; i++) {
        uint8_t c = label.data[i];
        if (!is_digit(c) && !(is_hex && c >= 'a' && c <= 'f')) {
            return false;
        }
    }
    return label.len > 0;
}

static enum host_fault finish(struct host_name *n, struct host_name *out)
{
    struct span label = host_name_span(n);
    for (size_t dot = span_find(label, '.'); dot < label.len; dot = span_find(label, '.')) {
        label = span_sub(label, dot + 1, label.len);
    }
    if (is_numeric_label(label)) {
        return HOST_FAULT_NUMERIC;
    }
    *out = *n;
    return HOST_FAULT_NONE;
}

enum host_fault host_name_parse(struct span text, struct host_name *out)
{
    *out = (struct host_name){0};
    if (text.len > 0 && text.data[text.len - 1] == '.') {
        text.len--;
    }
    if (text.len == 0) {
        return HOST_FAULT_EMPTY;
    }
    struct host_name n = {0};
    for (;;) {
        size_t dot = span_find(text, '.');
        enum host_fault f = add_label(&n, span_sub(text, 0, dot));
        if (f != HOST_FAULT_NONE) {
            return f;
        }
        if (dot == text.len) {
            return finish(&n, out);
        }
        text = span_sub(text, dot + 1, text.len);
    }
}

static enum host_fault parse_literal(struct span text, struct host *out)
{
    struct ip ip;
    if (ip_parse(text, &ip) != 0) {
        return HOST_FAULT_BAD_IP;
    }
    out->kind = HOST_IP;
    out->ip = ip;
    return HOST_FAULT_NONE;
}

static enum host_fault parse_bracketed(struct span text, struct host *out)
{
    if (text.data[text.len - 1] != ']') {
        return HOST_FAULT_BAD_IP;
    }
    struct span inner = span_sub(text, 1, text.len - 2);
    bool is_v6 = span_find(inner, ':') < inner.len;
    if (is_v6 && span_find(inner, '%') < inner.len) {
        return HOST_FAULT_ZONE_ID;
    }
    return is_v6 ? parse_literal(inner, out) : HOST_FAULT_BAD_IP;
}

enum host_fault host_parse(struct span text, struct host *out)
{
    *out = (struct host){.kind = HOST_NONE};
    if (text.len == 0) {
        return HOST_FAULT_EMPTY;
    }
    if (text.data[0] == '[') {
        return parse_bracketed(text, out);
    }
    if (parse_literal(text, out) == HOST_FAULT_NONE) {
        return HOST_FAULT_NONE;
    }
    if (span_find(text, ':') < text.len && span_find(text, '%') < text.len) {
        return HOST_FAULT_ZONE_ID;
    }
    enum host_fault f = host_name_parse(text, &out->name);
    if (f == HOST_FAULT_NONE) {
        out->kind = HOST_DNS;
    }
    return f;
}

enum host_fault host_name_from_wire(struct span wire, struct host_name *out)
{
    *out = (struct host_name){0};
    struct cursor c = cursor_make(wire);
    struct host_name n = {0};
    for (;;) {
        size_t len = cursor_u8(&c);
        if (len > LABEL_MAX_LEN) {
            return HOST_FAULT_BAD_BYTE; /* a pointer or an extended label type */
        }
        struct span label = cursor_take(&c, len);
        if (!cursor_is_ok(&c)) {
            return HOST_FAULT_BAD_BYTE;
        }
        if (len == 0) {
            break;
        }
        enum host_fault f = add_label(&n, label);
        if (f != HOST_FAULT_NONE) {
            return f;
        }
    }
    if (cursor_left(&c) > 0) {
        return HOST_FAULT_BAD_BYTE; /* bytes behind the root */
    }
    return n.len == 0 ? HOST_FAULT_EMPTY : finish(&n, out);
}

size_t host_name_to_wire(const struct host_name *n, uint8_t out[255])
{
    struct wbuf w = wbuf_make(out, 255);
    struct span rest = host_name_span(n);
    while (rest.len > 0) {
        size_t dot = span_find(rest, '.');
        wbuf_u8(&w, (uint8_t)dot);
        wbuf_put(&w, span_sub(rest, 0, dot));
        rest = span_sub(rest, dot + 1, rest.len);
    }
    wbuf_u8(&w, 0);
    (void)CHECK(!w.overflow);
    return w.len;
}

const char *host_fault_text(enum host_fault f)
{
    switch (f) {
    case HOST_FAULT_NONE:
        return "no fault";
    case HOST_FAULT_EMPTY:
        return "empty name";
    case HOST_FAULT_TOO_LONG:
        return "name longer than 253 bytes";
    case HOST_FAULT_EMPTY_LABEL:
        return "empty label";
    case HOST_FAULT_LABEL_TOO_LONG:
        return "label longer than 63 bytes";
    case HOST_FAULT_BAD_BYTE:
        return "byte other than a letter, a digit, '-' or '_' in a label";
    case HOST_FAULT_NON_ASCII:
        return "name is not ASCII (write the xn-- form)";
    case HOST_FAULT_HYPHEN:
        return "label begins or ends with '-'";
    case HOST_FAULT_NUMERIC:
        return "last label is a number, but this is no address of four decimal numbers";
    case HOST_FAULT_ZONE_ID:
        return "IPv6 address with a zone";
    case HOST_FAULT_BAD_IP:
        return "no valid IPv6 address between the brackets";
    }
    return "unknown fault";
}

bool host_name_is_equal(const struct host_name *a, const struct host_name *b)
{
    return a->len > 0 && span_is_equal(host_name_span(a), host_name_span(b));
}

bool host_name_is_below(const struct host_name *a, const struct host_name *b)
{
    if (b->len == 0 || a->len < b->len + 2) {
        return false;
    }
    size_t from = (size_t)a->len - b->len;
    return a->text[from - 1] == '.' && memcmp(a->text + from, b->text, b->len) == 0;
}

const char *host_text(const struct host *h, char text[HOST_TEXT_CAP])
{
    char ip[IP_TEXT_CAP];
    struct wbuf w = wbuf_make(text, HOST_TEXT_CAP);
    switch (h->kind) {
    case HOST_NONE:
        wbuf_str(&w, "-");
        break;
    case HOST_DNS:
        wbuf_put(&w, host_name_span(&h->name));
        break;
    case HOST_IP:
        wbuf_printf(&w, h->ip.family == IP_V6 ? "[%s]" : "%s", ip_text(&h->ip, ip));
        break;
    }
    wbuf_u8(&w, 0);
    (void)CHECK(!w.overflow);
    return text;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/host_name.h"

#include "common/base/buf.h"
#include "common/base/cursor.h"

#define LABEL_MAX_LEN 63

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* What a byte of a label becomes; 0: it can be in none. */
static const char canonical[256] = {
    ['-'] = '-', ['_'] = '_', ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5',
    ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9', ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd',
    ['e'] = 'e', ['f'] = 'f', ['g'] = 'g', ['h'] = 'h', ['i'] = 'i', ['j'] = 'j', ['k'] = 'k', ['l'] = 'l',
    ['m'] = 'm', ['n'] = 'n', ['o'] = 'o', ['p'] = 'p', ['q'] = 'q', ['r'] = 'r', ['s'] = 's', ['t'] = 't',
    ['u'] = 'u', ['v'] = 'v', ['w'] = 'w', ['x'] = 'x', ['y'] = 'y', ['z'] = 'z', ['A'] = 'a', ['B'] = 'b',
    ['C'] = 'c', ['D'] = 'd', ['E'] = 'e', ['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i', ['J'] = 'j',
    ['K'] = 'k', ['L'] = 'l', ['M'] = 'm', ['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r',
    ['S'] = 's', ['T'] = 't', ['U'] = 'u', ['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z',
};

/* What is wrong with a label that cannot be added. */
static enum host_fault label_fault(struct span label)
{
    if (label.len == 0) {
        return HOST_FAULT_EMPTY_LABEL;
    }
    for (size_t i = 0; i < label.len; i++) {
        if (canonical[label.data[i]] == 0) {
            return label.data[i] > 127 ? HOST_FAULT_NON_ASCII : HOST_FAULT_BAD_BYTE;
        }
    }
    if (label.len > LABEL_MAX_LEN) {
        return HOST_FAULT_LABEL_TOO_LONG;
    }
    if (label.data[0] == '-' || label.data[label.len - 1] == '-') {
        return HOST_FAULT_HYPHEN;
    }
    return HOST_FAULT_TOO_LONG;
}

/* Puts label, in lower case, behind those before it; after a fault n is of no use. */
static enum host_fault add_label(struct host_name *n, struct span label)
{
    size_t at = n->len == 0 ? 0 : (size_t)n->len + 1;
    bool fits = label.len > 0 && label.len <= LABEL_MAX_LEN && at + label.len <= HOST_NAME_MAX_LEN;
    if (!fits || label.data[0] == '-' || label.data[label.len - 1] == '-') {
        return label_fault(label);
    }
    for (size_t i = 0; i < label.len; i++) {
        char c = canonical[label.data[i]];
        if (c == 0) {
            return label_fault(label);
        }
        n->text[at + i] = c;
    }
    if (at > 0) {
        n->text[at - 1] = '.';
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

static enum host_fault finish(const struct host_name *n, size_t last_label_len)
{
    struct span name = host_name_span(n);
    bool is_numeric = is_numeric_label(span_sub(name, name.len - last_label_len, last_label_len));
    return is_numeric ? HOST_FAULT_NUMERIC : HOST_FAULT_NONE;
}

/* n is zeroed. */
static enum host_fault read_text(struct span text, struct host_name *n)
{
    if (text.len > 0 && text.data[text.len - 1] == '.') {
        text.len--;
    }
    if (text.len == 0) {
        return HOST_FAULT_EMPTY;
    }
    for (;;) {
        size_t dot = span_find(text, '.');
        enum host_fault f = add_label(n, span_sub(text, 0, dot));
        if (f != HOST_FAULT_NONE) {
            return f;
        }
        if (dot == text.len) {
            return finish(n, dot);
        }
        text = span_sub(text, dot + 1, text.len);
    }
}

enum host_fault host_name_parse(struct span text, struct host_name *out)
{
    *out = (struct host_name){0};
    enum host_fault f = read_text(text, out);
    if (f != HOST_FAULT_NONE) {
        *out = (struct host_name){0};
    }
    return f;
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

/* n is zeroed. */
static enum host_fault read_wire(struct span wire, struct host_name *n)
{
    struct cursor c = cursor_make(wire);
    size_t last = 0;
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
        enum host_fault f = add_label(n, label);
        if (f != HOST_FAULT_NONE) {
            return f;
        }
        last = len;
    }
    if (cursor_left(&c) > 0) {
        return HOST_FAULT_BAD_BYTE; /* bytes behind the root */
    }
    return n->len == 0 ? HOST_FAULT_EMPTY : finish(n, last);
}

enum host_fault host_name_from_wire(struct span wire, struct host_name *out)
{
    *out = (struct host_name){0};
    enum host_fault f = read_wire(wire, out);
    if (f != HOST_FAULT_NONE) {
        *out = (struct host_name){0};
    }
    return f;
}

/* Each dot becomes the length of the label behind it. */
size_t host_name_to_wire(const struct host_name *n, uint8_t out[255])
{
    REQUIRE(n->len <= HOST_NAME_MAX_LEN);
    struct span name = host_name_span(n);
    size_t at = 0;
    memcpy(out + 1, name.data, name.len);
    while (at < name.len) {
        size_t len = span_find(span_sub(name, at, name.len), '.');
        out[at] = (uint8_t)len;
        at += len + 1;
    }
    out[at] = 0;
    return at + 1;
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

bool host_name_is_localhost(const struct host_name *n)
{
    static const struct host_name localhost = {.len = 9, .label_count = 1, .text = "localhost"};
    return host_name_is_equal(n, &localhost) || host_name_is_below(n, &localhost);
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

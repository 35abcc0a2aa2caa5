/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/http_field.h"

#include "common/base/num.h"

/* The line without its CR LF; false if there is no CR LF or a byte that no line may have. */
static bool take_line(struct span *rest, struct span *line)
{
    size_t end = span_find(*rest, '\r');
    if (end + 1 >= rest->len || rest->data[end + 1] != '\n') {
        return false;
    }
    *line = span_sub(*rest, 0, end);
    *rest = span_sub(*rest, end + 2, rest->len);
    for (size_t i = 0; i < line->len; i++) {
        if (!http_is_text(line->data[i])) {
            return false;
        }
    }
    return true;
}

enum http_field_status http_field_next(struct span *rest, struct http_field *out)
{
    struct span line;
    *out = (struct http_field){.name = {NULL, 0}};
    if (!take_line(rest, &line)) {
        return HTTP_FIELD_BAD;
    }
    if (line.len == 0) {
        return HTTP_FIELD_END;
    }
    size_t colon = span_find(line, ':');
    if (colon == 0 || colon == line.len) {
        return HTTP_FIELD_BAD;
    }
    for (size_t i = 0; i < colon; i++) {
        if (!http_is_tchar(line.data[i])) {
            return HTTP_FIELD_BAD;
        }
    }
    out->name = span_sub(line, 0, colon);
    out->value = span_trim_ows(span_sub(line, colon + 1, line.len));
    return HTTP_FIELD_ONE;
}

bool http_field_is(const struct http_field *f, const char *name)
{
    return span_is_equal_nocase(f->name, span_str(name));
}

bool http_list_next(struct span *rest, struct span *item)
{
    while (rest->len > 0) {
        size_t comma = span_find(*rest, ',');
        *item = span_trim_ows(span_sub(*rest, 0, comma));
        *rest = span_sub(*rest, comma < rest->len ? comma + 1 : comma, rest->len);
        if (item->len > 0) {
            return true;
        }
    }
    return false;
}

bool http_list_has(struct span list, const char *item)
{
    struct span one;
    while (http_list_next(&list, &one)) {
        if (span_is_equal_nocase(one, span_str(item))) {
            return true;
        }
    }
    return false;
}

bool http_field_is_hop(const struct http_field *f)
{
    static const char *const names[] = {"Connection",
                                        "Keep-Alive",
                                        "Proxy-Connection",
                                        "TE",
                                        "Transfer-Encoding",
                                        "Content-Length",
                                        "Upgrade",
                                        "Proxy-Authorization",
                                        "Proxy-Authenticate",
                                        "Proxy-Authentication-Info"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (http_field_is(f, names[i])) {
            return true;
        }
    }
    return false;
}

void http_framing_add(struct http_framing *f, const struct http_field *field)
{
    if (http_field_is(field, "Content-Length")) {
        if (f->has_length || num_u64(field->value, 0, HTTP_LENGTH_MAX, &f->length) != 0) {
            f->is_bad = true;
        }
        f->has_length = true;
    } else if (http_field_is(field, "Transfer-Encoding")) {
        if (f->has_chunked || !span_is_equal_nocase(field->value, SPAN_LIT("chunked"))) {
            f->is_bad = true;
        }
        f->has_chunked = true;
    } else {
        return;
    }
    if (f->has_length && f->has_chunked) { /* RFC 9112 6.3: the mark of a smuggler */
        f->is_bad = true;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the heads of requests and answers have in common: tokens, field lines, comma lists, and how long the
 * body is (RFC 9112 section 6), all without the leniency that lets two readers see two messages. Pure;
 * results point into the text that was given.
 */
#pragma once

#include "common/base/span.h"
#include "tunneld/http_char.h"

struct http_field {
    struct span name;
    struct span value; /* without the white space around it */
};
enum http_field_status {
    HTTP_FIELD_BAD = 0, /* no CR LF, folding, white space before the colon, a byte that may not be there */
    HTTP_FIELD_ONE,
    HTTP_FIELD_END /* the empty line; *rest is what is behind it */
};
/* Takes the next line off *rest. */
enum http_field_status http_field_next(struct span *rest, struct http_field *out);
bool http_field_is(const struct http_field *f, const char *name);

/* Takes the next element that is not empty off a comma list (RFC 9110 5.6.1); false at the end. */
bool http_list_next(struct span *rest, struct span *item);
/* Does the list have this element? ASCII case is ignored. */
bool http_list_has(struct span list, const char *item);

/* Which fields concern one connection only and are never passed on (RFC 9110 7.6.1), other than those that
 * Connection names. Transfer-Encoding and Content-Length are among them: they are written anew. */
bool http_field_is_hop(const struct http_field *f);

enum http_body_kind {
    HTTP_BODY_NONE = 0,
    HTTP_BODY_LENGTH,
    HTTP_BODY_CHUNKED,
    HTTP_BODY_TO_CLOSE /* answers only */
};

/* What a head said about its body, field by field. */
struct http_framing {
    bool has_length, has_chunked;
    bool is_bad; /* two lengths, no plain number, a coding other than one "chunked", or both fields */
    uint64_t length;
};
#define HTTP_LENGTH_MAX ((uint64_t)INT64_MAX)
void http_framing_add(struct http_framing *f, const struct http_field *field);

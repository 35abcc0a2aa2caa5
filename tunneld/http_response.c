/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/http_response.h"

#define REASON_AT 13U /* behind "HTTP/1.1 200 " */

const char *http_response_read(const struct http_response_head *head, struct span text,
                               struct http_response *out)
{
    size_t end = span_find(text, '\r');
    *out = (struct http_response){.status = head->code, .is_http10 = head->is_http_1_0};
    out->reason = span_sub(span_sub(text, 0, end), REASON_AT, end);
    out->fields = span_sub(text, end + 2, text.len);
    if (!http_options_read(out->fields, NULL, &out->options)) {
        return "the Connection header of its answer names too many fields";
    }
    struct span rest = out->fields;
    struct http_field f;
    while (http_field_next(&rest, &f) == HTTP_FIELD_ONE) {
        http_framing_add(&out->framing, &f);
    }
    if (out->framing.is_bad || (out->framing.has_chunked && out->is_http10)) {
        return "its answer tells the length of its body in two ways, or in none that is known";
    }
    if (out->status == 407) { /* the client would take it for ours and send us its credentials */
        return "it asks for the credentials of a proxy (407)";
    }
    return NULL;
}

enum http_body_kind http_response_body(const struct http_response *r, bool to_head)
{
    if (to_head || r->status < 200 || r->status == 204 || r->status == 304) {
        return HTTP_BODY_NONE;
    }
    if (r->framing.has_chunked) {
        return HTTP_BODY_CHUNKED;
    }
    return r->framing.has_length ? HTTP_BODY_LENGTH : HTTP_BODY_TO_CLOSE;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the head of an answer, which http_response_head has found whole and well-formed, says about the
 * answer's body and its connection: as strict as for requests (RFC 9112 6.3), so that a client behind us sees
 * the same answers in the same places. Pure; points into the text.
 */
#pragma once

#include "tunneld/http_copy.h"
#include "tunneld/http_response_head.h"

#define HTTP_RESPONSE_MAX_BYTES 32768U /* of one head */

struct http_response {
    unsigned status; /* 100 to 599 */
    bool is_http10;
    struct span reason; /* may be empty */
    struct span fields; /* with the empty line */
    struct http_framing framing;
    struct http_options options;
};

/* text is what head was fed, which is HTTP_RESPONSE_DONE. NULL, or one clause that says what is wrong. */
const char *http_response_read(const struct http_response_head *head, struct span text,
                               struct http_response *out);
/* How the body ends, in an answer to a HEAD request or another one (RFC 9112 6.3). */
enum http_body_kind http_response_body(const struct http_response *r, bool to_head);

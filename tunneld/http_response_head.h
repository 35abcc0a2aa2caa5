/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of an HTTP/1 response, byte by byte and as strict as http_head: CRLF only, no folding, no white
 * space before a colon, a status of three digits from 100 to 599 (RFC 9112 4, RFC 9110 15). Lenient in one
 * thing: the space before an empty reason phrase may be missing, as many servers leave it out. Nothing is
 * kept but the status: who needs the fields keeps the bytes that were taken. Pure; owns nothing.
 */
#pragma once

#include "common/base/span.h"

enum http_response_status { HTTP_RESPONSE_BAD = 0, HTTP_RESPONSE_MORE, HTTP_RESPONSE_DONE };

enum http_response_fault {
    HTTP_RESPONSE_FAULT_NONE = 0,
    HTTP_RESPONSE_FAULT_TOO_LARGE,
    HTTP_RESPONSE_FAULT_VERSION, /* it does not begin with HTTP/1.0 or HTTP/1.1 */
    HTTP_RESPONSE_FAULT_STATUS_LINE,
    HTTP_RESPONSE_FAULT_LINE_END, /* a bare CR or LF */
    HTTP_RESPONSE_FAULT_FOLDING,
    HTTP_RESPONSE_FAULT_FIELD
};

struct http_response_head {
    enum http_response_status status;
    enum http_response_fault fault;
    uint16_t code;    /* valid when status is HTTP_RESPONSE_DONE */
    bool is_http_1_0; /* likewise */

    /* private to http_response_head.c */
    uint8_t state, at;
    size_t total, limit;
};

/* status becomes HTTP_RESPONSE_MORE. limit: the longest head that is taken, in bytes. */
void http_response_head_init(struct http_response_head *h, size_t limit);
/*
 * Takes bytes until the head ends or is broken; returns how many were taken (what is left is the body's, or
 * the tunnel's). Takes none once status is no longer HTTP_RESPONSE_MORE.
 */
size_t http_response_head_feed(struct http_response_head *h, struct span bytes);
/* One sentence for the log. */
const char *http_response_fault_text(enum http_response_fault f);

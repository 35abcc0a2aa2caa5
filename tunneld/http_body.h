/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a message's body ends, over any cuts: by length, by chunks (RFC 9112 7.1) or by the end of the
 * connection. Nothing is kept: bytes pass and are judged. The grammar of chunks is read without any leniency
 * (CR LF only, no white space before the extensions, sizes of up to eight digits), since what passes is read
 * again by somebody else. Pure; owns nothing.
 */
#pragma once

#include "tunneld/http_field.h"

#define HTTP_CHUNK_MAX_BYTES 0x7fffffffU  /* of one chunk: fits every reader's integer */
#define HTTP_CHUNK_EXTENSION_BYTES 256U   /* behind the size of one chunk */
#define HTTP_CHUNK_EXTENSIONS_BYTES 4096U /* of all chunks of a body */
#define HTTP_TRAILER_BYTES 8192U

enum http_body_status { HTTP_BODY_BAD = 0, HTTP_BODY_MORE, HTTP_BODY_DONE };

struct http_body {
    enum http_body_status status;
    enum http_body_kind kind;
    uint64_t left; /* of the length or of the chunk */

    /* private to http_body.c: chunks */
    uint8_t state;
    uint8_t digits;
    uint8_t word_len;
    uint16_t extension_len; /* of this chunk */
    uint16_t extensions_len;
    uint16_t trailer_len;
    char word[28]; /* the start of a trailer's name */
};

void http_body_init(struct http_body *b, enum http_body_kind kind, uint64_t length);
/*
 * Takes bytes of the body until it ends, is broken, or (only with data) a piece of its content ends; returns
 * how many. data, if not NULL, becomes the content among them, without the chunks' own bytes. Takes none once
 * status is no longer HTTP_BODY_MORE.
 */
size_t http_body_take(struct http_body *b, struct span bytes, struct span *data);
/* The connection has ended: DONE if that is how the body ends, else BAD. */
void http_body_end(struct http_body *b);

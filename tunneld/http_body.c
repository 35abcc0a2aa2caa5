/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/http_body.h"

enum chunk_state {
    CHUNK_SIZE = 0,
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    CHUNK_TRAILER_START,
    CHUNK_TRAILER_NAME,
    CHUNK_TRAILER_VALUE,
    CHUNK_TRAILER_LF,
    CHUNK_END_LF
};

#define SIZE_DIGITS 8

void http_body_init(struct http_body *b, enum http_body_kind kind, uint64_t length)
{
    *b = (struct http_body){.kind = kind, .status = HTTP_BODY_MORE};
    if (kind == HTTP_BODY_LENGTH) {
        b->left = length;
    }
    if (kind == HTTP_BODY_NONE || (kind == HTTP_BODY_LENGTH && length == 0)) {
        b->status = HTTP_BODY_DONE;
    }
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void step_size(struct http_body *b, uint8_t c)
{
    int digit = hex_digit(c);
    if (digit >= 0 && b->digits < SIZE_DIGITS) {
        b->left = (b->left << 4) | (unsigned)digit;
        b->digits++;
        return;
    }
    const bool is_size = b->digits > 0 && b->left <= HTTP_CHUNK_MAX_BYTES;
    if (is_size && c == '\r') {
        b->state = CHUNK_SIZE_LF;
    } else if (is_size && c == ';') {
        b->state = CHUNK_EXTENSION;
        b->extension_len = 0;
    } else {
        b->status = HTTP_BODY_BAD;
    }
}

/* What an extension means is its reader's business; it may only not end the line in an unexpected place. */
static void step_extension(struct http_body *b, uint8_t c)
{
    if (c == '\r') {
        b->state = CHUNK_SIZE_LF;
        return;
    }
    b->extension_len++;
    b->extensions_len++;
    if (!http_is_text(c) || b->extension_len > HTTP_CHUNK_EXTENSION_BYTES ||
        b->extensions_len > HTTP_CHUNK_EXTENSIONS_BYTES) {
        b->status = HTTP_BODY_BAD;
    }
}

/* A trailer that could be taken for a field of the head that frames, routes or authorises (RFC 9110 6.5.1).
 */
static bool is_forbidden_trailer(const struct http_body *b)
{
    static const char *const names[] = {"Host", "Via", "Connection", "Trailer", "Authorization", "Expect"};
    const struct http_field f = {.name = span_make(b->word, b->word_len)};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (http_field_is(&f, names[i])) {
            return true;
        }
    }
    return http_field_is_hop(&f);
}

static void word_add(struct http_body *b, uint8_t c)
{
    if (b->word_len < sizeof b->word) {
        b->word[b->word_len++] = (char)c;
    }
}

static void step_trailer_name(struct http_body *b, uint8_t c)
{
    if (http_is_tchar(c)) {
        word_add(b, c);
    } else if (c == ':' && !is_forbidden_trailer(b)) {
        b->state = CHUNK_TRAILER_VALUE;
    } else {
        b->status = HTTP_BODY_BAD;
    }
}

static void step_trailer(struct http_body *b, uint8_t c)
{
    b->trailer_len++;
    if (b->trailer_len > HTTP_TRAILER_BYTES) {
        b->status = HTTP_BODY_BAD;
        return;
    }
    if (b->state == CHUNK_TRAILER_START) {
        b->word_len = 0;
        word_add(b, c);
        b->state = c == '\r' ? CHUNK_END_LF : CHUNK_TRAILER_NAME;
        if (c != '\r' && !http_is_tchar(c)) {
            b->status = HTTP_BODY_BAD;
        }
    } else if (b->state == CHUNK_TRAILER_NAME) {
        step_trailer_name(b, c);
    } else if (c == '\r') {
        b->state = CHUNK_TRAILER_LF;
    } else if (!http_is_text(c)) {
        b->status = HTTP_BODY_BAD;
    }
}

static void step_line_end(struct http_body *b, uint8_t c)
{
    if (b->state == CHUNK_DATA_CR) {
        b->state = CHUNK_DATA_LF;
        b->status = c == '\r' ? HTTP_BODY_MORE : HTTP_BODY_BAD;
        return;
    }
    if (c != '\n') {
        b->status = HTTP_BODY_BAD;
    } else if (b->state == CHUNK_DATA_LF) {
        b->state = CHUNK_SIZE;
        b->digits = 0;
    } else if (b->state == CHUNK_SIZE_LF) {
        b->state = b->left > 0 ? CHUNK_DATA : CHUNK_TRAILER_START;
    } else if (b->state == CHUNK_TRAILER_LF) {
        b->state = CHUNK_TRAILER_START;
    } else {
        b->status = HTTP_BODY_DONE;
    }
}

static void step_chunk(struct http_body *b, uint8_t c)
{
    switch ((enum chunk_state)b->state) {
    case CHUNK_SIZE:
        step_size(b, c);
        break;
    case CHUNK_EXTENSION:
        step_extension(b, c);
        break;
    case CHUNK_TRAILER_START:
    case CHUNK_TRAILER_NAME:
    case CHUNK_TRAILER_VALUE:
        step_trailer(b, c);
        break;
    case CHUNK_DATA: /* taken in pieces */
    case CHUNK_SIZE_LF:
    case CHUNK_DATA_CR:
    case CHUNK_DATA_LF:
    case CHUNK_TRAILER_LF:
    case CHUNK_END_LF:
        step_line_end(b, c);
        break;
    }
}

/* As much of what is left as there is. */
static struct span take_left(struct http_body *b, struct span bytes)
{
    struct span piece = span_sub(bytes, 0, b->left < bytes.len ? (size_t)b->left : bytes.len);
    b->left -= piece.len;
    return piece;
}

static size_t take_chunks(struct http_body *b, struct span bytes, struct span *data)
{
    size_t taken = 0;
    while (taken < bytes.len && b->status == HTTP_BODY_MORE) {
        if (b->state != CHUNK_DATA) {
            step_chunk(b, bytes.data[taken]);
            taken++;
            continue;
        }
        struct span piece = take_left(b, span_sub(bytes, taken, bytes.len));
        taken += piece.len;
        if (b->left == 0) {
            b->state = CHUNK_DATA_CR;
        }
        if (data != NULL) {
            *data = piece;
            break;
        }
    }
    return taken;
}

size_t http_body_take(struct http_body *b, struct span bytes, struct span *data)
{
    struct span piece = {NULL, 0};
    if (data != NULL) {
        *data = piece;
    }
    if (b->status != HTTP_BODY_MORE) {
        return 0;
    }
    switch (b->kind) {
    case HTTP_BODY_NONE:
        break;
    case HTTP_BODY_LENGTH:
        piece = take_left(b, bytes);
        b->status = b->left == 0 ? HTTP_BODY_DONE : HTTP_BODY_MORE;
        break;
    case HTTP_BODY_CHUNKED:
        return take_chunks(b, bytes, data);
    case HTTP_BODY_TO_CLOSE:
        piece = bytes;
        break;
    }
    if (data != NULL) {
        *data = piece;
    }
    return piece.len;
}

void http_body_end(struct http_body *b)
{
    if (b->status == HTTP_BODY_MORE) {
        b->status = b->kind == HTTP_BODY_TO_CLOSE ? HTTP_BODY_DONE : HTTP_BODY_BAD;
    }
}

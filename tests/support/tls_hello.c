/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/tls_hello.h"

#include "common/base/err.h"

#include <stdlib.h>

#define RECORD_MAX 16384U

/* Sets the number of width bytes at `at` to what has been written behind it, plus wrong. */
static void close_length(struct wbuf *w, size_t at, size_t width, int wrong)
{
    size_t len = w->len - at - width + (size_t)(long)wrong;
    for (size_t i = 0; i < width; i++) {
        w->data[at + i] = (uint8_t)(len >> (8 * (width - 1 - i)));
    }
}

static size_t open_length(struct wbuf *w, size_t width)
{
    size_t at = w->len;
    for (size_t i = 0; i < width; i++) {
        wbuf_u8(w, 0);
    }
    return at;
}

static void put_fill(struct wbuf *w, uint8_t byte, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        wbuf_u8(w, byte);
    }
}

static void put_extension(struct wbuf *w, uint16_t type, size_t len)
{
    wbuf_u16(w, type);
    wbuf_u16(w, (uint16_t)len);
    put_fill(w, 0xA5, len);
}

static void put_names(struct wbuf *w, const struct tls_hello *h)
{
    if (h->names[0] == NULL) {
        return;
    }
    wbuf_u16(w, 0);
    size_t extension = open_length(w, 2), list = open_length(w, 2);
    for (size_t i = 0; i < 4 && h->names[i] != NULL; i++) {
        size_t len = h->name_lens[i] != 0 ? h->name_lens[i] : strlen(h->names[i]);
        wbuf_u8(w, h->name_type);
        wbuf_u16(w, (uint16_t)len);
        wbuf_put(w, span_make(h->names[i], len));
    }
    close_length(w, list, 2, h->wrong_list);
    close_length(w, extension, 2, h->wrong_names);
}

static void put_extensions(struct wbuf *w, const struct tls_hello *h)
{
    size_t all = open_length(w, 2);
    if (h->has_grease) {
        put_extension(w, 0x2A2A, 0);
    }
    if (h->padding > 0) {
        put_extension(w, 21, h->padding);
    }
    if (!h->is_names_last) {
        put_names(w, h);
    }
    put_extension(w, 43, 3);
    if (h->has_ech) {
        put_extension(w, 0xFE0D, 186);
    }
    if (h->has_names_twice) {
        put_names(w, h);
    }
    put_extension(w, 51, 38);
    if (h->has_grease) {
        put_extension(w, 0xFAFA, 1);
    }
    if (h->is_names_last) {
        put_names(w, h);
    }
    close_length(w, all, 2, h->wrong_extensions);
}

size_t tls_hello_write(const struct tls_hello *h, uint8_t out[TLS_HELLO_CAP])
{
    struct wbuf w = wbuf_make(out, TLS_HELLO_CAP);
    wbuf_u8(&w, 1);
    size_t whole = open_length(&w, 3);
    wbuf_u16(&w, 0x0303);
    put_fill(&w, 0x5A, 32);
    const int session_len = h->session_len < 0 ? 0 : h->session_len == 0 ? 32 : h->session_len;
    wbuf_u8(&w, (uint8_t)session_len);
    put_fill(&w, 0x11, (size_t)session_len);
    const size_t suites_len = h->suites_len != 0 ? (size_t)h->suites_len : 6;
    wbuf_u16(&w, (uint16_t)suites_len);
    put_fill(&w, 0x13, suites_len);
    const size_t compression_len = h->compression_len != 0 ? (size_t)h->compression_len : 1;
    wbuf_u8(&w, (uint8_t)compression_len);
    put_fill(&w, 0, compression_len);
    if (!h->has_no_extensions) {
        put_extensions(&w, h);
    }
    close_length(&w, whole, 3, h->wrong_hello);
    REQUIRE(!w.overflow);
    return w.len;
}

size_t tls_hello_records(struct span message, size_t fragment, uint8_t out[TLS_HELLO_CAP])
{
    struct wbuf w = wbuf_make(out, TLS_HELLO_CAP);
    const size_t most = fragment == 0 ? RECORD_MAX : fragment;
    for (size_t at = 0; at < message.len; at += most) {
        struct span part = span_sub(message, at, most);
        wbuf_u8(&w, 22);
        wbuf_u16(&w, at == 0 ? 0x0301 : 0x0303);
        wbuf_u16(&w, (uint16_t)part.len);
        wbuf_put(&w, part);
    }
    REQUIRE(!w.overflow);
    return w.len;
}

size_t tls_hello_bytes(const struct tls_hello *h, uint8_t out[TLS_HELLO_CAP])
{
    uint8_t *message = malloc(TLS_HELLO_CAP);
    REQUIRE(message != NULL);
    size_t len = tls_hello_write(h, message);
    len = tls_hello_records(span_make(message, len), 0, out);
    free(message);
    return len;
}

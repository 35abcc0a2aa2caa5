/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Properties of a ClientHello: how the bytes are cut into segments changes nothing, nothing behind a verdict
 * is looked at, a hello that a plain reader of whole messages understands is understood alike, and a name is
 * canonical.
 */
#include "tests/fuzz/fuzz.h"

#include "common/base/cursor.h"
#include "common/base/err.h"
#include "tunneld/first_bytes.h"

static void require_same(const struct tls_sni *a, const struct tls_sni *b)
{
    REQUIRE(a->status == b->status && a->fault == b->fault && a->total == b->total);
    REQUIRE(a->has_ech == b->has_ech && a->is_hello == b->is_hello);
    REQUIRE(span_is_equal(span_make(a->name, a->name_len), span_make(b->name, b->name_len)));
}

/* The message inside of records of version 3.x, or 0: they are none, or end before it. */
static size_t read_records(struct span bytes, uint8_t *out, size_t cap)
{
    struct cursor c = cursor_make(bytes);
    size_t len = 0, want = 4;
    while (len < want) {
        uint8_t type = cursor_u8(&c), major = cursor_u8(&c);
        (void)cursor_u8(&c);
        uint16_t part_len = cursor_u16(&c);
        struct span part = cursor_take(&c, part_len);
        if (!cursor_is_ok(&c) || type != 22 || (len == 0 && major != 3) || part.len == 0 ||
            part.len > 16384) {
            return 0;
        }
        part = span_sub(part, 0, cap - len);
        memcpy(out + len, part.data, part.len);
        len += part.len;
        if (len >= 4) {
            want = 4 + ((size_t)out[1] << 16 | (size_t)out[2] << 8 | out[3]);
        }
        if (want > cap) {
            return 0;
        }
    }
    return want;
}

static bool read_names(struct span body, struct span *name, size_t *count)
{
    struct cursor c = cursor_make(body);
    if (cursor_u16(&c) != body.len - 2 || body.len < 5) {
        return false;
    }
    while (cursor_left(&c) > 0) {
        uint8_t type = cursor_u8(&c);
        struct span one = cursor_take(&c, cursor_u16(&c));
        if (!cursor_is_ok(&c) || type != 0 || one.len == 0) {
            return false;
        }
        *name = *count == 0 ? one : *name;
        (*count)++;
    }
    return true;
}

/* Written down plainly; MORE = it does not know. */
static enum tls_sni_status read_hello(struct span message)
{
    struct cursor c = cursor_make(message);
    struct span name = {NULL, 0}, s;
    size_t count = 0;
    bool has_names = false;
    if (cursor_u8(&c) != 1) {
        return TLS_SNI_MALFORMED;
    }
    cursor_skip(&c, 3 + 2 + 32);
    s = cursor_take(&c, cursor_u8(&c));
    if (s.len > 32) {
        return TLS_SNI_MALFORMED;
    }
    s = cursor_take(&c, cursor_u16(&c));
    if (s.len == 0 || s.len % 2 != 0) {
        return TLS_SNI_MALFORMED;
    }
    s = cursor_take(&c, cursor_u8(&c));
    if (!cursor_is_ok(&c) || s.len == 0) {
        return TLS_SNI_MALFORMED;
    }
    if (cursor_left(&c) > 0 && (cursor_u16(&c) != cursor_left(&c) || !cursor_is_ok(&c))) {
        return TLS_SNI_MALFORMED;
    }
    while (cursor_left(&c) > 0) {
        uint16_t type = cursor_u16(&c);
        struct span body = cursor_take(&c, cursor_u16(&c));
        if (!cursor_is_ok(&c) || (type == 0 && (has_names || !read_names(body, &name, &count)))) {
            return TLS_SNI_MALFORMED;
        }
        has_names = has_names || type == 0;
    }
    struct host host;
    if (count != 1) {
        return count == 0 ? TLS_SNI_NONE : TLS_SNI_SEVERAL;
    }
    return host_parse(name, &host) == HOST_FAULT_NONE ? TLS_SNI_NAMED : TLS_SNI_BAD_NAME;
}

static void check_alike(const struct tls_sni *t, struct span bytes)
{
    static uint8_t message[4 + TLS_SNI_HELLO_MAX_BYTES];
    size_t len = read_records(span_sub(bytes, 0, TLS_SNI_MAX_BYTES), message, sizeof message);
    if (len > 0) {
        REQUIRE(read_hello(span_make(message, len)) == t->status);
    }
}

static void check_first_bytes(struct span bytes, const struct tls_sni *t)
{
    struct first_bytes whole, cut;
    first_bytes_init(&whole);
    first_bytes_init(&cut);
    enum first_bytes_kind kind = first_bytes_feed(&whole, bytes);
    (void)first_bytes_feed(&cut, span_sub(bytes, 0, bytes.len / 2));
    REQUIRE(first_bytes_feed(&cut, span_sub(bytes, bytes.len / 2, bytes.len)) == kind);
    REQUIRE((kind == FIRST_BYTES_TLS) == t->is_hello);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tls_sni whole, cut;
    struct span bytes = span_make(data, size);
    tls_sni_init(&whole);
    tls_sni_init(&cut);
    (void)tls_sni_feed(&whole, bytes);
    for (size_t at = 0, step = 1; at < size; at += step, step = step % 7 + 1) {
        (void)tls_sni_feed(&cut, span_sub(bytes, at, step));
    }
    require_same(&whole, &cut);
    REQUIRE(whole.total <= size && whole.total <= TLS_SNI_MAX_BYTES);
    REQUIRE(whole.status != TLS_SNI_MORE || whole.total == size);
    REQUIRE(tls_sni_why(&whole)[0] != '\0');
    check_alike(&whole, bytes);
    check_first_bytes(bytes, &whole);
    if (whole.status == TLS_SNI_NAMED) {
        char text[HOST_TEXT_CAP];
        struct host again;
        REQUIRE(host_parse(span_str(host_text(&whole.host, text)), &again) == HOST_FAULT_NONE);
        REQUIRE(tls_sni_agrees(&whole, &again));
    }
    return 0;
}

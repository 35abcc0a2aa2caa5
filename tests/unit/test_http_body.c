/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tunneld/http_body.h"

#include <stdio.h>
#include <stdlib.h>

struct body {
    const char *text;
    const char *data; /* NULL = broken */
    size_t behind;    /* bytes left for the next message */
};

static const struct body chunked[] = {
    {"0\r\n\r\n", "", 0},
    {"000\r\n\r\n", "", 0},
    {"5\r\nhello\r\n0\r\n\r\n", "hello", 0},
    {"5\r\nhello\r\n0\r\n\r\nGET ", "hello", 4},
    {"00000005\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "hello!", 0},
    {"A\r\n0123456789\r\na\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", "0123456789\r\n\r\n\r\n\r\n\r\n", 0},
    {"2;a\r\nhi\r\n0;b=\"c d\"\t;e\r\n\r\n", "hi", 0},
    {"0\r\nX-Sum: 1\r\n\r\n", "", 0},
    {"0\r\nX-Sum:\r\nY: \xc3\xa9\t\r\n\r\nrest", "", 4},
    {"0\r\nHosts: a\r\nTransfer-EncodingX: b\r\nX-Proxy-Authentication-Information: c\r\n\r\n", "", 0},
    /* sizes */
    {"\r\n", NULL, 0},
    {";a\r\n", NULL, 0},
    {"g\r\n", NULL, 0},
    {"-1\r\n", NULL, 0},
    {"+1\r\n", NULL, 0},
    {"0x1\r\n", NULL, 0},
    {" 1\r\n", NULL, 0},
    {"1 \r\na\r\n", NULL, 0},
    {"1\t;a\r\n", NULL, 0},
    {"1_0\r\n", NULL, 0},
    {"000000001\r\na\r\n", NULL, 0},
    {"80000000\r\n", NULL, 0},
    {"ffffffff\r\n", NULL, 0},
    {"100000000\r\n", NULL, 0},
    {"ffffffffffffffff1\r\n", NULL, 0},
    /* line ends */
    {"1\na\n0\n\n", NULL, 0},
    {"1\ra\r\n", NULL, 0},
    {"1\r\r\na", NULL, 0},
    {"1;a\nb\r\n", NULL, 0},
    {"1;a\rb\r\n", NULL, 0},
    {"1;\x01\r\n", NULL, 0},
    {"1\r\nab\r\n", NULL, 0},
    {"1\r\na\n0\r\n\r\n", NULL, 0},
    {"1\r\na\rb", NULL, 0},
    {"1\r\na0\r\n\r\n", NULL, 0},
    {"0\r\n\n", NULL, 0},
    {"0\r\n\rX", NULL, 0},
    {"0\n\r\n", NULL, 0},
    /* trailers */
    {"0\r\nX\r\n\r\n", NULL, 0},
    {"0\r\nX : a\r\n\r\n", NULL, 0},
    {"0\r\n: a\r\n\r\n", NULL, 0},
    {"0\r\n X: a\r\n\r\n", NULL, 0},
    {"0\r\nX: a\nY: b\r\n\r\n", NULL, 0},
    {"0\r\nX: a\rY: b\r\n\r\n", NULL, 0},
    {"0\r\nContent-Length: 5\r\n\r\n", NULL, 0},
    {"0\r\ntransfer-encoding: chunked\r\n\r\n", NULL, 0},
    {"0\r\nX: a\r\nHost: b\r\n\r\n", NULL, 0},
    {"0\r\nConnection: close\r\n\r\n", NULL, 0},
    {"0\r\nProxy-Authentication-Info: a\r\n\r\n", NULL, 0},
};

struct result {
    enum http_body_status status;
    size_t taken;
    char data[64];
    size_t data_len;
};

static void feed(struct http_body *b, struct result *r, const char *text, size_t len)
{
    size_t at = 0;
    while (at < len && b->status == HTTP_BODY_MORE) {
        struct span data;
        size_t n = http_body_take(b, span_make(text + at, len - at), &data);
        assert_in_range(n, 1, len - at);
        assert_true(r->data_len + data.len <= sizeof r->data);
        if (data.len > 0) {
            memcpy(r->data + r->data_len, data.data, data.len);
        }
        r->data_len += data.len;
        at += n;
    }
    r->taken += at;
    r->status = b->status;
}

static void check(const struct body *want, const struct result *got, size_t i)
{
    enum http_body_status status = want->data == NULL ? HTTP_BODY_BAD : HTTP_BODY_DONE;
    if (got->status != status) {
        fail_msg("body %zu: status %d", i, (int)got->status);
    }
    if (want->data != NULL) {
        assert_int_equal(got->taken, strlen(want->text) - want->behind);
        assert_int_equal(got->data_len, strlen(want->data));
        assert_memory_equal(got->data, want->data, got->data_len);
    }
}

static void test_chunks(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof chunked / sizeof chunked[0]; i++) {
        size_t len = strlen(chunked[i].text);
        for (size_t cut = 0; cut <= len; cut++) { /* every cut in two */
            struct http_body b;
            struct result r = {.taken = 0};
            http_body_init(&b, HTTP_BODY_CHUNKED, 0);
            feed(&b, &r, chunked[i].text, cut);
            if (cut < len - chunked[i].behind && chunked[i].data != NULL) {
                assert_int_equal(r.status, HTTP_BODY_MORE); /* no prefix is a whole body */
            }
            feed(&b, &r, chunked[i].text + cut, len - cut);
            check(&chunked[i], &r, i);
        }
        struct http_body b; /* byte by byte, and the verbatim way, which must take the same */
        struct result r = {.taken = 0};
        http_body_init(&b, HTTP_BODY_CHUNKED, 0);
        for (size_t at = 0; at < len; at++) {
            feed(&b, &r, chunked[i].text + at, 1);
        }
        check(&chunked[i], &r, i);
        http_body_init(&b, HTTP_BODY_CHUNKED, 0);
        assert_int_equal(http_body_take(&b, span_make(chunked[i].text, len), NULL), r.taken);
        assert_int_equal(b.status, r.status);
        assert_int_equal(http_body_take(&b, SPAN_LIT("0\r\n\r\n"), NULL), 0);
    }
}

static enum http_body_status status_of(const char *text, size_t len)
{
    struct http_body b;
    http_body_init(&b, HTTP_BODY_CHUNKED, 0);
    (void)http_body_take(&b, span_make(text, len), NULL);
    return b.status;
}

static enum http_body_status extension_of(size_t len)
{
    char text[512];
    int n = snprintf(text, sizeof text, "0;%0*d\r\n\r\n", (int)len, 0);
    return status_of(text, (size_t)n);
}

static enum http_body_status trailer_of(size_t len)
{
    char text[HTTP_TRAILER_BYTES + 64];
    int n = snprintf(text, sizeof text, "0\r\nX:%0*d\r\n\r\n", (int)len, 0);
    return status_of(text, (size_t)n);
}

static void test_limits(void **state)
{
    (void)state;
    assert_int_equal(extension_of(HTTP_CHUNK_EXTENSION_BYTES), HTTP_BODY_DONE);
    assert_int_equal(extension_of(HTTP_CHUNK_EXTENSION_BYTES + 1), HTTP_BODY_BAD);
    assert_int_equal(trailer_of(HTTP_TRAILER_BYTES - 4), HTTP_BODY_DONE);
    assert_int_equal(trailer_of(HTTP_TRAILER_BYTES - 3), HTTP_BODY_BAD);
    struct http_body b;
    http_body_init(&b, HTTP_BODY_CHUNKED, 0);
    char chunk[300];
    int n = snprintf(chunk, sizeof chunk, "1;%0200d\r\na\r\n", 0);
    size_t count = 0;
    while (http_body_take(&b, span_make(chunk, (size_t)n), NULL) == (size_t)n) {
        count++;
    }
    assert_int_equal(b.status, HTTP_BODY_BAD);
    assert_int_equal(count, HTTP_CHUNK_EXTENSIONS_BYTES / 200);
    http_body_init(&b, HTTP_BODY_CHUNKED, 0);
    assert_int_equal(http_body_take(&b, SPAN_LIT("7fffffff\r\n"), NULL), 10);
    assert_int_equal(b.status, HTTP_BODY_MORE);
    assert_int_equal(b.left, HTTP_CHUNK_MAX_BYTES);
}

static void test_other_kinds(void **state)
{
    (void)state;
    struct http_body b;
    struct span data;
    http_body_init(&b, HTTP_BODY_NONE, 7);
    assert_int_equal(b.status, HTTP_BODY_DONE);
    assert_int_equal(http_body_take(&b, SPAN_LIT("x"), &data), 0);
    http_body_init(&b, HTTP_BODY_LENGTH, 0);
    assert_int_equal(b.status, HTTP_BODY_DONE);
    http_body_init(&b, HTTP_BODY_LENGTH, 5);
    assert_int_equal(http_body_take(&b, SPAN_LIT("abc"), &data), 3);
    assert_int_equal(data.len, 3);
    assert_int_equal(b.status, HTTP_BODY_MORE);
    assert_int_equal(http_body_take(&b, SPAN_LIT("defg"), &data), 2);
    assert_int_equal(b.status, HTTP_BODY_DONE);
    http_body_end(&b);
    assert_int_equal(b.status, HTTP_BODY_DONE);
    http_body_init(&b, HTTP_BODY_LENGTH, HTTP_LENGTH_MAX);
    assert_int_equal(http_body_take(&b, SPAN_LIT("abc"), NULL), 3);
    assert_int_equal(b.left, HTTP_LENGTH_MAX - 3);
    http_body_end(&b);
    assert_int_equal(b.status, HTTP_BODY_BAD);
    http_body_init(&b, HTTP_BODY_TO_CLOSE, 0);
    assert_int_equal(http_body_take(&b, SPAN_LIT("abc"), &data), 3);
    assert_int_equal(data.len, 3);
    http_body_end(&b);
    assert_int_equal(b.status, HTTP_BODY_DONE);
    http_body_init(&b, HTTP_BODY_CHUNKED, 0);
    http_body_end(&b);
    assert_int_equal(b.status, HTTP_BODY_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_other_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

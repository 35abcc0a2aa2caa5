/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/tls_hello.h"
#include "tunneld/first_bytes.h"

struct row {
    const char *raw;
    size_t len;
    enum first_bytes_kind kind;
};

#define RAW(text) text, sizeof(text) - 1
#define M24 "ABCDEFGHIJKLMNOPQRSTUVWX"

static const struct row rows[] = {
    {RAW(""), FIRST_BYTES_MORE},
    {RAW("GET / HTTP/1.1\r\n"), FIRST_BYTES_HTTP},
    {RAW("GET / HTTP/1.0\r\n"), FIRST_BYTES_HTTP},
    {RAW("GET / HTTP/1.1\r\nHost: x\r\n\r\nmore"), FIRST_BYTES_HTTP},
    {RAW("POST /a?b=c HTTP/1.1\r\n"), FIRST_BYTES_HTTP},
    {RAW("GET http://example.org/ HTTP/1.1\r\n"), FIRST_BYTES_HTTP},
    {RAW("CONNECT example.org:443 HTTP/1.1\r\n"), FIRST_BYTES_HTTP},
    {RAW("OPTIONS * HTTP/1.1\r\n"), FIRST_BYTES_HTTP},
    {RAW("x-own_method / HTTP/1.1\r\n"), FIRST_BYTES_HTTP},
    {RAW(M24 " / HTTP/1.1\r\n"), FIRST_BYTES_HTTP},
    {RAW("HEAD / HTTP/1.1\r\n"), FIRST_BYTES_HTTP_HEAD},
    {RAW("HEADS / HTTP/1.1\r\n"), FIRST_BYTES_HTTP},
    {RAW("HEA / HTTP/1.1\r\n"), FIRST_BYTES_HTTP},
    {RAW("head / HTTP/1.1\r\n"), FIRST_BYTES_HTTP},
    {RAW("GET / HTTP/1.1\r"), FIRST_BYTES_MORE},
    {RAW("GET"), FIRST_BYTES_MORE},
    {RAW(M24 "Y"), FIRST_BYTES_OTHER},
    {RAW(" GET / HTTP/1.1\r\n"), FIRST_BYTES_OTHER},
    {RAW("GET  / HTTP/1.1\r\n"), FIRST_BYTES_OTHER},
    {RAW("GET /\r\n"), FIRST_BYTES_OTHER},
    {RAW("GET / HTTP/1.1\n"), FIRST_BYTES_OTHER},
    {RAW("GET / HTTP/1.1\r\r"), FIRST_BYTES_OTHER},
    {RAW("GET / HTTP/1.2\r\n"), FIRST_BYTES_OTHER},
    {RAW("GET / HTTP/2.0\r\n"), FIRST_BYTES_OTHER},
    {RAW("GET / http/1.1\r\n"), FIRST_BYTES_OTHER},
    {RAW("GET /\x80 HTTP/1.1\r\n"), FIRST_BYTES_OTHER},
    {RAW("GET /\x7f HTTP/1.1\r\n"), FIRST_BYTES_OTHER},
    {RAW("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), FIRST_BYTES_OTHER}, /* HTTP/2 with prior knowledge */
    {RAW("EHLO x\r\n"), FIRST_BYTES_OTHER},
    {RAW("SSH-2.0-OpenSSH_9.9\r\n"), FIRST_BYTES_OTHER},
    {RAW("*1\r\n$4\r\nPING\r\n"), FIRST_BYTES_OTHER},
    {RAW("\x00\x00\x00\x08\x04\xd2\x16\x2f"), FIRST_BYTES_OTHER},
    {RAW("\x16\x03\x01\x02\x00"), FIRST_BYTES_MORE},
    {RAW("\x16\x03\x01\x00\x00"), FIRST_BYTES_OTHER},
    {RAW("\x16\x03\x01\x02\x00\x02"), FIRST_BYTES_OTHER},
    {RAW("\x15\x03\x01\x00\x02\x01\x00"), FIRST_BYTES_OTHER},
    {RAW("\x16\x03\x01\x02\x00\x01\x00\x01\xfc"), FIRST_BYTES_TLS},
    {RAW("\x80\x2e\x01\x03\x03\x00\x15\x00\x00\x00\x10"), FIRST_BYTES_TLS},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct first_bytes whole, bytewise;
        struct span s = span_make(rows[i].raw, rows[i].len);
        first_bytes_init(&whole);
        first_bytes_init(&bytewise);
        (void)first_bytes_feed(&whole, s);
        for (size_t at = 0; at < s.len; at++) {
            (void)first_bytes_feed(&bytewise, span_sub(s, at, 1));
        }
        if (whole.kind != rows[i].kind || bytewise.kind != rows[i].kind) {
            fail_msg("row %zu: kind %d, %d", i, (int)whole.kind, (int)bytewise.kind);
        }
    }
}

/* Until the last byte of the line nothing is said, and nothing changes afterwards. */
static void test_every_truncation(void **state)
{
    (void)state;
    static const char line[] = "HEAD /some/where HTTP/1.1\r\n";
    for (size_t cut = 0; cut < sizeof line - 1; cut++) {
        struct first_bytes f;
        first_bytes_init(&f);
        assert_int_equal(first_bytes_feed(&f, span_make(line, cut)), FIRST_BYTES_MORE);
        assert_int_equal(first_bytes_feed(&f, span_make(line + cut, sizeof line - 1 - cut)),
                         FIRST_BYTES_HTTP_HEAD);
        assert_int_equal(first_bytes_feed(&f, SPAN_LIT("\x16")), FIRST_BYTES_HTTP_HEAD);
    }
}

static void test_longest_line(void **state)
{
    (void)state;
    for (size_t more = 0; more < 2; more++) {
        char line[FIRST_BYTES_LINE_MAX + 2];
        size_t len = FIRST_BYTES_LINE_MAX + more;
        memset(line, 'a', sizeof line);
        memcpy(line, "GET /", 5);
        memcpy(line + len - 11, " HTTP/1.1\r\n", 11);
        struct first_bytes f;
        first_bytes_init(&f);
        assert_int_equal(first_bytes_feed(&f, span_make(line, len)),
                         more == 0 ? FIRST_BYTES_HTTP : FIRST_BYTES_OTHER);
    }
}

static void test_split_hello(void **state)
{
    (void)state;
    static uint8_t message[TLS_HELLO_CAP], bytes[TLS_HELLO_CAP];
    const struct tls_hello h = {.names = {"a.example"}};
    size_t len = tls_hello_records(span_make(message, tls_hello_write(&h, message)), 1, bytes);
    struct first_bytes f;
    first_bytes_init(&f);
    assert_int_equal(first_bytes_feed(&f, span_make(bytes, 23)), FIRST_BYTES_MORE);
    assert_int_equal(first_bytes_feed(&f, span_make(bytes + 23, len - 23)), FIRST_BYTES_TLS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_longest_line),
        cmocka_unit_test(test_split_hello),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tunneld/http_response_head.h"

#define LIMIT 8192U

static size_t feed(struct http_response_head *h, const char *text, size_t len)
{
    http_response_head_init(h, LIMIT);
    return http_response_head_feed(h, span_make(text, len));
}

struct good {
    const char *head;
    uint16_t code;
    bool is_http_1_0;
};

static const struct good good_heads[] = {
    {"HTTP/1.1 200 OK\r\n\r\n", 200, false},
    {"HTTP/1.0 200 Connection Established\r\n\r\n", 200, true},
    {"HTTP/1.1 200 \r\n\r\n", 200, false},
    {"HTTP/1.1 200\r\n\r\n", 200, false}, /* common, and not RFC 9112 4 */
    {"HTTP/1.1 100 Continue\r\n\r\n", 100, false},
    {"HTTP/1.1 599 \t\xc3\xa9~\r\n\r\n", 599, false},
    {"HTTP/1.1 407 Authenticate\r\nProxy-Authenticate: Basic realm=\"x: y\"\r\nEmpty:\r\nA:b\r\n\r\n", 407,
     false},
    {"HTTP/1.1 200 OK\r\nX: \t\x80\xff\t \r\n\r\n", 200, false},
};

static void test_good_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good_heads / sizeof good_heads[0]; i++) {
        struct http_response_head h;
        size_t len = strlen(good_heads[i].head);
        assert_int_equal(feed(&h, good_heads[i].head, len), len);
        assert_int_equal(h.status, HTTP_RESPONSE_DONE);
        assert_int_equal(h.fault, HTTP_RESPONSE_FAULT_NONE);
        assert_int_equal(h.code, good_heads[i].code);
        assert_int_equal(h.is_http_1_0, good_heads[i].is_http_1_0);
        assert_int_equal(http_response_head_feed(&h, SPAN_LIT("x")), 0);
        for (size_t cut = 0; cut < len; cut++) { /* no prefix is a head */
            assert_int_equal(feed(&h, good_heads[i].head, cut), cut);
            assert_int_equal(h.status, HTTP_RESPONSE_MORE);
        }
    }
}

struct bad {
    const char *head;
    size_t taken; /* the first wrong byte included */
    enum http_response_fault fault;
};

#define OK "HTTP/1.1 200 OK\r\n"

static const struct bad bad_heads[] = {
    {"\r\nHTTP/1.1 200 OK\r\n\r\n", 1, HTTP_RESPONSE_FAULT_VERSION},
    {" HTTP/1.1 200 OK\r\n\r\n", 1, HTTP_RESPONSE_FAULT_VERSION},
    {"http/1.1 200 OK\r\n\r\n", 1, HTTP_RESPONSE_FAULT_VERSION},
    {"HTTP/1.2 200 OK\r\n\r\n", 8, HTTP_RESPONSE_FAULT_VERSION},
    {"HTTP/2.0 200 OK\r\n\r\n", 6, HTTP_RESPONSE_FAULT_VERSION},
    {"HTTP/1.10 200 OK\r\n\r\n", 9, HTTP_RESPONSE_FAULT_VERSION},
    {"HTTP/1.1\t200 OK\r\n\r\n", 9, HTTP_RESPONSE_FAULT_VERSION},
    {"ICY 200 OK\r\n\r\n", 1, HTTP_RESPONSE_FAULT_VERSION},
    {"SSH-2.0-OpenSSH_9.2\r\n", 1, HTTP_RESPONSE_FAULT_VERSION},
    {"\x15\x03\x03\x00\x02\x02\x32", 1, HTTP_RESPONSE_FAULT_VERSION},
    {"HTTP/1.1  200 OK\r\n\r\n", 10, HTTP_RESPONSE_FAULT_STATUS_LINE},
    {"HTTP/1.1 20 OK\r\n\r\n", 12, HTTP_RESPONSE_FAULT_STATUS_LINE},
    {"HTTP/1.1 2000 OK\r\n\r\n", 13, HTTP_RESPONSE_FAULT_STATUS_LINE},
    {"HTTP/1.1 099 OK\r\n\r\n", 10, HTTP_RESPONSE_FAULT_STATUS_LINE},
    {"HTTP/1.1 600 OK\r\n\r\n", 10, HTTP_RESPONSE_FAULT_STATUS_LINE},
    {"HTTP/1.1 -20 OK\r\n\r\n", 10, HTTP_RESPONSE_FAULT_STATUS_LINE},
    {"HTTP/1.1 2x0 OK\r\n\r\n", 11, HTTP_RESPONSE_FAULT_STATUS_LINE},
    {"HTTP/1.1 200OK\r\n\r\n", 13, HTTP_RESPONSE_FAULT_STATUS_LINE},
    {"HTTP/1.1 200\tOK\r\n\r\n", 13, HTTP_RESPONSE_FAULT_STATUS_LINE},
    {"HTTP/1.1 200 O\x01K\r\n\r\n", 15, HTTP_RESPONSE_FAULT_STATUS_LINE},
    {"HTTP/1.1 200 O\x7fK\r\n\r\n", 15, HTTP_RESPONSE_FAULT_STATUS_LINE},
    {"HTTP/1.1 200\n\n", 13, HTTP_RESPONSE_FAULT_LINE_END},
    {"HTTP/1.1 200 OK\n\n", 16, HTTP_RESPONSE_FAULT_LINE_END},
    {"HTTP/1.1 200 OK\r\r\n\r\n", 17, HTTP_RESPONSE_FAULT_LINE_END},
    {OK "\n", 18, HTTP_RESPONSE_FAULT_LINE_END},
    {OK "\rx", 19, HTTP_RESPONSE_FAULT_LINE_END},
    {OK "A: b\n\r\n", 22, HTTP_RESPONSE_FAULT_LINE_END},
    {OK "A: b\rc\r\n\r\n", 23, HTTP_RESPONSE_FAULT_LINE_END},
    {OK " A: b\r\n\r\n", 18, HTTP_RESPONSE_FAULT_FOLDING},
    {OK "A: b\r\n\tc\r\n\r\n", 24, HTTP_RESPONSE_FAULT_FOLDING},
    {OK "A : b\r\n\r\n", 19, HTTP_RESPONSE_FAULT_FIELD},
    {OK ": b\r\n\r\n", 18, HTTP_RESPONSE_FAULT_FIELD},
    {OK "A\r\n\r\n", 19, HTTP_RESPONSE_FAULT_FIELD},
    {OK "A(: b\r\n\r\n", 19, HTTP_RESPONSE_FAULT_FIELD},
    {OK "A: \x02\r\n\r\n", 21, HTTP_RESPONSE_FAULT_FIELD},
    {OK "A: \x7f\r\n\r\n", 21, HTTP_RESPONSE_FAULT_FIELD},
};

static void test_bad_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_heads / sizeof bad_heads[0]; i++) {
        struct http_response_head h;
        size_t taken = feed(&h, bad_heads[i].head, strlen(bad_heads[i].head));
        if (h.status != HTTP_RESPONSE_BAD || h.fault != bad_heads[i].fault || taken != bad_heads[i].taken) {
            fail_msg("row %zu: status %d, fault %d, taken %zu", i, (int)h.status, (int)h.fault, taken);
        }
        assert_true(strlen(http_response_fault_text(h.fault)) > 10);
        assert_int_equal(http_response_head_feed(&h, SPAN_LIT("x")), 0);
    }
    struct http_response_head h;
    assert_int_equal(feed(&h, "HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n", 29), 22);
    assert_int_equal(h.fault, HTTP_RESPONSE_FAULT_FIELD);
}

static void test_limit(void **state)
{
    (void)state;
    static const char head[] = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    const size_t len = sizeof head - 1;
    for (size_t limit = 0; limit <= len + 1; limit++) {
        struct http_response_head h;
        http_response_head_init(&h, limit);
        size_t taken = http_response_head_feed(&h, span_make(head, len));
        assert_int_equal(taken, limit < len ? limit : len);
        assert_int_equal(h.status, limit < len ? HTTP_RESPONSE_BAD : HTTP_RESPONSE_DONE);
        assert_int_equal(h.fault, limit < len ? HTTP_RESPONSE_FAULT_TOO_LARGE : HTTP_RESPONSE_FAULT_NONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_heads),
        cmocka_unit_test(test_bad_heads),
        cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

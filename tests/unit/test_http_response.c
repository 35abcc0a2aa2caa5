/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tunneld/http_response.h"

static const char *read_head(const char *text, size_t len, struct http_response *r)
{
    struct http_response_head h;
    http_response_head_init(&h, HTTP_RESPONSE_MAX_BYTES);
    if (http_response_head_feed(&h, span_make(text, len)) != len || h.status != HTTP_RESPONSE_DONE) {
        return "no whole head in a table of heads";
    }
    return http_response_read(&h, span_make(text, len), r);
}

struct good {
    const char *head;
    unsigned status;
    const char *reason;
    enum http_body_kind kind;
    uint64_t length;
};

static const struct good good_heads[] = {
    {"HTTP/1.1 200 OK\r\n\r\n", 200, "OK", HTTP_BODY_TO_CLOSE, 0},
    {"HTTP/1.1 200 \r\n\r\n", 200, "", HTTP_BODY_TO_CLOSE, 0},
    {"HTTP/1.1 200\r\n\r\n", 200, "", HTTP_BODY_TO_CLOSE, 0},
    {"HTTP/1.0 599 \xc3\xa9 x\r\n\r\n", 599, "\xc3\xa9 x", HTTP_BODY_TO_CLOSE, 0},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, "OK", HTTP_BODY_LENGTH, 5},
    {"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "OK", HTTP_BODY_LENGTH, 0},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, "OK", HTTP_BODY_CHUNKED, 0},
    {"HTTP/1.1 100 Continue\r\n\r\n", 100, "Continue", HTTP_BODY_NONE, 0},
    {"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", 204, "No", HTTP_BODY_NONE, 5},
    {"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n", 204, "No", HTTP_BODY_NONE, 0},
    {"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", 304, "No", HTTP_BODY_NONE, 5},
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good_heads / sizeof good_heads[0]; i++) {
        const struct good *want = &good_heads[i];
        struct http_response r;
        assert_null(read_head(want->head, strlen(want->head), &r));
        assert_int_equal(r.status, want->status);
        assert_true(span_is_equal(r.reason, span_str(want->reason)));
        assert_int_equal(http_response_body(&r, false), want->kind);
        assert_int_equal(http_response_body(&r, true), HTTP_BODY_NONE);
        assert_int_equal(r.framing.length, want->length);
    }
}

#define OK "HTTP/1.1 200 OK\r\n"

struct bad {
    const char *head;
    const char *word; /* of what is said about it */
};

#define LENGTH "tells the length"

static const struct bad bad_heads[] = {
    {"HTTP/1.1 407 Auth\r\n\r\n", "407"},
    {OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", LENGTH},
    {OK "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", LENGTH},
    {OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", LENGTH},
    {OK "Content-Length: 5, 5\r\n\r\n", LENGTH},
    {OK "Content-Length: -1\r\n\r\n", LENGTH},
    {OK "Content-Length: 1x\r\n\r\n", LENGTH},
    {OK "Transfer-Encoding: gzip, chunked\r\n\r\n", LENGTH},
    {OK "Transfer-Encoding: identity\r\n\r\n", LENGTH},
    {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", LENGTH},
    {"HTTP/1.1 304 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", LENGTH},
    {OK
     "Connection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q\r\nConnection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p\r\n\r\n",
     "too many"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_heads / sizeof bad_heads[0]; i++) {
        struct http_response r;
        const char *why = read_head(bad_heads[i].head, strlen(bad_heads[i].head), &r);
        if (why == NULL || strstr(why, bad_heads[i].word) == NULL) {
            fail_msg("bad answer %zu: %s", i, why == NULL ? "taken" : why);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

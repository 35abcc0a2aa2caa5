/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/admin_http.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static struct addr local_v4(void)
{
    return (struct addr){.ip = ip_v4(127, 0, 0, 1), .port = 9090};
}

/* In memory of its own size, so that the sanitizer sees a byte too many. */
static struct admin_request parse(const char *text, size_t len, const struct addr *local)
{
    struct admin_request r;
    struct buf copy = {.data = NULL};
    assert_int_equal(buf_append(&copy, span_make(text, len), 1 << 20), 0);
    admin_http_parse(buf_span(&copy), local, &r);
    buf_fini(&copy);
    return r;
}

static const struct good {
    const char *text;
    enum admin_page page;
    bool without_host; /* good only on a unix socket */
} good[] = {
    {"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:9090\r\n\r\n", ADMIN_PAGE_HEALTHZ, false},
    {"GET /readyz HTTP/1.1\r\nhOST:localhost\r\n\r\n", ADMIN_PAGE_READYZ, false},
    {"GET /status HTTP/1.1\r\nHost: LOCALHOST:9090 \t\r\nAccept: */*\r\n\r\n", ADMIN_PAGE_STATUS, false},
    {"GET /metrics HTTP/1.1\r\nA:\r\nX-High: \xc3\xa9\r\nHost: 127.0.0.1:9090\r\n\r\n", ADMIN_PAGE_METRICS,
     false},
    {"GET /metrics?name=a HTTP/1.0\r\nHost: 127.0.0.1:9090\r\n\r\n", ADMIN_PAGE_METRICS, false},
    {"GET /healthz HTTP/1.1\r\nContent-Length: 3\r\nHost: localhost\r\n\r\n\x01\x02\n", ADMIN_PAGE_HEALTHZ,
     false},
    {"GET /healthz HTTP/1.1\r\n\r\n", ADMIN_PAGE_HEALTHZ, true},
    {"GET /status HTTP/1.0\r\n\r\n", ADMIN_PAGE_STATUS, true},
    {"GET /status HTTP/1.1\r\nHost: anything at all\r\n\r\n", ADMIN_PAGE_STATUS, true},
    {"GET /status HTTP/1.1\r\nHost:\r\n\r\n", ADMIN_PAGE_STATUS, true},
};

static void test_good(void **state)
{
    (void)state;
    const struct addr local = local_v4();
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        const char *text = good[i].text;
        size_t len = strlen(text), head = (size_t)(strstr(text, "\r\n\r\n") - text) + 4;
        for (size_t n = 0; n < head; n++) { /* every truncation wants more, and says nothing yet */
            assert_int_equal(parse(text, n, &local).status, 0);
            assert_int_equal(parse(text, n, NULL).status, 0);
        }
        struct admin_request on_unix = parse(text, len, NULL), on_tcp = parse(text, len, &local);
        assert_int_equal(on_unix.status, 200);
        assert_int_equal(on_unix.page, good[i].page);
        assert_int_equal(on_tcp.status == 200, !good[i].without_host);
        assert_int_equal(on_tcp.page, good[i].without_host ? ADMIN_PAGE_NONE : good[i].page);
    }
}

#define OWN "Host: 127.0.0.1:9090\r\n\r\n"
#define GET "GET /healthz HTTP/1.1\r\n"

static const struct bad {
    const char *text;
    int status;
} bad[] = {
    {"POST /status HTTP/1.1\r\n" OWN, 405},
    {"HEAD /status HTTP/1.1\r\n" OWN, 405},
    {"get /status HTTP/1.1\r\n" OWN, 405},
    {"CONNECT example.org:443 HTTP/1.1\r\n" OWN, 405},
    {"GET / HTTP/1.1\r\n" OWN, 404},
    {"GET /statu HTTP/1.1\r\n" OWN, 404},
    {"GET /status/ HTTP/1.1\r\n" OWN, 404},
    {"GET /STATUS HTTP/1.1\r\n" OWN, 404},
    {"GET /%73tatus HTTP/1.1\r\n" OWN, 404},
    {"GET * HTTP/1.1\r\n" OWN, 404},
    {"GET http://127.0.0.1:9090/status HTTP/1.1\r\n" OWN, 404},
    {"GET /status HTTP/1.2\r\n" OWN, 400},
    {"GET /status HTTP/2.0\r\n" OWN, 400},
    {"GET /status http/1.1\r\n" OWN, 400},
    {"GET /status\r\n" OWN, 400},
    {"GET  /status HTTP/1.1\r\n" OWN, 400},
    {"GET /status  HTTP/1.1\r\n" OWN, 400},
    {"GET /status HTTP/1.1 \r\n" OWN, 400},
    {"GET\t/status HTTP/1.1\r\n" OWN, 400},
    {" GET /status HTTP/1.1\r\n" OWN, 400},
    {"G@T /status HTTP/1.1\r\n" OWN, 400},
    {"\r\nGET /status HTTP/1.1\r\n" OWN, 400},
    {"\r\n\r\n", 400},
    {GET "Host\r\n" OWN, 400},
    {GET ": x\r\n" OWN, 400},
    {GET "A B: x\r\n" OWN, 400},
    {GET "A : x\r\n" OWN, 400},
    {GET "A: x\r\n folded\r\n" OWN, 400},
    {GET "Host: localhost\r\n" OWN, 400}, /* two of them, though both are right */
    {GET "\r\n", 400},                    /* none */
    {GET "Host: evil.example\r\n\r\n", 421},
    {GET "Host: evil.example:9090\r\n\r\n", 421},
    {GET "Host:\r\n\r\n", 421},
    {GET "Host: 127.0.0.1\r\n\r\n", 421}, /* that is port 80 */
    {GET "Host: 127.0.0.1:80\r\n\r\n", 421},
    {GET "Host: 127.0.0.2:9090\r\n\r\n", 421},
    {GET "Host: 127.1:9090\r\n\r\n", 421},
    {GET "Host: [::1]:9090\r\n\r\n", 421},
    {GET "Host: [127.0.0.1]:9090\r\n\r\n", 421},
    {GET "Host: 127.0.0.1:9090.evil.example\r\n\r\n", 421},
    {GET "Host: localhost.\r\n\r\n", 421},
    {GET "Host: localhost.evil.example\r\n\r\n", 421},
    {GET "Host: localhost:\r\n\r\n", 421},
    {GET "Host: localhost:9091\r\n\r\n", 421},
    {GET "Host: localhost:09090\r\n\r\n", 421},
    {GET "Host: localhost:9090:9090\r\n\r\n", 421},
    {GET "Host: localhos\r\n\r\n", 421},
    {GET "Host: localhost, evil.example\r\n\r\n", 421},
    {GET "Host: user@127.0.0.1:9090\r\n\r\n", 421},
    {"POST /nowhere HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421}, /* nothing is said to such a page */
};

static void test_bad(void **state)
{
    (void)state;
    const struct addr local = local_v4();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct admin_request r = parse(bad[i].text, strlen(bad[i].text), &local);
        if (r.status != bad[i].status) {
            fail_msg("%d, not %d: %s", r.status, bad[i].status, bad[i].text);
        }
        assert_int_equal(r.page, ADMIN_PAGE_NONE);
        assert_non_null(r.text);
        assert_int_equal(r.text[strlen(r.text) - 1], '\n');
    }
}

/* Known before the end of the head: nobody waits for a deadline because of them. */
static void test_broken_at_once(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "\x16\x03\x01", "GET /healthz HTTP/1.1\n", "GET /healthz HTTP/1.1\rH", "\n",
        "GET \x7f",     "GET /healthz\x1b"};
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        assert_int_equal(parse(broken[i], strlen(broken[i]), NULL).status, 400);
    }
    assert_int_equal(parse("GET /he\0lthz", 12, NULL).status, 400);
    assert_int_equal(parse("GET /healthz HTTP/1.1\r", 22, NULL).status, 0); /* may still be right */
}

static void test_lengths(void **state)
{
    (void)state;
    static const char start[] = "GET /healthz HTTP/1.1\r\nX: ", end[] = "\r\n\r\n";
    for (size_t len = ADMIN_HTTP_HEAD_MAX - 1; len <= ADMIN_HTTP_HEAD_MAX + 1; len++) {
        char text[ADMIN_HTTP_HEAD_MAX + 1];
        memset(text, 'a', sizeof text);
        memcpy(text, start, sizeof start - 1);
        memcpy(text + len - (sizeof end - 1), end, sizeof end - 1);
        assert_int_equal(parse(text, len, NULL).status, len <= ADMIN_HTTP_HEAD_MAX ? 200 : 431);
    }
    char endless[ADMIN_HTTP_HEAD_MAX + 1];
    memset(endless, 'a', sizeof endless);
    assert_int_equal(parse(endless, 0, NULL).status, 0);
    assert_int_equal(parse(endless, 1, NULL).status, 0);
    assert_int_equal(parse(endless, ADMIN_HTTP_HEAD_MAX - 1, NULL).status, 0);
    assert_int_equal(parse(endless, ADMIN_HTTP_HEAD_MAX, NULL).status, 431);
    assert_int_equal(parse(endless, ADMIN_HTTP_HEAD_MAX + 1, NULL).status, 431);
}

static void test_other_listeners(void **state)
{
    (void)state;
    struct addr six, eighty = {.ip = ip_v4(192, 0, 2, 1), .port = 80};
    assert_int_equal(addr_parse(span_str("[2001:db8::1]:9090"), 0, &six), 0);
    static const char v6[] = GET "Host: [2001:DB8:0::1]:9090\r\n\r\n", bare[] = GET "Host: 192.0.2.1\r\n\r\n";
    assert_int_equal(parse(v6, sizeof v6 - 1, &six).status, 200);
    assert_int_equal(parse(v6, sizeof v6 - 1, &eighty).status, 421);
    assert_int_equal(parse(bare, sizeof bare - 1, &eighty).status, 200);
}

static void test_reply_head(void **state)
{
    (void)state;
    char text[ADMIN_HTTP_REPLY_HEAD];
    size_t len = admin_http_reply_head(200, "text/plain", 7, true, text);
    assert_int_equal(len, strlen(text));
    assert_string_equal(
        text, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 7\r\nPolicy: stale\r\n"
              "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
              "Connection: close\r\n\r\n");
    (void)admin_http_reply_head(405, "text/plain; version=0.0.4; charset=utf-8", 1048576, true, text);
    assert_non_null(strstr(text, "HTTP/1.1 405 Method Not Allowed\r\n"));
    assert_non_null(strstr(text, "\r\nAllow: GET\r\n"));
    (void)admin_http_reply_head(431, "text/plain; charset=utf-8", 0, false, text);
    assert_null(strstr(text, "Policy"));
    assert_null(strstr(text, "Allow"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_broken_at_once),
        cmocka_unit_test(test_other_listeners),
        cmocka_unit_test(test_reply_head),
    };
    return cmocka_run_group_tests_name("admin_http", tests, NULL, NULL);
}

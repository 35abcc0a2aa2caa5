/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tunneld/http_reply.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char text[HTTP_REPLY_CAP + 1];

static const char *write_reply(const struct http_reply *r)
{
    size_t len = http_reply_write(r, text, HTTP_REPLY_CAP);
    assert_true(len > 0 && len <= HTTP_REPLY_CAP);
    text[len] = '\0';
    const char *body = strstr(text, "\r\n\r\n");
    assert_non_null(body);
    body += 4;
    const char *length = strstr(text, "Content-Length: ");
    assert_non_null(length);
    assert_int_equal(strtoul(length + 16, NULL, 10), strlen(body));
    assert_non_null(strstr(text, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(text, "\r\nConnection: close\r\n"));
    assert_true(body[0] == '{' && strcmp(body + strlen(body) - 2, "}\n") == 0);
    return body;
}

struct row {
    enum reason reason;
    int cause;
    const char *status;
    const char *error;
};

static const struct row rows[] = {
    {REASON_POLICY_DENIED, 0, "403 Forbidden", "http_request_denied"},
    {REASON_BINARY_DENIED, 0, "403 Forbidden", "http_request_denied"},
    {REASON_L7_REQUIRED, 0, "403 Forbidden", "http_request_denied"},
    {REASON_SSRF_DENIED, 0, "403 Forbidden", "destination_ip_prohibited"},
    {REASON_CLIENT_NOT_ALLOWED, 0, "403 Forbidden", "http_request_denied"},
    {REASON_NOT_MAPPED, 0, "403 Forbidden", "http_request_denied"},
    {REASON_POLICY_CHANGED, 0, "403 Forbidden", "http_request_denied"},
    {REASON_BAD_REQUEST, 0, "400 Bad Request", "http_request_error"},
    {REASON_METHOD_NOT_ALLOWED, 0, "405 Method Not Allowed", "http_request_error"},
    {REASON_HEAD_TIMEOUT, 0, "408 Request Timeout", "http_request_error"},
    {REASON_HEAD_TOO_LARGE, 0, "431 Request Header Fields Too Large", "http_request_error"},
    {REASON_RATE_LIMITED, 0, "429 Too Many Requests", "connection_limit_reached"},
    {REASON_WILDCARD_BUDGET, 0, "403 Forbidden", "http_request_denied"},
    {REASON_WILDCARD_LENGTH, 0, "403 Forbidden", "http_request_denied"},
    {REASON_LIMIT_REACHED, 0, "503 Service Unavailable", "connection_limit_reached"},
    {REASON_DNS_FAILED, 0, "502 Bad Gateway", "dns_error"},
    {REASON_DNS_FAILED, ETIMEDOUT, "502 Bad Gateway", "dns_timeout"},
    {REASON_UPSTREAM_UNREACHABLE, ECONNREFUSED, "502 Bad Gateway", "connection_refused"},
    {REASON_UPSTREAM_UNREACHABLE, EHOSTUNREACH, "502 Bad Gateway", "destination_ip_unroutable"},
    {REASON_UPSTREAM_TIMEOUT, 0, "504 Gateway Timeout", "connection_timeout"},
    {REASON_PROXY_LOOP, 0, "502 Bad Gateway", "proxy_loop_detected"},
    {REASON_BAD_RESPONSE, 0, "502 Bad Gateway", "http_protocol_error"},
    {REASON_UPSTREAM_CLOSED, 0, "502 Bad Gateway", "connection_terminated"},
    {REASON_UPSTREAM_RESET, 0, "502 Bad Gateway", "connection_terminated"},
    {REASON_SHUTDOWN, 0, "503 Service Unavailable", "proxy_internal_error"},
    {REASON_INTERNAL, EMFILE, "503 Service Unavailable", "proxy_internal_error"},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char want[200];
        struct http_reply r = {.reason = rows[i].reason, .cause = rows[i].cause, .detail = "d"};
        const char *body = write_reply(&r);
        assert_true(snprintf(want, sizeof want, "HTTP/1.1 %s\r\n", rows[i].status) > 0);
        assert_int_equal(strncmp(text, want, strlen(want)), 0);
        assert_true(snprintf(want, sizeof want,
                             "Proxy-Status: openshell-tunneld; error=%s; details=\"%s\"\r\n", rows[i].error,
                             reason_text(rows[i].reason)) > 0);
        assert_non_null(strstr(text, want));
        assert_true(snprintf(want, sizeof want, "{\"error\":\"%s\",\"detail\":\"d\"}\n",
                             reason_text(rows[i].reason)) > 0);
        assert_string_equal(body, want);
        assert_true((strstr(text, "\r\nAllow: CONNECT, GET, ") != NULL) ==
                    (rows[i].reason == REASON_METHOD_NOT_ALLOWED));
        assert_null(strstr(text, "Retry-After"));
    }
}

/* RFC 9209 2.1.4: what the next proxy answered, which the client is never given as our own status. */
static void test_chain_failed(void **state)
{
    (void)state;
    struct http_reply r = {
        .reason = REASON_CHAIN_FAILED, .received_status = 407, .error_type = "proxy_configuration_error"};
    (void)write_reply(&r);
    assert_int_equal(strncmp(text, "HTTP/1.1 502 Bad Gateway\r\n", 26), 0);
    assert_non_null(strstr(text, "\r\nProxy-Status: openshell-tunneld; error=proxy_configuration_error; "
                                 "details=\"chain_failed\"; received-status=407\r\n"));
}

static void test_limit_of_one_client(void **state)
{
    (void)state;
    struct http_reply r = {.reason = REASON_LIMIT_REACHED, .status = 429, .retry_after_s = 5};
    (void)write_reply(&r);
    assert_int_equal(strncmp(text, "HTTP/1.1 429 Too Many Requests\r\n", 32), 0);
    assert_non_null(strstr(text, "\r\nRetry-After: 5\r\n"));
}

static void test_everything_is_escaped(void **state)
{
    (void)state;
    struct http_reply r = {.reason = REASON_POLICY_DENIED,
                           .detail = "a\"b\\c\r\nX-Evil: 1",
                           .why = "w\xff",
                           .rule_missing = "host: \"x\"\nport: 1\n"};
    assert_string_equal(write_reply(&r),
                        "{\"error\":\"policy_denied\",\"detail\":\"a\\\"b\\\\c\\r\\nX-Evil: 1\","
                        "\"reason\":\"w\\u00ff\","
                        "\"rule_missing\":\"host: \\\"x\\\"\\nport: 1\\n\"}\n");
}

static void test_long_texts_are_left_out(void **state)
{
    (void)state;
    char *longer = malloc(HTTP_REPLY_CAP);
    assert_non_null(longer);
    memset(longer, '\x01', HTTP_REPLY_CAP - 1);
    longer[HTTP_REPLY_CAP - 1] = '\0';
    struct http_reply r = {.reason = REASON_POLICY_DENIED, .detail = "d", .rule_missing = longer};
    assert_string_equal(write_reply(&r), "{\"error\":\"policy_denied\"}\n");
    assert_int_equal(http_reply_write(&r, text, 100), 0);
    free(longer);
}

static void test_established(void **state)
{
    (void)state;
    assert_string_equal(http_reply_established, "HTTP/1.1 200 Connection Established\r\n\r\n");
}

/* An answer between two requests of one connection, and one to HEAD: its length is told, and it is not sent.
 */
static void test_kept_connection(void **state)
{
    (void)state;
    struct http_reply r = {.reason = REASON_POLICY_DENIED, .detail = "d", .keeps_open = true};
    size_t with_body = 0;
    for (int i = 0; i < 2; i++) {
        char out[HTTP_REPLY_CAP + 1];
        r.has_no_body = i == 1;
        size_t len = http_reply_write(&r, out, HTTP_REPLY_CAP);
        out[len] = '\0';
        const char *head_end = strstr(out, "\r\n\r\n");
        assert_non_null(head_end);
        assert_non_null(strstr(out, "\r\nConnection: keep-alive\r\n"));
        size_t body = len - (size_t)(head_end + 4 - out);
        if (i == 0) {
            with_body = body;
        }
        char want[64];
        (void)snprintf(want, sizeof want, "\r\nContent-Length: %zu\r\n", with_body);
        assert_non_null(strstr(out, want));
        assert_true(i == 0 ? body > 0 : body == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept_connection),       cmocka_unit_test(test_table),
        cmocka_unit_test(test_chain_failed),          cmocka_unit_test(test_limit_of_one_client),
        cmocka_unit_test(test_everything_is_escaped), cmocka_unit_test(test_long_texts_are_left_out),
        cmocka_unit_test(test_established),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

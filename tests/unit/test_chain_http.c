/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tunneld/chain_http.h"

static void test_basic(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},                                  /* RFC 4648 10 */
        {"Aladdin:open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}, /* RFC 7617 2 */
        {"\xff\xfe\xfb", "//77"},
    };
    char text[CHAIN_BASIC_CAP];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        chain_basic(span_str(rows[i][0]), text);
        assert_string_equal(text, rows[i][1]);
    }
    char longest[CHAIN_CREDENTIALS_CAP];
    memset(longest, 'x', sizeof longest);
    chain_basic(span_make(longest, sizeof longest), text);
    assert_int_equal(strlen(text), (CHAIN_CREDENTIALS_CAP + 2) / 3 * 4);
}

static void check_request(const char *host, uint16_t port, const char *basic, const char *want)
{
    char out[CHAIN_REQUEST_CAP];
    struct host h;
    assert_int_equal(host_parse(span_str(host), &h), HOST_FAULT_NONE);
    size_t len = chain_request_write(&h, port, basic, out);
    assert_int_equal(len, strlen(want));
    assert_memory_equal(out, want, len);
}

static void test_request(void **state)
{
    (void)state;
    check_request("Example.org.", 443, "",
                  "CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n");
    check_request("2001:DB8::1", 65535, "",
                  "CONNECT [2001:db8::1]:65535 HTTP/1.1\r\nHost: [2001:db8::1]:65535\r\n\r\n");
    check_request("192.0.2.1", 1, "eDp5",
                  "CONNECT 192.0.2.1:1 HTTP/1.1\r\nHost: 192.0.2.1:1\r\nProxy-Authorization: Basic "
                  "eDp5\r\n\r\n");
    /* the longest of both */
    char name[HOST_NAME_MAX_LEN + 1], basic[CHAIN_BASIC_CAP], out[CHAIN_REQUEST_CAP];
    char credentials[CHAIN_CREDENTIALS_CAP];
    for (size_t i = 0; i < HOST_NAME_MAX_LEN; i++) {
        name[i] = i % 64 == 63 ? '.' : 'a';
    }
    name[HOST_NAME_MAX_LEN] = '\0';
    memset(credentials, 0xff, sizeof credentials);
    chain_basic(span_make(credentials, sizeof credentials), basic);
    struct host h;
    assert_int_equal(host_parse(span_str(name), &h), HOST_FAULT_NONE);
    assert_true(chain_request_write(&h, 65535, basic, out) > 2 * HOST_NAME_MAX_LEN + CHAIN_CREDENTIALS_CAP);
}

struct row {
    const char *answer;
    enum chain_verdict verdict;
    enum chain_fault fault;
    uint16_t code;
    const char *left; /* what belongs to the tunnel */
};

static const struct row rows[] = {
    {"", CHAIN_MORE, CHAIN_FAULT_NONE, 0, ""},
    {"HTTP/1.1 200 OK\r\n\r\n", CHAIN_ESTABLISHED, CHAIN_FAULT_NONE, 200, ""},
    {"HTTP/1.0 200 Connection established\r\n\r\n", CHAIN_ESTABLISHED, CHAIN_FAULT_NONE, 200, ""},
    {"HTTP/1.1 299 x\r\n\r\n", CHAIN_ESTABLISHED, CHAIN_FAULT_NONE, 299, ""},
    {"HTTP/1.1 200 OK\r\n\r\nSSH-2.0-x\r\n", CHAIN_ESTABLISHED, CHAIN_FAULT_NONE, 200, "SSH-2.0-x\r\n"},
    {"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 403 x\r\n\r\n", CHAIN_ESTABLISHED, CHAIN_FAULT_NONE, 200,
     "HTTP/1.1 403 x\r\n\r\n"},
    /* the length of a 2xx to CONNECT means nothing: the bytes are the tunnel's */
    {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", CHAIN_ESTABLISHED,
     CHAIN_FAULT_NONE, 200, "abc"},
    {"HTTP/1.1 100 Continue\r\n\r\n", CHAIN_MORE, CHAIN_FAULT_NONE, 100, ""},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\nz",
     CHAIN_ESTABLISHED, CHAIN_FAULT_NONE, 200, "z"},
    {"HTTP/1.1 102 x\r\n\r\nHTTP/1.1 403 x\r\n\r\n", CHAIN_FAILED, CHAIN_FAULT_STATUS, 403, ""},
    {"HTTP/1.1 102 x\r\n\r\nnonsense", CHAIN_FAILED, CHAIN_FAULT_MALFORMED, 102, "onsense"},
    {"HTTP/1.1 101 Switching Protocols\r\n\r\n", CHAIN_FAILED, CHAIN_FAULT_STATUS, 101, ""},
    {"HTTP/1.1 302 Found\r\n\r\n", CHAIN_FAILED, CHAIN_FAULT_STATUS, 302, ""},
    {"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno", CHAIN_FAILED,
     CHAIN_FAULT_STATUS, 407, "no"},
    {"HTTP/1.1 599 x\r\n\r\n", CHAIN_FAILED, CHAIN_FAULT_STATUS, 599, ""},
    {"\r\nHTTP/1.1 200 OK\r\n\r\n", CHAIN_FAILED, CHAIN_FAULT_MALFORMED, 0, "\nHTTP/1.1 200 OK\r\n\r\n"},
    {"HTTP/2.0 200 OK\r\n\r\n", CHAIN_FAILED, CHAIN_FAULT_MALFORMED, 0, ".0 200 OK\r\n\r\n"},
    {"220 mail ESMTP\r\n", CHAIN_FAILED, CHAIN_FAULT_MALFORMED, 0, "20 mail ESMTP\r\n"},
};

static void check(const struct chain_reply *r, const struct row *row, size_t taken)
{
    size_t len = strlen(row->answer);
    assert_int_equal(r->verdict, row->verdict);
    assert_int_equal(r->fault, row->fault);
    assert_int_equal(r->code, row->code);
    assert_string_equal(row->answer + taken, row->left);
    assert_int_equal(taken, len - strlen(row->left));
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct span all = span_str(rows[i].answer);
        for (size_t cut = 0; cut <= all.len; cut++) { /* in two reads, cut anywhere */
            struct chain_reply r;
            chain_reply_init(&r);
            size_t taken = chain_reply_feed(&r, span_sub(all, 0, cut));
            if (taken == cut) {
                taken += chain_reply_feed(&r, span_sub(all, cut, all.len));
            }
            check(&r, &rows[i], taken);
        }
    }
}

/* Closed or late at every byte: never a tunnel before the last one of the head. */
static void test_truncated(void **state)
{
    (void)state;
    const struct span all = SPAN_LIT("HTTP/1.1 100 x\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\n");
    for (size_t cut = 0; cut <= all.len; cut++) {
        struct chain_reply closed, late;
        chain_reply_init(&closed);
        assert_int_equal(chain_reply_feed(&closed, span_sub(all, 0, cut)), cut);
        late = closed;
        chain_reply_closed(&closed);
        chain_reply_timeout(&late);
        assert_int_equal(closed.verdict, cut < all.len ? CHAIN_FAILED : CHAIN_ESTABLISHED);
        assert_int_equal(closed.fault, cut < all.len ? CHAIN_FAULT_CLOSED : CHAIN_FAULT_NONE);
        assert_int_equal(late.fault, cut < all.len ? CHAIN_FAULT_TIMEOUT : CHAIN_FAULT_NONE);
        chain_reply_closed(&late); /* the first one stands */
        assert_int_equal(late.fault, cut < all.len ? CHAIN_FAULT_TIMEOUT : CHAIN_FAULT_NONE);
    }
}

/* len bytes of head: "HTTP/1.1 CODE x", one field, the empty line. */
static void feed_head(struct chain_reply *r, uint16_t code, size_t len)
{
    const struct span start =
        code == 200 ? SPAN_LIT("HTTP/1.1 200 x\r\nA: ") : SPAN_LIT("HTTP/1.1 100 x\r\nA: ");
    (void)chain_reply_feed(r, start);
    for (size_t i = start.len + 4; i < len; i++) {
        (void)chain_reply_feed(r, SPAN_LIT("a"));
    }
    (void)chain_reply_feed(r, SPAN_LIT("\r\n\r\n"));
}

static void test_limit(void **state)
{
    (void)state;
    struct chain_reply r;
    chain_reply_init(&r);
    feed_head(&r, 200, CHAIN_REPLY_MAX_BYTES);
    assert_int_equal(r.verdict, CHAIN_ESTABLISHED);
    chain_reply_init(&r);
    feed_head(&r, 200, CHAIN_REPLY_MAX_BYTES + 1);
    assert_int_equal(r.fault, CHAIN_FAULT_TOO_LARGE);
    /* interim answers count */
    for (size_t over = 0; over <= 1; over++) {
        chain_reply_init(&r);
        for (size_t i = 0; i < 4; i++) {
            feed_head(&r, 100, CHAIN_REPLY_MAX_BYTES / 8);
            assert_int_equal(r.verdict, CHAIN_MORE);
        }
        feed_head(&r, 200, CHAIN_REPLY_MAX_BYTES / 2 + over);
        assert_int_equal(r.verdict, over == 0 ? CHAIN_ESTABLISHED : CHAIN_FAILED);
    }
    chain_reply_init(&r);
    for (size_t i = 0; r.verdict == CHAIN_MORE && i < 1000; i++) {
        feed_head(&r, 100, 22);
    }
    assert_int_equal(r.fault, CHAIN_FAULT_TOO_LARGE);
}

static void test_words(void **state)
{
    (void)state;
    struct chain_reply r = {.fault = CHAIN_FAULT_STATUS, .code = 407};
    assert_non_null(strstr(chain_reply_why(&r, &(struct chain_words){.has_credentials = false}),
                           "give --chain-auth-file"));
    assert_non_null(
        strstr(chain_reply_why(&r, &(struct chain_words){.has_credentials = true}), "does not accept"));
    assert_string_equal(chain_reply_error_type(&r), "proxy_configuration_error");
    r.code = 403;
    assert_null(strstr(chain_reply_why(&r, &(struct chain_words){.by_name = true}), "--chain-target"));
    assert_non_null(
        strstr(chain_reply_why(&r, &(struct chain_words){.by_name = false}), "--chain-target=name"));
    assert_string_equal(chain_reply_error_type(&r), "destination_unavailable");
    static const struct {
        enum chain_fault fault;
        const char *type;
    } types[] = {
        {CHAIN_FAULT_MALFORMED, "http_protocol_error"},
        {CHAIN_FAULT_TOO_LARGE, "http_response_header_section_size"},
        {CHAIN_FAULT_CLOSED, "http_response_incomplete"},
        {CHAIN_FAULT_TIMEOUT, "http_response_timeout"},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        r.fault = types[i].fault;
        assert_string_equal(chain_reply_error_type(&r), types[i].type);
        assert_true(strlen(chain_reply_why(&r, &(struct chain_words){.by_name = true})) > 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_basic),     cmocka_unit_test(test_request), cmocka_unit_test(test_rows),
        cmocka_unit_test(test_truncated), cmocka_unit_test(test_limit),   cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tunneld/http_head.h"

#include <stdio.h>
#include <stdlib.h>

static size_t feed(struct http_head *h, const char *text, size_t len)
{
    http_head_init(h);
    return http_head_feed(h, span_make(text, len));
}

struct good {
    const char *head;
    const char *host;
    uint16_t port;
};

static const struct good good_heads[] = {
    {"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n", "example.org", 443},
    {"CONNECT example.org:443 HTTP/1.1\r\n\r\n", "example.org", 443},
    {"CONNECT example.org:443 HTTP/1.0\r\n\r\n", "example.org", 443},
    {"CONNECT Example.ORG.:1 HTTP/1.1\r\nHost: other.example\r\n\r\n", "example.org", 1},
    {"CONNECT a_b.example.org:65535 HTTP/1.1\r\nhost:\r\n\r\n", "a_b.example.org", 65535},
    {"CONNECT 192.0.2.7:443 HTTP/1.1\r\nHost: 192.0.2.7\r\n\r\n", "192.0.2.7", 443},
    {"CONNECT [2001:DB8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n", "[2001:db8::1]", 443},
    {"CONNECT [::ffff:1.2.3.4]:443 HTTP/1.1\r\n\r\n", "[::ffff:1.2.3.4]", 443},
    {"CONNECT [2001:db8::1]:1 HTTP/1.0\r\n\r\n", "[2001:db8::1]", 1},
    {"CONNECT [::]:65535 HTTP/1.1\r\nHost: [::]\r\n\r\n", "[::]", 65535},
    {"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n", "example.org", 443},
    {"CONNECT example.org:443 HTTP/1.0\r\nHost: example.org:80\r\nContent-Length: 0\r\n\r\n", "example.org",
     443},
    {"CONNECT x.example:22 HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "x.example", 22},
    {"CONNECT x.example:22 HTTP/1.1\r\nContent-Length:0  \t\r\n\r\n", "x.example", 22},
    {"CONNECT x.example:22 HTTP/1.1\r\nProxy-Authorization: Basic eDp5\r\nUser-Agent: a/1 (b; c)\r\n"
     "X-Empty:\r\nX-High: \xc3\xa9\r\nX-Tab:\ta\tb\t\r\nProxy-Connection: keep-alive\r\n\r\n",
     "x.example", 22},
    {"CONNECT x.example:22 HTTP/1.1\r\nTransfer-EncodingX: chunked\r\nXTransfer-Encoding: a\r\n\r\n",
     "x.example", 22},
};

static void test_good_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good_heads / sizeof good_heads[0]; i++) {
        struct http_head h;
        char text[HOST_TEXT_CAP];
        size_t len = strlen(good_heads[i].head);
        assert_int_equal(feed(&h, good_heads[i].head, len), len);
        assert_int_equal(h.fault, HTTP_HEAD_FAULT_NONE);
        assert_int_equal(h.status, HTTP_HEAD_CONNECT);
        assert_string_equal(host_text(&h.host, text), good_heads[i].host);
        assert_int_equal(h.port, good_heads[i].port);
    }
}

struct bad {
    const char *head;
    enum http_head_fault fault;
};

#define C "CONNECT x.example:443 HTTP/1.1\r\n"
#define TARGET(t) "CONNECT " t " HTTP/1.1\r\n\r\n"

static const struct bad bad_heads[] = {
    {"\r\n", HTTP_HEAD_FAULT_REQUEST_LINE},
    {"\n", HTTP_HEAD_FAULT_REQUEST_LINE},
    {" CONNECT x.example:443 HTTP/1.1\r\n\r\n", HTTP_HEAD_FAULT_REQUEST_LINE},
    {"CONNECT  x.example:443 HTTP/1.1\r\n\r\n", HTTP_HEAD_FAULT_REQUEST_LINE},
    {"CONNECT\tx.example:443 HTTP/1.1\r\n\r\n", HTTP_HEAD_FAULT_REQUEST_LINE},
    {"CONNECT x.example:443  HTTP/1.1\r\n\r\n", HTTP_HEAD_FAULT_REQUEST_LINE},
    {"CONNECT x.example:443 HTTP/1.1 \r\n\r\n", HTTP_HEAD_FAULT_REQUEST_LINE},
    {"CONNECT x.example:443\r\n\r\n", HTTP_HEAD_FAULT_REQUEST_LINE},
    {"CONNECT\r\n\r\n", HTTP_HEAD_FAULT_REQUEST_LINE},
    {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", HTTP_HEAD_FAULT_REQUEST_LINE},
    {"SSH-2.0-OpenSSH_9.2\r\n", HTTP_HEAD_FAULT_REQUEST_LINE},
    {"CONNECT x.ex\x80mple:443 HTTP/1.1\r\n\r\n", HTTP_HEAD_FAULT_REQUEST_LINE},
    {"CONNECT x.example:443 HTTP/1.1\n\n", HTTP_HEAD_FAULT_LINE_END},
    {"CONNECT x.example:443 HTTP/1.1\r\r\n\r\n", HTTP_HEAD_FAULT_LINE_END},
    {"CONNECT x.example:443 HTTP/2.0\r\n\r\n", HTTP_HEAD_FAULT_VERSION},
    {"CONNECT x.example:443 HTTP/1.10\r\n\r\n", HTTP_HEAD_FAULT_VERSION},
    {"CONNECT x.example:443 http/1.1\r\n\r\n", HTTP_HEAD_FAULT_VERSION},
    {"CONNECT x.example:443 \r\n\r\n", HTTP_HEAD_FAULT_VERSION},
    {"CONNECT x.example:443 HTTP/0.9\r\n\r\n", HTTP_HEAD_FAULT_VERSION},
    {"CONNECT x.example:443 HTTP/1.2\r\n\r\n", HTTP_HEAD_FAULT_VERSION},
    {"CONNECT x.example:443 HTTP/1\r\n\r\n", HTTP_HEAD_FAULT_VERSION},
    {"CONNECT x.example:443 HTTP/01.1\r\n\r\n", HTTP_HEAD_FAULT_VERSION},
    {"CONNECT x.example:443 HTTP/1.1.1\r\n\r\n", HTTP_HEAD_FAULT_VERSION},
    {"CONNECT x.example:443 HTTPS/1.1\r\n\r\n", HTTP_HEAD_FAULT_VERSION},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HTTP_HEAD_FAULT_VERSION},
    {"GET /\r\n", HTTP_HEAD_FAULT_REQUEST_LINE},
    {"GET http://x.example/\r\n\r\n", HTTP_HEAD_FAULT_REQUEST_LINE},
    {"GET http://x.example/ a HTTP/1.1\r\n\r\n", HTTP_HEAD_FAULT_REQUEST_LINE},
    {"CONNECT x.example:443\rHTTP/1.1\r\n\r\n", HTTP_HEAD_FAULT_REQUEST_LINE},
    {"CONNECT x.example:443 HTTP/1.1\r\n\n", HTTP_HEAD_FAULT_LINE_END},
    {"CONNECT x.example:443 HTTP/1.1\n\r\n\r\n", HTTP_HEAD_FAULT_LINE_END},
    {C "Host: a\r\r\n\r\n", HTTP_HEAD_FAULT_LINE_END},
    {C "Host: a\r\n\n", HTTP_HEAD_FAULT_LINE_END},
    {C "Host: a\r\n\r\r\n", HTTP_HEAD_FAULT_LINE_END},
    {C "Host:\r\n a\r\n\r\n", HTTP_HEAD_FAULT_FOLDING},
    {C "Host: a\r\n \r\n\r\n", HTTP_HEAD_FAULT_FOLDING},
    {C "X: a\r\n\tTransfer-Encoding: chunked\r\n\r\n", HTTP_HEAD_FAULT_FOLDING},
    {C "Host:\r\nHost:\r\n\r\n", HTTP_HEAD_FAULT_TWO_HOSTS},
    {C "Host: x.example:443\r\nX: y\r\nHost: x.example:443\r\n\r\n", HTTP_HEAD_FAULT_TWO_HOSTS},
    {C "Host\t: a\r\n\r\n", HTTP_HEAD_FAULT_FIELD},
    {C "Host: a\n\r\n", HTTP_HEAD_FAULT_LINE_END},
    {C "Host: a\rb\r\n\r\n", HTTP_HEAD_FAULT_LINE_END},
    {C "\n", HTTP_HEAD_FAULT_LINE_END},
    {C "\rx", HTTP_HEAD_FAULT_LINE_END},
    {C "Host: a\r\n b\r\n\r\n", HTTP_HEAD_FAULT_FOLDING},
    {C "\tb: c\r\n\r\n", HTTP_HEAD_FAULT_FOLDING},
    {C "Host : a\r\n\r\n", HTTP_HEAD_FAULT_FIELD},
    {C ": a\r\n\r\n", HTTP_HEAD_FAULT_FIELD},
    {C "Host\r\n\r\n", HTTP_HEAD_FAULT_FIELD},
    {C "H(st: a\r\n\r\n", HTTP_HEAD_FAULT_FIELD},
    {C "X: a\x01z\r\n\r\n", HTTP_HEAD_FAULT_FIELD},
    {C "X: a\x7fz\r\n\r\n", HTTP_HEAD_FAULT_FIELD},
    {C "Host: a\r\nhOST: a\r\n\r\n", HTTP_HEAD_FAULT_TWO_HOSTS},
    {C "Host: a b\r\n\r\n", HTTP_HEAD_FAULT_HOST_FIELD},
    {C "Host: a,b\r\n\r\n", HTTP_HEAD_FAULT_HOST_FIELD},
    {C "Host: u@b\r\n\r\n", HTTP_HEAD_FAULT_HOST_FIELD},
    {C "Host: a/\r\n\r\n", HTTP_HEAD_FAULT_HOST_FIELD},
    {C "Host: \xe9\r\n\r\n", HTTP_HEAD_FAULT_HOST_FIELD},
    {C "Content-Length: 1\r\n\r\n", HTTP_HEAD_FAULT_FRAMING},
    {C "Content-Length: 00\r\n\r\n", HTTP_HEAD_FAULT_FRAMING},
    {C "Content-Length: +0\r\n\r\n", HTTP_HEAD_FAULT_FRAMING},
    {C "Content-Length:\r\n\r\n", HTTP_HEAD_FAULT_FRAMING},
    {C "Content-Length: 0, 0\r\n\r\n", HTTP_HEAD_FAULT_FRAMING},
    {C "Content-Length: 0\r\ncontent-length: 0\r\n\r\n", HTTP_HEAD_FAULT_FRAMING},
    {C "transfer-encoding: identity\r\n\r\n", HTTP_HEAD_FAULT_FRAMING},
    {C "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", HTTP_HEAD_FAULT_FRAMING},
    {C "Content-Length: 0\r\nTransfer-Encoding: identity\r\n\r\n", HTTP_HEAD_FAULT_FRAMING},
    {C "Transfer-Encoding:\r\n\r\n", HTTP_HEAD_FAULT_FRAMING},
    {C "Transfer-Encoding: \vchunked\r\n\r\n", HTTP_HEAD_FAULT_FIELD},
    {C "Content-Length: -0\r\n\r\n", HTTP_HEAD_FAULT_FRAMING},
    {C "Content-Length: 0x0\r\n\r\n", HTTP_HEAD_FAULT_FRAMING},
    {C "Content-Length: 0,\r\n\r\n", HTTP_HEAD_FAULT_FRAMING},
    {C "Content-Length: 0 0\r\n\r\n", HTTP_HEAD_FAULT_FRAMING},
    {C "Content-Length: 18446744073709551616\r\n\r\n", HTTP_HEAD_FAULT_FRAMING},
    {"CONNECT x.example:443 HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_HEAD_FAULT_FRAMING},
    {"TRACE / HTTP/1.1\r\n\r\n", HTTP_HEAD_FAULT_TRACE},
    {"TRACE * HTTP/1.0\r\n\r\n", HTTP_HEAD_FAULT_TRACE},
    {"TRACE x.example:443 HTTP/1.1\r\nContent-Length: 5\r\n\r\n", HTTP_HEAD_FAULT_TRACE},
    {"TRACE http://x.example/ HTTP/1.1\r\nMax-Forwards: 0\r\n\r\n", HTTP_HEAD_FAULT_TRACE},
    {"trace http://x.example/ HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_HEAD_FAULT_METHOD},
    {"connect x.example:443 HTTP/1.1\r\n\r\n", HTTP_HEAD_FAULT_METHOD},
    {"Connect http://x.example/ HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_HEAD_FAULT_METHOD},
    {"GET https://x.example/ HTTP/1.1\r\n\r\n", HTTP_HEAD_FAULT_PLAIN_HTTPS},
    {"GET / HTTP/1.1\r\nHost: x.example\r\n\r\n", HTTP_HEAD_FAULT_NOT_PROXIED},
    {"OPTIONS * HTTP/1.1\r\n\r\n", HTTP_HEAD_FAULT_NOT_PROXIED},
    {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_HEAD_FAULT_NOT_PROXIED},
    {"GET //x.example/ HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_HEAD_FAULT_NOT_PROXIED},
    {"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n", HTTP_HEAD_FAULT_NOT_PROXIED},
    {"POST HTTPS://x.example:80/ HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_HEAD_FAULT_PLAIN_HTTPS},
    {"GET wss://x.example/ HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_HEAD_FAULT_SCHEME},
    {"GET http HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_HEAD_FAULT_SCHEME},
    {"GET http:x.example HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_HEAD_FAULT_SCHEME},
    {"GET mailto:a@x.example HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_HEAD_FAULT_SCHEME},
    {"GET ftp://x.example/ HTTP/1.1\r\n\r\n", HTTP_HEAD_FAULT_SCHEME},
    {"GET http:/x.example/ HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_HEAD_FAULT_SCHEME},
    {"GET ws://x.example/ HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_HEAD_FAULT_SCHEME},
    {"GET x.example:80 HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_HEAD_FAULT_SCHEME},
    {"CONNECTCONNECTCONNECTCONNECT x.example:443 HTTP/1.1\r\n\r\n", HTTP_HEAD_FAULT_SCHEME},
    {TARGET("/"), HTTP_HEAD_FAULT_AUTHORITY},
    {TARGET("*"), HTTP_HEAD_FAULT_AUTHORITY},
    {TARGET("x.example"), HTTP_HEAD_FAULT_AUTHORITY},
    {TARGET(":443"), HTTP_HEAD_FAULT_AUTHORITY},
    {TARGET("http://x.example:443"), HTTP_HEAD_FAULT_AUTHORITY},
    {TARGET("https://x.example:443/"), HTTP_HEAD_FAULT_AUTHORITY},
    {TARGET("u:p@x.example:443"), HTTP_HEAD_FAULT_AUTHORITY},
    {TARGET("x.example:443?"), HTTP_HEAD_FAULT_AUTHORITY},
    {TARGET("x.example:443#"), HTTP_HEAD_FAULT_AUTHORITY},
    {TARGET("::1:443"), HTTP_HEAD_FAULT_AUTHORITY},
    {TARGET("[::1]"), HTTP_HEAD_FAULT_AUTHORITY},
    {TARGET("[::1]443"), HTTP_HEAD_FAULT_AUTHORITY},
    {TARGET("[::1:443"), HTTP_HEAD_FAULT_AUTHORITY},
    {TARGET("::1]:443"), HTTP_HEAD_FAULT_AUTHORITY},
    {TARGET("x.example:80:443"), HTTP_HEAD_FAULT_AUTHORITY},
    {TARGET("x.example:"), HTTP_HEAD_FAULT_PORT},
    {TARGET("x.example:0"), HTTP_HEAD_FAULT_PORT},
    {TARGET("x.example:0443"), HTTP_HEAD_FAULT_PORT},
    {TARGET("x.example:00"), HTTP_HEAD_FAULT_PORT},
    {TARGET("x.example:+443"), HTTP_HEAD_FAULT_PORT},
    {TARGET("x.example:0x1bb"), HTTP_HEAD_FAULT_PORT},
    {TARGET("x.example:443x"), HTTP_HEAD_FAULT_PORT},
    {TARGET("x.example:65979"), HTTP_HEAD_FAULT_PORT},      /* 443 + 2^16 */
    {TARGET("x.example:4294967739"), HTTP_HEAD_FAULT_PORT}, /* 443 + 2^32 */
    {TARGET("x.example:18446744073709552059"), HTTP_HEAD_FAULT_PORT},
    {TARGET("[2001:db8::1]:0"), HTTP_HEAD_FAULT_PORT},
    {TARGET("[2001:db8::1]:65536"), HTTP_HEAD_FAULT_PORT},
    {TARGET("[2001:db8::1]:"), HTTP_HEAD_FAULT_PORT},
    {TARGET("[[2001:db8::1]]:443"), HTTP_HEAD_FAULT_HOST},
    {TARGET("[2001:db8::1%eth0]:443"), HTTP_HEAD_FAULT_HOST},
    {TARGET("[192.0.2.1]:443"), HTTP_HEAD_FAULT_HOST},
    {TARGET("[v1.a]:443"), HTTP_HEAD_FAULT_HOST},
    {TARGET("*:443"), HTTP_HEAD_FAULT_HOST},
    {TARGET(".:443"), HTTP_HEAD_FAULT_HOST},
    {TARGET("-x.example:443"), HTTP_HEAD_FAULT_HOST},
    {TARGET("x.example:65536"), HTTP_HEAD_FAULT_PORT},
    {TARGET("x.example:https"), HTTP_HEAD_FAULT_PORT},
    {TARGET("x.example:-1"), HTTP_HEAD_FAULT_PORT},
    {TARGET("[]:443"), HTTP_HEAD_FAULT_HOST},
    {TARGET("[::1]x:443"), HTTP_HEAD_FAULT_AUTHORITY},
    {TARGET("[x.example]:443"), HTTP_HEAD_FAULT_HOST},
    {TARGET("[fe80::1%25eth0]:443"), HTTP_HEAD_FAULT_HOST},
    {TARGET("x..example:443"), HTTP_HEAD_FAULT_HOST},
    {TARGET("x%2eexample:443"), HTTP_HEAD_FAULT_HOST},
    {TARGET("0x7f.1:443"), HTTP_HEAD_FAULT_HOST},
    {TARGET("127.1:443"), HTTP_HEAD_FAULT_HOST},
    {TARGET("0177.0.0.1:443"), HTTP_HEAD_FAULT_HOST},
    {TARGET("2130706433:443"), HTTP_HEAD_FAULT_HOST},
};

struct forward {
    const char *head;
    const char *host;
    uint16_t port;
    bool is_http10, has_chunked, has_length;
    uint64_t length;
};

#define GET(t) "GET http://" t " HTTP/1.1\r\nHost: a\r\n\r\n"

static const struct forward forward_heads[] = {
    {.head = GET("x.example/"), .host = "x.example", .port = 80},
    {.head = GET("X.Example."), .host = "x.example", .port = 80},
    {.head = GET("x.example?q=@:/"), .host = "x.example", .port = 80},
    {.head = GET("x.example:8080/a?b@c:d"), .host = "x.example", .port = 8080},
    {.head = GET("192.0.2.1:1/"), .host = "192.0.2.1", .port = 1},
    {.head = GET("[2001:db8::1]/"), .host = "[2001:db8::1]", .port = 80},
    {.head = GET("[2001:db8::1]:65535"), .host = "[2001:db8::1]", .port = 65535},
    {.head = "M-SEARCH HTTP://x.example/ HTTP/1.1\r\nhost:\r\n\r\n", .host = "x.example", .port = 80},
    {.head = "A-METHOD-OF-MORE-THAN-TWENTY-BYTES http://x.example/ HTTP/1.1\r\nHost: a\r\n\r\n",
     .host = "x.example",
     .port = 80},
    {.head = "GET http://x.example/ HTTP/1.0\r\n\r\n", .host = "x.example", .port = 80, .is_http10 = true},
    {.head = "POST http://x.example/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n",
     .host = "x.example",
     .port = 80,
     .has_length = true,
     .length = INT64_MAX},
    {.head = "POST http://x.example/ HTTP/1.1\r\nHost: a\r\nContent-Length:\t0 \r\n\r\n",
     .host = "x.example",
     .port = 80,
     .has_length = true},
    {.head = "POST http://x.example/ HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\n",
     .host = "x.example",
     .port = 80,
     .has_chunked = true},
};

static void test_forward_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof forward_heads / sizeof forward_heads[0]; i++) {
        const struct forward *want = &forward_heads[i];
        struct http_head h;
        char text[HOST_TEXT_CAP];
        size_t len = strlen(want->head);
        for (size_t cut = 0; cut < len; cut++) {
            assert_int_equal(feed(&h, want->head, cut), cut);
            assert_int_equal(h.status, HTTP_HEAD_MORE);
            assert_int_equal(http_head_feed(&h, span_make(want->head + cut, len - cut)), len - cut);
            assert_int_equal(h.status, HTTP_HEAD_FORWARD);
        }
        assert_string_equal(host_text(&h.host, text), want->host);
        assert_int_equal(h.port, want->port);
        assert_int_equal(h.is_http10, want->is_http10);
        assert_int_equal(h.framing.has_chunked, want->has_chunked);
        assert_int_equal(h.framing.has_length, want->has_length);
        assert_int_equal(h.framing.length, want->length);
    }
}

#define POST(fields) "POST http://x.example/ HTTP/1.1\r\nHost: a\r\n" fields "\r\n"

static const struct bad bad_forwards[] = {
    {GET(""), HTTP_HEAD_FAULT_AUTHORITY},
    {GET("/"), HTTP_HEAD_FAULT_AUTHORITY},
    {GET(":80/"), HTTP_HEAD_FAULT_AUTHORITY},
    {GET("::1/"), HTTP_HEAD_FAULT_AUTHORITY},
    {GET("[::1/"), HTTP_HEAD_FAULT_AUTHORITY},
    {GET("[::1]80/"), HTTP_HEAD_FAULT_AUTHORITY},
    {GET("a:b:80/"), HTTP_HEAD_FAULT_AUTHORITY},
    {GET("x.example:/"), HTTP_HEAD_FAULT_PORT},
    {GET("x.example:0/"), HTTP_HEAD_FAULT_PORT},
    {GET("x.example:080/"), HTTP_HEAD_FAULT_PORT},
    {GET("x.example:65536/"), HTTP_HEAD_FAULT_PORT},
    {GET("u@x.example/"), HTTP_HEAD_FAULT_USERINFO},
    {GET("u:p@x.example/"), HTTP_HEAD_FAULT_USERINFO},
    {GET("allowed.example:80@x.example/"), HTTP_HEAD_FAULT_USERINFO},
    {GET("x.example/#a"), HTTP_HEAD_FAULT_FRAGMENT},
    {GET("x.example#@y.example/"), HTTP_HEAD_FAULT_FRAGMENT},
    {GET("x.example\\@y.example/"), HTTP_HEAD_FAULT_USERINFO},
    {GET("x.example\\y.example/"), HTTP_HEAD_FAULT_HOST},
    {GET("x%2eexample/"), HTTP_HEAD_FAULT_HOST},
    {GET("127.1/"), HTTP_HEAD_FAULT_HOST},
    {GET("x..example/"), HTTP_HEAD_FAULT_HOST},
    {"GET http://x.example/ HTTP/1.1\r\n\r\n", HTTP_HEAD_FAULT_NO_HOST},
    {"GET http://x.example/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", HTTP_HEAD_FAULT_TWO_HOSTS},
    {"POST http://x.example/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_HEAD_FAULT_BODY},
    {POST("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Content-Length: 5\r\nContent-Length: 5\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Content-Length: 5\r\nContent-Length: 6\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Content-Length: 5, 5\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Content-Length: +5\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Content-Length: -5\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Content-Length: 5 5\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Content-Length: 0x5\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Content-Length: 05\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Content-Length: 5.0\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Content-Length:\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Content-Length: 9223372036854775808\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Content-Length: 18446744073709551621\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Transfer-Encoding: gzip\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Transfer-Encoding: gzip, chunked\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Transfer-Encoding: chunked, identity\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Transfer-Encoding: chunked, chunked\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Transfer-Encoding: identity\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Transfer-Encoding: xchunked\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Transfer-Encoding: \"chunked\"\r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Transfer-Encoding: \r\n"), HTTP_HEAD_FAULT_BODY},
    {POST("Transfer-Encoding : chunked\r\n"), HTTP_HEAD_FAULT_FIELD},
    {POST("Transfer-Encoding: chunked\n"), HTTP_HEAD_FAULT_LINE_END},
    {POST("Transfer-Encoding:\r\n chunked\r\n"), HTTP_HEAD_FAULT_FOLDING},
    {POST("X: a\rTransfer-Encoding: chunked\r\n"), HTTP_HEAD_FAULT_LINE_END},
    {POST("Transfer-Encoding: chunked\v\r\n"), HTTP_HEAD_FAULT_FIELD},
};

/* An authority that is longer than what is kept is refused, a path is not. */
static void test_long_forward_target(void **state)
{
    (void)state;
    for (size_t len = 200; len < 400; len++) {
        char head[1024];
        char name[512];
        memset(name, 'a', sizeof name);
        for (size_t i = 49; i < len; i += 50) {
            name[i] = '.';
        }
        name[len - 1] = 'a';
        int n = snprintf(head, sizeof head, GET("%.*s/"), (int)len, name);
        struct http_head h;
        (void)feed(&h, head, (size_t)n);
        assert_int_equal(h.status, len <= HOST_NAME_MAX_LEN ? HTTP_HEAD_FORWARD : HTTP_HEAD_BAD);
        n = snprintf(head, sizeof head, GET("x.example/%.*s"), (int)len, name);
        (void)feed(&h, head, (size_t)n);
        assert_int_equal(h.status, HTTP_HEAD_FORWARD);
    }
}

static void require_bad(const struct bad *bad, size_t row)
{
    size_t len = strlen(bad->head);
    for (size_t cut = 0; cut <= len; cut++) { /* also whole */
        struct http_head h;
        size_t taken = feed(&h, bad->head, cut);
        assert_true(h.status == HTTP_HEAD_MORE || h.status == HTTP_HEAD_BAD);
        taken += http_head_feed(&h, span_make(bad->head + taken, len - taken));
        if (h.status != HTTP_HEAD_BAD || h.fault != bad->fault) {
            fail_msg("row %zu, cut at %zu: status %d fault %d, want %d: %s", row, cut, (int)h.status,
                     (int)h.fault, (int)bad->fault, bad->head);
        }
        assert_int_equal(http_head_feed(&h, SPAN_LIT("\r\n\r\n")), 0); /* and so it stays */
        assert_int_equal(h.status, HTTP_HEAD_BAD);
    }
    assert_true(strlen(http_head_fault_text(bad->fault)) > 10);
}

static void test_bad_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_heads / sizeof bad_heads[0]; i++) {
        require_bad(&bad_heads[i], i);
    }
}

static void test_bad_forwards(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_forwards / sizeof bad_forwards[0]; i++) {
        require_bad(&bad_forwards[i], i);
    }
}

/* What people read who took it for something else. */
/* To port 8080 of whoever Host names. */
static const struct {
    const char *head;
    const char *host; /* NULL: it is bad */
    enum http_head_fault fault;
} steered_heads[] = {
    {"GET / HTTP/1.1\r\nHost: X.Example\r\n\r\n", "x.example", HTTP_HEAD_FAULT_NONE},
    {"GET /?a=b HTTP/1.1\r\nHost: x.example:8080\r\n\r\n", "x.example", HTTP_HEAD_FAULT_NONE},
    {"GET / HTTP/1.0\r\nHost: x.example\r\n\r\n", "x.example", HTTP_HEAD_FAULT_NONE},
    {"OPTIONS * HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n\r\n", "[2001:db8::1]", HTTP_HEAD_FAULT_NONE},
    {"GET http://y.example:8080/ HTTP/1.1\r\nHost: x.example\r\n\r\n", "y.example", HTTP_HEAD_FAULT_NONE},
    {"GET / HTTP/1.1\r\nHost: x.example:80\r\n\r\n", NULL, HTTP_HEAD_FAULT_OTHER_PORT},
    {"GET http://y.example/ HTTP/1.1\r\nHost: x.example\r\n\r\n", NULL, HTTP_HEAD_FAULT_OTHER_PORT},
    {"GET / HTTP/1.1\r\nHost: x.example:0\r\n\r\n", NULL, HTTP_HEAD_FAULT_PORT},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", NULL, HTTP_HEAD_FAULT_STEERED_NO_HOST},
    {"GET / HTTP/1.1\r\n\r\n", NULL, HTTP_HEAD_FAULT_STEERED_NO_HOST},
    {"GET / HTTP/1.0\r\n\r\n", NULL, HTTP_HEAD_FAULT_STEERED_NO_HOST},
    {"GET / HTTP/1.1\r\nHost: x.example\r\nHost: x.example\r\n\r\n", NULL, HTTP_HEAD_FAULT_TWO_HOSTS},
    {"GET / HTTP/1.1\r\nHost: a..b\r\n\r\n", NULL, HTTP_HEAD_FAULT_HOST},
    {"GET / HTTP/1.1\r\nHost: 2001:db8::1\r\n\r\n", NULL, HTTP_HEAD_FAULT_AUTHORITY},
    {"GET /#a HTTP/1.1\r\nHost: x.example\r\n\r\n", NULL, HTTP_HEAD_FAULT_FRAGMENT},
    {"GET * HTTP/1.1\r\nHost: x.example\r\n\r\n", NULL, HTTP_HEAD_FAULT_SCHEME},
    {"GET x.example HTTP/1.1\r\nHost: x.example\r\n\r\n", NULL, HTTP_HEAD_FAULT_SCHEME},
    {"GET https://x.example:8080/ HTTP/1.1\r\nHost: x.example\r\n\r\n", NULL, HTTP_HEAD_FAULT_PLAIN_HTTPS},
    {"POST / HTTP/1.1\r\nHost: x.example\r\nContent-Length: x\r\n\r\n", NULL, HTTP_HEAD_FAULT_BODY},
    {"POST / HTTP/1.0\r\nHost: x.example\r\nTransfer-Encoding: chunked\r\n\r\n", NULL, HTTP_HEAD_FAULT_BODY},
    {"CONNECT x.example:8080 HTTP/1.1\r\nHost: x.example\r\n\r\n", NULL, HTTP_HEAD_FAULT_STEERED},
    {"TRACE / HTTP/1.1\r\nHost: x.example\r\n\r\n", NULL, HTTP_HEAD_FAULT_TRACE},
    {"connect / HTTP/1.1\r\nHost: x.example\r\n\r\n", NULL, HTTP_HEAD_FAULT_METHOD},
};

static void test_steered_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof steered_heads / sizeof steered_heads[0]; i++) {
        struct http_head h;
        char text[HOST_TEXT_CAP];
        const struct span head = span_str(steered_heads[i].head);
        http_head_init_steered(&h, 8080);
        size_t taken = http_head_feed(&h, head);
        if (h.fault != steered_heads[i].fault) {
            fail_msg("row %zu: %d, %s", i, (int)h.fault, http_head_fault_text(h.fault));
        }
        assert_true(steered_heads[i].fault == HTTP_HEAD_FAULT_NONE ||
                    http_head_fault_text(h.fault)[0] != '\0');
        if (steered_heads[i].host != NULL) {
            assert_int_equal(taken, head.len);
            assert_int_equal(h.status, HTTP_HEAD_FORWARD);
            assert_string_equal(host_text(&h.host, text), steered_heads[i].host);
            assert_int_equal(h.port, 8080);
        } else {
            assert_int_equal(h.status, HTTP_HEAD_BAD);
        }
    }
}

static void test_hints(void **state)
{
    (void)state;
    assert_non_null(strstr(http_head_fault_text(HTTP_HEAD_FAULT_NOT_PROXIED), "this is a proxy"));
    assert_non_null(strstr(http_head_fault_text(HTTP_HEAD_FAULT_SCHEME), "this is a proxy"));
    assert_non_null(strstr(http_head_fault_text(HTTP_HEAD_FAULT_PLAIN_HTTPS), "CONNECT host:443"));
}

/* NUL is the one byte the string tables cannot hold. */
static void test_nul_bytes(void **state)
{
    (void)state;
    static const char in_method[] = "CON\0ECT x.example:443 HTTP/1.1\r\n\r\n";
    static const char in_target[] = "CONNECT x.exam\0le:443 HTTP/1.1\r\n\r\n";
    static const char in_name[] = C "Ho\0t: a\r\n\r\n";
    static const char in_value[] = C "Host: a\0\r\n\r\n";
    struct http_head h;
    (void)feed(&h, in_method, sizeof in_method - 1);
    assert_int_equal(h.fault, HTTP_HEAD_FAULT_REQUEST_LINE);
    (void)feed(&h, in_target, sizeof in_target - 1);
    assert_int_equal(h.fault, HTTP_HEAD_FAULT_REQUEST_LINE);
    (void)feed(&h, in_name, sizeof in_name - 1);
    assert_int_equal(h.fault, HTTP_HEAD_FAULT_FIELD);
    (void)feed(&h, in_value, sizeof in_value - 1);
    assert_int_equal(h.fault, HTTP_HEAD_FAULT_FIELD);
}

/* Every prefix of a good head wants more, and any cut in two pieces gives the same result. */
static void test_every_truncation_and_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good_heads / sizeof good_heads[0]; i++) {
        const char *text = good_heads[i].head;
        size_t len = strlen(text);
        for (size_t cut = 0; cut < len; cut++) {
            char *copy = malloc(cut + 1); /* exact size: a read past the end is seen by the sanitizer */
            assert_non_null(copy);
            memcpy(copy, text, cut);
            struct http_head h;
            assert_int_equal(feed(&h, copy, cut), cut);
            assert_int_equal(h.status, HTTP_HEAD_MORE);
            assert_int_equal(http_head_feed(&h, span_make(text + cut, len - cut)), len - cut);
            assert_int_equal(h.status, HTTP_HEAD_CONNECT);
            assert_int_equal(h.port, good_heads[i].port);
            free(copy);
        }
    }
}

static void test_bytes_behind_the_head_are_left(void **state)
{
    (void)state;
    static const char text[] = C "\r\nSSH-2.0-x\r\n";
    struct http_head h;
    assert_int_equal(feed(&h, text, sizeof text - 1), sizeof text - 1 - 11);
    assert_int_equal(h.status, HTTP_HEAD_CONNECT);
    assert_int_equal(http_head_feed(&h, SPAN_LIT("more")), 0);
}

/* A head of exactly len bytes: one long header fills what is missing. */
static enum http_head_fault fault_of_length(size_t len, size_t *taken)
{
    static const char start[] = C "X: ";
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, 'a', len);
    memcpy(text, start, sizeof start - 1);
    memcpy(text + len - 4, "\r\n\r\n", 4);
    struct http_head h;
    *taken = feed(&h, text, len);
    free(text);
    assert_int_equal(h.status, h.fault == HTTP_HEAD_FAULT_NONE ? HTTP_HEAD_CONNECT : HTTP_HEAD_BAD);
    return h.fault;
}

static void test_length_limit(void **state)
{
    (void)state;
    size_t taken = 0;
    assert_int_equal(fault_of_length(HTTP_HEAD_MAX_BYTES - 1, &taken), HTTP_HEAD_FAULT_NONE);
    assert_int_equal(fault_of_length(HTTP_HEAD_MAX_BYTES, &taken), HTTP_HEAD_FAULT_NONE);
    assert_int_equal(taken, HTTP_HEAD_MAX_BYTES);
    assert_int_equal(fault_of_length(HTTP_HEAD_MAX_BYTES + 1, &taken), HTTP_HEAD_FAULT_TOO_LARGE);
    assert_int_equal(taken, HTTP_HEAD_MAX_BYTES);
    assert_int_equal(fault_of_length(65536, &taken), HTTP_HEAD_FAULT_TOO_LARGE);
}

/* Names of 252 to 254 bytes, and targets around the longest text that is kept. */
static void test_target_length(void **state)
{
    (void)state;
    for (size_t len = 250; len < 300; len++) {
        char head[512];
        size_t at = 0;
        memcpy(head, "CONNECT ", 8);
        at += 8;
        for (size_t i = 0; i < len; i++) {
            head[at++] = i % 50 == 49 && i + 1 < len ? '.' : 'a';
        }
        memcpy(head + at, ":443 HTTP/1.1\r\n\r\n", 17);
        struct http_head h;
        (void)feed(&h, head, at + 17);
        assert_int_equal(h.status, len <= HOST_NAME_MAX_LEN ? HTTP_HEAD_CONNECT : HTTP_HEAD_BAD);
    }
}

/* The longest field value that is looked at, and longer ones, cannot hide a second meaning. */
static void test_long_values(void **state)
{
    (void)state;
    for (size_t spaces = 280; spaces < 300; spaces++) {
        char head[512];
        int n = snprintf(head, sizeof head, C "Content-Length: 0%*s1\r\n\r\n", (int)spaces, "");
        struct http_head h;
        (void)feed(&h, head, (size_t)n);
        assert_int_equal(h.fault, HTTP_HEAD_FAULT_FRAMING);
    }
}

static void test_statuses(void **state)
{
    (void)state;
    assert_int_equal(http_head_fault_http_status(HTTP_HEAD_FAULT_TOO_LARGE), 431);
    assert_int_equal(http_head_fault_http_status(HTTP_HEAD_FAULT_TRACE), 405);
    assert_int_equal(http_head_fault_http_status(HTTP_HEAD_FAULT_FIELD), 400);
    assert_string_equal(http_head_fault_text(HTTP_HEAD_FAULT_NONE), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_heads),
        cmocka_unit_test(test_bad_heads),
        cmocka_unit_test(test_steered_heads),
        cmocka_unit_test(test_hints),
        cmocka_unit_test(test_forward_heads),
        cmocka_unit_test(test_bad_forwards),
        cmocka_unit_test(test_long_forward_target),
        cmocka_unit_test(test_nul_bytes),
        cmocka_unit_test(test_every_truncation_and_split),
        cmocka_unit_test(test_bytes_behind_the_head_are_left),
        cmocka_unit_test(test_length_limit),
        cmocka_unit_test(test_target_length),
        cmocka_unit_test(test_long_values),
        cmocka_unit_test(test_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tunneld/http_forward.h"

#include <stdio.h>
#include <stdlib.h>

#define VIA "tunneld-test"
static const struct http_forward_names names = {.via = VIA, .idle_s = 60};

struct exchange {
    struct http_forward f;
    enum http_forward_fault fault;
    uint8_t head[HTTP_FORWARD_HEAD_CAP]; /* for the server */
    size_t head_len;
    struct buf down; /* for the client */
    size_t behind;   /* bytes of the server that were not taken */
};

static void start(struct exchange *x, const char *head)
{
    struct http_head h;
    http_head_init(&h);
    assert_int_equal(http_head_feed(&h, span_str(head)), strlen(head));
    assert_int_equal(h.status, HTTP_HEAD_FORWARD);
    struct wbuf w = wbuf_make(x->head, sizeof x->head);
    x->fault = http_forward_start(&x->f, &h, span_str(head), &names, &w);
    assert_false(w.overflow);
    x->head_len = w.len;
    x->down = (struct buf){.data = NULL};
    x->behind = 0;
}

static void feed(struct exchange *x, struct span bytes)
{
    while (bytes.len > 0 && (x->f.state == HTTP_FORWARD_HEAD || x->f.state == HTTP_FORWARD_BODY)) {
        struct span pass;
        char *copy = malloc(bytes.len); /* exact size: the sanitizer sees a read past the end */
        assert_non_null(copy);
        memcpy(copy, bytes.data, bytes.len);
        size_t n = http_forward_down(&x->f, span_make(copy, bytes.len), &x->down, &pass);
        assert_in_range(n, 1, bytes.len);
        assert_int_equal(buf_append(&x->down, pass, SIZE_MAX), 0);
        free(copy);
        bytes = span_sub(bytes, n, bytes.len);
    }
    x->behind += bytes.len;
}

static void stop(struct exchange *x)
{
    http_forward_fini(&x->f);
    buf_fini(&x->down);
}

static bool is_text(struct span got, const char *want)
{
    bool is_same = span_is_equal(got, span_str(want));
    if (!is_same) {
        print_message("got:\n%.*s\nwant:\n%s\n", (int)got.len, (const char *)got.data, want);
    }
    return is_same;
}

/* ---- requests ---- */

#define TAIL "Via: 1.1 " VIA "\r\nConnection: close\r\n\r\n"

struct request {
    const char *in, *out;
};

static const struct request requests[] = {
    {"GET http://x.example/a?b=c HTTP/1.1\r\nHost: other\r\nAccept: */*\r\n\r\n",
     "GET /a?b=c HTTP/1.1\r\nHost: x.example\r\nAccept: */*\r\n" TAIL},
    {"GET http://X.Example.:80 HTTP/1.1\r\nHost:\r\n\r\n", "GET / HTTP/1.1\r\nHost: x.example\r\n" TAIL},
    {"GET http://x.example:8080?q HTTP/1.1\r\nHost: a\r\n\r\n",
     "GET /?q HTTP/1.1\r\nHost: x.example:8080\r\n" TAIL},
    {"GET http://[2001:DB8::1]:8080/ HTTP/1.1\r\nHost: a\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\n" TAIL},
    {"OPTIONS http://x.example HTTP/1.1\r\nHost: a\r\n\r\n",
     "OPTIONS * HTTP/1.1\r\nHost: x.example\r\n" TAIL},
    {"OPTIONS http://x.example/ HTTP/1.1\r\nHost: a\r\n\r\n",
     "OPTIONS / HTTP/1.1\r\nHost: x.example\r\n" TAIL},
    {"GET http://x.example/http://y.example/ HTTP/1.1\r\nHost: a\r\n\r\n",
     "GET /http://y.example/ HTTP/1.1\r\nHost: x.example\r\n" TAIL},
    /* hop by hop */
    {"GET http://x.example/ HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Mine, TE\r\nX-Mine: 1\r\nTE: "
     "trailers\r\n"
     "Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eA==\r\nX-Mine2: 2\r\n"
     "Upgrade: a\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: x.example\r\nX-Mine2: 2\r\n" TAIL},
    {"GET http://x.example/ HTTP/1.1\r\nHost: a\r\nX-Late: 1\r\nConnection: x-late\r\nAuthorization: Basic "
     "eA==\r\n"
     "Connection: Host, Via, Content-Length\r\nVia: 1.1 other (a, b)\r\nContent-Length: 3\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: x.example\r\nAuthorization: Basic eA==\r\nVia: 1.1 other (a, "
     "b)\r\nContent-Length: 3\r\n" TAIL},
    /* framing */
    {"POST http://x.example/ HTTP/1.1\r\nHost: a\r\ncontent-length:\t 12 \r\nExpect: 100-continue\r\n\r\n",
     "POST / HTTP/1.1\r\nHost: x.example\r\nExpect: 100-continue\r\nContent-Length: 12\r\n" TAIL},
    {"POST http://x.example/ HTTP/1.1\r\nHost: a\r\ntransfer-encoding:CHUNKED\r\nTrailer: X-Sum\r\n\r\n",
     "POST / HTTP/1.1\r\nHost: x.example\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n" TAIL},
    {"GET http://x.example/ HTTP/1.0\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: x.example\r\nVia: 1.0 " VIA "\r\nConnection: close\r\n\r\n"},
    /* upgrade */
    {"GET http://x.example/ HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
     "Sec-WebSocket-Key: k\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: x.example\r\nSec-WebSocket-Key: k\r\nVia: 1.1 " VIA
     "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"},
    {"GET http://x.example/ HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: x.example\r\n" TAIL},
    {"GET http://x.example/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
     "HTTP2-Settings: AAMAAABk\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: x.example\r\n" TAIL},
    {"GET http://x.example/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n\r\n",
     "GET / HTTP/1.1\r\nHost: x.example\r\n" TAIL},
};

static void test_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        struct exchange x;
        start(&x, requests[i].in);
        assert_int_equal(x.fault, HTTP_FORWARD_FAULT_NONE);
        assert_true(is_text(span_make(x.head, x.head_len), requests[i].out));
        stop(&x);
    }
}

static void test_request_faults(void **state)
{
    (void)state;
    struct exchange x;
    start(&x, "GET http://x.example/ HTTP/1.1\r\nHost: a\r\nVia: 1.1 a, 1.1 " VIA " (x)\r\n\r\n");
    assert_int_equal(x.fault, HTTP_FORWARD_FAULT_LOOP);
    start(
        &x,
        "GET http://x.example/ HTTP/1.1\r\nHost: a\r\nvia: HTTP/1.1 TUNNELD-TEST\r\nConnection: via\r\n\r\n");
    assert_int_equal(x.fault, HTTP_FORWARD_FAULT_LOOP);
    start(&x, "GET http://x.example/ HTTP/1.1\r\nHost: a\r\nVia: 1.1 " VIA "2, 1.1 x" VIA "\r\n\r\n");
    assert_int_equal(x.fault, HTTP_FORWARD_FAULT_NONE);
    stop(&x);
    char head[1024];
    for (int count = 31; count < 34; count++) {
        int n = snprintf(head, sizeof head, "GET http://x.example/ HTTP/1.1\r\nHost: a\r\nConnection: a");
        for (int i = 1; i < count; i++) {
            n += snprintf(head + n, sizeof head - (size_t)n, ",a");
        }
        (void)snprintf(head + n, sizeof head - (size_t)n, "\r\n\r\n");
        start(&x, head);
        assert_int_equal(x.fault, count <= 32 ? HTTP_FORWARD_FAULT_NONE : HTTP_FORWARD_FAULT_FIELDS);
        stop(&x);
    }
}

/* The head that grows most: the shortest fields there are, without their space. */
static void test_largest_request(void **state)
{
    (void)state;
    char head[HTTP_HEAD_MAX_BYTES + 1];
    int at = snprintf(head, sizeof head, "GET http://x.example/ HTTP/1.1\r\nHost: a\r\n");
    while ((size_t)at + 4 + 2 <= HTTP_HEAD_MAX_BYTES) {
        at += snprintf(head + at, sizeof head - (size_t)at, "a:\r\n");
    }
    (void)snprintf(head + at, sizeof head - (size_t)at, "\r\n");
    struct exchange x;
    start(&x, head);
    assert_int_equal(x.fault, HTTP_FORWARD_FAULT_NONE);
    assert_true(x.head_len > HTTP_HEAD_MAX_BYTES);
    stop(&x);
}

static void test_request_bodies(void **state)
{
    (void)state;
    struct exchange x;
    start(&x, "GET http://x.example/ HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(x.f.up.status, HTTP_BODY_DONE);
    assert_int_equal(http_forward_up(&x.f, SPAN_LIT("GET")), 0);
    stop(&x);
    start(&x, "POST http://x.example/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    assert_int_equal(http_forward_up(&x.f, SPAN_LIT("abGET")), 3);
    assert_int_equal(x.f.up.status, HTTP_BODY_DONE);
    stop(&x);
    start(&x, "POST http://x.example/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_int_equal(http_forward_up(&x.f, SPAN_LIT("1\r\na\r\n0\r\n\r\nGET")), 11);
    assert_int_equal(x.f.up.status, HTTP_BODY_DONE);
    stop(&x);
    start(&x, "POST http://x.example/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    (void)http_forward_up(&x.f, SPAN_LIT("1\nGET"));
    assert_int_equal(x.f.up.status, HTTP_BODY_BAD);
    stop(&x);
}

/* ---- answers ---- */

#define GET11 "GET http://x.example/ HTTP/1.1\r\nHost: a\r\n\r\n"
#define GET11_CLOSE "GET http://x.example/ HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n"
#define GET10 "GET http://x.example/ HTTP/1.0\r\n\r\n"
#define HEAD11 "HEAD http://x.example/ HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST11                                                                                               \
    "POST http://x.example/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
#define UPGRADE11 "GET http://x.example/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: w\r\n\r\n"
#define KEEP "Connection: keep-alive\r\nKeep-Alive: timeout=60\r\n\r\n"
#define V "Via: 1.1 " VIA "\r\n"

struct answer {
    const char *request, *in, *out;
    enum http_forward_state state; /* before the server's end */
    enum http_forward_state ended; /* after it */
    unsigned status;
    bool must_close;
    size_t behind;
};

static const struct answer answers[] = {
    {GET11, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: s\r\n\r\nhello",
     "HTTP/1.1 200 OK\r\nServer: s\r\n" V "Content-Length: 5\r\n" KEEP "hello", HTTP_FORWARD_DONE,
     HTTP_FORWARD_DONE, 200, false, 0},
    {GET11, "HTTP/1.1 200\r\nContent-Length:0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
     "HTTP/1.1 200 \r\n" V "Content-Length: 0\r\n" KEEP, HTTP_FORWARD_DONE, HTTP_FORWARD_DONE, 200, false,
     19},
    {GET11_CLOSE, "HTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nx",
     "HTTP/1.1 404 No\r\n" V "Content-Length: 1\r\nConnection: close\r\n\r\nx", HTTP_FORWARD_DONE,
     HTTP_FORWARD_DONE, 404, true, 0},
    {GET11, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX: y\r\n\r\nmore",
     "HTTP/1.1 200 OK\r\n" V "Transfer-Encoding: chunked\r\n" KEEP "2\r\nhi\r\n0\r\nX: y\r\n\r\n",
     HTTP_FORWARD_DONE, HTTP_FORWARD_DONE, 200, false, 4},
    {GET10, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n1\r\n!\r\n0\r\nX: y\r\n\r\nmore",
     "HTTP/1.1 200 OK\r\n" V "Connection: close\r\n\r\nhi!", HTTP_FORWARD_DONE, HTTP_FORWARD_DONE, 200, true,
     4},
    {GET11,
     "HTTP/1.0 200 OK\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 1\r\nSet-Cookie: a\r\n\r\nto "
     "the end",
     "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nVia: 1.0 " VIA "\r\nConnection: close\r\n\r\nto the end",
     HTTP_FORWARD_BODY, HTTP_FORWARD_DONE, 200, true, 0},
    {HEAD11, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
     "HTTP/1.1 200 OK\r\n" V "Content-Length: 5\r\n" KEEP, HTTP_FORWARD_DONE, HTTP_FORWARD_DONE, 200, false,
     5},
    {HEAD11, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\n" V KEEP,
     HTTP_FORWARD_DONE, HTTP_FORWARD_DONE, 200, false, 0},
    {GET11, "HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 204 No\r\n" V KEEP,
     HTTP_FORWARD_DONE, HTTP_FORWARD_DONE, 204, false, 5},
    {GET11, "HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\nhello",
     "HTTP/1.1 304 No\r\n" V "Content-Length: 5\r\n" KEEP, HTTP_FORWARD_DONE, HTTP_FORWARD_DONE, 304, false,
     5},
    {GET11, "HTTP/1.1 426 Up\r\nUpgrade: w\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n",
     "HTTP/1.1 426 Up\r\n" V "Content-Length: 0\r\nUpgrade: w\r\n" KEEP, HTTP_FORWARD_DONE, HTTP_FORWARD_DONE,
     426, false, 0},
    /* interim answers */
    {POST11, "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n" V "\r\n", HTTP_FORWARD_HEAD,
     HTTP_FORWARD_BAD, 0, false, 0},
    {GET11,
     "HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: "
     "1\r\n\r\nx",
     "HTTP/1.1 103 Early\r\nLink: a\r\n" V "\r\nHTTP/1.1 102 P\r\n" V "\r\nHTTP/1.1 200 OK\r\n" V
     "Content-Length: 1\r\n" KEEP "x",
     HTTP_FORWARD_DONE, HTTP_FORWARD_DONE, 200, false, 0},
    {GET10, "HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
     "HTTP/1.1 200 OK\r\n" V "Content-Length: 1\r\nConnection: close\r\n\r\nx", HTTP_FORWARD_DONE,
     HTTP_FORWARD_DONE, 200, true, 0},
    /* an answer before the body is there: no next request can follow it */
    {POST11, "HTTP/1.1 413 Big\r\nContent-Length: 0\r\n\r\n",
     "HTTP/1.1 413 Big\r\n" V "Content-Length: 0\r\nConnection: close\r\n\r\n", HTTP_FORWARD_DONE,
     HTTP_FORWARD_DONE, 413, true, 0},
    /* another protocol */
    {UPGRADE11, "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: w\r\nSec-A: b\r\n\r\nframes",
     "HTTP/1.1 101 Go\r\nSec-A: b\r\n" V "Connection: Upgrade\r\nUpgrade: w\r\n\r\n", HTTP_FORWARD_TUNNEL,
     HTTP_FORWARD_TUNNEL, 101, false, 6},
    {UPGRADE11, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
     "HTTP/1.1 200 OK\r\n" V "Content-Length: 0\r\n" KEEP, HTTP_FORWARD_DONE, HTTP_FORWARD_DONE, 200, false,
     0},
    {UPGRADE11, "HTTP/1.1 101 Go\r\n\r\n", "", HTTP_FORWARD_BAD, HTTP_FORWARD_BAD, 0, false, 0},
    {GET11, "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: w\r\n\r\n", "", HTTP_FORWARD_BAD,
     HTTP_FORWARD_BAD, 0, false, 0},
    /* broken */
    {GET11, "", "", HTTP_FORWARD_HEAD, HTTP_FORWARD_BAD, 0, false, 0},
    {GET11, "HTTP/1.1 200 OK\r\nA: b\r\n", "", HTTP_FORWARD_HEAD, HTTP_FORWARD_BAD, 0, false, 0},
    {GET11, "220 mail.example ESMTP\r\n\r\n", "", HTTP_FORWARD_BAD, HTTP_FORWARD_BAD, 0, false, 0},
    {GET11, "HTTP/1.1 200 OK\n", "", HTTP_FORWARD_BAD, HTTP_FORWARD_BAD, 0, false, 0},
    {GET11, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "",
     HTTP_FORWARD_BAD, HTTP_FORWARD_BAD, 0, false, 0},
    {GET11, "HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n", "",
     HTTP_FORWARD_BAD, HTTP_FORWARD_BAD, 0, false, 0},
    {GET11, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
     "HTTP/1.1 200 OK\r\n" V "Content-Length: 5\r\n" KEEP "hel", HTTP_FORWARD_BODY, HTTP_FORWARD_BAD, 200,
     false, 0},
    {GET11, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
     "HTTP/1.1 200 OK\r\n" V "Transfer-Encoding: chunked\r\n" KEEP "5\r\nhel", HTTP_FORWARD_BODY,
     HTTP_FORWARD_BAD, 200, false, 0},
};

static void check_answer(const struct answer *want, struct exchange *x, size_t i)
{
    if (x->f.state != want->state || !is_text(buf_span(&x->down), want->out)) {
        fail_msg("answer %zu: state %d", i, (int)x->f.state);
    }
    assert_int_equal(x->f.status, want->status);
    assert_int_equal(x->f.must_close, want->must_close);
    if (want->state != HTTP_FORWARD_BAD) {
        assert_int_equal(x->behind, want->behind);
    }
    http_forward_down_end(&x->f);
    assert_int_equal(x->f.state, want->ended);
    assert_true((x->f.state == HTTP_FORWARD_BAD) == (x->f.why != NULL));
}

/* Whole, in every two pieces, byte by byte: always the same. */
static void test_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        const char *in = answers[i].in;
        size_t len = strlen(in);
        struct exchange x;
        for (size_t cut = 0; cut <= len; cut++) {
            start(&x, answers[i].request);
            feed(&x, span_make(in, cut));
            feed(&x, span_make(in + cut, len - cut));
            check_answer(&answers[i], &x, i);
            stop(&x);
        }
        start(&x, answers[i].request);
        for (size_t at = 0; at < len; at++) {
            feed(&x, span_make(in + at, 1));
        }
        check_answer(&answers[i], &x, i);
        stop(&x);
    }
}

/* Malformed chunks end an answer that has begun: what was right before them may have been passed on. */
static void test_broken_chunks(void **state)
{
    (void)state;
    struct exchange x;
    start(&x, GET11);
    feed(&x, SPAN_LIT("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
    feed(&x, SPAN_LIT("1\nx\n0\n\n"));
    assert_int_equal(x.f.state, HTTP_FORWARD_BAD);
    assert_int_equal(x.f.status, 200);
    stop(&x);
}

static void test_owner_closes(void **state)
{
    (void)state;
    struct exchange x;
    start(&x, GET11);
    x.f.must_close = true; /* the daemon is draining */
    feed(&x, SPAN_LIT("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
    assert_true(
        is_text(buf_span(&x.down), "HTTP/1.1 200 OK\r\n" V "Content-Length: 0\r\nConnection: close\r\n\r\n"));
    stop(&x);
}

/* An answer's head of len bytes that grows as much as one can. */
static enum http_forward_state state_of_head(size_t len)
{
    char *text = malloc(len + 1);
    assert_non_null(text);
    size_t at = (size_t)snprintf(text, len, "HTTP/1.1 204 No\r\n");
    while (at + 16 <= len) {
        memcpy(text + at, "a:\r\n", 4);
        at += 4;
    }
    (void)snprintf(text + at, len + 1 - at, "b:%0*d\r\n\r\n", (int)(len - at - 6), 0);
    struct exchange x;
    start(&x, GET11);
    feed(&x, span_make(text, len));
    enum http_forward_state state = x.f.state;
    if (state == HTTP_FORWARD_DONE) {
        assert_true(x.down.len > len);
    }
    stop(&x);
    free(text);
    return state;
}

static void test_answer_head_limit(void **state)
{
    (void)state;
    assert_int_equal(state_of_head(32767), HTTP_FORWARD_DONE);
    assert_int_equal(state_of_head(32768), HTTP_FORWARD_DONE);
    assert_int_equal(state_of_head(32769), HTTP_FORWARD_BAD);
}

/* RFC 9110 7.6.2: of OPTIONS each hop takes one, and 0 asks whoever has it; of other methods it means
 * nothing. */
static void test_max_forwards(void **state)
{
    (void)state;
    static const struct {
        const char *method, *in, *out; /* out NULL: it is for us */
    } rows[] = {
        {"OPTIONS", "Max-Forwards: 1\r\n", "Max-Forwards: 0\r\n"},
        {"OPTIONS", "max-forwards: 10 \r\n", "Max-Forwards: 9\r\n"},
        {"OPTIONS", "Max-Forwards: 18446744073709551615\r\n", "Max-Forwards: 18446744073709551614\r\n"},
        {"OPTIONS", "Max-Forwards: 0\r\n", NULL},
        {"OPTIONS", "Max-Forwards: 000\r\n", NULL},
        {"OPTIONS", "Max-Forwards: 5\r\nMax-Forwards: 0\r\n", NULL},
        {"OPTIONS", "Max-Forwards: 0\r\nMax-Forwards: 5\r\n", NULL},
        {"OPTIONS", "Max-Forwards: -1\r\n", NULL},
        {"OPTIONS", "Max-Forwards:\r\n", NULL},
        {"OPTIONS", "Max-Forwards: 18446744073709551616\r\n", NULL},
        {"GET", "Max-Forwards: 0\r\n", "Max-Forwards: 0\r\n"},
        {"options", "Max-Forwards: 0\r\n", "Max-Forwards: 0\r\n"}, /* another method */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct exchange x;
        char in[256], want[256];
        (void)snprintf(in, sizeof in, "%s http://x.example/ HTTP/1.1\r\nHost: a\r\n%s\r\n", rows[i].method,
                       rows[i].in);
        start(&x, in);
        assert_int_equal(x.fault, rows[i].out == NULL ? HTTP_FORWARD_FAULT_HOPS : HTTP_FORWARD_FAULT_NONE);
        if (rows[i].out != NULL) {
            (void)snprintf(want, sizeof want, "%s / HTTP/1.1\r\nHost: x.example\r\n%s" TAIL, rows[i].method,
                           rows[i].out);
            assert_true(is_text(span_make(x.head, x.head_len), want));
        }
        stop(&x);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_max_forwards),      cmocka_unit_test(test_requests),
        cmocka_unit_test(test_request_faults),    cmocka_unit_test(test_largest_request),
        cmocka_unit_test(test_request_bodies),    cmocka_unit_test(test_answers),
        cmocka_unit_test(test_broken_chunks),     cmocka_unit_test(test_owner_closes),
        cmocka_unit_test(test_answer_head_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

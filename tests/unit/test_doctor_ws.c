/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "egress/doctor_options.h"
#include "egress/doctor_ws.h"
#include "egress/doctor_ws_frame.h"
#include "egress/doctor_ws_head.h"

#include <errno.h>
#include <stdio.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* RFC 6455 1.3 */
static const char key[] = "dGhlIHNhbXBsZSBub25jZQ==";
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define GOOD                                                                                                 \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                      \
    "Sec-WebSocket-Accept: " ACCEPT "\r\n\r\n"

static void test_key(void **state)
{
    (void)state;
    char text[DOCTOR_WS_KEY_CAP];
    char accept[DOCTOR_WS_ACCEPT_CAP];
    doctor_ws_key((const uint8_t *)"the sample nonce", text);
    assert_string_equal(text, key);
    doctor_ws_accept(key, accept);
    assert_string_equal(accept, ACCEPT);
    static const uint8_t zeros[16] = {0};
    doctor_ws_key(zeros, text);
    assert_string_equal(text, "AAAAAAAAAAAAAAAAAAAAAA==");
    doctor_ws_accept(text, accept); /* with sha1sum(1) and base64(1) */
    assert_string_equal(accept, "ICX+Yqv66kxgM0FcWaLWlFLwTAI=");
}

static void test_request(void **state)
{
    (void)state;
    static const struct {
        const char *host, *path, *part;
        uint16_t port;
        bool is_tls;
    } rows[] = {
        {"a.test", NULL, "GET / HTTP/1.1\r\nHost: a.test\r\n", 443, true},
        {"a.test", "", "GET / HTTP/1.1\r\nHost: a.test\r\n", 80, false},
        {"a.test", "/x?y=1", "GET /x?y=1 HTTP/1.1\r\nHost: a.test:443\r\n", 443, false},
        {"a.test", "?y", "GET /?y HTTP/1.1\r\nHost: a.test:8443\r\n", 8443, true},
        {"2001:db8::1", "/", "Host: [2001:db8::1]:81\r\n", 81, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[1024];
        struct doctor_target t = {.port = rows[i].port, .ws_path = rows[i].path};
        assert_int_equal(host_parse(span_str(rows[i].host), &t.host), HOST_FAULT_NONE);
        struct wbuf w = wbuf_make(text, sizeof text - 1);
        doctor_ws_request(&w, &t, rows[i].is_tls, key);
        assert_false(w.overflow);
        text[w.len] = '\0';
        if (strstr(text, rows[i].part) == NULL) {
            fail_msg("\"%s\" is not in \"%s\"", rows[i].part, text);
        }
        assert_non_null(strstr(text, "\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
        assert_string_equal(text + w.len - 4, "\r\n\r\n");
        w = wbuf_make(text, w.len - 1);
        doctor_ws_request(&w, &t, rows[i].is_tls, key);
        assert_true(w.overflow);
    }
}

static void test_heads(void **state)
{
    (void)state;
    static const char start[] = "HTTP/1.1 101 x\r\n";
    static const char upgrade[] = "Upgrade: websocket\r\n";
    static const char connection[] = "Connection: Upgrade\r\n";
    static const char accept[] = "Sec-WebSocket-Accept: " ACCEPT "\r\n";
    const struct {
        const char *parts[6];
        enum doctor_ws_answer answer;
        int status;
        const char *why;
    } rows[] = {
        {{start, upgrade, connection, accept, "\r\n"}, DOCTOR_WS_UPGRADED, 101, NULL},
        {{"HTTP/1.1 101\r\n", "upgrade:WebSocket \r\n", "CONNECTION: keep-alive , upgrade\r\n", accept,
          "\r\n"},
         DOCTOR_WS_UPGRADED,
         101,
         NULL},
        {{start, upgrade, connection, accept, "X: \xff\t\r\n", "\r\n"}, DOCTOR_WS_UPGRADED, 101, NULL},
        {{start, upgrade, connection, accept}, DOCTOR_WS_MORE, 101, NULL},
        {{start, connection, accept, "\r\n"}, DOCTOR_WS_WRONG, 101, "Upgrade: websocket"},
        {{start, upgrade, upgrade, connection, accept, "\r\n"}, DOCTOR_WS_WRONG, 101, "Upgrade: websocket"},
        {{start, "Upgrade: h2c\r\n", connection, accept, "\r\n"}, DOCTOR_WS_WRONG, 101, "Upgrade: websocket"},
        {{start, upgrade, "Connection: close\r\n", accept, "\r\n"}, DOCTOR_WS_WRONG, 101, "Connection"},
        {{start, upgrade, "Connection: Upgrades\r\n", accept, "\r\n"}, DOCTOR_WS_WRONG, 101, "Connection"},
        {{start, upgrade, connection, "\r\n"}, DOCTOR_WS_WRONG, 101, "no Sec-WebSocket-Accept"},
        {{start, upgrade, connection, accept, accept, "\r\n"}, DOCTOR_WS_WRONG, 101, "several"},
        {{start, upgrade, connection, "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", "\r\n"},
         DOCTOR_WS_WRONG,
         101,
         "a wrong Sec-WebSocket-Accept"},
        {{start, upgrade, connection, accept, "Sec-WebSocket-Extensions: x\r\n", "\r\n"},
         DOCTOR_WS_WRONG,
         101,
         "extension"},
        {{start, upgrade, connection, accept, "Sec-WebSocket-Protocol: x\r\n", "\r\n"},
         DOCTOR_WS_WRONG,
         101,
         "subprotocol"},
        {{start, upgrade, connection, accept, "X: a\r\n b\r\n", "\r\n"}, DOCTOR_WS_WRONG, 101, "no field"},
        {{start, upgrade, connection, accept, "X : a\r\n", "\r\n"}, DOCTOR_WS_WRONG, 101, "no field"},
        {{start, upgrade, connection, accept, "X: a\nY: b\r\n", "\r\n"}, DOCTOR_WS_WRONG, 101, "control"},
        {{start, upgrade, connection, accept, "X: a\rb\r\n", "\r\n"}, DOCTOR_WS_WRONG, 101, "control"},
        {{"HTTP/1.0 101 x\r\n", upgrade, connection, accept, "\r\n"}, DOCTOR_WS_WRONG, 101, "HTTP/1.0"},
        {{"HTTP/1.1 403 Forbidden\r\n", "X: a\r\n", "\r\n"}, DOCTOR_WS_REFUSED, 403, NULL},
        {{"HTTP/1.0 200 OK\r\n", "\r\n"}, DOCTOR_WS_REFUSED, 200, NULL},
        {{"HTTP/1.1 301 Moved\r\n", "no field\r\n", "\r\n"}, DOCTOR_WS_REFUSED, 301, NULL},
        {{"HTTP/1.1 426 x\r\n"}, DOCTOR_WS_MORE, 426, NULL},
        {{"HTTP/1.1 1010\r\n", "\r\n"}, DOCTOR_WS_FOREIGN, 0, NULL},
        {{"HTTP/1.1  101\r\n", "\r\n"}, DOCTOR_WS_FOREIGN, 0, NULL},
        {{"HTTP/1.2 101 x\r\n", "\r\n"}, DOCTOR_WS_FOREIGN, 0, NULL},
        {{"HTTP/2"}, DOCTOR_WS_FOREIGN, 0, NULL},
        {{"HTTP/1.1 101 x\n"}, DOCTOR_WS_FOREIGN, 0, NULL},
        {{"\r\n"}, DOCTOR_WS_FOREIGN, 0, NULL},
        {{"SSH-2.0-x\r\n"}, DOCTOR_WS_FOREIGN, 0, NULL},
        {{"h"}, DOCTOR_WS_FOREIGN, 0, NULL},
        {{"H"}, DOCTOR_WS_MORE, 0, NULL},
        {{"\x16\x03"}, DOCTOR_WS_FOREIGN, 0, NULL},
        {{""}, DOCTOR_WS_MORE, 0, NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[1024];
        struct wbuf w = wbuf_make(text, sizeof text);
        struct doctor_ws_head head;
        for (size_t k = 0; k < COUNT(rows[i].parts) && rows[i].parts[k] != NULL; k++) {
            wbuf_str(&w, rows[i].parts[k]);
        }
        doctor_ws_head_read(wbuf_span(&w), key, &head);
        if (head.answer != rows[i].answer || head.status != rows[i].status ||
            (rows[i].why != NULL && strstr(head.why, rows[i].why) == NULL)) {
            fail_msg("row %zu: answer %d, status %d, why %s", i, (int)head.answer, head.status,
                     head.why == NULL ? "-" : head.why);
        }
    }
}

/* Every truncation is unfinished, and what is behind the head is not the head's. */
static void test_head_cut(void **state)
{
    (void)state;
    static const char good[] = GOOD "\x89\x00\n\n";
    struct doctor_ws_head head;
    const size_t len = sizeof GOOD - 1;
    for (size_t i = 0; i < sizeof good; i++) {
        doctor_ws_head_read(span_make(good, i), key, &head);
        assert_int_equal(head.answer, i < len ? DOCTOR_WS_MORE : DOCTOR_WS_UPGRADED);
        assert_int_equal(head.len, i < len ? 0 : len);
    }
    static char longest[DOCTOR_WS_HEAD_MAX + 2];
    for (int status = 101; status <= 404; status += 303) {
        int n = snprintf(longest, sizeof longest, "HTTP/1.1 %d x\r\nX: ", status);
        memset(longest + n, 'x', sizeof longest - (size_t)n);
        memcpy(longest + sizeof longest - 4, "\r\n\r\n", 4);
        doctor_ws_head_read(span_make(longest, DOCTOR_WS_HEAD_MAX - 1), key, &head);
        assert_int_equal(head.answer, DOCTOR_WS_MORE);
        doctor_ws_head_read(span_make(longest, sizeof longest), key, &head);
        assert_int_equal(head.answer, status == 101 ? DOCTOR_WS_WRONG : DOCTOR_WS_REFUSED);
        assert_int_equal(head.status, status);
    }
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "HTTP/1.1 101 ", 13);
    doctor_ws_head_read(span_make(longest, sizeof longest), key, &head);
    assert_int_equal(head.answer, DOCTOR_WS_FOREIGN);
}

/* RFC 6455 5.7, as a client sends it: the mask is there, and undone it is the payload. */
static void test_frame_put(void **state)
{
    (void)state;
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    uint8_t bytes[200];
    uint8_t payload[DOCTOR_WS_CONTROL_MAX];
    struct wbuf w = wbuf_make(bytes, sizeof bytes);
    doctor_ws_frame_put(&w, DOCTOR_WS_PING, SPAN_LIT("Hello"), mask);
    assert_int_equal(w.len, 11);
    assert_memory_equal(bytes, "\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11);
    w = wbuf_make(bytes, sizeof bytes);
    doctor_ws_frame_put(&w, DOCTOR_WS_CLOSE, SPAN_LIT(""), mask);
    assert_int_equal(w.len, 6);
    memset(payload, 'x', sizeof payload);
    w = wbuf_make(bytes, sizeof bytes);
    doctor_ws_frame_put(&w, DOCTOR_WS_PONG, span_make(payload, sizeof payload), mask);
    assert_false(w.overflow);
    assert_int_equal(w.len, 6 + sizeof payload);
    w = wbuf_make(bytes, w.len - 1);
    doctor_ws_frame_put(&w, DOCTOR_WS_PONG, span_make(payload, sizeof payload), mask);
    assert_true(w.overflow);
}

#define ROW(s)                                                                                               \
    {                                                                                                        \
        (const uint8_t *)(s), sizeof(s) - 1                                                                  \
    }

static void test_frames(void **state)
{
    (void)state;
    static const struct {
        struct span bytes;
        const char *events; /* d(ata), p(ing), P(ong), c(lose), ! (broken) */
        const char *why;
    } rows[] = {
        {ROW("\x89\x05Hello"), "p", NULL},
        {ROW("\x8a\x05Hello"), "P", NULL},
        {ROW("\x8a\x00"), "P", NULL},
        {ROW("\x88\x00\x81\x01x"), "cd", NULL},
        {ROW("\x88\x02\x03\xe8"), "c", NULL},
        {ROW("\x81\x05Hello\x82\x00"), "dd", NULL},
        {ROW("\x01\x03Hel\x89\x00\x80\x02lo\x81\x00"), "dpdd", NULL},
        {ROW("\x01\x00\x00\x00\x80\x00"), "ddd", NULL},
        {ROW("\x82\x7e\x00\x7e"
             "0123456789012345678901234567890123456789012345678901234567890123456789"
             "01234567890123456789012345678901234567890123456789012345"),
         "d", NULL},
        {ROW("\x82\x7e\x00\x7d"), "!", "too many bytes"},
        {ROW("\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff"), "!", "too many bytes"},
        {ROW("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"), "", NULL},
        {ROW("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xffx"), "", NULL},
        {ROW("\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00"), "!", "63 bits"},
        {ROW("\x8a\x00\x81\x80"), "P!", "masked"},
        {ROW("\xc1\x00"), "!", "reserved"},
        {ROW("\x91\x00"), "!", "reserved"},
        {ROW("\x83\x00"), "!", "unknown"},
        {ROW("\x8b\x00"), "!", "unknown"},
        {ROW("\x8f\x00"), "!", "unknown"},
        {ROW("\x80\x00"), "!", "out of turn"},
        {ROW("\x01\x00\x81\x00"), "d!", "out of turn"},
        {ROW("\x09\x00"), "!", "in parts"},
        {ROW("\x89\x7e\x00\x7e"), "!", "too long"},
        {ROW("\x88\x01\x03"), "!", "half a code"},
    };
    static const char letters[] = {'.', 'd', 'p', 'P', 'c', '!'};
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t step = 1; step <= rows[i].bytes.len; step += step < 3 ? 1 : rows[i].bytes.len) {
            struct doctor_ws_frames f = {.head_len = 0};
            char events[16] = "";
            size_t count = 0;
            for (size_t at = 0; at < rows[i].bytes.len && f.why == NULL; at += step) {
                struct span part = span_sub(rows[i].bytes, at, step);
                while (part.len > 0 && f.why == NULL) {
                    enum doctor_ws_event e = doctor_ws_frames_next(&f, &part);
                    assert_true(e != DOCTOR_WS_NOTHING || part.len == 0);
                    if (e != DOCTOR_WS_NOTHING && count + 1 < sizeof events) {
                        events[count++] = letters[e];
                    }
                }
            }
            assert_string_equal(events, rows[i].events);
            assert_int_equal(f.why != NULL, rows[i].why != NULL);
            if (rows[i].why != NULL) {
                assert_non_null(strstr(f.why, rows[i].why));
                struct span more = SPAN_LIT("\x8a\x00"); /* it stays broken */
                assert_int_equal(doctor_ws_frames_next(&f, &more), DOCTOR_WS_BROKEN);
            }
        }
    }
}

static void test_control(void **state)
{
    (void)state;
    static const struct {
        struct span bytes;
        unsigned code;
        const char *text;
    } rows[] = {
        {ROW("\x88\x00"), 1005, ""},
        {ROW("\x88\x02\x03\xe9"), 1001, ""},
        {ROW("\x88\x06\x0f\xa9gone"), 4009, "gone"},
        {ROW("\x89\x03"
             "abc\x88\x00"),
         1005, ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct doctor_ws_frames f = {.head_len = 0};
        struct span bytes = rows[i].bytes;
        enum doctor_ws_event e = DOCTOR_WS_NOTHING;
        while (bytes.len > 0) {
            e = doctor_ws_frames_next(&f, &bytes);
        }
        assert_int_equal(e, DOCTOR_WS_GOT_CLOSE);
        assert_int_equal(doctor_ws_close_code(&f), rows[i].code);
        assert_true(span_is_equal(doctor_ws_close_text(&f), span_str(rows[i].text)));
    }
    uint8_t longest[2 + DOCTOR_WS_CONTROL_MAX] = {0x8a, DOCTOR_WS_CONTROL_MAX, 'x'};
    struct doctor_ws_frames f = {.head_len = 0};
    struct span bytes = span_make(longest, sizeof longest);
    assert_int_equal(doctor_ws_frames_next(&f, &bytes), DOCTOR_WS_GOT_PONG);
    assert_int_equal(f.control_len, DOCTOR_WS_CONTROL_MAX);
    assert_int_equal(f.control[0], 'x');
}

static void test_span_text(void **state)
{
    (void)state;
    char text[DOCTOR_WS_SPAN_CAP];
    assert_string_equal(doctor_ws_span_text(2000, 0, text), "2s");
    assert_string_equal(doctor_ws_span_text(7000, 5000, text), "2s to 7s");
    assert_string_equal(doctor_ws_span_text(7000, 100, text), "7s");
    assert_string_equal(doctor_ws_span_text(2000, 60000, text), "0 to 2s");
}

static void test_urls(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host, *shown;
        uint16_t port;
        enum doctor_websocket websocket;
    } good[] = {
        {"wss://a.test", "a.test", "/", 443, DOCTOR_WEBSOCKET_TLS},
        {"WS://A.test/", "a.test", "/", 80, DOCTOR_WEBSOCKET_PLAIN},
        {"wss://a.test:8443/x/y?ticket=1", "a.test", "/x/y", 8443, DOCTOR_WEBSOCKET_TLS},
        {"wss://a.test?v=10", "a.test", "/", 443, DOCTOR_WEBSOCKET_TLS},
        {"ws://[2001:db8::1]:81/x", "2001:db8::1", "/x", 81, DOCTOR_WEBSOCKET_PLAIN},
        {"a.test", "a.test", "/", 0, DOCTOR_WEBSOCKET_NONE},
    };
    static const char *const bad[] = {
        "wss://",         "wss:///x",          "wss://a.test/#x",      "wss://a.test/a b",
        "wss://u@a.test", "wss://a.test:0/",   "wss://a.test:/",       "https://a.test/",
        "ws://a..b/",     "wss://a.test/\x7f", "wss://a.test/\xc3\xa4"};
    struct doctor_options o;
    struct err err = {""};
    for (size_t i = 0; i < COUNT(good); i++) {
        char *argv[] = {(char *)"doctor", (char *)good[i].url, NULL};
        struct host wanted;
        char text[2][HOST_TEXT_CAP];
        assert_int_equal(doctor_options_parse(2, argv, &o, &err), 0);
        assert_int_equal(host_parse(span_str(good[i].host), &wanted), HOST_FAULT_NONE);
        assert_string_equal(host_text(&o.targets[0].host, text[0]), host_text(&wanted, text[1]));
        assert_int_equal(o.targets[0].port, good[i].port);
        assert_int_equal(o.targets[0].websocket, good[i].websocket);
        assert_true(span_is_equal(doctor_ws_path(&o.targets[0]), span_str(good[i].shown)));
        doctor_options_fini(&o);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        char *argv[] = {(char *)"doctor", (char *)bad[i], NULL};
        if (doctor_options_parse(2, argv, &o, &err) != -EINVAL) {
            fail_msg("\"%s\" passes", bad[i]);
        }
    }
    static char longest[2048 + 16] = "wss://a.test/";
    memset(longest + 13, 'x', 2048);
    char *argv[] = {(char *)"doctor", longest, NULL};
    assert_int_equal(doctor_options_parse(2, argv, &o, &err), -EINVAL);
    longest[12 + 2048] = '\0';
    assert_int_equal(doctor_options_parse(2, argv, &o, &err), 0);
    doctor_options_fini(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key),      cmocka_unit_test(test_request),   cmocka_unit_test(test_heads),
        cmocka_unit_test(test_head_cut), cmocka_unit_test(test_frame_put), cmocka_unit_test(test_frames),
        cmocka_unit_test(test_control),  cmocka_unit_test(test_span_text), cmocka_unit_test(test_urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

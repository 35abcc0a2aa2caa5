/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/base/cursor.h"
#include "egress/doctor_options.h"
#include "egress/doctor_proxy.h"
#include "egress/doctor_resolv.h"
#include "egress/doctor_tls.h"

#include <errno.h>
#include <stdlib.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct host host_of(const char *text)
{
    struct host host;
    assert_int_equal(host_parse(span_str(text), &host), HOST_FAULT_NONE);
    return host;
}

static void test_resolv(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t servers, search;
        unsigned ndots;
    } rows[] = {
        {"", 0, 0, 1},
        {"nameserver 127.0.0.1\n", 1, 0, 1},
        {"nameserver 10.0.0.1\nsearch a.test b.test\noptions ndots:5 timeout:2\n", 1, 2, 5},
        {"search a b c\nsearch d\n", 0, 1, 1},
        {"domain a.test\noptions edns0\noptions ndots:3", 0, 1, 3},
        {"options ndots:99\n", 0, 0, 15},
        {"options ndots:\noptions ndots:-1\noptions ndots:x\n", 0, 0, 1},
        {" search a\n#search a\n;options ndots:4\n", 0, 0, 1},
        {"nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 1.1.1.4\n", 3, 0, 1},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct doctor_resolv r;
        doctor_resolv_parse(span_str(rows[i].text), &r);
        assert_int_equal(r.server_count, rows[i].servers);
        assert_int_equal(r.search_count, rows[i].search);
        assert_int_equal(r.ndots, rows[i].ndots);
        assert_true(r.is_read);
    }
    struct doctor_resolv r;
    doctor_resolv_read("/nonexistent/resolv.conf", &r);
    assert_false(r.is_read);
    assert_int_equal(r.server_count, 0);
}

static void test_proxy_url(void **state)
{
    (void)state;
    static const struct {
        const char *text, *url;
        bool is_good;
    } rows[] = {
        {"http://127.0.0.1:3128", "http://127.0.0.1:3128", true},
        {"HTTP://Proxy.Test:8080/", "http://proxy.test:8080", true},
        {"10.200.0.1:3128", "http://10.200.0.1:3128", true},
        {"http://[::1]:3128/", "http://[::1]:3128", true},
        {"http://user:s3cret@10.0.0.1:1", "http://10.0.0.1:1", true},
        {"http://user:p@ss@10.0.0.1:1", "http://10.0.0.1:1", true},
        {"http://127.0.0.1", "127.0.0.1", false},
        {"http://127.0.0.1:0", "127.0.0.1:0", false},
        {"http://127.0.0.1:65536", "127.0.0.1:65536", false},
        {"socks5://u:s3cret@127.0.0.1:1080", "(another scheme)://127.0.0.1:1080", false},
        {"https://127.0.0.1:443", "(another scheme)://127.0.0.1:443", false},
        {"http://", "", false},
        {"\x1b[2J", "?[2J", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct doctor_proxy p;
        const struct doctor_env env = {.https_upper = rows[i].text};
        doctor_proxy_read(&env, &p);
        assert_string_equal(p.url, rows[i].url);
        assert_int_equal(p.fault, rows[i].is_good ? DOCTOR_FAULT_NONE : DOCTOR_PROXY_URL);
        assert_string_equal(p.from, "HTTPS_PROXY");
    }
}

static void test_proxy_place(void **state)
{
    (void)state;
    struct doctor_proxy p;
    struct doctor_env env = {.http_lower = "http://h:1"};
    doctor_proxy_read(&env, &p);
    assert_string_equal(p.from, "http_proxy");
    env.http_upper = "http://H:2";
    env.https_lower = "http://h:3";
    doctor_proxy_read(&env, &p);
    assert_string_equal(p.url, "http://h:3");
    assert_false(p.has_conflict);
    env.https_upper = "http://h:4";
    doctor_proxy_read(&env, &p);
    assert_string_equal(p.from, "HTTPS_PROXY");
    assert_true(p.has_conflict);
    env.option = "http://h:5";
    doctor_proxy_read(&env, &p);
    assert_string_equal(p.from, "--proxy");
    env = (struct doctor_env){.https_upper = "", .no_lower = "localhost,127.0.0.0/8"};
    doctor_proxy_read(&env, &p);
    assert_null(p.from);
    assert_string_equal(p.url, "http://127.0.0.1:3128");
    assert_int_equal(p.addr.port, 3128);
    assert_true(p.exempts_loopback);
    env.no_lower = "127.0.0.1";
    doctor_proxy_read(&env, &p);
    assert_false(p.exempts_loopback);
}

static void test_no_proxy(void **state)
{
    (void)state;
    static const struct {
        const char *list, *host;
        bool is_named;
    } rows[] = {
        {NULL, "a.test", false},        {"", "a.test", false},           {"*", "a.test", true},
        {"a.test", "a.test", true},     {"A.Test", "a.test", true},      {"a.test", "b.a.test", true},
        {".a.test", "b.a.test", true},  {"*.a.test", "b.a.test", true},  {"a.test", "ba.test", false},
        {"x, a.test", "a.test", true},  {"x a.test", "a.test", true},    {"10.0.0.0/8", "10.1.2.3", true},
        {"10.0.0.1", "10.0.0.1", true}, {"10.0.0.1", "10.0.0.2", false}, {"10.0.0.1/8", "10.0.0.1", false},
        {"::1", "::1", true},           {"10.0.0.0/8", "a.test", false}, {",,", "a.test", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct host host = host_of(rows[i].host);
        if (doctor_no_proxy_names(rows[i].list, &host) != rows[i].is_named) {
            fail_msg("\"%s\" and %s", rows[i].list, rows[i].host);
        }
    }
}

static void test_http(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        int status;
    } rows[] = {
        {"HTTP/1.1 200 Connection Established\r\n\r\n", 200},
        {"HTTP/1.0 403 Forbidden\r\n", 403},
        {"HTTP/1.1 200\r\n\r\n", 200},
        {"HTTP/1.1 099 x", 0},
        {"HTTP/1.1 20", 0},
        {"HTTP/1.1  200 x", 0},
        {"HTTP/2 200", 0},
        {"SSH-2.0-x\r\n", 0},
        {"", 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(doctor_http_status(span_str(rows[i].head)), rows[i].status);
    }
    static const struct {
        const char *body, *reason;
    } bodies[] = {
        {"{\"error\":\"policy_denied\",\"detail\":\"x\"}", "policy_denied"},
        {"{\"error\": \"l7_inspection_required\"}", "l7_inspection_required"},
        {"{\"error\":\"policy_den", ""},
        {"{\"error\":\"\x1b[2J\"}", ""},
        {"{\"error\":\"\"}", ""},
        {"{\"error\":", ""},
        {"{\"error\":7}", ""},
        {"<html>", ""},
        {"", ""},
    };
    char reason[DOCTOR_REASON_CAP];
    for (size_t i = 0; i < COUNT(bodies); i++) {
        doctor_http_reason(span_str(bodies[i].body), reason);
        assert_string_equal(reason, bodies[i].reason);
    }
    char longest[128] = "{\"error\":\"";
    memset(longest + 10, 'a', DOCTOR_REASON_CAP);
    longest[10 + DOCTOR_REASON_CAP] = '"';
    doctor_http_reason(span_str(longest), reason);
    assert_string_equal(reason, "");
}

/* Every length in it leads exactly to its end, and the name is where a server looks for it. */
static void test_hello(void **state)
{
    (void)state;
    static const uint8_t random[64] = {1, 2, 3};
    static const char *const hosts[] = {"a.test", "192.0.2.1"};
    for (size_t i = 0; i < COUNT(hosts); i++) {
        uint8_t bytes[600];
        struct wbuf w = wbuf_make(bytes, sizeof bytes);
        struct host host = host_of(hosts[i]);
        bool has_name = false;
        doctor_tls_hello(&w, &host, random);
        assert_false(w.overflow);
        struct cursor c = cursor_make(wbuf_span(&w));
        assert_int_equal(cursor_u8(&c), 22);
        assert_int_equal(cursor_u16(&c), 0x0301);
        size_t len = cursor_u16(&c);
        assert_int_equal(len, cursor_left(&c));
        assert_int_equal(cursor_u8(&c), 1);
        len = cursor_u24(&c);
        assert_int_equal(len, cursor_left(&c));
        cursor_skip(&c, 2 + 32);
        cursor_skip(&c, cursor_u8(&c));
        cursor_skip(&c, cursor_u16(&c));
        cursor_skip(&c, cursor_u8(&c));
        len = cursor_u16(&c);
        assert_int_equal(len, cursor_left(&c));
        while (cursor_left(&c) > 0) {
            uint16_t type = cursor_u16(&c);
            struct span body = cursor_take(&c, cursor_u16(&c));
            assert_true(cursor_is_ok(&c));
            if (type == 0) {
                has_name = span_is_equal(body, SPAN_LIT("\x00\x09\x00\x00\x06"
                                                        "a.test"));
            }
        }
        assert_int_equal(has_name, host.kind == HOST_DNS);
    }
    char longest[HOST_NAME_MAX_LEN + 1];
    memset(longest, 'a', sizeof longest);
    longest[63] = longest[127] = longest[191] = '.';
    longest[HOST_NAME_MAX_LEN] = '\0';
    uint8_t bytes[600];
    struct wbuf w = wbuf_make(bytes, sizeof bytes);
    struct host host = host_of(longest);
    doctor_tls_hello(&w, &host, random);
    assert_false(w.overflow);
}

static void test_tls_answer(void **state)
{
    (void)state;
    static const struct {
        struct span bytes;
        enum doctor_tls_kind kind;
        uint8_t alert;
    } rows[] = {
        {{(const uint8_t *)"\x15\x03\x03\x00\x02\x02\x31", 7}, DOCTOR_TLS_ALERTED, 49},
        {{(const uint8_t *)"\x15\x03\x01\x00\x02\x01\x70", 7}, DOCTOR_TLS_ALERTED, 112},
        {{(const uint8_t *)"\x15\x03\x03\x00\x02\x02", 6}, DOCTOR_TLS_MORE, 0},
        {{(const uint8_t *)"\x15\x03\x03\x00\x02\x03\x31", 7}, DOCTOR_TLS_FOREIGN, 0},
        {{(const uint8_t *)"\x15\x03\x03\x00\x03\x02\x31", 7}, DOCTOR_TLS_FOREIGN, 0},
        {{(const uint8_t *)"\x16\x03\x03\x00\x7a\x02", 6}, DOCTOR_TLS_HELLO, 0},
        {{(const uint8_t *)"\x16\x03\x03\x00\x7a", 5}, DOCTOR_TLS_MORE, 0},
        {{(const uint8_t *)"\x16\x03\x03\x00\x7a\x01", 6}, DOCTOR_TLS_FOREIGN, 0},
        {{(const uint8_t *)"\x16\x03\x03\xff\xff\x02", 6}, DOCTOR_TLS_FOREIGN, 0},
        {{(const uint8_t *)"\x16\x02", 2}, DOCTOR_TLS_FOREIGN, 0},
        {{(const uint8_t *)"\x16", 1}, DOCTOR_TLS_MORE, 0},
        {{(const uint8_t *)"HTTP/1.1 400", 12}, DOCTOR_TLS_FOREIGN, 0},
        {{(const uint8_t *)"S", 1}, DOCTOR_TLS_FOREIGN, 0},
        {{NULL, 0}, DOCTOR_TLS_MORE, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct doctor_tls_answer a;
        doctor_tls_read(rows[i].bytes, &a);
        assert_int_equal(a.kind, rows[i].kind);
        assert_int_equal(a.alert, rows[i].alert);
    }
    assert_string_equal(doctor_tls_alert_text(49), "access_denied");
    assert_string_equal(doctor_tls_alert_text(255), "another alert");
}

static void expect_usage(const char *first, const char *second, const char *part)
{
    char *argv[] = {(char *)"doctor", (char *)first, (char *)second, NULL};
    struct doctor_options o;
    struct err err = {""};
    assert_int_equal(doctor_options_parse(second == NULL ? 2 : 3, argv, &o, &err), -EINVAL);
    if (strstr(err.text, part) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, part);
    }
}

static void test_options(void **state)
{
    (void)state;
    char *argv[] = {
        (char *)"doctor", (char *)"--idle=2s", (char *)"--policy", (char *)"p.yaml", (char *)"--format",
        (char *)"json",   (char *)"A.test:80", (char *)"--",       (char *)"::1",    NULL};
    struct doctor_options o;
    struct err err = {""};
    assert_int_equal(doctor_options_parse(COUNT(argv) - 1, argv, &o, &err), 0);
    assert_true(o.is_json);
    assert_int_equal(o.idle_ms, 2000);
    assert_int_equal(o.policies.count, 1);
    assert_int_equal(o.target_count, 2);
    assert_string_equal(o.targets[0].host.name.text, "a.test");
    assert_int_equal(o.targets[0].port, 80);
    assert_int_equal(o.targets[1].host.kind, HOST_IP);
    assert_int_equal(o.targets[1].port, 0);
    doctor_options_fini(&o);
    expect_usage("--idle", "soon", "--idle");
    expect_usage("--idle", "2d", "--idle");
    expect_usage("--format", "xml", "--format");
    expect_usage("--nosuch", NULL, "--nosuch");
    expect_usage("-v", NULL, "-v");
    expect_usage("https://a.test/", NULL, "URL");
    expect_usage("a..b", NULL, "a..b");
    expect_usage("--proxy", NULL, "--proxy");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resolv),      cmocka_unit_test(test_proxy_url),
        cmocka_unit_test(test_proxy_place), cmocka_unit_test(test_no_proxy),
        cmocka_unit_test(test_http),        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_tls_answer),  cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

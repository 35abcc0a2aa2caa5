/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/tls_hello.h"
#include "tunneld/tls_sni.h"

#include <stdlib.h>

static uint8_t message[TLS_HELLO_CAP], bytes[TLS_HELLO_CAP];

static struct tls_sni fed(struct span s)
{
    struct tls_sni t;
    tls_sni_init(&t);
    (void)tls_sni_feed(&t, s);
    return t;
}

static struct tls_sni fed_bytewise(struct span s)
{
    struct tls_sni t;
    tls_sni_init(&t);
    for (size_t i = 0; i < s.len; i++) {
        (void)tls_sni_feed(&t, span_sub(s, i, 1));
    }
    return t;
}

static void assert_same(const struct tls_sni *a, const struct tls_sni *b)
{
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->fault, b->fault);
    assert_int_equal(a->total, b->total);
    assert_int_equal(a->is_hello, b->is_hello);
    assert_int_equal(a->has_ech, b->has_ech);
    assert_true(span_is_equal(span_make(a->name, a->name_len), span_make(b->name, b->name_len)));
}

/* Whole, byte by byte, and cut into records of every size up to a few. */
static struct tls_sni verdict(const struct tls_hello *h)
{
    static const size_t fragments[] = {1, 2, 3, 4, 5, 64, 1000};
    size_t message_len = tls_hello_write(h, message);
    struct span s = span_make(bytes, tls_hello_records(span_make(message, message_len), 0, bytes));
    struct tls_sni t = fed(s), u = fed_bytewise(s);
    assert_same(&t, &u);
    for (size_t i = 0; i < sizeof fragments / sizeof fragments[0]; i++) {
        const size_t records = message_len / fragments[i] + 1;
        if (message_len + 5 * records <= TLS_SNI_MAX_BYTES) {
            s = span_make(bytes, tls_hello_records(span_make(message, message_len), fragments[i], bytes));
            u = fed(s);
            assert_int_equal(u.status, t.status);
            u = fed_bytewise(s);
            assert_int_equal(u.status, t.status);
        }
    }
    return t;
}

#define L60 "a23456789012345678901234567890123456789012345678901234567890"
#define NAME_253 L60 "." L60 "." L60 "." L60 ".ninechars"

struct good_row {
    struct tls_hello hello;
    enum tls_sni_status status;
    const char *host;
    bool has_ech;
};

/* clang-format off */
static const struct good_row good[] = {
    {{.names = {"example.org"}}, TLS_SNI_NAMED, "example.org", false},
    {{.names = {"EXAMPLE.Org"}}, TLS_SNI_NAMED, "example.org", false},
    {{.names = {"example.org."}}, TLS_SNI_NAMED, "example.org", false}, /* RFC 6066: without; some clients do */
    {{.names = {"x"}}, TLS_SNI_NAMED, "x", false},
    {{.names = {"_a.xn--bcher-kva.example"}}, TLS_SNI_NAMED, "_a.xn--bcher-kva.example", false},
    {{.names = {NAME_253}}, TLS_SNI_NAMED, NAME_253, false},
    {{.names = {NAME_253 "."}}, TLS_SNI_NAMED, NAME_253, false},
    {{.names = {"192.0.2.1"}}, TLS_SNI_NAMED, "192.0.2.1", false},
    {{.names = {"2001:db8::1"}}, TLS_SNI_NAMED, "[2001:db8::1]", false},
    {{.names = {"example.org"}, .is_names_last = true}, TLS_SNI_NAMED, "example.org", false},
    {{.names = {"example.org"}, .has_grease = true}, TLS_SNI_NAMED, "example.org", false},
    {{.names = {"example.org"}, .session_len = -1}, TLS_SNI_NAMED, "example.org", false},
    {{.names = {"example.org"}, .session_len = 1, .suites_len = 2}, TLS_SNI_NAMED, "example.org", false},
    {{.names = {"example.org"}, .suites_len = 400, .compression_len = 255}, TLS_SNI_NAMED, "example.org", false},
    {{.names = {"example.org"}, .padding = 1600}, TLS_SNI_NAMED, "example.org", false}, /* about ML-KEM-768 */
    {{.names = {"example.org"}, .padding = 17000, .is_names_last = true}, TLS_SNI_NAMED, "example.org", false},
    {{.names = {"outer.example"}, .has_ech = true}, TLS_SNI_NAMED, "outer.example", true},
    {{.names = {"outer.example"}, .has_ech = true, .is_names_last = true}, TLS_SNI_NAMED, "outer.example", true},
    {{.has_grease = true}, TLS_SNI_NONE, NULL, false},
    {{.has_ech = true}, TLS_SNI_NONE, NULL, true},
    {{.has_no_extensions = true}, TLS_SNI_NONE, NULL, false},
};

struct bad_row {
    struct tls_hello hello;
    enum tls_sni_status status;
    enum host_fault fault;
};

static const struct bad_row bad[] = {
    {{.names = {"a.example", "b.example"}}, TLS_SNI_SEVERAL, HOST_FAULT_NONE},
    {{.names = {"a.example", "a.example"}}, TLS_SNI_SEVERAL, HOST_FAULT_NONE},
    {{.names = {"a.example", "b.example", "c", "d"}}, TLS_SNI_SEVERAL, HOST_FAULT_NONE},
    {{.names = {"a.example"}, .has_names_twice = true}, TLS_SNI_MALFORMED, HOST_FAULT_NONE},
    {{.names = {"a.example"}, .name_type = 1}, TLS_SNI_MALFORMED, HOST_FAULT_NONE},
    {{.names = {""}}, TLS_SNI_MALFORMED, HOST_FAULT_NONE},
    {{.names = {"b\xc3\xbc" "cher.example"}}, TLS_SNI_BAD_NAME, HOST_FAULT_NON_ASCII},
    {{.names = {"a.example\0.b"}, .name_lens = {12}}, TLS_SNI_BAD_NAME, HOST_FAULT_BAD_BYTE},
    {{.names = {"a..example"}}, TLS_SNI_BAD_NAME, HOST_FAULT_EMPTY_LABEL},
    {{.names = {"."}}, TLS_SNI_BAD_NAME, HOST_FAULT_EMPTY},
    {{.names = {"a.example.."}}, TLS_SNI_BAD_NAME, HOST_FAULT_EMPTY_LABEL},
    {{.names = {"-a.example"}}, TLS_SNI_BAD_NAME, HOST_FAULT_HYPHEN},
    {{.names = {"*.example"}}, TLS_SNI_BAD_NAME, HOST_FAULT_BAD_BYTE},
    {{.names = {"a.example:443"}}, TLS_SNI_BAD_NAME, HOST_FAULT_BAD_BYTE},
    {{.names = {"1.2.3"}}, TLS_SNI_BAD_NAME, HOST_FAULT_NUMERIC},
    {{.names = {"fe80::1%eth0"}}, TLS_SNI_BAD_NAME, HOST_FAULT_ZONE_ID},
    {{.names = {NAME_253 "x"}}, TLS_SNI_BAD_NAME, HOST_FAULT_TOO_LONG},
    {{.names = {NAME_253 "xx"}}, TLS_SNI_BAD_NAME, HOST_FAULT_TOO_LONG},
    {{.names = {NAME_253 NAME_253}}, TLS_SNI_BAD_NAME, HOST_FAULT_TOO_LONG},
    {{.names = {"a.example"}, .session_len = 33}, TLS_SNI_MALFORMED, HOST_FAULT_NONE},
    {{.names = {"a.example"}, .suites_len = 3}, TLS_SNI_MALFORMED, HOST_FAULT_NONE},
    {{.names = {"a.example"}, .wrong_extensions = 1}, TLS_SNI_MALFORMED, HOST_FAULT_NONE},
    {{.names = {"a.example"}, .wrong_extensions = -1}, TLS_SNI_MALFORMED, HOST_FAULT_NONE},
    {{.names = {"a.example"}, .wrong_names = 1}, TLS_SNI_MALFORMED, HOST_FAULT_NONE},
    {{.names = {"a.example"}, .wrong_names = -1}, TLS_SNI_MALFORMED, HOST_FAULT_NONE},
    {{.names = {"a.example"}, .wrong_names = 60000}, TLS_SNI_MALFORMED, HOST_FAULT_NONE},
    {{.names = {"a.example"}, .wrong_names = -14}, TLS_SNI_MALFORMED, HOST_FAULT_NONE}, /* 0 */
    {{.names = {"a.example"}, .wrong_list = 1}, TLS_SNI_MALFORMED, HOST_FAULT_NONE},
    {{.names = {"a.example"}, .wrong_list = -1}, TLS_SNI_MALFORMED, HOST_FAULT_NONE},
    {{.names = {"a.example"}, .wrong_list = -12, .wrong_names = -12}, TLS_SNI_MALFORMED, HOST_FAULT_NONE}, /* 0, 2 */
    {{.names = {"a.example"}, .wrong_hello = -1}, TLS_SNI_MALFORMED, HOST_FAULT_NONE},
    {{.has_no_extensions = true, .wrong_hello = -20}, TLS_SNI_MALFORMED, HOST_FAULT_NONE},
    {{.has_no_extensions = true, .wrong_hello = 1}, TLS_SNI_MALFORMED, HOST_FAULT_NONE}, /* one byte of extensions */
    {{.padding = TLS_SNI_HELLO_MAX_BYTES}, TLS_SNI_TOO_LONG, HOST_FAULT_NONE},
};
/* clang-format on */

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char text[HOST_TEXT_CAP];
        struct tls_sni t = verdict(&good[i].hello);
        assert_int_equal(t.status, good[i].status);
        assert_int_equal(t.has_ech, good[i].has_ech);
        assert_true(t.is_hello);
        if (good[i].host != NULL) {
            assert_string_equal(host_text(&t.host, text), good[i].host);
        } else {
            assert_int_equal(t.name_len, 0);
        }
    }
}

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct tls_sni t = verdict(&bad[i].hello);
        if (t.status != bad[i].status || t.fault != bad[i].fault) {
            fail_msg("row %zu: status %d fault %d", i, (int)t.status, (int)t.fault);
        }
        assert_true(t.is_hello);
        assert_true(strlen(tls_sni_why(&t)) > 0);
    }
}

/* The verdict comes with the last byte and not before; what is behind it is not looked at. */
static void test_every_truncation(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        size_t len = tls_hello_bytes(&good[i].hello, bytes);
        for (size_t cut = 0; cut < len && len < 4000; cut++) {
            uint8_t *copy = malloc(cut + 1); /* of its own size, for the sanitizer */
            assert_non_null(copy);
            memcpy(copy, bytes, cut);
            struct tls_sni t = fed(span_make(copy, cut));
            assert_int_equal(t.status, TLS_SNI_MORE);
            assert_int_equal(t.total, cut);
            free(copy);
        }
        bytes[len] = 0xFF;
        struct tls_sni t = fed(span_make(bytes, len + 1));
        assert_int_equal(t.status, good[i].status);
        assert_int_equal(t.total, len);
        assert_int_equal(tls_sni_feed(&t, span_make(bytes, len)), good[i].status);
        assert_int_equal(t.total, len);
    }
}

/* The longest hello, one byte more, and as many records as fit. */
static void test_bounds(void **state)
{
    (void)state;
    struct tls_hello h = {.names = {"a.example"}, .padding = 1, .is_names_last = true};
    h.padding = 1 + TLS_SNI_HELLO_MAX_BYTES - (tls_hello_write(&h, message) - 4);
    assert_int_equal(tls_hello_write(&h, message) - 4, TLS_SNI_HELLO_MAX_BYTES);
    struct tls_sni t = fed(span_make(bytes, tls_hello_bytes(&h, bytes)));
    assert_int_equal(t.status, TLS_SNI_NAMED);
    h.padding++;
    size_t len = tls_hello_bytes(&h, bytes);
    t = fed(span_make(bytes, 5 + 4)); /* its length is enough */
    assert_int_equal(t.status, TLS_SNI_TOO_LONG);
    t = fed(span_make(bytes, len));
    assert_int_equal(t.total, 5 + 4);
    h.padding = 15000; /* in records of one byte: six times as long */
    len = tls_hello_records(span_make(message, tls_hello_write(&h, message)), 1, bytes);
    assert_true(len > TLS_SNI_MAX_BYTES);
    t = fed(span_make(bytes, TLS_SNI_MAX_BYTES - 1));
    assert_int_equal(t.status, TLS_SNI_MORE);
    t = fed(span_make(bytes, TLS_SNI_MAX_BYTES));
    assert_int_equal(t.status, TLS_SNI_TOO_LONG);
    t = fed(span_make(bytes, len));
    assert_int_equal(t.total, TLS_SNI_MAX_BYTES);
}

struct raw_row {
    const char *raw;
    size_t len;
    enum tls_sni_status status;
};

#define RAW(text) text, sizeof(text) - 1

static const struct raw_row raws[] = {
    {RAW(""), TLS_SNI_MORE},
    {RAW("GET / HTTP/1.1\r\n"), TLS_SNI_NOT_TLS},
    {RAW("SSH-2.0-x\r\n"), TLS_SNI_NOT_TLS},
    {RAW("\x00\x00\x00\x08\x04\xd2\x16\x2f"), TLS_SNI_NOT_TLS},         /* PostgreSQL, asking for TLS */
    {RAW("\x17\x03\x03\x00\x01\x00"), TLS_SNI_NOT_TLS},                 /* application data */
    {RAW("\xff\xfb\x01"), TLS_SNI_NOT_TLS},                             /* telnet */
    {RAW("\x15\x00\x00\x00\x64\xff\xff"), TLS_SNI_NOT_TLS},             /* 9P, whose length is 21 */
    {RAW("\x14\x00\x00\x00\x64\xff\xff"), TLS_SNI_NOT_TLS},             /* and 20 */
    {RAW("\x16\x01\x00\x00\x01\x00\x00\x00\x00"), TLS_SNI_NOT_TLS},     /* MongoDB, whose length is 0x116 */
    {RAW("\x16\x01\x00\x00\x02\x01\x00\x00\x00\x00"), TLS_SNI_NOT_TLS}, /* with the ID 0x102 */
    {RAW("\x16\x01\x00\x40\x00\x01\x00\x00\x28"), TLS_SNI_NOT_TLS},     /* 40 bytes are no hello */
    {RAW("\x16\x01\x00\x40\x00\x01\x02\x00\x00"), TLS_SNI_NOT_TLS},     /* nor is so much */
    {RAW("\x16\x01\x00\x40\x00\x01\x01\xff\xff"), TLS_SNI_TOO_LONG},
    {RAW("\x16\x10\x01"), TLS_SNI_NOT_TLS},
    {RAW("\x16\x0f\x01"), TLS_SNI_MORE},
    {RAW("\x16\x03\x01\x00\x00"), TLS_SNI_MALFORMED}, /* an empty record */
    {RAW("\x16\x03\x01\x40\x01"), TLS_SNI_MALFORMED}, /* more than 2^14 */
    {RAW("\x16\x02\x01\x00\x00"), TLS_SNI_NOT_TLS},   /* the same, of no TLS */
    {RAW("\x16\x03\x01\x40\x00"), TLS_SNI_MORE},
    {RAW("\x16\x03\x01\x00\x05\x02"), TLS_SNI_MALFORMED}, /* a ServerHello */
    {RAW("\x16\x02\x01\x00\x05\x02"), TLS_SNI_NOT_TLS},
    {RAW("\x16\x03\x01\x00\x01\x01\x16\x03\x01\x00\x00"), TLS_SNI_MALFORMED}, /* an empty one in between */
    {RAW("\x16\x03\x01\x00\x01\x01\x15"), TLS_SNI_MALFORMED},                 /* an alert in between */
    {RAW("\x16\x03\x01\x00\x01\x01\x16\xff\xff\x00\x01\x00"), TLS_SNI_MORE},  /* the version is nobody's */
    {RAW("\x16\x03\x01\x00\x05\x01\x00\x00\x28\x03"), TLS_SNI_MORE},
    {RAW("\x15\x03\x01\x00\x02\x01\x5a"), TLS_SNI_MALFORMED}, /* a warning in front */
    {RAW("\x15\x02\x01\x00\x02\x01"), TLS_SNI_MALFORMED},
    {RAW("\x15\x03\x01\x00\x02\x03"), TLS_SNI_NOT_TLS},
    {RAW("\x15\x03\x01\x00\x02"), TLS_SNI_MORE},
    {RAW("\x14\x03\x03\x00\x01\x01"), TLS_SNI_MALFORMED}, /* change_cipher_spec in front */
    {RAW("\x14\x03\x03\x00\x01\x02"), TLS_SNI_NOT_TLS},
    {RAW("\x14\x03\x03\x00\x02\x01"), TLS_SNI_NOT_TLS},
    {RAW("\x80\x2e\x01\x03\x03\x00\x15\x00\x00\x00\x10"), TLS_SNI_NONE}, /* SSL 2: 9 + 21 + 0 + 16 */
    {RAW("\x80\x2f\x01\x03\x03\x00\x15\x00\x00\x00\x10"), TLS_SNI_NOT_TLS},
    {RAW("\x80\x2e\x01\x03\x03\x00\x15\x00\x00\x00"), TLS_SNI_MORE},
    {RAW("\x80\x2e\x02"), TLS_SNI_NOT_TLS},
    {RAW("\x80\x2e\x01\x02"), TLS_SNI_NOT_TLS},
    {RAW("\x82\xfe\x00\x7e"), TLS_SNI_NOT_TLS}, /* WebSocket */
    {RAW("\xc2"), TLS_SNI_NOT_TLS},
};

static void test_beginnings(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof raws / sizeof raws[0]; i++) {
        struct span s = span_make(raws[i].raw, raws[i].len);
        struct tls_sni t = fed(s), u = fed_bytewise(s);
        assert_same(&t, &u);
        if (t.status != raws[i].status) {
            fail_msg("row %zu: status %d", i, (int)t.status);
        }
        assert_int_equal(t.is_hello, t.status == TLS_SNI_NONE || t.status == TLS_SNI_TOO_LONG ||
                                         (t.status == TLS_SNI_MORE && s.len == 10 && s.data[0] == 0x16));
    }
}

/* Record versions are for nobody to look at; what stands in them changes nothing once the hello has begun. */
static void test_odd_versions(void **state)
{
    (void)state;
    const struct tls_hello h = {.names = {"a.example"}};
    const struct tls_hello twice = {.names = {"a.example"}, .has_names_twice = true};
    for (unsigned major = 0; major < 256; major++) {
        size_t len = tls_hello_bytes(&h, bytes);
        bytes[1] = (uint8_t)major;
        struct tls_sni t = fed_bytewise(span_make(bytes, len));
        assert_int_equal(t.status, major < 16 ? TLS_SNI_NAMED : TLS_SNI_NOT_TLS);
        len = tls_hello_bytes(&twice, bytes);
        bytes[1] = (uint8_t)major;
        t = fed(span_make(bytes, len));
        assert_int_equal(t.status, major < 16 ? TLS_SNI_MALFORMED : TLS_SNI_NOT_TLS);
    }
}

static struct host host_of(const char *text)
{
    struct host h = {.kind = HOST_NONE};
    assert_true(text[0] == '\0' || host_parse(span_str(text), &h) == HOST_FAULT_NONE);
    return h;
}

static bool agrees(const struct tls_hello *h, const char *granted)
{
    const struct host host = host_of(granted);
    const struct tls_sni t = fed(span_make(bytes, tls_hello_bytes(h, bytes)));
    return tls_sni_agrees(&t, &host);
}

static void test_agrees(void **state)
{
    (void)state;
    const struct tls_hello name = {.names = {"Host.Example."}}, none = {.has_grease = true};
    const struct tls_hello v4 = {.names = {"192.0.2.1"}}, v6 = {.names = {"2001:DB8:0::1"}};
    const struct tls_hello several = {.names = {"host.example", "host.example"}};
    const struct tls_hello broken = {.names = {"host.example"}, .wrong_extensions = 1};
    assert_true(agrees(&name, "host.example"));
    assert_false(agrees(&name, "example"));
    assert_false(agrees(&name, "other.example"));
    assert_false(agrees(&name, "sub.host.example"));
    assert_false(agrees(&name, "192.0.2.1"));
    assert_false(agrees(&name, ""));
    assert_false(agrees(&none, "host.example"));
    assert_false(agrees(&none, ""));
    assert_true(agrees(&none, "192.0.2.1")); /* RFC 6066: there is no name for it */
    assert_true(agrees(&none, "2001:db8::1"));
    assert_true(agrees(&v4, "192.0.2.1"));
    assert_false(agrees(&v4, "192.0.2.2"));
    assert_false(agrees(&v4, "host.example"));
    assert_true(agrees(&v6, "2001:db8::1"));
    assert_false(agrees(&v6, "2001:db8::2"));
    assert_false(agrees(&several, "host.example"));
    assert_false(agrees(&broken, "host.example"));
    const struct host granted = host_of("host.example");
    struct tls_sni t = fed(SPAN_LIT("SSH-2.0-x\r\n"));
    assert_true(tls_sni_agrees(&t, &granted));
    t = fed(SPAN_LIT("\x16\x03\x01"));
    assert_false(tls_sni_agrees(&t, &granted));
    const struct tls_sni zero = {.status = TLS_SNI_MORE};
    assert_false(tls_sni_agrees(&zero, &granted));
}

static void test_why(void **state)
{
    (void)state;
    for (int i = TLS_SNI_MORE; i <= TLS_SNI_NOT_TLS; i++) {
        const struct tls_sni t = {.status = (enum tls_sni_status)i, .fault = HOST_FAULT_EMPTY};
        for (int other = i + 1; other <= TLS_SNI_NOT_TLS; other++) {
            const struct tls_sni u = {.status = (enum tls_sni_status)other, .fault = HOST_FAULT_EMPTY};
            assert_string_not_equal(tls_sni_why(&t), tls_sni_why(&u));
        }
    }
}

static void test_alert(void **state)
{
    (void)state;
    assert_memory_equal(tls_sni_access_denied, "\x15\x03\x03\x00\x02\x02\x31", TLS_SNI_ALERT_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),         cmocka_unit_test(test_bad),
        cmocka_unit_test(test_bounds),       cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_beginnings),   cmocka_unit_test(test_agrees),
        cmocka_unit_test(test_odd_versions), cmocka_unit_test(test_why),
        cmocka_unit_test(test_alert),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

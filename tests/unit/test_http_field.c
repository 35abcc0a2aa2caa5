/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tunneld/http_field.h"

static void test_bytes(void **state)
{
    (void)state;
    size_t tchars = 0;
    size_t texts = 0;
    for (unsigned c = 0; c < 256; c++) {
        tchars += http_is_tchar((uint8_t)c) ? 1 : 0;
        texts += http_is_text((uint8_t)c) ? 1 : 0;
    }
    assert_int_equal(tchars, 77); /* 62 letters and digits, 15 others */
    assert_int_equal(texts, 256 - 32 - 1 + 1);
    assert_false(http_is_tchar(0) || http_is_tchar(':') || http_is_tchar(' ') || http_is_tchar('"'));
    assert_false(http_is_text('\r') || http_is_text('\n') || http_is_text(0) || http_is_text(127));
}

struct field_case {
    const char *line;
    const char *name;
    const char *value; /* NULL = bad */
};

static const struct field_case fields[] = {
    {"A: b\r\n", "A", "b"},
    {"A:b\r\n", "A", "b"},
    {"A:\r\n", "A", ""},
    {"A: \t b c \t\r\n", "A", "b c"},
    {"a-_.~!: :\r\n", "a-_.~!", ":"},
    {"A: \xe9\r\n", "A", "\xe9"},
    {"A : b\r\n", NULL, NULL},
    {" A: b\r\n", NULL, NULL},
    {"\tA: b\r\n", NULL, NULL},
    {": b\r\n", NULL, NULL},
    {"A\r\n", NULL, NULL},
    {"A: b\n", NULL, NULL},
    {"A: b\r", NULL, NULL},
    {"A: b", NULL, NULL},
    {"", NULL, NULL},
    {"A: b\rc\r\n", NULL, NULL},
    {"A: b\nc\r\n", NULL, NULL},
    {"A: \x01\r\n", NULL, NULL},
    {"A: \x7f\r\n", NULL, NULL},
    {"A B: c\r\n", NULL, NULL},
    {"A(: c\r\n", NULL, NULL},
};

static void test_fields(void **state)
{
    (void)state;
    struct http_field f;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        struct span rest = span_str(fields[i].line);
        enum http_field_status want = fields[i].value == NULL ? HTTP_FIELD_BAD : HTTP_FIELD_ONE;
        assert_int_equal(http_field_next(&rest, &f), want);
        if (want == HTTP_FIELD_ONE) {
            assert_true(span_is_equal(f.name, span_str(fields[i].name)));
            assert_true(span_is_equal(f.value, span_str(fields[i].value)));
            assert_int_equal(rest.len, 0);
        }
    }
    struct span rest = SPAN_LIT("A: b\r\nC: d\r\n\r\nbody");
    assert_int_equal(http_field_next(&rest, &f), HTTP_FIELD_ONE);
    assert_int_equal(http_field_next(&rest, &f), HTTP_FIELD_ONE);
    assert_true(http_field_is(&f, "c"));
    assert_int_equal(http_field_next(&rest, &f), HTTP_FIELD_END);
    assert_true(span_is_equal(rest, SPAN_LIT("body")));
}

static void test_lists(void **state)
{
    (void)state;
    struct span rest = SPAN_LIT(" ,a , b c,, \td\t,");
    struct span item;
    static const char *const want[] = {"a", "b c", "d"};
    for (size_t i = 0; i < 3; i++) {
        assert_true(http_list_next(&rest, &item));
        assert_true(span_is_equal(item, span_str(want[i])));
    }
    assert_false(http_list_next(&rest, &item));
    assert_true(http_list_has(SPAN_LIT("keep-alive, Upgrade"), "upgrade"));
    assert_false(http_list_has(SPAN_LIT("keep-alive, Upgrades"), "upgrade"));
    assert_false(http_list_has(SPAN_LIT(""), "upgrade"));
}

static void test_hops(void **state)
{
    (void)state;
    static const char *const hops[] = {"connection", "Keep-Alive",          "Proxy-Connection",
                                       "te",         "TRANSFER-ENCODING",   "Content-Length",
                                       "Upgrade",    "Proxy-Authorization", "Proxy-Authenticate"};
    static const char *const passed[] = {"Host",   "Authorization", "Trailer", "Via",
                                         "Cookie", "TEX",           "Expect"};
    for (size_t i = 0; i < sizeof hops / sizeof hops[0]; i++) {
        assert_true(http_field_is_hop(&(struct http_field){.name = span_str(hops[i])}));
    }
    for (size_t i = 0; i < sizeof passed / sizeof passed[0]; i++) {
        assert_false(http_field_is_hop(&(struct http_field){.name = span_str(passed[i])}));
    }
}

static struct http_framing framing_of(const char *text)
{
    struct http_framing framing = {.is_bad = false};
    struct span rest = span_str(text);
    struct http_field f;
    while (http_field_next(&rest, &f) == HTTP_FIELD_ONE) {
        http_framing_add(&framing, &f);
    }
    return framing;
}

static void test_framing(void **state)
{
    (void)state;
    struct http_framing f = framing_of("X: Content-Length\r\n");
    assert_false(f.has_length || f.has_chunked || f.is_bad);
    f = framing_of("content-length: 12\r\n");
    assert_true(f.has_length && !f.has_chunked && !f.is_bad);
    assert_int_equal(f.length, 12);
    f = framing_of("transfer-encoding: CHUNKED\r\n");
    assert_true(!f.has_length && f.has_chunked && !f.is_bad);
    static const char *const bad[] = {"Content-Length: 1\r\nContent-Length: 1\r\n",
                                      "Content-Length: 1,1\r\n",
                                      "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
                                      "Content-Length: a\r\n",
                                      "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
                                      "Transfer-Encoding: gzip\r\n",
                                      "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                                      "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
                                      "Content-Length: 9223372036854775808\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_true(framing_of(bad[i]).is_bad);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes), cmocka_unit_test(test_fields),  cmocka_unit_test(test_lists),
        cmocka_unit_test(test_hops),  cmocka_unit_test(test_framing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/span.h"

static void test_equal(void **state)
{
    (void)state;
    assert_true(span_is_equal(SPAN_LIT("abc"), span_str("abc")));
    assert_false(span_is_equal(SPAN_LIT("abc"), SPAN_LIT("abC")));
    assert_false(span_is_equal(SPAN_LIT("abc"), SPAN_LIT("ab")));
    assert_true(span_is_equal(span_make(NULL, 0), SPAN_LIT("")));
    assert_true(span_is_equal(SPAN_LIT("a\0b"), span_make("a\0b", 3)));
    assert_false(span_is_equal(SPAN_LIT("a\0b"), SPAN_LIT("a\0c")));
    assert_int_equal(span_str(NULL).len, 0);
}

static void test_equal_nocase(void **state)
{
    (void)state;
    assert_true(span_is_equal_nocase(SPAN_LIT("Host"), SPAN_LIT("hOST")));
    assert_true(span_is_equal_nocase(span_make(NULL, 0), SPAN_LIT("")));
    assert_false(span_is_equal_nocase(SPAN_LIT("Host"), SPAN_LIT("Hos")));
    /* only letters fold: @ and `, [ and { differ by the same bit */
    assert_false(span_is_equal_nocase(SPAN_LIT("@"), SPAN_LIT("`")));
    assert_false(span_is_equal_nocase(SPAN_LIT("["), SPAN_LIT("{")));
    assert_false(span_is_equal_nocase(SPAN_LIT("\xc4"), SPAN_LIT("\xe4")));
    for (int c = 0; c < 256; c++) {
        int expect = c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
        assert_int_equal(ascii_lower((uint8_t)c), expect);
    }
}

/* Every byte in every place of a word and behind it, and no byte beyond the end. */
static void test_lower_copy(void **state)
{
    (void)state;
    for (size_t len = 0; len < 20; len++) {
        for (unsigned c = 0; c < 256; c++) {
            uint8_t in[20], out[20];
            memset(in, 'Z', sizeof(in));
            memset(out, '#', sizeof(out));
            in[c % 20] = (uint8_t)c;
            ascii_lower_copy(out, span_make(in, len));
            for (size_t i = 0; i < sizeof(out); i++) {
                assert_int_equal(out[i], i < len ? ascii_lower(in[i]) : '#');
            }
        }
    }
    uint8_t all[256], lower[256];
    for (size_t i = 0; i < sizeof(all); i++) {
        all[i] = (uint8_t)i;
    }
    ascii_lower_copy(lower, span_make(all, sizeof(all)));
    for (size_t i = 0; i < sizeof(all); i++) {
        assert_int_equal(lower[i], ascii_lower(all[i]));
    }
}

static void test_sub(void **state)
{
    (void)state;
    struct span s = SPAN_LIT("abcdef");
    assert_true(span_is_equal(span_sub(s, 0, 6), s));
    assert_true(span_is_equal(span_sub(s, 2, 3), SPAN_LIT("cde")));
    assert_true(span_is_equal(span_sub(s, 4, 3), SPAN_LIT("ef")));
    assert_true(span_is_equal(span_sub(s, 5, SIZE_MAX), SPAN_LIT("f")));
    assert_int_equal(span_sub(s, 6, 1).len, 0);
    assert_int_equal(span_sub(s, 7, 1).len, 0);
    assert_int_equal(span_sub(s, SIZE_MAX, SIZE_MAX).len, 0);
    assert_int_equal(span_sub(s, 3, 0).len, 0);
    assert_ptr_equal(span_sub(s, 6, 1).data, s.data + 6);
    assert_null(span_sub(span_make(NULL, 0), 0, 1).data);
}

static void test_find(void **state)
{
    (void)state;
    assert_int_equal(span_find(SPAN_LIT("a.b.c"), '.'), 1);
    assert_int_equal(span_find(SPAN_LIT("abc"), '.'), 3);
    assert_int_equal(span_find(SPAN_LIT(".abc"), '.'), 0);
    assert_int_equal(span_find(SPAN_LIT("ab\0"), 0), 2);
    assert_int_equal(span_find(SPAN_LIT("ab\xff"), 0xff), 2);
    assert_int_equal(span_find(span_make(NULL, 0), '.'), 0);
    assert_int_equal(span_find(span_make("abc.", 3), '.'), 3); /* not behind the end */
}

static void test_trim(void **state)
{
    (void)state;
    assert_true(span_is_equal(span_trim_ows(SPAN_LIT(" \t a \t b\t ")), SPAN_LIT("a \t b")));
    assert_true(span_is_equal(span_trim_ows(SPAN_LIT("a")), SPAN_LIT("a")));
    assert_true(span_is_equal(span_trim_ows(SPAN_LIT("\ra\n")), SPAN_LIT("\ra\n"))); /* not OWS */
    assert_int_equal(span_trim_ows(SPAN_LIT(" \t\t ")).len, 0);
    assert_int_equal(span_trim_ows(span_make(NULL, 0)).len, 0);
}

static void test_char_len(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len, expect;
    } rows[] = {
        {"a", 1, 1},
        {"\x7f", 1, 1},
        {"\x80", 1, 0},
        {"\xc1\xbf", 2, 0}, /* overlong */
        {"\xc2\x80", 2, 2},
        {"\xc2", 1, 0},
        {"\xc2\x41", 2, 0},
        {"\xdf\xbf", 2, 2},
        {"\xe0\x9f\xbf", 3, 0}, /* overlong */
        {"\xe0\xa0\x80", 3, 3},
        {"\xe2\x82", 2, 0},
        {"\xed\x9f\xbf", 3, 3},
        {"\xed\xa0\x80", 3, 0}, /* surrogate */
        {"\xef\xbf\xbd", 3, 3},
        {"\xf0\x8f\xbf\xbf", 4, 0}, /* overlong */
        {"\xf0\x90\x80\x80", 4, 4},
        {"\xf4\x8f\xbf\xbf", 4, 4},
        {"\xf4\x90\x80\x80", 4, 0}, /* behind U+10FFFF */
        {"\xf5\x80\x80\x80", 4, 0},
        {"\xf0\x90\x80", 3, 0},
        {"\xff", 1, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (span_char_len(span_make(rows[i].bytes, rows[i].len), 0) != rows[i].expect) {
            fail_msg("row %zu", i);
        }
    }
}

static void test_distance(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        size_t expect;
    } rows[] = {
        {"", "", 0},
        {"a", "", 1},
        {"", "abc", 3},
        {"abc", "abc", 0},
        {"ABC", "abc", 0},
        {"abc", "abd", 1},
        {"abc", "acb", 2},
        {"abc", "xabc", 1},
        {"kitten", "sitting", 3},
        {"discrod.gg", "discord.gg", 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(span_distance(span_str(rows[i].a), span_str(rows[i].b)), rows[i].expect);
        assert_int_equal(span_distance(span_str(rows[i].b), span_str(rows[i].a)), rows[i].expect);
    }
    char text[SPAN_DISTANCE_MAX_LEN + 1];
    memset(text, 'a', sizeof text);
    struct span longest = span_make(text, SPAN_DISTANCE_MAX_LEN);
    assert_int_equal(span_distance(longest, (struct span){0}), SPAN_DISTANCE_MAX_LEN);
    assert_int_equal(span_distance(longest, longest), 0);
    assert_int_equal(span_distance(span_make(text, sizeof text), longest), SIZE_MAX);
    assert_int_equal(span_distance(longest, span_make(text, sizeof text)), SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal),      cmocka_unit_test(test_equal_nocase),
        cmocka_unit_test(test_lower_copy), cmocka_unit_test(test_sub),
        cmocka_unit_test(test_find),       cmocka_unit_test(test_trim),
        cmocka_unit_test(test_char_len),   cmocka_unit_test(test_distance),
    };
    return cmocka_run_group_tests_name("span", tests, NULL, NULL);
}

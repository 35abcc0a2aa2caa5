/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/shown.h"

#include <stdio.h>

static void test_clean(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *expect;
    } rows[] = {
        {"", ""},
        {"plain ~!", "plain ~!"},
        {"a\x1b[31mb", "a?[31mb"},
        {"a\nb\rc\x01\x1f\x7f", "a?b?c???"},
        {"a\tb", "a b"},
        /* C1 as UTF-8, and as a bare byte */
        {"\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0", "???\xc2\xa0"},
        {"\x9b[1m", "?[1m"},
        /* what reorders or breaks a line, and its neighbours */
        {"\xd8\x9b\xd8\x9c\xd8\x9d", "\xd8\x9b?\xd8\x9d"},
        {"\xe2\x80\x8d\xe2\x80\x8e\xe2\x80\x8f\xe2\x80\x90", "\xe2\x80\x8d??\xe2\x80\x90"},
        {"\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa\xe2\x80\xae\xe2\x80\xaf",
         "\xe2\x80\xa7????\xe2\x80\xaf"},
        {"\xe2\x81\xa5\xe2\x81\xa6\xe2\x81\xa9\xe2\x81\xaa", "\xe2\x81\xa5??\xe2\x81\xaa"},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x8d", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x8d"},
        /* no UTF-8: overlong, a surrogate, cut short */
        {"\xc0\xaf\xed\xa0\x80\xff", "??????"},
        {"x\xe2\x82", "x??"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[64];
        (void)snprintf(text, sizeof text, "%s", rows[i].text);
        assert_ptr_equal(shown_clean(text), text);
        assert_string_equal(text, rows[i].expect);
        assert_string_equal(shown_clean(text), rows[i].expect); /* what is clean stays */
    }
}

/* Each byte alone, and each two bytes in front of printable ones: nothing below 0x20, no DEL, no C1 is left.
 */
static void test_nothing_is_left(void **state)
{
    (void)state;
    for (unsigned a = 1; a < 256; a++) {
        for (unsigned b = 1; b < 256; b++) {
            char text[5] = {(char)a, (char)b, 'x', 'y', '\0'};
            (void)shown_clean(text);
            struct span s = span_str(text);
            for (size_t i = 0; i < s.len;) {
                size_t len = span_char_len(s, i);
                assert_true(len > 0);
                assert_true(s.data[i] >= 0x20 && s.data[i] != 0x7f);
                assert_false(s.data[i] == 0xc2 && s.data[i + 1] < 0xa0);
                i += len;
            }
        }
    }
}

static void test_char(void **state)
{
    (void)state;
    const struct span s = SPAN_LIT("a\xc3\xa9\x1b\xff");
    bool is_safe = false;
    assert_int_equal(shown_char(s, 0, &is_safe), 1);
    assert_true(is_safe);
    assert_int_equal(shown_char(s, 1, &is_safe), 2);
    assert_true(is_safe);
    assert_int_equal(shown_char(s, 3, &is_safe), 1);
    assert_false(is_safe);
    assert_int_equal(shown_char(s, 4, &is_safe), 1);
    assert_false(is_safe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_nothing_is_left),
        cmocka_unit_test(test_char),
    };
    return cmocka_run_group_tests_name("shown", tests, NULL, NULL);
}

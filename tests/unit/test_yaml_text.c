/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/policy/yaml_text.h"

#include <errno.h>
#include <stdlib.h>

static void test_break_len(void **state)
{
    (void)state;
    struct span s = SPAN_LIT("\n\r\n\rx\xc2\x85\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa\xc2");
    assert_int_equal(yaml_break_len(s, 0), 1);
    assert_int_equal(yaml_break_len(s, 1), 2);
    assert_int_equal(yaml_break_len(s, 2), 1);
    assert_int_equal(yaml_break_len(s, 3), 1);
    assert_int_equal(yaml_break_len(s, 4), 0);
    assert_int_equal(yaml_break_len(s, 5), 2);
    assert_int_equal(yaml_break_len(s, 7), 3);
    assert_int_equal(yaml_break_len(s, 10), 3);
    assert_int_equal(yaml_break_len(s, 13), 0);
    assert_int_equal(yaml_break_len(s, 16), 0);
    assert_int_equal(yaml_break_len(s, s.len), 0);
}

static void check_fault(struct span text, uint32_t line, uint32_t col, const char *part)
{
    struct yaml_text out;
    struct yaml_fault fault = {0};
    assert_int_equal(yaml_text_check(text, &out, &fault), -EINVAL);
    if (fault.pos.line != line || fault.pos.col != col || strstr(fault.message, part) == NULL) {
        fail_msg("%u:%u: %s", fault.pos.line, fault.pos.col, fault.message);
    }
    assert_true(strlen(fault.hint) > 0);
}

static void test_check_bad(void **state)
{
    (void)state;
    check_fault(SPAN_LIT("a: 1\nb: \0x\n"), 2, 4, "a NUL byte");
    check_fault(SPAN_LIT("a\xff"), 1, 2, "byte 0xff: not valid UTF-8");
    check_fault(SPAN_LIT("\xc3\xa9\xc3\xa9\xc3"), 1, 3, "byte 0xc3: not valid UTF-8");
    check_fault(SPAN_LIT("\xff\xfe"
                         "a\0"),
                1, 1, "the file is UTF-16");
    check_fault(SPAN_LIT("\xfe\xff\0a"), 1, 1, "the file is UTF-16");
    check_fault(SPAN_LIT("v\0e\0"), 1, 1, "the file is UTF-16");
    check_fault(SPAN_LIT("\0v\0e"), 1, 1, "the file is UTF-16");
    check_fault(SPAN_LIT("ab\r\n\x1b[0m"), 2, 1, "a control character (byte 0x1b)");
    check_fault(SPAN_LIT("x\x7f"), 1, 2, "a control character");
    check_fault(SPAN_LIT("\n\n  \xc2\x9b"), 3, 3, "a character that cannot be seen (U+009B)");
    check_fault(SPAN_LIT("a\xef\xbb\xbf"), 1, 2, "cannot be seen (U+FEFF)");
    check_fault(SPAN_LIT("a\xef\xbf\xbe"), 1, 2, "cannot be seen (U+FFFE)");
    check_fault(SPAN_LIT("# a\xe2\x80\xae"), 1, 4, "cannot be seen (U+202E)");
    check_fault(SPAN_LIT("# a\xe2\x81\xa6"), 1, 4, "cannot be seen (U+2066)");
    check_fault(SPAN_LIT("\0version: 1"), 1, 1, "a NUL byte");
    check_fault(SPAN_LIT("# a\xe2\x80\xa8 b: c\n"), 1, 4, "a line break that is not seen");
    check_fault(SPAN_LIT("# a\n# b\xe2\x80\xa9"), 2, 4, "a line break that is not seen");
    check_fault(SPAN_LIT("# a\xc2\x85 b: c\n"), 1, 4, "a line break that is not seen");
    check_fault(SPAN_LIT("\0"), 1, 1, "a NUL byte");
    check_fault(SPAN_LIT("a: 1\n...\r\n%TAG\t! x\n"), 3, 1, "a %TAG directive");
}

static void test_check_good(void **state)
{
    (void)state;
    static const struct {
        const char *text, *body;
        size_t first_line;
    } rows[] = {
        {"", "", 0},
        {"version: 1\n", "version: 1\n", 0},
        {"\xef\xbb\xbfversion: 1\n", "version: 1\n", 0},
        {"a: \"tab\there \xc3\xa9 \xf0\x9f\x98\x80\"\r\n", "a: \"tab\there \xc3\xa9 \xf0\x9f\x98\x80\"\r\n",
         0},
        /* header documents */
        {"Version:      3\nHash: x\n---\nversion: 1\n", "---\nversion: 1\n", 2},
        {"Version: 3\r\n---\r\nversion: 1\r\n", "---\r\nversion: 1\r\n", 1},
        {"# note\n\nError: it: broke {here}\n--- \nx", "--- \nx", 3},
        {"Status:\n---", "---", 1},
        {"Error: 'quoted' text\n---\nx", "---\nx", 1},
        /* no header documents */
        {"---\nversion: 1\n", "---\nversion: 1\n", 0},
        {"# only a comment\n---\nversion: 1\n", "# only a comment\n---\nversion: 1\n", 0},
        {"Version: 3\n", "Version: 3\n", 0},
        {"version: 1\nnetwork_policies: {}\n---\n", "version: 1\nnetwork_policies: {}\n---\n", 0},
        {"version: 1\nnetwork_policies:\n  a: {}\n---\n", "version: 1\nnetwork_policies:\n  a: {}\n---\n", 0},
        {"a: |\n---\n", "a: |\n---\n", 0},
        {"a: [\n---\n", "a: [\n---\n", 0},
        {"- a\n---\n", "- a\n---\n", 0},
        {"a:b\n---\n", "a:b\n---\n", 0},
        {"no colon\n---\n", "no colon\n---\n", 0},
        {"caf\xc3\xa9: x\n---\n", "caf\xc3\xa9: x\n---\n", 0},
        {"a: b\n --- \nx", "a: b\n --- \nx", 0},
        {"a: b\n----\nx", "a: b\n----\nx", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct yaml_text out;
        struct yaml_fault fault;
        assert_int_equal(yaml_text_check(span_str(rows[i].text), &out, &fault), 0);
        if (!span_is_equal(out.body, span_str(rows[i].body)) || out.first_line != rows[i].first_line) {
            fail_msg("row %zu: %.*s from line %zu", i, (int)out.body.len, (const char *)out.body.data,
                     out.first_line);
        }
    }
}

static void test_size(void **state)
{
    (void)state;
    struct yaml_text out;
    struct yaml_fault fault;
    uint8_t *big = malloc(YAML_TEXT_MAX_BYTES + 1);
    assert_non_null(big);
    memset(big, ' ', YAML_TEXT_MAX_BYTES + 1);
    assert_int_equal(yaml_text_check(span_make(big, YAML_TEXT_MAX_BYTES), &out, &fault), 0);
    assert_int_equal(yaml_text_check(span_make(big, YAML_TEXT_MAX_BYTES + 1), &out, &fault), -E2BIG);
    assert_non_null(strstr(fault.message, "16 MiB"));
    free(big);
}

static void test_cursor(void **state)
{
    (void)state;
    struct span s = SPAN_LIT("ab\r\n\xc3\xa9x\n\nz");
    struct yaml_cursor c = {0};
    assert_int_equal(yaml_cursor_byte(&c, s), 'a');
    yaml_cursor_advance(&c, s, 0, 1);
    assert_int_equal(yaml_cursor_byte(&c, s), 'b');
    yaml_cursor_advance(&c, s, 1, 1);
    assert_int_equal(yaml_cursor_byte(&c, s), 'x');
    yaml_cursor_advance(&c, s, 1, 0); /* never back */
    assert_int_equal(yaml_cursor_byte(&c, s), 'x');
    yaml_cursor_advance(&c, s, 1, 9); /* the end of the line */
    assert_int_equal(yaml_cursor_byte(&c, s), '\n');
    yaml_cursor_advance(&c, s, 3, 0);
    assert_int_equal(yaml_cursor_byte(&c, s), 'z');
    yaml_cursor_advance(&c, s, 9, 9);
    assert_int_equal(yaml_cursor_byte(&c, s), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_break_len), cmocka_unit_test(test_check_bad), cmocka_unit_test(test_check_good),
        cmocka_unit_test(test_size),      cmocka_unit_test(test_cursor),
    };
    return cmocka_run_group_tests_name("yaml_text", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/policy/policy_diag.h"

#include <stdio.h>
#include <stdlib.h>

static void check_text(const struct diag_place *place, const char *message, const char *hint,
                       const char *expect)
{
    struct policy_diags d = {0};
    assert_int_equal(policy_diags_add(&d, DIAG_ERROR, place, message, hint), 0);
    assert_int_equal(d.error_count, 1);
    char *text = policy_diag_text(&d.items[0], false);
    assert_string_equal(text, expect);
    free(text);
    policy_diags_fini(&d);
    assert_int_equal(d.count, 0);
}

static void test_text(void **state)
{
    (void)state;
    struct diag_place place = {.file = "p.yaml", .pos = {12, 5, 3}, .source_line = SPAN_LIT("    one: two")};
    check_text(&place, "wrong", "right",
               "p.yaml:12:5: error: wrong\n    12 |     one: two\n       |     ^^^\n       = hint: right\n");
    check_text(&place, "wrong", NULL, "p.yaml:12:5: error: wrong\n    12 |     one: two\n       |     ^^^\n");
    check_text(&place, "wrong", "", "p.yaml:12:5: error: wrong\n    12 |     one: two\n       |     ^^^\n");
    /* about the whole file */
    place = (struct diag_place){.file = "p.yaml", .pos = {0, 0, 0}, .source_line = {0}};
    check_text(&place, "wrong", NULL, "p.yaml: error: wrong\n");
    /* the caret behind the last character, and a mark that is longer than its line */
    place = (struct diag_place){.file = "p.yaml", .pos = {1, 4, 9}, .source_line = SPAN_LIT("abc")};
    check_text(&place, "end", NULL, "p.yaml:1:4: error: end\n     1 | abc\n       |    ^\n");
    place = (struct diag_place){.file = "p.yaml", .pos = {1, 2, 9}, .source_line = SPAN_LIT("abc")};
    check_text(&place, "long", NULL, "p.yaml:1:2: error: long\n     1 | abc\n       |  ^^\n");
    /* a place that the line does not have shows no line */
    place = (struct diag_place){.file = "p.yaml", .pos = {1, 9, 1}, .source_line = SPAN_LIT("abc")};
    check_text(&place, "off", NULL, "p.yaml:1:9: error: off\n");
    place = (struct diag_place){.file = "p.yaml", .pos = {7, 1, 1}, .source_line = {0}};
    check_text(&place, "empty", NULL, "p.yaml:7:1: error: empty\n");
}

/* Nothing of a policy may steer the terminal of who reads the message. */
static void test_hostile_text(void **state)
{
    (void)state;
    struct diag_place place = {.file = "a\x1b[1m.yaml",
                               .pos = {1, 5, 1},
                               .source_line = SPAN_LIT("\t\xc3\xa9\x1b\xff"
                                                       "x\xe2\x80\xae\xe2\x81\xa6y")};
    check_text(
        &place, "bad \x07 bell", "\xc2\x9b",
        "a?[1m.yaml:1:5: error: bad ? bell\n     1 |  \xc3\xa9??x??y\n       |     ^\n       = hint: ?\n");
}

/* Programs want the name as it is, and facts that no wording changes. */
static void test_facts(void **state)
{
    (void)state;
    struct policy_diags d = {0};
    const struct diag_place place = {
        .file = "a\x1b[1m\n.yaml", .pos = {1, 1, 1}, .file_index = 3, .topic = DIAG_TOPIC_L7_REFUSED};
    assert_int_equal(policy_diags_add(&d, DIAG_WARNING, &place, "odd", NULL), 0);
    assert_string_equal(d.items[0].file, "a\x1b[1m\n.yaml");
    assert_int_equal(d.items[0].file_index, 3);
    assert_int_equal(d.items[0].topic, DIAG_TOPIC_L7_REFUSED);
    policy_diags_fini(&d);
}

static void test_colour(void **state)
{
    (void)state;
    struct policy_diags d = {0};
    struct diag_place place = {.file = "p.yaml", .pos = {1, 1, 1}, .source_line = SPAN_LIT("abc")};
    assert_int_equal(policy_diags_add(&d, DIAG_WARNING, &place, "odd", "try"), 0);
    assert_int_equal(d.warning_count, 1);
    assert_int_equal(d.error_count, 0);
    char *plain = policy_diag_text(&d.items[0], false);
    char *colour = policy_diag_text(&d.items[0], true);
    assert_null(strchr(plain, '\033'));
    assert_non_null(strstr(plain, "warning: odd"));
    assert_non_null(strchr(colour, '\033'));
    free(plain);
    free(colour);
    policy_diags_fini(&d);
}

static void test_long_lines(void **state)
{
    (void)state;
    char line[9000];
    memset(line, 'x', sizeof line);
    memcpy(line + 3000, "HERE", 4);
    struct policy_diags d = {0};
    struct diag_place place = {
        .file = "p.yaml", .pos = {1, 3001, 4}, .source_line = span_make(line, sizeof line)};
    assert_int_equal(policy_diags_add(&d, DIAG_ERROR, &place, "far", NULL), 0);
    char *text = policy_diag_text(&d.items[0], false);
    assert_true(strlen(text) < 500);
    const char *source = strchr(text, '\n') + 1;
    const char *carets = strchr(source, '\n') + 1;
    assert_memory_equal(source + (strstr(carets, "^^^^") - carets), "HERE", 4);
    assert_null(strstr(carets, "^^^^^"));
    free(text);
    /* behind what is kept of the line */
    place.pos.col = 8000;
    assert_int_equal(policy_diags_add(&d, DIAG_ERROR, &place, "too far", NULL), 0);
    text = policy_diag_text(&d.items[1], false);
    assert_string_equal(text, "p.yaml:1:8000: error: too far\n");
    free(text);
    policy_diags_fini(&d);
}

static void test_overflow(void **state)
{
    (void)state;
    struct policy_diags d = {0};
    struct diag_place place = {.file = "p.yaml", .pos = {1, 1, 1}, .source_line = SPAN_LIT("abc")};
    for (size_t i = 0; i < POLICY_DIAGS_MAX; i++) {
        assert_int_equal(policy_diags_add(&d, DIAG_ERROR, &place, "one", NULL), 0);
    }
    assert_false(d.overflowed);
    assert_int_equal(policy_diags_add(&d, DIAG_ERROR, &place, "more", NULL), 0);
    assert_int_equal(policy_diags_add(&d, DIAG_WARNING, &place, "more", NULL), 0);
    assert_true(d.overflowed);
    assert_int_equal(d.count, POLICY_DIAGS_MAX);
    assert_int_equal(d.error_count, POLICY_DIAGS_MAX + 1);
    assert_int_equal(d.warning_count, 1);
    policy_diags_fini(&d);
}

static void test_quote(void **state)
{
    (void)state;
    char out[DIAG_QUOTE_CAP];
    assert_string_equal(diag_quote(SPAN_LIT("abc"), out), "\"abc\"");
    assert_string_equal(diag_quote(SPAN_LIT(""), out), "\"\"");
    assert_string_equal(diag_quote(SPAN_LIT("a\"b\\c\n\x7f\xc3\xa9\0"), out),
                        "\"a\\\"b\\\\c\\x0a\\x7f\\xc3\\xa9\\x00\"");
    uint8_t long_text[200];
    memset(long_text, 0xff, sizeof long_text);
    diag_quote(span_make(long_text, sizeof long_text), out);
    assert_int_equal(strlen(out), 1 + 60 * 4 + 4);
    assert_string_equal(out + strlen(out) - 4, "...\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),   cmocka_unit_test(test_hostile_text), cmocka_unit_test(test_facts),
        cmocka_unit_test(test_colour), cmocka_unit_test(test_long_lines),   cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_quote),
    };
    return cmocka_run_group_tests_name("policy_diag", tests, NULL, NULL);
}

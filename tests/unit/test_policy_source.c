/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/policy/policy_source.h"

static void check_place(struct policy_source *s, struct yaml_pos pos, const char *line, uint32_t len)
{
    struct diag_place place;
    assert_int_equal(policy_source_place(s, 1, pos, &place), 0);
    assert_string_equal(place.file, "b");
    assert_true(span_is_equal(place.source_line, span_str(line)));
    assert_int_equal(place.pos.line, pos.line);
    assert_int_equal(place.pos.col, pos.col);
    assert_int_equal(place.pos.len, len);
}

static void test_places(void **state)
{
    (void)state;
    const struct policy_text texts[] = {
        {"a", span_str("x")},
        {"b", span_str("\xef\xbb\xbf"
                       "first: 1\r\n\r\xc3\xa4: \"a b\", 'c\nlast")},
    };
    struct policy_source s;
    assert_int_equal(policy_source_init(&s, texts, 2), 0);
    check_place(&s, (struct yaml_pos){.line = 1, .col = 1}, "first: 1", 5);
    check_place(&s, (struct yaml_pos){.line = 1, .col = 6}, "first: 1", 1);
    check_place(&s, (struct yaml_pos){.line = 1, .col = 8, .len = 7}, "first: 1", 7);
    check_place(&s, (struct yaml_pos){.line = 2, .col = 1}, "", 1);
    check_place(&s, (struct yaml_pos){.line = 3, .col = 4}, "\xc3\xa4: \"a b\", 'c", 5); /* characters */
    check_place(&s, (struct yaml_pos){.line = 3, .col = 11}, "\xc3\xa4: \"a b\", 'c", 1);
    check_place(&s, (struct yaml_pos){.line = 4, .col = 1}, "last", 4);
    check_place(&s, (struct yaml_pos){.line = 4, .col = 99}, "last", 1);
    check_place(&s, (struct yaml_pos){.line = 5, .col = 1}, "", 1);
    check_place(&s, (struct yaml_pos){.line = 0, .col = 0}, "", 1);
    policy_source_fini(&s);
    policy_source_fini(&s);
}

static void test_no_texts(void **state)
{
    (void)state;
    struct policy_source s;
    assert_int_equal(policy_source_init(&s, NULL, 0), 0);
    policy_source_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_no_texts),
    };
    return cmocka_run_group_tests_name("policy_source", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/policy/suffix_table.h"

#include <stdio.h>

#define NAMES 3000

static void test_add_and_find(void **state)
{
    (void)state;
    static char texts[NAMES][24];
    struct suffix_table t;
    assert_int_equal(suffix_table_init(&t), 0);
    assert_null(suffix_table_find(&t, SPAN_LIT("absent")));
    for (size_t i = 0; i < NAMES; i++) {
        (void)snprintf(texts[i], sizeof texts[i], "n%zu.example.com", i);
        assert_null(suffix_table_find(&t, span_str(texts[i])));
        struct suffix_node *n = suffix_table_add(&t, span_str(texts[i]));
        assert_non_null(n);
        assert_int_equal(n->first_exact, SUFFIX_NONE);
        assert_int_equal(n->first_wildcard, SUFFIX_NONE);
        assert_int_equal(n->host, SUFFIX_NONE);
        assert_false(n->is_parent);
        n->first_exact = (uint32_t)i;
    }
    assert_int_equal(t.node_count, NAMES);
    assert_true(t.node_count < t.slot_count);
    for (size_t i = 0; i < NAMES; i++) {
        char copy[24];
        memcpy(copy, texts[i], sizeof copy); /* found by value, not by place */
        struct suffix_node *n = suffix_table_find(&t, span_str(copy));
        assert_non_null(n);
        assert_int_equal(n->first_exact, i);
        assert_ptr_equal(suffix_table_add(&t, span_str(copy)), n);
    }
    assert_int_equal(t.node_count, NAMES);
    assert_null(suffix_table_find(&t, SPAN_LIT("n3000.example.com")));
    assert_null(suffix_table_find(&t, SPAN_LIT("n1.example.co")));
    suffix_table_fini(&t);
    suffix_table_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add_and_find),
    };
    return cmocka_run_group_tests_name("suffix_table", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/policy/match_tree.h"

#include <stdio.h>

#define EDGES 3000

static void test_add_and_find(void **state)
{
    (void)state;
    static uint32_t nodes[EDGES];
    struct match_tree t;
    assert_int_equal(match_tree_init(&t), 0);
    assert_int_equal(match_tree_find(&t, MATCH_ROOT, MATCH_LABEL, SPAN_LIT("absent")), MATCH_NONE);
    for (size_t i = 0; i < EDGES; i++) {
        char text[24];
        uint32_t parent = i < 10 ? MATCH_ROOT : nodes[i % 10];
        (void)snprintf(text, sizeof text, "n%zu", i); /* copied: the buffer is gone before it is looked for */
        assert_int_equal(match_tree_find(&t, parent, MATCH_LABEL, span_str(text)), MATCH_NONE);
        nodes[i] = match_tree_add(&t, parent, MATCH_LABEL, span_str(text));
        assert_int_not_equal(nodes[i], MATCH_NONE);
        assert_int_equal(t.nodes[nodes[i]].group, MATCH_NONE);
        assert_int_equal(t.nodes[nodes[i]].value, MATCH_NONE);
        assert_int_equal(t.nodes[nodes[i]].flags, 0);
    }
    assert_int_equal(t.node_count, EDGES + 1); /* and the root */
    size_t before = match_tree_memory(&t);
    assert_int_equal(match_tree_seal(&t), 0);
    assert_true(match_tree_memory(&t) < before);
    for (size_t i = 0; i < EDGES; i++) {
        char text[24];
        uint32_t parent = i < 10 ? MATCH_ROOT : nodes[i % 10];
        (void)snprintf(text, sizeof text, "n%zu", i);
        assert_int_equal(match_tree_find(&t, parent, MATCH_LABEL, span_str(text)), nodes[i]);
        assert_int_equal(match_tree_find(&t, nodes[(i + 1) % 10], MATCH_LABEL, span_str(text)), MATCH_NONE);
        assert_int_equal(match_tree_find(&t, parent, MATCH_HEAD, span_str(text)), MATCH_NONE);
        assert_true(span_is_equal(match_tree_bytes(&t, nodes[i]), span_str(text)));
    }
    assert_int_equal(match_tree_find(&t, MATCH_ROOT, MATCH_LABEL, SPAN_LIT("n")), MATCH_NONE);
    match_tree_fini(&t);
    match_tree_fini(&t);
}

/* The same bytes below another parent or of another kind are another edge; adding twice is finding. */
static void test_edges_are_told_apart(void **state)
{
    (void)state;
    uint8_t longest[MATCH_BYTES_MAX + 1] = {0};
    struct match_tree t;
    assert_int_equal(match_tree_init(&t), 0);
    uint32_t a = match_tree_add(&t, MATCH_ROOT, MATCH_LABEL, SPAN_LIT("a"));
    uint32_t b = match_tree_add(&t, a, MATCH_LABEL, SPAN_LIT("a"));
    uint32_t c = match_tree_add(&t, a, MATCH_HEAD, SPAN_LIT("a"));
    uint32_t d = match_tree_add(&t, a, MATCH_HEAD, (struct span){0});
    uint32_t e = match_tree_add(&t, a, MATCH_TAIL, span_make(longest, MATCH_BYTES_MAX));
    assert_true(a != b && b != c && c != d && d != e && e != MATCH_NONE);
    assert_int_equal(match_tree_add(&t, a, MATCH_HEAD, SPAN_LIT("a")), c);
    assert_int_equal(match_tree_add(&t, a, MATCH_HEAD, (struct span){0}), d);
    assert_int_equal(match_tree_add(&t, a, MATCH_TAIL, span_make(longest, MATCH_BYTES_MAX)), e);
    assert_int_equal(match_tree_find(&t, a, MATCH_TAIL, span_make(longest, MATCH_BYTES_MAX - 1)), MATCH_NONE);
    assert_int_equal(match_tree_find(&t, a, MATCH_TAIL, span_make(longest, sizeof longest)), MATCH_NONE);
    assert_int_equal(t.node_count, 6);
    match_tree_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add_and_find),
        cmocka_unit_test(test_edges_are_told_apart),
    };
    return cmocka_run_group_tests_name("match_tree", tests, NULL, NULL);
}

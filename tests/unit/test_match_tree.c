/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/policy/match_tree.h"

#include <stdio.h>
#include <stdlib.h>

#define EDGES 3000

static void test_add_and_find(void **state)
{
    (void)state;
    static uint32_t nodes[EDGES];
    struct match_at ways[10];
    size_t leading = 0;
    uint32_t *places = NULL;
    struct match_tree t;
    assert_int_equal(match_tree_init(&t), 0);
    for (size_t i = 0; i < EDGES; i++) {
        char text[40];
        uint32_t parent = i < 10 ? MATCH_ROOT : nodes[i % 10];
        /* copied: the buffer is gone before it is looked for */
        (void)snprintf(text, sizeof text, i % 3 == 0 ? "n%zu-longer-than-what-a-node-holds" : "n%zu", i);
        nodes[i] = match_tree_add(&t, parent, MATCH_LABEL, span_str(text));
        assert_int_equal(nodes[i], i + 1); /* the root is 0 */
        assert_int_equal(match_tree_add(&t, parent, MATCH_LABEL, span_str(text)), nodes[i]);
        assert_int_equal(t.nodes[nodes[i]].group, MATCH_NONE);
        assert_int_equal(t.nodes[nodes[i]].value, MATCH_NONE);
        assert_int_equal(t.nodes[nodes[i]].flags, 0);
        t.nodes[nodes[i]].value = (uint32_t)i;
    }
    size_t before = match_tree_memory(&t);
    assert_int_equal(match_tree_seal(&t, &places), 0);
    assert_true(match_tree_memory(&t) < before);
    assert_int_equal(places[MATCH_ROOT], MATCH_ROOT);
    for (size_t i = 0; i < EDGES; i++) {
        char text[40];
        struct match_at parent = i < 10 ? match_tree_root() : ways[i % 10];
        (void)snprintf(text, sizeof text, i % 3 == 0 ? "n%zu-longer-than-what-a-node-holds" : "n%zu", i);
        struct match_at found = match_tree_find(&t, parent, MATCH_LABEL, span_str(text));
        assert_int_equal(found.node, places[nodes[i]]);
        assert_int_equal(found.way, match_tree_way(&t, parent.way, span_str(text)));
        assert_int_equal(t.nodes[found.node].value, i);
        assert_int_equal(t.nodes[found.node].parent, parent.node);
        assert_true(span_is_equal(match_tree_bytes(&t, found.node), span_str(text)));
        if (i < 10) {
            ways[i] = found;
            assert_true(match_tree_may_lead(&t, found.way));
        } else {
            leading += match_tree_may_lead(&t, found.way);
            assert_int_equal(match_tree_find(&t, ways[(i + 1) % 10], MATCH_LABEL, span_str(text)).node,
                             MATCH_NONE);
        }
        assert_int_equal(match_tree_find(&t, parent, MATCH_HEAD, span_str(text)).node, MATCH_NONE);
        match_tree_prefetch(&t, &found.way, 1);
    }
    assert_int_equal(match_tree_find(&t, match_tree_root(), MATCH_LABEL, SPAN_LIT("n")).node, MATCH_NONE);
    assert_true(leading <= EDGES / 100); /* of those that lead nowhere; a tenth of one is to be expected */
    for (size_t b = 0; b < t.bucket_count; b++) {
        assert_true(t.starts[b + 1] - t.starts[b] <= MATCH_BUCKET_MAX);
    }
    free(places);
    match_tree_fini(&t);
    match_tree_fini(&t);
}

/* However many labels lead somewhere, the filter knows them all, and few others. */
static void test_filter(void **state)
{
    (void)state;
    static const size_t counts[] = {1, 400, 600, 100000};
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        uint32_t *places = NULL;
        struct match_tree t;
        char text[40];
        size_t leading = 0;
        assert_int_equal(match_tree_init(&t), 0);
        for (size_t i = 0; i < counts[c]; i++) { /* each other one with a label below */
            (void)snprintf(text, sizeof text, "n%zu", i);
            const uint32_t top = match_tree_add(&t, MATCH_ROOT, MATCH_LABEL, span_str(text));
            assert_int_not_equal(top, MATCH_NONE);
            assert_true(i % 2 == 0 || match_tree_add(&t, top, MATCH_LABEL, span_str(text)) != MATCH_NONE);
        }
        assert_int_equal(match_tree_seal(&t, &places), 0);
        free(places);
        for (size_t i = 0; i < counts[c]; i++) {
            (void)snprintf(text, sizeof text, "n%zu", i);
            const struct match_at top = match_tree_find(&t, match_tree_root(), MATCH_LABEL, span_str(text));
            assert_int_not_equal(top.node, MATCH_NONE);
            assert_true((match_tree_find(&t, top, MATCH_LABEL, span_str(text)).node != MATCH_NONE) ==
                        (i % 2 != 0));
            (void)snprintf(text, sizeof text, "x%zu", i);
            const struct match_at absent =
                match_tree_find(&t, match_tree_root(), MATCH_LABEL, span_str(text));
            assert_int_equal(absent.node, MATCH_NONE);
            leading += match_tree_may_lead(&t, absent.way);
        }
        assert_true(leading <= counts[c] / 10); /* one in twenty is to be expected at most */
        match_tree_fini(&t);
    }
}

/* Every length, each with bytes that differ only at one place: first, middle or last. */
static void test_lengths(void **state)
{
    (void)state;
    uint8_t bytes[MATCH_BYTES_MAX + 1] = {0};
    uint32_t *places = NULL;
    struct match_tree t;
    size_t count = 1;
    assert_int_equal(match_tree_init(&t), 0);
    for (size_t len = 0; len <= MATCH_BYTES_MAX; len++) {
        assert_int_equal(match_tree_add(&t, MATCH_ROOT, MATCH_TAIL, span_make(bytes, len)), count++);
        for (size_t at = 0; at < len; at++) {
            bytes[at] = 1;
            assert_int_equal(match_tree_add(&t, MATCH_ROOT, MATCH_TAIL, span_make(bytes, len)), count++);
            bytes[at] = 0;
        }
    }
    assert_int_equal(match_tree_seal(&t, &places), 0);
    assert_int_equal(t.node_count, count);
    count = 1;
    for (size_t len = 0; len <= MATCH_BYTES_MAX; len++) {
        assert_int_equal(match_tree_find(&t, match_tree_root(), MATCH_TAIL, span_make(bytes, len)).node,
                         places[count++]);
        for (size_t at = 0; at < len; at++) {
            bytes[at] = 1;
            assert_int_equal(match_tree_find(&t, match_tree_root(), MATCH_TAIL, span_make(bytes, len)).node,
                             places[count++]);
            bytes[at] = 2;
            assert_int_equal(match_tree_find(&t, match_tree_root(), MATCH_TAIL, span_make(bytes, len)).node,
                             MATCH_NONE);
            bytes[at] = 0;
        }
    }
    assert_int_equal(match_tree_find(&t, match_tree_root(), MATCH_TAIL, span_make(bytes, sizeof bytes)).node,
                     MATCH_NONE);
    free(places);
    match_tree_fini(&t);
}

static void test_empty(void **state)
{
    (void)state;
    uint32_t *places = NULL;
    struct match_tree t;
    assert_int_equal(match_tree_init(&t), 0);
    assert_int_equal(match_tree_seal(&t, &places), 0);
    assert_int_equal(match_tree_find(&t, match_tree_root(), MATCH_LABEL, SPAN_LIT("a")).node, MATCH_NONE);
    free(places);
    match_tree_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add_and_find),
        cmocka_unit_test(test_filter),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_empty),
    };
    return cmocka_run_group_tests_name("match_tree", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/policy/arena.h"

static void test_blocks(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    assert_non_null(a);
    uint8_t *blocks[2000];
    for (size_t i = 0; i < 2000; i++) {
        size_t size = i % 37;
        blocks[i] = arena_alloc(a, size);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % _Alignof(max_align_t), 0);
        for (size_t k = 0; k < size; k++) {
            assert_int_equal(blocks[i][k], 0);
            blocks[i][k] = (uint8_t)i;
        }
    }
    for (size_t i = 0; i < 2000; i++) { /* nobody wrote into another's block */
        for (size_t k = 0; k < i % 37; k++) {
            assert_int_equal(blocks[i][k], (uint8_t)i);
        }
    }
    arena_free(a);
    arena_free(NULL);
}

static void test_large(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    for (size_t size = 1; size <= (size_t)8 << 20; size *= 2) {
        uint8_t *block = arena_alloc(a, size);
        assert_non_null(block);
        block[size - 1] = 1;
    }
    assert_null(arena_alloc(a, SIZE_MAX));
    assert_null(arena_array(a, SIZE_MAX / 2, 3));
    assert_null(arena_array(a, SIZE_MAX, SIZE_MAX));
    assert_non_null(arena_array(a, 0, 8));
    assert_non_null(arena_array(a, 8, 0));
    arena_free(a);
}

static void test_text(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    char *copy = arena_text(a, SPAN_LIT("word"));
    assert_string_equal(copy, "word");
    assert_string_equal(arena_text(a, (struct span){0}), "");
    assert_null(arena_text(a, span_make(copy, SIZE_MAX)));
    arena_free(a);
}

/* Blocks and texts come from both ends of a chunk: neither writes into the other, and blocks stay zeroed. */
static void test_both(void **state)
{
    (void)state;
    struct arena *a = arena_new();
    static char *texts[3000];
    static uint8_t *blocks[3000];
    for (size_t i = 0; i < 3000; i++) {
        char text[40];
        memset(text, 'a' + (int)(i % 26), sizeof text);
        texts[i] = arena_text(a, span_make(text, i % 40));
        blocks[i] = arena_alloc(a, i % 50 + 1);
        assert_int_equal((uintptr_t)blocks[i] % _Alignof(max_align_t), 0);
        for (size_t k = 0; k <= i % 50; k++) {
            assert_int_equal(blocks[i][k], 0);
            blocks[i][k] = 0xff;
        }
    }
    for (size_t i = 0; i < 3000; i++) {
        assert_int_equal(strlen(texts[i]), i % 40);
        for (size_t k = 0; k < i % 40; k++) {
            assert_int_equal(texts[i][k], 'a' + (int)(i % 26));
        }
    }
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_both),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}

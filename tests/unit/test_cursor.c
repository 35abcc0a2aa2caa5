/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/cursor.h"

static const uint8_t bytes[] = {0x80, 0x01, 0x02, 0xff, 0xfe, 0xfd, 0xfc, 0x10, 0x11, 0x12};

static void test_numbers(void **state)
{
    (void)state;
    struct cursor c = cursor_make(span_make(bytes, sizeof bytes));
    assert_int_equal(cursor_left(&c), 10);
    assert_int_equal(cursor_u8(&c), 0x80);
    assert_int_equal(cursor_u16(&c), 0x0102);
    assert_int_equal(cursor_u32(&c), 0xfffefdfcU);
    assert_int_equal(cursor_left(&c), 3);
    assert_int_equal(cursor_u24(&c), 0x101112);
    assert_true(cursor_is_ok(&c));
    assert_int_equal(cursor_left(&c), 0);
    assert_int_equal(cursor_u8(&c), 0);
    assert_false(cursor_is_ok(&c));
    assert_int_equal(c.pos, 10);
}

/* With every number of bytes: each reader works from its width on, and one byte less is the sticky error. */
static void test_truncations(void **state)
{
    (void)state;
    for (size_t len = 0; len <= 5; len++) {
        for (size_t width = 1; width <= 4; width++) {
            struct cursor c = cursor_make(span_make(bytes, len));
            uint32_t v = width == 1   ? cursor_u8(&c)
                         : width == 2 ? cursor_u16(&c)
                         : width == 3 ? cursor_u24(&c)
                                      : cursor_u32(&c);
            assert_int_equal(cursor_is_ok(&c), len >= width);
            assert_int_equal(c.pos, len >= width ? width : 0);
            assert_int_equal(v != 0, len >= width);
        }
    }
}

static void test_error_is_sticky(void **state)
{
    (void)state;
    struct cursor c = cursor_make(span_make(bytes, 3));
    assert_int_equal(cursor_u32(&c), 0);
    assert_false(cursor_is_ok(&c));
    /* three bytes are there, but after an error nothing is read any more */
    assert_int_equal(cursor_u8(&c), 0);
    assert_int_equal(cursor_u16(&c), 0);
    assert_int_equal(cursor_u24(&c), 0);
    assert_int_equal(cursor_take(&c, 1).len, 0);
    assert_int_equal(cursor_take(&c, 0).len, 0);
    assert_int_equal(c.pos, 0);
}

static void test_take_and_skip(void **state)
{
    (void)state;
    struct cursor c = cursor_make(span_make(bytes, sizeof bytes));
    cursor_skip(&c, 3);
    struct span s = cursor_take(&c, 4);
    assert_ptr_equal(s.data, bytes + 3);
    assert_int_equal(s.len, 4);
    assert_int_equal(cursor_take(&c, 0).len, 0);
    assert_true(cursor_is_ok(&c));
    s = cursor_take(&c, 3);
    assert_int_equal(s.len, 3);
    assert_true(cursor_is_ok(&c));
    cursor_skip(&c, 0);
    assert_true(cursor_is_ok(&c));
    cursor_skip(&c, 1);
    assert_false(cursor_is_ok(&c));

    c = cursor_make(span_make(bytes, sizeof bytes));
    cursor_skip(&c, 9);
    assert_int_equal(cursor_take(&c, SIZE_MAX).len, 0); /* no wrap-around of pos + len */
    assert_false(cursor_is_ok(&c));
    assert_int_equal(c.pos, 9);

    c = cursor_make(span_make(NULL, 0));
    assert_int_equal(cursor_take(&c, 0).len, 0);
    assert_true(cursor_is_ok(&c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_error_is_sticky),
        cmocka_unit_test(test_take_and_skip),
    };
    return cmocka_run_group_tests_name("cursor", tests, NULL, NULL);
}

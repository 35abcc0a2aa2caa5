/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/buf.h"

#include <errno.h>
#include <stdlib.h>

/* The linker sends the library's malloc here (--wrap=malloc). */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
static bool malloc_fails;
void *__wrap_malloc(size_t size)
{
    return malloc_fails ? NULL : __real_malloc(size);
}

static void assert_written(const struct wbuf *w, struct span expect)
{
    assert_int_equal(w->len, expect.len);
    assert_memory_equal(w->data, expect.data, expect.len);
}

static void test_wbuf_numbers(void **state)
{
    (void)state;
    uint8_t mem[8];
    struct wbuf w = wbuf_make(mem, 7);
    wbuf_u8(&w, 0x81);
    wbuf_u16(&w, 0x8283);
    wbuf_u32(&w, 0x84858687);
    assert_false(w.overflow);
    assert_written(&w, SPAN_LIT("\x81\x82\x83\x84\x85\x86\x87"));
    wbuf_u8(&w, 1);
    assert_true(w.overflow);
    assert_int_equal(w.len, 7);
    assert_true(span_is_equal(wbuf_span(&w), span_make(mem, 7)));
}

/* Every writer, with every room from none to enough: all of it, or nothing and the flag; never a byte behind
 * cap. */
static void test_wbuf_bounds(void **state)
{
    (void)state;
    for (int kind = 0; kind < 8; kind++) {
        static const size_t needs[] = {1, 2, 4, 3, 3, 4, 5, 12};
        for (size_t cap = 0; cap <= 13; cap++) {
            uint8_t mem[16];
            memset(mem, 0xaa, sizeof mem);
            struct wbuf w = wbuf_make(mem, cap);
            switch (kind) {
            case 0:
                wbuf_u8(&w, 1);
                break;
            case 1:
                wbuf_u16(&w, 1);
                break;
            case 2:
                wbuf_u32(&w, 1);
                break;
            case 3:
                wbuf_put(&w, SPAN_LIT("abc"));
                break;
            case 4:
                wbuf_str(&w, "abc");
                break;
            case 5:
                wbuf_printf(&w, "%d", 123); /* and its NUL */
                break;
            case 6:
                wbuf_decimal(&w, 12345, 3);
                break;
            default:
                wbuf_json(&w, SPAN_LIT("\x01\xff"));
                break;
            }
            size_t need = needs[kind];
            assert_int_equal(w.overflow, cap < need);
            assert_int_equal(w.len, cap < need ? 0 : kind == 5 ? 3 : need);
            for (size_t i = cap; i < sizeof mem; i++) {
                assert_int_equal(mem[i], 0xaa);
            }
            wbuf_u8(&w, 1);
            assert_true(cap >= need || w.len == 0); /* sticky: even what would fit is refused */
        }
    }
}

static void test_wbuf_text(void **state)
{
    (void)state;
    char mem[64];
    struct wbuf w = wbuf_make(mem, sizeof mem);
    wbuf_str(&w, "GET ");
    wbuf_put(&w, span_make(NULL, 0));
    wbuf_printf(&w, "%s:%u", "host", 443U);
    wbuf_printf(&w, "%s", "");
    assert_written(&w, SPAN_LIT("GET host:443"));
    assert_false(w.overflow);

    w = wbuf_make(NULL, 0);
    wbuf_put(&w, SPAN_LIT(""));
    wbuf_str(&w, "");
    wbuf_json(&w, SPAN_LIT(""));
    wbuf_printf(&w, "%s", "");
    assert_false(w.overflow);
    wbuf_printf(&w, "%s", "x");
    assert_true(w.overflow);
}

static void test_wbuf_decimal(void **state)
{
    (void)state;
    static const struct {
        uint64_t v;
        size_t digits;
        const char *text;
    } cases[] = {{0, 0, "0"},
                 {0, 1, "0"},
                 {0, 3, "000"},
                 {7, 2, "07"},
                 {10, 1, "10"},
                 {12345, 3, "12345"},
                 {UINT32_MAX, 1, "4294967295"},
                 {UINT64_MAX, 1, "18446744073709551615"},
                 {1, 20, "00000000000000000001"},
                 {1, 21, "00000000000000000001"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t mem[24];
        struct wbuf w = wbuf_make(mem, sizeof mem);
        wbuf_decimal(&w, cases[i].v, cases[i].digits);
        assert_written(&w, span_str(cases[i].text));
        assert_false(w.overflow);
    }
}

static void test_wbuf_json(void **state)
{
    (void)state;
    char mem[2048];
    struct wbuf w = wbuf_make(mem, sizeof mem);
    wbuf_json(&w, SPAN_LIT("a\"b\\c/\b\f\n\r\t\x01\x1f ~\x7f\x80\xff\0z"));
    assert_written(&w, SPAN_LIT("a\\\"b\\\\c/\\b\\f\\n\\r\\t\\u0001\\u001f ~\\u007f\\u0080\\u00ff\\u0000z"));
    w = wbuf_make(mem, sizeof mem);
    uint8_t all[256];
    for (size_t i = 0; i < sizeof all; i++) {
        all[i] = (uint8_t)i;
    }
    wbuf_json(&w, span_make(all, sizeof all));
    assert_false(w.overflow);
    for (size_t i = 0; i < w.len; i++) {
        assert_in_range(mem[i], 0x20, 126);
    }
}

static void test_append_and_consume(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_int_equal(buf_span(&b).len, 0);
    assert_int_equal(buf_append(&b, SPAN_LIT("hello "), 100), 0);
    assert_int_equal(buf_append(&b, SPAN_LIT(""), 100), 0);
    assert_int_equal(buf_append(&b, SPAN_LIT("world"), 100), 0);
    assert_true(span_is_equal(buf_span(&b), SPAN_LIT("hello world")));
    buf_consume(&b, 0);
    buf_consume(&b, 6);
    assert_true(span_is_equal(buf_span(&b), SPAN_LIT("world")));
    buf_consume(&b, 5);
    assert_null(b.data); /* an empty one holds no memory */
    assert_int_equal(b.cap, 0);
    buf_fini(&b);
    buf_fini(&b);
}

static void test_limit(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_int_equal(buf_append(&b, SPAN_LIT("abcd"), 3), -E2BIG);
    assert_int_equal(b.len, 0);
    assert_int_equal(buf_append(&b, SPAN_LIT("x"), 0), -E2BIG);
    assert_int_equal(buf_append(&b, SPAN_LIT(""), 0), 0);
    assert_null(b.data);
    assert_int_equal(buf_append(&b, SPAN_LIT("abc"), 3), 0);
    assert_int_equal(buf_append(&b, SPAN_LIT("d"), 3), -E2BIG);
    assert_int_equal(buf_append(&b, SPAN_LIT("d"), 2), -E2BIG); /* a limit below what is there */
    assert_int_equal(buf_append(&b, span_make("", SIZE_MAX), SIZE_MAX), -E2BIG);
    assert_true(span_is_equal(buf_span(&b), SPAN_LIT("abc")));
    assert_true(b.cap <= 3);
    buf_consume(&b, 1);
    assert_int_equal(buf_append(&b, SPAN_LIT("d"), 3), 0); /* consumed bytes count no more */
    assert_true(span_is_equal(buf_span(&b), SPAN_LIT("bcd")));
    buf_fini(&b);
}

/* A long mix of both against a plain stream: what goes in comes out, in order, within the limit. */
static void test_stream(void **state)
{
    (void)state;
    struct buf b = {0};
    const size_t limit = 5000;
    uint32_t in = 0;
    uint32_t out = 0;
    for (unsigned round = 0; round < 3000; round++) {
        uint8_t chunk[997];
        size_t n = (round * 7919U) % sizeof chunk;
        for (size_t i = 0; i < n; i++) {
            chunk[i] = (uint8_t)((in + i) * 31U);
        }
        int rc = buf_append(&b, span_make(chunk, n), limit);
        assert_int_equal(rc, in - out + n > limit ? -E2BIG : 0);
        in += rc == 0 ? (uint32_t)n : 0;
        assert_int_equal(b.len, in - out);
        assert_true(b.start + b.len <= b.cap && b.cap <= limit);
        size_t take = (round * 104729U) % 997U;
        take = take > b.len ? b.len : take;
        struct span s = buf_span(&b);
        for (size_t i = 0; i < take; i++) {
            assert_int_equal(s.data[i], (uint8_t)((out + i) * 31U));
        }
        buf_consume(&b, take);
        out += (uint32_t)take;
    }
    assert_true(out > 100000);
    buf_fini(&b);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct buf b = {0};
    malloc_fails = true;
    int rc = buf_append(&b, SPAN_LIT("abc"), 100);
    malloc_fails = false;
    assert_int_equal(rc, -ENOMEM);
    assert_int_equal(buf_append(&b, SPAN_LIT("abc"), 1000), 0);
    uint8_t more[900] = {0};
    malloc_fails = true;
    rc = buf_append(&b, span_make(more, sizeof more), 1000);
    malloc_fails = false;
    assert_int_equal(rc, -ENOMEM);
    assert_true(span_is_equal(buf_span(&b), SPAN_LIT("abc"))); /* what was there stays */
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wbuf_numbers),       cmocka_unit_test(test_wbuf_bounds),
        cmocka_unit_test(test_wbuf_text),          cmocka_unit_test(test_wbuf_decimal),
        cmocka_unit_test(test_wbuf_json),          cmocka_unit_test(test_limit),
        cmocka_unit_test(test_append_and_consume), cmocka_unit_test(test_stream),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}

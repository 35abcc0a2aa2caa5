/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/json.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* The linker sends the library's malloc here (--wrap=malloc). */
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
static int malloc_left = -1; /* how many succeed; -1: all */
void *__wrap_malloc(size_t size)
{
    if (malloc_left == 0) {
        return NULL;
    }
    malloc_left -= malloc_left > 0;
    return __real_malloc(size);
}

static void assert_document(struct json *j, const char *expect)
{
    struct span text;
    assert_int_equal(json_finish(j, &text), 0);
    if (!span_is_equal(text, span_str(expect))) {
        fail_msg("got %.*s instead of %s", (int)text.len, (const char *)text.data, expect);
    }
    json_fini(j);
}

static void test_values(void **state)
{
    (void)state;
    struct json j = {.limit = 4096};
    json_array(&j, NULL);
    json_u64(&j, NULL, 0);
    json_u64(&j, NULL, UINT64_MAX);
    json_i64(&j, NULL, INT64_MIN);
    json_i64(&j, NULL, INT64_MAX);
    json_bool(&j, NULL, true);
    json_bool(&j, NULL, false);
    json_null(&j, NULL);
    json_str(&j, NULL, NULL);
    json_str(&j, NULL, "");
    json_span(&j, NULL, span_make(NULL, 0));
    json_span(&j, NULL, SPAN_LIT("a\0b"));
    json_end(&j);
    assert_document(&j,
                    "[0,18446744073709551615,-9223372036854775808,9223372036854775807,true,false,null,null,"
                    "\"\",\"\",\"a\\u0000b\"]\n");
}

static void test_structure(void **state)
{
    (void)state;
    struct json j = {.limit = 4096};
    json_object(&j, NULL);
    json_array(&j, "empty");
    json_end(&j);
    json_object(&j, "also \"empty\"");
    json_end(&j);
    json_array(&j, "list");
    json_object(&j, NULL);
    json_u64(&j, "n", 1);
    json_str(&j, "s", "x");
    json_end(&j);
    json_array(&j, NULL);
    json_bool(&j, NULL, true);
    json_end(&j);
    json_end(&j);
    json_null(&j, "last");
    json_end(&j);
    assert_document(
        &j,
        "{\"empty\":[],\"also \\\"empty\\\"\":{},\"list\":[{\"n\":1,\"s\":\"x\"},[true]],\"last\":null}\n");
}

static void test_top(void **state)
{
    (void)state;
    struct json j = {.limit = 64};
    json_str(&j, NULL, "x");
    assert_document(&j, "\"x\"\n");
    json_i64(&j, NULL, -1); /* a finished writer can be used again */
    assert_document(&j, "-1\n");
}

static void test_strings(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        const char *expect;
    } rows[] = {
        {"a\"b\\c/\b\f\n\r\t\x01\x1f ~\x7f", "\"a\\\"b\\\\c/\\b\\f\\n\\r\\t\\u0001\\u001f ~\\u007f\"\n"},
        {"\xc3\xa4", "\"\\u00e4\"\n"},
        {"\xe2\x82\xac", "\"\\u20ac\"\n"},
        {"\xef\xbf\xbf", "\"\\uffff\"\n"},
        {"\xf0\x90\x80\x80", "\"\\ud800\\udc00\"\n"},
        {"\xf0\x9f\x98\x80!", "\"\\ud83d\\ude00!\"\n"},
        {"\xf4\x8f\xbf\xbf", "\"\\udbff\\udfff\"\n"},
        {"\x80", "\"\\ufffd\"\n"},
        {"a\xff\xfe"
         "b",
         "\"a\\ufffd\\ufffdb\"\n"},
        {"\xe2\x82", "\"\\ufffd\\ufffd\"\n"},            /* cut */
        {"\xc0\xaf", "\"\\ufffd\\ufffd\"\n"},            /* overlong */
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"\n"}, /* a surrogate */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct json j = {.limit = 4096};
        json_str(&j, NULL, rows[i].in);
        assert_document(&j, rows[i].expect);
    }
}

/* Every length around the block the string is put through, of characters that grow. */
static void test_long_strings(void **state)
{
    (void)state;
    char in[700];
    char expect[4300];
    memset(in, 1, sizeof in);
    for (size_t len = 0; len <= sizeof in; len++) {
        struct wbuf w = wbuf_make(expect, sizeof expect - 1);
        wbuf_str(&w, "\"");
        for (size_t i = 0; i < len; i++) {
            wbuf_str(&w, "\\u0001");
        }
        wbuf_str(&w, "\"\n");
        expect[w.len] = '\0';
        struct json j = {.limit = sizeof expect};
        json_span(&j, NULL, span_make(in, len));
        assert_document(&j, expect);
    }
}

static void test_escape(void **state)
{
    (void)state;
    uint8_t out[JSON_ESCAPE_CAP];
    for (uint32_t code = 0; code < 0x80; code++) {
        size_t len = json_escape(code, out);
        assert_in_range(len, 1, 6);
        for (size_t i = 0; i < len; i++) {
            assert_in_range(out[i], 0x20, 0x7e);
        }
    }
    assert_int_equal(json_escape(0x110000, out), 6);
    assert_memory_equal(out, "\\ufffd", 6);
    assert_int_equal(json_escape(UINT32_MAX, out), 6);
    assert_int_equal(json_escape(0x10ffff, out), 12);
}

static void write_sample(struct json *j)
{
    json_object(j, NULL);
    json_str(j, "key", "v\x01lue");
    json_end(j);
}

/* All of it, or an error and nothing, for every limit. */
static void test_limit(void **state)
{
    (void)state;
    static const char expect[] = "{\"key\":\"v\\u0001lue\"}\n";
    for (size_t limit = 0; limit < sizeof expect - 1; limit++) {
        struct json j = {.limit = limit};
        write_sample(&j);
        struct span text = SPAN_LIT("old");
        assert_int_equal(json_finish(&j, &text), -E2BIG);
        assert_int_equal(text.len, 0);
        json_fini(&j);
    }
    struct json j = {.limit = sizeof expect - 1};
    write_sample(&j);
    assert_document(&j, expect);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    struct span text;
    for (int left = 0; left < 2; left++) {
        struct json j = {.limit = 65536};
        malloc_left = left;
        json_array(&j, NULL);
        for (unsigned i = 0; i < 300; i++) {
            json_u64(&j, NULL, i);
        }
        json_end(&j);
        malloc_left = -1;
        assert_int_equal(json_finish(&j, &text), -ENOMEM);
        json_fini(&j);
    }
}

/* ---- misuse: a CHECK and -EINVAL, in a child because a build may abort there ---- */

static void misuse_key_in_array(struct json *j)
{
    json_array(j, NULL);
    json_u64(j, "n", 1);
    json_end(j);
}
static void misuse_no_key(struct json *j)
{
    json_object(j, NULL);
    json_u64(j, NULL, 1);
    json_end(j);
}
static void misuse_key_at_top(struct json *j)
{
    json_u64(j, "n", 1);
}
static void misuse_two_at_top(struct json *j)
{
    json_u64(j, NULL, 1);
    json_u64(j, NULL, 2);
}
static void misuse_end(struct json *j)
{
    json_end(j);
}
static void misuse_open(struct json *j)
{
    json_object(j, NULL);
}
static void misuse_nothing(struct json *j)
{
    (void)j;
}
static void nest(struct json *j, unsigned levels)
{
    for (unsigned i = 0; i < levels; i++) {
        json_array(j, NULL);
    }
    for (unsigned i = 0; i < levels; i++) {
        json_end(j);
    }
}
static void misuse_too_deep(struct json *j)
{
    nest(j, JSON_DEPTH_MAX + 1);
}

static void test_deepest(void **state)
{
    (void)state;
    struct json j = {.limit = 4096};
    nest(&j, JSON_DEPTH_MAX);
    struct span text;
    assert_int_equal(json_finish(&j, &text), 0);
    assert_int_equal(text.len, 2 * JSON_DEPTH_MAX + 1);
    json_fini(&j);
}

static void test_misuse(void **state)
{
    (void)state;
    static void (*const rows[])(struct json *) = {
        misuse_key_in_array, misuse_no_key, misuse_key_at_top, misuse_two_at_top,
        misuse_end,          misuse_open,   misuse_nothing,    misuse_too_deep,
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            (void)close(STDERR_FILENO);
            struct json j = {.limit = 4096};
            struct span text;
            uint64_t before = err_checks_failed();
            rows[i](&j);
            int rc = json_finish(&j, &text);
            json_fini(&j);
            _exit(rc == -EINVAL && text.len == 0 && err_checks_failed() == before + 1 ? 0 : 1);
        }
        int status = 0;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        bool is_aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT; /* --enable-debug-checks */
        if (!is_aborted && !(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
            fail_msg("row %zu: status %d", i, status);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),        cmocka_unit_test(test_structure),
        cmocka_unit_test(test_top),           cmocka_unit_test(test_strings),
        cmocka_unit_test(test_escape),        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_deepest),       cmocka_unit_test(test_long_strings),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}

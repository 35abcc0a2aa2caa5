/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/policy/host_pattern.h"

#include <stdio.h>

static struct host_pattern must_parse(const char *text)
{
    struct host_pattern p;
    enum host_fault why;
    enum pattern_fault fault = host_pattern_parse(span_str(text), &p, &why);
    if (fault != PATTERN_FAULT_NONE) {
        fail_msg("%s: %s, %s", text, pattern_fault_text(fault), host_fault_text(why));
    }
    return p;
}

static void test_parse_good(void **state)
{
    (void)state;
    static const struct {
        const char *text, *canonical;
        bool is_wildcard, has_double_star;
        unsigned label_count;
    } rows[] = {
        {"a.example.com", "a.example.com", false, false, 3},
        {"localhost", "localhost", false, false, 1},
        {"A.Example.COM.", "a.example.com", false, false, 3},
        {"*.example.com", "*.example.com", true, false, 3},
        {"*.EXAMPLE.com.", "*.example.com", true, false, 3},
        {"**.example.com", "**.example.com", true, true, 3},
        {"**.b.example.com", "**.b.example.com", true, true, 4},
        {"*-api.example.com", "*-api.example.com", true, false, 3},
        {"api-*.example.com", "api-*.example.com", true, false, 3},
        {"a*b*c.example.com", "a*b*c.example.com", true, false, 3},
        {"foo.*.example.com", "foo.*.example.com", true, false, 4},
        {"*.*.example.com", "*.*.example.com", true, false, 4},
        {"**.*.example.com", "**.*.example.com", true, true, 4},
        {"*.s3.*.amazonaws.com", "*.s3.*.amazonaws.com", true, false, 5},
        {"*.co.uk", "*.co.uk", true, false, 3},
        {"*_x.example.com", "*_x.example.com", true, false, 3},
        {"0x*.b.c", "0x*.b.c", true, false, 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct host_pattern p = must_parse(rows[i].text);
        assert_string_equal(p.text.text, rows[i].canonical);
        assert_int_equal(p.text.len, strlen(rows[i].canonical));
        assert_int_equal(p.text.label_count, rows[i].label_count);
        assert_int_equal(p.is_wildcard, rows[i].is_wildcard);
        assert_int_equal(p.has_double_star, rows[i].has_double_star);
    }
}

static void test_parse_bad(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum pattern_fault fault;
        enum host_fault why;
    } rows[] = {
        {"", PATTERN_FAULT_EMPTY, HOST_FAULT_NONE},
        {"*", PATTERN_FAULT_BARE, HOST_FAULT_NONE},
        {"**", PATTERN_FAULT_BARE, HOST_FAULT_NONE},
        {"*.", PATTERN_FAULT_BARE, HOST_FAULT_NONE},
        {"***", PATTERN_FAULT_FEW_LABELS, HOST_FAULT_NONE},
        {"*.com", PATTERN_FAULT_FEW_LABELS, HOST_FAULT_NONE},
        {"**.com", PATTERN_FAULT_FEW_LABELS, HOST_FAULT_NONE},
        {"*x.com", PATTERN_FAULT_FEW_LABELS, HOST_FAULT_NONE},
        {"a.*", PATTERN_FAULT_FEW_LABELS, HOST_FAULT_NONE},
        {"a*", PATTERN_FAULT_FEW_LABELS, HOST_FAULT_NONE},
        {"foo.us-*.example.com", PATTERN_FAULT_PARTIAL_MIDDLE, HOST_FAULT_NONE},
        {"foo.*x.example.com", PATTERN_FAULT_PARTIAL_MIDDLE, HOST_FAULT_NONE},
        {"foo.**.example.com", PATTERN_FAULT_DOUBLE_STAR, HOST_FAULT_NONE},
        {"foo**.example.com", PATTERN_FAULT_DOUBLE_STAR, HOST_FAULT_NONE},
        {"***.example.com", PATTERN_FAULT_DOUBLE_STAR, HOST_FAULT_NONE},
        {"*.**.example.com", PATTERN_FAULT_DOUBLE_STAR, HOST_FAULT_NONE},
        {"www.example.*", PATTERN_FAULT_LAST_TWO, HOST_FAULT_NONE},
        {"www.*.com", PATTERN_FAULT_LAST_TWO, HOST_FAULT_NONE},
        {"www.e*.com", PATTERN_FAULT_LAST_TWO, HOST_FAULT_NONE},
        {"*.*.com", PATTERN_FAULT_LAST_TWO, HOST_FAULT_NONE},
        {"**.*.com", PATTERN_FAULT_LAST_TWO, HOST_FAULT_NONE},
        {"a.b.0*", PATTERN_FAULT_LAST_TWO, HOST_FAULT_NONE},
        {"api?.example.com", PATTERN_FAULT_GLOB, HOST_FAULT_NONE},
        {"[ab].example.com", PATTERN_FAULT_GLOB, HOST_FAULT_NONE},
        {"{a,b}.example.com", PATTERN_FAULT_GLOB, HOST_FAULT_NONE},
        {"*.{a,b}.example.com", PATTERN_FAULT_GLOB, HOST_FAULT_NONE},
        {"a..example.com", PATTERN_FAULT_HOST, HOST_FAULT_EMPTY_LABEL},
        {"*..example.com", PATTERN_FAULT_HOST, HOST_FAULT_EMPTY_LABEL},
        {".example.com", PATTERN_FAULT_HOST, HOST_FAULT_EMPTY_LABEL},
        {"*.example .com", PATTERN_FAULT_HOST, HOST_FAULT_BAD_BYTE},
        {"*.example.com:443", PATTERN_FAULT_HOST, HOST_FAULT_BAD_BYTE},
        {"*.b\xc3\xbc.example.com", PATTERN_FAULT_HOST, HOST_FAULT_NON_ASCII},
        {"-*.example.com", PATTERN_FAULT_HOST, HOST_FAULT_HYPHEN},
        {"*.example.123", PATTERN_FAULT_HOST, HOST_FAULT_NUMERIC},
        {"1.2.3.4", PATTERN_FAULT_HOST, HOST_FAULT_NUMERIC},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct host_pattern p;
        enum host_fault why;
        enum pattern_fault fault = host_pattern_parse(span_str(rows[i].text), &p, &why);
        if (fault != rows[i].fault || why != rows[i].why) {
            fail_msg("%s: %d %d, expected %d %d", rows[i].text, (int)fault, (int)why, (int)rows[i].fault,
                     (int)rows[i].why);
        }
        assert_int_equal(p.text.len, 0);
        assert_true(strlen(pattern_fault_text(fault)) > 0);
    }
}

static void test_parse_limits(void **state)
{
    (void)state;
    struct host_pattern p;
    enum host_fault why;
    char text[400];
    /* a label of 63 with its star is the longest */
    (void)snprintf(text, sizeof text, "*%062d.example.com", 0);
    assert_int_equal(host_pattern_parse(span_str(text), &p, &why), PATTERN_FAULT_NONE);
    (void)snprintf(text, sizeof text, "*%063d.example.com", 0);
    assert_int_equal(host_pattern_parse(span_str(text), &p, &why), PATTERN_FAULT_HOST);
    assert_int_equal(why, HOST_FAULT_LABEL_TOO_LONG);
    /* 253 bytes, also with a trailing dot; 254 and very long */
    (void)snprintf(text, sizeof text, "*.%061da.%061da.%061da.%057dexa.m.", 0, 0, 0, 0);
    size_t len = strlen(text);
    assert_int_equal(len, 254);
    assert_int_equal(host_pattern_parse(span_make(text, 254), &p, &why), PATTERN_FAULT_NONE);
    assert_int_equal(p.text.len, 253);
    (void)snprintf(text, sizeof text, "**.%061da.%061da.%061da.%057dexa.m", 0, 0, 0, 0);
    assert_int_equal(host_pattern_parse(span_str(text), &p, &why), PATTERN_FAULT_HOST);
    assert_int_equal(why, HOST_FAULT_TOO_LONG);
    memset(text, '*', sizeof text);
    assert_int_equal(host_pattern_parse(span_make(text, sizeof text), &p, &why), PATTERN_FAULT_HOST);
    assert_int_equal(why, HOST_FAULT_TOO_LONG);
    /* as many labels as there can be */
    for (size_t i = 0; i < 253; i++) {
        text[i] = i % 2 == 0 ? 'a' : '.';
    }
    text[0] = '*';
    assert_int_equal(host_pattern_parse(span_make(text, 253), &p, &why), PATTERN_FAULT_NONE);
    assert_int_equal(p.text.label_count, 127);
    struct host_name n;
    text[0] = 'q';
    assert_int_equal(host_name_parse(span_make(text, 253), &n), HOST_FAULT_NONE);
    assert_true(host_pattern_matches(&p, &n));
}

static void test_every_truncation(void **state)
{
    (void)state;
    static const char text[] = "**.a-b.*.Example.com.";
    for (size_t len = 0; len < sizeof text; len++) {
        struct host_pattern p;
        enum host_fault why;
        enum pattern_fault fault = host_pattern_parse(span_make(text, len), &p, &why);
        assert_int_equal(fault == PATTERN_FAULT_NONE, p.text.len > 0);
    }
}

static void test_matches(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool expect;
    } rows[] = {
        {"a.example.com", "a.example.com", true},
        {"a.example.com", "A.EXAMPLE.com.", true},
        {"a.example.com", "b.example.com", false},
        {"a.example.com", "x.a.example.com", false},
        {"*.example.com", "a.example.com", true},
        {"*.example.com", "example.com", false},
        {"*.example.com", "a.b.example.com", false},
        {"*.example.com", "a.example.com.evil.org", false},
        {"*.example.com", "aexample.com", false},
        {"**.example.com", "a.example.com", true},
        {"**.example.com", "a.b.c.example.com", true},
        {"**.example.com", "example.com", false},
        {"**.example.com", "aexample.com", false},
        {"**.b.example.com", "a.example.com", false},
        {"**.*.example.com", "b.example.com", false},
        {"**.*.example.com", "a.b.example.com", true},
        {"**.*.example.com", "a.b.c.example.com", true},
        {"*-api.example.com", "x-api.example.com", true},
        {"*-api.example.com", "x-api-y.example.com", false},
        {"api*.example.com", "api.example.com", true},
        {"api*.example.com", "api2.example.com", true},
        {"api*.example.com", "ap.example.com", false},
        {"api*.example.com", "api.x.example.com", false},
        {"a*b*c.example.com", "abc.example.com", true},
        {"a*b*c.example.com", "axxbyybzzc.example.com", true},
        {"a*b*c.example.com", "acb.example.com", false},
        {"a*a.example.com", "a.example.com", false},
        {"a*a.example.com", "aa.example.com", true},
        {"foo.*.example.com", "foo.bar.example.com", true},
        {"foo.*.example.com", "foo.example.com", false},
        {"foo.*.example.com", "foo.a.b.example.com", false},
        {"*.s3.*.amazonaws.com", "bucket.s3.eu.amazonaws.com", true},
        {"*.s3.*.amazonaws.com", "bucket.s4.eu.amazonaws.com", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct host_pattern p = must_parse(rows[i].pattern);
        struct host_name n;
        assert_int_equal(host_name_parse(span_str(rows[i].name), &n), HOST_FAULT_NONE);
        if (host_pattern_matches(&p, &n) != rows[i].expect) {
            fail_msg("%s and %s", rows[i].pattern, rows[i].name);
        }
    }
    struct host_pattern p = must_parse("**.example.com");
    struct host_name none = {0};
    assert_false(host_pattern_matches(&p, &none));
    struct host_pattern empty = {0};
    assert_false(host_pattern_matches(&empty, &none));
}

static void test_reaches_below(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *name;
        bool expect;
    } rows[] = {
        {"a.example.com", "example.com", true},      {"a.example.com", "com", true},
        {"a.example.com", "a.example.com", false},   {"a.example.com", "b.a.example.com", false},
        {"a.example.com", "example.org", false},     {"*.example.com", "example.com", true},
        {"*.example.com", "x.example.com", false},   {"foo.*.example.com", "bar.example.com", true},
        {"foo.*.example.com", "example.com", true},  {"foo.*.example.com", "foo.bar.example.com", false},
        {"**.b.example.com", "b.example.com", true}, {"**.b.example.com", "c.example.com", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct host_pattern p = must_parse(rows[i].pattern);
        struct host_name n;
        assert_int_equal(host_name_parse(span_str(rows[i].name), &n), HOST_FAULT_NONE);
        if (host_pattern_reaches_below(&p, &n) != rows[i].expect) {
            fail_msg("%s and %s", rows[i].pattern, rows[i].name);
        }
    }
}

/* Each row is more specific than the next: product section 2, "Decision". */
static void test_compare(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "a.b.example.com",  "abcd*.b.example.com", "abc*.b.example.com", "*.b.example.com",
        "**.b.example.com", "abcde.*.example.com", "abc*.*.example.com", "*.*.example.com",
        "**.*.example.com", "**.example.com",
    };
    const size_t count = sizeof rows / sizeof rows[0];
    for (size_t i = 0; i < count; i++) {
        struct host_pattern a = must_parse(rows[i]);
        for (size_t k = 0; k < count; k++) {
            struct host_pattern b = must_parse(rows[k]);
            int order = host_pattern_compare(&a, &b);
            if ((order < 0) != (i < k) || (order > 0) != (i > k)) {
                fail_msg("%s and %s: %d", rows[i], rows[k], order);
            }
        }
    }
    struct host_pattern a = must_parse("abc*.example.com");
    struct host_pattern b = must_parse("*bcd.example.com");
    assert_int_equal(host_pattern_compare(&a, &b), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_good),   cmocka_unit_test(test_parse_bad),
        cmocka_unit_test(test_parse_limits), cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_matches),      cmocka_unit_test(test_reaches_below),
        cmocka_unit_test(test_compare),
    };
    return cmocka_run_group_tests_name("host_pattern", tests, NULL, NULL);
}

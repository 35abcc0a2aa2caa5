/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading and compiling with each allocation failing in turn: -ENOMEM, and no leak (the sanitizers see it),
 * no crash, no half a policy. libyaml's own allocations are not counted.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/policy/policy.h"
#include "common/policy/policy_export.h"
#include "common/policy/policy_load.h"

#include <errno.h>
#include <stdlib.h>

/* The linker sends the allocations of the library under test here (--wrap). */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);

static long left = -1; /* allocations until one fails; negative: none does */

static int fails_now(void)
{
    if (left > 0) {
        left--;
        return 0;
    }
    return left == 0 ? left-- == 0 : 0;
}

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return fails_now() ? NULL : __real_realloc(p, size);
}

static int load_and_compile(const char *a, const char *b)
{
    const struct policy_text texts[] = {{"a.yaml", span_str(a)}, {"b.yaml", span_str(b)}};
    struct policy_rules *rules = NULL;
    struct policy_diags diags = {0};
    struct policy *policy = NULL;
    int rc = policy_load(texts, 2, &rules, &diags);
    assert_int_equal(rc == 0, rules != NULL);
    policy_diags_fini(&diags);
    if (rc == 0) {
        rc = policy_compile(rules, 1, &policy);
        assert_int_equal(rc == 0, policy != NULL);
        policy_unref(policy);
    }
    return rc;
}

static int export_both(const char *a, const char *b)
{
    const struct policy_text texts[] = {{"a.yaml", span_str(a)}, {"b.yaml", span_str(b)}};
    struct policy_diags errors = {0};
    struct policy_diags notes = {0};
    struct buf out = {0};
    int rc = policy_export(texts, 2, &out, &errors, &notes);
    assert_int_equal(rc == 0, buf_span(&out).len > 0);
    buf_fini(&out);
    policy_diags_fini(&errors);
    policy_diags_fini(&notes);
    return rc;
}

static void fail_each(int (*function)(const char *a, const char *b), const char *a, const char *b, int expect,
                      long at_least)
{
    int rc = -ENOMEM;
    long n = 0;
    for (; n < 10000; n++) {
        left = n;
        rc = function(a, b);
        long rest = left;
        left = -1;
        if (rest >= 0) {
            break; /* none failed: it took n allocations */
        }
        assert_int_equal(rc, -ENOMEM);
    }
    assert_int_equal(rc, expect);
    assert_true(n >= at_least);
}

static const char good_a[] =
    "version: 1\nnetwork_policies:\n  one:\n    endpoints:\n      - { host: a.example.com, ports: [1, 2, 3], "
    "allowed_ips: "
    "[10.0.0.0/8] }\n      - { host: \"*.b.c.example.com\", port: 443, protocol: rest, access: read-only, "
    "enforcement: "
    "enforce }\n      - { host: 192.0.2.1, port: 1 }\n      - { port: 1, allowed_ips: [192.0.2.0/24] }\n";
static const char good_b[] =
    "version: 1\negress:\n  endpoints: [{ host: a.example.com, port: 2, proxy: direct }]\n  hosts: { "
    "a.example.com: "
    "[10.0.0.1], b.example.com: [10.0.0.2] }\n  never: [10.0.0.9]\n"
    "network_middlewares: { m: { middleware: x, endpoints: { include: [\"*.example.com\"] } } }\n";

static void test_good(void **state)
{
    (void)state;
    fail_each(load_and_compile, good_a, good_b, 0, 20);
}

static void test_bad(void **state)
{
    (void)state;
    fail_each(load_and_compile,
              "version: 1\nx: 1\ny: { }\nnetwork_policies: { r: { endpoints: [{ host: \"*\" }, 7] } }\n",
              "a: [\n", -EINVAL, 20);
}

static void test_export(void **state)
{
    (void)state;
    fail_each(export_both, good_a, good_b, 0, 40);
    fail_each(export_both, good_b, good_a, 0, 40); /* loaded again with the base in front */
    fail_each(export_both, "version: 1\nlandlock: { compatibility: a }\n",
              "version: 1\nlandlock: { compatibility: b }\n", -EINVAL, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_export),
    };
    return cmocka_run_group_tests_name("policy_oom", tests, NULL, NULL);
}

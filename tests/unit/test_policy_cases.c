/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/policy/invalid: each file begins with one or more lines "# expect: LINE:COL: part of the message":
 * these errors and no others, in this order. tests/policy/valid: each file loads; its lines "# warn: …" are
 * its warnings, all of them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/num.h"
#include "common/policy/policy.h"
#include "common/policy/policy_files.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define PATH_CAP 1024
#define MIN_INVALID 150
#define MIN_VALID 15

struct expectation {
    uint64_t line, col;
    char text[512];
};

/* "LINE:COL: text" */
static bool parse_expectation(const char *s, struct expectation *out)
{
    struct span rest = span_str(s);
    size_t colon = span_find(rest, ':');
    if (num_u64(span_sub(rest, 0, colon), 0, UINT32_MAX, &out->line) != 0) {
        return false;
    }
    rest = span_sub(rest, colon + 1, rest.len);
    colon = span_find(rest, ':');
    if (num_u64(span_sub(rest, 0, colon), 0, UINT32_MAX, &out->col) != 0 || colon + 2 >= rest.len) {
        return false;
    }
    rest = span_sub(rest, colon + 2, rest.len);
    size_t len = span_find(rest, '\n');
    if (len == 0 || len >= sizeof out->text) {
        return false;
    }
    memcpy(out->text, rest.data, len);
    out->text[len] = '\0';
    return true;
}

/* The next line of f that begins with mark; false at the first that does not. */
static bool next_expectation(FILE *f, const char *mark, struct expectation *out)
{
    char line[1024];
    if (fgets(line, sizeof line, f) == NULL || strncmp(line, mark, strlen(mark)) != 0) {
        return false;
    }
    if (!parse_expectation(line + strlen(mark), out)) {
        fail_msg("not an expectation: %s", line);
    }
    return true;
}

static void print_diags(const struct policy_diags *d)
{
    for (size_t i = 0; i < d->count; i++) {
        char *text = policy_diag_text(&d->items[i], false);
        print_error("%s", text);
        free(text);
    }
}

/* Compares the diagnostics of one severity with what the head of the file says. */
static bool is_as_expected(const char *path, const char *mark, enum diag_severity severity,
                           const struct policy_diags *d)
{
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    bool is_right = true;
    struct expectation e;
    for (size_t i = 0; i < d->count; i++) {
        const struct policy_diag *item = &d->items[i];
        if (item->severity != severity) {
            continue;
        }
        if (!next_expectation(f, mark, &e)) {
            print_error("%s:%u:%u: not expected: %s\n", path, item->line, item->col, item->message);
            is_right = false;
        } else if (item->line != e.line || item->col != e.col || strstr(item->message, e.text) == NULL) {
            print_error("%s: expected %u:%u: %s\n", path, (unsigned)e.line, (unsigned)e.col, e.text);
            is_right = false;
        }
    }
    if (is_right && next_expectation(f, mark, &e)) {
        print_error("%s: missing %u:%u: %s\n", path, (unsigned)e.line, (unsigned)e.col, e.text);
        is_right = false;
    }
    (void)fclose(f);
    return is_right;
}

static bool check_invalid(const char *path)
{
    struct policy_rules *rules = NULL;
    struct policy_diags diags = {0};
    int rc = policy_files_load(&path, 1, &rules, &diags);
    bool is_right = is_as_expected(path, "# expect: ", DIAG_ERROR, &diags);
    if (rc == 0 || diags.error_count == 0 || rules != NULL) {
        print_error("%s: loads\n", path);
        is_right = false;
    }
    if (!is_right) {
        print_diags(&diags);
    }
    policy_rules_free(rules);
    policy_diags_fini(&diags);
    return is_right;
}

static bool check_valid(const char *path)
{
    struct policy_rules *rules = NULL;
    struct policy_diags diags = {0};
    struct policy *policy = NULL;
    int rc = policy_files_load(&path, 1, &rules, &diags);
    bool is_right = rc == 0 && is_as_expected(path, "# warn: ", DIAG_WARNING, &diags);
    if (!is_right) {
        print_diags(&diags);
    }
    if (rc == 0) {
        assert_int_equal(policy_compile(rules, 1, &policy), 0);
        policy_unref(policy);
    }
    policy_diags_fini(&diags);
    return is_right;
}

typedef bool check_fn(const char *path);

static size_t check_all(const char *name, check_fn *check)
{
    const char *top = getenv("top_srcdir");
    char dir[PATH_CAP];
    (void)snprintf(dir, sizeof dir, "%s/tests/policy/%s", top == NULL ? "." : top, name);
    DIR *d = opendir(dir);
    assert_non_null(d);
    size_t count = 0;
    size_t failed = 0;
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        size_t len = strlen(e->d_name);
        if (len > 5 && strcmp(e->d_name + len - 5, ".yaml") == 0) {
            char path[PATH_CAP * 2];
            (void)snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
            failed += !check(path);
            count++;
        }
    }
    (void)closedir(d);
    assert_int_equal(failed, 0);
    return count;
}

static void test_invalid(void **state)
{
    (void)state;
    assert_true(check_all("invalid", check_invalid) >= MIN_INVALID);
}

static void test_valid(void **state)
{
    (void)state;
    assert_true(check_all("valid", check_valid) >= MIN_VALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_invalid),
        cmocka_unit_test(test_valid),
    };
    return cmocka_run_group_tests_name("policy_cases", tests, NULL, NULL);
}

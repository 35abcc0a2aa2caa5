/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A person must be able to repair a policy from its messages alone. Here a list says what such a person
 * writes in each file of tests/policy/invalid: every step changes one place that an error points at, every
 * error has a hint, and in the end the file loads.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/buf.h"
#include "common/policy/policy_load.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define PATH_CAP 1024
#define TEXT_CAP ((size_t)65536)
#define MIN_FILES 180

struct text {
    char bytes[TEXT_CAP];
    size_t len;
};

static void read_text(const char *path, struct text *out)
{
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        fail_msg("%s: cannot be read", path);
        return;
    }
    out->len = fread(out->bytes, 1, TEXT_CAP, f);
    assert_true(out->len < TEXT_CAP);
    (void)fclose(f);
}

static void make_path(char path[PATH_CAP], const char *name, const char *suffix)
{
    const char *top = getenv("top_srcdir");
    int len = snprintf(path, PATH_CAP, "%s/tests/policy/%s%s", top == NULL ? "." : top, name, suffix);
    assert_true(len > 0 && len < PATH_CAP);
}

/* \n, \t and \s to what they stand for. */
static struct span unescape(struct span s, char *out, size_t cap)
{
    size_t len = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = (char)s.data[i];
        if (c == '\\' && i + 1 < s.len) {
            char next = (char)s.data[i + 1];
            char plain = next == 'n' ? '\n' : next == 't' ? '\t' : next == 's' ? ' ' : '\0';
            i += plain != '\0';
            c = plain != '\0' ? plain : c;
        }
        assert_true(len < cap);
        out[len++] = c;
    }
    return span_make(out, len);
}

/* The line with this number, from 1, without its end. */
static struct span line_of(const struct text *t, uint32_t line)
{
    struct span rest = span_make(t->bytes, t->len);
    for (uint32_t i = 1; i < line; i++) {
        rest = span_sub(rest, span_find(rest, '\n') + 1, rest.len);
    }
    return span_sub(rest, 0, span_find(rest, '\n'));
}

static size_t find_text(struct span s, struct span wanted)
{
    for (size_t i = 0; i + wanted.len <= s.len; i++) {
        if (memcmp(s.data + i, wanted.data, wanted.len) == 0) {
            return i;
        }
    }
    return s.len;
}

/* Where old is on the line: an offset into the text. False if it is not there. */
static bool locate(const struct text *t, uint32_t line, struct span old, size_t *offset)
{
    struct span s = line == 0 ? (struct span){0} : line_of(t, line);
    size_t at = span_is_equal(old, SPAN_LIT("^")) ? 0 : find_text(s, old);
    if (line == 0 || (at == s.len && old.data[0] != '^')) {
        return false;
    }
    *offset = (size_t)(s.data - (const uint8_t *)t->bytes) + at;
    return true;
}

static bool locate_any(const struct text *t, const struct policy_diags *d, struct span old, size_t *offset)
{
    for (uint32_t before = 0; before <= 1; before++) {
        for (size_t i = 0; i < d->count; i++) {
            bool is_error = d->items[i].severity == DIAG_ERROR && d->items[i].line >= before;
            if (is_error && locate(t, d->items[i].line - before, old, offset)) {
                return true;
            }
        }
    }
    return false;
}

static void replace(struct text *t, size_t offset, size_t old_len, struct span new)
{
    assert_true(t->len - old_len + new.len < TEXT_CAP);
    memmove(t->bytes + offset + new.len, t->bytes + offset + old_len, t->len - offset - old_len);
    if (new.len > 0) {
        memcpy(t->bytes + offset, new.data, new.len);
    }
    t->len = t->len - old_len + new.len;
}

static int load(const struct text *t, const char *name, struct policy_diags *diags)
{
    const struct policy_text text = {.file = name, .text = span_make(t->bytes, t->len)};
    struct policy_rules *rules = NULL;
    int rc = policy_load(&text, 1, &rules, diags);
    policy_rules_free(rules);
    return rc;
}

static size_t hintless_count(const struct policy_diags *d)
{
    size_t count = 0;
    for (size_t i = 0; i < d->count; i++) {
        if (d->items[i].severity == DIAG_ERROR && d->items[i].hint == NULL) {
            print_error("no hint: %s:%u: %s\n", d->items[i].file, d->items[i].line, d->items[i].message);
            count++;
        }
    }
    return count;
}

/* One line of the list, "FILE: OLD => NEW", if it is for this file. */
static bool step_for(const char *name, struct span line, struct span *old, struct span *new)
{
    size_t len = strlen(name);
    if (line.len < len + 2 || memcmp(line.data, name, len) != 0 || line.data[len] != ':') {
        return false;
    }
    struct span rest = span_sub(line, len + 2, line.len);
    size_t arrow = find_text(rest, SPAN_LIT(" =>"));
    assert_true(arrow < rest.len && arrow > 0);
    *old = span_sub(rest, 0, arrow);
    *new = span_sub(rest, arrow + 4, rest.len);
    return true;
}

static bool take_step(struct text *t, const char *name, struct span old, struct span new)
{
    char old_text[256];
    char new_text[256];
    struct policy_diags diags = {0};
    size_t offset = 0;
    (void)load(t, name, &diags);
    struct span from = unescape(old, old_text, sizeof old_text);
    struct span to = unescape(new, new_text, sizeof new_text);
    bool is_found = locate_any(t, &diags, from, &offset);
    bool is_right = is_found && hintless_count(&diags) == 0;
    if (!is_found) {
        print_error("%s: no error points at \"%.*s\"\n", name, (int)old.len, (const char *)old.data);
    } else {
        replace(t, offset, span_is_equal(from, SPAN_LIT("^")) ? 0 : from.len, to);
    }
    policy_diags_fini(&diags);
    return is_right;
}

static bool repair(const struct text *list, const char *file)
{
    static struct text t; /* too large for a stack */
    char path[PATH_CAP];
    char name[256];
    size_t len = strlen(file) - strlen(".yaml");
    assert_true(len < sizeof name);
    memcpy(name, file, len);
    name[len] = '\0';
    make_path(path, "invalid/", file);
    read_text(path, &t);
    bool is_right = true;
    struct span rest = span_make(list->bytes, list->len);
    while (rest.len > 0) {
        struct span line = span_sub(rest, 0, span_find(rest, '\n'));
        rest = span_sub(rest, line.len + 1, rest.len);
        struct span old;
        struct span new;
        if (step_for(name, line, &old, &new)) {
            is_right = take_step(&t, name, old, new) && is_right;
        }
    }
    struct policy_diags diags = {0};
    if (load(&t, name, &diags) != 0) {
        print_error("%s: not repaired:\n%.*s", name, (int)t.len, t.bytes);
        for (size_t i = 0; i < diags.count; i++) {
            char *text = policy_diag_text(&diags.items[i], false);
            print_error("%s", text);
            free(text);
        }
        is_right = false;
    }
    policy_diags_fini(&diags);
    return is_right;
}

static void test_each_is_repaired(void **state)
{
    (void)state;
    static struct text list;
    char path[PATH_CAP];
    make_path(path, "repairs.txt", "");
    read_text(path, &list);
    make_path(path, "invalid", "");
    DIR *d = opendir(path);
    assert_non_null(d);
    size_t count = 0;
    size_t failed = 0;
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        size_t len = strlen(e->d_name);
        if (len > 5 && strcmp(e->d_name + len - 5, ".yaml") == 0) {
            failed += !repair(&list, e->d_name);
            count++;
        }
    }
    (void)closedir(d);
    assert_int_equal(failed, 0);
    assert_true(count >= MIN_FILES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_is_repaired)};
    return cmocka_run_group_tests_name("policy_repairs", tests, NULL, NULL);
}

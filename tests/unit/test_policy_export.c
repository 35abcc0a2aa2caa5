/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/policy/export: NAME.yaml (or NAME.1.yaml, NAME.2.yaml, …, loaded together) must give NAME.expected,
 * byte for byte, and the notes of NAME.notes (none without it).
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/policy/policy_export.h"
#include "common/policy/policy_files.h"
#include "common/policy/policy_parts.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PATH_CAP 1024
#define FILE_CAP (PATH_CAP + 300)
#define MAX_FILES 9
#define MIN_CASES 15

struct outcome {
    int rc;
    struct buf out;
    struct policy_diags errors, notes;
};

static struct outcome run(const struct policy_text *texts, size_t count)
{
    struct outcome o = {0};
    o.rc = policy_export(texts, count, &o.out, &o.errors, &o.notes);
    assert_int_equal(o.rc == 0, o.errors.error_count == 0);
    assert_int_equal(o.rc == 0, buf_span(&o.out).len > 0);
    assert_int_equal(o.notes.error_count, 0);
    return o;
}

static struct outcome run_one(const char *yaml)
{
    const struct policy_text text = {"a.yaml", span_str(yaml)};
    return run(&text, 1);
}

static void drop(struct outcome *o)
{
    buf_fini(&o->out);
    policy_diags_fini(&o->errors);
    policy_diags_fini(&o->notes);
}

static void check_text(struct span found, struct span expect, const char *what)
{
    if (!span_is_equal(found, expect)) {
        fail_msg("%s:\n%.*s\nexpected:\n%.*s", what, (int)found.len, (const char *)found.data,
                 (int)expect.len, (const char *)expect.data);
    }
}

/* What was exported once stays as it is, and nothing is left to be dropped. */
static void check_pure(struct span text)
{
    const struct policy_text again = {"a.yaml", text};
    struct outcome o = run(&again, 1);
    assert_int_equal(o.rc, 0);
    check_text(buf_span(&o.out), text, "exported again");
    for (size_t i = 0; i < o.notes.count; i++) {
        assert_null(strstr(o.notes.items[i].message, "dropped"));
        assert_null(strstr(o.notes.items[i].message, "anew"));
    }
    drop(&o);
}

static char *data_dir(char path[PATH_CAP])
{
    const char *top = getenv("top_srcdir");
    (void)snprintf(path, PATH_CAP, "%s/tests/policy/export", top == NULL ? "." : top);
    return path;
}

static struct policy_texts read_inputs(const char *dir, const char *name)
{
    char paths[MAX_FILES][FILE_CAP];
    const char *pointers[MAX_FILES];
    size_t count = 0;
    struct policy_texts texts;
    struct policy_diags diags = {0};
    (void)snprintf(paths[0], FILE_CAP, "%s/%s.yaml", dir, name);
    if (access(paths[0], R_OK) == 0) {
        pointers[count] = paths[count];
        count++;
    }
    for (int i = 1; count < MAX_FILES; i++) {
        (void)snprintf(paths[count], FILE_CAP, "%s/%s.%d.yaml", dir, name, i);
        if (access(paths[count], R_OK) != 0) {
            break;
        }
        pointers[count] = paths[count];
        count++;
    }
    assert_true(count > 0);
    assert_int_equal(policy_files_read(pointers, count, &texts, &diags), 0);
    policy_diags_fini(&diags);
    return texts;
}

/* An empty text if there is no such file. */
static struct policy_texts read_other(const char *dir, const char *name, const char *suffix)
{
    char path[FILE_CAP];
    const char *pointer = path;
    struct policy_texts texts = {0};
    struct policy_diags diags = {0};
    (void)snprintf(path, sizeof path, "%s/%s%s", dir, name, suffix);
    if (access(path, R_OK) == 0) {
        assert_int_equal(policy_files_read(&pointer, 1, &texts, &diags), 0);
    }
    policy_diags_fini(&diags);
    return texts;
}

static struct span text_of(const struct policy_texts *t)
{
    return t->count == 0 ? (struct span){0} : t->items[0].text;
}

/* "FILE:LINE:COL: message" */
static void put_notes(const struct policy_diags *notes, struct buf *out)
{
    for (size_t i = 0; i < notes->count; i++) {
        const struct policy_diag *d = &notes->items[i];
        char line[PATH_CAP * 2];
        (void)snprintf(line, sizeof line, "%s:%u:%u: %s\n", d->file, d->line, d->col, d->message);
        assert_int_equal(buf_append(out, span_str(line), SIZE_MAX), 0);
    }
}

static void run_case(const char *dir, const char *name)
{
    struct policy_texts inputs = read_inputs(dir, name);
    struct policy_texts expected = read_other(dir, name, ".expected");
    struct policy_texts notes = read_other(dir, name, ".notes");
    struct policy_text named[MAX_FILES]; /* without the directory: it is not the same everywhere */
    for (size_t i = 0; i < inputs.count; i++) {
        named[i] = inputs.items[i];
        named[i].file += strlen(dir) + 1;
    }
    struct outcome o = run(named, inputs.count);
    struct buf said = {0};
    if (o.rc != 0) {
        fail_msg("%s: %s", name, o.errors.items[0].message);
    }
    check_text(buf_span(&o.out), text_of(&expected), name);
    put_notes(&o.notes, &said);
    check_text(buf_span(&said), text_of(&notes), name);
    check_pure(buf_span(&o.out));
    buf_fini(&said);
    drop(&o);
    policy_texts_fini(&inputs);
    policy_texts_fini(&expected);
    policy_texts_fini(&notes);
}

static void test_cases(void **state)
{
    (void)state;
    char dir[PATH_CAP];
    size_t count = 0;
    const struct dirent *entry;
    DIR *d = opendir(data_dir(dir));
    assert_non_null(d);
    while ((entry = readdir(d)) != NULL) {
        char name[256];
        const char *dot = strrchr(entry->d_name, '.');
        if (dot != NULL && strcmp(dot, ".expected") == 0) {
            (void)snprintf(name, sizeof name, "%.*s", (int)(dot - entry->d_name), entry->d_name);
            run_case(dir, name);
            count++;
        }
    }
    (void)closedir(d);
    assert_true(count >= MIN_CASES);
}

/* Every text that loads elsewhere in the tests can be exported, too. */
static void test_valid(void **state)
{
    (void)state;
    static const char *const dirs[] = {"tests/policy/valid", "policy-examples"};
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
        char path[PATH_CAP];
        const char *pointer = path;
        const char *top = getenv("top_srcdir");
        struct policy_texts texts;
        struct policy_diags diags = {0};
        (void)snprintf(path, sizeof path, "%s/%s", top == NULL ? "." : top, dirs[i]);
        assert_int_equal(policy_files_read(&pointer, 1, &texts, &diags), 0);
        policy_diags_fini(&diags);
        assert_true(texts.count >= 5);
        for (size_t k = 0; k < texts.count; k++) {
            struct outcome o = run(&texts.items[k], 1);
            assert_int_equal(o.rc, 0);
            check_pure(buf_span(&o.out));
            drop(&o);
        }
        policy_texts_fini(&texts);
    }
}

static void test_nothing(void **state)
{
    (void)state;
    struct outcome o = run(NULL, 0);
    assert_int_equal(o.rc, 0);
    check_text(buf_span(&o.out), SPAN_LIT("version: 1\n"), "no texts");
    assert_int_equal(o.notes.count, 0);
    drop(&o);
}

static void test_bad(void **state)
{
    (void)state;
    struct outcome o = run_one("version: 1\nnetwork_policies: { r: { endpoints: [7] } }\n");
    assert_int_equal(o.rc, -EINVAL);
    assert_int_equal(o.errors.items[0].line, 2);
    drop(&o);
    o = run_one("");
    assert_int_equal(o.rc, -EINVAL);
    drop(&o);
}

/* One document holds one of each: what differs cannot be merged, and is not silently lost. */
static void test_clashes(void **state)
{
    (void)state;
    static const char middlewares[] =
        "network_middlewares: { m: { middleware: %c, endpoints: { include: [a.b] } } }";
    static const char *const keys[] = {"filesystem_policy: { read_only: [/%c] }",
                                       "landlock: { compatibility: %c }", "process: { run_as_user: %c }",
                                       middlewares};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char a[200] = "version: 1\n";
        char b[200] = "version: 1\n";
        size_t len = strlen(a);
        for (size_t at = 0, k = len; at <= strlen(keys[i]); at++, k++) {
            bool is_place = keys[i][at] == '%';
            a[k] = is_place ? 'u' : keys[i][at];
            b[k] = is_place ? 'w' : keys[i][at];
            at += is_place;
        }
        const struct policy_text other[] = {{"a.yaml", span_str(a)}, {"b.yaml", span_str(b)}};
        struct outcome o = run(other, 2);
        assert_int_equal(o.rc, -EINVAL);
        assert_int_equal(o.errors.error_count, 1);
        assert_string_equal(o.errors.items[0].file, "b.yaml");
        assert_int_equal(o.errors.items[0].line, 2);
        assert_non_null(strstr(o.errors.items[0].message, "is already in a.yaml on line 2, and differs"));
        drop(&o);
        const struct policy_text same[] = {{"a.yaml", span_str(a)}, {"b.yaml", span_str(a)}};
        o = run(same, 2);
        assert_int_equal(o.rc, 0);
        check_text(buf_span(&o.out), span_str(a), "twice the same");
        drop(&o);
    }
}

/* What is ours is known by its place in the schema: nothing of OpenShell's may slip behind the mark. */
static void test_extension_keys(void **state)
{
    (void)state;
    static const char *const ours[] = {"proxy", "timeouts", "keepalive", "dns"};
    static const char *const theirs[] = {"host",
                                         "port",
                                         "ports",
                                         "path",
                                         "protocol",
                                         "tls",
                                         "enforcement",
                                         "access",
                                         "rules",
                                         "deny_rules",
                                         "allowed_ips",
                                         "allow_encoded_slash",
                                         "websocket_credential_rewrite",
                                         "request_body_credential_rewrite",
                                         "allow_uninspected_credentials",
                                         "persisted_queries",
                                         "graphql_persisted_queries",
                                         "graphql_max_body_bytes",
                                         "credential_signing",
                                         "signing_service",
                                         "signing_region",
                                         "credential_binding",
                                         "json_rpc",
                                         "mcp"};
    size_t count = sizeof theirs / sizeof theirs[0];
    for (size_t i = 0; i < count; i++) {
        assert_false(load_is_extension(span_str(theirs[i])));
    }
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        assert_true(load_is_extension(span_str(ours[i])));
    }
    assert_false(load_is_extension(SPAN_LIT("nothing of the kind")));
    for (size_t i = 0; i < endpoint_table.count; i++) {
        struct span key = span_str(endpoint_table.keys[i].name);
        bool is_theirs = false;
        for (size_t k = 0; k < count; k++) {
            is_theirs = is_theirs || span_is_equal(key, span_str(theirs[k]));
        }
        assert_int_equal(is_theirs, !load_is_extension(key));
    }
}

/* Many endpoints on a single line: none of them may cost a look at the whole line. */
static void test_one_line(void **state)
{
    (void)state;
    static const size_t endpoints = 5000;
    struct buf b = {0};
    assert_int_equal(buf_append(&b, SPAN_LIT("{version: 1,network_policies: {r: {endpoints: ["), SIZE_MAX),
                     0);
    for (size_t i = 0; i < endpoints; i++) {
        char text[100];
        (void)snprintf(text, sizeof text, "{host: h%zu.example.com,keepalive: off,port: 1}%s", i,
                       i + 1 < endpoints ? "," : "]}}}");
        assert_int_equal(buf_append(&b, span_str(text), SIZE_MAX), 0);
    }
    const struct policy_text text = {"a.yaml", buf_span(&b)};
    struct outcome o = run(&text, 1);
    assert_int_equal(o.rc, 0);
    assert_true(buf_span(&o.out).len < buf_span(&b).len - endpoints * strlen("keepalive: off"));
    assert_true(o.notes.overflowed);
    drop(&o);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),    cmocka_unit_test(test_valid),
        cmocka_unit_test(test_nothing),  cmocka_unit_test(test_bad),
        cmocka_unit_test(test_clashes),  cmocka_unit_test(test_extension_keys),
        cmocka_unit_test(test_one_line),
    };
    return cmocka_run_group_tests_name("policy_export", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/scratch_dir.h"

#include "common/policy/policy_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define RULE(key) "version: 1\nnetwork_policies: { " key ": { binaries: [{ path: \"/**\" }] } }\n"

static struct scratch_dir dir;

static int set_up(void **state)
{
    (void)state;
    scratch_dir_make(&dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_dir_remove(&dir);
    return 0;
}

static void put(const char *name, const char *text)
{
    scratch_dir_write(&dir, name, text, strlen(text));
}

struct outcome {
    int rc;
    struct policy_rules *rules;
    struct policy_diags diags;
};

static struct outcome load(const char *a, const char *b)
{
    char path_a[SCRATCH_PATH_CAP];
    char path_b[SCRATCH_PATH_CAP];
    const char *paths[2] = {scratch_dir_path(&dir, a, path_a),
                            b == NULL ? NULL : scratch_dir_path(&dir, b, path_b)};
    struct outcome o = {0};
    o.rc = policy_files_load(paths, b == NULL ? 1 : 2, &o.rules, &o.diags);
    assert_int_equal(o.rc == 0, o.rules != NULL);
    assert_int_equal(o.rc == 0, o.diags.error_count == 0);
    return o;
}

static void drop(struct outcome *o)
{
    policy_rules_free(o->rules);
    policy_diags_fini(&o->diags);
}

static void test_file(void **state)
{
    (void)state;
    put("a.yaml", RULE("one"));
    struct outcome o = load("a.yaml", NULL);
    assert_int_equal(o.rc, 0);
    assert_int_equal(o.rules->rule_count, 1);
    char path[SCRATCH_PATH_CAP];
    assert_string_equal(o.rules->files[0], scratch_dir_path(&dir, "a.yaml", path));
    drop(&o);
    struct policy_rules *r = NULL;
    struct policy_diags d = {0};
    assert_int_equal(policy_files_load(NULL, 0, &r, &d), 0);
    assert_int_equal(r->rule_count, 0);
    policy_rules_free(r);
}

static void test_directory(void **state)
{
    (void)state;
    put("b.yaml", RULE("b"));
    put("a.yml", RULE("a"));
    put("C.yaml", RULE("c"));
    put("note.txt", "not: [yaml");
    put(".hidden.yaml", "not: [yaml");
    put("backup.yaml~", "not: [yaml");
    put(".yaml", "not: [yaml");
    char path[SCRATCH_PATH_CAP];
    assert_int_equal(mkdir(scratch_dir_path(&dir, "sub.yaml", path), 0700), 0);
    assert_int_equal(symlink("b.yaml", scratch_dir_path(&dir, "d.yaml", path)),
                     0); /* as Kubernetes mounts them */
    struct outcome o = load("", NULL);
    assert_int_equal(o.rc, 0);
    assert_int_equal(o.rules->file_count, 4);
    assert_int_equal(o.rules->rule_count, 3);        /* d.yaml says the same as b.yaml */
    assert_string_equal(o.rules->rules[0].key, "c"); /* bytes, not a locale */
    assert_string_equal(o.rules->rules[1].key, "a");
    assert_string_equal(o.rules->rules[2].key, "b");
    assert_null(strstr(o.rules->files[0], "//"));
    drop(&o);
}

static void test_empty_directory(void **state)
{
    (void)state;
    struct outcome o = load("", NULL);
    assert_int_equal(o.rc, 0);
    assert_int_equal(o.rules->rule_count, 0);
    assert_int_equal(o.diags.warning_count, 1);
    drop(&o);
}

static void check_only_diag(const struct outcome *o, const char *name, const char *part)
{
    char path[SCRATCH_PATH_CAP];
    assert_int_equal(o->diags.count, 1);
    assert_string_equal(o->diags.items[0].file, scratch_dir_path(&dir, name, path));
    assert_int_equal(o->diags.items[0].line, 0);
    if (strstr(o->diags.items[0].message, part) == NULL) {
        fail_msg("%s", o->diags.items[0].message);
    }
    char *text = policy_diag_text(&o->diags.items[0], false);
    assert_non_null(strstr(text, "error: "));
    assert_non_null(strstr(text, "= hint: ")); /* each says what to do */
    free(text);
}

static void test_missing(void **state)
{
    (void)state;
    struct outcome o = load("absent.yaml", NULL);
    assert_int_equal(o.rc, -ENOENT);
    check_only_diag(&o, "absent.yaml", "No such file");
    drop(&o);
    put("file", "version: 1\n");
    o = load("file/x.yaml", NULL);
    assert_int_equal(o.rc, -ENOTDIR);
    drop(&o);
}

/* What can be read is checked although another file is missing: one run tells everything. */
static void test_missing_and_wrong(void **state)
{
    (void)state;
    put("bad.yaml", "version: 2\n");
    struct outcome o = load("absent.yaml", "bad.yaml");
    assert_int_equal(o.rc, -ENOENT);
    assert_int_equal(o.diags.error_count, 2);
    drop(&o);
    put("good.yaml", RULE("r"));
    o = load("good.yaml", "absent.yaml");
    assert_int_equal(o.rc, -ENOENT);
    drop(&o);
}

static void test_unreadable(void **state)
{
    (void)state;
    char path[SCRATCH_PATH_CAP];
    put("a.yaml", RULE("r"));
    assert_int_equal(chmod(scratch_dir_path(&dir, "a.yaml", path), 0), 0);
    if (access(path, R_OK) == 0) {
        return; /* root reads it all the same */
    }
    struct outcome o = load("a.yaml", NULL);
    assert_int_equal(o.rc, -EACCES);
    check_only_diag(&o, "a.yaml", "Permission denied");
    drop(&o);
}

/* It is not the path that is wrong then, and no other one is asked for. */
static void test_no_descriptor(void **state)
{
    (void)state;
    struct rlimit old;
    put("a.yaml", RULE("r"));
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    struct outcome o = load("a.yaml", NULL);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(o.rc, -EMFILE);
    check_only_diag(&o, "a.yaml", "Too many open files");
    assert_null(strstr(o.diags.items[0].hint, "name a policy file"));
    drop(&o);
}

static void make_socket(const char *name)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char path[SCRATCH_PATH_CAP];
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0 && strlen(scratch_dir_path(&dir, name, path)) < sizeof(at.sun_path));
    memcpy(at.sun_path, path, strlen(path) + 1);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
    close(fd);
}

/* Opening a FIFO must not hang; a socket cannot be opened, which was told as an error of the system. */
static void test_no_regular_file(void **state)
{
    (void)state;
    char path[SCRATCH_PATH_CAP];
    struct outcome o;
    assert_int_equal(mkfifo(scratch_dir_path(&dir, "pipe.yaml", path), 0600), 0);
    make_socket("socket.yaml");
    static const char *const none[] = {"pipe.yaml", "socket.yaml"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        o = load(none[i], NULL);
        assert_int_equal(o.rc, -EINVAL);
        check_only_diag(&o, none[i], "neither a regular file nor a directory");
        drop(&o);
    }
    put("a.yaml", RULE("r"));
    o = load("", NULL); /* in a directory it is passed over, which is said */
    assert_int_equal(o.rc, 0);
    assert_int_equal(o.rules->rule_count, 1);
    size_t told = 0;
    for (size_t i = 0; i < o.diags.count; i++) {
        told += strstr(o.diags.items[i].message, "is passed over: it is no regular file") != NULL &&
                (strstr(o.diags.items[i].file, none[0]) != NULL ||
                 strstr(o.diags.items[i].file, none[1]) != NULL);
    }
    assert_int_equal(told, 2);
    drop(&o);
}

static void test_size(void **state)
{
    (void)state;
    const size_t limit = (size_t)16 << 20;
    char *text = malloc(limit + 1);
    assert_non_null(text);
    memset(text, '#', limit + 1);
    memcpy(text, "version: 1\n", 11);
    scratch_dir_write(&dir, "max.yaml", text, limit);
    struct outcome o = load("max.yaml", NULL);
    assert_int_equal(o.rc, 0);
    drop(&o);
    scratch_dir_write(&dir, "over.yaml", text, limit + 1);
    o = load("over.yaml", NULL);
    assert_int_equal(o.rc, -E2BIG);
    check_only_diag(&o, "over.yaml", "larger than 16 MiB");
    drop(&o);
    free(text);
    char max[SCRATCH_PATH_CAP];
    (void)scratch_dir_path(&dir, "max.yaml", max);
    const char *paths[] = {max, max, max, max, max};
    struct policy_texts texts;
    struct policy_diags diags = {0};
    assert_int_equal(policy_files_read(paths, 4, &texts, &diags), 0);
    assert_int_equal(texts.total_bytes, 4 * limit);
    policy_texts_fini(&texts);
    assert_int_equal(policy_files_read(paths, 5, &texts, &diags), -E2BIG);
    assert_int_equal(texts.count, 4);
    assert_non_null(strstr(diags.items[0].message, "64 MiB"));
    policy_texts_fini(&texts);
    policy_diags_fini(&diags);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_directory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_empty_directory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_missing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_missing_and_wrong, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unreadable, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_descriptor, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_regular_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_size, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("policy_files", tests, NULL, NULL);
}

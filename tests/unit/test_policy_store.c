/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/scratch_dir.h"

#include "common/policy/policy_store.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define RULE(key) "version: 1\nnetwork_policies: { " key ": { binaries: [{ path: \"/**\" }] } }\n"

struct fixture {
    struct scratch_dir dir;
    char path[SCRATCH_PATH_CAP];
    const char *paths[1];
    struct policy_store *store;
};

static int set_up(void **state)
{
    static struct fixture f;
    scratch_dir_make(&f.dir);
    f.paths[0] = scratch_dir_path(&f.dir, "policy.yaml", f.path);
    assert_int_equal(policy_store_new(f.paths, 1, &f.store), 0);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    policy_store_free(f->store);
    scratch_dir_remove(&f->dir);
    return 0;
}

static int reload(struct fixture *f, const char *text, bool *changed, size_t *errors)
{
    struct policy_diags d = {0};
    if (text == NULL) {
        (void)remove(f->path);
    } else {
        scratch_dir_write(&f->dir, "policy.yaml", text, strlen(text));
    }
    int rc = policy_store_reload(f->store, &d, changed);
    *errors = d.error_count;
    policy_diags_fini(&d);
    return rc;
}

static void check_current(const struct fixture *f, uint64_t generation, const char *key)
{
    const struct policy *p = policy_store_current(f->store);
    assert_non_null(p);
    assert_int_equal(policy_generation(p), generation);
    assert_string_equal(policy_rules_of(p)->rules[0].key, key);
}

static void test_reload(void **state)
{
    struct fixture *f = *state;
    bool changed = true;
    size_t errors = 0;
    assert_null(policy_store_current(f->store));
    /* nothing there yet: nothing to keep */
    assert_int_equal(reload(f, NULL, &changed, &errors), -ENOENT);
    assert_false(changed);
    assert_int_equal(errors, 1);
    assert_null(policy_store_current(f->store));
    assert_int_equal(reload(f, "version: 2\n", &changed, &errors), -EINVAL);
    assert_null(policy_store_current(f->store));
    assert_int_equal(reload(f, RULE("one"), &changed, &errors), 0);
    assert_true(changed);
    check_current(f, 1, "one");
    /* the same text */
    assert_int_equal(reload(f, RULE("one"), &changed, &errors), 0);
    assert_false(changed);
    check_current(f, 1, "one");
    assert_int_equal(reload(f, RULE("two"), &changed, &errors), 0);
    assert_true(changed);
    check_current(f, 2, "two");
    /* bad, gone, and back: the last good one stays */
    assert_int_equal(reload(f, "version: 1\nbad\n", &changed, &errors), -EINVAL);
    assert_false(changed);
    assert_true(errors > 0);
    check_current(f, 2, "two");
    assert_int_equal(reload(f, NULL, &changed, &errors), -ENOENT);
    assert_false(changed);
    check_current(f, 2, "two");
    assert_int_equal(reload(f, RULE("two"), &changed, &errors), 0);
    assert_false(changed);
    check_current(f, 2, "two");
    assert_int_equal(reload(f, RULE("one"), &changed, &errors), 0);
    check_current(f, 3, "one");
}

static int look(struct fixture *f, const char *text, bool may_repeat, struct policy_reading *out)
{
    struct policy_diags d = {0};
    if (text != NULL) {
        scratch_dir_write(&f->dir, "policy.yaml", text, strlen(text));
    } else {
        (void)remove(f->path);
    }
    int rc = policy_store_read(f->store, may_repeat, &d, out);
    assert_true(rc == 0 || d.error_count > 0);
    policy_diags_fini(&d);
    return rc;
}

static void check_nothing(const struct policy_reading *r, bool is_repeated)
{
    assert_null(r->candidate);
    assert_int_equal(r->is_repeated, is_repeated);
}

/* A candidate is not current before it is accepted, and a refused one uses no generation up. */
static void test_candidates(void **state)
{
    struct fixture *f = *state;
    struct policy_reading r;
    assert_int_equal(look(f, RULE("one"), true, &r), 0);
    assert_null(policy_store_current(f->store));
    policy_store_accept(f->store, r.candidate);
    check_current(f, 1, "one");
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(look(f, RULE("two"), false, &r), 0);
        assert_int_equal(policy_generation(r.candidate), 2);
        policy_store_refuse(f->store, r.candidate);
        check_current(f, 1, "one");
    }
    assert_int_equal(look(f, RULE("two"), true, &r), 0);
    check_nothing(&r, true);
    assert_int_equal(look(f, RULE("one"), true, &r), 0);
    check_nothing(&r, false);
    assert_int_equal(look(f, RULE("two"), true, &r), 0); /* something good was read in between */
    assert_non_null(r.candidate);
    policy_store_accept(f->store, r.candidate);
    check_current(f, 2, "two");
}

static void test_repetitions(void **state)
{
    struct fixture *f = *state;
    struct policy_reading r;
    static const char *const bad[] = {"version: 2\n", NULL, "version: 1\nbad\n"};
    assert_int_equal(look(f, RULE("one"), true, &r), 0);
    policy_store_accept(f->store, r.candidate);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_not_equal(look(f, bad[i], true, &r), 0); /* another fault is news */
        assert_int_equal(look(f, bad[i], true, &r), 0);
        check_nothing(&r, true);
        assert_int_not_equal(look(f, bad[i], false, &r), 0);
        check_nothing(&r, false);
    }
    assert_int_equal(look(f, RULE("one"), true, &r), 0);
    check_nothing(&r, false);
    check_current(f, 1, "one");
}

/* Who holds a reference keeps the old policy; the sanitizers see it when they do not. */
static void test_old_policy_lives(void **state)
{
    struct fixture *f = *state;
    bool changed = false;
    size_t errors = 0;
    assert_int_equal(reload(f, RULE("one"), &changed, &errors), 0);
    struct policy *held = policy_ref(policy_store_current(f->store));
    assert_int_equal(reload(f, RULE("two"), &changed, &errors), 0);
    assert_ptr_not_equal(held, policy_store_current(f->store));
    assert_string_equal(policy_rules_of(held)->rules[0].key, "one");
    policy_unref(held);
    policy_store_free(NULL);
}

/* Texts are told apart by what they say and in which file they say it. */
static void test_files_are_told_apart(void **state)
{
    struct fixture *f = *state;
    struct policy_store *store = NULL;
    const char *paths[] = {f->dir.path};
    struct policy_diags d = {0};
    bool changed = false;
    assert_int_equal(policy_store_new(paths, 1, &store), 0);
    scratch_dir_write(&f->dir, "a.yaml", RULE("a"), strlen(RULE("a")));
    scratch_dir_write(&f->dir, "b.yaml", RULE("b"), strlen(RULE("b")));
    assert_int_equal(policy_store_reload(store, &d, &changed), 0);
    assert_true(changed);
    scratch_dir_write(&f->dir, "a.yaml", RULE("b"), strlen(RULE("b")));
    scratch_dir_write(&f->dir, "b.yaml", RULE("a"), strlen(RULE("a")));
    assert_int_equal(policy_store_reload(store, &d, &changed), 0);
    assert_true(changed);
    scratch_dir_write(&f->dir, "c.yaml", RULE("a"), strlen(RULE("a")));
    assert_int_equal(policy_store_reload(store, &d, &changed), 0);
    assert_true(changed);
    assert_int_equal(policy_generation(policy_store_current(store)), 3);
    policy_store_free(store);
    policy_diags_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reload, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_candidates, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_repetitions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_old_policy_lives, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_files_are_told_apart, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("policy_store", tests, NULL, NULL);
}

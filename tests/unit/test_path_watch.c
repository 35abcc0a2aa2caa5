/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every way a policy is replaced in practice, done to real files, with a real loop. Each step ends when
 * on_change came and what is read then is what was written, so a change that is not noticed fails the test.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/failing_epoll.h"
#include "tests/support/watch_scene.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- cases ---- */

static void test_edit_in_place(void **state)
{
    struct watch_scene *f = *state;
    watch_open(f, watch_at(f, "policy.yaml"));
    watch_expect_silence(f);
    watch_put(f, "policy.yaml", "1");
    watch_expect(f, "1");
    watch_put(f, "policy.yaml", "2");
    watch_expect(f, "2");
    watch_put(f, "other.yaml", "x"); /* a neighbour is not ours */
    watch_expect_silence(f);
    assert_int_equal(chmod(f->path, 0400), 0);
    watch_expect(f, "2"); /* it may be readable now */
}

static void test_rename_into_place(void **state)
{
    struct watch_scene *f = *state;
    watch_open(f, watch_at(f, "policy.yaml"));
    for (unsigned i = 0; i < 3; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "sed %u", i);
        watch_put(f, "sedXyZ", text);
        watch_rename(f, "sedXyZ", "policy.yaml");
        watch_expect(f, text);
    }
    /* vim with backupcopy=no: the old one becomes the backup, a new one is written, the backup goes */
    watch_rename(f, "policy.yaml", "policy.yaml~");
    watch_put(f, "policy.yaml", "vim");
    assert_int_equal(unlink(watch_at(f, "policy.yaml~")), 0);
    watch_expect(f, "vim");
    /* a hard link comes without a write */
    watch_put(f, "new", "linked");
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(link(watch_at(f, "new"), f->path), 0);
    watch_expect(f, "linked");
}

/* As the kubelet's atomic writer does it. */
static void swap_data(const struct watch_scene *f, unsigned version, const char *text)
{
    char stamp[64], name[96];
    (void)snprintf(stamp, sizeof(stamp), "mount/..2026_07_30_12_00_%02u", version);
    watch_make_dir(f, stamp);
    (void)snprintf(name, sizeof(name), "%s/policy.yaml", stamp);
    watch_put(f, name, text);
    watch_link(f, stamp + strlen("mount/"), "mount/..data_tmp");
    watch_rename(f, "mount/..data_tmp", "mount/..data");
}

static void remove_data(const struct watch_scene *f, unsigned version)
{
    char name[96];
    (void)snprintf(name, sizeof(name), "mount/..2026_07_30_12_00_%02u/policy.yaml", version);
    assert_int_equal(unlink(watch_at(f, name)), 0);
    *strrchr(name, '/') = '\0';
    assert_int_equal(rmdir(watch_at(f, name)), 0);
}

static void check_swaps(struct watch_scene *f)
{
    for (unsigned i = 1; i < 4; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "version %u", i);
        swap_data(f, i, text);
        remove_data(f, i - 1);
        watch_expect(f, text);
    }
}

static void make_mount(const struct watch_scene *f)
{
    watch_make_dir(f, "mount");
    swap_data(f, 0, "version 0");
    watch_link(f, "..data/policy.yaml", "mount/policy.yaml");
}

static void test_config_map(void **state)
{
    struct watch_scene *f = *state;
    make_mount(f);
    watch_open(f, watch_at(f, "mount/policy.yaml"));
    check_swaps(f);
    watch_expect_silence(f);
}

static void test_config_map_directory(void **state)
{
    struct watch_scene *f = *state;
    make_mount(f);
    watch_open(f, watch_at(f, "mount"));
    for (unsigned i = 1; i < 4; i++) {
        swap_data(f, i, "x");
        remove_data(f, i - 1);
        assert_true(watch_run(f, WATCH_PATIENCE_MS));
        while (watch_run(f, WATCH_QUIET_MS * 4)) {
        }
    }
}

/* The link leads into the mount from elsewhere. */
static void test_link_to_config_map(void **state)
{
    struct watch_scene *f = *state;
    make_mount(f);
    watch_link(f, "mount", "etc");
    watch_link(f, "./etc/../mount//policy.yaml", "link");
    watch_open(f, watch_at(f, "link"));
    check_swaps(f);
}

static void test_links_on_the_way(void **state)
{
    struct watch_scene *f = *state;
    watch_make_dir(f, "a");
    watch_make_dir(f, "b");
    watch_put(f, "a/policy.yaml", "a");
    watch_put(f, "b/policy.yaml", "b");
    watch_link(f, watch_at(f, "a"), "dir"); /* absolute */
    watch_link(f, "dir", "outer");
    watch_open(f, watch_at(f, "outer/policy.yaml"));
    watch_put(f, "a/policy.yaml", "a2");
    watch_expect(f, "a2");
    watch_link(f, "b", "dir.new");
    watch_rename(f, "dir.new", "dir");
    watch_expect(f, "b");
    watch_put(f, "b/policy.yaml", "b2"); /* what is behind the new link is watched */
    watch_expect(f, "b2");
    watch_put(f, "a/policy.yaml", "a3"); /* and what was behind the old one no more */
    watch_expect_silence(f);
    assert_int_equal(unlink(watch_at(f, "outer")), 0);
    watch_expect(f, NULL);
    watch_link(f, "a", "outer");
    watch_expect(f, "a3");
    /* the file itself is a link */
    assert_int_equal(unlink(watch_at(f, "a/policy.yaml")), 0);
    watch_link(f, "../b/policy.yaml", "a/policy.yaml");
    watch_expect(f, "b2");
    watch_put(f, "b/policy.yaml", "b3");
    watch_expect(f, "b3");
}

static void test_link_loops(void **state)
{
    struct watch_scene *f = *state;
    watch_link(f, "two", "one");
    watch_link(f, "one", "two");
    watch_open(f, watch_at(f, "one"));
    watch_expect_silence(f);
    watch_put(f, "three", "3");
    watch_rename(f, "three", "two");
    watch_expect(f, "3");
    assert_int_equal(f->failures, 0);
}

static void test_file_goes_and_comes(void **state)
{
    struct watch_scene *f = *state;
    watch_open(f, watch_at(f, "policy.yaml"));
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(unlink(f->path), 0);
        watch_expect(f, NULL);
        watch_put(f, "policy.yaml", "back");
        watch_expect(f, "back");
        watch_rename(f, "policy.yaml", "away");
        watch_expect(f, NULL);
        watch_rename(f, "away", "policy.yaml");
        watch_expect(f, "back");
    }
}

static void test_directory_goes_and_comes(void **state)
{
    struct watch_scene *f = *state;
    watch_make_dir(f, "x");
    watch_make_dir(f, "x/y");
    watch_put(f, "x/y/policy.yaml", "1");
    watch_open(f, watch_at(f, "x/y/policy.yaml"));
    assert_int_equal(unlink(watch_at(f, "x/y/policy.yaml")), 0);
    assert_int_equal(rmdir(watch_at(f, "x/y")), 0);
    watch_expect(f, NULL);
    watch_make_dir(f, "x/y");
    watch_put(f, "x/y/policy.yaml", "2");
    watch_expect(f, "2");
    watch_put(f, "x/y/policy.yaml", "3");
    watch_expect(f, "3");
    watch_rename(f, "x", "x.old"); /* two levels up */
    watch_expect(f, NULL);
    watch_make_dir(f, "z");
    watch_make_dir(f, "z/y");
    watch_put(f, "z/y/policy.yaml", "4");
    watch_rename(f, "z", "x");
    watch_expect(f, "4");
    watch_put(f, "x/y/policy.yaml", "5");
    watch_expect(f, "5");
}

static void test_absent_at_first(void **state)
{
    struct watch_scene *f = *state;
    watch_open(f, watch_at(f, "not/yet/policy.yaml"));
    watch_make_dir(f, "not");
    watch_make_dir(f, "not/yet");
    watch_put(f, "not/yet/policy.yaml", "now");
    watch_expect(f, "now");
    assert_int_equal(f->failures, 0);
}

static void test_directory(void **state)
{
    struct watch_scene *f = *state;
    watch_make_dir(f, "d");
    watch_make_dir(f, "elsewhere");
    watch_put(f, "d/a.yaml", "1");
    watch_open(f, watch_at(f, "d"));
    watch_put(f, "d/b.yaml", "1");
    assert_true(watch_run(f, WATCH_PATIENCE_MS));
    watch_put(f, "d/README", "x");
    watch_put(f, "d/.hidden.yaml", "x");
    watch_expect_silence(f);
    assert_int_equal(unlink(watch_at(f, "d/a.yaml")), 0);
    assert_true(watch_run(f, WATCH_PATIENCE_MS));
    watch_put(f, "elsewhere/c", "1");
    watch_link(f, "../elsewhere/c", "d/c.yaml"); /* what a link in it leads to counts */
    assert_true(watch_run(f, WATCH_PATIENCE_MS));
    watch_put(f, "elsewhere/c", "2");
    assert_true(watch_run(f, WATCH_PATIENCE_MS));
    watch_rename(f, "d", "d.old");
    assert_true(watch_run(f, WATCH_PATIENCE_MS));
    watch_make_dir(f, "d");
    assert_true(watch_run(f, WATCH_PATIENCE_MS));
    watch_put(f, "d/z.yaml", "1");
    assert_true(watch_run(f, WATCH_PATIENCE_MS));
}

static void test_relative_path(void **state)
{
    struct watch_scene *f = *state;
    char here[4096];
    assert_non_null(getcwd(here, sizeof(here)));
    assert_int_equal(chdir(f->dir.path), 0);
    watch_open(f, "policy.yaml");
    watch_put(f, "policy.yaml", "1");
    watch_expect(f, "1");
    assert_int_equal(chdir(here), 0);
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d) != NULL) {
        count++;
    }
    (void)closedir(d);
    return count;
}

/* What the kernel watches for us, as /proc/self/fdinfo says. */
static unsigned kernel_watches(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 64; fd++) {
        char name[64], line[512];
        (void)snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", fd);
        FILE *info = fopen(name, "re");
        while (info != NULL && fgets(line, sizeof(line), info) != NULL) {
            count += strncmp(line, "inotify wd:", 11) == 0;
        }
        if (info != NULL) {
            (void)fclose(info);
        }
    }
    return count;
}

static void test_nothing_piles_up(void **state)
{
    struct watch_scene *f = *state;
    unsigned descriptors = open_descriptors();
    make_mount(f);
    watch_open(f, watch_at(f, "mount/policy.yaml"));
    unsigned watches = kernel_watches();
    assert_true(watches > 0);
    for (unsigned i = 1; i < 20; i++) {
        swap_data(f, i, "x");
        remove_data(f, i - 1);
        watch_expect(f, "x");
    }
    assert_int_equal(kernel_watches(), watches);
    assert_int_equal(open_descriptors(), descriptors + 1);
    path_watch_free(f->watch);
    f->watch = NULL;
    assert_int_equal(open_descriptors(), descriptors);
}

static void test_no_descriptor(void **state)
{
    struct watch_scene *f = *state;
    struct rlimit all, none;
    struct path_watch *w = NULL;
    const struct path_watch_config cfg = {.loop = f->loop};
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = all.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int rc = path_watch_new(&cfg, &w);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
    assert_int_equal(rc, -EMFILE);
    assert_null(w);
    path_watch_free(w);
}

/* A directory that may be entered but not listed cannot be watched: told once, and again when it is new. */
static void test_unreadable_directory(void **state)
{
    struct watch_scene *f = *state;
    if (geteuid() == 0) { /* root may list anything */
        assert_int_equal(chown(f->dir.path, 65534, 65534), 0);
        assert_int_equal(seteuid(65534), 0);
    }
    watch_make_dir(f, "d");
    watch_put(f, "d/policy.yaml", "1");
    assert_int_equal(chmod(watch_at(f, "d"), 0300), 0);
    watch_open(f, watch_at(f, "d/policy.yaml"));
    path_watch_arm(f->watch);
    assert_int_equal(f->failures, 1);
    assert_int_equal(f->error, EACCES);
    assert_int_equal(chmod(watch_at(f, "d"), 0700), 0);
    assert_true(watch_run(f, WATCH_PATIENCE_MS)); /* the directory above tells */
    watch_put(f, "d/policy.yaml", "2");
    watch_expect(f, "2");
    assert_int_equal(f->failures, 1);
    /* a directory that is only on the way need not be readable */
    watch_make_dir(f, "d/e");
    watch_put(f, "d/e/policy.yaml", "3");
    assert_int_equal(chmod(watch_at(f, "d"), 0300), 0);
    path_watch_free(f->watch);
    watch_open(f, watch_at(f, "d/e/policy.yaml"));
    assert_int_equal(f->failures, 1);
    watch_put(f, "d/e/policy.yaml", "4");
    watch_expect(f, "4");
    assert_int_equal(chmod(watch_at(f, "d"), 0700), 0);
}

/* One failed epoll_ctl(2), and no change was seen any more. */
static void test_deaf_after_a_failed_epoll_ctl(void **state)
{
    struct watch_scene *f = *state;
    watch_open(f, watch_at(f, "policy.yaml"));
    failing_epoll_adds(1);
    (void)ev_run(f->loop, EVRUN_NOWAIT); /* fails; the watch hears of it */
    assert_int_equal(failing_epoll_left(), 0);
    watch_put(f, "policy.yaml", "1");
    watch_expect(f, "1");
    watch_put(f, "policy.yaml", "2");
    watch_expect(f, "2");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, watch_set_up, watch_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_edit_in_place),
        CASE(test_rename_into_place),
        CASE(test_config_map),
        CASE(test_config_map_directory),
        CASE(test_link_to_config_map),
        CASE(test_links_on_the_way),
        CASE(test_link_loops),
        CASE(test_file_goes_and_comes),
        CASE(test_directory_goes_and_comes),
        CASE(test_absent_at_first),
        CASE(test_directory),
        CASE(test_relative_path),
        CASE(test_nothing_piles_up),
        CASE(test_no_descriptor),
        CASE(test_unreadable_directory),
        CASE(test_deaf_after_a_failed_epoll_ctl),
    };
    return cmocka_run_group_tests_name("path_watch", tests, NULL, NULL);
}

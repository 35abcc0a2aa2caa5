/* SPDX-License-Identifier: Apache-2.0 */
/* When a change is told: once things are quiet, and not too late. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/watch_scene.h"

#include "common/base/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Many changes, one call; a file that is not closed is waited for. */
static void test_quiet(void **state)
{
    struct watch_scene *f = *state;
    watch_open(f, watch_at(f, "policy.yaml"));
    for (unsigned i = 0; i < 100; i++) {
        watch_put(f, "policy.yaml", "x");
    }
    watch_put(f, "policy.yaml", "last");
    assert_true(watch_run(f, WATCH_PATIENCE_MS));
    watch_expect_silence(f);
    assert_int_equal(f->changes, 1);
    int fd = open(f->path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_int_equal(write(fd, "half", 4), 4);
    watch_expect_silence(f);
    assert_int_equal(write(fd, "way", 3), 3);
    assert_int_equal(close(fd), 0);
    watch_expect(f, "halfway");
}

static int begin_writing(const struct watch_scene *f, const char *name)
{
    int fd = open(watch_at(f, name), O_WRONLY | O_TRUNC | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "half", 4), 4);
    return fd;
}

/* Nothing that happens to another file, nor a mode, ends the waiting for the one that is not closed. */
static void test_another_is_closed(void **state)
{
    struct watch_scene *f = *state;
    watch_make_dir(f, "d");
    watch_put(f, "d/a.yaml", "1");
    watch_open(f, watch_at(f, "d"));
    int a = begin_writing(f, "d/a.yaml");
    watch_put(f, "d/b.yaml", "1");
    watch_expect_silence(f);
    assert_int_equal(fchmod(a, 0640), 0);
    watch_expect_silence(f);
    int b = begin_writing(f, "d/b.yaml");
    assert_int_equal(close(a), 0);
    watch_expect_silence(f);
    assert_int_equal(close(b), 0);
    assert_true(watch_run(f, WATCH_PATIENCE_MS));
    watch_expect_silence(f);
}

/* What was written to and has lost its name is not waited for, be its directory gone with it. */
static void test_written_and_gone(void **state)
{
    struct watch_scene *f = *state;
    watch_make_dir(f, "d");
    watch_open(f, watch_at(f, "d"));
    int fd = begin_writing(f, "d/a.yaml");
    watch_put(f, "new", "1");
    watch_expect_silence(f);
    watch_rename(f, "new", "d/a.yaml");
    assert_true(watch_run(f, WATCH_LIMIT_MS / 2));
    assert_int_equal(close(fd), 0);
    fd = begin_writing(f, "d/a.yaml");
    assert_int_equal(unlink(watch_at(f, "d/a.yaml")), 0);
    assert_true(watch_run(f, WATCH_LIMIT_MS / 2));
    assert_int_equal(close(fd), 0);
    fd = begin_writing(f, "d/a.yaml");
    watch_expect_silence(f);
    watch_rename(f, "d", "d.old");
    assert_true(watch_run(f, WATCH_LIMIT_MS / 2));
    assert_int_equal(close(fd), 0);
}

/* More files than are told apart: the limit alone counts, until they have been read. */
static void test_many_are_written(void **state)
{
    struct watch_scene *f = *state;
    enum { COUNT = 40 };
    int fds[COUNT];
    char name[32];
    f->limit_ms = 1000;
    watch_make_dir(f, "d");
    watch_open(f, watch_at(f, "d"));
    int64_t start_ms = clock_mono_ms();
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(name, sizeof(name), "d/%d.yaml", i);
        fds[i] = begin_writing(f, name);
    }
    for (int i = 0; i < COUNT - 1; i++) {
        assert_int_equal(close(fds[i]), 0);
    }
    assert_true(watch_run(f, WATCH_PATIENCE_MS));
    assert_true(clock_mono_ms() - start_ms >= f->limit_ms - 1);
    assert_true(f->ended);
    assert_int_equal(close(fds[COUNT - 1]), 0);
    assert_true(watch_run(f, WATCH_PATIENCE_MS));
    start_ms = clock_mono_ms();
    watch_put(f, "d/0.yaml", "1");
    assert_true(watch_run(f, WATCH_PATIENCE_MS));
    assert_true(clock_mono_ms() - start_ms < f->limit_ms);
}

/* But not beyond the limit. */
static void test_never_closed(void **state)
{
    struct watch_scene *f = *state;
    f->limit_ms = 100;
    watch_open(f, watch_at(f, "policy.yaml"));
    int64_t start_ms = clock_mono_ms();
    int fd = open(f->path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_int_equal(write(fd, "never closed", 12), 12);
    assert_true(watch_run(f, WATCH_PATIENCE_MS));
    assert_true(clock_mono_ms() - start_ms >= f->limit_ms - 1);
    assert_int_equal(close(fd), 0);
}

static void on_busy_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
    (void)loop;
    (void)revents;
    watch_put(t->data, "policy.yaml", "busy");
}

static void test_never_quiet(void **state)
{
    struct watch_scene *f = *state;
    ev_timer busy;
    f->limit_ms = 100;
    watch_open(f, watch_at(f, "policy.yaml"));
    ev_timer_init(&busy, on_busy_timer, 0.0, WATCH_QUIET_MS / 4000.0);
    busy.data = f;
    ev_timer_start(f->loop, &busy);
    assert_true(watch_run(f, WATCH_PATIENCE_MS));
    assert_true(watch_run(f, WATCH_PATIENCE_MS));
    ev_timer_stop(f->loop, &busy);
    assert_true(f->changes >= 2);
}

static void test_changed_while_read(void **state)
{
    struct watch_scene *f = *state;
    watch_open(f, watch_at(f, "policy.yaml"));
    f->during_read_once = true;
    watch_put(f, "policy.yaml", "1");
    assert_true(watch_run(f, WATCH_PATIENCE_MS));
    assert_false(f->ended);
    assert_true(watch_run(f, WATCH_PATIENCE_MS)); /* told again without another change */
    assert_true(f->ended);
    watch_expect_silence(f);
    /* a reading of somebody's own takes the pending change with it */
    watch_put(f, "policy.yaml", "2");
    path_watch_begin(f->watch);
    assert_true(path_watch_end(f->watch));
    watch_expect_silence(f);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, watch_set_up, watch_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_quiet),
        CASE(test_another_is_closed),
        CASE(test_written_and_gone),
        CASE(test_many_are_written),
        CASE(test_never_closed),
        CASE(test_never_quiet),
        CASE(test_changed_while_read),
    };
    return cmocka_run_group_tests_name("path_watch_quiet", tests, NULL, NULL);
}

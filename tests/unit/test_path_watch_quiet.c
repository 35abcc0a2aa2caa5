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
        CASE(test_never_closed),
        CASE(test_never_quiet),
        CASE(test_changed_while_read),
    };
    return cmocka_run_group_tests_name("path_watch_quiet", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/steady_io.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "tests/support/failing_epoll.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define PATIENCE_MS 20000

struct scene {
    struct ev_loop *loop;
    struct steady_io io;
    int fd, log_fd;
    unsigned calls, taken;
    bool stops; /* the watcher, in the call back */
};

static void on_event(void *ctx)
{
    struct scene *s = ctx;
    eventfd_t n = 0;
    s->calls++;
    if (eventfd_read(s->fd, &n) == 0) {
        s->taken++;
    }
    if (s->stops) {
        steady_io_stop(&s->io);
    }
}

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    assert_non_null(s->loop);
    s->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    s->log_fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(s->fd >= 0 && s->log_fd >= 0);
    log_init("test", LOG_INFO, LOG_TEXT, s->log_fd);
    steady_io_init(&s->io, "a_thing", s->fd, on_event, s);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    failing_epoll_adds(0);
    steady_io_stop(&s->io);
    steady_io_stop(&s->io);
    log_init("test", LOG_INFO, LOG_TEXT, 2);
    (void)close(s->fd);
    (void)close(s->log_fd);
    ev_loop_destroy(s->loop);
    free(s);
    return 0;
}

static unsigned lines_with(const struct scene *s, const char *word)
{
    char text[4096];
    ssize_t n = pread(s->log_fd, text, sizeof(text) - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    unsigned count = 0;
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        count++;
    }
    return count;
}

/* Nothing but the watcher itself wakes the loop. Returns how long it took, in ms. */
static int64_t run_until(struct scene *s, const unsigned *count, unsigned want)
{
    const int64_t from_ms = clock_mono_ms();
    while (*count < want && clock_mono_ms() - from_ms < PATIENCE_MS) {
        (void)ev_run(s->loop, EVRUN_ONCE);
    }
    assert_int_equal(*count, want);
    return clock_mono_ms() - from_ms;
}

static void test_reads(void **state)
{
    struct scene *s = *state;
    steady_io_stop(&s->io); /* never started */
    steady_io_start(&s->io, s->loop);
    steady_io_start(&s->io, s->loop);
    assert_int_equal(eventfd_write(s->fd, 1), 0);
    (void)run_until(s, &s->taken, 1);
    steady_io_stop(&s->io);
    assert_int_equal(eventfd_write(s->fd, 1), 0);
    assert_int_equal(ev_run(s->loop, 0), 0); /* nothing is left to wait for */
    assert_int_equal(s->taken, 1);
    steady_io_start(&s->io, s->loop);
    (void)run_until(s, &s->taken, 2);
    assert_int_equal(lines_with(s, "watch_failed"), 0);
}

/* One failed epoll_ctl(2) was the end of it. */
static void test_one_failure(void **state)
{
    struct scene *s = *state;
    failing_epoll_adds(1);
    steady_io_start(&s->io, s->loop);
    (void)run_until(s, &s->calls, 1); /* the next try looks by itself */
    assert_int_equal(failing_epoll_left(), 0);
    assert_int_equal(s->taken, 0);
    assert_int_equal(eventfd_write(s->fd, 1), 0);
    (void)run_until(s, &s->taken, 1);
    assert_int_equal(lines_with(s, "warn test watch_failed what=a_thing failures=1 retry_ms=100 hint="), 1);
    assert_int_equal(lines_with(s, "fs.epoll.max_user_watches"), 1);
}

/* While it lasts what comes is read late, and not never; one line is all that is said. */
static void test_failures_in_a_row(void **state)
{
    struct scene *s = *state;
    failing_epoll_adds(4);
    steady_io_start(&s->io, s->loop);
    assert_int_equal(eventfd_write(s->fd, 1), 0);
    assert_in_range(run_until(s, &s->taken, 1), 80, 5000);
    assert_in_range(run_until(s, &s->calls, 3), 500, PATIENCE_MS); /* 200 and 400 ms */
    assert_int_equal(failing_epoll_left(), 1);
    (void)run_until(s, &s->calls, 4);
    assert_int_equal(failing_epoll_left(), 0);
    assert_int_equal(eventfd_write(s->fd, 1), 0);
    (void)run_until(s, &s->taken, 2);
    assert_int_equal(lines_with(s, "watch_failed"), 1);
}

/* libev believes what is started again in the turn in which it failed to be known to the kernel. */
static void test_stopped_and_started_in_one_turn(void **state)
{
    struct scene *s = *state;
    failing_epoll_adds(1);
    steady_io_start(&s->io, s->loop);
    (void)ev_run(s->loop, EVRUN_NOWAIT);
    assert_int_equal(failing_epoll_left(), 0);
    steady_io_stop(&s->io);
    steady_io_start(&s->io, s->loop);
    assert_int_equal(eventfd_write(s->fd, 1), 0);
    (void)run_until(s, &s->taken, 1);
}

static void test_stop_in_a_try(void **state)
{
    struct scene *s = *state;
    s->stops = true;
    failing_epoll_adds(1);
    steady_io_start(&s->io, s->loop);
    assert_int_equal(ev_run(s->loop, 0), 0);
    assert_int_equal(s->calls, 1);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_reads),
        CASE(test_one_failure),
        CASE(test_failures_in_a_row),
        CASE(test_stopped_and_started_in_one_turn),
        CASE(test_stop_in_a_try),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

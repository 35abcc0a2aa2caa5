/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/run/loop_memory.h"

#include <ev.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_empty; /* there is no memory */

static void *scarce(void *ptr, size_t size)
{
    return is_empty ? NULL : realloc(ptr, size);
}

static void fill(uint8_t *at, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        at[i] = (uint8_t)(i * 7 + 1);
    }
}

static void is_filled(const uint8_t *at, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(at[i], (uint8_t)(i * 7 + 1));
    }
}

/* What is there survives every move: into the reserve, within it, and out of it. */
static void test_moves(void **state)
{
    (void)state;
    is_empty = false;
    uint8_t *p = loop_memory_resize(NULL, 100);
    assert_non_null(p);
    fill(p, 100);
    is_empty = true;
    p = loop_memory_resize(p, 300);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
    is_filled(p, 100);
    fill(p, 300);
    p = loop_memory_resize(p, 1000);
    assert_non_null(p);
    is_filled(p, 300);
    fill(p, 1000);
    is_empty = false;
    p = loop_memory_resize(p, 50); /* smaller, and back to where memory is */
    assert_non_null(p);
    is_filled(p, 50);
    assert_null(loop_memory_resize(p, 0));
    assert_null(loop_memory_resize(NULL, 0));
    is_empty = true;
    p = loop_memory_resize(NULL, 10);
    assert_non_null(p);
    assert_null(loop_memory_resize(p, 0)); /* of the reserve: nothing happens */
    is_empty = false;
}

/* A loop that has no memory goes on: its tables grow with each watcher and with the highest descriptor. */
static void test_loop(void **state)
{
    (void)state;
    enum { WATCHERS = 200 };
    static ev_timer timers[WATCHERS];
    static ev_io io;
    int fd[2];
    is_empty = false;
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    assert_non_null(loop);
    assert_int_equal(pipe(fd), 0);
    is_empty = true;
    for (int i = 0; i < WATCHERS; i++) {
        ev_timer_init(&timers[i], NULL, 1000.0, 0.0);
        ev_timer_start(loop, &timers[i]);
    }
    int high = dup2(fd[0], 900);
    assert_int_equal(high, 900);
    ev_io_init(&io, NULL, high, EV_READ);
    ev_io_start(loop, &io);
    (void)ev_run(loop, EVRUN_NOWAIT);
    ev_io_stop(loop, &io);
    for (int i = 0; i < WATCHERS; i++) {
        ev_timer_stop(loop, &timers[i]);
    }
    is_empty = false;
    ev_loop_destroy(loop);
    (void)close(high);
    (void)close(fd[0]);
    (void)close(fd[1]);
}

/* Last: nothing of the reserve is left afterwards. */
static void test_end_of_the_reserve(void **state)
{
    (void)state;
    is_empty = true;
    assert_null(loop_memory_resize(NULL, (long)LOOP_MEMORY_RESERVE_BYTES));
    size_t count = 0;
    uint8_t *last = NULL;
    for (uint8_t *p = NULL; (p = loop_memory_resize(NULL, 65536)) != NULL; last = p) {
        memset(p, 1, 65536);
        count++;
    }
    assert_in_range(count, LOOP_MEMORY_RESERVE_BYTES / 65536 / 2, LOOP_MEMORY_RESERVE_BYTES / 65536);
    assert_null(loop_memory_resize(last, 2 * 65536L));
    is_empty = false;
    last = loop_memory_resize(last, 2 * 65536L);
    assert_non_null(last);
    assert_int_equal(last[65535], 1);
    assert_null(loop_memory_resize(last, 0));
}

int main(void)
{
    loop_memory_init(scarce);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moves),
        cmocka_unit_test(test_loop),
        cmocka_unit_test(test_end_of_the_reserve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

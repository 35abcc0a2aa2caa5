/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/rng.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* 2^14 values of 64 bits are all different, but for a chance of 2^-37. Crosses many refills of the pool. */
static void test_values_differ(void **state)
{
    (void)state;
    static uint64_t values[16384];
    const size_t count = sizeof values / sizeof values[0];
    uint64_t ones = 0;
    for (size_t i = 0; i < count; i++) {
        rng_bytes(&values[i], sizeof values[i]);
        ones += (uint64_t)__builtin_popcountll(values[i]);
    }
    /* 2^20 fair bits: eight standard deviations are 4096 */
    assert_in_range(ones, 524288 - 4096, 524288 + 4096);
    qsort(values, count, sizeof values[0], compare_u64);
    for (size_t i = 1; i < count; i++) {
        assert_true(values[i] != values[i - 1]);
    }
}

/* Every size fills all of its bytes and none behind them. */
static void test_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 2, 3, 7, 511, 512, 513, 4095, 4096, 4097, 10000};
    static uint8_t mem[10016];
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t len = sizes[i];
        static uint8_t seen[10016];
        memset(seen, 0, sizeof seen);
        for (int round = 0; round < 8; round++) {
            memset(mem, 0, sizeof mem);
            rng_bytes(mem, len);
            for (size_t k = 0; k < sizeof mem; k++) {
                seen[k] |= mem[k];
            }
        }
        size_t zero = 0; /* a byte that stays 0 in eight rounds has a chance of 2^-64 */
        for (size_t k = 0; k < len; k++) {
            zero += seen[k] == 0;
        }
        assert_int_equal(zero, 0);
        for (size_t k = len; k < sizeof mem; k++) {
            assert_int_equal(seen[k], 0);
        }
    }
}

static void test_small_numbers(void **state)
{
    (void)state;
    uint16_t or16 = 0;
    uint16_t and16 = UINT16_MAX;
    uint32_t or32 = 0;
    uint32_t and32 = UINT32_MAX;
    for (int i = 0; i < 200; i++) {
        uint16_t v16 = rng_u16();
        uint32_t v32 = rng_u32();
        or16 |= v16;
        and16 &= v16;
        or32 |= v32;
        and32 &= v32;
    }
    assert_int_equal(or16, UINT16_MAX); /* every bit is set and clear at times */
    assert_int_equal(and16, 0);
    assert_int_equal(or32, UINT32_MAX);
    assert_int_equal(and32, 0);
}

static void test_below(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(rng_below(1), 0);
        assert_true(rng_below(UINT32_MAX) < UINT32_MAX);
    }
    unsigned hits[7] = {0};
    for (int i = 0; i < 7000; i++) {
        uint32_t v = rng_below(7);
        assert_true(v < 7);
        hits[v]++;
    }
    for (size_t i = 0; i < 7; i++) {
        assert_in_range(hits[i], 700, 1300); /* ten standard deviations */
    }
    /* with a plain modulo, values below 2^31 would come up twice as often as the others */
    unsigned low = 0;
    for (int i = 0; i < 6000; i++) {
        low += rng_below(UINT32_C(0xc0000000)) < UINT32_C(0x40000000);
    }
    assert_in_range(low, 2000 - 370, 2000 + 370);
}

static void *draw(void *out)
{
    rng_bytes(out, 16);
    return NULL;
}

static void test_threads_differ(void **state)
{
    (void)state;
    uint8_t values[4][16];
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, draw, values[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        for (size_t k = 0; k < i; k++) {
            assert_memory_not_equal(values[i], values[k], 16);
        }
    }
}

static pid_t plain_fork(void)
{
    return fork();
}

static pid_t raw_clone(void)
{
    return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

/* The pool is not empty at the fork, so without a refill parent and child would draw the same bytes. */
static void child_differs(pid_t (*split)(void))
{
    (void)rng_u16();
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = split();
    assert_true(pid >= 0);
    uint8_t ours[16];
    rng_bytes(ours, sizeof ours);
    if (pid == 0) {
        _exit(write(fds[1], ours, sizeof ours) == (ssize_t)sizeof ours ? 0 : 1);
    }
    uint8_t theirs[16];
    assert_int_equal(read(fds[0], theirs, sizeof theirs), sizeof theirs);
    assert_memory_not_equal(ours, theirs, sizeof ours);
    (void)close(fds[0]);
    (void)close(fds[1]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_fork(void **state)
{
    (void)state;
    child_differs(plain_fork);
    child_differs(raw_clone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values_differ),  cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_small_numbers),  cmocka_unit_test(test_below),
        cmocka_unit_test(test_threads_differ), cmocka_unit_test(test_fork),
    };
    return cmocka_run_group_tests_name("rng", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/log.h"
#include "tunneld/pipe_pool.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void test_lent_and_kept(void **state)
{
    (void)state;
    struct pipe_pool pool = {0};
    struct pipe_lent *lent[PIPE_POOL_MAX];
    for (size_t i = 0; i < PIPE_POOL_MAX; i++) {
        lent[i] = pipe_pool_take(&pool);
        assert_non_null(lent[i]);
        assert_int_equal(fcntl(lent[i]->read_fd, F_GETFD), FD_CLOEXEC);
        assert_true((fcntl(lent[i]->write_fd, F_GETFL) & O_NONBLOCK) != 0);
    }
    assert_null(pipe_pool_take(&pool));
    int last = lent[PIPE_POOL_MAX - 1]->read_fd;
    for (size_t i = 0; i < PIPE_POOL_MAX; i++) {
        pipe_pool_give(&pool, lent[i]);
    }
    assert_int_equal(pool.lent_count, 0);
    assert_int_equal(pool.spare_count, PIPE_POOL_KEPT);
    assert_false(is_open(last));
    struct pipe_lent *again = pipe_pool_take(&pool);
    assert_int_equal(pool.spare_count, PIPE_POOL_KEPT - 1);
    pipe_pool_give(&pool, again);
    pipe_pool_give(&pool, NULL);
    pipe_pool_fini(&pool);
    assert_int_equal(pool.spare_count, 0);
}

static void test_moves_bytes(void **state)
{
    (void)state;
    struct pipe_pool pool = {0};
    int a[2];
    int b[2];
    char text[8];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b), 0);
    struct pipe_lent *lent = pipe_pool_take(&pool);
    assert_non_null(lent);
    assert_int_equal(pipe_fill(lent, a[1]), -EAGAIN);
    assert_int_equal(send(a[0], "abcdef", 6, 0), 6);
    assert_int_equal(pipe_fill(lent, a[1]), 6);
    assert_int_equal(lent->len, 6);
    assert_int_equal(pipe_copy_out(lent, text, 2), 2); /* from the front */
    assert_memory_equal(text, "ab", 2);
    assert_int_equal(pipe_drain(lent, b[0]), 4);
    assert_int_equal(lent->len, 0);
    assert_int_equal(recv(b[1], text, sizeof text, 0), 4);
    assert_memory_equal(text, "cdef", 4);
    assert_int_equal(close(a[0]), 0);
    assert_int_equal(pipe_fill(lent, a[1]), 0);
    pipe_pool_give(&pool, lent);
    pipe_pool_fini(&pool);
    assert_int_equal(close(a[1]), 0);
    assert_int_equal(close(b[0]), 0);
    assert_int_equal(close(b[1]), 0);
}

/* Bytes of one tunnel must never reach another. */
static void test_one_with_bytes_is_not_lent_again(void **state)
{
    (void)state;
    struct pipe_pool pool = {0};
    int a[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a), 0);
    struct pipe_lent *lent = pipe_pool_take(&pool);
    assert_non_null(lent);
    assert_int_equal(send(a[0], "secret", 6, 0), 6);
    assert_int_equal(pipe_fill(lent, a[1]), 6);
    int fd = lent->read_fd;
    pipe_pool_give(&pool, lent);
    assert_int_equal(pool.spare_count, 0);
    assert_false(is_open(fd));
    assert_int_equal(close(a[0]), 0);
    assert_int_equal(close(a[1]), 0);
}

static void test_refused(void **state)
{
    (void)state;
    struct pipe_pool pool = {0};
    struct pipe_lent *spare = pipe_pool_take(&pool);
    struct pipe_lent *lent = pipe_pool_take(&pool);
    assert_non_null(spare);
    assert_non_null(lent);
    int fd = spare->read_fd;
    pipe_pool_give(&pool, spare);
    pipe_pool_refuse(&pool, EPERM);
    assert_false(is_open(fd));
    assert_null(pipe_pool_take(&pool));
    fd = lent->read_fd;
    pipe_pool_give(&pool, lent);
    assert_false(is_open(fd));
    assert_true(pipe_is_refusal(EINVAL) && pipe_is_refusal(ENOSYS) && pipe_is_refusal(EPERM));
    assert_false(pipe_is_refusal(EAGAIN) || pipe_is_refusal(ECONNRESET) || pipe_is_refusal(0));
}

/* No descriptor: not now, which is not never. */
static void test_no_descriptor(void **state)
{
    (void)state;
    struct pipe_pool pool = {0};
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(0);
    assert_true(next > 0);
    assert_int_equal(close(next), 0);
    struct rlimit tight = {.rlim_cur = (rlim_t)next + 1, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    struct pipe_lent *lent = pipe_pool_take(&pool);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_null(lent);
    assert_int_equal(pool.lent_count, 0);
    lent = pipe_pool_take(&pool);
    assert_non_null(lent);
    pipe_pool_give(&pool, lent);
    pipe_pool_fini(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lent_and_kept),
        cmocka_unit_test(test_moves_bytes),
        cmocka_unit_test(test_one_with_bytes_is_not_lent_again),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_no_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

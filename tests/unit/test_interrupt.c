/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/interrupt.h"

#include "egress/fence.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Whatever the tests were started from (nohup ignores SIGHUP) must not decide them. */
static int block_signals(void **state)
{
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    sigset_t set;
    (void)state;
    for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++) {
        if (signal(ending[i], SIG_DFL) == SIG_ERR) {
            return -1;
        }
    }
    (void)sigfillset(&set);
    return sigprocmask(SIG_BLOCK, &set, NULL);
}

static void test_input_end_and_time(void **state)
{
    int ends[2];
    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(interrupt_poll(ends[0], 0), 0);
    assert_int_equal(interrupt_poll(ends[0], 1), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_int_equal(interrupt_poll(ends[0], 0), 1);
    assert_int_equal(interrupt_poll(ends[0], -1), 1);
    char c = 0;
    assert_int_equal(read(ends[0], &c, 1), 1);
    (void)close(ends[1]);
    assert_int_equal(interrupt_poll(ends[0], -1), 1);
    (void)close(ends[0]);
}

static void test_each_signal_ends_it(void **state)
{
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    int ends[2];
    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++) {
        assert_int_equal(kill(getpid(), ending[i]), 0);
        assert_int_equal(interrupt_poll(ends[0], -1), -ending[i]); /* also before input */
    }
    assert_int_equal(interrupt_poll(ends[0], -1), 1); /* each was taken once */
    assert_int_equal(kill(getpid(), SIGWINCH), 0);
    assert_int_equal(interrupt_poll(ends[0], -1), 1);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void test_an_ignored_signal_does_not(void **state)
{
    int ends[2];
    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    (void)signal(SIGHUP, SIG_IGN);
    assert_int_equal(kill(getpid(), SIGHUP), 0);
    assert_int_equal(interrupt_poll(ends[0], 0), 0);
    (void)signal(SIGHUP, SIG_DFL);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

/* In a child, since it closes everything. */
static void test_descriptors_are_closed_but_those(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int low = fcntl(STDERR_FILENO, F_DUPFD, 10);
        int kept = fcntl(STDERR_FILENO, F_DUPFD, 20);
        int high = fcntl(STDERR_FILENO, F_DUPFD, 200);
        const int caller[] = {fcntl(STDERR_FILENO, F_DUPFD, 300), fcntl(STDERR_FILENO, F_DUPFD, 30)};
        fence_close_descriptors(kept, caller, 2);
        bool good = fcntl(caller[0], F_GETFD) == 0 && fcntl(caller[1], F_GETFD) == 0 &&
                    fcntl(low, F_GETFD) == -1 && errno == EBADF && fcntl(high, F_GETFD) == -1 &&
                    fcntl(kept, F_GETFD) == 0 && fcntl(STDERR_FILENO, F_GETFD) == 0;
        fence_close_descriptors(-1, NULL, 0);
        good = good && fcntl(kept, F_GETFD) == -1 && fcntl(STDERR_FILENO, F_GETFD) == 0;
        _exit(good ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_input_end_and_time),
        cmocka_unit_test(test_each_signal_ends_it),
        cmocka_unit_test(test_an_ignored_signal_does_not),
        cmocka_unit_test(test_descriptors_are_closed_but_those),
    };
    return cmocka_run_group_tests(tests, block_signals, NULL);
}

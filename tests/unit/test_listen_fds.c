/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/listen_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* What a launched process is told; pid NULL: its own. */
struct launch {
    const char *pid, *fds, *names;
    int sockets; /* at 3, 4, … */
};

enum { CHILD_BROKEN = 100, CHILD_LEFT_OVER, CHILD_WRONG_FLAGS, CHILD_SILENT };

static int child_flags(const struct listen_fds *l)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->fds[i] != 3 + (int)i || (fcntl(l->fds[i], F_GETFD) & FD_CLOEXEC) == 0 ||
            (fcntl(l->fds[i], F_GETFL) & O_NONBLOCK) == 0) {
            return CHILD_WRONG_FLAGS;
        }
    }
    return 0;
}

/* In the child: 0..50 = count taken; 51.. = 51 + errno. */
static int child(const struct launch *l, const char *expected_names)
{
    char own[24];
    struct listen_fds taken;
    struct err err = {""};
    for (int fd = 3; fd < 20; fd++) {
        (void)close(fd);
    }
    for (int i = 0; i < l->sockets; i++) {
        if (socket(AF_UNIX, SOCK_STREAM, 0) != 3 + i) {
            return CHILD_BROKEN;
        }
    }
    clearenv();
    snprintf(own, sizeof(own), "%ld", (long)getpid());
    setenv("LISTEN_PID", l->pid != NULL ? l->pid : own, 1);
    if (l->fds != NULL) {
        setenv("LISTEN_FDS", l->fds, 1);
    }
    if (l->names != NULL) {
        setenv("LISTEN_FDNAMES", l->names, 1);
    }
    int rc = listen_fds_take(&taken, &err);
    if (getenv("LISTEN_PID") != NULL || getenv("LISTEN_FDS") != NULL || getenv("LISTEN_FDNAMES") != NULL) {
        return CHILD_LEFT_OVER;
    }
    if (rc < 0) {
        return err.text[0] != '\0' && taken.count == 0 ? 51 - rc : CHILD_SILENT;
    }
    char names[256] = "";
    for (size_t i = 0; i < taken.count; i++) {
        strncat(names, taken.names[i], sizeof(names) - strlen(names) - 1);
        strncat(names, ",", sizeof(names) - strlen(names) - 1);
    }
    int status = child_flags(&taken);
    if (status == 0 && expected_names != NULL && strcmp(names, expected_names) != 0) {
        status = CHILD_BROKEN;
    }
    if (status == 0) {
        status = (int)taken.count;
    }
    listen_fds_fini(&taken);
    return status;
}

static int launched(struct launch l, const char *expected_names)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        _exit(child(&l, expected_names));
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void test_taken(void **state)
{
    (void)state;
    assert_int_equal(
        launched((struct launch){.fds = "5", .names = "dns:connect:capture:admin:ports", .sockets = 5},
                 "dns,connect,capture,admin,ports,"),
        5);
    assert_int_equal(launched((struct launch){.fds = "1", .names = "dns", .sockets = 1}, "dns,"), 1);
    assert_int_equal(launched((struct launch){.fds = "0", .names = ""}, ""), 0);
}

static void test_not_for_us(void **state)
{
    (void)state;
    assert_int_equal(launched((struct launch){.pid = "1", .fds = "1", .names = "dns", .sockets = 1}, ""), 0);
    assert_int_equal(launched((struct launch){.names = "dns"}, ""), 0);
}

static void test_refused(void **state)
{
    (void)state;
    const int invalid = 51 + EINVAL;
    assert_int_equal(launched((struct launch){.fds = "1", .names = "http", .sockets = 1}, NULL), invalid);
    assert_int_equal(launched((struct launch){.fds = "1", .names = "", .sockets = 1}, NULL), invalid);
    assert_int_equal(launched((struct launch){.fds = "1", .sockets = 1}, NULL), invalid);
    assert_int_equal(launched((struct launch){.fds = "2", .names = "dns", .sockets = 2}, NULL), invalid);
    assert_int_equal(launched((struct launch){.fds = "1", .names = "dns:dns", .sockets = 1}, NULL), invalid);
    assert_int_equal(launched((struct launch){.fds = "1025", .names = "dns"}, NULL), invalid);
    assert_int_equal(launched((struct launch){.fds = "-1", .names = "dns"}, NULL), invalid);
    assert_int_equal(launched((struct launch){.fds = "x", .names = "dns"}, NULL), invalid);
    assert_int_equal(launched((struct launch){.fds = "", .names = "dns"}, NULL), invalid);
    assert_int_equal(launched((struct launch){.pid = "me", .fds = "1", .names = "dns", .sockets = 1}, NULL),
                     invalid);
    /* a promise of a descriptor that is not there */
    assert_int_equal(launched((struct launch){.fds = "2", .names = "dns:dns", .sockets = 1}, NULL),
                     51 + EBADF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_not_for_us),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("listen_fds", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/err.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_set_and_prefix(void **state)
{
    (void)state;
    struct err e = {.text = ""};
    err_set(&e, "bad port %d", 0);
    assert_string_equal(e.text, "bad port 0");
    err_prefix(&e, "%s:%d", "policy.yaml", 7);
    assert_string_equal(e.text, "policy.yaml:7: bad port 0");
    err_set(&e, "%s", "another");
    assert_string_equal(e.text, "another");
    err_prefix(&e, "%s", "");
    assert_string_equal(e.text, "another");
    err_set(NULL, "nobody listens");
    err_prefix(NULL, "nobody listens");
    err_add_hint(&e, "do this");
    assert_string_equal(e.text, "another: do this");
    err_add_hint(&e, "");
    assert_string_equal(e.text, "another: do this");
    err_add_hint(NULL, "nobody listens");
}

/* What an error quotes may come from anywhere: it must not steer a terminal, nor add a line of its own. */
static void test_hostile_texts(void **state)
{
    (void)state;
    struct err e;
    err_set(&e, "no file \"%s\"", "a\x1b[2J\nb");
    assert_string_equal(e.text, "no file \"a?[2J?b\"");
    err_prefix(&e, "%s", "\xc2\x9b\xff");
    assert_string_equal(e.text, "??: no file \"a?[2J?b\"");
}

static void test_long_texts_are_cut(void **state)
{
    (void)state;
    char longer[600];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    struct err e;
    err_set(&e, "%s", longer);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    err_prefix(&e, "p");
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    assert_memory_equal(e.text, "p: xxx", 6);
    err_set(&e, "short");
    err_prefix(&e, "%s", longer);
    assert_int_equal(strlen(e.text), sizeof e.text - 1);
    assert_int_equal(e.text[sizeof e.text - 2], 'x');
}

/* Runs body in a child; its standard error goes to text. Returns the wait status. */
static int run_child(void (*body)(void), char *text, size_t cap)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)signal(SIGABRT, SIG_DFL);
        if (dup2(fds[1], STDERR_FILENO) < 0) {
            _exit(99);
        }
        body();
        _exit(0);
    }
    (void)close(fds[1]);
    size_t len = 0;
    ssize_t n;
    while (len < cap - 1 && (n = read(fds[0], text + len, cap - 1 - len)) > 0) {
        len += (size_t)n;
    }
    text[len] = '\0';
    (void)close(fds[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void fail_require(void)
{
    REQUIRE(1 + 1 == 2);
    REQUIRE(1 + 1 == 3);
}

static void fail_check(void)
{
    bool fine = CHECK(2 > 1);
    bool bad = CHECK(1 > 2);
    _exit(fine && !bad && err_checks_failed() == 1 ? 7 : 8);
}

static void fail_check_often(void)
{
    for (int i = 0; i < 1000; i++) {
        (void)CHECK(1 > 2);
    }
    _exit(err_checks_failed() == 1000 ? 7 : 8);
}

static void test_require_aborts(void **state)
{
    (void)state;
    char text[1024];
    int status = run_child(fail_require, text, sizeof text);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, "REQUIRE failed: 1 + 1 == 3 at "));
    assert_non_null(strstr(text, "test_err.c:"));
    assert_null(strstr(text, "1 + 1 == 2"));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1); /* one line */
}

static void test_check_says_and_counts(void **state)
{
    (void)state;
    char text[32768];
    int status = run_child(fail_check, text, sizeof text);
    assert_non_null(strstr(text, "CHECK failed: 1 > 2 at "));
    assert_null(strstr(text, "2 > 1 at"));
#ifdef DEBUG_CHECKS
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    (void)fail_check_often;
#else
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    status = run_child(fail_check_often, text, sizeof text);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    int lines = 0;
    for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++) {
        lines++;
    }
    assert_int_equal(lines, 64 + 3); /* then 128, 256, 512 */
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_and_prefix),        cmocka_unit_test(test_hostile_texts),
        cmocka_unit_test(test_long_texts_are_cut),    cmocka_unit_test(test_require_aborts),
        cmocka_unit_test(test_check_says_and_counts),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* `openshell-egress check` as a person or an editor calls it: arguments in, status and two streams out. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/run/policy_report.h"
#include "egress/commands.h"
#include "tests/support/scratch_dir.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define OUT_CAP 8192

static struct scratch_dir dir;

struct result {
    int status;
    char out[OUT_CAP], err[OUT_CAP];
};

static void read_back(const char *name, char *text)
{
    char path[SCRATCH_PATH_CAP];
    FILE *f = fopen(scratch_dir_path(&dir, name, path), "re");
    assert_non_null(f);
    size_t len = fread(text, 1, OUT_CAP - 1, f);
    text[len] = '\0';
    (void)fclose(f);
}

static void redirect(int fd, const char *name, int flags)
{
    char path[SCRATCH_PATH_CAP];
    int file = open(scratch_dir_path(&dir, name, path), flags | O_CLOEXEC, 0600);
    if (file < 0 || dup2(file, fd) != fd) {
        _exit(99);
    }
}

/* In the scratch directory, so that paths are short; input is what standard input holds. */
static struct result check(const char *input, const char *const *arguments)
{
    struct result r = {.status = -1};
    char texts[8][32] = {"check"}; /* main's arguments are the program's own to write */
    char *argv[9] = {texts[0]};
    int argc = 1;
    for (; arguments[argc - 1] != NULL; argc++) {
        assert_true(argc < 8);
        (void)snprintf(texts[argc], sizeof texts[argc], "%s", arguments[argc - 1]);
        argv[argc] = texts[argc];
    }
    scratch_dir_write(&dir, "in", input, strlen(input));
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)signal(SIGSEGV,
                     SIG_DFL); /* else cmocka goes on with the next test in here, where nobody sees it */
        redirect(0, "in", O_RDONLY);
        redirect(1, "out", O_WRONLY | O_CREAT | O_TRUNC);
        redirect(2, "err", O_WRONLY | O_CREAT | O_TRUNC);
        exit(chdir(dir.path) == 0 ? command_check(argc, argv) : 99);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    r.status = WEXITSTATUS(status);
    read_back("out", r.out);
    read_back("err", r.err);
    return r;
}
#define CHECK_WITH(input, ...) check(input, (const char *const[]){__VA_ARGS__, NULL})

static int set_up(void **state)
{
    (void)state;
    static const char good[] =
        "version: 1\nnetwork_policies:\n  r:\n    binaries: [{ path: /** }]\n    endpoints:\n"
        "      - { host: a.example.com, port: 443 }\n";
    static const char warns[] =
        "version: 1\nnetwork_policies:\n  w:\n    binaries: [{ path: /** }]\n    endpoints:\n"
        "      - { host: dns.google, port: 443 }\n";
    static const char bad[] = "version: 1\nnetwork_policies:\n  b\xc3\xb6: { endpoint: [] }\n";
    scratch_dir_make(&dir);
    scratch_dir_write(&dir, "good.yaml", good, sizeof good - 1);
    scratch_dir_write(&dir, "warns.yaml", warns, sizeof warns - 1);
    scratch_dir_write(&dir, "bad.yaml", bad, sizeof bad - 1);
    scratch_dir_write(&dir, "-", good, sizeof good - 1);
    (void)unsetenv("NO_COLOR");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_dir_remove(&dir);
    return 0;
}

static void test_text(void **state)
{
    (void)state;
    struct result r = CHECK_WITH("", "good.yaml");
    assert_int_equal(r.status, 0);
    assert_string_equal(r.out, "1 rules, 1 endpoints: 0 errors, 0 warnings\n");
    assert_string_equal(r.err, "");
    r = CHECK_WITH("", "--format", "text", "--", "good.yaml", "warns.yaml");
    assert_int_equal(r.status, 0); /* warnings do not change it */
    assert_string_equal(r.out, "2 rules, 2 endpoints: 0 errors, 1 warnings\n");
    assert_int_equal(strncmp(r.err, "warns.yaml:6:9: warning: \"dns.google\" is a public resolver", 57), 0);
    assert_null(strchr(r.err, '\033'));
    r = CHECK_WITH("", "bad.yaml");
    assert_int_equal(r.status, 1);
    assert_string_equal(r.out, "1 errors, 1 warnings\n");
    assert_non_null(strstr(r.err, "bad.yaml:3:9: error: unknown key \"endpoint\" in a rule\n"));
}

/* In colour on a terminal only, and there neither against the user's will nor where it would be shown as
 * text. */
static void test_colour(void **state)
{
    (void)state;
    int pty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (pty < 0 || grantpt(pty) != 0 || unlockpt(pty) != 0) {
        print_message("no pseudo-terminal can be made here\n");
        skip();
    }
    int terminal = open(ptsname(pty), O_RDWR | O_NOCTTY | O_CLOEXEC);
    int file = open("/dev/null", O_WRONLY | O_CLOEXEC);
    assert_true(terminal >= 0 && file >= 0);
    (void)setenv("TERM", "xterm", 1);
    assert_true(policy_report_wants_colour(terminal));
    assert_false(policy_report_wants_colour(file));
    (void)setenv("NO_COLOR", "", 1);
    assert_true(policy_report_wants_colour(terminal));
    (void)setenv("NO_COLOR", "0", 1);
    assert_false(policy_report_wants_colour(terminal));
    (void)unsetenv("NO_COLOR");
    (void)setenv("TERM", "dumb", 1);
    assert_false(policy_report_wants_colour(terminal));
    (void)unsetenv("TERM");
    assert_false(policy_report_wants_colour(terminal));
    (void)close(file);
    (void)close(terminal);
    (void)close(pty);
}

static void test_unreadable(void **state)
{
    (void)state;
    struct result r = CHECK_WITH("", "no.yaml", "bad.yaml");
    assert_int_equal(r.status, 1);
    assert_non_null(strstr(r.err, "no.yaml: error: cannot be read: "));
    assert_non_null(strstr(r.err, "unknown key")); /* the other file is looked at all the same */
    assert_string_equal(r.out, "2 errors, 1 warnings\n");
}

static void test_usage(void **state)
{
    (void)state;
    static const char *const rows[][4] = {
        {NULL},
        {"--", NULL},
        {"--format", NULL},
        {"--format", "xml", "good.yaml", NULL},
        {"-x", NULL},
        {"--format=", NULL},
        {"--format", "json", NULL},
        {"--formats", "good.yaml", NULL},
        {"--x", "--help", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct result r = check("", rows[i]);
        if (r.status != 2 || strstr(r.err, "usage: openshell-egress check") == NULL || r.out[0] != '\0') {
            fail_msg("row %zu: status %d, %s", i, r.status, r.err);
        }
    }
    struct result r = CHECK_WITH("", "--help");
    assert_int_equal(r.status, 0);
    assert_int_equal(strncmp(r.out, "usage: openshell-egress check", 29), 0);
}

static void test_json(void **state)
{
    (void)state;
    struct result r = CHECK_WITH("", "--format=json", "good.yaml");
    assert_int_equal(r.status, 0);
    assert_string_equal(r.err, "");
    assert_string_equal(r.out,
                        "{\"files\":[\"good.yaml\"],\"rules\":1,\"endpoints\":1,\"errors\":0,\"warnings\":0,"
                        "\"diagnostics\":[]}\n");
    r = CHECK_WITH("", "--format", "json", "bad.yaml", "no.yaml");
    assert_int_equal(r.status, 1);
    assert_string_equal(r.err, "");
    static const char head[] =
        "{\"files\":[\"bad.yaml\"],\"rules\":0,\"endpoints\":0,\"errors\":2,\"warnings\":1,"
        "\"diagnostics\":[{\"severity\":\"error\",\"file\":\"no.yaml\",\"line\":0,\"column\":0,"
        "\"length\":0,\"message\":\"cannot be read: No such file or directory\",\"hint\":";
    assert_int_equal(strncmp(r.out, head, sizeof head - 1), 0);
    /* columns and lengths count characters, not bytes */
    assert_non_null(
        strstr(r.out, "{\"severity\":\"error\",\"file\":\"bad.yaml\",\"line\":3,\"column\":9,\"length\":8,"
                      "\"message\":\"unknown key \\\"endpoint\\\" in a rule\","
                      "\"hint\":\"did you mean \\\"endpoints\\\"?\","
                      "\"source\":\"  b\\u00f6: { endpoint: [] }\"}"));
}

static void test_stdin(void **state)
{
    (void)state;
    struct result r = CHECK_WITH("version: 2\n", "-");
    assert_int_equal(r.status, 1);
    assert_int_equal(strncmp(r.err, "<stdin>:1:10: error: ", 21), 0);
    r = CHECK_WITH("version: 1\n", "--format", "json", "good.yaml", "-");
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(r.out, "{\"files\":[\"good.yaml\",\"<stdin>\"],\"rules\":1,"));
    r = CHECK_WITH("version: 2\n", "./-"); /* a file of that name */
    assert_int_equal(r.status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),  cmocka_unit_test(test_colour), cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_usage), cmocka_unit_test(test_json),   cmocka_unit_test(test_stdin),
    };
    return cmocka_run_group_tests_name("check", tests, set_up, tear_down);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What daemon_main promises to its daemons and to whoever starts, reloads and ends them. Each case runs it in
 * a child and looks at its exit status, its standard error and what its hooks counted.
 */
#include "tests/support/failing_epoll.h"
#include "tests/support/fake_daemon.h"

#include "common/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static void test_asked_for_text(void **state)
{
    (void)state;
    struct fake_child c;
    FAKE_START(&c, &fake_plain, "--help", "--bogus");
    assert_int_equal(fake_end_of(&c), 0);
    fake_printed(&c, "Usage: fake [OPTION]");
    fake_printed(&c, "--synthetic-ttl DURATION");
    FAKE_START(&c, &fake_plain, "--version");
    assert_int_equal(fake_end_of(&c), 0);
    fake_printed(&c, "fake " PACKAGE_VERSION "\n" BUILD_SUMMARY "\n");
    FAKE_START(&c, &fake_plain, "--dump-config", "--deny=nodata");
    assert_int_equal(fake_end_of(&c), 0);
    fake_printed(&c, "nodata  # from option\n");
    fake_printed(&c, "# from environment\n"); /* FAKE_READY_FD */
    assert_int_equal(fake_counts->opened, 0);
}

static void test_usage_errors(void **state)
{
    (void)state;
    struct fake_child c;
    FAKE_START(&c, &fake_plain, "--bogus", "--help");
    assert_int_equal(fake_end_of(&c), 64);
    assert_int_equal(strncmp(c.text, "fake: --bogus: ", 15), 0);
    fake_printed(&c, "'fake --help'");
    FAKE_START(&c, &fake_plain, "--deny-ttl", "5x");
    assert_int_equal(fake_end_of(&c), 64);
    assert_int_equal(strncmp(c.text, "fake: --deny-ttl: ", 18), 0);
    FAKE_START(&c, &fake_plain, "--ttl-min=2s", "--ttl-max=1s");
    assert_int_equal(fake_end_of(&c), 64);
    fake_printed(&c, "fake: --ttl-min is greater");
    FAKE_START(&c, &fake_plain, "--ready-fd=900");
    assert_int_equal(fake_end_of(&c), 64);
    fake_printed(&c, "fake: --ready-fd: 900 is not an open descriptor");
}

/* What it is given in the environment, with a socket at 3; it must be refused with that text. */
static void refused_with(const char *control, const char *ready, const char *listen_fds, const char *said)
{
    int out[2], status = 0;
    size_t len = 0;
    char program[] = "fake", policy[120], text[512] = "", own[24];
    char *argv[] = {program, policy, NULL};
    snprintf(policy, sizeof(policy), "--policy=%s", fake_policy_path);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(out[1], STDERR_FILENO);
        (void)dup2(socket(AF_UNIX, SOCK_STREAM, 0), 3);
        snprintf(own, sizeof(own), "%ld", (long)getpid());
        setenv("LISTEN_PID", own, 1);
        setenv("LISTEN_FDS", listen_fds, 1);
        setenv("LISTEN_FDNAMES", "dns", 1);
        setenv("FAKE_READY_FD", ready, 1);
        setenv("FAKE_LOG_LEVEL", "error", 1);
        setenv("OPENSHELL_CONTROL_FD", control, 1);
        exit(fake_daemon_main(&fake_plain, argv));
    }
    close(out[1]);
    for (ssize_t n; (n = read(out[0], text + len, sizeof(text) - 1 - len)) > 0;) {
        len += (size_t)n;
    }
    close(out[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (strstr(text, said) == NULL || !WIFEXITED(status) || WEXITSTATUS(status) != 64) {
        fail_msg("not status 64 with \"%s\", but %x:\n%s", said, (unsigned)status, text);
    }
}

static void test_bad_control_descriptor(void **state)
{
    (void)state;
    static const char *const bad[] = {"900", "2", "x", "", "-1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        refused_with(bad[i], "0", "0", "OPENSHELL_CONTROL_FD");
    }
}

/* READY went into the socket, it was closed, and libev aborted when it watched it. */
static void test_descriptor_given_twice(void **state)
{
    (void)state;
    char text[16];
    const int some = open("/dev/null", O_WRONLY | O_CLOEXEC);
    const int other = fcntl(some, F_DUPFD_CLOEXEC, 4); /* not 3 */
    snprintf(text, sizeof(text), "%d", other);
    refused_with(text, "3", "1", "fake: --ready-fd: 3 is a socket passed by LISTEN_FDS");
    refused_with("3", "0", "1", "fake: OPENSHELL_CONTROL_FD: 3 is a socket passed by LISTEN_FDS");
    refused_with("3", "3", "0", "fake: --ready-fd: 3 is OPENSHELL_CONTROL_FD");
    close(other);
    close(some);
}

static void test_policy_errors(void **state)
{
    (void)state;
    struct fake_child c;
    char place[128];
    fake_write_policy(1, "  r8:\n    nmae: x\n  r9:\n    endpints: []\n");
    FAKE_START(&c, &fake_plain, "--workers=1");
    assert_int_equal(fake_end_of(&c), 78);
    snprintf(place, sizeof(place), "%s:9:5: error: ", fake_policy_path);
    fake_printed(&c, place); /* every error with its place */
    snprintf(place, sizeof(place), "%s:11:5: error: ", fake_policy_path);
    fake_printed(&c, place);
    assert_int_equal(fake_counts->opened, 0);
    assert_int_equal(unlink(fake_policy_path), 0);
    FAKE_START(&c, &fake_plain, "--workers=1");
    assert_int_equal(fake_end_of(&c), 78);
    fake_printed(&c, fake_policy_path);
    struct fake_script refusing = fake_plain;
    refusing.refuse_rules = 1;
    fake_write_policy(1, "");
    FAKE_START(&c, &refusing, "--workers=1");
    assert_int_equal(fake_end_of(&c), 78);
    fake_printed(&c, "fake: this policy cannot be served here");
}

#define IN_POOL                                                                                              \
    "  r9:\n    endpoints: [{ host: a.example.org, port: 1, allowed_ips: [198.18.7.0/24] }]\n"               \
    "    binaries: [{ path: /** }]\n"
#define IN_POOL_SAID "allowed_ips: 198.18.7.0/24 is in the way of the synthetic addresses 198.18.0.0/15"

/* At a start, with --check, and at a reload; another pool makes the same policy good. */
static void test_policy_in_pool(void **state)
{
    (void)state;
    struct fake_child c;
    fake_write_policy(1, IN_POOL);
    FAKE_START(&c, &fake_plain, "--workers=1");
    assert_int_equal(fake_end_of(&c), 78);
    fake_printed(&c, IN_POOL_SAID);
    assert_int_equal(fake_counts->opened, 0);
    FAKE_START(&c, &fake_plain, "--check");
    assert_int_equal(fake_end_of(&c), 78);
    fake_printed(&c, IN_POOL_SAID);
    FAKE_START(&c, &fake_plain, "--check", "--pool=10.64.0.0/16");
    assert_int_equal(fake_end_of(&c), 0);
    fake_write_policy(1, "");
    FAKE_START(&c, &fake_plain, "--workers=1");
    fake_wait_ready(&c);
    fake_write_policy(1, IN_POOL);
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    fake_wait_for(&c, IN_POOL_SAID, 1);
    fake_wait_for(&c, "kept_generation=1", 1);
    fake_write_policy(2, "");
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    fake_wait_for(&c, " policy_loaded generation=2", 1);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    assert_int_equal(fake_end_of(&c), 0);
    fake_write_policy(1, "");
}

static void test_check(void **state)
{
    (void)state;
    struct fake_child c;
    FAKE_START(&c, &fake_plain, "--check");
    assert_int_equal(fake_end_of(&c), 0);
    fake_printed(&c, "1 rules, 1 endpoints");
    fake_write_policy(1, "  r9:\n    endpints: []\n");
    FAKE_START(&c, &fake_plain, "--check");
    assert_int_equal(fake_end_of(&c), 78);
    fake_printed(&c, ":9:5: error: ");
    FAKE_START(&c, &fake_plain, "--check", "--ttl-min=2s", "--ttl-max=1s"); /* both are told */
    assert_int_equal(fake_end_of(&c), 64);
    fake_printed(&c, ":9:5: error: ");
    fake_printed(&c, "--ttl-min is greater");
    fake_write_policy(1, "");
    FAKE_START(&c, &fake_plain, "--check",
               "--user=nosuchuser"); /* as a start, which said it and this did not */
    assert_int_equal(fake_end_of(&c), 78);
    fake_printed(&c, "there is no user nosuchuser");
    FAKE_START(&c, &fake_plain, "--check", "--pool=10.0.0.1"); /* was told twice */
    assert_int_equal(fake_end_of(&c), 64);
    const char *said = strstr(c.text, "--pool");
    assert_non_null(said);
    assert_null(strstr(said + 1, "--pool"));
    struct fake_script unopenable = fake_plain;
    unopenable.check_open_rc = -EINVAL;
    FAKE_START(&c, &unopenable, "--check");
    assert_int_equal(fake_end_of(&c), 78);
    fake_printed(&c, "fake: nobody to ask\n");
    assert_int_equal(fake_counts->opened, 0);
}

static void test_open_errors(void **state)
{
    (void)state;
    struct fake_child c;
    struct fake_script failing = fake_plain;
    failing.open_rc = -EADDRINUSE;
    FAKE_START(&c, &failing, "--workers=1");
    assert_int_equal(fake_end_of(&c), 71);
    fake_printed(&c, "fake: 192.0.2.1:53: Address already in use\n");
    failing.open_rc = -EINVAL;
    FAKE_START(&c, &failing, "--workers=1");
    assert_int_equal(fake_end_of(&c), 78);
    failing.open_rc = 0;
    failing.start_fails_at = 2;
    FAKE_START(&c, &failing, "--workers=4");
    assert_int_equal(fake_end_of(&c), 71); /* and the two that had started were stopped */
    fake_printed(&c, "fake: worker 2: no more");
    assert_int_equal(fake_counts->started, 2);
}

/* Whatever ends the start, once it is known that programs read the log: one object each line, and nothing
 * else. */
static void test_open_errors_as_json(void **state)
{
    (void)state;
    struct fake_child c;
    struct fake_script failing = fake_plain;
    failing.open_rc = -EADDRINUSE;
    FAKE_START(&c, &failing, "--workers=1", "--log-format=json");
    assert_int_equal(fake_end_of(&c), 71);
    fake_printed(
        &c, "\"event\":\"start_failed\",\"why\":\"192.0.2.1:53: Address already in use\",\"status\":71}\n");
    assert_null(strstr(c.text, "\nfake: "));
    FAKE_START(&c, &fake_plain, "--ttl-min=2s", "--ttl-max=1s", "--log-format=json");
    assert_int_equal(fake_end_of(&c), 64);
    assert_int_equal(strncmp(c.text, "{\"time\":", 8), 0);
    FAKE_START(&c, &fake_plain, "--log-format=json", "--bogus"); /* who knows what the rest would have said */
    assert_int_equal(fake_end_of(&c), 64);
    assert_int_equal(strncmp(c.text, "fake: --bogus: ", 15), 0);
    fake_write_policy(1, "  r8:\n    nmae: x\n");
    FAKE_START(&c, &fake_plain, "--workers=1", "--log-format=json");
    assert_int_equal(fake_end_of(&c), 78);
    fake_printed(&c, "\"event\":\"policy_error\",\"file\":");
    fake_printed(&c, "\"event\":\"start_failed\",\"why\":\"no usable policy (");
    assert_null(strstr(c.text, ": error: "));
    fake_write_policy(1, "");
}

static void test_serve_and_end(void **state)
{
    (void)state;
    static const int signals[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < 2; i++) {
        struct fake_child c;
        FAKE_START(&c, &fake_plain, "--workers=3");
        fake_wait_ready(&c);
        assert_int_equal(fake_counts->started, 3);
        assert_int_equal(kill(c.pid, signals[i]), 0);
        assert_int_equal(fake_end_of(&c), 0);
        fake_printed(&c, " start ");
        fake_printed(&c, "workers=3");
        fake_printed(&c, " ready");
        fake_printed(&c, i == 0 ? "why=SIGTERM" : "why=SIGINT");
        fake_printed(&c, "drained=true");
        assert_int_equal(fake_counts->drained, 3);
    }
}

static void test_drain(void **state)
{
    (void)state;
    struct fake_child c;
    struct fake_script slow = fake_plain;
    slow.never_drained = true;
    FAKE_START(&c, &slow, "--workers=2"); /* a second signal ends at once */
    fake_wait_ready(&c);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    fake_wait_for(&c, " stopping ", 1);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    assert_int_equal(fake_end_of(&c), 0);
    fake_printed(&c, "drained=false");
    slow.drain_ms = 20; /* and so does the end of the time */
    FAKE_START(&c, &slow, "--workers=2");
    fake_wait_ready(&c);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    assert_int_equal(fake_end_of(&c), 0);
    fake_printed(&c, "drained=false");
    slow.drain_ms = 0;
    FAKE_START(&c, &slow, "--workers=2");
    fake_wait_ready(&c);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    assert_int_equal(fake_end_of(&c), 0);
    assert_int_equal(fake_counts->drained, 2); /* told to stop all the same */
}

/* Signals, the files, and what threads tell each other: each was lost for good with one failed epoll_ctl(2),
 * or the process aborted. */
static void test_deaf_after_a_failed_epoll_ctl(void **state)
{
    (void)state;
    struct fake_child c;
    failing_epoll_adds(12); /* in the child: some of them twice */
    FAKE_START(&c, &fake_plain, "--workers=2");
    failing_epoll_adds(0);
    fake_wait_ready(&c);
    fake_wait_for(&c, "watch_failed what=signals", 1);
    fake_wait_for(&c, "watch_failed what=wake_up", 3);
    fake_write_policy(3, "");
    fake_wait_for(&c, " policy_loaded ", 1);
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    fake_wait_for(&c, " policy_unchanged ", 1);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    assert_int_equal(fake_end_of(&c), 0);
    fake_printed(&c, "drained=true");
}

static void test_launcher_gone(void **state)
{
    (void)state;
    struct fake_child c;
    struct fake_script slow = fake_plain;
    slow.never_drained = true;
    FAKE_START(&c, &slow, "--workers=2");
    fake_wait_ready(&c);
    assert_int_equal(write(c.control, "noise", 5), 5);
    close(c.control);
    c.control = -1;
    assert_int_equal(fake_end_of(&c), 0);
    fake_printed(&c, "why=\"launcher gone\"");
}

static void test_reload(void **state)
{
    (void)state;
    struct fake_child c;
    struct fake_script refusing = fake_plain;
    refusing.refuse_rules = 3;
    FAKE_START(&c, &refusing, "--workers=4");
    fake_wait_ready(&c);
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    fake_wait_for(&c, " policy_unchanged generation=1", 1);
    fake_write_policy(2, "");
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    fake_wait_for(&c, " policy_loaded generation=2 rules=2 endpoints=2 added=1 removed=0 changed=0", 1);
    fake_wait_for(&c, " policy_rule_added rule=r1 detail=\"+a1.example.org:443 +binary:/usr/bin/node\"", 1);
    assert_int_equal(fake_counts->policies, 4); /* every worker had taken it when that was said */
    fake_write_policy(2, "  r9:\n    endpints: []\n");
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    fake_wait_for(&c, " policy_reload_failed ", 1);
    fake_wait_for(&c, " policy_error ", 1);
    fake_wait_for(&c, "line=14 col=5 ", 1);
    fake_wait_for(&c, "kept_generation=2", 1);
    fake_write_policy(3, ""); /* good, but its hook refuses it */
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    fake_wait_for(&c, "cannot be served here", 1);
    assert_int_equal(kill(c.pid, SIGHUP), 0); /* and again, though the text did not change */
    fake_wait_for(&c, "cannot be served here", 2);
    fake_write_policy(4, "");
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    fake_wait_for(&c, " policy_loaded generation=3 rules=4 endpoints=4", 1);
    assert_int_equal(fake_counts->policies, 8);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    assert_int_equal(fake_end_of(&c), 0);
}

/* What the daemon opens for a policy; SIGHUP tries again what it could not have, and the workers hear of it.
 */
static void test_follow(void **state)
{
    (void)state;
    struct fake_child c;
    struct fake_script script = fake_plain;
    script.open_policy_rc = -EACCES;
    FAKE_START(&c, &script, "--workers=1");
    assert_int_equal(fake_end_of(&c), 71);
    fake_printed(&c, "fake: [::]:443: Permission denied");
    script.open_policy_rc = -EINVAL;
    FAKE_START(&c, &script, "--workers=1");
    assert_int_equal(fake_end_of(&c), 78);
    script.open_policy_rc = 0;
    script.has_news = true;
    FAKE_START(&c, &script, "--workers=3");
    fake_wait_ready(&c);
    assert_int_equal(fake_counts->followed, 1);
    for (unsigned i = 1; i <= 5; i++) {
        assert_int_equal(kill(c.pid, SIGHUP), 0);
        fake_wait_for(&c, " policy_unchanged generation=1", i);
        assert_int_equal(fake_counts->followed, 1 + i);
    }
    fake_write_policy(2, "");
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    fake_wait_for(&c, " policy_loaded generation=2", 1);
    assert_int_equal(fake_counts->followed, 7);
    assert_int_equal(fake_counts->policies, 3 * 6);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    assert_int_equal(fake_end_of(&c), 0);
    fake_write_policy(1, "");
}

/* No signal: the daemon sees the files itself. A text that was refused is told once, and again when asked. */
static void test_files_change(void **state)
{
    (void)state;
    struct fake_child c;
    struct fake_script refusing = fake_plain;
    refusing.refuse_rules = 5;
    FAKE_START(&c, &refusing, "--workers=4", "--log-level=debug");
    fake_wait_ready(&c);
    fake_write_policy(2, "");
    fake_wait_for(&c, " policy_loaded generation=2 rules=2 endpoints=2", 1);
    assert_int_equal(fake_counts->policies, 4);
    fake_write_policy(2, ""); /* written anew, but it says the same */
    fake_wait_for(&c, " debug fake policy_unchanged generation=2", 1);
    fake_write_policy(2, "  r9:\n    endpints: []\n");
    fake_wait_for(&c, " policy_error ", 1);
    fake_write_policy(2, "  r9:\n    endpints: []\n"); /* the same mistake, written anew */
    fake_write_policy(2, "");
    fake_wait_for(&c, " info fake policy_restored generation=2", 1);
    assert_int_equal(unlink(fake_policy_path), 0);
    fake_wait_for(&c, " why=\"No such file or directory\" errors=1 kept_generation=2", 1);
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    fake_wait_for(&c, " why=\"No such file or directory\" errors=1 kept_generation=2", 2);
    fake_write_policy(2, "");
    fake_wait_for(&c, " policy_restored generation=2", 2);
    fake_write_policy(5, "");
    fake_wait_for(&c, "cannot be served here", 1);
    fake_write_policy(5, "");
    assert_int_equal(utimes(fake_policy_path, NULL), 0);
    fake_write_policy(3, "");
    fake_wait_for(&c, " policy_loaded generation=3 rules=3 endpoints=3", 1);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    assert_int_equal(fake_end_of(&c), 0);
}

/* The same mistake touched again is not told again: the next line of the log is about something else. */
static void test_refused_once(void **state)
{
    (void)state;
    struct fake_child c;
    FAKE_START(&c, &fake_plain, "--workers=1", "--log-level=debug");
    fake_wait_ready(&c);
    fake_write_policy(1, "  r9:\n    endpints: []\n");
    fake_wait_for(&c, " policy_reload_failed ", 1);
    fake_write_policy(1, "  r9:\n    endpints: []\n");
    fake_wait_for(&c, " policy_still_refused ", 1);
    fake_write_policy(1, "");
    fake_wait_for(&c, " policy_restored ", 1);
    fake_write_policy(1, "  r9:\n    endpints: []\n"); /* once it was good in between, it is news */
    fake_wait_for(&c, " policy_reload_failed ", 2);
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    fake_wait_for(&c, " policy_reload_failed ", 3);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    assert_int_equal(fake_end_of(&c), 0);
    assert_null(strstr(c.text, "generation=2"));
}

/* Reloads as fast as they come, while workers take them; the last policy always arrives. */
static void test_many_reloads(void **state)
{
    (void)state;
    struct fake_child c;
    FAKE_START(&c, &fake_plain, "--workers=4");
    fake_wait_ready(&c);
    for (unsigned i = 0; i < 100; i++) {
        fake_write_policy(2 + i % 2, "");
        assert_int_equal(kill(c.pid, SIGHUP), 0);
    }
    fake_write_policy(11, "");
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    fake_wait_for(&c, " rules=11 endpoints=11", 1);
    fake_write_policy(80, ""); /* no more than 50 lines about one reload */
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    fake_wait_for(&c, " policy_changes_suppressed suppressed=19", 1);
    fake_write_policy(1, "");
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    assert_int_equal(fake_end_of(&c), 0);
}

static void test_user(void **state)
{
    (void)state;
    struct fake_child c;
    FAKE_START(&c, &fake_plain, "--workers=1", "--user=no-such-user-here");
    assert_int_equal(fake_end_of(&c), 78);
    fake_printed(&c, "--user: there is no user no-such-user-here");
    const struct passwd *nobody = getpwnam("nobody");
    if (geteuid() != 0 || nobody == NULL) {
        print_message("NOT TESTED: --user of another user (needs root and the user nobody)\n");
        return;
    }
    assert_int_equal(chmod(fake_dir, 0755), 0);
    FAKE_START(&c, &fake_plain, "--workers=1", "--user=nobody");
    fake_wait_ready(&c);
    assert_int_equal(fake_counts->uid, nobody->pw_uid);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    assert_int_equal(fake_end_of(&c), 0);
    assert_null(strstr(c.text, "running_as_root"));
    assert_int_equal(chmod(fake_dir, 0711), 0); /* it can be read there, but not watched */
    FAKE_START(&c, &fake_plain, "--workers=1", "--user=nobody");
    fake_wait_ready(&c);
    fake_wait_for(&c, " policy_watch_failed directory=/", 1);
    fake_wait_for(&c, "why=\"Permission denied\" hint=\"make the directory readable", 1);
    fake_write_policy(2, "");
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    fake_wait_for(&c, " policy_loaded generation=2 ", 1);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    assert_int_equal(fake_end_of(&c), 0);
    assert_int_equal(chmod(fake_dir, 0755), 0);
    assert_int_equal(chmod(fake_policy_path, 0600), 0); /* found out now, not at the first reload */
    FAKE_START(&c, &fake_plain, "--workers=1", "--user=nobody");
    assert_int_equal(fake_end_of(&c), 78);
    assert_int_equal(fake_counts->started, 0);
    FAKE_START(&c, &fake_plain, "--workers=1");
    fake_wait_ready(&c);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    assert_int_equal(fake_end_of(&c), 0);
    fake_printed(&c, " running_as_root ");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, fake_set_up, fake_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_asked_for_text),
        CASE(test_usage_errors),
        CASE(test_bad_control_descriptor),
        CASE(test_descriptor_given_twice),
        CASE(test_policy_errors),
        CASE(test_policy_in_pool),
        CASE(test_check),
        CASE(test_open_errors),
        CASE(test_open_errors_as_json),
        CASE(test_serve_and_end),
        CASE(test_drain),
        CASE(test_deaf_after_a_failed_epoll_ctl),
        CASE(test_launcher_gone),
        CASE(test_reload),
        CASE(test_follow),
        CASE(test_many_reloads),
        CASE(test_files_change),
        CASE(test_refused_once),
        CASE(test_user),
    };
    return cmocka_run_group_tests_name("daemon", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon of nothing but life: what daemon_main promises to its daemons and to whoever starts, reloads and
 * ends them. Each case runs it in a child and looks at its exit status, its standard error and what its hooks
 * counted.
 */
#include "common/run/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define PATIENCE_S 30 /* a test that hangs is ended by SIGALRM */

/* What the hooks did; shared with the parent. */
struct counts {
    atomic_uint opened, closed, started, stopped, drained, policies, wrong;
    atomic_uint uid, bounded;
};

/* How the hooks are to behave. */
struct script {
    int open_rc, start_fails_at; /* index of the worker, -1: none */
    int refuse_generation;       /* by check_policy */
    bool never_drained;
    int64_t drain_ms;
};

struct fake {
    struct settings_dnsd settings;
    struct script script;
};

static struct counts *counts;
static char dir[64], policy_path[96];

/* ---- the daemon ---- */

static int fake_check_settings(void *ctx, struct err *err)
{
    const struct fake *f = ctx;
    if (f->settings.ttl_min_s > f->settings.ttl_max_s) {
        err_set(err, "--ttl-min is greater than --ttl-max");
        return -EINVAL;
    }
    return 0;
}

static int fake_check_policy(void *ctx, const struct policy *p, struct err *err)
{
    const struct fake *f = ctx;
    if (policy_generation(p) == (uint64_t)f->script.refuse_generation) {
        err_set(err, "this policy cannot be served here");
        return -EINVAL;
    }
    return 0;
}

static int fake_open(void *ctx, struct listen_fds *passed, unsigned worker_count, struct err *err)
{
    const struct fake *f = ctx;
    counts->opened++;
    if (getenv("OPENSHELL_CONTROL_FD") != NULL || passed->count != 0 || worker_count == 0) {
        counts->wrong++;
    }
    if (f->script.open_rc < 0) {
        err_set(err, "192.0.2.1:53: %s", strerror(-f->script.open_rc));
    }
    return f->script.open_rc;
}

static int fake_start(struct worker *w, struct err *err)
{
    const struct fake *f = w->ctx;
    if ((int)w->index == f->script.start_fails_at) {
        err_set(err, "no more");
        return -EMFILE;
    }
    w->data = &counts->wrong; /* something that is not NULL */
    counts->started++;
    counts->uid = geteuid();
    return w->policy != NULL && w->loop != NULL && w->reap != NULL ? 0 : -EINVAL;
}

static void fake_policy(struct worker *w, struct policy *previous)
{
    counts->policies++;
    if (policy_generation(w->policy) <= policy_generation(previous) ||
        policy_rules_of(previous)->rule_count == 0) {
        counts->wrong++;
    }
}

static void fake_drain(struct worker *w)
{
    const struct fake *f = w->ctx;
    counts->drained++;
    if (!f->script.never_drained) {
        daemon_worker_done(w);
    }
}

static void fake_stop(struct worker *w)
{
    sigset_t mask;
    counts->stopped++;
    if (w->data == NULL || w->policy == NULL || pthread_sigmask(SIG_SETMASK, NULL, &mask) != 0) {
        counts->wrong++;
    }
}

static void fake_close(void *ctx)
{
    (void)ctx;
    counts->closed++;
}

static int fake_main(const struct script *script, char **argv)
{
    struct fake f = {.script = *script};
    int argc = 0;
    while (argv[argc] != NULL) {
        argc++;
    }
    const struct daemon_spec spec = {.program = "fake",
                                     .summary = "nothing",
                                     .env_prefix = "FAKE",
                                     .table = settings_dnsd_table,
                                     .settings = &f.settings,
                                     .shared = &f.settings.shared,
                                     .ctx = &f,
                                     .drain_ms = &f.script.drain_ms,
                                     .check_settings = fake_check_settings,
                                     .check_policy = fake_check_policy,
                                     .open = fake_open,
                                     .worker_start = fake_start,
                                     .worker_policy = fake_policy,
                                     .worker_drain = fake_drain,
                                     .worker_stop = fake_stop,
                                     .close = fake_close};
    return daemon_main(&spec, argc, argv);
}

/* ---- its launcher ---- */

struct child {
    pid_t pid;
    int out, ready, control; /* our ends */
    char text[65536];        /* all that it printed so far */
    size_t len;
};

#define ARGS_MAX 12
static const struct script plain = {.start_fails_at = -1, .refuse_generation = -1, .drain_ms = 3600000};

static void run_child(const struct script *script, char **argv, int out, int ready, int control)
{
    char text[16];
    (void)signal(SIGALRM, SIG_DFL);
    (void)dup2(out, STDOUT_FILENO);
    (void)dup2(out, STDERR_FILENO);
    (void)close(out);
    snprintf(text, sizeof(text), "%d", control);
    setenv("OPENSHELL_CONTROL_FD", text, 1);
    snprintf(text, sizeof(text), "%d", ready);
    setenv("FAKE_READY_FD", text, 1);
    alarm(PATIENCE_S);
    exit(fake_main(script, argv));
}

static void start(struct child *c, const struct script *script, const char *const *args)
{
    char *argv[ARGS_MAX + 3];
    char program[] = "fake", policy[120];
    int out[2], ready[2], control[2];
    int argc = 0;
    snprintf(policy, sizeof(policy), "--policy=%s", policy_path);
    argv[argc++] = program;
    argv[argc++] = policy;
    for (size_t i = 0; args[i] != NULL; i++) {
        assert_true(argc < ARGS_MAX);
        argv[argc++] = (char *)(uintptr_t)args[i];
    }
    argv[argc] = NULL;
    memset(c, 0, sizeof(*c));
    memset(counts, 0, sizeof(*counts));
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    assert_int_equal(pipe2(control, O_CLOEXEC), 0);
    fflush(NULL);
    c->pid = fork();
    assert_true(c->pid >= 0);
    if (c->pid == 0) {
        close(out[0]);
        close(ready[0]);
        close(control[1]);
        run_child(script, argv, out[1], ready[1], control[0]);
    }
    close(out[1]);
    close(ready[1]);
    close(control[0]);
    c->out = out[0];
    c->ready = ready[0];
    c->control = control[1];
}

#define START(c, script, ...) start((c), (script), (const char *const[]){__VA_ARGS__, NULL})

/* Reads on until text was printed count times. */
static void wait_for(struct child *c, const char *text, unsigned count)
{
    for (;;) {
        unsigned seen = 0;
        for (const char *p = c->text; (p = strstr(p, text)) != NULL; p++) {
            seen++;
        }
        if (seen >= count) {
            return;
        }
        assert_true(c->len < sizeof(c->text) - 1);
        struct pollfd p = {.fd = c->out, .events = POLLIN};
        ssize_t n = poll(&p, 1, PATIENCE_S * 500) <= 0
                        ? 0
                        : read(c->out, c->text + c->len, sizeof(c->text) - 1 - c->len);
        if (n <= 0) {
            fail_msg("\"%s\" was not printed %u times:\n%s", text, count, c->text);
        }
        c->len += (size_t)n;
    }
}

static void wait_ready(struct child *c)
{
    char line[8] = "";
    ssize_t n = read(c->ready, line, sizeof(line) - 1);
    if (n != 6 || strcmp(line, "READY\n") != 0) {
        while ((n = read(c->out, c->text + c->len, sizeof(c->text) - 1 - c->len)) > 0) {
            c->len += (size_t)n;
        }
        fail_msg("not ready:\n%s", c->text);
    }
    assert_int_equal(read(c->ready, line, 1), 0); /* nothing else, and closed */
}

/* Waits for the end; the exit status, or 1000 + signal. */
static int end_of(struct child *c)
{
    ssize_t n;
    int status = 0;
    while ((n = read(c->out, c->text + c->len, sizeof(c->text) - 1 - c->len)) > 0) {
        c->len += (size_t)n;
    }
    close(c->out);
    close(c->ready);
    if (c->control >= 0) {
        close(c->control);
    }
    assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
    assert_int_equal(counts->wrong, 0);
    assert_int_equal(counts->started, counts->stopped);
    assert_int_equal(counts->opened, counts->closed);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void printed(const struct child *c, const char *text)
{
    if (strstr(c->text, text) == NULL) {
        fail_msg("\"%s\" is not in:\n%s", text, c->text);
    }
}

static void write_policy(unsigned rules, const char *last_line)
{
    char name[128];
    snprintf(name, sizeof(name), "%s.new", policy_path);
    FILE *f = fopen(name, "we");
    assert_non_null(f);
    fputs("version: 1\nnetwork_policies:\n", f);
    for (unsigned i = 0; i < rules; i++) {
        fprintf(f, "  r%u:\n    name: r%u\n    endpoints:\n      - { host: a%u.example.org, port: 443 }\n", i,
                i, i);
        fputs("    binaries: [{ path: /usr/bin/node }]\n", f);
    }
    fputs(last_line, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(rename(name, policy_path), 0);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/test_daemon.XXXXXX");
    if (mkdtemp(dir) == NULL) {
        return -1;
    }
    snprintf(policy_path, sizeof(policy_path), "%s/policy.yaml", dir);
    write_policy(1, "");
    alarm(PATIENCE_S);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char path[96];
    alarm(0);
    (void)unlink(policy_path);
    snprintf(path, sizeof(path), "%s/notify", dir);
    (void)unlink(path);
    return rmdir(dir);
}

/* ---- cases ---- */

static void test_asked_for_text(void **state)
{
    (void)state;
    struct child c;
    START(&c, &plain, "--help", "--bogus");
    assert_int_equal(end_of(&c), 0);
    printed(&c, "Usage: fake [OPTION]");
    printed(&c, "--synthetic-ttl DURATION");
    START(&c, &plain, "--version");
    assert_int_equal(end_of(&c), 0);
    printed(&c, "fake " PACKAGE_VERSION "\n" BUILD_SUMMARY "\n");
    START(&c, &plain, "--dump-config", "--deny=nodata");
    assert_int_equal(end_of(&c), 0);
    printed(&c, "nodata  # from option\n");
    printed(&c, "# from environment\n"); /* FAKE_READY_FD */
    assert_int_equal(counts->opened, 0);
}

static void test_usage_errors(void **state)
{
    (void)state;
    struct child c;
    START(&c, &plain, "--bogus", "--help");
    assert_int_equal(end_of(&c), 64);
    assert_int_equal(strncmp(c.text, "fake: --bogus: ", 15), 0);
    printed(&c, "'fake --help'");
    START(&c, &plain, "--deny-ttl", "5x");
    assert_int_equal(end_of(&c), 64);
    assert_int_equal(strncmp(c.text, "fake: --deny-ttl: ", 18), 0);
    START(&c, &plain, "--ttl-min=2s", "--ttl-max=1s");
    assert_int_equal(end_of(&c), 64);
    printed(&c, "fake: --ttl-min is greater");
    START(&c, &plain, "--ready-fd=900");
    assert_int_equal(end_of(&c), 64);
    printed(&c, "fake: --ready-fd: 900 is not an open descriptor");
}

static void test_bad_control_descriptor(void **state)
{
    (void)state;
    static const char *const bad[] = {"900", "2", "x", "", "-1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int out[2], status = 0;
        char program[] = "fake", text[512] = "";
        char *argv[] = {program, NULL};
        assert_int_equal(pipe2(out, O_CLOEXEC), 0);
        fflush(NULL);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            (void)dup2(out[1], STDERR_FILENO);
            setenv("OPENSHELL_CONTROL_FD", bad[i], 1);
            exit(fake_main(&plain, argv));
        }
        close(out[1]);
        assert_true(read(out[0], text, sizeof(text) - 1) > 0);
        close(out[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 64);
        assert_non_null(strstr(text, "OPENSHELL_CONTROL_FD"));
    }
}

static void test_policy_errors(void **state)
{
    (void)state;
    struct child c;
    char place[128];
    write_policy(1, "  r8:\n    nmae: x\n  r9:\n    endpints: []\n");
    START(&c, &plain, "--workers=1");
    assert_int_equal(end_of(&c), 78);
    snprintf(place, sizeof(place), "%s:9:5: error: ", policy_path);
    printed(&c, place); /* every error with its place */
    snprintf(place, sizeof(place), "%s:11:5: error: ", policy_path);
    printed(&c, place);
    assert_int_equal(counts->opened, 0);
    assert_int_equal(unlink(policy_path), 0);
    START(&c, &plain, "--workers=1");
    assert_int_equal(end_of(&c), 78);
    printed(&c, policy_path);
    struct script refusing = plain;
    refusing.refuse_generation = 1;
    write_policy(1, "");
    START(&c, &refusing, "--workers=1");
    assert_int_equal(end_of(&c), 78);
    printed(&c, "fake: this policy cannot be served here");
}

static void test_check(void **state)
{
    (void)state;
    struct child c;
    START(&c, &plain, "--check");
    assert_int_equal(end_of(&c), 0);
    printed(&c, "1 rules, 1 endpoints");
    write_policy(1, "  r9:\n    endpints: []\n");
    START(&c, &plain, "--check");
    assert_int_equal(end_of(&c), 78);
    printed(&c, ":9:5: error: ");
    START(&c, &plain, "--check", "--ttl-min=2s", "--ttl-max=1s"); /* both are told */
    assert_int_equal(end_of(&c), 64);
    printed(&c, ":9:5: error: ");
    printed(&c, "--ttl-min is greater");
    assert_int_equal(counts->opened, 0);
}

static void test_open_errors(void **state)
{
    (void)state;
    struct child c;
    struct script failing = plain;
    failing.open_rc = -EADDRINUSE;
    START(&c, &failing, "--workers=1");
    assert_int_equal(end_of(&c), 71);
    printed(&c, "fake: 192.0.2.1:53: Address already in use\n");
    failing.open_rc = -EINVAL;
    START(&c, &failing, "--workers=1");
    assert_int_equal(end_of(&c), 78);
    failing.open_rc = 0;
    failing.start_fails_at = 2;
    START(&c, &failing, "--workers=4");
    assert_int_equal(end_of(&c), 71); /* and the two that had started were stopped */
    printed(&c, "fake: worker 2: no more");
    assert_int_equal(counts->started, 2);
}

static void test_serve_and_end(void **state)
{
    (void)state;
    static const int signals[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < 2; i++) {
        struct child c;
        START(&c, &plain, "--workers=3");
        wait_ready(&c);
        assert_int_equal(counts->started, 3);
        assert_int_equal(kill(c.pid, signals[i]), 0);
        assert_int_equal(end_of(&c), 0);
        printed(&c, " start ");
        printed(&c, "workers=3");
        printed(&c, " ready");
        printed(&c, i == 0 ? "why=SIGTERM" : "why=SIGINT");
        printed(&c, "drained=true");
        assert_int_equal(counts->drained, 3);
    }
}

static void test_drain(void **state)
{
    (void)state;
    struct child c;
    struct script slow = plain;
    slow.never_drained = true;
    START(&c, &slow, "--workers=2"); /* a second signal ends at once */
    wait_ready(&c);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    wait_for(&c, " stopping ", 1);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    assert_int_equal(end_of(&c), 0);
    printed(&c, "drained=false");
    slow.drain_ms = 20; /* and so does the end of the time */
    START(&c, &slow, "--workers=2");
    wait_ready(&c);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    assert_int_equal(end_of(&c), 0);
    printed(&c, "drained=false");
    slow.drain_ms = 0;
    START(&c, &slow, "--workers=2");
    wait_ready(&c);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    assert_int_equal(end_of(&c), 0);
    assert_int_equal(counts->drained, 2); /* told to stop all the same */
}

static void test_launcher_gone(void **state)
{
    (void)state;
    struct child c;
    struct script slow = plain;
    slow.never_drained = true;
    START(&c, &slow, "--workers=2");
    wait_ready(&c);
    assert_int_equal(write(c.control, "noise", 5), 5);
    close(c.control);
    c.control = -1;
    assert_int_equal(end_of(&c), 0);
    printed(&c, "why=\"launcher gone\"");
}

static void test_reload(void **state)
{
    (void)state;
    struct child c;
    struct script refusing = plain;
    refusing.refuse_generation = 3;
    START(&c, &refusing, "--workers=4");
    wait_ready(&c);
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    wait_for(&c, " policy_unchanged generation=1", 1);
    write_policy(2, "");
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    wait_for(&c, " policy_loaded generation=2 rules=2 endpoints=2", 1);
    assert_int_equal(counts->policies, 4); /* every worker had taken it when that was said */
    write_policy(2, "  r9:\n    endpints: []\n");
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    wait_for(&c, " policy_reload_failed ", 1);
    wait_for(&c, " policy_error ", 1);
    wait_for(&c, "line=14 col=5 ", 1);
    wait_for(&c, "kept_generation=2", 1);
    write_policy(3, ""); /* good, but its hook refuses it */
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    wait_for(&c, "cannot be served here", 1);
    assert_int_equal(kill(c.pid, SIGHUP), 0); /* and again, though the text did not change */
    wait_for(&c, "cannot be served here", 2);
    write_policy(4, "");
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    wait_for(&c, " policy_loaded generation=4 rules=4 endpoints=4", 1);
    assert_int_equal(counts->policies, 8);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    assert_int_equal(end_of(&c), 0);
}

/* Reloads as fast as they come, while workers take them; the last policy always arrives. */
static void test_many_reloads(void **state)
{
    (void)state;
    struct child c;
    START(&c, &plain, "--workers=4");
    wait_ready(&c);
    for (unsigned i = 0; i < 100; i++) {
        write_policy(2 + i % 7, "");
        assert_int_equal(kill(c.pid, SIGHUP), 0);
    }
    write_policy(11, "");
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    wait_for(&c, " rules=11 endpoints=11", 1);
    write_policy(1, "");
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    assert_int_equal(end_of(&c), 0);
}

static void expect_notice(int fd, const char *text)
{
    char got[256];
    ssize_t n = recv(fd, got, sizeof(got) - 1, 0);
    assert_true(n > 0);
    got[n] = '\0';
    if (strncmp(got, text, strlen(text)) != 0) {
        fail_msg("\"%s\" instead of \"%s\"", got, text);
    }
}

static void test_service_manager(void **state)
{
    (void)state;
    struct child c;
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof(at.sun_path), "%s/notify", dir);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
    setenv("NOTIFY_SOCKET", at.sun_path, 1);
    START(&c, &plain, "--workers=2");
    unsetenv("NOTIFY_SOCKET");
    expect_notice(fd, "READY=1");
    write_policy(2, "");
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    expect_notice(fd, "RELOADING=1\nMONOTONIC_USEC=");
    expect_notice(fd, "READY=1");
    assert_int_equal(kill(c.pid, SIGHUP), 0);
    expect_notice(fd, "RELOADING=1\n");
    expect_notice(fd, "READY=1"); /* also if nothing changed */
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    expect_notice(fd, "STOPPING=1");
    assert_int_equal(end_of(&c), 0);
    close(fd);
}

static void test_user(void **state)
{
    (void)state;
    struct child c;
    START(&c, &plain, "--workers=1", "--user=no-such-user-here");
    assert_int_equal(end_of(&c), 78);
    printed(&c, "--user: there is no user no-such-user-here");
    const struct passwd *nobody = getpwnam("nobody");
    if (geteuid() != 0 || nobody == NULL) {
        print_message("NOT TESTED: --user of another user (needs root and the user nobody)\n");
        return;
    }
    assert_int_equal(chmod(dir, 0755), 0);
    START(&c, &plain, "--workers=1", "--user=nobody");
    wait_ready(&c);
    assert_int_equal(counts->uid, nobody->pw_uid);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    assert_int_equal(end_of(&c), 0);
    assert_null(strstr(c.text, "running_as_root"));
    assert_int_equal(chmod(policy_path, 0600), 0); /* found out now, not at the first reload */
    START(&c, &plain, "--workers=1", "--user=nobody");
    assert_int_equal(end_of(&c), 78);
    assert_int_equal(counts->started, 0);
    START(&c, &plain, "--workers=1");
    wait_ready(&c);
    assert_int_equal(kill(c.pid, SIGTERM), 0);
    assert_int_equal(end_of(&c), 0);
    printed(&c, " running_as_root ");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_asked_for_text), CASE(test_usage_errors), CASE(test_bad_control_descriptor),
        CASE(test_policy_errors),  CASE(test_check),        CASE(test_open_errors),
        CASE(test_serve_and_end),  CASE(test_drain),        CASE(test_launcher_gone),
        CASE(test_reload),         CASE(test_many_reloads), CASE(test_service_manager),
        CASE(test_user),
    };
    counts = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (counts == MAP_FAILED) {
        return 99;
    }
    int failed = cmocka_run_group_tests_name("daemon", tests, NULL, NULL);
    (void)munmap(counts, sizeof(*counts));
    return failed;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_daemon.h"

#include "common/run/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

struct fake {
    struct settings_dnsd settings;
    struct fake_script script;
    unsigned workers, publications;
    uint64_t generation; /* that was followed last */
};

struct fake_counts *fake_counts;
char fake_dir[64], fake_policy_path[96];

/* ---- the daemon ---- */

static int hook_check_settings(void *ctx, struct err *err)
{
    const struct fake *f = ctx;
    struct synth_pools unused;
    if (f->settings.ttl_min_s > f->settings.ttl_max_s) {
        err_set(err, "--ttl-min is greater than --ttl-max");
        return -EINVAL;
    }
    return guard_parse_pools(&f->settings.shared.pool, &unused, err);
}

static int hook_check_policy(void *ctx, const struct policy *p, struct err *err)
{
    const struct fake *f = ctx;
    if (policy_rules_of(p)->rule_count == f->script.refuse_rules && f->script.refuse_rules != 0) {
        err_set(err, "this policy cannot be served here");
        return -EINVAL;
    }
    return 0;
}

static int hook_open(void *ctx, struct listen_fds *passed, unsigned worker_count, const struct addr *admin,
                     struct err *err)
{
    (void)admin;
    struct fake *f = ctx;
    f->workers = worker_count;
    fake_counts->opened++;
    if (getenv("OPENSHELL_CONTROL_FD") != NULL || passed->count != 0 || worker_count == 0) {
        fake_counts->wrong++;
    }
    if (f->script.open_rc < 0) {
        err_set(err, "192.0.2.1:53: %s", strerror(-f->script.open_rc));
    }
    return f->script.open_rc;
}

static int hook_check_open(void *ctx, struct err *err)
{
    const struct fake *f = ctx;
    err_set(err, "nobody to ask");
    return f->script.check_open_rc;
}

static int hook_open_policy(void *ctx, const struct policy *p, struct err *err)
{
    struct fake *f = ctx;
    f->generation = policy_generation(p);
    if (fake_counts->opened != 1 || fake_counts->started != 0) {
        fake_counts->wrong++;
    }
    if (f->script.open_policy_rc < 0) {
        err_set(err, "[::]:443: %s", strerror(-f->script.open_policy_rc));
    }
    return f->script.open_policy_rc;
}

/* Nobody may be on the way to what was published before. */
static bool hook_follow_policy(void *ctx, const struct policy *p)
{
    struct fake *f = ctx;
    bool is_start = fake_counts->started == 0;
    if (fake_counts->policies != f->publications * f->workers) {
        fake_counts->wrong++;
    }
    fake_counts->followed++;
    if (!is_start && (f->generation != policy_generation(p) || f->script.has_news)) {
        f->publications++;
    }
    f->generation = policy_generation(p);
    return f->script.has_news;
}

static int hook_start(struct worker *w, struct err *err)
{
    const struct fake *f = w->ctx;
    if ((int)w->index == f->script.start_fails_at) {
        err_set(err, "no more");
        return -EMFILE;
    }
    w->data = &fake_counts->wrong; /* something that is not NULL */
    fake_counts->started++;
    fake_counts->uid = geteuid();
    return w->policy != NULL && w->loop != NULL && w->reap != NULL ? 0 : -EINVAL;
}

static void hook_policy(struct worker *w, struct policy *previous)
{
    const struct fake *f = w->ctx;
    bool is_same = w->policy == previous;
    fake_counts->policies++;
    if ((is_same ? !f->script.has_news : policy_generation(w->policy) <= policy_generation(previous)) ||
        policy_rules_of(previous)->rule_count == 0) {
        fake_counts->wrong++;
    }
}

static void hook_drain(struct worker *w)
{
    const struct fake *f = w->ctx;
    fake_counts->drained++;
    if (!f->script.never_drained) {
        daemon_worker_done(w);
    }
}

static void hook_stop(struct worker *w)
{
    sigset_t mask;
    fake_counts->stopped++;
    if (w->data == NULL || w->policy == NULL || pthread_sigmask(SIG_SETMASK, NULL, &mask) != 0) {
        fake_counts->wrong++;
    }
}

static void hook_close(void *ctx)
{
    (void)ctx;
    fake_counts->closed++;
}

int fake_daemon_main(const struct fake_script *script, char **argv)
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
                                     .check_settings = hook_check_settings,
                                     .check_policy = hook_check_policy,
                                     .check_open = hook_check_open,
                                     .open = hook_open,
                                     .open_policy = hook_open_policy,
                                     .follow_policy = hook_follow_policy,
                                     .worker_start = hook_start,
                                     .worker_policy = hook_policy,
                                     .worker_drain = hook_drain,
                                     .worker_stop = hook_stop,
                                     .close = hook_close};
    return daemon_main(&spec, argc, argv);
}

/* ---- its launcher ---- */

#define ARGS_MAX 12
const struct fake_script fake_plain = {.start_fails_at = -1, .drain_ms = 3600000};

static void run_child(const struct fake_script *script, char **argv, int out, int ready, int control)
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
    alarm(FAKE_PATIENCE_S);
    exit(fake_daemon_main(script, argv));
}

void fake_start(struct fake_child *c, const struct fake_script *script, const char *const *args)
{
    char *argv[ARGS_MAX + 3];
    char program[] = "fake", policy[120];
    int out[2], ready[2], control[2];
    int argc = 0;
    snprintf(policy, sizeof(policy), "--policy=%s", fake_policy_path);
    argv[argc++] = program;
    argv[argc++] = policy;
    for (size_t i = 0; args[i] != NULL; i++) {
        assert_true(argc < ARGS_MAX);
        argv[argc++] = (char *)(uintptr_t)args[i];
    }
    argv[argc] = NULL;
    memset(c, 0, sizeof(*c));
    memset(fake_counts, 0, sizeof(*fake_counts));
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

void fake_wait_for(struct fake_child *c, const char *text, unsigned count)
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
        ssize_t n = poll(&p, 1, FAKE_PATIENCE_S * 500) <= 0
                        ? 0
                        : read(c->out, c->text + c->len, sizeof(c->text) - 1 - c->len);
        if (n <= 0) {
            fail_msg("\"%s\" was not printed %u times:\n%s", text, count, c->text);
        }
        c->len += (size_t)n;
    }
}

void fake_wait_ready(struct fake_child *c)
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

int fake_end_of(struct fake_child *c)
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
    assert_int_equal(fake_counts->wrong, 0);
    assert_int_equal(fake_counts->started, fake_counts->stopped);
    assert_int_equal(fake_counts->opened, fake_counts->closed);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

void fake_printed(const struct fake_child *c, const char *text)
{
    if (strstr(c->text, text) == NULL) {
        fail_msg("\"%s\" is not in:\n%s", text, c->text);
    }
}

void fake_write_policy(unsigned rules, const char *last_line)
{
    char name[128];
    snprintf(name, sizeof(name), "%s.new", fake_policy_path);
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
    assert_int_equal(rename(name, fake_policy_path), 0);
}

int fake_set_up(void **state)
{
    (void)state;
    fake_counts = mmap(NULL, sizeof(*fake_counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (fake_counts == MAP_FAILED) {
        return -1;
    }
    snprintf(fake_dir, sizeof(fake_dir), "/tmp/test_daemon.XXXXXX");
    if (mkdtemp(fake_dir) == NULL) {
        return -1;
    }
    snprintf(fake_policy_path, sizeof(fake_policy_path), "%s/policy.yaml", fake_dir);
    fake_write_policy(1, "");
    alarm(FAKE_PATIENCE_S);
    return 0;
}

int fake_tear_down(void **state)
{
    (void)state;
    char path[96];
    alarm(0);
    (void)munmap(fake_counts, sizeof(*fake_counts));
    (void)unlink(fake_policy_path);
    snprintf(path, sizeof(path), "%s/notify", fake_dir);
    (void)unlink(path);
    return rmdir(fake_dir);
}

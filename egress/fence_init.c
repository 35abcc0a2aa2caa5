/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/fence.h"

#include "common/base/shown.h"
#include "common/run/privs.h"

#include <errno.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the launcher may send on; a process in a pid namespace's place of init ignores signals without a
 * handler. */
static const int forwarded[] = {SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT};
#define FORWARDED_COUNT (sizeof forwarded / sizeof forwarded[0])

int fence_wait_status(int status)
{
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Does any directory of PATH that we may look into hold a file of this name? */
static bool is_in_path(const char *name)
{
    const char *dir = getenv("PATH");
    while (dir != NULL && *dir != '\0') {
        char file[PATH_MAX];
        struct stat st;
        size_t len = strcspn(dir, ":");
        int written = snprintf(file, sizeof file, "%.*s/%s", (int)len, dir, name);
        if (written > 0 && (size_t)written < sizeof file && stat(file, &st) == 0) {
            return true;
        }
        dir += len;
        dir += *dir == ':' ? 1 : 0;
    }
    return false;
}

/*
 * Why COMMAND could not be run. execvp says EACCES for a name it found nowhere if PATH also has a directory
 * that may not be searched (root's own, after becoming an ordinary user); that still is "not found", as in a
 * shell.
 */
static int exec_fault(const char *name, int error)
{
    bool is_name = strchr(name, '/') == NULL;
    return error == EACCES && is_name && !is_in_path(name) ? ENOENT : error;
}

static void close_between(unsigned first, unsigned last)
{
    if (first <= last && syscall(SYS_close_range, first, last, 0U) != 0) {
        for (unsigned fd = first; fd <= last && fd < 65536; fd++) { /* Linux before 5.9, or a filter */
            (void)close((int)fd);
        }
    }
}

void fence_close_descriptors(int extra, const int *keep, size_t keep_count)
{
    unsigned from = 3;
    for (;;) {
        unsigned next = extra >= (int)from ? (unsigned)extra : ~0U; /* the lowest that stays */
        for (size_t i = 0; i < keep_count; i++) {
            if ((unsigned)keep[i] >= from && (unsigned)keep[i] < next) {
                next = (unsigned)keep[i];
            }
        }
        if (next == ~0U) {
            break;
        }
        close_between(from, next - 1);
        from = next + 1;
    }
    close_between(from, ~0U);
}

/* COMMAND itself: the second process of the namespace. */
static void exec_command(const struct fence_config *cfg)
{
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    fence_close_descriptors(-1, cfg->keep_fds, cfg->keep_fd_count);
    if (fence_environment(&cfg->environment, cfg->user) != 0) {
        (void)fprintf(stderr, "openshell-egress: out of memory\n");
        _exit(EXIT_STATUS_OS);
    }
    (void)execvp(cfg->cmd[0], cfg->cmd);
    int error = exec_fault(cfg->cmd[0], errno);
    (void)fprintf(stderr, "openshell-egress: %s: %s\n", shown_clean(cfg->cmd[0]), strerror(error));
    _exit(error == ENOENT || error == ENOTDIR ? 127 : 126);
}

/*
 * A shell waits for the launcher: it must stop, too, where COMMAND alone stopped itself, and go on with it.
 * ^Z reaches both.
 */
static void tell_job_control(int job_fd, int status)
{
    char word = 0;
    if (WIFCONTINUED(status)) {
        word = FENCE_JOB_CONTINUED;
    } else if (WSTOPSIG(status) == SIGTSTP || WSTOPSIG(status) == SIGTTIN || WSTOPSIG(status) == SIGTTOU) {
        word = FENCE_JOB_STOPPED;
    }
    if (word != 0 && write(job_fd, &word, 1) != 1) {
        return; /* who would read it is gone, and we shall be */
    }
}

/* Reaps orphans, passes signals on, and ends with COMMAND. */
static int wait_for(pid_t command, const sigset_t *signals, int job_fd)
{
    for (;;) {
        int signo = sigwaitinfo(signals, NULL);
        if (signo > 0 && signo != SIGCHLD) {
            (void)kill(command, signo);
            continue;
        }
        int status = 0;
        pid_t ended = 0;
        while ((ended = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED)) > 0) {
            const bool is_over = WIFEXITED(status) || WIFSIGNALED(status);
            if (ended == command && is_over) {
                return fence_wait_status(status);
            }
            if (ended == command) {
                tell_job_control(job_fd, status);
            }
        }
        if (ended < 0 && errno == ECHILD) {
            return EXIT_STATUS_OS;
        }
    }
}

/* For good; no_new_privs with it. */
static int become_command_user(const struct run_user *user, int job_fd, struct err *err)
{
    struct privs_ids ids = {0};
    if (user != NULL) {
        ids = (struct privs_ids){
            .uid = user->uid, .gid = user->gid, .groups = user->groups, .group_count = user->group_count};
    }
    int rc = privs_drop_ids(user != NULL ? &ids : NULL, 0, err);
    /* COMMAND has our uid and no fewer capabilities: without this it could trace us and take what we hold. */
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of uid takes it away */
    struct pollfd p = {.fd = job_fd};       /* no reader any more: POLLERR */
    if (rc == 0 && poll(&p, 1, 0) != 0) {
        err_set(err, "the launcher is gone");
        rc = -ESRCH;
    }
    return rc;
}

static void block_signals(sigset_t *signals)
{
    (void)sigemptyset(signals);
    (void)sigaddset(signals, SIGCHLD);
    for (size_t i = 0; i < FORWARDED_COUNT; i++) {
        (void)sigaddset(signals, forwarded[i]);
    }
    (void)sigprocmask(SIG_SETMASK, signals, NULL);
}

int fence_init(const struct fence_config *cfg, bool in_pid_namespace, int job_fd)
{
    struct err err = {""};
    if (in_pid_namespace && mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0) {
        (void)fprintf(stderr, "openshell-egress: mounting /proc: %s\n", strerror(errno));
        return EXIT_STATUS_OS;
    }
    if (!in_pid_namespace) {
        (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    }
    if (become_command_user(cfg->user, job_fd, &err) != 0) {
        (void)fprintf(stderr, "openshell-egress: giving up privileges: %s\n", err.text);
        return EXIT_STATUS_OS;
    }
    if (fence_filter(&err) != 0 && !cfg->degraded) {
        (void)fprintf(
            stderr,
            "openshell-egress: %s; --degraded goes on without: the command then has sockets that no "
            "network namespace holds\n",
            err.text);
        return EXIT_STATUS_OS;
    }
    sigset_t signals;
    block_signals(&signals);
    pid_t command = fork();
    if (command < 0) {
        (void)fprintf(stderr, "openshell-egress: fork: %s\n", strerror(errno));
        return EXIT_STATUS_OS;
    }
    if (command == 0) {
        exec_command(cfg);
    }
    /* COMMAND stays in the caller's process group and so gets ^C from the terminal: once, not again from us.
     */
    (void)setpgid(0, 0);
    return wait_for(command, &signals, job_fd);
}

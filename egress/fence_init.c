/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/fence.h"

#include "common/base/shown.h"
#include "common/run/privs.h"

#include <errno.h>
#include <limits.h>
#include <linux/close_range.h>
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

void fence_environment(bool no_proxy_env)
{
    /* What is neither https nor http goes natively: no variable may send it to the proxy. */
    static const char *const cleared[] = {"ALL_PROXY",  "all_proxy",  "FTP_PROXY",     "ftp_proxy",
                                          "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"};
    static const char *const set[][2] = {{"HTTPS_PROXY", FENCE_PROXY_URL},
                                         {"https_proxy", FENCE_PROXY_URL},
                                         {"HTTP_PROXY", FENCE_PROXY_URL},
                                         {"http_proxy", FENCE_PROXY_URL},
                                         {"NO_PROXY", "localhost,127.0.0.1,::1"},
                                         {"no_proxy", "localhost,127.0.0.1,::1"},
                                         {"NODE_USE_ENV_PROXY", "1"}};
    for (size_t i = 0; i < sizeof cleared / sizeof cleared[0]; i++) {
        (void)unsetenv(cleared[i]);
    }
    for (size_t i = 0; i < sizeof set / sizeof set[0]; i++) {
        if (no_proxy_env) {
            (void)unsetenv(set[i][0]);
        } else {
            (void)setenv(set[i][0], set[i][1], 1);
        }
    }
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

void fence_close_descriptors(int keep)
{
    if (keep < 3) {
        close_between(3, ~0U);
        return;
    }
    close_between(3, (unsigned)keep - 1);
    close_between((unsigned)keep + 1, ~0U);
}

/* COMMAND itself: the second process of the namespace. */
static void exec_command(const struct fence_config *cfg)
{
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    fence_close_descriptors(-1);
    fence_environment(cfg->no_proxy_env);
    (void)execvp(cfg->cmd[0], cfg->cmd);
    int error = exec_fault(cfg->cmd[0], errno);
    (void)fprintf(stderr, "openshell-egress: %s: %s\n", shown_clean(cfg->cmd[0]), strerror(error));
    _exit(error == ENOENT || error == ENOTDIR ? 127 : 126);
}

/* Reaps orphans, passes signals on, and ends with COMMAND. */
static int wait_for(pid_t command, const sigset_t *signals)
{
    for (;;) {
        int signo = sigwaitinfo(signals, NULL);
        if (signo > 0 && signo != SIGCHLD) {
            (void)kill(command, signo);
            continue;
        }
        int status = 0;
        pid_t ended = 0;
        while ((ended = waitpid(-1, &status, WNOHANG)) > 0) {
            if (ended == command) {
                return fence_wait_status(status);
            }
        }
        if (ended < 0 && errno == ECHILD) {
            return EXIT_STATUS_OS;
        }
    }
}

int fence_init(const struct fence_config *cfg, bool in_pid_namespace)
{
    struct err err = {""};
    if (in_pid_namespace && mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0) {
        (void)fprintf(stderr, "openshell-egress: mounting /proc: %s\n", strerror(errno));
        return EXIT_STATUS_OS;
    }
    if (!in_pid_namespace) {
        (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    }
    /* COMMAND has our uid and no fewer capabilities: without this it could trace us and take what we hold. */
    (void)prctl(PR_SET_DUMPABLE, 0);
    if (privs_drop(NULL, 0, &err) != 0) {
        (void)fprintf(stderr, "openshell-egress: giving up privileges: %s\n", err.text);
        return EXIT_STATUS_OS;
    }
    if (fence_filter(&err) != 0 && !cfg->degraded) {
        (void)fprintf(stderr,
                      "openshell-egress: %s; --degraded goes on without: the command then has sockets that no "
                      "network namespace holds\n",
                      err.text);
        return EXIT_STATUS_OS;
    }
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGCHLD);
    for (size_t i = 0; i < FORWARDED_COUNT; i++) {
        (void)sigaddset(&signals, forwarded[i]);
    }
    (void)sigprocmask(SIG_SETMASK, &signals, NULL);
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
    return wait_for(command, &signals);
}

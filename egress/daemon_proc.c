/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/daemon_proc.h"

#include "common/base/clock.h"
#include "common/run/exit_status.h"
#include "egress/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATH_CAP 4096
#define STOP_MS 2000

/* Next to this program (a build tree, or one bin directory), else where make install puts daemons. */
static bool join(char path[PATH_CAP], const char *dir, const char *program)
{
    int len = snprintf(path, PATH_CAP, "%s/%s", dir, program);
    return len > 0 && len < PATH_CAP && access(path, X_OK) == 0;
}

static int find_program(const char *program, char path[PATH_CAP], struct err *err)
{
    char self[PATH_CAP];
    const char *dir = getenv("OPENSHELL_EGRESS_DAEMON_DIR");
    if (dir != NULL) {
        if (join(path, dir, program)) {
            return 0;
        }
        err_set(err, "%s: no executable file of that name in %s (OPENSHELL_EGRESS_DAEMON_DIR)", program, dir);
        return -ENOENT;
    }
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len > 0) {
        self[len] = '\0';
        *strrchr(self, '/') = '\0';
        if (join(path, self, program)) {
            return 0;
        }
    }
    if (join(path, SBINDIR, program)) {
        return 0;
    }
    err_set(
        err,
        "%s: neither next to openshell-egress nor in %s (OPENSHELL_EGRESS_DAEMON_DIR names another place)",
        program, SBINDIR);
    return -ENOENT;
}

/* What an operator set for daemons of the host must not reach the pair of this run. */
static void clean_environment(void)
{
    static const char *const names[] = {"LISTEN", "TRANSPARENT", "MAP",         "ANSWER", "USER", "READY_FD",
                                        "CHECK",  "POLICY",      "DUMP_CONFIG", "POOL",   "ADMIN"};
    char name[64];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(name, sizeof name, "OPENSHELL_DNSD_%s", names[i]);
        (void)unsetenv(name);
        (void)snprintf(name, sizeof name, "OPENSHELL_TUNNELD_%s", names[i]);
        (void)unsetenv(name);
    }
    (void)unsetenv("NOTIFY_SOCKET");
}

static void redirect_output(int log_fd)
{
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null_fd >= 0) {
        (void)dup2(null_fd, STDIN_FILENO);
    }
    (void)dup2(log_fd, STDOUT_FILENO);
    (void)dup2(log_fd, STDERR_FILENO);
}

/* In the child. Never returns. */
static void become_daemon(const struct daemon_start *start, const char *path, int control_fd, int ready_fd)
{
    size_t count = start->socket_count + 2;
    int *fds = calloc(count, sizeof *fds);
    struct arg_list argv = {0};
    char ready[32];
    char control[32];
    if (fds == NULL || arg_list_add(&argv, start->program) != 0) {
        _exit(EXIT_STATUS_OS);
    }
    for (size_t i = 0; i < start->socket_count; i++) {
        fds[i] = start->sockets[i].fd;
    }
    fds[count - 2] = control_fd;
    fds[count - 1] = ready_fd;
    redirect_output(start->log_fd);
    clean_environment();
    (void)snprintf(control, sizeof control, "%zu", SOCKET_PASS_FIRST_FD + count - 2);
    (void)snprintf(ready, sizeof ready, "--ready-fd=%zu", SOCKET_PASS_FIRST_FD + count - 1);
    (void)setenv("OPENSHELL_CONTROL_FD", control, 1);
    int rc = arg_list_add(&argv, ready);
    for (size_t i = 0; rc == 0 && i < start->args->count; i++) {
        rc = arg_list_add(&argv, start->args->items[i]);
    }
    rc = rc == 0 ? socket_pass_environment(start->sockets, start->socket_count) : rc;
    rc = rc == 0 ? socket_pass_place(fds, count) : rc;
    (void)syscall(SYS_close_range, (unsigned)SOCKET_PASS_FIRST_FD + (unsigned)count, ~0U, 0U);
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setsid();
    if (rc == 0) {
        /* execv() takes pointers to non-const characters only for history's sake. */
        union {
            const char **in;
            char **out;
        } args = {.in = argv.items};
        (void)execv(path, args.out);
        rc = -errno;
    }
    (void)fprintf(stderr, "%s: %s\n", path, strerror(-rc));
    _exit(EXIT_STATUS_OS);
}

int daemon_proc_start(const struct daemon_start *start, struct daemon_proc *out, struct err *err)
{
    char path[PATH_CAP];
    int control[2];
    int ready[2];
    *out = (struct daemon_proc){.program = start->program, .control_fd = -1, .ready_fd = -1};
    int rc = find_program(start->program, path, err);
    if (rc != 0) {
        return rc;
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) != 0) {
        err_set(err, "%s: %s", start->program, strerror(errno));
        return -errno;
    }
    if (pipe2(ready, O_CLOEXEC) != 0) {
        rc = -errno;
        err_set(err, "%s: %s", start->program, strerror(-rc));
        (void)close(control[0]);
        (void)close(control[1]);
        return rc;
    }
    pid_t pid = fork();
    if (pid == 0) {
        become_daemon(start, path, control[1], ready[1]);
    }
    rc = pid < 0 ? -errno : 0;
    (void)close(control[1]);
    (void)close(ready[1]);
    out->control_fd = control[0];
    out->ready_fd = ready[0];
    out->pid = pid > 0 ? pid : 0;
    if (rc != 0) {
        err_set(err, "%s: fork: %s", start->program, strerror(-rc));
        daemon_proc_ended(out);
    }
    return rc;
}

void daemon_proc_ended(struct daemon_proc *d)
{
    if (d->control_fd >= 0) {
        (void)close(d->control_fd);
    }
    if (d->ready_fd >= 0) {
        (void)close(d->ready_fd);
    }
    d->control_fd = -1;
    d->ready_fd = -1;
    d->pid = 0;
}

int daemon_proc_await_ready(struct daemon_proc *d, int timeout_ms)
{
    char text[16];
    int n = interrupt_poll(d->ready_fd, timeout_ms);
    if (n < 0) {
        return 128 - n;
    }
    ssize_t got = n > 0 ? read(d->ready_fd, text, sizeof text) : -1;
    if (got >= 5 && memcmp(text, "READY", 5) == 0) {
        return 0;
    }
    int status = 0;
    int result = EXIT_STATUS_OS;
    if (n == 0) {
        (void)fprintf(stderr, "openshell-egress: %s did not become ready within %d s\n", d->program,
                      timeout_ms / 1000);
    } else if (waitpid(d->pid, &status, 0) == d->pid) {
        if (WIFEXITED(status) && WEXITSTATUS(status) != 0) {
            result = WEXITSTATUS(status);
        }
        daemon_proc_ended(d);
    }
    return result;
}

void daemon_proc_stop(struct daemon_proc *d)
{
    if (d->pid <= 0) {
        daemon_proc_ended(d);
        return;
    }
    pid_t pid = d->pid;
    (void)close(d->control_fd);
    d->control_fd = -1;
    int64_t end_ms = clock_mono_ms() + STOP_MS;
    const struct timespec step = {.tv_nsec = 5000000};
    while (waitpid(pid, NULL, WNOHANG) == 0) {
        if (clock_mono_ms() >= end_ms) {
            (void)kill(pid, SIGKILL);
            (void)waitpid(pid, NULL, 0);
            break;
        }
        (void)nanosleep(&step, NULL);
    }
    daemon_proc_ended(d);
}

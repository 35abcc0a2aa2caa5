/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/log_pump.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/run/exit_status.h"
#include "common/run/privs.h"
#include "egress/fence.h"
#include "egress/run_report.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* More than one line of the daemons (LINE_CAP of common/base/log.c); a longer one is looked at in part. */
#define INPUT_CAP 16384

/* 0 or -errno. */
static int write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? -errno : -EIO;
        }
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

/* A full disk stops no daemon; it is told once. */
static void write_log(const struct log_pump_config *cfg, int fd, struct span lines, bool *has_failed)
{
    int rc = write_all(fd, lines.data, lines.len);
    if (rc != 0 && !*has_failed) {
        *has_failed = true;
        (void)fprintf(stderr, "openshell-egress: %s: %s: what the daemons log is lost\n", cfg->log_path,
                      strerror(-rc));
    }
}

/* What is in front of each line end; returns how much of data it used up. */
static size_t take_lines(struct run_report *report, const uint8_t *data, size_t len)
{
    size_t start = 0;
    for (size_t i = 0; i < len; i++) {
        if (data[i] == '\n') {
            run_report_line(report, span_make(data + start, i - start), stderr);
            start = i + 1;
        }
    }
    return start;
}

static void pump(const struct log_pump_config *cfg, int in, int log_fd, struct run_report *report)
{
    bool has_failed = false;
    uint8_t data[INPUT_CAP];
    size_t len = 0;
    for (;;) {
        ssize_t n = read(in, data + len, sizeof data - len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return;
        }
        write_log(cfg, log_fd, span_make(data + len, (size_t)n), &has_failed);
        len += (size_t)n;
        size_t used = report == NULL ? len : take_lines(report, data, len);
        used = used == 0 && len == sizeof data ? len : used;
        memmove(data, data + used, len - used);
        len -= used;
    }
}

static void print_summary(const struct log_pump_config *cfg, const struct run_report *report)
{
    struct synth_map *map = NULL;
    struct err err = {""};
    if (synth_map_open_reader(cfg->dir->map, &map, &err) != 0) {
        map = NULL; /* without it the names are missing, no more */
    }
    run_report_print(report, map, cfg->pools, clock_boot_s(), stderr);
    if (map != NULL) {
        synth_map_close(map);
    }
}

/* Standard input and output are the command's: nobody who waits for their end may have to wait for us. */
static void leave_standard_streams(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
        (void)dup2(fd, STDIN_FILENO);
        (void)dup2(fd, STDOUT_FILENO);
    }
}

static bool has_command_run(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 && sigismember(&pending, LOG_PUMP_COMMAND_RUNS) == 1;
}

/* In the child. */
static int pump_main(const struct log_pump_config *cfg, int in, int log_fd, pid_t launcher)
{
    const int keep[] = {in, log_fd};
    struct err err = {""};
    sigset_t all;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL); /* it ends when the daemons have */
    (void)setsid();
    (void)prctl(PR_SET_NAME, "openshell-log");
    leave_standard_streams();
    fence_close_descriptors(-1, keep, 2);
    if (privs_drop_ids(NULL, 0, &err) != 0) {
        return EXIT_STATUS_OS;
    }
    struct run_report *report = run_report_new();
    pump(cfg, in, log_fd, report);
    if (report != NULL && cfg->has_summary && has_command_run() && getppid() == launcher) {
        print_summary(cfg, report);
    }
    run_report_free(report);
    if (getppid() != launcher) {
        struct private_dir dir = *cfg->dir;
        private_dir_remove(&dir);
    }
    return 0;
}

int log_pump_start(const struct log_pump_config *cfg, struct log_pump *out, struct err *err)
{
    int ends[2];
    pid_t launcher = getpid();
    *out = (struct log_pump){.fd = -1};
    int log_fd = open(cfg->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0 || pipe2(ends, O_CLOEXEC) != 0) {
        int rc = -errno;
        err_set(err, "%s: %s", cfg->log_path, strerror(-rc));
        if (log_fd >= 0) {
            (void)close(log_fd);
        }
        return rc;
    }
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(ends[1]);
        _exit(pump_main(cfg, ends[0], log_fd, launcher));
    }
    int rc = pid < 0 ? -errno : 0;
    (void)close(ends[0]);
    (void)close(log_fd);
    if (rc != 0) {
        (void)close(ends[1]);
        err_set(err, "fork: %s", strerror(-rc));
        return rc;
    }
    *out = (struct log_pump){.pid = pid, .fd = ends[1]};
    return 0;
}

void log_pump_stop(struct log_pump *p)
{
    if (p->fd >= 0) {
        (void)close(p->fd);
    }
    p->fd = -1;
    while (p->pid > 0 && waitpid(p->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    p->pid = 0;
}

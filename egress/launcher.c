/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/launcher.h"

#include "egress/daemon_proc.h"
#include "egress/interrupt.h"
#include "egress/log_pump.h"

#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_TIMEOUT_MS 60000 /* a machine may be that busy; whoever waits can interrupt it */

struct launcher {
    const struct run_options *options;
    const struct private_dir *dir;
    const struct synth_pools *pools;
    pid_t child; /* the set-up child; 0 = none or waited for */
    int sock;    /* our end of the talk with it; -1 = closed */
    pid_t init;  /* COMMAND's init as we see it; 0 = not started */
    struct passed_socket sockets[LISTEN_FDS_MAX];
    size_t socket_count;
    struct daemon_proc dnsd, tunneld;
    struct log_pump pump;
    int64_t log_start; /* size of the log before the daemons */
    sigset_t signals;
};

static void complain(const char *text)
{
    (void)fprintf(stderr, "openshell-egress: %s\n", text);
}

/* The next message of the set-up child. *fd is -1 or a descriptor that is now ours. 0, -EPIPE at its end,
 * -errno. */
static int receive(int sock, struct fence_message *message, int *fd)
{
    struct iovec iov = {.iov_base = message, .iov_len = sizeof *message};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr header = {.msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = control.space,
                            .msg_controllen = sizeof control.space};
    ssize_t got = 0;
    *fd = -1;
    do {
        got = recvmsg(sock, &header, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return -errno;
    }
    const struct cmsghdr *c = CMSG_FIRSTHDR(&header);
    if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        memcpy(fd, CMSG_DATA(c), sizeof *fd);
    }
    return got == (ssize_t)sizeof *message ? 0 : -EPIPE;
}

static const char *socket_name(enum fence_kind kind)
{
    switch (kind) {
    case FENCE_DNS:
        return "dns";
    case FENCE_CONNECT:
        return "connect";
    case FENCE_CAPTURE:
        return "capture";
    case FENCE_PORTS:
        return "ports";
    case FENCE_NONE:
    case FENCE_NOTE:
    case FENCE_READY:
    case FENCE_STARTED:
    case FENCE_FAILED:
        break;
    }
    return NULL;
}

/* The daemons' form of log lines. */
static enum log_format log_format(const struct run_options *o)
{
    const struct arg_list *args = &o->daemons.tunneld;
    const char *value = getenv("OPENSHELL_TUNNELD_LOG_FORMAT");
    for (size_t i = 0; i < args->count; i++) {
        if (strcmp(args->items[i], "--log-format") == 0 && i + 1 < args->count) {
            value = args->items[i + 1];
        } else if (strncmp(args->items[i], "--log-format=", 13) == 0) {
            value = args->items[i] + 13;
        }
    }
    return value != NULL && strcmp(value, "json") == 0 ? LOG_JSON : LOG_TEXT;
}

static const char *log_path(const struct launcher *l)
{
    return l->options->log != NULL ? l->options->log : l->dir->log;
}

/* Nothing is wrong, so the terminal is left alone: the log tells why a program's own name server is silent.
 */
static void note_in_log(const struct launcher *l, const char *why)
{
    int fd = open(log_path(l), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        return;
    }
    log_init("openshell-egress", LOG_INFO, log_format(l->options), fd);
    log_event(LOG_WARN, "capture_by_port",
              LOG_KV(kv_str("why", why), kv_str("note", "the policy's ports, also those it gains later, are "
                                                        "not the command's to listen on; name servers other "
                                                        "than 127.0.0.1 are not answered")));
    log_init("openshell-egress", LOG_ERROR, LOG_TEXT, STDERR_FILENO);
    (void)close(fd);
}

/*
 * Collects sockets until the child says until. 0, or the exit status. Once it was told to go, COMMAND may run
 * before we hear of it, and signals are for COMMAND: they wait for supervise().
 */
static int collect(struct launcher *l, enum fence_kind until)
{
    const bool is_ours = until == FENCE_READY;
    for (;;) {
        struct fence_message message;
        int fd = -1;
        int interrupted = is_ours ? interrupt_poll(l->sock, -1) : 0;
        if (interrupted < 0) {
            return 128 - interrupted;
        }
        int rc = receive(l->sock, &message, &fd);
        if (rc != 0) {
            complain("the set-up of the fence ended unexpectedly");
            return EXIT_STATUS_OS;
        }
        const char *name = socket_name(message.kind);
        if (name != NULL && (fd < 0 || l->socket_count == LISTEN_FDS_MAX)) {
            complain("too many open files for the listening sockets: raise the limit (ulimit -Hn)");
            return EXIT_STATUS_OS;
        }
        if (name != NULL) {
            l->sockets[l->socket_count++] = (struct passed_socket){.fd = fd, .name = name};
            continue;
        }
        if (fd >= 0) {
            (void)close(fd);
        }
        message.text[sizeof message.text - 1] = '\0';
        if (message.kind == FENCE_FAILED) {
            complain(message.text);
            return message.number;
        }
        if (message.kind == FENCE_NOTE) {
            note_in_log(l, message.text);
        }
        if (message.kind == FENCE_STARTED) {
            l->init = message.number;
        }
        if (message.kind == until) {
            return 0;
        }
    }
}

/* The addresses on which tunneld asks for a listener a port. */
static const char *transparent_option(const struct synth_pools *pools)
{
    return pools->has_v4 && pools->has_v6 ? "--transparent=auto"
           : pools->has_v4                ? "--transparent=0.0.0.0:auto"
                                          : "--transparent=[::]:auto";
}

/* What the caller and run gave the daemon, and one more. */
static int add_argument(const struct arg_list *given, const char *more, struct arg_list *out)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < given->count; i++) {
        rc = arg_list_add(out, given->items[i]);
    }
    return rc == 0 && more != NULL ? arg_list_add(out, more) : rc;
}

static int start_one(struct launcher *l, bool is_dnsd, struct daemon_proc *out)
{
    struct passed_socket own[LISTEN_FDS_MAX];
    struct arg_list args = {0};
    const char *more = NULL;
    size_t count = 0;
    for (size_t i = 0; i < l->socket_count; i++) {
        bool is_dns = strcmp(l->sockets[i].name, "dns") == 0;
        if (is_dns == is_dnsd) {
            own[count++] = l->sockets[i];
            more = strcmp(l->sockets[i].name, "ports") == 0 ? transparent_option(l->pools) : more;
        }
    }
    struct daemon_start start = {
        .program = is_dnsd ? "openshell-dnsd" : "openshell-tunneld",
        .log_fd = l->pump.fd,
        .args = &args,
        .sockets = own,
        .socket_count = count,
    };
    struct err err = {"out of memory"};
    int rc = add_argument(is_dnsd ? &l->options->daemons.dnsd : &l->options->daemons.tunneld, more, &args);
    rc = rc == 0 ? daemon_proc_start(&start, out, &err) : rc;
    free(args.items);
    if (rc != 0) {
        complain(err.text);
        return EXIT_STATUS_OS;
    }
    return 0;
}

static int start_pump(struct launcher *l, const struct fence_config *fence)
{
    const struct log_pump_config cfg = {
        .dir = l->dir, .pools = &fence->pools, .log_path = log_path(l), .has_summary = l->options->summary};
    struct err err = {""};
    struct stat st;
    l->log_start = stat(cfg.log_path, &st) == 0 ? (int64_t)st.st_size : 0;
    if (log_pump_start(&cfg, &l->pump, &err) != 0) {
        complain(err.text);
        return EXIT_STATUS_OS;
    }
    return 0;
}

/* The daemon's own words are the best message: what was logged since it was started, at most 8 KiB. They
 * cannot be had again from a log that is no file. */
static void copy_log(struct launcher *l, const char *program)
{
    char text[8192];
    daemon_proc_stop(&l->tunneld);
    daemon_proc_stop(&l->dnsd);
    log_pump_stop(&l->pump); /* all is written then */
    struct stat st;
    const bool is_file = stat(log_path(l), &st) == 0 && S_ISREG(st.st_mode);
    int fd = is_file ? open(log_path(l), O_RDONLY | O_CLOEXEC) : -1;
    ssize_t got = fd < 0 ? -1 : pread(fd, text, sizeof text, l->log_start);
    if (got > 0) {
        (void)fwrite(text, 1, (size_t)got, stderr);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    if (got > 0) {
        (void)fprintf(stderr, "openshell-egress: %s did not start; its words are above\n", program);
    } else {
        (void)fprintf(stderr, "openshell-egress: %s did not start; its words went to %s\n", program,
                      log_path(l));
    }
}

/* The exit status, or 0. What a signal interrupted has nothing to say. */
static int start_and_wait(struct launcher *l, bool is_dnsd, struct daemon_proc *d)
{
    int status = start_one(l, is_dnsd, d);
    if (status != 0) {
        return status;
    }
    const char *program = d->program;
    status = daemon_proc_await_ready(d, READY_TIMEOUT_MS);
    if (status != 0 && status < 128) {
        copy_log(l, program);
    }
    return status;
}

/* dnsd first: it makes the map that tunneld reads. */
static int start_daemons(struct launcher *l, const struct fence_config *fence)
{
    int status = start_pump(l, fence);
    status = status == 0 ? start_and_wait(l, true, &l->dnsd) : status;
    status = status == 0 ? start_and_wait(l, false, &l->tunneld) : status;
    if (l->pump.fd >= 0) {
        (void)close(l->pump.fd); /* the daemons alone hold it: the pump ends with them */
        l->pump.fd = -1;
    }
    for (size_t i = 0; i < l->socket_count; i++) {
        (void)close(l->sockets[i].fd);
    }
    l->socket_count = 0;
    return status;
}

static void note_daemon_end(const struct launcher *l, struct daemon_proc *d, pid_t ended)
{
    if (d->pid != 0 && d->pid == ended) {
        daemon_proc_ended(d);
        (void)fprintf(stderr, "openshell-egress: %s ended: nothing gets through it any more (log: %s)\n",
                      d->program, log_path(l));
    }
}

/* Until COMMAND's init is gone. Signals from a terminal reach COMMAND by themselves; those sent to us are
 * passed on. */
static int supervise(struct launcher *l)
{
    for (;;) {
        siginfo_t info;
        int signo = sigwaitinfo(&l->signals, &info);
        if (signo < 0) {
            continue;
        }
        if (signo != SIGCHLD) {
            if (info.si_code != SI_KERNEL && l->init > 0) {
                (void)kill(l->init, signo);
            }
            continue;
        }
        int status = 0;
        pid_t ended = 0;
        while ((ended = waitpid(-1, &status, WNOHANG)) > 0) {
            if (ended == l->child) {
                l->child = 0;
                return fence_wait_status(status);
            }
            note_daemon_end(l, &l->dnsd, ended);
            note_daemon_end(l, &l->tunneld, ended);
            if (ended == l->pump.pid) {
                l->pump.pid = 0;
            }
        }
    }
}

/* In the forked child. */
static void become_child(const struct fence_config *fence, int sock, pid_t launcher)
{
    /*
     * ^C, and whatever else is sent to the process group, is for COMMAND: if it ended us, PDEATHSIG would end
     * COMMAND before it could react. Blocked, not ignored: COMMAND inherits what the caller ignores (nohup).
     */
    sigset_t all;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != launcher) {
        _exit(EXIT_STATUS_OS);
    }
    /* whatever the caller left open: COMMAND might find it in /proc/1/fd */
    fence_close_descriptors(sock, fence->keep_fds, fence->keep_fd_count);
    _exit(fence_child(fence, sock));
}

static int start_child(struct launcher *l, const struct fence_config *fence)
{
    int pair[2];
    static const int watched[] = {SIGCHLD, SIGTERM, SIGHUP,   SIGINT, SIGQUIT,
                                  SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT};
    (void)sigemptyset(&l->signals);
    for (size_t i = 0; i < sizeof watched / sizeof watched[0]; i++) {
        (void)sigaddset(&l->signals, watched[i]);
    }
    (void)sigprocmask(SIG_BLOCK, &l->signals, NULL);
    (void)signal(SIGCHLD, SIG_DFL); /* a caller that ignores it would leave us nothing to wait for */
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        complain(strerror(errno));
        return EXIT_STATUS_OS;
    }
    pid_t self = getpid();
    l->sock = pair[0];
    l->child = fork();
    if (l->child == 0) {
        (void)close(pair[0]);
        become_child(fence, pair[1], self);
    }
    (void)close(pair[1]);
    if (l->child < 0) {
        l->child = 0;
        complain(strerror(errno));
        return EXIT_STATUS_OS;
    }
    return 0;
}

static void clean_up(struct launcher *l)
{
    if (l->sock >= 0) {
        (void)close(l->sock);
    }
    if (l->child > 0) {
        (void)kill(l->child, SIGKILL);
        (void)waitpid(l->child, NULL, 0);
    }
    for (size_t i = 0; i < l->socket_count; i++) {
        (void)close(l->sockets[i].fd);
    }
    daemon_proc_stop(&l->tunneld);
    daemon_proc_stop(&l->dnsd);
    log_pump_stop(&l->pump);
}

/* For the daemons, which inherit it. COMMAND, forked before, keeps its limit. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* if it fails, what then does not fit is reported */
    }
}

int launcher_run(const struct run_options *options, const struct fence_config *fence,
                 const struct private_dir *dir)
{
    struct launcher *l = calloc(1, sizeof *l);
    if (l == NULL) {
        complain("out of memory");
        return EXIT_STATUS_OS;
    }
    l->options = options;
    l->dir = dir;
    l->pools = &fence->pools;
    l->sock = -1;
    l->dnsd = (struct daemon_proc){.control_fd = -1, .ready_fd = -1};
    l->tunneld = l->dnsd;
    l->pump.fd = -1;
    int status = start_child(l, fence);
    raise_descriptor_limit();
    status = status == 0 ? collect(l, FENCE_READY) : status;
    status = status == 0 ? start_daemons(l, fence) : status;
    if (status == 0 && send(l->sock, "g", 1, MSG_NOSIGNAL) != 1) {
        complain("the set-up of the fence is gone");
        status = EXIT_STATUS_OS;
    }
    status = status == 0 ? collect(l, FENCE_STARTED) : status;
    if (status == 0 && l->pump.pid > 0) {
        (void)kill(l->pump.pid, LOG_PUMP_COMMAND_RUNS);
    }
    status = status == 0 ? supervise(l) : status;
    clean_up(l);
    free(l);
    return status;
}

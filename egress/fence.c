/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/fence.h"

#include "common/base/num.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PORT_START_FILE "/proc/sys/net/ipv4/ip_unprivileged_port_start"

int fence_send(int sock, enum fence_kind kind, int32_t number, const char *text, int fd)
{
    struct fence_message message = {.kind = kind, .number = number};
    if (text != NULL) {
        (void)snprintf(message.text, sizeof message.text, "%s", text);
    }
    struct iovec iov = {.iov_base = &message, .iov_len = sizeof message};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        header.msg_control = control.space;
        header.msg_controllen = sizeof control.space;
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    return sendmsg(sock, &header, MSG_NOSIGNAL) == (ssize_t)sizeof message ? 0 : -errno;
}

static int write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    size_t len = strlen(text);
    ssize_t wrote = write(fd, text, len);
    int result = wrote == (ssize_t)len ? 0 : wrote < 0 ? -errno : -EIO;
    (void)close(fd);
    return result;
}

static bool read_number(const char *path, unsigned *out)
{
    FILE *f = fopen(path, "re");
    char line[32] = "";
    bool ok = false;
    if (f != NULL) {
        uint64_t n = 0;
        struct span s = fgets(line, sizeof line, f) != NULL ? span_str(line) : span_str("");
        while (s.len > 0 && s.data[s.len - 1] == '\n') {
            s.len--;
        }
        ok = num_u64(s, 0, UINT32_MAX, &n) == 0;
        *out = (unsigned)n;
        (void)fclose(f);
    }
    return ok;
}

void fence_explain_userns(const struct fence_userns_facts *facts, int error, struct err *err)
{
    if (facts->unprivileged_clone == 0) {
        err_set(err, "user namespaces are switched off here: sysctl kernel.unprivileged_userns_clone=1, or "
                     "run as root");
    } else if (facts->max == 0) {
        err_set(
            err,
            "user namespaces are switched off here: sysctl user.max_user_namespaces=15000, or run as root");
    } else if (error == ENOSPC) {
        err_set(err, "too many user namespaces: raise sysctl user.max_user_namespaces");
    } else if (facts->apparmor == 1) {
        err_set(err, "AppArmor restricts user namespaces here (Ubuntu 23.10 and later): load "
                     "deploy/apparmor/openshell-egress as its head says, or run as root");
    } else {
        err_set(
            err,
            "no user namespace: %s (a container's seccomp profile often forbids it; run as root, or allow "
            "unshare)",
            strerror(error));
    }
}

static int fact(const char *path)
{
    unsigned value = 0;
    return read_number(path, &value) ? (int)(value > 1 ? 1 : value) : -1;
}

static void explain_user_namespace(int error, struct err *err)
{
    const struct fence_userns_facts facts = {
        .unprivileged_clone = fact("/proc/sys/kernel/unprivileged_userns_clone"),
        .max = fact("/proc/sys/user/max_user_namespaces"),
        .apparmor = fact("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")};
    fence_explain_userns(&facts, error, err);
}

/* The identity map: COMMAND sees its own uid, and no file looks as if root owned it. */
static int map_identity(uid_t uid, gid_t gid, struct err *err)
{
    char line[64];
    int rc = write_file("/proc/self/setgroups", "deny");
    if (rc == 0) {
        (void)snprintf(line, sizeof line, "%u %u 1", (unsigned)uid, (unsigned)uid);
        rc = write_file("/proc/self/uid_map", line);
    }
    if (rc == 0) {
        (void)snprintf(line, sizeof line, "%u %u 1", (unsigned)gid, (unsigned)gid);
        rc = write_file("/proc/self/gid_map", line);
    }
    if (rc != 0) {
        err_set(err, "the user namespace's identity map: %s", strerror(-rc));
    }
    return rc;
}

int fence_unshare(bool *in_user_namespace, struct err *err)
{
    const int rest = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC;
    uid_t uid = geteuid();
    gid_t gid = getegid();
    *in_user_namespace = false;
    if (uid == 0 && unshare(rest) == 0) {
        return 0;
    }
    if (unshare(CLONE_NEWUSER) != 0) {
        int error = errno;
        explain_user_namespace(error, err);
        return -error;
    }
    *in_user_namespace = true;
    int rc = map_identity(uid, gid, err);
    if (rc != 0) {
        return rc;
    }
    if (unshare(rest) != 0) {
        rc = -errno;
        if (fact("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1) {
            explain_user_namespace(-rc, err); /* Ubuntu 24.04 gives one, without capabilities */
        } else {
            err_set(err, "no network, mount or IPC namespace: %s", strerror(-rc));
        }
    }
    return rc;
}

/* A new network namespace starts at 1024 again, whatever the host allows its users. */
static void copy_port_start(unsigned host_value)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%u", host_value);
    (void)write_file(PORT_START_FILE, text);
}

/* Can a process here have a pid namespace with its own /proc? Tried in children, since the attempt is
 * irrevocable. */
static bool can_have_pid_namespace(void)
{
    int status = 1;
    pid_t outer = fork();
    if (outer == 0) {
        if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0) {
            _exit(1);
        }
        pid_t inner = fork();
        if (inner == 0) {
            _exit(mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == 0 ? 0 : 1);
        }
        int inner_status = 1;
        bool ok = inner > 0 && waitpid(inner, &inner_status, 0) == inner && inner_status == 0;
        _exit(ok ? 0 : 1);
    }
    return outer > 0 && waitpid(outer, &status, 0) == outer && status == 0;
}

/* Until it ends: the launcher stops and goes on as COMMAND does. */
static int follow_init(pid_t init, int job_fd)
{
    const pid_t launcher = getppid(); /* which ends us when it ends */
    char word = 0;
    int status = 0;
    while (read(job_fd, &word, 1) == 1) {
        (void)kill(launcher, word == FENCE_JOB_STOPPED ? SIGSTOP : SIGCONT);
    }
    while (waitpid(init, &status, 0) < 0) {
        if (errno != EINTR) {
            return -errno;
        }
    }
    return fence_wait_status(status);
}

/* The last step of the child: COMMAND's init in a pid namespace of its own. */
static int start_init(const struct fence_config *cfg, int sock, struct err *err)
{
    bool pid_namespace = can_have_pid_namespace();
    if (!pid_namespace && !cfg->degraded) {
        err_set(
            err,
            "no pid namespace with its own /proc here (common in containers); --degraded goes on without: "
            "the command then sees the daemons' processes");
        return -EPERM;
    }
    if (pid_namespace && unshare(CLONE_NEWPID) != 0) {
        err_set(err, "no pid namespace: %s", strerror(errno));
        return -errno;
    }
    int job[2] = {-1, -1};
    if (pipe2(job, O_CLOEXEC) != 0) {
        err_set(err, "a pipe: %s", strerror(errno));
        return -errno;
    }
    pid_t init = fork();
    if (init < 0) {
        err_set(err, "fork: %s", strerror(errno));
        return -errno;
    }
    if (init == 0) {
        (void)close(sock);
        (void)close(job[0]); /* ours alone: it tells that we are gone, as getppid() cannot in there */
        _exit(fence_init(cfg, pid_namespace, job[1]));
    }
    (void)close(job[1]);
    int rc = fence_send(sock, FENCE_STARTED, init, NULL, -1);
    if (rc != 0) {
        err_set(err, "the launcher is gone");
        return rc;
    }
    return follow_init(init, job[0]);
}

/* Waits for the launcher's word that both daemons serve. */
static int await_go(int sock, struct err *err)
{
    char go = 0;
    ssize_t got = 0;
    do {
        got = recv(sock, &go, 1, 0);
    } while (got < 0 && errno == EINTR);
    if (got != 1 || go != 'g') {
        err_set(err, "the launcher gave up");
        return -ECANCELED;
    }
    return 0;
}

/* Mounts in place of those COMMAND is to see. */
static int set_up_mounts(const struct fence_config *cfg, struct err *err)
{
    char cwd[PATH_MAX];
    bool has_cwd = getcwd(cwd, sizeof cwd) != NULL && cwd[0] == '/';
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0) {
        err_set(err, "making mounts private: %s", strerror(errno));
        return -errno;
    }
    int rc = fence_etc(cfg->etc_dir, cfg->degraded, err);
    rc = rc == 0 ? fence_hide(cfg, err) : rc;
    if (rc != 0 || !has_cwd) {
        return rc;
    }
    /* in /etc it would still be the host's, which root may write; and a step up from a hidden one leads out
     */
    if (chdir(cwd) != 0 && (fence_is_hidden(cwd) || (errno != EACCES && errno != ENOENT))) {
        rc = -errno;
        err_set(err, "the working directory %s: %s%s", cwd, strerror(-rc),
                fence_is_hidden(cwd) ? " (hidden from the command; --keep leaves it)" : "");
    }
    return rc;
}

static int set_up(struct fence_config *cfg, int sock, bool *in_user_namespace, struct err *err)
{
    unsigned port_start = 1024;
    (void)read_number(PORT_START_FILE, &port_start);
    int rc = fence_unshare(in_user_namespace, err);
    rc = rc == 0 ? fence_network(cfg, sock, err) : rc;
    if (rc == 0) {
        copy_port_start(port_start);
        rc = set_up_mounts(cfg, err);
    }
    rc = rc == 0 ? fence_send(sock, FENCE_READY, 0, NULL, -1) : rc;
    return rc == 0 ? await_go(sock, err) : rc;
}

int fence_child(const struct fence_config *cfg, int sock)
{
    struct fence_config own = *cfg;
    struct err err = {""};
    bool in_user_namespace = false;
    int rc = set_up(&own, sock, &in_user_namespace, &err);
    rc = rc == 0 ? start_init(&own, sock, &err) : rc;
    if (rc < 0) {
        if (fence_send(sock, FENCE_FAILED, EXIT_STATUS_OS, err.text, -1) != 0) {
            return EXIT_STATUS_OS; /* the launcher is gone: nobody to tell */
        }
        return EXIT_STATUS_OS;
    }
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/fence.h"

#include "common/run/port_ask.h"
#include "common/run/privs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Whoever reads COMMAND's output to its end may not have to wait for us. */
static void leave_standard_streams(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++) {
        if (fd < 0 || dup2(fd, i) < 0) {
            (void)close(i);
        }
    }
}

/* In the child; every signal is blocked, as in its parent. */
static int serve(int channel, pid_t parent)
{
    struct err err = {""};
    int rc = privs_drop_ids(NULL, UINT64_C(1) << CAP_NET_BIND_SERVICE, &err);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* In a fence without a pid namespace COMMAND sees us, and has our uid: it may not trace us. */
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)prctl(PR_SET_NAME, "openshell-ports");
    leave_standard_streams();
    fence_close_descriptors(channel, NULL, 0);
    if (rc != 0 || getppid() != parent) {
        return EXIT_STATUS_OS;
    }
    return port_ask_serve(channel) == 0 ? 0 : EXIT_STATUS_OS;
}

int fence_ports(int sock, struct err *err)
{
    int pair[2];
    const pid_t self = getpid();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        err_set(err, "a socket pair: %s", strerror(errno));
        return -errno;
    }
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(pair[1]);
        _exit(serve(pair[0], self));
    }
    int rc = pid < 0 ? -errno : fence_send(sock, FENCE_PORTS, 0, NULL, pair[1]);
    (void)close(pair[0]);
    (void)close(pair[1]);
    if (rc != 0) {
        err_set(err, "the process that makes the listening sockets: %s", strerror(-rc));
    }
    return rc;
}

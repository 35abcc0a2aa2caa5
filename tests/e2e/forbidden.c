/* SPDX-License-Identifier: Apache-2.0 */
/* Tries what the fence's seccomp filter is to refuse, and what it must let through: one line each. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef AF_VSOCK
#define AF_VSOCK 40
#endif

static void told(const char *what, long result)
{
    (void)printf("%s: %s\n", what, result < 0 ? strerrorname_np(errno) : "ok");
    (void)fflush(stdout);
}

#ifdef __x86_64__
/* getpid of the 32-bit table */
static long getpid_i386(void)
{
    long result = 20;
    __asm__ volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
    return result;
}
#endif

int main(void)
{
    static const struct {
        const char *name;
        int family, type;
    } families[] = {{"unix", AF_UNIX, SOCK_STREAM},       {"inet", AF_INET, SOCK_DGRAM},
                    {"inet6", AF_INET6, SOCK_STREAM},     {"netlink", AF_NETLINK, SOCK_RAW},
                    {"vsock", AF_VSOCK, SOCK_STREAM},     {"packet", AF_PACKET, SOCK_DGRAM},
                    {"alg", AF_ALG, SOCK_SEQPACKET},      {"can", AF_CAN, SOCK_RAW},
                    {"bluetooth", AF_BLUETOOTH, SOCK_RAW}};
    for (size_t i = 0; i < sizeof families / sizeof families[0]; i++) {
        told(families[i].name, socket(families[i].family, families[i].type, 0));
    }
    int pair[2];
    told("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    /* what is above the lower half of an argument is none of the kernel's business */
    told("vsock above", syscall(SYS_socket, AF_VSOCK | 1L << 32, SOCK_STREAM, 0));
    told("io_uring_setup", syscall(425, 8, NULL));
    told("io_uring_enter", syscall(426, -1, 0, 0, 0, NULL, 0));
    told("io_uring_register", syscall(427, -1, 0, NULL, 0));
    told("pidfd_open", syscall(434, getpid(), 0));
    told("tiocsti", ioctl(pair[0], TIOCSTI, "x"));
    told("tiocsti above", syscall(SYS_ioctl, pair[0], TIOCSTI | 1L << 32, "x"));
    told("tioclinux", ioctl(pair[0], TIOCLINUX, "\2"));
    int unread = 0;
    told("fionread", ioctl(pair[0], FIONREAD, &unread));
#ifdef __x86_64__
    told("x32", syscall(0x40000000 | SYS_getpid));
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        _exit(getpid_i386() == getpid() ? 0 : 1);
    }
    (void)waitpid(child, &status, 0);
    (void)printf("i386: %s\n", WIFSIGNALED(status) ? sigabbrev_np(WTERMSIG(status))
                               : status == 0       ? "ok"
                                                   : "odd");
#endif
    return 0;
}

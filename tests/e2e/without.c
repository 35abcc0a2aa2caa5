/* SPDX-License-Identifier: Apache-2.0 */
/*
 * without WHAT... -- COMMAND...: COMMAND on a kernel that lacks, or in a container that forbids, WHAT:
 *   nft      nf_tables (no such netlink protocol)
 *   userns   unshare(2) of a user namespace
 *   pidns    unshare(2) of a pid namespace
 *   seccomp  filters of one's own
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip)
#define UNLESS_SET(bits, skip) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, skip)
#define REFUSE(error) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static int filter(struct sock_filter *code, size_t len)
{
    const struct sock_fprog program = {.len = (unsigned short)len, .filter = code};
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int without_nft(void)
{
    struct sock_filter code[] = {
        LOAD(nr),      UNLESS(SYS_socket, 5),        LOAD(args[0]),           UNLESS(AF_NETLINK, 3),
        LOAD(args[2]), UNLESS(NETLINK_NETFILTER, 1), REFUSE(EPROTONOSUPPORT), ALLOW};
    return filter(code, sizeof code / sizeof code[0]);
}

static int without_namespace(unsigned flag)
{
    struct sock_filter code[] = {
        LOAD(nr), UNLESS(SYS_unshare, 3), LOAD(args[0]), UNLESS_SET(flag, 1), REFUSE(EPERM), ALLOW};
    return filter(code, sizeof code / sizeof code[0]);
}

static int without_seccomp(void)
{
    struct sock_filter code[] = {
        LOAD(nr),      UNLESS(SYS_seccomp, 1),    REFUSE(ENOSYS), UNLESS(SYS_prctl, 3),
        LOAD(args[0]), UNLESS(PR_SET_SECCOMP, 1), REFUSE(EINVAL), ALLOW};
    return filter(code, sizeof code / sizeof code[0]);
}

int main(int argc, char **argv)
{
    int at = 1;
    int rc = prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL);
    for (; rc == 0 && at < argc && strcmp(argv[at], "--") != 0; at++) {
        rc = strcmp(argv[at], "nft") == 0       ? without_nft()
             : strcmp(argv[at], "userns") == 0  ? without_namespace(CLONE_NEWUSER)
             : strcmp(argv[at], "pidns") == 0   ? without_namespace(CLONE_NEWPID)
             : strcmp(argv[at], "seccomp") == 0 ? without_seccomp()
                                                : -1;
    }
    if (rc != 0 || at + 1 >= argc) {
        (void)fprintf(stderr, "without: %s\n", strerror(errno));
        return 2;
    }
    (void)execvp(argv[at + 1], argv + at + 1);
    perror(argv[at + 1]);
    return 127;
}

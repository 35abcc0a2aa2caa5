/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/fence.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* Little-endian machines where socket(2) is a system call of its own and the only way to a socket. */
#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && !defined(__AARCH64EB__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define NATIVE_ARCH AUDIT_ARCH_RISCV64
#endif

#ifdef NATIVE_ARCH

#define X32_BIT 0x40000000U
#ifndef SYS_io_uring_setup /* the same number on every machine */
#define SYS_io_uring_setup 425
#define SYS_io_uring_register 427
#endif

#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define FIELD(name) offsetof(struct seccomp_data, name)
/* The lower half of an argument: all that the kernel itself looks at in the calls below. */
#define ARG(n) (offsetof(struct seccomp_data, args) + (n) * sizeof(uint64_t))
#define IF_EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(value), yes, no)
#define IF_AT_LEAST(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t)(value), yes, no)
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, what)
#define REFUSE(error) RETURN(SECCOMP_RET_ERRNO | (error))

/*
 * What a network namespace does not hold: families that know none (AF_VSOCK), io_uring, which makes sockets
 * without socket(2), and typing into the caller's terminal. Other system call tables of the same kernel
 * would pass all this by.
 */
static struct sock_filter filter[] = {
    LOAD(FIELD(arch)),
    IF_EQUAL(NATIVE_ARCH, 1, 0),
    RETURN(SECCOMP_RET_KILL_PROCESS),
    LOAD(FIELD(nr)),
    IF_AT_LEAST(X32_BIT, 0, 1),
    REFUSE(ENOSYS),
    IF_EQUAL(SYS_socket, 0, 7),
    LOAD(ARG(0)),
    IF_EQUAL(AF_UNIX, 4, 0),
    IF_EQUAL(AF_INET, 3, 0),
    IF_EQUAL(AF_INET6, 2, 0),
    IF_EQUAL(AF_NETLINK, 1, 0),
    REFUSE(EAFNOSUPPORT),
    RETURN(SECCOMP_RET_ALLOW),
    IF_EQUAL(SYS_ioctl, 0, 5),
    LOAD(ARG(1)),
    IF_EQUAL(TIOCSTI, 1, 0),
    IF_EQUAL(TIOCLINUX, 0, 1),
    REFUSE(EPERM),
    RETURN(SECCOMP_RET_ALLOW),
    IF_AT_LEAST(SYS_io_uring_setup, 0, 2),
    IF_AT_LEAST(SYS_io_uring_register + 1, 1, 0),
    REFUSE(ENOSYS),
    RETURN(SECCOMP_RET_ALLOW),
};

int fence_filter(struct err *err)
{
    const struct sock_fprog program = {.len = sizeof filter / sizeof filter[0], .filter = filter};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        int rc = -errno;
        err_set(err, "no seccomp filter: %s", strerror(-rc));
        return rc;
    }
    return 0;
}

#else

int fence_filter(struct err *err)
{
    err_set(err, "no seccomp filter: not written for this machine's processor");
    return -ENOSYS;
}

#endif

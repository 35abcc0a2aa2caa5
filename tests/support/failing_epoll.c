/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/failing_epoll.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_uint left;

void failing_epoll_adds(unsigned count)
{
    atomic_store(&left, count);
}

unsigned failing_epoll_left(void)
{
    return atomic_load(&left);
}

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
    unsigned now = atomic_load(&left);
    while (op == EPOLL_CTL_ADD && now > 0) {
        if (atomic_compare_exchange_weak(&left, &now, now - 1)) {
            errno = ENOSPC;
            return -1;
        }
    }
    return (int)syscall(SYS_epoll_ctl, epfd, op, fd, event);
}

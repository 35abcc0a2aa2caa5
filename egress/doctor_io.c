/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/doctor_io.h"

#include "common/base/clock.h"
#include "common/net/sock.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

int doctor_io_wait(int fd, short events, int64_t end_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    for (;;) {
        int64_t left = end_ms - clock_mono_ms();
        int n = poll(&p, 1, left > 0 ? (int)left : 0);
        if (n > 0) {
            return 0;
        }
        if (n == 0) {
            return -ETIMEDOUT;
        }
        if (errno != EINTR) {
            return -errno;
        }
    }
}

int doctor_io_connect(const struct addr *to, int64_t end_ms)
{
    int fd = sock_connect_tcp(to);
    if (fd < 0) {
        return fd;
    }
    int rc = doctor_io_wait(fd, POLLOUT, end_ms);
    rc = rc == 0 ? sock_connect_result(fd) : rc;
    if (rc != 0) {
        (void)close(fd);
        return rc;
    }
    return fd;
}

int doctor_io_send(int fd, struct span bytes, int64_t end_ms)
{
    while (bytes.len > 0) {
        ssize_t n = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL);
        int rc = 0;
        if (n > 0) {
            bytes = span_sub(bytes, (size_t)n, bytes.len);
        } else if (n < 0 && errno == EAGAIN) {
            rc = doctor_io_wait(fd, POLLOUT, end_ms);
        } else if (n < 0 && errno != EINTR) {
            rc = -errno;
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

ssize_t doctor_io_receive(int fd, void *data, size_t cap, int64_t end_ms)
{
    for (;;) {
        ssize_t n = recv(fd, data, cap, 0);
        if (n >= 0) {
            return n;
        }
        if (errno == EAGAIN) {
            int rc = doctor_io_wait(fd, POLLIN, end_ms);
            if (rc != 0) {
                return rc;
            }
        } else if (errno != EINTR) {
            return -errno;
        }
    }
}

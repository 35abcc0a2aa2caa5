/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into a daemon under test (LD_PRELOAD): shifts the wall clock and lets system calls on TCP sockets
 * fail, as a small file says that the test may change while the daemon runs. TEST_INJECT_FILE names it; it
 * holds struct inject, all zero at first. The monotonic clock is left alone: a step of the wall clock does
 * not touch it either.
 *
 *   cc -shared -fPIC -O2 -o inject.so inject.c
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct inject {
    volatile int64_t clock_step_s;
    volatile int32_t connect_errno, send_errno, accept_errno; /* 0 = the real thing */
};

static const struct inject nothing;
static const struct inject *control = &nothing;
static int (*real_clock_gettime)(clockid_t, struct timespec *);
static int (*real_connect)(int, const struct sockaddr *, socklen_t);
static ssize_t (*real_send)(int, const void *, size_t, int);
static int (*real_accept4)(int, struct sockaddr *, socklen_t *, int);
static long (*real_syscall)(long, ...);

/* POSIX has dlsym() return functions as void *; this way the compiler need not approve. */
#define FIND(name) (*(void **)(void *)&real_##name = dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void)
{
    FIND(clock_gettime);
    FIND(connect);
    FIND(send);
    FIND(accept4);
    FIND(syscall);
    const char *path = getenv("TEST_INJECT_FILE");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        abort(); /* a test that injects nothing would pass for the wrong reason */
    }
    void *map = mmap(NULL, sizeof(*control), PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) {
        abort();
    }
    control = map;
    (void)close(fd);
}

static int is_wall_clock(clockid_t clock)
{
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
}

int clock_gettime(clockid_t clock, struct timespec *ts)
{
    if (real_clock_gettime == NULL) {
        FIND(clock_gettime);
    }
    int rc = real_clock_gettime(clock, ts);
    if (rc == 0 && is_wall_clock(clock)) {
        ts->tv_sec += (time_t)control->clock_step_s;
    }
    return rc;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    (void)zone;
    struct timespec ts;
    if (clock_gettime(CLOCK_REALTIME, &ts) != 0) {
        return -1;
    }
    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec ts;
    if (clock_gettime(CLOCK_REALTIME, &ts) != 0) {
        return -1;
    }
    if (out != NULL) {
        *out = ts.tv_sec;
    }
    return ts.tv_sec;
}

/* libev may ask for the time this way. */
long syscall(long number, ...)
{
    va_list ap;
    long a[6];
    va_start(ap, number);
    for (int i = 0; i < 6; i++) {
        a[i] = va_arg(ap, long);
    }
    va_end(ap);
    if (number == SYS_clock_gettime) {
        return clock_gettime((clockid_t)a[0], (struct timespec *)a[1]);
    }
    if (real_syscall == NULL) {
        FIND(syscall);
    }
    return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static int is_tcp(int fd)
{
    int type = 0, domain = 0;
    socklen_t len = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0) {
        return 0;
    }
    len = sizeof domain;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && type == SOCK_STREAM &&
           domain != AF_UNIX;
}

int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    int error = control->connect_errno;
    if (error != 0 && is_tcp(fd)) {
        errno = error;
        return -1;
    }
    return real_connect(fd, to, len);
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    int error = control->send_errno;
    if (error != 0 && is_tcp(fd)) {
        errno = error;
        return -1;
    }
    return real_send(fd, data, len, flags);
}

int accept4(int fd, struct sockaddr *peer, socklen_t *len, int flags)
{
    int error = control->accept_errno;
    if (error != 0) {
        errno = error;
        return -1;
    }
    return real_accept4(fd, peer, len, flags);
}

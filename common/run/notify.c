/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/notify.h"

#include "common/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void notify_service_manager(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t len = path == NULL ? 0 : strlen(path);
    if (len < 2 || len >= sizeof(to.sun_path) || (path[0] != '/' && path[0] != '@')) {
        return;
    }
    memcpy(to.sun_path, path, len);
    if (path[0] == '@') { /* the abstract name space: no NUL at the end, one at the start */
        to.sun_path[0] = '\0';
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&to, size);
    (void)close(fd);
}

void notify_reloading(void)
{
    char text[64]; /* to the microsecond: what seems to be from before its SIGHUP systemd does not believe */
    (void)snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld", (long long)clock_mono_us());
    notify_service_manager(text);
}

int notify_ready_fd_check(unsigned fd)
{
    if (fd == 0) {
        return 0;
    }
    int flags = fcntl((int)fd, F_GETFD);
    if (flags < 0) {
        return -EBADF;
    }
    return fd > STDERR_FILENO && fcntl((int)fd, F_SETFD, flags | FD_CLOEXEC) < 0 ? -errno : 0;
}

void notify_ready_fd(unsigned fd)
{
    static const char line[] = "READY\n";
    if (fd == 0) {
        return;
    }
    if (write((int)fd, line, sizeof(line) - 1) < 0) {
        (void)errno; /* whoever wanted to know is gone */
    }
    if (fd > STDERR_FILENO) {
        (void)close((int)fd);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/socket_pass.h"

#include "common/base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int socket_pass_environment(const struct passed_socket *sockets, size_t count)
{
    size_t cap = 1;
    char number[32];
    for (size_t i = 0; i < count; i++) {
        cap += strlen(sockets[i].name) + 1;
    }
    char *names = malloc(cap);
    if (names == NULL) {
        return -ENOMEM;
    }
    struct wbuf w = wbuf_make(names, cap - 1);
    for (size_t i = 0; i < count; i++) {
        wbuf_str(&w, i == 0 ? "" : ":");
        wbuf_str(&w, sockets[i].name);
    }
    names[w.len] = '\0';
    int rc = setenv("LISTEN_FDNAMES", names, 1);
    free(names);
    (void)snprintf(number, sizeof number, "%zu", count);
    rc = rc == 0 ? setenv("LISTEN_FDS", number, 1) : rc;
    (void)snprintf(number, sizeof number, "%ld", (long)getpid());
    rc = rc == 0 ? setenv("LISTEN_PID", number, 1) : rc;
    return rc == 0 ? 0 : -ENOMEM;
}

int socket_pass_place(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, SOCKET_PASS_FIRST_FD + (int)count);
        if (fds[i] < 0) {
            return -errno;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (dup2(fds[i], SOCKET_PASS_FIRST_FD + (int)i) < 0) {
            return -errno;
        }
    }
    return 0;
}

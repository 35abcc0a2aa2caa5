/* SPDX-License-Identifier: Apache-2.0 */
/* dial HOST PORT TEXT: sends TEXT to HOST as getaddrinfo() has it, prints what comes back up to its end. Exit
 * status 1 if the name has no address that takes the connection, or if nothing came.
 */
#define _POSIX_C_SOURCE 200809L
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int dial(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int fd = -1;
    int code = getaddrinfo(host, port, &hints, &list);

    if (code != 0) {
        fprintf(stderr, "dial: %s: %s\n", host, gai_strerror(code));
        return -1;
    }
    for (struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next) {
        fd = socket(ai->ai_family, SOCK_STREAM, 0);
        if (fd >= 0 && connect(fd, ai->ai_addr, ai->ai_addrlen) != 0) {
            perror("dial: connect");
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd;
}

int main(int argc, char **argv)
{
    char data[4096];
    ssize_t n = 0;
    size_t total = 0;
    int fd;

    if (argc != 4) {
        fprintf(stderr, "usage: dial HOST PORT TEXT\n");
        return 64;
    }
    fd = dial(argv[1], argv[2]);
    if (fd < 0 || send(fd, argv[3], strlen(argv[3]), MSG_NOSIGNAL) != (ssize_t)strlen(argv[3])) {
        return 1;
    }
    while ((n = recv(fd, data, sizeof data, 0)) > 0) {
        total += (size_t)n;
        fwrite(data, 1, (size_t)n, stdout);
    }
    return n < 0 || total == 0;
}

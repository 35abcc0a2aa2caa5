/* SPDX-License-Identifier: Apache-2.0 */
/* What a program behind the fence meets: built against glibc and, statically, against musl.
 *
 *   probe resolve NAME...           "NAME ADDRESS..." or "NAME EAI_..." and the milliseconds it took
 *   probe connect ADDRESS PORT...   "ADDRESS PORT open" or "ADDRESS PORT E..." and the milliseconds it took
 *
 * Each is tried three times, a line a time: on a busy machine one of them may be late through no fault of
 * ours. "open" means that the connection was still there when nothing was said for a second: a listener that
 * accepts and resets at once refuses as well, and is shown as ECONNRESET. Exit status 0 whatever the answers
 * are, 64 for a usage error.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TRIES 3

static double now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static const char *eai_name(int code)
{
    switch (code) {
    case EAI_NONAME:
        return "EAI_NONAME";
    case EAI_AGAIN:
        return "EAI_AGAIN";
    case EAI_FAIL:
        return "EAI_FAIL";
    case EAI_SYSTEM:
        return "EAI_SYSTEM";
#ifdef EAI_NODATA
    case EAI_NODATA:
        return "EAI_NODATA";
#endif
    }
    return "EAI_other";
}

static const char *errno_name(int code)
{
    switch (code) {
    case ECONNREFUSED:
        return "ECONNREFUSED";
    case ECONNRESET:
        return "ECONNRESET";
    case ENETUNREACH:
        return "ENETUNREACH";
    case EHOSTUNREACH:
        return "EHOSTUNREACH";
    case ETIMEDOUT:
        return "ETIMEDOUT";
    case EACCES:
        return "EACCES";
    case EPERM:
        return "EPERM";
    }
    return strerror(code);
}

static void resolve(const char *name)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    double start = now_ms();
    int code = getaddrinfo(name, "443", &hints, &list);
    double took = now_ms() - start;

    printf("%s", name);
    if (code != 0) {
        printf(" %s", eai_name(code));
    } else {
        for (struct addrinfo *ai = list; ai; ai = ai->ai_next) {
            char text[NI_MAXHOST];

            if (getnameinfo(ai->ai_addr, ai->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0) {
                printf(" %s", text);
            }
        }
        freeaddrinfo(list);
    }
    printf(" %.1f ms\n", took);
}

/* 0, or the errno that connect() met or that arrived within a second after it. */
static int try_connect(const char *address, const char *port, double *took)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *ai = NULL;
    double start;
    int code = 0;
    int fd;

    if (getaddrinfo(address, port, &hints, &ai) != 0) {
        fprintf(stderr, "probe: %s %s: not an address and a port\n", address, port);
        exit(64);
    }
    start = now_ms();
    fd = socket(ai->ai_family, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, ai->ai_addr, ai->ai_addrlen) != 0) {
        code = errno;
    } else {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        char byte;

        if (poll(&wait, 1, 1000) == 1 && recv(fd, &byte, 1, 0) < 0) {
            code = errno;
        }
    }
    *took = now_ms() - start;
    if (fd >= 0) {
        close(fd);
    }
    freeaddrinfo(ai);
    return code;
}

int main(int argc, char **argv)
{
    if (argc >= 3 && strcmp(argv[1], "resolve") == 0) {
        for (int i = 0; i < (argc - 2) * TRIES; i++) {
            resolve(argv[2 + i / TRIES]);
        }
        return 0;
    }
    if (argc >= 4 && argc % 2 == 0 && strcmp(argv[1], "connect") == 0) {
        for (int i = 0; i < (argc - 2) / 2 * TRIES; i++) {
            char **target = argv + 2 + i / TRIES * 2;
            double took = 0;
            int code = try_connect(target[0], target[1], &took);

            printf("%s %s %s %.1f ms\n", target[0], target[1], code ? errno_name(code) : "open", took);
        }
        return 0;
    }
    fprintf(stderr, "usage: probe resolve NAME... | probe connect ADDRESS PORT [ADDRESS PORT]...\n");
    return 64;
}

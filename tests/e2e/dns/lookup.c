/* SPDX-License-Identifier: Apache-2.0 */
/* The C library's resolver for tests/e2e/dns_clients.py: built against glibc and, statically, against musl.
 *
 * Each line of standard input is "ID OPERATION ARGUMENT": "any NAME", "v4 NAME", "v6 NAME" (getaddrinfo),
 * "ptr ADDRESS" (getnameinfo), "typeN NAME" (res_query). For each, a process of its own prints one line "ID
 * VERDICT FIRST-MS BEST-MS ANSWER...", where VERDICT is "ok", "nosuch", "again" or the error's number: up to
 * three times as long as that takes less than a second, and "mixed" if they differ.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct result {
    char verdict[32];
    char answer[8192];
};

static double now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static void say_eai(struct result *r, int code)
{
    const char *word = code == 0 ? "ok" : code == EAI_NONAME ? "nosuch" : code == EAI_AGAIN ? "again" : NULL;

#ifdef EAI_NODATA
    if (code == EAI_NODATA) {
        word = "nosuch";
    }
#endif
    if (word) {
        snprintf(r->verdict, sizeof r->verdict, "%s", word);
    } else {
        snprintf(r->verdict, sizeof r->verdict, "EAI(%d)", code);
    }
}

static void forward(struct result *r, int family, const char *name)
{
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int code = getaddrinfo(name, "443", &hints, &list);
    size_t used = 0;

    say_eai(r, code);
    for (struct addrinfo *ai = list; ai; ai = ai->ai_next) {
        char text[NI_MAXHOST];

        if (getnameinfo(ai->ai_addr, ai->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0 &&
            used + strlen(text) + 2 < sizeof r->answer) {
            used += (size_t)snprintf(r->answer + used, sizeof r->answer - used, " %s", text);
        }
    }
    if (list) {
        freeaddrinfo(list);
    }
}

static void reverse(struct result *r, const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    char host[NI_MAXHOST] = "";
    int code;

    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        code = getnameinfo((struct sockaddr *)&v4, sizeof v4, host, sizeof host, NULL, 0, NI_NAMEREQD);
    } else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
        code = getnameinfo((struct sockaddr *)&v6, sizeof v6, host, sizeof host, NULL, 0, NI_NAMEREQD);
    } else {
        code = EAI_FAMILY;
    }
    say_eai(r, code);
    snprintf(r->answer, sizeof r->answer, " %s", host);
}

static void by_type(struct result *r, int type, const char *name)
{
    unsigned char reply[4096];
    int len = res_query(name, ns_c_in, type, reply, sizeof reply);

    if (len >= 0) {
        /* glibc says "no data" itself, musl hands out the message as it is. */
        unsigned count = len >= 12 ? (unsigned)reply[6] << 8 | reply[7] : 0;

        snprintf(r->verdict, sizeof r->verdict, "%s", count ? "ok" : "nosuch");
        return;
    }
    if (h_errno == HOST_NOT_FOUND || h_errno == NO_DATA) {
        snprintf(r->verdict, sizeof r->verdict, "nosuch");
    } else if (h_errno == TRY_AGAIN) {
        snprintf(r->verdict, sizeof r->verdict, "again");
    } else {
        snprintf(r->verdict, sizeof r->verdict, "h_errno(%d)", h_errno);
    }
}

static void once(struct result *r, const char *operation, const char *argument)
{
    memset(r, 0, sizeof *r);
    if (strcmp(operation, "any") == 0) {
        forward(r, AF_UNSPEC, argument);
    } else if (strcmp(operation, "v4") == 0) {
        forward(r, AF_INET, argument);
    } else if (strcmp(operation, "v6") == 0) {
        forward(r, AF_INET6, argument);
    } else if (strcmp(operation, "ptr") == 0) {
        reverse(r, argument);
    } else if (strncmp(operation, "type", 4) == 0) {
        by_type(r, (int)strtol(operation + 4, NULL, 10), argument);
    } else {
        snprintf(r->verdict, sizeof r->verdict, "operation?");
    }
}

static void run(const char *id, const char *operation, const char *argument)
{
    struct result first;
    double start = now_ms();
    double first_ms;
    double best_ms;

    once(&first, operation, argument);
    first_ms = best_ms = now_ms() - start;
    for (int i = 1; i < 3 && now_ms() - start < 1000; i++) {
        struct result more;
        double again = now_ms();

        once(&more, operation, argument);
        again = now_ms() - again;
        best_ms = again < best_ms ? again : best_ms;
        if (strcmp(more.verdict, first.verdict) != 0) {
            snprintf(first.verdict, sizeof first.verdict, "mixed");
        }
    }
    /* One write, so that the lines of several processes do not run into one another. */
    printf("%s %s %.1f %.1f%s\n", id, first.verdict, first_ms, best_ms, first.answer);
    fflush(stdout);
}

int main(void)
{
    char id[64];
    char operation[32];
    char argument[300];
    static char buffer[16384];

    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    while (scanf("%63s %31s %299s", id, operation, argument) == 3) {
        pid_t child = fork();

        if (child < 0) {
            perror("fork");
            return 1;
        }
        if (child == 0) {
            run(id, operation, argument);
            _exit(0);
        }
    }
    while (wait(NULL) > 0) {
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The one file that may ask the system's resolver (CODING.md, tests/lint/layers.sh). */
#include "egress/doctor_lookup.h"

#include "common/net/addr.h"
#include "common/net/sock.h"
#include "egress/doctor_io.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* The child writes it once for each way that it looked. */
struct answer {
    int rc;
    size_t count;
    struct ip addrs[DOCTOR_LOOKUP_MAX];
};

static void look(const struct host_name *name, int flags, struct answer *out)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
    struct addrinfo *list = NULL;
    *out = (struct answer){.count = 0};
    out->rc = getaddrinfo(name->text, NULL, &hints, &list);
    for (struct addrinfo *a = list; out->rc == 0 && a != NULL && out->count < DOCTOR_LOOKUP_MAX;
         a = a->ai_next) {
        struct addr addr;
        if (addr_from_sockaddr(a->ai_addr, a->ai_addrlen, &addr) == 0) {
            out->addrs[out->count++] = addr.ip;
        }
    }
    if (list != NULL) {
        freeaddrinfo(list);
    }
}

static bool tell(int fd, const struct answer *a)
{
    return send(fd, a, sizeof *a, MSG_NOSIGNAL) == (ssize_t)sizeof *a;
}

/* A resolver that is ill will not be better without AI_ADDRCONFIG. */
static bool is_worth_a_second(int rc)
{
    return rc != 0 && rc != EAI_AGAIN;
}

static void child(int fd, const struct host_name *name)
{
    struct answer a;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    look(name, AI_ADDRCONFIG, &a);
    if (tell(fd, &a) && is_worth_a_second(a.rc)) {
        look(name, 0, &a);
        (void)tell(fd, &a);
    }
    _exit(0);
}

/* Packets of a socket pair: an answer comes whole or not at all. */
static bool hear(int fd, int64_t end_ms, struct answer *out)
{
    return doctor_io_receive(fd, out, sizeof *out, end_ms) == (ssize_t)sizeof *out;
}

static void collect(int fd, int64_t end_ms, struct doctor_lookup *out)
{
    struct answer a;
    if (!hear(fd, end_ms, &a)) {
        out->rc = out->plain_rc = DOCTOR_LOOKUP_SILENT;
        return;
    }
    out->rc = out->plain_rc = a.rc;
    if (is_worth_a_second(a.rc)) {
        out->plain_rc = hear(fd, end_ms, &a) ? a.rc : DOCTOR_LOOKUP_SILENT;
    }
    bool is_whole = a.count <= DOCTOR_LOOKUP_MAX && (out->rc == 0 || out->plain_rc == 0);
    for (size_t i = 0; is_whole && i < a.count; i++) {
        out->addrs[out->count++] = a.addrs[i];
    }
}

int doctor_lookup(const struct host_name *name, int64_t end_ms, struct doctor_lookup *out)
{
    int ends[2];
    *out = (struct doctor_lookup){.rc = DOCTOR_LOOKUP_SILENT, .plain_rc = DOCTOR_LOOKUP_SILENT};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        return -errno;
    }
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(ends[0]);
        child(ends[1], name);
    }
    int rc = pid < 0 ? -errno : 0;
    (void)close(ends[1]);
    if (rc == 0) {
        rc = sock_adopt(ends[0]);
        if (rc == 0) {
            collect(ends[0], end_ms, out);
        }
        (void)kill(pid, SIGKILL);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    (void)close(ends[0]);
    return rc;
}

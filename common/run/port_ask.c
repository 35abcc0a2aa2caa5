/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/port_ask.h"

#include "common/base/clock.h"
#include "common/net/sock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define PASSED_MAX 8 /* descriptors that are looked at; one is right */
#define ERRNO_END 4096

struct passed_fds {
    int fds[PASSED_MAX];
    size_t count;
    bool is_cut; /* the kernel had more, or could not give us one */
};

static void close_passed(struct passed_fds *p)
{
    for (size_t i = 0; i < p->count; i++) {
        (void)close(p->fds[i]);
    }
    p->count = 0;
}

/* ---- one message ---- */

static void take_passed(struct msghdr *header, struct passed_fds *passed)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(passed->fds + passed->count, CMSG_DATA(c), count * sizeof(int));
            passed->count += count;
        }
    }
    passed->is_cut = (header->msg_flags & MSG_CTRUNC) != 0;
}

/* One message of exactly len bytes: 0, whatever descriptors came. -EPIPE at the end, -EPROTO, -errno. */
static int receive(int fd, void *out, size_t len, struct passed_fds *passed)
{
    struct iovec iov = {.iov_base = out, .iov_len = len};
    union {
        struct cmsghdr align;
        char space[CMSG_LEN(PASSED_MAX * sizeof(int))]; /* not a descriptor more */
    } control;
    struct msghdr header = {.msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = control.space,
                            .msg_controllen = sizeof(control.space)};
    ssize_t got = 0;
    *passed = (struct passed_fds){.count = 0};
    do {
        got = recvmsg(fd, &header, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return errno == ECONNRESET ? -EPIPE : -errno;
    }
    take_passed(&header, passed);
    if (got == (ssize_t)len && (header.msg_flags & MSG_TRUNC) == 0) {
        return 0;
    }
    bool is_end = got == 0 && passed->count == 0;
    close_passed(passed);
    return is_end ? -EPIPE : -EPROTO;
}

/* attached -1: nothing is. */
static int transmit(int fd, void *data, size_t len, int attached)
{
    struct iovec iov = {.iov_base = data, .iov_len = len};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t sent = 0;
    if (attached >= 0) {
        header.msg_control = control.space;
        header.msg_controllen = sizeof(control.space);
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &attached, sizeof(attached));
    }
    do {
        sent = sendmsg(fd, &header, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
        return errno == ECONNRESET ? -EPIPE : -errno;
    }
    return sent == (ssize_t)len ? 0 : -EPROTO;
}

/* ---- asking ---- */

int port_ask_open(struct port_asker *p, int fd, struct err *err)
{
    int domain = 0, type = 0;
    socklen_t len = sizeof(domain);
    bool is_right = getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
    len = sizeof(type);
    is_right = is_right && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET;
    if (!is_right || sock_adopt(fd) != 0) {
        err_set(err, "not a unix SOCK_SEQPACKET socket");
        return -EINVAL;
    }
    *p = (struct port_asker){.fd = fd, .is_open = true};
    return 0;
}

void port_ask_begin(struct port_asker *p)
{
    p->is_late = false;
}

void port_ask_fini(struct port_asker *p)
{
    if (p->is_open) {
        (void)close(p->fd);
    }
    *p = (struct port_asker){.is_open = false};
}

/* Is it what was asked for? The descriptor is the caller's all the same. */
static bool is_listener_on(int fd, const struct addr *a)
{
    struct addr local;
    bool is_listening = false;
    return sock_type(fd, &is_listening) == SOCK_STREAM && is_listening && sock_local_addr(fd, &local) == 0 &&
           addr_is_equal(&local, a) && sock_adopt(fd) == 0;
}

/* The descriptor, or -errno with *err; of what came nothing else stays open. */
static int judge(struct port_answer *answer, struct passed_fds *passed, const struct addr *a, struct err *err)
{
    answer->text[sizeof(answer->text) - 1] = '\0';
    if (answer->error == 0 && passed->count == 1 && is_listener_on(passed->fds[0], a)) {
        return passed->fds[0];
    }
    const bool is_lost = answer->error == 0 && passed->count == 0 && passed->is_cut;
    const bool is_refusal = answer->error > 0 && answer->error < ERRNO_END && answer->text[0] != '\0' &&
                            passed->count == 0 && !passed->is_cut;
    close_passed(passed);
    if (is_lost) {
        err_set(err, "no descriptor is left for the socket");
        return -EMFILE;
    }
    if (is_refusal) {
        err_set(err, "%s", answer->text);
        return -answer->error;
    }
    return -EPROTO;
}

/* The next message. -ETIMEDOUT: none until end_ms. */
static int await(int fd, int64_t end_ms, struct port_answer *answer, struct passed_fds *passed)
{
    for (;;) {
        int64_t left_ms = end_ms - clock_mono_ms();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int n = poll(&p, 1, left_ms > 0 ? (int)left_ms : 0);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n == 0) {
            return -ETIMEDOUT;
        }
        int rc = n > 0 ? receive(fd, answer, sizeof(*answer), passed) : -EAGAIN;
        if (rc != -EAGAIN) {
            return rc;
        }
    }
}

static int ask(struct port_asker *p, const struct addr *a, struct err *err)
{
    p->serial++;
    const int64_t end_ms = clock_mono_ms() + PORT_ASK_WAIT_MS;
    struct port_question question = {
        .serial = p->serial, .family = a->ip.family == IP_V4 ? 4 : 6, .port = a->port, .end_ms = end_ms};
    memcpy(question.ip, a->ip.bytes, a->ip.family == IP_V4 ? 4 : 16);
    int rc = transmit(p->fd, &question, sizeof(question), -1);
    if (rc != 0) {
        return rc == -EAGAIN ? -ETIMEDOUT : rc; /* it has not read the last ones */
    }
    for (;;) {
        struct port_answer answer = {.serial = 0};
        struct passed_fds passed = {.count = 0};
        rc = await(p->fd, end_ms, &answer, &passed);
        if (rc != 0) {
            return rc;
        }
        if (answer.serial == p->serial) {
            return judge(&answer, &passed, a, err);
        }
        close_passed(&passed); /* to a question that was given up */
    }
}

/* What the other half said of a port has its own words; these are about the talk itself. */
static void explain(const struct addr *a, int rc, struct err *err)
{
    char text[ADDR_TEXT_CAP];
    const char *why = rc == -ETIMEDOUT ? "no answer from the process that makes the sockets"
                      : rc == -EPIPE   ? "the process that makes the sockets has ended"
                      : rc == -EPROTO  ? "the process that makes the sockets gave an answer that is none"
                                       : strerror(-rc);
    err_set(err, "cannot listen on %s (tcp): %s", addr_text(a, text), why);
}

int port_ask(struct port_asker *p, const struct addr *a, struct err *err)
{
    struct err told = {""};
    int rc = !p->is_open ? -EPIPE : p->is_late ? -ETIMEDOUT : ask(p, a, &told);
    if (rc >= 0) {
        return rc;
    }
    if (told.text[0] != '\0') {
        err_set(err, "%s", told.text);
        return rc;
    }
    explain(a, rc, err);
    if (rc == -ETIMEDOUT) {
        p->is_late = true;
    } else if (p->is_open) {
        port_ask_fini(p); /* no answer after this one could be believed */
    }
    return rc;
}

/* ---- answering ---- */

static bool read_question(const struct port_question *q, struct addr *out)
{
    *out = (struct addr){.ip = {.family = q->family == 4 ? IP_V4 : IP_V6}, .port = q->port};
    memcpy(out->ip.bytes, q->ip, q->family == 4 ? 4 : 16);
    return (q->family == 4 || q->family == 6) && q->port != 0;
}

static int refuse(int fd, uint32_t serial, int error, const char *text)
{
    struct port_answer answer = {.serial = serial, .error = error};
    (void)snprintf(answer.text, sizeof(answer.text), "%s", text);
    return transmit(fd, &answer, sizeof(answer), -1);
}

static int answer_one(int fd, const struct port_question *q)
{
    struct port_answer answer = {.serial = q->serial};
    struct err err = {""};
    struct addr a;
    if (!read_question(q, &a)) {
        return -EPROTO;
    }
    if (clock_mono_ms() >= q->end_ms) { /* a socket that nobody takes would swallow connections */
        return refuse(fd, q->serial, ETIMEDOUT, "asked too long ago");
    }
    int listener = sock_listen_tcp(&a, true, &err);
    if (listener < 0) {
        return refuse(fd, q->serial, -listener, err.text);
    }
    int rc = transmit(fd, &answer, sizeof(answer), listener);
    (void)close(listener);
    if (rc != 0 && rc != -EPIPE) { /* ETOOMANYREFS: too many descriptors of this user are under way */
        explain(&a, rc, &err);
        rc = refuse(fd, q->serial, -rc, err.text);
    }
    return rc;
}

int port_ask_serve(int fd)
{
    for (;;) {
        struct port_question question = {.serial = 0};
        struct passed_fds passed = {.count = 0};
        int rc = receive(fd, &question, sizeof(question), &passed);
        if (rc == 0 && (passed.count > 0 || passed.is_cut)) {
            close_passed(&passed);
            rc = -EPROTO;
        }
        rc = rc == 0 ? answer_one(fd, &question) : rc;
        if (rc != 0) {
            return rc == -EPIPE ? 0 : rc;
        }
    }
}

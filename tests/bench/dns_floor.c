/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least that a server can do, to measure others against. One thread, loopback or a namespace of its own.
 *
 *   dns_floor echo    ADDR:PORT           recvmmsg, the QR bit set, sendmmsg
 *   dns_floor answer  ADDR:PORT [TTL]     an authority: one A record (or NODATA) for every name. At SIGTERM
 * it prints what it was asked: {"questions":…,"ports":…,"repeats":…}, the source ports seen, and how many
 * questions came from the same one as the question before dns_floor forward ADDR:PORT UPSTREAM  each question
 * to UPSTREAM from a fresh connected socket
 */
#include "common/base/num.h"
#include "common/net/addr.h"
#include "common/net/sock.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BATCH 32
#define MESSAGE_MAX 2048
#define CALLS_MAX 65536

union peer {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct server {
    int fd;
    uint8_t bytes[BATCH][MESSAGE_MAX];
    union peer peers[BATCH];
    struct iovec iov[BATCH];
    struct mmsghdr msgs[BATCH];
};

static volatile sig_atomic_t is_over;

static void on_signal(int signo)
{
    (void)signo;
    is_over = 1;
}

static void die(const char *what)
{
    (void)fprintf(stderr, "dns_floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void reset(struct server *s)
{
    for (size_t i = 0; i < BATCH; i++) {
        s->iov[i] = (struct iovec){.iov_base = s->bytes[i], .iov_len = MESSAGE_MAX};
        s->msgs[i].msg_hdr = (struct msghdr){.msg_name = &s->peers[i],
                                             .msg_namelen = sizeof(s->peers[i]),
                                             .msg_iov = &s->iov[i],
                                             .msg_iovlen = 1};
    }
}

static size_t question_end(const uint8_t *m, size_t len)
{
    size_t at = 12;
    while (at < len && m[at] != 0) {
        at += (size_t)m[at] + 1;
    }
    return at + 5 <= len ? at + 5 : 0;
}

/* One A record of a public address; NODATA for other types, with the SOA that lets it be cached (RFC 2308 5).
 * Returns the new length. */
static size_t make_answer(uint8_t *m, size_t len, uint32_t ttl_s)
{
    size_t end = question_end(m, len);
    if (len < 12 || end == 0 || end + 34 > MESSAGE_MAX) {
        return 0;
    }
    bool is_a = m[end - 4] == 0 && m[end - 3] == 1;
    const uint8_t record[16] = {0xc0,
                                0x0c,
                                0,
                                1,
                                0,
                                1,
                                (uint8_t)(ttl_s >> 24),
                                (uint8_t)(ttl_s >> 16),
                                (uint8_t)(ttl_s >> 8),
                                (uint8_t)ttl_s,
                                0,
                                4,
                                8,
                                8,
                                4,
                                4};
    /* Of the name itself; both its names are the root, its numbers 0 but the last, for which NODATA is kept.
     */
    uint8_t soa[34] = {0xc0, 0x0c, 0, 6, 0, 1, [11] = 22};
    memcpy(soa + 6, record + 6, 4);
    memcpy(soa + 30, record + 6, 4);
    m[2] = 0x84 | (m[2] & 1U);
    m[3] = 0x80;
    memset(m + 6, 0, 6);
    m[is_a ? 7 : 9] = 1;
    memcpy(m + end, is_a ? record : soa, is_a ? sizeof(record) : sizeof(soa));
    return end + (is_a ? sizeof(record) : sizeof(soa));
}

/* Where questions came from. */
struct census {
    uint64_t questions, ports, repeats;
    uint16_t last;
    uint8_t seen[65536 / 8];
};

static uint16_t port_of(const union peer *p)
{
    return ntohs(p->any.sa_family == AF_INET ? p->v4.sin_port : p->v6.sin6_port);
}

static void count_question(struct census *c, uint16_t port)
{
    const uint8_t bit = (uint8_t)(1U << (port % 8));
    c->repeats += c->questions > 0 && port == c->last ? 1 : 0;
    c->questions++;
    c->last = port;
    if ((c->seen[port / 8] & bit) == 0) {
        c->seen[port / 8] |= bit;
        c->ports++;
    }
}

static void send_all(struct server *s, int count)
{
    for (int sent = 0; sent < count;) {
        int rc = sendmmsg(s->fd, s->msgs + sent, (unsigned)(count - sent), 0);
        sent += rc > 0 ? rc : 1;
    }
}

static int receive(struct server *s)
{
    reset(s);
    int n = recvmmsg(s->fd, s->msgs, BATCH, MSG_WAITFORONE, NULL);
    if (n < 0 && errno != EINTR) {
        die("recvmmsg");
    }
    return n;
}

static void echo(struct server *s)
{
    while (!is_over) {
        int n = receive(s);
        for (int i = 0; i < n; i++) {
            s->iov[i].iov_len = s->msgs[i].msg_len;
            s->bytes[i][2] |= 0x80;
        }
        send_all(s, n);
    }
}

static void answer(struct server *s, uint32_t ttl_s)
{
    static struct census census;
    while (!is_over) {
        int n = receive(s);
        for (int i = 0; i < n; i++) {
            count_question(&census, port_of(&s->peers[i]));
            s->iov[i].iov_len = make_answer(s->bytes[i], s->msgs[i].msg_len, ttl_s);
        }
        send_all(s, n);
    }
    (void)printf("{\"questions\":%ju,\"ports\":%ju,\"repeats\":%ju}\n", (uintmax_t)census.questions,
                 (uintmax_t)census.ports, (uintmax_t)census.repeats);
}

struct call {
    int fd;
    uint8_t id[2];
    union peer peer;
    socklen_t peer_len;
};

static void forward_question(int epoll, struct call *calls, struct server *s, int i,
                             const struct addr *upstream)
{
    int fd = sock_connect_udp(upstream);
    if (fd < 0 || fd >= CALLS_MAX || s->msgs[i].msg_len < 12) {
        return;
    }
    struct call *c = &calls[fd];
    *c = (struct call){.fd = fd, .peer = s->peers[i], .peer_len = s->msgs[i].msg_hdr.msg_namelen};
    memcpy(c->id, s->bytes[i], 2);
    s->bytes[i][0] = (uint8_t)(random() & 0xff);
    s->bytes[i][1] = (uint8_t)(random() & 0xff);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    (void)epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    (void)send(fd, s->bytes[i], s->msgs[i].msg_len, 0);
}

static void forward_answer(struct call *c, int listener)
{
    uint8_t bytes[MESSAGE_MAX];
    ssize_t n = recv(c->fd, bytes, sizeof(bytes), 0);
    if (n >= 12) {
        memcpy(bytes, c->id, 2);
        (void)sendto(listener, bytes, (size_t)n, 0, &c->peer.any, c->peer_len);
    }
    (void)close(c->fd); /* last: nobody waits for it */
}

static void forward(struct server *s, const struct addr *upstream)
{
    struct call *calls = calloc(CALLS_MAX, sizeof(*calls));
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = s->fd};
    if (calls == NULL || epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &event) != 0) {
        die("epoll");
    }
    while (!is_over) {
        struct epoll_event events[64];
        int count = epoll_wait(epoll, events, 64, -1);
        for (int e = 0; e < count; e++) {
            if (events[e].data.fd != s->fd) {
                forward_answer(&calls[events[e].data.fd], s->fd);
                continue;
            }
            reset(s);
            int n = recvmmsg(s->fd, s->msgs, BATCH, MSG_DONTWAIT, NULL);
            for (int i = 0; i < n; i++) {
                forward_question(epoll, calls, s, i, upstream);
            }
        }
    }
}

static int listen_on(const struct addr *a)
{
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(a, &ss);
    int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int size = 1 << 20;
    if (fd < 0 || bind(fd, (const struct sockaddr *)&ss, len) != 0) {
        die("bind");
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, (socklen_t)sizeof(size));
    return fd;
}

int main(int argc, char **argv)
{
    struct addr local, upstream;
    uint64_t ttl_s = 3600;
    if (argc < 3 || addr_parse(span_str(argv[2]), 53, &local) != 0) {
        (void)fprintf(stderr, "dns_floor echo|answer|forward ADDR:PORT [TTL|UPSTREAM]\n");
        return 64;
    }
    struct server *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        die("memory");
    }
    s->fd = listen_on(&local);
    const struct sigaction action = {.sa_handler = on_signal}; /* without SA_RESTART: calls end */
    (void)sigaction(SIGTERM, &action, NULL);
    if (strcmp(argv[1], "forward") == 0 && argc == 4 && addr_parse(span_str(argv[3]), 53, &upstream) == 0) {
        forward(s, &upstream);
    } else if (strcmp(argv[1], "answer") == 0 &&
               (argc == 3 || num_u64(span_str(argv[3]), 0, UINT32_MAX, &ttl_s) == 0)) {
        answer(s, (uint32_t)ttl_s);
    } else if (strcmp(argv[1], "echo") == 0 && argc == 3) {
        echo(s);
    } else {
        (void)fprintf(stderr, "dns_floor: %s: what is that?\n", argv[1]);
        return 64;
    }
    free(s);
    return 0;
}

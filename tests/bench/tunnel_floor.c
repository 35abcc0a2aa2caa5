/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least that a CONNECT proxy can do, to measure others against: it takes whatever comes first for a
 * request to its one upstream, answers 200 once that is connected, and moves bytes. No parsing, policy, name,
 * limit, timer, keepalive or log. One thread, loopback or a namespace of its own.
 *
 *   tunnel_floor copy|splice ADDR:PORT UPSTREAM [COUNT]   COUNT upstream ports in turn, from UPSTREAM's on
 */
#include "common/base/num.h"
#include "common/net/sock.h"
#include "tests/bench/tunnel_tools.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS 256
#define BUFFER_BYTES 65536U
#define PIPE_BYTES (256U * 1024)
#define ROUNDS 4

struct leg {
    struct pair *pair;
    int fd;
    uint32_t events; /* watched */
    int pipe[2];     /* for this leg; -1: not opened yet */
    uint8_t *tail;   /* for this leg: what its socket did not take */
    size_t waiting;  /* bytes in tail or pipe */
    bool has_eof;
};

struct pair {
    struct leg client, upstream; /* upstream.fd is -1 until the request has come */
    bool is_open;
    struct pair *next; /* once dead */
};

static struct {
    int epoll;
    bool splices;
    struct addr upstream;
    unsigned ports, port;
    struct pair *dead;
    uint8_t buffer[BUFFER_BYTES];
} f;

static const char established[] = "HTTP/1.1 200 Connection established\r\n\r\n";

static void end(struct pair *p)
{
    struct leg *legs[] = {&p->client, &p->upstream};
    if (p->client.fd < 0) {
        return;
    }
    for (int i = 0; i < 2; i++) {
        if (legs[i]->fd >= 0) {
            (void)close(legs[i]->fd);
        }
        if (legs[i]->pipe[0] >= 0) {
            (void)close(legs[i]->pipe[0]);
            (void)close(legs[i]->pipe[1]);
        }
        free(legs[i]->tail);
        legs[i]->fd = -1;
    }
    p->next = f.dead; /* events already fetched may still name it */
    f.dead = p;
}

static void watch(struct leg *l, uint32_t events)
{
    if (l->events != events) {
        tunnel_watch(f.epoll, EPOLL_CTL_MOD, l->fd, events, l);
        l->events = events;
    }
}

static void add_leg(struct leg *l, int fd, uint32_t events)
{
    l->fd = fd;
    l->events = events;
    tunnel_watch(f.epoll, EPOLL_CTL_ADD, fd, events, l);
}

static struct leg *other_leg(struct leg *l)
{
    return l == &l->pair->client ? &l->pair->upstream : &l->pair->client;
}

static void rewatch(struct leg *l, struct leg *other)
{
    watch(l, (uint32_t)(l->has_eof || other->waiting > 0 ? 0 : EPOLLIN) | (l->waiting > 0 ? EPOLLOUT : 0U));
}

/* Bytes moved, 0 at the end, or -errno. */
static ssize_t read_into(struct leg *to, int fd)
{
    ssize_t n;
    if (!f.splices) {
        n = recv(fd, f.buffer, BUFFER_BYTES, 0);
        return n < 0 ? -errno : n;
    }
    if (to->pipe[0] < 0) {
        if (pipe2(to->pipe, O_NONBLOCK | O_CLOEXEC) != 0) {
            tunnel_die("pipe");
        }
        (void)fcntl(to->pipe[1], F_SETPIPE_SZ, (int)PIPE_BYTES);
    }
    n = splice(fd, NULL, to->pipe[1], NULL, PIPE_BYTES, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    to->waiting = n > 0 ? (size_t)n : 0;
    return n < 0 ? -errno : n;
}

/* Sends what was read (len bytes of f.buffer), or what waits; false: the tunnel is over. */
static bool write_from(struct leg *to, size_t len)
{
    ssize_t n;
    if (f.splices) {
        n = splice(to->pipe[0], NULL, to->fd, NULL, to->waiting, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        to->waiting -= n > 0 ? (size_t)n : 0;
        return n > 0 || errno == EAGAIN;
    }
    const uint8_t *bytes = to->waiting > 0 ? to->tail : f.buffer;
    n = send(to->fd, bytes, len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        return false;
    }
    to->waiting = len - (n > 0 ? (size_t)n : 0);
    if (to->waiting > 0) {
        to->tail = to->tail != NULL ? to->tail : malloc(BUFFER_BYTES);
        if (to->tail == NULL) {
            tunnel_die("memory");
            return false;
        }
        memmove(to->tail, bytes + (len - to->waiting), to->waiting);
    }
    return true;
}

static bool pump(struct leg *from)
{
    struct leg *to = other_leg(from);
    for (int i = 0; i < ROUNDS && to->waiting == 0; i++) {
        ssize_t n = read_into(to, from->fd);
        if (n == -EAGAIN) {
            return true;
        }
        if (n < 0 || (n == 0 && to->has_eof)) {
            return false;
        }
        if (n == 0) {
            from->has_eof = true;
            return shutdown(to->fd, SHUT_WR) == 0;
        }
        if (!write_from(to, (size_t)n)) {
            return false;
        }
        if ((size_t)n < BUFFER_BYTES) {
            break;
        }
    }
    return true;
}

static bool dial(struct leg *client)
{
    if (recv(client->fd, f.buffer, BUFFER_BYTES, 0) <= 0) {
        return false;
    }
    struct addr to = f.upstream;
    to.port = (uint16_t)(to.port + f.port);
    f.port = (f.port + 1) % f.ports;
    int fd = sock_connect_tcp(&to);
    if (fd < 0) {
        return false;
    }
    add_leg(&client->pair->upstream, fd, EPOLLOUT);
    return true;
}

static bool open_pair(struct pair *p)
{
    p->is_open = true;
    watch(&p->upstream, EPOLLIN);
    return sock_connect_result(p->upstream.fd) == 0 &&
           send(p->client.fd, established, sizeof(established) - 1, MSG_NOSIGNAL) ==
               (ssize_t)sizeof(established) - 1;
}

static bool on_event(struct leg *l, uint32_t events)
{
    struct pair *p = l->pair;
    if (p->client.fd < 0) {
        return true; /* died earlier in this batch */
    }
    if (!p->is_open) {
        return l == &p->client ? dial(l) : open_pair(p);
    }
    struct leg *other = other_leg(l);
    if ((events & EPOLLOUT) != 0 && l->waiting > 0 && !write_from(l, l->waiting)) {
        return false;
    }
    if ((events & ~(uint32_t)EPOLLOUT) != 0 && !l->has_eof && other->waiting == 0 && !pump(l)) {
        return false;
    }
    rewatch(l, other);
    rewatch(other, l);
    return true;
}

static void accept_some(int listener)
{
    for (int i = 0; i < 64; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        struct pair *p = calloc(1, sizeof(*p));
        if (p == NULL) {
            tunnel_die("memory");
            return;
        }
        p->client = (struct leg){.pair = p, .pipe = {-1, -1}};
        p->upstream = (struct leg){.pair = p, .fd = -1, .pipe = {-1, -1}};
        add_leg(&p->client, fd, EPOLLIN);
    }
}

static void serve(int listener)
{
    tunnel_watch(f.epoll, EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(f.epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct leg *l = events[i].data.ptr;
            if (l == NULL) {
                accept_some(listener);
            } else if (!on_event(l, events[i].events)) {
                end(l->pair);
            }
        }
        while (f.dead != NULL) {
            struct pair *next = f.dead->next;
            free(f.dead);
            f.dead = next;
        }
    }
}

int main(int argc, char **argv)
{
    struct addr local;
    struct err err = {""};
    uint64_t count = 1;
    if (argc < 4 || argc > 5 || addr_parse(span_str(argv[2]), 3128, &local) != 0 ||
        addr_parse(span_str(argv[3]), 443, &f.upstream) != 0 ||
        (argc == 5 && num_u64(span_str(argv[4]), 1, 1000, &count) != 0) ||
        (strcmp(argv[1], "copy") != 0 && strcmp(argv[1], "splice") != 0)) {
        (void)fprintf(stderr, "tunnel_floor copy|splice ADDR:PORT UPSTREAM [COUNT]\n");
        return 64;
    }
    tunnel_raise_limit();
    f.splices = strcmp(argv[1], "splice") == 0;
    f.ports = (unsigned)count;
    f.epoll = epoll_create1(EPOLL_CLOEXEC);
    int listener = sock_listen_tcp(&local, false, &err);
    if (listener < 0 || f.epoll < 0) {
        (void)fprintf(stderr, "tunnel_floor: %s\n", err.text);
        return 1;
    }
    serve(listener);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The far end of the tunnels that are measured; its language is in tunnel_tools.h. One thread, loopback or a
 * namespace of its own.
 *
 *   tunnel_origin ADDR:PORT [COUNT]   listens on COUNT ports from PORT on
 */
#include "common/base/num.h"
#include "common/net/sock.h"
#include "tests/bench/tunnel_tools.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS 256

struct peer {
    int fd;
    bool is_listener;
    uint8_t order[TUNNEL_ORDER_BYTES];
    size_t order_len;
    uint64_t done; /* bytes of the order */
    bool is_wrong;
};

static uint8_t buffer[TUNNEL_CHUNK];

static void drop(struct peer *p)
{
    (void)close(p->fd);
    free(p);
}

static void add_peer(int epoll, int fd, bool is_listener)
{
    struct peer *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        tunnel_die("memory");
        return;
    }
    p->fd = fd;
    p->is_listener = is_listener;
    tunnel_watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, p);
}

static void accept_some(int epoll, const struct peer *listener)
{
    for (int i = 0; i < 64; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return;
        }
        sock_set_nodelay(fd);
        add_peer(epoll, fd, false);
    }
}

/* What is echoed is small and waited for: a socket that does not take it is an error of the measurement. */
static bool echo(struct peer *p, size_t len)
{
    return send(p->fd, buffer, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static bool source(int epoll, struct peer *p)
{
    const uint64_t count = tunnel_order_count(p->order);
    while (p->done < count) {
        const uint64_t left = count - p->done;
        ssize_t n =
            send(p->fd, tunnel_bulk(p->done), left < TUNNEL_CHUNK ? left : TUNNEL_CHUNK, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            tunnel_watch(epoll, EPOLL_CTL_MOD, p->fd, EPOLLOUT, p);
            return true;
        }
        if (n < 0) {
            return false;
        }
        p->done += (uint64_t)n;
    }
    tunnel_watch(epoll, EPOLL_CTL_MOD, p->fd, EPOLLIN, p);
    return shutdown(p->fd, SHUT_WR) == 0;
}

static bool sink(struct peer *p, const uint8_t *bytes, size_t len)
{
    p->is_wrong = p->is_wrong || memcmp(bytes, tunnel_bulk(p->done), len) != 0;
    p->done += len;
    if (p->done < tunnel_order_count(p->order)) {
        return true;
    }
    return !p->is_wrong && send(p->fd, "k", 1, MSG_NOSIGNAL) == 1;
}

/* False: the connection is over. */
static bool receive(int epoll, struct peer *p)
{
    ssize_t n = recv(p->fd, buffer, sizeof(buffer), 0);
    if (n < 0) {
        return errno == EAGAIN;
    }
    size_t used = 0;
    while (used < (size_t)n && p->order_len < TUNNEL_ORDER_BYTES &&
           (p->order_len == 0 || p->order[0] != 'E')) {
        p->order[p->order_len] = buffer[used];
        p->order_len++;
        used++;
    }
    if (n == 0) {
        return false;
    }
    if (p->order[0] == 'E') {
        return echo(p, (size_t)n);
    }
    if (p->order_len < TUNNEL_ORDER_BYTES) {
        return true;
    }
    if (p->order[0] == 'S') {
        return source(epoll, p);
    }
    return used == (size_t)n || sink(p, buffer + used, (size_t)n - used);
}

static void serve(int epoll)
{
    for (;;) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct peer *p = events[i].data.ptr;
            if (p->is_listener) {
                accept_some(epoll, p);
            } else if ((events[i].events & EPOLLOUT) != 0 ? !source(epoll, p) : !receive(epoll, p)) {
                drop(p);
            }
        }
    }
}

int main(int argc, char **argv)
{
    struct addr local;
    struct err err = {""};
    uint64_t count = 1;
    if (argc < 2 || argc > 3 || addr_parse(span_str(argv[1]), 443, &local) != 0 ||
        (argc == 3 && num_u64(span_str(argv[2]), 1, 1000, &count) != 0)) {
        (void)fprintf(stderr, "tunnel_origin ADDR:PORT [COUNT]\n");
        return 64;
    }
    tunnel_raise_limit();
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (uint64_t i = 0; i < count; i++) {
        int fd = sock_listen_tcp(&local, false, &err);
        if (fd < 0 || epoll < 0) {
            (void)fprintf(stderr, "tunnel_origin: %s\n", err.text);
            return 1;
        }
        add_peer(epoll, fd, true);
        local.port++;
    }
    serve(epoll);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/tunnel_tools.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>

void tunnel_die(const char *what)
{
    (void)fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
    exit(2);
}

uint64_t tunnel_now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

const uint8_t *tunnel_bulk(uint64_t position)
{
    static uint8_t bytes[TUNNEL_PERIOD + TUNNEL_CHUNK];
    if (bytes[0] == 0) {
        uint32_t x = 0x12345678U;
        for (size_t i = 0; i < TUNNEL_PERIOD; i++) {
            x = x * 1664525U + 1013904223U;
            bytes[i] = (uint8_t)(x >> 24);
        }
        bytes[0] = 1;
        for (size_t i = TUNNEL_PERIOD; i < sizeof(bytes); i++) {
            bytes[i] = bytes[i - TUNNEL_PERIOD];
        }
    }
    return bytes + position % TUNNEL_PERIOD;
}

void tunnel_order_write(uint8_t order[TUNNEL_ORDER_BYTES], char kind, uint64_t count)
{
    order[0] = (uint8_t)kind;
    for (unsigned i = 1; i < TUNNEL_ORDER_BYTES; i++) {
        order[i] = (uint8_t)(count >> (8 * (TUNNEL_ORDER_BYTES - 1 - i)));
    }
}

uint64_t tunnel_order_count(const uint8_t order[TUNNEL_ORDER_BYTES])
{
    uint64_t count = 0;
    for (unsigned i = 1; i < TUNNEL_ORDER_BYTES; i++) {
        count = count << 8 | order[i];
    }
    return count;
}

void tunnel_raise_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &r);
    }
}

void tunnel_watch(int epoll, int op, int fd, uint32_t events, void *ptr)
{
    struct epoll_event event = {.events = events, .data.ptr = ptr};
    if (epoll_ctl(epoll, op, fd, &event) != 0) {
        tunnel_die("epoll_ctl");
    }
}

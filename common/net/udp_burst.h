/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams that wait for each other, to be sent one right after the other by sockets of their own: doing one
 * thing many times over is quicker than taking turns with others, for the kernel and for a receiver on this
 * machine. One loop, one thread.
 */
#pragma once

#include "common/base/span.h"

#define UDP_BURST_MAX 64
#define UDP_BURST_BYTES_MAX 512

struct udp_burst_item {
    struct udp_burst_item **handle; /* NULL: dropped */
    int fd;
    void *ctx;
    size_t len;
    uint8_t bytes[UDP_BURST_BYTES_MAX];
};

struct udp_burst { /* zeroed = empty */
    size_t count;
    struct udp_burst_item items[UDP_BURST_MAX];
};

/* A socket would not take its datagram. It may be closed from in here, and others' datagrams dropped; nothing
 * may be added. */
typedef void udp_burst_failed_fn(void *ctx, int error);

/*
 * Copies msg. *handle is set until it has been sent or dropped; who closes fd before drops it. False: there
 * is no room, and nothing has changed.
 */
bool udp_burst_add(struct udp_burst *b, int fd, struct span msg, void *ctx, struct udp_burst_item **handle);
/* Takes it back; *handle may be NULL. */
void udp_burst_drop(struct udp_burst_item **handle);
/* Sends what waits, and forgets it. */
void udp_burst_send(struct udp_burst *b, udp_burst_failed_fn *failed);
/* 0 or -errno. What the kernel has no room for now is as good as lost on the way, and no error. */
int udp_burst_send_one(int fd, struct span msg);

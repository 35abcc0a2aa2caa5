/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/udp_burst.h"

#include <errno.h>
#include <sys/socket.h>

bool udp_burst_add(struct udp_burst *b, int fd, struct span msg, void *ctx, struct udp_burst_item **handle)
{
    if (b->count == UDP_BURST_MAX || msg.len > UDP_BURST_BYTES_MAX) {
        return false;
    }
    struct udp_burst_item *item = &b->items[b->count++];
    item->handle = handle;
    item->fd = fd;
    item->ctx = ctx;
    item->len = msg.len;
    memcpy(item->bytes, msg.data, msg.len);
    *handle = item;
    return true;
}

void udp_burst_drop(struct udp_burst_item **handle)
{
    if (*handle != NULL) {
        (*handle)->handle = NULL;
        *handle = NULL;
    }
}

int udp_burst_send_one(int fd, struct span msg)
{
    if (send(fd, msg.data, msg.len, MSG_NOSIGNAL) < 0 && errno != EAGAIN && errno != ENOBUFS) {
        return -errno;
    }
    return 0;
}

void udp_burst_send(struct udp_burst *b, udp_burst_failed_fn *failed)
{
    for (size_t i = 0; i < b->count; i++) {
        struct udp_burst_item *item = &b->items[i];
        if (item->handle == NULL) {
            continue;
        }
        udp_burst_drop(item->handle);
        const int rc = udp_burst_send_one(item->fd, span_make(item->bytes, item->len));
        if (rc != 0) {
            failed(item->ctx, -rc);
        }
    }
    b->count = 0;
}

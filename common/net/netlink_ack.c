/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/netlink_ack.h"

#include <errno.h>
#include <linux/netlink.h>

#define ERRNO_MAX 4095 /* of the kernel's */

static void add_error(struct netlink_acks *acks, int error)
{
    acks->error = acks->error == 0 ? error : acks->error;
}

/* A message that is an answer; body is all behind its header. */
static void read_one(struct netlink_acks *acks, const struct nlmsghdr *h, struct span body, uint32_t last)
{
    struct nlmsgerr e;
    if (body.len < sizeof e) {
        add_error(acks, -EBADMSG);
        return;
    }
    memcpy(&e, body.data, sizeof e);
    if (e.error > 0 || e.error < -ERRNO_MAX) {
        add_error(acks, -EBADMSG);
    } else if (e.error != 0) {
        add_error(acks, e.error);
    } else if (h->nlmsg_seq == last) {
        acks->is_done = true;
    }
}

void netlink_ack_read(struct netlink_acks *acks, struct span datagram, uint32_t last)
{
    while (datagram.len > 0) {
        struct nlmsghdr h;
        if (datagram.len < sizeof h) {
            add_error(acks, -EBADMSG);
            return;
        }
        memcpy(&h, datagram.data, sizeof h);
        if (h.nlmsg_len < sizeof h || h.nlmsg_len > datagram.len) {
            add_error(acks, -EBADMSG);
            return;
        }
        if (h.nlmsg_type == NLMSG_ERROR) {
            read_one(acks, &h, span_sub(datagram, sizeof h, h.nlmsg_len - sizeof h), last);
        }
        /* No overflow: the length is at most that of the datagram. The last one need not be padded. */
        datagram = span_sub(datagram, NLMSG_ALIGN((size_t)h.nlmsg_len), datagram.len);
    }
}

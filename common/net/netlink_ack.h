/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel answers to netlink messages that are at fault, or that ask for an answer (netlink(7)).
 * Every length is checked: what does not fit together is an error, and no byte outside the datagram is read.
 * Pure.
 */
#pragma once

#include "common/base/span.h"

struct netlink_acks {
    int error; /* of the first message at fault; 0, or -errno, -EBADMSG for an answer that cannot be read */
    bool is_done; /* the message that was waited for has succeeded */
};

/*
 * Adds what one datagram says. last: the sequence number of the message that is waited for. Other messages
 * than answers are passed over. Begin with zeros.
 */
void netlink_ack_read(struct netlink_acks *acks, struct span datagram, uint32_t last);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's answers: the input is a sequence number and datagrams, each behind its length of two bytes.
 * Properties: an error once seen stays; it is one the kernel can have; what was waited for is done only where
 * its answer is in the bytes; a datagram alone says what it says among others.
 */
#include "tests/fuzz/fuzz.h"

#include "common/base/cursor.h"
#include "common/base/err.h"
#include "common/net/netlink_ack.h"

#include <errno.h>
#include <linux/netlink.h>

/* Somewhere, at any offset, an answer without error to this message. */
static bool has_ack(struct span s, uint32_t last)
{
    struct nlmsghdr h;
    struct nlmsgerr e;
    for (size_t at = 0; s.len >= sizeof h + sizeof e && at <= s.len - sizeof h - sizeof e; at++) {
        memcpy(&h, s.data + at, sizeof h);
        memcpy(&e, s.data + at + sizeof h, sizeof e);
        if (h.nlmsg_type == NLMSG_ERROR && h.nlmsg_seq == last && e.error == 0) {
            return true;
        }
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cursor c = cursor_make(span_make(data, size));
    struct netlink_acks all = {0};
    struct span first = cursor_take(&c, sizeof(uint32_t));
    uint32_t last = 0;
    if (first.len == sizeof last) {
        memcpy(&last, first.data, sizeof last);
    }
    while (cursor_is_ok(&c) && cursor_left(&c) > 2) {
        const struct span head = cursor_take(&c, 2);
        const size_t want = (size_t)head.data[0] << 8 | head.data[1];
        const struct span datagram = cursor_take(&c, want < cursor_left(&c) ? want : cursor_left(&c));
        const struct netlink_acks before = all;
        struct netlink_acks alone = {0};
        netlink_ack_read(&alone, datagram, last);
        netlink_ack_read(&all, datagram, last);
        REQUIRE(all.error == (before.error != 0 ? before.error : alone.error));
        REQUIRE(all.is_done == (before.is_done || alone.is_done));
        REQUIRE(alone.error <= 0 && alone.error >= -4095);
        REQUIRE(!alone.is_done || has_ack(datagram, last));
    }
    return 0;
}

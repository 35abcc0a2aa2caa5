/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few rtnetlink requests the fence needs (rtnetlink(7)), so that no external program has to hold a
 * capability. Each call opens its own socket in the caller's network namespace, waits for the kernel's
 * acknowledgement and closes it. 0 or -errno.
 */
#pragma once

#include "common/base/ip.h"

/* The loopback interface up. */
MUST_CHECK int netlink_lo_up(void);
/* Adds a to lo with a host prefix; IPv6 without duplicate address detection. -EEXIST counts as success. */
MUST_CHECK int netlink_lo_add_addr(const struct ip *a);
/*
 * Makes every address of p local on lo (AnyIP). The preferred source keeps the client's address apart from
 * the address it asked for: without it both are the same. prefsrc may be NULL (IPv6: the kernel takes ::1's
 * neighbour).
 */
MUST_CHECK int netlink_lo_add_local_route(const struct ip_prefix *p, const struct ip *prefsrc);

/* Message building, apart from the socket, for the tests. Returns the length; out holds at least 256 bytes.
 */
size_t netlink_build_addr(void *out, int ifindex, const struct ip *a);
size_t netlink_build_route(void *out, int ifindex, const struct ip_prefix *p, const struct ip *prefsrc);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a pool of synthetic addresses lie in a network that this host has a route to? Such addresses are never
 * dialled, so that network cannot be reached through tunneld; likely another --pool is wanted. Reads the
 * kernel's routing tables at the start, once.
 */
#pragma once

#include "common/run/guard.h"

struct pool_route {
    struct ip_prefix prefix;
    char dev[16];
};

/*
 * A line of /proc/net/route, or of /proc/net/ipv6_route for IP_V6. False for what is no route to a network: a
 * heading, a default route or one of a few bits like it, the loopback device.
 */
bool pool_route_parse(enum ip_family family, struct span line, struct pool_route *out);
/* Logs pool_overlaps_route (warning) for each; at most a few lines. */
void pool_routes_warn(const struct synth_pools *pools);

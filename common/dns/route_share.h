/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The places of a table, shared out to routes (dns_routes): questions to servers that are dead hold theirs
 * for seconds, and must not take those of names that other servers are asked for. Half of the places belong
 * to the routes, as many to each; the other half is for whoever comes first. So a route always has its own
 * ones, whatever the others do, none holds more than all but those, and one that is alone has them all.
 * Costs two counters. Pure. One per table, of its owner's thread.
 */
#pragma once

#include "common/dns/zone.h"

#define ROUTE_SHARE_MAX (ZONES_MAX + 1) /* routes: the default one and one a zone */

struct route_share {
    size_t route_count;
    size_t own;         /* places that belong to each route */
    size_t common;      /* those that belong to none … */
    size_t common_held; /* … and how many of them are held */
    size_t held[ROUTE_SHARE_MAX];
};

/* route_count: 1 to ROUTE_SHARE_MAX; routes are numbered from 0. Nothing is held. */
void route_share_init(struct route_share *s, size_t places, size_t route_count);
/* One more of the route finds a place. */
bool route_share_has_room(const struct route_share *s, size_t route);
/* It would be one of the route's own. */
bool route_share_has_own(const struct route_share *s, size_t route);
/* There is room. */
void route_share_take(struct route_share *s, size_t route);
/* One that was taken. */
void route_share_give(struct route_share *s, size_t route);

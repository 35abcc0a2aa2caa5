/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/route_share.h"

#include "common/base/err.h"

void route_share_init(struct route_share *s, size_t places, size_t route_count)
{
    REQUIRE(route_count > 0 && route_count <= ROUTE_SHARE_MAX);
    *s = (struct route_share){.route_count = route_count, .own = places / 2 / route_count};
    s->common = places - s->own * route_count;
}

bool route_share_has_own(const struct route_share *s, size_t route)
{
    REQUIRE(route < s->route_count);
    return s->held[route] < s->own;
}

bool route_share_has_room(const struct route_share *s, size_t route)
{
    return route_share_has_own(s, route) || s->common_held < s->common;
}

void route_share_take(struct route_share *s, size_t route)
{
    REQUIRE(route_share_has_room(s, route));
    s->common_held += route_share_has_own(s, route) ? 0U : 1U;
    s->held[route]++;
}

void route_share_give(struct route_share *s, size_t route)
{
    REQUIRE(route < s->route_count && s->held[route] > 0);
    s->held[route]--;
    s->common_held -= route_share_has_own(s, route) ? 0U : 1U;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/policy_pools.h"

#include "common/run/guard.h"

#include <errno.h>

struct clash {
    struct ip_prefix pools[2];
    size_t pool_count;
    const struct policy_rules *rules;
    struct err *err;
    size_t found;
};

static struct ip_prefix prefix_of(const struct ip *ip)
{
    return (struct ip_prefix){.base = *ip, .bits = ip->family == IP_V4 ? 32 : 128};
}

static void look_at(struct clash *c, const struct ip_prefix *said, const struct policy_pos *pos,
                    const char *where)
{
    char text[IP_TEXT_CAP];
    char pool_text[IP_TEXT_CAP];
    for (size_t i = 0; i < c->pool_count; i++) {
        const struct ip_prefix *pool = &c->pools[i];
        if (!ip_prefix_overlaps(pool, said) || c->found++ > 0) {
            continue;
        }
        err_set(c->err,
                "%s:%u:%u: %s: %s/%u is in the way of the synthetic addresses %s/%u, which are never "
                "dialled: write narrower ranges, or choose another --pool",
                c->rules->files[pos->file], pos->line, pos->col, where, ip_text(&said->base, text),
                said->bits, ip_text(&pool->base, pool_text), pool->bits);
    }
}

static void look_at_endpoint(struct clash *c, const struct policy_endpoint *ep)
{
    for (size_t i = 0; i < ep->allowed_ip_count; i++) {
        look_at(c, &ep->allowed_ips[i], &ep->pos, "allowed_ips");
    }
    if (ep->host_kind == ENDPOINT_IP) {
        struct ip_prefix said = prefix_of(&ep->ip);
        look_at(c, &said, &ep->pos, "host");
    }
}

int policy_pools_check(const struct str_list *pools, const struct policy_rules *rules, struct err *err)
{
    struct synth_pools parsed;
    struct clash c = {.rules = rules, .err = err};
    int rc = guard_parse_pools(pools, &parsed, err);
    if (rc != 0) {
        return rc;
    }
    if (parsed.has_v4) {
        c.pools[c.pool_count++] = parsed.v4;
    }
    if (parsed.has_v6) {
        c.pools[c.pool_count++] = parsed.v6;
    }
    for (size_t i = 0; i < rules->endpoint_count; i++) {
        look_at_endpoint(&c, &rules->endpoints[i]);
    }
    for (size_t i = 0; i < rules->host_count; i++) {
        for (size_t k = 0; k < rules->hosts[i].addr_count; k++) {
            struct ip_prefix said = prefix_of(&rules->hosts[i].addrs[k]);
            look_at(&c, &said, &rules->hosts[i].pos, "egress.hosts");
        }
    }
    return c.found > 0 ? -EINVAL : 0;
}

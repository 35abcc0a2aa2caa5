/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/chain_except.h"

static bool is_hit(const struct chain_except *e, const struct host *host)
{
    switch (e->kind) {
    case CHAIN_EXCEPT_NONE:
        break;
    case CHAIN_EXCEPT_NAME:
        return host->kind == HOST_DNS && host_pattern_matches(&e->pattern, &host->name);
    case CHAIN_EXCEPT_PREFIX:
        return host->kind == HOST_IP && ip_prefix_contains(&e->prefix, &host->ip);
    }
    return false;
}

bool chain_excepts_cover(const struct chain_excepts *e, const struct host *host, uint16_t port)
{
    for (size_t i = 0; i < e->count; i++) {
        if ((e->items[i].port == 0 || e->items[i].port == port) && is_hit(&e->items[i], host)) {
            return true;
        }
    }
    return false;
}

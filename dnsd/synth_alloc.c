/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/synth_alloc.h"

#include <errno.h>

static const char *why_not(int rc)
{
    switch (rc) {
    case -EDQUOT:
        return "the wildcard holds its quarter of the pool of synthetic addresses; see --pool and "
               "--map-grace";
    case -EBUSY:
        return "another openshell-dnsd keeps the map of synthetic addresses locked";
    case -ENOSPC:
        return "the pool of synthetic addresses is used up; see --pool and --map-grace";
    case 0:
        return "there is no pool of synthetic addresses of this family; see --pool";
    default:
        return "the map of synthetic addresses cannot be written; see --map";
    }
}

void synth_alloc_answer(struct synth_map *map, const struct answer_question *q, int64_t now_boot_s,
                        struct answer *out)
{
    struct ip v4 = {0};
    struct ip v6 = {0};
    const struct policy_endpoint *endpoint = out->endpoint;
    const bool is_wildcard = endpoint != NULL && endpoint->host_kind == ENDPOINT_WILDCARD;
    const struct synth_request request = {.name = q->name,
                                          .wildcard = is_wildcard ? &endpoint->pattern.text : NULL,
                                          .ttl_s = out->ttl_s,
                                          .now_boot_s = now_boot_s};
    int rc = map == NULL ? -ENOENT : synth_map_assign(map, &request, &v4, &v6);
    const struct ip *ip = q->qtype == DNS_A ? &v4 : &v6;
    if (rc != 0 || ip->family == IP_NONE) {
        answer_failure(out, DNS_EDE_OTHER, why_not(rc));
        out->endpoint = endpoint;
        return;
    }
    out->wants_synthetic = false;
    out->addrs[0] = *ip;
    out->addr_count = 1;
}

const struct host_name *synth_alloc_name(struct synth_map *map, const struct ip *ip, int64_t now_boot_s,
                                         struct host_name *name)
{
    struct host_name found;
    if (map == NULL || synth_map_lookup(map, ip, now_boot_s, &found) != SYNTH_FOUND) {
        return NULL;
    }
    *name = found;
    return name;
}

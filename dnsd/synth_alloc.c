/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/synth_alloc.h"

void synth_alloc_answer(struct synth_map *map, const struct answer_question *q, int64_t now_boot_s,
                        struct answer *out)
{
    struct ip v4 = {0};
    struct ip v6 = {0};
    int rc = map == NULL ? -1 : synth_map_assign(map, q->name, out->ttl_s, now_boot_s, &v4, &v6);
    const struct ip *ip = q->qtype == DNS_A ? &v4 : &v6;
    if (rc != 0 || ip->family == IP_NONE) {
        const struct policy_endpoint *endpoint = out->endpoint;
        answer_failure(out, DNS_EDE_OTHER, "the pool of synthetic addresses is used up; see --pool");
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

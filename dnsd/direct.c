/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/direct.h"

#include "common/base/clock.h"
#include "dnsd/nft_set.h"

#include <errno.h>

static const char *why_not(int rc)
{
    switch (rc) {
    case -ENFILE:
        return "an nft set of --direct-nft-set is full; see its size";
    case -ENOENT:
        return "an nft set of --direct-nft-set is gone";
    case -EPERM:
        return "an nft set of --direct-nft-set may no longer be changed: CAP_NET_ADMIN is gone";
    default:
        return "an nft set of --direct-nft-set did not take the addresses";
    }
}

static void let_through(const struct query_engine_config *cfg, const struct answer_question *q,
                        struct answer *a)
{
    uint16_t ports[ANSWER_DIRECT_PORTS];
    size_t count = 0;
    if (a->event != ANSWER_EVENT_ADMITTED || a->addr_count == 0 || !answer_is_direct(q, ports, &count)) {
        return;
    }
    int rc =
        nft_set_admit(cfg->direct, a->addrs, a->addr_count, ports, count, a->ttl_s + cfg->direct_grace_s);
    if (rc != 0) {
        const struct policy_endpoint *endpoint = a->endpoint;
        answer_failure(a, DNS_EDE_OTHER, why_not(rc));
        a->endpoint = endpoint;
    }
}

void direct_prepare(const struct query_engine_config *cfg, const struct answer_question *q, struct answer *a)
{
    if (a->wants_synthetic) {
        synth_alloc_answer(cfg->map, q, clock_boot_s(), a);
    } else if (cfg->direct != NULL) {
        let_through(cfg, q, a);
    }
}

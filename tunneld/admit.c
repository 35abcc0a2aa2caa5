/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/admit.h"

struct judge_config admit_config(const struct settings_tunneld *s, const struct chain_config *chain)
{
    struct judge_config judge = {.l7 = s->l7 == 0 ? L7_REFUSE : L7_TUNNEL,
                                 .ignore_binaries = s->binary_identity == BINARY_IGNORE,
                                 .option_timers = s->timers,
                                 .option_keepalive = s->keepalive};
    chain_config_judge(chain, &judge);
    return judge;
}

const struct policy_rule *admit_unenforceable(const struct policy *p, const struct judge_config *judge)
{
    const struct policy_rules *rules = policy_rules_of(p);
    for (size_t i = 0; i < rules->rule_count && !judge->ignore_binaries; i++) {
        if (!rules->rules[i].admits_any_binary) {
            return &rules->rules[i];
        }
    }
    return NULL;
}

bool admit_tunnel(const struct admit *a, const struct host *host, uint16_t port, struct tunnel_verdict *out)
{
    judge_tunnel(a->policy, a->judge, host, port, out);
    return out->verdict == VERDICT_ALLOW;
}

bool admit_name(const struct admit *a, const struct host *host, uint16_t port, struct tunnel_verdict *out)
{
    judge_tunnel(a->policy, a->judge, host, port, out);
    if (out->verdict == VERDICT_ALLOW && out->carriage != CARRY_RAW) {
        out->verdict = VERDICT_DENY;
        out->reason = REASON_L7_REQUIRED;
    }
    return out->verdict == VERDICT_ALLOW;
}

const struct policy_host *admit_static(const struct admit *a, const struct host *host)
{
    return host->kind == HOST_DNS ? policy_static_host(a->policy, &host->name) : NULL;
}

static bool is_static_addr(const struct admit *a, const struct host *host, const struct ip *ip)
{
    const struct policy_host *h = admit_static(a, host);
    for (size_t i = 0; h != NULL && i < h->addr_count; i++) {
        if (ip_is_equal(&h->addrs[i], ip)) {
            return true;
        }
    }
    return false;
}

bool admit_addr(const struct admit *a, const struct policy_endpoint *endpoint, const struct host *host,
                const struct addr *to, struct dest_verdict *out)
{
    judge_dest(a->policy, a->guard, endpoint, &to->ip, to->port, is_static_addr(a, host, &to->ip), out);
    return out->verdict == VERDICT_ALLOW;
}

bool admit_still(const struct admit *a, const struct host *host, const struct addr *to)
{
    struct tunnel_verdict name;
    struct dest_verdict dest;
    return admit_name(a, host, to->port, &name) && admit_addr(a, name.endpoint, host, to, &dest);
}

bool admit_still_chained(const struct admit *a, const struct host *host, uint16_t port,
                         const struct ip *target)
{
    struct tunnel_verdict name;
    struct dest_verdict dest;
    if (!admit_tunnel(a, host, port, &name) || name.carriage != CARRY_CHAIN) {
        return false;
    }
    return target == NULL ||
           admit_addr(a, name.endpoint, host, &(struct addr){.ip = *target, .port = port}, &dest);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/answer_reverse.h"

#include "dnsd/answer_parts.h"

/* The static host that owns the address and that a rule admits, or NULL. The list is short and PTR is rare.
 */
static const struct host_name *find_static(const struct policy *p, const struct ip *ip)
{
    const struct policy_rules *rules = policy_rules_of(p);
    for (size_t i = 0; i < rules->host_count; i++) {
        const struct policy_host *h = &rules->hosts[i];
        for (size_t j = 0; j < h->addr_count; j++) {
            struct name_verdict v;
            if (!ip_is_equal(&h->addrs[j], ip)) {
                continue;
            }
            judge_name(p, &h->name, &v);
            if (v.kind == NAME_STATIC) {
                return &h->name;
            }
        }
    }
    return NULL;
}

static bool is_pool_address(const struct answer_config *cfg, const struct ip *ip)
{
    if (cfg->mode != ANSWER_SYNTHETIC) {
        return false;
    }
    return (cfg->pools.has_v4 && ip_prefix_contains(&cfg->pools.v4, ip)) ||
           (cfg->pools.has_v6 && ip_prefix_contains(&cfg->pools.v6, ip));
}

void answer_from_pool(const struct answer_question *q, const struct host_name *holder, struct answer *out)
{
    struct name_verdict v = {.kind = NAME_DENIED};
    if (holder != NULL) {
        judge_name(q->policy, holder, &v);
    }
    const bool is_answered = v.kind == NAME_ADMITTED || v.kind == NAME_STATIC;
    answer_from_map(q, is_answered ? holder : NULL, out);
}

void answer_from_map(const struct answer_question *q, const struct host_name *name, struct answer *out)
{
    if (name == NULL) {
        answer_start(out, DNS_NXDOMAIN, ANSWER_EVENT_NOISE);
        out->has_soa = true;
        out->soa_ttl_s = q->cfg->deny_ttl_s;
        out->reason = REASON_POLICY_DENIED;
        answer_say(out, DNS_EDE_BLOCKED,
                   "policy_denied: reverse lookups know synthetic and static addresses only");
        return;
    }
    answer_start(out, DNS_NOERROR, ANSWER_EVENT_LOCAL);
    out->why = "an address given out here";
    if (q->qtype != DNS_PTR) {
        answer_no_data(out, q->cfg->deny_ttl_s);
        return;
    }
    out->has_ptr = true;
    out->ptr = *name;
    out->ttl_s = q->cfg->mode != ANSWER_REAL ? q->cfg->synthetic_ttl_s : ANSWER_STATIC_TTL_S;
}

bool answer_is_reverse(const struct host_name *n)
{
    static const char *const zones[] = {"in-addr.arpa", "ip6.arpa"};
    for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++) {
        const size_t len = strlen(zones[i]);
        if (n->len >= len && memcmp(n->text + n->len - len, zones[i], len) == 0 &&
            (n->len == len || n->text[n->len - len - 1] == '.')) {
            return true;
        }
    }
    return false;
}

bool answer_is_reverse_wire(struct span qname)
{
    static const char v4[] = "\7in-addr\4arpa", v6[] = "\3ip6\4arpa"; /* they end in the root label */
    for (size_t at = 0; at < qname.len; at += (size_t)qname.data[at] + 1) {
        const struct span zone = span_sub(qname, at, qname.len - at);
        if (dns_wire_name_is_equal(zone, span_make(v4, sizeof(v4))) ||
            dns_wire_name_is_equal(zone, span_make(v6, sizeof(v6)))) {
            return true;
        }
    }
    return false;
}

enum answer_route answer_reverse(const struct answer_question *q, struct answer *out, struct ip *reverse)
{
    struct ip ip;
    if (!dns_reverse_parse(q->name, &ip)) {
        answer_from_map(q, NULL, out);
        return ANSWER_ROUTE_DONE;
    }
    const struct host_name *known = find_static(q->policy, &ip);
    if (known == NULL && is_pool_address(q->cfg, &ip)) {
        answer_start(out, DNS_NXDOMAIN, ANSWER_EVENT_NOISE);
        *reverse = ip;
        return ANSWER_ROUTE_REVERSE;
    }
    answer_from_map(q, known, out);
    return ANSWER_ROUTE_DONE;
}

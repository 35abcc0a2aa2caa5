/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/judge_dest.h"

/* Why an address of the class is refused, and what would help. */
static const char *class_why(enum ip_class c)
{
    switch (c) {
    case IP_CLASS_UNKNOWN:
        return "an address of no known kind is never dialled";
    case IP_CLASS_UNSPECIFIED:
        return "the unspecified address is never dialled";
    case IP_CLASS_THIS_NETWORK:
        return "an address of 0.0.0.0/8 is never dialled";
    case IP_CLASS_LOOPBACK:
        return "a loopback address is never dialled";
    case IP_CLASS_LINK_LOCAL:
        return "a link-local address is dialled only for a name that egress.hosts gives it";
    case IP_CLASS_METADATA:
        return "the address of a metadata service is never dialled";
    case IP_CLASS_MULTICAST:
        return "a multicast address is never dialled";
    case IP_CLASS_RESERVED:
        return "a reserved address is never dialled";
    case IP_CLASS_EMBEDDED:
        return "an IPv6 address that wraps an IPv4 address is never dialled";
    case IP_CLASS_PRIVATE:
        return "a private address needs an endpoint with its exact host, or allowed_ips";
    case IP_CLASS_SHARED:
        return "a shared (carrier-grade NAT) address needs an endpoint with its exact host, or allowed_ips";
    case IP_CLASS_BENCHMARK:
        return "a benchmarking address needs an endpoint with its exact host, or allowed_ips";
    case IP_CLASS_DOCUMENTATION:
        return "a documentation address needs an endpoint with its exact host, or allowed_ips";
    case IP_CLASS_SPECIAL:
        return "a special-purpose address needs an endpoint with its exact host, or allowed_ips";
    case IP_CLASS_PUBLIC:
        break;
    }
    return "";
}

/* The addresses that a check must see: the one itself and, for NAT64, those that it may stand for. */
struct forms {
    struct ip at[1 + IP_NAT64_READINGS_MAX];
    size_t count;
};

static struct forms forms_of(const struct ip *ip)
{
    struct forms f = {.at = {*ip}};
    f.count = 1 + ip_nat64_readings(ip, f.at + 1);
    return f;
}

static bool is_hit(const struct ip_prefix *prefix, uint16_t only_port, const struct forms *f, uint16_t port)
{
    if (only_port != 0 && only_port != port) {
        return false;
    }
    for (size_t i = 0; i < f->count; i++) {
        if (ip_prefix_contains(prefix, &f->at[i])) {
            return true;
        }
    }
    return false;
}

/* NULL, or what forbids the address whatever an endpoint says. */
static const char *guard_why(const struct policy *p, const struct dest_guard *guard, const struct forms *f,
                             uint16_t port)
{
    const struct policy_rules *rules = policy_rules_of(p);
    for (size_t i = 0; i < guard->count; i++) {
        if (is_hit(&guard->items[i].prefix, guard->items[i].port, f, port)) {
            return guard->items[i].what;
        }
    }
    for (size_t i = 0; i < rules->never_count; i++) {
        if (is_hit(&rules->never[i].prefix, rules->never[i].port, f, port)) {
            return "egress.never";
        }
    }
    return NULL;
}

/* NAT64 is judged by what is inside: all that it may stand for must be listed. */
static bool is_listed(const struct policy_endpoint *ep, const struct forms *f)
{
    for (size_t i = f->count > 1 ? 1 : 0; i < f->count; i++) {
        if (!policy_allows_ip(ep, &f->at[i])) {
            return false;
        }
    }
    return true;
}

/* etcd, the Kubernetes API and the kubelet: what a name must not lead to by accident. */
static bool is_control_plane_port(uint16_t port)
{
    return port == 2379 || port == 2380 || port == 6443 || port == 10250 || port == 10255;
}

static bool is_exact(const struct policy_endpoint *ep)
{
    return ep->host_kind == ENDPOINT_EXACT || ep->host_kind == ENDPOINT_IP;
}

enum address_rule judge_address_rule(const struct dest_guard *guard, const struct policy_endpoint *endpoint,
                                     uint16_t port)
{
    if (endpoint->allowed_ip_count > 0) {
        return ADDRESS_RULE_LISTED;
    }
    if (!is_exact(endpoint)) {
        return is_control_plane_port(port) ? ADDRESS_RULE_NONE : ADDRESS_RULE_PUBLIC;
    }
    return guard->strict_private ? ADDRESS_RULE_PUBLIC : ADDRESS_RULE_PRIVATE;
}

/* NULL if an address of the class may pass under the rule; allowed_ips themselves are not looked at. */
static const char *rule_why(enum address_rule rule, enum ip_class cls, bool is_static, bool strict_private)
{
    if (rule == ADDRESS_RULE_NONE) {
        return "a control-plane port needs an endpoint with its exact host, or allowed_ips";
    }
    switch (ip_class_group(cls)) {
    case IP_GROUP_NEVER:
        return is_static && cls == IP_CLASS_LINK_LOCAL ? NULL : class_why(cls);
    case IP_GROUP_PRIVATE:
        if (rule == ADDRESS_RULE_PUBLIC && !is_static) {
            return strict_private ? "with --strict-private this address needs allowed_ips" : class_why(cls);
        }
        break;
    case IP_GROUP_PUBLIC:
        break;
    }
    return NULL;
}

void judge_dest(const struct policy *p, const struct dest_guard *guard,
                const struct policy_endpoint *endpoint, const struct ip *ip, uint16_t port, bool is_static,
                struct dest_verdict *out)
{
    struct forms f = forms_of(ip);
    *out = (struct dest_verdict){.verdict = VERDICT_DENY, .cls = ip_classify(ip)};
    const char *why = guard_why(p, guard, &f, port);
    enum address_rule rule = judge_address_rule(guard, endpoint, port);
    if (why == NULL) {
        why = rule_why(rule, out->cls, is_static, guard->strict_private);
    }
    if (why == NULL && rule == ADDRESS_RULE_LISTED && !is_listed(endpoint, &f)) {
        why = "the endpoint's allowed_ips do not list this address";
    }
    out->verdict = why == NULL ? VERDICT_ALLOW : VERDICT_DENY;
    out->why = why == NULL ? "" : why;
}

struct answer {
    const struct policy *p;
    const struct dest_guard *guard;
    const struct ip *ip;
    bool is_static;
    bool hostless_only;
    const struct policy_endpoint *best; /* whose refusal is told */
    struct dest_verdict *out;
};

static bool try_endpoint(const struct policy_endpoint *ep, void *ctx)
{
    struct answer *a = ctx;
    if (a->hostless_only && ep->host_kind != ENDPOINT_HOSTLESS) {
        return true;
    }
    for (size_t i = 0; i < ep->port_count; i++) {
        struct dest_verdict v;
        judge_dest(a->p, a->guard, ep, a->ip, ep->ports[i], a->is_static, &v);
        bool is_better = a->best == NULL || policy_endpoint_compare(ep, a->best) < 0;
        if (v.verdict == VERDICT_ALLOW || is_better) {
            *a->out = v;
            a->best = ep;
        }
        if (v.verdict == VERDICT_ALLOW) {
            return false;
        }
    }
    return true;
}

void judge_answer(const struct policy *p, const struct dest_guard *guard, const struct host_name *name,
                  const struct ip *ip, bool is_static, struct dest_verdict *out)
{
    *out = (struct dest_verdict){
        .verdict = VERDICT_DENY, .cls = ip_classify(ip), .why = "no endpoint admits the name"};
    struct answer a = {.p = p, .guard = guard, .ip = ip, .is_static = is_static, .out = out};
    policy_visit_name(p, name, try_endpoint, &a);
    if (is_static && out->verdict == VERDICT_DENY) {
        a.hostless_only = true;
        policy_visit_ip(p, ip, try_endpoint, &a);
    }
}

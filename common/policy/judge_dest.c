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

/* NULL if the endpoint lets the address through. */
static const char *endpoint_why(const struct policy_endpoint *ep, const struct dest_guard *guard,
                                const struct dest_verdict *v, const struct forms *f, bool is_static)
{
    switch (ip_class_group(v->cls)) {
    case IP_GROUP_NEVER:
        if (!is_static || v->cls != IP_CLASS_LINK_LOCAL) {
            return class_why(v->cls);
        }
        break;
    case IP_GROUP_PRIVATE:
        if (ep->allowed_ip_count == 0 && !is_static && (!is_exact(ep) || guard->strict_private)) {
            return guard->strict_private ? "with --strict-private this address needs allowed_ips"
                                         : class_why(v->cls);
        }
        break;
    case IP_GROUP_PUBLIC:
        break;
    }
    if (ep->allowed_ip_count > 0 && !is_listed(ep, f)) {
        return "the endpoint's allowed_ips do not list this address";
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
    if (why == NULL && is_control_plane_port(port) && !is_exact(endpoint) &&
        endpoint->allowed_ip_count == 0) {
        why = "a control-plane port needs an endpoint with its exact host, or allowed_ips";
    }
    if (why == NULL) {
        why = endpoint_why(endpoint, guard, out, &f, is_static);
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

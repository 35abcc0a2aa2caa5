/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/judge_dest.h"

#include "common/base/scratch.h"

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

/* Why an address is refused, and whether another port or another endpoint could change that. */
struct refusal {
    const char *why; /* NULL: it is not */
    enum policy_next next;
};

/* Where those of the port begin among the first by_port, which --transparent auto makes many. */
static size_t first_of_port(const struct dest_guard *guard, uint16_t port)
{
    size_t low = 0;
    size_t high = guard->by_port;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (guard->items[middle].port < port) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The item that forbids the address, or NULL. */
static const struct dest_never *never_of(const struct dest_guard *guard, const struct forms *f, uint16_t port)
{
    size_t i = first_of_port(guard, port);
    for (; i < guard->by_port && guard->items[i].port == port; i++) {
        if (is_hit(&guard->items[i].prefix, port, f, port)) {
            return &guard->items[i];
        }
    }
    for (i = guard->by_port; i < guard->count; i++) {
        if (is_hit(&guard->items[i].prefix, guard->items[i].port, f, port)) {
            return &guard->items[i];
        }
    }
    return NULL;
}

/* What forbids the address whatever an endpoint says. */
static struct refusal guard_refusal(const struct policy *p, const struct dest_guard *guard,
                                    const struct forms *f, uint16_t port)
{
    const struct dest_never *item = never_of(guard, f, port);
    if (item != NULL) {
        return (struct refusal){item->what, item->port == 0 ? POLICY_STOP : POLICY_NEXT_PORT};
    }
    for (size_t i = 0; i < f->count; i++) {
        if (policy_is_never(p, &f->at[i], port)) {
            return (struct refusal){"egress.never", POLICY_NEXT_PORT};
        }
    }
    return (struct refusal){0};
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

static enum address_rule rule_of(const struct dest_guard *guard, const struct policy_dial *dial)
{
    if (dial->has_allowed_ips) {
        return ADDRESS_RULE_LISTED;
    }
    if (!dial->is_exact) {
        return is_control_plane_port(dial->port) ? ADDRESS_RULE_NONE : ADDRESS_RULE_PUBLIC;
    }
    return guard->strict_private ? ADDRESS_RULE_PUBLIC : ADDRESS_RULE_PRIVATE;
}

static struct policy_dial dial_of(const struct policy_endpoint *endpoint, uint16_t port)
{
    return (struct policy_dial){
        .endpoint = endpoint,
        .is_exact = endpoint->host_kind == ENDPOINT_EXACT || endpoint->host_kind == ENDPOINT_IP,
        .has_allowed_ips = endpoint->allowed_ip_count > 0,
        .port = port,
    };
}

enum address_rule judge_address_rule(const struct dest_guard *guard, const struct policy_endpoint *endpoint,
                                     uint16_t port)
{
    const struct policy_dial dial = dial_of(endpoint, port);
    return rule_of(guard, &dial);
}

/* Whether an address of the class may pass under the rule; allowed_ips themselves are not looked at. */
static struct refusal rule_refusal(enum address_rule rule, enum ip_class cls, bool is_static,
                                   bool strict_private)
{
    const enum ip_group group = ip_class_group(cls);
    if (group == IP_GROUP_NEVER && (!is_static || cls != IP_CLASS_LINK_LOCAL)) {
        return (struct refusal){class_why(cls), POLICY_STOP}; /* whatever the rule: nothing else would help */
    }
    if (rule == ADDRESS_RULE_NONE) {
        return (struct refusal){"a control-plane port needs an endpoint with its exact host, or allowed_ips",
                                POLICY_NEXT_PORT};
    }
    if (group == IP_GROUP_PRIVATE && rule == ADDRESS_RULE_PUBLIC && !is_static) {
        return (struct refusal){strict_private ? "with --strict-private this address needs allowed_ips"
                                               : class_why(cls),
                                POLICY_NEXT_ENDPOINT};
    }
    return (struct refusal){0};
}

struct dest { /* an address that is judged, perhaps for several endpoints and ports */
    const struct policy *p;
    const struct dest_guard *guard;
    struct forms forms;
    enum ip_class cls;
    bool is_static;
    bool is_allowed; /* some endpoint and port let it through */
};

static struct refusal refuse(const struct dest *d, const struct policy_dial *dial)
{
    struct refusal r = guard_refusal(d->p, d->guard, &d->forms, dial->port);
    enum address_rule rule = rule_of(d->guard, dial);
    if (r.why == NULL) {
        r = rule_refusal(rule, d->cls, d->is_static, d->guard->strict_private);
    }
    if (r.why == NULL && rule == ADDRESS_RULE_LISTED && !is_listed(dial->endpoint, &d->forms)) {
        r = (struct refusal){"the endpoint's allowed_ips do not list this address", POLICY_NEXT_ENDPOINT};
    }
    return r;
}

static void dest_set(struct dest *d, const struct policy *p, const struct dest_guard *guard,
                     const struct ip *ip, bool is_static)
{
    d->p = p;
    d->guard = guard;
    d->forms.at[0] = *ip;
    d->forms.count = 1 + ip_nat64_readings(ip, d->forms.at + 1);
    d->cls = ip_classify(ip);
    d->is_static = is_static;
    d->is_allowed = false;
}

static void tell(const struct dest *d, const struct policy_endpoint *ep, uint16_t port,
                 struct dest_verdict *out)
{
    const struct policy_dial dial = dial_of(ep, port);
    struct refusal r = refuse(d, &dial);
    *out = (struct dest_verdict){
        .verdict = r.why == NULL ? VERDICT_ALLOW : VERDICT_DENY,
        .cls = d->cls,
        .why = r.why == NULL ? "" : r.why,
    };
}

void judge_dest(const struct policy *p, const struct dest_guard *guard,
                const struct policy_endpoint *endpoint, const struct ip *ip, uint16_t port, bool is_static,
                struct dest_verdict *out)
{
    SCRATCH struct dest d;
    dest_set(&d, p, guard, ip, is_static);
    tell(&d, endpoint, port, out);
}

const char *judge_never_helps(const struct policy *p, const struct dest_guard *guard, const struct ip *ip,
                              uint16_t port)
{
    const struct policy_endpoint named = {.host_kind = ENDPOINT_IP, .ip = *ip};
    struct dest_verdict v;
    judge_dest(p, guard, &named, ip, port, false, &v);
    return v.verdict == VERDICT_ALLOW ? NULL : v.why;
}

static enum policy_next try_endpoint(const struct policy_dial *dial, void *ctx)
{
    struct dest *d = ctx;
    struct refusal r = refuse(d, dial);
    d->is_allowed = r.why == NULL;
    return d->is_allowed ? POLICY_STOP : r.next;
}

void judge_unruled(const struct policy *p, const struct dest_guard *guard, const struct ip *ip,
                   struct dest_verdict *out)
{
    SCRATCH struct dest d;
    dest_set(&d, p, guard, ip, false);
    struct refusal r = guard_refusal(p, guard, &d.forms, 0);
    if (r.why == NULL) {
        r = rule_refusal(ADDRESS_RULE_PRIVATE, d.cls, false, guard->strict_private);
    }
    *out = (struct dest_verdict){
        .verdict = r.why == NULL ? VERDICT_ALLOW : VERDICT_DENY,
        .cls = d.cls,
        .why = r.why == NULL ? "" : r.why,
    };
}

/* On a refusal the most specific endpoint's is told. */
void judge_answer(const struct policy *p, const struct dest_guard *guard, const struct host_name *name,
                  const struct ip *ip, bool is_static, struct dest_verdict *out)
{
    SCRATCH struct dest d;
    struct policy_name found;
    dest_set(&d, p, guard, ip, is_static);
    *out = (struct dest_verdict){.verdict = VERDICT_DENY, .cls = d.cls, .why = "no endpoint admits the name"};
    policy_visit_dial(p, name, &d.forms.at[d.forms.count > 1 ? 1 : 0], try_endpoint, &d);
    if (is_static && !d.is_allowed) {
        policy_visit_dial_hostless(p, ip, try_endpoint, &d);
    }
    if (d.is_allowed) {
        *out = (struct dest_verdict){.verdict = VERDICT_ALLOW, .cls = d.cls, .why = ""};
        return;
    }
    policy_find_name(p, name, &found);
    if (found.endpoint == NULL && is_static) {
        found.endpoint = policy_find_hostless(p, ip);
    }
    if (found.endpoint != NULL && found.endpoint->port_count > 0) {
        tell(&d, found.endpoint, found.endpoint->ports[0], out);
    }
}

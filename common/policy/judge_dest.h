/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which address may be dialled (product 4.3). The only place that decides it; dnsd filters answers and
 * tunneld dials by the same function. Zero is deny. Pure.
 */
#pragma once

#include "common/policy/judge_name.h"

struct dest_never { /* own listeners, pools, --never, egress.never */
    struct ip_prefix prefix;
    uint16_t port;    /* 0 = every port */
    const char *what; /* "own listener", "synthetic pool", "--never", "egress.never"; a literal */
};

struct dest_guard { /* built at start, immutable; borrowed */
    const struct dest_never *items;
    size_t count;
    size_t
        by_port; /* so many of the first ones, all with a port, are in the order of their ports; 0 will do */
    bool strict_private; /* private only through allowed_ips */
};

struct dest_verdict {
    enum verdict verdict;
    enum ip_class cls;
    const char *why; /* for people, one clause naming class and remedy; a literal; "" if allowed */
};

/* Which addresses an endpoint opens on a port; the never classes and the guard come before it. */
enum address_rule {
    ADDRESS_RULE_NONE = 0, /* a control-plane port, and neither an exact host nor allowed_ips */
    ADDRESS_RULE_PUBLIC,   /* public ones only */
    ADDRESS_RULE_PRIVATE,  /* private ones too: the host is exact */
    ADDRESS_RULE_LISTED    /* those in its allowed_ips, nothing else */
};
enum address_rule judge_address_rule(const struct dest_guard *guard, const struct policy_endpoint *endpoint,
                                     uint16_t port);

/*
 * May the address be dialled on port for a host that was admitted by endpoint?
 * is_static: the address comes from egress.hosts (may be private or link-local, never loopback, metadata or
 * ours).
 */
void judge_dest(const struct policy *p, const struct dest_guard *guard,
                const struct policy_endpoint *endpoint, const struct ip *ip, uint16_t port, bool is_static,
                struct dest_verdict *out);

/* Why not even a rule with this very address as its host would open it on port, as dest_verdict.why; NULL: it
 * would. */
const char *judge_never_helps(const struct policy *p, const struct dest_guard *guard, const struct ip *ip,
                              uint16_t port);

/*
 * For dnsd: may the address be answered for a name that no endpoint decides about (--zone ...,open)? The
 * never classes, the guard and egress.never forbid it, nothing else: private addresses pass. A guard's item
 * with a port does not, as a name has none.
 */
void judge_unruled(const struct policy *p, const struct dest_guard *guard, const struct ip *ip,
                   struct dest_verdict *out);

/*
 * For dnsd: may at least one endpoint that admits the name dial ip on one of its own ports?
 */
void judge_answer(const struct policy *p, const struct dest_guard *guard, const struct host_name *name,
                  const struct ip *ip, bool is_static, struct dest_verdict *out);

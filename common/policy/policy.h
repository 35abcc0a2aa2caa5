/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiled policy: immutable, reference-counted (atomic), shared between threads. Holds the rules it was
 * compiled from, so pointers to endpoints and rules stay valid as long as a reference is held.
 *
 * What a decision costs does not depend on the number of rules. In hash probes (each over at most 63 bytes):
 *  - a name: one for each label from the right until no rule goes on, and one more where rules have "*" as
 *    a whole label or "**" there. Where rules put "*" at different places behind the first label, each
 *    placement that fits the name so far is a way of its own; a policy has at most POLICY_PLACEMENTS_MAX.
 *  - partial labels ("a*", "*b", "a*b") of one parent: one for each length that a part before the star has
 *    there, and for each such part that is found, one for each length of a part behind it: as a rule one to
 *    three, at most 2,080 whatever the rules. Those with two stars or more in the label are compared one by
 *    one if both ends fit; a parent has at most POLICY_GLOBS_MAX.
 *  - an address: one, and one for each prefix length that hostless rules use (likewise for egress.never).
 *  - a port: a binary search in the ports of a host, at most 16 steps.
 * What remains linear, and in what:
 *  - policy_visit_* and policy_match_*, which list: in what matches.
 *  - judge_answer: over ports of a host only as long as each is itself forbidden (--never, egress.never, the
 *    control plane); for a NAT64 address with several readings, over the endpoints that list the first one.
 *  - hostless endpoints that share prefixes in so many ways that sums of their ports would cost more than
 *    about 50 bytes for each port and prefix written: over those that hold the address.
 */
#pragma once

#include "common/policy/policy_rules.h"

struct policy;

/* Takes rules (freed with the policy, and also on failure). 0 or -ENOMEM. generation >= 1, set by the store.
 */
MUST_CHECK int policy_compile(struct policy_rules *rules, uint64_t generation, struct policy **out);
struct policy *policy_ref(struct policy *p);
void policy_unref(struct policy *p); /* NULL-safe */
uint64_t policy_generation(const struct policy *p);
const struct policy_rules *policy_rules_of(const struct policy *p);
/* Bytes that compiling added to the rules. */
size_t policy_index_bytes(const struct policy *p);

/* Every port any endpoint names, sorted, unique. Borrowed from the policy. */
const uint16_t *policy_ports(const struct policy *p, size_t *count);

/*
 * The endpoints whose host part matches, most specific first (ties by file, then line). Writes at most cap;
 * returns how many match in all. Hostless endpoints are never listed here.
 */
size_t policy_match_name(const struct policy *p, const struct host_name *name,
                         const struct policy_endpoint **out, size_t cap);
size_t policy_match_ip(const struct policy *p, const struct ip *ip, const struct policy_endpoint **out,
                       size_t cap);
/*
 * The same without a bound, in no order, until visit returns false. policy_visit_ip, and policy_match_ip with
 * it, come to the endpoints that name the address and to the hostless ones whose allowed_ips hold it.
 */
typedef bool policy_visit_fn(const struct policy_endpoint *endpoint, void *ctx);
void policy_visit_name(const struct policy *p, const struct host_name *name, policy_visit_fn *visit,
                       void *ctx);
void policy_visit_ip(const struct policy *p, const struct ip *ip, policy_visit_fn *visit, void *ctx);
/*
 * Like the match functions: < 0 if a is more specific than b. Exact and address before wildcard before
 * hostless; ties by file, then line. Total over the endpoints of one policy that match one host.
 */
int policy_endpoint_compare(const struct policy_endpoint *a, const struct policy_endpoint *b);

/* What a policy has for a name. */
struct policy_name {
    const struct policy_endpoint *endpoint; /* the most specific that matches, on any port; NULL: none */
    bool is_wildcard;                       /* its host is a pattern */
    uint8_t dns_types;              /* enum policy_dns_type: of all endpoints that have the same host */
    const struct policy_host *host; /* of egress.hosts; NULL: none */
    bool is_parent;                 /* if there is no endpoint: see policy_is_parent */
};
void policy_find_name(const struct policy *p, const struct host_name *name, struct policy_name *out);
/* False: there is neither an endpoint nor a static host, nor a parent of one, that ends in this label, in
 * lower case. True says nothing. */
bool policy_may_end_in(const struct policy *p, struct span label);
/* The first hostless endpoint, by file and line, whose allowed_ips hold the address, or NULL. */
const struct policy_endpoint *policy_find_hostless(const struct policy *p, const struct ip *ip);

/* What all endpoints come to that match a host and a port. Zero it; each function adds to it. */
struct policy_candidates {
    uint16_t port;        /* in */
    bool ignore_binaries; /* in: else a rule with binaries admits nobody */
    bool requires_l7;     /* any candidate does */
    bool has_other_binary;
    const struct policy_endpoint *best; /* the most specific candidate; NULL: none */
    bool is_tuned; /* it may say something about timers, keepalive or proxy: else it need not be read for them
                    */
};
/* The name's own; *host is its entry in egress.hosts, or NULL. */
void policy_name_candidates(const struct policy *p, const struct host_name *name, struct policy_candidates *c,
                            const struct policy_host **host);
/* The address's own. */
void policy_address_candidates(const struct policy *p, const struct ip *ip, struct policy_candidates *c);
/* The hostless ones that hold the address; less specific than whatever was found before. */
void policy_hostless_candidates(const struct policy *p, const struct ip *ip, struct policy_candidates *c);

/*
 * Those of the name's endpoints that can make a difference to whether an address is dialled, each with one of
 * its ports: of those of one host without allowed_ips one stands for all, with the ports of all; of those
 * with allowed_ips only such as list `listed`, or those that are alone with their host.
 */
enum policy_next {
    POLICY_STOP = 0,
    POLICY_NEXT_PORT,
    POLICY_NEXT_ENDPOINT /* the other ports of this one make no difference */
};
struct policy_dial {
    const struct policy_endpoint *endpoint; /* in a large policy far away: read for its allowed_ips only */
    bool is_exact;                          /* its host is spelled out */
    bool has_allowed_ips;
    uint16_t port;
};
typedef enum policy_next policy_dial_fn(const struct policy_dial *dial, void *ctx);
void policy_visit_dial(const struct policy *p, const struct host_name *name, const struct ip *listed,
                       policy_dial_fn *visit, void *ctx);
/* Likewise of the hostless endpoints that hold ip. */
void policy_visit_dial_hostless(const struct policy *p, const struct ip *ip, policy_dial_fn *visit,
                                void *ctx);

/* Is the address, on the port, in egress.never? */
bool policy_is_never(const struct policy *p, const struct ip *ip, uint16_t port);
/* egress.hosts entry for the name, or NULL. */
const struct policy_host *policy_static_host(const struct policy *p, const struct host_name *name);
/* True if some admitted name or static host lies strictly below (empty non-terminal, RFC 8020). */
bool policy_is_parent(const struct policy *p, const struct host_name *name);

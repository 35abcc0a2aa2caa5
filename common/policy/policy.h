/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiled policy: immutable, reference-counted (atomic), shared between threads. Holds the rules it was
 * compiled from, so pointers to endpoints and rules stay valid as long as a reference is held.
 * Lookup costs O(labels), independent of the number of rules.
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
/* egress.hosts entry for the name, or NULL. */
const struct policy_host *policy_static_host(const struct policy *p, const struct host_name *name);
/* True if some admitted name or static host lies strictly below (empty non-terminal, RFC 8020). */
bool policy_is_parent(const struct policy *p, const struct host_name *name);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two decisions of a tunnel, before the lookup and after it, and both together for a tunnel that lives on
 * under a new policy. Nothing is decided here that judge_* does not decide: this only asks it the same way
 * each time. Zero is deny. Pure; results point into the policy.
 */
#pragma once

#include "common/net/addr.h"
#include "common/policy/judge_dest.h"
#include "common/policy/judge_name.h"
#include "common/run/chain_config.h"
#include "common/run/settings_tables.h"

struct admit {                        /* all borrowed */
    const struct judge_config *judge; /* immutable while serving */
    const struct dest_guard *guard;   /* likewise */
    const struct policy *policy;      /* the worker's current one */
};

/* What of the settings decides; chain is borrowed. */
struct judge_config admit_config(const struct settings_tunneld *s, const struct chain_config *chain);
/* The first rule that names binaries although nobody can be told by them here: tunneld does not start with
 * it. NULL if there is none. */
const struct policy_rule *admit_unenforceable(const struct policy *p, const struct judge_config *judge);
/* May this host and port be reached at all, and how (out->carriage)? out->reason says why not. */
bool admit_tunnel(const struct admit *a, const struct host *host, uint16_t port, struct tunnel_verdict *out);
/* Likewise where a raw tunnel is all that can be used: what needs the chain proxy is refused. */
bool admit_name(const struct admit *a, const struct host *host, uint16_t port, struct tunnel_verdict *out);
/* The addresses that egress.hosts gives to the name instead of the DNS, or NULL. */
const struct policy_host *admit_static(const struct admit *a, const struct host *host);
/* May the address be dialled for the host that endpoint admitted? out->why says why not. */
bool admit_addr(const struct admit *a, const struct policy_endpoint *endpoint, const struct host *host,
                const struct addr *to, struct dest_verdict *out);
/* Would a tunnel to host:port that is connected to the address to be opened like that now? */
bool admit_still(const struct admit *a, const struct host *host, const struct addr *to);
/* Likewise a tunnel through the chain proxy, which was asked for target; NULL: for the name. */
bool admit_still_chained(const struct admit *a, const struct host *host, uint16_t port,
                         const struct ip *target);

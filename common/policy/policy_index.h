/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a policy is searched with: a tree of labels and addresses (match_tree) whose nodes lead to groups. A
 * group is the endpoints with one and the same host, or the same prefix; what they come to on each port is
 * summed up beforehand, so that a decision looks at one sum for each group and at no endpoint. Most hosts
 * have one endpoint with one port: then that sum is in the node itself, and nothing else is looked at.
 * Endpoints are numbered in the order of files and lines, which is how ties are broken. Internal to policy:
 * policy.h is the door. Immutable once built.
 */
#pragma once

#include "common/policy/match_tree.h"
#include "common/policy/policy_rules.h"

#define INDEX_NONE MATCH_NONE

enum index_port_flag {
    INDEX_PORT_L7 = 1U << 0,          /* one of all requires L7 */
    INDEX_PORT_L7_ADMITTED = 1U << 1, /* one of those whose rule admits any process does */
    INDEX_PORT_BINARIES = 1U << 2,    /* one's rule does not admit any process */
    INDEX_PORT_OPEN = 1U << 3,        /* one has no allowed_ips */
    INDEX_PORT_TUNED = 1U << 4        /* one says something about timers, keepalive or proxy */
};

struct index_port {
    uint32_t first;          /* endpoint with the port */
    uint32_t first_admitted; /* the same among rules that admit any process, or INDEX_NONE */
    uint16_t port;
    uint8_t flags; /* enum index_port_flag */
};

struct index_record {    /* of a group */
    uint32_t first;      /* endpoint */
    uint32_t first_open; /* the same among those without allowed_ips, or INDEX_NONE */
    uint32_t members;    /* from here on in members: numbers of endpoints, ascending */
    uint32_t member_count;
    uint32_t port_count;
    struct index_port ports[]; /* the sums, by port. None: look at the members */
};
/* In a node's group, in the place of where the record is: one endpoint, which is the node's value, with one
 * port. */
#define INDEX_ONLY 0x80000000U
#define INDEX_ONLY_SHIFT 16 /* the flags stand before the port */

struct index_group { /* what a node leads to; points into the index and into itself */
    const uint32_t *members;
    const struct index_port *ports;
    uint32_t first, first_open, member_count, port_count;
    struct index_port only;
};

struct index_lens { /* prefix lengths that occur: as many probes does a lookup cost */
    uint64_t v4;
    uint64_t v6[3];
};

struct policy_index {
    struct match_tree tree;
    size_t depth;                     /* labels of the longest name or pattern */
    const struct policy_rules *rules; /* borrowed */
    uint8_t *records; /* struct index_record, one after another; a node's group is where its own starts */
    size_t record_bytes;
    uint32_t *members;
    size_t member_count;
    uint64_t *masks; /* bit n: a head, or a tail, of n bytes is there */
    size_t mask_count;
    struct index_lens hostless, listed, never;
};

/* rules are borrowed and must outlive the index. 0 or -ENOMEM; fini is safe in both cases. */
MUST_CHECK int policy_index_build(struct policy_index *x, const struct policy_rules *rules);
void policy_index_fini(struct policy_index *x);
size_t policy_index_memory(const struct policy_index *x); /* bytes allocated */

/*
 * The nodes that match the name: those that are its labels from the right, "*" standing for one, then heads
 * and tails of the first label, and "**". The smaller tier is the more specific; equal ones (only partial
 * labels can be) go by the number of the endpoint. Tiers ascend but within the partial labels of one parent.
 * Until visit returns false.
 *
 * Cost: one or two probes for each label and each different placement of middle "*" on the way (policy_load
 * bounds those), plus what partial labels of the same parent cost: see policy.h.
 */
typedef bool index_node_fn(const struct policy_index *x, struct match_at at, uint32_t tier, void *ctx);
void policy_index_walk(const struct policy_index *x, const struct host_name *name, index_node_fn *visit,
                       void *ctx);
/* False: nothing in the index fits a name that ends in this label. True says nothing. Quicker than a walk. */
bool policy_index_may_end_in(const struct policy_index *x, struct span label);
#define INDEX_TIER_STEP 64U /* a tier that is no multiple is of a partial label */

/* The node of exactly this address, or MATCH_NONE. */
struct match_at policy_index_address(const struct policy_index *x, const struct ip *ip);
struct index_nets { /* prefixes of one kind below one parent */
    const struct index_lens *lens;
    struct match_at parent;
    enum match_kind kind;
};
/* Those that hold ip, the longest first, until visit returns false. tier is 0. False if visit did. */
bool policy_index_nets(const struct policy_index *x, const struct index_nets *nets, const struct ip *ip,
                       index_node_fn *visit, void *ctx);
/* Its value begins or continues a chain of inner labels, and is not the group's first endpoint. */
static inline bool policy_index_is_chained(const struct match_node *node)
{
    return node->kind == MATCH_TAIL || node->kind == MATCH_INNER;
}
/* Of a node that has a group. */
void policy_index_group(const struct policy_index *x, const struct match_node *node, struct index_group *out);
/* The first endpoint of the node's group, which it must have. */
uint32_t policy_index_first(const struct policy_index *x, uint32_t node);
/* The entry of egress.hosts, or NULL. */
const struct policy_host *policy_index_host(const struct policy_index *x, struct match_at at);
/* The sum of a group for a port, or NULL. */
const struct index_port *policy_index_port(const struct index_group *g, uint16_t port);

/* The edge that stands for an address or a prefix; returns its length. */
#define INDEX_NET_BYTES 18
size_t policy_index_net_bytes(const struct ip_prefix *net, uint8_t out[INDEX_NET_BYTES]);

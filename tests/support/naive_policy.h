/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decisions of a policy written down as plainly as the contract states them: a loop over everything,
 * label by label, address by address. Only for comparing the compiled matcher with; it shares with that
 * nothing but the parsing of names and addresses.
 */
#pragma once

#include "common/base/host_name.h"

#define NAIVE_ENDPOINTS_MAX 40
#define NAIVE_HOSTS_MAX 4
#define NAIVE_NEVER_MAX 3
#define NAIVE_PORTS_MAX 3
#define NAIVE_NETS_MAX 3

enum naive_host { NAIVE_NAME = 0, NAIVE_ADDRESS, NAIVE_HOSTLESS };
enum naive_proxy { NAIVE_UNSET = 0, NAIVE_DIRECT, NAIVE_CHAIN };

struct naive_net {
    struct ip base;
    unsigned bits;
    uint16_t port; /* never: 0 = all */
};

struct naive_endpoint {
    unsigned file, line; /* what tells it */
    enum naive_host kind;
    char host[96];
    struct ip ip;
    uint16_t ports[NAIVE_PORTS_MAX];
    size_t port_count;
    struct naive_net allowed[NAIVE_NETS_MAX];
    size_t allowed_count;
    bool needs_l7;
    bool any_binary;
    enum naive_proxy proxy;
    unsigned dns_types; /* 1: SRV, 2: TXT */
};

struct naive_static {
    char name[96];
    struct ip addrs[NAIVE_NETS_MAX];
    size_t count;
};

struct naive_policy {
    struct naive_endpoint endpoints[NAIVE_ENDPOINTS_MAX];
    size_t endpoint_count;
    struct naive_static hosts[NAIVE_HOSTS_MAX];
    size_t host_count;
    struct naive_net never[NAIVE_NEVER_MAX];
    size_t never_count;
};

enum naive_kind { NAIVE_IS_DENIED = 0, NAIVE_IS_ADMITTED, NAIVE_IS_STATIC, NAIVE_IS_PARENT };
enum naive_reason { NAIVE_ALLOWED = 0, NAIVE_NO_RULE, NAIVE_NO_BINARY, NAIVE_L7 };

struct naive_config {
    bool ignore_binaries, tunnel_l7, strict_private;
};

/* *best: the most specific endpoint, or NULL. */
enum naive_kind naive_judge_name(const struct naive_policy *p, const char *name,
                                 const struct naive_endpoint **best);
/* What is resolved of the name beyond addresses. */
unsigned naive_dns_types(const struct naive_policy *p, const char *name);
bool naive_is_parent(const struct naive_policy *p, const char *name);
enum naive_reason naive_judge_tunnel(const struct naive_policy *p, const struct naive_config *cfg,
                                     const struct host *host, uint16_t port,
                                     const struct naive_endpoint **best);
/* How many endpoints match the name, whatever the port. */
size_t naive_match_count(const struct naive_policy *p, const char *name);
bool naive_matches(const struct naive_endpoint *e, const char *name);
bool naive_lists(const struct naive_endpoint *e, const struct ip *ip);

/* What kind of address it is, which the caller knows; inner: what a NAT64 address stands for, else itself. */
enum naive_class { NAIVE_PUBLIC = 0, NAIVE_PRIVATE, NAIVE_LINK_LOCAL, NAIVE_NEVER };
struct naive_address {
    struct ip ip, inner;
    enum naive_class cls;
    bool is_static; /* egress.hosts gave it */
};
bool naive_judge_dest(const struct naive_policy *p, const struct naive_config *cfg,
                      const struct naive_endpoint *e, const struct naive_address *to, uint16_t port);
bool naive_judge_answer(const struct naive_policy *p, const struct naive_config *cfg, const char *name,
                        const struct naive_address *to);

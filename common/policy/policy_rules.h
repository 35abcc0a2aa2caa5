/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy as written, checked and typed but not compiled: what policy_load produces and policy_compile
 * takes. Plain data in one arena (struct policy_rules owns everything reachable from it).
 */
#pragma once

#include "common/policy/host_pattern.h"
#include "common/policy/timers.h"

struct policy_pos {
    uint32_t file; /* index into policy_rules.files */
    uint32_t line;
    uint32_t col;
};

enum policy_protocol {
    PROTOCOL_NONE = 0,
    PROTOCOL_TCP,
    PROTOCOL_REST,
    PROTOCOL_WEBSOCKET,
    PROTOCOL_GRAPHQL,
    PROTOCOL_SQL,
    PROTOCOL_JSON_RPC,
    PROTOCOL_MCP
};
enum policy_tls { TLS_AUTO = 0, TLS_SKIP };
enum policy_access { ACCESS_NONE = 0, ACCESS_READ_ONLY, ACCESS_READ_WRITE, ACCESS_FULL };
enum policy_proxy { PROXY_UNSET = 0, PROXY_DIRECT, PROXY_CHAIN };

/* Record types of DNS that an endpoint can ask for beyond addresses: bits. */
enum policy_dns_type { POLICY_DNS_SRV = 1U << 0, POLICY_DNS_TXT = 1U << 1 };

struct policy_dns {
    bool is_set;   /* "dns" is there */
    uint8_t types; /* enum policy_dns_type */
};

enum endpoint_host_kind { ENDPOINT_HOSTLESS = 0, ENDPOINT_EXACT, ENDPOINT_WILDCARD, ENDPOINT_IP };

struct policy_rule;

struct policy_shape { /* what an overlay's entry said; already part of the endpoint */
    struct policy_pos pos;
    struct tunnel_timers timers;       /* UNSET where it did not say */
    struct tunnel_keepalive keepalive; /* likewise */
    enum policy_proxy proxy;           /* likewise */
    struct policy_dns dns;
};

struct policy_endpoint {
    /* what every tunnel asks for, side by side: one line of the processor's cache */
    const struct policy_rule *rule;
    struct tunnel_timers timers;
    struct tunnel_keepalive keepalive;
    enum policy_proxy proxy;

    struct policy_pos pos;
    enum endpoint_host_kind host_kind;
    const uint16_t *ports; /* sorted, unique */
    size_t port_count;
    const struct ip_prefix *allowed_ips; /* sorted, disjoint */
    size_t allowed_ip_count;
    enum policy_protocol protocol;
    enum policy_tls tls;
    enum policy_access access;
    bool is_enforced;     /* enforcement: enforce */
    bool admits_less;     /* access/rules/deny_rules admit less than everything */
    bool has_credentials; /* a rewriting, signing or binding key without allow_uninspected_credentials */
    bool is_middleware;   /* a network_middlewares selector matches its host */
    bool is_path_bound;   /* OpenShell refuses requests outside "path", whatever enforcement says */
    bool requires_l7;     /* derived: product 4.4 (before looking at proxy) */
    struct policy_dns dns;
    const struct policy_shape *shape; /* NULL: no overlay names it */
    struct ip ip;                     /* ENDPOINT_IP */
    struct host_pattern pattern;      /* EXACT and WILDCARD */
};

struct policy_rule {
    const char *key;
    const char *name;
    struct policy_pos pos;
    const struct policy_endpoint *endpoints;
    size_t endpoint_count;
    const char *const *binaries; /* paths and globs */
    size_t binary_count;
    bool admits_any_binary; /* no list, an empty list, or a list that holds slash-star-star (any path) */
};

#define POLICY_HOST_ADDRS_MAX 64 /* what an answer can hold */
/* What keeps a decision short (policy.h): policy_load refuses more. */
#define POLICY_PLACEMENTS_MAX                                                                                \
    32                      /* different sets of places, behind the first label, at which patterns have "*" */
#define POLICY_GLOBS_MAX 64 /* patterns of one parent with two stars or more in the first label */

struct policy_host { /* egress.hosts */
    struct host_name name;
    struct policy_pos pos;
    const struct ip *addrs;
    size_t addr_count;
};

struct policy_never { /* egress.never */
    struct ip_prefix prefix;
    uint16_t port; /* 0 = every port */
    struct policy_pos pos;
};

struct policy_rules {
    void *arena; /* private to policy_load */
    const char *const *files;
    size_t file_count;
    const struct policy_rule *rules;
    size_t rule_count;
    const struct policy_endpoint *endpoints; /* those of all rules in one array: by file, then line */
    size_t endpoint_count;
    const struct policy_host *hosts;
    size_t host_count;
    const struct policy_never *never;
    size_t never_count;
    struct tunnel_timers default_timers; /* egress.defaults; UNSET where not said */
    struct tunnel_keepalive default_keepalive;
    struct policy_pos defaults_pos; /* of egress.defaults; line 0 where there are none */
};

void policy_rules_free(struct policy_rules *r); /* NULL-safe */
/* Is port one of the sorted ports? */
bool policy_has_port(const uint16_t *ports, size_t count, uint16_t port);
/* Is the address in the endpoint's allowed_ips? */
bool policy_allows_ip(const struct policy_endpoint *ep, const struct ip *ip);

/*
 * One item of egress.never: "ADDR", "ADDR/BITS", either with ":PORT"; an IPv6 address before a port stands in
 * brackets
 * ("[fd00::1]:443", "[fd00::/8]:443"). 0, or -EINVAL, or -EDOM if host bits are set. *port is 0 if none is
 * given.
 */
MUST_CHECK int policy_never_parse(struct span text, struct ip_prefix *prefix, uint16_t *port);

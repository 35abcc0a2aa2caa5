/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything explain has to tell about one target, gathered from the code that decides in the daemons:
 * answer_decide of dnsd, admit_name and admit_addr of tunneld. Printers only print. The facts point into the
 * policy, the diagnostics and the configuration, which must outlive them.
 */
#pragma once

#include "egress/explain_config.h"
#include "egress/explain_target.h"

#include "common/dns/resolver.h"
#include "common/policy/policy_load.h"

#define EXPLAIN_PORTS_MAX 32U      /* ports judged where none was given; more are counted */
#define EXPLAIN_CANDIDATES_MAX 32U /* listed of a port; more are counted */
#define EXPLAIN_ADDRS_MAX ((size_t)2 * DNS_ADDRS_MAX)
#define EXPLAIN_HINTS_MAX 8U
#define EXPLAIN_WARNINGS_MAX 32U
#define EXPLAIN_GUESSED_PORT 443
#define EXPLAIN_TEXT_CAP 400U
#define EXPLAIN_YAML_CAP 1024U

/* What became of an endpoint whose host matches. */
enum explain_fate {
    EXPLAIN_FATE_OTHER_PORT = 0,
    EXPLAIN_FATE_OTHER_BINARY,
    EXPLAIN_FATE_LESS_SPECIFIC, /* it admits, but another one's host is more specific */
    EXPLAIN_FATE_LATER,         /* as specific as the one that decides, and written after it */
    EXPLAIN_FATE_DECIDES
};
struct explain_candidate {
    const struct policy_endpoint *endpoint;
    enum explain_fate fate;
};

enum explain_dial {                        /* what became of an address with --live */
                    EXPLAIN_DIAL_NONE = 0, /* not tried: refused, not needed, or not live */
                    EXPLAIN_DIAL_CONNECTED,
                    EXPLAIN_DIAL_FAILED,
                    EXPLAIN_DIAL_SILENT,    /* no answer within the connect timeout */
                    EXPLAIN_DIAL_OVERTAKEN, /* under way when another one connected */
                    EXPLAIN_DIAL_SPARE      /* permitted; another one connected before its turn */
};
struct explain_addr {
    struct ip ip;
    struct dest_verdict dest;
    enum explain_dial dial;
    int error; /* EXPLAIN_DIAL_FAILED: errno */
    int64_t ms;
};

enum explain_value { /* timers and keepalive, in the order of printing */
                     EXPLAIN_CONNECT = 0,
                     EXPLAIN_IDLE,
                     EXPLAIN_LIFETIME,
                     EXPLAIN_HALF_CLOSE,
                     EXPLAIN_USER,
                     EXPLAIN_KEEPALIVE
};
#define EXPLAIN_VALUE_COUNT 6
struct explain_source {
    enum judge_level level;
    bool is_environment;          /* of JUDGE_LEVEL_OPTION */
    const struct policy_pos *pos; /* NULL where the level has no place */
};

struct explain_tunnel {
    uint16_t port;
    struct tunnel_verdict name; /* before any address is known */
    bool is_allowed;            /* also by the addresses, as far as they are known */
    enum reason reason;
    char why[EXPLAIN_TEXT_CAP];                                  /* of a denial */
    struct explain_candidate candidates[EXPLAIN_CANDIDATES_MAX]; /* the one that decides first */
    size_t candidate_count, candidate_total;
    const struct policy_endpoint *l7_by; /* the most specific candidate that requires L7, or NULL */
    enum address_rule address_rule;      /* if there is an endpoint */
    struct explain_source sources[EXPLAIN_VALUE_COUNT]; /* likewise */
    struct explain_addr addrs[EXPLAIN_ADDRS_MAX];       /* literal, egress.hosts, or looked up */
    size_t addr_count;
    bool is_dialled, is_connected;     /* with --live */
    char suggestion[EXPLAIN_YAML_CAP]; /* the YAML that would admit it; "" */
};

#define EXPLAIN_TYPE_COUNT 6
#define EXPLAIN_OTHER_TYPE 15 /* MX: stands for every type without a line of its own */
struct explain_dns {
    uint16_t qtype; /* EXPLAIN_OTHER_TYPE stands for every other type */
    enum answer_route route;
    struct answer answer; /* of ANSWER_ROUTE_DONE, or once it was looked up */
    bool is_looked_up;
    bool is_direct; /* its addresses are let through by --direct-nft-set */
    bool is_hidden; /* AAAA, which is not given out here */
};

struct explain_warning {            /* one of the loader's, about an endpoint that matters here */
    const struct policy_diag *diag; /* NULL: text is one of our own */
    char text[EXPLAIN_TEXT_CAP];
};

struct explain_live {
    bool is_asked; /* the name was looked up */
    struct resolver_answer v4, v6;
    int64_t resolve_ms;
    struct upstream_list upstreams; /* that were asked */
};

struct explain_facts {
    const struct explain_config *cfg; /* borrowed */
    const struct policy *policy;      /* borrowed */
    struct explain_target target;
    char host[HOST_TEXT_CAP]; /* canonical, or as typed if there is no such form */
    bool is_allowed;          /* at least one of the tunnels is */
    enum reason reason;       /* of the first one, if none is */
    char why[EXPLAIN_TEXT_CAP];
    struct name_verdict name; /* of a DNS name */
    const struct zone *zone;  /* of dnsd, that a DNS name is in; NULL: none. Borrowed from cfg */
    struct explain_dns
        dns[EXPLAIN_TYPE_COUNT]; /* A, AAAA, SRV and TXT if listed, HTTPS, every other; none for a literal */
    size_t dns_count;
    struct explain_tunnel *tunnels; /* owned; one a port */
    size_t tunnel_count, port_total;
    char suggestion[EXPLAIN_YAML_CAP]; /* where there is no port to judge: for EXPLAIN_GUESSED_PORT; or "" */
    char hints[EXPLAIN_HINTS_MAX][EXPLAIN_TEXT_CAP];
    size_t hint_count;
    struct explain_warning *warnings; /* owned */
    size_t warning_count;
    struct explain_live live;
};

/* 0 or -ENOMEM. diags: what loading the policy had to say. */
MUST_CHECK int explain_facts_gather(const struct explain_config *cfg, const struct policy *p,
                                    const struct policy_diags *diags, const struct explain_target *target,
                                    struct explain_facts *out);
void explain_facts_fini(struct explain_facts *f);
/* Only a wildcard admits the name, so that the brakes for such names apply. */
bool explain_is_braked(const struct explain_facts *f);

/* It goes through the chain proxy, which --live does not ask. */
bool explain_is_chained(const struct explain_tunnel *t);
/* Likewise, and under its name: no address is looked at here. */
bool explain_is_unresolved(const struct explain_facts *f, const struct explain_tunnel *t);

/* What an address that was looked up means for a tunnel: judges it, and once all are there the tunnel. */
void explain_tunnel_add_addr(const struct explain_facts *f, struct explain_tunnel *t, const struct ip *ip);
void explain_tunnel_judge_addrs(struct explain_tunnel *t);
/* After the tunnels or the lookup changed: dnsd's answers and the verdict of all. */
void explain_facts_answer(struct explain_facts *f, const struct answer_lookup *lookup);
void explain_facts_conclude(struct explain_facts *f);

/* ---- parts of explain_facts_gather ---- */

/* Near misses of a denied target. */
void explain_hints_find(struct explain_facts *f);
/* Warnings that matter for the endpoints of the facts. 0 or -ENOMEM. */
MUST_CHECK int explain_warnings_find(struct explain_facts *f, const struct policy_diags *diags);

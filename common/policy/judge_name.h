/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one implementation of every decision about names and ports, for dnsd, tunneld, explain and suggest.
 * Zero is deny. Pure; results point into the policy, so the caller holds a reference to it while it uses
 * them.
 */
#pragma once

#include "common/policy/chain_except.h"
#include "common/policy/policy.h"
#include "common/policy/reason.h"

enum verdict { VERDICT_DENY = 0, VERDICT_ALLOW };

enum name_kind {
    NAME_DENIED = 0,
    NAME_ADMITTED, /* an endpoint's host pattern matches */
    NAME_STATIC,   /* egress.hosts answers, and a rule admits the name */
    NAME_PARENT    /* empty non-terminal: exists, has no records */
};

struct name_verdict {
    enum name_kind kind;
    const struct policy_endpoint *endpoint; /* most specific; NULL for DENIED and PARENT */
    const struct policy_host *host;         /* NAME_STATIC */
    bool is_wildcard;                       /* admitted only through a wildcard */
    uint8_t dns_types; /* NAME_ADMITTED: enum policy_dns_type, what is resolved beyond addresses */
};

/* For DNS: does any endpoint, whatever its protocol and port, admit the name? */
void judge_name(const struct policy *p, const struct host_name *name, struct name_verdict *out);

/*
 * For DNS: may a record point to name:port? True if any endpoint, whatever its protocol and process, admits a
 * connection to it, so that the record tells of nothing that the policy does not name.
 */
bool judge_target(const struct policy *p, const struct host_name *name, uint16_t port);

/*
 * For DNS: does every endpoint that admits the name, whatever its port and process, say proxy: direct? Then
 * *count is how many different ports they name, in ports. False for a name that none admits, and for more
 * than cap ports.
 */
bool judge_is_direct(const struct policy *p, const struct host_name *name, uint16_t *ports, size_t cap,
                     size_t *count);

enum l7_mode { L7_REFUSE = 0, L7_TUNNEL }; /* --l7 */

enum carriage {
    CARRY_NONE = 0,
    CARRY_RAW,  /* to an address that was judged */
    CARRY_CHAIN /* through the chain proxy, by CONNECT */
};

struct tunnel_verdict {
    enum verdict verdict;
    enum reason reason;                     /* why denied; REASON_NONE if allowed */
    const struct policy_endpoint *endpoint; /* the most specific candidate; NULL if there is none */
    enum carriage carriage;
    struct tunnel_timers timers; /* endpoint over option/environment over egress.defaults over built in */
    struct tunnel_keepalive keepalive; /* likewise */
};

struct judge_config { /* borrowed by the calls */
    enum l7_mode l7;
    bool ignore_binaries; /* --binary-identity=ignore; else a rule with binaries admits nobody here */
    bool has_chain;       /* --chain-proxy */
    struct chain_excepts chain_excepts; /* --chain-except */
    struct tunnel_timers option_timers; /* options and environment; UNSET where not given */
    struct tunnel_keepalive option_keepalive;
};

/* For CONNECT and capture: may this client reach host:port, and how? */
void judge_tunnel(const struct policy *p, const struct judge_config *cfg, const struct host *host,
                  uint16_t port, struct tunnel_verdict *out);

/*
 * The endpoints that judge_tunnel comes to, each with what became of it, in no order; one that admits several
 * addresses of a static host may come more than once. Of those that are CANDIDATE_ADMITS the most specific
 * is the one of the verdict.
 */
enum candidate_fate {
    CANDIDATE_OTHER_PORT = 0, /* the host matches, the port does not */
    CANDIDATE_OTHER_BINARY,   /* host and port match, the process does not */
    CANDIDATE_ADMITS
};
struct judge_trace {
    void (*fn)(void *ctx, const struct policy_endpoint *endpoint, enum candidate_fate fate);
    void *ctx;
};
void judge_candidates(const struct policy *p, const struct judge_config *cfg, const struct host *host,
                      uint16_t port, const struct judge_trace *trace);

/* Where timers and keepalive come from, highest first: what one level leaves UNSET the next one says. */
enum judge_level { JUDGE_LEVEL_ENDPOINT = 0, JUDGE_LEVEL_OPTION, JUDGE_LEVEL_DEFAULTS, JUDGE_LEVEL_BUILTIN };
#define JUDGE_LEVEL_COUNT 4
struct judge_tuning { /* all borrowed */
    const struct tunnel_timers *timers;
    const struct tunnel_keepalive *keepalive;
};
/* The levels in order, as judge_tunnel inherits them for this endpoint. */
void judge_tuning_levels(const struct policy *p, const struct judge_config *cfg,
                         const struct policy_endpoint *endpoint, struct judge_tuning out[JUDGE_LEVEL_COUNT]);

/*
 * The YAML that would admit host:port, narrowest form, for a denial's "rule_missing". Writes a NUL-terminated
 * text. Returns its length, or 0 if it does not fit.
 */
size_t judge_suggest(const struct host *host, uint16_t port, char *out, size_t cap);

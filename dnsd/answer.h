/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is answered: the whole table of the product's DNS behaviour, and nothing else. Pure: a question, a
 * policy and what the resolver knows go in; an answer, or which family has to be known first, comes out. Owns
 * nothing; results point into the policy, so the caller holds a reference while it uses them.
 */
#pragma once

#include "common/dns/dns_rrset.h"
#include "common/dns/zone.h"
#include "common/policy/judge_dest.h"
#include "common/run/brakes.h"
#include "common/run/guard.h"
#include "common/run/settings_tables.h"

#define ANSWER_REPAIRED_TTL_S 30 /* a bad family's NODATA while the other family is good */
#define ANSWER_STATIC_TTL_S 30   /* egress.hosts: a reload may change it at any time */
#define ANSWER_LOCALHOST_TTL_S 3600
#define ANSWER_BRAKED_TTL_S 1 /* a minute later the same name may be admitted */
#define ANSWER_TEXT_CAP 200

struct answer_question;

struct answer_config { /* immutable, shared by the workers */
    enum answer_mode mode;
    enum deny_mode deny;
    enum aaaa_mode aaaa;
    uint32_t deny_ttl_s;
    uint32_t synthetic_ttl_s;
    bool has_direct_set;      /* --direct-nft-set: names that are direct have real addresses in every mode */
    struct synth_pools pools; /* synthetic mode; none in real */
    struct steer_addrs steer; /* steer mode */
    const struct dest_guard *guard; /* borrowed */
    const struct zone_set *zones;   /* borrowed; every name of an open one is answered. NULL: none */
};

/* Takes from the settings what decides; guard and zones are borrowed, and the pools are left as they are. */
void answer_config_set(struct answer_config *cfg, const struct settings_dnsd *s,
                       const struct dest_guard *guard, const struct zone_set *zones);
/* Is the name's real address to be let through by nft? Its ports, at most ANSWER_DIRECT_PORTS. */
#define ANSWER_DIRECT_PORTS 64
bool answer_is_direct(const struct answer_question *q, uint16_t ports[ANSWER_DIRECT_PORTS], size_t *count);
/* False: has_ipv6 of a question is not looked at. */
bool answer_minds_ipv6(const struct answer_config *cfg);

struct answer_question {
    const struct answer_config *cfg;
    const struct policy *policy;  /* that of the client */
    uint32_t sandbox;             /* the client's, for the brakes; 0: there is one for all */
    struct span qname;            /* wire labels with the root */
    const struct host_name *name; /* the same, canonical; NULL if it has no canonical form */
    uint16_t qtype;
    bool has_ipv6;  /* there is an IPv6 default route (--aaaa auto) */
    bool is_silent; /* nothing can explain a denial to who asks: the question has no OPT */
};

/* 0 is the safe one. */
enum answer_event {
    ANSWER_EVENT_DENIED = 0, /* by policy, or no permitted address: reason and why say which */
    ANSWER_EVENT_NOISE, /* denied too, but a search list, a single label or a reverse lookup asked for it */
    ANSWER_EVENT_LOCAL, /* localhost, a parent, a type that is not offered */
    ANSWER_EVENT_ADMITTED,  /* the upstream's or the static answer, maybe a negative one */
    ANSWER_EVENT_OPEN_ZONE, /* the same for a name of an open zone, whatever the rules say */
    ANSWER_EVENT_FAILED,    /* the upstream failed */
    ANSWER_EVENT_BRAKED     /* admitted, but the brakes do not let it go upstream; they log it themselves */
};

struct answer {
    enum dns_rcode rcode;
    bool has_soa;
    uint32_t soa_ttl_s;
    uint32_t ttl_s; /* of the addresses, the records and the PTR */
    size_t addr_count;
    struct ip addrs[DNS_ADDRS_MAX];
    bool has_ptr;
    struct host_name ptr;
    bool has_records;
    struct dns_rrset records; /* if has_records: what of SRV or TXT is given out */
    uint32_t left_out;        /* records of the upstream that are not */
    size_t addrs_refused;     /* of the family, while others are given out */
    bool is_refusal_new;      /* the upstream's answer has just come: it is worth a line */
    struct ip refused;        /* the first of them; why says why */
    struct host_name target;  /* of SRV: the first one that is not admitted; len 0: none */
    uint16_t target_port;     /* its port */
    enum dns_ede ede;
    char ede_text[ANSWER_TEXT_CAP]; /* "" = none */
    bool wants_synthetic;           /* the name's address of the asked family is to come from the map */
    bool is_plain_denial; /* no rule names the host, but one could: answer_denied() gives the same again */
    bool is_repaired;     /* the asked family was bad, the other good */
    bool is_stale;        /* made of what had expired; why says why */
    bool is_busy;         /* FAILED: there was no room for the question; try again */
    enum answer_event event;
    enum reason reason;
    struct addr upstream;                   /* FAILED: who was asked last; no family: nobody, or nobody now */
    const char *why;                        /* a literal for the log; "" if there is nothing to say */
    const struct policy_endpoint *endpoint; /* of a name that a rule admits; borrowed from the policy */
};

enum answer_route {
    ANSWER_ROUTE_DONE = 0, /* *out is the answer */
    ANSWER_ROUTE_RESOLVE,  /* ask the resolver, then answer_from_lookup() */
    ANSWER_ROUTE_REVERSE   /* look *reverse up in the map, then answer_from_pool() */
};

/* DECIDE: what the policy alone says. On a route other than DONE, *out is to be handed on as it is. */
enum answer_route answer_decide(const struct answer_question *q, struct answer *out, struct ip *reverse);

/* A decision to resolve, for the same question later. */
struct answer_decided {
    const struct policy *policy; /* borrowed, only compared */
    uint64_t generation;
    bool has_ipv6;
    enum answer_event event;
    const struct policy_endpoint *endpoint;
};
/* Right after answer_decide() said ANSWER_ROUTE_RESOLVE. */
void answer_decided_keep(const struct answer_question *q, const struct answer *a, struct answer_decided *out);
/* True: the policy is the same still, and *out is as answer_decide() would leave it, to be resolved. */
bool answer_decided_again(const struct answer_question *q, const struct answer_decided *d,
                          struct answer *out);

enum answer_family_state {
    ANSWER_UNKNOWN = 0,
    ANSWER_FAILED, /* the resolver gave up; ede and text of the family say why */
    ANSWER_SILENT, /* no reply although the other family's has been there for a while */
    ANSWER_NXDOMAIN,
    ANSWER_NODATA,
    ANSWER_ADDRS,
    ANSWER_RECORDS
};

struct answer_family {
    enum answer_family_state state;
    uint32_t ttl_s;
    bool is_stale;        /* it had expired; text says why there is nothing newer */
    bool is_nobody_there; /* FAILED, remembered, and the other family would fail alike if it were asked */
    bool is_own_limit;    /* FAILED, and not for the upstream */
    bool is_busy;         /* FAILED: too many questions were in flight */
    bool is_cached;       /* it was known before the question */
    bool is_old_news;     /* FAILED, remembered, and found so before the other family was looked at */
    struct addr upstream; /* FAILED, and not remembered: who was asked last */
    enum dns_ede ede;
    const char *text;       /* a literal */
    const struct ip *addrs; /* borrowed */
    size_t addr_count;
    const struct dns_rrset *records; /* borrowed */
};

struct answer_lookup {
    struct answer_family v4, v6;
    struct answer_family records; /* of the asked type, where that is SRV or TXT */
};

#define ANSWER_WANTS_V4 1U
#define ANSWER_WANTS_V6 2U
#define ANSWER_WANTS_RECORDS 4U

/*
 * SYNTHESISE. *out is what answer_decide() left for the question. 0: *out is the answer. Otherwise the
 * families (ANSWER_WANTS_*) that must be known before there can be one; *out is then as it was.
 */
unsigned answer_from_lookup(const struct answer_question *q, const struct answer_lookup *l,
                            struct answer *out);
/*
 * True if the family that was not asked for decides what it means that the asked one fails or is empty; then
 * it is worth asking when the asked one is silent for a while.
 */
bool answer_other_counts(const struct answer_question *q);
/* True: AAAA is asked for and not given out (--aaaa, no IPv6 pool); it is NODATA, unless A fails. */
bool answer_hides_aaaa(const struct answer_question *q);
/* What the answer is made of first; the one place of records, too. */
enum ip_family answer_first_family(const struct answer_question *q);

/* The PTR answer: holder is what the map has for an address of a pool, NULL if nothing. A name that no rule
 * admits any more is not told. */
void answer_from_pool(const struct answer_question *q, const struct host_name *holder, struct answer *out);
/* The same for a name that is known to be answered. */
void answer_from_map(const struct answer_question *q, const struct host_name *name, struct answer *out);

/*
 * A plain denial that was decided before, for the same question under the same policy. Noise or not was said
 * then. Without the text that explains: for a question that has no OPT to put it into. q->name is not needed.
 */
void answer_denied(const struct answer_question *q, bool is_noise, struct answer *out);

/* For problems of the server's own: SERVFAIL with an EDE. text is a literal. */
void answer_failure(struct answer *out, enum dns_ede ede, const char *text);
/* The same where there is no room for the question. */
void answer_busy(struct answer *out, const char *text);
/*
 * For an admitted name that the brakes stop. Over the rate: SERVFAIL with EDE 0, which a client tries again.
 * Else denied (--deny) with EDE 15 and a TTL of a second.
 */
void answer_braked(const struct answer_question *q, enum brakes_verdict v, struct answer *out);
/* For a client outside --allow-client: REFUSED with EDE 18. */
void answer_refuse_client(struct answer *out);

/* The message to send. soa may be NULL: then negatives carry none. */
void answer_to_wire(const struct answer *a, const struct dns_query *query, const struct dns_soa_template *soa,
                    uint32_t serial, struct dns_answer *out);

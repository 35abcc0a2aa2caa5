/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One question, asked until it is answered: which upstream, over what, with which bytes, until when. A state
 * machine without I/O and without a clock: the driver (dns_client, or a test with invented time) does what
 * dns_exchange_next() says and reports what happens. Pure.
 *
 * The rules (product section 3): a fresh ID, socket and perhaps case for each attempt; no answer after what
 * is usual for this upstream: another one that works is asked beside it (a hedge), as far as the credit goes;
 * none within attempt_ms: the next upstream, while the old attempt stays open for a late reply, and the
 * silent one over TCP beside that, in case only UDP is blocked; SERVFAIL, REFUSED, a lame
 * answer, an unreachable upstream: the next one at once; TC=1: the same one over TCP, or where that failed
 * lately the next one that works; FORMERR, NOTIMP or
 * BADVERS to a query with OPT: the same one without; NXDOMAIN is final; CNAMEs are followed by new questions,
 * 8 hops in all, loops refused; what does not match is ignored, and if only the case of the name does not,
 * the same one is asked over TCP beside; over TCP it is a failure, for nobody can forge there blindly. It
 * ends with one result, at the latest total_ms after the start.
 */
#pragma once

#include "common/dns/dns_wire.h"
#include "common/dns/upstream.h"

#define DNS_EXCHANGE_SLOTS 8      /* attempts open at a time */
#define DNS_EXCHANGE_SENDS_MAX 64 /* attempts in all */
#define DNS_EXCHANGE_HOPS_MAX 8
#define DNS_EXCHANGE_QUERY_CAP 384 /* the longest padded: 12 + 255 + 4 + 11 + 4, to a multiple of 128 */
/* A question earns one, a hedge costs so many: one in sixteen at most, after a burst. */
#define DNS_EXCHANGE_HEDGE_COST 16
#define DNS_EXCHANGE_HEDGE_CREDIT_MAX 128

enum dns_exchange_status {
    DNS_EXCHANGE_FAILED = 0,
    DNS_EXCHANGE_ADDRS,
    DNS_EXCHANGE_RECORDS,
    DNS_EXCHANGE_NODATA,
    DNS_EXCHANGE_NXDOMAIN
};

/* In order of what tells most: of several failures the highest is reported. */
enum dns_exchange_fail {
    DNS_EXCHANGE_FAIL_NONE = 0,
    DNS_EXCHANGE_FAIL_NETWORK,
    DNS_EXCHANGE_FAIL_LOOP,  /* all upstreams are a dnsd: nobody was asked */
    DNS_EXCHANGE_FAIL_LOCAL, /* no descriptor, source port or memory here: says nothing about the upstream */
    DNS_EXCHANGE_FAIL_TIMEOUT,
    DNS_EXCHANGE_FAIL_TLS, /* the handshake; the others are about the certificate */
    DNS_EXCHANGE_FAIL_TLS_UNTRUSTED,
    DNS_EXCHANGE_FAIL_TLS_EXPIRED,
    DNS_EXCHANGE_FAIL_TLS_NAME,
    DNS_EXCHANGE_FAIL_MALFORMED, /* over a connection came what is no reply to the question */
    DNS_EXCHANGE_FAIL_REFUSED,
    DNS_EXCHANGE_FAIL_SERVFAIL,
    DNS_EXCHANGE_FAIL_CNAME,
    DNS_EXCHANGE_FAIL_MEMORY /* only from a driver */
};

struct dns_exchange_result {
    enum dns_exchange_status status;
    enum dns_exchange_fail why; /* FAILED only */
    struct addr upstream;       /* FAILED only: who was asked last; no family: nobody was */
    uint32_t ttl_s;             /* minimum over the chain; 0 for a negative without SOA */
    unsigned hops;              /* CNAMEs that were followed */
    struct host_name target;    /* where they led; len 0: there were none */
    size_t addr_count;
    struct ip addrs[DNS_ADDRS_MAX];
    struct dns_rrset *records; /* where those of RECORDS go: set by the driver after the start; may be NULL */
};

struct dns_exchange_stats {
    uint64_t sent_udp, sent_tcp, replies, mismatches, timeouts, failovers, hedges, hedge_wins;
};

/* Shared by all exchanges of a worker; outlives them. */
struct dns_exchange_env {
    struct upstream_set upstreams;
    int64_t attempt_ms;
    int64_t total_ms;
    unsigned hedge_credit; /* the driver may begin with some */
    bool has_health_news; /* an upstream failed, or one that had failed has answered: for the driver to see */
    struct dns_exchange_stats stats;
};

/* Fresh random bits for one attempt; drawn again after each DNS_ACTION_OPEN. */
struct dns_entropy {
    uint16_t id;
    uint8_t case_bits[32];
};

struct dns_exchange_slot {
    bool is_open;     /* the driver holds a socket for it */
    bool wants_close; /* to be told to close it; goes before wants_open */
    bool wants_open;
    bool is_late; /* its time is over; a reply is still welcome */
    bool
        is_probe; /* asks whether a failed upstream is back, or UDP; outlives the answer until its deadline */
    bool is_overtaken; /* a hedge went out beside it; outlives the answer too: does it answer at all? */
    bool is_hedge;
    bool is_beside; /* over TCP after silence over UDP, or after a reply there that was doubted, or was cut
                     * while another one is asked */
    bool tcp;
    bool with_opt;
    bool is_edns_retry;
    bool is_mixed_case;
    bool is_exact_case;
    enum dns_exchange_fail failure; /* what dns_exchange_fail_reason() said */
    uint8_t upstream;
    uint16_t id;
    int64_t sent_ms;
    int64_t deadline_ms;
    uint8_t case_bits[32];
};

/* Plain data so that a driver can embed it; nobody else looks inside. */
struct dns_exchange {
    struct dns_exchange_env *env;
    struct host_name name; /* asked now: the name of the question or a CNAME target */
    size_t wire_len;
    uint8_t wire[255]; /* the same as wire labels, in lower case: each attempt and each reply needs it */
    uint16_t qtype;
    int64_t end_ms;
    struct dns_exchange_slot slots[DNS_EXCHANGE_SLOTS];
    size_t slot_count; /* so many, the first ones, were ever in use: mostly one */
    size_t current;    /* the attempt that is waited for, or DNS_EXCHANGE_SLOTS */
    uint32_t tried;    /* upstreams asked in this round, a bit each */
    uint32_t given_up; /* upstreams that answered badly: not asked again for this name */
    uint32_t tcp_due;  /* upstreams that were silent over UDP, or are doubted: to be asked over TCP */
    uint32_t tcp_done;
    uint32_t case_doubted; /* upstreams whose reply over UDP fitted but for the case of the name */
    uint32_t passed_over;  /* upstreams whose reply over UDP was cut, and another one was asked for it */
    int64_t hedge_ms;      /* when to ask another one beside, or INT64_MAX */
    unsigned round;        /* how often all of them were tried */
    unsigned sends;
    unsigned hops;
    unsigned name_count; /* names asked so far, hashed, against loops */
    uint64_t names[DNS_EXCHANGE_HOPS_MAX + 1];
    bool is_hedged;
    bool is_probe_due; /* the first attempt went out: look for an upstream to probe */
    bool is_done;
    bool is_answered;
    enum dns_exchange_fail why;
    uint32_t ttl_s;
    struct dns_exchange_result result; /* valid from DNS_ACTION_ANSWER on */
};

enum dns_action_kind {
    DNS_ACTION_WAIT = 0, /* nothing to do before until_ms but to report replies and failures */
    DNS_ACTION_OPEN,     /* open a fresh socket for the slot and send msg */
    DNS_ACTION_CLOSE,    /* close the slot's socket */
    DNS_ACTION_ANSWER,   /* the result is there; comes exactly once. Go on until END */
    DNS_ACTION_END       /* no slot is open; the exchange may be thrown away */
};

struct dns_action {
    enum dns_action_kind kind;
    size_t slot;
    size_t upstream; /* index in the set */
    bool tcp;
    struct addr to;
    int64_t until_ms;
    size_t msg_len;
    uint8_t msg[DNS_EXCHANGE_QUERY_CAP]; /* without the length TCP puts in front */
};

/* qtype is DNS_A, DNS_AAAA, DNS_SRV or DNS_TXT. The driver may throw it away at any time after closing its
 * sockets. */
void dns_exchange_start(struct dns_exchange *x, struct dns_exchange_env *env, const struct host_name *name,
                        uint16_t qtype, int64_t now_ms);
/* Call until it says WAIT or END: at first, after each report below, and when until_ms has come. */
void dns_exchange_next(struct dns_exchange *x, int64_t now_ms, const struct dns_entropy *rnd,
                       struct dns_action *out);
/* A message arrived on a slot's socket. False: it was none for us, keep reading. */
bool dns_exchange_reply(struct dns_exchange *x, size_t slot, struct span msg, int64_t now_ms);
/*
 * The set of upstreams was replaced (upstream_set_replace) while the question is under way: tell every
 * exchange before anything else is done with it. What is asked of an upstream that stays goes on; what was
 * asked of one that is gone is given up, and the new list is asked in its order. Call dns_exchange_next
 * afterwards.
 */
void dns_exchange_upstreams_moved(struct dns_exchange *x, const uint8_t moved[UPSTREAM_MAX]);
/* Before dns_exchange_io_failed(), where more is known than that the network failed. */
void dns_exchange_fail_reason(struct dns_exchange *x, size_t slot, enum dns_exchange_fail why);
/*
 * The slot's socket failed: no route, refused, reset, or closed in the middle. is_local: for want of
 * descriptors or memory here, which says nothing about the upstream. The slot stays open until CLOSE.
 */
void dns_exchange_io_failed(struct dns_exchange *x, size_t slot, bool is_local, int64_t now_ms);

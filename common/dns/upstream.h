/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The set of upstream resolvers and what was learned about each: whether it answers, how fast, over what,
 * whether it takes EDNS, whether it echoes the case of names. Preference is the order given; an upstream that
 * fails steps back behind all that do not until it has answered again, and is probed beside ordinary
 * questions after 1 s, doubling to 30 s: a dead upstream costs the question that finds it one wait, and later
 * ones nothing. Pure (times are parameters); one per worker, owned by its resolver, shared by all its
 * exchanges.
 */
#pragma once

#include "common/base/host_name.h"
#include "common/net/addr.h"

#define UPSTREAM_MAX 16
#define UPSTREAM_NONE SIZE_MAX

/*
 * Case randomisation ("0x20", draft-vixie-dnsext-dns0x20) only where the upstream was seen to echo case. An
 * upstream starts plain, is probed once it has answered, and is then known to echo or to fold.
 */
enum upstream_case {
    UPSTREAM_CASE_PLAIN = 0, /* lower case is sent; nothing is known */
    UPSTREAM_CASE_PROBE,     /* random case is sent; a reply in another case is accepted */
    UPSTREAM_CASE_ECHOED,    /* random case is sent and has to come back */
    UPSTREAM_CASE_FOLDED     /* lower case is sent for good */
};

/* What the last failure was. */
enum upstream_trouble {
    UPSTREAM_SILENT = 0,
    UPSTREAM_UNREACHABLE,
    UPSTREAM_TLS_FAILED,
    UPSTREAM_MALFORMED /* over a connection it says what is no reply */
};

/* What has been reported to those who write the log (upstream_watch). */
enum upstream_told { UPSTREAM_TOLD_NOTHING = 0, UPSTREAM_TOLD_WELL, UPSTREAM_TOLD_ILL };

struct upstream {
    struct addr addr;
    uint32_t failures;             /* consecutive */
    int64_t failed_ms;             /* the last of them */
    int64_t failed_sent_ms;        /* when what failed last was sent */
    int64_t down_ms;               /* while failures > 0: when what failed first was sent */
    enum upstream_trouble trouble; /* while failures > 0: the last one */
    enum upstream_told told;       /* of failures … */
    uint32_t told_failures;        /* … so many then */
    int64_t probe_ms;              /* while failures > 0: not probed before */
    int64_t reply_ms;              /* the last valid reply */
    int64_t no_edns_until_ms;
    uint32_t opt_silences; /* questions in a row that it answered without OPT and not with */
    int64_t opt_reply_ms;  /* the last reply over UDP to a question with OPT */
    int64_t opt_silent_ms; /* when the last of opt_silences was counted */
    enum upstream_case casing;
    bool is_stream_only;      /* never UDP: what is below about UDP does not concern it */
    bool is_private;          /* nobody on the way sees the questions: they are padded (RFC 8467) */
    bool is_loop;             /* a dnsd answers there: unusable */
    bool prefers_tcp;         /* silent over UDP while it answered over TCP */
    int64_t udp_probe_ms;     /* while prefers_tcp: UDP is not tried before */
    uint32_t udp_silences;    /* while prefers_tcp: probes that found it silent still */
    int64_t udp_reply_ms;     /* the last valid reply over UDP */
    uint32_t udp_losses;      /* consecutive: silent over UDP, and it answered over TCP */
    int64_t udp_lost_ms;      /* while udp_losses > 0: when the first of them was sent */
    int64_t udp_lost_sent_ms; /* and the last */
    enum upstream_told told_udp;
    uint32_t told_losses;
    uint32_t
        tcp_failures; /* consecutive: over TCP it is silent, or cannot be reached, or says what is no reply */
    int64_t tcp_failed_ms; /* the last of them */
    int64_t tcp_probe_ms;  /* while tcp_failures > 0: TCP is not probed before */
    int64_t tcp_reply_ms;  /* the last valid reply over TCP */
    bool has_rtt;
    uint32_t rtt_x8, rtt_dev_x4; /* smoothed time of reply and its deviation, ms (RFC 6298 2) */
    uint64_t mismatches;         /* messages on its sockets that answered nothing we had asked */
};

struct upstream_set {
    struct upstream list[UPSTREAM_MAX];
    size_t count;
};

/* 1..UPSTREAM_MAX distinct addresses with a port, else -EINVAL and *err. */
MUST_CHECK int upstream_set_init(struct upstream_set *set, const struct addr *addrs, size_t count,
                                 struct err *err);

/*
 * One host that can be asked: "ADDR", "ADDR:PORT", "[IPV6]:PORT", port 53 unless it says another; or
 * "tls://" in front and "#NAME" behind, port 853: DNS over TLS, and *tls_name is then NAME, a part of text
 * (else empty). NULL, or what is wrong.
 */
MUST_CHECK const char *upstream_parse(struct span text, struct addr *out, struct span *tls_name);
/* "192.0.2.1:53" or "tls://192.0.2.1:853#dns.example"; returns text. */
#define UPSTREAM_TEXT_CAP (ADDR_TEXT_CAP + HOST_TEXT_CAP + 8)
const char *upstream_text(const struct addr *a, struct span tls_name, char text[UPSTREAM_TEXT_CAP]);

#define UPSTREAM_GONE UINT8_MAX
/*
 * Another list in place of this one. What was learned of an address that stays, stays. moved[old index] is
 * its new index, or UPSTREAM_GONE. 0, or -EINVAL with *err: then nothing has changed.
 */
MUST_CHECK int upstream_set_replace(struct upstream_set *set, const struct addr *addrs, size_t count,
                                    uint8_t moved[UPSTREAM_MAX], struct err *err);

/* The first one in order that works and whose bit is not in skip, else the failed one that is due first, else
 * NONE. A loop is never picked. */
size_t upstream_pick(const struct upstream_set *set, uint32_t skip);
/* The first one in order that works and whose bit is not in skip, or NONE. */
size_t upstream_pick_working(const struct upstream_set *set, uint32_t skip);
/* One that works, whose bit is not in skip and whose TCP has not failed lately: is there any? */
bool upstream_is_any_with_tcp(const struct upstream_set *set, uint32_t skip);
/* A failed one outside skip whose time for a probe has come, or NONE; pushes its next probe back. */
size_t upstream_pick_probe(struct upstream_set *set, uint32_t skip, int64_t now_ms);

/* A valid reply of any rcode came: it lives. */
void upstream_note_reply(struct upstream *u, int64_t now_ms);
/* The reply took so long over what it is usually asked over. */
void upstream_note_rtt(struct upstream *u, int64_t rtt_ms);
/*
 * A reply that has not come after so long is late: RFC 6298's estimate, at least 50 ms; 250 ms while nothing
 * is known. Then another upstream may be asked beside it.
 */
int64_t upstream_late_ms(const struct upstream *u);

/*
 * UDP blocked, TCP open (a firewall): it answered over TCP what it had been silent to over UDP. It is asked
 * over TCP for 10 s, doubling to 600 s; then UDP is tried beside, and taken again once it answers.
 */
void upstream_note_udp_blocked(struct upstream *u, int64_t now_ms);
void upstream_note_udp_reply(struct upstream *u, int64_t now_ms);
/* Was sent over UDP at sent_ms in vain, while it answers over TCP. */
void upstream_note_udp_lost(struct upstream *u, int64_t sent_ms);
/* What it is asked over first. */
bool upstream_wants_tcp(const struct upstream *u);
/* True if UDP is to be tried beside TCP now; pushes the next time back. */
bool upstream_take_udp_probe(struct upstream *u, int64_t now_ms);
/* TCP failed where it was preferred: back to UDP. */
void upstream_note_tcp_failed(struct upstream *u);

/*
 * Its TCP by itself. A firewall may let UDP through alone, and then all is well with it but for answers that
 * are cut over UDP: these are better asked of another one. Sent over TCP at sent_ms, and not answered; not
 * counted if something else was since then, nor twice for what was under way when it failed.
 */
void upstream_note_no_tcp(struct upstream *u, int64_t sent_ms, int64_t now_ms);
void upstream_note_tcp_reply(struct upstream *u, int64_t now_ms);
bool upstream_has_no_tcp(const struct upstream *u);
/* True if TCP is to be probed now, beside what is asked of another one; pushes the next time back. As for a
 * failed upstream after 1 s, doubling to 30 s. */
bool upstream_take_tcp_probe(struct upstream *u, int64_t now_ms);

/*
 * What was sent at sent_ms was not answered in time, or could not be delivered. Not counted if it answered
 * something else since then (then the name is to blame), nor twice for what was under way when it failed.
 */
void upstream_note_failure(struct upstream *u, int64_t sent_ms, int64_t now_ms);

/*
 * What is worth telling a person: one lost packet makes it step back, but two in a row with no answer to
 * anything between them are an upstream that is down, or whose UDP is blocked.
 */
#define UPSTREAM_ILL_AFTER 2
bool upstream_is_down(const struct upstream *u);
bool upstream_is_udp_blocked(const struct upstream *u);

/* It choked on our OPT and answered without: for an hour it is asked without. */
void upstream_note_no_edns(struct upstream *u, int64_t now_ms);
/*
 * Over UDP it answered a question without OPT, having been silent to it with OPT, sent at sent_ms: one packet
 * may have been lost; three times in a row, each asked after the last, and no answer to OPT since the first,
 * is a middlebox that drops EDNS (RFC 8906 5).
 */
void upstream_note_opt_silent(struct upstream *u, int64_t sent_ms, int64_t now_ms);
void upstream_note_opt_reply(struct upstream *u, int64_t now_ms);
bool upstream_wants_edns(const struct upstream *u, int64_t now_ms);

bool upstream_wants_random_case(const struct upstream *u);
/* A reply to a question in lower case came. */
void upstream_note_plain_reply(struct upstream *u);
/* A reply to a question in mixed case came, with the same case or another. */
void upstream_note_case(struct upstream *u, bool is_same);

/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/answer_parts.h"
#include "dnsd/answer_records.h"

#include <stdio.h>

bool answer_offers_aaaa(const struct answer_question *q, bool is_static)
{
    if (q->cfg->aaaa == AAAA_NODATA) {
        return false;
    }
    switch (answer_mode_of(q)) {
    case ANSWER_SYNTHETIC:
        return q->cfg->pools.has_v6;
    case ANSWER_STEER:
        return q->cfg->steer.v6.family != IP_NONE;
    case ANSWER_REAL:
        break;
    }
    return q->cfg->aaaa == AAAA_PASS || q->has_ipv6 || is_static;
}

bool answer_hides_aaaa(const struct answer_question *q)
{
    return q->qtype == DNS_AAAA && !answer_offers_aaaa(q, false);
}

enum ip_family answer_first_family(const struct answer_question *q)
{
    return q->qtype == DNS_AAAA && answer_offers_aaaa(q, false) ? IP_V6 : IP_V4;
}

bool answer_other_counts(const struct answer_question *q)
{
    if (dns_rrset_is_type(q->qtype)) {
        return false; /* there are no two families */
    }
    /* A failed A must not become "no such host" for the sake of an AAAA that nobody would get. */
    return answer_mode_of(q) != ANSWER_REAL || answer_offers_aaaa(q, false);
}

/* RFC 8767 and RFC 8914 4.4, 4.20, if the family that out is made of had expired. */
static void say_stale(const struct answer_family *f, struct answer *out)
{
    if (f->is_stale) {
        out->is_stale = true;
        out->why = f->text;
        answer_say(out, out->rcode == DNS_NXDOMAIN ? DNS_EDE_STALE_NX : DNS_EDE_STALE, f->text);
    }
}

struct permitted {
    struct ip *addrs; /* borrowed, DNS_ADDRS_MAX of them; NULL: they are only counted */
    size_t count;
    size_t refused;
    struct ip first_refused; /* if there is one */
    const char *why;         /* its reason, or NULL */
};

/* One endpoint that lets the address pass is enough. The one that admitted the name, which may be NULL, is
 * known already, and as a rule does. */
static void judge_admitted(const struct answer_question *q, const struct policy_endpoint *ep,
                           const struct ip *ip, bool is_static, struct dest_verdict *v)
{
    if (ep != NULL && ep->port_count > 0 && !is_static) {
        judge_dest(q->policy, q->cfg->guard, ep, ip, ep->ports[0], false, v);
        if (v->verdict == VERDICT_ALLOW) {
            return;
        }
    }
    judge_answer(q->policy, q->cfg->guard, q->name, ip, is_static, v);
}

static void filter(const struct answer_question *q, const struct answer_family *f,
                   const struct policy_endpoint *ep, bool is_static, struct permitted *out)
{
    out->count = 0;
    out->refused = 0;
    out->why = NULL;
    if (f->state != ANSWER_ADDRS) {
        return;
    }
    const bool is_unruled = !is_static && answer_is_open(q);
    for (size_t i = 0; i < f->addr_count && out->count < DNS_ADDRS_MAX; i++) {
        struct dest_verdict v;
        if (is_unruled) {
            judge_unruled(q->policy, q->cfg->guard, &f->addrs[i], &v);
        } else {
            judge_admitted(q, ep, &f->addrs[i], is_static, &v);
        }
        if (v.verdict == VERDICT_ALLOW) {
            if (out->addrs != NULL) {
                out->addrs[out->count] = f->addrs[i];
            }
            out->count++;
        } else if (out->refused++ == 0) {
            out->why = v.why;
            out->first_refused = f->addrs[i];
        }
    }
}

static void answer_blocked(const struct answer_question *q, const char *why, struct answer *out)
{
    answer_no_data(out, q->cfg->deny_ttl_s);
    out->event = ANSWER_EVENT_DENIED;
    out->reason = REASON_SSRF_DENIED;
    out->why = why;
    out->ede = DNS_EDE_BLOCKED;
    (void)snprintf(out->ede_text, sizeof(out->ede_text), "ssrf_denied: %s", why);
    if (out->endpoint != NULL) {
        answer_say_more(out, "; rule ", span_str(out->endpoint->rule->key));
    }
}

static bool is_failure(const struct answer_family *f)
{
    return f->state == ANSWER_FAILED || f->state == ANSWER_SILENT;
}

static void answer_failed(const struct answer_family *f, struct answer *out)
{
    out->rcode = DNS_SERVFAIL;
    out->event = ANSWER_EVENT_FAILED;
    out->reason = f->is_own_limit ? REASON_INTERNAL : REASON_DNS_FAILED;
    out->is_busy = f->is_busy;
    out->upstream = f->upstream;
    out->why = f->text != NULL ? f->text : "no reply";
    answer_say(out, f->ede == DNS_EDE_NONE ? DNS_EDE_NO_REACHABLE : f->ede, out->why);
}

static void answer_nxdomain(const struct answer_question *q, const struct answer_family *says,
                            struct answer *out)
{
    out->rcode = answer_is_parent(q) ? DNS_NOERROR : DNS_NXDOMAIN;
    out->has_soa = true;
    out->soa_ttl_s = says->ttl_s;
    say_stale(says, out);
}

/*
 * The asked family is NXDOMAIN. That there is no name is believed of A (RFC 8020), and of AAAA if A does not
 * fail: servers that know nothing of AAAA say NXDOMAIN to it while there is an A, and a client that cannot
 * have that is to try again, not to think that the policy denies it.
 */
static void answer_no_name(const struct answer_question *q, const struct answer_family *asked,
                           const struct answer_family *other, struct answer *out)
{
    if (q->qtype == DNS_AAAA && other != NULL && is_failure(other)) {
        answer_failed(other, out);
    } else {
        answer_nxdomain(q, asked, out);
    }
}

/* The asked family is bad (failed, silent or NXDOMAIN) and the other one, if it counts, is known. */
static void answer_bad(const struct answer_question *q, const struct answer_family *asked,
                       const struct answer_family *other, struct answer *out)
{
    if (other != NULL && other->state == ANSWER_ADDRS && !asked->is_own_limit) {
        answer_no_data(out, ANSWER_REPAIRED_TTL_S);
        out->is_repaired = true;
        out->why = "this family is bad upstream and the other is good";
    } else if (asked->state == ANSWER_NXDOMAIN) {
        answer_no_name(q, asked, other, out);
    } else if (q->qtype == DNS_AAAA && other != NULL && other->state == ANSWER_NXDOMAIN) {
        /* No name, so no AAAA either; musl, Go and c-ares would take the failure for "try again". */
        answer_nxdomain(q, other, out);
    } else {
        answer_failed(asked, out);
    }
}

/* The name has nothing in the asked family: all that there is, is in the other one, and whether that fails
 * tells a resolver that is ill from a name without an address. */
static void answer_empty(const struct answer_family *asked, const struct answer_family *other,
                         struct answer *out)
{
    if (other != NULL && is_failure(other)) {
        answer_failed(other, out);
        return;
    }
    answer_no_data(out, asked->ttl_s);
    say_stale(asked, out);
}

static bool is_bad(const struct answer_family *f)
{
    return is_failure(f) || f->state == ANSWER_NXDOMAIN;
}

static void answer_addrs(const struct answer_question *q, const struct answer_family *asked, bool is_static,
                         struct answer *out)
{
    struct permitted ok = {.addrs = out->addrs};
    filter(q, asked, out->endpoint, is_static, &ok);
    if (ok.count == 0) {
        answer_blocked(q, ok.why == NULL ? "no address" : ok.why, out);
        return;
    }
    out->addr_count = ok.count;
    out->ttl_s = asked->ttl_s;
    say_stale(asked, out);
    out->addrs_refused = ok.refused;
    if (ok.refused > 0) {
        out->why = ok.why;
        out->is_refusal_new = !asked->is_cached;
        out->refused = ok.first_refused;
    }
}

static unsigned from_real(const struct answer_question *q, const struct answer_lookup *l, bool is_static,
                          struct answer *out)
{
    const bool is_v4 = q->qtype == DNS_A;
    const struct answer_family *asked = is_v4 ? &l->v4 : &l->v6;
    const struct answer_family *other = is_v4 ? &l->v6 : &l->v4;
    if (asked->state == ANSWER_UNKNOWN) {
        return is_v4 ? ANSWER_WANTS_V4 : ANSWER_WANTS_V6;
    }
    if (asked->state == ANSWER_ADDRS) {
        answer_addrs(q, asked, is_static, out);
        return 0;
    }
    if (!answer_other_counts(q)) {
        other = NULL;
    } else if (other->state == ANSWER_UNKNOWN && !asked->is_nobody_there) {
        return is_v4 ? ANSWER_WANTS_V6 : ANSWER_WANTS_V4;
    }
    if (asked->is_old_news && other != NULL && other->state == ANSWER_ADDRS) {
        return is_v4 ? ANSWER_WANTS_V4 : ANSWER_WANTS_V6; /* an outage that is over looks like this, too */
    }
    if (is_bad(asked)) {
        answer_bad(q, asked, other, out);
    } else {
        answer_empty(asked, other, out);
    }
    return 0;
}

/*
 * One permitted address of either family is enough: the program only sees the synthetic one. Without any, the
 * answer is what real mode gives, but an empty family is explained by the other one's refused addresses.
 */
static unsigned from_synthetic(const struct answer_question *q, const struct answer_lookup *l, bool is_static,
                               struct answer *out)
{
    struct permitted v4 = {0};
    struct permitted v6 = {0};
    filter(q, &l->v4, out->endpoint, is_static, &v4);
    filter(q, &l->v6, out->endpoint, is_static, &v6);
    if (v4.count > 0 || v6.count > 0) {
        answer_standin(q, answer_mode_of(q), v4.count > 0 ? &l->v4 : &l->v6, out);
        return 0;
    }
    unsigned wants = (l->v4.state == ANSWER_UNKNOWN ? ANSWER_WANTS_V4 : 0U) |
                     (l->v6.state == ANSWER_UNKNOWN ? ANSWER_WANTS_V6 : 0U);
    if (wants != 0 && !l->v4.is_nobody_there && !l->v6.is_nobody_there) {
        return wants;
    }
    const char *why = v4.why != NULL ? v4.why : v6.why;
    if (why != NULL) {
        answer_blocked(q, why, out);
        return 0;
    }
    return from_real(q, l, is_static, out);
}

static unsigned from_records(const struct answer_question *q, const struct answer_family *f,
                             struct answer *out)
{
    if (f->state == ANSWER_UNKNOWN) {
        return ANSWER_WANTS_RECORDS;
    }
    if (is_bad(f)) {
        answer_bad(q, f, NULL, out);
        return 0;
    }
    if (f->state == ANSWER_RECORDS) {
        answer_records(q, f, out);
    } else {
        answer_no_data(out, f->ttl_s);
    }
    if (out->ede == DNS_EDE_NONE) {
        say_stale(f, out);
    }
    return 0;
}

static unsigned from_families(const struct answer_question *q, const struct answer_lookup *l, bool is_static,
                              struct answer *out)
{
    return answer_mode_of(q) == ANSWER_REAL ? from_real(q, l, is_static, out)
                                            : from_synthetic(q, l, is_static, out);
}

/* AAAA that is not given out: NODATA, unless A fails, so that no client takes an ill resolver for a policy.
 */
static unsigned from_hidden(const struct answer_question *q, const struct answer_lookup *l,
                            struct answer *out)
{
    struct answer_question as_a = *q;
    const enum answer_event event = out->event;
    const struct policy_endpoint *endpoint = out->endpoint;
    as_a.qtype = DNS_A;
    const unsigned wants = from_families(&as_a, l, false, out);
    if (wants == 0 && out->event != ANSWER_EVENT_FAILED) {
        answer_start(out, DNS_NOERROR, event);
        out->endpoint = endpoint;
        answer_not_given_out(q, out);
    }
    return wants;
}

unsigned answer_from_known(const struct answer_question *q, const struct answer_lookup *l, bool is_static,
                           struct answer *out)
{
    if (dns_rrset_is_type(q->qtype)) {
        return from_records(q, &l->records, out);
    }
    if (!is_static && answer_hides_aaaa(q)) {
        return from_hidden(q, l, out);
    }
    return from_families(q, l, is_static, out);
}

unsigned answer_from_lookup(const struct answer_question *q, const struct answer_lookup *l,
                            struct answer *out)
{
    return answer_from_known(q, l, false, out);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/answer.h"

#include "dnsd/answer_parts.h"
#include "dnsd/answer_records.h"
#include "dnsd/answer_reverse.h"
#include "dnsd/denied_class.h"

#include "common/base/scratch.h"
#include "common/base/shown.h"

#include <stdio.h>

#define DENIED_TEXT "policy_denied: no rule names this host; see openshell-egress explain"
#define TEXT_SHORT 120 /* what is only helpful is left out beyond it */

void answer_config_set(struct answer_config *cfg, const struct settings_dnsd *s,
                       const struct dest_guard *guard, const struct zone_set *zones)
{
    cfg->mode = (enum answer_mode)s->answer;
    cfg->deny = (enum deny_mode)s->deny;
    cfg->aaaa = (enum aaaa_mode)s->aaaa;
    cfg->deny_ttl_s = s->deny_ttl_s;
    cfg->synthetic_ttl_s = s->synthetic_ttl_s;
    cfg->has_direct_set = s->direct_nft_set != NULL;
    cfg->guard = guard;
    cfg->zones = zones;
}

static bool is_open(const struct answer_question *q)
{
    return zone_find_open(q->cfg->zones, q->name) != NULL;
}

bool answer_is_direct(const struct answer_question *q, uint16_t ports[ANSWER_DIRECT_PORTS], size_t *count)
{
    *count = 0;
    return q->cfg->has_direct_set && q->name != NULL &&
           judge_is_direct(q->policy, q->name, ports, ANSWER_DIRECT_PORTS, count);
}

/* The names of an open zone, and those that nft lets through, have their real addresses in every mode. */
static enum answer_mode mode_of(const struct answer_question *q)
{
    SCRATCH uint16_t ports[ANSWER_DIRECT_PORTS];
    size_t count;
    return q->cfg->mode == ANSWER_REAL || is_open(q) || answer_is_direct(q, ports, &count) ? ANSWER_REAL
                                                                                           : q->cfg->mode;
}

bool answer_minds_ipv6(const struct answer_config *cfg)
{
    bool is_real = cfg->mode == ANSWER_REAL || cfg->has_direct_set;
    for (size_t i = 0; cfg->zones != NULL && i < cfg->zones->count && !is_real; i++) {
        is_real = cfg->zones->items[i].is_open;
    }
    return is_real && cfg->aaaa == AAAA_AUTO;
}

void answer_start(struct answer *out, enum dns_rcode rcode, enum answer_event event)
{
    out->rcode = rcode;
    out->has_soa = false;
    out->soa_ttl_s = 0;
    out->ttl_s = 0;
    out->addr_count = 0;
    out->has_ptr = false;
    out->has_records = false;
    out->left_out = 0;
    out->target.len = 0;
    out->ede = DNS_EDE_NONE;
    out->ede_text[0] = '\0';
    out->wants_synthetic = false;
    out->is_plain_denial = false;
    out->is_repaired = false;
    out->is_stale = false;
    out->event = event;
    out->reason = REASON_NONE;
    out->why = "";
    out->endpoint = NULL;
}

void answer_say(struct answer *out, enum dns_ede ede, const char *text)
{
    const size_t len = strnlen(text, sizeof(out->ede_text) - 1);
    out->ede = ede;
    memcpy(out->ede_text, text, len);
    out->ede_text[len] = '\0';
}

/* Appends if the text stays short. */
static void say_more(struct answer *out, const char *before, struct span what)
{
    const size_t at = strlen(out->ede_text);
    const size_t before_len = strlen(before);
    if (at + before_len + what.len <= TEXT_SHORT) {
        memcpy(out->ede_text + at, before, before_len);
        memcpy(out->ede_text + at + before_len, what.data, what.len);
        out->ede_text[at + before_len + what.len] = '\0';
        (void)shown_clean(out->ede_text + at + before_len);
    }
}

void answer_no_data(struct answer *out, uint32_t soa_ttl_s)
{
    out->rcode = DNS_NOERROR;
    out->addr_count = 0;
    out->has_soa = true;
    out->soa_ttl_s = soa_ttl_s;
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

static void start_denial(const struct answer_question *q, enum answer_event event, struct answer *out)
{
    static const enum dns_rcode rcodes[] = {
        [DENY_NXDOMAIN] = DNS_NXDOMAIN, [DENY_NODATA] = DNS_NOERROR, [DENY_REFUSED] = DNS_REFUSED};
    answer_start(out, rcodes[q->cfg->deny], event);
    out->has_soa = q->cfg->deny != DENY_REFUSED;
    out->soa_ttl_s = q->cfg->deny_ttl_s;
    out->reason = REASON_POLICY_DENIED;
    out->is_plain_denial = true;
}

static void deny(const struct answer_question *q, enum answer_event event, struct answer *out)
{
    start_denial(q, event, out);
    if (q->is_silent) {
        return;
    }
    answer_say(out, DNS_EDE_BLOCKED, DENIED_TEXT);
    if (q->name != NULL) {
        say_more(out, " ", host_name_span(q->name));
    }
}

/* RFC 6761 6.3: localhost and everything below it is this host, and is asked of nobody. */
static bool is_localhost(const struct host_name *n)
{
    static const char suffix[] = ".localhost";
    const size_t len = sizeof(suffix) - 1;
    if (span_is_equal(host_name_span(n), SPAN_LIT("localhost"))) {
        return true;
    }
    return n->len > len && memcmp(n->text + n->len - len, suffix, len) == 0;
}

static void answer_localhost(const struct answer_question *q, struct answer *out)
{
    answer_start(out, DNS_NOERROR, ANSWER_EVENT_LOCAL);
    out->why = "localhost is this host";
    if (q->qtype != DNS_A && q->qtype != DNS_AAAA) {
        answer_no_data(out, q->cfg->deny_ttl_s);
        return;
    }
    out->ttl_s = ANSWER_LOCALHOST_TTL_S;
    out->addr_count = 1;
    out->addrs[0] = ip_v4(127, 0, 0, 1);
    if (q->qtype == DNS_AAAA) {
        out->addrs[0] = (struct ip){.family = IP_V6};
        out->addrs[0].bytes[15] = 1;
    }
}

/* Whether AAAA records of admitted names are given out at all. A static one is the operator's own word. */
static bool offers_aaaa(const struct answer_question *q, bool is_static)
{
    if (q->cfg->aaaa == AAAA_NODATA) {
        return false;
    }
    switch (mode_of(q)) {
    case ANSWER_SYNTHETIC:
        return q->cfg->pools.has_v6;
    case ANSWER_STEER:
        return q->cfg->steer.v6.family != IP_NONE;
    case ANSWER_REAL:
        break;
    }
    return q->cfg->aaaa == AAAA_PASS || q->has_ipv6 || is_static;
}

bool answer_other_counts(const struct answer_question *q)
{
    if (dns_rrset_is_type(q->qtype)) {
        return false; /* there are no two families */
    }
    /* A failed A must not become "no such host" for the sake of an AAAA that nobody would get. */
    return mode_of(q) != ANSWER_REAL || q->qtype == DNS_AAAA || offers_aaaa(q, false);
}

struct permitted {
    struct ip *addrs; /* borrowed, DNS_ADDRS_MAX of them; NULL: they are only counted */
    size_t count;
    const char *why; /* the first refusal's, or NULL */
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
    out->why = NULL;
    if (f->state != ANSWER_ADDRS) {
        return;
    }
    const bool is_unruled = !is_static && is_open(q);
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
        } else if (out->why == NULL) {
            out->why = v.why;
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
        say_more(out, "; rule ", span_str(out->endpoint->rule->key));
    }
}

static void answer_nxdomain(const struct answer_question *q, const struct answer_family *says,
                            struct answer *out)
{
    out->rcode = policy_is_parent(q->policy, q->name) ? DNS_NOERROR : DNS_NXDOMAIN;
    out->has_soa = true;
    out->soa_ttl_s = says->ttl_s;
    say_stale(says, out);
}

/* The asked family is bad (failed, silent or NXDOMAIN) and the other one, if it counts, is known. */
static void answer_bad(const struct answer_question *q, const struct answer_family *asked,
                       const struct answer_family *other, struct answer *out)
{
    if (other != NULL && other->state == ANSWER_ADDRS) {
        answer_no_data(out, ANSWER_REPAIRED_TTL_S);
        out->is_repaired = true;
        out->why = "this family is bad upstream and the other is good";
        return;
    }
    if (asked->state == ANSWER_NXDOMAIN) {
        answer_nxdomain(q, asked, out);
        return;
    }
    /* RFC 8020: no name, so no AAAA either; musl, Go and c-ares would take the failure for "try again". Not
     * the other way round: servers that know nothing of AAAA say NXDOMAIN to it while there is an A. */
    if (q->qtype == DNS_AAAA && other != NULL && other->state == ANSWER_NXDOMAIN) {
        answer_nxdomain(q, other, out);
        return;
    }
    out->rcode = DNS_SERVFAIL;
    out->event = ANSWER_EVENT_FAILED;
    out->reason = REASON_DNS_FAILED;
    out->why = asked->text != NULL ? asked->text : "no reply";
    answer_say(out, asked->ede == DNS_EDE_NONE ? DNS_EDE_NO_REACHABLE : asked->ede, out->why);
}

static bool is_bad(const struct answer_family *f)
{
    return f->state == ANSWER_FAILED || f->state == ANSWER_SILENT || f->state == ANSWER_NXDOMAIN;
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
    if (is_bad(asked)) {
        const bool counts = answer_other_counts(q);
        if (counts && other->state == ANSWER_UNKNOWN && !asked->is_nobody_there) {
            return is_v4 ? ANSWER_WANTS_V6 : ANSWER_WANTS_V4;
        }
        answer_bad(q, asked, counts ? other : NULL, out);
        return 0;
    }
    if (asked->state == ANSWER_NODATA) {
        answer_no_data(out, asked->ttl_s);
        say_stale(asked, out);
        return 0;
    }
    struct permitted ok = {.addrs = out->addrs};
    filter(q, asked, out->endpoint, is_static, &ok);
    if (ok.count == 0) {
        answer_blocked(q, ok.why == NULL ? "no address" : ok.why, out);
        return 0;
    }
    out->addr_count = ok.count;
    out->ttl_s = asked->ttl_s;
    say_stale(asked, out);
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
        answer_standin(q, mode_of(q), v4.count > 0 ? &l->v4 : &l->v6, out);
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

static unsigned from_lookup(const struct answer_question *q, const struct answer_lookup *l, bool is_static,
                            struct answer *out)
{
    if (dns_rrset_is_type(q->qtype)) {
        return from_records(q, &l->records, out);
    }
    if (mode_of(q) != ANSWER_REAL) {
        return from_synthetic(q, l, is_static, out);
    }
    return from_real(q, l, is_static, out);
}

unsigned answer_from_lookup(const struct answer_question *q, const struct answer_lookup *l,
                            struct answer *out)
{
    return from_lookup(q, l, false, out);
}

static void answer_static(const struct answer_question *q, const struct policy_host *host, struct answer *out)
{
    SCRATCH struct ip addrs[2][DNS_ADDRS_MAX];
    size_t counts[2] = {0, 0};
    for (size_t i = 0; i < host->addr_count; i++) {
        const size_t k = host->addrs[i].family == IP_V4 ? 0 : 1;
        if (counts[k] < DNS_ADDRS_MAX) {
            addrs[k][counts[k]++] = host->addrs[i];
        }
    }
    struct answer_lookup l = {.v4 = {.state = counts[0] > 0 ? ANSWER_ADDRS : ANSWER_NODATA,
                                     .addrs = addrs[0],
                                     .addr_count = counts[0]},
                              .v6 = {.state = counts[1] > 0 ? ANSWER_ADDRS : ANSWER_NODATA,
                                     .addrs = addrs[1],
                                     .addr_count = counts[1]}};
    l.v4.ttl_s = counts[0] > 0 ? ANSWER_STATIC_TTL_S : q->cfg->deny_ttl_s;
    l.v6.ttl_s = counts[1] > 0 ? ANSWER_STATIC_TTL_S : q->cfg->deny_ttl_s;
    (void)from_lookup(q, &l, true, out); /* both families are known: it cannot want more */
}

/* The root and other names above admitted ones: they exist (RFC 8020 2). */
static void answer_parent(const struct answer_question *q, struct answer *out)
{
    answer_start(out, DNS_NOERROR, ANSWER_EVENT_LOCAL);
    answer_no_data(out, q->cfg->deny_ttl_s);
    out->why = "names below it are admitted";
}

/* True, and *out is the answer, if the name exists and records of this type are not given out. */
static bool answer_not_offered(const struct answer_question *q, bool is_static, struct answer *out)
{
    if (q->qtype == DNS_A || (q->qtype == DNS_AAAA && offers_aaaa(q, is_static))) {
        return false;
    }
    answer_no_data(out, q->cfg->deny_ttl_s);
    out->why = q->qtype == DNS_AAAA ? "AAAA is not given out here (--aaaa, --pool, --steer-address)"
                                    : "records of this type are not given out";
    return true;
}

static bool is_listed_type(const struct name_verdict *v, uint16_t qtype)
{
    return (qtype == DNS_SRV && (v->dns_types & POLICY_DNS_SRV) != 0) ||
           (qtype == DNS_TXT && (v->dns_types & POLICY_DNS_TXT) != 0);
}

static enum answer_route decide_admitted(const struct answer_question *q, const struct name_verdict *v,
                                         struct answer *out)
{
    const bool is_static = v->kind == NAME_STATIC;
    answer_start(out, DNS_NOERROR, ANSWER_EVENT_ADMITTED);
    out->endpoint = v->endpoint;
    if (is_listed_type(v, q->qtype)) {
        return ANSWER_ROUTE_RESOLVE;
    }
    if (answer_not_offered(q, is_static, out)) {
        return ANSWER_ROUTE_DONE;
    }
    if (is_static) {
        answer_static(q, v->host, out);
        return ANSWER_ROUTE_DONE;
    }
    return ANSWER_ROUTE_RESOLVE;
}

static enum answer_route decide_open(const struct answer_question *q, struct answer *out)
{
    answer_start(out, DNS_NOERROR, ANSWER_EVENT_OPEN_ZONE);
    return answer_not_offered(q, false, out) ? ANSWER_ROUTE_DONE : ANSWER_ROUTE_RESOLVE;
}

enum answer_route answer_decide(const struct answer_question *q, struct answer *out, struct ip *reverse)
{
    if (q->name == NULL) {
        if (q->qname.len == 1) {
            answer_parent(q, out);
        } else {
            deny(q, ANSWER_EVENT_DENIED, out);
        }
        return ANSWER_ROUTE_DONE;
    }
    if (is_localhost(q->name)) {
        answer_localhost(q, out);
        return ANSWER_ROUTE_DONE;
    }
    if (answer_is_reverse(q->name)) {
        return answer_reverse(q, out, reverse);
    }
    struct name_verdict v;
    judge_name(q->policy, q->name, &v);
    if (v.kind != NAME_STATIC && !is_listed_type(&v, q->qtype) && is_open(q)) {
        return decide_open(q, out);
    }
    if (v.kind == NAME_DENIED && zone_is_open_parent(q->cfg->zones, q->name)) {
        v.kind = NAME_PARENT;
    }
    switch (v.kind) {
    case NAME_ADMITTED:
    case NAME_STATIC:
        return decide_admitted(q, &v, out);
    case NAME_PARENT:
        answer_parent(q, out);
        return ANSWER_ROUTE_DONE;
    case NAME_DENIED:
        break;
    }
    deny(q, denied_class_is_noise(q->policy, q->name) ? ANSWER_EVENT_NOISE : ANSWER_EVENT_DENIED, out);
    return ANSWER_ROUTE_DONE;
}

void answer_decided_keep(const struct answer_question *q, const struct answer *a, struct answer_decided *out)
{
    *out = (struct answer_decided){.policy = q->policy,
                                   .generation = policy_generation(q->policy),
                                   .has_ipv6 = q->has_ipv6,
                                   .event = a->event,
                                   .endpoint = a->endpoint};
}

bool answer_decided_again(const struct answer_question *q, const struct answer_decided *d, struct answer *out)
{
    if (d->policy != q->policy || d->generation != policy_generation(q->policy) ||
        d->has_ipv6 != q->has_ipv6) {
        return false;
    }
    answer_start(out, DNS_NOERROR, d->event);
    out->endpoint = d->endpoint;
    return true;
}

void answer_denied(const struct answer_question *q, bool is_noise, struct answer *out)
{
    start_denial(q, is_noise ? ANSWER_EVENT_NOISE : ANSWER_EVENT_DENIED, out);
}

void answer_failure(struct answer *out, enum dns_ede ede, const char *text)
{
    answer_start(out, DNS_SERVFAIL, ANSWER_EVENT_FAILED);
    out->reason = REASON_INTERNAL;
    out->why = text;
    answer_say(out, ede, text);
}

void answer_braked(const struct answer_question *q, enum brakes_verdict v, struct answer *out)
{
    const enum reason reason = brakes_reason(v);
    if (v == BRAKES_RATE) {
        answer_start(out, DNS_SERVFAIL, ANSWER_EVENT_BRAKED);
        out->ede = DNS_EDE_OTHER;
    } else {
        deny(q, ANSWER_EVENT_BRAKED, out);
        out->is_plain_denial = false;
        out->soa_ttl_s = ANSWER_BRAKED_TTL_S;
        if (out->rcode == DNS_NXDOMAIN && policy_is_parent(q->policy, q->name)) {
            out->rcode = DNS_NOERROR; /* what is admitted below it exists (RFC 8020) */
        }
    }
    out->reason = reason;
    (void)snprintf(out->ede_text, sizeof(out->ede_text), "%s: %s", reason_text(reason), brakes_text(v));
}

void answer_refuse_client(struct answer *out)
{
    answer_start(out, DNS_REFUSED, ANSWER_EVENT_DENIED);
    out->reason = REASON_CLIENT_NOT_ALLOWED;
    answer_say(out, DNS_EDE_PROHIBITED, "client_not_allowed: this client is outside --allow-client");
}

void answer_to_wire(const struct answer *a, const struct dns_query *query, const struct dns_soa_template *soa,
                    uint32_t serial, struct dns_answer *out)
{
    *out = (struct dns_answer){.query = query,
                               .rcode = a->rcode,
                               .addrs = a->addrs,
                               .addr_count = a->addr_count,
                               .ttl_s = a->ttl_s,
                               .soa = a->has_soa ? soa : NULL,
                               .soa_serial = serial,
                               .soa_ttl_s = a->soa_ttl_s,
                               .ptr = a->has_ptr ? &a->ptr : NULL,
                               .records = a->has_records ? &a->records : NULL,
                               .ede = a->ede,
                               .ede_text = a->ede_text[0] == '\0' ? NULL : a->ede_text};
}

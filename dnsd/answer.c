/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/answer.h"

#include "dnsd/answer_parts.h"
#include "dnsd/answer_reverse.h"
#include "dnsd/denied_class.h"

#include "common/base/scratch.h"
#include "common/base/shown.h"

#include <stdio.h>

#define DENIED_TEXT "policy_denied: no rule names this host; see openshell-egress explain"
#define NO_HOST_TEXT "policy_denied: no rule can name this: "
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

bool answer_is_open(const struct answer_question *q)
{
    return zone_find_open(q->cfg->zones, q->name) != NULL;
}

bool answer_is_parent(const struct answer_question *q)
{
    return policy_is_parent(q->policy, q->name) || zone_is_open_parent(q->cfg->zones, q->name);
}

bool answer_is_direct(const struct answer_question *q, uint16_t ports[ANSWER_DIRECT_PORTS], size_t *count)
{
    *count = 0;
    return q->cfg->has_direct_set && q->name != NULL &&
           judge_is_direct(q->policy, q->name, ports, ANSWER_DIRECT_PORTS, count);
}

/* The names of an open zone, and those that nft lets through, have their real addresses in every mode. */
enum answer_mode answer_mode_of(const struct answer_question *q)
{
    SCRATCH uint16_t ports[ANSWER_DIRECT_PORTS];
    size_t count;
    return q->cfg->mode == ANSWER_REAL || answer_is_open(q) || answer_is_direct(q, ports, &count)
               ? ANSWER_REAL
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
    out->addrs_refused = 0;
    out->target.len = 0;
    out->ede = DNS_EDE_NONE;
    out->ede_text[0] = '\0';
    out->wants_synthetic = false;
    out->is_plain_denial = false;
    out->is_repaired = false;
    out->is_stale = false;
    out->is_busy = false;
    out->event = event;
    out->reason = REASON_NONE;
    out->upstream = (struct addr){0};
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
void answer_say_more(struct answer *out, const char *before, struct span what)
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
    if (q->name == NULL) {
        SCRATCH struct host_name name;
        out->why = host_fault_text(host_name_from_wire(q->qname, &name));
        out->is_plain_denial = false; /* the reason is worth finding again */
    }
    if (q->is_silent) {
        return;
    }
    if (q->name == NULL) {
        answer_say(out, DNS_EDE_BLOCKED, NO_HOST_TEXT);
        answer_say_more(out, "", span_str(out->why));
        return;
    }
    answer_say(out, DNS_EDE_BLOCKED, DENIED_TEXT);
    answer_say_more(out, " ", host_name_span(q->name));
}

static bool is_address_type(uint16_t qtype)
{
    return qtype == DNS_A || qtype == DNS_AAAA;
}

static void answer_localhost(const struct answer_question *q, struct answer *out)
{
    answer_start(out, DNS_NOERROR, ANSWER_EVENT_LOCAL);
    out->why = "localhost is this host";
    if (!is_address_type(q->qtype)) {
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
    (void)answer_from_known(q, &l, true, out); /* both families are known: it cannot want more */
}

/* The root and other names above admitted ones: they exist (RFC 8020 2). */
static void answer_parent(const struct answer_question *q, struct answer *out)
{
    answer_start(out, DNS_NOERROR, ANSWER_EVENT_LOCAL);
    answer_no_data(out, q->cfg->deny_ttl_s);
    out->why = "names below it are admitted";
}

void answer_not_given_out(const struct answer_question *q, struct answer *out)
{
    answer_no_data(out, q->cfg->deny_ttl_s);
    const bool is_no_route = q->cfg->aaaa == AAAA_AUTO && answer_mode_of(q) == ANSWER_REAL && !q->has_ipv6;
    out->why = q->qtype != DNS_AAAA ? "records of this type are not given out"
               : is_no_route        ? "AAAA is not given out without an IPv6 default route (--aaaa auto)"
                                    : "AAAA is not given out here (--aaaa, --pool, --steer-address)";
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
    __builtin_prefetch(v->endpoint); /* read by the brakes, behind what the resolver knows */
    if (is_listed_type(v, q->qtype)) {
        return ANSWER_ROUTE_RESOLVE;
    }
    if (!is_address_type(q->qtype) || (is_static && q->qtype == DNS_AAAA && !answer_offers_aaaa(q, true))) {
        answer_not_given_out(q, out);
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
    if (!is_address_type(q->qtype)) {
        answer_not_given_out(q, out);
        return ANSWER_ROUTE_DONE;
    }
    return ANSWER_ROUTE_RESOLVE;
}

/* The root, or what is no host name: nothing that a rule could name. */
static void decide_nameless(const struct answer_question *q, struct answer *out)
{
    if (q->qname.len == 1) {
        answer_parent(q, out);
    } else if (answer_is_reverse_wire(q->qname)) {
        answer_from_map(q, NULL, out);
    } else {
        deny(q, ANSWER_EVENT_DENIED, out);
    }
}

enum answer_route answer_decide(const struct answer_question *q, struct answer *out, struct ip *reverse)
{
    if (q->name == NULL) {
        decide_nameless(q, out);
        return ANSWER_ROUTE_DONE;
    }
    if (host_name_is_localhost(q->name)) {
        answer_localhost(q, out);
        return ANSWER_ROUTE_DONE;
    }
    if (answer_is_reverse(q->name)) {
        return answer_reverse(q, out, reverse);
    }
    struct name_verdict v;
    judge_name(q->policy, q->name, &v);
    if (v.kind != NAME_STATIC && !is_listed_type(&v, q->qtype) && answer_is_open(q)) {
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

void answer_busy(struct answer *out, const char *text)
{
    answer_failure(out, DNS_EDE_OTHER, text);
    out->is_busy = true;
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
        if (out->rcode == DNS_NXDOMAIN && answer_is_parent(q)) {
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

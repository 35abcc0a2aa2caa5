/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/explain_facts.h"

#include "egress/explain_words.h"
#include "tunneld/admit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static struct admit admit_of(const struct explain_facts *f)
{
    return (struct admit){.judge = &f->cfg->judge, .guard = &f->cfg->tunneld_guard.view, .policy = f->policy};
}

bool explain_is_braked(const struct explain_facts *f)
{
    return f->target.host.kind == HOST_DNS && f->name.kind == NAME_ADMITTED && f->name.is_wildcard;
}

/* ---- candidates ---- */

static bool is_listed(const struct explain_tunnel *t, const struct policy_endpoint *ep)
{
    for (size_t i = 0; i < t->candidate_count; i++) {
        if (t->candidates[i].endpoint == ep) {
            return true;
        }
    }
    return false;
}

/* Those that admit before those that do not, each most specific first. */
static bool goes_before(const struct explain_candidate *a, const struct explain_candidate *b)
{
    bool admits_a = a->fate > EXPLAIN_FATE_OTHER_BINARY;
    bool admits_b = b->fate > EXPLAIN_FATE_OTHER_BINARY;
    if (admits_a != admits_b) {
        return admits_a;
    }
    return policy_endpoint_compare(a->endpoint, b->endpoint) < 0;
}

static enum explain_fate fate_of(const struct explain_tunnel *t, const struct policy_endpoint *ep,
                                 enum candidate_fate fate)
{
    switch (fate) {
    case CANDIDATE_OTHER_PORT:
        return EXPLAIN_FATE_OTHER_PORT;
    case CANDIDATE_OTHER_BINARY:
        return EXPLAIN_FATE_OTHER_BINARY;
    case CANDIDATE_ADMITS:
        break;
    }
    if (ep == t->name.endpoint) {
        return EXPLAIN_FATE_DECIDES;
    }
    /* apart from its place, is the other one less specific? */
    struct policy_endpoint moved = *ep;
    moved.pos = t->name.endpoint->pos;
    return policy_endpoint_compare(&moved, t->name.endpoint) == 0 ? EXPLAIN_FATE_LATER
                                                                  : EXPLAIN_FATE_LESS_SPECIFIC;
}

static void take_candidate(void *ctx, const struct policy_endpoint *ep, enum candidate_fate fate)
{
    struct explain_tunnel *t = ctx;
    if (is_listed(t, ep)) { /* a hostless one that holds several addresses of a static host */
        return;
    }
    t->candidate_total++;
    if (fate == CANDIDATE_ADMITS && ep->requires_l7 &&
        (t->l7_by == NULL || policy_endpoint_compare(ep, t->l7_by) < 0)) {
        t->l7_by = ep;
    }
    const struct explain_candidate c = {.endpoint = ep, .fate = fate_of(t, ep, fate)};
    size_t at = t->candidate_count;
    while (at > 0 && goes_before(&c, &t->candidates[at - 1])) {
        at--;
    }
    if (at == EXPLAIN_CANDIDATES_MAX) {
        return;
    }
    size_t last =
        t->candidate_count < EXPLAIN_CANDIDATES_MAX ? t->candidate_count++ : EXPLAIN_CANDIDATES_MAX - 1;
    for (; last > at; last--) {
        t->candidates[last] = t->candidates[last - 1];
    }
    t->candidates[at] = c;
}

/* ---- where timers come from ---- */

static int64_t timer_at(const struct tunnel_timers *t, size_t i)
{
    const int64_t values[] = {t->connect_ms, t->idle_ms, t->lifetime_ms, t->half_close_ms, t->user_ms};
    return values[i];
}

/* Where the endpoint's own value was written: in the rule, or in an overlay. */
static const struct policy_pos *endpoint_pos(const struct policy_endpoint *ep, size_t value)
{
    const struct policy_shape *s = ep->shape;
    if (s == NULL) {
        return &ep->pos;
    }
    bool is_shaped = value == EXPLAIN_KEEPALIVE ? s->keepalive.mode != KEEPALIVE_UNSET
                                                : timer_at(&s->timers, value) != TIMER_UNSET;
    return is_shaped ? &s->pos : &ep->pos;
}

static struct explain_source source_of(const struct explain_facts *f, const struct explain_tunnel *t,
                                       enum judge_level level, size_t value)
{
    struct explain_source s = {.level = level};
    switch (level) {
    case JUDGE_LEVEL_ENDPOINT:
        s.pos = endpoint_pos(t->name.endpoint, value);
        break;
    case JUDGE_LEVEL_OPTION:
        s.is_environment =
            settings_origin(settings_tunneld_table, f->cfg->tunneld_arena,
                            explain_option_name((enum explain_value)value)) == ORIGIN_ENVIRONMENT;
        break;
    case JUDGE_LEVEL_DEFAULTS:
        s.pos = &policy_rules_of(f->policy)->defaults_pos;
        break;
    case JUDGE_LEVEL_BUILTIN:
        break;
    }
    return s;
}

/* Inherits as judge_tunnel does, level by level, and looks at what each level filled. */
static void find_sources(const struct explain_facts *f, struct explain_tunnel *t)
{
    struct judge_tuning levels[JUDGE_LEVEL_COUNT];
    judge_tuning_levels(f->policy, &f->cfg->judge, t->name.endpoint, levels);
    struct tunnel_timers timers;
    struct tunnel_keepalive keepalive = {.mode = KEEPALIVE_UNSET};
    tunnel_timers_unset(&timers);
    for (size_t i = 0; i < JUDGE_LEVEL_COUNT; i++) {
        const struct tunnel_timers before = timers;
        const enum keepalive_mode mode = keepalive.mode;
        tunnel_timers_inherit(&timers, levels[i].timers);
        tunnel_keepalive_inherit(&keepalive, levels[i].keepalive);
        for (size_t k = 0; k < EXPLAIN_KEEPALIVE; k++) {
            if (timer_at(&before, k) == TIMER_UNSET && timer_at(&timers, k) != TIMER_UNSET) {
                t->sources[k] = source_of(f, t, (enum judge_level)i, k);
            }
        }
        if (mode == KEEPALIVE_UNSET && keepalive.mode != KEEPALIVE_UNSET) {
            t->sources[EXPLAIN_KEEPALIVE] = source_of(f, t, (enum judge_level)i, EXPLAIN_KEEPALIVE);
        }
    }
}

/* ---- addresses ---- */

bool explain_is_chained(const struct explain_tunnel *t)
{
    return t->is_allowed && t->name.carriage == CARRY_CHAIN;
}

bool explain_is_unresolved(const struct explain_facts *f, const struct explain_tunnel *t)
{
    return t->name.carriage == CARRY_CHAIN && f->cfg->chain.by_name && f->target.host.kind == HOST_DNS;
}

void explain_tunnel_add_addr(const struct explain_facts *f, struct explain_tunnel *t, const struct ip *ip)
{
    if (t->addr_count == EXPLAIN_ADDRS_MAX || t->name.endpoint == NULL || explain_is_unresolved(f, t)) {
        return;
    }
    const struct admit a = admit_of(f);
    const struct addr to = {.ip = *ip, .port = t->port};
    struct explain_addr *e = &t->addrs[t->addr_count++];
    *e = (struct explain_addr){.ip = *ip};
    (void)admit_addr(&a, t->name.endpoint, &f->target.host, &to, &e->dest);
}

void explain_tunnel_judge_addrs(struct explain_tunnel *t)
{
    if (!t->is_allowed || t->addr_count == 0) {
        return;
    }
    for (size_t i = 0; i < t->addr_count; i++) {
        if (t->addrs[i].dest.verdict == VERDICT_ALLOW) {
            return;
        }
    }
    char text[IP_TEXT_CAP];
    t->is_allowed = false;
    t->reason = REASON_SSRF_DENIED; /* as tunneld: the first refusal is told */
    (void)snprintf(t->why, sizeof t->why, "%s is refused: %s", ip_text(&t->addrs[0].ip, text),
                   t->addrs[0].dest.why);
}

/* The addresses that are known without a lookup. */
static void add_known_addrs(const struct explain_facts *f, struct explain_tunnel *t)
{
    const struct admit a = admit_of(f);
    const struct policy_host *h = admit_static(&a, &f->target.host);
    if (f->target.host.kind == HOST_IP) {
        explain_tunnel_add_addr(f, t, &f->target.host.ip);
    }
    for (size_t i = 0; h != NULL && i < h->addr_count; i++) {
        explain_tunnel_add_addr(f, t, &h->addrs[i]);
    }
}

/* ---- one tunnel ---- */

/* Of the brakes the one that does not depend on what was asked before. */
static bool is_too_long(const struct explain_facts *f, const struct settings_shared *s)
{
    const struct brakes_config cfg = brakes_config_of(s);
    return explain_is_braked(f) && brakes_is_too_long(&cfg, &f->target.host.name);
}

/* A rule that names an address does not help where the address itself is never dialled. */
static bool would_help(const struct explain_facts *f, uint16_t port)
{
    if (f->target.host.kind != HOST_IP) {
        return f->dns_count == 0 || f->dns[0].answer.event != ANSWER_EVENT_LOCAL ||
               f->dns[0].answer.addr_count == 0;
    }
    return judge_never_helps(f->policy, &f->cfg->tunneld_guard.view, &f->target.host.ip, port) == NULL;
}

static void suggest(const struct explain_facts *f, struct explain_tunnel *t)
{
    bool is_name_missing = t->reason == REASON_POLICY_DENIED || t->reason == REASON_WILDCARD_LENGTH;
    if (is_name_missing && would_help(f, t->port)) {
        (void)judge_suggest(&f->target.host, t->port, t->suggestion, sizeof t->suggestion);
    } else if (t->reason == REASON_L7_REQUIRED) {
        explain_suggest_direct(t->name.endpoint, t->port, t->suggestion, sizeof t->suggestion);
    }
}

static void judge_port(const struct explain_facts *f, uint16_t port, struct explain_tunnel *t)
{
    const struct admit a = admit_of(f);
    const struct judge_trace trace = {take_candidate, t};
    *t = (struct explain_tunnel){.port = port};
    t->is_allowed = admit_tunnel(&a, &f->target.host, port, &t->name);
    t->reason = t->name.reason;
    judge_candidates(f->policy, &f->cfg->judge, &f->target.host, port, &trace);
    if (t->name.endpoint != NULL) {
        t->address_rule = judge_address_rule(&f->cfg->tunneld_guard.view, t->name.endpoint, port);
        find_sources(f, t);
        add_known_addrs(f, t);
    }
    if (!t->is_allowed) {
        explain_why(f, t, t->why, sizeof t->why);
    }
    if (t->is_allowed && is_too_long(f, &f->cfg->tunneld.shared)) {
        t->is_allowed = false;
        t->reason = REASON_WILDCARD_LENGTH;
        (void)snprintf(t->why, sizeof t->why, "%s", brakes_text(BRAKES_LENGTH));
    }
    if (t->is_allowed && t->address_rule == ADDRESS_RULE_NONE &&
        !explain_is_unresolved(f, t)) { /* whatever address it has */
        t->is_allowed = false;
        t->reason = REASON_SSRF_DENIED;
        (void)snprintf(t->why, sizeof t->why,
                       "whatever its address: a control-plane port needs an exact host, or allowed_ips");
    }
    explain_tunnel_judge_addrs(t);
    suggest(f, t);
}

/* Every port that an endpoint of this host names. */
struct port_set {
    uint16_t ports[EXPLAIN_PORTS_MAX]; /* the lowest ones, sorted */
    size_t count;
    uint8_t seen[65536 / 8];
    size_t total;
};

static void take_ports(void *ctx, const struct policy_endpoint *ep, enum candidate_fate fate)
{
    (void)fate;
    struct port_set *s = ctx;
    for (size_t i = 0; i < ep->port_count; i++) {
        uint16_t port = ep->ports[i];
        uint8_t bit = (uint8_t)(1U << (port % 8U));
        s->total += (s->seen[port / 8] & bit) == 0;
        s->seen[port / 8] |= bit;
    }
}

static void find_ports(const struct explain_facts *f, struct port_set *s)
{
    *s = (struct port_set){.count = 0};
    if (f->target.port != 0) {
        s->ports[s->count++] = f->target.port;
        s->total = 1;
        return;
    }
    const struct judge_trace trace = {take_ports, s};
    judge_candidates(f->policy, &f->cfg->judge, &f->target.host, 0, &trace);
    for (uint32_t port = 1; port < 65536 && s->count < EXPLAIN_PORTS_MAX && s->count < s->total; port++) {
        if ((((unsigned)s->seen[port / 8] >> (port % 8)) & 1U) != 0) {
            s->ports[s->count++] = (uint16_t)port;
        }
    }
}

/* ---- DNS ---- */

static const uint16_t asked_types[EXPLAIN_TYPE_COUNT] = {DNS_A,   DNS_AAAA,  DNS_SRV,
                                                         DNS_TXT, DNS_HTTPS, EXPLAIN_OTHER_TYPE};

static struct answer_question question_of(const struct explain_facts *f, struct span qname, uint16_t qtype)
{
    return (struct answer_question){.cfg = &f->cfg->answer,
                                    .policy = f->policy,
                                    .qname = qname,
                                    .name = f->target.host.kind == HOST_DNS ? &f->target.host.name : NULL,
                                    .qtype = qtype,
                                    .has_ipv6 = f->cfg->has_ipv6};
}

void explain_facts_answer(struct explain_facts *f, const struct answer_lookup *lookup)
{
    for (size_t i = 0; i < f->dns_count; i++) {
        struct explain_dns *d = &f->dns[i];
        if (d->route != ANSWER_ROUTE_RESOLVE) {
            continue;
        }
        /* the wire form of the name matters to answer_decide only */
        const struct answer_question q = question_of(f, (struct span){0}, d->qtype);
        d->is_looked_up = answer_from_lookup(&q, lookup, &d->answer) == 0;
    }
}

static void decide_dns(struct explain_facts *f)
{
    uint8_t wire[255] = {0};
    size_t len = 0; /* no canonical form: whatever bytes the question has, they are no host name */
    if (f->target.host.kind == HOST_IP) {
        return;
    }
    if (f->target.host.kind == HOST_DNS) {
        len = host_name_to_wire(&f->target.host.name, wire);
        judge_name(f->policy, &f->target.host.name, &f->name);
        f->zone = zone_find(&f->cfg->dnsd_zones, &f->target.host.name);
    } else if (span_is_equal(f->target.host_text, SPAN_LIT("."))) {
        len = 1; /* the root */
    }
    for (size_t i = 0; i < EXPLAIN_TYPE_COUNT; i++) {
        const struct answer_question q = question_of(f, span_make(wire, len), asked_types[i]);
        struct explain_dns *d = &f->dns[f->dns_count];
        struct ip reverse;
        uint16_t ports[ANSWER_DIRECT_PORTS];
        size_t port_count = 0;
        d->qtype = asked_types[i];
        d->route = answer_decide(&q, &d->answer, &reverse);
        d->is_hidden = answer_hides_aaaa(&q);
        d->is_direct = !dns_rrset_is_type(d->qtype) && answer_is_direct(&q, ports, &port_count);
        if (dns_rrset_is_type(d->qtype) && d->route != ANSWER_ROUTE_RESOLVE) {
            continue; /* not listed: like every other type */
        }
        if (d->route == ANSWER_ROUTE_RESOLVE && is_too_long(f, &f->cfg->dnsd.shared)) {
            answer_braked(&q, BRAKES_LENGTH, &d->answer);
            d->route = ANSWER_ROUTE_DONE;
        }
        f->dns_count++;
    }
}

/* ---- all together ---- */

void explain_facts_conclude(struct explain_facts *f)
{
    f->is_allowed = false;
    f->reason = REASON_POLICY_DENIED;
    (void)snprintf(f->why, sizeof f->why, "no rule names this host");
    if (f->target.fault != HOST_FAULT_NONE) {
        f->reason = REASON_BAD_REQUEST;
        (void)snprintf(f->why, sizeof f->why, "this is no host name: %s", host_fault_text(f->target.fault));
    }
    for (size_t i = f->tunnel_count; i > 0; i--) { /* the first one has the last word */
        const struct explain_tunnel *t = &f->tunnels[i - 1];
        f->is_allowed = f->is_allowed || t->is_allowed;
        if (!t->is_allowed) {
            f->reason = t->reason;
            (void)snprintf(f->why, sizeof f->why, "%s", t->why);
        }
    }
    if (f->is_allowed) {
        f->reason = REASON_NONE;
        f->why[0] = '\0';
    }
}

int explain_facts_gather(const struct explain_config *cfg, const struct policy *p,
                         const struct policy_diags *diags, const struct explain_target *target,
                         struct explain_facts *out)
{
    struct port_set ports;
    *out = (struct explain_facts){.cfg = cfg, .policy = p, .target = *target};
    decide_dns(out);
    if (target->host.kind == HOST_NONE) {
        (void)explain_clean(target->host_text, out->host, sizeof out->host);
    } else {
        (void)host_text(&target->host, out->host);
        find_ports(out, &ports);
        out->tunnels = calloc(ports.count + 1, sizeof *out->tunnels);
        if (out->tunnels == NULL) {
            return -ENOMEM;
        }
        out->port_total = ports.total;
        for (; out->tunnel_count < ports.count; out->tunnel_count++) {
            judge_port(out, ports.ports[out->tunnel_count], &out->tunnels[out->tunnel_count]);
        }
    }
    explain_facts_conclude(out);
    if (!out->is_allowed) {
        if (out->tunnel_count == 0 && would_help(out, EXPLAIN_GUESSED_PORT)) {
            (void)judge_suggest(&target->host, EXPLAIN_GUESSED_PORT, out->suggestion, sizeof out->suggestion);
        }
        explain_hints_find(out);
    }
    int rc = explain_warnings_find(out, diags);
    if (rc != 0) {
        explain_facts_fini(out);
    }
    return rc;
}

void explain_facts_fini(struct explain_facts *f)
{
    free(f->tunnels);
    free(f->warnings);
    f->tunnels = NULL;
    f->warnings = NULL;
}

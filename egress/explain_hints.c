/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a denied target nearly was, and which of the loader's warnings speak of it. Nothing here decides: a
 * hint that says "is allowed" has asked the code that does.
 */
#include "egress/explain_words.h"
#include "tunneld/admit.h"

#include "common/run/policy_pools.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TYPO_MAX 2U /* letters between what was typed and what was meant */

__attribute__((format(printf, 2, 3))) static void hint(struct explain_facts *f, const char *fmt, ...)
{
    if (f->hint_count == EXPLAIN_HINTS_MAX) {
        return;
    }
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(f->hints[f->hint_count], sizeof f->hints[0], fmt, args);
    va_end(args);
    f->hint_count++;
}

static bool is_allowed(const struct explain_facts *f, uint16_t port)
{
    const struct admit a = {
        .judge = &f->cfg->judge, .guard = &f->cfg->tunneld_guard.view, .policy = f->policy};
    struct tunnel_verdict v;
    return admit_name(&a, &f->target.host, port, &v);
}

/* The host is right, the port is not. */
static void hint_ports(struct explain_facts *f, const struct explain_tunnel *t)
{
    for (size_t i = 0; i < t->candidate_count; i++) {
        const struct policy_endpoint *ep = t->candidates[i].endpoint;
        char rule[EXPLAIN_WORDS_CAP];
        char ports[EXPLAIN_WORDS_CAP];
        if (t->candidates[i].fate == EXPLAIN_FATE_OTHER_PORT && is_allowed(f, ep->ports[0])) {
            hint(f, "%s admits it on port %s", explain_rule(f, ep, rule, sizeof rule),
                 explain_ports(ep, ports, sizeof ports));
            return;
        }
    }
}

struct best {
    const struct policy_endpoint *endpoint;
    enum endpoint_host_kind kind; /* only these */
};

static bool keep_best(const struct policy_endpoint *ep, void *ctx)
{
    struct best *b = ctx;
    if (ep->host_kind == b->kind && (b->endpoint == NULL || policy_endpoint_compare(ep, b->endpoint) < 0)) {
        b->endpoint = ep;
    }
    return true;
}

static const struct policy_endpoint *find(const struct explain_facts *f, const struct host_name *n,
                                          enum endpoint_host_kind kind)
{
    struct best b = {.kind = kind};
    policy_visit_name(f->policy, n, keep_best, &b);
    return b.endpoint;
}

/* A wildcard stands for labels that must be there: "*.example.com" does not admit example.com. */
static void hint_child(struct explain_facts *f)
{
    char text[HOST_NAME_MAX_LEN + 8];
    char place[EXPLAIN_WORDS_CAP];
    struct host_name child;
    (void)snprintf(text, sizeof text, "x.%s", f->target.host.name.text);
    if (host_name_parse(span_str(text), &child) != HOST_FAULT_NONE) {
        return;
    }
    const struct policy_endpoint *ep = find(f, &child, ENDPOINT_WILDCARD);
    if (ep != NULL) {
        hint(f, "\"%s\" (%s) admits names below %s, not %s itself", ep->pattern.text.text,
             explain_place(f, &ep->pos, place, sizeof place), f->host, f->host);
    }
}

/* The nearest name above that a rule admits: an exact one, or one under a wildcard for a single label. */
static void hint_parent(struct explain_facts *f)
{
    struct span rest = host_name_span(&f->target.host.name);
    char place[EXPLAIN_WORDS_CAP];
    for (size_t dot = span_find(rest, '.'); dot < rest.len; dot = span_find(rest, '.')) {
        struct host_name above;
        rest = span_sub(rest, dot + 1, rest.len);
        if (host_name_parse(rest, &above) != HOST_FAULT_NONE) {
            return;
        }
        const struct policy_endpoint *ep = find(f, &above, ENDPOINT_EXACT);
        if (ep != NULL) {
            hint(f, "\"%s\" (%s) admits that name alone, nothing below it", ep->pattern.text.text,
                 explain_place(f, &ep->pos, place, sizeof place));
            return;
        }
        ep = find(f, &above, ENDPOINT_WILDCARD);
        if (ep != NULL) {
            hint(f, "\"%s\" (%s) admits %s: a * stands for one label, ** for one or more",
                 ep->pattern.text.text, explain_place(f, &ep->pos, place, sizeof place), above.text);
            return;
        }
    }
}

/* A slip of the finger: an exact host almost like this one. */
static void hint_typo(struct explain_facts *f)
{
    const struct policy_rules *rules = policy_rules_of(f->policy);
    struct span typed = host_name_span(&f->target.host.name);
    const struct policy_endpoint *nearest = NULL;
    size_t distance = TYPO_MAX + 1;
    char place[EXPLAIN_WORDS_CAP];
    for (size_t i = 0; i < rules->rule_count; i++) {
        for (size_t k = 0; k < rules->rules[i].endpoint_count; k++) {
            const struct policy_endpoint *ep = &rules->rules[i].endpoints[k];
            struct span other = host_name_span(&ep->pattern.text);
            if (ep->host_kind != ENDPOINT_EXACT || other.len > typed.len + TYPO_MAX ||
                typed.len > other.len + TYPO_MAX) {
                continue;
            }
            size_t d = span_distance(typed, other);
            if (d > 0 && d < distance) {
                distance = d;
                nearest = ep;
            }
        }
    }
    if (nearest != NULL) {
        hint(f, "did you mean %s (%s)?", nearest->pattern.text.text,
             explain_place(f, &nearest->pos, place, sizeof place));
    }
}

static void hint_static(struct explain_facts *f)
{
    const struct policy_host *h = policy_static_host(f->policy, &f->target.host.name);
    char place[EXPLAIN_WORDS_CAP];
    if (h != NULL && f->name.kind != NAME_STATIC) {
        hint(f,
             "egress.hosts has addresses for it (%s), but it shapes and never grants: a rule must name the "
             "host",
             explain_place(f, &h->pos, place, sizeof place));
    }
}

static void hint_reason(struct explain_facts *f, const struct explain_tunnel *t)
{
    if (t->reason == REASON_BINARY_DENIED) {
        hint(f,
             "binaries: [{ path: \"/**\" }] in the rule, or --binary-identity=ignore, admits every program");
    } else if (t->reason == REASON_L7_REQUIRED) {
        hint(f, "proxy: direct on the endpoint that decides carries it raw%s%s",
             t->l7_by != NULL ? ", without its request rules" : ", past any proxy",
             t->name.endpoint->proxy == PROXY_UNSET ? "; --l7=tunnel does so for every endpoint" : "");
        if (!f->cfg->judge.has_chain) {
            hint(f, t->l7_by != NULL ? "--chain-proxy carries it through a proxy that keeps the rules"
                                     : "--chain-proxy says through which proxy it is carried");
        }
    }
}

/* Without a suggestion: no rule would help. */
static void hint_literal(struct explain_facts *f)
{
    const uint16_t port = f->target.port == 0 ? EXPLAIN_GUESSED_PORT : f->target.port;
    const char *why = judge_never_helps(f->policy, &f->cfg->tunneld_guard.view, &f->target.host.ip, port);
    if (why != NULL && f->reason != REASON_SSRF_DENIED) {
        hint(f, "a rule that names it would not help: %s", why);
    }
}

void explain_hints_find(struct explain_facts *f)
{
    for (size_t i = 0; i < f->tunnel_count && i < 2; i++) {
        hint_reason(f, &f->tunnels[i]);
        if (f->tunnels[i].reason == REASON_POLICY_DENIED) {
            hint_ports(f, &f->tunnels[i]);
        }
    }
    if (f->target.host.kind == HOST_IP) {
        hint_literal(f);
    }
    if (f->target.host.kind != HOST_DNS) {
        return;
    }
    hint_static(f);
    if (f->name.kind == NAME_DENIED || f->name.kind == NAME_PARENT) {
        hint_child(f);
        hint_parent(f);
        hint_typo(f);
    }
}

/* ---- warnings ---- */

static bool is_behind(const struct policy_diag *d, const struct policy_pos *pos)
{
    return d->line > pos->line || (d->line == pos->line && d->col >= pos->col);
}

static bool is_same_pos(const struct policy_pos *a, const struct policy_pos *b)
{
    return a->file == b->file && a->line == b->line && a->col == b->col;
}

/* What the diagnostic stands in: the last rule or endpoint that begins at or before it. One about a whole
 * file, line 0, stands in none. */
static void find_owner(const struct policy_rules *rules, const struct policy_diag *d,
                       const struct policy_rule **rule, struct policy_pos *pos)
{
    *rule = NULL;
    *pos = (struct policy_pos){0};
    for (size_t i = 0; i < rules->rule_count; i++) {
        const struct policy_rule *r = &rules->rules[i];
        if (r->pos.file != d->file_index || !is_behind(d, &r->pos)) {
            continue;
        }
        if (*rule == NULL || is_behind(&(struct policy_diag){.line = r->pos.line, .col = r->pos.col}, pos)) {
            *rule = r;
            *pos = r->pos;
        }
    }
    for (size_t k = 0; *rule != NULL && k < (*rule)->endpoint_count; k++) {
        const struct policy_pos *p = &(*rule)->endpoints[k].pos;
        if (p->file == (*rule)->pos.file && is_behind(d, p) &&
            is_behind(&(struct policy_diag){.line = p->line, .col = p->col}, pos)) {
            *pos = *p;
        }
    }
}

static bool is_about(const struct policy_rule *rule, const struct policy_pos *pos,
                     const struct policy_endpoint *ep)
{
    return ep->rule == rule && (is_same_pos(pos, &rule->pos) || is_same_pos(pos, &ep->pos));
}

/* What the loader says of an endpoint that no raw tunnel may carry: --chain-proxy settles it, --l7=tunnel
 * makes it untrue and is warned of. */
static bool is_overridden(const struct explain_facts *f, const struct policy_diag *d)
{
    switch (d->topic) {
    case DIAG_TOPIC_OTHER:
        break;
    case DIAG_TOPIC_CHAINED:
        return f->cfg->judge.has_chain;
    case DIAG_TOPIC_L7_REFUSED:
        return f->cfg->judge.has_chain || f->cfg->judge.l7 == L7_TUNNEL;
    }
    return false;
}

/* About the endpoint that decides, and about those that have a say in it. */
static bool matters(const struct explain_facts *f, const struct policy_diag *d)
{
    const struct policy_rule *rule;
    struct policy_pos pos;
    if (d->severity != DIAG_WARNING || is_overridden(f, d)) {
        return false;
    }
    find_owner(policy_rules_of(f->policy), d, &rule, &pos);
    for (size_t i = 0; rule != NULL && i < f->tunnel_count; i++) {
        for (size_t k = 0; k < f->tunnels[i].candidate_count; k++) {
            if (is_about(rule, &pos, f->tunnels[i].candidates[k].endpoint)) {
                return true;
            }
        }
    }
    return false;
}

static struct explain_warning *next_warning(struct explain_facts *f)
{
    return f->warning_count < EXPLAIN_WARNINGS_MAX ? &f->warnings[f->warning_count++] : NULL;
}

static void warn_pools(struct explain_facts *f)
{
    const struct policy_rules *rules = policy_rules_of(f->policy);
    struct err dnsd = {""};
    struct err tunneld = {""};
    bool is_dnsd = policy_pools_check(&f->cfg->dnsd.shared.pool, rules, &dnsd) != 0;
    bool is_tunneld = policy_pools_check(&f->cfg->tunneld.shared.pool, rules, &tunneld) != 0;
    struct explain_warning *w = is_dnsd || is_tunneld ? next_warning(f) : NULL;
    if (w != NULL) {
        const char *who = is_dnsd && is_tunneld ? "the daemons do"
                          : is_dnsd             ? "openshell-dnsd does"
                                                : "openshell-tunneld does";
        (void)snprintf(w->text, sizeof w->text, "%s not start with this policy: %.340s", who,
                       is_dnsd ? dnsd.text : tunneld.text);
    }
}

/* What no file says alone: it comes from the options, or stops a daemon. */
static void warn_settings(struct explain_facts *f)
{
    const struct policy_rule *r = admit_unenforceable(f->policy, &f->cfg->judge);
    struct explain_warning *w = r == NULL ? NULL : next_warning(f);
    char place[EXPLAIN_WORDS_CAP];
    char key[EXPLAIN_WORDS_CAP / 4];
    warn_pools(f);
    if (w != NULL) {
        (void)snprintf(
            w->text, sizeof w->text,
            "openshell-tunneld does not start with this policy: rule \"%s\" (%s) names binaries, which "
            "it cannot enforce; --binary-identity=ignore admits every program",
            explain_clean(span_str(r->key), key, sizeof key), explain_place(f, &r->pos, place, sizeof place));
    }
    for (size_t i = 0; i < f->tunnel_count; i++) {
        const struct explain_tunnel *t = &f->tunnels[i];
        if (t->is_allowed && t->l7_by != NULL && t->name.carriage == CARRY_RAW &&
            t->name.endpoint->proxy != PROXY_DIRECT) {
            w = next_warning(f);
            if (w != NULL) {
                (void)snprintf(
                    w->text, sizeof w->text, "--l7=tunnel: port %u is carried raw although %s (%s)", t->port,
                    explain_l7_why(t->l7_by), explain_place(f, &t->l7_by->pos, place, sizeof place));
            }
        }
    }
}

int explain_warnings_find(struct explain_facts *f, const struct policy_diags *diags)
{
    f->warnings = calloc(EXPLAIN_WARNINGS_MAX, sizeof *f->warnings);
    if (f->warnings == NULL) {
        return -ENOMEM;
    }
    warn_settings(f);
    for (size_t i = 0; i < diags->count; i++) {
        struct explain_warning *w = matters(f, &diags->items[i]) ? next_warning(f) : NULL;
        if (w != NULL) {
            w->diag = &diags->items[i];
        }
    }
    return 0;
}

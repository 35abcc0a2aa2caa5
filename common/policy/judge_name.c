/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/judge_name.h"

#include "common/base/buf.h"

static bool is_more_specific(const struct policy_endpoint *a, const struct policy_endpoint *b)
{
    return b == NULL || policy_endpoint_compare(a, b) < 0;
}

static bool keep_best(const struct policy_endpoint *ep, void *ctx)
{
    const struct policy_endpoint **best = ctx;
    if (is_more_specific(ep, *best)) {
        *best = ep;
    }
    return true;
}

static bool keep_best_hostless(const struct policy_endpoint *ep, void *ctx)
{
    return ep->host_kind != ENDPOINT_HOSTLESS || keep_best(ep, ctx);
}

void judge_name(const struct policy *p, const struct host_name *name, struct name_verdict *out)
{
    *out = (struct name_verdict){.kind = NAME_DENIED};
    policy_visit_name(p, name, keep_best, &out->endpoint);
    const struct policy_host *host = policy_static_host(p, name);
    for (size_t i = 0; host != NULL && out->endpoint == NULL && i < host->addr_count; i++) {
        policy_visit_ip(p, &host->addrs[i], keep_best_hostless, &out->endpoint);
    }
    if (out->endpoint == NULL) {
        out->kind = policy_is_parent(p, name) ? NAME_PARENT : NAME_DENIED;
        return;
    }
    out->kind = host != NULL ? NAME_STATIC : NAME_ADMITTED;
    out->host = host;
    out->is_wildcard = out->endpoint->host_kind == ENDPOINT_WILDCARD;
}

struct candidates {
    uint16_t port;
    bool ignore_binaries;
    bool hostless_only;
    bool requires_l7;      /* any of them */
    bool has_other_binary; /* host and port matched, the process did not */
    const struct policy_endpoint *best;
    const struct judge_trace *trace; /* NULL: nobody looks on */
};

static void tell(const struct candidates *c, const struct policy_endpoint *ep, enum candidate_fate fate)
{
    if (c->trace != NULL) {
        c->trace->fn(c->trace->ctx, ep, fate);
    }
}

static bool consider(const struct policy_endpoint *ep, void *ctx)
{
    struct candidates *c = ctx;
    if (c->hostless_only && ep->host_kind != ENDPOINT_HOSTLESS) {
        return true;
    }
    if (!policy_has_port(ep->ports, ep->port_count, c->port)) {
        tell(c, ep, CANDIDATE_OTHER_PORT);
        return true;
    }
    if (!c->ignore_binaries && !ep->rule->admits_any_binary) {
        tell(c, ep, CANDIDATE_OTHER_BINARY);
        c->has_other_binary = true;
        return true;
    }
    tell(c, ep, CANDIDATE_ADMITS);
    c->requires_l7 = c->requires_l7 || ep->requires_l7;
    if (is_more_specific(ep, c->best)) {
        c->best = ep;
    }
    return true;
}

static void find_candidates(const struct policy *p, const struct host *host, struct candidates *c)
{
    switch (host->kind) {
    case HOST_NONE:
        return;
    case HOST_IP:
        policy_visit_ip(p, &host->ip, consider, c);
        return;
    case HOST_DNS:
        break;
    }
    policy_visit_name(p, &host->name, consider, c);
    /* A hostless endpoint admits no name, but for those that egress.hosts answers with its addresses. */
    const struct policy_host *fixed = policy_static_host(p, &host->name);
    c->hostless_only = true;
    for (size_t i = 0; fixed != NULL && i < fixed->addr_count; i++) {
        policy_visit_ip(p, &fixed->addrs[i], consider, c);
    }
}

/* A raw tunnel must not widen a rule: 4.4 of the product's contract. */
static bool is_raw_refused(const struct judge_config *cfg, const struct candidates *c)
{
    switch (c->best->proxy) {
    case PROXY_DIRECT:
        return false;
    case PROXY_CHAIN:
        return true; /* there is nothing to chain to */
    case PROXY_UNSET:
        break;
    }
    return c->requires_l7 && cfg->l7 != L7_TUNNEL;
}

void judge_tuning_levels(const struct policy *p, const struct judge_config *cfg,
                         const struct policy_endpoint *endpoint, struct judge_tuning out[JUDGE_LEVEL_COUNT])
{
    const struct policy_rules *rules = policy_rules_of(p);
    out[JUDGE_LEVEL_ENDPOINT] = (struct judge_tuning){&endpoint->timers, &endpoint->keepalive};
    out[JUDGE_LEVEL_OPTION] = (struct judge_tuning){&cfg->option_timers, &cfg->option_keepalive};
    out[JUDGE_LEVEL_DEFAULTS] = (struct judge_tuning){&rules->default_timers, &rules->default_keepalive};
    out[JUDGE_LEVEL_BUILTIN] = (struct judge_tuning){&tunnel_builtin_timers, &tunnel_builtin_keepalive};
}

static void choose_timers(const struct policy *p, const struct judge_config *cfg, struct tunnel_verdict *v)
{
    struct judge_tuning levels[JUDGE_LEVEL_COUNT];
    judge_tuning_levels(p, cfg, v->endpoint, levels);
    v->timers = *levels[0].timers;
    v->keepalive = *levels[0].keepalive;
    for (size_t i = 1; i < JUDGE_LEVEL_COUNT; i++) {
        tunnel_timers_inherit(&v->timers, levels[i].timers);
        tunnel_keepalive_inherit(&v->keepalive, levels[i].keepalive);
    }
}

void judge_candidates(const struct policy *p, const struct judge_config *cfg, const struct host *host,
                      uint16_t port, const struct judge_trace *trace)
{
    struct candidates c = {.port = port, .ignore_binaries = cfg->ignore_binaries, .trace = trace};
    find_candidates(p, host, &c);
}

void judge_tunnel(const struct policy *p, const struct judge_config *cfg, const struct host *host,
                  uint16_t port, struct tunnel_verdict *out)
{
    struct candidates c = {.port = port, .ignore_binaries = cfg->ignore_binaries};
    *out = (struct tunnel_verdict){.verdict = VERDICT_DENY, .reason = REASON_POLICY_DENIED};
    find_candidates(p, host, &c);
    if (c.best == NULL) {
        out->reason = c.has_other_binary ? REASON_BINARY_DENIED : REASON_POLICY_DENIED;
        return;
    }
    out->endpoint = c.best;
    choose_timers(p, cfg, out);
    if (is_raw_refused(cfg, &c)) {
        out->reason = REASON_L7_REQUIRED;
        return;
    }
    out->verdict = VERDICT_ALLOW;
    out->reason = REASON_NONE;
    out->carriage = CARRY_RAW;
}

size_t judge_suggest(const struct host *host, uint16_t port, char *out, size_t cap)
{
    char address[IP_TEXT_CAP];
    if (cap == 0 || host->kind == HOST_NONE || port == 0) {
        return 0;
    }
    struct wbuf w = wbuf_make(out, cap - 1);
    const char *text = host->kind == HOST_IP ? ip_text(&host->ip, address) : host->name.text;
    wbuf_str(&w, "network_policies:\n  ");
    for (size_t i = 0; text[i] != '\0'; i++) {
        bool is_word = (text[i] >= 'a' && text[i] <= 'z') || (text[i] >= '0' && text[i] <= '9');
        wbuf_u8(&w, is_word ? (uint8_t)text[i] : '_');
    }
    /* quoted: "1_2" or "null" would be something else than a text, and an IPv6 address a map */
    wbuf_printf(&w, "_%u:\n    endpoints:\n      - { host: \"%s\", port: %u }\n", (unsigned)port, text,
                (unsigned)port);
    wbuf_str(&w, "    binaries:\n      - { path: \"/**\" }\n");
    if (w.overflow) {
        out[0] = '\0';
        return 0;
    }
    out[w.len] = '\0';
    return w.len;
}

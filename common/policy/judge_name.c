/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/judge_name.h"

#include "common/base/buf.h"

void judge_name(const struct policy *p, const struct host_name *name, struct name_verdict *out)
{
    struct policy_name found;
    policy_find_name(p, name, &found);
    *out = (struct name_verdict){.kind = NAME_DENIED, .endpoint = found.endpoint};
    for (size_t i = 0; found.host != NULL && found.endpoint == NULL && i < found.host->addr_count; i++) {
        const struct policy_endpoint *ep = policy_find_hostless(p, &found.host->addrs[i]);
        if (ep != NULL && (out->endpoint == NULL || policy_endpoint_compare(ep, out->endpoint) < 0)) {
            out->endpoint = ep;
        }
    }
    if (out->endpoint == NULL) {
        out->kind = found.is_parent ? NAME_PARENT : NAME_DENIED;
        return;
    }
    out->kind = found.host != NULL ? NAME_STATIC : NAME_ADMITTED;
    out->host = found.host;
    out->is_wildcard = found.is_wildcard;
    out->dns_types = found.host != NULL ? 0 : found.dns_types;
}

static void find_candidates(const struct policy *p, const struct host *host, struct policy_candidates *c)
{
    const struct policy_host *fixed = NULL;
    switch (host->kind) {
    case HOST_NONE:
        return;
    case HOST_IP:
        policy_address_candidates(p, &host->ip, c);
        policy_hostless_candidates(p, &host->ip, c);
        return;
    case HOST_DNS:
        break;
    }
    policy_name_candidates(p, &host->name, c, &fixed);
    /* A hostless endpoint admits no name, but for those that egress.hosts answers with its addresses. */
    for (size_t i = 0; fixed != NULL && i < fixed->addr_count; i++) {
        policy_hostless_candidates(p, &fixed->addrs[i], c);
    }
}

bool judge_target(const struct policy *p, const struct host_name *name, uint16_t port)
{
    const struct host host = {.kind = HOST_DNS, .name = *name};
    struct policy_candidates c = {.port = port, .ignore_binaries = true};
    find_candidates(p, &host, &c);
    return c.best != NULL;
}

struct direct {
    uint16_t *ports;
    size_t cap, count;
    bool is_direct; /* so far */
};

static bool add_direct(const struct policy_endpoint *ep, void *ctx)
{
    struct direct *d = ctx;
    d->is_direct = ep->proxy == PROXY_DIRECT;
    for (size_t i = 0; d->is_direct && i < ep->port_count; i++) {
        size_t k = 0;
        while (k < d->count && d->ports[k] != ep->ports[i]) {
            k++;
        }
        d->is_direct = k < d->cap;
        if (k == d->count && d->is_direct) {
            d->ports[d->count++] = ep->ports[i];
        }
    }
    return d->is_direct;
}

bool judge_is_direct(const struct policy *p, const struct host_name *name, uint16_t *ports, size_t cap,
                     size_t *count)
{
    struct direct d = {.ports = ports, .cap = cap};
    policy_visit_name(p, name, add_direct, &d);
    *count = d.is_direct ? d.count : 0;
    return d.is_direct;
}

/*
 * A raw tunnel must not widen a rule: 4.4 of the product's contract. So the chain proxy, which keeps the
 * rule, comes before --l7=tunnel, which does not; and what --chain-except takes from the chain proxy is
 * carried raw only where that widens nothing.
 */
static enum carriage choose_carriage(const struct judge_config *cfg, const struct policy_candidates *c,
                                     const struct host *host)
{
    enum policy_proxy proxy = c->is_tuned ? c->best->proxy : PROXY_UNSET;
    switch (proxy) {
    case PROXY_DIRECT:
        return CARRY_RAW;
    case PROXY_CHAIN:
        if (!cfg->has_chain) {
            return CARRY_NONE;
        }
        break;
    case PROXY_UNSET:
        if (!c->requires_l7) {
            return CARRY_RAW;
        }
        break;
    }
    if (cfg->has_chain && !chain_excepts_cover(&cfg->chain_excepts, host, c->port)) {
        return CARRY_CHAIN;
    }
    return c->requires_l7 && cfg->l7 != L7_TUNNEL ? CARRY_NONE : CARRY_RAW;
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

/* An endpoint that says nothing is not even read: in a large policy that would be most of the time spent. */
static void choose_timers(const struct policy *p, const struct judge_config *cfg, bool is_tuned,
                          struct tunnel_verdict *v)
{
    struct judge_tuning levels[JUDGE_LEVEL_COUNT];
    size_t top = is_tuned ? JUDGE_LEVEL_ENDPOINT : JUDGE_LEVEL_OPTION;
    judge_tuning_levels(p, cfg, v->endpoint, levels);
    v->timers = *levels[top].timers;
    v->keepalive = *levels[top].keepalive;
    for (size_t i = top + 1; i < JUDGE_LEVEL_COUNT; i++) {
        tunnel_timers_inherit(&v->timers, levels[i].timers);
        tunnel_keepalive_inherit(&v->keepalive, levels[i].keepalive);
    }
}

struct watch {
    const struct judge_config *cfg;
    const struct judge_trace *trace;
    uint16_t port;
    bool hostless_only;
};

static bool watch_endpoint(const struct policy_endpoint *ep, void *ctx)
{
    const struct watch *w = ctx;
    enum candidate_fate fate = CANDIDATE_ADMITS;
    if (w->hostless_only && ep->host_kind != ENDPOINT_HOSTLESS) {
        return true;
    }
    if (!policy_has_port(ep->ports, ep->port_count, w->port)) {
        fate = CANDIDATE_OTHER_PORT;
    } else if (!w->cfg->ignore_binaries && !ep->rule->admits_any_binary) {
        fate = CANDIDATE_OTHER_BINARY;
    }
    w->trace->fn(w->trace->ctx, ep, fate);
    return true;
}

void judge_candidates(const struct policy *p, const struct judge_config *cfg, const struct host *host,
                      uint16_t port, const struct judge_trace *trace)
{
    struct watch w = {.cfg = cfg, .trace = trace, .port = port};
    switch (host->kind) {
    case HOST_NONE:
        return;
    case HOST_IP:
        policy_visit_ip(p, &host->ip, watch_endpoint, &w);
        return;
    case HOST_DNS:
        break;
    }
    policy_visit_name(p, &host->name, watch_endpoint, &w);
    const struct policy_host *fixed = policy_static_host(p, &host->name);
    w.hostless_only = true;
    for (size_t i = 0; fixed != NULL && i < fixed->addr_count; i++) {
        policy_visit_ip(p, &fixed->addrs[i], watch_endpoint, &w);
    }
}

void judge_tunnel(const struct policy *p, const struct judge_config *cfg, const struct host *host,
                  uint16_t port, struct tunnel_verdict *out)
{
    struct policy_candidates c = {.port = port, .ignore_binaries = cfg->ignore_binaries};
    *out = (struct tunnel_verdict){.verdict = VERDICT_DENY, .reason = REASON_POLICY_DENIED};
    find_candidates(p, host, &c);
    if (c.best == NULL) {
        out->reason = c.has_other_binary ? REASON_BINARY_DENIED : REASON_POLICY_DENIED;
        return;
    }
    out->endpoint = c.best;
    choose_timers(p, cfg, c.is_tuned, out);
    out->carriage = choose_carriage(cfg, &c, host);
    if (out->carriage == CARRY_NONE) {
        out->reason = REASON_L7_REQUIRED;
        return;
    }
    out->verdict = VERDICT_ALLOW;
    out->reason = REASON_NONE;
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

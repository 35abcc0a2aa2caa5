/* SPDX-License-Identifier: Apache-2.0 */
/* The names of the members are documented in openshell-egress(1) and do not change. */
#include "egress/explain_print.h"
#include "egress/explain_words.h"

#include "common/base/json.h"
#include "common/dns/dns_ldns.h"

#include <errno.h>
#include <string.h>

#define DOCUMENT_MAX ((size_t)16 << 20)

static const char *verdict_word(bool is_allowed)
{
    return is_allowed ? "allowed" : "denied";
}

static void put_reason(struct json *j, enum reason r)
{
    json_str(j, "reason", r == REASON_NONE ? NULL : reason_text(r));
}

/* A text that may be missing. */
static void put_text(struct json *j, const char *key, const char *text)
{
    json_str(j, key, text[0] == '\0' ? NULL : text);
}

static void put_place(struct json *j, const struct explain_facts *f, const struct policy_pos *pos)
{
    json_str(j, "file", policy_rules_of(f->policy)->files[pos->file]);
    json_u64(j, "line", pos->line);
}

static void put_host(struct json *j, const struct explain_facts *f)
{
    const struct explain_target *t = &f->target;
    json_object(j, "host");
    json_str(j, "typed", t->typed);
    json_str(j, "canonical", t->host.kind == HOST_NONE ? NULL : f->host);
    json_str(j, "kind", explain_name_word(f));
    json_str(j, "fault", t->fault == HOST_FAULT_NONE ? NULL : host_fault_text(t->fault));
    json_array(j, "changes");
    if (t->is_lowered) {
        json_str(j, NULL, "lower_case");
    }
    if (t->lost_dot) {
        json_str(j, NULL, "final_dot");
    }
    if (t->is_rewritten) {
        json_str(j, NULL, "address_form");
    }
    json_end(j);
    json_end(j);
}

static void put_ip(struct json *j, const char *key, const struct ip *ip)
{
    char text[IP_TEXT_CAP];
    json_str(j, key, ip_text(ip, text));
}

static void put_answer(struct json *j, const struct explain_facts *f, const struct explain_dns *d)
{
    char text[EXPLAIN_WORDS_CAP];
    const struct answer *a = &d->answer;
    json_object(j, NULL);
    json_str(j, "type", explain_type_text(d));
    bool is_known = d->is_looked_up || d->route == ANSWER_ROUTE_DONE;
    json_str(j, "from",
             d->route == ANSWER_ROUTE_DONE      ? "local"
             : d->route == ANSWER_ROUTE_REVERSE ? "map"
                                                : "upstream");
    json_str(j, "text", explain_dns_text(f, d, text, sizeof text));
    if (is_known) {
        json_str(j, "rcode", dns_rcode_text((uint16_t)a->rcode));
        json_array(j, "addresses");
        for (size_t i = 0; i < a->addr_count; i++) {
            put_ip(j, NULL, &a->addrs[i]);
        }
        json_end(j);
        json_bool(j, "synthetic", a->wants_synthetic);
        json_u64(j, "ttl_s", a->has_soa ? a->soa_ttl_s : a->ttl_s);
        if (a->ede != DNS_EDE_NONE) {
            json_i64(j, "ede", a->ede);
            json_str(j, "ede_text", a->ede_text);
        }
    }
    json_end(j);
}

static void put_zone(struct json *j, const struct zone *z)
{
    if (z == NULL) {
        json_null(j, "zone");
        return;
    }
    json_object(j, "zone");
    json_str(j, "suffix", z->suffix.text);
    upstreams_write_array(z->upstreams, z->tls_names, z->upstream_count, j);
    json_bool(j, "open", z->is_open);
    json_end(j);
}

static void put_dns(struct json *j, const struct explain_facts *f)
{
    json_object(j, "dnsd");
    json_str(j, "mode", explain_mode_word(f));
    json_array(j, "answers");
    for (size_t i = 0; i < f->dns_count; i++) {
        put_answer(j, f, &f->dns[i]);
    }
    json_end(j);
    json_end(j);
}

static void put_limits(struct json *j, const char *key, const struct settings_shared *s)
{
    json_object(j, key);
    json_u64(j, "rate_limit", s->rate_limit);
    json_u64(j, "wildcard_budget", s->wildcard_budget);
    json_u64(j, "wildcard_length", s->wildcard_length);
    json_end(j);
}

static void put_brakes(struct json *j, const struct explain_facts *f)
{
    if (!explain_is_braked(f)) {
        json_null(j, "brakes");
        return;
    }
    json_object(j, "brakes");
    json_str(j, "pattern", f->name.endpoint->pattern.text.text);
    put_limits(j, "dnsd", &f->cfg->dnsd.shared);
    put_limits(j, "tunneld", &f->cfg->tunneld.shared);
    json_end(j);
}

static void put_endpoint(struct json *j, const struct explain_facts *f, const struct policy_endpoint *ep)
{
    char text[EXPLAIN_WORDS_CAP];
    json_str(j, "rule", ep->rule->key);
    put_place(j, f, &ep->pos);
    json_str(j, "host", ep->host_kind == ENDPOINT_HOSTLESS ? NULL : explain_host(ep, text, sizeof text));
    json_array(j, "ports");
    for (size_t i = 0; i < ep->port_count; i++) {
        json_u64(j, NULL, ep->ports[i]);
    }
    json_end(j);
    json_bool(j, "requires_l7", ep->requires_l7);
    json_str(j, "proxy", ep->proxy == PROXY_DIRECT ? "direct" : ep->proxy == PROXY_CHAIN ? "chain" : NULL);
}

static void put_candidates(struct json *j, const struct explain_facts *f, const struct explain_tunnel *t)
{
    json_array(j, "candidates");
    for (size_t i = 0; i < t->candidate_count; i++) {
        json_object(j, NULL);
        json_str(j, "fate", explain_fate_word(t->candidates[i].fate));
        put_endpoint(j, f, t->candidates[i].endpoint);
        json_end(j);
    }
    json_end(j);
    json_u64(j, "candidate_total", t->candidate_total);
}

static void put_source(struct json *j, const struct explain_facts *f, const struct explain_tunnel *t,
                       enum explain_value v)
{
    const struct explain_source *s = &t->sources[v];
    char text[EXPLAIN_WORDS_CAP];
    json_str(j, "text", explain_value_text(t, v, text, sizeof text));
    json_str(j, "from", explain_level_word(s));
    if (s->pos != NULL) {
        put_place(j, f, s->pos);
    }
}

static void put_keepalive(struct json *j, const struct explain_facts *f, const struct explain_tunnel *t)
{
    const struct tunnel_keepalive *k = &t->name.keepalive;
    json_object(j, explain_value_name(EXPLAIN_KEEPALIVE));
    json_bool(j, "on", k->mode == KEEPALIVE_ON);
    if (k->mode == KEEPALIVE_ON) {
        json_u64(j, "idle_s", k->idle_s);
        json_u64(j, "interval_s", k->interval_s);
        json_u64(j, "probes", k->probes);
    }
    put_source(j, f, t, EXPLAIN_KEEPALIVE);
    json_end(j);
}

static void put_timers(struct json *j, const struct explain_facts *f, const struct explain_tunnel *t)
{
    const struct tunnel_timers *v = &t->name.timers;
    const int64_t ms[] = {v->connect_ms, v->idle_ms, v->lifetime_ms, v->half_close_ms,
                          tunnel_user_timeout_ms(v, &t->name.keepalive)};
    json_object(j, "timers");
    for (int i = 0; i < EXPLAIN_KEEPALIVE; i++) {
        json_object(j, explain_value_name((enum explain_value)i));
        json_i64(j, "ms", ms[i]);
        put_source(j, f, t, (enum explain_value)i);
        json_end(j);
    }
    put_keepalive(j, f, t);
    json_end(j);
}

static void put_addr(struct json *j, const struct explain_addr *a, bool is_live)
{
    json_object(j, NULL);
    put_ip(j, "address", &a->ip);
    json_str(j, "class", ip_class_name(a->dest.cls));
    json_str(j, "verdict", a->dest.verdict == VERDICT_ALLOW ? "permitted" : "refused");
    put_text(j, "why", a->dest.why);
    if (is_live) {
        json_str(j, "dial", explain_dial_word(a->dial));
        if (a->dial == EXPLAIN_DIAL_FAILED) {
            json_str(j, "error", strerror(a->error));
        }
        if (a->dial != EXPLAIN_DIAL_NONE && a->dial != EXPLAIN_DIAL_SPARE) {
            json_i64(j, "ms", a->ms);
        }
    }
    json_end(j);
}

static void put_chain(struct json *j, const struct explain_facts *f, const struct explain_tunnel *t)
{
    char proxy[CHAIN_CONFIG_TEXT_CAP];
    if (!explain_is_chained(t)) {
        json_null(j, "chain");
        return;
    }
    json_object(j, "chain");
    json_str(j, "proxy", chain_config_text(&f->cfg->chain, proxy));
    json_str(j, "target", explain_is_unresolved(f, t) ? "name" : "address");
    json_end(j);
}

static void put_tunnel(struct json *j, const struct explain_facts *f, const struct explain_tunnel *t,
                       bool is_live)
{
    char text[EXPLAIN_WORDS_CAP];
    json_object(j, NULL);
    json_u64(j, "port", t->port);
    json_str(j, "verdict", verdict_word(t->is_allowed));
    put_reason(j, t->reason);
    put_text(j, "why", t->why);
    json_str(j, "action", !t->is_allowed ? "refuse" : explain_is_chained(t) ? "chain" : "raw");
    put_chain(j, f, t);
    if (t->name.endpoint != NULL) {
        json_object(j, "endpoint");
        put_endpoint(j, f, t->name.endpoint);
        json_end(j);
        json_object(j, "address_rule");
        json_str(j, "kind", explain_address_rule_word(t->address_rule));
        json_str(j, "text", explain_address_rule_text(f, t, text, sizeof text));
        json_end(j);
        put_timers(j, f, t);
    } else {
        json_null(j, "endpoint");
    }
    put_candidates(j, f, t);
    json_array(j, "addresses");
    for (size_t i = 0; i < t->addr_count; i++) {
        put_addr(j, &t->addrs[i], is_live);
    }
    json_end(j);
    if (is_live) {
        json_bool(j, "connected", t->is_connected);
    }
    put_text(j, "suggestion", t->suggestion);
    json_end(j);
}

static void put_lookup(struct json *j, const char *key, const struct resolver_answer *a)
{
    static const char *const states[] = {[RESOLVER_FAILED] = "failed",
                                         [RESOLVER_ADDRS] = "addresses",
                                         [RESOLVER_RECORDS] = "records",
                                         [RESOLVER_NODATA] = "nodata",
                                         [RESOLVER_NXDOMAIN] = "nxdomain"};
    char text[EXPLAIN_WORDS_CAP];
    json_object(j, key);
    json_str(j, "status", states[a->status]);
    json_str(j, "text", explain_lookup_text(a, text, sizeof text));
    json_array(j, "addresses");
    for (size_t i = 0; i < a->addr_count; i++) {
        put_ip(j, NULL, &a->addrs[i]);
    }
    json_end(j);
    json_end(j);
}

static void put_live(struct json *j, const struct explain_facts *f, bool is_live)
{
    if (!is_live) {
        json_null(j, "live");
        return;
    }
    json_object(j, "live");
    json_bool(j, "asked", f->live.is_asked);
    const struct upstream_list *asked = &f->live.upstreams;
    upstreams_write_array(asked->addrs, asked->tls_names, asked->count, j);
    if (f->live.is_asked) {
        json_i64(j, "resolve_ms", f->live.resolve_ms);
        put_lookup(j, "a", &f->live.v4);
        put_lookup(j, "aaaa", &f->live.v6);
    }
    json_end(j);
}

static void put_help(struct json *j, const struct explain_facts *f)
{
    json_array(j, "hints");
    for (size_t i = 0; i < f->hint_count; i++) {
        json_str(j, NULL, f->hints[i]);
    }
    json_end(j);
    put_text(j, "suggestion", f->suggestion);
    json_array(j, "warnings");
    for (size_t i = 0; i < f->warning_count; i++) {
        const struct policy_diag *d = f->warnings[i].diag;
        json_object(j, NULL);
        json_str(j, "message", d == NULL ? f->warnings[i].text : d->message);
        json_str(j, "file", d == NULL ? NULL : d->file);
        json_u64(j, "line", d == NULL ? 0 : d->line);
        json_str(j, "hint", d == NULL ? NULL : d->hint);
        json_end(j);
    }
    json_end(j);
}

int explain_print_json(FILE *out, const struct explain_facts *f, bool is_live)
{
    struct json j = {.limit = DOCUMENT_MAX};
    struct span text;
    json_object(&j, NULL);
    json_str(&j, "verdict", verdict_word(f->is_allowed));
    put_reason(&j, f->reason);
    put_text(&j, "why", f->why);
    put_host(&j, f);
    put_zone(&j, f->zone);
    put_dns(&j, f);
    put_brakes(&j, f);
    json_array(&j, "tunneld");
    for (size_t i = 0; i < f->tunnel_count; i++) {
        put_tunnel(&j, f, &f->tunnels[i], is_live);
    }
    json_end(&j);
    json_u64(&j, "port_total", f->port_total);
    put_live(&j, f, is_live);
    put_help(&j, f);
    json_end(&j);
    int rc = json_finish(&j, &text);
    if (rc == 0 && fwrite(text.data, 1, text.len, out) != text.len) {
        rc = -EIO;
    }
    json_fini(&j);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/explain_words.h"

#include "common/base/num.h"
#include "common/base/shown.h"
#include "common/dns/dns_ldns.h"

#include <stdio.h>
#include <string.h>

const char *explain_value_name(enum explain_value v)
{
    static const char *const names[] = {"connect", "idle", "lifetime", "half_close", "user", "keepalive"};
    return names[v];
}

const char *explain_option_name(enum explain_value v)
{
    static const char *const names[] = {"connect-timeout",    "idle-timeout", "lifetime",
                                        "half-close-timeout", "user-timeout", "keepalive"};
    return names[v];
}

static void duration(int64_t ms, const char *zero, char *out, size_t cap)
{
    char text[32];
    if (ms == 0) {
        (void)snprintf(out, cap, "0 (%s)", zero);
    } else {
        (void)snprintf(out, cap, "%s", num_duration_text(ms, text, sizeof text));
    }
}

static void keepalive_text(const struct tunnel_keepalive *k, char *out, size_t cap)
{
    if (k->mode == KEEPALIVE_ON) {
        (void)snprintf(out, cap, "first probe after %us, then every %us, %u in all", k->idle_s, k->interval_s,
                       k->probes);
    } else {
        (void)snprintf(out, cap, "off");
    }
}

const char *explain_value_text(const struct explain_tunnel *t, enum explain_value v, char *out, size_t cap)
{
    const struct tunnel_timers *timers = &t->name.timers;
    char text[32];
    switch (v) {
    case EXPLAIN_CONNECT:
        duration(timers->connect_ms, "the kernel's own limit", out, cap);
        break;
    case EXPLAIN_IDLE:
        duration(timers->idle_ms, "never closed for being quiet", out, cap);
        break;
    case EXPLAIN_LIFETIME:
        duration(timers->lifetime_ms, "never", out, cap);
        break;
    case EXPLAIN_HALF_CLOSE:
        duration(timers->half_close_ms, "never", out, cap);
        break;
    case EXPLAIN_USER:
        if (timers->user_ms == TIMER_AUTO) {
            int64_t ms = tunnel_user_timeout_ms(timers, &t->name.keepalive);
            (void)snprintf(out, cap, "auto: %s", num_duration_text(ms, text, sizeof text));
        } else {
            duration(timers->user_ms, "the kernel's own", out, cap);
        }
        break;
    case EXPLAIN_KEEPALIVE:
        keepalive_text(&t->name.keepalive, out, cap);
        break;
    }
    return out;
}

const char *explain_level_word(const struct explain_source *s)
{
    switch (s->level) {
    case JUDGE_LEVEL_ENDPOINT:
        return "endpoint";
    case JUDGE_LEVEL_OPTION:
        return s->is_environment ? "environment" : "option";
    case JUDGE_LEVEL_DEFAULTS:
        return "defaults";
    case JUDGE_LEVEL_BUILTIN:
        break;
    }
    return "builtin";
}

const char *explain_place(const struct explain_facts *f, const struct policy_pos *pos, char *out, size_t cap)
{
    (void)snprintf(out, cap, "%s:%u", policy_rules_of(f->policy)->files[pos->file], pos->line);
    return shown_clean(out);
}

const char *explain_clean(struct span text, char *out, size_t cap)
{
    struct wbuf w = wbuf_make(out, cap - 1);
    wbuf_put(&w, span_sub(text, 0, cap - 1));
    out[w.len] = '\0';
    return shown_clean(out);
}

const char *explain_rule(const struct explain_facts *f, const struct policy_endpoint *ep, char *out,
                         size_t cap)
{
    char key[EXPLAIN_WORDS_CAP / 2];
    char place[EXPLAIN_WORDS_CAP];
    (void)snprintf(out, cap, "rule \"%s\" (%s)", explain_clean(span_str(ep->rule->key), key, sizeof key),
                   explain_place(f, &ep->pos, place, sizeof place));
    return out;
}

const char *explain_source_text(const struct explain_facts *f, const struct explain_source *s,
                                enum explain_value v, char *out, size_t cap)
{
    char place[EXPLAIN_WORDS_CAP];
    char variable[SETTINGS_VARIABLE_CAP];
    switch (s->level) {
    case JUDGE_LEVEL_ENDPOINT:
        (void)snprintf(out, cap, "endpoint, %s", explain_place(f, s->pos, place, sizeof place));
        break;
    case JUDGE_LEVEL_OPTION:
        if (s->is_environment) {
            (void)snprintf(out, cap, "environment, %s",
                           settings_variable("OPENSHELL_TUNNELD", explain_option_name(v), variable));
        } else {
            (void)snprintf(out, cap, "option --%s", explain_option_name(v));
        }
        break;
    case JUDGE_LEVEL_DEFAULTS:
        (void)snprintf(out, cap, "egress.defaults, %s", explain_place(f, s->pos, place, sizeof place));
        break;
    case JUDGE_LEVEL_BUILTIN:
        (void)snprintf(out, cap, "built in");
        break;
    }
    return out;
}

const char *explain_host(const struct policy_endpoint *ep, char *out, size_t cap)
{
    char text[IP_TEXT_CAP];
    switch (ep->host_kind) {
    case ENDPOINT_HOSTLESS:
        (void)snprintf(out, cap, "allowed_ips");
        break;
    case ENDPOINT_IP:
        (void)snprintf(out, cap, "%s", ip_text(&ep->ip, text));
        break;
    case ENDPOINT_EXACT:
    case ENDPOINT_WILDCARD:
        (void)snprintf(out, cap, "%s", ep->pattern.text.text);
        break;
    }
    return out;
}

const char *explain_ports(const struct policy_endpoint *ep, char *out, size_t cap)
{
    struct wbuf w = wbuf_make(out, cap - 1);
    for (size_t i = 0; i < ep->port_count; i++) {
        if (i == 8) { /* a list of hundreds helps nobody */
            wbuf_printf(&w, " and %zu more", ep->port_count - i);
            break;
        }
        wbuf_printf(&w, "%s%u", i == 0 ? "" : ", ", ep->ports[i]);
    }
    out[w.len] = '\0';
    return out;
}

const char *explain_fate_word(enum explain_fate fate)
{
    static const char *const words[] = {"other_port", "other_binary", "less_specific", "later", "decides"};
    return words[fate];
}

const char *explain_fate_text(enum explain_fate fate)
{
    switch (fate) {
    case EXPLAIN_FATE_OTHER_PORT:
        return "another port";
    case EXPLAIN_FATE_OTHER_BINARY:
        return "its rule names binaries, which cannot be told here";
    case EXPLAIN_FATE_LESS_SPECIFIC:
        return "less specific";
    case EXPLAIN_FATE_LATER:
        return "just as specific, but written later";
    case EXPLAIN_FATE_DECIDES:
        break;
    }
    return "decides";
}

const char *explain_l7_why(const struct policy_endpoint *ep)
{
    if (ep->has_credentials) {
        return "it carries credentials that a proxy must fill in";
    }
    if (ep->is_middleware) {
        return "a middleware must see its requests";
    }
    return ep->is_path_bound ? "it is bound to a path" : "it admits only some requests";
}

static void l7_why(const struct explain_facts *f, const struct explain_tunnel *t, char *out, size_t cap)
{
    char rule[EXPLAIN_WORDS_CAP];
    if (t->name.endpoint->proxy == PROXY_CHAIN && !f->cfg->judge.has_chain) {
        (void)snprintf(out, cap, "%s says proxy: chain, and there is no --chain-proxy",
                       explain_rule(f, t->name.endpoint, rule, sizeof rule));
    } else if (t->l7_by != NULL && f->cfg->judge.has_chain) {
        (void)snprintf(
            out, cap,
            "%s needs a proxy that reads requests (%s), and --chain-except keeps it from the chain "
            "proxy",
            explain_rule(f, t->l7_by, rule, sizeof rule), explain_l7_why(t->l7_by));
    } else if (t->l7_by != NULL) {
        (void)snprintf(out, cap, "%s needs a proxy that reads requests: %s",
                       explain_rule(f, t->l7_by, rule, sizeof rule), explain_l7_why(t->l7_by));
    }
}

static void binary_why(const struct explain_facts *f, const struct explain_tunnel *t, char *out, size_t cap)
{
    char rule[EXPLAIN_WORDS_CAP];
    for (size_t i = 0; i < t->candidate_count; i++) {
        if (t->candidates[i].fate == EXPLAIN_FATE_OTHER_BINARY) {
            (void)snprintf(out, cap, "%s is for the programs it names, and no program can be told here",
                           explain_rule(f, t->candidates[i].endpoint, rule, sizeof rule));
            return;
        }
    }
}

void explain_why(const struct explain_facts *f, const struct explain_tunnel *t, char *out, size_t cap)
{
    out[0] = '\0';
    if (t->reason == REASON_L7_REQUIRED) {
        l7_why(f, t, out, cap);
    } else if (t->reason == REASON_BINARY_DENIED) {
        binary_why(f, t, out, cap);
    } else if (t->candidate_total > 0) {
        (void)snprintf(out, cap, "no rule admits this host on port %u", t->port);
    } else {
        (void)snprintf(out, cap, "no rule names this %s",
                       f->target.host.kind == HOST_IP ? "address" : "host");
    }
}

const char *explain_address_rule_word(enum address_rule r)
{
    static const char *const words[] = {"none", "public", "private", "listed"};
    return words[r];
}

static void listed_text(const struct policy_endpoint *ep, char *out, size_t cap)
{
    struct wbuf w = wbuf_make(out, cap - 1);
    wbuf_str(&w, "only those in the endpoint's allowed_ips: ");
    for (size_t i = 0; i < ep->allowed_ip_count; i++) {
        char text[IP_TEXT_CAP];
        if (i == 6) {
            wbuf_printf(&w, " and %zu more", ep->allowed_ip_count - i);
            break;
        }
        wbuf_printf(&w, "%s%s/%u", i == 0 ? "" : ", ", ip_text(&ep->allowed_ips[i].base, text),
                    ep->allowed_ips[i].bits);
    }
    out[w.len] = '\0';
}

const char *explain_address_rule_text(const struct explain_facts *f, const struct explain_tunnel *t,
                                      char *out, size_t cap)
{
    const struct policy_endpoint *ep = t->name.endpoint;
    if (explain_is_unresolved(f, t)) {
        (void)snprintf(out, cap, "not looked at here: the chain proxy resolves the name");
        return out;
    }
    switch (t->address_rule) {
    case ADDRESS_RULE_NONE:
        (void)snprintf(out, cap, "none: a control-plane port needs an exact host, or allowed_ips");
        break;
    case ADDRESS_RULE_PUBLIC:
        (void)snprintf(out, cap, "public ones (private ones need %sallowed_ips)",
                       ep->host_kind == ENDPOINT_WILDCARD ? "an exact host or " : "");
        break;
    case ADDRESS_RULE_PRIVATE:
        (void)snprintf(out, cap, "public and private ones (the host is exact)");
        break;
    case ADDRESS_RULE_LISTED:
        listed_text(ep, out, cap);
        break;
    }
    return out;
}

void explain_suggest_direct(const struct policy_endpoint *ep, uint16_t port, char *out, size_t cap)
{
    char host[EXPLAIN_WORDS_CAP];
    out[0] = '\0';
    if (ep->host_kind != ENDPOINT_HOSTLESS) {
        (void)snprintf(out, cap, "egress:\n  endpoints:\n    - { host: \"%s\", port: %u, proxy: direct }\n",
                       explain_host(ep, host, sizeof host), port);
    }
}

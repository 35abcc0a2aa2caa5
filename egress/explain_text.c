/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/explain_print.h"
#include "egress/explain_words.h"

#include <string.h>

#define LABEL_WIDTH 10
#define ALSO_MAX 8U /* losing endpoints shown of a port */

static void label(FILE *out, const char *name)
{
    (void)fprintf(out, "%-*s", LABEL_WIDTH, name);
}

static void indent(FILE *out)
{
    label(out, "");
}

static void print_rule(FILE *out, const struct explain_facts *f, const struct policy_endpoint *ep)
{
    char rule[EXPLAIN_WORDS_CAP];
    (void)fprintf(out, "%s", explain_rule(f, ep, rule, sizeof rule));
}

static bool is_same_story(const struct explain_tunnel *a, const struct explain_tunnel *b)
{
    return !a->is_dialled && !b->is_dialled && a->is_allowed == b->is_allowed && a->reason == b->reason &&
           a->name.endpoint == b->name.endpoint;
}

/* Ports of the tunnels from *at on that have one story; moves *at behind them. */
static void print_ports(FILE *out, const struct explain_facts *f, size_t *at)
{
    const struct explain_tunnel *first = &f->tunnels[*at];
    (void)fprintf(out, "%u", first->port);
    for ((*at)++; *at < f->tunnel_count && is_same_story(first, &f->tunnels[*at]); (*at)++) {
        (void)fprintf(out, ",%u", f->tunnels[*at].port);
    }
}

/* What became of an allowed port with --live. */
static void print_reached(FILE *out, const struct explain_facts *f, const struct explain_tunnel *t)
{
    char text[IP_TEXT_CAP];
    for (size_t i = 0; i < t->addr_count; i++) {
        if (t->addrs[i].dial == EXPLAIN_DIAL_CONNECTED) {
            (void)fprintf(out, ", connected to %s in %lld ms", ip_text(&t->addrs[i].ip, text),
                          (long long)t->addrs[i].ms);
            return;
        }
    }
    if (explain_is_chained(t)) {
        (void)fprintf(out, ", through the chain proxy%s", f->live.is_asked ? ", which was not asked" : "");
    } else if (t->is_dialled) {
        (void)fprintf(out, ", but no permitted address can be connected to");
    } else if (f->live.is_asked) {
        (void)fprintf(out, ", but %s", f->why);
    }
}

static void print_verdict(FILE *out, const struct explain_facts *f)
{
    if (f->tunnel_count == 0) {
        (void)fprintf(out, "DENIED   %s: %s [%s]\n", f->host, f->why, reason_text(f->reason));
        return;
    }
    for (size_t at = 0; at < f->tunnel_count;) {
        const struct explain_tunnel *t = &f->tunnels[at];
        (void)fprintf(out, "%s  %s:", t->is_allowed ? "ALLOWED" : "DENIED ", f->host);
        print_ports(out, f, &at);
        if (t->is_allowed) {
            (void)fprintf(out, " by ");
            print_rule(out, f, t->name.endpoint);
            print_reached(out, f, t);
            (void)fprintf(out, "\n");
        } else {
            (void)fprintf(out, ": %s [%s]\n", t->why, reason_text(t->reason));
        }
    }
    if (f->port_total > f->tunnel_count) {
        (void)fprintf(out, "         (and %zu more ports: give the one you mean)\n",
                      f->port_total - f->tunnel_count);
    }
}

static void print_host(FILE *out, const struct explain_facts *f)
{
    const struct explain_target *t = &f->target;
    label(out, "Host");
    switch (t->host.kind) {
    case HOST_NONE:
        (void)fprintf(out, "no canonical form: %s; it is denied and never sent upstream\n",
                      host_fault_text(t->fault));
        return;
    case HOST_IP:
        (void)fprintf(out, "%s, an address of class %s%s\n", f->host, ip_class_name(ip_classify(&t->host.ip)),
                      t->is_rewritten ? " (written as it is compared)" : "");
        return;
    case HOST_DNS:
        break;
    }
    (void)fprintf(out, "%s", f->host);
    if (t->is_lowered || t->lost_dot) {
        (void)fprintf(out, " (%s%s%s)", t->is_lowered ? "made lower case" : "",
                      t->is_lowered && t->lost_dot ? ", " : "", t->lost_dot ? "final dot removed" : "");
    }
    (void)fprintf(out, "\n");
}

static void print_zone(FILE *out, const struct zone *z)
{
    char text[UPSTREAMS_TEXT_CAP];
    if (z == NULL) {
        return;
    }
    label(out, "Zone");
    (void)fprintf(out, "%s -> %s%s\n", z->suffix.text,
                  upstreams_text(z->upstreams, z->tls_names, z->upstream_count, text),
                  z->is_open ? ", open" : "");
}

static void print_candidate(FILE *out, const struct explain_facts *f, const struct explain_candidate *c,
                            const struct explain_tunnel *t)
{
    char host[EXPLAIN_WORDS_CAP];
    char ports[EXPLAIN_WORDS_CAP];
    const struct policy_endpoint *ep = c->endpoint;
    (void)fprintf(out, "%s, port %s, ", explain_host(ep, host, sizeof host),
                  explain_ports(ep, ports, sizeof ports));
    print_rule(out, f, ep);
    if (c->fate != EXPLAIN_FATE_DECIDES) {
        (void)fprintf(out, ": %s", explain_fate_text(c->fate));
        if (ep == t->l7_by) {
            (void)fprintf(out, ", but its request rules bind all the same");
        }
    }
    (void)fprintf(out, "\n");
}

static void print_candidates(FILE *out, const struct explain_facts *f, const struct explain_tunnel *t)
{
    size_t shown = 0;
    for (size_t i = 0; i < t->candidate_count && shown <= ALSO_MAX; i++, shown++) {
        bool is_first = t->candidates[i].fate == EXPLAIN_FATE_DECIDES;
        bool is_first_other = i == 0 || t->candidates[i - 1].fate == EXPLAIN_FATE_DECIDES;
        label(out, is_first ? "Decides" : is_first_other ? "Also" : "");
        print_candidate(out, f, &t->candidates[i], t);
    }
    if (t->candidate_total > shown) {
        indent(out);
        (void)fprintf(out, "and %zu more endpoints\n", t->candidate_total - shown);
    }
}

static void print_dns(FILE *out, const struct explain_facts *f)
{
    char text[EXPLAIN_WORDS_CAP];
    char first[EXPLAIN_WORDS_CAP];
    if (f->dns_count == 0) {
        return;
    }
    label(out, "dnsd");
    size_t same = 1;
    (void)explain_dns_text(f, &f->dns[0], first, sizeof first);
    while (same < f->dns_count && strcmp(explain_dns_text(f, &f->dns[same], text, sizeof text), first) == 0) {
        same++;
    }
    if (same == f->dns_count) {
        (void)fprintf(out, "every type: %s\n", first);
        return;
    }
    for (size_t i = 0; i < f->dns_count; i++) {
        if (i > 0) {
            indent(out);
        }
        (void)fprintf(out, "%-6s %s\n", explain_type_text(&f->dns[i]),
                      explain_dns_text(f, &f->dns[i], text, sizeof text));
    }
}

static void print_addrs(FILE *out, const struct explain_tunnel *t, bool is_live)
{
    char text[IP_TEXT_CAP];
    char dial[EXPLAIN_WORDS_CAP];
    for (size_t i = 0; i < t->addr_count; i++) {
        const struct explain_addr *a = &t->addrs[i];
        indent(out);
        (void)fprintf(out, "  %-15s %s, ", ip_text(&a->ip, text), ip_class_name(a->dest.cls));
        if (a->dest.verdict != VERDICT_ALLOW) {
            (void)fprintf(out, "refused: %s\n", a->dest.why);
        } else {
            (void)fprintf(out, "permitted%s%s\n", is_live ? ", " : "",
                          is_live ? explain_dial_text(a, dial, sizeof dial) : "");
        }
    }
}

static void print_values(FILE *out, const struct explain_facts *f, const struct explain_tunnel *t)
{
    for (int i = 0; i < EXPLAIN_VALUE_COUNT; i++) {
        char value[EXPLAIN_WORDS_CAP];
        char source[EXPLAIN_WORDS_CAP];
        const enum explain_value v = (enum explain_value)i;
        indent(out);
        (void)fprintf(out, "  %-10s %s  [%s]\n", explain_value_name(v),
                      explain_value_text(t, v, value, sizeof value),
                      explain_source_text(f, &t->sources[i], v, source, sizeof source));
    }
}

static void print_direct(FILE *out, const struct explain_facts *f, const struct policy_endpoint *ep)
{
    char place[EXPLAIN_WORDS_CAP];
    const struct policy_shape *s = ep->shape;
    const struct policy_pos *pos = s != NULL && s->proxy == PROXY_DIRECT ? &s->pos : &ep->pos;
    if (ep->proxy == PROXY_DIRECT) {
        (void)fprintf(out, " (proxy: direct, %s)", explain_place(f, pos, place, sizeof place));
    }
    (void)fprintf(out, "\n");
}

static void print_carriage(FILE *out, const struct explain_facts *f, const struct explain_tunnel *t)
{
    char proxy[CHAIN_CONFIG_TEXT_CAP];
    if (explain_is_chained(t)) {
        (void)fprintf(out, "port %u: carried through the chain proxy %s, which is asked for %s\n", t->port,
                      chain_config_text(&f->cfg->chain, proxy),
                      explain_is_unresolved(f, t) ? "the name" : "a permitted address");
        return;
    }
    (void)fprintf(out, "port %u: carried raw", t->port);
    print_direct(out, f, t->name.endpoint);
}

static void print_tunnel(FILE *out, const struct explain_facts *f, const struct explain_tunnel *t,
                         bool is_live)
{
    char text[EXPLAIN_WORDS_CAP];
    print_candidates(out, f, t);
    label(out, "tunneld");
    if (t->is_allowed) {
        print_carriage(out, f, t);
    } else {
        (void)fprintf(out, "port %u: refused, %s: %s\n", t->port, reason_text(t->reason), t->why);
    }
    if (t->name.endpoint == NULL || (!t->is_allowed && t->addr_count == 0)) {
        return;
    }
    indent(out);
    (void)fprintf(out, "  addresses  %s\n", explain_address_rule_text(f, t, text, sizeof text));
    print_addrs(out, t, is_live);
    if (t->is_allowed) {
        print_values(out, f, t);
    }
}

static void print_live(FILE *out, const struct explain_facts *f)
{
    char text[EXPLAIN_WORDS_CAP];
    label(out, "live");
    if (!f->live.is_asked) {
        (void)fprintf(out, "%s\n",
                      f->is_allowed || f->target.host.kind == HOST_IP || f->name.kind == NAME_STATIC
                          ? "its addresses are known without a lookup"
                          : "not looked up: what is denied is asked of nobody");
        return;
    }
    (void)fprintf(out, "asked");
    for (size_t i = 0; i < f->live.upstreams.count; i++) {
        char one[UPSTREAM_TEXT_CAP];
        (void)fprintf(out, "%s %s", i == 0 ? "" : ",",
                      upstream_text(&f->live.upstreams.addrs[i], f->live.upstreams.tls_names[i], one));
    }
    (void)fprintf(out, ", %lld ms\n", (long long)f->live.resolve_ms);
    indent(out);
    (void)fprintf(out, "A      %s\n", explain_lookup_text(&f->live.v4, text, sizeof text));
    indent(out);
    (void)fprintf(out, "AAAA   %s\n", explain_lookup_text(&f->live.v6, text, sizeof text));
}

static void print_brakes(FILE *out, const struct explain_facts *f)
{
    char dnsd[EXPLAIN_WORDS_CAP];
    char tunneld[EXPLAIN_WORDS_CAP];
    if (!explain_is_braked(f)) {
        return;
    }
    (void)explain_brakes_text(&f->cfg->dnsd.shared, dnsd, sizeof dnsd);
    (void)explain_brakes_text(&f->cfg->tunneld.shared, tunneld, sizeof tunneld);
    label(out, "brakes");
    (void)fprintf(out, "only a wildcard admits it, so of what goes upstream:\n");
    indent(out);
    if (strcmp(dnsd, tunneld) == 0) {
        (void)fprintf(out, "%s\n", dnsd);
        return;
    }
    (void)fprintf(out, "dnsd: %s\n", dnsd);
    indent(out);
    (void)fprintf(out, "tunneld: %s\n", tunneld);
}

static void print_warnings(FILE *out, const struct explain_facts *f)
{
    for (size_t i = 0; i < f->warning_count; i++) {
        const struct explain_warning *w = &f->warnings[i];
        label(out, "Warning");
        if (w->diag == NULL) {
            (void)fprintf(out, "%s\n", w->text);
        } else {
            char file[EXPLAIN_WORDS_CAP];
            (void)fprintf(out, "%s:%u: %s\n", explain_clean(span_str(w->diag->file), file, sizeof file),
                          w->diag->line, w->diag->message);
        }
    }
}

static void print_yaml(FILE *out, const char *yaml)
{
    for (const char *line = yaml; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        (void)fprintf(out, "  %.*s\n", (int)len, line);
        line += len + (line[len] == '\n');
    }
}

static bool is_any_raw(const struct explain_facts *f)
{
    bool is_raw = false;
    for (size_t i = 0; i < f->tunnel_count; i++) {
        is_raw = is_raw || (f->tunnels[i].is_allowed && !explain_is_chained(&f->tunnels[i]));
    }
    return is_raw;
}

static void print_help(FILE *out, const struct explain_facts *f)
{
    for (size_t i = 0; i < f->hint_count; i++) {
        label(out, "Hint");
        (void)fprintf(out, "%s\n", f->hints[i]);
    }
    for (size_t i = 0; i < f->tunnel_count; i++) {
        const struct explain_tunnel *t = &f->tunnels[i];
        if (t->suggestion[0] != '\0') {
            (void)fprintf(out, "\nThis would admit %s:%u%s:\n", f->host, t->port,
                          t->reason != REASON_L7_REQUIRED ? ""
                          : t->l7_by != NULL              ? ", without its request rules"
                                                          : ", past the chain proxy");
            print_yaml(out, t->suggestion);
            return;
        }
    }
    if (f->suggestion[0] != '\0') {
        (void)fprintf(out, "\nThis would admit %s (put the port you need):\n", f->host);
        print_yaml(out, f->suggestion);
    }
}

void explain_print_text(FILE *out, const struct explain_facts *f, bool is_live)
{
    print_verdict(out, f);
    (void)fprintf(out, "\n");
    print_host(out, f);
    print_zone(out, f->zone);
    print_dns(out, f);
    print_brakes(out, f);
    if (is_live) {
        print_live(out, f);
    }
    for (size_t i = 0; i < f->tunnel_count; i++) {
        if (f->tunnel_count > 1) {
            (void)fprintf(out, "\n");
        }
        print_tunnel(out, f, &f->tunnels[i], is_live);
    }
    print_warnings(out, f);
    if (!f->is_allowed) {
        print_help(out, f);
    } else if (!is_live && f->name.kind == NAME_ADMITTED) {
        (void)fprintf(out, "\nIts addresses are judged once they are known: --live looks them up%s.\n",
                      is_any_raw(f) ? " and connects" : "; the chain proxy is not asked");
    }
}

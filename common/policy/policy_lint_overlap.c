/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Endpoints compared with each other. Endpoints of one host form a group; a witness, a name that the group's
 * host admits, finds the less specific endpoints that meet it: whatever admits the witness overlaps for
 * certain, so nothing is reported that is not so. Two findings: an endpoint of the group that an earlier one
 * of the same group always beats, and one that beats another without saying all that the other says.
 */
#include "common/policy/policy_lint_parts.h"

#include "common/base/buf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define NEAR_MAX ((size_t)64)         /* of one group and, again, of what is less specific */
#define VISIT_MAX ((size_t)4096)      /* endpoints a witness may meet */
#define BINARIES_MAX ((size_t)64)     /* of a rule are compared */
#define WORK_MAX ((uint64_t)10000000) /* visits and comparisons in all: about a second */

/* What two endpoints may say otherwise; in the order of the texts below. */
enum {
    DIFFERS_TIMEOUTS = 1U << 0,
    DIFFERS_KEEPALIVE = 1U << 1,
    DIFFERS_PROXY = 1U << 2,
    DIFFERS_DNS = 1U << 3,
    DIFFERS_IPS = 1U << 4,
    DIFFERS_TLS = 1U << 5,
    DIFFERS_TCP = 1U << 6,
    /* what OpenShell takes for an ambiguity, and refuses */
    DIFFERS_THERE = DIFFERS_IPS | DIFFERS_TLS | DIFFERS_TCP,
    /* what changes nothing here */
    DIFFERS_ONLY_THERE = DIFFERS_TLS | DIFFERS_TCP
};

struct overlap {
    struct lint *l;
    const struct policy_endpoint **items; /* all that name a host, grouped; in a group the first wins */
    size_t count;
    uint64_t work;
    bool is_capped;
    /* of the group that is looked at: */
    const struct policy_endpoint *near[2 * NEAR_MAX]; /* the group's, then less specific ones */
    size_t own_count, near_count;
    size_t visits;
    bool is_shadowed[2 * NEAR_MAX];
};

/* ---- groups ---- */

static int compare_hosts(const struct policy_endpoint *a, const struct policy_endpoint *b)
{
    bool is_ip_a = a->host_kind == ENDPOINT_IP;
    bool is_ip_b = b->host_kind == ENDPOINT_IP;
    if (is_ip_a != is_ip_b) {
        return is_ip_a ? 1 : -1;
    }
    return is_ip_a ? ip_compare(&a->ip, &b->ip) : strcmp(a->pattern.text.text, b->pattern.text.text);
}

static int compare_items(const void *a, const void *b)
{
    const struct policy_endpoint *const *x = a;
    const struct policy_endpoint *const *y = b;
    int order = compare_hosts(*x, *y);
    return order != 0 ? order : policy_endpoint_compare(*x, *y);
}

static int collect(struct overlap *o)
{
    const struct policy_rules *rules = o->l->rules;
    size_t count = 0;
    for (size_t r = 0; r < rules->rule_count; r++) {
        count += rules->rules[r].endpoint_count;
    }
    o->items = calloc(count + 1, sizeof *o->items);
    if (o->items == NULL) {
        return -ENOMEM;
    }
    for (size_t r = 0; r < rules->rule_count; r++) {
        for (size_t i = 0; i < rules->rules[r].endpoint_count; i++) {
            const struct policy_endpoint *ep = &rules->rules[r].endpoints[i];
            if (ep->host_kind != ENDPOINT_HOSTLESS) {
                o->items[o->count++] = ep;
            }
        }
    }
    qsort(o->items, o->count, sizeof *o->items, compare_items);
    return 0;
}

/* A name that the pattern admits: each star becomes a letter, so that lengths stay right. */
static bool make_witness(const struct policy_endpoint *ep, struct host_name *out)
{
    char text[HOST_NAME_MAX_LEN + 1];
    size_t len = ep->pattern.text.len;
    memcpy(text, ep->pattern.text.text, len);
    for (size_t i = 0; i < len; i++) {
        text[i] = text[i] == '*' ? 'q' : text[i];
    }
    return host_name_parse(span_make(text, len), out) == HOST_FAULT_NONE;
}

/* ---- what two endpoints have in common ---- */

/* May one process be admitted by both? Only what is certain counts. */
static bool may_meet(const struct policy_rule *a, const struct policy_rule *b)
{
    if (a == b || a->admits_any_binary || b->admits_any_binary) {
        return true;
    }
    for (size_t i = 0; i < a->binary_count && i < BINARIES_MAX; i++) {
        for (size_t k = 0; k < b->binary_count && k < BINARIES_MAX; k++) {
            if (strcmp(a->binaries[i], b->binaries[k]) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Does a admit every process that b admits? Only what is certain counts. */
static bool covers_binaries(const struct policy_rule *a, const struct policy_rule *b)
{
    if (a == b || a->admits_any_binary) {
        return true;
    }
    if (b->admits_any_binary || a->binary_count > BINARIES_MAX || b->binary_count > BINARIES_MAX) {
        return false;
    }
    for (size_t k = 0; k < b->binary_count; k++) {
        size_t i = 0;
        while (i < a->binary_count && strcmp(a->binaries[i], b->binaries[k]) != 0) {
            i++;
        }
        if (i == a->binary_count) {
            return false;
        }
    }
    return true;
}

/* The lists are sorted and disjoint, so equal sets are equal lists. */
static bool has_same_ips(const struct policy_endpoint *a, const struct policy_endpoint *b)
{
    if (a->allowed_ip_count != b->allowed_ip_count) {
        return false;
    }
    for (size_t i = 0; i < a->allowed_ip_count; i++) {
        const struct ip_prefix *x = &a->allowed_ips[i];
        const struct ip_prefix *y = &b->allowed_ips[i];
        if (x->bits != y->bits || !ip_is_equal(&x->base, &y->base)) {
            return false;
        }
    }
    return true;
}

static bool is_tied(const struct policy_endpoint *a, const struct policy_endpoint *b)
{
    return compare_hosts(a, b) == 0 ||
           (a->host_kind == ENDPOINT_WILDCARD && b->host_kind == ENDPOINT_WILDCARD &&
            host_pattern_compare(&a->pattern, &b->pattern) == 0);
}

/* ---- what the loser says in vain ---- */

/* A more specific endpoint that says something else means it; one that says nothing may have forgotten it. */
static bool is_timer_lost(int64_t loser, int64_t winner, int64_t lower, bool tied)
{
    if (loser == TIMER_UNSET) {
        return false;
    }
    return winner == TIMER_UNSET ? loser != lower : tied && loser != winner;
}

static bool are_timers_lost(const struct lint *l, const struct policy_endpoint *loser,
                            const struct policy_endpoint *winner, bool tied)
{
    struct tunnel_timers lower = l->rules->default_timers;
    const struct tunnel_timers *a = &loser->timers;
    const struct tunnel_timers *b = &winner->timers;
    tunnel_timers_inherit(&lower, &tunnel_builtin_timers);
    return is_timer_lost(a->connect_ms, b->connect_ms, lower.connect_ms, tied) ||
           is_timer_lost(a->idle_ms, b->idle_ms, lower.idle_ms, tied) ||
           is_timer_lost(a->lifetime_ms, b->lifetime_ms, lower.lifetime_ms, tied) ||
           is_timer_lost(a->half_close_ms, b->half_close_ms, lower.half_close_ms, tied) ||
           is_timer_lost(a->user_ms, b->user_ms, lower.user_ms, tied);
}

static bool is_same_keepalive(const struct tunnel_keepalive *a, const struct tunnel_keepalive *b)
{
    bool is_on = a->mode == KEEPALIVE_ON;
    return a->mode == b->mode &&
           (!is_on || (a->idle_s == b->idle_s && a->interval_s == b->interval_s && a->probes == b->probes));
}

static bool is_keepalive_lost(const struct lint *l, const struct policy_endpoint *loser,
                              const struct policy_endpoint *winner, bool tied)
{
    struct tunnel_keepalive lower = l->rules->default_keepalive;
    tunnel_keepalive_inherit(&lower, &tunnel_builtin_keepalive);
    if (loser->keepalive.mode == KEEPALIVE_UNSET) {
        return false;
    }
    if (winner->keepalive.mode == KEEPALIVE_UNSET) {
        return !is_same_keepalive(&loser->keepalive, &lower);
    }
    return tied && !is_same_keepalive(&loser->keepalive, &winner->keepalive);
}

static bool is_proxy_lost(const struct policy_endpoint *loser, const struct policy_endpoint *winner,
                          bool tied)
{
    switch (loser->proxy) {
    case PROXY_UNSET:
        return false;
    case PROXY_DIRECT: /* says something only where a raw tunnel would be refused */
        return winner->proxy == PROXY_UNSET ? winner->requires_l7 || loser->requires_l7
                                            : tied && winner->proxy != PROXY_DIRECT;
    case PROXY_CHAIN:
        break;
    }
    return winner->proxy == PROXY_UNSET || (tied && winner->proxy != PROXY_CHAIN);
}

/*
 * A name has the types of all endpoints of the host that decides, so between those nothing is lost; and where
 * one of them says something, what a wider one says is left out on purpose.
 */
static bool are_types_lost(const struct overlap *o, const struct policy_endpoint *loser,
                           const struct policy_endpoint *winner)
{
    if (loser->dns.types == 0 || compare_hosts(loser, winner) == 0) {
        return false;
    }
    for (size_t i = 0; i < o->own_count; i++) {
        if (o->near[i]->dns.is_set) {
            return false;
        }
    }
    return true;
}

static unsigned find_differences(struct overlap *o, const struct policy_endpoint *loser,
                                 const struct policy_endpoint *winner)
{
    unsigned found = 0;
    if (may_meet(winner->rule, loser->rule)) {
        bool tied = is_tied(winner, loser);
        found |= are_timers_lost(o->l, loser, winner, tied) ? DIFFERS_TIMEOUTS : 0U;
        found |= is_keepalive_lost(o->l, loser, winner, tied) ? DIFFERS_KEEPALIVE : 0U;
        found |= is_proxy_lost(loser, winner, tied) ? DIFFERS_PROXY : 0U;
    }
    found |= are_types_lost(o, loser, winner) ? DIFFERS_DNS : 0U;
    found |= has_same_ips(winner, loser) ? 0U : DIFFERS_IPS;
    found |= winner->tls == loser->tls ? 0U : DIFFERS_TLS;
    found |= (winner->protocol == PROTOCOL_TCP) == (loser->protocol == PROTOCOL_TCP) ? 0U : DIFFERS_TCP;
    return found;
}

/* ---- telling ---- */

/* "timeouts, keepalive and tls" */
static void list_differences(unsigned found, char *out, size_t cap)
{
    static const char *const texts[] = {"timeouts",    "keepalive", "proxy",        "dns",
                                        "allowed_ips", "tls",       "protocol: tcp"};
    struct wbuf w = wbuf_make(out, cap - 1);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        unsigned rest = found >> (i + 1);
        if ((found >> i & 1U) != 0) {
            wbuf_printf(&w, "%s%s", w.len == 0 ? "" : rest == 0 ? " and " : ", ", texts[i]);
        }
    }
    out[w.len] = '\0';
}

/* "line 7", or "line 7 of b.yaml"; with the other's host if it is not the same. */
static void name_other(const struct overlap *o, const struct policy_endpoint *ep,
                       const struct policy_endpoint *other, char *out, size_t cap)
{
    char host[LINT_HOST_CAP];
    struct wbuf w = wbuf_make(out, cap - 1);
    if (compare_hosts(ep, other) != 0) {
        wbuf_printf(&w, "\"%s\" on ", lint_host(other, host));
    }
    wbuf_printf(&w, "line %u", (unsigned)other->pos.line);
    if (other->pos.file != ep->pos.file) {
        wbuf_printf(&w, " of %.200s", o->l->rules->files[other->pos.file]);
    }
    out[w.len] = '\0';
}

#define OTHER_CAP 600
#define LIST_CAP 120

static void tell_disagreement(struct overlap *o, const struct policy_endpoint *winner,
                              const struct policy_endpoint *loser, uint16_t port, unsigned found)
{
    char host[LINT_HOST_CAP];
    char other[OTHER_CAP];
    char list[LIST_CAP];
    char hint[LIST_CAP + 80];
    name_other(o, winner, loser, other, sizeof other);
    if ((found & DIFFERS_THERE) != 0) {
        list_differences(found & DIFFERS_THERE, list, sizeof list);
        (void)snprintf(hint, sizeof hint, "let both say the same %s: OpenShell refuses the pair", list);
    } else {
        (void)snprintf(hint, sizeof hint,
                       "say it here too if it is to hold for this host, or remove it there");
    }
    list_differences(found, list, sizeof list);
    bool is_decided = (found & DIFFERS_DNS) != 0 ||
                      (may_meet(winner->rule, loser->rule) && (found & ~(unsigned)DIFFERS_ONLY_THERE) != 0);
    lint_add(o->l, LINT_OVERLAP, winner, hint,
             "\"%s\" port %u is also admitted by %s, which differs in %s: %s", lint_host(winner, host),
             (unsigned)port, other, list,
             is_decided ? "what this endpoint says decides" : "OpenShell takes that for an ambiguity");
}

/* True if one of the two makes the tunnel require L7 and the other says nothing of it. */
static bool tell_l7(struct overlap *o, const struct policy_endpoint *winner,
                    const struct policy_endpoint *loser, uint16_t port)
{
    char host[LINT_HOST_CAP];
    char other[OTHER_CAP];
    if (winner->proxy != PROXY_UNSET || winner->requires_l7 == loser->requires_l7 ||
        !may_meet(winner->rule, loser->rule) || (winner->requires_l7 && !is_tied(winner, loser))) {
        return false;
    }
    lint_host(winner, host);
    name_other(o, winner, loser, other, sizeof other);
    if (winner->requires_l7) {
        lint_add(
            o->l, LINT_OVERLAP, winner,
            "write proxy: direct here if it is to be carried raw, or remove one of the two",
            "\"%s\" port %u is not carried raw although %s would have it so: this endpoint is about requests",
            host, (unsigned)port, other);
    } else {
        lint_add(
            o->l, LINT_OVERLAP, winner,
            "write proxy: direct here if it is to be carried raw, or let both say the same",
            "\"%s\" port %u is not carried raw because it is also admitted by %s, which is about requests",
            host, (unsigned)port, other);
    }
    return true;
}

/* ---- one group ---- */

static bool is_port_taken(const struct overlap *o, size_t before, const struct policy_rule *rule,
                          uint16_t port)
{
    for (size_t i = 0; i < before && i < o->own_count; i++) {
        const struct policy_endpoint *ep = o->near[i];
        if (covers_binaries(ep->rule, rule) && policy_has_port(ep->ports, ep->port_count, port)) {
            return true;
        }
    }
    return false;
}

/* A port that both have and for which no earlier endpoint of the group beats number w; 0 if there is none. */
static uint16_t deciding_port(struct overlap *o, size_t w, const struct policy_endpoint *loser)
{
    const struct policy_endpoint *winner = o->near[w];
    size_t i = 0;
    size_t k = 0;
    while (i < winner->port_count && k < loser->port_count && o->work < WORK_MAX) {
        o->work++;
        if (winner->ports[i] < loser->ports[k]) {
            i++;
        } else if (winner->ports[i] > loser->ports[k]) {
            k++;
        } else {
            o->work += w;
            if (!is_port_taken(o, w, winner->rule, winner->ports[i])) {
                return winner->ports[i];
            }
            i++;
            k++;
        }
    }
    return 0;
}

/* Can the earlier f stand in for e on the ports they share, so that e changes nothing there? */
static bool stands_in(const struct policy_endpoint *f, const struct policy_endpoint *e)
{
    /* one that requires L7 counts even if it is not the most specific, whatever f says of a proxy */
    return covers_binaries(f->rule, e->rule) && has_same_ips(f, e) && (!e->requires_l7 || f->requires_l7) &&
           (e->dns.types & ~(unsigned)f->dns.types) == 0;
}

/* NULL, or the first endpoint that beats number e of the group; all its ports are beaten. */
static const struct policy_endpoint *find_shadow(struct overlap *o, size_t e)
{
    const struct policy_endpoint *ep = o->near[e];
    const struct policy_endpoint *shadow = NULL;
    const struct policy_endpoint *standing[NEAR_MAX];
    size_t standing_count = 0;
    o->work += e;
    for (size_t i = 0; i < e; i++) {
        if (stands_in(o->near[i], ep)) {
            standing[standing_count++] = o->near[i];
        }
    }
    for (size_t k = 0; k < ep->port_count; k++) {
        size_t i = 0;
        while (i < standing_count &&
               !policy_has_port(standing[i]->ports, standing[i]->port_count, ep->ports[k])) {
            i++;
        }
        o->work += i + 1;
        if (i == standing_count || o->work > WORK_MAX) {
            return NULL;
        }
        shadow = shadow == NULL ? standing[i] : shadow;
    }
    return shadow;
}

static void tell_shadow(struct overlap *o, const struct policy_endpoint *ep,
                        const struct policy_endpoint *shadow)
{
    char host[LINT_HOST_CAP];
    char other[OTHER_CAP];
    char list[LIST_CAP];
    unsigned found = find_differences(o, ep, shadow) & ~(unsigned)DIFFERS_THERE;
    name_other(o, ep, shadow, other, sizeof other);
    lint_host(ep, host);
    if (found == 0) {
        lint_add(o->l, LINT_SHADOWED, ep, "remove it",
                 "this endpoint never decides: \"%s\" port %u is admitted by %s before", host,
                 (unsigned)ep->ports[0], other);
        return;
    }
    list_differences(found, list, sizeof list);
    lint_add(o->l, LINT_SHADOWED, ep, "keep one of the two",
             "this endpoint never decides, and what it says of %s has no effect: \"%s\" port %u is admitted "
             "by %s before",
             list, host, (unsigned)ep->ports[0], other);
}

static bool add_near(const struct policy_endpoint *ep, void *ctx)
{
    struct overlap *o = ctx;
    o->work++;
    o->visits++;
    if (o->visits > VISIT_MAX || o->work > WORK_MAX) {
        o->is_capped = true;
        return false;
    }
    bool is_wider = ep->host_kind != ENDPOINT_HOSTLESS && compare_hosts(ep, o->near[0]) != 0 &&
                    policy_endpoint_compare(o->near[0], ep) < 0;
    if (is_wider && o->near_count < 2 * NEAR_MAX) {
        o->near[o->near_count++] = ep;
    } else if (is_wider) {
        o->is_capped = true;
    }
    return true;
}

static void fill_near(struct overlap *o, size_t from, size_t count)
{
    const struct policy_endpoint *first = o->items[from];
    struct host_name witness;
    o->visits = 0;
    o->is_capped = o->is_capped || count > NEAR_MAX;
    o->own_count = count < NEAR_MAX ? count : NEAR_MAX;
    memcpy(o->near, o->items + from, o->own_count * sizeof o->near[0]);
    o->near_count = o->own_count;
    if (first->host_kind != ENDPOINT_IP && CHECK(make_witness(first, &witness))) {
        policy_visit_name(o->l->p, &witness, add_near, o);
    }
    memset(o->is_shadowed, 0, sizeof o->is_shadowed);
}

/* The first endpoint of the group that beats number n somewhere without agreeing with it. */
static void look_at_loser(struct overlap *o, size_t n)
{
    const struct policy_endpoint *loser = o->near[n];
    for (size_t w = 0; w < n && w < o->own_count && o->work < WORK_MAX; w++) {
        const struct policy_endpoint *winner = o->near[w];
        o->work++;
        unsigned found = o->is_shadowed[w] ? 0 : find_differences(o, loser, winner);
        bool is_l7_mixed = !o->is_shadowed[w] && winner->requires_l7 != loser->requires_l7;
        uint16_t port = found != 0 || is_l7_mixed ? deciding_port(o, w, loser) : 0;
        if (port == 0) {
            continue;
        }
        bool is_told = tell_l7(o, winner, loser, port);
        if (found != 0) {
            tell_disagreement(o, winner, loser, port, found);
            is_told = true;
        }
        if (is_told) {
            return;
        }
    }
}

static void look_at_group(struct overlap *o, size_t from, size_t count)
{
    fill_near(o, from, count);
    for (size_t i = 1; i < o->near_count && o->work < WORK_MAX; i++) {
        const struct policy_endpoint *shadow = i < o->own_count ? find_shadow(o, i) : NULL;
        if (shadow != NULL) {
            o->is_shadowed[i] = true;
            tell_shadow(o, o->near[i], shadow);
        } else {
            look_at_loser(o, i);
        }
    }
}

void lint_overlaps(struct lint *l)
{
    struct overlap *o = calloc(1, sizeof *o);
    if (o == NULL) {
        l->rc = -ENOMEM;
        return;
    }
    o->l = l;
    if (collect(o) != 0) {
        l->rc = -ENOMEM;
    }
    for (size_t from = 0; from < o->count && o->work < WORK_MAX;) {
        size_t end = from + 1;
        while (end < o->count && compare_hosts(o->items[from], o->items[end]) == 0) {
            end++;
        }
        look_at_group(o, from, end - from);
        from = end;
    }
    if (o->is_capped || o->work >= WORK_MAX) {
        lint_add_whole(l, "give a host one endpoint with a list of ports, and use fewer wildcards",
                       "too many endpoints admit the same hosts: not all of them were compared");
    }
    free(o->items);
    free(o);
}

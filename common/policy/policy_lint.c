/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/policy_lint.h"

#include "common/policy/judge_dest.h"
#include "common/policy/policy_diag.h"
#include "common/policy/policy_lint_parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define MESSAGE_CAP 1024
#define HITS_MAX ((size_t)10000) /* endpoints times resolvers: what is beyond is not reported anyway */

/* ---- findings ---- */

__attribute__((format(printf, 4, 0))) static void add(struct lint *l, struct policy_pos pos, const char *hint,
                                                      const char *fmt, va_list args)
{
    char message[MESSAGE_CAP];
    struct diag_place place = {.file = l->rules->file_count > 0 ? l->rules->files[pos.file] : ""};
    (void)vsnprintf(message, sizeof message, fmt, args);
    (void)CHECK(hint != NULL && hint[0] != '\0');
    if (pos.line > 0 && CHECK(pos.file < l->source.count)) {
        struct yaml_pos at = {.line = pos.line, .col = pos.col};
        int rc = policy_source_place(&l->source, pos.file, at, &place);
        l->rc = l->rc == 0 ? rc : l->rc;
    }
    int rc = policy_diags_add(l->diags, DIAG_WARNING, &place, message, hint);
    l->rc = l->rc == 0 ? rc : l->rc;
}

__attribute__((format(printf, 4, 5))) static void add_at(struct lint *l, struct policy_pos pos,
                                                         const char *hint, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add(l, pos, hint, fmt, args);
    va_end(args);
}

void lint_add(struct lint *l, enum lint_kind kind, const struct policy_endpoint *ep, const char *hint,
              const char *fmt, ...)
{
    l->found[kind]++;
    if (l->found[kind] > LINT_KIND_MAX) {
        return; /* counted, told by tell_rest() */
    }
    va_list args;
    va_start(args, fmt);
    add(l, ep->pos, hint, fmt, args);
    va_end(args);
}

void lint_add_whole(struct lint *l, const char *hint, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add(l, (struct policy_pos){0}, hint, fmt, args);
    va_end(args);
}

/* Once: where every rule names its programs, as in most policies of OpenShell's, more would hide the rest. */
static void check_binaries(struct lint *l)
{
    const struct policy_rule *first = NULL;
    size_t count = 0;
    for (size_t i = 0; i < l->rules->rule_count; i++) {
        const struct policy_rule *rule = &l->rules->rules[i];
        if (!rule->admits_any_binary) {
            first = first == NULL ? rule : first;
            count++;
        }
    }
    if (first != NULL) {
        char others[48] = " names";
        char key[DIAG_QUOTE_CAP];
        if (count > 1) {
            (void)snprintf(others, sizeof others, " and %zu more name", count - 1);
        }
        add_at(
            l, first->pos,
            "where every program may, write binaries: [{ path: \"/**\" }], or start openshell-tunneld with "
            "--binary-identity=ignore",
            "rule %s%s binaries: openshell-dnsd answers whatever program asks, and openshell-tunneld does "
            "not "
            "start where it cannot tell which one asks",
            diag_quote(span_str(first->key), key), others);
    }
}

static void tell_rest(struct lint *l)
{
    static const char *const what[LINT_KIND_COUNT] = {
        [LINT_CONTROL_PLANE] = "control-plane ports",
        [LINT_NEVER_DIALLED] = "addresses that are never dialled",
        [LINT_SHARED_NAME] = "wildcards under which anybody can own a name",
        [LINT_RESOLVER] = "endpoints that admit a public resolver",
        [LINT_OVERLAP] = "endpoints that overlap and disagree",
        [LINT_SHADOWED] = "endpoints that never decide",
    };
    for (size_t i = 0; i < LINT_KIND_COUNT; i++) {
        if (l->found[i] > LINT_KIND_MAX) {
            lint_add_whole(l, "repair those that are shown, then check again", "%s: %zu more are not shown",
                           what[i], l->found[i] - LINT_KIND_MAX);
        }
    }
}

const char *lint_host(const struct policy_endpoint *ep, char text[LINT_HOST_CAP])
{
    char address[IP_TEXT_CAP];
    const char *host = "(no host)";
    switch (ep->host_kind) {
    case ENDPOINT_HOSTLESS:
        break;
    case ENDPOINT_IP:
        host = ip_text(&ep->ip, address);
        break;
    case ENDPOINT_EXACT:
    case ENDPOINT_WILDCARD:
        host = ep->pattern.text.text;
        break;
    }
    (void)snprintf(text, LINT_HOST_CAP, "%s", host);
    return text;
}

static bool is_same_pos(struct policy_pos a, struct policy_pos b)
{
    return a.file == b.file && a.line == b.line && a.col == b.col;
}

/* ---- control-plane ports ---- */

static void check_control_plane_port(struct lint *l, const struct policy_endpoint *ep, uint16_t port,
                                     const char *service)
{
    static const struct dest_guard no_guard = {0};
    char host[LINT_HOST_CAP];
    switch (judge_address_rule(&no_guard, ep, port)) {
    case ADDRESS_RULE_NONE:
        lint_add(l, LINT_CONTROL_PLANE, ep,
                 "write the host without a wildcard, add allowed_ips, or remove the port",
                 "port %u (%s) of \"%s\" is refused: it needs an exact host or allowed_ips", (unsigned)port,
                 service, lint_host(ep, host));
        break;
    case ADDRESS_RULE_PUBLIC:
    case ADDRESS_RULE_PRIVATE:
        lint_add(l, LINT_CONTROL_PLANE, ep,
                 "remove the port; if it is meant, say so with the addresses in allowed_ips",
                 "port %u (%s) of \"%s\" is the control plane of a cluster", (unsigned)port, service,
                 lint_host(ep, host));
        break;
    case ADDRESS_RULE_LISTED:
        break; /* somebody has thought of it */
    }
}

static void check_control_plane(struct lint *l, const struct policy_endpoint *ep)
{
    static const struct {
        uint16_t port;
        const char *service;
    } ports[] = {
        {2379, "etcd"}, {2380, "etcd"}, {6443, "Kubernetes API"}, {10250, "kubelet"}, {10255, "kubelet"}};
    for (size_t i = 0; i < sizeof ports / sizeof ports[0]; i++) {
        if (policy_has_port(ep->ports, ep->port_count, ports[i].port)) {
            check_control_plane_port(l, ep, ports[i].port, ports[i].service);
        }
    }
}

/* ---- addresses that are refused whatever asks for them ---- */

/* Every port of the endpoint is refused; why: the last one. */
static bool is_never_dialled(const struct policy *p, const struct policy_endpoint *ep, const char **why)
{
    static const struct dest_guard no_guard = {0};
    struct dest_verdict v = {.verdict = VERDICT_DENY};
    for (size_t i = 0; ep->host_kind == ENDPOINT_IP && v.verdict == VERDICT_DENY && i < ep->port_count; i++) {
        judge_dest(p, &no_guard, ep, &ep->ip, ep->ports[i], false, &v);
        *why = v.why;
    }
    return ep->host_kind == ENDPOINT_IP && v.verdict == VERDICT_DENY;
}

/* at: the first of the pieces that an endpoint may have been cut into. */
static void check_never_dialled(struct lint *l, const struct policy_rule *rule, size_t at)
{
    const struct policy_endpoint *ep = &rule->endpoints[at];
    char host[LINT_HOST_CAP];
    const char *why = "";
    for (size_t i = at; i < rule->endpoint_count && is_same_pos(rule->endpoints[i].pos, ep->pos); i++) {
        if (!is_never_dialled(l->p, &rule->endpoints[i], &why)) {
            return;
        }
    }
    lint_add(l, LINT_NEVER_DIALLED, ep, "remove the endpoint, or write the address of another machine",
             "\"%s\" admits nothing: %s", lint_host(ep, host), why);
}

/* ---- wildcards under shared suffixes ---- */

static void check_shared_name(struct lint *l, const struct policy_endpoint *ep)
{
    if (ep->host_kind != ENDPOINT_WILDCARD) {
        return;
    }
    struct span text = host_name_span(&ep->pattern.text);
    size_t dot = span_find(text, '.');
    struct span suffix = span_sub(text, dot + 1, text.len);
    if (span_find(text, '*') > dot) {
        return; /* its first label is given */
    }
    const struct lint_shared *shared = lint_find_shared(suffix);
    if (shared == NULL || (shared->only_below && !ep->pattern.has_double_star)) {
        return;
    }
    char host[LINT_HOST_CAP];
    lint_add(l, LINT_SHARED_NAME, ep, "name the hosts that are meant, each without a wildcard",
             "\"%s\" admits hosts of strangers: %s", lint_host(ep, host), shared->why);
}

static void check_endpoints(struct lint *l)
{
    for (size_t r = 0; r < l->rules->rule_count; r++) {
        const struct policy_rule *rule = &l->rules->rules[r];
        for (size_t i = 0; i < rule->endpoint_count; i++) {
            const struct policy_endpoint *ep = &rule->endpoints[i];
            check_control_plane(l, ep);
            /* an overlay may have cut one endpoint into several, by ports */
            if (i == 0 || !is_same_pos(ep->pos, rule->endpoints[i - 1].pos)) {
                check_never_dialled(l, rule, i);
                check_shared_name(l, ep);
            }
        }
    }
}

/* ---- public resolvers ---- */

struct hit {
    const struct policy_endpoint *ep;
    const char *resolver;
};

struct hits {
    struct hit *items; /* HITS_MAX */
    size_t count;
    const char *resolver; /* that is looked for now */
};

static bool add_hit(const struct policy_endpoint *ep, void *ctx)
{
    static const uint16_t dns_ports[] = {53, 443, 853};
    struct hits *hits = ctx;
    bool is_reached = false;
    for (size_t i = 0; i < sizeof dns_ports / sizeof dns_ports[0]; i++) {
        is_reached = is_reached || policy_has_port(ep->ports, ep->port_count, dns_ports[i]);
    }
    if (is_reached) {
        hits->items[hits->count++] = (struct hit){ep, hits->resolver};
    }
    return hits->count < HITS_MAX;
}

static int compare_hits(const void *a, const void *b)
{
    const struct hit *x = a;
    const struct hit *y = b;
    struct policy_pos p = x->ep->pos;
    struct policy_pos q = y->ep->pos;
    uint64_t left = (uint64_t)p.line << 32 | p.col;
    uint64_t right = (uint64_t)q.line << 32 | q.col;
    if (p.file != q.file) {
        return p.file < q.file ? -1 : 1;
    }
    return left != right ? (left < right ? -1 : 1) : strcmp(x->resolver, y->resolver);
}

static void tell_resolver(struct lint *l, const struct hit *hit, size_t more)
{
    char host[LINT_HOST_CAP];
    char others[64] = "";
    bool is_exact = hit->ep->host_kind == ENDPOINT_EXACT || hit->ep->host_kind == ENDPOINT_IP;
    if (more > 0) {
        (void)snprintf(others, sizeof others, " and %zu more", more);
    }
    lint_host(hit->ep, host);
    if (is_exact) {
        lint_add(l, LINT_RESOLVER, hit->ep,
                 "remove the endpoint: the names that the policy admits resolve without it",
                 "\"%s\" is a public resolver: any name can be looked up there, past the policy", host);
    } else {
        lint_add(l, LINT_RESOLVER, hit->ep, "name what is meant, without these",
                 "%s%s%s admits %s%s: at a public resolver any name can be looked up, past the policy",
                 hit->ep->host_kind == ENDPOINT_WILDCARD ? "\"" : "",
                 hit->ep->host_kind == ENDPOINT_WILDCARD ? host : "allowed_ips",
                 hit->ep->host_kind == ENDPOINT_WILDCARD ? "\"" : "", hit->resolver, others);
    }
}

static void find_resolvers(struct lint *l, struct hits *hits)
{
    for (size_t i = 0; i < lint_resolver_name_count && hits->count < HITS_MAX; i++) {
        struct host_name name;
        hits->resolver = lint_resolver_names[i];
        if (CHECK(host_name_parse(span_str(hits->resolver), &name) == HOST_FAULT_NONE)) {
            policy_visit_name(l->p, &name, add_hit, hits);
        }
    }
    for (size_t i = 0; i < lint_resolver_address_count && hits->count < HITS_MAX; i++) {
        struct ip ip;
        hits->resolver = lint_resolver_addresses[i];
        if (CHECK(ip_parse(span_str(hits->resolver), &ip) == 0)) {
            policy_visit_ip(l->p, &ip, add_hit, hits);
        }
    }
}

static void check_resolvers(struct lint *l)
{
    struct hits hits = {.items = calloc(HITS_MAX, sizeof *hits.items)};
    if (hits.items == NULL) {
        l->rc = -ENOMEM;
        return;
    }
    find_resolvers(l, &hits);
    qsort(hits.items, hits.count, sizeof *hits.items, compare_hits);
    for (size_t i = 0; i < hits.count;) {
        size_t end = i + 1;
        while (end < hits.count && is_same_pos(hits.items[i].ep->pos, hits.items[end].ep->pos)) {
            end++;
        }
        size_t more = 0; /* pieces of one endpoint meet the same resolver more than once */
        for (size_t k = i + 1; k < end; k++) {
            more += hits.items[k].resolver != hits.items[k - 1].resolver;
        }
        tell_resolver(l, &hits.items[i], more);
        i = end;
    }
    free(hits.items);
}

int policy_lint(const struct policy *p, const struct policy_text *texts, size_t count,
                struct policy_diags *diags)
{
    struct lint l = {.p = p, .rules = policy_rules_of(p), .diags = diags};
    l.rc = policy_source_init(&l.source, texts, count);
    if (l.rc == 0) {
        check_binaries(&l);
        check_endpoints(&l);
        check_resolvers(&l);
        lint_overlaps(&l);
        tell_rest(&l);
    }
    policy_source_fini(&l.source);
    return l.rc;
}

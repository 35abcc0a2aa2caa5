/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/explain_scene.h"

#include "common/base/buf.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * Over random policies and hosts: explain's verdict is judge_tunnel's, which is what a loop over all
 * endpoints says, and both printed forms say it too. The seed is fixed: a failure prints it and can be
 * repeated. EXPLAIN_AGREE_ROUNDS makes a longer run.
 */
#define ROUNDS 60
#define ENDPOINTS_MAX 14
#define HOSTS_PER_ROUND 12

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13; /* xorshift64, Marsaglia 2003 */
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static size_t below(uint64_t *seed, size_t bound)
{
    return (size_t)(next_random(seed) % bound);
}

static const char *const labels[] = {"a", "b", "c"};

static void put_name(struct wbuf *w, uint64_t *seed)
{
    for (size_t n = below(seed, 3); n > 0; n--) {
        wbuf_printf(w, "%s.", labels[below(seed, 3)]);
    }
    wbuf_printf(w, "%s.example", labels[below(seed, 2)]);
}

static void put_address(struct wbuf *w, uint64_t *seed)
{
    static const char *const addresses[] = {"10.0.0.1", "10.0.0.2", "8.8.8.8", "127.0.0.1", "9.9.9.9"};
    wbuf_str(w, addresses[below(seed, 5)]);
}

static void put_endpoint(struct wbuf *w, uint64_t *seed)
{
    static const char *const tails[] = {"",
                                        ", proxy: direct",
                                        ", protocol: rest, access: read-only, enforcement: enforce",
                                        ", proxy: chain",
                                        ", timeouts: { idle: 3s }, keepalive: off",
                                        ", allowed_ips: [10.0.0.0/24]"};
    static const unsigned ports[] = {80, 443, 6443};
    size_t kind = below(seed, 8);
    wbuf_str(w, "      - { ");
    if (kind == 0) {
        wbuf_printf(w, "allowed_ips: [10.0.0.%u/31], port: %u }\n", (unsigned)below(seed, 2) * 2,
                    ports[below(seed, 3)]);
        return;
    }
    wbuf_str(w, "host: \"");
    if (kind == 1) {
        put_address(w, seed);
    } else {
        wbuf_str(w, kind == 2 ? "**." : kind == 3 ? "*." : "");
        put_name(w, seed);
    }
    wbuf_printf(w, "\", port: %u%s }\n", ports[below(seed, 3)], tails[kind == 1 ? 0 : below(seed, 6)]);
}

static void put_rule(struct wbuf *w, uint64_t *seed, const char *key, const char *binary)
{
    wbuf_printf(w, "  %s:\n    binaries: [{ path: \"%s\" }]\n    endpoints:\n", key, binary);
    for (size_t n = below(seed, ENDPOINTS_MAX / 2) + 1; n > 0; n--) {
        put_endpoint(w, seed);
    }
}

static void random_policy(char *text, size_t cap, uint64_t *seed)
{
    struct wbuf w = wbuf_make(text, cap - 1);
    wbuf_str(&w, "version: 1\nnetwork_policies:\n");
    put_rule(&w, seed, "any", "/**");
    put_rule(&w, seed, "some", "/bin/a");
    wbuf_str(&w, "egress:\n  defaults: { timeouts: { lifetime: 1h } }\n  never: [9.9.9.9]\n  hosts:\n");
    wbuf_str(&w, "    a.example: [10.0.0.1]\n    b.a.example: [10.0.0.9, 10.0.0.3]\n");
    text[w.len] = '\0';
    assert_false(w.overflow);
}

/* ---- the loop over all endpoints ---- */

struct naive {
    const struct policy_endpoint *best;
    bool requires_l7, has_other_binary, is_chained;
};

static int rank(const struct policy_endpoint *ep)
{
    return ep->host_kind == ENDPOINT_HOSTLESS ? 2 : ep->host_kind == ENDPOINT_WILDCARD ? 1 : 0;
}

static bool is_better(const struct policy_endpoint *a, const struct policy_endpoint *b)
{
    if (b == NULL || rank(a) != rank(b)) {
        return b == NULL || rank(a) < rank(b);
    }
    int order = rank(a) == 1 ? host_pattern_compare(&a->pattern, &b->pattern) : 0;
    return order < 0 || (order == 0 && a->pos.line < b->pos.line);
}

static bool lists(const struct policy_endpoint *ep, const struct ip *ip)
{
    for (size_t i = 0; i < ep->allowed_ip_count; i++) {
        if (ip_prefix_contains(&ep->allowed_ips[i], ip)) {
            return true;
        }
    }
    return false;
}

static bool names_host(const struct policy_rules *r, const struct policy_endpoint *ep, const struct host *h)
{
    switch (ep->host_kind) {
    case ENDPOINT_IP:
        return h->kind == HOST_IP && ip_is_equal(&ep->ip, &h->ip);
    case ENDPOINT_EXACT:
    case ENDPOINT_WILDCARD:
        return h->kind == HOST_DNS && host_pattern_matches(&ep->pattern, &h->name);
    case ENDPOINT_HOSTLESS:
        break;
    }
    if (h->kind == HOST_IP) {
        return lists(ep, &h->ip);
    }
    for (size_t i = 0; i < r->host_count; i++) {
        for (size_t k = 0; host_name_is_equal(&r->hosts[i].name, &h->name) && k < r->hosts[i].addr_count;
             k++) {
            if (lists(ep, &r->hosts[i].addrs[k])) {
                return true;
            }
        }
    }
    return false;
}

static enum reason naive_reason(const struct policy *p, const struct judge_config *cfg, const struct host *h,
                                uint16_t port, struct naive *n)
{
    const struct policy_rules *r = policy_rules_of(p);
    for (size_t i = 0; i < r->rule_count; i++) {
        for (size_t k = 0; k < r->rules[i].endpoint_count; k++) {
            const struct policy_endpoint *ep = &r->rules[i].endpoints[k];
            if (ep->ports[0] != port || !names_host(r, ep, h)) {
                continue;
            }
            if (i == 1 && !cfg->ignore_binaries) { /* the rule "some" */
                n->has_other_binary = true;
                continue;
            }
            n->requires_l7 = n->requires_l7 || ep->requires_l7;
            n->best = is_better(ep, n->best) ? ep : n->best;
        }
    }
    if (n->best == NULL) {
        return n->has_other_binary ? REASON_BINARY_DENIED : REASON_POLICY_DENIED;
    }
    bool wants_chain = n->best->proxy == PROXY_CHAIN || (n->requires_l7 && n->best->proxy == PROXY_UNSET);
    n->is_chained = wants_chain && cfg->has_chain;
    if (n->is_chained || !wants_chain || (n->best->proxy == PROXY_UNSET && cfg->l7 == L7_TUNNEL)) {
        return REASON_NONE;
    }
    return REASON_L7_REQUIRED;
}

/* Every address known without a lookup is refused, or none could be permitted. */
static bool is_ssrf(const struct explain_scene *s, const struct naive *n, uint16_t port)
{
    const struct policy_rules *r = policy_rules_of(s->policy);
    const struct host *h = &s->target.host;
    const struct dest_guard *guard = &s->cfg.tunneld_guard.view;
    const struct policy_host *fixed = NULL;
    struct dest_verdict v;
    if (n->is_chained && s->cfg.chain.by_name && h->kind == HOST_DNS) {
        return false; /* nobody here knows its address */
    }
    if (h->kind == HOST_IP) {
        judge_dest(s->policy, guard, n->best, &h->ip, port, false, &v);
        return v.verdict != VERDICT_ALLOW;
    }
    for (size_t i = 0; i < r->host_count; i++) {
        fixed = host_name_is_equal(&r->hosts[i].name, &h->name) ? &r->hosts[i] : fixed;
    }
    if (fixed == NULL) {
        const struct ip public = ip_v4(8, 8, 8, 8);
        judge_dest(s->policy, guard, n->best, &public, port, false, &v);
        return port == 6443 && n->best->allowed_ip_count == 0 && v.verdict != VERDICT_ALLOW;
    }
    for (size_t i = 0; i < fixed->addr_count; i++) {
        judge_dest(s->policy, guard, n->best, &fixed->addrs[i], port, true, &v);
        if (v.verdict == VERDICT_ALLOW) {
            return false;
        }
    }
    return true;
}

static void check_sources(const struct explain_scene *s, const struct explain_tunnel *t)
{
    const struct policy_endpoint *ep = t->name.endpoint;
    const struct tunnel_timers *timers = &t->name.timers;
    struct judge_tuning levels[JUDGE_LEVEL_COUNT];
    judge_tuning_levels(s->policy, &s->cfg.judge, ep, levels);
    const struct tunnel_timers *idle = levels[t->sources[EXPLAIN_IDLE].level].timers;
    const struct tunnel_timers *lifetime = levels[t->sources[EXPLAIN_LIFETIME].level].timers;
    assert_int_equal(idle->idle_ms, timers->idle_ms);
    assert_int_equal(lifetime->lifetime_ms, timers->lifetime_ms);
    assert_int_equal(t->sources[EXPLAIN_LIFETIME].level, JUDGE_LEVEL_DEFAULTS);
    assert_int_equal(t->sources[EXPLAIN_CONNECT].level, JUDGE_LEVEL_BUILTIN);
    assert_int_equal(t->sources[EXPLAIN_KEEPALIVE].level == JUDGE_LEVEL_ENDPOINT,
                     ep->keepalive.mode != KEEPALIVE_UNSET);
}

/* Both forms begin with the verdict of the facts. */
static void check_printed(const struct explain_scene *s, uint64_t seed)
{
    char *text = explain_scene_text(s);
    char *json = explain_scene_json(s);
    char expect[128];
    const char *word = s->facts.is_allowed ? "allowed" : "denied";
    (void)snprintf(expect, sizeof expect, "{\"verdict\":\"%s\",\"reason\":%s%s%s,", word,
                   s->facts.is_allowed ? "null" : "\"",
                   s->facts.is_allowed ? "" : reason_text(s->facts.reason), s->facts.is_allowed ? "" : "\"");
    if (strncmp(json, expect, strlen(expect)) != 0 ||
        strncmp(text, s->facts.is_allowed ? "ALLOWED  " : "DENIED   ", 9) != 0) {
        fail_msg("seed %llu:\n%s\n%s", (unsigned long long)seed, text, json);
    }
    if (!s->facts.is_allowed) {
        (void)snprintf(expect, sizeof expect, "[%s]", reason_text(s->facts.reason));
        char *line_end = strchr(text, '\n');
        const char *found = strstr(text, expect);
        assert_true(found != NULL && found < line_end);
    }
    free(text);
    free(json);
}

static bool check_host(struct explain_scene *s, const char *target, uint64_t seed)
{
    explain_scene_ask(s, target);
    const struct explain_facts *f = &s->facts;
    const struct explain_tunnel *t = &f->tunnels[0];
    struct naive n = {NULL, false, false, false};
    struct tunnel_verdict v;
    enum reason want = naive_reason(s->policy, &s->cfg.judge, &s->target.host, s->target.port, &n);
    judge_tunnel(s->policy, &s->cfg.judge, &s->target.host, s->target.port, &v);
    if (v.reason != want || v.endpoint != n.best || t->name.reason != want || t->name.endpoint != n.best) {
        fail_msg("seed %llu: %s: %s, %s expected", (unsigned long long)seed, target, reason_text(v.reason),
                 reason_text(want));
    }
    if (want == REASON_NONE && is_ssrf(s, &n, s->target.port)) {
        want = REASON_SSRF_DENIED;
    }
    if (f->reason != want || f->is_allowed != (want == REASON_NONE) || t->reason != want) {
        fail_msg("seed %llu: %s: explained as %s, %s expected", (unsigned long long)seed, target,
                 reason_text(f->reason), reason_text(want));
    }
    assert_int_equal(t->candidate_count > 0 && t->candidates[0].fate == EXPLAIN_FATE_DECIDES, n.best != NULL);
    if (n.best != NULL) {
        assert_ptr_equal(t->candidates[0].endpoint, n.best);
        check_sources(s, t);
    }
    check_printed(s, seed);
    return f->is_allowed;
}

static void test_agreement(void **state)
{
    (void)state;
    static const char *const options[][3] = {
        {NULL},
        {"--l7=tunnel", NULL},
        {"--binary-identity=ignore", NULL},
        {"--strict-private", "--idle-timeout=5s", NULL},
        {"--chain-proxy=http://10.200.0.1:3128", "--l7=tunnel", NULL},
        {"--chain-proxy=http://10.200.0.1:3128", "--chain-target=address", NULL}};
    static const unsigned ports[] = {80, 443, 6443, 81};
    const char *rounds_text = getenv("EXPLAIN_AGREE_ROUNDS");
    uint64_t rounds = rounds_text == NULL ? ROUNDS : strtoull(rounds_text, NULL, 10);
    uint64_t seed = 0x5eed5eed5eed5eedULL;
    size_t allowed = 0;
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t start = seed;
        char yaml[4096];
        struct explain_scene s;
        random_policy(yaml, sizeof yaml, &seed);
        explain_scene_start(&s, yaml, options[below(&seed, 6)]);
        for (size_t k = 0; k < HOSTS_PER_ROUND; k++) {
            char target[64];
            struct wbuf w = wbuf_make(target, sizeof target);
            if (below(&seed, 5) == 0) {
                put_address(&w, &seed);
            } else {
                put_name(&w, &seed);
            }
            wbuf_printf(&w, ":%u", ports[below(&seed, 4)]);
            wbuf_u8(&w, 0);
            allowed += check_host(&s, target, start);
        }
        explain_scene_stop(&s);
    }
    /* the comparison means something only if both verdicts are frequent */
    size_t asked = (size_t)rounds * HOSTS_PER_ROUND;
    assert_true(allowed > asked / 20 && allowed < asked * 19 / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agreement),
    };
    clearenv();
    return cmocka_run_group_tests_name("explain_agree", tests, NULL, NULL);
}

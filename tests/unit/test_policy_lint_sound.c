/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "This endpoint never decides" is true: over random policies, each endpoint told so is taken out, and no
 * decision changes. The seed is fixed: a failure prints the policy.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/buf.h"
#include "common/policy/judge_dest.h"
#include "common/policy/policy_lint.h"

#include <stdio.h>

#define ROUNDS 400
#define RULES_MAX 10
#define TEXT_CAP 8192
#define FIRST_RULE_LINE 3

static size_t below(uint64_t *seed, size_t bound)
{
    *seed ^= *seed << 13; /* xorshift64, Marsaglia 2003 */
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (size_t)(*seed % bound);
}

/* One rule with one endpoint on one line, so that taking a line out takes the endpoint out. */
static void put_rule(struct wbuf *w, size_t number, uint64_t *seed)
{
    static const char *const hosts[] = {"a.b.c", "a.b.c", "'*.b.c'", "'**.b.c'", "'a*.b.c'", "192.0.2.1"};
    static const char *const ports[] = {"443", "80", "80, 443", "443, 6443", "80, 443, 6443"};
    static const char *const binaries[] = {"/**", "/bin/x", "/bin/y"};
    static const char *const extras[] = {"",
                                         "",
                                         "",
                                         ", timeouts: { idle: 1m }",
                                         ", keepalive: off",
                                         ", allowed_ips: [10.0.0.0/8]",
                                         ", protocol: rest, enforcement: enforce, access: read-only",
                                         ", proxy: direct",
                                         ", dns: { types: [SRV] }",
                                         ", dns: { types: [TXT, SRV] }"};
    size_t host = below(seed, 6);
    size_t extra_count = host == 5 ? 8 : 10; /* an address has no records of DNS */
    size_t first = below(seed, extra_count);
    size_t second = below(seed, extra_count);
    wbuf_printf(w, "  r%zu: { binaries: [{ path: %s }], endpoints: [{ host: %s, ports: [%s]%s%s }] }\n",
                number, binaries[below(seed, 3)], hosts[host], ports[below(seed, 5)], extras[first],
                first == second || first < 3 ? ""
                : second < 3                 ? extras[second]
                                             : "");
}

static size_t make_text(char *text, uint64_t *seed)
{
    struct wbuf w = wbuf_make(text, TEXT_CAP - 1);
    size_t count = 2 + below(seed, RULES_MAX - 1);
    wbuf_str(&w, "version: 1\nnetwork_policies:\n");
    for (size_t i = 0; i < count; i++) {
        put_rule(&w, i, seed);
    }
    assert_false(w.overflow);
    text[w.len] = '\0';
    return w.len;
}

static struct policy *compile(struct span text)
{
    const struct policy_text one = {"p.yaml", text};
    struct policy_rules *rules = NULL;
    struct policy_diags diags = {0};
    struct policy *p = NULL;
    assert_int_equal(policy_load(&one, 1, &rules, &diags), 0);
    policy_diags_fini(&diags);
    assert_int_equal(policy_compile(rules, 1, &p), 0);
    return p;
}

static struct span without_line(struct span text, uint32_t line, char *out)
{
    size_t used = 0;
    uint32_t at = 1;
    for (size_t i = 0; i < text.len; i++) {
        if (at != line) {
            out[used++] = (char)text.data[i];
        }
        at += text.data[i] == '\n';
    }
    return span_make(out, used);
}

static bool is_same_tunnel(const struct policy *a, const struct policy *b, const struct host *host,
                           uint16_t port, bool ignore_binaries)
{
    struct judge_config cfg = {.ignore_binaries = ignore_binaries};
    struct tunnel_verdict v;
    struct tunnel_verdict w;
    tunnel_timers_unset(&cfg.option_timers);
    judge_tunnel(a, &cfg, host, port, &v);
    judge_tunnel(b, &cfg, host, port, &w);
    return v.verdict == w.verdict && v.reason == w.reason && v.carriage == w.carriage &&
           v.timers.idle_ms == w.timers.idle_ms && v.keepalive.mode == w.keepalive.mode;
}

static bool is_same_answer(const struct policy *a, const struct policy *b, const struct host_name *name)
{
    static const struct dest_guard guard = {0};
    const struct ip ips[] = {ip_v4(10, 0, 0, 1), ip_v4(93, 184, 216, 34), ip_v4(192, 168, 0, 1)};
    struct name_verdict v;
    struct name_verdict w;
    judge_name(a, name, &v);
    judge_name(b, name, &w);
    bool is_same = v.kind == w.kind && v.is_wildcard == w.is_wildcard && v.dns_types == w.dns_types;
    for (size_t i = 0; i < sizeof ips / sizeof ips[0]; i++) {
        struct dest_verdict d;
        struct dest_verdict e;
        judge_answer(a, &guard, name, &ips[i], false, &d);
        judge_answer(b, &guard, name, &ips[i], false, &e);
        is_same = is_same && d.verdict == e.verdict;
    }
    return is_same;
}

static bool is_same_policy(const struct policy *a, const struct policy *b)
{
    static const char *const hosts[] = {"a.b.c", "ab.b.c", "x.b.c", "x.a.b.c", "b.c", "192.0.2.1"};
    static const uint16_t ports[] = {22, 80, 443, 6443};
    bool is_same = true;
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        struct host host;
        assert_int_equal(host_parse(span_str(hosts[i]), &host), HOST_FAULT_NONE);
        for (size_t k = 0; k < sizeof ports / sizeof ports[0]; k++) {
            is_same = is_same && is_same_tunnel(a, b, &host, ports[k], false) &&
                      is_same_tunnel(a, b, &host, ports[k], true);
        }
        is_same = is_same && (host.kind != HOST_DNS || is_same_answer(a, b, &host.name));
    }
    return is_same;
}

static size_t check_shadows(const struct policy *p, struct span text)
{
    const struct policy_text one = {"p.yaml", text};
    struct policy_diags diags = {0};
    size_t shadows = 0;
    assert_int_equal(policy_lint(p, &one, 1, &diags), 0);
    for (size_t i = 0; i < diags.count; i++) {
        static const char mark[] = "this endpoint never decides";
        char rest[TEXT_CAP];
        if (strncmp(diags.items[i].message, mark, sizeof mark - 1) != 0) {
            continue;
        }
        shadows++;
        assert_true(diags.items[i].line >= FIRST_RULE_LINE);
        struct policy *without = compile(without_line(text, diags.items[i].line, rest));
        if (!is_same_policy(p, without)) {
            fail_msg("line %u decides:\n%.*s", diags.items[i].line, (int)text.len, (const char *)text.data);
        }
        policy_unref(without);
    }
    policy_diags_fini(&diags);
    return shadows;
}

static void test_shadows_never_decide(void **state)
{
    (void)state;
    uint64_t seed = 20261124;
    size_t shadows = 0;
    for (size_t round = 0; round < ROUNDS; round++) {
        char text[TEXT_CAP];
        size_t len = make_text(text, &seed);
        struct policy *p = compile(span_make(text, len));
        shadows += check_shadows(p, span_make(text, len));
        policy_unref(p);
    }
    assert_true(shadows > ROUNDS / 8); /* else nothing was tested */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shadows_never_decide),
    };
    return cmocka_run_group_tests_name("policy_lint_sound", tests, NULL, NULL);
}

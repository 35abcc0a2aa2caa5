/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/explain_scene.h"

#include "egress/explain_words.h"

#include <stdio.h>
#include <stdlib.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define LESS "protocol: rest, access: read-only, enforcement: enforce"

static const char policy_yaml[] =
    "version: 1\n"
    "network_policies:\n"
    "  discord:\n" /* line 3 */
    "    binaries: [{ path: \"/**\" }]\n"
    "    endpoints:\n"
    "      - { host: gateway.discord.gg, port: 443, proxy: direct, timeouts: { connect: 3s } }\n" /* 6 */
    "      - { host: \"*.discord.gg\", port: 443 }\n"
    "      - { host: \"**.discord.gg\", ports: [80, 8443] }\n"
    "      - { host: discord.com, port: 443 }\n"
    "      - { host: gateway.discord.gg, port: 443 }\n" /* 10 */
    "      - { host: api.github.com, port: 443, " LESS " }\n"
    "      - { host: \"*.github.com\", port: 443, " LESS " }\n"
    "      - { host: raw.github.com, port: 443 }\n"
    "      - { host: direct.github.com, port: 443, proxy: direct, " LESS " }\n"
    "      - { host: chained.example.com, port: 443, proxy: chain }\n" /* 15 */
    "      - { port: 5432, allowed_ips: [10.9.0.0/16] }\n"
    "      - { host: 9.9.9.9, port: 53 }\n"
    "      - { host: 192.0.2.7, port: 443 }\n"
    "      - { host: db.example.com, port: 5432 }\n"
    "      - { host: \"*.k8s.example.com\", port: 6443 }\n" /* 20 */
    "      - { host: meta.example.com, port: 80, allowed_ips: [10.0.0.1] }\n"
    "  curl:\n"
    "    binaries: [{ path: /usr/bin/curl }]\n"
    "    endpoints: [{ host: curl.example.com, port: 443 }]\n"
    "egress:\n" /* 25 */
    "  defaults: { timeouts: { lifetime: 2h } }\n"
    "  hosts: { db.example.com: [10.9.0.5, \"fd00::5\"], meta.example.com: [10.0.0.2], lost.example.org: "
    "[10.1.0.1] }\n"
    "  never: [9.9.9.9]\n"
    "  endpoints:\n"
    "    - { host: discord.com, port: 443, timeouts: { idle: 7m } }\n"; /* 30 */

/* The verdict of each target, the line that decides, and a piece of what is printed. */
static void test_verdicts(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        enum reason reason;
        unsigned line; /* of the endpoint that decides; 0: none */
        const char *expect;
    } rows[] = {
        {"gateway.discord.gg:443", REASON_NONE, 6,
         "ALLOWED  gateway.discord.gg:443 by rule \"discord\" (test.yaml:6)\n"},
        {"x.discord.gg:443", REASON_NONE, 7, "*.discord.gg, port 443, rule \"discord\" (test.yaml:7)"},
        {"x.discord.gg:80", REASON_NONE, 8, "port 80: carried raw"},
        {"X.Discord.GG.:443", REASON_NONE, 7, "x.discord.gg (made lower case, final dot removed)"},
        {"a.b.discord.gg:443", REASON_POLICY_DENIED, 0,
         "Hint      rule \"discord\" (test.yaml:8) admits it on port 80, 8443"},
        {"discord.gg:443", REASON_POLICY_DENIED, 0,
         "\"*.discord.gg\" (test.yaml:7) admits names below discord.gg, not discord.gg itself"},
        {"www.discord.com:443", REASON_POLICY_DENIED, 0,
         "\"discord.com\" (test.yaml:9) admits that name alone"},
        {"discrod.com:443", REASON_POLICY_DENIED, 0, "did you mean discord.com (test.yaml:9)?"},
        {"a.b.github.com:443", REASON_POLICY_DENIED, 0,
         "\"*.github.com\" (test.yaml:12) admits b.github.com: a * stands for one label"},
        {"nothing.example.net", REASON_POLICY_DENIED, 0,
         "DENIED   nothing.example.net: no rule names this host [policy_denied]"},
        {"api.github.com:443", REASON_L7_REQUIRED, 11,
         "(test.yaml:11) needs a proxy that reads requests: it admits only some requests"},
        {"raw.github.com:443", REASON_L7_REQUIRED, 13, "(test.yaml:12) needs a proxy"},
        {"direct.github.com:443", REASON_NONE, 14, "carried raw (proxy: direct, test.yaml:14)"},
        {"chained.example.com:443", REASON_L7_REQUIRED, 15,
         "says proxy: chain, and there is no --chain-proxy"},
        {"10.9.1.1:5432", REASON_NONE, 16, "10.9.1.1        private, permitted"},
        {"10.8.1.1:5432", REASON_POLICY_DENIED, 0, "no rule names this address"},
        {"9.9.9.9:53", REASON_SSRF_DENIED, 17, "9.9.9.9 is refused: egress.never"},
        {"192.0.2.7:443", REASON_NONE, 18, "an address of class documentation"},
        {"db.example.com:5432", REASON_NONE, 19, "A      10.9.0.5 (TTL 30s)"},
        {"x.k8s.example.com:6443", REASON_SSRF_DENIED, 20, "a control-plane port needs an exact host"},
        {"meta.example.com:80", REASON_SSRF_DENIED, 21, "10.0.0.2 is refused: the endpoint's allowed_ips"},
        {"lost.example.org:443", REASON_POLICY_DENIED, 0, "egress.hosts has addresses for it (test.yaml:27)"},
        {"curl.example.com:443", REASON_BINARY_DENIED, 0, "is for the programs it names"},
        {"[::1]:443", REASON_POLICY_DENIED, 0,
         "a rule that names it would not help: a loopback address is never dialled"},
        {"example.com:443", REASON_POLICY_DENIED, 0, "every type: NODATA"},
        {"b\xc3\xbc.de:443", REASON_BAD_REQUEST, 0, "write the xn-- form"},
        {"a\x1b[31m.de", REASON_BAD_REQUEST, 0, "DENIED   a?[31m.de: "},
    };
    struct explain_scene s;
    explain_scene_start(&s, policy_yaml, NULL);
    for (size_t i = 0; i < COUNT(rows); i++) {
        explain_scene_ask(&s, rows[i].target);
        const struct explain_tunnel *t = s.facts.tunnel_count > 0 ? &s.facts.tunnels[0] : NULL;
        unsigned line = t == NULL || t->name.endpoint == NULL ? 0 : t->name.endpoint->pos.line;
        char *text = explain_scene_text(&s);
        if (s.facts.reason != rows[i].reason || s.facts.is_allowed != (rows[i].reason == REASON_NONE) ||
            line != rows[i].line || strstr(text, rows[i].expect) == NULL) {
            fail_msg("%s: %s by line %u, \"%s\" expected in\n%s", rows[i].target, reason_text(s.facts.reason),
                     line, rows[i].expect, text);
        }
        assert_null(strchr(text, '\x1b'));
        free(text);
    }
    explain_scene_stop(&s);
}

static void test_candidates(void **state)
{
    (void)state;
    static const struct {
        unsigned line;
        enum explain_fate fate;
    } want[] = {{6, EXPLAIN_FATE_DECIDES},
                {10, EXPLAIN_FATE_LATER},
                {7, EXPLAIN_FATE_LESS_SPECIFIC},
                {8, EXPLAIN_FATE_OTHER_PORT}};
    struct explain_scene s;
    explain_scene_start(&s, policy_yaml, NULL);
    explain_scene_ask(&s, "gateway.discord.gg:443");
    const struct explain_tunnel *t = &s.facts.tunnels[0];
    assert_int_equal(t->candidate_count, COUNT(want));
    assert_int_equal(t->candidate_total, COUNT(want));
    for (size_t i = 0; i < COUNT(want); i++) {
        assert_int_equal(t->candidates[i].endpoint->pos.line, want[i].line);
        assert_int_equal(t->candidates[i].fate, want[i].fate);
    }
    explain_scene_ask(&s, "raw.github.com:443"); /* the one that lost still binds */
    assert_int_equal(s.facts.tunnels[0].l7_by->pos.line, 12);
    explain_scene_ask(&s, "curl.example.com:443");
    assert_int_equal(s.facts.tunnels[0].candidates[0].fate, EXPLAIN_FATE_OTHER_BINARY);
    explain_scene_stop(&s);
}

/* More endpoints than are listed: the best are, and all are counted. */
static void test_many_candidates(void **state)
{
    (void)state;
    static char yaml[32768];
    size_t len =
        (size_t)snprintf(yaml, sizeof yaml,
                         "version: 1\nnetwork_policies:\n  many:\n    binaries: [{ path: \"/**\" }]\n"
                         "    endpoints:\n");
    for (size_t i = 0; i < 300; i++) {
        len += (size_t)snprintf(yaml + len, sizeof yaml - len,
                                "      - { host: \"*.example.com\", port: %zu }\n", i < 100 ? 443 : 1000 + i);
    }
    (void)snprintf(yaml + len, sizeof yaml - len, "      - { host: a.example.com, port: 443 }\n");
    struct explain_scene s;
    explain_scene_start(&s, yaml, NULL);
    explain_scene_ask(&s, "a.example.com:443");
    const struct explain_tunnel *t = &s.facts.tunnels[0];
    assert_int_equal(t->candidate_total, 301);
    assert_int_equal(t->candidate_count, EXPLAIN_CANDIDATES_MAX);
    assert_int_equal(t->candidates[0].endpoint->pos.line, 306);
    assert_int_equal(t->candidates[1].endpoint->pos.line, 6);
    explain_scene_ask(&s, "a.example.com"); /* without a port: the lowest ones */
    assert_int_equal(s.facts.port_total, 201);
    assert_int_equal(s.facts.tunnel_count, EXPLAIN_PORTS_MAX);
    assert_int_equal(s.facts.tunnels[0].port, 443);
    assert_int_equal(s.facts.tunnels[1].port, 1100);
    char *text = explain_scene_text(&s);
    assert_non_null(strstr(text, "(and 169 more ports: give the one you mean)"));
    free(text);
    explain_scene_stop(&s);
}

static void check_source(const struct explain_scene *s, enum explain_value v, const char *value,
                         const char *source)
{
    char text[EXPLAIN_WORDS_CAP];
    const struct explain_tunnel *t = &s->facts.tunnels[0];
    assert_string_equal(explain_value_text(t, v, text, sizeof text), value);
    assert_string_equal(explain_source_text(&s->facts, &t->sources[v], v, text, sizeof text), source);
}

static void test_sources(void **state)
{
    (void)state;
    static const char *const options[] = {"--half-close-timeout", "1m", "--user-timeout=0", NULL};
    struct explain_scene s;
    setenv("OPENSHELL_TUNNELD_KEEPALIVE", "5s,1s,2", 1);
    explain_scene_start(&s, policy_yaml, options);
    explain_scene_ask(&s, "gateway.discord.gg:443");
    check_source(&s, EXPLAIN_CONNECT, "3s", "endpoint, test.yaml:6");
    check_source(&s, EXPLAIN_IDLE, "0 (never closed for being quiet)", "built in");
    check_source(&s, EXPLAIN_LIFETIME, "2h", "egress.defaults, test.yaml:26");
    check_source(&s, EXPLAIN_HALF_CLOSE, "1m", "option --half-close-timeout");
    check_source(&s, EXPLAIN_USER, "0 (the kernel's own)", "option --user-timeout");
    check_source(&s, EXPLAIN_KEEPALIVE, "first probe after 5s, then every 1s, 2 in all",
                 "environment, OPENSHELL_TUNNELD_KEEPALIVE");
    explain_scene_ask(&s, "discord.com:443"); /* shaped by the overlay */
    check_source(&s, EXPLAIN_IDLE, "7m", "endpoint, test.yaml:30");
    check_source(&s, EXPLAIN_CONNECT, "10s", "built in");
    explain_scene_stop(&s);
    unsetenv("OPENSHELL_TUNNELD_KEEPALIVE");
}

static void check_dns(const struct explain_scene *s, size_t at, enum answer_route route, enum dns_rcode rcode)
{
    assert_true(at < s->facts.dns_count);
    assert_int_equal(s->facts.dns[at].route, route);
    if (route == ANSWER_ROUTE_DONE) {
        assert_int_equal(s->facts.dns[at].answer.rcode, rcode);
    }
}

static void test_dns(void **state)
{
    (void)state;
    static const char *const options[] = {"--answer=synthetic", "--deny=refused", "--aaaa=pass", NULL};
    struct explain_scene s;
    explain_scene_start(&s, policy_yaml, options);
    explain_scene_ask(&s, "gateway.discord.gg");
    check_dns(&s, 0, ANSWER_ROUTE_RESOLVE, DNS_NOERROR);
    check_dns(&s, 2, ANSWER_ROUTE_DONE, DNS_NOERROR);
    check_dns(&s, 3, ANSWER_ROUTE_DONE, DNS_NOERROR);
    const struct ip good = ip_v4(162, 159, 1, 1);
    struct answer_lookup lookup = {
        .v4 = {.state = ANSWER_ADDRS, .addrs = &good, .addr_count = 1, .ttl_s = 60},
        .v6 = {.state = ANSWER_NODATA}};
    explain_facts_answer(&s.facts, &lookup);
    assert_true(s.facts.dns[0].is_looked_up);
    assert_true(s.facts.dns[0].answer.wants_synthetic);
    explain_scene_ask(&s, "nothing.example.net");
    check_dns(&s, 0, ANSWER_ROUTE_DONE, DNS_REFUSED);
    explain_scene_ask(&s, "com");
    check_dns(&s, 0, ANSWER_ROUTE_DONE, DNS_NOERROR);
    explain_scene_ask(&s, "a b");
    check_dns(&s, 3, ANSWER_ROUTE_DONE, DNS_REFUSED);
    explain_scene_ask(&s, ".");
    check_dns(&s, 0, ANSWER_ROUTE_DONE, DNS_NOERROR); /* the root is above every admitted name */
    explain_scene_ask(&s, "1.2.3.4");
    assert_int_equal(s.facts.dns_count, 0);
    explain_scene_stop(&s);
}

/* What is suggested, put beside the policy, admits the target. */
static void test_suggestions(void **state)
{
    (void)state;
    static const char *const denied[] = {"nothing.example.net:443", "a.b.discord.gg:443",
                                         "api.github.com:443",      "raw.github.com:443",
                                         "10.8.1.1:5432",           "lost.example.org:1"};
    struct explain_scene s;
    explain_scene_start(&s, policy_yaml, NULL);
    for (size_t i = 0; i < COUNT(denied); i++) {
        explain_scene_ask(&s, denied[i]);
        assert_false(s.facts.is_allowed);
        assert_true(s.facts.tunnels[0].suggestion[0] != '\0');
        char more[EXPLAIN_YAML_CAP + 16];
        (void)snprintf(more, sizeof more, "version: 1\n%s", s.facts.tunnels[0].suggestion);
        const struct policy_text texts[] = {{"test.yaml", SPAN_LIT(policy_yaml)},
                                            {"more.yaml", span_str(more)}};
        struct policy_rules *rules = NULL;
        struct policy_diags diags = {0};
        struct policy *p = NULL;
        struct tunnel_verdict v;
        if (policy_load(texts, 2, &rules, &diags) != 0) {
            fail_msg("%s: %s: %s", denied[i], diags.items[0].message, more);
        }
        policy_diags_fini(&diags);
        assert_int_equal(policy_compile(rules, 1, &p), 0);
        judge_tunnel(p, &s.cfg.judge, &s.target.host, s.target.port, &v);
        if (v.verdict != VERDICT_ALLOW) {
            fail_msg("%s: still %s with\n%s", denied[i], reason_text(v.reason), more);
        }
        policy_unref(p);
    }
    explain_scene_ask(&s, "nothing.example.net"); /* no port: one is guessed, and said to be */
    assert_non_null(strstr(s.facts.suggestion, "port: 443"));
    explain_scene_ask(&s, "127.0.0.1:80");
    assert_string_equal(s.facts.tunnels[0].suggestion, "");
    explain_scene_ask(&s, "localhost:80");
    assert_string_equal(s.facts.tunnels[0].suggestion, "");
    explain_scene_stop(&s);
}

/* The loader's warnings about these endpoints, and none about others; what options do is said too. */
static void test_warnings(void **state)
{
    (void)state;
    static const char *const raw[] = {"--l7=tunnel", "--binary-identity=ignore", NULL};
    struct explain_scene s;
    explain_scene_start(&s, policy_yaml, NULL);
    explain_scene_ask(&s, "api.github.com:443");
    assert_non_null(
        strstr(s.facts.warnings[0].text, "does not start with this policy: rule \"curl\" (test.yaml:22)"));
    size_t about = 0;
    for (size_t i = 1; i < s.facts.warning_count; i++) {
        unsigned line = s.facts.warnings[i].diag->line;
        about += line == 11;
        assert_true(line == 11 || line == 12 || line == 3); /* itself, the wildcard beside it, the rule */
    }
    assert_true(about > 0);
    explain_scene_stop(&s);
    explain_scene_start(&s, policy_yaml, raw);
    explain_scene_ask(&s, "api.github.com:443");
    assert_true(s.facts.is_allowed);
    assert_non_null(strstr(s.facts.warnings[0].text, "--l7=tunnel: port 443 is carried raw"));
    char *text = explain_scene_text(&s);
    assert_null(strstr(text, "refused")); /* which the loader said, before it knew the option */
    free(text);
    explain_scene_stop(&s);
}

/* What the chain proxy changes: who is carried, what is looked at here, and what the loader warned of. */
static void test_chain(void **state)
{
    (void)state;
    static const char *const by_name[] = {"--chain-proxy=http://10.200.0.1:3128", "--binary-identity=ignore",
                                          "--chain-except=raw.github.com", NULL};
    static const char *const by_address[] = {"--chain-proxy=http://10.200.0.1:3128", "--chain-target=address",
                                             NULL};
    struct explain_scene s;
    explain_scene_start(&s, policy_yaml, by_name);
    explain_scene_ask(&s, "api.github.com:443");
    assert_true(s.facts.is_allowed);
    assert_int_equal(s.facts.warning_count, 0);
    char *text = explain_scene_text(&s);
    assert_non_null(strstr(text,
                           "port 443: carried through the chain proxy 10.200.0.1:3128, which is asked for "
                           "the name\n"));
    assert_non_null(strstr(text, "not looked at here: the chain proxy resolves the name"));
    assert_non_null(strstr(text, "--live looks them up; the chain proxy is not asked.\n"));
    free(text);
    text = explain_scene_json(&s);
    assert_non_null(strstr(text, "\"action\":\"chain\",\"chain\":{\"proxy\":\"10.200.0.1:3128\",\"target\":"
                                 "\"name\"}"));
    free(text);
    explain_scene_ask(&s, "chained.example.com:443");
    assert_true(s.facts.is_allowed);
    explain_scene_ask(&s, "gateway.discord.gg:443");
    text = explain_scene_json(&s);
    assert_non_null(strstr(text, "\"action\":\"raw\",\"chain\":null"));
    free(text);
    explain_scene_ask(&s, "raw.github.com:443");
    assert_int_equal(s.facts.reason, REASON_L7_REQUIRED);
    assert_non_null(strstr(s.facts.why, "--chain-except keeps it from the chain proxy"));
    explain_scene_stop(&s);
    explain_scene_start(&s, policy_yaml, by_address);
    explain_scene_ask(&s, "chained.example.com:443");
    assert_true(s.facts.is_allowed);
    text = explain_scene_text(&s);
    assert_non_null(strstr(text, "which is asked for a permitted address\n"));
    assert_non_null(strstr(text, "addresses  public and private ones"));
    free(text);
    explain_scene_stop(&s);
    /* without one: it has no request rules that could be lost */
    explain_scene_start(&s, policy_yaml, by_address + 2);
    explain_scene_ask(&s, "chained.example.com:443");
    text = explain_scene_text(&s);
    assert_non_null(strstr(text, "carries it raw, past any proxy\n"));
    assert_non_null(strstr(text, "This would admit chained.example.com:443, past the chain proxy:\n"));
    assert_null(strstr(text, "request rules"));
    free(text);
    explain_scene_stop(&s);
}

/* Addresses that a policy may not name stop the daemons, which explain says as well. */
static void test_pool_warning(void **state)
{
    (void)state;
    static const char yaml[] =
        "version: 1\nnetwork_policies:\n  r:\n    binaries: [{ path: \"/**\" }]\n"
        "    endpoints: [{ host: a.example.com, port: 1, allowed_ips: [198.18.0.1] }]\n";
    static const char *const moved[] = {"--pool=10.64.0.0/16", NULL};
    struct explain_scene s;
    explain_scene_start(&s, yaml, NULL);
    explain_scene_ask(&s, "a.example.com:1");
    assert_int_equal(s.facts.warning_count, 1);
    assert_non_null(strstr(s.facts.warnings[0].text,
                           "the daemons do not start with this policy: test.yaml:5:17: allowed_ips: "));
    explain_scene_stop(&s);
    setenv("OPENSHELL_DNSD_POOL", "10.64.0.0/16", 1);
    explain_scene_start(&s, yaml, NULL);
    explain_scene_ask(&s, "a.example.com:1");
    assert_int_equal(s.facts.warning_count, 1);
    assert_non_null(strstr(s.facts.warnings[0].text, "openshell-tunneld does not start with this policy: "));
    explain_scene_stop(&s);
    unsetenv("OPENSHELL_DNSD_POOL");
    explain_scene_start(&s, yaml, moved);
    explain_scene_ask(&s, "a.example.com:1");
    assert_int_equal(s.facts.warning_count, 0);
    explain_scene_stop(&s);
}

/* Nothing of a policy steers the terminal, and a strange name of its file loses no warning. */
static void test_hostile_names(void **state)
{
    (void)state;
    static const char yaml[] =
        "version: 1\nnetwork_policies:\n  \"r\\e[2J\\n\\u202e\":\n    binaries: [{ path: \"/**\" }]\n"
        "    endpoints: [{ host: a.example.com, port: 1, " LESS " }]\n";
    struct explain_scene s;
    explain_scene_start_file(&s, "p\x1b[2J\n\xe2\x80\xae.yaml", yaml, NULL);
    explain_scene_ask(&s, "a.example.com:1");
    assert_int_equal(s.facts.warning_count, 1);
    char *text = explain_scene_text(&s);
    assert_null(strchr(text, '\x1b'));
    assert_null(strstr(text, "\xe2\x80\xae"));
    assert_non_null(strstr(text, "rule \"r?[2J??\" (p?[2J??.yaml:5)"));
    assert_non_null(strstr(text, "Warning   p?[2J??.yaml:5: a tunnel cannot honour this endpoint"));
    free(text);
    char *json = explain_scene_json(&s); /* a program gets them as they are */
    assert_non_null(strstr(json, "\"file\":\"p\\u001b[2J\\n\\u202e.yaml\",\"line\":5"));
    free(json);
    explain_scene_stop(&s);
}

/* A name that is too long for a wildcard is denied by both daemons, so explain does not call it allowed. */
static void test_brakes(void **state)
{
    (void)state;
    static const char *const options[] = {"--wildcard-length", "12", "--wildcard-budget", "0", NULL};
    struct explain_scene s;
    explain_scene_start(&s, policy_yaml, options);
    explain_scene_ask(&s, "x.discord.gg:443"); /* 12 bytes */
    assert_true(s.facts.is_allowed);
    char *text = explain_scene_text(&s);
    assert_non_null(strstr(text, "only a wildcard admits it"));
    assert_non_null(strstr(text,
                           "names of at most 12 bytes (--wildcard-length), no limit (--wildcard-budget 0), "
                           "200 questions a second of a client (--rate-limit)"));
    free(text);
    explain_scene_ask(&s, "xx.discord.gg:443");
    assert_false(s.facts.is_allowed);
    assert_int_equal(s.facts.reason, REASON_WILDCARD_LENGTH);
    assert_int_equal(s.facts.dns[0].answer.rcode, DNS_NXDOMAIN);
    assert_int_equal(s.facts.dns[0].answer.soa_ttl_s, 1);
    assert_non_null(strstr(s.facts.tunnels[0].suggestion, "host: \"xx.discord.gg\", port: 443"));
    char *json = explain_scene_json(&s);
    assert_non_null(strstr(json, "\"brakes\":{\"pattern\":\"*.discord.gg\",\"dnsd\":{\"rate_limit\":200,"
                                 "\"wildcard_budget\":0,\"wildcard_length\":12}"));
    free(json);
    explain_scene_ask(&s, "gateway.discord.gg:443"); /* longer, but named by a rule */
    assert_true(s.facts.is_allowed);
    json = explain_scene_json(&s);
    assert_non_null(strstr(json, "\"brakes\":null"));
    free(json);
    explain_scene_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_candidates),
        cmocka_unit_test(test_many_candidates),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_dns),
        cmocka_unit_test(test_suggestions),
        cmocka_unit_test(test_warnings),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_pool_warning),
        cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_brakes),
    };
    clearenv();
    return cmocka_run_group_tests_name("explain_facts", tests, NULL, NULL);
}

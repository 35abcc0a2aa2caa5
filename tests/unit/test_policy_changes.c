/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/policy_text.h"

#include "common/policy/policy_changes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT 8
#define TEXT_CAP 32768

static const char *const kinds[] = {[POLICY_RULE_ADDED] = "added",
                                    [POLICY_RULE_REMOVED] = "removed",
                                    [POLICY_RULE_CHANGED] = "changed",
                                    [POLICY_EGRESS_CHANGED] = "egress"};

/* Both are the inside of a document; the lines found must be those expected, "kind key: detail" each. */
static void check(const char *former, const char *current, const char *expected)
{
    char text[TEXT_CAP], found[4096] = "";
    struct policy_changes c;
    size_t len = 0;
    (void)snprintf(text, sizeof(text), "version: 1\n%s", former);
    struct policy_rules *a = policy_text_rules(text);
    (void)snprintf(text, sizeof(text), "version: 1\n%s", current);
    struct policy_rules *b = policy_text_rules(text);
    assert_int_equal(policy_changes_find(a, b, LIMIT, &c), 0);
    for (size_t i = 0; i < c.count; i++) {
        int n = snprintf(found + len, sizeof(found) - len, "%s %s: %s\n", kinds[c.items[i].kind],
                         c.items[i].key, c.items[i].detail);
        assert_true(n > 0 && (size_t)n < sizeof(found) - len);
        len += (size_t)n;
    }
    assert_string_equal(found, expected);
    assert_int_equal(c.added + c.removed + c.changed + c.egress_changed, c.count);
    policy_changes_fini(&c);
    policy_rules_free(a);
    policy_rules_free(b);
}

#define RULE(key, endpoints, more)                                                                           \
    "  " key ": { name: " key ", endpoints: [" endpoints "], binaries: [{ path: /usr/bin/node }" more "] "   \
    "}\n"
#define POLICY(rules) "network_policies:\n" rules
#define WEB "{ host: www.example.org, port: 443 }"
#define API "{ host: api.example.org, port: 443 }"

static void test_rules(void **state)
{
    (void)state;
    check(POLICY(RULE("a", WEB, "")), POLICY(RULE("a", WEB, "")), "");
    check(POLICY(RULE("a", WEB, "")), POLICY(RULE("a", WEB, "") RULE("b", API, "")),
          "added b: +api.example.org:443 +binary:/usr/bin/node\n");
    check(POLICY(RULE("b", API, "") RULE("a", WEB, "")), POLICY(RULE("a", WEB, "")),
          "removed b: -api.example.org:443 -binary:/usr/bin/node\n");
    /* the order in the file is no difference, neither of rules nor of what is in them */
    check(POLICY(RULE("b", API ", " WEB, "") RULE("a", WEB, ", { path: /bin/sh }")),
          POLICY("  a: { name: a, endpoints: [" WEB
                 "], binaries: [{ path: /bin/sh }, { path: /usr/bin/node }] }\n" RULE("b", WEB ", " API, "")),
          "");
    check("", POLICY(RULE("a", "", "")), "added a: +binary:/usr/bin/node\n");
    check(POLICY("  a: { name: a }\n"), POLICY("  a: { name: b }\n"), "changed a: name\n");
    check("", POLICY("  a: { name: a }\n"), "added a: \n");
}

static void test_changed_rules(void **state)
{
    (void)state;
    static const struct {
        const char *former, *current, *expected;
    } rows[] = {
        {"{ host: \"*.discord.gg\", port: 443 }", "{ host: gateway.discord.gg, port: 443 }",
         "+gateway.discord.gg:443 -*.discord.gg:443"},
        {WEB, WEB ", " API, "+api.example.org:443"},
        {WEB ", " API, WEB, "-api.example.org:443"},
        {WEB, "{ host: www.example.org, ports: [443, 80] }", "-www.example.org:443 +www.example.org:80,443"},
        {"{ host: www.example.org, ports: [1, 2, 3, 4, 5] }", WEB,
         "+www.example.org:443 -www.example.org:1,2,3,4,..."},
        {WEB, "{ host: www.example.org, port: 443, proxy: direct }", "~www.example.org:443(proxy)"},
        {WEB, "{ host: www.example.org, port: 443, timeouts: { idle: 5m, connect: 3s }, keepalive: off }",
         "~www.example.org:443(connect,idle,keepalive)"},
        {"{ host: www.example.org, port: 443, timeouts: { lifetime: 1h, half_close: 1m, user: 10s } }", WEB,
         "~www.example.org:443(lifetime,half_close,user)"},
        {"{ host: www.example.org, port: 443, keepalive: { idle: 60s, interval: 15s, probes: 4 } }",
         "{ host: www.example.org, port: 443, keepalive: { idle: 60s, interval: 15s, probes: 5 } }",
         "~www.example.org:443(keepalive)"},
        {WEB, "{ host: www.example.org, port: 443, protocol: rest, enforcement: enforce, access: read-only }",
         "~www.example.org:443(protocol,access,enforcement,rules)"},
        {WEB, "{ host: www.example.org, port: 443, tls: skip }", "~www.example.org:443(tls)"},
        {WEB, "{ host: www.example.org, port: 443, dns: { types: [TXT] } }", "~www.example.org:443(dns)"},
        {"{ host: www.example.org, port: 443, keepalive: off, dns: { types: [TXT] } }",
         "{ host: www.example.org, port: 443, dns: { types: [TXT, SRV] } }",
         "~www.example.org:443(keepalive,dns)"},
        {WEB, "{ host: www.example.org, port: 443, allowed_ips: [10.1.0.0/16] }",
         "~www.example.org:443(allowed_ips)"},
        {"{ port: 5432, allowed_ips: [10.1.0.0/16] }", "{ port: 5432, allowed_ips: [10.2.0.0/16] }",
         "-10.1.0.0/16:5432 +10.2.0.0/16:5432"},
        {"{ port: 5432, allowed_ips: [10.1.0.0/16, 10.2.0.0/16, 10.3.0.0/16] }", "",
         "-10.1.0.0/16,10.2.0.0/16,...:5432"},
        {"{ host: 93.184.216.34, port: 443 }", "{ host: \"2606:2800:220:1::1\", port: 443 }",
         "-93.184.216.34:443 +[2606:2800:220:1::1]:443"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char former[512], current[512], expected[512];
        (void)snprintf(former, sizeof(former), "network_policies:\n  a: { name: a, endpoints: [%s] }\n",
                       rows[i].former);
        (void)snprintf(current, sizeof(current), "network_policies:\n  a: { name: a, endpoints: [%s] }\n",
                       rows[i].current);
        (void)snprintf(expected, sizeof(expected), "changed a: %s\n", rows[i].expected);
        check(former, current, expected);
    }
    check(POLICY(RULE("a", WEB, "")), POLICY(RULE("a", WEB, ", { path: /usr/bin/python3 }")),
          "changed a: +binary:/usr/bin/python3\n");
}

static void test_egress(void **state)
{
    (void)state;
#define EGRESS(text) POLICY(RULE("a", WEB, "")) "egress: { " text " }\n"
    check(EGRESS(""), EGRESS("defaults: { timeouts: { idle: 5m } }"), "egress defaults: idle\n");
    check(EGRESS("defaults: { timeouts: { idle: 5m, connect: 1s }, keepalive: off }"), EGRESS(""),
          "egress defaults: connect,idle,keepalive\n");
    check(EGRESS("hosts: { www.example.org: [10.1.1.1] }"), EGRESS("hosts: { www.example.org: [10.1.1.2] }"),
          "egress hosts: ~www.example.org\n");
    check(EGRESS(""), EGRESS("hosts: { www.example.org: [10.1.1.2] }"), "egress hosts: +www.example.org\n");
    check(EGRESS("hosts: { www.example.org: [10.1.1.2] }"), EGRESS("hosts: { www.example.org: [10.1.1.2] }"),
          "");
    check(EGRESS("never: [\"10.43.0.1:443\", 10.44.0.0/16]"),
          EGRESS("never: [\"[fd00::/8]:443\", \"10.43.0.1\"]"),
          "egress never: +10.43.0.1/32 -10.43.0.1/32:443 -10.44.0.0/16 +[fd00::/8]:443\n");
}

/* What a log line has no room for is counted. */
static void test_long_detail(void **state)
{
    (void)state;
    char endpoints[16384] = "", text[TEXT_CAP];
    struct policy_changes c;
    size_t len = 0;
    for (unsigned i = 100; i < 300; i++) {
        len += (size_t)snprintf(endpoints + len, sizeof(endpoints) - len,
                                "{ host: host-%u.example.org, port: 443 }, ", i);
    }
    (void)snprintf(text, sizeof(text), "version: 1\nnetwork_policies:\n  a: { name: a, endpoints: [%s] }\n",
                   endpoints);
    struct policy_rules *a = policy_text_rules("version: 1\n");
    struct policy_rules *b = policy_text_rules(text);
    assert_int_equal(policy_changes_find(a, b, LIMIT, &c), 0);
    assert_int_equal(c.count, 1);
    const char *detail = c.items[0].detail;
    unsigned shown = 0;
    for (const char *p = detail; (p = strchr(p, '+')) != NULL; p++) {
        shown++;
    }
    char tail[64];
    (void)snprintf(tail, sizeof(tail), ":443 and %u more", 200 - shown);
    assert_true(shown >= 5 && strlen(detail) < POLICY_CHANGE_DETAIL_CAP);
    assert_string_equal(detail + strlen(detail) - strlen(tail), tail);
    policy_changes_fini(&c);
    policy_rules_free(a);
    policy_rules_free(b);
}

static void test_limit(void **state)
{
    (void)state;
    char text[TEXT_CAP] = "version: 1\nnetwork_policies:\n";
    struct policy_changes c;
    size_t len = strlen(text);
    for (unsigned i = 0; i < 3 * LIMIT; i++) {
        len += (size_t)snprintf(text + len, sizeof(text) - len, "  r%u: { name: r%u }\n", i, i);
    }
    struct policy_rules *a = policy_text_rules("version: 1\n");
    struct policy_rules *b = policy_text_rules(text);
    assert_int_equal(policy_changes_find(a, b, LIMIT, &c), 0);
    assert_int_equal(c.count, LIMIT);
    assert_int_equal(c.added, 3 * LIMIT);
    policy_changes_fini(&c);
    assert_int_equal(policy_changes_find(b, a, 0, &c), 0);
    assert_int_equal(c.count, 0);
    assert_int_equal(c.removed, 3 * LIMIT);
    policy_changes_fini(&c);
    policy_rules_free(a);
    policy_rules_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),  cmocka_unit_test(test_changed_rules),
        cmocka_unit_test(test_egress), cmocka_unit_test(test_long_detail),
        cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests_name("policy_changes", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/policy_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define HEAD "version: 1\nnetwork_policies:\n"
#define RULE(key, endpoint) "  " key ":\n    endpoints: [" endpoint "]\n    binaries: [{ path: \"/**\" }]\n"

struct outcome {
    int rc;
    struct policy_rules *rules;
    struct policy_diags diags;
};

static struct outcome load(const char *a, const char *b)
{
    const struct policy_text texts[2] = {{"a.yaml", span_str(a)}, {"b.yaml", span_str(b)}};
    struct outcome o = {0};
    o.rc = policy_load(texts, b == NULL ? 1 : 2, &o.rules, &o.diags);
    assert_int_equal(o.rc == 0, o.rules != NULL);
    assert_int_equal(o.rc == 0, o.diags.error_count == 0);
    return o;
}

static void drop(struct outcome *o)
{
    policy_rules_free(o->rules);
    policy_diags_fini(&o->diags);
}

static void check_diag(const struct outcome *o, size_t i, const char *where, const char *part)
{
    assert_true(i < o->diags.count);
    const struct policy_diag *d = &o->diags.items[i];
    char place[128];
    (void)snprintf(place, sizeof place, "%s:%u:%u", d->file, d->line, d->col);
    if (strcmp(place, where) != 0 || strstr(d->message, part) == NULL) {
        fail_msg("%s: %s; expected %s: %s", place, d->message, where, part);
    }
}

static void test_nothing(void **state)
{
    (void)state;
    struct policy_rules *r = NULL;
    struct policy_diags d = {0};
    assert_int_equal(policy_load(NULL, 0, &r, &d), 0);
    assert_int_equal(r->rule_count + r->host_count + r->never_count + r->file_count, 0);
    assert_int_equal(r->default_timers.idle_ms, TIMER_UNSET);
    assert_int_equal(r->default_keepalive.mode, KEEPALIVE_UNSET);
    policy_rules_free(r);
    policy_rules_free(NULL);
    struct outcome o = load("", NULL);
    assert_int_equal(o.rc, -EINVAL);
    check_diag(&o, 0, "a.yaml:1:1", "the file is empty");
    drop(&o);
}

static void test_fields(void **state)
{
    (void)state;
    struct outcome o = load("version: 1\nnetwork_policies:\n"
                            "  web:\n"
                            "    name: Web\n"
                            "    endpoints:\n"
                            "      - host: A.example.com.\n"
                            "        ports: [443, 80, 443]\n"
                            "        protocol: ReST\n"
                            "        access: read-write\n"
                            "        tls: skip\n"
                            "        enforcement: enforce\n"
                            "        allowed_ips: [10.0.0.0/8, \"2001:db8::1\"]\n"
                            "      - { host: \"[2001:DB8::2]\", port: 22 }\n"
                            "    binaries: [{ path: /bin/a }, { path: \"/opt/*\", harness: true }]\n",
                            NULL);
    assert_int_equal(o.rc, 0);
    const struct policy_rule *rule = &o.rules->rules[0];
    assert_string_equal(o.rules->files[0], "a.yaml");
    assert_string_equal(rule->key, "web");
    assert_string_equal(rule->name, "Web");
    assert_int_equal(rule->pos.line, 3);
    assert_int_equal(rule->pos.col, 3);
    assert_int_equal(rule->endpoint_count, 2);
    assert_int_equal(rule->binary_count, 2);
    assert_string_equal(rule->binaries[1], "/opt/*");
    assert_false(rule->admits_any_binary);
    const struct policy_endpoint *e = &rule->endpoints[0];
    assert_ptr_equal(e->rule, rule);
    assert_int_equal(e->pos.line, 6);
    assert_int_equal(e->pos.col, 9);
    assert_int_equal(e->host_kind, ENDPOINT_EXACT);
    assert_string_equal(e->pattern.text.text, "a.example.com");
    assert_int_equal(e->port_count, 2);
    assert_int_equal(e->ports[0], 80);
    assert_int_equal(e->ports[1], 443);
    assert_int_equal(e->protocol, PROTOCOL_REST);
    assert_int_equal(e->access, ACCESS_READ_WRITE);
    assert_int_equal(e->tls, TLS_SKIP);
    assert_true(e->is_enforced && e->admits_less && e->requires_l7);
    assert_false(e->has_credentials || e->is_middleware);
    assert_int_equal(e->allowed_ip_count, 2);
    assert_int_equal(e->allowed_ips[0].bits, 8);
    assert_int_equal(e->allowed_ips[1].bits, 128);
    assert_int_equal(e->proxy, PROXY_UNSET);
    assert_int_equal(e->timers.idle_ms, TIMER_UNSET);
    assert_int_equal(e->keepalive.mode, KEEPALIVE_UNSET);
    assert_int_equal(rule->endpoints[1].host_kind, ENDPOINT_IP);
    assert_int_equal(rule->endpoints[1].ip.family, IP_V6);
    drop(&o);
}

static void test_words(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum policy_protocol expect;
    } rows[] = {{"tcp", PROTOCOL_TCP},
                {"rest, access: full", PROTOCOL_REST},
                {"websocket, access: full", PROTOCOL_WEBSOCKET},
                {"graphql, access: full", PROTOCOL_GRAPHQL},
                {"sql, access: full", PROTOCOL_SQL},
                {"json-rpc, rules: [{ allow: { method: \"*\" } }]", PROTOCOL_JSON_RPC},
                {"mcp, mcp: { allow_all_known_mcp_methods: true }", PROTOCOL_MCP},
                {"\"\"", PROTOCOL_NONE}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[400];
        (void)snprintf(text, sizeof text, HEAD RULE("r", "{ host: a.example.com, port: 1, protocol: %s }"),
                       rows[i].text);
        struct outcome o = load(text, NULL);
        assert_int_equal(o.rc, 0);
        assert_int_equal(o.rules->rules[0].endpoints[0].protocol, rows[i].expect);
        drop(&o);
    }
}

static void test_merge(void **state)
{
    (void)state;
    struct outcome o =
        load(HEAD RULE("one", "{ host: a.example.com, port: 1 }"),
             "preset: { name: x }\nnetwork_policies:\n" RULE("two", "{ host: b.example.com, port: 1 }"));
    assert_int_equal(o.rc, 0);
    assert_int_equal(o.rules->rule_count, 2);
    assert_string_equal(o.rules->rules[1].key, "two");
    assert_int_equal(o.rules->rules[1].pos.file, 1);
    assert_string_equal(o.rules->files[1], "b.yaml");
    drop(&o);
}

static void test_merge_same_rule(void **state)
{
    (void)state;
    /* identical, whatever the layout and the comments: counted once */
    struct outcome o =
        load(HEAD RULE("one", "{ host: a.example.com, ports: [1, 2] }"),
             HEAD "  # again\n  one:\n    endpoints:\n      - host: a.example.com\n        ports: [ 1,\n 2]\n"
                  "    binaries:\n    - path: \"/**\"\n");
    assert_int_equal(o.rc, 0);
    assert_int_equal(o.rules->rule_count, 1);
    drop(&o);
    static const char *const others[] = {
        HEAD RULE("one", "{ host: a.example.com, ports: [1, 3] }"),
        HEAD RULE("one", "{ host: a.example.com, ports: [1] }"),
        HEAD RULE("one", "{ host: \"a.example.com\", ports: [1, 2] }"),
        HEAD RULE("one", "{ host: a.example.com, ports: [1, 2] }, { host: b.example.com, port: 1 }"),
        HEAD "  one: {}\n",
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        o = load(HEAD RULE("one", "{ host: a.example.com, ports: [1, 2] }"), others[i]);
        assert_int_equal(o.rc, -EINVAL);
        check_diag(&o, 0, "b.yaml:3:3", "rule \"one\" is already in a.yaml on line 3, and differs");
        assert_int_equal(o.diags.error_count, 1);
        drop(&o);
    }
    /* what else is wrong with it is told in the same run */
    o = load(HEAD RULE("one", "{ host: a.example.com, port: 1 }"), HEAD RULE("one", "{ hots: a, port: 0 }"));
    assert_int_equal(o.diags.error_count, 3);
    check_diag(&o, 0, "b.yaml:3:3", "rule \"one\" is already in a.yaml on line 3, and differs");
    check_diag(&o, 1, "b.yaml:4:19", "unknown key \"hots\"");
    drop(&o);
}

/* What is misspelt is not missing as well; what is neither there nor misspelt is. */
static void test_one_mistake_is_told_once(void **state)
{
    (void)state;
    static const struct {
        const char *endpoint;
        size_t errors;
    } rows[] = {
        {"{ hots: a.example.com, port: 1 }", 1},
        {"{ hots: a.example.com, prot: 1 }", 2},
        {"{ host: a.example.com, prots: [1] }", 1},
        {"{ port: 1, allowed_ip: [192.0.2.1] }", 1},
        {"{ timeout: {}, port: 1 }", 2},
        {"{ prot: 1 }", 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[256];
        (void)snprintf(text, sizeof text, HEAD "  r: { endpoints: [%s], binaries: [{ path: \"/**\" }] }\n",
                       rows[i].endpoint);
        struct outcome o = load(text, NULL);
        assert_int_equal(o.rc, -EINVAL);
        assert_int_equal(o.diags.error_count, rows[i].errors);
        drop(&o);
    }
}

/* Errors of every file, in order, in one run; also behind a file that is no YAML. */
static void test_all_files_are_told(void **state)
{
    (void)state;
    struct outcome o = load("version: 1\nx: [\n", HEAD RULE("r", "{ host: \"*\", port: 0 }"));
    assert_int_equal(o.rc, -EINVAL);
    assert_int_equal(o.diags.error_count, 3);
    check_diag(&o, 0, "a.yaml:3:1", "YAML: ");
    check_diag(&o, 1, "b.yaml:4:36", "\"0\" is out of range");
    check_diag(&o, 2, "b.yaml:4:25", "a wildcard for every host");
    assert_string_equal(o.diags.items[2].source_line, "    endpoints: [{ host: \"*\", port: 0 }]");
    drop(&o);
}

static void test_earlier_errors_do_not_count(void **state)
{
    (void)state;
    struct policy_text text = {"a.yaml", SPAN_LIT("version: 1\n")};
    struct policy_rules *r = NULL;
    struct policy_diags d = {.error_count = 3};
    assert_int_equal(policy_load(&text, 1, &r, &d), 0);
    assert_non_null(r);
    policy_rules_free(r);
    policy_diags_fini(&d);
}

static const char overlaid[] =
    HEAD "  web:\n    binaries: [{ path: \"/**\" }]\n    endpoints:\n"
         "      - { host: gw.example.com, ports: [80, 443, 8443], timeouts: { idle: 5m, connect: 1s }, "
         "keepalive: off, dns: { types: [SRV] } }\n"
         "      - { host: \"*.example.com\", port: 443 }\n"
         "  more:\n    binaries: [{ path: \"/**\" }]\n    endpoints:\n"
         "      - { host: gw.example.com, port: 443 }\n      - { host: 192.0.2.1, ports: [22, 443] }\n";

static void test_overlay(void **state)
{
    (void)state;
    struct outcome o = load("version: 1\negress:\n  endpoints:\n"
                            "    - { host: GW.example.com, port: 443, proxy: direct, timeouts: { idle: 0 }, "
                            "dns: { types: [] } }\n"
                            "    - { host: gw.example.com, ports: [8443], keepalive: { idle: 5s } }\n"
                            "    - { host: \"*.Example.com\", timeouts: { user: auto } }\n"
                            "    - { host: 192.0.2.1, port: 22, keepalive: off }\n"
                            "    - { host: gw.example.com, port: 80, dns: { types: [TXT] } }\n",
                            overlaid);
    assert_int_equal(o.rc, 0);
    const struct policy_rule *web = &o.rules->rules[0];
    const struct policy_rule *more = &o.rules->rules[1];
    assert_int_equal(web->endpoint_count, 4);
    size_t seen = 0;
    for (size_t i = 0; i < 3; i++) {
        const struct policy_endpoint *e = &web->endpoints[i];
        assert_ptr_equal(e->rule, web);
        assert_int_equal(e->port_count, 1);
        assert_int_equal(e->timers.connect_ms, 1000); /* what the overlay does not say stays */
        assert_int_equal(e->proxy, e->ports[0] == 443 ? PROXY_DIRECT : PROXY_UNSET);
        assert_int_equal(e->timers.idle_ms, e->ports[0] == 443 ? 0 : 300000);
        assert_int_equal(e->keepalive.mode, e->ports[0] == 8443 ? KEEPALIVE_ON : KEEPALIVE_OFF);
        assert_true(e->dns.is_set);
        assert_int_equal(e->dns.types, e->ports[0] == 80     ? POLICY_DNS_TXT
                                       : e->ports[0] == 8443 ? POLICY_DNS_SRV
                                                             : 0);
        seen += e->ports[0];
    }
    assert_int_equal(seen, 80 + 443 + 8443);
    assert_int_equal(web->endpoints[3].host_kind, ENDPOINT_WILDCARD);
    assert_int_equal(web->endpoints[3].timers.user_ms, TIMER_AUTO);
    assert_int_equal(web->endpoints[3].proxy, PROXY_UNSET);
    assert_int_equal(more->endpoint_count, 3); /* the same host in another rule, and the split literal */
    assert_int_equal(more->endpoints[0].proxy, PROXY_DIRECT);
    assert_int_equal(more->endpoints[1].ports[0], 443);
    assert_int_equal(more->endpoints[1].keepalive.mode, KEEPALIVE_UNSET);
    assert_int_equal(more->endpoints[2].ports[0], 22);
    assert_int_equal(more->endpoints[2].keepalive.mode, KEEPALIVE_OFF);
    drop(&o);
}

/* Each port of an endpoint can be shaped once, in whatever order and pieces. */
static void test_overlay_twice(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "{ host: gw.example.com, port: 443, proxy: direct }\n    - { host: gw.example.com, proxy: direct }",
        "{ host: gw.example.com, proxy: direct }\n    - { host: gw.example.com, port: 80, proxy: direct }",
        "{ host: gw.example.com, ports: [80, 443], proxy: direct }\n    - { host: gw.example.com, ports: "
        "[443, 8443], "
        "proxy: direct }",
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[400];
        (void)snprintf(text, sizeof text, "version: 1\negress:\n  endpoints:\n    - %s\n", rows[i]);
        struct outcome o = load(text, overlaid);
        assert_int_equal(o.rc, -EINVAL);
        check_diag(&o, 0, "a.yaml:5:15", "this endpoint is shaped before, in a.yaml on line 4");
        drop(&o);
    }
}

static void test_egress(void **state)
{
    (void)state;
    struct outcome o = load(
        "version: 1\negress:\n"
        "  defaults: { timeouts: { idle: 7s, user: 0 }, keepalive: { idle: 1s, interval: 2s, probes: 3 } }\n"
        "  hosts: { H.example.com: [10.0.0.1, \"fd00::1\", 10.0.0.1] }\n"
        "  never: [10.43.0.1:443, 10.44.0.0/16, \"[fd00::1]:22\", \"fd01::/16\"]\n",
        HEAD RULE("r", "{ host: h.example.com, port: 1 }"));
    assert_int_equal(o.rc, 0);
    assert_int_equal(o.diags.warning_count, 0);
    assert_int_equal(o.rules->default_timers.idle_ms, 7000);
    assert_int_equal(o.rules->default_timers.user_ms, 0);
    assert_int_equal(o.rules->default_timers.connect_ms, TIMER_UNSET);
    assert_int_equal(o.rules->default_keepalive.probes, 3);
    assert_int_equal(o.rules->host_count, 1);
    assert_string_equal(o.rules->hosts[0].name.text, "h.example.com");
    assert_int_equal(o.rules->hosts[0].addr_count, 2); /* each once */
    assert_int_equal(o.rules->never_count, 4);
    static const struct {
        uint8_t bits;
        uint16_t port;
    } never[] = {{32, 443}, {16, 0}, {128, 22}, {16, 0}};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(o.rules->never[i].prefix.bits, never[i].bits);
        assert_int_equal(o.rules->never[i].port, never[i].port);
    }
    drop(&o);
    o = load("version: 1\negress: { defaults: {} }\n", "version: 1\negress: { defaults: {} }\n");
    check_diag(&o, 0, "b.yaml:2:11", "were given before, in a.yaml on line 2");
    drop(&o);
}

static void test_never_parse(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        uint8_t bits;
        uint16_t port;
    } rows[] = {
        {"10.0.0.1", 0, 32, 0},
        {"10.0.0.1:1", 0, 32, 1},
        {"10.0.0.0/8:65535", 0, 8, 65535},
        {"fd00::1", 0, 128, 0},
        {"fd00::/8", 0, 8, 0},
        {"fd00::/8:443", 0, 8, 443},
        {"[fd00::1]:443", 0, 128, 443},
        {"[fd00::/8]:443", 0, 8, 443},
        {"::ffff:10.0.0.1", 0, 128, 0},
        {"::/0", 0, 0, 0},
        {"0.0.0.0/0:22", 0, 0, 22},
        {"", -EINVAL, 0, 0},
        {":443", -EINVAL, 0, 0},
        {"10.0.0.1:", -EINVAL, 0, 0},
        {"10.0.0.1:0", -EINVAL, 0, 0},
        {"10.0.0.1:65536", -EINVAL, 0, 0},
        {"10.0.0.1:443x", -EINVAL, 0, 0},
        {"[", -EINVAL, 0, 0},
        {"[]", -EINVAL, 0, 0},
        {"[]:1", -EINVAL, 0, 0},
        {"[fd00::1]", -EINVAL, 0, 0},
        {"[fd00::1]443", -EINVAL, 0, 0},
        {"[fd00::1]:", -EINVAL, 0, 0},
        {"[10.0.0.1]:1", -EINVAL, 0, 0},
        {"10.0.0.1/33", -EINVAL, 0, 0},
        {"10.0.0.1/8", -EDOM, 0, 0},
        {"name:443", -EINVAL, 0, 0},
        {"a.b:443", -EINVAL, 0, 0},
        {"fd00::1:443/8", -EDOM, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ip_prefix p = {0};
        uint16_t port = 0;
        int rc = policy_never_parse(span_str(rows[i].text), &p, &port);
        if (rc != rows[i].rc || (rc == 0 && (p.bits != rows[i].bits || port != rows[i].port))) {
            fail_msg("%s: %d, /%u, port %u", rows[i].text, rc, p.bits, port);
        }
    }
}

static void check_middleware(const char *include, const char *exclude, const char *host, bool expect)
{
    char text[600];
    (void)snprintf(text, sizeof text,
                   "version: 1\nnetwork_middlewares: { m: { middleware: x, endpoints: { include: [%s], "
                   "exclude: [%s] } } }\n"
                   "network_policies:\n" RULE("r", "{ %s, port: 1 }"),
                   include, exclude, host);
    struct outcome o = load(text, NULL);
    assert_int_equal(o.rc, 0);
    const struct policy_endpoint *e = &o.rules->rules[0].endpoints[0];
    if (e->is_middleware != expect || e->requires_l7 != expect) {
        fail_msg("include [%s] exclude [%s]: %s", include, exclude, host);
    }
    drop(&o);
}

static void test_middlewares(void **state)
{
    (void)state;
    check_middleware("a.example.com", "", "host: a.example.com", true);
    check_middleware("A.Example.com", "", "host: a.example.com", true);
    check_middleware("b.example.com", "", "host: a.example.com", false);
    check_middleware("\"*.example.com\"", "", "host: a.example.com", true);
    check_middleware("\"*.example.com\"", "", "host: a.b.example.com", false);
    check_middleware("\"**\"", "", "host: a.b.example.com", true);
    check_middleware("\"**\"", "", "host: 192.0.2.1", true);
    check_middleware("\"**.example.com\"", "", "host: a.b.example.com", true);
    check_middleware("\"**.example.com\"", "", "host: example.com", false);
    check_middleware("\"a*.example.com\"", "", "host: b.example.com", false);
    check_middleware("\"a*c.example.com\"", "", "host: abc.example.com", true);
    check_middleware("\"a?.example.com\"", "", "host: ab.example.com", true);
    check_middleware("a.b.example.com", "", "host: \"*.example.com\"", false);
    check_middleware("a.b.example.com", "", "host: \"**.example.com\"", true);
    check_middleware("a.example.com", "", "host: \"*.example.com\"", true);
    check_middleware("\"*.example.com\"", "", "host: \"**.example.com\"", true);
    check_middleware("\"**.b.example.com\"", "", "host: \"**.example.com\"", true);
    check_middleware("\"**.example.org\"", "", "host: \"**.example.com\"", false);
    check_middleware("192.0.2.1", "", "host: 192.0.2.1", true);
    check_middleware("192.0.2.2", "", "host: 192.0.2.1", false);
    check_middleware("a.example.org", "", "allowed_ips: [192.0.2.1]", true); /* in doubt: yes */
    check_middleware("\"*.example.com\"", "a.example.com", "host: a.example.com", false);
    check_middleware("\"*.example.com\"", "\"a*.example.com\"", "host: a.example.com", false);
    check_middleware("\"*.example.com\"", "a.example.com", "host: \"*.example.com\"", true);
    check_middleware("\"*.example.com\"", "\"**\"", "host: \"*.example.com\"", false);
    check_middleware("\"*.example.com\"", "\"*.example.com\"", "host: \"*.example.com\"", false);
}

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A file of nothing but errors: all are counted, a thousand are kept, and it does not take long. */
static void test_error_flood(void **state)
{
    (void)state;
    enum { COUNT = 50000 };
    char *text = malloc(COUNT * 32 + 64);
    assert_non_null(text);
    size_t len = (size_t)snprintf(text, 64, "version: 1\nlandlock:\n");
    for (size_t i = 0; i < COUNT; i++) {
        len += (size_t)snprintf(text + len, 32, "  compatibil%zu: 1\n", i);
    }
    int64_t start = now_ms();
    struct outcome o = load(text, NULL);
    assert_int_equal(o.rc, -EINVAL);
    assert_int_equal(o.diags.error_count, COUNT);
    assert_int_equal(o.diags.count, 1000);
    assert_true(o.diags.overflowed);
    assert_true(now_ms() - start < 5000);
    drop(&o);
    free(text);
}

static void test_every_truncation(void **state)
{
    (void)state;
    for (size_t len = 0; len <= strlen(overlaid); len++) {
        struct policy_text text = {"a.yaml", span_make(overlaid, len)};
        struct policy_rules *r = NULL;
        struct policy_diags d = {0};
        int rc = policy_load(&text, 1, &r, &d);
        assert_int_equal(rc, d.error_count == 0 ? 0 : -EINVAL);
        policy_rules_free(r);
        policy_diags_fini(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_merge_same_rule),
        cmocka_unit_test(test_one_mistake_is_told_once),
        cmocka_unit_test(test_all_files_are_told),
        cmocka_unit_test(test_earlier_errors_do_not_count),
        cmocka_unit_test(test_overlay),
        cmocka_unit_test(test_overlay_twice),
        cmocka_unit_test(test_egress),
        cmocka_unit_test(test_never_parse),
        cmocka_unit_test(test_middlewares),
        cmocka_unit_test(test_error_flood),
        cmocka_unit_test(test_every_truncation),
    };
    return cmocka_run_group_tests_name("policy_load", tests, NULL, NULL);
}

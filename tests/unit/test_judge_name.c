/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/policy_text.h"

#include "common/policy/judge_name.h"

#include <stdio.h>
#include <stdlib.h>

#define UNSET_TIMERS                                                                                         \
    {                                                                                                        \
        TIMER_UNSET, TIMER_UNSET, TIMER_UNSET, TIMER_UNSET, TIMER_UNSET                                      \
    }

static const struct judge_config plain = {.option_timers = UNSET_TIMERS};
static const struct judge_config tunnel_l7 = {.l7 = L7_TUNNEL, .option_timers = UNSET_TIMERS};
static const struct judge_config no_binaries = {.ignore_binaries = true, .option_timers = UNSET_TIMERS};

static struct tunnel_verdict judge(const struct policy *p, const struct judge_config *cfg, const char *host,
                                   uint16_t port)
{
    struct host h;
    struct tunnel_verdict v;
    assert_int_equal(host_parse(span_str(host), &h), HOST_FAULT_NONE);
    judge_tunnel(p, cfg, &h, port, &v);
    assert_int_equal(v.verdict == VERDICT_ALLOW, v.reason == REASON_NONE);
    assert_int_equal(v.verdict == VERDICT_ALLOW, v.carriage == CARRY_RAW);
    assert_true(v.verdict == VERDICT_DENY || v.endpoint != NULL);
    return v;
}

static void check(const struct policy *p, const struct judge_config *cfg, const char *host,
                  enum reason expect)
{
    struct tunnel_verdict v = judge(p, cfg, host, 443);
    if (v.reason != expect) {
        fail_msg("%s: %s, expected %s", host, reason_text(v.reason), reason_text(expect));
    }
}

static void test_zero_is_deny(void **state)
{
    (void)state;
    assert_int_equal(VERDICT_DENY, 0);
    assert_int_equal(NAME_DENIED, 0);
    assert_int_equal(CARRY_NONE, 0);
    assert_int_equal(L7_REFUSE, 0);
    struct policy *p = policy_text_compile("version: 1\n");
    check(p, &tunnel_l7, "a.example.com", REASON_POLICY_DENIED);
    check(p, &no_binaries, "192.0.2.1", REASON_POLICY_DENIED);
    struct host none = {0};
    struct tunnel_verdict v;
    judge_tunnel(p, &plain, &none, 443, &v);
    assert_int_equal(v.reason, REASON_POLICY_DENIED);
    policy_unref(p);
}

static void test_names(void **state)
{
    (void)state;
    struct policy *p = policy_text_compile(
        "version: 1\nnetwork_policies:\n  t:\n    binaries: [{ path: /bin/x }]\n    endpoints:\n"
        "    - { host: a.example.com, port: 1 }\n    - { host: \"*.w.example.com\", port: 1, protocol: rest, "
        "access: read-only, enforcement: enforce }\n    - { host: b.w.example.com, port: 2 }\n"
        "    - { host: s.example.com, port: 2 }\n    - { port: 9, allowed_ips: [10.9.0.0/16] }\n"
        "egress: { hosts: { s.example.com: [10.0.0.1], c.w.example.com: [10.0.0.2], h.example.org: "
        "[10.1.0.1, 10.9.0.1],\n"
        "                   u.example.net: [10.1.0.1] } }\n");
    static const struct {
        const char *name;
        enum name_kind kind;
        bool is_wildcard, has_host;
    } rows[] = {
        {"a.example.com", NAME_ADMITTED, false, false},
        {"A.EXAMPLE.COM.", NAME_ADMITTED, false, false},
        {"x.w.example.com", NAME_ADMITTED, true, false},
        {"b.w.example.com", NAME_ADMITTED, false, false},
        {"s.example.com", NAME_STATIC, false, true},
        {"c.w.example.com", NAME_STATIC, true, true},
        {"h.example.org", NAME_STATIC, false, true},
        {"u.example.net", NAME_DENIED, false, false},
        {"example.com", NAME_PARENT, false, false},
        {"w.example.com", NAME_PARENT, false, false},
        {"com", NAME_PARENT, false, false},
        {"example.net", NAME_PARENT, false, false},
        {"x.a.example.com", NAME_DENIED, false, false},
        {"y.x.w.example.com", NAME_DENIED, false, false},
        {"example.com.default.svc.cluster.local", NAME_DENIED, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct host_name n = policy_text_name(rows[i].name);
        struct name_verdict v;
        judge_name(p, &n, &v);
        if (v.kind != rows[i].kind || v.is_wildcard != rows[i].is_wildcard ||
            (v.host != NULL) != rows[i].has_host) {
            fail_msg("%s: kind %d, wildcard %d", rows[i].name, (int)v.kind, v.is_wildcard);
        }
        assert_int_equal(v.endpoint != NULL, v.kind == NAME_ADMITTED || v.kind == NAME_STATIC);
    }
    policy_unref(p);
}

/* Whatever has a node can be asked for; of what nobody named, most is known at once. */
static void test_may_end_in(void **state)
{
    (void)state;
    struct policy *p = policy_text_compile(
        "version: 1\nnetwork_policies:\n  t:\n    binaries: [{ path: /bin/x }]\n    endpoints:\n"
        "    - { host: a.example.com, port: 1 }\n    - { host: \"*.w.example.org\", port: 1 }\n"
        "    - { host: \"**.example.net\", port: 1 }\n    - { host: one, port: 1 }\n"
        "    - { port: 9, allowed_ips: [10.9.0.0/16] }\n"
        "egress: { hosts: { s.example.test: [10.9.0.1], alone: [10.9.0.2] } }\n");
    static const char *const known[] = {"com", "org", "net", "one", "test", "alone"};
    unsigned may = 0;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        assert_true(policy_may_end_in(p, span_str(known[i])));
    }
    for (unsigned i = 0; i < 1000; i++) {
        char label[16];
        (void)snprintf(label, sizeof label, "x%u", i);
        may += policy_may_end_in(p, span_str(label));
    }
    assert_in_range(may, 0, 100); /* a Bloom filter; by chance one or none */
    policy_unref(p);
}

static uint8_t types_of(const struct policy *p, const char *name)
{
    struct host_name n;
    struct name_verdict v;
    assert_int_equal(host_name_parse(span_str(name), &n), HOST_FAULT_NONE);
    judge_name(p, &n, &v);
    assert_true(v.dns_types == 0 || v.kind == NAME_ADMITTED);
    return v.dns_types;
}

static bool is_target(const struct policy *p, const char *name, uint16_t port)
{
    struct host_name n;
    assert_int_equal(host_name_parse(span_str(name), &n), HOST_FAULT_NONE);
    return judge_target(p, &n, port);
}

/* Every endpoint of the name counts, whatever is more specific. */
static void test_is_direct(void **state)
{
    (void)state;
    struct policy *p = policy_text_compile(
        "version: 1\n"
        "network_policies: { t: { binaries: [{ path: /bin/x }], endpoints: [\n"
        "  { host: a.example.com, ports: [443, 80], proxy: direct }, { host: a.example.com, port: 443, "
        "proxy: direct },\n"
        "  { host: b.example.com, port: 443, proxy: direct }, { host: b.example.com, port: 80 },\n"
        "  { host: c.w.example.com, port: 443, proxy: direct }, { host: \"*.w.example.com\", port: 1 },\n"
        "  { host: \"*.x.example.com\", port: 7, proxy: direct }, { host: d.example.com, port: 1, proxy: "
        "chain },\n"
        "  { port: 9100, allowed_ips: [10.9.0.0/16] } ] } }\n");
    static const struct {
        const char *name;
        bool is_direct;
        size_t ports;
    } rows[] = {{"a.example.com", true, 2},   {"b.example.com", false, 0}, {"c.w.example.com", false, 0},
                {"d.x.example.com", true, 1}, {"d.example.com", false, 0}, {"e.example.com", false, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct host_name n;
        uint16_t ports[2];
        size_t count = 9;
        assert_int_equal(host_name_parse(span_str(rows[i].name), &n), HOST_FAULT_NONE);
        assert_int_equal(judge_is_direct(p, &n, ports, 2, &count), rows[i].is_direct);
        assert_int_equal(count, rows[i].ports);
        if (rows[i].ports == 2) { /* one too many */
            assert_false(judge_is_direct(p, &n, ports, 1, &count));
        }
    }
    policy_unref(p);
}

/* Which records: what the endpoints of the most specific host say, all of them, as a name has no port. */
static void test_dns_types(void **state)
{
    (void)state;
    struct policy *p = policy_text_compile(
        "version: 1\n"
        "egress:\n"
        "  hosts: { fixed.example.com: [10.0.0.1], listed.example.org: [10.9.0.1] }\n"
        "  endpoints: [{ host: shaped.example.com, port: 1, dns: { types: [TXT] } }]\n"
        "network_policies: { t: { binaries: [{ path: /bin/x }], endpoints: [\n"
        "  { host: a.example.com, port: 443 }, { host: a.example.com, port: 27017, dns: { types: [SRV] } },\n"
        "  { host: a.example.com, port: 80, dns: { types: [TXT] } },\n"
        "  { host: b.example.com, port: 443 }, { host: c.example.com, port: 443, dns: { types: [] } },\n"
        "  { host: fixed.example.com, port: 80, dns: { types: [SRV, TXT] } },\n"
        "  { host: shaped.example.com, ports: [1, 2, 3], dns: { types: [SRV] } },\n"
        "  { host: \"a*.w.example.com\", port: 1, dns: { types: [TXT] } },\n"
        "  { host: \"*.w.example.com\", port: 1, dns: { types: [SRV] } },\n"
        "  { host: \"**.example.com\", port: 443, protocol: rest, access: read-only, enforcement: enforce,\n"
        "    dns: { types: [SRV, TXT] } }, { port: 9100, allowed_ips: [10.9.0.0/16] } ] } }\n");
    assert_int_equal(types_of(p, "a.example.com"), POLICY_DNS_SRV | POLICY_DNS_TXT);
    assert_int_equal(types_of(p, "b.example.com"), 0);
    assert_int_equal(types_of(p, "c.example.com"), 0);
    assert_int_equal(types_of(p, "fixed.example.com"), 0); /* egress.hosts has addresses only */
    assert_int_equal(types_of(p, "shaped.example.com"), POLICY_DNS_SRV | POLICY_DNS_TXT);
    assert_int_equal(types_of(p, "ab.w.example.com"), POLICY_DNS_TXT);
    assert_int_equal(types_of(p, "b.w.example.com"), POLICY_DNS_SRV);
    assert_int_equal(types_of(p, "_x._tcp.example.com"), POLICY_DNS_SRV | POLICY_DNS_TXT);
    assert_int_equal(types_of(p, "example.com"), 0);
    assert_int_equal(types_of(p, "listed.example.org"), 0);

    assert_true(is_target(p, "a.example.com", 443)); /* whatever the process, whatever L7 */
    assert_true(is_target(p, "a.example.com", 27017));
    assert_false(is_target(p, "a.example.com", 27018));
    assert_false(is_target(p, "b.example.com", 80));
    assert_true(is_target(p, "x.y.example.com", 443));
    assert_false(is_target(p, "x.y.example.com", 444));
    assert_false(is_target(p, "example.org", 443));
    assert_false(is_target(p, "a.example.com", 0));
    assert_true(is_target(p, "fixed.example.com", 80));
    assert_true(is_target(p, "listed.example.org", 9100)); /* through its fixed address */
    assert_false(is_target(p, "listed.example.org", 9101));
    policy_unref(p);
}

static void test_host_and_port(void **state)
{
    (void)state;
    struct policy *p =
        policy_text_endpoints("{ host: a.example.com, ports: [80, 443] }\n"
                              "{ host: \"*.example.com\", port: 8443 }\n"
                              "{ host: 192.0.2.1, port: 443 }\n"
                              "{ port: 443, allowed_ips: [198.51.100.0/24, \"2001:db8::/32\"] }");
    check(p, &plain, "a.example.com", REASON_NONE);
    check(p, &plain, "A.Example.Com.", REASON_NONE);
    check(p, &plain, "b.example.com", REASON_POLICY_DENIED); /* the host, but not the port */
    assert_int_equal(judge(p, &plain, "b.example.com", 8443).reason, REASON_NONE);
    assert_int_equal(judge(p, &plain, "a.example.com", 8443).reason, REASON_NONE);
    assert_int_equal(judge(p, &plain, "a.example.com", 81).reason, REASON_POLICY_DENIED);
    assert_int_equal(judge(p, &plain, "a.example.com", 0).reason, REASON_POLICY_DENIED);
    check(p, &plain, "192.0.2.1", REASON_NONE);
    check(p, &plain, "192.0.2.2", REASON_POLICY_DENIED);
    check(p, &plain, "198.51.100.77", REASON_NONE); /* hostless */
    check(p, &plain, "[2001:db8::5]", REASON_NONE);
    check(p, &plain, "2001:DB8:0:0::5", REASON_NONE);
    check(p, &plain, "::ffff:192.0.2.1", REASON_POLICY_DENIED);
    assert_int_equal(judge(p, &plain, "192.0.2.1", 80).reason, REASON_POLICY_DENIED);
    policy_unref(p);
}

/* A hostless endpoint admits a name only if egress.hosts answers it with an address of its list. */
static void test_hostless_and_static(void **state)
{
    (void)state;
    struct policy *p = policy_text_compile(
        "version: 1\nnetwork_policies:\n  t:\n    binaries: [{ path: \"/**\" }]\n    endpoints:\n"
        "    - { port: 443, allowed_ips: [10.9.0.0/16] }\n"
        "    - { host: 10.8.0.1, port: 443 }\n"
        "egress: { hosts: { in.example.com: [10.1.0.1, 10.9.0.1], out.example.com: [10.1.0.1], "
        "ip.example.com: "
        "[10.8.0.1] } }\n");
    check(p, &plain, "in.example.com", REASON_NONE);
    check(p, &plain, "out.example.com", REASON_POLICY_DENIED);
    check(p, &plain, "ip.example.com", REASON_POLICY_DENIED); /* a rule for a literal names no host */
    check(p, &plain, "other.example.com", REASON_POLICY_DENIED);
    assert_int_equal(judge(p, &plain, "in.example.com", 80).reason, REASON_POLICY_DENIED);
    policy_unref(p);
}

static void test_binaries(void **state)
{
    (void)state;
    struct policy *p = policy_text_compile(
        "version: 1\nnetwork_policies:\n"
        "  some: { binaries: [{ path: /bin/a }], endpoints: [{ host: some.example.com, port: 443 }, { host: "
        "both.example.com, port: 443, protocol: rest, access: read-only, enforcement: enforce }] }\n"
        "  any: { binaries: [{ path: /bin/a }, { path: \"/**\" }], endpoints: [{ host: any.example.com, "
        "port: 443 }] }\n"
        "  glob: { binaries: [{ path: \"/usr/**\" }], endpoints: [{ host: glob.example.com, port: 443 }] }\n"
        "  none: { endpoints: [{ host: none.example.com, port: 443 }, { host: \"*.example.com\", port: 443 "
        "}] }\n");
    check(p, &plain, "none.example.com", REASON_NONE);
    check(p, &plain, "any.example.com", REASON_NONE);
    /* candidates are only those whose rule admits the process: here the wildcard of "none" */
    check(p, &plain, "some.example.com", REASON_NONE);
    check(p, &plain, "both.example.com", REASON_NONE);
    check(p, &no_binaries, "both.example.com", REASON_L7_REQUIRED);
    policy_unref(p);
    p = policy_text_compile(
        "version: 1\nnetwork_policies:\n"
        "  some: { binaries: [{ path: /bin/a }], endpoints: [{ host: a.example.com, port: 443 }, "
        "{ host: 192.0.2.1, port: 443 }] }\n");
    check(p, &plain, "a.example.com", REASON_BINARY_DENIED);
    check(p, &plain, "192.0.2.1", REASON_BINARY_DENIED);
    check(p, &tunnel_l7, "a.example.com", REASON_BINARY_DENIED);
    check(p, &plain, "b.example.com", REASON_POLICY_DENIED);
    assert_null(judge(p, &plain, "a.example.com", 443).endpoint);
    assert_int_equal(judge(p, &plain, "a.example.com", 80).reason, REASON_POLICY_DENIED);
    check(p, &no_binaries, "a.example.com", REASON_NONE);
    policy_unref(p);
}

#define REST_LESS "protocol: rest, access: read-only, enforcement: enforce"

static void test_l7(void **state)
{
    (void)state;
    struct policy *p = policy_text_endpoints(
        "{ host: less.example.com, port: 443, " REST_LESS " }\n"
        "{ host: audit.example.com, port: 443, protocol: rest, access: read-only }\n"
        "{ host: full.example.com, port: 443, protocol: rest, access: full, enforcement: enforce }\n"
        "{ host: denyrule.example.com, port: 443, protocol: rest, access: full, enforcement: enforce, "
        "deny_rules: [{ "
        "method: DELETE }] }\n"
        "{ host: all.example.com, port: 443, protocol: rest, enforcement: enforce, rules: [{ allow: { "
        "method: \"*\", "
        "path: \"/**\" } }] }\n"
        "{ host: some.example.com, port: 443, protocol: rest, enforcement: enforce, rules: [{ allow: { "
        "method: GET, "
        "path: \"/**\" } }] }\n"
        "{ host: narrow.example.com, port: 443, protocol: rest, enforcement: enforce, rules: [{ allow: { "
        "method: "
        "\"*\", path: \"/**\", query: { a: b } } }] }\n"
        "{ host: rpc.example.com, port: 443, protocol: json-rpc, enforcement: enforce, rules: [{ allow: { "
        "method: "
        "\"*\", path: \"/**\" } }] }\n"
        "{ host: noproto.example.com, port: 443, enforcement: enforce, access: read-only }\n"
        "{ host: rewrite.example.com, port: 443, websocket_credential_rewrite: true }\n"
        "{ host: body.example.com, port: 443, request_body_credential_rewrite: true }\n"
        "{ host: sign.example.com, port: 443, credential_signing: sigv4, signing_service: s3 }\n"
        "{ host: bind.example.com, port: 443, credential_binding: { provider: x } }\n"
        "{ host: uninspected.example.com, port: 443, websocket_credential_rewrite: true, "
        "allow_uninspected_credentials: true }\n"
        "{ host: path.example.com, port: 443, protocol: rest, access: full, path: /v1/** }\n"
        "{ host: allpaths.example.com, port: 443, protocol: rest, access: full, enforcement: enforce, path: "
        "/** }\n"
        "{ host: nopath.example.com, port: 443, path: /v1/** }\n"
        "{ host: direct.example.com, port: 443, proxy: direct, " REST_LESS " }\n"
        "{ host: chain.example.com, port: 443, proxy: chain }\n");
    static const struct {
        const char *host;
        enum reason refuse, tunnel;
    } rows[] = {
        {"less.example.com", REASON_L7_REQUIRED, REASON_NONE},
        {"audit.example.com", REASON_NONE, REASON_NONE},
        {"full.example.com", REASON_NONE, REASON_NONE},
        {"denyrule.example.com", REASON_L7_REQUIRED, REASON_NONE},
        {"all.example.com", REASON_NONE, REASON_NONE},
        {"some.example.com", REASON_L7_REQUIRED, REASON_NONE},
        {"narrow.example.com", REASON_L7_REQUIRED, REASON_NONE},
        {"rpc.example.com", REASON_L7_REQUIRED, REASON_NONE},
        {"noproto.example.com", REASON_NONE, REASON_NONE},
        {"rewrite.example.com", REASON_L7_REQUIRED, REASON_NONE},
        {"body.example.com", REASON_L7_REQUIRED, REASON_NONE},
        {"sign.example.com", REASON_L7_REQUIRED, REASON_NONE},
        {"bind.example.com", REASON_L7_REQUIRED, REASON_NONE},
        {"uninspected.example.com", REASON_NONE, REASON_NONE},
        {"path.example.com", REASON_L7_REQUIRED, REASON_NONE},
        {"allpaths.example.com", REASON_NONE, REASON_NONE},
        {"nopath.example.com", REASON_NONE, REASON_NONE},
        {"direct.example.com", REASON_NONE, REASON_NONE},
        {"chain.example.com", REASON_L7_REQUIRED, REASON_L7_REQUIRED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check(p, &plain, rows[i].host, rows[i].refuse);
        check(p, &tunnel_l7, rows[i].host, rows[i].tunnel);
        assert_non_null(judge(p, &plain, rows[i].host, 443).endpoint);
    }
    policy_unref(p);
}

/* Any candidate that requires L7 refuses the tunnel, unless the most specific one says direct. */
static void test_l7_of_any_candidate(void **state)
{
    (void)state;
    struct policy *p = policy_text_endpoints("{ host: \"*.a.example.com\", port: 443, " REST_LESS " }\n"
                                             "{ host: x.a.example.com, port: 443 }\n"
                                             "{ host: d.a.example.com, port: 443, proxy: direct }\n"
                                             "{ host: \"*.b.example.com\", port: 443, proxy: direct }\n"
                                             "{ host: x.b.example.com, port: 443, " REST_LESS " }\n"
                                             "{ host: \"*.c.example.com\", port: 80, " REST_LESS " }\n"
                                             "{ host: x.c.example.com, port: 443 }");
    check(p, &plain, "x.a.example.com", REASON_L7_REQUIRED);
    assert_int_equal(judge(p, &plain, "x.a.example.com", 443).endpoint->host_kind, ENDPOINT_EXACT);
    check(p, &tunnel_l7, "x.a.example.com", REASON_NONE);
    check(p, &plain, "d.a.example.com", REASON_NONE);
    check(p, &plain, "x.b.example.com", REASON_L7_REQUIRED);
    check(p, &plain, "y.b.example.com", REASON_NONE);
    check(p, &plain, "x.c.example.com", REASON_NONE); /* on another port it is no candidate */
    policy_unref(p);
}

/*
 * "Any candidate": an endpoint whose rule does not admit the process is none, so that it requires nothing of
 * what another rule admits. The order of the contract's steps says so, and so does OpenShell: each rule
 * speaks for its own binaries.
 */
static void test_l7_of_another_process(void **state)
{
    (void)state;
    struct policy *p = policy_text_compile(
        "version: 1\nnetwork_policies:\n"
        "  agent: { binaries: [{ path: /bin/agent }], endpoints: [{ host: a.example.com, port: "
        "443, " REST_LESS " }] }\n"
        "  any: { binaries: [{ path: \"/**\" }], endpoints: [{ host: \"*.example.com\", port: 443 }] }\n");
    check(p, &plain, "a.example.com", REASON_NONE);
    assert_int_equal(judge(p, &plain, "a.example.com", 443).endpoint->host_kind, ENDPOINT_WILDCARD);
    /* where binaries are not looked at, both are candidates */
    check(p, &no_binaries, "a.example.com", REASON_L7_REQUIRED);
    policy_unref(p);
    p = policy_text_compile(
        "version: 1\nnetwork_policies:\n"
        "  any: { binaries: [{ path: \"/**\" }], endpoints: [{ host: \"*.example.com\", port: 443, " REST_LESS
        " }] }\n"
        "  agent: { binaries: [{ path: /bin/agent }], endpoints: [{ host: a.example.com, port: 443, proxy: "
        "direct }] }\n");
    check(p, &plain, "a.example.com", REASON_L7_REQUIRED); /* nor does it open anything for others */
    check(p, &no_binaries, "a.example.com", REASON_NONE);
    policy_unref(p);
}

/* More candidates than anyone would list: none is forgotten. */
static void test_many_candidates(void **state)
{
    (void)state;
    char text[40000];
    size_t len = 0;
    for (size_t i = 0; i < 300; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "{ host: a.example.com, port: 443 }\n");
    }
    (void)snprintf(text + len, sizeof text - len, "{ host: \"**.example.com\", port: 443, " REST_LESS " }");
    struct policy *p = policy_text_endpoints(text);
    check(p, &plain, "a.example.com", REASON_L7_REQUIRED);
    assert_int_equal(judge(p, &plain, "a.example.com", 443).endpoint->pos.line,
                     6); /* the first of the equals */
    policy_unref(p);
}

static void test_timers(void **state)
{
    (void)state;
    struct policy *p =
        policy_text_compile("version: 1\negress: { defaults: { timeouts: { idle: 1m, lifetime: 1h, connect: "
                            "3s }, keepalive: off } }\n"
                            "network_policies: { t: { binaries: [{ path: \"/**\" }], endpoints: [\n"
                            "  { host: a.example.com, port: 443, timeouts: { idle: 0, user: 5s }, keepalive: "
                            "{ idle: 2s, probes: 2 } },\n"
                            "  { host: b.example.com, port: 443 }, { host: \"*.example.com\", port: 443, "
                            "timeouts: { idle: 9s } } ] } }\n");
    struct judge_config cfg = plain;
    cfg.option_timers.lifetime_ms = 7000;
    struct tunnel_verdict v = judge(p, &cfg, "a.example.com", 443);
    assert_int_equal(v.timers.idle_ms, 0); /* the most specific candidate's, and 0 is said */
    assert_int_equal(v.timers.user_ms, 5000);
    assert_int_equal(v.timers.lifetime_ms, 7000); /* option over egress.defaults */
    assert_int_equal(v.timers.connect_ms, 3000);  /* egress.defaults over built in */
    assert_int_equal(v.timers.half_close_ms, 300000);
    assert_int_equal(v.keepalive.mode, KEEPALIVE_ON);
    assert_int_equal(v.keepalive.idle_s, 2);
    assert_int_equal(v.keepalive.interval_s, 15); /* left out: the built-in value */
    assert_int_equal(v.keepalive.probes, 2);
    v = judge(p, &cfg, "b.example.com", 443);
    assert_int_equal(v.timers.idle_ms, 60000);
    assert_int_equal(v.timers.user_ms, TIMER_AUTO);
    assert_int_equal(v.keepalive.mode, KEEPALIVE_OFF);
    cfg.option_keepalive = (struct tunnel_keepalive){KEEPALIVE_ON, 1, 1, 1};
    assert_int_equal(judge(p, &cfg, "b.example.com", 443).keepalive.probes, 1);
    assert_int_equal(judge(p, &cfg, "a.example.com", 443).keepalive.probes, 2);
    struct judge_tuning levels[JUDGE_LEVEL_COUNT];
    v = judge(p, &cfg, "a.example.com", 443);
    judge_tuning_levels(p, &cfg, v.endpoint, levels);
    assert_int_equal(levels[JUDGE_LEVEL_ENDPOINT].timers->user_ms, 5000);
    assert_int_equal(levels[JUDGE_LEVEL_OPTION].timers->lifetime_ms, 7000);
    assert_int_equal(levels[JUDGE_LEVEL_DEFAULTS].timers->connect_ms, 3000);
    assert_int_equal(levels[JUDGE_LEVEL_BUILTIN].timers->half_close_ms, 300000);
    assert_int_equal(levels[JUDGE_LEVEL_BUILTIN].keepalive->probes, 4);
    policy_unref(p);
}

struct seen {
    const struct policy *p;
    size_t count;
    unsigned char fate[8]; /* by endpoint; 0xff: never came */
};

static void note(void *ctx, const struct policy_endpoint *endpoint, enum candidate_fate fate)
{
    struct seen *s = ctx;
    const struct policy_rule *rules = policy_rules_of(s->p)->rules;
    size_t at = endpoint->rule == &rules[0] ? (size_t)(endpoint - rules[0].endpoints)
                                            : 4 + (size_t)(endpoint - rules[1].endpoints);
    assert_true(at < sizeof s->fate);
    s->fate[at] = (unsigned char)fate;
    s->count++;
}

/* Who looks on sees every endpoint of the host once, with its fate, and none of another host. */
static void test_trace(void **state)
{
    (void)state;
    struct policy *p = policy_text_compile(
        "version: 1\nnetwork_policies:\n"
        "  any: { binaries: [{ path: \"/**\" }], endpoints: [{ host: a.example.com, port: 443 }, "
        "{ host: \"*.example.com\", port: 443 }, { host: \"**.example.com\", port: 80 }, "
        "{ host: b.example.com, port: 443 }] }\n"
        "  some: { binaries: [{ path: /bin/a }], endpoints: [{ host: a.example.com, port: 443 }, "
        "{ host: a.example.com, port: 80 }] }\n");
    struct host h;
    assert_int_equal(host_parse(SPAN_LIT("a.example.com"), &h), HOST_FAULT_NONE);
    struct seen s = {.p = p};
    memset(s.fate, 0xff, sizeof s.fate);
    const struct judge_trace trace = {note, &s};
    judge_candidates(p, &plain, &h, 443, &trace);
    assert_int_equal(s.count, 5);
    assert_int_equal(s.fate[0], CANDIDATE_ADMITS);
    assert_int_equal(s.fate[1], CANDIDATE_ADMITS);
    assert_int_equal(s.fate[2], CANDIDATE_OTHER_PORT);
    assert_int_equal(s.fate[3], 0xff);
    assert_int_equal(s.fate[4], CANDIDATE_OTHER_BINARY);
    assert_int_equal(s.fate[5], CANDIDATE_OTHER_PORT); /* the port is looked at first */
    judge_candidates(p, &no_binaries, &h, 443, &trace);
    assert_int_equal(s.fate[4], CANDIDATE_ADMITS);
    policy_unref(p);
}

/* What is suggested loads, without a warning, and admits exactly what was asked for. */
static void test_suggest(void **state)
{
    (void)state;
    static const char *const hosts[] = {"gateway.discord.gg", "192.0.2.1", "2001:db8::1",
                                        "_a.b-c.example",     "null",      "localhost"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        char suggestion[1024];
        char policy[1100];
        struct host h;
        assert_int_equal(host_parse(span_str(hosts[i]), &h), HOST_FAULT_NONE);
        size_t len = judge_suggest(&h, 443, suggestion, sizeof suggestion);
        assert_int_equal(len, strlen(suggestion));
        assert_true(len > 0);
        (void)snprintf(policy, sizeof policy, "version: 1\n%s", suggestion);
        struct policy *p = policy_text_compile(policy);
        check(p, &plain, hosts[i], REASON_NONE);
        assert_int_equal(judge(p, &plain, hosts[i], 80).reason, REASON_POLICY_DENIED);
        policy_unref(p);
        for (size_t cap = 0; cap <= len; cap++) {
            char *tight = malloc(cap + 1);
            assert_non_null(tight);
            tight[cap] = 'x';
            assert_int_equal(judge_suggest(&h, 443, tight, cap), 0);
            assert_int_equal(tight[cap], 'x');
            free(tight);
        }
        assert_int_equal(judge_suggest(&h, 443, suggestion, len + 1), len);
        assert_int_equal(judge_suggest(&h, 0, suggestion, sizeof suggestion), 0);
    }
    struct host none = {0};
    char text[16];
    assert_int_equal(judge_suggest(&none, 443, text, sizeof text), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zero_is_deny),
        cmocka_unit_test(test_may_end_in),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_is_direct),
        cmocka_unit_test(test_dns_types),
        cmocka_unit_test(test_host_and_port),
        cmocka_unit_test(test_hostless_and_static),
        cmocka_unit_test(test_binaries),
        cmocka_unit_test(test_l7),
        cmocka_unit_test(test_l7_of_any_candidate),
        cmocka_unit_test(test_l7_of_another_process),
        cmocka_unit_test(test_many_candidates),
        cmocka_unit_test(test_timers),
        cmocka_unit_test(test_trace),
        cmocka_unit_test(test_suggest),
    };
    return cmocka_run_group_tests_name("judge_name", tests, NULL, NULL);
}

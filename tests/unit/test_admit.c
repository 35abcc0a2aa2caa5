/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/policy/policy_load.h"
#include "tunneld/admit.h"

static const char policy_text[] = "version: 1\n"
                                  "network_policies:\n"
                                  "  web:\n"
                                  "    name: web\n"
                                  "    endpoints:\n"
                                  "      - { host: x.example, port: 443 }\n"
                                  "      - { host: fixed.example, port: 443 }\n"
                                  "      - { host: \"*.wild.example\", port: 443 }\n"
                                  "      - host: rest.example\n"
                                  "        port: 443\n"
                                  "        protocol: rest\n"
                                  "        enforcement: enforce\n"
                                  "        access: read-only\n"
                                  "egress:\n"
                                  "  hosts:\n"
                                  "    fixed.example: [10.200.0.1]\n";

struct rig {
    struct policy *policy;
    struct judge_config judge;
    struct dest_guard guard;
    struct admit admit;
};

static void rig_start(struct rig *rig, const char *text)
{
    struct policy_diags diags = {0};
    struct policy_rules *rules = NULL;
    struct policy_text t = {.file = "t.yaml", .text = span_str(text)};
    int rc = policy_load(&t, 1, &rules, &diags);
    if (rc != 0 && diags.count > 0) {
        fail_msg("%s", diags.items[0].message);
    }
    assert_int_equal(rc, 0);
    policy_diags_fini(&diags);
    *rig = (struct rig){.policy = NULL};
    assert_int_equal(policy_compile(rules, 1, &rig->policy), 0);
    tunnel_timers_unset(&rig->judge.option_timers);
    rig->admit = (struct admit){.judge = &rig->judge, .guard = &rig->guard, .policy = rig->policy};
}

static struct host host_of(const char *text)
{
    struct host h;
    assert_int_equal(host_parse(span_str(text), &h), HOST_FAULT_NONE);
    return h;
}

static struct addr addr_of(const char *text)
{
    struct addr a;
    assert_int_equal(addr_parse(span_str(text), 443, &a), 0);
    return a;
}

static void test_names(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, policy_text);
    struct {
        const char *host;
        uint16_t port;
        enum reason reason;
    } rows[] = {
        {"x.example", 443, REASON_NONE},           {"x.example", 80, REASON_POLICY_DENIED},
        {"y.example", 443, REASON_POLICY_DENIED},  {"a.wild.example", 443, REASON_NONE},
        {"rest.example", 443, REASON_L7_REQUIRED}, {"192.0.2.1", 443, REASON_POLICY_DENIED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tunnel_verdict v;
        struct host h = host_of(rows[i].host);
        bool is_admitted = admit_name(&rig.admit, &h, rows[i].port, &v);
        assert_int_equal(is_admitted, rows[i].reason == REASON_NONE);
        assert_int_equal(v.reason, rows[i].reason);
        assert_int_equal(v.verdict, is_admitted ? VERDICT_ALLOW : VERDICT_DENY);
        assert_true(!is_admitted || v.endpoint != NULL);
    }
    policy_unref(rig.policy);
}

static void test_addresses(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, policy_text);
    struct {
        const char *host, *addr;
        bool admitted;
    } rows[] = {
        {"x.example", "8.8.8.8", true},          {"x.example", "127.0.0.1", false},
        {"x.example", "169.254.169.254", false}, {"a.wild.example", "10.0.0.1", false},
        {"x.example", "10.0.0.1", true}, /* private, but the host is declared exactly */
        {"fixed.example", "10.200.0.1", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tunnel_verdict v;
        struct dest_verdict d;
        struct host h = host_of(rows[i].host);
        struct addr to = addr_of(rows[i].addr);
        assert_true(admit_name(&rig.admit, &h, to.port, &v));
        assert_int_equal(admit_addr(&rig.admit, v.endpoint, &h, &to, &d), rows[i].admitted);
        assert_int_equal(admit_still(&rig.admit, &h, &to), rows[i].admitted);
        assert_true(rows[i].admitted || d.why[0] != '\0');
    }
    policy_unref(rig.policy);
}

static void test_static_hosts(void **state)
{
    (void)state;
    struct rig rig;
    rig_start(&rig, policy_text);
    struct host fixed = host_of("fixed.example");
    struct host other = host_of("x.example");
    struct host literal = host_of("10.200.0.1");
    assert_non_null(admit_static(&rig.admit, &fixed));
    assert_null(admit_static(&rig.admit, &other));
    assert_null(admit_static(&rig.admit, &literal));
    policy_unref(rig.policy);
}

/* What a reload asks of every live tunnel: the name, the port and the address it is connected to. */
static void test_still(void **state)
{
    (void)state;
    struct rig rig;
    struct host x = host_of("x.example");
    struct addr to = addr_of("8.8.8.8");
    rig_start(&rig, "version: 1\n"
                    "network_policies:\n"
                    "  web:\n"
                    "    name: web\n"
                    "    endpoints:\n"
                    "      - { host: x.example, port: 443, allowed_ips: [\"9.0.0.0/8\"] }\n");
    assert_false(admit_still(&rig.admit, &x, &to)); /* the name is fine, the address no longer is */
    to = addr_of("9.9.9.9");
    assert_true(admit_still(&rig.admit, &x, &to));
    to.port = 444;
    assert_false(admit_still(&rig.admit, &x, &to));
    policy_unref(rig.policy);
}

/* What goes through the chain proxy, and what a live tunnel through it still needs. */
static void test_chain(void **state)
{
    (void)state;
    struct rig rig;
    struct tunnel_verdict v;
    rig_start(&rig, "version: 1\nnetwork_policies:\n  web:\n    endpoints:\n"
                    "      - { host: rest.example, port: 443, protocol: rest, enforcement: enforce, access: "
                    "read-only }\n"
                    "      - { host: far.example, port: 443, proxy: chain }\n"
                    "      - { host: x.example, port: 443 }\n");
    const struct host rest = host_of("rest.example"), far = host_of("far.example"), x = host_of("x.example");
    const struct ip public = addr_of("192.0.46.8:443").ip, private = addr_of("127.0.0.1:443").ip;
    const struct addr to = addr_of("192.0.46.8:443");
    assert_false(admit_tunnel(&rig.admit, &rest, 443, &v));
    assert_int_equal(v.reason, REASON_L7_REQUIRED);
    assert_false(admit_tunnel(&rig.admit, &far, 443, &v));
    assert_false(admit_still_chained(&rig.admit, &far, 443, NULL));
    rig.judge.has_chain = true;
    assert_true(admit_tunnel(&rig.admit, &rest, 443, &v));
    assert_int_equal(v.carriage, CARRY_CHAIN);
    assert_true(admit_tunnel(&rig.admit, &far, 443, &v));
    assert_int_equal(v.carriage, CARRY_CHAIN);
    assert_true(admit_tunnel(&rig.admit, &x, 443, &v));
    assert_int_equal(v.carriage, CARRY_RAW);
    assert_false(admit_name(&rig.admit, &far, 443, &v)); /* nothing but raw will do */
    assert_int_equal(v.reason, REASON_L7_REQUIRED);
    assert_true(admit_name(&rig.admit, &x, 443, &v));
    assert_true(admit_still_chained(&rig.admit, &far, 443, NULL));
    assert_true(admit_still_chained(&rig.admit, &far, 443, &public));
    assert_false(admit_still_chained(&rig.admit, &far, 443, &private));
    assert_false(admit_still_chained(&rig.admit, &far, 80, NULL));
    assert_false(admit_still_chained(&rig.admit, &x, 443, NULL)); /* it is raw now */
    assert_false(admit_still(&rig.admit, &far, &to));             /* and the other way round */
    assert_true(admit_still(&rig.admit, &x, &to));
    policy_unref(rig.policy);
}

/* What is asked of the address of a host: its class, the port, what the endpoint lists, our own. */
static void test_address_rows(void **state)
{
    (void)state;
    static const struct {
        const char *host, *to;
        bool is_admitted, is_admitted_strict;
    } rows[] = {
        /* an exact host: public and private, nothing that nothing overrides */
        {"x.example", "192.0.46.8:443", true, true},
        {"x.example", "10.0.0.1:443", true, false},
        {"x.example", "172.16.0.1:443", true, false},
        {"x.example", "172.32.0.1:443", true, true},
        {"x.example", "192.168.255.255:443", true, false},
        {"x.example", "100.64.0.1:443", true, false},
        {"x.example", "[fd12::1]:443", true, false},
        {"x.example", "[2606:4700::1]:443", true, true},
        {"x.example", "[64:ff9b::c000:2e08]:443", true, true},
        {"x.example", "[64:ff9b::7f00:1]:443", false, false},
        {"x.example", "[::ffff:192.0.46.8]:443", false, false},
        {"x.example", "[::192.0.46.8]:443", false, false},
        {"x.example", "[2002:c000:2e08::1]:443", false, false},
        {"x.example", "[::1]:443", false, false},
        {"x.example", "[::]:443", false, false},
        {"x.example", "[fe80::1]:443", false, false},
        {"x.example", "[ff02::1]:443", false, false},
        {"x.example", "[fd00:ec2::254]:443", false, false},
        {"x.example", "0.0.0.0:443", false, false},
        {"x.example", "127.255.255.255:443", false, false},
        {"x.example", "169.254.169.254:443", false, false},
        {"x.example", "168.63.129.16:443", false, false},
        {"x.example", "224.0.0.1:443", false, false},
        {"x.example", "240.0.0.1:443", false, false},
        {"x.example", "255.255.255.255:443", false, false},
        /* a wildcard: public only, and no control plane */
        {"a.wild.example", "192.0.46.8:443", true, true},
        {"a.wild.example", "10.0.0.1:443", false, false},
        {"a.wild.example", "192.0.46.8:6443", false, false},
        {"x.example", "192.0.46.8:6443", true, true},
        /* allowed_ips: exclusive, opens private ones, and no never class */
        {"list.example", "10.1.0.1:443", true, true},
        {"list.example", "10.2.0.1:443", false, false},
        {"list.example", "192.0.46.8:443", false, false},
        /* hosts: its own address, and no other private one */
        {"fixed.wild.example", "10.200.0.1:443", true, true},
        {"fixed.wild.example", "10.200.0.2:443", false, false},
        /* ours, on its port only */
        {"x.example", "192.0.46.9:443", false, false},
        {"x.example", "192.0.46.9:6443", true, true},
        {"fixed.wild.example", "198.18.0.1:443", false, false},
    };
    struct rig rig;
    rig_start(&rig, "version: 1\nnetwork_policies:\n  web:\n    endpoints:\n"
                    "      - { host: x.example, ports: [443, 6443] }\n"
                    "      - { host: '*.wild.example', ports: [443, 6443] }\n"
                    "      - { host: list.example, port: 443, allowed_ips: [10.1.0.0/16] }\n"
                    "egress:\n  hosts:\n    fixed.wild.example: [10.200.0.1]\n");
    static const struct dest_never own[] = {
        {.prefix = {.base = {.family = IP_V4, .bytes = {192, 0, 46, 9}}, .bits = 32},
         .port = 443,
         .what = "own listener"},
        {.prefix = {.base = {.family = IP_V4, .bytes = {198, 18, 0, 0}}, .bits = 15},
         .what = "synthetic pool"}};
    for (size_t i = 0; i < 2 * sizeof rows / sizeof rows[0]; i++) {
        bool is_strict = i % 2 == 1;
        struct tunnel_verdict v;
        struct dest_verdict d;
        struct host h = host_of(rows[i / 2].host);
        struct addr to = addr_of(rows[i / 2].to);
        rig.guard = (struct dest_guard){.items = own, .count = 2, .strict_private = is_strict};
        assert_true(admit_name(&rig.admit, &h, to.port, &v));
        bool want = is_strict ? rows[i / 2].is_admitted_strict : rows[i / 2].is_admitted;
        if (admit_addr(&rig.admit, v.endpoint, &h, &to, &d) != want ||
            admit_still(&rig.admit, &h, &to) != want) {
            fail_msg("%s to %s%s: %s", rows[i / 2].host, rows[i / 2].to, is_strict ? ", strict" : "", d.why);
        }
        assert_true(want == (d.why[0] == '\0'));
    }
    policy_unref(rig.policy);
}

/* Literals: a rule that names the address, or a hostless one whose allowed_ips hold it; compared as values.
 */
static void test_literals(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        uint16_t port;
        enum reason reason;
    } rows[] = {
        {"192.0.46.8", 443, REASON_NONE},
        {"192.0.46.8", 444, REASON_POLICY_DENIED},
        {"192.0.46.9", 443, REASON_POLICY_DENIED},
        {"[2606:4700:0::1]", 443, REASON_NONE},
        {"[2606:4700::2]", 443, REASON_POLICY_DENIED},
        {"[::ffff:192.0.46.8]", 443, REASON_POLICY_DENIED},
        {"192.0.47.1", 22, REASON_NONE},
        {"192.0.47.255", 22, REASON_NONE},
        {"192.0.48.0", 22, REASON_POLICY_DENIED},
        {"192.0.47.1", 443, REASON_POLICY_DENIED},
        {"name.example", 22, REASON_POLICY_DENIED}, /* a hostless rule admits no name */
    };
    struct rig rig;
    rig_start(&rig, "version: 1\nnetwork_policies:\n  web:\n    endpoints:\n"
                    "      - { host: 192.0.46.8, port: 443 }\n"
                    "      - { host: '2606:4700::1', port: 443 }\n"
                    "      - { port: 22, allowed_ips: [192.0.47.0/24] }\n");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tunnel_verdict v;
        struct host h = host_of(rows[i].host);
        bool is_admitted = admit_tunnel(&rig.admit, &h, rows[i].port, &v);
        if (is_admitted != (rows[i].reason == REASON_NONE) || v.reason != rows[i].reason) {
            fail_msg("%s:%u: %s", rows[i].host, (unsigned)rows[i].port, reason_text(v.reason));
        }
    }
    policy_unref(rig.policy);
}

/* No policy text, no endpoint, zeroed settings: nothing is admitted, and no address passes. */
static void test_zero_is_deny(void **state)
{
    (void)state;
    struct rig rig;
    struct tunnel_verdict v;
    rig_start(&rig, "version: 1\n");
    const struct host x = host_of("x.example"), literal = host_of("192.0.46.8"), none = {.kind = HOST_NONE};
    const struct addr to = addr_of("192.0.46.8:443");
    const struct host *hosts[] = {&x, &literal, &none};
    for (size_t i = 0; i < 3; i++) {
        assert_false(admit_tunnel(&rig.admit, hosts[i], 443, &v));
        assert_int_equal(v.verdict, VERDICT_DENY);
        assert_int_equal(v.reason, REASON_POLICY_DENIED);
        assert_int_equal(v.carriage, CARRY_NONE);
        assert_null(v.endpoint);
        assert_false(admit_name(&rig.admit, hosts[i], 443, &v));
        assert_false(admit_still(&rig.admit, hosts[i], &to));
        assert_false(admit_still_chained(&rig.admit, hosts[i], 443, NULL));
        assert_null(admit_static(&rig.admit, hosts[i]));
    }
    policy_unref(rig.policy);
}

/* Rules that name binaries admit nobody here, unless that is switched off; then they are rules like others.
 */
static void test_binaries(void **state)
{
    (void)state;
    struct rig rig;
    struct tunnel_verdict v;
    rig_start(&rig,
              "version: 1\nnetwork_policies:\n"
              "  some: { binaries: [{ path: /bin/a }], endpoints: [{ host: b.example.com, port: 1 }] }\n"
              "  any: { endpoints: [{ host: b.example.com, port: 2 }] }\n");
    const struct host b = host_of("b.example.com");
    assert_false(admit_tunnel(&rig.admit, &b, 1, &v));
    assert_int_equal(v.reason, REASON_BINARY_DENIED);
    assert_true(admit_tunnel(&rig.admit, &b, 2, &v));
    assert_false(admit_tunnel(&rig.admit, &b, 3, &v));
    assert_int_equal(v.reason, REASON_POLICY_DENIED);
    rig.judge.ignore_binaries = true;
    assert_true(admit_tunnel(&rig.admit, &b, 1, &v));
    policy_unref(rig.policy);
}

static void test_settings_and_binaries(void **state)
{
    (void)state;
    struct settings_tunneld settings = {.l7 = L7_TUNNEL, .binary_identity = BINARY_IGNORE};
    const struct chain_config chain = {.by_name = true};
    tunnel_timers_unset(&settings.timers);
    settings.timers.idle_ms = 5;
    settings.keepalive.mode = KEEPALIVE_OFF;
    struct judge_config judge = admit_config(&settings, &chain);
    assert_int_equal(judge.l7, L7_TUNNEL);
    settings.l7 = 0; /* what is not said is no */
    assert_int_equal(admit_config(&settings, &chain).l7, L7_REFUSE);
    assert_true(judge.ignore_binaries);
    assert_int_equal(judge.option_timers.idle_ms, 5);
    assert_int_equal(judge.option_keepalive.mode, KEEPALIVE_OFF);
    struct rig rig;
    rig_start(&rig,
              "version: 1\nnetwork_policies:\n"
              "  any: { binaries: [{ path: \"/**\" }], endpoints: [{ host: a.example.com, port: 1 }] }\n"
              "  some: { binaries: [{ path: /bin/a }], endpoints: [{ host: b.example.com, port: 1 }] }\n");
    assert_null(admit_unenforceable(rig.policy, &judge));
    settings.binary_identity = BINARY_ENFORCE;
    judge = admit_config(&settings, &chain);
    const struct policy_rule *r = admit_unenforceable(rig.policy, &judge);
    assert_non_null(r);
    assert_string_equal(r->key, "some");
    policy_unref(rig.policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address_rows), cmocka_unit_test(test_literals),
        cmocka_unit_test(test_zero_is_deny), cmocka_unit_test(test_binaries),
        cmocka_unit_test(test_chain),        cmocka_unit_test(test_settings_and_binaries),
        cmocka_unit_test(test_names),        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_static_hosts), cmocka_unit_test(test_still),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

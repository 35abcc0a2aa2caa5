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
        cmocka_unit_test(test_chain),        cmocka_unit_test(test_settings_and_binaries),
        cmocka_unit_test(test_names),        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_static_hosts), cmocka_unit_test(test_still),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

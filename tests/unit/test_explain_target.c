/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/policy/policy_load.h"
#include "egress/explain_config.h"
#include "egress/explain_target.h"

#include <errno.h>
#include <stdlib.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void test_good(void **state)
{
    (void)state;
    static const struct {
        const char *typed, *canonical;
        unsigned port;
        bool is_lowered, lost_dot, is_rewritten;
    } rows[] = {
        {"example.com", "example.com", 0, false, false, false},
        {"Example.COM.:443", "example.com", 443, true, true, false},
        {"example.com.", "example.com", 0, false, true, false},
        {"a:1", "a", 1, false, false, false},
        {"a:65535", "a", 65535, false, false, false},
        {"192.0.2.1", "192.0.2.1", 0, false, false, false},
        {"192.0.2.1:53", "192.0.2.1", 53, false, false, false},
        {"2001:db8::1", "[2001:db8::1]", 0, false, false, false},
        {"[2001:db8::1]", "[2001:db8::1]", 0, false, false, false},
        {"[2001:DB8:0::1]:443", "[2001:db8::1]", 443, false, false, true},
        {"::1", "[::1]", 0, false, false, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct explain_target t;
        struct err err = {""};
        char text[HOST_TEXT_CAP];
        if (explain_target_parse(rows[i].typed, &t, &err) != 0) {
            fail_msg("%s: %s", rows[i].typed, err.text);
        }
        assert_int_equal(t.fault, HOST_FAULT_NONE);
        assert_string_equal(host_text(&t.host, text), rows[i].canonical);
        assert_int_equal(t.port, rows[i].port);
        assert_int_equal(t.is_lowered, rows[i].is_lowered);
        assert_int_equal(t.lost_dot, rows[i].lost_dot);
        assert_int_equal(t.is_rewritten, rows[i].is_rewritten);
    }
}

/* What has a shape but no canonical form is explained, not refused: it is denied. */
static void test_no_canonical_form(void **state)
{
    (void)state;
    static const struct {
        const char *typed;
        enum host_fault fault;
    } rows[] = {
        {"b\xc3\xbc"
         "cher.de:443",
         HOST_FAULT_NON_ASCII},
        {"a b", HOST_FAULT_BAD_BYTE},
        {"a..b:1", HOST_FAULT_EMPTY_LABEL},
        {".", HOST_FAULT_EMPTY_LABEL},
        {"-a.b", HOST_FAULT_HYPHEN},
        {"1.2.3:4", HOST_FAULT_NUMERIC},
        {"01.2.3.4", HOST_FAULT_NUMERIC},
        {"[fe80::1%eth0]:1", HOST_FAULT_ZONE_ID},
        {"[zz]:1", HOST_FAULT_BAD_IP},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct explain_target t;
        struct err err = {""};
        if (explain_target_parse(rows[i].typed, &t, &err) != 0) {
            fail_msg("%s: %s", rows[i].typed, err.text);
        }
        assert_int_equal(t.host.kind, HOST_NONE);
        if (t.fault == HOST_FAULT_NONE || (rows[i].typed[0] != '.' && t.fault != rows[i].fault)) {
            fail_msg("%s: %s", rows[i].typed, host_fault_text(t.fault));
        }
    }
}

/* What is no HOST[:PORT] at all: the message says what to type. */
static void test_bad(void **state)
{
    (void)state;
    static const struct {
        const char *typed, *expect;
    } rows[] = {
        {"", "type HOST[:PORT]"},
        {":", "type HOST[:PORT]"},
        {":443", "type HOST[:PORT]"},
        {"https://discord.com/api", "type discord.com:443"},
        {"HTTP://discord.com", "type discord.com"},
        {"http://discord.com?x", "type discord.com:80"},
        {"wss://user:pw@gateway.discord.gg/?v=10", "type gateway.discord.gg:443"},
        {"https://discord.com:8443/x", "type discord.com:8443"},
        {"https://[2001:db8::1]/", "type [2001:db8::1]:443"},
        {"https://[2001:db8::1]:5/", "type [2001:db8::1]:5"},
        {"gopher://old.example", "type old.example"},
        {"://", "type "},
        {"discord.com/api", "type discord.com"},
        {"a:", "no port"},
        {"a:0", "no port"},
        {"a:0443", "no port"},
        {"a:65536", "no port"},
        {"a:https", "no port"},
        {"[::1]:", "no port"},
        {"[::1]443", "[2001:db8::1]:443"},
        {"[::1", "[2001:db8::1]:443"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct explain_target t;
        struct err err = {""};
        assert_int_equal(explain_target_parse(rows[i].typed, &t, &err), -EINVAL);
        if (strstr(err.text, rows[i].expect) == NULL) {
            fail_msg("%s: %s", rows[i].typed, err.text);
        }
        assert_null(strstr(err.text, "pw@"));
    }
}

static int parse(const char *const *words, struct explain_options *o, struct err *err)
{
    char *argv[16] = {NULL};
    int argc = 0;
    argv[argc++] = (char *)(uintptr_t) "explain";
    for (; words[argc - 1] != NULL && argc < 15; argc++) {
        argv[argc] = (char *)(uintptr_t)words[argc - 1];
    }
    *err = (struct err){""};
    return explain_options_parse(argc, argv, o, err);
}
#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_options(void **state)
{
    (void)state;
    struct explain_options o;
    struct err err;
    assert_int_equal(parse(ARGS("--live", "a.example:1", "--format=json", "--l7", "tunnel", "--deny",
                                "nodata", "--policy", "p.yaml"),
                           &o, &err),
                     0);
    assert_true(o.is_live);
    assert_true(o.is_json);
    assert_string_equal(o.target, "a.example:1");
    assert_int_equal(o.daemons.dnsd.count, 5);    /* itself, --deny and --policy with their values */
    assert_int_equal(o.daemons.tunneld.count, 5); /* itself, --l7 and --policy */
    explain_options_fini(&o);
    assert_int_equal(parse(ARGS("--", "--live"), &o, &err), 0);
    assert_string_equal(o.target, "--live");
    assert_false(o.is_live);
    explain_options_fini(&o);
    assert_int_equal(parse(ARGS("--help"), &o, &err), 0);
    assert_true(o.help);
    explain_options_fini(&o);
    static const struct {
        const char *words[4];
        const char *expect;
    } bad[] = {
        {{"--live"}, "no host"},
        {{"a", "b"}, "one HOST"},
        {{"-v", "a"}, "--"},
        {{"--live=1", "a"}, "--live"},
        {{"--format", "xml", "a"}, "neither text nor json"},
        {{"a", "--format"}, "--format"},
        {{"--listen", "127.0.0.1:1", "a"}, "OPENSHELL_DNSD_LISTEN"},
        {{"--dump-config", "a"}, "--dump-config"},
        {{"--no-such-thing", "a"}, "--no-such-thing: no such option of explain"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_int_equal(parse(bad[i].words, &o, &err), -EINVAL);
        if (strstr(err.text, bad[i].expect) == NULL) {
            fail_msg("%s: %s", bad[i].words[0], err.text);
        }
    }
}

/* Options and environment reach what decides, through the daemons' own tables. */
static void test_config(void **state)
{
    (void)state;
    struct explain_options o;
    struct explain_config c;
    struct err err;
    setenv("OPENSHELL_TUNNELD_IDLE_TIMEOUT", "9s", 1);
    setenv("OPENSHELL_DNSD_DENY", "refused", 1);
    assert_int_equal(parse(ARGS("--answer", "synthetic", "--l7", "tunnel", "--binary-identity", "ignore",
                                "--strict-private", "--never", "192.0.2.0/24", "a"),
                           &o, &err),
                     0);
    assert_int_equal(explain_config_init(&c, &o.daemons, &err), 0);
    assert_int_equal(c.answer.mode, ANSWER_SYNTHETIC);
    assert_true(c.answer.pools.has_v4 && c.answer.pools.has_v6);
    assert_int_equal(c.answer.deny, DENY_REFUSED);
    assert_int_equal(c.judge.l7, L7_TUNNEL);
    assert_true(c.judge.ignore_binaries);
    assert_int_equal(c.judge.option_timers.idle_ms, 9000);
    assert_true(c.tunneld_guard.view.strict_private && c.dnsd_guard.view.strict_private);
    assert_int_equal(c.tunneld_guard.view.count, 4); /* listener, two pools, --never */
    explain_config_fini(&c);
    explain_options_fini(&o);

    assert_int_equal(parse(ARGS("--never", "x", "a"), &o, &err), 0);
    assert_int_equal(explain_config_init(&c, &o.daemons, &err), -EINVAL);
    assert_non_null(strstr(err.text, "--never"));
    explain_config_fini(&c);
    explain_options_fini(&o);

    setenv("OPENSHELL_TUNNELD_ADMIN", "192.0.2.1:9100", 1);
    setenv("OPENSHELL_DNSD_ADMIN", "unix:/run/x.sock", 1);
    setenv("OPENSHELL_DNSD_LISTEN", "192.0.2.1 192.0.2.2:0", 1); /* port 0 is known to nobody yet */
    assert_int_equal(parse(ARGS("a"), &o, &err), 0);
    assert_int_equal(explain_config_init(&c, &o.daemons, &err), 0);
    assert_int_equal(c.tunneld_guard.view.count, 4); /* listener, admin, two pools */
    assert_int_equal(c.tunneld_guard.view.items[1].port, 9100);
    assert_int_equal(c.dnsd_guard.view.count, 3);
    assert_int_equal(c.dnsd_guard.view.items[0].port, 53);
    explain_config_fini(&c);
    explain_options_fini(&o);

    setenv("OPENSHELL_DNSD_POLICY", "other.yaml", 1);
    assert_int_equal(parse(ARGS("a"), &o, &err), 0);
    assert_int_equal(explain_config_init(&c, &o.daemons, &err), -EINVAL);
    assert_non_null(strstr(err.text, "--policy"));
    explain_config_fini(&c);
    explain_options_fini(&o);
    assert_int_equal(parse(ARGS("--policy", "p.yaml", "a"), &o, &err), 0);
    assert_int_equal(explain_config_init(&c, &o.daemons, &err), 0);
    explain_config_fini(&c);
    explain_options_fini(&o);
}

/* The listeners of --transparent auto are known once the policy is. */
static void test_auto(void **state)
{
    (void)state;
    static const char text[] = "version: 1\nnetwork_policies:\n"
                               "  a: { name: a, endpoints: [{ host: a.example.org, ports: [80, 443] }] }\n";
    const struct policy_text file = {.file = "p", .text = span_str(text)};
    const struct addr own = {.ip = ip_v4(192, 0, 2, 9), .port = 443};
    const struct addr other = {.ip = ip_v4(192, 0, 2, 9), .port = 444};
    struct policy_diags diags = {0};
    struct policy_rules *rules = NULL;
    struct policy *p = NULL;
    struct explain_options o;
    struct explain_config c;
    struct err err;
    assert_int_equal(policy_load(&file, 1, &rules, &diags), 0);
    assert_int_equal(policy_compile(rules, 1, &p), 0);
    assert_int_equal(parse(ARGS("--policy", "p.yaml", "--transparent", "192.0.2.9:auto", "a"), &o, &err), 0);
    assert_int_equal(explain_config_init(&c, &o.daemons, &err), 0);
    assert_false(guard_is_own(&c.tunneld_guard, &own));
    assert_int_equal(explain_config_policy(&c, p, &err), 0);
    assert_true(guard_is_own(&c.tunneld_guard, &own));
    assert_false(guard_is_own(&c.tunneld_guard, &other));
    explain_config_fini(&c);
    explain_options_fini(&o);
    assert_int_equal(parse(ARGS("--policy", "p.yaml", "--transparent", "x:auto", "a"), &o, &err), 0);
    assert_int_equal(explain_config_init(&c, &o.daemons, &err), -EINVAL);
    assert_non_null(strstr(err.text, "--transparent"));
    explain_config_fini(&c);
    explain_options_fini(&o);
    policy_unref(p);
    policy_diags_fini(&diags);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),   cmocka_unit_test(test_no_canonical_form),
        cmocka_unit_test(test_bad),    cmocka_unit_test(test_options),
        cmocka_unit_test(test_config), cmocka_unit_test(test_auto),
    };
    clearenv();
    return cmocka_run_group_tests_name("explain_target", tests, NULL, NULL);
}

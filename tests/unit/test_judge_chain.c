/* SPDX-License-Identifier: Apache-2.0 */
/* How an endpoint is carried: the whole table of what it says, what its rules need, and what the options are.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/policy/judge_name.h"
#include "common/policy/policy_load.h"

#define LESS ", protocol: rest, access: read-only, enforcement: enforce"
#define ENDPOINTS                                                                                            \
    "version: 1\nnetwork_policies:\n  r:\n    binaries: [{ path: \"/**\" }]\n    endpoints:\n"               \
    "      - { host: plain.example.com, port: 443 }\n"                                                       \
    "      - { host: direct.example.com, port: 443, proxy: direct }\n"                                       \
    "      - { host: chain.example.com, port: 443, proxy: chain }\n"                                         \
    "      - { host: l7.example.com, port: 443" LESS " }\n"                                                  \
    "      - { host: l7direct.example.com, port: 443, proxy: direct" LESS " }\n"                             \
    "      - { host: l7chain.example.com, port: 443, proxy: chain" LESS " }\n"                               \
    "      - { host: \"*.wide.example.com\", port: 443" LESS " }\n"                                          \
    "      - { host: x.wide.example.com, port: 443 }\n"                                                      \
    "      - { host: d.wide.example.com, port: 443, proxy: direct }\n"                                       \
    "      - { host: 192.0.2.7, port: 443, proxy: chain }\n"

static struct policy *load(void)
{
    struct policy_diags diags = {0};
    struct policy_rules *rules = NULL;
    struct policy *p = NULL;
    const struct policy_text t = {.file = "t.yaml", .text = SPAN_LIT(ENDPOINTS)};
    assert_int_equal(policy_load(&t, 1, &rules, &diags), 0);
    policy_diags_fini(&diags);
    assert_int_equal(policy_compile(rules, 1, &p), 0);
    return p;
}

enum { N = CARRY_NONE, R = CARRY_RAW, C = CARRY_CHAIN };

/* Columns: no option; --l7=tunnel; --chain-proxy; both; --chain-proxy with everything excepted; that and
 * --l7=tunnel. */
static const struct {
    const char *host;
    int want[6];
} rows[] = {
    {"plain.example.com", {R, R, R, R, R, R}},    {"direct.example.com", {R, R, R, R, R, R}},
    {"chain.example.com", {N, N, C, C, R, R}},    {"l7.example.com", {N, R, C, C, N, R}},
    {"l7direct.example.com", {R, R, R, R, R, R}}, {"l7chain.example.com", {N, N, C, C, N, R}},
    {"y.wide.example.com", {N, R, C, C, N, R}},   {"x.wide.example.com", {N, R, C, C, N, R}},
    {"d.wide.example.com", {R, R, R, R, R, R}},   {"192.0.2.7", {N, N, C, C, R, R}},
    {"other.example.com", {N, N, N, N, N, N}},
};

static void test_table(void **state)
{
    (void)state;
    struct policy *p = load();
    enum host_fault why;
    struct chain_except all[3] = {
        {.kind = CHAIN_EXCEPT_NAME},
        {.kind = CHAIN_EXCEPT_NAME},
        {.kind = CHAIN_EXCEPT_PREFIX, .prefix = {.base = ip_v4(192, 0, 2, 0), .bits = 24}},
    };
    assert_int_equal(host_pattern_parse(SPAN_LIT("*.example.com"), &all[0].pattern, &why), 0);
    assert_int_equal(host_pattern_parse(SPAN_LIT("**.wide.example.com"), &all[1].pattern, &why), 0);
    for (size_t column = 0; column < 6; column++) {
        struct judge_config cfg = {.l7 = column % 2 == 1 ? L7_TUNNEL : L7_REFUSE, .has_chain = column >= 2};
        tunnel_timers_unset(&cfg.option_timers);
        if (column >= 4) {
            cfg.chain_excepts = (struct chain_excepts){.items = all, .count = 3};
        }
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            struct host host;
            struct tunnel_verdict v;
            assert_int_equal(host_parse(span_str(rows[i].host), &host), HOST_FAULT_NONE);
            judge_tunnel(p, &cfg, &host, 443, &v);
            if ((int)v.carriage != rows[i].want[column] ||
                (v.verdict == VERDICT_ALLOW) != (v.carriage != CARRY_NONE) ||
                (v.reason == REASON_NONE) != (v.verdict == VERDICT_ALLOW)) {
                fail_msg("%s, column %zu: %d (%s)", rows[i].host, column, (int)v.carriage,
                         reason_text(v.reason));
            }
        }
    }
    policy_unref(p);
}

static bool covers(const struct chain_excepts *e, const char *text, uint16_t port)
{
    struct host host;
    assert_int_equal(host_parse(span_str(text), &host), HOST_FAULT_NONE);
    return chain_excepts_cover(e, &host, port);
}

static void test_excepts(void **state)
{
    (void)state;
    enum host_fault why;
    struct chain_except items[3] = {
        {.kind = CHAIN_EXCEPT_NAME, .port = 443},
        {.kind = CHAIN_EXCEPT_PREFIX, .prefix = {.base = ip_v4(10, 0, 0, 0), .bits = 8}},
        {.kind = CHAIN_EXCEPT_NONE},
    };
    assert_int_equal(host_pattern_parse(SPAN_LIT("a.example.com"), &items[0].pattern, &why), 0);
    const struct chain_excepts e = {.items = items, .count = 3};
    assert_true(covers(&e, "a.example.com", 443));
    assert_false(covers(&e, "a.example.com", 80));
    assert_false(covers(&e, "b.a.example.com", 443));
    assert_false(covers(&e, "example.com", 443));
    assert_true(covers(&e, "10.255.0.1", 1));
    assert_false(covers(&e, "11.0.0.0", 1));
    assert_false(covers(&e, "::ffff:10.0.0.1", 1));
    assert_false(covers(&(struct chain_excepts){.count = 0}, "a.example.com", 443));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table), cmocka_unit_test(test_excepts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

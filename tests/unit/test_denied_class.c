/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "dnsd/denied_class.h"

#include "common/policy/policy_load.h"

static const char policy_text[] = "version: 1\n"
                                  "network_policies:\n"
                                  "  web:\n"
                                  "    endpoints:\n"
                                  "      - { host: gateway.discord.gg, port: 443 }\n"
                                  "      - { host: '*.slack.com', port: 443 }\n";

static void tells_noise_from_denials(void **state)
{
    static const struct {
        const char *name;
        bool is_noise;
    } rows[] = {
        {"printer", true},
        {"gateway.discord.gg.cluster.local", true},
        {"gateway.discord.gg.svc.cluster.local", true},
        {"gateway.discord.gg.default.svc.cluster.local", true},
        {"gateway.discord.gg.corp.example.com", true},
        {"a.slack.com.eu.corp.example.com", true},
        {"gateway.discord.gg.a.b.c.d.e.f", true},
        {"gateway.discord.gg.a.b.c.d.e.f.g", false}, /* more than a search list has */
        {"evil.example.org", false},
        {"evil.example.org.default.svc.cluster.local", true},
        {"evil.example.org.cluster.local", true},
        {"api.default.svc.cluster.local", false}, /* a service that somebody meant */
        {"10-1-2-3.default.pod.cluster.local", false},
        {"slack.com.corp.example.com", false}, /* not admitted itself */
        {"cluster.local", false},
        {"discord.gg", false},
        {"10.0.0.1.corp.example.com", false}, /* the front is an address */
    };
    (void)state;
    struct policy_diags diags = {0};
    struct policy_rules *rules = NULL;
    struct policy *policy = NULL;
    const struct policy_text text = {.file = "p.yaml", .text = SPAN_LIT(policy_text)};
    assert_int_equal(policy_load(&text, 1, &rules, &diags), 0);
    policy_diags_fini(&diags);
    assert_int_equal(policy_compile(rules, 1, &policy), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct host_name n;
        assert_int_equal(host_name_parse(span_str(rows[i].name), &n), HOST_FAULT_NONE);
        if (denied_class_is_noise(policy, &n) != rows[i].is_noise) {
            fail_msg("%s", rows[i].name);
        }
    }
    policy_unref(policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(tells_noise_from_denials)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

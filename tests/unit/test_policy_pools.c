/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/run/policy_pools.h"

#include "common/policy/policy_load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define POOL4 "198.18.0.0/15"
#define POOL6 "fd00:5e11::/64"

/* The endpoint stands on line 5. */
static int check(const char *endpoint, const char *hosts, const char *const *pools, struct err *err)
{
    char yaml[1024];
    (void)snprintf(yaml, sizeof yaml,
                   "version: 1\nnetwork_policies:\n  r:\n    endpoints:\n      - { port: 443, %s }\n"
                   "      - { host: h.example.com, port: 443 }\negress: { hosts: {%s} }\n",
                   endpoint, hosts);
    struct policy_text text = {.file = "p.yaml", .text = span_str(yaml)};
    struct policy_rules *rules = NULL;
    struct policy_diags diags = {0};
    struct str_list list = {.items = (const char **)(uintptr_t)pools};
    while (pools[list.count] != NULL) {
        list.count++;
    }
    if (policy_load(&text, 1, &rules, &diags) != 0) {
        fail_msg("%s: %s", endpoint, diags.items[0].message);
    }
    policy_diags_fini(&diags);
    *err = (struct err){""};
    int rc = policy_pools_check(&list, rules, err);
    policy_rules_free(rules);
    return rc;
}

static void test_policies(void **state)
{
    (void)state;
    static const char *const pools[] = {POOL4, POOL6, NULL};
    static const struct {
        const char *endpoint, *hosts;
        const char *expect; /* NULL: it fits */
    } rows[] = {
        {"host: a.example.com", "", NULL},
        {"host: a.example.com, allowed_ips: [10.0.0.0/8, 198.16.0.0/15, 198.20.0.0/14]", "", NULL},
        {"host: a.example.com, allowed_ips: [198.17.255.255, 198.20.0.0, 'fd00:5e11:0:1::/64']", "", NULL},
        {"host: 198.17.255.255", "h.example.com: [198.20.0.0, 'fd00:5e10::1']", NULL},
        /* inside, around, the same, the first and the last address */
        {"host: a.example.com, allowed_ips: [10.0.0.1, 198.18.7.0/24]", "",
         "p.yaml:5:9: allowed_ips: 198.18.7.0/24 is in the way of the synthetic addresses 198.18.0.0/15"},
        {"host: a.example.com, allowed_ips: [198.16.0.0/14]", "",
         "p.yaml:5:9: allowed_ips: 198.16.0.0/14 is in"},
        {"host: a.example.com, allowed_ips: [198.18.0.0/15]", "", "allowed_ips: 198.18.0.0/15 is in"},
        {"allowed_ips: [198.18.0.0]", "", "allowed_ips: 198.18.0.0/32 is in"},
        {"allowed_ips: [198.19.255.255]", "", "allowed_ips: 198.19.255.255/32 is in"},
        {"allowed_ips: ['fd00:5e11::/32']", "",
         "allowed_ips: fd00:5e11::/32 is in the way of the synthetic "
         "addresses fd00:5e11::/64, which are never dialled"},
        {"host: 198.18.0.9", "", "p.yaml:5:9: host: 198.18.0.9/32 is in"},
        {"host: 'fd00:5e11::9'", "", "host: fd00:5e11::9/128 is in"},
        {"host: a.example.com", "h.example.com: [10.0.0.1, 198.18.0.9]",
         "p.yaml:7:19: egress.hosts: 198.18.0.9/32 is in"},
        /* the first of several is told */
        {"host: a.example.com, allowed_ips: [198.18.0.1, 198.19.0.1]", "h.example.com: [198.18.0.9]",
         "allowed_ips: 198.18.0.1/32 is in"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct err err;
        int rc = check(rows[i].endpoint, rows[i].hosts, pools, &err);
        if (rc != (rows[i].expect == NULL ? 0 : -EINVAL) ||
            (rows[i].expect != NULL && strstr(err.text, rows[i].expect) == NULL)) {
            fail_msg("%s: %d, \"%s\"", rows[i].endpoint, rc, err.text);
        }
    }
}

static void test_other_pools(void **state)
{
    (void)state;
    static const char *const none[] = {NULL};
    static const char *const other[] = {"127.64.0.0/10", NULL};
    static const char *const bad[] = {"198.18.0.1/15", NULL};
    struct err err;
    assert_int_equal(check("allowed_ips: [198.18.0.0/15]", "", none, &err), 0);
    assert_int_equal(check("allowed_ips: [198.18.0.0/15]", "", other, &err), 0);
    assert_int_equal(check("allowed_ips: [10.0.0.1]", "", bad, &err), -EINVAL); /* never passes by mistake */
    assert_non_null(strstr(err.text, "--pool"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_policies),
        cmocka_unit_test(test_other_pools),
    };
    return cmocka_run_group_tests_name("policy_pools", tests, NULL, NULL);
}

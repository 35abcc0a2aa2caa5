/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/policy/policy_load.h"
#include "common/run/capture_auto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static struct str_list list_of(const char **items)
{
    size_t count = 0;
    while (items[count] != NULL) {
        count++;
    }
    return (struct str_list){.items = items, .count = count};
}

static void test_words(void **state)
{
    (void)state;
    static const char *const autos[] = {"auto", "127.0.0.1:auto", "[::1]:auto", "x:auto", ":auto", "::auto"};
    static const char *const others[] = {"",      "127.0.0.1:80", "[::1]:80", "AUTO",
                                         "autos", "myauto",       "auto:",    "auto:80"};
    for (size_t i = 0; i < sizeof(autos) / sizeof(autos[0]); i++) {
        assert_true(capture_auto_is(autos[i]));
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_false(capture_auto_is(others[i]));
    }
}

/* Wildcards first, and nothing twice. */
static void test_hosts(void **state)
{
    (void)state;
    static const struct {
        const char *items[6];
        const char *hosts;
        bool may_lack_v6;
    } cases[] = {
        {{"auto", NULL}, "0.0.0.0 :: ", true},
        {{"auto", "auto", NULL}, "0.0.0.0 :: ", true},
        {{"10.0.0.1:auto", "127.0.0.1:80", NULL}, "10.0.0.1 ", true},
        {{"10.0.0.1:auto", "10.0.0.1:auto", "10.0.0.2:auto", NULL}, "10.0.0.1 10.0.0.2 ", true},
        {{"[fd00::1]:auto", "10.0.0.1:auto", "auto", NULL}, "0.0.0.0 :: ", true},
        {{"[fd00::1]:auto", "10.0.0.1:auto", "0.0.0.0:auto", NULL}, "0.0.0.0 fd00::1 ", true},
        {{"auto", "[::]:auto", NULL}, "0.0.0.0 :: ", false},
        {{"127.0.0.1:80", NULL}, "", true},
        {{NULL}, "", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *items[6];
        memcpy(items, cases[i].items, sizeof(items));
        struct str_list list = list_of(items);
        struct capture_hosts h;
        char text[256] = "", one[IP_TEXT_CAP];
        assert_int_equal(capture_auto_hosts(&list, &h, NULL), 0);
        for (size_t k = 0; k < h.count; k++) {
            strcat(text, ip_text(&h.items[k], one));
            strcat(text, " ");
        }
        assert_string_equal(text, cases[i].hosts);
        assert_int_equal(h.may_lack_v6, cases[i].may_lack_v6);
        capture_auto_fini(&h);
        assert_int_equal(h.count, 0);
    }
}

static void test_bad_hosts(void **state)
{
    (void)state;
    static const char *const bad[] = {
        ":auto",        "::auto",           "::1:auto",       "localhost:auto", "[127.0.0.1]:auto",
        "[::1:auto",    "[]:auto",          "[:auto",         "]:auto",         "127.0.0.1:80:auto",
        "[::1%1]:auto", "127.0.0.1/8:auto", " 127.0.0.1:auto"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *items[] = {"auto", bad[i], NULL};
        struct str_list list = list_of(items);
        struct capture_hosts h;
        struct err err = {""};
        assert_int_equal(capture_auto_hosts(&list, &h, &err), -EINVAL);
        assert_non_null(strstr(err.text, "--transparent"));
        assert_non_null(strstr(err.text, bad[i]));
        assert_null(h.items);
    }
}

static struct policy *policy_with_ports(unsigned count)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    struct policy_diags diags = {0};
    struct policy_rules *rules = NULL;
    struct policy *p = NULL;
    assert_non_null(f);
    fputs("version: 1\nnetwork_policies:\n", f);
    for (unsigned i = 1; i <= count; i++) {
        fprintf(f, "  r%u: { name: r%u, endpoints: [{ host: a.example.org, port: %u }] }\n", i, i, i);
    }
    assert_int_equal(fclose(f), 0);
    const struct policy_text file = {.file = "p", .text = {(const unsigned char *)text, len}};
    assert_int_equal(policy_load(&file, 1, &rules, &diags), 0);
    assert_int_equal(policy_compile(rules, 1, &p), 0);
    policy_diags_fini(&diags);
    free(text);
    return p;
}

static void test_bound(void **state)
{
    (void)state;
    static const unsigned good[] = {1, CAPTURE_AUTO_PORTS_MAX - 1, CAPTURE_AUTO_PORTS_MAX};
    struct err err = {""};
    struct policy *p = NULL;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        p = policy_with_ports(good[i]);
        assert_int_equal(capture_auto_check(p, &err), 0);
        policy_unref(p);
    }
    p = policy_with_ports(CAPTURE_AUTO_PORTS_MAX + 1);
    assert_int_equal(capture_auto_check(p, &err), -EINVAL);
    assert_non_null(strstr(err.text, "names 1025 ports"));
    assert_non_null(strstr(err.text, "1024 at most"));
    policy_unref(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_words), cmocka_unit_test(test_hosts),
                                       cmocka_unit_test(test_bad_hosts), cmocka_unit_test(test_bound)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/run_options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>

#include <cmocka.h>

/* Parses "run" and the arguments up to NULL. */
static int parse(const char *const *args, struct run_options *out, struct err *err)
{
    static char words[32][80];
    static char *argv[33];
    int argc = 0;
    (void)snprintf(words[argc], sizeof words[0], "run");
    argv[argc] = words[argc];
    argc++;
    for (size_t i = 0; args[i] != NULL; i++) {
        (void)snprintf(words[argc], sizeof words[0], "%s", args[i]);
        argv[argc] = words[argc];
        argc++;
    }
    argv[argc] = NULL;
    *err = (struct err){""};
    return run_options_parse(argc, argv, out, err);
}
#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void assert_list(const struct arg_list *l, const char *const *want)
{
    size_t count = 0;
    while (want[count] != NULL) {
        assert_true(count < l->count);
        assert_string_equal(l->items[count], want[count]);
        count++;
    }
    assert_int_equal(l->count, count);
}

static void test_default_policy_and_command(void **state)
{
    (void)state;
    struct run_options o;
    struct err err;
    assert_int_equal(parse(ARGS("--", "node", "--version"), &o, &err), 0);
    assert_list(&o.policies, ARGS("/etc/openshell/policy.yaml"));
    assert_string_equal(o.cmd[0], "node");
    assert_string_equal(o.cmd[1], "--version");
    assert_null(o.cmd[2]);
    assert_false(o.degraded);
    assert_false(o.no_proxy_env);
    run_options_fini(&o);
}

static void test_options_go_to_the_daemon_that_has_them(void **state)
{
    (void)state;
    struct run_options o;
    struct err err;
    assert_int_equal(
        parse(ARGS("--policy", "a.yaml", "--policy=b", "--upstream", "192.0.2.1", "--zone=lan=192.0.2.2,open",
                   "--idle-timeout=2s", "--serve-stale=0", "--deny-ttl", "5s", "--strict-private",
                   "--chain-proxy=http://10.200.0.1:3128", "--chain-target", "address", "--chain-auth-file=f",
                   "--chain-except", "a.example", "--proxy-env", "off", "--log", "x.log", "--", "true"),
              &o, &err),
        0);
    assert_list(&o.policies, ARGS("a.yaml", "b"));
    assert_list(&o.daemons.dnsd, ARGS("--upstream", "192.0.2.1", "--zone=lan=192.0.2.2,open",
                                      "--serve-stale=0", "--deny-ttl", "5s", "--strict-private"));
    assert_list(&o.daemons.tunneld,
                ARGS("--upstream", "192.0.2.1", "--zone=lan=192.0.2.2,open", "--idle-timeout=2s",
                     "--strict-private", "--chain-proxy=http://10.200.0.1:3128", "--chain-target", "address",
                     "--chain-auth-file=f", "--chain-except", "a.example"));
    assert_true(o.no_proxy_env);
    assert_string_equal(o.log, "x.log");
    run_options_fini(&o);
}

static void test_usage_errors_name_the_option(void **state)
{
    (void)state;
    static const struct {
        const char *args[6];
        const char *names;
    } table[] = {
        {{"--no-such-option", "--", "true"}, "--no-such-option"},
        {{"--listen", "127.0.0.1:1", "--", "true"}, "--listen"},
        {{"--admin", "127.0.0.1:1", "--", "true"}, "--admin"},
        {{"--admin=unix:/tmp/x", "--", "true"}, "--admin"},
        {{"--transparent=0.0.0.0:1", "--", "true"}, "--transparent"},
        {{"--map", "x", "--", "true"}, "--map"},
        {{"--answer=real", "--", "true"}, "--answer"},
        {{"--user", "nobody", "--", "true"}, "--user"},
        {{"--ready-fd=3", "--", "true"}, "--ready-fd"},
        {{"--check", "--", "true"}, "--check"},
        {{"--summary", "--log-level", "warn", "--", "true"}, "--summary"},
        {{"--log-level=error", "--summary", "--", "true"}, "--summary"},
        {{"--dump-config", "--", "true"}, "--dump-config"},
        {{"--policy"}, "--policy"},
        {{"--idle-timeout"}, "--idle-timeout"},
        {{"--strict-private=1", "--", "true"}, "--strict-private"},
        {{"--proxy-env", "maybe", "--", "true"}, "--proxy-env"},
        {{"--capture", "tproxy", "--", "true"}, "--capture"},
        {{"true"}, "true"},
        {{"--"}, "no command"},
        {{"--degraded"}, "no command"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct run_options o;
        struct err err;
        assert_int_equal(parse(table[i].args, &o, &err), -EINVAL);
        if (strstr(err.text, table[i].names) == NULL) {
            fail_msg("'%s' does not name %s", err.text, table[i].names);
        }
    }
}

static void test_summary_needs_the_log(void **state)
{
    (void)state;
    struct run_options o;
    struct err err;
    assert_int_equal(parse(ARGS("--summary", "--log-level=debug", "--", "true"), &o, &err), 0);
    run_options_fini(&o);
    assert_int_equal(setenv("OPENSHELL_TUNNELD_LOG_LEVEL", "warn", 1), 0);
    assert_int_equal(parse(ARGS("--", "true"), &o, &err), 0);
    run_options_fini(&o);
    assert_int_equal(parse(ARGS("--summary", "--log-level", "info", "--", "true"), &o, &err), 0);
    run_options_fini(&o);
    assert_int_equal(parse(ARGS("--summary", "--", "true"), &o, &err), -EINVAL);
    assert_non_null(strstr(err.text, "openshell-tunneld"));
    assert_int_equal(unsetenv("OPENSHELL_TUNNELD_LOG_LEVEL"), 0);
}

static void test_help_needs_no_command(void **state)
{
    (void)state;
    struct run_options o;
    struct err err;
    assert_int_equal(parse(ARGS("--help"), &o, &err), 0);
    assert_true(o.help);
    run_options_fini(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_default_policy_and_command),
        cmocka_unit_test(test_options_go_to_the_daemon_that_has_them),
        cmocka_unit_test(test_usage_errors_name_the_option),
        cmocka_unit_test(test_summary_needs_the_log),
        cmocka_unit_test(test_help_needs_no_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

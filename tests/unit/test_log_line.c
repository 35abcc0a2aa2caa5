/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of our logs, written by log_event() itself and taken apart again; and the report made of them. */
#include "egress/log_line.h"
#include "egress/run_report.h"

#include "common/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct log_line parsed;

static bool parse(const char *line)
{
    return log_line_parse(span_str(line), &parsed);
}

static void test_what_is_written_is_read(void **state)
{
    (void)state;
    static const char odd[] = "a \"b\" \\ = \n\t\x01\xff {,}";
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        int ends[2];
        char line[LOG_LINE_CAP];
        assert_int_equal(pipe(ends), 0);
        log_init("openshell-test", LOG_INFO, (enum log_format)format, ends[1]);
        log_event(LOG_WARN, "some_event",
                  LOG_KV(kv_str("odd", odd), kv_u64("n", 18446744073709551615U), kv_bool("yes", true),
                         kv_str("empty", ""), kv_str("last", "x:y")));
        log_init("openshell-test", LOG_ERROR, LOG_TEXT, STDERR_FILENO);
        ssize_t len = read(ends[0], line, sizeof line);
        assert_true(len > 1 && line[len - 1] == '\n');
        assert_true(log_line_parse(span_make(line, (size_t)len - 1), &parsed));
        assert_string_equal(log_line_get(&parsed, "level"), "warn");
        assert_string_equal(log_line_get(&parsed, "program"), "openshell-test");
        assert_string_equal(log_line_get(&parsed, "event"), "some_event");
        assert_string_equal(log_line_get(&parsed, "odd"), odd);
        assert_true(log_line_number(&parsed, "n") == UINT64_MAX);
        assert_string_equal(log_line_get(&parsed, "yes"), "true");
        assert_string_equal(log_line_get(&parsed, "empty"), "");
        assert_string_equal(log_line_get(&parsed, "last"), "x:y");
        assert_null(log_line_get(&parsed, "none"));
        assert_int_equal(log_line_number(&parsed, "odd"), 0);
        (void)close(ends[0]);
        (void)close(ends[1]);
    }
}

static void test_what_is_no_line_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "one two",
                                      "t warn p e key",
                                      "t warn p e key=",
                                      "t warn p e key=\"open",
                                      "t warn p e key=\"\\q\"",
                                      "t warn p e key=\"\\x0\"",
                                      "t warn p e  key=v",
                                      "{",
                                      "{\"a\":1",
                                      "{\"a\":1}x",
                                      "{\"a\":}",
                                      "{\"a\":\"\\u01\"}",
                                      "{\"a\":\"\\u2028\"}",
                                      "{a:1}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(parse(bad[i]));
    }
    assert_true(parse("{\"event\":\"x\"}"));
    assert_true(parse("t warn p e"));
    static char longest[2 * LOG_LINE_CAP] = "t warn p e k=";
    memset(longest + strlen(longest), 'v', sizeof longest - strlen(longest) - 1);
    assert_false(parse(longest));
}

static char *printed(struct run_report *r, const char *const *lines, const struct synth_pools *pools)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    for (size_t i = 0; lines[i] != NULL; i++) {
        run_report_line(r, span_str(lines[i]), out);
    }
    run_report_print(r, NULL, pools, 0, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

static void test_report(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "t warn d dns_denied name=a.example type=A client=127.0.0.1 reason=policy_denied",
        "t warn d dns_denied name=a.example type=AAAA client=127.0.0.1 reason=policy_denied suppressed=3",
        "t warn d tunnel_denied reason=policy_denied host=a.example port=22 rule=none via=connect",
        "t warn d tunnel_denied reason=not_mapped host=- port=9 addr=[fd00::7]:9 why=\"never \\x1b\"",
        "t warn d dns_denied name=\"x\\ny.example\" reason=policy_denied",
        "t info d tunnel_close reason=idle host=b.example port=443 bytes_up=1 bytes_down=2 duration_ms=1500",
        "t info d tunnel_close reason=idle host=b.example port=443 bytes_up=10 bytes_down=20 duration_ms=70",
        "t info d tunnel_open host=c.example port=443",
        "t warn d tunnel_denied suppressed=30", /* was a denial of nobody, told as such */
        "t warn d dns_denied suppressed=3",
        "nonsense",
        NULL};
    struct run_report *r = run_report_new();
    assert_non_null(r);
    char *text = printed(r, lines, NULL);
    assert_string_equal(text,
                        "openshell-egress: denied: a.example policy_denied\n"
                        "openshell-egress: denied: a.example:22 policy_denied\n"
                        "openshell-egress: denied: [fd00::7]:9 not_mapped (never ?)\n"
                        "openshell-egress: denied: x?y.example policy_denied\n"
                        "openshell-egress: summary\n"
                        "  endpoints reached:\n"
                        "    b.example:443 2 connections, 11 bytes up, 22 down, 1.500 s at most\n"
                        "  denied:\n"
                        "    a.example 5 times policy_denied\n"
                        "    a.example:22 1 time policy_denied\n"
                        "    [fd00::7]:9 1 time not_mapped\n"
                        "    x?y.example 1 time policy_denied\n"
                        "    and 33 more\n"
                        "  rules that would admit what the policy denied, each by itself the narrowest:\n"
                        "network_policies:\n"
                        "  a_example_22:\n"
                        "    endpoints:\n"
                        "      - { host: \"a.example\", port: 22 }\n"
                        "    binaries:\n"
                        "      - { path: \"/**\" }\n");
    free(text);
    run_report_free(r);
}

/* No rule opens what is never dialled, nor an address that stands for a name. */
static void test_rules_that_would_not_help(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "t warn d tunnel_denied reason=policy_denied host=127.0.0.1 port=22 rule=none via=connect",
        "t warn d tunnel_denied reason=policy_denied host=169.254.169.254 port=80 rule=none via=connect",
        "t warn d tunnel_denied reason=policy_denied host=::1 port=80 rule=none via=connect",
        "t warn d tunnel_denied reason=policy_denied host=198.18.0.9 port=80 rule=none via=connect",
        "t warn d tunnel_denied reason=policy_denied host=fd00::9 port=80 rule=none via=connect",
        "t warn d tunnel_denied reason=policy_denied host=8.8.8.8 port=80 rule=none via=connect",
        NULL};
    struct synth_pools pools = {.has_v4 = true, .has_v6 = true};
    assert_int_equal(ip_prefix_parse(span_str("198.18.0.0/15"), &pools.v4), 0);
    assert_int_equal(ip_prefix_parse(span_str("fd00::/64"), &pools.v6), 0);
    struct run_report *r = run_report_new();
    assert_non_null(r);
    char *text = printed(r, lines, &pools);
    const char *rules = strstr(text, "network_policies:\n");
    assert_non_null(rules);
    assert_string_equal(rules, "network_policies:\n"
                               "  8_8_8_8_80:\n"
                               "    endpoints:\n"
                               "      - { host: \"8.8.8.8\", port: 80 }\n"
                               "    binaries:\n"
                               "      - { path: \"/**\" }\n");
    free(text);
    run_report_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_what_is_no_line_is_refused),
        cmocka_unit_test(test_report),
        cmocka_unit_test(test_rules_that_would_not_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

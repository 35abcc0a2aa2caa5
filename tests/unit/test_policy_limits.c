/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts that once took minutes to refuse. Each is far larger than a policy, and done within a second or two
 * as long as the work grows with the size of the text; the alarm ends a run in which it grows faster.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/buf.h"
#include "common/policy/policy_load.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define ALARM_S 60
#define TEXT_MAX_BYTES ((size_t)16 << 20)

static void put(struct buf *b, const char *text)
{
    assert_int_equal(buf_append(b, span_str(text), TEXT_MAX_BYTES), 0);
}

/* The text count times, each with another number in the place of '@'. */
static void put_many(struct buf *b, size_t count, const char *text)
{
    struct span s = span_str(text);
    size_t at = span_find(s, '@');
    for (size_t i = 0; i < count; i++) {
        char number[24];
        (void)snprintf(number, sizeof number, "%zu", 100000 + i);
        assert_int_equal(buf_append(b, span_sub(s, 0, at), TEXT_MAX_BYTES), 0);
        if (at < s.len) {
            put(b, number);
            assert_int_equal(buf_append(b, span_sub(s, at + 1, s.len), TEXT_MAX_BYTES), 0);
        }
    }
}

static void load(struct buf *b, struct policy_diags *diags)
{
    const struct policy_text text = {.file = "big.yaml", .text = buf_span(b)};
    struct policy_rules *rules = NULL;
    (void)alarm(ALARM_S);
    int rc = policy_load(&text, 1, &rules, diags);
    (void)alarm(0);
    assert_int_equal(rc, diags->error_count > 0 ? -EINVAL : 0);
    policy_rules_free(rules);
    buf_fini(b);
}

/* libyaml compares each with all before it. */
static void test_tag_directives(void **state)
{
    (void)state;
    static const char *const heads[] = {"", "version: 1\n...\n"};
    for (size_t i = 0; i < 2; i++) {
        struct buf b = {0};
        struct policy_diags diags = {0};
        put(&b, heads[i]);
        put_many(&b, 200000, "%TAG !a@! x\n");
        put(&b, "---\nversion: 1\n");
        load(&b, &diags);
        assert_int_equal(diags.error_count, 1);
        assert_int_equal(diags.items[0].line, i == 0 ? 1 : 3);
        assert_non_null(strstr(diags.items[0].message, "%TAG"));
        policy_diags_fini(&diags);
    }
}

/* Each diagnostic shows its line, which is the whole file here. */
static void test_one_long_line(void **state)
{
    (void)state;
    struct buf b = {0};
    struct policy_diags diags = {0};
    put(&b, "{version: 1, network_policies: {r: {binaries: [{path: \"/**\"}], endpoints: [");
    put_many(&b, 2000, "{host: a.b, port: 0},");
    put_many(&b, 1, "{host: a.b, port: 0}");
    for (size_t i = 0; i < 15; i++) {
        char blanks[1 << 10];
        memset(blanks, ' ', sizeof blanks);
        for (size_t k = 0; k < 1024; k++) {
            assert_int_equal(buf_append(&b, span_make(blanks, sizeof blanks), TEXT_MAX_BYTES), 0);
        }
    }
    put(&b, "]}}}\n");
    load(&b, &diags);
    assert_int_equal(diags.error_count, 2001);
    assert_int_equal(diags.count, 1000);
    assert_non_null(strstr(diags.items[0].source_line, "{host: a.b, port: 0}"));
    policy_diags_fini(&diags);
}

/* Only the first thousand are kept: the rest needs no hint. */
static void test_unknown_keys(void **state)
{
    (void)state;
    struct buf b = {0};
    struct policy_diags diags = {0};
    put(&b, "version: 1\nnetwork_policies:\n  r:\n    binaries: [{ path: \"/**\" }]\n    endpoints:\n");
    put(&b, "    - host: a.b\n      port: 1\n");
    put_many(&b, 100000, "      abcdefghijklmnopqrstuvwxyz@: 1\n");
    load(&b, &diags);
    assert_int_equal(diags.error_count, 100000);
    assert_true(diags.overflowed);
    assert_non_null(diags.items[999].hint);
    policy_diags_fini(&diags);
}

/* Each entry takes its ports out of the same list, in no order: every port must come out once, and shaped. */
static void test_overlay_of_each_port(void **state)
{
    (void)state;
    struct buf b = {0};
    struct policy_diags diags = {0};
    struct policy_rules *rules = NULL;
    bool seen[1001] = {false};
    char line[64];
    put(&b,
        "version: 1\nnetwork_policies: {r: {binaries: [{path: \"/**\"}], endpoints: [{host: a.b, ports: [");
    for (unsigned port = 1; port <= 1000; port++) {
        (void)snprintf(line, sizeof line, "%u%s", port, port < 1000 ? "," : "]}]}}\n");
        put(&b, line);
    }
    put(&b, "egress:\n  endpoints:\n");
    for (unsigned i = 1; i < 1000; i++) {
        (void)snprintf(line, sizeof line, "  - { host: a.b, port: %u, proxy: direct }\n", i * 7 % 1000 + 1);
        put(&b, line);
    }
    const struct policy_text text = {.file = "big.yaml", .text = buf_span(&b)};
    assert_int_equal(policy_load(&text, 1, &rules, &diags), 0);
    const struct policy_rule *r = &rules->rules[0];
    assert_int_equal(r->endpoint_count, 1000);
    for (size_t i = 0; i < r->endpoint_count; i++) {
        assert_int_equal(r->endpoints[i].port_count, 1);
        uint16_t port = r->endpoints[i].ports[0];
        assert_true(port >= 1 && port <= 1000 && !seen[port]);
        assert_int_equal(r->endpoints[i].proxy, port == 1 ? PROXY_UNSET : PROXY_DIRECT);
        seen[port] = true;
    }
    policy_rules_free(rules);
    policy_diags_fini(&diags);
    buf_fini(&b);
}

static void put_endpoints(struct buf *b)
{
    put(b, "version: 1\nnetwork_policies:\n  r:\n    binaries: [{ path: \"/**\" }]\n    endpoints:\n");
}

/* "*" behind the first label at one more set of places with each count: "a.*.b.c", "a.*.l.b.c", … */
static void put_placements(struct buf *b, size_t count)
{
    put_endpoints(b);
    for (size_t i = 0; i < count; i++) {
        put(b, "      - { host: \"a.*.");
        for (size_t k = 0; k < i; k++) {
            put(b, "l.");
        }
        put(b, "b.c\", port: 1 }\n      - { host: \"other.*.b.c\", port: 1 }\n");
    }
}

static void put_globs(struct buf *b, size_t count)
{
    put_endpoints(b);
    put(b, "      - { host: \"*x*.other.b.c\", port: 1 }\n      - { host: \"*100000*.b.c\", port: 2 }\n");
    put_many(b, count, "      - { host: \"*@*.b.c\", port: 1 }\n");
}

static void put_addresses(struct buf *b, size_t count)
{
    put(b, "version: 1\negress:\n  hosts:\n    a.b:\n");
    put_many(b, count, "      - \"2001:db8::@\"\n"); /* six digits: no address */
    for (size_t i = 0; i < b->len; i++) {
        if (i > 4 && memcmp(b->data + i - 4, "::10", 4) == 0) {
            b->data[i - 1] = ':'; /* "::1:0000", … */
        }
    }
}

/* Each bound: as many load, one more is one error that says how many. */
static void test_bounds(void **state)
{
    (void)state;
    static const struct {
        void (*fill)(struct buf *b, size_t count);
        size_t most;
        const char *number;
    } rows[] = {
        {put_placements, POLICY_PLACEMENTS_MAX, "32"},
        {put_globs, POLICY_GLOBS_MAX, "64"},
        {put_addresses, POLICY_HOST_ADDRS_MAX, "64"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t over = 0; over < 2; over++) {
            struct buf b = {0};
            struct policy_diags diags = {0};
            rows[i].fill(&b, rows[i].most + over);
            load(&b, &diags);
            assert_int_equal(diags.error_count, over);
            if (over == 1) {
                assert_non_null(strstr(diags.items[0].message, rows[i].number));
            }
            policy_diags_fini(&diags);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tag_directives), cmocka_unit_test(test_one_long_line),
        cmocka_unit_test(test_unknown_keys),   cmocka_unit_test(test_overlay_of_each_port),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests_name("policy_limits", tests, NULL, NULL);
}

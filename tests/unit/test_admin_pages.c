/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/admin_pages.h"

#include <errno.h>
#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static const struct metrics_info counters[] = {{"queries", METRICS_COUNTER, "Messages taken"},
                                               {"tunnels", METRICS_GAUGE, "Tunnels that stand"}};
static const uint64_t values[] = {UINT64_MAX, 3};
static const char *const files[] = {"/etc/a.yaml", "/etc/with \"quote\".yaml"};

static void write_more(void *ctx, struct json *json)
{
    json_str(json, "more", ctx);
}

static struct admin_facts facts(const struct policy_health *h)
{
    static char more[] = "of its own";
    return (struct admin_facts){.program = "openshell-dnsd",
                                .listen = "unix:/run/a",
                                .pid = 42,
                                .uptime_s = 7,
                                .workers = 2,
                                .health = h,
                                .files = files,
                                .file_count = 2,
                                .counters = counters,
                                .values = values,
                                .counter_count = 2,
                                .status = write_more,
                                .ctx = more};
}

static const struct policy_health good = {.generation = 3,
                                          .rules = 4,
                                          .endpoints = 5,
                                          .loaded_wall_s = 1700000000,
                                          .failures = 1,
                                          .failed_wall_s = 1};
static const struct policy_health stale = {.generation = 3,
                                           .loaded_wall_s = 1700000000,
                                           .is_stale = true,
                                           .failures = 2,
                                           .failed_wall_s = 1700000060,
                                           .error_count = 9,
                                           .error = "p.yaml:1:2: 100% \"wrong\""};

/* The body as a string, valid until the next call. */
static const char *write_page(const struct admin_facts *f, enum admin_page page, struct admin_reply *r)
{
    static char text[8192];
    *r = (struct admin_reply){.status = 0};
    assert_int_equal(admin_pages_write(f, page, r), 0);
    assert_in_range(r->body.len, 1, sizeof text - 1);
    memcpy(text, buf_span(&r->body).data, r->body.len);
    text[r->body.len] = '\0';
    buf_fini(&r->body);
    return text;
}

static void test_healthz(void **state)
{
    (void)state;
    struct admin_reply r;
    struct admin_facts f = facts(&stale);
    f.is_draining = true;
    assert_string_equal(write_page(&f, ADMIN_PAGE_HEALTHZ, &r), "ok\n");
    assert_int_equal(r.status, 200);
}

static void test_readyz(void **state)
{
    (void)state;
    static const char line[] =
        "policy stale: generation 3 in use since 2023-11-14T22:13:20Z, a newer one refused at "
        "2023-11-14T22:14:20Z: p.yaml:1:2: 100% \"wrong\"\n";
    struct admin_reply r;
    struct admin_facts f = facts(&good);
    assert_string_equal(write_page(&f, ADMIN_PAGE_READYZ, &r), "ready\n");
    assert_int_equal(r.status, 200);
    assert_false(r.is_stale);
    f.health = &stale; /* no reason to take it out of rotation */
    const char *text = write_page(&f, ADMIN_PAGE_READYZ, &r);
    assert_int_equal(strncmp(text, "ready\n", 6), 0);
    assert_string_equal(text + 6, line);
    assert_int_equal(r.status, 200);
    assert_true(r.is_stale);
    f.is_draining = true;
    text = write_page(&f, ADMIN_PAGE_READYZ, &r);
    assert_int_equal(strncmp(text, "draining\n", 9), 0);
    assert_string_equal(text + 9, line);
    assert_int_equal(r.status, 503);
}

static void test_status(void **state)
{
    (void)state;
    struct admin_reply r;
    struct admin_facts f = facts(&good);
    assert_string_equal(
        write_page(&f, ADMIN_PAGE_STATUS, &r),
        "{\"program\":\"openshell-dnsd\",\"version\":\"" PACKAGE_VERSION
        "\",\"pid\":42,\"uptime_s\":7,\"state\":\"ready\",\"workers\":2,\"admin\":\"unix:/run/a\","
        "\"policy\":{\"generation\":3,\"rules\":4,\"endpoints\":5,\"loaded_at\":\"2023-11-14T22:13:20Z\","
        "\"stale\":false,\"failures\":1,\"failed_at\":\"1970-01-01T00:00:01Z\",\"error_count\":0,\"error\":"
        "null,"
        "\"files\":[\"/etc/a.yaml\",\"/etc/with \\\"quote\\\".yaml\"]},\"capabilities\":[],"
        "\"counters\":{\"queries\":18446744073709551615},\"gauges\":{\"tunnels\":3},\"more\":\"of its "
        "own\"}\n");
    assert_int_equal(r.status, 200);
    assert_string_equal(r.type, "application/json");
    f.health = &stale;
    f.is_draining = true;
    f.status = NULL;
    f.capabilities = UINT64_C(1) << CAP_NET_BIND_SERVICE | UINT64_C(1) << CAP_SYS_PTRACE |
                     UINT64_C(1) << CAP_NET_ADMIN | UINT64_C(1) << 63;
    const char *text = write_page(&f, ADMIN_PAGE_STATUS, &r);
    assert_non_null(strstr(text, "\"state\":\"draining\""));
    assert_non_null(strstr(text, "\"stale\":true,\"failures\":2,\"failed_at\":\"2023-11-14T22:14:20Z\","
                                 "\"error_count\":9,\"error\":\"p.yaml:1:2: 100% \\\"wrong\\\"\""));
    assert_non_null(
        strstr(text, "\"capabilities\":[\"net_bind_service\",\"net_admin\",\"sys_ptrace\",\"63\"]"));
    assert_null(strstr(text, "more"));
}

static void test_never_failed(void **state)
{
    (void)state;
    struct admin_reply r;
    const struct policy_health fresh = {.generation = 1};
    const struct admin_facts f = facts(&fresh);
    assert_non_null(strstr(write_page(&f, ADMIN_PAGE_STATUS, &r), "\"loaded_at\":null,"));
    assert_non_null(strstr(write_page(&f, ADMIN_PAGE_STATUS, &r), "\"failed_at\":null,"));
}

static void test_metrics(void **state)
{
    (void)state;
    struct admin_reply r;
    struct admin_facts f = facts(&stale);
    f.is_draining = true;
    const char *text = write_page(&f, ADMIN_PAGE_METRICS, &r);
    assert_string_equal(r.type, "text/plain; version=0.0.4; charset=utf-8");
    static const char *const parts[] = {
        "# HELP openshell_dnsd_build_info Which build this is; always 1.\n"
        "# TYPE openshell_dnsd_build_info gauge\n"
        "openshell_dnsd_build_info{version=\"" PACKAGE_VERSION "\"} 1\n",
        "\nopenshell_dnsd_draining 1\n",
        "\nopenshell_dnsd_uptime_seconds 7\n",
        "\nopenshell_dnsd_policy_generation 3\n",
        "\nopenshell_dnsd_policy_stale 1\n",
        "\nopenshell_dnsd_policy_loaded_timestamp_seconds 1700000000\n",
        "# TYPE openshell_dnsd_policy_reload_failures_total counter\n"
        "openshell_dnsd_policy_reload_failures_total 2\n",
        "# HELP openshell_dnsd_queries_total Messages taken.\n# TYPE openshell_dnsd_queries_total counter\n"
        "openshell_dnsd_queries_total 18446744073709551615\n",
        "# TYPE openshell_dnsd_tunnels gauge\nopenshell_dnsd_tunnels 3\n"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (strstr(text, parts[i]) == NULL) {
            fail_msg("no %s in %s", parts[i], text);
        }
    }
}

/* A policy of very many files: an error, not a cut page. */
static void test_too_long(void **state)
{
    (void)state;
    static const char *many[65536];
    struct admin_reply r = {.status = 0};
    struct admin_facts f = facts(&good);
    for (size_t i = 0; i < sizeof many / sizeof many[0]; i++) {
        many[i] = "/etc/openshell/policy.yaml";
    }
    f.files = many;
    f.file_count = sizeof many / sizeof many[0];
    assert_int_equal(admin_pages_write(&f, ADMIN_PAGE_STATUS, &r), -E2BIG);
    buf_fini(&r.body);
    assert_int_equal(admin_pages_write(&f, ADMIN_PAGE_NONE, &r), -EINVAL);
    buf_fini(&r.body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_healthz), cmocka_unit_test(test_readyz),       cmocka_unit_test(test_status),
        cmocka_unit_test(test_metrics), cmocka_unit_test(test_never_failed), cmocka_unit_test(test_too_long),
    };
    return cmocka_run_group_tests_name("admin_pages", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/policy_text.h"

#include "common/base/buf.h"

#include <stdio.h>
#include <stdlib.h>

static size_t match_count(const struct policy *p, const char *name)
{
    struct host_name n = policy_text_name(name);
    return policy_match_name(p, &n, NULL, 0);
}

static void check_hosts(const struct policy_endpoint **found, size_t count, const char *const *expect)
{
    for (size_t i = 0; i < count; i++) {
        assert_non_null(expect[i]);
        assert_string_equal(found[i]->pattern.text.text, expect[i]);
    }
    assert_null(expect[count]);
}

static void test_match_order(void **state)
{
    (void)state;
    struct policy *p = policy_text_endpoints("{ host: \"**.example.com\", port: 1 }\n"
                                             "{ host: \"*.b.example.com\", port: 1 }\n"
                                             "{ host: a.b.example.com, port: 1 }\n"
                                             "{ host: \"a*.b.example.com\", port: 1 }\n"
                                             "{ host: \"**.b.example.com\", port: 1 }\n"
                                             "{ host: a.b.example.com, port: 2 }\n"
                                             "{ host: \"a.*.example.com\", port: 2 }\n"
                                             "{ host: b.example.com, port: 2 }\n"
                                             "{ port: 1, allowed_ips: [192.0.2.0/24] }\n"
                                             "{ host: \"*.other.example.com\", port: 1 }");
    const struct policy_endpoint *found[16];
    struct host_name n = policy_text_name("a.b.example.com");
    static const char *const expect[] = {
        "a.b.example.com",  "a.b.example.com", "a*.b.example.com", "*.b.example.com",
        "**.b.example.com", "a.*.example.com", "**.example.com",   NULL};
    size_t count = policy_match_name(p, &n, found, 16);
    assert_int_equal(count, 7);
    check_hosts(found, count, expect);
    assert_int_equal(found[0]->ports[0], 1); /* ties by line */
    assert_int_equal(found[1]->ports[0], 2);
    /* a small buffer gets the most specific, and the count all the same */
    const struct policy_endpoint *few[3] = {NULL, NULL, NULL};
    assert_int_equal(policy_match_name(p, &n, few, 2), 7);
    assert_ptr_equal(few[0], found[0]);
    assert_ptr_equal(few[1], found[1]);
    assert_null(few[2]);
    assert_int_equal(policy_match_name(p, &n, NULL, 0), 7);
    assert_int_equal(match_count(p, "b.example.com"), 2);
    assert_int_equal(match_count(p, "example.com"), 0);
    assert_int_equal(match_count(p, "x.y.z.example.com"), 1);
    assert_int_equal(match_count(p, "com"), 0);
    policy_unref(p);
}

static bool stop_at_second(const struct policy_endpoint *ep, void *ctx)
{
    (void)ep;
    size_t *seen = ctx;
    return ++*seen < 2;
}

static void test_visit_stops(void **state)
{
    (void)state;
    struct policy *p =
        policy_text_endpoints("{ host: a.example.com, port: 1 }\n{ host: \"*.example.com\", port: 1 }\n"
                              "{ host: \"**.example.com\", port: 1 }\n{ host: 192.0.2.1, port: 1 }\n"
                              "{ host: 192.0.2.1, port: 2 }\n{ port: 1, allowed_ips: [192.0.2.1] }");
    struct host_name n = policy_text_name("a.example.com");
    struct ip ip = policy_text_ip("192.0.2.1");
    size_t seen = 0;
    policy_visit_name(p, &n, stop_at_second, &seen);
    assert_int_equal(seen, 2);
    seen = 0;
    policy_visit_ip(p, &ip, stop_at_second, &seen);
    assert_int_equal(seen, 2);
    policy_unref(p);
}

static void test_match_ip(void **state)
{
    (void)state;
    struct policy *p =
        policy_text_endpoints("{ port: 9, allowed_ips: [192.0.2.0/24, \"2001:db8::/32\"] }\n"
                              "{ host: 192.0.2.7, port: 1 }\n{ host: \"2001:DB8::7\", port: 2 }\n"
                              "{ host: 192.0.2.7, port: 3 }\n{ host: 10.0.0.1, port: 4 }");
    const struct policy_endpoint *found[8];
    struct ip ip = policy_text_ip("192.0.2.7");
    assert_int_equal(policy_match_ip(p, &ip, found, 8), 3);
    assert_int_equal(found[0]->ports[0], 1);
    assert_int_equal(found[1]->ports[0], 3);
    assert_int_equal(found[2]->host_kind, ENDPOINT_HOSTLESS);
    ip = policy_text_ip("2001:db8:0:0::7");
    assert_int_equal(policy_match_ip(p, &ip, found, 8), 2);
    assert_int_equal(found[0]->ports[0], 2);
    ip = policy_text_ip("192.0.3.7");
    assert_int_equal(policy_match_ip(p, &ip, found, 8), 0);
    ip = policy_text_ip("::ffff:192.0.2.7"); /* not the same address */
    assert_int_equal(policy_match_ip(p, &ip, found, 8), 0);
    struct ip none = {0};
    assert_int_equal(policy_match_ip(p, &none, found, 8), 0);
    policy_unref(p);
}

/*
 * A partial label's node has a chain where others have their endpoint, also if the two numbers are the same:
 * the first in the chain is node 6 here, and the endpoint beside it is endpoint 6.
 */
static void test_chain_is_no_endpoint(void **state)
{
    (void)state;
    struct policy *p = policy_text_endpoints(
        "{ host: \"a*c*b.example.com\", port: 1 }\n{ host: \"a*c*b.example.com\", port: 2 }\n"
        "{ host: \"a*c*b.example.com\", port: 3 }\n{ host: \"a*c*b.example.com\", port: 4 }\n"
        "{ host: \"a*c*b.example.com\", port: 5 }\n{ host: \"a*c*b.example.com\", port: 6 }\n"
        "{ host: \"a*b.example.com\", port: 443 }");
    struct host_name n = policy_text_name("axb.example.com");
    const struct policy_host *host = NULL;
    const struct policy_endpoint *found[2];
    struct policy_candidates c = {.port = 443};
    policy_name_candidates(p, &n, &c, &host);
    assert_ptr_equal(c.best, &policy_rules_of(p)->endpoints[6]);
    assert_int_equal(policy_match_name(p, &n, found, 2), 1);
    assert_ptr_equal(found[0], c.best);
    policy_unref(p);
}

#define SHARED_ENDPOINTS 100U
#define SHARED_PORTS 200U
#define SHARED_NETS 40U

/*
 * Hostless endpoints that share so many prefixes, with so many ports, that the sums of some are left out:
 * those are judged by their members, and nothing differs.
 */
static void test_hostless_without_sums(void **state)
{
    (void)state;
    struct buf b = {0};
    char item[64];
    for (unsigned e = 0; e < SHARED_ENDPOINTS; e++) {
        assert_int_equal(buf_append(&b, SPAN_LIT("{ ports: ["), SIZE_MAX), 0);
        for (unsigned i = 0; i < SHARED_PORTS; i++) { /* each port is of two endpoints: of e and of e + 1 */
            (void)snprintf(item, sizeof item, "%s%u", i > 0 ? ", " : "", e * SHARED_PORTS / 2 + i + 1);
            assert_int_equal(buf_append(&b, span_str(item), SIZE_MAX), 0);
        }
        assert_int_equal(buf_append(&b, SPAN_LIT("], allowed_ips: ["), SIZE_MAX), 0);
        for (unsigned i = 0; i < SHARED_NETS; i++) {
            (void)snprintf(item, sizeof item, "%s10.%u.0.0/16", i > 0 ? ", " : "", i);
            assert_int_equal(buf_append(&b, span_str(item), SIZE_MAX), 0);
        }
        const char *end = e == 1 ? "], protocol: rest, access: read-only, enforcement: enforce }\n" : "] }\n";
        assert_int_equal(buf_append(&b, span_str(end), SIZE_MAX), 0);
    }
    assert_int_equal(buf_append(&b, span_make("", 1), SIZE_MAX), 0);
    struct policy *p = policy_text_endpoints((const char *)buf_span(&b).data);
    const struct policy_endpoint *endpoints = policy_rules_of(p)->endpoints;
    assert_true(policy_index_bytes(p) <
                2U * SHARED_ENDPOINTS * SHARED_PORTS * SHARED_NETS); /* of two bytes */
    for (unsigned i = 0; i < SHARED_NETS; i++) {
        for (unsigned e = 0; e < SHARED_ENDPOINTS; e++) {
            struct ip ip = ip_v4(10, (uint8_t)i, 1, 1);
            struct policy_candidates c = {.port = (uint16_t)(e * SHARED_PORTS / 2 + SHARED_PORTS)};
            policy_hostless_candidates(p, &ip, &c); /* the last port of e, the middle one of e + 1 */
            assert_ptr_equal(c.best, &endpoints[e]);
            assert_int_equal(c.requires_l7, e == 0 || e == 1);
        }
        struct ip ip = ip_v4(10, (uint8_t)i, 1, 1);
        struct policy_candidates c = {.port = 60000};
        policy_hostless_candidates(p, &ip, &c);
        assert_null(c.best);
    }
    policy_unref(p);
    buf_fini(&b);
}

static bool is_parent(const struct policy *p, const char *name)
{
    struct host_name n = policy_text_name(name);
    return policy_is_parent(p, &n);
}

static void test_parents(void **state)
{
    (void)state;
    struct policy *p = policy_text_compile(
        "version: 1\nnetwork_policies:\n  t:\n    binaries: [{ path: \"/**\" }]\n    endpoints:\n"
        "    - { host: a.b.example.com, port: 1 }\n    - { host: \"*.w.example.org\", port: 1 }\n"
        "    - { host: \"foo.*.m.example.net\", port: 1 }\n    - { host: single, port: 1 }\n"
        "    - { port: 1, allowed_ips: [192.0.2.1] }\n"
        "egress: { hosts: { s.t.example.info: [192.0.2.1] } }\n");
    static const char *const parents[] = {
        "b.example.com",   "example.com",   "com",         "w.example.org",  "example.org", "org",
        "x.m.example.net", "m.example.net", "example.net", "t.example.info", "info"};
    static const char *const others[] = {
        "a.b.example.com",     "x.a.b.example.com", "c.example.com", "v.example.org",    "x.w.example.org",
        "foo.x.m.example.net", "y.x.m.example.net", "single",        "s.t.example.info", "example",
        "xample.com"};
    for (size_t i = 0; i < sizeof parents / sizeof parents[0]; i++) {
        if (!is_parent(p, parents[i])) {
            fail_msg("%s should be a parent", parents[i]);
        }
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (is_parent(p, others[i])) {
            fail_msg("%s should be no parent", others[i]);
        }
    }
    policy_unref(p);
}

/* Patterns with "**" and "*" at every place of the longest name: each match waits while the next is found. */
static void test_deepest(void **state)
{
    (void)state;
    char text[40000];
    char deepest[] =
        "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a."
        "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a."
        "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a";
    size_t used = 0;
    size_t count = 0;
    assert_int_equal(strlen(deepest), 253);
    for (size_t labels = 2; labels <= 125; labels++) {
        const char *rest = deepest + 253 - (2 * labels - 1);
        used += (size_t)snprintf(text + used, sizeof text - used, "{ host: \"**.%s\", port: 1 }\n", rest);
        count++;
    }
    for (size_t place = 2; place < 2 + POLICY_PLACEMENTS_MAX - 1; place++) {
        char pattern[254];
        (void)snprintf(pattern, sizeof pattern, "%s", deepest);
        pattern[252 - 2 * place] = '*';
        used += (size_t)snprintf(text + used, sizeof text - used, "{ host: \"%s\", port: 1 }\n", pattern);
        count++;
    }
    assert_true(used < sizeof text);
    struct policy *p = policy_text_endpoints(text);
    assert_int_equal(match_count(p, deepest), count);
    assert_int_equal(match_count(p, deepest + 2), 124); /* the longest "**" still has a label to stand for */
    deepest[252 - 2 * 126] = 'b';
    assert_int_equal(match_count(p, deepest), 124);
    policy_unref(p);
}

static void test_static_hosts(void **state)
{
    (void)state;
    struct policy *p =
        policy_text_compile("version: 1\nnetwork_policies: {}\n"
                            "egress: { hosts: { A.example.com.: [10.0.0.1, \"fd00::1\"] } }\n");
    struct host_name n = policy_text_name("a.example.com");
    const struct policy_host *h = policy_static_host(p, &n);
    assert_non_null(h);
    assert_int_equal(h->addr_count, 2);
    n = policy_text_name("example.com");
    assert_null(policy_static_host(p, &n));
    n = policy_text_name("b.example.com");
    assert_null(policy_static_host(p, &n));
    policy_unref(p);
}

static void test_ports(void **state)
{
    (void)state;
    struct policy *p = policy_text_endpoints("{ host: a.example.com, ports: [65535, 1, 443] }\n"
                                             "{ host: b.example.com, ports: [443, 22] }\n"
                                             "{ port: 80, allowed_ips: [192.0.2.1] }");
    size_t count = 0;
    const uint16_t *ports = policy_ports(p, &count);
    static const uint16_t expect[] = {1, 22, 80, 443, 65535};
    assert_int_equal(count, 5);
    assert_memory_equal(ports, expect, sizeof expect);
    policy_unref(p);
    p = policy_text_compile("version: 1\n");
    (void)policy_ports(p, &count);
    assert_int_equal(count, 0);
    assert_int_equal(match_count(p, "a.example.com"), 0);
    assert_false(is_parent(p, "com"));
    policy_unref(p);
}

/* The sanitizers see a use after free or a leak. */
static void test_references(void **state)
{
    (void)state;
    struct policy *p = NULL;
    assert_int_equal(
        policy_compile(policy_text_rules("version: 1\nnetwork_policies: { r: { binaries: "
                                         "[{path: /bin/a}], endpoints: [{host: a, port: 1}] } }\n"),
                       7, &p),
        0);
    assert_int_equal(policy_generation(p), 7);
    assert_ptr_equal(policy_ref(p), p);
    policy_unref(p);
    const struct policy_rules *r = policy_rules_of(p);
    assert_string_equal(r->rules[0].key, "r");
    assert_string_equal(r->rules[0].name, "r");
    assert_ptr_equal(r->rules[0].endpoints[0].rule, &r->rules[0]);
    assert_string_equal(r->rules[0].binaries[0], "/bin/a");
    assert_false(r->rules[0].admits_any_binary);
    policy_unref(p);
    policy_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match_order),
        cmocka_unit_test(test_visit_stops),
        cmocka_unit_test(test_chain_is_no_endpoint),
        cmocka_unit_test(test_hostless_without_sums),
        cmocka_unit_test(test_match_ip),
        cmocka_unit_test(test_parents),
        cmocka_unit_test(test_deepest),
        cmocka_unit_test(test_static_hosts),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_references),
    };
    return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}

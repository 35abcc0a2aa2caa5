/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/policy_text.h"

#include "common/policy/judge_dest.h"

static const struct dest_guard open_guard = {0};
static const struct dest_guard strict_guard = {.strict_private = true};

static const char policy_yaml[] = "version: 1\n"
                                  "network_policies:\n"
                                  "  t:\n"
                                  "    binaries: [{ path: \"/**\" }]\n"
                                  "    endpoints:\n"
                                  "      - { host: exact.example.com, ports: [443, 6443] }\n"
                                  "      - { host: \"*.wild.example.com\", ports: [443, 6443] }\n"
                                  "      - { host: \"*.listed.example.com\", ports: [443, 6443], "
                                  "allowed_ips: [10.1.0.0/16, \"fd12::/16\", 192.0.2.1, "
                                  "8.8.8.8] }\n"
                                  "      - { host: 10.0.0.1, port: 443 }\n"
                                  "      - { port: 443, allowed_ips: [10.9.0.0/16] }\n"
                                  "egress:\n"
                                  "  hosts: { static.example.com: [10.9.0.1] }\n"
                                  "  never: [\"9.9.9.9\", \"9.9.9.10:443\", \"2001:db9::/32\"]\n";

struct fixture {
    struct policy *p;
    const struct policy_endpoint *exact, *wild, *listed, *literal, *hostless;
};

static int set_up(void **state)
{
    static struct fixture f;
    f.p = policy_text_compile(policy_yaml);
    const struct policy_endpoint *e = policy_rules_of(f.p)->rules[0].endpoints;
    f.exact = &e[0];
    f.wild = &e[1];
    f.listed = &e[2];
    f.literal = &e[3];
    f.hostless = &e[4];
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    policy_unref(f->p);
    return 0;
}

struct question {
    const struct dest_guard *guard;
    const struct policy_endpoint *endpoint;
    uint16_t port;
    bool is_static;
};

static void check(const struct fixture *f, const struct question *q, const char *address, bool expect)
{
    struct ip ip = policy_text_ip(address);
    struct dest_verdict v;
    judge_dest(f->p, q->guard, q->endpoint, &ip, q->port, q->is_static, &v);
    if ((v.verdict == VERDICT_ALLOW) != expect) {
        fail_msg("%s on %s:%u: %s", address, q->endpoint->pattern.text.text, q->port, v.why);
    }
    assert_int_equal(strlen(v.why) == 0, expect);
    assert_int_equal(v.cls, ip_classify(&ip));
}

static const char *const never[] = {"127.0.0.1",
                                    "127.255.0.1",
                                    "0.0.0.0",
                                    "0.1.2.3",
                                    "169.254.1.1",
                                    "169.254.169.254",
                                    "168.63.129.16",
                                    "224.0.0.1",
                                    "240.0.0.1",
                                    "255.255.255.255",
                                    "::",
                                    "::1",
                                    "fe80::1",
                                    "ff02::1",
                                    "fd00:ec2::254",
                                    "::ffff:8.8.8.8",
                                    "::8.8.8.8",
                                    "2002:808:808::1",
                                    "2001::1",
                                    "64:ff9b::7f00:1",
                                    "64:ff9b::a9fe:a9fe",
                                    "2001:db9::5efe:808:808",
                                    "4000::1"};
static const char *const private[] = {"10.1.2.3",   "172.16.0.1",  "192.168.1.1",   "100.64.0.1",
                                      "198.18.0.1", "192.0.2.1",   "203.0.113.1",   "192.0.0.1",
                                      "fd12::1",    "2001:db8::1", "64:ff9b::a00:1"};
static const char *const public[] = {"8.8.8.8", "2606:4700::1", "64:ff9b::808:808"};

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

static void test_classes(void **state)
{
    const struct fixture *f = *state;
    const struct question exact = {&open_guard, f->exact, 443, false};
    const struct question wild = {&open_guard, f->wild, 443, false};
    const struct question strict = {&strict_guard, f->exact, 443, false};
    for (size_t i = 0; i < COUNT(never); i++) {
        check(f, &exact, never[i], false);
        check(f, &wild, never[i], false);
        check(f, &(struct question){&open_guard, f->listed, 443, false}, never[i], false);
        check(f, &(struct question){&open_guard, f->literal, 443, false}, never[i], false);
    }
    for (size_t i = 0; i < COUNT(private); i++) {
        check(f, &exact, private[i], true);
        check(f, &wild, private[i], false);
        check(f, &strict, private[i], false);
    }
    for (size_t i = 0; i < COUNT(public); i++) {
        check(f, &exact, public[i], true);
        check(f, &wild, public[i], true);
        check(f, &strict, public[i], true);
    }
    struct dest_verdict v;
    struct ip none = {0};
    judge_dest(f->p, &open_guard, f->exact, &none, 443, true, &v);
    assert_int_equal(v.verdict, VERDICT_DENY);
    assert_int_equal(v.cls, IP_CLASS_UNKNOWN);
}

/* allowed_ips is exclusive: a public address that is not listed is refused too. */
static void test_allowed_ips(void **state)
{
    const struct fixture *f = *state;
    const struct question q = {&open_guard, f->listed, 443, false};
    const struct question strict = {&strict_guard, f->listed, 443, false};
    check(f, &q, "10.1.2.3", true);
    check(f, &strict, "10.1.2.3", true);
    check(f, &q, "fd12::9", true);
    check(f, &q, "192.0.2.1", true);
    check(f, &q, "8.8.8.8", true);
    check(f, &q, "10.2.0.1", false);
    check(f, &q, "192.0.2.2", false);
    check(f, &q, "1.1.1.1", false);
    check(f, &q, "fd13::9", false);
    check(f, &q, "64:ff9b::a01:203", true);  /* 10.1.2.3 inside */
    check(f, &q, "64:ff9b::101:101", false); /* 1.1.1.1 inside */
    check(f, &q, "64:ff9b:1::a01:203", true);
    check(f, &q, "64:ff9b:1::101:101", false);
    check(f, &q, "64:ff9b:1:a02:2:300:a01:203", false); /* or 10.2.2.3 after /48 */
    check(f, &(struct question){&open_guard, f->hostless, 443, false}, "10.9.1.1", true);
    check(f, &(struct question){&open_guard, f->hostless, 443, false}, "10.8.1.1", false);
    check(f, &(struct question){&open_guard, f->literal, 443, false}, "10.0.0.1", true);
    check(f, &(struct question){&strict_guard, f->literal, 443, false}, "10.0.0.1", false);
}

/* egress.hosts may be private or link-local, nothing else of what is never dialled. */
static void test_static(void **state)
{
    const struct fixture *f = *state;
    const struct question wild = {&open_guard, f->wild, 443, true};
    check(f, &wild, "10.0.0.1", true);
    check(f, &wild, "169.254.7.7", true);
    check(f, &wild, "fe80::7", true);
    check(f, &wild, "8.8.8.8", true);
    check(f, &wild, "169.254.169.254", false);
    check(f, &wild, "127.0.0.1", false);
    check(f, &wild, "::1", false);
    check(f, &wild, "9.9.9.9", false);
    check(f, &(struct question){&open_guard, f->listed, 443, true}, "10.2.0.1", false);
    check(f, &(struct question){&strict_guard, f->wild, 443, true}, "10.0.0.1", true);
}

static void test_control_plane_ports(void **state)
{
    const struct fixture *f = *state;
    static const uint16_t ports[] = {2379, 2380, 6443, 10250, 10255};
    for (size_t i = 0; i < COUNT(ports); i++) {
        check(f, &(struct question){&open_guard, f->wild, ports[i], false}, "8.8.8.8", false);
        check(f, &(struct question){&open_guard, f->exact, ports[i], false}, "8.8.8.8", true);
        check(f, &(struct question){&open_guard, f->listed, ports[i], false}, "10.1.0.1", true);
    }
    check(f, &(struct question){&open_guard, f->wild, 2381, false}, "8.8.8.8", true);
}

/* The rule as a word is the rule that judges: seen from both sides for each kind of endpoint. */
static void test_address_rule(void **state)
{
    const struct fixture *f = *state;
    const struct policy_endpoint *all[] = {f->exact, f->wild, f->listed, f->literal, f->hostless};
    static const enum address_rule open_443[] = {ADDRESS_RULE_PRIVATE, ADDRESS_RULE_PUBLIC,
                                                 ADDRESS_RULE_LISTED, ADDRESS_RULE_PRIVATE,
                                                 ADDRESS_RULE_LISTED};
    for (size_t i = 0; i < COUNT(all); i++) {
        assert_int_equal(judge_address_rule(&open_guard, all[i], 443), open_443[i]);
        for (size_t strict = 0; strict < 2; strict++) {
            const struct dest_guard *guard = strict ? &strict_guard : &open_guard;
            for (size_t port = 443; port <= 6443; port += 6000) {
                enum address_rule rule = judge_address_rule(guard, all[i], (uint16_t)port);
                const struct question q = {guard, all[i], (uint16_t)port, false};
                check(f, &q, "1.1.1.1", rule == ADDRESS_RULE_PUBLIC || rule == ADDRESS_RULE_PRIVATE);
                check(f, &q, "192.168.7.7", rule == ADDRESS_RULE_PRIVATE);
                check(f, &q, "127.0.0.1", false);
            }
        }
    }
    assert_int_equal(judge_address_rule(&open_guard, f->wild, 6443), ADDRESS_RULE_NONE);
    const struct ip loopback = ip_v4(127, 0, 0, 1);
    struct dest_verdict v; /* an exact host, which this port needs else, would not help */
    judge_dest(f->p, &open_guard, f->wild, &loopback, 6443, false, &v);
    assert_non_null(strstr(v.why, "loopback"));
    assert_int_equal(judge_address_rule(&strict_guard, f->exact, 6443), ADDRESS_RULE_PUBLIC);
}

static void test_guard(void **state)
{
    const struct fixture *f = *state;
    struct dest_never items[] = {
        {.what = "own listener", .port = 3128}, {.what = "synthetic pool"}, {.what = "--never"}};
    assert_int_equal(ip_prefix_parse(SPAN_LIT("10.1.0.5"), &items[0].prefix), 0);
    assert_int_equal(ip_prefix_parse(SPAN_LIT("198.18.0.0/15"), &items[1].prefix), 0);
    assert_int_equal(ip_prefix_parse(SPAN_LIT("8.8.0.0/16"), &items[2].prefix), 0);
    const struct dest_guard guard = {.items = items, .count = COUNT(items)};
    check(f, &(struct question){&guard, f->exact, 3128, false}, "10.1.0.5", false);
    check(f, &(struct question){&guard, f->exact, 443, false}, "10.1.0.5", true);
    check(f, &(struct question){&guard, f->exact, 443, false}, "198.18.3.4", false);
    check(f, &(struct question){&guard, f->exact, 443, true}, "198.18.3.4", false);
    check(f, &(struct question){&guard, f->listed, 443, false}, "8.8.8.8", false);
    check(f, &(struct question){&guard, f->exact, 443, false}, "64:ff9b::808:808",
          false);                                                                 /* in either form */
    check(f, &(struct question){&guard, f->exact, 443, false}, "9.9.9.9", false); /* egress.never */
    check(f, &(struct question){&guard, f->exact, 443, false}, "64:ff9b::909:909", false);
    check(f, &(struct question){&guard, f->exact, 443, false}, "64:ff9b:1::909:909", false);
    check(f, &(struct question){&guard, f->exact, 443, false},
          "64:ff9b:1:909:9:900::", false); /* after /48 */
    check(f, &(struct question){&guard, f->exact, 443, false}, "9.9.9.10", false);
    check(f, &(struct question){&guard, f->exact, 80, false}, "9.9.9.10", true);
    check(f, &(struct question){&guard, f->exact, 80, false}, "2001:db9::1", false);
    struct dest_verdict v;
    struct ip ip = policy_text_ip("198.18.3.4");
    judge_dest(f->p, &guard, f->exact, &ip, 443, false, &v);
    assert_string_equal(v.why, "synthetic pool");
}

/* Items in the order of their ports are found like others, however many there are. */
static void test_guard_by_port(void **state)
{
    const struct fixture *f = *state;
    struct dest_never items[12] = {{.what = NULL}};
    for (size_t count = 0; count < 10; count++) {
        for (size_t i = 0; i < count; i++) { /* two addresses a port: 10, 10, 20, 20, ... */
            items[i] = (struct dest_never){.what = "own listener", .port = (uint16_t)(10 * (i / 2 + 1))};
            assert_int_equal(
                ip_prefix_parse(i % 2 == 0 ? SPAN_LIT("10.1.0.5") : SPAN_LIT("10.1.0.6"), &items[i].prefix),
                0);
        }
        items[count] = (struct dest_never){.what = "--never", .port = 15};
        assert_int_equal(ip_prefix_parse(SPAN_LIT("10.1.0.5"), &items[count].prefix), 0);
        const struct dest_guard guard = {.items = items, .count = count + 1, .by_port = count};
        for (uint16_t port = 1; port < 70; port++) {
            size_t at = 2 * ((size_t)port / 10 - 1);
            bool is_own = port % 10 == 0;
            check(f, &(struct question){&guard, f->exact, port, false}, "10.1.0.5",
                  port != 15 && !(is_own && at < count));
            check(f, &(struct question){&guard, f->exact, port, false}, "10.1.0.6",
                  !(is_own && at + 1 < count));
            check(f, &(struct question){&guard, f->exact, port, false}, "10.1.0.7", true);
        }
    }
}

static void check_answer(const struct fixture *f, const char *name, const char *address, bool is_static,
                         bool expect)
{
    struct host_name n = policy_text_name(name);
    struct ip ip = policy_text_ip(address);
    struct dest_verdict v;
    judge_answer(f->p, &open_guard, &n, &ip, is_static, &v);
    if ((v.verdict == VERDICT_ALLOW) != expect) {
        fail_msg("%s with %s: %s", name, address, v.why);
    }
    assert_int_equal(strlen(v.why) == 0, expect);
}

static void test_answer(void **state)
{
    const struct fixture *f = *state;
    check_answer(f, "exact.example.com", "8.8.8.8", false, true);
    check_answer(f, "exact.example.com", "10.0.0.1", false, true);
    check_answer(f, "exact.example.com", "127.0.0.1", false, false);
    check_answer(f, "exact.example.com", "9.9.9.10", false, true); /* on 6443 it could be dialled */
    check_answer(f, "x.wild.example.com", "8.8.8.8", false, true);
    check_answer(f, "x.wild.example.com", "10.0.0.1", false, false);
    check_answer(f, "x.listed.example.com", "10.1.0.1", false, true);
    check_answer(f, "x.listed.example.com", "1.1.1.1", false, false);
    check_answer(f, "denied.example.com", "8.8.8.8", false, false);
    check_answer(f, "static.example.com", "10.9.0.1", true, true); /* through the hostless endpoint */
    check_answer(f, "static.example.com", "10.9.0.1", false, false);
    check_answer(f, "static.example.com", "10.8.0.1", true, false);
    check_answer(f, "example.com", "8.8.8.8", false, false);
}

/* A hole in the class of one endpoint is not closed by another: the answer is the union of what can be
 * dialled. */
static void test_answer_any_endpoint(void **state)
{
    (void)state;
    struct policy *p =
        policy_text_endpoints("{ host: \"*.example.com\", port: 443 }\n"
                              "{ host: \"**.example.com\", port: 80, allowed_ips: [10.0.0.0/8] }");
    struct host_name n = policy_text_name("a.example.com");
    struct ip ip = policy_text_ip("10.0.0.1");
    struct dest_verdict v;
    judge_answer(p, &open_guard, &n, &ip, false, &v);
    assert_int_equal(v.verdict, VERDICT_ALLOW);
    ip = policy_text_ip("192.168.0.1");
    judge_answer(p, &open_guard, &n, &ip, false, &v);
    assert_int_equal(v.verdict, VERDICT_DENY);
    /* what is told is the refusal of the most specific one */
    assert_non_null(strstr(v.why, "a private address"));
    policy_unref(p);
}

/* No endpoint decides: private addresses pass, what nothing overrides does not. */
static void test_unruled(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *ip;
        bool is_allowed;
    } rows[] = {
        {"93.184.216.34", true},
        {"10.43.0.10", true},
        {"192.168.1.1", true},
        {"100.64.0.1", true},
        {"fd12::1", true},
        {"2606:2800:220:1::1", true},
        {"64:ff9b::a2b:a", true}, /* NAT64 of 10.43.0.10 */
        {"127.0.0.1", false},
        {"::1", false},
        {"0.0.0.0", false},
        {"169.254.1.1", false},
        {"169.254.169.254", false},
        {"168.63.129.16", false},
        {"fd00:ec2::254", false},
        {"fe80::1", false},
        {"224.0.0.1", false},
        {"240.0.0.1", false},
        {"::ffff:10.43.0.10", false},
        {"64:ff9b::7f00:1", false}, /* NAT64 of 127.0.0.1 */
        {"2002:a2b:a::1", false},
        {"9.9.9.9", false}, /* egress.never */
        {"9.9.9.10", true}, /* ... on a port, and a name has none */
        {"2001:db9::1", false},
        {"198.18.0.1", false}, /* the guard */
        {"10.200.0.1", true},  /* the guard, on a port */
    };
    const struct dest_never items[] = {{.what = "synthetic pool"}, {.port = 53, .what = "own listener"}};
    struct dest_never own[2];
    memcpy(own, items, sizeof(own));
    assert_int_equal(ip_prefix_parse(SPAN_LIT("198.18.0.0/15"), &own[0].prefix), 0);
    assert_int_equal(ip_prefix_parse(SPAN_LIT("10.200.0.1"), &own[1].prefix), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (int strict = 0; strict < 2; strict++) {
            const struct dest_guard guard = {.items = own, .count = 2, .strict_private = strict == 1};
            struct dest_verdict v;
            struct ip ip;
            assert_int_equal(ip_parse(span_str(rows[i].ip), &ip), 0);
            judge_unruled(f->p, &guard, &ip, &v);
            if ((v.verdict == VERDICT_ALLOW) != rows[i].is_allowed ||
                (v.why[0] == '\0') != rows[i].is_allowed) {
                fail_msg("%s: %d, %s", rows[i].ip, (int)v.verdict, v.why);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_classes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_allowed_ips, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_static, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_control_plane_ports, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_address_rule, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_guard, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_guard_by_port, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_answer, set_up, tear_down),
        cmocka_unit_test(test_answer_any_endpoint),
        cmocka_unit_test_setup_teardown(test_unruled, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("judge_dest", tests, NULL, NULL);
}

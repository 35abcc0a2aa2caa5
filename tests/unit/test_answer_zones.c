/* SPDX-License-Identifier: Apache-2.0 */
/* What a split zone changes in the answers: a closed one nothing, an open one all of its own names. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "dnsd/answer.h"
#include "tests/support/policy_text.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char policy_yaml[] = "version: 1\n"
                                  "network_policies:\n"
                                  "  t:\n"
                                  "    endpoints:\n"
                                  "      - { host: gateway.discord.gg, port: 443 }\n"
                                  "      - { host: db.prod.cluster.local, port: 5432 }\n"
                                  "      - { host: fixed.cluster.local, port: 443 }\n"
                                  "      - { host: a.shut.cluster.local, port: 443 }\n"
                                  "      - { host: printer.lan, port: 631 }\n"
                                  "egress:\n"
                                  "  hosts: { fixed.cluster.local: [10.200.0.1] }\n"
                                  "  never: [\"10.43.9.9\"]\n";

struct fixture {
    struct policy *policy;
    struct dest_guard guard;
    struct zone_set zones;
    struct answer_config modes[2]; /* by enum answer_mode */
};

static int set_up(void **state)
{
    static struct fixture f;
    static const char *const zones[] = {"cluster.local=10.43.0.10,open", "shut.cluster.local=10.43.0.11",
                                        "lan=10.43.0.12"};
    f = (struct fixture){.policy = policy_text_compile(policy_yaml)};
    for (size_t i = 0; i < COUNT(zones); i++) {
        struct zone z;
        struct err err = {""};
        assert_int_equal(zone_parse(span_str(zones[i]), &z, &err), 0);
        assert_int_equal(zone_set_add(&f.zones, &z, &err), 0);
    }
    f.modes[ANSWER_REAL] =
        (struct answer_config){.deny_ttl_s = 10, .synthetic_ttl_s = 30, .guard = &f.guard, .zones = &f.zones};
    f.modes[ANSWER_SYNTHETIC] = f.modes[ANSWER_REAL];
    struct answer_config *synthetic = &f.modes[ANSWER_SYNTHETIC];
    synthetic->mode = ANSWER_SYNTHETIC;
    synthetic->pools.has_v4 = true; /* no IPv6 pool: AAAA of an open zone must not mind */
    assert_int_equal(ip_prefix_parse(SPAN_LIT("198.18.0.0/15"), &synthetic->pools.v4), 0);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    policy_unref(f->policy);
    return 0;
}

struct asked { /* keeps what the question borrows */
    struct host_name name;
    uint8_t wire[255];
    struct answer_question q;
};

static void make(const struct fixture *f, const struct answer_config *cfg, const char *name, uint16_t qtype,
                 struct asked *out)
{
    assert_int_equal(host_name_parse(span_str(name), &out->name), HOST_FAULT_NONE);
    size_t len = host_name_to_wire(&out->name, out->wire);
    out->q = (struct answer_question){.cfg = cfg,
                                      .policy = f->policy,
                                      .qname = span_make(out->wire, len),
                                      .name = &out->name,
                                      .qtype = qtype,
                                      .has_ipv6 = true};
}

static enum answer_route decide(const struct asked *a, struct answer *out)
{
    struct ip reverse;
    return answer_decide(&a->q, out, &reverse);
}

enum { LOCAL_NODATA = 0, NX, RESOLVE, ADDRESSES };

static void names(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *name;
        uint16_t qtype;
        int want;
        enum answer_event event;
    } rows[] = {
        {"cluster.local", DNS_A, RESOLVE, ANSWER_EVENT_OPEN_ZONE},
        {"any.svc.cluster.local", DNS_A, RESOLVE, ANSWER_EVENT_OPEN_ZONE},
        {"any.svc.cluster.local", DNS_AAAA, RESOLVE, ANSWER_EVENT_OPEN_ZONE},
        {"any.svc.cluster.local", DNS_TXT, LOCAL_NODATA, ANSWER_EVENT_OPEN_ZONE},
        {"any.svc.cluster.local", DNS_HTTPS, LOCAL_NODATA, ANSWER_EVENT_OPEN_ZONE},
        {"any.svc.cluster.local", DNS_PTR, LOCAL_NODATA, ANSWER_EVENT_OPEN_ZONE},
        {"db.prod.cluster.local", DNS_A, RESOLVE, ANSWER_EVENT_OPEN_ZONE}, /* with a rule too */
        {"prod.cluster.local", DNS_A, RESOLVE, ANSWER_EVENT_OPEN_ZONE},    /* a parent of it */
        {"fixed.cluster.local", DNS_A, ADDRESSES, ANSWER_EVENT_ADMITTED},  /* egress.hosts, real */
        {"local", DNS_A, LOCAL_NODATA, ANSWER_EVENT_LOCAL}, /* the zone is below it (RFC 8020) */
        {"local", DNS_TXT, LOCAL_NODATA, ANSWER_EVENT_LOCAL},
        {"other.local", DNS_A, NX, ANSWER_EVENT_DENIED},
        {"xcluster.local", DNS_A, NX, ANSWER_EVENT_DENIED},
        /* closed zones: rules decide as ever */
        {"a.shut.cluster.local", DNS_A, RESOLVE, ANSWER_EVENT_ADMITTED},
        {"shut.cluster.local", DNS_A, LOCAL_NODATA, ANSWER_EVENT_LOCAL},
        {"b.shut.cluster.local", DNS_A, NX, ANSWER_EVENT_NOISE},
        {"printer.lan", DNS_A, RESOLVE, ANSWER_EVENT_ADMITTED},
        {"scanner.lan", DNS_A, NX, ANSWER_EVENT_DENIED},
        {"gateway.discord.gg", DNS_A, RESOLVE, ANSWER_EVENT_ADMITTED},
        {"10.0.43.10.in-addr.arpa", DNS_PTR, NX, ANSWER_EVENT_NOISE},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t mode = 0; mode < 2; mode++) {
            struct asked a;
            struct answer out;
            make(f, &f->modes[mode], rows[i].name, rows[i].qtype, &a);
            enum answer_route route = decide(&a, &out);
            bool is_right = (route == ANSWER_ROUTE_RESOLVE) == (rows[i].want == RESOLVE) &&
                            out.event == rows[i].event && !out.wants_synthetic &&
                            (out.rcode == DNS_NXDOMAIN) == (rows[i].want == NX) &&
                            out.has_soa == (rows[i].want == NX || rows[i].want == LOCAL_NODATA) &&
                            (out.addr_count > 0) == (rows[i].want == ADDRESSES);
            if (!is_right) {
                fail_msg("%s, mode %zu: route %d, event %d, rcode %d, %zu addresses, synthetic %d",
                         rows[i].name, mode, (int)route, (int)out.event, (int)out.rcode, out.addr_count,
                         out.wants_synthetic);
            }
            if (out.event == ANSWER_EVENT_OPEN_ZONE) {
                assert_null(out.endpoint); /* no rule answers it, so no rule's brakes hold it */
            }
        }
    }
}

static struct ip addr_of(const char *text)
{
    struct ip ip;
    assert_int_equal(ip_parse(span_str(text), &ip), 0);
    return ip;
}

/* Private addresses stay, in every mode and under --strict-private; never classes do not. */
static void addresses(void **state)
{
    struct fixture *f = *state;
    const struct ip v4[] = {addr_of("10.43.0.20"), addr_of("127.0.0.1"), addr_of("169.254.169.254"),
                            addr_of("10.43.9.9"), addr_of("93.184.216.34")};
    const struct ip v6[] = {addr_of("fe80::1"), addr_of("fd12::1")};
    const struct answer_lookup l = {
        .v4 = {.state = ANSWER_ADDRS, .ttl_s = 5, .addrs = v4, .addr_count = COUNT(v4)},
        .v6 = {.state = ANSWER_ADDRS, .ttl_s = 5, .addrs = v6, .addr_count = COUNT(v6)}};
    for (size_t i = 0; i < 4; i++) {
        struct asked a;
        struct answer out;
        f->guard.strict_private = i >= 2;
        make(f, &f->modes[i % 2], "db.prod.cluster.local", DNS_A, &a);
        assert_int_equal(decide(&a, &out), ANSWER_ROUTE_RESOLVE);
        assert_int_equal(answer_from_lookup(&a.q, &l, &out), 0);
        assert_int_equal(out.event, ANSWER_EVENT_OPEN_ZONE);
        assert_false(out.wants_synthetic);
        assert_int_equal(out.addr_count, 2);
        assert_true(ip_is_equal(&out.addrs[0], &v4[0]));
        assert_true(ip_is_equal(&out.addrs[1], &v4[4]));
        assert_int_equal(out.ttl_s, 5);
        assert_int_equal(out.ede, DNS_EDE_NONE);
        make(f, &f->modes[i % 2], "any.cluster.local", DNS_AAAA, &a);
        assert_int_equal(decide(&a, &out), ANSWER_ROUTE_RESOLVE);
        assert_int_equal(answer_from_lookup(&a.q, &l, &out), 0);
        assert_int_equal(out.addr_count, 1);
        assert_true(ip_is_equal(&out.addrs[0], &v6[1]));
    }
    f->guard.strict_private = false;
}

static void nothing_permitted(void **state)
{
    struct fixture *f = *state;
    const struct ip own = addr_of("127.0.0.1");
    const struct answer_lookup l = {.v4 = {.state = ANSWER_ADDRS, .ttl_s = 5, .addrs = &own, .addr_count = 1},
                                    .v6 = {.state = ANSWER_NODATA, .ttl_s = 5}};
    for (size_t mode = 0; mode < 2; mode++) {
        struct asked a;
        struct answer out;
        make(f, &f->modes[mode], "any.cluster.local", DNS_A, &a);
        assert_int_equal(decide(&a, &out), ANSWER_ROUTE_RESOLVE);
        assert_int_equal(answer_from_lookup(&a.q, &l, &out), 0);
        assert_int_equal(out.event, ANSWER_EVENT_DENIED);
        assert_int_equal(out.reason, REASON_SSRF_DENIED);
        assert_int_equal(out.ede, DNS_EDE_BLOCKED);
        assert_non_null(strstr(out.ede_text, "loopback"));
        assert_int_equal(out.addr_count, 0);
    }
}

/* Each family is told as it is, and a bad one judged by the other, as for every name. */
static void families(void **state)
{
    struct fixture *f = *state;
    const struct ip v4 = addr_of("10.43.0.20");
    const struct answer_lookup bad = {
        .v4 = {.state = ANSWER_ADDRS, .ttl_s = 5, .addrs = &v4, .addr_count = 1},
        .v6 = {.state = ANSWER_FAILED}};
    const struct answer_lookup none = {.v4 = {.state = ANSWER_NXDOMAIN, .ttl_s = 5},
                                       .v6 = {.state = ANSWER_NXDOMAIN, .ttl_s = 5}};
    const struct answer_lookup nothing = {.v4 = {.state = ANSWER_UNKNOWN}};
    for (size_t mode = 0; mode < 2; mode++) {
        struct asked a;
        struct answer out;
        make(f, &f->modes[mode], "any.cluster.local", DNS_AAAA, &a);
        assert_int_equal(decide(&a, &out), ANSWER_ROUTE_RESOLVE);
        assert_int_equal(answer_from_lookup(&a.q, &nothing, &out), ANSWER_WANTS_V6);
        assert_int_equal(answer_from_lookup(&a.q, &bad, &out), 0);
        assert_int_equal(out.rcode, DNS_NOERROR);
        assert_true(out.is_repaired);
        make(f, &f->modes[mode], "none.cluster.local", DNS_A, &a);
        assert_int_equal(decide(&a, &out), ANSWER_ROUTE_RESOLVE);
        assert_int_equal(answer_from_lookup(&a.q, &none, &out), 0);
        assert_int_equal(out.rcode, DNS_NXDOMAIN);
        make(f, &f->modes[mode], "prod.cluster.local", DNS_A, &a); /* a rule names one below it */
        assert_int_equal(decide(&a, &out), ANSWER_ROUTE_RESOLVE);
        assert_int_equal(answer_from_lookup(&a.q, &none, &out), 0);
        assert_int_equal(out.rcode, DNS_NOERROR);
        assert_true(out.has_soa);
    }
}

/* What is admitted above an open zone exists, whatever the upstream and the brakes say (RFC 8020). */
static void names_above(void **state)
{
    struct fixture *f = *state;
    const struct answer_lookup nothing = {.v4.state = ANSWER_NXDOMAIN, .v6.state = ANSWER_NXDOMAIN};
    static const struct {
        const char *name;
        enum dns_rcode want;
    } rows[] = {{"corp.example.org", DNS_NOERROR}, {"a.corp.example.org", DNS_NXDOMAIN}};
    struct policy *policy = f->policy;
    struct zone z;
    struct err err = {""};
    assert_int_equal(zone_parse(SPAN_LIT("k8s.corp.example.org=10.43.0.13,open"), &z, &err), 0);
    assert_int_equal(zone_set_add(&f->zones, &z, &err), 0);
    f->policy = policy_text_compile("version: 1\n"
                                    "network_policies:\n"
                                    "  t:\n"
                                    "    endpoints:\n"
                                    "      - { host: \"**.example.org\", port: 443 }\n");
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct asked a;
        struct answer out;
        make(f, &f->modes[ANSWER_REAL], rows[i].name, DNS_A, &a);
        assert_int_equal(decide(&a, &out), ANSWER_ROUTE_RESOLVE);
        assert_int_equal(answer_from_lookup(&a.q, &nothing, &out), 0);
        assert_int_equal(out.rcode, rows[i].want);
        answer_braked(&a.q, BRAKES_BUDGET, &out);
        assert_int_equal(out.rcode, rows[i].want);
    }
    policy_unref(f->policy);
    f->policy = policy;
}

static void aaaa_as_the_option_says(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum aaaa_mode aaaa;
        bool has_ipv6, is_hidden;
    } rows[] = {{AAAA_AUTO, true, false},
                {AAAA_AUTO, false, true},
                {AAAA_PASS, false, false},
                {AAAA_NODATA, true, true}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        for (size_t mode = 0; mode < 2; mode++) {
            struct answer_config cfg = f->modes[mode];
            struct asked a;
            struct answer out;
            cfg.aaaa = rows[i].aaaa;
            assert_int_equal(answer_minds_ipv6(&cfg), rows[i].aaaa == AAAA_AUTO);
            make(f, &cfg, "any.cluster.local", DNS_AAAA, &a);
            a.q.has_ipv6 = rows[i].has_ipv6;
            assert_int_equal(decide(&a, &out), ANSWER_ROUTE_RESOLVE);
            assert_int_equal(answer_hides_aaaa(&a.q), rows[i].is_hidden);
        }
    }
    struct answer_config closed = f->modes[ANSWER_SYNTHETIC];
    closed.zones = NULL;
    assert_false(answer_minds_ipv6(&closed));
}

/* The parent of an open zone that no rule admits exists, too: decided here, and asked of nobody. */
static void denied_above_an_open_zone(void **state)
{
    struct fixture *f = *state;
    struct zone z;
    struct err err = {""};
    assert_int_equal(zone_parse(SPAN_LIT("k8s.corp.example.net=10.43.0.14,open"), &z, &err), 0);
    assert_int_equal(zone_set_add(&f->zones, &z, &err), 0);
    static const struct {
        const char *name;
        enum dns_rcode want;
    } rows[] = {{"corp.example.net", DNS_NOERROR},
                {"example.net", DNS_NOERROR},
                {"b.corp.example.net", DNS_NXDOMAIN}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct asked a;
        struct answer out;
        make(f, &f->modes[ANSWER_REAL], rows[i].name, DNS_A, &a);
        assert_int_equal(decide(&a, &out), ANSWER_ROUTE_DONE);
        assert_int_equal(out.rcode, rows[i].want);
        assert_true(out.has_soa);
    }
}

/* A family that failed for want of our own memory or sockets, or is remembered to have failed, tells nothing.
 */
static void a_family_is_not_judged_by_our_own_trouble(void **state)
{
    struct fixture *f = *state;
    const struct ip v6 = {.family = IP_V6, .bytes = {0x26, 0x06, [15] = 1}};
    struct answer_lookup l = {.v4 = {.state = ANSWER_FAILED, .is_own_limit = true},
                              .v6 = {.state = ANSWER_ADDRS, .addrs = &v6, .addr_count = 1, .ttl_s = 9}};
    struct asked a;
    struct answer out;
    make(f, &f->modes[ANSWER_REAL], "gateway.discord.gg", DNS_A, &a);
    assert_int_equal(decide(&a, &out), ANSWER_ROUTE_RESOLVE);
    assert_int_equal(answer_from_lookup(&a.q, &l, &out), 0);
    assert_int_equal(out.rcode, DNS_SERVFAIL);
    assert_false(out.is_repaired);

    l.v4 = (struct answer_family){.state = ANSWER_FAILED, .is_old_news = true};
    assert_int_equal(decide(&a, &out), ANSWER_ROUTE_RESOLVE);
    assert_int_equal(answer_from_lookup(&a.q, &l, &out), ANSWER_WANTS_V4);
}

/* What was left out of an answer is a line when it comes from the upstream, not each time it is given again.
 */
static void a_refusal_is_new_once(void **state)
{
    struct fixture *f = *state;
    const struct ip addrs[2] = {ip_v4(93, 184, 216, 34), ip_v4(169, 254, 169, 254)};
    struct answer_lookup l = {.v4 = {.state = ANSWER_ADDRS, .addrs = addrs, .addr_count = 2, .ttl_s = 9}};
    struct asked a;
    struct answer out;
    make(f, &f->modes[ANSWER_REAL], "gateway.discord.gg", DNS_A, &a);
    for (int cached = 0; cached < 2; cached++) {
        l.v4.is_cached = cached == 1;
        assert_int_equal(decide(&a, &out), ANSWER_ROUTE_RESOLVE);
        assert_int_equal(answer_from_lookup(&a.q, &l, &out), 0);
        assert_int_equal(out.addr_count, 1);
        assert_int_equal(out.addrs_refused, 1);
        assert_int_equal(out.is_refusal_new, cached == 0);
    }
}

/* A rule may be named anything; what is told of it is for a terminal. */
static void names_of_rules_are_shown_clean(void **state)
{
    struct fixture *f = *state;
    struct policy *policy = f->policy;
    const struct ip bad = ip_v4(169, 254, 169, 254);
    const struct answer_lookup l = {
        .v4 = {.state = ANSWER_ADDRS, .addrs = &bad, .addr_count = 1, .ttl_s = 9}};
    struct asked a;
    struct answer out;
    f->policy = policy_text_compile("version: 1\n"
                                    "network_policies:\n"
                                    "  \"x\\e[2Jy\":\n"
                                    "    endpoints:\n"
                                    "      - { host: gateway.discord.gg, port: 443 }\n");
    make(f, &f->modes[ANSWER_REAL], "gateway.discord.gg", DNS_A, &a);
    assert_int_equal(decide(&a, &out), ANSWER_ROUTE_RESOLVE);
    assert_int_equal(answer_from_lookup(&a.q, &l, &out), 0);
    assert_int_equal(out.ede, DNS_EDE_BLOCKED);
    assert_non_null(strstr(out.ede_text, "x?[2Jy"));
    policy_unref(f->policy);
    f->policy = policy;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(addresses),
        cmocka_unit_test(families),
        cmocka_unit_test(nothing_permitted),
        cmocka_unit_test(aaaa_as_the_option_says),
        cmocka_unit_test(names_above),
        cmocka_unit_test(denied_above_an_open_zone),
        cmocka_unit_test(a_family_is_not_judged_by_our_own_trouble),
        cmocka_unit_test(a_refusal_is_new_once),
        cmocka_unit_test(names_of_rules_are_shown_clean),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

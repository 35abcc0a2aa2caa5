/* SPDX-License-Identifier: Apache-2.0 */
/* The answer table of the product's DNS behaviour, without a socket: every row in every mode. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "dnsd/answer.h"

#include "common/policy/policy_load.h"

static const char policy_text[] = "version: 1\n"
                                  "network_policies:\n"
                                  "  web:\n"
                                  "    endpoints:\n"
                                  "      - { host: gateway.discord.gg, port: 443 }\n"
                                  "      - { host: discord.gg, port: 443 }\n"
                                  "      - { host: '*.slack.com', port: 443 }\n"
                                  "      - { host: host.openshell.internal, port: 8080 }\n"
                                  "      - { host: dual.example.com, port: 443 }\n"
                                  "egress:\n"
                                  "  hosts:\n"
                                  "    host.openshell.internal: [10.200.0.1]\n"
                                  "    dual.example.com: [192.168.7.1, 'fd00:77::1']\n"
                                  "    unruled.example.com: [10.1.1.1]\n";

struct fixture {
    struct policy *policy;
    struct dest_guard guard;
    struct answer_config real, synthetic;
};

static int set_up(void **state)
{
    static struct fixture f;
    struct policy_diags diags = {0};
    struct policy_rules *rules = NULL;
    const struct policy_text text = {.file = "p.yaml", .text = SPAN_LIT(policy_text)};
    int rc = policy_load(&text, 1, &rules, &diags);
    for (size_t i = 0; i < diags.count && rc != 0; i++) {
        print_error("%s\n", diags.items[i].message);
    }
    policy_diags_fini(&diags);
    assert_int_equal(rc, 0);
    assert_int_equal(policy_compile(rules, 7, &f.policy), 0);
    f.real = (struct answer_config){.deny_ttl_s = 10, .synthetic_ttl_s = 30, .guard = &f.guard};
    f.synthetic = f.real;
    f.synthetic.mode = ANSWER_SYNTHETIC;
    f.synthetic.pools.has_v4 = true;
    f.synthetic.pools.has_v6 = true;
    assert_int_equal(ip_prefix_parse(SPAN_LIT("198.18.0.0/15"), &f.synthetic.pools.v4), 0);
    assert_int_equal(ip_prefix_parse(SPAN_LIT("fd00:5e11::/64"), &f.synthetic.pools.v6), 0);
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

static void ask(const struct fixture *f, const struct answer_config *cfg, const char *name, uint16_t qtype,
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

enum expected { NX, NODATA, REFUSED, ADDRS, RESOLVE, SYNTHETIC };

static void assert_is(enum expected want, enum answer_route route, const struct answer *a, const char *label)
{
    if (want == RESOLVE) {
        assert_int_equal(route, ANSWER_ROUTE_RESOLVE);
        return;
    }
    if (route != ANSWER_ROUTE_DONE) {
        fail_msg("%s: route %d", label, (int)route);
    }
    static const enum dns_rcode rcodes[] = {
        [NX] = DNS_NXDOMAIN,   [NODATA] = DNS_NOERROR,  [REFUSED] = DNS_REFUSED,
        [ADDRS] = DNS_NOERROR, [RESOLVE] = DNS_NOERROR, [SYNTHETIC] = DNS_NOERROR};
    if (a->rcode != rcodes[want]) {
        fail_msg("%s: rcode %d", label, (int)a->rcode);
    }
    const bool wants_soa = want == NX || want == NODATA;
    if (a->has_soa != wants_soa || (a->addr_count > 0) != (want == ADDRS) ||
        a->wants_synthetic != (want == SYNTHETIC)) {
        fail_msg("%s: soa %d, %zu addresses, synthetic %d", label, a->has_soa, a->addr_count,
                 a->wants_synthetic);
    }
}

static void decides_by_policy(void **state)
{
    static const struct {
        const char *name;
        uint16_t qtype;
        enum expected want;
        enum answer_event event;
    } rows[] = {
        {"gateway.discord.gg", DNS_A, RESOLVE, ANSWER_EVENT_ADMITTED},
        {"gateway.discord.gg", DNS_AAAA, RESOLVE, ANSWER_EVENT_ADMITTED},
        {"a.slack.com", DNS_A, RESOLVE, ANSWER_EVENT_ADMITTED},
        {"gateway.discord.gg", DNS_HTTPS, NODATA, ANSWER_EVENT_ADMITTED},
        {"gateway.discord.gg", DNS_SVCB, NODATA, ANSWER_EVENT_ADMITTED},
        {"gateway.discord.gg", DNS_TXT, NODATA, ANSWER_EVENT_ADMITTED},
        {"gateway.discord.gg", DNS_ANY, NODATA, ANSWER_EVENT_ADMITTED},
        {"gateway.discord.gg", 65400, NODATA, ANSWER_EVENT_ADMITTED},
        {"gateway.discord.gg", DNS_PTR, NODATA, ANSWER_EVENT_ADMITTED},
        {"evil.example.org", DNS_A, NX, ANSWER_EVENT_DENIED},
        {"evil.example.org", DNS_AAAA, NX, ANSWER_EVENT_DENIED},
        {"evil.example.org", DNS_HTTPS, NX, ANSWER_EVENT_DENIED},
        {"evil.example.org", DNS_TXT, NX, ANSWER_EVENT_DENIED},
        {"evil.example.org", DNS_ANY, NX, ANSWER_EVENT_DENIED},
        {"x.gateway.discord.gg", DNS_A, NX, ANSWER_EVENT_DENIED}, /* below an exact name */
        {"unruled.example.com", DNS_A, NX, ANSWER_EVENT_DENIED},  /* in hosts, but no rule admits it */
        {"gg", DNS_A, NODATA, ANSWER_EVENT_LOCAL},                /* parents */
        {"slack.com", DNS_AAAA, NODATA, ANSWER_EVENT_LOCAL},
        {"com", DNS_TXT, NODATA, ANSWER_EVENT_LOCAL},
        {"openshell.internal", DNS_A, NODATA, ANSWER_EVENT_LOCAL},
        {"printer", DNS_A, NX, ANSWER_EVENT_NOISE},
        {"gateway.discord.gg.default.svc.cluster.local", DNS_A, NX, ANSWER_EVENT_NOISE},
        {"localhost", DNS_A, ADDRS, ANSWER_EVENT_LOCAL},
        {"localhost", DNS_AAAA, ADDRS, ANSWER_EVENT_LOCAL},
        {"foo.localhost", DNS_A, ADDRS, ANSWER_EVENT_LOCAL},
        {"localhost", DNS_HTTPS, NODATA, ANSWER_EVENT_LOCAL},
        {"notlocalhost", DNS_A, NX, ANSWER_EVENT_NOISE},
        {"host.openshell.internal", DNS_A, ADDRS, ANSWER_EVENT_ADMITTED},
        {"host.openshell.internal", DNS_AAAA, NODATA, ANSWER_EVENT_ADMITTED},
        {"host.openshell.internal", DNS_TXT, NODATA, ANSWER_EVENT_ADMITTED},
        {"dual.example.com", DNS_AAAA, ADDRS, ANSWER_EVENT_ADMITTED},
        {"1.0.0.127.in-addr.arpa", DNS_PTR, NX, ANSWER_EVENT_NOISE},
        {"8.8.8.8.in-addr.arpa", DNS_PTR, NX, ANSWER_EVENT_NOISE},
        {"8.in-addr.arpa", DNS_PTR, NX, ANSWER_EVENT_NOISE},
        {"in-addr.arpa", DNS_SOA, NX, ANSWER_EVENT_NOISE},
        {"0.0.18.198.in-addr.arpa", DNS_PTR, NX, ANSWER_EVENT_NOISE}, /* real mode has no map */
        {"1.7.168.192.in-addr.arpa", DNS_A, NODATA, ANSWER_EVENT_LOCAL},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct asked a;
        struct answer out;
        struct ip reverse;
        ask(f, &f->real, rows[i].name, rows[i].qtype, &a);
        enum answer_route route = answer_decide(&a.q, &out, &reverse);
        assert_is(rows[i].want, route, &out, rows[i].name);
        if (out.event != rows[i].event) {
            fail_msg("%s: event %d", rows[i].name, (int)out.event);
        }
        const bool is_denied = rows[i].event == ANSWER_EVENT_DENIED || rows[i].event == ANSWER_EVENT_NOISE;
        assert_int_equal(out.ede, is_denied ? DNS_EDE_BLOCKED : DNS_EDE_NONE);
        assert_int_equal(out.reason, is_denied ? REASON_POLICY_DENIED : REASON_NONE);
        if (is_denied) {
            assert_non_null(strstr(out.ede_text, "policy_denied"));
        }
        if (out.has_soa) {
            assert_int_equal(out.soa_ttl_s, 10);
        }
    }
}

static void answers_localhost_with_loopback(void **state)
{
    struct fixture *f = *state;
    struct asked a;
    struct answer out;
    struct ip reverse;
    char text[IP_TEXT_CAP];
    ask(f, &f->synthetic, "localhost", DNS_A, &a);
    assert_int_equal(answer_decide(&a.q, &out, &reverse), ANSWER_ROUTE_DONE);
    assert_string_equal(ip_text(&out.addrs[0], text), "127.0.0.1");
    ask(f, &f->synthetic, "db.localhost", DNS_AAAA, &a);
    assert_int_equal(answer_decide(&a.q, &out, &reverse), ANSWER_ROUTE_DONE);
    assert_string_equal(ip_text(&out.addrs[0], text), "::1");
}

static void denies_in_the_way_that_was_chosen(void **state)
{
    static const struct {
        enum deny_mode deny;
        enum expected want;
    } rows[] = {{DENY_NXDOMAIN, NX}, {DENY_NODATA, NODATA}, {DENY_REFUSED, REFUSED}};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct answer_config cfg = f->real;
        struct asked a;
        struct answer out;
        struct ip reverse;
        cfg.deny = rows[i].deny;
        ask(f, &cfg, "evil.example.org", DNS_A, &a);
        assert_is(rows[i].want, answer_decide(&a.q, &out, &reverse), &out, "evil.example.org");
        assert_int_equal(out.ede, DNS_EDE_BLOCKED);
    }
}

static void denies_names_without_a_canonical_form(void **state)
{
    static const char wire[] = "\007ev.il.x\004test"; /* a dot inside a label; ends in the root label */
    struct fixture *f = *state;
    struct answer_question q = {
        .cfg = &f->real, .policy = f->policy, .qname = span_make(wire, sizeof(wire)), .qtype = DNS_A};
    struct answer out;
    struct ip reverse;
    assert_is(NX, answer_decide(&q, &out, &reverse), &out, "odd name");
    assert_string_equal(out.ede_text + strlen("policy_denied: no rule can name this: "), out.why);
    q.qname = span_make("", 1); /* the root exists */
    assert_is(NODATA, answer_decide(&q, &out, &reverse), &out, "root");
}

static void a_reverse_name_may_have_any_labels(void **state)
{
    static const char in_addr[] = "\0040/25\0012\0010\003192\007IN-addr\004arpa";
    static const char ip6[] = "\001*\003ip6\004arpa", no_zone[] = "\001*\013x.\003ip6\004arpa";
    const struct fixture *f = *state;
    struct answer_question q = {.cfg = &f->real, .policy = f->policy, .qtype = DNS_PTR};
    struct answer out;
    struct ip reverse;
    q.qname = span_make(in_addr, sizeof(in_addr));
    assert_is(NX, answer_decide(&q, &out, &reverse), &out, "IPv4");
    assert_int_equal(out.event, ANSWER_EVENT_NOISE);
    q.qname = span_make(ip6, sizeof(ip6));
    assert_is(NX, answer_decide(&q, &out, &reverse), &out, "IPv6");
    assert_int_equal(out.event, ANSWER_EVENT_NOISE);
    q.qname = span_make(no_zone, sizeof(no_zone)); /* within a label */
    assert_is(NX, answer_decide(&q, &out, &reverse), &out, "one label");
    assert_int_equal(out.event, ANSWER_EVENT_DENIED);
}

static void gives_aaaa_as_the_option_says(void **state)
{
    struct fixture *f = *state;
    const struct answer_lookup nothing = {.v4.state = ANSWER_UNKNOWN, .v6.state = ANSWER_UNKNOWN};
    static const struct {
        enum aaaa_mode aaaa;
        bool has_ipv6;
        bool hides;
    } rows[] = {{AAAA_AUTO, true, false},
                {AAAA_AUTO, false, true},
                {AAAA_PASS, false, false},
                {AAAA_NODATA, true, true}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct answer_config cfg = f->real;
        struct asked a;
        struct answer out;
        struct ip reverse;
        cfg.aaaa = rows[i].aaaa;
        ask(f, &cfg, "discord.gg", DNS_AAAA, &a);
        a.q.has_ipv6 = rows[i].has_ipv6;
        assert_is(RESOLVE, answer_decide(&a.q, &out, &reverse), &out, "discord.gg");
        assert_int_equal(answer_hides_aaaa(&a.q), rows[i].hides);
        assert_int_equal(answer_first_family(&a.q), rows[i].hides ? IP_V4 : IP_V6);
        assert_int_equal(answer_other_counts(&a.q), !rows[i].hides);
        assert_int_equal(answer_from_lookup(&a.q, &nothing, &out),
                         rows[i].hides ? ANSWER_WANTS_V4 : ANSWER_WANTS_V6);
        ask(f, &cfg, "discord.gg", DNS_A, &a);
        a.q.has_ipv6 = rows[i].has_ipv6;
        assert_int_equal(answer_first_family(&a.q), IP_V4);
        assert_int_equal(answer_other_counts(&a.q), !rows[i].hides);
        ask(f, &cfg, "dual.example.com", DNS_AAAA, &a); /* static: auto does not hide it */
        a.q.has_ipv6 = rows[i].has_ipv6;
        assert_is(rows[i].aaaa == AAAA_NODATA ? NODATA : ADDRS, answer_decide(&a.q, &out, &reverse), &out,
                  "dual");
    }
    struct answer_config v4_only = f->synthetic;
    v4_only.pools.has_v6 = false;
    struct asked a;
    ask(f, &v4_only, "discord.gg", DNS_AAAA, &a);
    assert_true(answer_hides_aaaa(&a.q));
}

/* One letter for what the upstream said: U unknown, F failed, D failed with nobody there, S silent, X
 * NXDOMAIN, N NODATA, A public address, P private, L loopback. */
static void family_of(char c, bool is_v4, struct ip *ip, struct answer_family *out)
{
    static const struct {
        char letter;
        enum answer_family_state state;
        const char *v4, *v6;
    } map[] = {
        {'U', ANSWER_UNKNOWN, NULL, NULL},          {'F', ANSWER_FAILED, NULL, NULL},
        {'S', ANSWER_SILENT, NULL, NULL},           {'X', ANSWER_NXDOMAIN, NULL, NULL},
        {'N', ANSWER_NODATA, NULL, NULL},           {'A', ANSWER_ADDRS, "162.159.135.232", "2606:4700::1"},
        {'P', ANSWER_ADDRS, "10.1.2.3", "fd12::1"}, {'L', ANSWER_ADDRS, "127.0.0.1", "::1"},
        {'D', ANSWER_FAILED, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++) {
        if (map[i].letter == c) {
            *out = (struct answer_family){.state = map[i].state,
                                          .ttl_s = 55,
                                          .is_nobody_there = c == 'D',
                                          .ede = DNS_EDE_NETWORK,
                                          .text = "t"};
            if (map[i].state == ANSWER_ADDRS) {
                assert_int_equal(ip_parse(span_str(is_v4 ? map[i].v4 : map[i].v6), ip), 0);
                out->addrs = ip;
                out->addr_count = 1;
            }
            return;
        }
    }
    fail_msg("letter %c", c);
}

struct lookup_row {
    const char *name;
    char asked, other; /* families: the one of the question, the other */
    char want; /* A addresses, Y synthetic, N NODATA, B NODATA and EDE 15, R repaired, X NXDOMAIN, F SERVFAIL,
                  a/o: wants the asked/other family, b: both */
    char want_aaaa; /* where it is not the same if AAAA is asked; else 0 */
};

static char outcome(unsigned wants, const struct answer *a, bool is_v4)
{
    const unsigned asked_bit = is_v4 ? ANSWER_WANTS_V4 : ANSWER_WANTS_V6;
    if (wants != 0) {
        return wants == (ANSWER_WANTS_V4 | ANSWER_WANTS_V6) ? 'b' : (wants == asked_bit ? 'a' : 'o');
    }
    if (a->rcode == DNS_SERVFAIL) {
        assert_int_equal(a->event, ANSWER_EVENT_FAILED);
        assert_false(a->has_soa);
        return 'F';
    }
    if (a->rcode == DNS_NXDOMAIN) {
        assert_int_equal(a->soa_ttl_s, 55);
        return 'X';
    }
    if (a->wants_synthetic) {
        assert_int_equal(a->ede, DNS_EDE_FORGED);
        assert_int_equal(a->ttl_s, 30);
        return 'Y';
    }
    if (a->addr_count > 0) {
        assert_int_equal(a->ttl_s, 55);
        return 'A';
    }
    assert_true(a->has_soa);
    if (a->is_repaired) {
        assert_int_equal(a->soa_ttl_s, ANSWER_REPAIRED_TTL_S);
        return 'R';
    }
    if (a->ede == DNS_EDE_BLOCKED) {
        assert_int_equal(a->event, ANSWER_EVENT_DENIED);
        assert_int_equal(a->reason, REASON_SSRF_DENIED);
        assert_non_null(strstr(a->ede_text, "ssrf_denied: "));
        return 'B';
    }
    return 'N';
}

static void check_lookups(const struct fixture *f, const struct answer_config *cfg,
                          const struct lookup_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (int v = 0; v < 2; v++) {
            const bool is_v4 = v == 0;
            struct asked a;
            struct ip ip4 = {0};
            struct ip ip6 = {0};
            struct answer out;
            struct ip reverse;
            struct answer_lookup l;
            ask(f, cfg, rows[i].name, is_v4 ? DNS_A : DNS_AAAA, &a);
            assert_int_equal(answer_decide(&a.q, &out, &reverse), ANSWER_ROUTE_RESOLVE);
            family_of(is_v4 ? rows[i].asked : rows[i].other, true, &ip4, &l.v4);
            family_of(is_v4 ? rows[i].other : rows[i].asked, false, &ip6, &l.v6);
            unsigned wants = answer_from_lookup(&a.q, &l, &out);
            char got = outcome(wants, &out, is_v4);
            char want = is_v4 || rows[i].want_aaaa == 0 ? rows[i].want : rows[i].want_aaaa;
            if (got != want) {
                fail_msg("row %zu (%s asked %c other %c, %s): %c, not %c", i, rows[i].name, rows[i].asked,
                         rows[i].other, is_v4 ? "A" : "AAAA", got, want);
            }
        }
    }
}

#define EXACT "gateway.discord.gg"
#define WILD "x.slack.com"
#define UPPER "discord.gg" /* admitted, and the parent of an admitted name */

static void judges_families_in_real_mode(void **state)
{
    static const struct lookup_row rows[] = {
        {EXACT, 'U', 'U', 'a', 0},   {EXACT, 'U', 'A', 'a', 0},   {EXACT, 'A', 'U', 'A', 0},
        {EXACT, 'A', 'F', 'A', 0},   {EXACT, 'N', 'U', 'o', 0},   {EXACT, 'N', 'A', 'N', 0},
        {EXACT, 'P', 'U', 'A', 0},   {WILD, 'P', 'U', 'B', 0},    {EXACT, 'L', 'A', 'B', 0},
        {EXACT, 'F', 'U', 'o', 0},   {EXACT, 'S', 'U', 'o', 0},   {EXACT, 'X', 'U', 'o', 0},
        {EXACT, 'F', 'A', 'R', 0},   {EXACT, 'S', 'A', 'R', 0},   {EXACT, 'X', 'A', 'R', 0},
        {EXACT, 'F', 'N', 'F', 0},   {EXACT, 'S', 'N', 'F', 0},   {EXACT, 'X', 'N', 'X', 0},
        {EXACT, 'F', 'F', 'F', 0},   {EXACT, 'X', 'X', 'X', 0},   {EXACT, 'X', 'F', 'X', 'F'},
        {EXACT, 'X', 'S', 'X', 'F'}, {UPPER, 'X', 'F', 'N', 'F'}, {EXACT, 'N', 'N', 'N', 0},
        {EXACT, 'N', 'F', 'F', 0},   {EXACT, 'N', 'S', 'F', 0},   {EXACT, 'N', 'X', 'N', 0},
        {WILD, 'N', 'P', 'N', 0},    {EXACT, 'N', 'D', 'F', 0},   {EXACT, 'F', 'X', 'F', 'X'},
        {EXACT, 'S', 'X', 'F', 'X'}, {UPPER, 'F', 'X', 'F', 'N'}, {EXACT, 'F', 'S', 'F', 0},
        {UPPER, 'X', 'X', 'N', 0},   {WILD, 'F', 'P', 'R', 0},    {EXACT, 'D', 'U', 'F', 0},
        {EXACT, 'U', 'D', 'a', 0},   {EXACT, 'D', 'A', 'R', 0},   {EXACT, 'D', 'X', 'F', 'X'},
        {EXACT, 'X', 'D', 'X', 'F'},
    };
    struct fixture *f = *state;
    check_lookups(f, &f->real, rows, sizeof(rows) / sizeof(rows[0]));
}

static void judges_families_in_synthetic_mode(void **state)
{
    static const struct lookup_row rows[] = {
        {EXACT, 'U', 'U', 'b', 0},   {EXACT, 'U', 'A', 'Y', 0}, {EXACT, 'A', 'U', 'Y', 0},
        {EXACT, 'N', 'U', 'o', 0},   {EXACT, 'N', 'A', 'Y', 0}, {EXACT, 'F', 'A', 'Y', 0},
        {EXACT, 'X', 'A', 'Y', 0},   {EXACT, 'S', 'A', 'Y', 0}, {EXACT, 'N', 'N', 'N', 0},
        {EXACT, 'X', 'X', 'X', 0},   {EXACT, 'F', 'F', 'F', 0}, {EXACT, 'F', 'N', 'F', 0},
        {EXACT, 'N', 'F', 'F', 0},   {EXACT, 'N', 'X', 'N', 0}, {EXACT, 'X', 'F', 'X', 'F'},
        {EXACT, 'X', 'N', 'X', 0},   {WILD, 'P', 'U', 'o', 0},  {WILD, 'P', 'N', 'B', 0},
        {WILD, 'N', 'P', 'B', 0},    {WILD, 'P', 'A', 'Y', 0},  {WILD, 'A', 'P', 'Y', 0},
        {EXACT, 'L', 'S', 'B', 0},   {EXACT, 'F', 'L', 'B', 0}, {UPPER, 'X', 'X', 'N', 0},
        {EXACT, 'F', 'X', 'F', 'X'}, {EXACT, 'D', 'U', 'F', 0}, {EXACT, 'U', 'D', 'a', 0},
        {EXACT, 'D', 'A', 'Y', 0},   {EXACT, 'A', 'D', 'Y', 0}, {WILD, 'P', 'D', 'B', 0},
    };
    struct fixture *f = *state;
    check_lookups(f, &f->synthetic, rows, sizeof(rows) / sizeof(rows[0]));
}

static void filters_each_address(void **state)
{
    struct fixture *f = *state;
    struct asked a;
    struct answer out;
    struct ip reverse;
    struct ip addrs[4] = {ip_v4(127, 0, 0, 1), ip_v4(162, 159, 1, 1), ip_v4(169, 254, 169, 254),
                          ip_v4(10, 0, 0, 9)};
    struct answer_lookup l = {.v4 = {.state = ANSWER_ADDRS, .ttl_s = 9, .addrs = addrs, .addr_count = 4}};
    ask(f, &f->real, EXACT, DNS_A, &a);
    assert_int_equal(answer_decide(&a.q, &out, &reverse), ANSWER_ROUTE_RESOLVE);
    assert_int_equal(answer_from_lookup(&a.q, &l, &out), 0);
    assert_int_equal(out.addr_count, 2);
    assert_true(ip_is_equal(&out.addrs[0], &addrs[1]));
    assert_true(ip_is_equal(&out.addrs[1], &addrs[3]));
}

/* Refused is refused, and a synthetic address is as good as ever. */
static void what_had_expired_changes_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct asked a;
    struct answer out;
    struct ip reverse;
    struct ip never = ip_v4(169, 254, 169, 254);
    struct ip good = ip_v4(162, 159, 1, 1);
    struct answer_lookup l = {
        .v4 = {.state = ANSWER_ADDRS, .is_stale = true, .text = "expired", .addrs = &never, .addr_count = 1}};
    ask(f, &f->real, EXACT, DNS_A, &a);
    (void)answer_decide(&a.q, &out, &reverse);
    assert_int_equal(answer_from_lookup(&a.q, &l, &out), 0);
    assert_true(out.ede == DNS_EDE_BLOCKED && !out.is_stale);
    l.v4.addrs = &good;
    ask(f, &f->synthetic, EXACT, DNS_A, &a);
    (void)answer_decide(&a.q, &out, &reverse);
    assert_int_equal(answer_from_lookup(&a.q, &l, &out), 0);
    assert_true(out.wants_synthetic);
    assert_int_equal(out.ede, DNS_EDE_FORGED);
    assert_true(out.is_stale);
}

static void never_answers_guarded_addresses(void **state)
{
    struct fixture *f = *state;
    struct dest_never never = {.port = 0, .what = "own listener"};
    assert_int_equal(ip_prefix_parse(SPAN_LIT("162.159.135.0/24"), &never.prefix), 0);
    struct dest_guard guard = {.items = &never, .count = 1};
    struct answer_config cfg = f->real;
    cfg.guard = &guard;
    static const struct lookup_row rows[] = {{EXACT, 'A', 'U', 'B', 0}};
    struct asked a;
    struct answer out;
    struct ip reverse;
    struct ip ip;
    struct answer_lookup l = {0};
    family_of(rows[0].asked, true, &ip, &l.v4);
    ask(f, &cfg, rows[0].name, DNS_A, &a);
    assert_int_equal(answer_decide(&a.q, &out, &reverse), ANSWER_ROUTE_RESOLVE);
    assert_int_equal(answer_from_lookup(&a.q, &l, &out), 0);
    assert_int_equal(outcome(0, &out, true), rows[0].want);
}

static void static_hosts_in_synthetic_mode_go_through_the_map(void **state)
{
    struct fixture *f = *state;
    struct asked a;
    struct answer out;
    struct ip reverse;
    ask(f, &f->synthetic, "host.openshell.internal", DNS_A, &a);
    assert_is(SYNTHETIC, answer_decide(&a.q, &out, &reverse), &out, "static A");
    ask(f, &f->synthetic, "host.openshell.internal", DNS_AAAA, &a);
    assert_is(SYNTHETIC, answer_decide(&a.q, &out, &reverse), &out, "static AAAA");
}

static void reverse_lookups(void **state)
{
    struct fixture *f = *state;
    struct asked a;
    struct answer out;
    struct ip reverse;
    char text[IP_TEXT_CAP];
    ask(f, &f->real, "1.0.200.10.in-addr.arpa", DNS_PTR, &a);
    assert_int_equal(answer_decide(&a.q, &out, &reverse), ANSWER_ROUTE_DONE);
    assert_true(out.has_ptr);
    assert_string_equal(out.ptr.text, "host.openshell.internal");
    ask(f, &f->real, "1.1.1.10.in-addr.arpa", DNS_PTR, &a); /* static, but no rule admits its name */
    assert_is(NX, answer_decide(&a.q, &out, &reverse), &out, "unruled");

    ask(f, &f->synthetic, "5.0.18.198.in-addr.arpa", DNS_PTR, &a);
    assert_int_equal(answer_decide(&a.q, &out, &reverse), ANSWER_ROUTE_REVERSE);
    assert_string_equal(ip_text(&reverse, text), "198.18.0.5");
    answer_from_pool(&a.q, NULL, &out);
    assert_is(NX, ANSWER_ROUTE_DONE, &out, "not in the map");
    struct host_name held = {.len = 7, .label_count = 1, .text = "revoked"};
    answer_from_pool(&a.q, &held, &out);
    assert_is(NX, ANSWER_ROUTE_DONE, &out, "in the map, but no rule admits it any more");
    assert_int_equal(host_name_parse(SPAN_LIT(EXACT), &held), HOST_FAULT_NONE);
    answer_from_pool(&a.q, &held, &out);
    assert_true(out.has_ptr);
    assert_int_equal(out.rcode, DNS_NOERROR);
    assert_int_equal(out.ttl_s, 30);
    const char *v6 = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.1.e.5.0.0.d.f.ip6.arpa";
    ask(f, &f->synthetic, v6, DNS_PTR, &a);
    assert_int_equal(answer_decide(&a.q, &out, &reverse), ANSWER_ROUTE_REVERSE);
    assert_string_equal(ip_text(&reverse, text), "fd00:5e11::1");
}

static void becomes_a_message(void **state)
{
    struct fixture *f = *state;
    struct asked a;
    struct answer out;
    struct ip reverse;
    struct dns_query query = {0};
    struct dns_soa_template soa = {0};
    struct dns_answer wire;
    ask(f, &f->real, "evil.example.org", DNS_A, &a);
    assert_int_equal(answer_decide(&a.q, &out, &reverse), ANSWER_ROUTE_DONE);
    answer_to_wire(&out, &query, &soa, 7, &wire);
    assert_ptr_equal(wire.soa, &soa);
    assert_int_equal(wire.soa_serial, 7);
    assert_int_equal(wire.rcode, DNS_NXDOMAIN);
    assert_null(wire.ptr);
    ask(f, &f->real, "localhost", DNS_A, &a);
    assert_int_equal(answer_decide(&a.q, &out, &reverse), ANSWER_ROUTE_DONE);
    answer_to_wire(&out, &query, &soa, 7, &wire);
    assert_null(wire.soa);
    assert_null(wire.ede_text);
    assert_int_equal(wire.addr_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decides_by_policy),
        cmocka_unit_test(answers_localhost_with_loopback),
        cmocka_unit_test(denies_in_the_way_that_was_chosen),
        cmocka_unit_test(denies_names_without_a_canonical_form),
        cmocka_unit_test(a_reverse_name_may_have_any_labels),
        cmocka_unit_test(gives_aaaa_as_the_option_says),
        cmocka_unit_test(judges_families_in_real_mode),
        cmocka_unit_test(judges_families_in_synthetic_mode),
        cmocka_unit_test(filters_each_address),
        cmocka_unit_test(never_answers_guarded_addresses),
        cmocka_unit_test(static_hosts_in_synthetic_mode_go_through_the_map),
        cmocka_unit_test(what_had_expired_changes_nothing_else),
        cmocka_unit_test(reverse_lookups),
        cmocka_unit_test(becomes_a_message),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

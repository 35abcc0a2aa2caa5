/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of openshell-dnsd(8), "What is answered", to the byte: each row is decided, built as a message
 * for a client with and without EDNS, and taken apart again.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "dnsd/answer_parts.h"

#include "common/base/cursor.h"
#include "common/dns/dns_ldns.h"
#include "common/policy/policy_load.h"

#include <stdio.h>
#include <string.h>

#define GENERATION 7
#define TEXT_MAX 120 /* of an EDE, as far as it does not name a long class of addresses */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char policy_yaml[] = "version: 1\n"
                                  "network_policies:\n"
                                  "  web:\n"
                                  "    endpoints:\n"
                                  "      - { host: gateway.discord.gg, port: 443 }\n"
                                  "      - { host: '*.slack.com', port: 443 }\n"
                                  "      - { host: 'a.edge.slack.com', port: 443 }\n"
                                  "      - { host: static.example.com, port: 443 }\n"
                                  "      - { host: db.example.net, port: 443, allowed_ips: [10.9.0.0/16] }\n"
                                  "      - { host: db.example.net, port: 8443 }\n"
                                  "      - { host: '*.example.net', ports: [2379, 8443] }\n"
                                  "egress:\n"
                                  "  hosts:\n"
                                  "    static.example.com: [10.200.0.1]\n";

enum mode { REAL, SYNTHETIC, NO_AAAA, SAY_NODATA, SAY_REFUSED, MODE_COUNT };
/* What asks instead of the policy. */
enum special { NONE = 0, CLIENT, BUSY, RATE, BUDGET, LENGTH };

/* A family that was looked up. */
struct found {
    enum answer_family_state state;
    bool is_stale;
    enum dns_ede ede;
    const char *addr;
};
#define UP(address)                                                                                          \
    {                                                                                                        \
        ANSWER_ADDRS, false, DNS_EDE_NONE, address                                                           \
    }
#define OLD(address)                                                                                         \
    {                                                                                                        \
        ANSWER_ADDRS, true, DNS_EDE_NONE, address                                                            \
    }
#define IS(state)                                                                                            \
    {                                                                                                        \
        state, false, DNS_EDE_NONE, NULL                                                                     \
    }
#define ILL(ede)                                                                                             \
    {                                                                                                        \
        ANSWER_FAILED, false, ede, NULL                                                                      \
    }

struct row {
    const char *name; /* "" = the root */
    uint16_t qtype;
    enum mode mode;
    enum special special;
    struct found v4, v6;
    /* the answer */
    enum dns_rcode rcode;
    uint32_t soa_ttl_s; /* 0: no SOA, as an answer or a failure is */
    unsigned answers;
    uint32_t ttl_s;
    int ede; /* -1: none */
    const char *text;
};

#define UNASKED                                                                                              \
    {ANSWER_UNKNOWN, false, DNS_EDE_NONE, NULL},                                                             \
    {                                                                                                        \
        ANSWER_UNKNOWN, false, DNS_EDE_NONE, NULL                                                            \
    }
#define EXPLAIN(name) "policy_denied: no rule names this host; see openshell-egress explain " name

/* clang-format off */
static const struct row rows[] = {
    /* a denied name, of any type and in any form of denial */
    {"evil.example.org", DNS_A, REAL, NONE, UNASKED, DNS_NXDOMAIN, 10, 0, 0, 15, EXPLAIN("evil.example.org")},
    {"evil.example.org", DNS_AAAA, SYNTHETIC, NONE, UNASKED, DNS_NXDOMAIN, 10, 0, 0, 15, EXPLAIN("evil.example.org")},
    {"evil.example.org", DNS_TXT, REAL, NONE, UNASKED, DNS_NXDOMAIN, 10, 0, 0, 15, EXPLAIN("evil.example.org")},
    {"evil.example.org", DNS_HTTPS, REAL, NONE, UNASKED, DNS_NXDOMAIN, 10, 0, 0, 15, EXPLAIN("evil.example.org")},
    {"evil.example.org", DNS_A, SAY_NODATA, NONE, UNASKED, DNS_NOERROR, 10, 0, 0, 15, EXPLAIN("evil.example.org")},
    {"evil.example.org", DNS_A, SAY_REFUSED, NONE, UNASKED, DNS_REFUSED, 0, 0, 0, 15, EXPLAIN("evil.example.org")},
    {"x.gateway.discord.gg", DNS_A, REAL, NONE, UNASKED, DNS_NXDOMAIN, 10, 0, 0, 15, EXPLAIN("x.gateway.discord.gg")},
    /* a name that nobody meant looks the same on the wire */
    {"gateway.discord.gg.svc.cluster.local", DNS_A, REAL, NONE, UNASKED, DNS_NXDOMAIN, 10, 0, 0, 15,
     EXPLAIN("gateway.discord.gg.svc.cluster.local")},
    {"wpad", DNS_A, REAL, NONE, UNASKED, DNS_NXDOMAIN, 10, 0, 0, 15, EXPLAIN("wpad")},
    /* parents of admitted names, and of patterns, and the root */
    {"discord.gg", DNS_A, REAL, NONE, UNASKED, DNS_NOERROR, 10, 0, 0, -1, NULL},
    {"com", DNS_AAAA, SYNTHETIC, NONE, UNASKED, DNS_NOERROR, 10, 0, 0, -1, NULL},
    {"slack.com", DNS_TXT, REAL, NONE, UNASKED, DNS_NOERROR, 10, 0, 0, -1, NULL},
    {"", DNS_A, REAL, NONE, UNASKED, DNS_NOERROR, 10, 0, 0, -1, NULL},
    /* admitted: what the upstream says */
    {"gateway.discord.gg", DNS_A, REAL, NONE, UP("93.184.216.34"), IS(ANSWER_UNKNOWN), DNS_NOERROR, 0, 1, 60, -1, NULL},
    {"gateway.discord.gg", DNS_AAAA, REAL, NONE, IS(ANSWER_UNKNOWN), UP("2606:2800::1"), DNS_NOERROR, 0, 1, 60, -1, NULL},
    {"gateway.discord.gg", DNS_A, REAL, NONE, IS(ANSWER_NODATA), IS(ANSWER_NODATA), DNS_NOERROR, 60, 0, 0, -1, NULL},
    {"gateway.discord.gg", DNS_A, REAL, NONE, IS(ANSWER_NXDOMAIN), IS(ANSWER_NXDOMAIN), DNS_NXDOMAIN, 60, 0, 0, -1, NULL},
    {"edge.slack.com", DNS_A, REAL, NONE, IS(ANSWER_NXDOMAIN), IS(ANSWER_NXDOMAIN), DNS_NOERROR, 60, 0, 0, -1, NULL},
    /* one family bad, the other good: kept for 30 seconds */
    {"gateway.discord.gg", DNS_AAAA, REAL, NONE, UP("93.184.216.34"), ILL(DNS_EDE_NO_REACHABLE), DNS_NOERROR, 30, 0, 0, -1, NULL},
    {"gateway.discord.gg", DNS_AAAA, REAL, NONE, UP("93.184.216.34"), IS(ANSWER_NXDOMAIN), DNS_NOERROR, 30, 0, 0, -1, NULL},
    {"gateway.discord.gg", DNS_AAAA, REAL, NONE, UP("93.184.216.34"), IS(ANSWER_SILENT), DNS_NOERROR, 30, 0, 0, -1, NULL},
    {"gateway.discord.gg", DNS_A, REAL, NONE, ILL(DNS_EDE_NO_REACHABLE), UP("2606:2800::1"), DNS_NOERROR, 30, 0, 0, -1, NULL},
    /* an empty family, and one that is not given out, while the other fails: "try again", not "no such host" */
    {"gateway.discord.gg", DNS_AAAA, REAL, NONE, ILL(DNS_EDE_NO_REACHABLE), IS(ANSWER_NODATA), DNS_SERVFAIL, 0, 0, 0, 22, "the text"},
    {"gateway.discord.gg", DNS_AAAA, REAL, NONE, ILL(DNS_EDE_NO_REACHABLE), IS(ANSWER_NXDOMAIN), DNS_SERVFAIL, 0, 0, 0, 22, "the text"},
    {"gateway.discord.gg", DNS_A, REAL, NONE, IS(ANSWER_NODATA), IS(ANSWER_SILENT), DNS_SERVFAIL, 0, 0, 0, 22, "the text"},
    {"gateway.discord.gg", DNS_AAAA, NO_AAAA, NONE, UP("93.184.216.34"), IS(ANSWER_UNKNOWN), DNS_NOERROR, 10, 0, 0, -1, NULL},
    {"gateway.discord.gg", DNS_AAAA, NO_AAAA, NONE, UP("127.0.0.1"), IS(ANSWER_UNKNOWN), DNS_NOERROR, 10, 0, 0, -1, NULL},
    {"gateway.discord.gg", DNS_AAAA, NO_AAAA, NONE, OLD("93.184.216.34"), IS(ANSWER_UNKNOWN), DNS_NOERROR, 10, 0, 0, -1, NULL},
    {"gateway.discord.gg", DNS_AAAA, NO_AAAA, NONE, IS(ANSWER_NODATA), IS(ANSWER_UNKNOWN), DNS_NOERROR, 10, 0, 0, -1, NULL},
    {"gateway.discord.gg", DNS_AAAA, NO_AAAA, NONE, IS(ANSWER_NXDOMAIN), IS(ANSWER_UNKNOWN), DNS_NOERROR, 10, 0, 0, -1, NULL},
    {"gateway.discord.gg", DNS_AAAA, NO_AAAA, NONE, ILL(DNS_EDE_NETWORK), IS(ANSWER_UNKNOWN), DNS_SERVFAIL, 0, 0, 0, 23, "the text"},
    {"gateway.discord.gg", DNS_AAAA, NO_AAAA, NONE, IS(ANSWER_SILENT), IS(ANSWER_UNKNOWN), DNS_SERVFAIL, 0, 0, 0, 22, "the text"},
    {"gateway.discord.gg", DNS_A, NO_AAAA, NONE, IS(ANSWER_NODATA), IS(ANSWER_UNKNOWN), DNS_NOERROR, 60, 0, 0, -1, NULL},
    {"gateway.discord.gg", DNS_AAAA, SYNTHETIC, NONE, UP("93.184.216.34"), IS(ANSWER_UNKNOWN), DNS_NOERROR, 10, 0, 0, -1, NULL},
    {"gateway.discord.gg", DNS_AAAA, SYNTHETIC, NONE, ILL(DNS_EDE_NO_REACHABLE), UP("2606:2800::1"), DNS_NOERROR, 10, 0, 0, -1, NULL},
    {"gateway.discord.gg", DNS_AAAA, SYNTHETIC, NONE, ILL(DNS_EDE_NO_REACHABLE), IS(ANSWER_NODATA), DNS_SERVFAIL, 0, 0, 0, 22, "the text"},
    /* localhost */
    {"localhost", DNS_A, REAL, NONE, UNASKED, DNS_NOERROR, 0, 1, 3600, -1, NULL},
    {"x.localhost", DNS_AAAA, SYNTHETIC, NONE, UNASKED, DNS_NOERROR, 0, 1, 3600, -1, NULL},
    {"localhost", DNS_TXT, REAL, NONE, UNASKED, DNS_NOERROR, 10, 0, 0, -1, NULL},
    /* admitted, other types */
    {"gateway.discord.gg", DNS_HTTPS, REAL, NONE, UNASKED, DNS_NOERROR, 10, 0, 0, -1, NULL},
    {"gateway.discord.gg", DNS_TXT, REAL, NONE, UNASKED, DNS_NOERROR, 10, 0, 0, -1, NULL},
    {"gateway.discord.gg", DNS_ANY, REAL, NONE, UNASKED, DNS_NOERROR, 10, 0, 0, -1, NULL},
    {"static.example.com", DNS_HTTPS, SYNTHETIC, NONE, UNASKED, DNS_NOERROR, 10, 0, 0, -1, NULL},
    /* egress.hosts and PTR */
    {"static.example.com", DNS_A, REAL, NONE, UNASKED, DNS_NOERROR, 0, 1, 30, -1, NULL},
    {"static.example.com", DNS_AAAA, REAL, NONE, UNASKED, DNS_NOERROR, 10, 0, 0, -1, NULL},
    {"1.0.200.10.in-addr.arpa", DNS_PTR, REAL, NONE, UNASKED, DNS_NOERROR, 0, 1, 30, -1, NULL},
    {"8.8.8.8.in-addr.arpa", DNS_PTR, REAL, NONE, UNASKED, DNS_NXDOMAIN, 10, 0, 0, 15, "policy_denied: reverse lookups"},
    /* the upstream failed */
    {"gateway.discord.gg", DNS_A, REAL, NONE, ILL(DNS_EDE_NO_REACHABLE), ILL(DNS_EDE_NO_REACHABLE), DNS_SERVFAIL, 0, 0, 0, 22, "the text"},
    {"gateway.discord.gg", DNS_A, REAL, NONE, ILL(DNS_EDE_NETWORK), ILL(DNS_EDE_NETWORK), DNS_SERVFAIL, 0, 0, 0, 23, "the text"},
    {"gateway.discord.gg", DNS_A, REAL, NONE, ILL(DNS_EDE_CACHED_ERROR), ILL(DNS_EDE_CACHED_ERROR), DNS_SERVFAIL, 0, 0, 0, 13, "the text"},
    {"gateway.discord.gg", DNS_A, REAL, NONE, IS(ANSWER_SILENT), IS(ANSWER_SILENT), DNS_SERVFAIL, 0, 0, 0, 22, "the text"},
    {"gateway.discord.gg", DNS_A, REAL, NONE, OLD("93.184.216.34"), IS(ANSWER_UNKNOWN), DNS_NOERROR, 0, 1, 60, 3, "the text"},
    {"gateway.discord.gg", DNS_A, REAL, NONE, {ANSWER_NXDOMAIN, true, DNS_EDE_NONE, NULL}, {ANSWER_NXDOMAIN, true, DNS_EDE_NONE, NULL},
     DNS_NXDOMAIN, 60, 0, 0, 19, "the text"},
    {"gateway.discord.gg", DNS_A, REAL, NONE, {ANSWER_NODATA, true, DNS_EDE_NONE, NULL}, IS(ANSWER_NODATA), DNS_NOERROR, 60, 0, 0, 3, "the text"},
    {"gateway.discord.gg", DNS_A, REAL, NONE, {ANSWER_NXDOMAIN, true, DNS_EDE_NONE, NULL}, IS(ANSWER_NODATA),
     DNS_NXDOMAIN, 60, 0, 0, 19, "the text"},
    {"gateway.discord.gg", DNS_AAAA, REAL, NONE, {ANSWER_NXDOMAIN, true, DNS_EDE_NONE, NULL}, ILL(DNS_EDE_NETWORK),
     DNS_NXDOMAIN, 60, 0, 0, 19, "the text"},
    {"gateway.discord.gg", DNS_A, REAL, BUSY, UNASKED, DNS_SERVFAIL, 0, 0, 0, 0, "too many questions in flight"},
    /* no permitted address: the class, the remedy, the rule */
    {"gateway.discord.gg", DNS_A, REAL, NONE, UP("127.0.0.1"), IS(ANSWER_UNKNOWN), DNS_NOERROR, 10, 0, 0, 15,
     "ssrf_denied: a loopback address is never dialled; rule web"},
    {"x.slack.com", DNS_A, REAL, NONE, UP("10.1.2.3"), IS(ANSWER_UNKNOWN), DNS_NOERROR, 10, 0, 0, 15,
     "ssrf_denied: a private address needs an endpoint with its exact host, or allowed_ips; rule web"},
    {"x.slack.com", DNS_A, SYNTHETIC, NONE, UP("10.1.2.3"), IS(ANSWER_NODATA), DNS_NOERROR, 10, 0, 0, 15, "; rule web"},
    /* what the most specific endpoint, or its first port, refuses and another lets pass; and what none does */
    {"db.example.net", DNS_A, REAL, NONE, UP("10.9.1.1"), IS(ANSWER_UNKNOWN), DNS_NOERROR, 0, 1, 60, -1, NULL},
    {"db.example.net", DNS_A, REAL, NONE, UP("93.184.216.34"), IS(ANSWER_UNKNOWN), DNS_NOERROR, 0, 1, 60, -1, NULL},
    {"db.example.net", DNS_A, REAL, NONE, UP("169.254.1.1"), IS(ANSWER_UNKNOWN), DNS_NOERROR, 10, 0, 0, 15,
     "ssrf_denied: a link-local address is dialled only for a name that egress.hosts gives it; rule web"},
    {"x.example.net", DNS_A, REAL, NONE, UP("93.184.216.34"), IS(ANSWER_UNKNOWN), DNS_NOERROR, 0, 1, 60, -1, NULL},
    /* beyond the brakes */
    {"x.slack.com", DNS_A, REAL, RATE, UNASKED, DNS_SERVFAIL, 0, 0, 0, 0, "rate_limited: this client asks upstream too often (--rate-limit)"},
    {"x.slack.com", DNS_A, REAL, BUDGET, UNASKED, DNS_NXDOMAIN, 1, 0, 0, 15, "wildcard_budget: too many new names through one wildcard (--wildcard-budget)"},
    {"x.slack.com", DNS_A, SYNTHETIC, LENGTH, UNASKED, DNS_NXDOMAIN, 1, 0, 0, 15, "(--wildcard-length)"},
    {"x.slack.com", DNS_A, SAY_NODATA, BUDGET, UNASKED, DNS_NOERROR, 1, 0, 0, 15, "(--wildcard-budget)"},
    {"x.slack.com", DNS_A, SAY_REFUSED, BUDGET, UNASKED, DNS_REFUSED, 0, 0, 0, 15, "(--wildcard-budget)"},
    {"edge.slack.com", DNS_A, REAL, BUDGET, UNASKED, DNS_NOERROR, 1, 0, 0, 15, "(--wildcard-budget)"},
    /* a client that is not served */
    {"gateway.discord.gg", DNS_A, REAL, CLIENT, UNASKED, DNS_REFUSED, 0, 0, 0, 18, "client_not_allowed"},
};
/* clang-format on */

struct fixture {
    struct policy *policy;
    struct dest_guard guard;
    struct answer_config config[MODE_COUNT];
    struct dns_soa_template soa;
};

static int set_up(void **state)
{
    static struct fixture f;
    struct policy_diags diags = {0};
    struct policy_rules *rules = NULL;
    const struct policy_text text = {.file = "p.yaml", .text = SPAN_LIT(policy_yaml)};
    assert_int_equal(policy_load(&text, 1, &rules, &diags), 0);
    policy_diags_fini(&diags);
    assert_int_equal(policy_compile(rules, GENERATION, &f.policy), 0);
    assert_int_equal(dns_soa_template_build(&f.soa), 0);
    for (int i = 0; i < MODE_COUNT; i++) {
        f.config[i] = (struct answer_config){.deny_ttl_s = 10, .synthetic_ttl_s = 30, .guard = &f.guard};
    }
    f.config[SYNTHETIC].mode = ANSWER_SYNTHETIC;
    f.config[SYNTHETIC].pools.has_v4 = true;
    assert_int_equal(ip_prefix_parse(SPAN_LIT("198.18.0.0/15"), &f.config[SYNTHETIC].pools.v4), 0);
    f.config[NO_AAAA].aaaa = AAAA_NODATA;
    f.config[SAY_NODATA].deny = DENY_NODATA;
    f.config[SAY_REFUSED].deny = DENY_REFUSED;
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    policy_unref(f->policy);
    return 0;
}

static void fill_family(const struct found *found, struct ip *ip, struct answer_family *out)
{
    *out = (struct answer_family){.state = found->state,
                                  .ttl_s = 60,
                                  .is_stale = found->is_stale,
                                  .ede = found->ede,
                                  .text = "the text",
                                  .addrs = ip};
    if (found->addr != NULL) {
        assert_int_equal(ip_parse(span_str(found->addr), ip), 0);
        out->addr_count = 1;
    }
}

static void decide(const struct row *r, const struct answer_question *q, struct answer *out)
{
    static const enum brakes_verdict verdicts[] = {
        [RATE] = BRAKES_RATE, [BUDGET] = BRAKES_BUDGET, [LENGTH] = BRAKES_LENGTH};
    struct ip reverse;
    if (r->special == CLIENT) {
        answer_refuse_client(out);
        return;
    }
    if (r->special == BUSY) {
        answer_failure(out, DNS_EDE_OTHER, "too many questions in flight");
        return;
    }
    const enum answer_route route = answer_decide(q, out, &reverse);
    if (r->special != NONE) {
        assert_int_equal(route, ANSWER_ROUTE_RESOLVE); /* the brakes are for what would go upstream */
        answer_braked(q, verdicts[r->special], out);
        return;
    }
    if (r->v4.state == ANSWER_UNKNOWN && r->v6.state == ANSWER_UNKNOWN) {
        assert_int_equal(route, ANSWER_ROUTE_DONE);
        return;
    }
    struct ip ips[2];
    struct answer_lookup l;
    assert_int_equal(route, ANSWER_ROUTE_RESOLVE);
    fill_family(&r->v4, &ips[0], &l.v4);
    fill_family(&r->v6, &ips[1], &l.v6);
    assert_int_equal(answer_from_lookup(q, &l, out), 0);
}

/* A record behind the question. */
struct record {
    uint16_t type, class;
    uint32_t ttl_s;
    struct span data;
};

static void take_record(struct cursor *c, bool is_pointer, struct record *out)
{
    if (is_pointer) {
        assert_int_equal(cursor_u16(c), 0xC00C);
    } else {
        assert_int_equal(cursor_u8(c), 0);
    }
    out->type = cursor_u16(c);
    out->class = cursor_u16(c);
    out->ttl_s = cursor_u32(c);
    out->data = cursor_take(c, cursor_u16(c));
    assert_false(c->bad);
}

static void check_opt(const struct row *r, struct cursor *c)
{
    struct record opt;
    take_record(c, false, &opt);
    assert_int_equal(opt.type, DNS_OPT);
    assert_int_equal(opt.class, DNS_UDP_MAX);
    assert_int_equal(opt.ttl_s, 0); /* no extended rcode, version 0, DO as asked */
    if (r->ede < 0) {
        assert_int_equal(opt.data.len, 0);
        return;
    }
    struct cursor o = cursor_make(opt.data);
    assert_int_equal(cursor_u16(&o), 15);
    assert_int_equal(cursor_u16(&o), opt.data.len - 4);
    assert_int_equal(cursor_u16(&o), r->ede);
    char text[256] = "";
    assert_in_range(opt.data.len, 7, 6 + TEXT_MAX);
    memcpy(text, opt.data.data + 6, opt.data.len - 6);
    if (strstr(text, r->text) == NULL) {
        fail_msg("%s: \"%s\"", r->name, text);
    }
}

static void check_soa(const struct row *r, struct cursor *c)
{
    static const uint8_t mname[] = "\4dnsd\11openshell\7invalid";
    struct record soa;
    take_record(c, false, &soa); /* owner: the root */
    assert_int_equal(soa.type, DNS_SOA);
    assert_int_equal(soa.class, DNS_IN);
    assert_int_equal(soa.ttl_s, r->soa_ttl_s);
    assert_true(soa.data.len > sizeof(mname) + 20);
    assert_memory_equal(soa.data.data, mname, sizeof(mname));
    struct cursor n = cursor_make(span_sub(soa.data, soa.data.len - 20, soa.data.len));
    assert_int_equal(cursor_u32(&n), GENERATION);
    (void)cursor_take(&n, 12);
    assert_int_equal(cursor_u32(&n), r->soa_ttl_s);
}

static void check_message(const struct row *r, const struct dns_query *q, struct span m, bool has_opt)
{
    struct cursor c = cursor_make(m);
    const unsigned flags = 0x8080U | (q->rd ? 0x100U : 0U) | (q->cd ? 0x10U : 0U) | (unsigned)r->rcode;
    assert_int_equal(cursor_u16(&c), q->id);
    assert_int_equal(cursor_u16(&c), flags); /* QR, RA; never AA, TC, Z, AD */
    assert_int_equal(cursor_u16(&c), 1);
    assert_int_equal(cursor_u16(&c), r->answers);
    assert_int_equal(cursor_u16(&c), r->soa_ttl_s > 0 ? 1 : 0);
    assert_int_equal(cursor_u16(&c), has_opt ? 1 : 0);
    struct span question = cursor_take(&c, q->question.len);
    assert_true(span_is_equal(question, q->question));
    for (unsigned i = 0; i < r->answers; i++) {
        struct record a;
        take_record(&c, true, &a);
        assert_int_equal(a.type, r->qtype);
        assert_int_equal(a.ttl_s, r->ttl_s);
        if (r->qtype != DNS_PTR) {
            assert_int_equal(a.data.len, r->qtype == DNS_A ? 4 : 16);
        }
    }
    if (r->soa_ttl_s > 0) {
        check_soa(r, &c);
    }
    if (has_opt) {
        check_opt(r, &c);
    }
    assert_int_equal(c.pos, m.len);
}

static void check_row(const struct fixture *f, const struct row *r, bool has_opt, unsigned flags)
{
    struct host_name name = {0};
    uint8_t wire[255] = {0};
    uint8_t asked[512];
    uint8_t out[DNS_UDP_MAX];
    const bool is_root = r->name[0] == '\0';
    assert_true(is_root || host_name_parse(span_str(r->name), &name) == HOST_FAULT_NONE);
    const size_t len = is_root ? 1 : host_name_to_wire(&name, wire);
    struct wbuf w = wbuf_make(asked, sizeof(asked));
    dns_query_build(&w, 0xBEEF, span_make(wire, len), r->qtype, has_opt);
    asked[2] = (uint8_t)(flags >> 8);
    asked[3] = (uint8_t)flags;
    struct dns_query query;
    enum dns_rcode rcode;
    assert_int_equal(dns_query_parse(wbuf_span(&w), &query, &rcode), DNS_QUERY_OK);
    const struct answer_question q = {.cfg = &f->config[r->mode],
                                      .policy = f->policy,
                                      .qname = span_make(wire, len),
                                      .name = is_root ? NULL : &name,
                                      .qtype = r->qtype,
                                      .has_ipv6 = true};
    struct answer a;
    struct dns_answer message;
    decide(r, &q, &a);
    assert_int_equal(a.is_stale, r->ede == DNS_EDE_STALE || r->ede == DNS_EDE_STALE_NX);
    answer_to_wire(&a, &query, &f->soa, GENERATION, &message);
    const size_t n = dns_answer_build(&message, out, has_opt ? sizeof(out) : 512);
    check_message(r, &query, span_make(out, n), has_opt);
}

static void every_row_of_the_table(void **state)
{
    static const unsigned flags[] = {0x0100, 0x0000, 0x0110, 0x0130}; /* RD; none; CD; AD */
    for (size_t i = 0; i < COUNT(rows); i++) {
        print_message("%zu: %s, type %u\n", i, rows[i].name, rows[i].qtype); /* the last one failed */
        for (size_t k = 0; k < COUNT(flags); k++) {
            check_row(*state, &rows[i], true, flags[k]);
            check_row(*state, &rows[i], false, flags[k]);
        }
    }
}

/* With the longest of names the text does without it, and the message still fits. */
static void long_names(void **state)
{
    struct row r = {.qtype = DNS_A, .rcode = DNS_NXDOMAIN, .soa_ttl_s = 10, .ede = 15};
    char name[254];
    for (size_t len = 40; len <= 253; len++) {
        memset(name, 'x', len);
        for (size_t dot = 50; dot < len - 1; dot += 50) {
            name[dot] = '.';
        }
        name[len] = '\0';
        r.name = name;
        r.text = "see openshell-egress explain";
        check_row(*state, &r, true, 0x0100);
        check_row(*state, &r, false, 0x0100);
    }
}

/* A name that no rule can have: the log says what the extended error does, also where nobody hears that. */
static void why_no_rule_can_name_it(void **state)
{
    static const uint8_t wire[] = "\004\xc3\xbc\xc3\xb6\002gg"; /* ends in the root label */
    const struct fixture *f = *state;
    struct answer_question q = {.cfg = &f->config[0],
                                .policy = f->policy,
                                .qname = span_make(wire, sizeof(wire)),
                                .qtype = DNS_A,
                                .is_silent = true};
    struct answer a;
    struct ip reverse;
    assert_int_equal(answer_decide(&q, &a, &reverse), ANSWER_ROUTE_DONE);
    assert_string_equal(a.why, "name is not ASCII (write the xn-- form)");
    assert_false(a.is_plain_denial); /* it is found out each time */
}

/* A denial is given again without a look at the name: it says what it said, and nothing that is not so. */
static void given_again(void **state)
{
    static const uint8_t wire[] = "\005never\007invalid"; /* ends in the root label */
    const struct fixture *f = *state;
    struct host_name name;
    struct answer_question q = {.cfg = &f->config[0],
                                .policy = f->policy,
                                .qname = span_make(wire, sizeof(wire)),
                                .name = &name,
                                .qtype = DNS_A,
                                .is_silent = true};
    struct answer first, again;
    struct ip reverse;
    assert_int_equal(host_name_from_wire(q.qname, &name), HOST_FAULT_NONE);
    assert_int_equal(answer_decide(&q, &first, &reverse), ANSWER_ROUTE_DONE);
    assert_true(first.is_plain_denial);
    q.name = NULL;
    answer_denied(&q, false, &again);
    assert_string_equal(again.why, first.why);
    assert_int_equal(again.reason, first.reason);
    assert_int_equal(again.rcode, first.rcode);
    assert_int_equal(again.soa_ttl_s, first.soa_ttl_s);
}

/* Of an AAAA that is not given out: the operator can do something about a route. */
static void why_aaaa_is_not_given_out(void **state)
{
    const struct fixture *f = *state;
    struct answer_config cfg = {.mode = ANSWER_REAL, .aaaa = AAAA_AUTO};
    struct answer_question q = {.cfg = &cfg, .policy = f->policy, .qtype = DNS_AAAA};
    struct host_name name;
    struct answer a;
    assert_int_equal(host_name_parse(span_str("discord.gg"), &name), HOST_FAULT_NONE);
    q.name = &name;
    answer_not_given_out(&q, &a);
    assert_string_equal(a.why, "AAAA is not given out without an IPv6 default route (--aaaa auto)");
    cfg.aaaa = AAAA_NODATA;
    answer_not_given_out(&q, &a);
    assert_string_equal(a.why, "AAAA is not given out here (--aaaa, --pool, --steer-address)");
    q.qtype = DNS_SRV;
    answer_not_given_out(&q, &a);
    assert_string_equal(a.why, "records of this type are not given out");
}

static void refuses_clients_and_says_failures(void **state)
{
    (void)state;
    struct answer out;
    answer_refuse_client(&out);
    assert_int_equal(out.rcode, DNS_REFUSED);
    assert_int_equal(out.ede, DNS_EDE_PROHIBITED);
    assert_int_equal(out.reason, REASON_CLIENT_NOT_ALLOWED);
    assert_false(out.has_soa);
    answer_failure(&out, DNS_EDE_OTHER, "too many");
    assert_int_equal(out.rcode, DNS_SERVFAIL);
    assert_string_equal(out.ede_text, "too many");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_of_the_table),    cmocka_unit_test(long_names),
        cmocka_unit_test(why_no_rule_can_name_it),   cmocka_unit_test(given_again),
        cmocka_unit_test(why_aaaa_is_not_given_out), cmocka_unit_test(refuses_clients_and_says_failures),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}

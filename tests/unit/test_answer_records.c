/* SPDX-License-Identifier: Apache-2.0 */
/* answer_records: what of SRV and TXT is given out, what is said of the rest, and how it fits a message. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/buf.h"
#include "common/dns/dns_ldns.h"
#include "common/dns/dns_rr.h"
#include "dnsd/answer_parts.h"
#include "dnsd/answer_records.h"
#include "tests/support/policy_text.h"

#include <stdio.h>

#define LONG_LABEL "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

struct fixture {
    struct policy *policy;
    struct answer_config cfg;
    struct host_name name;
    uint8_t wire[255];
    struct answer_question q;
    struct dns_rrset set;
    struct answer out;
};

static int set_up(void **state)
{
    static struct fixture f;
    f.policy = policy_text_endpoints("{ host: _db._tcp.example.net, port: 1, dns: { types: [SRV, TXT] } }\n"
                                     "{ host: a.example.net, ports: [443, 27017] }\n"
                                     "{ host: '*.wild.example.net', port: 443 }\n"
                                     "{ port: 443, allowed_ips: [10.0.0.0/8] }\n");
    f.cfg = (struct answer_config){.deny_ttl_s = 10};
    f.name = policy_text_name("_db._tcp.example.net");
    const size_t len = host_name_to_wire(&f.name, f.wire);
    f.q = (struct answer_question){.cfg = &f.cfg,
                                   .policy = f.policy,
                                   .qname = span_make(f.wire, len),
                                   .name = &f.name,
                                   .qtype = DNS_SRV};
    dns_rrset_start(&f.set, DNS_SRV);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    policy_unref(f->policy);
    return 0;
}

static void add(struct fixture *f, const char *target, uint16_t port)
{
    uint8_t rdata[6 + DNS_NAME_MAX];
    uint8_t wire[DNS_NAME_MAX];
    struct wbuf w = wbuf_make(rdata, sizeof rdata);
    const struct host_name name = policy_text_name(target);
    wbuf_u16(&w, 1);
    wbuf_u16(&w, 2);
    wbuf_u16(&w, port);
    const size_t len = host_name_to_wire(&name, wire);
    wbuf_put(&w, span_make(wire, len));
    dns_rrset_add(&f->set, wbuf_span(&w));
}

static void run(struct fixture *f)
{
    const struct answer_family all = {.state = ANSWER_RECORDS, .ttl_s = 60, .records = &f->set};
    answer_start(&f->out, DNS_NOERROR, ANSWER_EVENT_ADMITTED);
    answer_records(&f->q, &all, &f->out);
}

static void targets_are_judged_with_their_port(void **state)
{
    static const struct {
        const char *target;
        uint16_t port;
        bool is_given;
    } rows[] = {{"a.example.net", 443, true},      {"a.example.net", 27017, true},
                {"a.example.net", 1, false},       {"a.example.net", 0, false},
                {"a.example.net", 65535, false},   {"b.example.net", 443, false},
                {"x.wild.example.net", 443, true}, {"x.y.wild.example.net", 443, false},
                {"wild.example.net", 443, false},  {"_db._tcp.example.net", 1, true},
                {"host.example.org", 443, false}};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        dns_rrset_start(&f->set, DNS_SRV);
        add(f, rows[i].target, rows[i].port);
        run(f);
        assert_int_equal(f->out.has_records, rows[i].is_given);
        assert_int_equal(f->out.left_out, rows[i].is_given ? 0 : 1);
        assert_int_equal(f->out.has_soa, !rows[i].is_given);
        assert_int_equal(f->out.event, rows[i].is_given ? ANSWER_EVENT_ADMITTED : ANSWER_EVENT_DENIED);
        assert_int_equal(f->out.rcode, DNS_NOERROR);
    }
}

static void order_is_kept_and_the_first_refused_is_named(void **state)
{
    struct fixture *f = *state;
    add(f, "a.example.net", 27017);
    add(f, "b.example.net", 443);
    add(f, "c.example.net", 444);
    add(f, "x.wild.example.net", 443);
    f->set.left_out = 3; /* by the bounds */
    run(f);
    assert_true(f->out.has_records);
    assert_int_equal(f->out.records.count, 2);
    assert_int_equal(f->out.left_out, 5);
    assert_int_equal(f->out.ttl_s, 60);
    assert_int_equal(f->out.ede, DNS_EDE_NONE);
    assert_string_equal(f->out.target.text, "b.example.net");
    assert_int_equal(f->out.target_port, 443);
    size_t at = 0;
    struct span rdata;
    struct dns_srv srv;
    assert_true(dns_rrset_next(&f->out.records, &at, &rdata));
    dns_srv_read(rdata, &srv);
    assert_string_equal(srv.target.text, "a.example.net");
    assert_int_equal(srv.priority, 1);
    assert_int_equal(srv.weight, 2);
    assert_int_equal(srv.port, 27017);
    assert_true(dns_rrset_next(&f->out.records, &at, &rdata));
    dns_srv_read(rdata, &srv);
    assert_string_equal(srv.target.text, "x.wild.example.net");
    assert_false(dns_rrset_next(&f->out.records, &at, &rdata));
}

static void none_left_is_explained(void **state)
{
    struct fixture *f = *state;
    add(f, "b.example.net", 443);
    add(f, "c.example.net", 443);
    run(f);
    assert_false(f->out.has_records);
    assert_int_equal(f->out.soa_ttl_s, 10);
    assert_int_equal(f->out.reason, REASON_POLICY_DENIED);
    assert_int_equal(f->out.ede, DNS_EDE_BLOCKED);
    assert_string_equal(f->out.ede_text,
                        "policy_denied: no endpoint admits the SRV target b.example.net:443");
    dns_rrset_start(&f->set, DNS_SRV); /* the longest name there is */
    add(f,
        LONG_LABEL "." LONG_LABEL "." LONG_LABEL
                   ".aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.net",
        65535);
    run(f);
    assert_int_equal(f->out.target.len, 253);
    assert_in_range(strlen(f->out.ede_text), 100, ANSWER_TEXT_CAP - 1);
    dns_rrset_start(&f->set, DNS_SRV); /* only targets that are no host name */
    f->set.left_out = 1;
    run(f);
    assert_false(f->out.has_records);
    assert_int_equal(f->out.left_out, 1);
    assert_int_equal(f->out.target.len, 0);
    assert_int_equal(f->out.ede, DNS_EDE_BLOCKED);
}

static size_t build(struct fixture *f, uint8_t *out, size_t limit)
{
    static const uint8_t zeros[4] = {0};
    uint8_t question[259];
    struct wbuf w = wbuf_make(question, sizeof question);
    struct dns_answer wire;
    wbuf_put(&w, f->q.qname);
    wbuf_put(&w, span_make(zeros, 4));
    const struct dns_query query = {.question = wbuf_span(&w), .qname = f->q.qname};
    struct dns_soa_template soa;
    assert_int_equal(dns_soa_template_build(&soa), 0);
    answer_to_wire(&f->out, &query, &soa, 1, &wire);
    return dns_answer_build(&wire, out, limit);
}

/* Whatever fits into a set fits into a message, and what does not fit a datagram is cut between records. */
static void fullest_sets_fit(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < DNS_SRV_MAX + 8; i++) {
        char target[96];
        (void)snprintf(target, sizeof target, "%.*s%02u.wild.example.net", 30, LONG_LABEL, i);
        add(f, target, 443);
    }
    run(f);
    assert_true(f->out.has_records && f->out.records.count > 30);
    uint8_t whole[4096];
    uint8_t part[512];
    size_t len = build(f, whole, sizeof whole);
    assert_in_range(len, 2000, 4000);
    assert_int_equal(whole[2] & 2, 0);
    assert_int_equal((size_t)whole[6] << 8 | whole[7], f->out.records.count);
    len = build(f, part, sizeof part);
    assert_in_range(len, 400, 512);
    assert_int_equal(part[2] & 2, 2); /* TC */
    assert_in_range(part[7], 3, 20);
    assert_memory_equal(part + 12, whole + 12, len - 12);

    dns_rrset_start(&f->set, DNS_TXT);
    f->q.qtype = DNS_TXT;
    for (unsigned i = 0; i < DNS_TXT_MAX; i++) {
        uint8_t rdata[DNS_TXT_BYTES_MAX / DNS_TXT_MAX];
        memset(rdata, (int)i, sizeof rdata);
        rdata[0] = sizeof rdata - 1;
        dns_rrset_add(&f->set, span_make(rdata, sizeof rdata));
    }
    run(f);
    assert_int_equal(f->out.records.count, DNS_TXT_MAX);
    len = build(f, whole, sizeof whole);
    assert_int_equal(len, 12 + f->q.qname.len + 4 + DNS_TXT_MAX * 12 + DNS_TXT_BYTES_MAX);
    f->q.qtype = DNS_SRV;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(targets_are_judged_with_their_port, set_up, tear_down),
        cmocka_unit_test_setup_teardown(order_is_kept_and_the_first_refused_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(none_left_is_explained, set_up, tear_down),
        cmocka_unit_test_setup_teardown(fullest_sets_fit, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

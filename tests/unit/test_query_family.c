/* SPDX-License-Identifier: Apache-2.0 */
/* query_family: what is asked for, and what outlives the step it was told in. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "dnsd/query_family.h"

#include "common/net/sock.h"

#include <stdlib.h>
#include <unistd.h>

static void type_of_each_family(void **state)
{
    (void)state;
    assert_int_equal(query_family_type(DNS_A, IP_V4), DNS_A);
    assert_int_equal(query_family_type(DNS_A, IP_V6), DNS_AAAA);
    assert_int_equal(query_family_type(DNS_AAAA, IP_V4), DNS_A);
    assert_int_equal(query_family_type(DNS_SRV, IP_V4), DNS_SRV);
    assert_int_equal(query_family_type(DNS_TXT, IP_V4), DNS_TXT);
}

static void kept_answer_has_its_records(void **state)
{
    (void)state;
    struct dns_rrset records;
    dns_rrset_start(&records, DNS_TXT);
    dns_rrset_add(&records, SPAN_LIT("\3a=b"));
    struct resolver_answer a;
    resolver_answer_set(&a, RESOLVER_RECORDS, RESOLVER_FAIL_NONE);
    a.ttl_s = 60;
    a.records = &records;
    struct query_family f = {0};
    assert_true(query_family_is_unasked(&f));
    assert_true(query_family_keep(&f, &a));
    assert_false(query_family_is_unasked(&f));
    memset(&records, 0xEE, sizeof records); /* the resolver is called again */
    memset(&a, 0xEE, sizeof a);

    struct answer_lookup l;
    query_family_lookup(DNS_TXT, &f, &(struct query_family){0}, &l);
    assert_int_equal(l.records.state, ANSWER_RECORDS);
    assert_int_equal(l.records.ttl_s, 60);
    size_t at = 0;
    struct span rdata;
    assert_true(dns_rrset_next(l.records.records, &at, &rdata));
    assert_true(span_is_equal(rdata, SPAN_LIT("\3a=b")));
    free(f.kept);
}

static void families_are_told_apart(void **state)
{
    (void)state;
    struct resolver_answer a;
    resolver_answer_set(&a, RESOLVER_ADDRS, RESOLVER_FAIL_NONE);
    a.addr_count = 1;
    a.addrs[0] = ip_v4(192, 0, 2, 1);
    struct query_family v4 = {0};
    const struct query_family v6 = {.is_silent = true};
    assert_true(query_family_keep(&v4, &a));
    struct answer_lookup l;
    query_family_lookup(DNS_AAAA, &v4, &v6, &l);
    assert_int_equal(l.v4.state, ANSWER_ADDRS);
    assert_int_equal(l.v6.state, ANSWER_SILENT);
    query_family_lookup(DNS_SRV, &v6, &v4, &l);
    assert_int_equal(l.records.state, ANSWER_SILENT);
    free(v4.kept);
}

static struct query_family family_with(struct resolver_answer *a, enum resolver_status status)
{
    resolver_answer_set(a, status, RESOLVER_FAIL_NONE);
    return (struct query_family){.answer = a};
}

/* What was bad beside a good family is worth a question once that one is not good any more. */
static void what_is_remembered_ends_with_its_reason(void **state)
{
    (void)state;
    static const struct {
        enum resolver_status other;
        enum answer_family_state beside_addresses, beside_no_name; /* of the remembered one */
    } rows[] = {{RESOLVER_ADDRS, ANSWER_SILENT, ANSWER_UNKNOWN},
                {RESOLVER_NODATA, ANSWER_UNKNOWN, ANSWER_UNKNOWN},
                {RESOLVER_NXDOMAIN, ANSWER_UNKNOWN, ANSWER_SILENT},
                {RESOLVER_FAILED, ANSWER_UNKNOWN, ANSWER_UNKNOWN}};
    const struct query_family remembered = {.is_silent = true, .remembered = BAD_BESIDE_ADDRESSES};
    const struct query_family no_name = {.is_silent = true, .remembered = BAD_BESIDE_NO_NAME};
    const struct query_family given_up = {.is_silent = true};
    const struct query_family unknown = {0};
    struct answer_lookup l;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct resolver_answer a;
        const struct query_family other = family_with(&a, rows[i].other);
        query_family_lookup(DNS_A, &remembered, &other, &l);
        assert_int_equal(l.v4.state, rows[i].beside_addresses);
        query_family_lookup(DNS_A, &other, &remembered, &l);
        assert_int_equal(l.v6.state, rows[i].beside_addresses);
        query_family_lookup(DNS_A, &other, &no_name, &l);
        assert_int_equal(l.v6.state, rows[i].beside_no_name);
        query_family_lookup(DNS_A, &given_up, &other, &l);
        assert_int_equal(l.v4.state, ANSWER_SILENT);
    }
    query_family_lookup(DNS_A, &remembered, &unknown, &l);
    assert_int_equal(l.v4.state, ANSWER_SILENT);
    query_family_lookup(DNS_A, &remembered, &remembered, &l);
    assert_int_equal(l.v4.state, ANSWER_UNKNOWN);
    assert_int_equal(l.v6.state, ANSWER_UNKNOWN);
    assert_false(query_family_is_settled(&remembered));
    assert_true(query_family_is_settled(&given_up));
}

/* A port that nobody listens on. */
static struct addr nobody(void)
{
    struct addr a = {.ip = ip_v4(127, 0, 0, 1), .port = 0};
    struct err err = {0};
    int fd = sock_listen_udp(&a, false, &err);
    assert_true(fd >= 0);
    assert_int_equal(sock_local_addr(fd, &a), 0);
    (void)close(fd);
    return a;
}

static void on_failure(void *ctx, const struct resolver_answer *a)
{
    assert_int_equal(a->status, RESOLVER_FAILED);
    *(bool *)ctx = true;
}

/* A family that was given up while the other one was good is no reason to leave that one unasked. */
/* Only what was remembered, for the name's sake, and not found beside the other family. */
static void old_news_is_asked_again(void **state)
{
    (void)state;
    struct resolver_answer a;
    struct query_family f = family_with(&a, RESOLVER_FAILED);
    struct answer_lookup l;
    assert_true(query_family_is_settled(&f));
    a.from_cache = true;
    assert_false(query_family_is_settled(&f));
    assert_true(query_family_is_unasked(&f)); /* as good as unknown */
    query_family_lookup(DNS_A, &f, &(struct query_family){0}, &l);
    assert_true(l.v4.is_old_news);
    assert_false(l.v6.is_old_news);
    a.is_nobody_there = true;
    assert_true(query_family_is_settled(&f));
    a.is_nobody_there = false;
    f.is_judged = true;
    assert_true(query_family_is_settled(&f));
    f.is_judged = false;
    a.is_confirmed = true;
    assert_true(query_family_is_settled(&f));
}

static void nobody_is_there_but_for_the_other_family(void **state)
{
    (void)state;
    const int64_t now_ms = 1000;
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    const struct addr upstream = nobody();
    struct resolver_config cfg;
    struct resolver *resolver = NULL;
    struct bad_family *bad = NULL;
    struct err err = {0};
    struct host_name name;
    bool has_failed = false;
    assert_non_null(loop);
    resolver_config_defaults(&cfg);
    cfg.upstreams = &upstream;
    cfg.upstream_count = 1;
    assert_int_equal(resolver_new(loop, &cfg, &resolver, &err), 0);
    assert_int_equal(bad_family_new(&bad), 0);
    assert_int_equal(host_name_parse(SPAN_LIT("www.example"), &name), HOST_FAULT_NONE);
    const struct resolver_ask ask = {.name = &name, .qtype = DNS_A, .fn = on_failure, .ctx = &has_failed};
    assert_int_not_equal(resolver_ask_at(resolver, &ask, now_ms), 0);
    while (!has_failed) {
        ev_run(loop, EVRUN_ONCE);
    }

    const struct answer_question q = {.name = &name, .qtype = DNS_A};
    struct query_known known;
    struct answer_lookup l;
    query_known_init(&known, resolver, bad, now_ms);
    assert_true(query_known_peek(&known, &q, IP_V4));
    assert_false(query_known_peek(&known, &q, IP_V6));
    query_family_lookup(DNS_A, &known.v4, &known.v6, &l);
    assert_int_equal(l.v4.state, ANSWER_FAILED);
    assert_true(l.v4.is_nobody_there);
    assert_int_equal(l.v6.state, ANSWER_UNKNOWN);

    bad_family_put(bad, &name, IP_V6, BAD_BESIDE_ADDRESSES, now_ms);
    assert_true(query_known_peek(&known, &q, IP_V4));
    query_family_lookup(DNS_A, &known.v4, &known.v6, &l);
    assert_true(l.v4.is_nobody_there);
    bad_family_put(bad, &name, IP_V4, BAD_BESIDE_ADDRESSES, now_ms);
    assert_true(query_known_peek(&known, &q, IP_V4));
    query_family_lookup(DNS_A, &known.v4, &known.v6, &l);
    assert_int_equal(l.v4.state, ANSWER_FAILED);
    assert_false(l.v4.is_nobody_there);

    bad_family_free(bad);
    resolver_free(resolver);
    ev_loop_destroy(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(type_of_each_family),     cmocka_unit_test(kept_answer_has_its_records),
        cmocka_unit_test(families_are_told_apart), cmocka_unit_test(what_is_remembered_ends_with_its_reason),
        cmocka_unit_test(old_news_is_asked_again), cmocka_unit_test(nobody_is_there_but_for_the_other_family),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

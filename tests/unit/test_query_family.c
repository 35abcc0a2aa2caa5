/* SPDX-License-Identifier: Apache-2.0 */
/* query_family: what is asked for, and what outlives the step it was told in. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "dnsd/query_family.h"

#include <stdlib.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(type_of_each_family),
        cmocka_unit_test(kept_answer_has_its_records),
        cmocka_unit_test(families_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

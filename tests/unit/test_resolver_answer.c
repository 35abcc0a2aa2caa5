/* SPDX-License-Identifier: Apache-2.0 */
/* From an exchange, into the cache and out of it again. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/dns/resolver_answer.h"

static const struct resolver_ttls ttls = {.min_s = 5, .max_s = 3600, .neg_max_s = 60};

static struct resolver_answer from_exchange(enum dns_exchange_status status, uint32_t ttl_s, size_t addrs)
{
    struct dns_exchange_result r = {.status = status, .ttl_s = ttl_s, .addr_count = addrs};
    for (size_t i = 0; i < addrs; i++) {
        r.addrs[i] = ip_v4(192, 0, 2, (uint8_t)i);
    }
    struct resolver_answer a;
    memset(&a, 0xAA, sizeof a);
    resolver_answer_from_exchange(&r, &ttls, &a);
    assert_false(a.from_cache || a.is_stale);
    assert_int_equal(a.expires_ms, 0);
    return a;
}

static void ttls_are_clamped(void **state)
{
    (void)state;
    static const struct {
        enum dns_exchange_status status;
        uint32_t ttl_s, want_s;
    } rows[] = {{DNS_EXCHANGE_ADDRS, 0, 5},        {DNS_EXCHANGE_ADDRS, 5, 5},
                {DNS_EXCHANGE_ADDRS, 3600, 3600},  {DNS_EXCHANGE_ADDRS, UINT32_MAX, 3600},
                {DNS_EXCHANGE_NODATA, 0, 0},       {DNS_EXCHANGE_NODATA, 61, 60},
                {DNS_EXCHANGE_NXDOMAIN, 3000, 60}, {DNS_EXCHANGE_NXDOMAIN, 7, 7}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct resolver_answer a = from_exchange(rows[i].status, rows[i].ttl_s, 1);
        assert_int_equal(a.ttl_s, rows[i].want_s);
        assert_int_equal(a.addr_count, rows[i].status == DNS_EXCHANGE_ADDRS ? 1 : 0);
    }
}

static void every_failure_has_a_reason(void **state)
{
    (void)state;
    for (int why = DNS_EXCHANGE_FAIL_NONE; why <= DNS_EXCHANGE_FAIL_MEMORY; why++) {
        const struct dns_exchange_result r = {.why = (enum dns_exchange_fail)why};
        struct resolver_answer a;
        resolver_answer_from_exchange(&r, &ttls, &a);
        assert_int_equal(a.status, RESOLVER_FAILED);
        assert_int_not_equal(a.why, RESOLVER_FAIL_NONE); /* the cache needs one */
    }
}

static void through_the_cache_and_back(void **state)
{
    (void)state;
    static const enum dns_exchange_status statuses[] = {DNS_EXCHANGE_ADDRS, DNS_EXCHANGE_NODATA,
                                                        DNS_EXCHANGE_NXDOMAIN};
    static const size_t counts[] = {DNS_ADDRS_MAX, 0, 0};
    for (size_t i = 0; i < 3; i++) {
        const struct resolver_answer a = from_exchange(statuses[i], 30, counts[i]);
        struct cache_answer kept;
        struct resolver_answer b;
        resolver_answer_to_cache(&a, &kept);
        kept.expires_ms = 7000;
        kept.renew_ms = 6000;
        resolver_answer_from_cache(&kept, &b);
        assert_true(b.from_cache);
        assert_int_equal(b.status, a.status);
        assert_int_equal(b.ttl_s, 30);
        assert_int_equal(b.expires_ms, 7000);
        assert_int_equal(b.renew_ms, 6000);
        assert_int_equal(b.addr_count, counts[i]);
        assert_memory_equal(b.addrs, a.addrs, counts[i] * sizeof(struct ip));
    }
}

static void a_copy_is_all_that_is_set(void **state)
{
    (void)state;
    const struct resolver_answer a = from_exchange(DNS_EXCHANGE_ADDRS, 30, 3);
    struct resolver_answer b;
    memset(&b, 0xAA, sizeof b);
    resolver_answer_copy(&b, &a);
    assert_int_equal(b.addr_count, 3);
    assert_memory_equal(&b, &a, offsetof(struct resolver_answer, addrs) + 3 * sizeof(struct ip));
    assert_int_equal(b.addrs[3].family, 0xAA); /* the rest is not touched */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ttls_are_clamped),
        cmocka_unit_test(every_failure_has_a_reason),
        cmocka_unit_test(through_the_cache_and_back),
        cmocka_unit_test(a_copy_is_all_that_is_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* cache: what is kept, for how long, and what goes first. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/dns/cache.h"

#include <stdio.h>

#define NOW 1000000

static struct host_name name_of(const char *text)
{
    struct host_name n;
    assert_int_equal(host_name_parse(span_str(text), &n), HOST_FAULT_NONE);
    return n;
}

static struct cache_answer addrs_of(size_t count, uint32_t ttl_s)
{
    struct cache_answer a = {.kind = CACHE_ADDRS, .ttl_s = ttl_s, .addr_count = count};
    for (size_t i = 0; i < count; i++) {
        a.addrs[i] = ip_v4(192, 0, 2, (uint8_t)i);
    }
    return a;
}

static struct cache *cache_make(size_t max_bytes)
{
    struct cache *c = NULL;
    assert_int_equal(cache_new(max_bytes, &c), 0);
    assert_non_null(c);
    return c;
}

static void put_name(struct cache *c, const char *text, const struct cache_answer *a)
{
    struct host_name n = name_of(text);
    cache_put(c, &n, IP_V4, NOW, a);
}

static enum cache_kind get_name(struct cache *c, const char *text)
{
    struct host_name n = name_of(text);
    struct cache_answer out;
    return cache_get(c, &n, IP_V4, NOW, &out);
}

static void test_addresses_come_back(void **state)
{
    (void)state;
    struct cache *c = cache_make(1 << 20);
    struct host_name n = name_of("gateway.discord.gg");
    static const size_t counts[] = {1, 2, DNS_ADDRS_MAX - 1, DNS_ADDRS_MAX};
    for (size_t row = 0; row < sizeof counts / sizeof counts[0]; row++) {
        struct cache_answer a = addrs_of(counts[row], 30);
        cache_put(c, &n, IP_V4, NOW, &a);
        struct cache_answer out;
        memset(&out, 0xAA, sizeof out);
        assert_int_equal(cache_get(c, &n, IP_V4, NOW, &out), CACHE_ADDRS);
        assert_int_equal(out.kind, CACHE_ADDRS);
        assert_int_equal(out.ttl_s, 30);
        assert_int_equal(out.addr_count, counts[row]);
        for (size_t i = 0; i < counts[row]; i++) {
            assert_true(ip_is_equal(&out.addrs[i], &a.addrs[i]));
        }
        assert_int_equal(cache_count(c), 1); /* replaced, not added */
    }
    cache_free(c);
}

static void test_family_and_name_are_the_key(void **state)
{
    (void)state;
    struct cache *c = cache_make(1 << 20);
    struct host_name n = name_of("a.example");
    struct host_name longer = name_of("a.example2");
    struct cache_answer v4 = addrs_of(1, 30);
    struct cache_answer nodata = {.kind = CACHE_NODATA, .ttl_s = 30};
    struct cache_answer out;
    cache_put(c, &n, IP_V4, NOW, &v4);
    assert_int_equal(cache_get(c, &n, IP_V6, NOW, &out), CACHE_MISS);
    assert_int_equal(out.kind, CACHE_MISS);
    assert_int_equal(out.addr_count, 0);
    assert_int_equal(cache_get(c, &longer, IP_V4, NOW, &out), CACHE_MISS);
    cache_put(c, &n, IP_V6, NOW, &nodata);
    assert_int_equal(cache_get(c, &n, IP_V6, NOW, &out), CACHE_NODATA);
    assert_int_equal(cache_get(c, &n, IP_V4, NOW, &out), CACHE_ADDRS);
    assert_int_equal(cache_count(c), 2);
    cache_free(c);
}

static void test_every_kind(void **state)
{
    (void)state;
    static const enum cache_kind kinds[] = {CACHE_NODATA, CACHE_NXDOMAIN, CACHE_FAILURE};
    struct cache *c = cache_make(1 << 20);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct cache_answer a = {.kind = kinds[i], .ttl_s = 5};
        put_name(c, "a.example", &a);
        assert_int_equal(get_name(c, "a.example"), kinds[i]);
    }
    cache_free(c);
}

static void test_ttl_counts_down(void **state)
{
    (void)state;
    static const struct {
        int64_t after_ms;
        uint32_t left_s; /* 0: gone */
    } rows[] = {{0, 3},    {1, 3},    {999, 3},  {1000, 2},   {1001, 2},
                {2000, 1}, {2999, 1}, {3000, 0}, {1000000, 0}};
    struct host_name n = name_of("a.example");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cache *c = cache_make(1 << 20);
        struct cache_answer a = addrs_of(1, 3);
        struct cache_answer out;
        cache_put(c, &n, IP_V4, NOW, &a);
        enum cache_kind kind = cache_get(c, &n, IP_V4, NOW + rows[i].after_ms, &out);
        assert_int_equal(kind, rows[i].left_s > 0 ? CACHE_ADDRS : CACHE_MISS);
        assert_int_equal(out.ttl_s, rows[i].left_s);
        assert_int_equal(cache_count(c), rows[i].left_s > 0 ? 1 : 0);
        assert_int_equal(cache_bytes(c) > 0, rows[i].left_s > 0);
        cache_free(c);
    }
}

static void test_longest_ttl(void **state)
{
    (void)state;
    struct cache *c = cache_make(1 << 20);
    struct host_name n = name_of("a.example");
    struct cache_answer a = addrs_of(1, UINT32_MAX);
    struct cache_answer out;
    cache_put(c, &n, IP_V4, NOW, &a);
    assert_int_equal(cache_get(c, &n, IP_V4, NOW, &out), CACHE_ADDRS);
    assert_int_equal(out.ttl_s, UINT32_MAX);
    cache_free(c);
}

static void test_ttl_zero_is_not_kept_and_removes(void **state)
{
    (void)state;
    struct cache *c = cache_make(1 << 20);
    struct cache_answer a = addrs_of(1, 3);
    put_name(c, "a.example", &a);
    a.ttl_s = 0;
    put_name(c, "b.example", &a);
    assert_int_equal(get_name(c, "b.example"), CACHE_MISS);
    put_name(c, "a.example", &a); /* newer knowledge, even if it is not to be kept */
    assert_int_equal(get_name(c, "a.example"), CACHE_MISS);
    assert_int_equal(cache_count(c), 0);
    assert_int_equal(cache_bytes(c), 0);
    cache_free(c);
}

static void test_least_recently_used_goes_first(void **state)
{
    (void)state;
    struct cache_answer a = addrs_of(1, 30);
    struct cache *c = cache_make(1 << 20);
    put_name(c, "a.example", &a);
    size_t one = cache_bytes(c);
    cache_free(c);
    c = cache_make(3 * one);
    put_name(c, "a.example", &a);
    put_name(c, "b.example", &a);
    put_name(c, "c.example", &a);
    assert_int_equal(cache_count(c), 3);
    assert_int_equal(get_name(c, "a.example"), CACHE_ADDRS); /* used: b is the oldest now */
    put_name(c, "d.example", &a);
    assert_int_equal(get_name(c, "b.example"), CACHE_MISS);
    assert_int_equal(get_name(c, "a.example"), CACHE_ADDRS);
    assert_int_equal(get_name(c, "c.example"), CACHE_ADDRS);
    assert_int_equal(get_name(c, "d.example"), CACHE_ADDRS);
    struct cache_answer big = addrs_of(8, 30); /* pushes out more than one */
    put_name(c, "e.example", &big);
    assert_int_equal(get_name(c, "e.example"), CACHE_ADDRS);
    assert_true(cache_count(c) < 3);
    assert_true(cache_bytes(c) <= 3 * one);
    cache_free(c);
}

static void test_too_small_for_anything(void **state)
{
    (void)state;
    struct cache_answer a = addrs_of(DNS_ADDRS_MAX, 30);
    static const size_t sizes[] = {0, 1, 500};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct cache *c = cache_make(sizes[i]);
        put_name(c, "a.example", &a);
        assert_int_equal(get_name(c, "a.example"), CACHE_MISS);
        assert_int_equal(cache_bytes(c), 0);
        cache_free(c);
    }
    cache_free(NULL);
}

/* Bytes and entries stay in step through many names, and the bound holds after every single step. */
static void test_bound_holds_under_churn(void **state)
{
    (void)state;
    const size_t max = 20000;
    struct cache *c = cache_make(max);
    size_t kept = 0;
    for (unsigned i = 0; i < 5000; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "n%u.example", i % 700);
        struct cache_answer a = addrs_of(1 + i % DNS_ADDRS_MAX, i % 13);
        put_name(c, text, &a);
        assert_true(cache_bytes(c) <= max);
        enum cache_kind want = i % 13 == 0 ? CACHE_MISS : CACHE_ADDRS;
        assert_int_equal(get_name(c, text), want);
        kept = cache_count(c);
    }
    assert_true(kept > 5);
    for (unsigned i = 0; i < 700; i++) { /* all expire */
        char text[32];
        (void)snprintf(text, sizeof text, "n%u.example", i);
        struct host_name n = name_of(text);
        struct cache_answer out;
        assert_int_equal(cache_get(c, &n, IP_V4, NOW + 13000, &out), CACHE_MISS);
    }
    assert_int_equal(cache_count(c), 0);
    assert_int_equal(cache_bytes(c), 0);
    cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_come_back),
        cmocka_unit_test(test_family_and_name_are_the_key),
        cmocka_unit_test(test_every_kind),
        cmocka_unit_test(test_ttl_counts_down),
        cmocka_unit_test(test_longest_ttl),
        cmocka_unit_test(test_ttl_zero_is_not_kept_and_removes),
        cmocka_unit_test(test_least_recently_used_goes_first),
        cmocka_unit_test(test_too_small_for_anything),
        cmocka_unit_test(test_bound_holds_under_churn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

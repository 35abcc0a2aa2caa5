/* SPDX-License-Identifier: Apache-2.0 */
/* cache: what is kept, for how long, and what goes first. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/cache_by_name.h"

#include <stdio.h>

#define NOW 1000000
#define STALE_S 3600
#define STALE_MS 3600000
#define WHY 3

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
    assert_int_equal(cache_new(max_bytes, STALE_S, &c), 0);
    assert_non_null(c);
    return c;
}

static void put_name(struct cache *c, const char *text, const struct cache_answer *a)
{
    struct host_name n = name_of(text);
    put_by_name(c, &n, DNS_A, NOW, a);
}

/* The fresh answer, if there is one. */
static enum cache_kind get_fresh(struct cache *c, const struct host_name *n, uint16_t qtype, int64_t now_ms,
                                 struct cache_answer *out)
{
    struct cache_found found;
    memset(&found, 0xAA, sizeof found);
    if (get_by_name(c, n, qtype, now_ms, &found) != CACHE_FRESH) {
        *out = (struct cache_answer){0};
        return CACHE_MISS;
    }
    *out = found.answer;
    return found.answer.kind;
}

static enum cache_kind get_name(struct cache *c, const char *text)
{
    struct host_name n = name_of(text);
    struct cache_answer out;
    return get_fresh(c, &n, DNS_A, NOW, &out);
}

static void test_addresses_come_back(void **state)
{
    (void)state;
    struct cache *c = cache_make(1 << 20);
    struct host_name n = name_of("gateway.discord.gg");
    static const size_t counts[] = {1, 2, DNS_ADDRS_MAX - 1, DNS_ADDRS_MAX};
    for (size_t row = 0; row < sizeof counts / sizeof counts[0]; row++) {
        struct cache_answer a = addrs_of(counts[row], 30);
        put_by_name(c, &n, DNS_A, NOW, &a);
        struct cache_answer out;
        memset(&out, 0xAA, sizeof out);
        assert_int_equal(get_fresh(c, &n, DNS_A, NOW, &out), CACHE_ADDRS);
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

static void test_type_and_name_are_the_key(void **state)
{
    (void)state;
    struct cache *c = cache_make(1 << 20);
    struct host_name n = name_of("a.example");
    struct host_name longer = name_of("a.example2");
    struct cache_answer v4 = addrs_of(1, 30);
    struct cache_answer nodata = {.kind = CACHE_NODATA, .ttl_s = 30};
    struct cache_answer out;
    put_by_name(c, &n, DNS_A, NOW, &v4);
    assert_int_equal(get_fresh(c, &n, DNS_AAAA, NOW, &out), CACHE_MISS);
    assert_int_equal(out.kind, CACHE_MISS);
    assert_int_equal(out.addr_count, 0);
    assert_int_equal(get_fresh(c, &longer, DNS_A, NOW, &out), CACHE_MISS);
    put_by_name(c, &n, DNS_AAAA, NOW, &nodata);
    assert_int_equal(get_fresh(c, &n, DNS_AAAA, NOW, &out), CACHE_NODATA);
    assert_int_equal(get_fresh(c, &n, DNS_A, NOW, &out), CACHE_ADDRS);
    assert_int_equal(cache_count(c), 2);
    cache_free(c);
}

static void test_every_kind(void **state)
{
    (void)state;
    static const enum cache_kind kinds[] = {CACHE_NODATA, CACHE_NXDOMAIN};
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
        put_by_name(c, &n, DNS_A, NOW, &a);
        enum cache_kind kind = get_fresh(c, &n, DNS_A, NOW + rows[i].after_ms, &out);
        assert_int_equal(kind, rows[i].left_s > 0 ? CACHE_ADDRS : CACHE_MISS);
        assert_int_equal(out.ttl_s, rows[i].left_s);
        assert_int_equal(cache_count(c), 1); /* a stale one stays */
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
    put_by_name(c, &n, DNS_A, NOW, &a);
    assert_int_equal(get_fresh(c, &n, DNS_A, NOW, &out), CACHE_ADDRS);
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

static void test_turns_when_a_quarter_is_new(void **state)
{
    (void)state;
    const struct cache_answer a = addrs_of(1, 30);
    char name[32];
    struct cache *c = cache_make(1 << 20);
    put_name(c, "x00.example", &a);
    const size_t one = cache_bytes(c);
    cache_free(c);
    c = cache_make(40 * one);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(name, sizeof(name), "x%02d.example", i);
        put_name(c, name, &a);
        if (i < 20) {
            assert_int_equal(cache_turn(c), 0);
        }
        if (i == 39) { /* full: nothing has had to go so far */
            assert_in_range(cache_turn(c), 2, 4);
        }
    }
    assert_in_range(cache_turn(c), 8, 10);
    cache_free(c);
}

static void test_too_small_for_anything(void **state)
{
    (void)state;
    struct cache_answer a = addrs_of(DNS_ADDRS_MAX, 30);
    static const size_t sizes[] = {0, 1, 300};
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
        assert_int_equal(get_fresh(c, &n, DNS_A, NOW + 13000 + STALE_MS, &out), CACHE_MISS);
    }
    assert_int_equal(cache_count(c), 0);
    assert_int_equal(cache_bytes(c), 0);
    cache_free(c);
}

static enum cache_age look(struct cache *c, const char *text, int64_t after_ms, struct cache_found *out)
{
    struct host_name n = name_of(text);
    return get_by_name(c, &n, DNS_A, NOW + after_ms, out);
}

static void fail_name(struct cache *c, const char *text, int64_t after_ms)
{
    struct host_name n = name_of(text);
    fail_by_name(c, &n, DNS_A, NOW + after_ms, WHY);
}

static void test_expired_answer_is_kept_stale(void **state)
{
    (void)state;
    static const struct {
        int64_t after_ms;
        enum cache_age want;
    } rows[] = {{2999, CACHE_FRESH},
                {3000, CACHE_STALE},
                {3000 + STALE_MS - 1, CACHE_STALE},
                {3000 + STALE_MS, CACHE_NOTHING}};
    static const enum cache_kind kinds[] = {CACHE_ADDRS, CACHE_NODATA, CACHE_NXDOMAIN};
    struct cache *c = cache_make(1 << 20);
    struct cache_found f;
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            struct cache_answer a = addrs_of(2, 3);
            a.kind = kinds[k];
            put_name(c, "a.example", &a);
            assert_int_equal(look(c, "a.example", rows[i].after_ms, &f), rows[i].want);
            assert_int_equal(f.answer.kind, rows[i].want == CACHE_NOTHING ? CACHE_MISS : kinds[k]);
            if (rows[i].want == CACHE_STALE) {
                assert_int_equal(f.answer.ttl_s, 0);
                assert_int_equal(f.answer.addr_count, kinds[k] == CACHE_ADDRS ? 2 : 0);
            }
        }
    }
    assert_int_equal(cache_count(c), 0); /* the last look found it over and dropped it */
    cache_free(c);
    assert_int_equal(cache_new(1 << 20, 0, &c), 0); /* not at all */
    struct cache_answer a = addrs_of(1, 3);
    put_name(c, "a.example", &a);
    assert_int_equal(look(c, "a.example", 3000, &f), CACHE_NOTHING);
    assert_int_equal(cache_count(c), 0);
    cache_free(c);
}

static void test_failures_double(void **state)
{
    (void)state;
    static const int64_t kept_s[] = {1, 2, 4, 8, 16, 30, 30, 30};
    struct cache *c = cache_make(1 << 20);
    struct cache_found f;
    int64_t at_ms = 0;
    for (size_t i = 0; i < sizeof kept_s / sizeof kept_s[0]; i++) {
        fail_name(c, "a.example", at_ms);
        at_ms += kept_s[i] * 1000;
        assert_int_equal(look(c, "a.example", at_ms - 1, &f), CACHE_NOTHING);
        assert_true(f.has_failed);
        assert_int_equal(f.why, WHY);
        assert_int_equal(look(c, "a.example", at_ms, &f), CACHE_NOTHING);
        assert_false(f.has_failed);
    }
    assert_int_equal(cache_count(c), 1);
    struct cache_answer a = addrs_of(1, 3);
    put_name(c, "a.example", &a); /* a success begins anew */
    assert_int_equal(look(c, "a.example", 0, &f), CACHE_FRESH);
    assert_int_equal(f.why, 0);
    fail_name(c, "a.example", 0);
    (void)look(c, "a.example", 999, &f);
    assert_true(f.has_failed);
    (void)look(c, "a.example", 1000, &f);
    assert_false(f.has_failed);
    cache_free(c);
}

static void test_failures_wear_off(void **state)
{
    (void)state;
    struct cache *c = cache_make(1 << 20);
    struct cache_found f;
    fail_name(c, "a.example", 0);
    fail_name(c, "a.example", 1000 + CACHE_FAILURE_FORGET_MS); /* a first one again */
    (void)look(c, "a.example", 2000 + CACHE_FAILURE_FORGET_MS, &f);
    assert_false(f.has_failed);
    assert_int_equal(cache_count(c), 1);
    (void)look(c, "a.example", 2000 + 2 * CACHE_FAILURE_FORGET_MS, &f);
    assert_int_equal(cache_count(c), 0);
    cache_free(c);
}

/* RFC 9520 and CoreDNS' TestServfailDoesNotShadowPositiveCache: what is known stays known. */
static void test_failure_hides_no_answer(void **state)
{
    (void)state;
    struct cache *c = cache_make(1 << 20);
    struct cache_answer a = addrs_of(2, 3);
    struct cache_found f;
    put_name(c, "a.example", &a);
    fail_name(c, "a.example", 1000);
    assert_int_equal(look(c, "a.example", 1001, &f), CACHE_FRESH);
    assert_true(f.has_failed);
    for (int i = 0; i < 10; i++) {
        fail_name(c, "a.example", 5000 + i * 30000);
        assert_int_equal(look(c, "a.example", 5001 + i * 30000, &f), CACHE_STALE);
        assert_true(f.has_failed);
        assert_int_equal(f.answer.addr_count, 2);
    }
    assert_int_equal(cache_count(c), 1);
    cache_free(c);
}

static void test_expired_go_first(void **state)
{
    (void)state;
    struct cache_answer a = addrs_of(1, 30);
    struct cache *c = cache_make(1 << 20);
    put_name(c, "a.example", &a);
    const size_t one = cache_bytes(c);
    cache_free(c);
    c = cache_make(3 * one);
    put_name(c, "a.example", &a);
    put_name(c, "b.example",
             &(struct cache_answer){
                 .kind = CACHE_ADDRS, .ttl_s = 3, .addr_count = 1, .addrs = {ip_v4(192, 0, 2, 1)}});
    put_name(c, "c.example", &a);
    struct cache_found f;
    assert_int_equal(look(c, "b.example", 5000, &f), CACHE_STALE); /* used last, and yet */
    struct host_name n = name_of("d.example");
    put_by_name(c, &n, DNS_A, NOW + 5000, &a);
    assert_int_equal(look(c, "b.example", 5000, &f), CACHE_NOTHING);
    assert_int_equal(look(c, "a.example", 5000, &f), CACHE_FRESH);
    assert_int_equal(look(c, "c.example", 5000, &f), CACHE_FRESH);
    assert_int_equal(look(c, "d.example", 5000, &f), CACHE_FRESH);
    cache_free(c);
}

static void test_worth_renewing(void **state)
{
    (void)state;
    static const struct {
        uint32_t ttl_s;
        enum cache_kind kind;
        unsigned hits_before;
        int64_t after_ms;
        bool want;
    } rows[] = {{10, CACHE_ADDRS, 1, 9000, true},      {10, CACHE_ADDRS, 1, 8999, false},
                {10, CACHE_ADDRS, 0, 9000, false},     {9, CACHE_ADDRS, 5, 8999, false},
                {3600, CACHE_ADDRS, 1, 3240000, true}, {3600, CACHE_ADDRS, 1, 3239999, false},
                {60, CACHE_NODATA, 1, 59000, true},    {60, CACHE_NXDOMAIN, 9, 59000, false},
                {10, CACHE_ADDRS, 300, 9999, true},    {10, CACHE_ADDRS, 1, 10000, false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cache *c = cache_make(1 << 20);
        struct cache_answer a = addrs_of(1, rows[i].ttl_s);
        struct cache_found f;
        a.kind = rows[i].kind;
        put_name(c, "a.example", &a);
        for (unsigned k = 0; k < rows[i].hits_before; k++) {
            (void)look(c, "a.example", 0, &f);
        }
        (void)look(c, "a.example", rows[i].after_ms, &f);
        assert_int_equal(f.is_worth_renew, rows[i].want);
        fail_name(c, "a.example", rows[i].after_ms);
        (void)look(c, "a.example", rows[i].after_ms, &f);
        assert_false(f.is_worth_renew); /* not while it fails */
        cache_free(c);
    }
}

/* Failures, both families and all ages at once: the order of expiry holds through every change. */
static void test_order_holds_under_churn(void **state)
{
    (void)state;
    const size_t max = 30000;
    struct cache *c = cache_make(max);
    uint32_t seed = 1;
    for (unsigned i = 0; i < 20000; i++) {
        seed = seed * 1664525U + 1013904223U;
        char text[32];
        (void)snprintf(text, sizeof text, "n%u.example", (seed >> 8) % 500);
        struct host_name n = name_of(text);
        const uint16_t qtype = (seed >> 7 & 1U) != 0 ? DNS_A : DNS_AAAA;
        const int64_t now_ms = NOW + (int64_t)i * 37;
        if (seed >> 30 == 0) {
            fail_by_name(c, &n, qtype, now_ms, WHY);
        } else {
            struct cache_answer a = addrs_of(1 + (seed >> 20) % 5, (seed >> 16) % 40);
            for (size_t k = 0; k < a.addr_count && qtype == DNS_AAAA; k++) {
                a.addrs[k].family = IP_V6;
            }
            put_by_name(c, &n, qtype, now_ms, &a);
            struct cache_found f;
            (void)get_by_name(c, &n, qtype, now_ms, &f);
            assert_int_equal(f.age, a.ttl_s == 0 ? CACHE_NOTHING : CACHE_FRESH);
            assert_memory_equal(f.answer.addrs, a.addrs, f.answer.addr_count * sizeof(struct ip));
        }
        assert_true(cache_bytes(c) <= max);
    }
    assert_true(cache_count(c) > 50);
    cache_free(c);
}

/* What 10,000 names of both families take, two addresses each: the budget that the bench measures whole. */
static void test_ten_thousand_names(void **state)
{
    (void)state;
    struct cache *c = cache_make((size_t)8 << 20);
    for (unsigned i = 0; i < 10000; i++) {
        char text[40];
        (void)snprintf(text, sizeof text, "host%04u.region.example.com", i);
        struct host_name n = name_of(text);
        struct cache_answer a = addrs_of(2, 300);
        put_by_name(c, &n, DNS_A, NOW, &a);
        a.addrs[0].family = IP_V6;
        a.addrs[1].family = IP_V6;
        put_by_name(c, &n, DNS_AAAA, NOW, &a);
    }
    assert_int_equal(cache_count(c), 20000);
    assert_true(cache_bytes(c) < (size_t)4 << 20);
    cache_free(c);
}

static void test_forgiven(void **state)
{
    (void)state;
    struct cache *c = cache_make(1 << 16);
    struct host_name known = name_of("known.example");
    struct host_name bad = name_of("bad.example");
    struct cache_answer a = addrs_of(1, 60);
    struct cache_found found;
    cache_forgive(c); /* empty */
    put_by_name(c, &known, DNS_A, NOW, &a);
    fail_by_name(c, &known, DNS_A, NOW, WHY);
    for (int i = 0; i < 5; i++) {
        fail_by_name(c, &bad, DNS_A, NOW, WHY);
    }
    assert_int_equal(cache_count(c), 2);
    cache_forgive(c);
    assert_int_equal(cache_count(c), 1);
    assert_int_equal(get_by_name(c, &known, DNS_A, NOW + 1, &found), CACHE_FRESH);
    assert_false(found.has_failed);
    assert_int_equal(found.why, 0);
    assert_int_equal(get_by_name(c, &bad, DNS_A, NOW + 1, &found), CACHE_NOTHING);
    assert_false(found.has_failed);
    fail_by_name(c, &bad, DNS_A, NOW, WHY); /* a first one again */
    (void)get_by_name(c, &bad, DNS_A, NOW + CACHE_FAILURE_FIRST_S * 1000 - 1, &found);
    assert_true(found.has_failed);
    (void)get_by_name(c, &bad, DNS_A, NOW + CACHE_FAILURE_FIRST_S * 1000, &found);
    assert_false(found.has_failed);
    cache_free(c);
}

/* The hash depends on name, type and the cache's secret alone, not on what was hashed before. */
static void test_keys(void **state)
{
    (void)state;
    struct cache *c = cache_make(1 << 16), *other = cache_make(1 << 16);
    const struct host_name a = name_of("a.example"), b = name_of("b.example"), none = {0};
    const uint64_t first = cache_key_make(c, &a, DNS_A).hash;
    const uint64_t empty = cache_key_make(c, &none, DNS_A).hash;
    assert_true(cache_key_make(c, &a, DNS_A).hash == first);
    assert_true(cache_key_make(c, &a, DNS_AAAA).hash != first);
    assert_true(cache_key_make(c, &b, DNS_A).hash != first);
    assert_true(cache_key_make(c, &a, DNS_A).hash == first);
    assert_true(cache_key_make(c, &none, DNS_A).hash == empty);
    assert_true(cache_key_make(other, &a, DNS_A).hash != first);
    cache_free(c);
    cache_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_come_back),
        cmocka_unit_test(test_type_and_name_are_the_key),
        cmocka_unit_test(test_every_kind),
        cmocka_unit_test(test_ttl_counts_down),
        cmocka_unit_test(test_longest_ttl),
        cmocka_unit_test(test_ttl_zero_is_not_kept_and_removes),
        cmocka_unit_test(test_least_recently_used_goes_first),
        cmocka_unit_test(test_turns_when_a_quarter_is_new),
        cmocka_unit_test(test_too_small_for_anything),
        cmocka_unit_test(test_bound_holds_under_churn),
        cmocka_unit_test(test_expired_answer_is_kept_stale),
        cmocka_unit_test(test_failures_double),
        cmocka_unit_test(test_failures_wear_off),
        cmocka_unit_test(test_failure_hides_no_answer),
        cmocka_unit_test(test_forgiven),
        cmocka_unit_test(test_expired_go_first),
        cmocka_unit_test(test_worth_renewing),
        cmocka_unit_test(test_order_holds_under_churn),
        cmocka_unit_test(test_ten_thousand_names),
        cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

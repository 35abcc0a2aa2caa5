/* SPDX-License-Identifier: Apache-2.0 */
/* cache: sets of SRV and TXT records beside addresses. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/buf.h"
#include "tests/support/cache_by_name.h"

#define NOW 1000000

static struct host_name name_of(const char *text)
{
    struct host_name n;
    assert_int_equal(host_name_parse(span_str(text), &n), HOST_FAULT_NONE);
    return n;
}

static struct cache *cache_make(size_t max_bytes)
{
    struct cache *c = NULL;
    assert_int_equal(cache_new(max_bytes, 3600, &c), 0);
    return c;
}

/* TXT records of len bytes each, all different. */
static void fill(struct dns_rrset *s, size_t count, size_t len, uint8_t first)
{
    uint8_t rdata[256];
    dns_rrset_start(s, DNS_TXT);
    for (size_t i = 0; i < count; i++) {
        memset(rdata, (int)(first + i), sizeof rdata);
        rdata[0] = (uint8_t)(len - 1);
        dns_rrset_add(s, span_make(rdata, len));
    }
    assert_int_equal(s->count, count);
}

static struct cache_answer answer_of(const struct dns_rrset *s)
{
    return (struct cache_answer){.kind = CACHE_RECORDS, .ttl_s = 60, .records = s};
}

static void assert_same(const struct dns_rrset *have, const struct dns_rrset *want)
{
    assert_non_null(have);
    assert_int_equal(have->qtype, want->qtype);
    assert_int_equal(have->count, want->count);
    assert_int_equal(have->left_out, want->left_out);
    assert_int_equal(have->len, want->len);
    assert_memory_equal(have->bytes, want->bytes, want->len);
}

static void records_come_back(void **state)
{
    static const struct {
        size_t count, len;
    } rows[] = {{1, 1}, {1, 256}, {DNS_TXT_MAX, 2}, {DNS_TXT_MAX, DNS_TXT_BYTES_MAX / DNS_TXT_MAX}};
    (void)state;
    const struct host_name n = name_of("db.example.net");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct cache *c = cache_make(1 << 20);
        struct dns_rrset s;
        fill(&s, rows[i].count, rows[i].len, 1);
        s.left_out = 7;
        const struct cache_answer a = answer_of(&s);
        struct cache_found found;
        put_by_name(c, &n, DNS_TXT, NOW, &a);
        assert_int_equal(get_by_name(c, &n, DNS_TXT, NOW + 59000, &found), CACHE_FRESH);
        assert_int_equal(found.answer.kind, CACHE_RECORDS);
        assert_int_equal(found.answer.ttl_s, 1);
        assert_int_equal(found.answer.addr_count, 0);
        assert_same(found.answer.records, &s);
        assert_int_equal(get_by_name(c, &n, DNS_TXT, NOW + 60000, &found), CACHE_STALE);
        assert_same(found.answer.records, &s);
        cache_free(c);
    }
}

static void types_are_apart(void **state)
{
    static const uint16_t types[] = {DNS_A, DNS_AAAA, DNS_SRV, DNS_TXT};
    (void)state;
    const struct host_name n = name_of("db.example.net");
    struct cache *c = cache_make(1 << 20);
    struct dns_rrset s;
    struct cache_found found;
    fill(&s, 2, 10, 1);
    const struct cache_answer a = answer_of(&s);
    put_by_name(c, &n, DNS_TXT, NOW, &a);
    fail_by_name(c, &n, DNS_SRV, NOW, 3);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const enum cache_age age = get_by_name(c, &n, types[i], NOW, &found);
        assert_int_equal(age, types[i] == DNS_TXT ? CACHE_FRESH : CACHE_NOTHING);
        assert_int_equal(found.has_failed, types[i] == DNS_SRV);
        assert_true((found.answer.records != NULL) == (types[i] == DNS_TXT));
    }
    assert_int_equal(cache_count(c), 2);
    cache_free(c);
}

static void what_they_take_counts(void **state)
{
    (void)state;
    const struct host_name n = name_of("db.example.net");
    struct cache *c = cache_make(1 << 20);
    struct dns_rrset small;
    struct dns_rrset large;
    fill(&small, 1, 10, 1);
    fill(&large, 8, 200, 1);
    struct cache_answer a = answer_of(&small);
    put_by_name(c, &n, DNS_TXT, NOW, &a);
    const size_t before = cache_bytes(c);
    a = answer_of(&large);
    put_by_name(c, &n, DNS_TXT, NOW, &a);
    assert_int_equal(cache_bytes(c) - before, dns_rrset_size(&large) - dns_rrset_size(&small));
    assert_int_equal(cache_count(c), 1);
    a = (struct cache_answer){.kind = CACHE_NODATA, .ttl_s = 5};
    put_by_name(c, &n, DNS_TXT, NOW, &a);
    struct cache_found found;
    assert_int_equal(get_by_name(c, &n, DNS_TXT, NOW, &found), CACHE_FRESH);
    assert_int_equal(found.answer.kind, CACHE_NODATA);
    assert_null(found.answer.records);
    assert_true(cache_bytes(c) < before);
    cache_free(c);
}

static void bound_holds(void **state)
{
    (void)state;
    const size_t max_bytes = 4096;
    struct cache *c = cache_make(max_bytes);
    struct cache_found found;
    for (uint8_t i = 0; i < 100; i++) {
        char text[] = "a00.example.net";
        text[1] = (char)('0' + i / 10);
        text[2] = (char)('0' + i % 10);
        const struct host_name n = name_of(text);
        struct dns_rrset s;
        fill(&s, 1 + i % 8, 200, i);
        const struct cache_answer a = answer_of(&s);
        put_by_name(c, &n, DNS_TXT, NOW + i, &a);
        assert_true(cache_bytes(c) <= max_bytes);
        assert_int_equal(get_by_name(c, &n, DNS_TXT, NOW + i, &found), CACHE_FRESH);
        assert_same(found.answer.records, &s);
    }
    cache_free(c);
    c = cache_make(1024); /* larger than all of it */
    const struct host_name n = name_of("a.example.net");
    struct dns_rrset s;
    fill(&s, 8, 200, 1);
    const struct cache_answer a = answer_of(&s);
    put_by_name(c, &n, DNS_TXT, NOW, &a);
    assert_int_equal(get_by_name(c, &n, DNS_TXT, NOW, &found), CACHE_NOTHING);
    assert_int_equal(cache_bytes(c), 0);
    cache_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_back),
        cmocka_unit_test(types_are_apart),
        cmocka_unit_test(what_they_take_counts),
        cmocka_unit_test(bound_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "dnsd/hot_answers.h"

#include "common/base/host_name.h"

#include <stdio.h>

#define MIB ((size_t)1 << 20)

struct question {
    uint8_t wire[256];
    struct hot_question q;
};

static struct hot_question *ask(struct question *out, const char *labels, uint16_t qtype)
{
    size_t n = 0;
    for (const char *at = labels; *at != '\0';) {
        size_t len = strcspn(at, ".");
        out->wire[n++] = (uint8_t)len;
        memcpy(out->wire + n, at, len);
        n += len;
        at += len + (at[len] == '.' ? 1 : 0);
    }
    out->wire[n++] = 0;
    out->q = (struct hot_question){.qname = span_make(out->wire, n), .qtype = qtype, .generation = 7};
    return &out->q;
}

static struct hot_answer one_address(int64_t expires_ms)
{
    return (struct hot_answer){.kind = HOT_ADMITTED,
                               .addr_count = 1,
                               .addrs = {ip_v4(192, 0, 2, 1)},
                               .expires_ms = expires_ms,
                               .until_ms = expires_ms};
}

static void test_given_again(void **state)
{
    (void)state;
    struct hot_answers *h;
    struct question q;
    struct hot_answer a = one_address(5000), got;
    assert_int_equal(hot_answers_new(4 * MIB, &h), 0);
    assert_false(hot_answers_get(h, ask(&q, "a.example", 1), 0, &got));
    hot_answers_put(h, ask(&q, "a.example", 1), 0, &a);
    assert_true(hot_answers_get(h, ask(&q, "a.example", 1), 4999, &got));
    assert_int_equal(got.kind, HOT_ADMITTED);
    assert_int_equal(got.addr_count, 1);
    assert_true(ip_is_equal(&got.addrs[0], &a.addrs[0]));
    assert_int_equal(got.expires_ms, 5000);
    assert_true(hot_answers_get(h, ask(&q, "A.eXaMPle", 1), 4999, &got));
    hot_answers_free(h);
}

static void test_whatever_differs(void **state)
{
    (void)state;
    struct hot_answers *h;
    struct question q;
    struct hot_answer a = one_address(5000), got;
    assert_int_equal(hot_answers_new(4 * MIB, &h), 0);
    hot_answers_put(h, ask(&q, "a.example", 1), 0, &a);
    assert_false(hot_answers_get(h, ask(&q, "a.example", 28), 0, &got));
    assert_false(hot_answers_get(h, ask(&q, "b.example", 1), 0, &got));
    assert_false(hot_answers_get(h, ask(&q, "aexample", 1), 0, &got));
    assert_false(hot_answers_get(h, ask(&q, "a.exampl", 1), 0, &got));
    ask(&q, "a.example", 1)->generation = 8;
    assert_false(hot_answers_get(h, &q.q, 0, &got));
    ask(&q, "a.example", 1)->has_ipv6 = true;
    assert_false(hot_answers_get(h, &q.q, 0, &got));
    ask(&q, "a.example", 1)->turn = 1;
    assert_false(hot_answers_get(h, &q.q, 0, &got));
    assert_false(hot_answers_get(h, ask(&q, "a.example", 1), 5000, &got)); /* over */
    assert_true(hot_answers_get(h, ask(&q, "a.example", 1), 4999, &got));
    hot_answers_free(h);
}

static void test_replaced(void **state)
{
    (void)state;
    struct hot_answers *h;
    struct question q;
    struct hot_answer a = one_address(5000),
                      empty = {.kind = HOT_NOISE, .expires_ms = 9000, .until_ms = 9000}, got;
    assert_int_equal(hot_answers_new(4 * MIB, &h), 0);
    hot_answers_put(h, ask(&q, "a.example", 1), 0, &a);
    ask(&q, "a.example", 1)->generation = 8;
    hot_answers_put(h, &q.q, 0, &empty);
    assert_true(hot_answers_get(h, &q.q, 8999, &got));
    assert_int_equal(got.addr_count, 0);
    assert_int_equal(got.kind, HOT_NOISE);
    assert_false(hot_answers_get(h, ask(&q, "a.example", 1), 0, &got)); /* the old generation's is gone */
    hot_answers_free(h);
}

/* Up to four of sixteen bytes behind a name of any length that leaves room for them. */
static void test_ipv6(void **state)
{
    (void)state;
    struct hot_answers *h;
    struct question q;
    struct hot_answer a = one_address(5000), got;
    const struct ip v4 = a.addrs[0];
    assert_int_equal(hot_answers_new(4 * MIB, &h), 0);
    for (size_t i = 0; i < HOT_ADDRS_MAX; i++) {
        a.addrs[i] = (struct ip){.family = IP_V6, .bytes = {0x20, 0x01, [15] = (uint8_t)(i + 1)}};
    }
    a.addr_count = HOT_ADDRS_MAX;
    hot_answers_put(h, ask(&q, "a-name.of-forty.bytes.before.the.example", 28), 0, &a);
    assert_true(hot_answers_get(h, &q.q, 0, &got));
    assert_int_equal(got.addr_count, HOT_ADDRS_MAX);
    assert_memory_equal(got.addrs, a.addrs, sizeof(a.addrs));
    hot_answers_put(h, ask(&q, "one.byte.more.than.there-is.room.for.x.xx", 28), 0, &a);
    assert_false(hot_answers_get(h, &q.q, 0, &got));
    hot_answers_put(h, ask(&q, "a.example", 1), 0, &a); /* of the other family */
    assert_false(hot_answers_get(h, &q.q, 0, &got));
    a.addrs[3] = v4;
    hot_answers_put(h, ask(&q, "b.example", 28), 0, &a); /* of both */
    assert_false(hot_answers_get(h, &q.q, 0, &got));
    hot_answers_free(h);
}

/* What does not fit is not kept, and nothing is written beyond a slot. */
static void test_bounds(void **state)
{
    (void)state;
    struct hot_answers *h;
    struct question q;
    struct hot_answer a = one_address(5000), got;
    char text[HOST_NAME_MAX_LEN];
    assert_int_equal(hot_answers_new(4 * MIB, &h), 0);
    for (size_t len = 1; len < 100; len++) {
        size_t first = len > 50 ? 50 : len;
        memset(text, 'x', sizeof(text));
        text[first] = len > 51 ? '.' : '\0';
        text[len] = '\0';
        hot_answers_put(h, ask(&q, text, 1), 0, &a);
        assert_int_equal(hot_answers_get(h, &q.q, 0, &got), q.q.qname.len <= HOT_NAME_MAX);
    }
    a.addr_count = HOT_ADDRS_MAX + 1;
    hot_answers_put(h, ask(&q, "many.example", 1), 0, &a);
    assert_false(hot_answers_get(h, &q.q, 0, &got));
    a = one_address(5000);
    hot_answers_put(h, ask(&q, "over.example", 1), 5000, &a);
    assert_false(hot_answers_get(h, &q.q, 0, &got));
    hot_answers_free(h);
}

/* A small table forgets, but never gives an answer to another question. */
static void test_crowded(void **state)
{
    (void)state;
    struct hot_answers *h;
    struct question q;
    struct hot_answer got;
    size_t found = 0;
    assert_int_equal(hot_answers_new(16384, &h), 0);
    for (unsigned i = 0; i < 1000; i++) {
        char text[40];
        (void)snprintf(text, sizeof(text), "n%u.example", i);
        struct hot_answer a = one_address(100000 + i);
        a.addrs[0] = ip_v4(10, 0, (uint8_t)(i >> 8), (uint8_t)(i & 255));
        hot_answers_put(h, ask(&q, text, 1), 0, &a);
    }
    for (unsigned i = 0; i < 1000; i++) {
        char text[40];
        (void)snprintf(text, sizeof(text), "n%u.example", i);
        if (hot_answers_get(h, ask(&q, text, 1), 0, &got)) {
            struct ip want = ip_v4(10, 0, (uint8_t)(i >> 8), (uint8_t)(i & 255));
            assert_true(ip_is_equal(&got.addrs[0], &want));
            found++;
        }
    }
    assert_in_range(found, 16, 128);
    hot_answers_free(h);
}

/* A denial has to be given twice to be kept, whatever else is put down in its place meanwhile. */
static void test_denial(void **state)
{
    (void)state;
    struct hot_answers *h;
    struct question q;
    struct hot_answer got;
    const struct hot_answer denied = {.kind = HOT_DENIED, .expires_ms = 5000, .until_ms = 5000};
    const struct hot_answer later = {.kind = HOT_DENIED, .expires_ms = 11000, .until_ms = 11000};
    assert_int_equal(hot_answers_new(4 * MIB, &h), 0);
    hot_answers_put(h, ask(&q, "a.example", 1), 0, &denied);
    assert_false(hot_answers_get(h, &q.q, 0, &got));
    hot_answers_put(h, ask(&q, "b.example", 1), 0, &denied); /* another one does not count */
    assert_false(hot_answers_get(h, ask(&q, "a.example", 1), 0, &got));
    hot_answers_put(h, &q.q, 0, &denied);
    assert_true(hot_answers_get(h, &q.q, 4999, &got));
    assert_int_equal(got.kind, HOT_DENIED);
    assert_false(hot_answers_get(h, ask(&q, "b.example", 1), 0, &got));
    hot_answers_put(h, ask(&q, "a.example", 1), 6000, &later); /* its place is still its own */
    assert_true(hot_answers_get(h, &q.q, 10999, &got));
    const struct hot_answer address = one_address(20000);
    hot_answers_put(h, ask(&q, "b.example", 1), 6000, &address); /* noted once, but it is no denial now */
    assert_true(hot_answers_get(h, &q.q, 6000, &got));
    assert_int_equal(got.kind, HOT_ADMITTED);
    hot_answers_free(h);
}

/* Names that somebody makes up take no place from those that are asked for. */
static void test_made_up_names(void **state)
{
    (void)state;
    struct hot_answers *h;
    struct question q;
    struct hot_answer got;
    const struct hot_answer a = one_address(5000);
    const struct hot_answer denied = {.kind = HOT_DENIED, .expires_ms = 6000, .until_ms = 6000};
    char text[40];
    assert_int_equal(hot_answers_new(4 * MIB, &h), 0);
    for (unsigned i = 0; i < 200; i++) {
        (void)snprintf(text, sizeof(text), "n%u.example", i);
        hot_answers_put(h, ask(&q, text, 1), 0, &a);
    }
    for (unsigned i = 0; i < 100000; i++) {
        (void)snprintf(text, sizeof(text), "x%u.denied.example", i);
        hot_answers_put(h, ask(&q, text, 1), 0, &denied);
    }
    for (unsigned i = 0; i < 200; i++) {
        (void)snprintf(text, sizeof(text), "n%u.example", i);
        assert_true(hot_answers_get(h, ask(&q, text, 1), 0, &got));
    }
    hot_answers_free(h);
}

static void test_no_memory_for_it(void **state)
{
    (void)state;
    struct hot_answers *h;
    struct question q;
    struct hot_answer a = one_address(5000), got;
    assert_int_equal(hot_answers_bytes(100), 0);
    assert_in_range(hot_answers_bytes(16384), 8192, 16384);
    assert_in_range(hot_answers_bytes(SIZE_MAX), 1 << 20, 8 << 20);
    assert_int_equal(hot_answers_new(100, &h), 0);
    hot_answers_put(h, ask(&q, "a.example", 1), 0, &a);
    assert_false(hot_answers_get(h, &q.q, 0, &got));
    hot_answers_free(h);
    hot_answers_free(NULL);
}

/* With the hash that was said ahead, or without it: it is the same question. */
static void test_foreseen(void **state)
{
    (void)state;
    struct hot_answers *h, *none;
    struct question q;
    struct hot_answer a = one_address(5000), got;
    assert_int_equal(hot_answers_new(4 * MIB, &h), 0);
    assert_int_equal(hot_answers_new(0, &none), 0);
    const struct hot_question *asked = ask(&q, "a.example", 1);
    const uint64_t hash = hot_answers_foresee(h, asked->qname, asked->qtype);
    hot_answers_fetch(h, hash);
    hot_answers_fetch(none, hash);
    assert_true(hash != 0);
    assert_true(hot_answers_foresee(h, asked->qname, 28) != hash);
    assert_true(hot_answers_foresee(none, asked->qname, asked->qtype) == 0);
    q.q.hash = hash;
    hot_answers_put(h, &q.q, 0, &a);
    assert_true(hot_answers_get(h, &q.q, 0, &got));
    assert_true(hot_answers_get(h, ask(&q, "a.example", 1), 0, &got));
    ask(&q, "A.exAMple", 1)->hash = hash;
    assert_true(hot_answers_get(h, &q.q, 0, &got));
    ask(&q, "b.example", 1)->hash = hash; /* never a wrong answer */
    assert_false(hot_answers_get(h, &q.q, 0, &got));
    hot_answers_free(h);
    hot_answers_free(none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_given_again),      cmocka_unit_test(test_whatever_differs),
        cmocka_unit_test(test_replaced),         cmocka_unit_test(test_ipv6),
        cmocka_unit_test(test_bounds),           cmocka_unit_test(test_crowded),
        cmocka_unit_test(test_no_memory_for_it), cmocka_unit_test(test_foreseen),
        cmocka_unit_test(test_denial),           cmocka_unit_test(test_made_up_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

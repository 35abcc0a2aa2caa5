/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tunneld/dial_plan.h"

#include <errno.h>

static struct ip v6(uint8_t last)
{
    struct ip a = {.family = IP_V6, .bytes = {0x26}};
    a.bytes[15] = last;
    return a;
}

static struct ip v4(uint8_t last)
{
    return ip_v4(198, 51, 100, last);
}

static void add(struct dial_plan *p, struct ip a)
{
    assert_true(dial_plan_add(p, &a));
}

static void want_start(struct dial_plan *p, int64_t now, struct ip want)
{
    struct ip got = {0};
    int64_t wake = 0;
    assert_int_equal(dial_plan_next(p, now, &got, &wake), DIAL_STEP_START);
    assert_true(ip_is_equal(&got, &want));
}

static void want_wait(struct dial_plan *p, int64_t now, int64_t wake_at)
{
    struct ip got = {0};
    int64_t wake = 0;
    assert_int_equal(dial_plan_next(p, now, &got, &wake), DIAL_STEP_WAIT);
    assert_int_equal(wake, wake_at);
}

static void want_failed(struct dial_plan *p, int64_t now)
{
    struct ip got = {0};
    int64_t wake = 0;
    assert_int_equal(dial_plan_next(p, now, &got, &wake), DIAL_STEP_FAILED);
    assert_int_equal(wake, -1);
}

/* IPv6 goes first, families alternate, 250 ms lie between attempts that hang. */
static void test_stagger_and_interleave(void **state)
{
    (void)state;
    struct dial_plan p;
    dial_plan_init(&p);
    add(&p, v4(1));
    add(&p, v4(2));
    add(&p, v6(1));
    add(&p, v6(2));
    add(&p, v6(3));
    dial_plan_complete(&p);
    want_start(&p, 1000, v6(1));
    want_wait(&p, 1000, 1250);
    want_wait(&p, 1249, 1250);
    want_start(&p, 1250, v4(1));
    want_start(&p, 1600, v6(2));
    want_wait(&p, 1849, 1850);
    want_start(&p, 1850, v4(2));
    want_start(&p, 2100, v6(3));
    want_wait(&p, 9000, -1); /* all under way: only their ends matter */
    for (int i = 0; i < 4; i++) {
        dial_plan_attempt_failed(&p);
        want_wait(&p, 9000, -1);
    }
    dial_plan_attempt_failed(&p);
    want_failed(&p, 9000);
}

/* A failure starts the next attempt at once. */
static void test_failure_does_not_wait(void **state)
{
    (void)state;
    struct dial_plan p;
    dial_plan_init(&p);
    add(&p, v6(1));
    add(&p, v4(1));
    add(&p, v4(2));
    dial_plan_complete(&p);
    want_start(&p, 10, v6(1));
    dial_plan_attempt_failed(&p);
    want_start(&p, 11, v4(1));
    want_wait(&p, 11, 261);
    dial_plan_attempt_failed(&p);
    want_start(&p, 12, v4(2));
    dial_plan_attempt_failed(&p);
    want_failed(&p, 12);
}

/* Addresses that arrive while attempts hang are used, and the plan does not give up before they do. */
static void test_late_addresses(void **state)
{
    (void)state;
    struct dial_plan p;
    dial_plan_init(&p);
    want_wait(&p, 0, -1);
    add(&p, v4(1));
    want_start(&p, 0, v4(1));
    dial_plan_attempt_failed(&p);
    want_wait(&p, 5, -1);
    add(&p, v6(1));
    want_start(&p, 6, v6(1));
    add(&p, v4(2));
    want_wait(&p, 7, 256);
    want_start(&p, 256, v4(2));
    dial_plan_complete(&p);
    dial_plan_attempt_failed(&p);
    want_wait(&p, 300, -1);
    dial_plan_attempt_failed(&p);
    want_failed(&p, 300);
}

static void test_empty_plan_fails_when_complete(void **state)
{
    (void)state;
    struct dial_plan p;
    dial_plan_init(&p);
    dial_plan_complete(&p);
    want_failed(&p, 0);
}

static void test_bounds_and_duplicates(void **state)
{
    (void)state;
    struct dial_plan p;
    struct ip none = {0};
    dial_plan_init(&p);
    assert_false(dial_plan_add(&p, &none));
    for (uint8_t i = 0; i < DIAL_PLAN_PER_FAMILY; i++) {
        add(&p, v4(i));
        add(&p, v6(i));
        struct ip again = v4(i);
        assert_false(dial_plan_add(&p, &again));
    }
    struct ip extra4 = v4(200);
    struct ip extra6 = v6(200);
    assert_false(dial_plan_add(&p, &extra4));
    assert_false(dial_plan_add(&p, &extra6));
    dial_plan_complete(&p);
    for (unsigned i = 0; i < DIAL_PLAN_MAX; i++) {
        struct ip got;
        int64_t wake = 0;
        assert_int_equal(dial_plan_next(&p, (int64_t)i * 250, &got, &wake), DIAL_STEP_START);
        assert_int_equal(got.family, i % 2 == 0 ? IP_V6 : IP_V4);
    }
    want_wait(&p, 100000, -1);
}

static void test_worse_error(void **state)
{
    (void)state;
    assert_int_equal(dial_plan_worse_error(0, ENETUNREACH), ENETUNREACH);
    assert_int_equal(dial_plan_worse_error(ENETUNREACH, ECONNREFUSED), ECONNREFUSED);
    assert_int_equal(dial_plan_worse_error(ECONNREFUSED, ENETUNREACH), ECONNREFUSED);
    assert_int_equal(dial_plan_worse_error(ENETUNREACH, ETIMEDOUT), ETIMEDOUT);
    assert_int_equal(dial_plan_worse_error(ENETUNREACH, EHOSTUNREACH), ENETUNREACH);
    /* each pair of a rank below and a rank above, both ways round */
    static const int ranks[][3] = {{0, 0, 0},
                                   {ENETUNREACH, EADDRNOTAVAIL, EMFILE},
                                   {ETIMEDOUT, ETIMEDOUT, ETIMEDOUT},
                                   {ECONNREFUSED, ECONNREFUSED, ECONNREFUSED}};
    for (size_t low = 0; low < 4; low++) {
        for (size_t high = low + 1; high < 4; high++) {
            for (size_t i = 0; i < 3; i++) {
                assert_int_equal(dial_plan_worse_error(ranks[low][i], ranks[high][i]), ranks[high][i]);
                assert_int_equal(dial_plan_worse_error(ranks[high][i], ranks[low][i]), ranks[high][i]);
            }
        }
    }
}

/* One family alone goes on by itself; the first of the two is IPv6 whichever came first. */
static void test_order(void **state)
{
    (void)state;
    static const struct {
        const char *added; /* '6' and '4', numbered as they come */
        const char *order;
    } rows[] = {
        {"4", "4"},   {"6", "6"},           {"44", "44"},       {"66", "66"},       {"46", "64"},
        {"64", "64"}, {"444666", "646464"}, {"46666", "64666"}, {"64444", "64444"}, {"6644", "6464"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dial_plan p;
        uint8_t next[2] = {0, 0}; /* of IPv6 and IPv4: each family in the order given */
        dial_plan_init(&p);
        for (uint8_t k = 0; rows[i].added[k] != '\0'; k++) {
            add(&p, rows[i].added[k] == '6' ? v6(k) : v4(k));
        }
        dial_plan_complete(&p);
        for (size_t k = 0; rows[i].order[k] != '\0'; k++) {
            bool is_v6 = rows[i].order[k] == '6';
            uint8_t *at = &next[is_v6 ? 0 : 1];
            while (rows[i].added[*at] != rows[i].order[k]) {
                (*at)++;
            }
            want_start(&p, (int64_t)k * DIAL_PLAN_STAGGER_MS, is_v6 ? v6(*at) : v4(*at));
            (*at)++;
        }
        want_wait(&p, 100000, -1);
    }
}

/* The stagger to the millisecond; at the end of the scale of time, too. */
static void test_stagger_boundaries(void **state)
{
    (void)state;
    static const int64_t starts[] = {0, 1, 999, INT64_C(1) << 40, INT64_MAX - 2 * DIAL_PLAN_STAGGER_MS};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        struct dial_plan p;
        const int64_t t = starts[i];
        dial_plan_init(&p);
        add(&p, v4(1));
        add(&p, v4(2));
        want_start(&p, t, v4(1));
        want_wait(&p, t, t + 250);
        want_wait(&p, t + 249, t + 250);
        want_start(&p, t + 250, v4(2));
        want_wait(&p, t + 250, -1); /* not complete: more may come */
    }
}

/* An attempt that fails while another hangs: the next begins at once, and only one. */
static void test_failure_beside_a_hanging_one(void **state)
{
    (void)state;
    struct dial_plan p;
    dial_plan_init(&p);
    add(&p, v6(1));
    add(&p, v6(2));
    add(&p, v6(3));
    add(&p, v6(4));
    dial_plan_complete(&p);
    want_start(&p, 0, v6(1));
    want_start(&p, 250, v6(2));
    dial_plan_attempt_failed(&p);
    want_start(&p, 260, v6(3));
    want_wait(&p, 260, 510); /* the stagger counts from the last that began */
    want_wait(&p, 509, 510);
    want_start(&p, 510, v6(4));
}

/* A duplicate is known by its address, whatever became of the first; equal bytes of two families are two. */
static void test_duplicates(void **state)
{
    (void)state;
    struct dial_plan p;
    struct ip same = v4(1);
    struct ip mapped = {.family = IP_V6, .bytes = {[10] = 0xff, 0xff, 198, 51, 100, 1}};
    dial_plan_init(&p);
    add(&p, v4(1));
    want_start(&p, 0, v4(1));
    dial_plan_attempt_failed(&p);
    assert_false(dial_plan_add(&p, &same));
    add(&p, mapped);
    want_start(&p, 1, mapped);
    dial_plan_attempt_failed(&p);
    assert_false(dial_plan_add(&p, &mapped));
    dial_plan_complete(&p);
    want_failed(&p, 1);
    assert_false(dial_plan_add(&p, &same));
    want_failed(&p, 1); /* and it stays so */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stagger_and_interleave),
        cmocka_unit_test(test_failure_does_not_wait),
        cmocka_unit_test(test_late_addresses),
        cmocka_unit_test(test_empty_plan_fails_when_complete),
        cmocka_unit_test(test_bounds_and_duplicates),
        cmocka_unit_test(test_worse_error),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_stagger_boundaries),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_failure_beside_a_hanging_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

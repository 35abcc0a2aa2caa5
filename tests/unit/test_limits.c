/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tunneld/limits.h"

#include <pthread.h>
#include <string.h>

static void test_per_client(void **state)
{
    (void)state;
    struct limits *l = NULL;
    struct ip a = ip_v4(10, 0, 0, 1);
    struct ip b = ip_v4(10, 0, 0, 2);
    assert_int_equal(limits_new(&(struct limits_config){.max_per_client = 2}, &l), 0);
    assert_int_equal(limits_take(l, &a, false), LIMITS_TAKEN);
    assert_int_equal(limits_take(l, &a, false), LIMITS_TAKEN);
    assert_int_equal(limits_take(l, &a, false), LIMITS_CLIENT);
    assert_int_equal(limits_take(l, &b, false), LIMITS_TAKEN);
    limits_give(l, &a);
    assert_int_equal(limits_take(l, &a, false), LIMITS_TAKEN);
    assert_int_equal(limits_take(l, &a, false), LIMITS_CLIENT);
    limits_free(l); /* also with clients still counted */
}

static void test_total(void **state)
{
    (void)state;
    struct limits *l = NULL;
    struct ip a = ip_v4(10, 0, 0, 1);
    struct ip b = {.family = IP_V6, .bytes = {10, 0, 0, 1}}; /* the same bytes, another family */
    assert_int_equal(limits_new(&(struct limits_config){.max_total = 2}, &l), 0);
    assert_int_equal(limits_take(l, &a, false), LIMITS_TAKEN);
    assert_int_equal(limits_take(l, &b, false), LIMITS_TAKEN);
    assert_int_equal(limits_take(l, &a, false), LIMITS_TOTAL);
    assert_int_equal(limits_take(l, &b, false), LIMITS_TOTAL);
    limits_give(l, &b);
    assert_int_equal(limits_take(l, &a, false), LIMITS_TAKEN);
    limits_give(l, &a);
    limits_give(l, &a);
    limits_free(l);
}

static void test_zero_is_no_limit(void **state)
{
    (void)state;
    struct limits *l = NULL;
    assert_int_equal(limits_new(&(struct limits_config){0}, &l), 0);
    for (int i = 0; i < 5000; i++) {
        struct ip a = ip_v4(10, 0, (uint8_t)(i / 256), (uint8_t)i);
        assert_int_equal(limits_take(l, &a, false), LIMITS_TAKEN);
    }
    for (int i = 0; i < 5000; i++) {
        struct ip a = ip_v4(10, 0, (uint8_t)(i / 256), (uint8_t)i);
        limits_give(l, &a);
    }
    limits_free(l);
    limits_free(NULL);
}

static void test_heads(void **state)
{
    (void)state;
    struct limits *l = NULL;
    struct ip a = ip_v4(10, 0, 0, 1);
    struct ip b = ip_v4(10, 0, 0, 2);
    assert_int_equal(limits_new(&(struct limits_config){.max_heads = 2, .max_per_client = 4}, &l), 0);
    assert_int_equal(limits_take(l, &a, true), LIMITS_TAKEN);
    assert_int_equal(limits_take(l, &a, true), LIMITS_TAKEN);
    assert_int_equal(limits_take(l, &a, true), LIMITS_HEADS);
    assert_int_equal(limits_take(l, &b, true), LIMITS_TAKEN);  /* another client has its own */
    assert_int_equal(limits_take(l, &a, false), LIMITS_TAKEN); /* a captured connection has no head */
    limits_give_head(l, &a);
    assert_int_equal(limits_take(l, &a, true), LIMITS_TAKEN);
    assert_int_equal(limits_take(l, &a, true), LIMITS_CLIENT); /* the four it may hold */
    assert_int_equal(limits_take_head(l, &a), LIMITS_HEADS);
    limits_give_head(l, &a);
    assert_int_equal(limits_take_head(l, &a), LIMITS_TAKEN);
    limits_give_head(l, &a);
    limits_give_head(l, &a);
    for (int i = 0; i < 4; i++) {
        limits_give(l, &a);
    }
    limits_give_head(l, &b);
    limits_give(l, &b);
    assert_int_equal(limits_take(l, &a, true), LIMITS_TAKEN); /* nothing of the old count is left */
    assert_int_equal(limits_take(l, &a, true), LIMITS_TAKEN);
    limits_free(l);
}

static void test_rules(void **state)
{
    (void)state;
    struct limits *l = NULL;
    struct limits_rule *r[3] = {NULL};
    struct limits_rule *more = NULL;
    char same[] = "web"; /* a reload makes a new string of it */
    assert_int_equal(limits_new(&(struct limits_config){.max_per_rule = 2}, &l), 0);
    assert_int_equal(limits_take_rule(l, "web", &r[0]), LIMITS_TAKEN);
    assert_int_equal(limits_take_rule(l, same, &r[1]), LIMITS_TAKEN);
    assert_ptr_equal(r[0], r[1]);
    assert_int_equal(limits_take_rule(l, "web", &more), LIMITS_RULE);
    assert_null(more);
    assert_int_equal(limits_take_rule(l, "we", &r[2]), LIMITS_TAKEN);
    limits_give_rule(l, r[0]);
    assert_int_equal(limits_take_rule(l, "web", &r[0]), LIMITS_TAKEN);
    limits_give_rule(l, r[0]);
    limits_give_rule(l, r[1]);
    assert_int_equal(limits_take_rule(l, "web", &r[0]), LIMITS_TAKEN);
    limits_free(l); /* also with rules still counted */

    assert_int_equal(limits_new(&(struct limits_config){0}, &l), 0);
    assert_int_equal(limits_take_rule(l, "web", &more), LIMITS_TAKEN);
    assert_null(more); /* nothing is kept where nothing is limited */
    limits_give_rule(l, NULL);
    limits_free(l);
}

#define THREADS 4
#define TURNS 5000
#define SHARED_MAX 3

struct shared {
    struct limits *limits;
    uint64_t taken;
};

static void *take_and_give(void *ctx)
{
    struct shared *s = ctx;
    struct ip a = ip_v4(192, 0, 2, 1);
    for (int i = 0; i < TURNS; i++) {
        struct limits_rule *rule = NULL;
        if (limits_take(s->limits, &a, true) == LIMITS_TAKEN) {
            __atomic_add_fetch(&s->taken, 1, __ATOMIC_RELAXED);
            limits_give_head(s->limits, &a);
            if (limits_take_rule(s->limits, "rule", &rule) == LIMITS_TAKEN) {
                limits_give_rule(s->limits, rule);
            }
            limits_give(s->limits, &a);
        }
    }
    return NULL;
}

/* Workers share it: afterwards exactly the limit can be had again. */
static void test_threads(void **state)
{
    (void)state;
    struct shared s = {0};
    struct ip a = ip_v4(192, 0, 2, 1);
    pthread_t threads[THREADS];
    const struct limits_config cfg = {.max_total = SHARED_MAX,
                                      .max_per_client = SHARED_MAX,
                                      .max_heads = SHARED_MAX,
                                      .max_per_rule = SHARED_MAX};
    assert_int_equal(limits_new(&cfg, &s.limits), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, &s), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_true(s.taken > 0);
    struct limits_rule *rule = NULL;
    for (int i = 0; i < SHARED_MAX; i++) {
        assert_int_equal(limits_take(s.limits, &a, true), LIMITS_TAKEN);
        assert_int_equal(limits_take_rule(s.limits, "rule", &rule), LIMITS_TAKEN);
    }
    assert_int_equal(limits_take(s.limits, &a, true), LIMITS_TOTAL);
    assert_int_equal(limits_take_head(s.limits, &a), LIMITS_HEADS);
    assert_int_equal(limits_take_rule(s.limits, "rule", &rule), LIMITS_RULE);
    limits_free(s.limits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_per_client),
        cmocka_unit_test(test_total),
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_zero_is_no_limit),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

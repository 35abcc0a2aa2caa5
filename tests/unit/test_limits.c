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
    assert_int_equal(limits_new(0, 2, &l), 0);
    assert_int_equal(limits_take(l, &a), LIMITS_TAKEN);
    assert_int_equal(limits_take(l, &a), LIMITS_TAKEN);
    assert_int_equal(limits_take(l, &a), LIMITS_CLIENT);
    assert_int_equal(limits_take(l, &b), LIMITS_TAKEN);
    limits_give(l, &a);
    assert_int_equal(limits_take(l, &a), LIMITS_TAKEN);
    assert_int_equal(limits_take(l, &a), LIMITS_CLIENT);
    limits_free(l); /* also with clients still counted */
}

static void test_total(void **state)
{
    (void)state;
    struct limits *l = NULL;
    struct ip a = ip_v4(10, 0, 0, 1);
    struct ip b = {.family = IP_V6, .bytes = {10, 0, 0, 1}}; /* the same bytes, another family */
    assert_int_equal(limits_new(2, 0, &l), 0);
    assert_int_equal(limits_take(l, &a), LIMITS_TAKEN);
    assert_int_equal(limits_take(l, &b), LIMITS_TAKEN);
    assert_int_equal(limits_take(l, &a), LIMITS_TOTAL);
    assert_int_equal(limits_take(l, &b), LIMITS_TOTAL);
    limits_give(l, &b);
    assert_int_equal(limits_take(l, &a), LIMITS_TAKEN);
    limits_give(l, &a);
    limits_give(l, &a);
    limits_free(l);
}

static void test_zero_is_no_limit(void **state)
{
    (void)state;
    struct limits *l = NULL;
    assert_int_equal(limits_new(0, 0, &l), 0);
    for (int i = 0; i < 5000; i++) {
        struct ip a = ip_v4(10, 0, (uint8_t)(i / 256), (uint8_t)i);
        assert_int_equal(limits_take(l, &a), LIMITS_TAKEN);
    }
    for (int i = 0; i < 5000; i++) {
        struct ip a = ip_v4(10, 0, (uint8_t)(i / 256), (uint8_t)i);
        limits_give(l, &a);
    }
    limits_free(l);
    limits_free(NULL);
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
        if (limits_take(s->limits, &a) == LIMITS_TAKEN) {
            __atomic_add_fetch(&s->taken, 1, __ATOMIC_RELAXED);
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
    assert_int_equal(limits_new(SHARED_MAX, SHARED_MAX, &s.limits), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, &s), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_true(s.taken > 0);
    for (int i = 0; i < SHARED_MAX; i++) {
        assert_int_equal(limits_take(s.limits, &a), LIMITS_TAKEN);
    }
    assert_int_equal(limits_take(s.limits, &a), LIMITS_TOTAL);
    limits_free(s.limits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_per_client),
        cmocka_unit_test(test_total),
        cmocka_unit_test(test_zero_is_no_limit),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

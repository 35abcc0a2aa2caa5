/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/htab.h"

#include <errno.h>
#include <stdlib.h>

/* The linker sends the library's calloc here (--wrap=calloc). */
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
static bool calloc_fails;
void *__wrap_calloc(size_t count, size_t size)
{
    return calloc_fails ? NULL : __real_calloc(count, size);
}

struct entry {
    uint32_t key;
    bool is_in;
    uint64_t used; /* when it was inserted or touched last */
    struct htab_node node;
};

static bool is_key(const struct htab_node *node, const void *key)
{
    return HTAB_ENTRY(node, const struct entry, node)->key == *(const uint32_t *)key;
}

static uint64_t hash_of(const struct htab *t, uint32_t key)
{
    return htab_hash(t, span_make(&key, sizeof key));
}

static struct entry *find(const struct htab *t, uint32_t key)
{
    struct htab_node *n = htab_find(t, hash_of(t, key), is_key, &key);
    return n == NULL ? NULL : HTAB_ENTRY(n, struct entry, node);
}

static void test_init(void **state)
{
    (void)state;
    struct htab t;
    static const size_t sizes[][2] = {{0, 8}, {1, 8}, {8, 8}, {9, 16}, {1000, 1024}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_int_equal(htab_init(&t, sizes[i][0]), 0);
        assert_int_equal(t.bucket_count, sizes[i][1]);
        assert_null(find(&t, 1));
        htab_fini(&t);
        assert_null(t.buckets);
        htab_fini(&t);
    }
    assert_int_equal(htab_init(&t, SIZE_MAX), -ENOMEM);
    calloc_fails = true;
    int rc = htab_init(&t, 8);
    calloc_fails = false;
    assert_int_equal(rc, -ENOMEM);
    htab_fini(&t);
    uint32_t key = 1;
    assert_null(htab_find(&t, 1, is_key, &key)); /* one without buckets holds nothing */
    struct htab u;
    assert_int_equal(htab_init(&t, 8), 0);
    assert_int_equal(htab_init(&u, 8), 0);
    assert_true(hash_of(&t, 1) != hash_of(&u, 1)); /* each has a key of its own */
    htab_fini(&t);
    htab_fini(&u);
}

/* Different keys with one hash: found by key, never mixed up. */
static void test_collisions(void **state)
{
    (void)state;
    struct htab t;
    assert_int_equal(htab_init(&t, 8), 0);
    struct entry entries[20];
    for (uint32_t i = 0; i < 20; i++) {
        entries[i] = (struct entry){.key = i};
        htab_insert(&t, &entries[i].node, 0x1234);
    }
    for (uint32_t i = 0; i < 20; i++) {
        assert_ptr_equal(htab_find(&t, 0x1234, is_key, &i), &entries[i].node);
        assert_null(htab_find(&t, 0x1235, is_key, &i));
    }
    for (uint32_t i = 0; i < 20; i += 3) {
        htab_remove(&t, &entries[i].node);
    }
    for (uint32_t i = 0; i < 20; i++) {
        assert_ptr_equal(htab_find(&t, 0x1234, is_key, &i), i % 3 == 0 ? NULL : &entries[i].node);
    }
    htab_fini(&t);
}

static void assert_order(const struct htab *t, const char *newest_first)
{
    const struct htab_node *n = t->newest;
    const struct htab_node *last = NULL;
    for (const char *c = newest_first; *c != '\0'; c++) {
        assert_non_null(n);
        assert_int_equal(HTAB_ENTRY(n, const struct entry, node)->key, *c);
        assert_ptr_equal(n->newer, last);
        last = n;
        n = n->older;
    }
    assert_null(n);
    assert_ptr_equal(t->oldest, last);
}

static void test_age_order(void **state)
{
    (void)state;
    struct htab t;
    assert_int_equal(htab_init(&t, 8), 0);
    struct entry e[4];
    assert_order(&t, "");
    for (uint32_t i = 0; i < 4; i++) {
        e[i] = (struct entry){.key = 'a' + i};
        htab_insert(&t, &e[i].node, hash_of(&t, e[i].key));
    }
    assert_order(&t, "dcba");
    htab_touch(&t, &e[0].node); /* the oldest */
    assert_order(&t, "adcb");
    htab_touch(&t, &e[2].node); /* one in the middle */
    assert_order(&t, "cadb");
    htab_touch(&t, &e[2].node); /* the newest */
    assert_order(&t, "cadb");
    htab_remove(&t, &e[0].node);
    assert_order(&t, "cdb");
    htab_remove(&t, &e[1].node);
    assert_order(&t, "cd");
    htab_remove(&t, &e[2].node);
    assert_order(&t, "d");
    htab_touch(&t, &e[3].node);
    assert_order(&t, "d");
    htab_remove(&t, &e[3].node);
    assert_order(&t, "");
    assert_int_equal(t.count, 0);
    htab_fini(&t);
}

/* A random history against an array that needs no hashing. */
static void test_history(void **state)
{
    (void)state;
    enum { KEYS = 700 };
    struct entry *entries = calloc(KEYS, sizeof *entries);
    assert_non_null(entries);
    struct htab t;
    assert_int_equal(htab_init(&t, 0), 0);
    uint64_t seed = 42;
    size_t count = 0;
    for (uint64_t step = 1; step <= 30000; step++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
        uint32_t key = (uint32_t)(seed >> 33) % KEYS;
        struct entry *e = &entries[key];
        assert_ptr_equal(find(&t, key), e->is_in ? e : NULL);
        if (!e->is_in) {
            *e = (struct entry){.key = key, .is_in = true, .used = step};
            htab_insert(&t, &e->node, hash_of(&t, key));
            count++;
        } else if (((seed >> 20) & 3) == 0) {
            htab_remove(&t, &e->node);
            e->is_in = false;
            count--;
        } else {
            htab_touch(&t, &e->node);
            e->used = step;
        }
        assert_int_equal(t.count, count);
    }
    size_t walked = 0;
    uint64_t last = UINT64_MAX;
    for (const struct htab_node *n = t.newest; n != NULL; n = n->older) {
        const struct entry *e = HTAB_ENTRY(n, const struct entry, node);
        assert_true(e->is_in && e->used < last);
        last = e->used;
        walked++;
    }
    assert_int_equal(walked, count);
    assert_true(count > 300 && t.bucket_count >= count); /* it has grown from 8 */
    htab_fini(&t);
    free(entries);
}

static void test_growth_is_best_effort(void **state)
{
    (void)state;
    enum { KEYS = 100 };
    struct entry entries[KEYS];
    struct htab t;
    assert_int_equal(htab_init(&t, 8), 0);
    calloc_fails = true;
    for (uint32_t i = 0; i < KEYS; i++) {
        entries[i] = (struct entry){.key = i};
        htab_insert(&t, &entries[i].node, hash_of(&t, i));
    }
    calloc_fails = false;
    assert_int_equal(t.bucket_count, 8);
    for (uint32_t i = 0; i < KEYS; i++) {
        assert_ptr_equal(find(&t, i), &entries[i]);
    }
    struct entry more = {.key = KEYS};
    htab_insert(&t, &more.node, hash_of(&t, KEYS));
    assert_int_equal(t.bucket_count, 16);
    for (uint32_t i = 0; i < KEYS; i++) {
        assert_ptr_equal(find(&t, i), &entries[i]);
    }
    assert_ptr_equal(find(&t, KEYS), &more);
    htab_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init),
        cmocka_unit_test(test_collisions),
        cmocka_unit_test(test_age_order),
        cmocka_unit_test(test_history),
        cmocka_unit_test(test_growth_is_best_effort),
    };
    return cmocka_run_group_tests_name("htab", tests, NULL, NULL);
}

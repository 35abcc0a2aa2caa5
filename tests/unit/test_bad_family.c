/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "dnsd/bad_family.h"

#include <stdio.h>

static struct host_name name_of(const char *text)
{
    struct host_name n;
    assert_int_equal(host_name_parse(span_str(text), &n), HOST_FAULT_NONE);
    return n;
}

static void remembers_one_family_for_thirty_seconds(void **state)
{
    (void)state;
    struct bad_family *b = NULL;
    assert_int_equal(bad_family_new(&b), 0);
    const struct host_name n = name_of("gateway.discord.gg");
    const struct host_name other = name_of("discord.gg");
    assert_int_equal(bad_family_get(b, &n, IP_V6, 1000), BAD_BESIDE_NOTHING);
    bad_family_put(b, &n, IP_V6, BAD_BESIDE_ADDRESSES, 1000);
    assert_int_equal(bad_family_get(b, &n, IP_V6, 1000 + BAD_FAMILY_KEEP_MS - 1), BAD_BESIDE_ADDRESSES);
    assert_int_equal(bad_family_get(b, &n, IP_V4, 1000), BAD_BESIDE_NOTHING);
    assert_int_equal(bad_family_get(b, &other, IP_V6, 1000), BAD_BESIDE_NOTHING);
    assert_int_equal(bad_family_get(b, &n, IP_V6, 1000 + BAD_FAMILY_KEEP_MS), BAD_BESIDE_NOTHING);
    assert_int_equal(bad_family_count(b), 0);
    bad_family_free(b);
}

/* Each answer from this memory says it again: if that counted, a name that is asked for all the time would
 * never be well again. */
static void saying_it_again_does_not_extend_it(void **state)
{
    (void)state;
    struct bad_family *b = NULL;
    assert_int_equal(bad_family_new(&b), 0);
    const struct host_name n = name_of("a.example.com");
    assert_int_equal(bad_family_left_s(b, &n, IP_V4, 0), 0);
    for (int64_t now_ms = 0; now_ms < BAD_FAMILY_KEEP_MS; now_ms += 500) {
        bad_family_put(b, &n, IP_V4, BAD_BESIDE_ADDRESSES, now_ms);
        assert_int_equal(bad_family_left_s(b, &n, IP_V4, now_ms), (BAD_FAMILY_KEEP_MS - now_ms + 999) / 1000);
    }
    assert_int_equal(bad_family_count(b), 1);
    assert_int_equal(bad_family_get(b, &n, IP_V4, BAD_FAMILY_KEEP_MS), BAD_BESIDE_NOTHING);
    bad_family_put(b, &n, IP_V4, BAD_BESIDE_ADDRESSES, 0);
    bad_family_put(b, &n, IP_V4, BAD_BESIDE_ADDRESSES, BAD_FAMILY_KEEP_MS);      /* over, and bad again */
    bad_family_put(b, &n, IP_V4, BAD_BESIDE_NO_NAME, BAD_FAMILY_KEEP_MS + 1000); /* this is news */
    assert_int_equal(bad_family_get(b, &n, IP_V4, 2 * BAD_FAMILY_KEEP_MS), BAD_BESIDE_NO_NAME);
    bad_family_put(b, &n, IP_V4, BAD_BESIDE_ADDRESSES, BAD_FAMILY_KEEP_MS);
    assert_int_equal(bad_family_left_s(b, &n, IP_V4, BAD_FAMILY_KEEP_MS), BAD_FAMILY_KEEP_MS / 1000);
    bad_family_free(b);
}

static void forgets_all(void **state)
{
    (void)state;
    struct bad_family *b = NULL;
    assert_int_equal(bad_family_new(&b), 0);
    const struct host_name n = name_of("a.example.com");
    bad_family_put(b, &n, IP_V4, BAD_BESIDE_ADDRESSES, 0);
    bad_family_put(b, &n, IP_V6, BAD_BESIDE_ADDRESSES, 0);
    bad_family_forget(b);
    assert_int_equal(bad_family_count(b), 0);
    assert_int_equal(bad_family_get(b, &n, IP_V4, 1), BAD_BESIDE_NOTHING);
    bad_family_put(b, &n, IP_V4, BAD_BESIDE_ADDRESSES, 1);
    assert_int_equal(bad_family_get(b, &n, IP_V4, 2), BAD_BESIDE_ADDRESSES);
    bad_family_free(b);
}

static void is_bounded_and_drops_the_least_recently_used(void **state)
{
    (void)state;
    struct bad_family *b = NULL;
    assert_int_equal(bad_family_new(&b), 0);
    for (int i = 0; i <= BAD_FAMILY_MAX; i++) {
        char text[64];
        (void)snprintf(text, sizeof(text), "n%d.example.com", i);
        const struct host_name n = name_of(text);
        bad_family_put(b, &n, IP_V6, BAD_BESIDE_ADDRESSES, 5);
        const struct host_name first = name_of("n0.example.com");
        assert_int_equal(bad_family_get(b, &first, IP_V6, 6), BAD_BESIDE_ADDRESSES); /* in use: it stays */
    }
    assert_int_equal(bad_family_count(b), BAD_FAMILY_MAX);
    const struct host_name second = name_of("n1.example.com");
    assert_int_equal(bad_family_get(b, &second, IP_V6, 6), BAD_BESIDE_NOTHING);
    bad_family_free(b);
    bad_family_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(remembers_one_family_for_thirty_seconds),
        cmocka_unit_test(saying_it_again_does_not_extend_it),
        cmocka_unit_test(forgets_all),
        cmocka_unit_test(is_bounded_and_drops_the_least_recently_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

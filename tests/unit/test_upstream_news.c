/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/dns/upstream_news.h"

static struct addr addr_of(unsigned n)
{
    return (struct addr){.ip = ip_v4(192, 0, (uint8_t)(n / 256), (uint8_t)n), .port = 53};
}

static int set_up(void **state)
{
    struct upstream_news *n = NULL;
    assert_int_equal(upstream_news_new(&n), 0);
    *state = n;
    return 0;
}

static int tear_down(void **state)
{
    upstream_news_free(*state);
    return 0;
}

/* Four workers find the same: one line. */
static void loop_is_said_once(void **state)
{
    struct upstream_news *n = *state;
    const struct addr a = addr_of(1), b = addr_of(2);
    assert_false(upstream_news_loop(n, &a, false, 0));
    for (int64_t now_ms = 0; now_ms < 600000; now_ms += 60000) {
        for (int worker = 0; worker < 4; worker++) {
            assert_int_equal(upstream_news_loop(n, &a, true, now_ms + worker), now_ms == 0 && worker == 0);
        }
    }
    assert_true(upstream_news_loop(n, &b, true, 600000)); /* another one */
    assert_true(upstream_news_loop(n, &a, false, 600000));
    assert_false(upstream_news_loop(n, &a, false, 600001));
    assert_true(upstream_news_loop(n, &a, true, 600002));
}

/* It was not asked meanwhile: somebody else's server may have stood there. */
static void old_loop_is_news_again(void **state)
{
    struct upstream_news *n = *state;
    const struct addr a = addr_of(1);
    assert_true(upstream_news_loop(n, &a, true, 0));
    assert_false(upstream_news_loop(n, &a, true, UPSTREAM_NEWS_LOOP_MS - 1));
    assert_true(upstream_news_loop(n, &a, true, 2 * UPSTREAM_NEWS_LOOP_MS - 1));
}

/* Before the workers were there; they do not use it, and say themselves what becomes of it. */
static void loop_of_the_start(void **state)
{
    struct upstream_news *n = *state;
    const struct addr a = addr_of(1), b = addr_of(2), c = addr_of(3);
    assert_false(upstream_news_is_loop(n, &a, 0));
    upstream_news_found_loop(n, &a, 0);
    upstream_news_found_loop(n, &b, 0);
    assert_true(upstream_news_is_loop(n, &a, 1));
    assert_false(upstream_news_is_loop(n, &c, 1));
    assert_true(upstream_news_is_loop(n, &a, UPSTREAM_NEWS_LOOP_MS - 1));
    assert_false(upstream_news_is_loop(n, &a, UPSTREAM_NEWS_LOOP_MS));
    assert_false(upstream_news_loop(n, &a, true, 2)); /* it still is one, which was said */
    assert_false(upstream_news_loop(n, &a, true, 3));
    assert_true(upstream_news_is_loop(n, &a, 4));
    assert_true(upstream_news_loop(n, &b, false, 2)); /* it is none any more */
    assert_false(upstream_news_loop(n, &b, false, 3));
    assert_false(upstream_news_is_loop(n, &b, 4));
}

static void forgeries_are_summed(void **state)
{
    struct upstream_news *n = *state;
    const struct addr a = addr_of(1), b = addr_of(2);
    for (int i = 1; i < 100; i++) {
        assert_int_equal(upstream_news_forged(n, &a, 1000 + i),
                         i == UPSTREAM_NEWS_FORGED_MIN ? UPSTREAM_NEWS_FORGED_MIN : 0);
        assert_int_equal(upstream_news_forged(n, &b, 1000 + 5000 * i), 0); /* too few a minute */
    }
    assert_int_equal(upstream_news_forged(n, &a, 61000), 0);
    assert_int_equal(upstream_news_forged(n, &a, 61001), 100);
    assert_int_equal(upstream_news_forged(n, &a, 121001), 0); /* one since: nothing to speak of */
}

/* One server of several behind the address has an expired certificate: two lines a question it was. */
static void tls_that_comes_and_goes(void **state)
{
    struct upstream_news *n = *state;
    const struct addr a = addr_of(1), b = addr_of(2);
    const int64_t pause_ms = UPSTREAM_NEWS_TLS_MS;
    uint64_t suppressed = 0;
    assert_false(upstream_news_tls_restored(n, &a, 0, &suppressed)); /* it was not down */
    for (int64_t now_ms = 0; now_ms < 2 * pause_ms; now_ms += 1000) {
        const bool is_due = now_ms % pause_ms == 0;
        assert_int_equal(upstream_news_tls_failed(n, &a, 2, now_ms, &suppressed), is_due);
        if (is_due) {
            assert_int_equal(suppressed, now_ms == 0 ? 0 : 59);
        }
        assert_int_equal(upstream_news_tls_restored(n, &a, now_ms, &suppressed), is_due);
    }
    assert_true(upstream_news_tls_failed(n, &b, 2, 1000, &suppressed)); /* another one */
    assert_true(upstream_news_tls_failed(n, &b, 1, 1001, &suppressed)); /* other trouble of it */
    assert_false(upstream_news_tls_failed(n, &b, 2, 1002, &suppressed));
    assert_false(upstream_news_tls_failed(n, &b, 1, 1003, &suppressed));
    assert_true(upstream_news_tls_failed(n, &b, 0, 1004, &suppressed));
    assert_int_equal(suppressed, 2);
}

/* The last word is the truth: what was not said because it was said of late is said later. */
static void tls_restored_is_said_at_last(void **state)
{
    struct upstream_news *n = *state;
    const struct addr a = addr_of(1);
    const int64_t pause_ms = UPSTREAM_NEWS_TLS_MS;
    uint64_t suppressed = 0;
    assert_true(upstream_news_tls_failed(n, &a, 0, 0, &suppressed));
    assert_true(upstream_news_tls_restored(n, &a, 1, &suppressed));
    assert_false(upstream_news_tls_restored(n, &a, 2, &suppressed)); /* of another worker */
    assert_false(upstream_news_tls_failed(n, &a, 0, 3, &suppressed));
    assert_false(upstream_news_tls_restored(n, &a, 4, &suppressed));
    assert_false(upstream_news_tls_restored(n, &a, pause_ms, &suppressed));
    assert_true(upstream_news_tls_restored(n, &a, pause_ms + 1, &suppressed));
    assert_int_equal(suppressed, 1);
    assert_false(upstream_news_tls_restored(n, &a, 3 * pause_ms, &suppressed));
    assert_true(upstream_news_tls_failed(n, &a, 0, 3 * pause_ms, &suppressed));
    assert_int_equal(suppressed, 0);
}

static bool is_failing(struct upstream_news *n, int64_t sent_ms, int64_t now_ms, uint64_t *suppressed)
{
    const struct addr a = addr_of(1);
    const struct upstream_news_failure f = {
        .ill = UPSTREAM_NEWS_DOWN, .since_ms = sent_ms - 100, .sent_ms = sent_ms};
    return upstream_news_failing(n, &a, &f, now_ms, suppressed);
}

static void failing_is_said_once(void **state)
{
    struct upstream_news *n = *state;
    const struct addr a = addr_of(1);
    uint64_t suppressed = 0;
    int64_t down_ms = 0;
    assert_false(
        upstream_news_answers(n, &a, UPSTREAM_NEWS_DOWN, 0, &down_ms)); /* nobody had said it fails */
    assert_false(upstream_news_is_failing(n, &a, UPSTREAM_NEWS_DOWN, &down_ms));
    assert_true(is_failing(n, 1000, 1800, &suppressed));
    for (int64_t now_ms = 1800; now_ms < 500000; now_ms += 30000) { /* of other workers, and on and on */
        assert_false(is_failing(n, now_ms - 800, now_ms, &suppressed));
    }
    assert_true(upstream_news_is_failing(n, &a, UPSTREAM_NEWS_DOWN, &down_ms));
    assert_int_equal(down_ms, 900);
    assert_false(upstream_news_is_failing(n, &a, UPSTREAM_NEWS_UDP_BLOCKED, &down_ms));
    assert_true(upstream_news_answers(n, &a, UPSTREAM_NEWS_DOWN, 500900, &down_ms));
    assert_int_equal(down_ms, 500000);
    assert_false(upstream_news_answers(n, &a, UPSTREAM_NEWS_DOWN, 501000, &down_ms)); /* the other workers */
    assert_false(is_failing(n, 500500, 501300, &suppressed)); /* was under way when it answered again */
    assert_false(upstream_news_is_failing(n, &a, UPSTREAM_NEWS_DOWN, &down_ms));
    assert_true(is_failing(n, 501001, 501801, &suppressed));
    assert_int_equal(suppressed, 0);
}

/* One worker found it failing and is asked nothing any more; another one has had answers all the time. */
static void restored_by_another_worker(void **state)
{
    struct upstream_news *n = *state;
    const struct addr a = addr_of(1), b = addr_of(2);
    uint64_t suppressed = 0;
    int64_t down_ms = 0;
    assert_false(upstream_news_answered(n, &a, UPSTREAM_NEWS_DOWN, 500, &down_ms));
    assert_true(is_failing(n, 1000, 1800, &suppressed));
    assert_false(upstream_news_answered(n, &a, UPSTREAM_NEWS_DOWN, 1000, &down_ms)); /* before it failed */
    assert_false(upstream_news_answered(n, &b, UPSTREAM_NEWS_DOWN, 9000, &down_ms));
    assert_false(upstream_news_answered(n, &a, UPSTREAM_NEWS_UDP_BLOCKED, 9000, &down_ms));
    assert_false(is_failing(n, 5000, 5800, &suppressed));
    assert_false(upstream_news_answered(n, &a, UPSTREAM_NEWS_DOWN, 4000, &down_ms)); /* and it failed since */
    assert_true(upstream_news_is_failing(n, &a, UPSTREAM_NEWS_DOWN, &down_ms));
    assert_true(upstream_news_answered(n, &a, UPSTREAM_NEWS_DOWN, 7900, &down_ms));
    assert_int_equal(down_ms, 7000);
    assert_false(upstream_news_is_failing(n, &a, UPSTREAM_NEWS_DOWN, &down_ms));
    assert_false(upstream_news_answered(n, &a, UPSTREAM_NEWS_DOWN, 8000, &down_ms));
}

/* A pair of lines a minute; and one that stays down is told of as soon as there may be a line. */
static void flapping_is_summed(void **state)
{
    struct upstream_news *n = *state;
    const struct addr a = addr_of(1);
    uint64_t suppressed = 0;
    int64_t down_ms = 0;
    unsigned failing = 0, answers = 0;
    for (int64_t now_ms = 1000; now_ms < 1000 + 10 * 60000; now_ms += 2000) {
        failing += is_failing(n, now_ms, now_ms, &suppressed);
        assert_true(suppressed <= 29);
        answers += upstream_news_answers(n, &a, UPSTREAM_NEWS_DOWN, now_ms + 1000, &down_ms);
    }
    assert_int_equal(failing, 10);
    assert_int_equal(answers, 10);
    const int64_t last_ms = 541000; /* of the lines */
    assert_false(is_failing(n, 601000 - 1, last_ms + UPSTREAM_NEWS_ILL_MS - 1, &suppressed));
    assert_true(is_failing(n, 601000, last_ms + UPSTREAM_NEWS_ILL_MS, &suppressed));
    assert_int_equal(suppressed, 30);
}

/* More addresses than are known: the one spoken of longest ago makes room, and is news again. */
static void oldest_makes_room(void **state)
{
    struct upstream_news *n = *state;
    for (unsigned i = 0; i < UPSTREAM_NEWS_MAX; i++) {
        const struct addr a = addr_of(i);
        assert_true(upstream_news_loop(n, &a, true, i));
    }
    const struct addr first = addr_of(0), second = addr_of(1), more = addr_of(UPSTREAM_NEWS_MAX);
    assert_false(upstream_news_loop(n, &first, true, 1000));
    assert_true(upstream_news_loop(n, &more, true, 1001));
    assert_false(upstream_news_loop(n, &first, true, 1002));
    assert_true(upstream_news_loop(n, &second, true, 1003));
    upstream_news_free(NULL);
}

int main(void)
{
#define NEWS_CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        NEWS_CASE(loop_is_said_once),       NEWS_CASE(old_loop_is_news_again),
        NEWS_CASE(loop_of_the_start),       NEWS_CASE(forgeries_are_summed),
        NEWS_CASE(tls_that_comes_and_goes), NEWS_CASE(tls_restored_is_said_at_last),
        NEWS_CASE(failing_is_said_once),    NEWS_CASE(flapping_is_summed),
        NEWS_CASE(oldest_makes_room),       NEWS_CASE(restored_by_another_worker)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

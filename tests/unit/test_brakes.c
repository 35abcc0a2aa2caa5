/* SPDX-License-Identifier: Apache-2.0 */
/* Time is invented: every promise of brakes.h without a clock. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/run/brakes.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define START_MS 1000000

struct scene {
    struct brakes *brakes;
    int64_t now_ms;
    uint32_t sandbox;
    struct ip client;
    struct brakes_outcome last;
};

static struct host_name name_of(const char *text)
{
    struct host_name n;
    assert_int_equal(host_name_parse(span_str(text), &n), HOST_FAULT_NONE);
    return n;
}

/* What host_pattern makes of a pattern. */
static struct host_name pattern_of(const char *text)
{
    struct host_name n = {.len = (uint8_t)strlen(text), .label_count = 3};
    memcpy(n.text, text, n.len);
    return n;
}

static struct scene start(uint32_t rate, uint32_t budget, uint32_t length)
{
    const struct brakes_config cfg = {.rate = rate, .wildcard_budget = budget, .wildcard_length = length};
    struct scene s = {.now_ms = START_MS, .client = ip_v4(10, 0, 0, 1)};
    assert_int_equal(brakes_new(&cfg, &s.brakes), 0);
    return s;
}

static enum brakes_verdict ask(struct scene *s, const char *name, const char *pattern)
{
    const struct host_name n = name_of(name);
    const struct host_name p = pattern_of(pattern != NULL ? pattern : "");
    const struct brakes_question q = {.sandbox = s->sandbox,
                                      .client = &s->client,
                                      .name = &n,
                                      .pattern = pattern != NULL ? &p : NULL,
                                      .now_ms = s->now_ms};
    brakes_judge(s->brakes, &q, &s->last);
    return s->last.verdict;
}

static enum brakes_verdict ask_number(struct scene *s, unsigned i, const char *pattern)
{
    char text[64];
    (void)snprintf(text, sizeof(text), "n%u.example.com", i);
    return ask(s, text, pattern);
}

/* How many of count questions go, all at this moment. */
static unsigned burst(struct scene *s, unsigned count)
{
    unsigned gone = 0;
    for (unsigned i = 0; i < count; i++) {
        gone += ask(s, "api.example.com", NULL) == BRAKES_GO ? 1U : 0U;
    }
    return gone;
}

/* How many of the names n[first] on go through the wildcard. */
static unsigned burst_new(struct scene *s, unsigned first, unsigned count, const char *pattern)
{
    unsigned gone = 0;
    for (unsigned i = first; i < first + count; i++) {
        gone += ask_number(s, i, pattern) == BRAKES_GO ? 1U : 0U;
    }
    return gone;
}

static void nothing_is_stopped_by_zero(void **state)
{
    (void)state;
    struct scene s = start(0, 0, 0);
    char text[200];
    assert_int_equal(burst(&s, 10000), 10000);
    assert_int_equal(burst_new(&s, 0, 10000, "*.example.com"), 10000);
    memset(text, 'a', sizeof(text) - 1);
    for (size_t i = 60; i < sizeof(text) - 20; i += 50) {
        text[i] = '.';
    }
    memcpy(text + sizeof(text) - 13, ".example.com", 13);
    assert_int_equal(ask(&s, text, "**.example.com"), BRAKES_GO);
    brakes_free(s.brakes);
    brakes_free(NULL);
}

static void rate_is_a_burst_of_two_seconds_and_then_its_number(void **state)
{
    (void)state;
    struct scene s = start(200, 60, 128);
    assert_int_equal(burst(&s, 1000), 400);
    assert_int_equal(s.last.verdict, BRAKES_RATE);
    s.now_ms += 4; /* 0.8 of a question */
    assert_int_equal(burst(&s, 10), 0);
    s.now_ms += 1;
    assert_int_equal(burst(&s, 10), 1);
    s.now_ms += 1000;
    assert_int_equal(burst(&s, 1000), 200);
    s.now_ms += 3600000; /* never more than the burst */
    assert_int_equal(burst(&s, 1000), 400);
    s.now_ms -= 5000; /* a clock that steps back brings nothing and breaks nothing */
    assert_int_equal(burst(&s, 10), 0);
    s.now_ms += 5010;
    assert_int_equal(burst(&s, 10), 2);
    brakes_free(s.brakes);
}

static void rate_of_one_and_of_the_greatest(void **state)
{
    (void)state;
    struct scene s = start(1, 0, 0);
    assert_int_equal(burst(&s, 10), 2);
    s.now_ms += 999;
    assert_int_equal(burst(&s, 10), 0);
    s.now_ms += 1;
    assert_int_equal(burst(&s, 10), 1);
    brakes_free(s.brakes);
    s = start(1000000, 0, 0);
    assert_int_equal(burst(&s, 3000), 3000);
    s.now_ms = INT64_MAX;
    assert_int_equal(burst(&s, 3000), 3000);
    brakes_free(s.brakes);
}

static void clients_and_sandboxes_have_buckets_of_their_own(void **state)
{
    (void)state;
    struct scene s = start(10, 0, 0);
    assert_int_equal(burst(&s, 100), 20);
    s.client = ip_v4(10, 0, 0, 2);
    assert_int_equal(burst(&s, 100), 20);
    s.sandbox = 7;
    assert_int_equal(burst(&s, 100), 20);
    s.client = (struct ip){.family = IP_V6, .bytes = {10, 0, 0, 2}}; /* the same bytes in another family */
    assert_int_equal(burst(&s, 100), 20);
    s.client.bytes[15] = 1; /* not a prefix: the whole address */
    assert_int_equal(burst(&s, 100), 20);
    s.client = ip_v4(10, 0, 0, 1);
    s.sandbox = 0;
    assert_int_equal(burst(&s, 100), 0);
    brakes_free(s.brakes);
}

static void budget_is_for_names_that_are_new(void **state)
{
    (void)state;
    struct scene s = start(0, 60, 0);
    assert_int_equal(burst_new(&s, 0, 1000, "*.example.com"), 120);
    assert_int_equal(s.last.verdict, BRAKES_BUDGET);
    assert_int_equal(burst_new(&s, 0, 120, "*.example.com"), 120); /* seen: free, again and again */
    assert_false(s.last.is_new_name);
    assert_int_equal(ask_number(&s, 500, "*.example.com"), BRAKES_BUDGET); /* stopped is not seen */
    assert_int_equal(ask(&s, "exact.example.com", NULL), BRAKES_GO);
    assert_int_equal(ask(&s, "a.b.example.com", "*.b.example.com"), BRAKES_GO); /* another wildcard */
    assert_true(s.last.is_new_name);
    s.now_ms += 999;
    assert_int_equal(ask_number(&s, 500, "*.example.com"), BRAKES_BUDGET);
    s.now_ms += 1; /* 60 a minute */
    assert_int_equal(ask_number(&s, 500, "*.example.com"), BRAKES_GO);
    assert_int_equal(ask_number(&s, 501, "*.example.com"), BRAKES_BUDGET);
    s.now_ms += 60000;
    assert_int_equal(burst_new(&s, 1000, 1000, "*.example.com"), 60);
    s.now_ms += 600000;
    assert_int_equal(burst_new(&s, 3000, 1000, "*.example.com"), 120);
    brakes_free(s.brakes);
}

/* The wildcard is shared by the clients of a sandbox, or many of them would carry out what one may not. */
static void budget_is_of_the_sandbox_and_the_wildcard(void **state)
{
    (void)state;
    struct scene s = start(0, 5, 0);
    assert_int_equal(burst_new(&s, 0, 100, "*.example.com"), 10);
    s.client = ip_v4(10, 0, 0, 2);
    assert_int_equal(burst_new(&s, 100, 100, "*.example.com"), 0);
    assert_int_equal(burst_new(&s, 0, 10, "*.example.com"), 10); /* seen by anybody of the sandbox */
    s.sandbox = 1;
    assert_int_equal(burst_new(&s, 0, 100, "*.example.com"), 10);
    brakes_free(s.brakes);
}

static void length_is_of_the_whole_name_and_only_below_wildcards(void **state)
{
    (void)state;
    char name[160];
    struct scene s = start(0, 60, 128);
    memset(name, 'x', 58);
    memset(name + 59, 'y', 57);
    name[58] = '.';
    memcpy(name + 116, ".example.com", 13); /* 128 */
    assert_int_equal(strlen(name), 128);
    assert_int_equal(ask(&s, name, "**.example.com"), BRAKES_GO);
    memcpy(name + 116, "y.example.com", 14);
    assert_int_equal(strlen(name), 129);
    assert_int_equal(ask(&s, name, "**.example.com"), BRAKES_LENGTH);
    assert_true(s.last.is_onset);
    assert_int_equal(ask(&s, name, NULL), BRAKES_GO);
    assert_int_equal(burst_new(&s, 0, 500, "**.example.com"), 119); /* what was too long took nothing */
    brakes_free(s.brakes);
}

/* A question over the rate is asked again a moment later: it must find its name as new as it was. */
static void what_the_rate_stops_uses_no_budget(void **state)
{
    (void)state;
    struct scene s = start(10, 60, 0);
    assert_int_equal(burst(&s, 20), 20);
    for (unsigned i = 0; i < 500; i++) {
        assert_int_equal(ask_number(&s, i, "*.example.com"), BRAKES_RATE);
    }
    s.client = ip_v4(10, 0, 0, 9);
    for (unsigned i = 0; i < 12; i++, s.now_ms++) {
        s.client.bytes[2] = (uint8_t)i;
        assert_int_equal(burst_new(&s, i * 10, 10, "*.example.com"), 10);
        assert_true(s.last.is_new_name);
    }
    s.client.bytes[2] = 99;
    assert_int_equal(ask_number(&s, 400, "*.example.com"), BRAKES_BUDGET);
    assert_int_equal(burst(&s, 100), 20); /* and the budget used no rate */
    brakes_free(s.brakes);
}

static void onset_is_said_once_until_it_was_quiet(void **state)
{
    (void)state;
    struct scene s = start(1, 1, 10);
    assert_int_equal(burst(&s, 2), 2);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(ask(&s, "api.example.com", NULL), BRAKES_RATE);
        assert_true(s.last.is_onset == (i == 0));
    }
    assert_int_equal(ask(&s, "too-long.example.com", "*.example.com"), BRAKES_LENGTH);
    assert_true(s.last.is_onset); /* another brake, told by itself */
    s.client = ip_v4(10, 0, 0, 2);
    assert_int_equal(burst(&s, 3), 2);
    assert_true(s.last.is_onset); /* another client */
    s.client = ip_v4(10, 0, 0, 1);
    s.now_ms += BRAKES_QUIET_MS;
    assert_int_equal(ask(&s, "too-long.example.com", "*.example.com"), BRAKES_LENGTH);
    assert_false(s.last.is_onset);
    s.now_ms += BRAKES_QUIET_MS + 1;
    assert_int_equal(ask(&s, "too-long.example.com", "*.example.com"), BRAKES_LENGTH);
    assert_true(s.last.is_onset);
    brakes_free(s.brakes);
}

/* Memory is fixed: the client that asked longest ago makes room, the one that asks stays stopped. */
static void more_clients_than_are_known(void **state)
{
    (void)state;
    struct scene s = start(1, 0, 0);
    const struct ip busy = ip_v4(192, 0, 2, 1);
    s.client = busy;
    assert_int_equal(burst(&s, 3), 2);
    for (unsigned i = 0; i < 3 * BRAKES_CLIENTS_MAX; i++) {
        s.client = ip_v4(10, (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i);
        assert_int_equal(burst(&s, 1), 1);
        if (i % 1000 == 0) {
            s.client = busy;
            assert_int_equal(burst(&s, 1), 0);
        }
    }
    s.client = ip_v4(10, 0, 0, 5); /* forgotten: a full burst */
    assert_int_equal(burst(&s, 3), 2);
    brakes_free(s.brakes);
}

static void more_wildcards_and_names_than_are_known(void **state)
{
    (void)state;
    struct scene s = start(0, 1, 0);
    char text[64];
    char pattern[64];
    assert_int_equal(burst_new(&s, 0, 3, "*.example.com"), 2);
    for (unsigned i = 0; i < BRAKES_WILDCARDS_MAX + 10; i++) {
        (void)snprintf(pattern, sizeof(pattern), "*.w%u.example.com", i);
        (void)snprintf(text, sizeof(text), "a.w%u.example.com", i);
        assert_int_equal(ask(&s, text, pattern), BRAKES_GO);
        if (i % 1000 == 0) { /* stays known, and stopped */
            assert_int_equal(ask_number(&s, 10, "*.example.com"), BRAKES_BUDGET);
        }
    }
    brakes_free(s.brakes);
    s = start(0, 1000000, 0);
    assert_int_equal(ask_number(&s, 0, "*.example.com"), BRAKES_GO);
    s.now_ms += 1000; /* ages are seconds */
    const unsigned many = 4 * BRAKES_NAMES_MAX;
    unsigned again = 0;
    for (unsigned i = 1; i <= many; i++) {
        assert_int_equal(ask_number(&s, i, "*.example.com"), BRAKES_GO);
        again += s.last.is_new_name ? 0U : 1U;
    }
    assert_int_equal(again, 0);
    assert_int_equal(ask_number(&s, many, "*.example.com"), BRAKES_GO);
    assert_false(s.last.is_new_name);
    assert_int_equal(ask_number(&s, 0, "*.example.com"), BRAKES_GO); /* forgotten: new again */
    assert_true(s.last.is_new_name);
    brakes_free(s.brakes);
}

/* A name that is asked for all the time outlives any number of others in its set. */
static void names_in_use_are_kept(void **state)
{
    (void)state;
    struct scene s = start(0, 1000000, 0);
    assert_int_equal(ask_number(&s, 0, "*.example.com"), BRAKES_GO);
    for (unsigned i = 1; i <= 3 * BRAKES_NAMES_MAX; i++) {
        s.now_ms += 10;
        assert_int_equal(ask_number(&s, i, "*.example.com"), BRAKES_GO);
        if (i % 1000 == 0) {
            assert_int_equal(ask_number(&s, 0, "*.example.com"), BRAKES_GO);
            assert_false(s.last.is_new_name);
        }
    }
    brakes_free(s.brakes);
}

static void words_name_the_option(void **state)
{
    (void)state;
    static const struct {
        enum brakes_verdict verdict;
        const char *reason, *option;
    } rows[] = {{BRAKES_RATE, "rate_limited", "--rate-limit"},
                {BRAKES_BUDGET, "wildcard_budget", "--wildcard-budget"},
                {BRAKES_LENGTH, "wildcard_length", "--wildcard-length"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_string_equal(reason_text(brakes_reason(rows[i].verdict)), rows[i].reason);
        assert_non_null(strstr(brakes_text(rows[i].verdict), rows[i].option));
        assert_true(strlen(rows[i].reason) + strlen(brakes_text(rows[i].verdict)) < 118);
    }
    assert_int_equal(brakes_reason(BRAKES_GO), REASON_NONE);
    assert_string_equal(brakes_text(BRAKES_GO), "");
    const struct settings_shared s = {.rate_limit = 1, .wildcard_budget = 2, .wildcard_length = 3};
    const struct brakes_config cfg = brakes_config_of(&s);
    assert_true(cfg.rate == 1 && cfg.wildcard_budget == 2 && cfg.wildcard_length == 3);
}

struct crowd {
    struct brakes *brakes;
    unsigned index;
    unsigned gone, fresh;
};

/* All of them as one client, each with names of its own and with names of all. */
static void *ask_in_a_thread(void *ctx)
{
    struct crowd *c = ctx;
    const struct ip client = ip_v4(10, 0, 0, 1);
    const struct host_name pattern = pattern_of("*.example.com");
    for (unsigned i = 0; i < 4000; i++) {
        char text[64];
        (void)snprintf(text, sizeof(text), "n%u-%u.example.com", i % 2 == 0 ? c->index : 99U, i);
        const struct host_name name = name_of(text);
        const struct brakes_question q = {
            .client = &client, .name = &name, .pattern = &pattern, .now_ms = START_MS};
        struct brakes_outcome out;
        brakes_judge(c->brakes, &q, &out);
        c->gone += out.verdict == BRAKES_GO ? 1U : 0U;
        c->fresh += out.is_new_name ? 1U : 0U;
    }
    return NULL;
}

static void workers_share_the_tokens(void **state)
{
    (void)state;
    struct scene s = start(1000, 300, 128);
    pthread_t threads[4];
    struct crowd crowds[4];
    unsigned gone = 0;
    unsigned fresh = 0;
    for (unsigned i = 0; i < 4; i++) {
        crowds[i] = (struct crowd){.brakes = s.brakes, .index = i};
        assert_int_equal(pthread_create(&threads[i], NULL, ask_in_a_thread, &crowds[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        gone += crowds[i].gone;
        fresh += crowds[i].fresh;
    }
    assert_int_equal(fresh, 600); /* exactly: not one name more for all of them */
    assert_in_range(gone, 600, 2000);
    brakes_free(s.brakes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_stopped_by_zero),
        cmocka_unit_test(rate_is_a_burst_of_two_seconds_and_then_its_number),
        cmocka_unit_test(rate_of_one_and_of_the_greatest),
        cmocka_unit_test(clients_and_sandboxes_have_buckets_of_their_own),
        cmocka_unit_test(budget_is_for_names_that_are_new),
        cmocka_unit_test(budget_is_of_the_sandbox_and_the_wildcard),
        cmocka_unit_test(length_is_of_the_whole_name_and_only_below_wildcards),
        cmocka_unit_test(what_the_rate_stops_uses_no_budget),
        cmocka_unit_test(onset_is_said_once_until_it_was_quiet),
        cmocka_unit_test(more_clients_than_are_known),
        cmocka_unit_test(more_wildcards_and_names_than_are_known),
        cmocka_unit_test(names_in_use_are_kept),
        cmocka_unit_test(words_name_the_option),
        cmocka_unit_test(workers_share_the_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

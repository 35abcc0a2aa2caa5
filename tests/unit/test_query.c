/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations of dnsd: what is asked, what is answered, and with which policy. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/query_scene.h"

#include "common/base/clock.h"

#include <unistd.h>

static void denied_and_malformed_are_answered_at_once(void **state)
{
    struct query_scene *f = *state;
    const struct reply to = {
        .send = query_scene_take_reply, .owner = f, .client = {.ip = ip_v4(127, 0, 0, 1), .port = 4000}};
    assert_int_equal(query_scene_ask(f, "evil.example.org", DNS_A), QUERY_TAKEN);
    assert_int_equal(f->reply_count, 1);
    assert_int_equal(query_scene_rcode(f), DNS_NXDOMAIN);
    assert_int_equal(f->last[9], 1); /* the SOA */
    uint8_t header[DNS_HEADER_LEN] = {0, 9, 1, 0, 0, 2};
    assert_int_equal(query_handle(f->engine, span_make(header, sizeof(header)), clock_mono_ms(), 0, &to),
                     QUERY_TAKEN);
    assert_int_equal(f->reply_count, 2);
    assert_int_equal(query_scene_rcode(f), DNS_FORMERR);
    header[2] = 0x81;
    assert_int_equal(query_handle(f->engine, span_make(header, sizeof(header)), clock_mono_ms(), 0, &to),
                     QUERY_DROPPED);
    assert_int_equal(query_handle(f->engine, span_make(header, 11), clock_mono_ms(), 0, &to), QUERY_DROPPED);
    assert_int_equal(query_handle(f->engine, (struct span){0}, clock_mono_ms(), 0, &to), QUERY_DROPPED);
    assert_int_equal(f->reply_count, 2);
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_DENIED), 1);
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_ERRORS), 1);
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_DROPPED), 3);
    assert_int_equal(f->upstream_count, 0);
    assert_int_equal(query_in_flight(f->engine), 0);
}

static void clients_outside_the_list_are_refused(void **state)
{
    struct query_scene *f = *state;
    f->acl.everybody = false;
    assert_int_equal(query_scene_ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(query_scene_rcode(f), DNS_REFUSED);
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_CLIENT_REFUSED), 1);
    assert_int_equal(f->upstream_count, 0);
}

static void admitted_is_asked_once_then_cached(void **state)
{
    struct query_scene *f = *state;
    assert_int_equal(query_scene_ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(f->reply_count, 0);
    assert_int_equal(query_in_flight(f->engine), 1);
    query_scene_run_until(f, 1);
    assert_int_equal(query_scene_rcode(f), DNS_NOERROR);
    assert_int_equal(query_scene_answers(f), 1);
    assert_int_equal(query_in_flight(f->engine), 0);
    assert_int_equal(query_scene_ask(f, "A.T.Example.NET", DNS_A), QUERY_TAKEN);
    assert_int_equal(f->reply_count, 2);
    assert_int_equal(f->upstream_count, 1);
}

/* The third time nothing is judged or looked up any more; a client cannot tell. */
static void a_hot_answer_is_the_same_answer(void **state)
{
    struct query_scene *f = *state;
    uint8_t cached[sizeof(f->last)];
    assert_int_equal(query_scene_ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
    query_scene_run_until(f, 1);
    assert_int_equal(query_scene_ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_HOT), 0);
    memcpy(cached, f->last, sizeof(cached));
    memset(f->last, 0, sizeof(f->last));
    assert_int_equal(query_scene_ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_HOT), 1);
    assert_int_equal(f->reply_count, 3);
    assert_memory_equal(cached, f->last, sizeof(cached));
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_ADMITTED), 3);
    assert_int_equal(f->upstream_count, 1);
}

/* AAAA that is not given out is made of A, and hot as well. */
static void a_hidden_aaaa_waits_for_a(void **state)
{
    struct query_scene *f = *state;
    uint8_t first[sizeof(f->last)];
    f->answer.aaaa = AAAA_NODATA;
    assert_int_equal(query_scene_ask(f, "a.t.example.net", DNS_AAAA), QUERY_TAKEN);
    assert_int_equal(f->reply_count, 0);
    query_scene_run_until(f, 1);
    assert_int_equal(f->upstream_count, 1);
    for (size_t i = 2; i <= 4; i++) {
        assert_int_equal(query_scene_rcode(f), DNS_NOERROR);
        assert_int_equal(query_scene_answers(f), 0);
        memcpy(first, f->last, sizeof(first));
        assert_int_equal(query_scene_ask(f, "a.t.example.net", DNS_AAAA), QUERY_TAKEN);
        assert_int_equal(f->reply_count, i);
        assert_memory_equal(first, f->last, f->last_len);
    }
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_HOT), 2);
    assert_int_equal(query_scene_ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(query_scene_answers(f), 1);
    assert_int_equal(f->upstream_count, 1);

    f->is_silent = true;
    assert_int_equal(query_scene_ask(f, "b.t.example.net", DNS_AAAA), QUERY_TAKEN);
    query_scene_run_until(f, 6);
    assert_int_equal(query_scene_rcode(f), DNS_SERVFAIL);
}

static void an_empty_family_is_hot_while_the_other_is_good(void **state)
{
    struct query_scene *f = *state;
    f->is_aaaa_empty = true;
    for (size_t i = 1; i <= 3; i++) {
        assert_int_equal(query_scene_ask(f, "a.t.example.net", DNS_AAAA), QUERY_TAKEN);
        query_scene_run_until(f, i);
        assert_int_equal(query_scene_rcode(f), DNS_NOERROR);
        assert_int_equal(query_scene_answers(f), 0);
    }
    assert_int_equal(f->upstream_count, 2);
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_HOT), 1);
    (void)usleep(1100000); /* A is over, the empty AAAA is not */
    assert_int_equal(query_scene_ask(f, "a.t.example.net", DNS_AAAA), QUERY_TAKEN);
    assert_int_equal(f->reply_count, 3);
    query_scene_run_until(f, 4);
    assert_int_equal(f->upstream_count, 3);
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_HOT), 1);
}

static void a_hot_answer_ends_with_its_policy(void **state)
{
    struct query_scene *f = *state;
    for (size_t i = 1; i <= 3; i++) {
        assert_int_equal(query_scene_ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
        query_scene_run_until(f, i);
        assert_int_equal(query_scene_answers(f), 1);
    }
    policy_unref(f->worker.policy);
    f->worker.policy = query_scene_policy(query_policy_b, 2);
    assert_int_equal(query_scene_ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(query_scene_rcode(f), DNS_NXDOMAIN);
    assert_int_equal(query_scene_answers(f), 0);
}

static void a_denial_is_the_same_denial(void **state)
{
    struct query_scene *f = *state;
    uint8_t first[sizeof(f->last)];
    for (size_t i = 0; i < 3; i++) {
        memset(f->last, 0, sizeof(f->last));
        assert_int_equal(query_scene_ask(f, "evil.example.org", DNS_A), QUERY_TAKEN);
        assert_int_equal(query_scene_rcode(f), DNS_NXDOMAIN);
        if (i > 0) {
            assert_memory_equal(first, f->last, sizeof(first));
        }
        memcpy(first, f->last, sizeof(first));
    }
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_DENIED), 3);
    assert_int_equal(query_scene_ask(f, "printer", DNS_TXT), QUERY_TAKEN);
    assert_int_equal(query_scene_ask(f, "printer", DNS_TXT), QUERY_TAKEN);
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_NOISE), 2);
    /* and ends with its policy too */
    assert_int_equal(query_scene_ask(f, "a.u.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(query_scene_rcode(f), DNS_NXDOMAIN);
    policy_unref(f->worker.policy);
    f->worker.policy = query_scene_policy(query_policy_b, 2);
    const size_t replies = f->reply_count;
    assert_int_equal(query_scene_ask(f, "a.u.example.net", DNS_A), QUERY_TAKEN);
    query_scene_run_until(f, replies + 1);
    assert_int_equal(query_scene_rcode(f), DNS_NOERROR);
    assert_int_equal(query_scene_answers(f), 1);
}

static void equal_questions_join(void **state)
{
    struct query_scene *f = *state;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(query_scene_ask(f, "join.t.example.net", DNS_AAAA), QUERY_TAKEN);
    }
    query_scene_run_until(f, 10);
    assert_int_equal(f->upstream_count, 1);
    assert_int_equal(query_scene_answers(f), 1);
}

static void on_failure(void *ctx, const struct resolver_answer *a)
{
    assert_int_equal(a->status, RESOLVER_FAILED);
    *(bool *)ctx = true;
}

/* While A is remembered to have found nobody, AAAA is not asked on its behalf; it is on its own. */
static void what_found_nobody_is_told_at_once(void **state)
{
    struct query_scene *f = *state;
    struct host_name name;
    bool has_failed = false;
    assert_int_equal(host_name_parse(SPAN_LIT("dead.t.example.net"), &name), HOST_FAULT_NONE);
    ev_io_stop(f->worker.loop, &f->upstream);
    (void)close(f->upstream_fd);
    f->upstream_fd = -1;
    assert_int_not_equal(resolver_ask(f->resolver, &name, DNS_A, on_failure, &has_failed), 0);
    while (!has_failed) {
        ev_run(f->worker.loop, EVRUN_ONCE);
    }
    assert_int_equal(query_scene_ask(f, "dead.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(f->reply_count, 1);
    assert_int_equal(query_scene_rcode(f), DNS_SERVFAIL);
    assert_int_equal(query_in_flight(f->engine), 0);
    assert_int_equal(query_scene_ask(f, "dead.t.example.net", DNS_AAAA), QUERY_TAKEN);
    assert_int_equal(f->reply_count, 1);
    assert_int_equal(query_in_flight(f->engine), 1);
    query_scene_run_until(f, 2);
    assert_int_equal(query_scene_rcode(f), DNS_SERVFAIL);
}

static void a_new_policy_judges_what_is_in_flight(void **state)
{
    struct query_scene *f = *state;
    assert_int_equal(query_scene_ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
    policy_unref(f->worker.policy);
    f->worker.policy = query_scene_policy(query_policy_b, 2);
    query_scene_run_until(f, 1);
    assert_int_equal(query_scene_rcode(f), DNS_NXDOMAIN);
    assert_int_equal(query_scene_answers(f), 0);
}

static void use_policy(struct query_scene *f, const char *text, uint64_t generation)
{
    policy_unref(f->worker.policy);
    f->worker.policy = query_scene_policy(text, generation);
    query_engine_take_policy(f->engine);
}

static void a_new_policy_ends_what_it_denies(void **state)
{
    struct query_scene *f = *state;
    f->is_silent = true;
    use_policy(f, query_policy_a, 2); /* nothing is in flight */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(query_scene_ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
    }
    assert_int_equal(query_scene_ask(f, "b.t.example.net", DNS_AAAA), QUERY_TAKEN);
    use_policy(f, query_policy_a, 3); /* another one that admits them too */
    assert_int_equal(f->reply_count, 0);
    assert_int_equal(query_in_flight(f->engine), 4);
    while (f->upstream_count < 2) {
        ev_run(f->worker.loop, EVRUN_ONCE);
    }
    use_policy(f, query_policy_b, 4);
    assert_int_equal(f->reply_count, 4);
    assert_int_equal(query_scene_rcode(f), DNS_NXDOMAIN);
    assert_int_equal(query_in_flight(f->engine), 0);
    struct resolver_stats stats;
    resolver_stats_read(f->resolver, &stats);
    const uint64_t sent = stats.sent_udp;
    ev_sleep(0.9); /* after 800 ms each would have been asked again */
    ev_run(f->worker.loop, EVRUN_NOWAIT);
    ev_run(f->worker.loop, EVRUN_NOWAIT);
    resolver_stats_read(f->resolver, &stats);
    assert_int_equal(stats.sent_udp, sent);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, query_scene_set_up, query_scene_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(denied_and_malformed_are_answered_at_once),
        TEST(clients_outside_the_list_are_refused),
        TEST(admitted_is_asked_once_then_cached),
        TEST(a_hot_answer_is_the_same_answer),
        TEST(a_hidden_aaaa_waits_for_a),
        TEST(an_empty_family_is_hot_while_the_other_is_good),
        TEST(a_hot_answer_ends_with_its_policy),
        TEST(a_denial_is_the_same_denial),
        TEST(equal_questions_join),
        TEST(what_found_nobody_is_told_at_once),
        TEST(a_new_policy_judges_what_is_in_flight),
        TEST(a_new_policy_ends_what_it_denies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

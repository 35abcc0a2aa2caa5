/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations of dnsd: how many, how often, how long, and the end. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/net/sock.h"
#include "tests/support/query_scene.h"

#include <stdio.h>
#include <stdlib.h>

static void too_many_in_flight_are_told_at_once(void **state)
{
    struct query_scene *f = *state;
    f->is_silent = true;
    for (size_t i = 0; i < QUERY_IN_FLIGHT_MAX; i++) {
        assert_int_equal(query_scene_ask(f, "busy.t.example.net", DNS_A), QUERY_TAKEN);
    }
    assert_int_equal(f->reply_count, 0);
    assert_int_equal(query_scene_ask(f, "busy.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(f->reply_count, 1);
    assert_int_equal(query_scene_rcode(f), DNS_SERVFAIL);
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_BUSY), 1);
    assert_int_equal(query_scene_ask(f, "evil.example.org", DNS_A), QUERY_TAKEN); /* denying needs no room */
    assert_int_equal(query_scene_rcode(f), DNS_NXDOMAIN);
    char name[64];
    for (unsigned i = 0; i < 30;
         i++) { /* what does not go upstream is nothing to the brakes, whose burst is 10 */
        (void)snprintf(name, sizeof(name), "n%u.t.example.net", i);
        assert_int_equal(query_scene_ask(f, name, DNS_A), QUERY_TAKEN);
        assert_int_equal(query_scene_rcode(f), DNS_SERVFAIL);
    }
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_BUSY), 31);
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_WILDCARD_NAMES), 1);
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_WILDCARD_BUDGET), 0);
    /* query_scene_tear_down() frees the engine with all of them in flight */
}

static void renew_resolver(struct query_scene *f, size_t max_questions, const struct zone_set *zones)
{
    struct addr upstream;
    struct err err = {0};
    struct resolver_config cfg;
    query_engine_free(f->engine);
    resolver_free(f->resolver);
    assert_int_equal(sock_local_addr(f->upstream_fd, &upstream), 0);
    resolver_config_defaults(&cfg);
    cfg.upstreams = &upstream;
    cfg.upstream_count = 1;
    cfg.max_questions = max_questions;
    cfg.zones = zones;
    assert_int_equal(resolver_new(f->worker.loop, &cfg, &f->resolver, &err), 0);
    f->engine = query_scene_engine(f);
}

/* Clients that wait for one name of a dead zone hold a place each here, and one in the resolver. */
static void a_dead_zone_leaves_places(void **state)
{
    struct query_scene *f = *state;
    struct zone_set zones = {0};
    struct zone zone;
    struct err err = {0};
    assert_int_equal(zone_parse(SPAN_LIT("zone.t.example.net=127.0.0.1:9"), &zone, &err), 0);
    assert_int_equal(sock_local_addr(f->upstream_fd, &zone.upstreams[0]), 0);
    assert_int_equal(zone_set_add(&zones, &zone, &err), 0);
    renew_resolver(f, QUERY_IN_FLIGHT_MAX, &zones);
    f->is_silent = true;
    for (size_t i = 0; i < QUERY_IN_FLIGHT_MAX; i++) {
        assert_int_equal(query_scene_ask(f, "zone.t.example.net", DNS_A), QUERY_TAKEN);
    }
    assert_int_equal(query_in_flight(f->engine), QUERY_IN_FLIGHT_MAX / 4 * 3);
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_BUSY), QUERY_IN_FLIGHT_MAX / 4);
    f->is_silent = false;
    const size_t replies = f->reply_count;
    assert_int_equal(query_scene_ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(f->reply_count, replies); /* it waits for its answer */
    assert_int_equal(query_in_flight(f->engine), QUERY_IN_FLIGHT_MAX / 4 * 3 + 1);
}

/* The engine has places, the resolver has none: no less busy. */
static void what_the_resolver_has_no_place_for_is_busy(void **state)
{
    struct query_scene *f = *state;
    f->is_silent = true;
    renew_resolver(f, 1, NULL);
    assert_int_equal(query_scene_ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(query_scene_ask(f, "b.t.example.net", DNS_A), QUERY_TAKEN);
    query_scene_run_until(f, 1);
    assert_int_equal(query_scene_rcode(f), DNS_SERVFAIL);
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_FAILED), 1);
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_BUSY), 1);
}

static void drains_when_the_last_one_has_its_answer(void **state)
{
    struct query_scene *f = *state;
    assert_int_equal(query_scene_ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
    query_engine_drain(f->engine);
    assert_false(f->is_idle);
    assert_int_equal(query_scene_ask(f, "b.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(f->reply_count, 1);
    assert_int_equal(query_scene_rcode(f), DNS_SERVFAIL);
    query_scene_run_until(f, 2);
    assert_int_equal(query_scene_answers(f), 1);
    assert_true(f->is_idle);
}

static void drains_at_once_when_nothing_is_in_flight(void **state)
{
    struct query_scene *f = *state;
    query_engine_drain(f->engine);
    assert_true(f->is_idle);
}

/* What the brakes stop costs no packet, what policy or cache answers costs no token. */
static void brakes_stand_before_the_upstream(void **state)
{
    struct query_scene *f = *state;
    char name[64];
    size_t replies = 0;
    for (unsigned i = 0; i < 30; i++) { /* the burst is 10; of each both types, which are one name */
        (void)snprintf(name, sizeof(name), "n%u.t.example.net", i);
        assert_int_equal(query_scene_ask(f, name, DNS_A), QUERY_TAKEN);
        assert_int_equal(query_scene_ask(f, name, DNS_AAAA), QUERY_TAKEN);
        query_scene_run_until(f, replies += 2);
        assert_int_equal(query_scene_rcode(f), i < 10 ? DNS_NOERROR : DNS_NXDOMAIN);
    }
    assert_int_equal(f->last[9], 1); /* a SOA, and its TTL and minimum are a second */
    assert_memory_equal(f->last + f->last_len - 4, "\0\0\0\1", 4);
    assert_int_equal(f->upstream_count, 20);
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_WILDCARD_NAMES), 10);
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_WILDCARD_BUDGET), 40);
    for (unsigned i = 0; i < 5000; i++) { /* cached and hot, far above the rate */
        assert_int_equal(query_scene_ask(f, "n1.t.example.net", DNS_A), QUERY_TAKEN);
        assert_int_equal(query_scene_ask(f, "evil.example.org", DNS_A), QUERY_TAKEN);
    }
    assert_int_equal(f->upstream_count, 20);
    assert_int_equal(query_scene_ask(f, "a-name-that-has-forty-one-ab.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(query_scene_rcode(f), DNS_NXDOMAIN);
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_WILDCARD_LENGTH), 1);
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_RATE_LIMITED), 0);
    assert_int_equal(query_in_flight(f->engine), 0);
}

static void over_the_rate_is_a_failure_that_is_tried_again(void **state)
{
    struct query_scene *f = *state;
    f->is_silent = true;
    for (size_t i = 0; i < QUERY_IN_FLIGHT_MAX; i++) { /* joined questions count: they hold places */
        assert_int_equal(query_scene_ask(f, "one.t.example.net", DNS_A), QUERY_TAKEN);
    }
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_RATE_LIMITED), 0);
    brakes_free(f->brakes);
    const struct brakes_config one = {.rate = 1};
    assert_int_equal(brakes_new(&one, &f->brakes), 0);
    query_engine_free(f->engine);
    f->engine = query_scene_engine(f);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(query_scene_ask(f, "two.t.example.net", DNS_A), QUERY_TAKEN);
    }
    assert_int_equal(f->reply_count, 3);
    assert_int_equal(query_scene_rcode(f), DNS_SERVFAIL);
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_RATE_LIMITED), 3);
    assert_int_equal(query_in_flight(f->engine), 2);
}

/* Where AAAA is not given out it waits for A: one packet, one token, whichever comes first. */
static void a_hidden_aaaa_takes_no_token_of_its_own(void **state)
{
    struct query_scene *f = *state;
    const struct brakes_config one = {.rate = 1};
    f->answer.aaaa = AAAA_NODATA;
    f->is_silent = true;
    brakes_free(f->brakes);
    assert_int_equal(brakes_new(&one, &f->brakes), 0);
    query_engine_free(f->engine);
    f->engine = query_scene_engine(f);
    assert_int_equal(query_scene_ask(f, "one.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(query_scene_ask(f, "one.t.example.net", DNS_AAAA), QUERY_TAKEN);
    assert_int_equal(query_scene_ask(f, "two.t.example.net", DNS_AAAA), QUERY_TAKEN);
    assert_int_equal(query_scene_ask(f, "two.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(f->reply_count, 0);
    assert_int_equal(query_scene_ask(f, "three.t.example.net", DNS_A), QUERY_TAKEN); /* the burst is two */
    assert_int_equal(query_scene_rcode(f), DNS_SERVFAIL);
    for (size_t i = query_in_flight(f->engine); i < QUERY_IN_FLIGHT_MAX / 2; i++) {
        assert_int_equal(query_scene_ask(f, "one.t.example.net", DNS_A), QUERY_TAKEN);
    }
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_RATE_LIMITED), 1);
    assert_int_equal(query_scene_ask(f, "one.t.example.net", DNS_A), QUERY_TAKEN); /* half of the places */
    assert_int_equal(query_scene_counter(f, DNSD_COUNTER_RATE_LIMITED), 2);
    assert_int_equal(query_in_flight(f->engine), QUERY_IN_FLIGHT_MAX / 2);
}

static void a_message_is_limited_by_its_transport(void **state)
{
    (void)state;
    struct dns_query q = {.udp_size = 512};
    struct reply to = {.is_stream = false};
    assert_int_equal(reply_limit(&to, &q), 512);
    q.udp_size = 4096;
    assert_int_equal(reply_limit(&to, &q), DNS_UDP_MAX);
    to.is_stream = true;
    assert_int_equal(reply_limit(&to, &q), DNS_MESSAGE_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, query_scene_set_up, query_scene_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(too_many_in_flight_are_told_at_once),
        TEST(a_dead_zone_leaves_places),
        TEST(what_the_resolver_has_no_place_for_is_busy),
        TEST(brakes_stand_before_the_upstream),
        TEST(over_the_rate_is_a_failure_that_is_tried_again),
        TEST(a_hidden_aaaa_takes_no_token_of_its_own),
        TEST(drains_when_the_last_one_has_its_answer),
        TEST(drains_at_once_when_nothing_is_in_flight),
        cmocka_unit_test(a_message_is_limited_by_its_transport),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* dns_client_counters: what other threads are told. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/dns/dns_client_counters.h"

#define FIRST 5

static void expect(const struct metrics *m, uint64_t factor)
{
    static const uint64_t want[DNS_CLIENT_COUNTER_COUNT] = {
        [DNS_CLIENT_COUNTER_UDP] = 1,      [DNS_CLIENT_COUNTER_TCP] = 2,
        [DNS_CLIENT_COUNTER_REPLIES] = 3,  [DNS_CLIENT_COUNTER_FORGED] = 4,
        [DNS_CLIENT_COUNTER_TIMEOUTS] = 5, [DNS_CLIENT_COUNTER_FAILOVERS] = 6,
        [DNS_CLIENT_COUNTER_HEDGES] = 7,   [DNS_CLIENT_COUNTER_HEDGE_WINS] = 8};
    for (size_t i = 0; i < DNS_CLIENT_COUNTER_COUNT; i++) {
        assert_int_equal(metrics_read(m, FIRST + i), want[i] * factor);
    }
    assert_int_equal(metrics_read(m, FIRST - 1), 0);
    assert_int_equal(metrics_read(m, FIRST + DNS_CLIENT_COUNTER_COUNT), 0);
}

/* Each in its place, and the difference only. */
static void test_say(void **state)
{
    (void)state;
    struct metrics m = {0};
    struct dns_client_counters c = {.metrics = &m, .first = FIRST};
    struct dns_exchange_stats s = {.sent_udp = 1,
                                   .sent_tcp = 2,
                                   .replies = 3,
                                   .mismatches = 4,
                                   .timeouts = 5,
                                   .failovers = 6,
                                   .hedges = 7,
                                   .hedge_wins = 8};
    dns_client_counters_say(&c, &s);
    expect(&m, 1);
    dns_client_counters_say(&c, &s);
    expect(&m, 1);
    s = (struct dns_exchange_stats){.sent_udp = 3,
                                    .sent_tcp = 6,
                                    .replies = 9,
                                    .mismatches = 12,
                                    .timeouts = 15,
                                    .failovers = 18,
                                    .hedges = 21,
                                    .hedge_wins = 24};
    dns_client_counters_say(&c, &s);
    expect(&m, 3);
}

static void test_nobody_listens(void **state)
{
    (void)state;
    struct dns_client_counters c = {.metrics = NULL};
    const struct dns_exchange_stats s = {.sent_udp = 1};
    dns_client_counters_say(&c, &s);
    assert_int_equal(c.said[DNS_CLIENT_COUNTER_UDP], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_say),
        cmocka_unit_test(test_nobody_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

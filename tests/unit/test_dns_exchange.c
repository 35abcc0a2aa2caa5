/* SPDX-License-Identifier: Apache-2.0 */
/* The scenarios are in tests/replay; here is what they cannot say: bytes, several exchanges at once, and
 * chaos. */
#include "common/dns/dns_exchange.h"

#include "tests/support/fake_reply.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

#define T0 1000000
#define ATTEMPT_MS 800
#define TOTAL_MS 3500

static struct dns_exchange_env make_env(size_t count)
{
    struct dns_exchange_env env = {.attempt_ms = ATTEMPT_MS, .total_ms = TOTAL_MS};
    struct addr addrs[UPSTREAM_MAX];
    for (size_t i = 0; i < count; i++) {
        addrs[i] = (struct addr){.ip = ip_v4(192, 0, 2, (uint8_t)(i + 1)), .port = 53};
    }
    assert_int_equal(upstream_set_init(&env.upstreams, addrs, count, NULL), 0);
    return env;
}

static struct host_name name_of(const char *text)
{
    struct host_name n;
    assert_int_equal(host_name_parse(span_str(text), &n), HOST_FAULT_NONE);
    return n;
}

static struct dns_action next(struct dns_exchange *x, int64_t now_ms)
{
    static const struct dns_entropy rnd = {.id = 0xbeef, .case_bits = {0xa5, 0x5a, 0xa5, 0x5a}};
    struct dns_action act = {0};
    dns_exchange_next(x, now_ms, &rnd, &act);
    return act;
}

static struct dns_exchange start(struct dns_exchange_env *env, const char *name, int64_t now_ms)
{
    struct dns_exchange x;
    struct host_name n = name_of(name);
    dns_exchange_start(&x, env, &n, DNS_A, now_ms);
    return x;
}

static bool answer(struct dns_exchange *x, const struct dns_action *sent, const struct fake_reply *f,
                   int64_t now_ms)
{
    uint8_t msg[4096];
    size_t len = fake_reply_build(f, span_make(sent->msg, sent->msg_len), msg, sizeof(msg));
    return dns_exchange_reply(x, sent->slot, span_make(msg, len), now_ms);
}

/* RFC 1035 4.1: header with our ID, RD and one question; an OPT of 1232 bytes and nothing else (RFC
 * 6891 6.1.2). */
static void test_query_bytes(void **state)
{
    (void)state;
    static const uint8_t want[] = {0xbe, 0xef, 1, 0, 0, 1, 0, 0,  0,    0,    0, 1, 1, 'a', 2, 'b', 'c',
                                   0,    0,    1, 0, 1, 0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0,   0, 0};
    struct dns_exchange_env env = make_env(1);
    struct dns_exchange x = start(&env, "a.bc", T0);
    struct dns_action act = next(&x, T0);
    assert_int_equal(act.kind, DNS_ACTION_OPEN);
    assert_false(act.tcp);
    assert_int_equal(act.msg_len, sizeof(want));
    assert_memory_equal(act.msg, want, sizeof(want));
    act = next(&x, T0);
    assert_int_equal(act.kind, DNS_ACTION_WAIT);
    assert_int_equal(act.until_ms, T0 + ATTEMPT_MS);
}

/* The longest name there is fits the message. */
static void test_longest_name(void **state)
{
    (void)state;
    char text[HOST_NAME_MAX_LEN + 1];
    memset(text, 'a', sizeof(text));
    for (size_t i = 63; i < HOST_NAME_MAX_LEN; i += 64) {
        text[i] = '.';
    }
    text[HOST_NAME_MAX_LEN] = '\0';
    struct dns_exchange_env env = make_env(1);
    struct dns_exchange x = start(&env, text, T0);
    struct dns_action act = next(&x, T0);
    assert_int_equal(act.kind, DNS_ACTION_OPEN);
    assert_int_equal(act.msg_len, 12 + 255 + 4 + 11);
    struct fake_reply f = {.ttl_s = 9, .addr_count = 1, .addrs = {ip_v4(192, 0, 2, 9)}};
    assert_true(answer(&x, &act, &f, T0));
    act = next(&x, T0);
    assert_int_equal(act.kind, DNS_ACTION_CLOSE);
    act = next(&x, T0);
    assert_int_equal(act.kind, DNS_ACTION_ANSWER);
    assert_int_equal(x.result.status, DNS_EXCHANGE_ADDRS);
    act = next(&x, T0);
    assert_int_equal(act.kind, DNS_ACTION_END);
}

/* Silence on one name while other names are answered is the name's fault, not the upstream's. */
static void test_silence_on_one_name(void **state)
{
    (void)state;
    struct dns_exchange_env env = make_env(2);
    struct dns_exchange dark = start(&env, "dark.example.com", T0);
    struct dns_action to_dark = next(&dark, T0);
    struct dns_exchange lit = start(&env, "lit.example.com", T0 + 100);
    struct dns_action to_lit = next(&lit, T0 + 100);
    assert_int_equal(to_dark.kind, DNS_ACTION_OPEN);
    struct fake_reply f = {.ttl_s = 9, .addr_count = 1, .addrs = {ip_v4(192, 0, 2, 9)}};
    assert_true(answer(&lit, &to_lit, &f, T0 + 120));
    struct dns_action again = next(&dark, T0 + 800);
    assert_int_equal(again.kind, DNS_ACTION_OPEN);
    assert_true(addr_is_equal(&again.to, &env.upstreams.list[1].addr));
    assert_int_equal(env.upstreams.list[0].failures, 0);
    assert_int_equal(env.stats.timeouts, 1);
    assert_int_equal(env.stats.failovers, 1);
}

/* Two upstreams that answer other names but not this one are asked in turn, round after round. */
static void test_rounds(void **state)
{
    (void)state;
    struct dns_exchange_env env = make_env(2);
    struct dns_exchange x = start(&env, "dark.example.com", T0);
    for (int64_t i = 0; i < 4; i++) {
        int64_t now_ms = T0 + i * ATTEMPT_MS;
        struct dns_action act = next(&x, now_ms);
        assert_int_equal(act.kind, DNS_ACTION_OPEN);
        assert_true(addr_is_equal(&act.to, &env.upstreams.list[i % 2].addr));
        upstream_note_reply(&env.upstreams.list[0], now_ms + 1);
        upstream_note_reply(&env.upstreams.list[1], now_ms + 1);
    }
    assert_int_equal(env.stats.sent_udp, 4);
    assert_int_equal(env.stats.sent_tcp, 0);
    assert_int_equal(env.stats.timeouts, 3);
}

/* More attempts than slots: the oldest one makes room; asking the same one again is no failover. */
static void test_oldest_makes_room(void **state)
{
    (void)state;
    struct dns_exchange_env env = make_env(1);
    env.attempt_ms = 100;
    struct dns_exchange x = start(&env, "dark.example.com", T0);
    size_t slots[20];
    for (size_t i = 0; i < 20; i++) {
        struct dns_action act = next(&x, T0 + 100 * (int64_t)i);
        if (i >= DNS_EXCHANGE_SLOTS) {
            assert_int_equal(act.kind, DNS_ACTION_CLOSE);
            assert_int_equal(act.slot, slots[i - DNS_EXCHANGE_SLOTS]);
            act = next(&x, T0 + 100 * (int64_t)i);
        }
        assert_int_equal(act.kind, DNS_ACTION_OPEN);
        slots[i] = act.slot;
    }
    assert_int_equal(env.stats.failovers, 0);
    assert_int_equal(env.stats.sent_udp, 20);
}

/* However many upstreams and names there are, a question sends so often and no oftener. Each name takes
 * per_name. */
static void check_bound(unsigned per_name)
{
    struct dns_exchange_env env = make_env(UPSTREAM_MAX);
    struct dns_exchange x = start(&env, "n0.example.com", T0);
    struct fake_reply formerr = {.rcode = DNS_FORMERR};
    struct fake_reply servfail = {.rcode = DNS_SERVFAIL};
    struct fake_reply cname = {.ttl_s = 1, .cname_count = 1};
    unsigned sends = 0;
    struct dns_action act = next(&x, T0);
    while (act.kind == DNS_ACTION_OPEN || act.kind == DNS_ACTION_CLOSE) {
        if (act.kind == DNS_ACTION_OPEN) {
            unsigned place =
                sends % per_name; /* upstreams fail with OPT and without, the last one leads on */
            char name[] = "n0.example.com";
            name[1] = (char)('1' + sends / per_name);
            cname.cnames[0] = name_of(name);
            const struct fake_reply *f = place == per_name - 1 ? &cname
                                         : place % 2 == 0      ? &formerr
                                                               : &servfail;
            sends++;
            assert_true(answer(&x, &act, f, T0));
        }
        act = next(&x, T0);
    }
    assert_int_equal(act.kind, DNS_ACTION_ANSWER);
    assert_int_equal(x.result.status, DNS_EXCHANGE_FAILED);
    assert_int_equal(x.result.why, DNS_EXCHANGE_FAIL_SERVFAIL);
    assert_int_equal(sends, DNS_EXCHANGE_SENDS_MAX);
    assert_int_equal(env.stats.sent_udp, DNS_EXCHANGE_SENDS_MAX);
}

static void test_sends_are_bounded(void **state)
{
    (void)state;
    check_bound(31); /* the last one wants the next upstream */
    check_bound(17); /* the last one wants the same again without OPT */
}

/* Many questions that wait for the same dead upstream are one failure of it. */
static void test_burst(void **state)
{
    (void)state;
    enum { COUNT = 20 };
    struct dns_exchange_env env = make_env(2);
    static struct dns_exchange x[COUNT];
    for (int i = 0; i < COUNT; i++) {
        x[i] = start(&env, "www.example.com", T0 + i);
        assert_int_equal(next(&x[i], T0 + i).kind, DNS_ACTION_OPEN);
    }
    for (int i = 0; i < COUNT; i++) {
        struct dns_action act = next(&x[i], T0 + i + ATTEMPT_MS);
        assert_int_equal(act.kind, DNS_ACTION_OPEN);
        assert_true(addr_is_equal(&act.to, &env.upstreams.list[1].addr));
    }
    assert_int_equal(env.upstreams.list[0].failures, 1);
}

/* Reports about a slot that is closed or about to be are harmless. */
static void test_reports_after_the_end(void **state)
{
    (void)state;
    struct dns_exchange_env env = make_env(1);
    struct dns_exchange x = start(&env, "www.example.com", T0);
    struct dns_action act = next(&x, T0);
    struct fake_reply f = {.ttl_s = 9, .addr_count = 1, .addrs = {ip_v4(192, 0, 2, 9)}};
    struct fake_reply bad = {.rcode = DNS_SERVFAIL};
    assert_true(answer(&x, &act, &f, T0));
    assert_true(answer(&x, &act, &bad, T0)); /* wants_close, not yet told */
    dns_exchange_io_failed(&x, act.slot, false, T0);
    assert_int_equal(next(&x, T0).kind, DNS_ACTION_CLOSE);
    assert_true(answer(&x, &act, &bad, T0));
    dns_exchange_io_failed(&x, act.slot, false, T0);
    dns_exchange_io_failed(&x, DNS_EXCHANGE_SLOTS - 1, false, T0); /* never opened */
    assert_int_equal(next(&x, T0).kind, DNS_ACTION_ANSWER);
    assert_int_equal(next(&x, T0).kind, DNS_ACTION_END);
    assert_int_equal(next(&x, T0).kind, DNS_ACTION_END);
    assert_int_equal(x.result.status, DNS_EXCHANGE_ADDRS);
    assert_int_equal(env.upstreams.list[0].failures, 0);
    assert_int_equal(env.stats.replies, 1);
}

static void test_most_addresses(void **state)
{
    (void)state;
    struct dns_exchange_env env = make_env(1);
    struct dns_exchange x = start(&env, "www.example.com", T0);
    struct dns_action act = next(&x, T0);
    struct fake_reply f = {.ttl_s = 9, .addr_count = FAKE_ADDRS_MAX};
    for (size_t i = 0; i < FAKE_ADDRS_MAX; i++) {
        f.addrs[i] = ip_v4(192, 0, 2, (uint8_t)i);
    }
    assert_true(answer(&x, &act, &f, T0));
    assert_int_equal(x.result.addr_count, DNS_ADDRS_MAX);
    assert_true(ip_is_equal(&x.result.addrs[DNS_ADDRS_MAX - 1], &f.addrs[DNS_ADDRS_MAX - 1]));
}

/* A driver with dice: whatever happens, the promises of the header hold. */
struct chaos {
    struct dns_exchange_env env;
    struct dns_exchange x;
    uint32_t seed;
    int64_t now_ms, start_ms, until_ms;
    bool open[DNS_EXCHANGE_SLOTS];
    struct dns_action sent[DNS_EXCHANGE_SLOTS];
    unsigned sends, answers;
    bool has_ended;
};

static uint32_t dice(struct chaos *c, uint32_t bound)
{
    c->seed = c->seed * 1664525U + 1013904223U;
    return (c->seed >> 8) % bound;
}

static void chaos_pump(struct chaos *c)
{
    for (unsigned budget = 0; budget < 200; budget++) {
        struct dns_action act = {0};
        struct dns_entropy rnd = {.id = (uint16_t)dice(c, 65536)};
        memset(rnd.case_bits, (int)dice(c, 256), sizeof(rnd.case_bits));
        dns_exchange_next(&c->x, c->now_ms, &rnd, &act);
        switch (act.kind) {
        case DNS_ACTION_OPEN:
            assert_true(act.slot < DNS_EXCHANGE_SLOTS && !c->open[act.slot]);
            assert_int_equal(c->answers, 0); /* nothing new once it is answered */
            assert_true(c->now_ms < c->start_ms + TOTAL_MS);
            c->open[act.slot] = true;
            c->sent[act.slot] = act;
            c->sends++;
            break;
        case DNS_ACTION_CLOSE:
            assert_true(act.slot < DNS_EXCHANGE_SLOTS && c->open[act.slot]);
            c->open[act.slot] = false;
            break;
        case DNS_ACTION_ANSWER:
            c->answers++;
            assert_true(c->now_ms <= c->start_ms + TOTAL_MS);
            assert_true((c->x.result.status == DNS_EXCHANGE_FAILED) ==
                        (c->x.result.why != DNS_EXCHANGE_FAIL_NONE));
            assert_true((c->x.result.status == DNS_EXCHANGE_ADDRS) == (c->x.result.addr_count > 0));
            break;
        case DNS_ACTION_WAIT:
            assert_true(act.until_ms > c->now_ms && act.until_ms <= c->now_ms + TOTAL_MS);
            c->until_ms = act.until_ms;
            return;
        case DNS_ACTION_END:
            c->has_ended = true;
            return;
        }
    }
    fail_msg("it spins");
}

static void chaos_reply(struct chaos *c, size_t slot)
{
    static const uint16_t rcodes[] = {DNS_NOERROR, DNS_NOERROR,  DNS_SERVFAIL, DNS_REFUSED,
                                      DNS_FORMERR, DNS_NXDOMAIN, DNS_NOTIMP,   DNS_BADVERS};
    struct fake_reply f = {
        .ttl_s = dice(c, 100),
        .rcode = rcodes[dice(c, 8)],
        .tc = dice(c, 6) == 0,
        .no_ra = dice(c, 3) == 0,
        .has_soa = dice(c, 2) == 0,
        .soa_min_s = dice(c, 50),
        .bad_id = dice(c, 4) == 0,
        .bad_question = dice(c, 8) == 0,
        .other_case = dice(c, 8) == 0,
        .lower_case = dice(c, 8) == 0,
        .no_question = dice(c, 8) == 0,
        .cname_count = dice(c, 3),
    };
    f.addr_count = f.rcode == DNS_NOERROR ? dice(c, 3) : 0;
    for (size_t i = 0; i < f.cname_count; i++) {
        char text[] = "n0.example.com";
        text[1] = (char)('0' + dice(c, 10));
        f.cnames[i] = name_of(text);
    }
    for (size_t i = 0; i < f.addr_count; i++) {
        f.addrs[i] = ip_v4(192, 0, 2, (uint8_t)dice(c, 256));
    }
    uint8_t msg[4096];
    const struct dns_action *sent = &c->sent[slot];
    size_t len = fake_reply_build(&f, span_make(sent->msg, sent->msg_len), msg, sizeof(msg));
    if (dice(c, 10) == 0) {
        len = dice(c, (uint32_t)len + 1); /* cut off */
    }
    if (dice(c, 10) == 0 && len > 0) {
        msg[dice(c, (uint32_t)len)] ^= (uint8_t)(1U << dice(c, 8)); /* a bit fell over */
    }
    (void)dns_exchange_reply(&c->x, slot, span_make(msg, len), c->now_ms);
}

static void chaos_question(struct chaos *c)
{
    struct host_name n = name_of("n0.example.com");
    c->start_ms = c->now_ms;
    c->sends = 0;
    c->answers = 0;
    c->has_ended = false;
    memset(c->open, 0, sizeof(c->open));
    dns_exchange_start(&c->x, &c->env, &n, dice(c, 2) == 0 ? DNS_A : DNS_AAAA, c->now_ms);
    chaos_pump(c);
    for (unsigned step = 0; !c->has_ended; step++) {
        assert_true(step < 10000);
        int64_t pass_ms = dice(c, 3) == 0 ? (int64_t)dice(c, 1000) : 0;
        bool is_due = c->now_ms + pass_ms >= c->until_ms;
        c->now_ms = is_due ? c->until_ms : c->now_ms + pass_ms;
        size_t slot = dice(c, DNS_EXCHANGE_SLOTS);
        if (!is_due && c->open[slot]) {
            if (dice(c, 12) == 0) {
                dns_exchange_io_failed(&c->x, slot, dice(c, 2) == 0, c->now_ms);
            } else {
                chaos_reply(c, slot);
            }
        }
        chaos_pump(c);
    }
    assert_int_equal(c->answers, 1);
    assert_true(c->sends <= DNS_EXCHANGE_SENDS_MAX);
    for (size_t i = 0; i < DNS_EXCHANGE_SLOTS; i++) {
        assert_false(c->open[i]);
    }
}

static void test_chaos(void **state)
{
    (void)state;
    static const size_t counts[] = {1, 2, 3, UPSTREAM_MAX};
    struct chaos *c = calloc(1, sizeof(*c));
    assert_non_null(c);
    unsigned good = 0;
    unsigned failed = 0;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        *c = (struct chaos){.env = make_env(counts[i]), .seed = (uint32_t)(i + 1), .now_ms = T0};
        for (unsigned n = 0; n < 1000; n++) {
            chaos_question(c);
            good += c->x.result.status == DNS_EXCHANGE_FAILED ? 0 : 1;
            failed += c->x.result.status == DNS_EXCHANGE_FAILED ? 1 : 0;
            c->now_ms += dice(c, 3000);
        }
    }
    assert_true(good > 500 && failed > 100); /* the dice reach both */
    free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query_bytes),
        cmocka_unit_test(test_longest_name),
        cmocka_unit_test(test_silence_on_one_name),
        cmocka_unit_test(test_rounds),
        cmocka_unit_test(test_oldest_makes_room),
        cmocka_unit_test(test_sends_are_bounded),
        cmocka_unit_test(test_burst),
        cmocka_unit_test(test_reports_after_the_end),
        cmocka_unit_test(test_most_addresses),
        cmocka_unit_test(test_chaos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

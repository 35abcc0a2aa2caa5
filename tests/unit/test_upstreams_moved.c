/* SPDX-License-Identifier: Apache-2.0 */
/* The list of upstreams is replaced while questions are under way. Pure: the test is the driver. */
#include "common/dns/dns_exchange.h"
#include "common/dns/dns_tls.h"

#include "tests/support/fake_reply.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>

#define T0 1000000
#define ATTEMPT_MS 800
#define TOTAL_MS 3500
#define LETTERS 8

/* Upstreams are called a, b, c ... */
static struct addr addr_of(char letter)
{
    return (struct addr){.ip = ip_v4(192, 0, 2, (uint8_t)(letter - 'a' + 1)), .port = 53};
}

static size_t list_of(const char *letters, struct addr out[UPSTREAM_MAX])
{
    size_t count = strlen(letters);
    for (size_t i = 0; i < count; i++) {
        out[i] = addr_of(letters[i]);
    }
    return count;
}

static struct dns_exchange_env env_of(const char *letters)
{
    struct dns_exchange_env env = {.attempt_ms = ATTEMPT_MS, .total_ms = TOTAL_MS};
    struct addr addrs[UPSTREAM_MAX];
    size_t count = list_of(letters, addrs);
    assert_int_equal(upstream_set_init(&env.upstreams, addrs, count, NULL), 0);
    return env;
}

static void replace(struct dns_exchange_env *env, const char *letters, struct dns_exchange *x)
{
    struct addr addrs[UPSTREAM_MAX];
    uint8_t moved[UPSTREAM_MAX];
    size_t count = list_of(letters, addrs);
    assert_int_equal(upstream_set_replace(&env->upstreams, addrs, count, moved, NULL), 0);
    dns_exchange_upstreams_moved(x, moved);
}

static struct dns_exchange start(struct dns_exchange_env *env)
{
    struct dns_exchange x;
    struct host_name n;
    assert_int_equal(host_name_parse(SPAN_LIT("www.example.com"), &n), HOST_FAULT_NONE);
    dns_exchange_start(&x, env, &n, DNS_A, T0);
    return x;
}

static struct dns_action next(struct dns_exchange *x, int64_t now_ms)
{
    static const struct dns_entropy rnd = {.id = 0xbeef, .case_bits = {0xa5, 0x5a, 0xa5, 0x5a}};
    struct dns_action act = {0};
    dns_exchange_next(x, now_ms, &rnd, &act);
    return act;
}

static struct dns_action expect_open(struct dns_exchange *x, char letter, int64_t now_ms)
{
    struct dns_action act = next(x, now_ms);
    struct addr want = addr_of(letter);
    assert_int_equal(act.kind, DNS_ACTION_OPEN);
    assert_true(addr_is_equal(&act.to, &want));
    return act;
}

static void expect(struct dns_exchange *x, enum dns_action_kind kind, int64_t now_ms)
{
    assert_int_equal(next(x, now_ms).kind, kind);
}

static bool answer(struct dns_exchange *x, const struct dns_action *sent, uint16_t rcode, int64_t now_ms)
{
    struct fake_reply f = {.rcode = rcode, .ttl_s = 9, .addrs = {ip_v4(192, 0, 2, 99)}};
    uint8_t msg[4096];
    f.addr_count = rcode == DNS_NOERROR ? 1 : 0;
    size_t len = fake_reply_build(&f, span_make(sent->msg, sent->msg_len), msg, sizeof(msg));
    return dns_exchange_reply(x, sent->slot, span_make(msg, len), now_ms);
}

static void test_set(void **state)
{
    (void)state;
    struct addr addrs[UPSTREAM_MAX + 1];
    uint8_t moved[UPSTREAM_MAX];
    struct err err = {""};
    struct dns_exchange_env env = env_of("abc");
    struct upstream_set *set = &env.upstreams;
    upstream_note_failure(&set->list[1], T0, T0 + 800);
    upstream_note_no_edns(&set->list[2], T0);
    const struct upstream_set before = *set;
    assert_int_equal(upstream_set_replace(set, addrs, 0, moved, &err), -EINVAL);
    addrs[0] = addrs[1] = addr_of('a');
    assert_int_equal(upstream_set_replace(set, addrs, 2, moved, &err), -EINVAL);
    assert_int_equal(set->count, 3);
    assert_int_equal(set->list[1].failures, before.list[1].failures);

    size_t count = list_of("cdb", addrs);
    assert_int_equal(upstream_set_replace(set, addrs, count, moved, &err), 0);
    assert_int_equal(set->count, 3);
    assert_int_equal(moved[0], UPSTREAM_GONE);
    assert_int_equal(moved[1], 2);
    assert_int_equal(moved[2], 0);
    assert_int_equal(moved[3], UPSTREAM_GONE);
    assert_int_equal(set->list[2].failures, 1);
    assert_false(upstream_wants_edns(&set->list[0], T0));
    assert_int_equal(set->list[1].failures, 0);
    assert_int_equal(upstream_pick(set, 0), 0);
}

static void test_parse(void **state)
{
    (void)state;
    struct addr a;
    struct span name;
    assert_null(upstream_parse(SPAN_LIT("192.0.2.1"), &a, &name));
    assert_int_equal(a.port, 53);
    assert_int_equal(name.len, 0);
    assert_null(upstream_parse(SPAN_LIT("[::1]:54"), &a, &name));
    assert_int_equal(a.port, 54);
    static const char *const bad[] = {"",
                                      "::",
                                      "0.0.0.0",
                                      "192.0.2.1:0",
                                      "example.com",
                                      "192.0.2.1,",
                                      "::1:53",
                                      "tls://::1:853#dns.example"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_non_null(upstream_parse(span_str(bad[i]), &a, &name));
    }
    assert_null(upstream_parse(SPAN_LIT("2001:db8::1:53"), &a, &name)); /* may be meant as it is */
    assert_int_equal(a.port, 53);
    assert_null(upstream_parse(SPAN_LIT("169.254.169.253"), &a, &name));
    static const char *const unusable[] = {
        "fe80::7",   "[fe80::7]:53", "fe80::7%eth0",    "[fe80::7%eth0]:53",        "224.0.0.251",
        "240.0.0.1", "ff02::fb",     "255.255.255.255", "tls://fe80::7#dns.example"};
    for (size_t i = 0; i < sizeof(unusable) / sizeof(unusable[0]); i++) {
        const char *why = upstream_parse(span_str(unusable[i]), &a, &name);
        assert_non_null(why);
        assert_non_null(strstr(why, ": name ")); /* what to do */
    }
}

static void test_parse_tls(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expect; /* the whole in its own form, or a part of what is wrong */
    } rows[] = {{"tls://192.0.2.1#dns.example", "tls://192.0.2.1:853#dns.example"},
                {"tls://192.0.2.1:53#192.0.2.1", "tls://192.0.2.1:53#192.0.2.1"},
                {"tls://[2001:db8::1]:443#dns.example", "tls://[2001:db8::1]:443#dns.example"},
                {"tls://2001:db8::1#2001:db8::1", "tls://[2001:db8::1]:853#2001:db8::1"}};
    const struct {
        const char *text, *why;
    } bad[] = {{"tls://192.0.2.1", "tls://ADDR[:PORT]#NAME"},
               {"tls://192.0.2.1#", "is missing"},
               {"tls://192.0.2.1:0#dns.example", "not an address"},
               {"tls://dns.example#dns.example", "not an address"},
               {"tls://#dns.example", "not an address"},
               {"tls://", "not an address"},
               {"tls:/", "not an address"},
               {"TLS://192.0.2.1#dns.example", "not an address"},
               {"192.0.2.1#dns.example", "not an address"},
               {"https://192.0.2.1#dns.example", "not an address"},
               {"tls://192.0.2.1#a..b", host_fault_text(HOST_FAULT_EMPTY_LABEL)},
               {"tls://192.0.2.1#a#b", host_fault_text(HOST_FAULT_BAD_BYTE)},
               {"tls://192.0.2.1#a/", host_fault_text(HOST_FAULT_BAD_BYTE)}};
    struct addr a = {.port = 0};
    struct span name = {0};
    char text[UPSTREAM_TEXT_CAP];
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *why = upstream_parse(span_str(bad[i].text), &a, &name);
        assert_non_null(why);
        assert_non_null(strstr(why, bad[i].why));
        assert_int_equal(a.port, 0);
    }
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *why = upstream_parse(span_str(rows[i].text), &a, &name);
        if (!dns_tls_is_built()) {
            assert_non_null(strstr(why, "--with-openssl"));
            continue;
        }
        assert_null(why);
        assert_string_equal(upstream_text(&a, name, text), rows[i].expect);
    }
}

/* The one that is asked is gone: the new list is asked at once, in its order. */
static void test_gone_under_way(void **state)
{
    (void)state;
    struct dns_exchange_env env = env_of("a");
    struct dns_exchange x = start(&env);
    (void)expect_open(&x, 'a', T0);
    expect(&x, DNS_ACTION_WAIT, T0);
    replace(&env, "bc", &x);
    expect(&x, DNS_ACTION_CLOSE, T0 + 100);
    struct dns_action b = expect_open(&x, 'b', T0 + 100);
    assert_true(answer(&x, &b, DNS_NOERROR, T0 + 110));
    expect(&x, DNS_ACTION_CLOSE, T0 + 110);
    expect(&x, DNS_ACTION_ANSWER, T0 + 110);
    assert_int_equal(x.result.status, DNS_EXCHANGE_ADDRS);
    expect(&x, DNS_ACTION_END, T0 + 110);
    assert_int_equal(env.upstreams.list[0].failures, 0); /* nobody failed */
    assert_int_equal(env.stats.timeouts, 0);
}

/* What comes from a socket to a server that is gone, before it is closed, is not looked at. */
static void test_reply_of_the_gone(void **state)
{
    (void)state;
    struct dns_exchange_env env = env_of("a");
    struct dns_exchange x = start(&env);
    struct dns_action a = expect_open(&x, 'a', T0);
    replace(&env, "b", &x);
    assert_true(answer(&x, &a, DNS_NXDOMAIN, T0 + 1));
    dns_exchange_io_failed(&x, a.slot, false, T0 + 1);
    expect(&x, DNS_ACTION_CLOSE, T0 + 1);
    (void)expect_open(&x, 'b', T0 + 1);
    assert_int_equal(env.upstreams.list[0].failures, 0);
    assert_int_equal(env.stats.replies, 0);
}

/* The one that is asked stays, elsewhere in the list: the attempt goes on and teaches about the right one. */
static void test_moved_under_way(void **state)
{
    (void)state;
    struct dns_exchange_env env = env_of("ab");
    struct dns_exchange x = start(&env);
    struct dns_action a = expect_open(&x, 'a', T0);
    replace(&env, "cba", &x);
    expect(&x, DNS_ACTION_WAIT, T0 + 1);
    assert_true(answer(&x, &a, DNS_NOERROR, T0 + 20));
    expect(&x, DNS_ACTION_CLOSE, T0 + 20);
    expect(&x, DNS_ACTION_ANSWER, T0 + 20);
    assert_int_equal(x.result.status, DNS_EXCHANGE_ADDRS);
    assert_int_equal(env.upstreams.list[2].reply_ms, T0 + 20);
    assert_int_equal(env.upstreams.list[0].reply_ms, 0);
}

/* Who answered badly is not asked again for this name because of its new place; who is new is. */
static void test_given_up_stays_given_up(void **state)
{
    (void)state;
    struct dns_exchange_env env = env_of("ab");
    struct dns_exchange x = start(&env);
    struct dns_action a = expect_open(&x, 'a', T0);
    assert_true(answer(&x, &a, DNS_REFUSED, T0 + 5));
    expect(&x, DNS_ACTION_CLOSE, T0 + 5);
    (void)expect_open(&x, 'b', T0 + 5);
    replace(&env, "ca", &x); /* b goes */
    expect(&x, DNS_ACTION_CLOSE, T0 + 6);
    struct dns_action c = expect_open(&x, 'c', T0 + 6);
    assert_true(answer(&x, &c, DNS_SERVFAIL, T0 + 7));
    expect(&x, DNS_ACTION_CLOSE, T0 + 7);
    expect(&x, DNS_ACTION_ANSWER, T0 + 7);
    assert_int_equal(x.result.status, DNS_EXCHANGE_FAILED);
    expect(&x, DNS_ACTION_END, T0 + 7);
}

/* A late reply of one that stays is welcome, wherever it stands now. */
static void test_late_reply(void **state)
{
    (void)state;
    struct dns_exchange_env env = env_of("ab");
    struct dns_exchange x = start(&env);
    struct dns_action a = expect_open(&x, 'a', T0);
    (void)expect_open(&x, 'b', T0 + ATTEMPT_MS);
    replace(&env, "ca", &x);
    expect(&x, DNS_ACTION_CLOSE, T0 + 900); /* b */
    (void)expect_open(&x, 'c', T0 + 900);
    assert_true(answer(&x, &a, DNS_NOERROR, T0 + 950));
    expect(&x, DNS_ACTION_CLOSE, T0 + 950);
    expect(&x, DNS_ACTION_CLOSE, T0 + 950);
    expect(&x, DNS_ACTION_ANSWER, T0 + 950);
    assert_int_equal(x.result.status, DNS_EXCHANGE_ADDRS);
}

/* ---- chaos ---- */

static uint32_t dice(uint32_t *seed, uint32_t sides)
{
    *seed = *seed * 1664525U + 1013904223U;
    return (*seed >> 8) % sides;
}

static void random_letters(uint32_t *seed, char out[LETTERS + 1])
{
    size_t count = 0;
    for (char c = 'a'; c < 'a' + LETTERS; c++) {
        if (dice(seed, 3) == 0) {
            size_t at = count == 0 ? 0 : dice(seed, (uint32_t)count + 1);
            memmove(out + at + 1, out + at, count - at);
            out[at] = c;
            count++;
        }
    }
    if (count == 0) {
        out[count++] = 'a';
    }
    out[count] = '\0';
}

/* Whatever happens: sockets are closed as often as opened, one answer in time, and nothing goes to one that
 * is gone. */
static void play(uint32_t seed)
{
    char letters[LETTERS + 1];
    struct dns_action sent[DNS_EXCHANGE_SLOTS] = {{0}};
    bool is_open[DNS_EXCHANGE_SLOTS] = {false};
    unsigned answers = 0;
    int64_t now_ms = T0;
    random_letters(&seed, letters);
    struct dns_exchange_env env = env_of(letters);
    struct dns_exchange x = start(&env);
    for (unsigned step = 0; step < 4000; step++) {
        struct dns_action act = next(&x, now_ms);
        switch (act.kind) {
        case DNS_ACTION_OPEN:
            assert_false(is_open[act.slot]);
            assert_non_null(strchr(letters, 'a' + act.to.ip.bytes[3] - 1));
            is_open[act.slot] = true;
            sent[act.slot] = act;
            continue;
        case DNS_ACTION_CLOSE:
            assert_true(is_open[act.slot]);
            is_open[act.slot] = false;
            continue;
        case DNS_ACTION_ANSWER:
            answers++;
            assert_true(now_ms <= T0 + TOTAL_MS);
            continue;
        case DNS_ACTION_END:
            for (size_t i = 0; i < DNS_EXCHANGE_SLOTS; i++) {
                assert_false(is_open[i]);
            }
            assert_int_equal(answers, 1);
            return;
        case DNS_ACTION_WAIT:
            break;
        }
        size_t slot = dice(&seed, DNS_EXCHANGE_SLOTS);
        switch (dice(&seed, 5)) {
        case 0:
            random_letters(&seed, letters);
            replace(&env, letters, &x);
            break;
        case 1:
            if (is_open[slot]) {
                static const uint16_t rcodes[] = {DNS_SERVFAIL, DNS_REFUSED, DNS_FORMERR, DNS_SERVFAIL,
                                                  DNS_NOERROR};
                (void)answer(&x, &sent[slot], rcodes[dice(&seed, 5)], now_ms);
            }
            break;
        case 2:
            if (is_open[slot]) {
                dns_exchange_io_failed(&x, slot, dice(&seed, 2) == 0, now_ms);
            }
            break;
        default:
            now_ms = act.until_ms < now_ms + 200 ? act.until_ms : now_ms + 200;
            break;
        }
    }
    fail_msg("seed %u: it does not end", seed);
}

static void test_chaos(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 3000; seed++) {
        play(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_parse_tls),
        cmocka_unit_test(test_gone_under_way),
        cmocka_unit_test(test_reply_of_the_gone),
        cmocka_unit_test(test_moved_under_way),
        cmocka_unit_test(test_given_up_stays_given_up),
        cmocka_unit_test(test_late_reply),
        cmocka_unit_test(test_chaos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

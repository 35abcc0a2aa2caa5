/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/resolver.h"

#include "common/base/clock.h"
#include "tests/support/resolver_scene.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static void test_success(void **state)
{
    struct resolver_scene *f = *state;
    struct asked q = {0};
    ask_and_wait(f, &q, "www.example.com");
    assert_int_equal(q.answer.status, RESOLVER_ADDRS);
    assert_int_equal(q.answer.why, RESOLVER_FAIL_NONE);
    assert_false(q.answer.from_cache);
    assert_int_equal(q.answer.ttl_s, 3600); /* clamped */
    assert_int_equal(q.answer.addr_count, 1);
    struct ip want = ip_v4(192, 0, 2, 1);
    assert_true(ip_is_equal(&q.answer.addrs[0], &want));
    assert_int_equal(f->first.udp_count, 1);
    assert_int_equal(f->second.udp_count, 0);
}

static void test_cached_answer_comes_later_too(void **state)
{
    struct resolver_scene *f = *state;
    struct asked q = {0};
    struct asked again = {0};
    ask_and_wait(f, &q, "www.example.com");
    ask_and_wait(f, &again, "www.example.com"); /* ask() checks that nothing is called inside */
    assert_true(again.answer.from_cache);
    assert_int_equal(again.answer.status, RESOLVER_ADDRS);
    assert_int_equal(f->first.udp_count, 1);

    struct host_name n = name_of("www.example.com");
    struct resolver_answer a;
    assert_true(resolver_peek(f->resolver, &n, DNS_A, clock_mono_ms(), &a));
    assert_int_equal(a.addr_count, 1);
    assert_false(resolver_peek(f->resolver, &n, DNS_AAAA, clock_mono_ms(), &a));

    struct resolver_stats s;
    resolver_stats_read(f->resolver, &s);
    assert_int_equal(s.sent_udp, 1);
    assert_int_equal(s.replies, 1);
    assert_int_equal(s.cache_hits, 2);
    assert_int_equal(s.cache_misses, 1);
}

static void test_families_are_two_questions(void **state)
{
    struct resolver_scene *f = *state;
    struct asked v4 = {0};
    struct asked v6 = {0};
    struct host_name n = name_of("www.example.com");
    ask(f, &v4, "www.example.com");
    v6.ticket = resolver_ask(f->resolver, &n, DNS_AAAA, on_answer, &v6);
    assert_true(v6.ticket != 0 && v6.ticket != v4.ticket);
    assert_true(fake_run(f->loop, &v4.is_done, LIMIT_MS));
    assert_true(fake_run(f->loop, &v6.is_done, LIMIT_MS));
    assert_int_equal(v4.answer.addrs[0].family, IP_V4);
    assert_int_equal(v6.answer.addrs[0].family, IP_V6);
    assert_int_equal(f->first.udp_count, 2);
}

static void test_negatives(void **state)
{
    struct resolver_scene *f = *state;
    struct asked nx = {0};
    struct asked none = {0};
    ask_and_wait(f, &nx, "nxdomain.example.com");
    assert_int_equal(nx.answer.status, RESOLVER_NXDOMAIN);
    assert_int_equal(nx.answer.ttl_s, 60); /* ttl_neg_max */
    ask_and_wait(f, &none, "nodata.example.com");
    assert_int_equal(none.answer.status, RESOLVER_NODATA);
    assert_int_equal(none.answer.ttl_s, 7);
    assert_int_equal(f->second.udp_count, 0);

    struct host_name n = name_of("nxdomain.example.com");
    struct resolver_answer a;
    assert_true(resolver_peek(f->resolver, &n, DNS_A, clock_mono_ms(), &a));
    assert_int_equal(a.status, RESOLVER_NXDOMAIN);
    n = name_of("nodata.example.com");
    assert_true(resolver_peek(f->resolver, &n, DNS_A, clock_mono_ms(), &a));
    assert_int_equal(a.status, RESOLVER_NODATA);
}

static void raise_ttl_min(struct resolver_config *cfg)
{
    cfg->ttl_min_s = 5;
}

static void test_ttl_zero(void **state)
{
    struct resolver_scene *f = *state;
    struct asked q = {0};
    struct host_name n = name_of("brief.example.com");
    struct resolver_answer a;
    ask_and_wait(f, &q, "brief.example.com");
    assert_int_equal(q.answer.ttl_s, 0);
    assert_false(resolver_peek(f->resolver, &n, DNS_A, clock_mono_ms(), &a));

    renew(f, raise_ttl_min);
    struct asked again = {0};
    ask_and_wait(f, &again, "brief.example.com");
    assert_int_equal(again.answer.ttl_s, 5);
    assert_true(resolver_peek(f->resolver, &n, DNS_A, clock_mono_ms(), &a));
}

static void test_failure_is_kept_for_a_second(void **state)
{
    struct resolver_scene *f = *state;
    struct asked q = {0};
    ask_and_wait(f, &q, "servfail.example.com");
    assert_int_equal(q.answer.status, RESOLVER_FAILED);
    assert_int_equal(q.answer.why, RESOLVER_FAIL_SERVFAIL);
    assert_int_equal(f->first.udp_count, 1);
    assert_int_equal(f->second.udp_count, 1);

    struct host_name n = name_of("servfail.example.com");
    struct resolver_answer a;
    int64_t now_ms = clock_mono_ms();
    assert_true(resolver_peek(f->resolver, &n, DNS_A, now_ms, &a));
    assert_int_equal(a.status, RESOLVER_FAILED);
    assert_true(a.from_cache);
    assert_false(resolver_peek(f->resolver, &n, DNS_A, now_ms + 1000, &a));
}

static void test_failover_from_silence(void **state)
{
    struct resolver_scene *f = *state;
    f->first.fn = serve_nothing;
    renew(f, be_quick);
    struct asked q = {0};
    int64_t start_ms = clock_mono_ms();
    ask_and_wait(f, &q, "one.example.com");
    assert_int_equal(q.answer.status, RESOLVER_ADDRS);
    assert_true(clock_mono_ms() - start_ms >= ATTEMPT_MS - 1);
    assert_int_equal(f->first.udp_count, 1);

    struct asked next = {0}; /* the dead one costs nothing any more */
    ask_and_wait(f, &next, "two.example.com");
    assert_int_equal(next.answer.status, RESOLVER_ADDRS);
    assert_int_equal(f->first.udp_count, 1);
    assert_int_equal(f->second.udp_count, 2);
    struct resolver_stats s;
    resolver_stats_read(f->resolver, &s);
    assert_int_equal(s.failovers, 1);
    assert_int_equal(s.timeouts, 1);
}

static void test_failover_from_closed_port(void **state)
{
    struct resolver_scene *f = *state;
    fake_upstream_fini(&f->first); /* nobody listens there now: ICMP port unreachable */
    struct asked q = {0};
    ask_and_wait(f, &q, "one.example.com");
    assert_int_equal(q.answer.status, RESOLVER_ADDRS);
    struct resolver_stats s;
    resolver_stats_read(f->resolver, &s);
    assert_int_equal(s.timeouts, 0); /* it did not have to wait */
    assert_int_equal(s.failovers, 1);
    fake_upstream_init(&f->first, f->loop, serve_by_label, f);
}

static void test_all_silent(void **state)
{
    struct resolver_scene *f = *state;
    renew(f, be_quick);
    struct asked q = {0};
    int64_t start_ms = clock_mono_ms();
    ask_and_wait(f, &q, "silent.example.com");
    int64_t took_ms = clock_mono_ms() - start_ms;
    assert_int_equal(q.answer.status, RESOLVER_FAILED);
    assert_int_equal(q.answer.why, RESOLVER_FAIL_TIMEOUT);
    assert_true(took_ms >= TOTAL_MS - 1 && took_ms < TOTAL_MS + 1000);
    assert_in_range(f->first.udp_count, 2, 4); /* at 0, 120, 240, 360 on an idle machine */
    assert_in_range(f->second.udp_count, 1, 3);
}

static void test_truncation(void **state)
{
    struct resolver_scene *f = *state;
    f->first.dribbles = true; /* one byte at a time */
    struct asked q = {0};
    ask_and_wait(f, &q, "big.example.com");
    assert_int_equal(q.answer.status, RESOLVER_ADDRS);
    assert_int_equal(q.answer.addr_count, 64);
    struct ip want = ip_v4(192, 0, 2, 64);
    assert_true(ip_is_equal(&q.answer.addrs[63], &want));
    struct resolver_stats stats;
    resolver_stats_read(f->resolver, &stats);
    if (stats.hedges == 0 &&
        stats.timeouts == 0) { /* else the machine was too busy, and the other one was asked */
        assert_int_equal(f->first.udp_count, 1);
        assert_int_equal(f->first.tcp_count, 1);
        assert_int_equal(f->second.udp_count, 0);
    }
}

static void test_tcp_cut_short(void **state)
{
    struct resolver_scene *f = *state;
    struct asked q = {0};
    ask_and_wait(f, &q, "cut.example.com");
    assert_int_equal(q.answer.status, RESOLVER_FAILED);
    assert_int_equal(q.answer.why, RESOLVER_FAIL_NETWORK);
    assert_int_equal(f->first.tcp_count, 2); /* a connection that breaks is tried again once */
    assert_int_equal(f->second.tcp_count, 2);
}

static void test_forged_replies_are_ignored(void **state)
{
    struct resolver_scene *f = *state;
    struct asked q = {0};
    ask_and_wait(f, &q, "forged.example.com");
    assert_int_equal(q.answer.status, RESOLVER_ADDRS);
    struct resolver_stats s;
    resolver_stats_read(f->resolver, &s);
    assert_int_equal(s.mismatches, 2);
    assert_int_equal(s.replies, 1);
}

static void test_cname(void **state)
{
    struct resolver_scene *f = *state;
    struct asked q = {0};
    ask_and_wait(f, &q, "chain.example.com");
    assert_int_equal(q.answer.status, RESOLVER_ADDRS);
    assert_int_equal(q.answer.ttl_s, 60); /* of the CNAME */
    assert_int_equal(f->first.udp_count, 2);
    /* What was learned is the asked name's, not the target's. */
    struct host_name n = name_of("target.example.net");
    struct resolver_answer a;
    assert_false(resolver_peek(f->resolver, &n, DNS_A, clock_mono_ms(), &a));
}

static void test_source_ports_differ(void **state)
{
    struct resolver_scene *f = *state;
    uint16_t ports[4];
    for (size_t i = 0; i < 4; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "n%zu.example.com", i);
        struct asked q = {0};
        ask_and_wait(f, &q, name);
        ports[i] = f->first.last_source_port;
    }
    assert_false(ports[0] == ports[1] && ports[1] == ports[2] && ports[2] == ports[3]);
}

static void allow_one(struct resolver_config *cfg)
{
    cfg->max_questions = 1;
}

static void test_busy(void **state)
{
    struct resolver_scene *f = *state;
    renew(f, allow_one);
    struct asked first = {0};
    struct asked joined = {0};
    struct asked second = {0};
    struct asked third = {0};
    ask(f, &first, "one.example.com");
    ask(f, &joined, "one.example.com"); /* shares the exchange: fine */
    ask(f, &second, "two.example.com");
    assert_true(fake_run(f->loop, &second.is_done, LIMIT_MS));
    assert_int_equal(second.answer.status, RESOLVER_FAILED);
    assert_int_equal(second.answer.why, RESOLVER_FAIL_BUSY);
    assert_true(fake_run(f->loop, &joined.is_done, LIMIT_MS));
    assert_int_equal(joined.answer.status, RESOLVER_ADDRS);
    ask_and_wait(f, &third, "two.example.com"); /* being busy is not remembered */
    assert_int_equal(third.answer.status, RESOLVER_ADDRS);
}

static void test_many_at_once(void **state)
{
    struct resolver_scene *f = *state;
    enum { COUNT = 200 };
    struct asked *q = calloc(COUNT, sizeof(*q));
    assert_non_null(q);
    for (size_t i = 0; i < COUNT; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "n%zu.example.com", i);
        ask(f, &q[i], name);
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(fake_run(f->loop, &q[i].is_done, LIMIT_MS));
        assert_int_equal(q[i].answer.status, RESOLVER_ADDRS);
    }
    free(q);
}

static void test_no_descriptors(void **state)
{
    struct resolver_scene *f = *state;
    struct asked warm = {0};
    ask_and_wait(f, &warm, "warm.example.com");
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    struct asked first = {0}; /* the socket of the question before serves again */
    struct asked q = {0};
    ask(f, &first, "zero.example.com");
    ask(f, &q, "www.example.com");
    assert_true(fake_run(f->loop, &first.is_done, LIMIT_MS));
    assert_true(fake_run(f->loop, &q.is_done, LIMIT_MS));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(first.answer.status, RESOLVER_ADDRS);
    assert_int_equal(q.answer.status, RESOLVER_FAILED);
    assert_int_equal(q.answer.why, RESOLVER_FAIL_LOCAL);

    struct asked next = {0}; /* and no upstream was blamed for it, nor is the name */
    ask_and_wait(f, &next, "www.example.com");
    assert_int_equal(next.answer.status, RESOLVER_ADDRS);
    assert_int_equal(f->second.udp_count, 0);
}

static void expect_bad_config(struct resolver_scene *f, void (*change)(struct resolver_config *cfg))
{
    struct addr upstreams[2] = {f->first.addr, f->second.addr};
    struct resolver_config cfg = config_of(upstreams);
    struct resolver *r = NULL;
    struct err err = {0};
    change(&cfg);
    assert_int_equal(resolver_new(f->loop, &cfg, &r, &err), -EINVAL);
    assert_null(r);
    assert_true(err.text[0] != '\0');
}

static void no_upstream(struct resolver_config *cfg)
{
    cfg->upstream_count = 0;
}
static void no_attempt_time(struct resolver_config *cfg)
{
    cfg->attempt_ms = 0;
}
static void total_below_attempt(struct resolver_config *cfg)
{
    cfg->total_ms = cfg->attempt_ms - 1;
}
static void ttl_bounds_crossed(struct resolver_config *cfg)
{
    cfg->ttl_min_s = cfg->ttl_max_s + 1;
}
static void no_questions(struct resolver_config *cfg)
{
    cfg->max_questions = 0;
}

static void test_bad_configs(void **state)
{
    struct resolver_scene *f = *state;
    expect_bad_config(f, no_upstream);
    expect_bad_config(f, no_attempt_time);
    expect_bad_config(f, total_below_attempt);
    expect_bad_config(f, ttl_bounds_crossed);
    expect_bad_config(f, no_questions);
}

static void test_defaults_and_texts(void **state)
{
    (void)state;
    struct resolver_config c;
    resolver_config_defaults(&c);
    assert_int_equal(c.ttl_max_s, 3600);
    assert_int_equal(c.ttl_neg_max_s, 60);
    assert_int_equal(c.cache_bytes, 8 << 20);
    assert_int_equal(c.attempt_ms, 800);
    assert_int_equal(c.total_ms, 3500);
    assert_int_equal(c.max_questions, 4096);
    static const char *const texts[] = {"none",        "timeout",  "servfail",      "refused",
                                        "network",     "loop",     "tls_handshake", "tls_untrusted",
                                        "tls_expired", "tls_name", "malformed",     "cname",
                                        "local",       "held",     "busy",          "memory"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_string_equal(resolver_fail_text((enum resolver_fail)i), texts[i]);
        assert_true(strlen(resolver_fail_sentence((enum resolver_fail)i)) > strlen(texts[i]));
    }
    assert_string_equal(resolver_fail_sentence(RESOLVER_FAIL_REFUSED), "the upstreams answer REFUSED");
    assert_string_equal(resolver_fail_sentence((enum resolver_fail)99), "the upstreams failed");
    resolver_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RESOLVER_CASE(test_success),
        RESOLVER_CASE(test_cached_answer_comes_later_too),
        RESOLVER_CASE(test_families_are_two_questions),
        RESOLVER_CASE(test_negatives),
        RESOLVER_CASE(test_ttl_zero),
        RESOLVER_CASE(test_failure_is_kept_for_a_second),
        RESOLVER_CASE(test_failover_from_silence),
        RESOLVER_CASE(test_failover_from_closed_port),
        RESOLVER_CASE(test_all_silent),
        RESOLVER_CASE(test_truncation),
        RESOLVER_CASE(test_tcp_cut_short),
        RESOLVER_CASE(test_forged_replies_are_ignored),
        RESOLVER_CASE(test_cname),
        RESOLVER_CASE(test_source_ports_differ),
        RESOLVER_CASE(test_busy),
        RESOLVER_CASE(test_many_at_once),
        RESOLVER_CASE(test_no_descriptors),
        RESOLVER_CASE(test_bad_configs),
        RESOLVER_CASE(test_defaults_and_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

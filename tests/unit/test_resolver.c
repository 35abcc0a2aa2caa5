/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/resolver.h"

#include "common/base/clock.h"
#include "tests/support/fake_upstream.h"

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

#define LIMIT_MS 5000
#define ATTEMPT_MS                                                                                           \
    60 /* of the tests that wait for silence; all others have the defaults, not to fail under load */
#define TOTAL_MS 400

/* What the pretended upstreams do, by the first label of the name. */
static enum fake_verdict serve(void *ctx, const struct fake_query *q, bool tcp, struct fake_reply *out)
{
    (void)ctx;
    struct span name = host_name_span(&q->name);
    struct span label = span_sub(name, 0, span_find(name, '.'));
    if (span_is_equal(label, SPAN_LIT("silent"))) {
        return FAKE_SILENT;
    }
    if (span_is_equal(label, SPAN_LIT("nxdomain"))) {
        out->rcode = 3;
        out->has_soa = true;
        out->soa_min_s = 3000;
        return FAKE_REPLY;
    }
    if (span_is_equal(label, SPAN_LIT("servfail"))) {
        out->rcode = 2;
        return FAKE_REPLY;
    }
    if (span_is_equal(label, SPAN_LIT("nodata"))) {
        out->has_soa = true;
        out->soa_min_s = 7;
        return FAKE_REPLY;
    }
    if (span_is_equal(label, SPAN_LIT("chain"))) {
        assert_int_equal(host_name_parse(SPAN_LIT("target.example.net"), &out->cnames[0]), HOST_FAULT_NONE);
        out->cname_count = 1;
        return FAKE_REPLY;
    }
    bool is_big = span_is_equal(label, SPAN_LIT("big"));
    bool is_cut = span_is_equal(label, SPAN_LIT("cut"));
    if ((is_big || is_cut) && !tcp) {
        out->tc = true;
        return FAKE_REPLY;
    }
    out->ttl_s = span_is_equal(label, SPAN_LIT("brief")) ? 0 : 100000;
    out->addr_count = is_big ? 64 : 1;
    for (size_t i = 0; i < out->addr_count; i++) {
        out->addrs[i] = ip_v4(192, 0, 2, (uint8_t)(i + 1));
        if (q->qtype == 28) {
            out->addrs[i] = (struct ip){.family = IP_V6, .bytes = {0x20, 1, 0xd, 0xb8, (uint8_t)i}};
        }
    }
    if (is_cut) {
        return FAKE_CUT_SHORT;
    }
    return span_is_equal(label, SPAN_LIT("forged")) ? FAKE_FORGE : FAKE_REPLY;
}

static enum fake_verdict serve_nothing(void *ctx, const struct fake_query *q, bool tcp,
                                       struct fake_reply *out)
{
    (void)ctx;
    (void)q;
    (void)tcp;
    (void)out;
    return FAKE_SILENT;
}

struct fixture {
    struct ev_loop *loop;
    struct fake_upstream first, second;
    struct resolver *resolver;
};

/* One question and what came of it. */
struct asked {
    resolver_ticket ticket;
    bool is_asking; /* resolver_ask() runs: no call back may come */
    bool is_done;
    unsigned calls;
    unsigned order; /* among all call backs of the test */
    unsigned *counter;
    struct resolver_answer answer;
};

static void on_answer(void *ctx, const struct resolver_answer *a)
{
    struct asked *q = ctx;
    assert_false(q->is_asking);
    q->calls++;
    q->is_done = true;
    q->answer = *a;
    if (q->counter != NULL) {
        q->order = ++*q->counter;
    }
}

static struct host_name name_of(const char *text)
{
    struct host_name n;
    assert_int_equal(host_name_parse(span_str(text), &n), HOST_FAULT_NONE);
    return n;
}

static void ask(struct fixture *f, struct asked *q, const char *name)
{
    struct host_name n = name_of(name);
    q->is_asking = true;
    q->ticket = resolver_ask(f->resolver, &n, IP_V4, on_answer, q);
    q->is_asking = false;
    assert_true(q->ticket != 0);
    assert_int_equal(q->calls, 0);
}

static void ask_and_wait(struct fixture *f, struct asked *q, const char *name)
{
    ask(f, q, name);
    assert_true(fake_run(f->loop, &q->is_done, LIMIT_MS));
    assert_int_equal(q->calls, 1);
}

static struct resolver_config config_of(const struct addr upstreams[2])
{
    struct resolver_config cfg;
    resolver_config_defaults(&cfg);
    cfg.upstreams = upstreams;
    cfg.upstream_count = 2;
    return cfg;
}

static void renew(struct fixture *f, void (*change)(struct resolver_config *cfg))
{
    struct addr upstreams[2] = {f->first.addr, f->second.addr};
    struct resolver_config cfg = config_of(upstreams);
    if (change != NULL) {
        change(&cfg);
    }
    struct err err = {0};
    resolver_free(f->resolver);
    assert_int_equal(resolver_new(f->loop, &cfg, &f->resolver, &err), 0);
    memset(upstreams, 0, sizeof(upstreams)); /* it has its own copy */
}

static void be_quick(struct resolver_config *cfg)
{
    cfg->attempt_ms = ATTEMPT_MS;
    cfg->total_ms = TOTAL_MS;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    assert_non_null(f->loop);
    fake_upstream_init(&f->first, f->loop, serve, f);
    fake_upstream_init(&f->second, f->loop, serve, f);
    renew(f, NULL);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    resolver_free(f->resolver);
    fake_upstream_fini(&f->first);
    fake_upstream_fini(&f->second);
    ev_loop_destroy(f->loop);
    free(f);
    return 0;
}

static void test_success(void **state)
{
    struct fixture *f = *state;
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
    struct fixture *f = *state;
    struct asked q = {0};
    struct asked again = {0};
    ask_and_wait(f, &q, "www.example.com");
    ask_and_wait(f, &again, "www.example.com"); /* ask() checks that nothing is called inside */
    assert_true(again.answer.from_cache);
    assert_int_equal(again.answer.status, RESOLVER_ADDRS);
    assert_int_equal(f->first.udp_count, 1);

    struct host_name n = name_of("www.example.com");
    struct resolver_answer a;
    assert_true(resolver_peek(f->resolver, &n, IP_V4, clock_mono_ms(), &a));
    assert_int_equal(a.addr_count, 1);
    assert_false(resolver_peek(f->resolver, &n, IP_V6, clock_mono_ms(), &a));

    struct resolver_stats s;
    resolver_stats_read(f->resolver, &s);
    assert_int_equal(s.sent_udp, 1);
    assert_int_equal(s.replies, 1);
    assert_int_equal(s.cache_hits, 2);
    assert_int_equal(s.cache_misses, 1);
}

static void test_families_are_two_questions(void **state)
{
    struct fixture *f = *state;
    struct asked v4 = {0};
    struct asked v6 = {0};
    struct host_name n = name_of("www.example.com");
    ask(f, &v4, "www.example.com");
    v6.ticket = resolver_ask(f->resolver, &n, IP_V6, on_answer, &v6);
    assert_true(v6.ticket != 0 && v6.ticket != v4.ticket);
    assert_true(fake_run(f->loop, &v4.is_done, LIMIT_MS));
    assert_true(fake_run(f->loop, &v6.is_done, LIMIT_MS));
    assert_int_equal(v4.answer.addrs[0].family, IP_V4);
    assert_int_equal(v6.answer.addrs[0].family, IP_V6);
    assert_int_equal(f->first.udp_count, 2);
}

static void test_negatives(void **state)
{
    struct fixture *f = *state;
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
    assert_true(resolver_peek(f->resolver, &n, IP_V4, clock_mono_ms(), &a));
    assert_int_equal(a.status, RESOLVER_NXDOMAIN);
    n = name_of("nodata.example.com");
    assert_true(resolver_peek(f->resolver, &n, IP_V4, clock_mono_ms(), &a));
    assert_int_equal(a.status, RESOLVER_NODATA);
}

static void raise_ttl_min(struct resolver_config *cfg)
{
    cfg->ttl_min_s = 5;
}

static void test_ttl_zero(void **state)
{
    struct fixture *f = *state;
    struct asked q = {0};
    struct host_name n = name_of("brief.example.com");
    struct resolver_answer a;
    ask_and_wait(f, &q, "brief.example.com");
    assert_int_equal(q.answer.ttl_s, 0);
    assert_false(resolver_peek(f->resolver, &n, IP_V4, clock_mono_ms(), &a));

    renew(f, raise_ttl_min);
    struct asked again = {0};
    ask_and_wait(f, &again, "brief.example.com");
    assert_int_equal(again.answer.ttl_s, 5);
    assert_true(resolver_peek(f->resolver, &n, IP_V4, clock_mono_ms(), &a));
}

static void test_failure_is_kept_for_a_second(void **state)
{
    struct fixture *f = *state;
    struct asked q = {0};
    ask_and_wait(f, &q, "servfail.example.com");
    assert_int_equal(q.answer.status, RESOLVER_FAILED);
    assert_int_equal(q.answer.why, RESOLVER_FAIL_SERVFAIL);
    assert_int_equal(f->first.udp_count, 1);
    assert_int_equal(f->second.udp_count, 1);

    struct host_name n = name_of("servfail.example.com");
    struct resolver_answer a;
    int64_t now_ms = clock_mono_ms();
    assert_true(resolver_peek(f->resolver, &n, IP_V4, now_ms, &a));
    assert_int_equal(a.status, RESOLVER_FAILED);
    assert_true(a.from_cache);
    assert_false(resolver_peek(f->resolver, &n, IP_V4, now_ms + 1000, &a));
}

static void test_failover_from_silence(void **state)
{
    struct fixture *f = *state;
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
    struct fixture *f = *state;
    fake_upstream_fini(&f->first); /* nobody listens there now: ICMP port unreachable */
    struct asked q = {0};
    ask_and_wait(f, &q, "one.example.com");
    assert_int_equal(q.answer.status, RESOLVER_ADDRS);
    struct resolver_stats s;
    resolver_stats_read(f->resolver, &s);
    assert_int_equal(s.timeouts, 0); /* it did not have to wait */
    assert_int_equal(s.failovers, 1);
    fake_upstream_init(&f->first, f->loop, serve, f);
}

static void test_all_silent(void **state)
{
    struct fixture *f = *state;
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
    struct fixture *f = *state;
    f->first.dribbles = true; /* one byte at a time */
    struct asked q = {0};
    ask_and_wait(f, &q, "big.example.com");
    assert_int_equal(q.answer.status, RESOLVER_ADDRS);
    assert_int_equal(q.answer.addr_count, 64);
    struct ip want = ip_v4(192, 0, 2, 64);
    assert_true(ip_is_equal(&q.answer.addrs[63], &want));
    assert_int_equal(f->first.udp_count, 1);
    assert_int_equal(f->first.tcp_count, 1);
    assert_int_equal(f->second.udp_count, 0);
}

static void test_tcp_cut_short(void **state)
{
    struct fixture *f = *state;
    struct asked q = {0};
    ask_and_wait(f, &q, "cut.example.com");
    assert_int_equal(q.answer.status, RESOLVER_FAILED);
    assert_int_equal(q.answer.why, RESOLVER_FAIL_NETWORK);
    assert_int_equal(f->first.tcp_count, 1);
    assert_int_equal(f->second.tcp_count, 1);
}

static void test_forged_replies_are_ignored(void **state)
{
    struct fixture *f = *state;
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
    struct fixture *f = *state;
    struct asked q = {0};
    ask_and_wait(f, &q, "chain.example.com");
    assert_int_equal(q.answer.status, RESOLVER_ADDRS);
    assert_int_equal(q.answer.ttl_s, 60); /* of the CNAME */
    assert_int_equal(f->first.udp_count, 2);
    /* What was learned is the asked name's, not the target's. */
    struct host_name n = name_of("target.example.net");
    struct resolver_answer a;
    assert_false(resolver_peek(f->resolver, &n, IP_V4, clock_mono_ms(), &a));
}

static void test_source_ports_differ(void **state)
{
    struct fixture *f = *state;
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

static void test_coalescing(void **state)
{
    struct fixture *f = *state;
    unsigned counter = 0;
    struct asked q[4];
    memset(q, 0, sizeof(q));
    for (size_t i = 0; i < 4; i++) {
        q[i].counter = &counter;
        ask(f, &q[i], "www.example.com");
    }
    resolver_cancel(f->resolver, q[1].ticket);
    assert_true(fake_run(f->loop, &q[3].is_done, LIMIT_MS));
    assert_int_equal(q[0].order, 1); /* in order of arrival */
    assert_int_equal(q[1].calls, 0);
    assert_int_equal(q[2].order, 2);
    assert_int_equal(q[3].order, 3);
    assert_int_equal(f->first.udp_count, 1);
    struct resolver_stats s;
    resolver_stats_read(f->resolver, &s);
    assert_int_equal(s.coalesced, 3);
}

static void test_cancel_ends_the_question(void **state)
{
    struct fixture *f = *state;
    renew(f, be_quick);
    struct asked q = {0};
    ask(f, &q, "silent.example.com");
    for (int i = 0; i < 1000 && f->first.udp_count == 0; i++) {
        fake_run_for(f->loop, 1);
    }
    unsigned sent = f->first.udp_count + f->second.udp_count;
    assert_true(sent >= 1);
    resolver_cancel(f->resolver, q.ticket);
    fake_run_for(f->loop, ATTEMPT_MS * 2);
    assert_int_equal(q.calls, 0);
    assert_int_equal(f->first.udp_count + f->second.udp_count, sent);
    resolver_cancel(f->resolver, q.ticket); /* stale: nothing happens */
}

static void test_cancel_of_a_cached_answer(void **state)
{
    struct fixture *f = *state;
    struct asked q = {0};
    struct asked again = {0};
    struct asked third = {0};
    ask_and_wait(f, &q, "www.example.com");
    ask(f, &again, "www.example.com");
    resolver_cancel(f->resolver, again.ticket);
    ask_and_wait(f, &third, "www.example.com");
    assert_int_equal(again.calls, 0);
}

static void test_stale_ticket_hits_nobody_else(void **state)
{
    struct fixture *f = *state;
    struct asked q = {0};
    struct asked next = {0};
    ask_and_wait(f, &q, "one.example.com");
    ask(f, &next, "two.example.com"); /* takes the same slot */
    assert_true((q.ticket & UINT32_MAX) == (next.ticket & UINT32_MAX));
    assert_true(q.ticket != next.ticket);
    resolver_cancel(f->resolver, q.ticket);
    resolver_cancel(f->resolver, 0);
    resolver_cancel(f->resolver, UINT64_MAX);
    assert_true(fake_run(f->loop, &next.is_done, LIMIT_MS));
}

/* A call back that cancels two others: one of its own question, one of another that is ready too. */
struct canceller {
    struct fixture *f;
    struct asked *victims[2];
    bool is_done;
};

static void on_answer_cancel(void *ctx, const struct resolver_answer *a)
{
    struct canceller *c = ctx;
    assert_int_equal(a->status, RESOLVER_ADDRS);
    resolver_cancel(c->f->resolver, c->victims[0]->ticket);
    resolver_cancel(c->f->resolver, c->victims[1]->ticket);
    c->is_done = true;
}

static void test_cancel_inside_call_back(void **state)
{
    struct fixture *f = *state;
    struct asked warm = {0};
    struct asked same = {0};
    struct asked other = {0};
    struct asked silent = {0};
    ask_and_wait(f, &warm, "warm.example.com");
    struct canceller c = {.f = f, .victims = {&same, &other}};
    struct host_name n = name_of("warm.example.com");
    assert_true(resolver_ask(f->resolver, &n, IP_V4, on_answer_cancel, &c) != 0);
    ask(f, &same, "warm.example.com");
    ask(f, &other, "warm.example.com");
    assert_true(fake_run(f->loop, &c.is_done, LIMIT_MS));

    struct canceller d = {.f = f, .victims = {&same, &silent}};
    n = name_of("cold.example.com");
    assert_true(resolver_ask(f->resolver, &n, IP_V4, on_answer_cancel, &d) != 0);
    ask(f, &same, "cold.example.com");
    ask(f, &silent, "silent.example.com");
    assert_true(fake_run(f->loop, &d.is_done, LIMIT_MS));
    fake_run_for(f->loop, ATTEMPT_MS);
    assert_int_equal(same.calls, 0);
    assert_int_equal(other.calls, 0);
    assert_int_equal(silent.calls, 0);
}

struct asker {
    struct fixture *f;
    struct asked next;
};

static void on_answer_ask(void *ctx, const struct resolver_answer *a)
{
    struct asker *k = ctx;
    assert_int_equal(a->status, RESOLVER_ADDRS);
    ask(k->f, &k->next, "www.example.com"); /* cached by now */
}

static void test_ask_inside_call_back(void **state)
{
    struct fixture *f = *state;
    struct asker k = {.f = f};
    struct host_name n = name_of("www.example.com");
    assert_true(resolver_ask(f->resolver, &n, IP_V4, on_answer_ask, &k) != 0);
    assert_true(fake_run(f->loop, &k.next.is_done, LIMIT_MS));
    assert_true(k.next.answer.from_cache);
}

struct freer {
    struct fixture *f;
    bool is_done;
};

static void on_answer_free(void *ctx, const struct resolver_answer *a)
{
    struct freer *k = ctx;
    resolver_free(k->f->resolver);
    k->f->resolver = NULL;
    k->is_done = true;
    assert_int_equal(a->status, RESOLVER_ADDRS); /* still to be read */
    assert_int_equal(a->addr_count, 1);
}

static void test_free_inside_call_back(void **state)
{
    struct fixture *f = *state;
    struct freer k = {.f = f};
    struct asked same = {0};
    struct asked silent = {0};
    struct host_name n = name_of("www.example.com");
    assert_true(resolver_ask(f->resolver, &n, IP_V4, on_answer_free, &k) != 0);
    ask(f, &same, "www.example.com");
    ask(f, &silent, "silent.example.com");
    assert_true(fake_run(f->loop, &k.is_done, LIMIT_MS));
    fake_run_for(f->loop, ATTEMPT_MS * 2);
    assert_int_equal(same.calls, 0);
    assert_int_equal(silent.calls, 0);
}

static void test_free_with_open_questions(void **state)
{
    struct fixture *f = *state;
    renew(f, be_quick);
    struct asked warm = {0};
    struct asked q[3];
    memset(q, 0, sizeof(q));
    ask_and_wait(f, &warm, "warm.example.com");
    ask(f, &q[0], "silent.example.com");
    fake_run_for(f->loop, ATTEMPT_MS * 2); /* two attempts are open */
    ask(f, &q[1], "warm.example.com");     /* ready, not delivered */
    ask(f, &q[2], "new.example.com");      /* not sent yet */
    resolver_free(f->resolver);
    f->resolver = NULL;
    fake_run_for(f->loop, ATTEMPT_MS);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(q[i].calls, 0);
    }
}

static void allow_one(struct resolver_config *cfg)
{
    cfg->max_questions = 1;
}

static void test_busy(void **state)
{
    struct fixture *f = *state;
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
    struct fixture *f = *state;
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
    struct fixture *f = *state;
    struct asked warm = {0};
    ask_and_wait(f, &warm, "warm.example.com");
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    struct asked q = {0};
    ask_and_wait(f, &q, "www.example.com");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(q.answer.status, RESOLVER_FAILED);
    assert_int_equal(q.answer.why, RESOLVER_FAIL_NETWORK);

    struct asked next = {0}; /* and no upstream was blamed for it */
    ask_and_wait(f, &next, "two.example.com");
    assert_int_equal(next.answer.status, RESOLVER_ADDRS);
    assert_int_equal(f->second.udp_count, 0);
}

static void expect_bad_config(struct fixture *f, void (*change)(struct resolver_config *cfg))
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
    struct fixture *f = *state;
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
    static const char *const texts[] = {"none",    "timeout", "servfail", "refused",
                                        "network", "cname",   "busy",     "memory"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_string_equal(resolver_fail_text((enum resolver_fail)i), texts[i]);
    }
    resolver_free(NULL);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_success),
        CASE(test_cached_answer_comes_later_too),
        CASE(test_families_are_two_questions),
        CASE(test_negatives),
        CASE(test_ttl_zero),
        CASE(test_failure_is_kept_for_a_second),
        CASE(test_failover_from_silence),
        CASE(test_failover_from_closed_port),
        CASE(test_all_silent),
        CASE(test_truncation),
        CASE(test_tcp_cut_short),
        CASE(test_forged_replies_are_ignored),
        CASE(test_cname),
        CASE(test_source_ports_differ),
        CASE(test_coalescing),
        CASE(test_cancel_ends_the_question),
        CASE(test_cancel_of_a_cached_answer),
        CASE(test_stale_ticket_hits_nobody_else),
        CASE(test_cancel_inside_call_back),
        CASE(test_ask_inside_call_back),
        CASE(test_free_inside_call_back),
        CASE(test_free_with_open_questions),
        CASE(test_busy),
        CASE(test_many_at_once),
        CASE(test_no_descriptors),
        CASE(test_bad_configs),
        CASE(test_defaults_and_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

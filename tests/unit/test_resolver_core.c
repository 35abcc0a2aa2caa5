/* SPDX-License-Identifier: Apache-2.0 */
/* What scenarios cannot say: the core's end while it runs, counters of a daemon's, floods. The rules are
 * played in tests/replay/resolver. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/dns/resolver_core.h"

#include <stdio.h>
#include <stdlib.h>

#define FIRST 10 /* where the counters begin */

struct fixture {
    struct resolver_core *core;
    struct metrics metrics;
    struct resolver_question *last; /* of the exchange started last */
    size_t started, cancelled, answered;
    bool frees;
    int token;
};

static void *start(void *ctx, const struct host_name *name, uint16_t qtype, struct resolver_question *q)
{
    struct fixture *f = ctx;
    (void)name;
    assert_int_equal(qtype, DNS_A);
    f->started++;
    f->last = q;
    return &f->token;
}

/* Names below zone.example have upstreams of their own. */
static size_t route(void *ctx, const struct host_name *name)
{
    (void)ctx;
    return strstr(name->text, "zone.example") != NULL ? ROUTE_SHARE_MAX - 1 : 0;
}

static void cancel(void *ctx, void *exchange)
{
    struct fixture *f = ctx;
    assert_ptr_equal(exchange, &f->token);
    f->cancelled++;
}

static void on_answer(void *ctx, const struct resolver_answer *a)
{
    struct fixture *f = ctx;
    f->answered++;
    if (f->frees) {
        resolver_core_free(f->core);
        f->core = NULL;
    }
    assert_int_equal(a->status, RESOLVER_ADDRS); /* outlives the core */
    assert_int_equal(a->addr_count, 1);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    const struct resolver_core_config cfg = {
        .ttls = {.max_s = 3600, .neg_max_s = 60},
        .stale_s = 60,
        .cache_bytes = 1 << 20,
        .max_questions = 4096,
        .route_count = ROUTE_SHARE_MAX,
        .metrics = &f->metrics,
        .metrics_first = FIRST,
        .driver = {.start = start, .cancel = cancel, .route = route, .ctx = f}};
    assert_int_equal(resolver_core_new(&cfg, &f->core), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    resolver_core_free(f->core);
    free(f);
    return 0;
}

static resolver_ticket ask(struct fixture *f, const char *text, int64_t now_ms)
{
    struct host_name name;
    assert_int_equal(host_name_parse(span_str(text), &name), HOST_FAULT_NONE);
    const struct resolver_ask a = {.name = &name, .qtype = DNS_A, .fn = on_answer, .ctx = f};
    return resolver_core_ask(f->core, &a, now_ms);
}

static void reply(struct fixture *f, uint32_t ttl_s, int64_t now_ms)
{
    const struct dns_exchange_result r = {
        .status = DNS_EXCHANGE_ADDRS, .ttl_s = ttl_s, .addr_count = 1, .addrs = {ip_v4(192, 0, 2, 1)}};
    resolver_core_done(f->last, &r, now_ms);
}

static void freed_by_a_ready_answer(void **state)
{
    struct fixture *f = *state;
    assert_true(ask(f, "silent.example", 0) != 0);
    assert_true(ask(f, "www.example", 0) != 0);
    assert_true(ask(f, "www.example", 0) != 0);
    reply(f, 60, 5);
    assert_int_equal(resolver_core_until_ms(f->core), INT64_MIN);
    f->frees = true;
    assert_false(resolver_core_run(f->core, 5));
    assert_int_equal(f->answered, 1);
    assert_int_equal(f->cancelled, 1);
}

static void freed_by_a_stale_answer(void **state)
{
    struct fixture *f = *state;
    assert_true(ask(f, "www.example", 0) != 0);
    reply(f, 5, 0);
    assert_true(resolver_core_run(f->core, 0));
    assert_true(ask(f, "www.example", 6000) != 0);
    assert_true(ask(f, "www.example", 6000) != 0);
    assert_int_equal(resolver_core_until_ms(f->core), 6000 + RESOLVER_STALE_AFTER_MS);
    f->frees = true;
    assert_false(resolver_core_run(f->core, 7800));
    assert_int_equal(f->answered, 2);
    assert_int_equal(f->cancelled, 1);
}

static void counts_where_it_is_told(void **state)
{
    struct fixture *f = *state;
    assert_true(ask(f, "www.example", 0) != 0);
    reply(f, 5, 0);
    assert_true(resolver_core_run(f->core, 0));
    assert_int_equal(metrics_read(&f->metrics, FIRST + RESOLVER_COUNTER_CACHE_MISSES), 1);
    assert_int_equal(metrics_read(&f->metrics, FIRST + RESOLVER_COUNTER_CACHE_ENTRIES), 1);
    assert_true(metrics_read(&f->metrics, FIRST + RESOLVER_COUNTER_CACHE_BYTES) > 50);
    struct host_name name;
    assert_int_equal(host_name_parse(SPAN_LIT("www.example"), &name), HOST_FAULT_NONE);
    struct resolver_answer a;
    assert_false(resolver_core_peek(f->core, &name, DNS_A, 66000, &a)); /* too old even to be stale */
    assert_int_equal(metrics_read(&f->metrics, FIRST + RESOLVER_COUNTER_CACHE_ENTRIES), 0);
    assert_int_equal(metrics_read(&f->metrics, FIRST + RESOLVER_COUNTER_CACHE_BYTES), 0);
    for (size_t i = 0; i < METRICS_MAX; i++) {
        if (i < FIRST || i >= FIRST + RESOLVER_COUNTER_COUNT) {
            assert_int_equal(metrics_read(&f->metrics, i), 0);
        }
    }
}

/* A stale name asked by thousands: each at their time, and nobody is lost. */
static void many_wait_for_one(void **state)
{
    struct fixture *f = *state;
    assert_true(ask(f, "www.example", 0) != 0);
    reply(f, 5, 0);
    assert_true(resolver_core_run(f->core, 0));
    for (int i = 0; i < 5000; i++) {
        assert_true(ask(f, "www.example", 6000 + i / 10) != 0);
    }
    assert_int_equal(f->started, 2);
    assert_true(resolver_core_run(f->core, 6000 + RESOLVER_STALE_AFTER_MS + 249));
    assert_int_equal(f->answered, 1 + 2500);
    reply(f, 60, 8060);
    assert_true(resolver_core_run(f->core, 8060));
    assert_int_equal(f->answered, 1 + 5000);
    assert_int_equal(resolver_core_until_ms(f->core), INT64_MAX);
}

/* More questions at once than are kept for the next: no leak, and all end with the core. */
static void many_names_at_once(void **state)
{
    struct fixture *f = *state;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 1000; i++) {
            char text[32];
            (void)snprintf(text, sizeof text, "n%d.example", i + 1000 * round);
            assert_true(ask(f, text, 0) != 0);
            if (round == 0) {
                reply(f, 60, 0);
            }
        }
        assert_true(resolver_core_run(f->core, 0));
    }
    assert_int_equal(f->answered, 1000);
    resolver_core_free(f->core);
    f->core = NULL;
    assert_int_equal(f->cancelled, 1000);
}

static bool peek(struct fixture *f, const char *text, int64_t now_ms)
{
    struct host_name name;
    struct resolver_answer a;
    assert_int_equal(host_name_parse(span_str(text), &name), HOST_FAULT_NONE);
    return resolver_core_peek(f->core, &name, DNS_A, now_ms, &a);
}

/* A zone whose server is dead keeps its own names from being renewed, and no others. */
static void renewal_is_of_each_route(void **state)
{
    struct fixture *f = *state;
    const struct dns_exchange_result dead = {.why = DNS_EXCHANGE_FAIL_TIMEOUT};
    assert_true(ask(f, "www.example", 0) != 0);
    reply(f, 100, 0);
    assert_true(ask(f, "www.zone.example", 0) != 0);
    reply(f, 100, 0);
    assert_true(resolver_core_run(f->core, 0));
    assert_true(peek(f, "www.example", 10) && peek(f, "www.zone.example", 10));
    const resolver_ticket t = ask(f, "other.zone.example", 95000);
    assert_true(t != 0);
    resolver_core_done(f->last, &dead, 95000);
    resolver_core_cancel(f->core, t);
    assert_int_equal(f->started, 3);
    assert_true(peek(f, "www.zone.example", 95000));
    assert_int_equal(f->started, 3);
    assert_true(peek(f, "www.example", 95000));
    assert_int_equal(f->started, 4);
    reply(f, 100, 95000); /* and its success says nothing of the zone's server */
    assert_true(peek(f, "www.zone.example", 95001));
    assert_int_equal(f->started, 4);
    resolver_core_forgive(f->core);
    assert_true(peek(f, "www.zone.example", 95002));
    assert_int_equal(f->started, 5);
}

/* A zone whose server is dead fills up with questions: those of others still find a place. */
static void dead_zone_leaves_places(void **state)
{
    struct fixture *f = *state;
    char text[32];
    for (int i = 0; i < 5000; i++) {
        (void)snprintf(text, sizeof text, "n%d.zone.example", i);
        assert_true(ask(f, text, 0) != 0);
    }
    const size_t of_zone = f->started;
    assert_true(of_zone > 4096 / 2 && of_zone < 4096);
    for (int i = 0; i < 100; i++) {
        (void)snprintf(text, sizeof text, "n%d.example", i);
        assert_true(ask(f, text, 0) != 0);
    }
    assert_int_equal(f->started, of_zone + 100);
    reply(f, 0, 0); /* a place of its own: not one for the zone */
    assert_true(ask(f, "more.zone.example", 0) != 0);
    assert_int_equal(f->started, of_zone + 100);
}

static void stale_without_asking(void **state)
{
    struct fixture *f = *state;
    struct host_name name;
    struct resolver_answer a;
    assert_int_equal(host_name_parse(SPAN_LIT("www.example"), &name), HOST_FAULT_NONE);
    assert_true(ask(f, "www.example", 0) != 0);
    assert_false(resolver_core_peek_stale(f->core, &name, DNS_A, 0, &a)); /* nothing there yet */
    reply(f, 5, 0);
    assert_true(resolver_core_run(f->core, 0));
    assert_false(resolver_core_peek_stale(f->core, &name, DNS_A, 4999, &a)); /* fresh */
    assert_true(resolver_core_peek_stale(f->core, &name, DNS_A, 5000, &a));
    assert_true(a.is_stale && a.status == RESOLVER_ADDRS && a.addr_count == 1);
    assert_int_equal(a.ttl_s, RESOLVER_STALE_TTL_S);
    assert_int_equal(a.why, RESOLVER_FAIL_HELD);
    assert_false(resolver_core_peek_stale(f->core, &name, DNS_AAAA, 5000, &a));
    assert_false(resolver_core_peek_stale(f->core, &name, DNS_A, 65000, &a));
    assert_int_equal(f->started, 1);
}

static void unwanted_ones_are_dropped(void **state)
{
    struct fixture *f = *state;
    resolver_core_drop_unwanted(f->core); /* there is none */
    assert_true(ask(f, "www.example", 0) != 0);
    reply(f, 100, 0);
    assert_true(resolver_core_run(f->core, 0));
    assert_true(ask(f, "other.example", 0) != 0);
    for (int64_t now_ms = 90000; f->started == 2 && now_ms < 100000; now_ms += 100) {
        assert_true(peek(f, "www.example", now_ms)); /* until it is renewed */
    }
    assert_int_equal(f->started, 3);
    resolver_core_drop_unwanted(f->core);
    assert_int_equal(f->cancelled, 1); /* the renewal; the other one is waited for */
    assert_true(peek(f, "www.example", 99900));
    assert_int_equal(f->started, 4); /* renewed again: it is not thought to be under way */
    resolver_core_drop_unwanted(f->core);
    assert_int_equal(f->cancelled, 2);
    assert_int_equal(f->answered, 1);
}

int main(void)
{
#define CORE_CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CORE_CASE(freed_by_a_ready_answer), CORE_CASE(freed_by_a_stale_answer),
        CORE_CASE(counts_where_it_is_told), CORE_CASE(many_wait_for_one),
        CORE_CASE(many_names_at_once),      CORE_CASE(renewal_is_of_each_route),
        CORE_CASE(stale_without_asking),    CORE_CASE(unwanted_ones_are_dropped),
        CORE_CASE(dead_zone_leaves_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

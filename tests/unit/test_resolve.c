/* SPDX-License-Identifier: Apache-2.0 */
/* The resolver is replaced by one that the test answers for. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/clock.h"
#include "tunneld/resolve.h"

#include <errno.h>

struct asked {
    resolver_event_fn *fn;
    void *ctx;
    bool is_cancelled;
};

static struct asked asked[2]; /* [0] IPv6, [1] IPv4 */
static int refuse_to_ask;     /* bit 0: IPv6, bit 1: IPv4 */

resolver_ticket resolver_ask(struct resolver *r, const struct host_name *name, uint16_t qtype,
                             resolver_event_fn *fn, void *ctx)
{
    (void)r;
    assert_string_equal(name->text, "x.example");
    int which = qtype == DNS_AAAA ? 0 : 1;
    if ((refuse_to_ask & (1 << which)) != 0) {
        return 0;
    }
    asked[which] = (struct asked){.fn = fn, .ctx = ctx};
    return (resolver_ticket)which + 1;
}

void resolver_cancel(struct resolver *r, resolver_ticket t)
{
    (void)r;
    assert_true(t == 1 || t == 2);
    assert_false(asked[t - 1].is_cancelled);
    asked[t - 1].is_cancelled = true;
}

struct seen {
    struct resolve *resolve;
    struct ip addrs[2 * DNS_ADDRS_MAX];
    size_t addr_count;
    int calls;
    bool is_complete;
    bool cancel_inside;
    enum resolver_status status;
    enum resolver_fail why;
};

static void on_result(void *ctx, const struct resolve_result *r)
{
    struct seen *s = ctx;
    s->calls++;
    assert_false(s->is_complete);
    for (size_t i = 0; i < r->addr_count; i++) {
        s->addrs[s->addr_count++] = r->addrs[i];
    }
    s->is_complete = r->is_complete;
    s->status = r->status;
    s->why = r->why;
    if (s->cancel_inside) {
        resolve_cancel(s->resolve);
        s->resolve = NULL;
    }
}

static struct ev_loop *loop;

static void start(struct seen *s)
{
    struct host_name name;
    asked[0] = asked[1] = (struct asked){0};
    assert_int_equal(host_name_parse(SPAN_LIT("x.example"), &name), HOST_FAULT_NONE);
    assert_int_equal(resolve_start(loop, NULL, &name, on_result, s, &s->resolve), 0);
    assert_int_equal(s->calls, 0);
}

static void answer(int which, enum resolver_status status, size_t count)
{
    struct resolver_answer a = {.status = status, .addr_count = count};
    a.why = status == RESOLVER_FAILED ? RESOLVER_FAIL_TIMEOUT : RESOLVER_FAIL_NONE;
    for (size_t i = 0; i < count; i++) {
        a.addrs[i] = (struct ip){.family = which == 0 ? IP_V6 : IP_V4, .bytes = {(uint8_t)(i + 1)}};
    }
    asked[which].fn(asked[which].ctx, &a);
}

static void test_v6_is_handed_on_at_once(void **state)
{
    (void)state;
    struct seen s = {0};
    start(&s);
    answer(0, RESOLVER_ADDRS, 2);
    assert_int_equal(s.calls, 1);
    assert_int_equal(s.addr_count, 2);
    assert_false(s.is_complete);
    answer(1, RESOLVER_ADDRS, 1);
    assert_int_equal(s.calls, 2);
    assert_int_equal(s.addr_count, 3);
    assert_int_equal(s.addrs[2].family, IP_V4);
    assert_true(s.is_complete);
    resolve_cancel(s.resolve);
}

static void test_v4_waits_a_moment_for_v6(void **state)
{
    (void)state;
    struct seen s = {0};
    start(&s);
    answer(1, RESOLVER_ADDRS, 1);
    assert_int_equal(s.calls, 0);
    answer(0, RESOLVER_ADDRS, 1);
    assert_int_equal(s.calls, 1);
    assert_true(s.is_complete);
    assert_int_equal(s.addr_count, 2);
    assert_int_equal(s.addrs[0].family, IP_V6);
    assert_int_equal(s.addrs[1].family, IP_V4);
    resolve_cancel(s.resolve);
}

/* A silent IPv6 family costs 50 ms, not its time-out. */
static void test_v4_does_not_wait_long(void **state)
{
    (void)state;
    struct seen s = {0};
    start(&s);
    ev_now_update(loop);
    int64_t began = clock_mono_ms();
    answer(1, RESOLVER_ADDRS, 1);
    while (s.calls == 0 && clock_mono_ms() < began + 2000) {
        ev_run(loop, EVRUN_ONCE);
    }
    assert_in_range(clock_mono_ms() - began, RESOLVE_DELAY_MS - 5, 1000);
    assert_int_equal(s.addr_count, 1);
    assert_false(s.is_complete);
    answer(0, RESOLVER_FAILED, 0);
    assert_true(s.is_complete);
    assert_int_equal(s.calls, 2);
    resolve_cancel(s.resolve);
}

static void test_nothing_is_said_before_both_failed(void **state)
{
    (void)state;
    struct {
        enum resolver_status v6, v4, want;
    } rows[] = {
        {RESOLVER_NXDOMAIN, RESOLVER_NXDOMAIN, RESOLVER_NXDOMAIN},
        {RESOLVER_NODATA, RESOLVER_NODATA, RESOLVER_NODATA},
        {RESOLVER_NODATA, RESOLVER_NXDOMAIN, RESOLVER_NODATA},
        {RESOLVER_NODATA, RESOLVER_FAILED, RESOLVER_FAILED},
        {RESOLVER_FAILED, RESOLVER_NXDOMAIN, RESOLVER_FAILED},
        {RESOLVER_FAILED, RESOLVER_FAILED, RESOLVER_FAILED},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct seen s = {0};
        start(&s);
        answer(0, rows[i].v6, 0);
        assert_int_equal(s.calls, 0);
        answer(1, rows[i].v4, 0);
        assert_int_equal(s.calls, 1);
        assert_true(s.is_complete);
        assert_int_equal(s.addr_count, 0);
        assert_int_equal(s.status, rows[i].want);
        assert_int_equal(s.why, s.status == RESOLVER_FAILED ? RESOLVER_FAIL_TIMEOUT : RESOLVER_FAIL_NONE);
        resolve_cancel(s.resolve);
    }
}

static void test_most_addresses(void **state)
{
    (void)state;
    struct seen s = {0};
    start(&s);
    answer(1, RESOLVER_ADDRS, DNS_ADDRS_MAX);
    answer(0, RESOLVER_ADDRS, DNS_ADDRS_MAX);
    assert_int_equal(s.addr_count, 2 * DNS_ADDRS_MAX);
    assert_int_equal(s.addrs[0].family, IP_V6);
    assert_int_equal(s.addrs[DNS_ADDRS_MAX].family, IP_V4);
    assert_int_equal(s.addrs[2 * DNS_ADDRS_MAX - 1].bytes[0], DNS_ADDRS_MAX);
    resolve_cancel(s.resolve);
}

static void test_cancel(void **state)
{
    (void)state;
    struct seen s = {0};
    start(&s);
    resolve_cancel(s.resolve); /* nothing answered */
    assert_true(asked[0].is_cancelled && asked[1].is_cancelled);
    s = (struct seen){0};
    start(&s);
    answer(1, RESOLVER_ADDRS, 1); /* the delay runs */
    resolve_cancel(s.resolve);
    assert_true(asked[0].is_cancelled && !asked[1].is_cancelled);
    ev_run(loop, 0); /* returns at once: no timer is left */
    assert_int_equal(s.calls, 0);
    s = (struct seen){.cancel_inside = true};
    start(&s);
    answer(0, RESOLVER_ADDRS, 1);
    assert_int_equal(s.calls, 1);
    assert_true(asked[1].is_cancelled);
}

static void test_a_family_that_cannot_be_asked(void **state)
{
    (void)state;
    struct seen s = {0};
    struct host_name name;
    refuse_to_ask = 1;
    start(&s);
    answer(1, RESOLVER_ADDRS, 1);
    assert_int_equal(s.calls, 1);
    assert_true(s.is_complete);
    resolve_cancel(s.resolve);
    refuse_to_ask = 3;
    assert_int_equal(host_name_parse(SPAN_LIT("x.example"), &name), HOST_FAULT_NONE);
    assert_int_equal(resolve_start(loop, NULL, &name, on_result, &s, &s.resolve), -ENOMEM);
    refuse_to_ask = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v6_is_handed_on_at_once),
        cmocka_unit_test(test_v4_waits_a_moment_for_v6),
        cmocka_unit_test(test_v4_does_not_wait_long),
        cmocka_unit_test(test_nothing_is_said_before_both_failed),
        cmocka_unit_test(test_most_addresses),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_a_family_that_cannot_be_asked),
    };
    loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    ev_loop_destroy(loop);
    return rc;
}

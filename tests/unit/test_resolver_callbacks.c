/* SPDX-License-Identifier: Apache-2.0 */
/* Who is called back, when and how often: coalescing, cancelling, asking and freeing inside and outside call
 * backs. */
#include "tests/support/resolver_scene.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

static void test_coalescing(void **state)
{
    struct resolver_scene *f = *state;
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
    struct resolver_scene *f = *state;
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
    struct resolver_scene *f = *state;
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
    struct resolver_scene *f = *state;
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
    struct resolver_scene *f;
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
    struct resolver_scene *f = *state;
    struct asked warm = {0};
    struct asked same = {0};
    struct asked other = {0};
    struct asked silent = {0};
    ask_and_wait(f, &warm, "warm.example.com");
    struct canceller c = {.f = f, .victims = {&same, &other}};
    struct host_name n = name_of("warm.example.com");
    assert_true(resolver_ask(f->resolver, &n, DNS_A, on_answer_cancel, &c) != 0);
    ask(f, &same, "warm.example.com");
    ask(f, &other, "warm.example.com");
    assert_true(fake_run(f->loop, &c.is_done, LIMIT_MS));

    struct canceller d = {.f = f, .victims = {&same, &silent}};
    n = name_of("cold.example.com");
    assert_true(resolver_ask(f->resolver, &n, DNS_A, on_answer_cancel, &d) != 0);
    ask(f, &same, "cold.example.com");
    ask(f, &silent, "silent.example.com");
    assert_true(fake_run(f->loop, &d.is_done, LIMIT_MS));
    fake_run_for(f->loop, ATTEMPT_MS);
    assert_int_equal(same.calls, 0);
    assert_int_equal(other.calls, 0);
    assert_int_equal(silent.calls, 0);
}

struct asker {
    struct resolver_scene *f;
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
    struct resolver_scene *f = *state;
    struct asker k = {.f = f};
    struct host_name n = name_of("www.example.com");
    assert_true(resolver_ask(f->resolver, &n, DNS_A, on_answer_ask, &k) != 0);
    assert_true(fake_run(f->loop, &k.next.is_done, LIMIT_MS));
    assert_true(k.next.answer.from_cache);
}

struct freer {
    struct resolver_scene *f;
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
    struct resolver_scene *f = *state;
    struct freer k = {.f = f};
    struct asked same = {0};
    struct asked silent = {0};
    struct host_name n = name_of("www.example.com");
    assert_true(resolver_ask(f->resolver, &n, DNS_A, on_answer_free, &k) != 0);
    ask(f, &same, "www.example.com");
    ask(f, &silent, "silent.example.com");
    assert_true(fake_run(f->loop, &k.is_done, LIMIT_MS));
    fake_run_for(f->loop, ATTEMPT_MS * 2);
    assert_int_equal(same.calls, 0);
    assert_int_equal(silent.calls, 0);
}

static void test_free_with_open_questions(void **state)
{
    struct resolver_scene *f = *state;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        RESOLVER_CASE(test_coalescing),
        RESOLVER_CASE(test_cancel_ends_the_question),
        RESOLVER_CASE(test_cancel_of_a_cached_answer),
        RESOLVER_CASE(test_stale_ticket_hits_nobody_else),
        RESOLVER_CASE(test_cancel_inside_call_back),
        RESOLVER_CASE(test_ask_inside_call_back),
        RESOLVER_CASE(test_free_inside_call_back),
        RESOLVER_CASE(test_free_with_open_questions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

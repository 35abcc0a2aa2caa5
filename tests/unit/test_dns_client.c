/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets and life times; what is asked of whom is in tests/replay, the whole in test_resolver. */
#include "common/dns/dns_client.h"

#include "tests/support/fake_upstream.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

#define LIMIT_MS 5000

struct scene {
    struct ev_loop *loop;
    struct fake_upstream first, second;
    struct dns_client *client;
};

struct asked {
    struct dns_client *client;
    struct dns_call *call;
    bool is_starting;
    bool is_done;
    struct dns_exchange_result result;
    struct asked *starts;  /* started by the call back */
    struct asked *cancels; /* cancelled by the call back */
};

static enum fake_verdict serve(void *ctx, const struct fake_query *q, bool tcp, struct fake_reply *out)
{
    (void)ctx;
    bool is_big = q->name.text[0] == 'b';
    out->tc = is_big && !tcp;
    out->addr_count = 1;
    out->addrs[0] = ip_v4(192, 0, 2, 1);
    return FAKE_REPLY;
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

static enum fake_verdict forge(void *ctx, const struct fake_query *q, bool tcp, struct fake_reply *out)
{
    (void)serve(ctx, q, tcp, out);
    return FAKE_FORGE;
}

static void start(struct asked *q, const char *name);

static void on_result(void *ctx, const struct dns_exchange_result *result, int64_t now_ms)
{
    (void)now_ms;
    struct asked *q = ctx;
    assert_false(q->is_starting);
    assert_false(q->is_done); /* exactly once */
    q->is_done = true;
    q->result = *result;
    if (q->starts != NULL) {
        start(q->starts, "next.example.com");
    }
    if (q->cancels != NULL) {
        dns_client_cancel(q->cancels->call);
    }
}

static void start(struct asked *q, const char *name)
{
    struct host_name n;
    assert_int_equal(host_name_parse(span_str(name), &n), HOST_FAULT_NONE);
    q->is_starting = true;
    q->call = dns_client_start(q->client, &n, DNS_A, on_result, q);
    q->is_starting = false;
    assert_non_null(q->call);
}

static void new_client(struct scene *s, int64_t attempt_ms, int64_t total_ms)
{
    struct addr upstreams[2] = {s->first.addr, s->second.addr};
    struct dns_client_config cfg = {
        .upstreams = upstreams, .upstream_count = 2, .attempt_ms = attempt_ms, .total_ms = total_ms};
    dns_client_free(s->client);
    assert_int_equal(dns_client_new(s->loop, &cfg, &s->client, NULL), 0);
}

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    assert_non_null(s->loop);
    fake_upstream_init(&s->first, s->loop, serve, s);
    fake_upstream_init(&s->second, s->loop, serve, s);
    new_client(s, 800, 3500);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    dns_client_free(s->client);
    fake_upstream_fini(&s->first);
    fake_upstream_fini(&s->second);
    ev_loop_destroy(s->loop);
    free(s);
    return 0;
}

static size_t count_descriptors(void)
{
    size_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    (void)closedir(dir);
    return count;
}

static void test_result(void **state)
{
    struct scene *s = *state;
    struct asked q = {.client = s->client};
    size_t before = count_descriptors();
    for (size_t i = 1; i <= 5; i++) {
        q.is_done = false;
        start(&q, "www.example.com");
        assert_true(fake_run(s->loop, &q.is_done, LIMIT_MS));
        assert_int_equal(q.result.status, DNS_EXCHANGE_ADDRS);
        assert_int_equal(dns_client_stats(s->client)->sent_udp, i);
        /* the socket that served, and will again, and perhaps one that is ready for the next question */
        assert_in_range(count_descriptors(), before + 1, before + 2);
    }
}

/* The second reply to a question meets the next one on its socket, where nobody takes it for a forgery. */
static void test_replies_that_come_twice(void **state)
{
    struct scene *s = *state;
    struct asked q[100] = {{.client = NULL}};
    s->first.sends_twice = true;
    for (size_t i = 0; i < 100; i++) {
        q[i].client = s->client;
        q[i].starts = i < 99 ? &q[i + 1] : NULL;
    }
    start(&q[0], "www.example.com");
    assert_true(fake_run(s->loop, &q[99].is_done, LIMIT_MS));
    assert_int_equal(q[99].result.status, DNS_EXCHANGE_ADDRS);
    assert_int_equal(dns_client_stats(s->client)->replies, 100);
    assert_int_equal(dns_client_stats(s->client)->mismatches, 0);
}

/* What answers neither the question of the socket nor the one before is forged still. */
static void test_forged(void **state)
{
    struct scene *s = *state;
    struct asked q[2] = {{.client = s->client}, {.client = s->client}};
    s->first.fn = forge;
    for (size_t i = 0; i < 2; i++) {
        start(&q[i], "www.example.com");
        assert_true(fake_run(s->loop, &q[i].is_done, LIMIT_MS));
        assert_int_equal(q[i].result.status, DNS_EXCHANGE_ADDRS);
    }
    assert_int_equal(dns_client_stats(s->client)->mismatches, 4);
}

static void test_over_tcp(void **state)
{
    struct scene *s = *state;
    struct asked q = {.client = s->client};
    start(&q, "big.example.com");
    assert_true(fake_run(s->loop, &q.is_done, LIMIT_MS));
    assert_int_equal(q.result.status, DNS_EXCHANGE_ADDRS);
    assert_int_equal(dns_client_stats(s->client)->sent_tcp, 1);
    assert_int_equal(s->first.tcp_count, 1);
}

/* Over TCP a connection serves many questions, and a server that closes it costs none of them. */
static void test_tcp_is_kept(void **state)
{
    struct scene *s = *state;
    struct asked q[3] = {{.client = s->client}, {.client = s->client}, {.client = s->client}};
    for (size_t i = 0; i < 3; i++) {
        s->first.closes_each = i == 1; /* after the second answer */
        start(&q[i], "big.example.com");
        assert_true(fake_run(s->loop, &q[i].is_done, LIMIT_MS));
        assert_int_equal(q[i].result.status, DNS_EXCHANGE_ADDRS);
        assert_int_equal(s->first.conn_count, i == 2 ? 2 : 1);
    }
    assert_int_equal(s->first.tcp_count, 3);
}

/* The connection dies under a question: nobody else is asked, the same one is on a fresh connection. */
static void test_tcp_dies(void **state)
{
    struct scene *s = *state;
    struct asked q[2] = {{.client = s->client}, {.client = s->client}};
    start(&q[0], "big.example.com");
    assert_true(fake_run(s->loop, &q[0].is_done, LIMIT_MS));
    for (size_t i = 0; i < FAKE_CONNS_MAX; i++) {
        if (s->first.conns[i].fd >= 0) {
            (void)shutdown(s->first.conns[i].fd, SHUT_RDWR);
        }
    }
    start(&q[1], "big.example.com");
    assert_true(fake_run(s->loop, &q[1].is_done, LIMIT_MS));
    assert_int_equal(q[1].result.status, DNS_EXCHANGE_ADDRS);
    assert_int_equal(s->first.conn_count, 2);
    assert_int_equal(s->second.udp_count, 0);
}

static enum fake_verdict serve_tcp_only(void *ctx, const struct fake_query *q, bool tcp,
                                        struct fake_reply *out)
{
    return tcp ? serve(ctx, q, tcp, out) : FAKE_SILENT;
}

/* A firewall drops UDP: one question pays one wait, and the next ones go over the connection that stands. */
static void test_udp_blocked(void **state)
{
    struct scene *s = *state;
    new_client(s, 100, 3500);
    s->first.fn = serve_tcp_only;
    s->second.fn = serve_nothing;
    struct asked q[3] = {{.client = s->client}, {.client = s->client}, {.client = s->client}};
    for (size_t i = 0; i < 3; i++) {
        start(&q[i], "www.example.com");
        assert_true(fake_run(s->loop, &q[i].is_done, LIMIT_MS));
        assert_int_equal(q[i].result.status, DNS_EXCHANGE_ADDRS);
    }
    assert_int_equal(s->first.udp_count, 1);
    assert_int_equal(s->first.tcp_count, 3);
    assert_int_equal(s->first.conn_count, 1);
}

/* A slow upstream is overtaken by the next one, and found to be slow only. */
static void test_hedge(void **state)
{
    struct scene *s = *state;
    s->first.fn = serve_nothing;
    struct asked q = {.client = s->client};
    start(&q, "www.example.com");
    assert_true(fake_run(s->loop, &q.is_done, LIMIT_MS));
    assert_int_equal(q.result.status, DNS_EXCHANGE_ADDRS);
    const struct dns_exchange_stats *stats = dns_client_stats(s->client);
    assert_int_equal(stats->hedge_wins, 1);
    assert_int_equal(stats->timeouts, 0); /* it was not waited for */
}

static void test_cancel(void **state)
{
    struct scene *s = *state;
    s->first.fn = serve_nothing;
    struct asked unsent = {.client = s->client};
    struct asked sent = {.client = s->client};
    size_t before = count_descriptors();
    start(&unsent, "one.example.com");
    dns_client_cancel(unsent.call);
    start(&sent, "two.example.com");
    for (int i = 0; i < 1000 && s->first.udp_count == 0; i++) {
        fake_run_for(s->loop, 1);
    }
    assert_int_equal(s->first.udp_count, 1);
    assert_true(count_descriptors() > before);
    dns_client_cancel(sent.call);
    dns_client_cancel(NULL);
    assert_int_equal(count_descriptors(), before);
    fake_run_for(s->loop, 20);
    assert_false(unsent.is_done || sent.is_done);
}

static void test_call_back_starts_and_cancels(void **state)
{
    struct scene *s = *state;
    struct asked third = {.client = s->client};
    struct asked second = {.client = s->client};
    struct asked first = {.client = s->client, .starts = &third, .cancels = &second};
    start(&first, "one.example.com");
    s->second.fn = serve_nothing;
    for (int i = 0; i < 1000 && s->first.udp_count == 0; i++) {
        (void)ev_run(s->loop, EVRUN_ONCE);
    }
    start(&second, "two.example.com"); /* later: it cannot be answered first */
    assert_true(fake_run(s->loop, &third.is_done, LIMIT_MS));
    assert_true(first.is_done);
    fake_run_for(s->loop, 20);
    assert_false(second.is_done);
}

static void test_free_with_open_calls(void **state)
{
    struct scene *s = *state;
    s->first.fn = serve_nothing;
    struct asked q[3] = {{.client = s->client}, {.client = s->client}, {.client = s->client}};
    size_t before = count_descriptors();
    start(&q[0], "one.example.com");
    start(&q[1], "two.example.com");
    fake_run_for(s->loop, 10);
    start(&q[2], "three.example.com");
    dns_client_free(s->client);
    s->client = NULL;
    assert_int_equal(count_descriptors(), before);
    fake_run_for(s->loop, 10);
    assert_false(q[0].is_done || q[1].is_done || q[2].is_done);
}

/* An upstream that was dead is found again by a probe that outlives the answer of the question it went with.
 */
static void test_probe_outlives_the_answer(void **state)
{
    struct scene *s = *state;
    new_client(s, 100, 3500);
    s->first.fn = serve_nothing;
    struct asked one = {.client = s->client};
    start(&one, "one.example.com");
    assert_true(fake_run(s->loop, &one.is_done, LIMIT_MS));
    assert_int_equal(one.result.status, DNS_EXCHANGE_ADDRS);
    unsigned before = s->first.udp_count;

    fake_run_for(s->loop, 1020); /* the first probe is due after a second */
    size_t descriptors = count_descriptors();
    struct asked two = {.client = s->client};
    start(&two, "two.example.com");
    assert_true(fake_run(s->loop, &two.is_done, LIMIT_MS));
    assert_true(count_descriptors() > descriptors); /* answered by the second; the probe still waits */
    for (int i = 0; i < 1000 && count_descriptors() > descriptors; i++) {
        fake_run_for(s->loop, 1);
    }
    assert_int_equal(count_descriptors(), descriptors);
    assert_int_equal(s->first.udp_count, before + 1);
}

/* How often the loop turns while a question to two silent upstreams waits. */
static unsigned count_turns(struct scene *s)
{
    struct asked q = {.client = s->client};
    const unsigned before = ev_iteration(s->loop);
    start(&q, "www.example.com");
    fake_run_for(s->loop, 20);
    dns_client_cancel(q.call);
    assert_false(q.is_done);
    return ev_iteration(s->loop) - before;
}

/* An only question keeps the loop awake for a moment, but not again after that was in vain. */
static void test_busy_poll(void **state)
{
    struct scene *s = *state;
    s->first.fn = serve_nothing;
    s->second.fn = serve_nothing;
    const unsigned with_wait = count_turns(s);
    assert_true(count_turns(s) < with_wait);
}

static void test_bad_config(void **state)
{
    struct scene *s = *state;
    struct dns_client_config cfg = {
        .upstreams = NULL, .upstream_count = 0, .attempt_ms = 800, .total_ms = 3500};
    struct dns_client *c = NULL;
    struct err err = {0};
    assert_int_equal(dns_client_new(s->loop, &cfg, &c, &err), -EINVAL);
    assert_null(c);
    assert_true(err.text[0] != '\0');
    dns_client_free(NULL);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_result),
        CASE(test_replies_that_come_twice),
        CASE(test_forged),
        CASE(test_over_tcp),
        CASE(test_tcp_is_kept),
        CASE(test_tcp_dies),
        CASE(test_udp_blocked),
        CASE(test_hedge),
        CASE(test_cancel),
        CASE(test_call_back_starts_and_cancels),
        CASE(test_free_with_open_calls),
        CASE(test_probe_outlives_the_answer),
        CASE(test_busy_poll),
        CASE(test_bad_config),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

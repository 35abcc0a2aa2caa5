/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations with a real resolver and an upstream in the same loop; the transport is the test. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "dnsd/query.h"

#include "common/dns/dns_ldns.h"
#include "common/net/sock.h"
#include "common/policy/policy_load.h"
#include "dnsd/dnsd_counters.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char policy_a[] = "version: 1\n"
                               "network_policies:\n"
                               "  web:\n"
                               "    endpoints:\n"
                               "      - { host: '*.t.example.net', port: 443 }\n";
static const char policy_b[] = "version: 1\n"
                               "network_policies:\n"
                               "  web:\n"
                               "    endpoints:\n"
                               "      - { host: '*.u.example.net', port: 443 }\n";

struct fixture {
    struct worker worker;
    struct answer_config answer;
    struct dest_guard guard;
    struct acl acl;
    struct dns_soa_template soa;
    struct resolver *resolver;
    struct brakes *brakes;
    struct query_engine *engine;
    ev_io upstream;
    int upstream_fd;
    bool is_silent; /* the upstream reads and says nothing */
    size_t upstream_count;
    size_t reply_count;
    uint8_t last[DNS_UDP_MAX];
    size_t last_len;
    bool is_idle;
};

/* Answers every question with one address of the asked family. */
static void on_upstream_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    (void)revents;
    struct fixture *f = w->data;
    uint8_t msg[512];
    struct sockaddr_storage peer;
    socklen_t peer_len = sizeof(peer);
    ssize_t n = recvfrom(f->upstream_fd, msg, sizeof(msg), 0, (struct sockaddr *)&peer, &peer_len);
    struct dns_query q;
    enum dns_rcode rcode;
    if (n < 0) {
        return;
    }
    f->upstream_count++;
    assert_int_equal(dns_query_parse(span_make(msg, (size_t)n), &q, &rcode), DNS_QUERY_OK);
    if (f->is_silent) {
        return;
    }
    struct ip ip = ip_v4(93, 184, 216, 34);
    if (q.qtype == DNS_AAAA) {
        ip = (struct ip){.family = IP_V6, .bytes = {0x26, 0x06, 0x28}};
    }
    const struct dns_answer a = {
        .query = &q, .addrs = &ip, .addr_count = 1, .ttl_s = 60, .ede = DNS_EDE_NONE};
    uint8_t out[512];
    size_t len = dns_answer_build(&a, out, sizeof(out));
    out[2] |= 0x80;
    assert_int_equal(sendto(f->upstream_fd, out, len, 0, (struct sockaddr *)&peer, peer_len), len);
}

static void take_reply(const struct reply *to, struct span message)
{
    struct fixture *f = to->owner;
    f->reply_count++;
    assert_true(message.len >= DNS_HEADER_LEN && message.len <= sizeof(f->last));
    memcpy(f->last, message.data, message.len);
    f->last_len = message.len;
}

static bool has_ipv6(void *ctx, int64_t now_ms)
{
    (void)ctx;
    (void)now_ms;
    return true;
}

static void on_idle(void *ctx)
{
    struct fixture *f = ctx;
    assert_false(f->is_idle);
    f->is_idle = true;
}

static struct policy *compile(const char *text, uint64_t generation)
{
    struct policy_diags diags = {0};
    struct policy_rules *rules = NULL;
    struct policy *p = NULL;
    const struct policy_text t = {.file = "p.yaml", .text = span_str(text)};
    assert_int_equal(policy_load(&t, 1, &rules, &diags), 0);
    policy_diags_fini(&diags);
    assert_int_equal(policy_compile(rules, generation, &p), 0);
    return p;
}

static struct query_engine *new_engine(struct fixture *f)
{
    const struct query_engine_config cfg = {.worker = &f->worker,
                                            .answer = &f->answer,
                                            .acl = &f->acl,
                                            .soa = &f->soa,
                                            .resolver = f->resolver,
                                            .brakes = f->brakes,
                                            .hot_bytes = 1U << 20,
                                            .has_ipv6 = has_ipv6,
                                            .on_idle = on_idle,
                                            .ctx = f};
    struct query_engine *engine = NULL;
    assert_int_equal(query_engine_new(&cfg, &engine), 0);
    return engine;
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    log_init("test_query", LOG_ERROR, LOG_TEXT, 2);
    f->worker.loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    assert_non_null(f->worker.loop);
    assert_int_equal(reap_new(f->worker.loop, &f->worker.reap), 0);
    f->worker.policy = compile(policy_a, 1);
    f->answer = (struct answer_config){.deny_ttl_s = 10, .synthetic_ttl_s = 30, .guard = &f->guard};
    f->acl.everybody = true;
    assert_int_equal(dns_soa_template_build(&f->soa), 0);

    struct addr upstream = {.ip = ip_v4(127, 0, 0, 1), .port = 0};
    struct err err = {0};
    f->upstream_fd = sock_listen_udp(&upstream, false, &err);
    assert_true(f->upstream_fd >= 0);
    assert_int_equal(sock_local_addr(f->upstream_fd, &upstream), 0);
    ev_io_init(&f->upstream, on_upstream_event, f->upstream_fd, EV_READ);
    f->upstream.data = f;
    ev_io_start(f->worker.loop, &f->upstream);

    struct resolver_config rc;
    resolver_config_defaults(&rc);
    rc.upstreams = &upstream;
    rc.upstream_count = 1;
    assert_int_equal(resolver_new(f->worker.loop, &rc, &f->resolver, &err), 0);
    const struct brakes_config limits = {
        .rate = 2 * QUERY_IN_FLIGHT_MAX, .wildcard_budget = 5, .wildcard_length = 40};
    assert_int_equal(brakes_new(&limits, &f->brakes), 0);
    f->engine = new_engine(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    query_engine_free(f->engine);
    resolver_free(f->resolver);
    brakes_free(f->brakes);
    ev_io_stop(f->worker.loop, &f->upstream);
    if (f->upstream_fd >= 0) {
        (void)close(f->upstream_fd);
    }
    reap_free(f->worker.reap);
    policy_unref(f->worker.policy);
    ev_loop_destroy(f->worker.loop);
    free(f);
    return 0;
}

static enum query_outcome ask(struct fixture *f, const char *name, uint16_t qtype)
{
    struct host_name n;
    uint8_t wire[255];
    uint8_t msg[512];
    struct wbuf w = wbuf_make(msg, sizeof(msg));
    const struct reply to = {
        .send = take_reply, .owner = f, .client = {.ip = ip_v4(127, 0, 0, 1), .port = 4000}};
    assert_int_equal(host_name_parse(span_str(name), &n), HOST_FAULT_NONE);
    dns_query_build(&w, 77, span_make(wire, host_name_to_wire(&n, wire)), qtype, false);
    return query_handle(f->engine, wbuf_span(&w), 0, &to);
}

static unsigned rcode_of(const struct fixture *f)
{
    return f->last[3] & 15U;
}

static unsigned answers_of(const struct fixture *f)
{
    return f->last[7];
}

static void run_until(struct fixture *f, size_t replies)
{
    while (f->reply_count < replies) {
        ev_run(f->worker.loop, EVRUN_ONCE);
    }
}

static uint64_t counter(const struct fixture *f, enum dnsd_counter c)
{
    return metrics_read(&f->worker.metrics, (size_t)c);
}

static void denied_and_malformed_are_answered_at_once(void **state)
{
    struct fixture *f = *state;
    const struct reply to = {
        .send = take_reply, .owner = f, .client = {.ip = ip_v4(127, 0, 0, 1), .port = 4000}};
    assert_int_equal(ask(f, "evil.example.org", DNS_A), QUERY_TAKEN);
    assert_int_equal(f->reply_count, 1);
    assert_int_equal(rcode_of(f), DNS_NXDOMAIN);
    assert_int_equal(f->last[9], 1); /* the SOA */
    uint8_t header[DNS_HEADER_LEN] = {0, 9, 1, 0, 0, 2};
    assert_int_equal(query_handle(f->engine, span_make(header, sizeof(header)), 0, &to), QUERY_TAKEN);
    assert_int_equal(f->reply_count, 2);
    assert_int_equal(rcode_of(f), DNS_FORMERR);
    header[2] = 0x81;
    assert_int_equal(query_handle(f->engine, span_make(header, sizeof(header)), 0, &to), QUERY_DROPPED);
    assert_int_equal(query_handle(f->engine, span_make(header, 11), 0, &to), QUERY_DROPPED);
    assert_int_equal(query_handle(f->engine, (struct span){0}, 0, &to), QUERY_DROPPED);
    assert_int_equal(f->reply_count, 2);
    assert_int_equal(counter(f, DNSD_COUNTER_DENIED), 1);
    assert_int_equal(counter(f, DNSD_COUNTER_ERRORS), 1);
    assert_int_equal(counter(f, DNSD_COUNTER_DROPPED), 3);
    assert_int_equal(f->upstream_count, 0);
    assert_int_equal(query_in_flight(f->engine), 0);
}

static void clients_outside_the_list_are_refused(void **state)
{
    struct fixture *f = *state;
    f->acl.everybody = false;
    assert_int_equal(ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(rcode_of(f), DNS_REFUSED);
    assert_int_equal(counter(f, DNSD_COUNTER_CLIENT_REFUSED), 1);
    assert_int_equal(f->upstream_count, 0);
}

static void admitted_is_asked_once_then_cached(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(f->reply_count, 0);
    assert_int_equal(query_in_flight(f->engine), 1);
    run_until(f, 1);
    assert_int_equal(rcode_of(f), DNS_NOERROR);
    assert_int_equal(answers_of(f), 1);
    assert_int_equal(query_in_flight(f->engine), 0);
    assert_int_equal(ask(f, "A.T.Example.NET", DNS_A), QUERY_TAKEN);
    assert_int_equal(f->reply_count, 2);
    assert_int_equal(f->upstream_count, 1);
}

/* The third time nothing is judged or looked up any more; a client cannot tell. */
static void a_hot_answer_is_the_same_answer(void **state)
{
    struct fixture *f = *state;
    uint8_t cached[sizeof(f->last)];
    assert_int_equal(ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
    run_until(f, 1);
    assert_int_equal(ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(counter(f, DNSD_COUNTER_HOT), 0);
    memcpy(cached, f->last, sizeof(cached));
    memset(f->last, 0, sizeof(f->last));
    assert_int_equal(ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(counter(f, DNSD_COUNTER_HOT), 1);
    assert_int_equal(f->reply_count, 3);
    assert_memory_equal(cached, f->last, sizeof(cached));
    assert_int_equal(counter(f, DNSD_COUNTER_ADMITTED), 3);
    assert_int_equal(f->upstream_count, 1);
}

static void a_hot_answer_ends_with_its_policy(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 1; i <= 3; i++) {
        assert_int_equal(ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
        run_until(f, i);
        assert_int_equal(answers_of(f), 1);
    }
    policy_unref(f->worker.policy);
    f->worker.policy = compile(policy_b, 2);
    assert_int_equal(ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(rcode_of(f), DNS_NXDOMAIN);
    assert_int_equal(answers_of(f), 0);
}

static void a_denial_is_the_same_denial(void **state)
{
    struct fixture *f = *state;
    uint8_t first[sizeof(f->last)];
    for (size_t i = 0; i < 3; i++) {
        memset(f->last, 0, sizeof(f->last));
        assert_int_equal(ask(f, "evil.example.org", DNS_A), QUERY_TAKEN);
        assert_int_equal(rcode_of(f), DNS_NXDOMAIN);
        if (i > 0) {
            assert_memory_equal(first, f->last, sizeof(first));
        }
        memcpy(first, f->last, sizeof(first));
    }
    assert_int_equal(counter(f, DNSD_COUNTER_DENIED), 3);
    assert_int_equal(ask(f, "printer", DNS_TXT), QUERY_TAKEN);
    assert_int_equal(ask(f, "printer", DNS_TXT), QUERY_TAKEN);
    assert_int_equal(counter(f, DNSD_COUNTER_NOISE), 2);
    /* and ends with its policy too */
    assert_int_equal(ask(f, "a.u.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(rcode_of(f), DNS_NXDOMAIN);
    policy_unref(f->worker.policy);
    f->worker.policy = compile(policy_b, 2);
    const size_t replies = f->reply_count;
    assert_int_equal(ask(f, "a.u.example.net", DNS_A), QUERY_TAKEN);
    run_until(f, replies + 1);
    assert_int_equal(rcode_of(f), DNS_NOERROR);
    assert_int_equal(answers_of(f), 1);
}

static void equal_questions_join(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(ask(f, "join.t.example.net", DNS_AAAA), QUERY_TAKEN);
    }
    run_until(f, 10);
    assert_int_equal(f->upstream_count, 1);
    assert_int_equal(answers_of(f), 1);
}

static void on_failure(void *ctx, const struct resolver_answer *a)
{
    assert_int_equal(a->status, RESOLVER_FAILED);
    *(bool *)ctx = true;
}

/* While A is remembered to have found nobody, AAAA is not asked on its behalf; it is on its own. */
static void what_found_nobody_is_told_at_once(void **state)
{
    struct fixture *f = *state;
    struct host_name name;
    bool has_failed = false;
    assert_int_equal(host_name_parse(SPAN_LIT("dead.t.example.net"), &name), HOST_FAULT_NONE);
    ev_io_stop(f->worker.loop, &f->upstream);
    (void)close(f->upstream_fd);
    f->upstream_fd = -1;
    assert_int_not_equal(resolver_ask(f->resolver, &name, DNS_A, on_failure, &has_failed), 0);
    while (!has_failed) {
        ev_run(f->worker.loop, EVRUN_ONCE);
    }
    assert_int_equal(ask(f, "dead.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(f->reply_count, 1);
    assert_int_equal(rcode_of(f), DNS_SERVFAIL);
    assert_int_equal(query_in_flight(f->engine), 0);
    assert_int_equal(ask(f, "dead.t.example.net", DNS_AAAA), QUERY_TAKEN);
    assert_int_equal(f->reply_count, 1);
    assert_int_equal(query_in_flight(f->engine), 1);
    run_until(f, 2);
    assert_int_equal(rcode_of(f), DNS_SERVFAIL);
}

static void a_new_policy_judges_what_is_in_flight(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
    policy_unref(f->worker.policy);
    f->worker.policy = compile(policy_b, 2);
    run_until(f, 1);
    assert_int_equal(rcode_of(f), DNS_NXDOMAIN);
    assert_int_equal(answers_of(f), 0);
}

static void use_policy(struct fixture *f, const char *text, uint64_t generation)
{
    policy_unref(f->worker.policy);
    f->worker.policy = compile(text, generation);
    query_engine_take_policy(f->engine);
}

static void a_new_policy_ends_what_it_denies(void **state)
{
    struct fixture *f = *state;
    f->is_silent = true;
    use_policy(f, policy_a, 2); /* nothing is in flight */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
    }
    assert_int_equal(ask(f, "b.t.example.net", DNS_AAAA), QUERY_TAKEN);
    use_policy(f, policy_a, 3); /* another one that admits them too */
    assert_int_equal(f->reply_count, 0);
    assert_int_equal(query_in_flight(f->engine), 4);
    while (f->upstream_count < 2) {
        ev_run(f->worker.loop, EVRUN_ONCE);
    }
    use_policy(f, policy_b, 4);
    assert_int_equal(f->reply_count, 4);
    assert_int_equal(rcode_of(f), DNS_NXDOMAIN);
    assert_int_equal(query_in_flight(f->engine), 0);
    struct resolver_stats stats;
    resolver_stats_read(f->resolver, &stats);
    const uint64_t sent = stats.sent_udp;
    ev_sleep(0.9); /* after 800 ms each would have been asked again */
    ev_run(f->worker.loop, EVRUN_NOWAIT);
    ev_run(f->worker.loop, EVRUN_NOWAIT);
    resolver_stats_read(f->resolver, &stats);
    assert_int_equal(stats.sent_udp, sent);
}

static void too_many_in_flight_are_told_at_once(void **state)
{
    struct fixture *f = *state;
    f->is_silent = true;
    for (size_t i = 0; i < QUERY_IN_FLIGHT_MAX; i++) {
        assert_int_equal(ask(f, "busy.t.example.net", DNS_A), QUERY_TAKEN);
    }
    assert_int_equal(f->reply_count, 0);
    assert_int_equal(ask(f, "busy.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(f->reply_count, 1);
    assert_int_equal(rcode_of(f), DNS_SERVFAIL);
    assert_int_equal(counter(f, DNSD_COUNTER_BUSY), 1);
    assert_int_equal(ask(f, "evil.example.org", DNS_A), QUERY_TAKEN); /* denying needs no room */
    assert_int_equal(rcode_of(f), DNS_NXDOMAIN);
    char name[64];
    for (unsigned i = 0; i < 30;
         i++) { /* what does not go upstream is nothing to the brakes, whose burst is 10 */
        (void)snprintf(name, sizeof(name), "n%u.t.example.net", i);
        assert_int_equal(ask(f, name, DNS_A), QUERY_TAKEN);
        assert_int_equal(rcode_of(f), DNS_SERVFAIL);
    }
    assert_int_equal(counter(f, DNSD_COUNTER_BUSY), 31);
    assert_int_equal(counter(f, DNSD_COUNTER_WILDCARD_NAMES), 1);
    assert_int_equal(counter(f, DNSD_COUNTER_WILDCARD_BUDGET), 0);
    /* tear_down() frees the engine with all of them in flight */
}

static void drains_when_the_last_one_has_its_answer(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(ask(f, "a.t.example.net", DNS_A), QUERY_TAKEN);
    query_engine_drain(f->engine);
    assert_false(f->is_idle);
    assert_int_equal(ask(f, "b.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(f->reply_count, 1);
    assert_int_equal(rcode_of(f), DNS_SERVFAIL);
    run_until(f, 2);
    assert_int_equal(answers_of(f), 1);
    assert_true(f->is_idle);
}

static void drains_at_once_when_nothing_is_in_flight(void **state)
{
    struct fixture *f = *state;
    query_engine_drain(f->engine);
    assert_true(f->is_idle);
}

/* What the brakes stop costs no packet, what policy or cache answers costs no token. */
static void brakes_stand_before_the_upstream(void **state)
{
    struct fixture *f = *state;
    char name[64];
    size_t replies = 0;
    for (unsigned i = 0; i < 30; i++) { /* the burst is 10; of each both types, which are one name */
        (void)snprintf(name, sizeof(name), "n%u.t.example.net", i);
        assert_int_equal(ask(f, name, DNS_A), QUERY_TAKEN);
        assert_int_equal(ask(f, name, DNS_AAAA), QUERY_TAKEN);
        run_until(f, replies += 2);
        assert_int_equal(rcode_of(f), i < 10 ? DNS_NOERROR : DNS_NXDOMAIN);
    }
    assert_int_equal(f->last[9], 1); /* a SOA, and its TTL and minimum are a second */
    assert_memory_equal(f->last + f->last_len - 4, "\0\0\0\1", 4);
    assert_int_equal(f->upstream_count, 20);
    assert_int_equal(counter(f, DNSD_COUNTER_WILDCARD_NAMES), 10);
    assert_int_equal(counter(f, DNSD_COUNTER_WILDCARD_BUDGET), 40);
    for (unsigned i = 0; i < 5000; i++) { /* cached and hot, far above the rate */
        assert_int_equal(ask(f, "n1.t.example.net", DNS_A), QUERY_TAKEN);
        assert_int_equal(ask(f, "evil.example.org", DNS_A), QUERY_TAKEN);
    }
    assert_int_equal(f->upstream_count, 20);
    assert_int_equal(ask(f, "a-name-that-has-forty-one-ab.t.example.net", DNS_A), QUERY_TAKEN);
    assert_int_equal(rcode_of(f), DNS_NXDOMAIN);
    assert_int_equal(counter(f, DNSD_COUNTER_WILDCARD_LENGTH), 1);
    assert_int_equal(counter(f, DNSD_COUNTER_RATE_LIMITED), 0);
    assert_int_equal(query_in_flight(f->engine), 0);
}

static void over_the_rate_is_a_failure_that_is_tried_again(void **state)
{
    struct fixture *f = *state;
    f->is_silent = true;
    for (size_t i = 0; i < QUERY_IN_FLIGHT_MAX; i++) { /* joined questions count: they hold places */
        assert_int_equal(ask(f, "one.t.example.net", DNS_A), QUERY_TAKEN);
    }
    assert_int_equal(counter(f, DNSD_COUNTER_RATE_LIMITED), 0);
    brakes_free(f->brakes);
    const struct brakes_config one = {.rate = 1};
    assert_int_equal(brakes_new(&one, &f->brakes), 0);
    query_engine_free(f->engine);
    f->engine = new_engine(f);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(ask(f, "two.t.example.net", DNS_A), QUERY_TAKEN);
    }
    assert_int_equal(f->reply_count, 3);
    assert_int_equal(rcode_of(f), DNS_SERVFAIL);
    assert_int_equal(counter(f, DNSD_COUNTER_RATE_LIMITED), 3);
    assert_int_equal(query_in_flight(f->engine), 2);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(denied_and_malformed_are_answered_at_once),
        TEST(clients_outside_the_list_are_refused),
        TEST(admitted_is_asked_once_then_cached),
        TEST(a_hot_answer_is_the_same_answer),
        TEST(a_hot_answer_ends_with_its_policy),
        TEST(a_denial_is_the_same_denial),
        TEST(equal_questions_join),
        TEST(what_found_nobody_is_told_at_once),
        TEST(a_new_policy_judges_what_is_in_flight),
        TEST(a_new_policy_ends_what_it_denies),
        TEST(too_many_in_flight_are_told_at_once),
        TEST(brakes_stand_before_the_upstream),
        TEST(over_the_rate_is_a_failure_that_is_tried_again),
        TEST(drains_when_the_last_one_has_its_answer),
        TEST(drains_at_once_when_nothing_is_in_flight),
        cmocka_unit_test(a_message_is_limited_by_its_transport),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

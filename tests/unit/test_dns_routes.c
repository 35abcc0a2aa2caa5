/* SPDX-License-Identifier: Apache-2.0 */
/* Which upstream a question reaches: zones, and default upstreams that change while questions are under way.
 */
#include "common/dns/dns_routes.h"

#include "tests/support/fake_upstream.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define LIMIT_MS 5000

enum { MAIN = 0, CLUSTER, DEEP, OTHER, SERVERS };

struct scene {
    struct ev_loop *loop;
    struct fake_upstream servers[SERVERS];
    struct dns_routes *routes;
    struct zone_set zones;
};

struct asked {
    bool is_done;
    struct dns_exchange_result result;
};

/* "alias..." is a CNAME into the cluster zone, "out..." one out of it; "big..." fits TCP only. */
static enum fake_verdict serve(void *ctx, const struct fake_query *q, bool tcp, struct fake_reply *out)
{
    (void)ctx;
    const char *target = strncmp(q->name.text, "alias", 5) == 0 ? "db.cluster.local"
                         : strncmp(q->name.text, "out", 3) == 0 ? "www.example.com"
                                                                : NULL;
    out->ttl_s = 60;
    if (target != NULL) {
        assert_int_equal(host_name_parse(span_str(target), &out->cnames[0]), HOST_FAULT_NONE);
        out->cname_count = 1;
        return FAKE_REPLY;
    }
    out->tc = strncmp(q->name.text, "big", 3) == 0 && !tcp;
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

static void on_result(void *ctx, const struct dns_exchange_result *result, int64_t now_ms)
{
    (void)now_ms;
    struct asked *q = ctx;
    assert_false(q->is_done);
    q->is_done = true;
    q->result = *result;
}

static void add_zone(struct scene *s, const char *suffix, size_t server)
{
    char text[128];
    char addr[ADDR_TEXT_CAP];
    struct zone z;
    struct err err = {""};
    (void)snprintf(text, sizeof(text), "%s=%s", suffix, addr_text(&s->servers[server].addr, addr));
    assert_int_equal(zone_parse(span_str(text), &z, &err), 0);
    assert_int_equal(zone_set_add(&s->zones, &z, &err), 0);
}

static struct dns_client_config client_of(const struct scene *s)
{
    return (struct dns_client_config){
        .upstreams = &s->servers[MAIN].addr, .upstream_count = 1, .attempt_ms = 800, .total_ms = 3500};
}

static int set_up(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));
    assert_non_null(s);
    s->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    assert_non_null(s->loop);
    for (size_t i = 0; i < SERVERS; i++) {
        fake_upstream_init(&s->servers[i], s->loop, serve, s);
    }
    add_zone(s, "cluster.local", CLUSTER);
    add_zone(s, "deep.cluster.local", DEEP);
    struct err err = {""};
    const struct dns_routes_config cfg = {.client = client_of(s), .zones = &s->zones};
    assert_int_equal(dns_routes_new(s->loop, &cfg, &s->routes, &err), 0);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    dns_routes_free(s->routes);
    for (size_t i = 0; i < SERVERS; i++) {
        fake_upstream_fini(&s->servers[i]);
    }
    ev_loop_destroy(s->loop);
    free(s);
    return 0;
}

static struct dns_call *start(struct scene *s, struct asked *q, const char *name)
{
    struct host_name n;
    assert_int_equal(host_name_parse(span_str(name), &n), HOST_FAULT_NONE);
    struct dns_call *call = dns_routes_start(s->routes, &n, DNS_A, on_result, q);
    assert_non_null(call);
    return call;
}

static void ask(struct scene *s, const char *name, enum dns_exchange_status status)
{
    struct asked q = {.is_done = false};
    (void)start(s, &q, name);
    assert_true(fake_run(s->loop, &q.is_done, LIMIT_MS));
    assert_int_equal(q.result.status, status);
}

static void expect_counts(const struct scene *s, unsigned to_main, unsigned cluster, unsigned deep,
                          unsigned other)
{
    assert_int_equal(s->servers[MAIN].udp_count, to_main);
    assert_int_equal(s->servers[CLUSTER].udp_count, cluster);
    assert_int_equal(s->servers[DEEP].udp_count, deep);
    assert_int_equal(s->servers[OTHER].udp_count, other);
}

static void use(struct scene *s, size_t server)
{
    struct err err = {""};
    assert_int_equal(dns_routes_set_upstreams(s->routes, &s->servers[server].addr, 1, &err), 0);
}

static void wait_for_packet(struct scene *s, size_t server)
{
    for (int i = 0; i < LIMIT_MS && s->servers[server].udp_count == 0; i++) {
        fake_run_for(s->loop, 1);
    }
    assert_int_equal(s->servers[server].udp_count, 1);
}

static void test_each_name_reaches_its_own(void **state)
{
    struct scene *s = *state;
    ask(s, "www.example.com", DNS_EXCHANGE_ADDRS);
    ask(s, "xcluster.local", DNS_EXCHANGE_ADDRS);
    ask(s, "local", DNS_EXCHANGE_ADDRS);
    expect_counts(s, 3, 0, 0, 0);
    ask(s, "cluster.local", DNS_EXCHANGE_ADDRS);
    ask(s, "db.prod.svc.cluster.local", DNS_EXCHANGE_ADDRS);
    expect_counts(s, 3, 2, 0, 0);
    ask(s, "deep.cluster.local", DNS_EXCHANGE_ADDRS);
    ask(s, "a.deep.cluster.local", DNS_EXCHANGE_ADDRS);
    expect_counts(s, 3, 2, 2, 0);
    struct dns_exchange_stats sum;
    dns_routes_stats(s->routes, &sum);
    assert_int_equal(sum.sent_udp, 7);
    assert_int_equal(sum.replies, 7);
}

/* The owner of a public name does not choose what is asked inside. */
static void test_alias_stays_with_the_servers_of_the_asked_name(void **state)
{
    struct scene *s = *state;
    ask(s, "alias.example.com", DNS_EXCHANGE_ADDRS);
    expect_counts(s, 2, 0, 0, 0);
    ask(s, "out.cluster.local", DNS_EXCHANGE_ADDRS);
    expect_counts(s, 2, 2, 0, 0);
}

static void test_health_is_of_each(void **state)
{
    struct scene *s = *state;
    struct asked dead = {.is_done = false};
    s->servers[CLUSTER].fn = serve_nothing;
    struct dns_call *call = start(s, &dead, "db.cluster.local");
    ask(s, "www.example.com", DNS_EXCHANGE_ADDRS);
    ask(s, "x.deep.cluster.local", DNS_EXCHANGE_ADDRS);
    assert_false(dead.is_done);
    dns_client_cancel(call);
    expect_counts(s, 1, 1, 1, 0);
}

static void test_new_upstreams(void **state)
{
    struct scene *s = *state;
    ask(s, "www.example.com", DNS_EXCHANGE_ADDRS);
    use(s, OTHER);
    ask(s, "www.example.com", DNS_EXCHANGE_ADDRS);
    ask(s, "db.cluster.local", DNS_EXCHANGE_ADDRS); /* zones are not touched */
    expect_counts(s, 1, 1, 0, 1);
    struct err err = {""};
    assert_int_equal(dns_routes_set_upstreams(s->routes, NULL, 0, &err), -EINVAL);
    ask(s, "www.example.com", DNS_EXCHANGE_ADDRS);
    expect_counts(s, 1, 1, 0, 2);
}

/* The server goes while a question to it is open: the new one is asked at once, well within the first wait.
 */
static void test_question_turns_to_the_new_one(void **state)
{
    struct scene *s = *state;
    struct asked sent = {.is_done = false};
    struct asked unsent = {.is_done = false};
    s->servers[MAIN].fn = serve_nothing;
    (void)start(s, &sent, "one.example.com");
    wait_for_packet(s, MAIN);
    (void)start(s, &unsent, "two.example.com");
    use(s, OTHER);
    assert_true(fake_run(s->loop, &sent.is_done, 600));
    assert_true(fake_run(s->loop, &unsent.is_done, 600));
    assert_int_equal(sent.result.status, DNS_EXCHANGE_ADDRS);
    assert_int_equal(unsent.result.status, DNS_EXCHANGE_ADDRS);
    expect_counts(s, 1, 0, 0, 2);
}

static enum fake_verdict serve_only_tcp_silence(void *ctx, const struct fake_query *q, bool tcp,
                                                struct fake_reply *out)
{
    return tcp ? FAKE_SILENT : serve(ctx, q, tcp, out);
}

/* The same over a connection, which goes with its server. */
static void test_connection_goes_with_its_server(void **state)
{
    struct scene *s = *state;
    struct asked q = {.is_done = false};
    ask(s, "big.example.com", DNS_EXCHANGE_ADDRS); /* a connection that is kept */
    s->servers[MAIN].fn = serve_only_tcp_silence;
    (void)start(s, &q, "big.example.com");
    for (int i = 0; i < LIMIT_MS && s->servers[MAIN].tcp_count < 2; i++) {
        fake_run_for(s->loop, 1);
    }
    assert_int_equal(s->servers[MAIN].tcp_count, 2);
    use(s, OTHER);
    assert_true(fake_run(s->loop, &q.is_done, 600));
    assert_int_equal(q.result.status, DNS_EXCHANGE_ADDRS);
    assert_int_equal(s->servers[OTHER].tcp_count, 1);
}

static void test_bad_configs(void **state)
{
    struct scene *s = *state;
    struct dns_routes *r = NULL;
    struct err err = {""};
    const struct dns_routes_config none = {.client = {.attempt_ms = 800, .total_ms = 3500}};
    assert_int_equal(dns_routes_new(s->loop, &none, &r, &err), -EINVAL);
    struct dns_routes_config good = {.client = client_of(s), .zones = &s->zones};
    s->zones.items[1].upstream_count = 0;
    assert_int_equal(dns_routes_new(s->loop, &good, &r, &err), -EINVAL);
    assert_non_null(strstr(err.text, "deep.cluster.local"));
    good.zones = NULL;
    assert_int_equal(dns_routes_new(s->loop, &good, &r, &err), 0);
    dns_routes_free(r);
    dns_routes_free(NULL);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_each_name_reaches_its_own),
        CASE(test_alias_stays_with_the_servers_of_the_asked_name),
        CASE(test_health_is_of_each),
        CASE(test_new_upstreams),
        CASE(test_question_turns_to_the_new_one),
        CASE(test_connection_goes_with_its_server),
        CASE(test_bad_configs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

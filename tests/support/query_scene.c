/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/query_scene.h"

#include "common/base/clock.h"
#include "common/dns/dns_ldns.h"
#include "common/net/sock.h"
#include "common/policy/policy_load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

const char query_policy_a[] = "version: 1\n"
                              "network_policies:\n"
                              "  web:\n"
                              "    endpoints:\n"
                              "      - { host: '*.t.example.net', port: 443 }\n";
const char query_policy_b[] = "version: 1\n"
                              "network_policies:\n"
                              "  web:\n"
                              "    endpoints:\n"
                              "      - { host: '*.u.example.net', port: 443 }\n";

/* Answers every question with one address of the asked family. */
static void on_upstream_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    (void)revents;
    struct query_scene *f = w->data;
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
    const bool is_empty = f->is_aaaa_empty && q.qtype == DNS_AAAA;
    const struct dns_answer a = {.query = &q,
                                 .addrs = &ip,
                                 .addr_count = is_empty ? 0 : 1,
                                 .ttl_s = f->is_aaaa_empty ? 1 : 60,
                                 .soa = is_empty ? &f->soa : NULL,
                                 .soa_ttl_s = 60,
                                 .ede = DNS_EDE_NONE};
    uint8_t out[512];
    size_t len = dns_answer_build(&a, out, sizeof(out));
    out[2] |= 0x80;
    assert_int_equal(sendto(f->upstream_fd, out, len, 0, (struct sockaddr *)&peer, peer_len), len);
}

void query_scene_take_reply(const struct reply *to, struct span message)
{
    struct query_scene *f = to->owner;
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
    struct query_scene *f = ctx;
    assert_false(f->is_idle);
    f->is_idle = true;
}

struct policy *query_scene_policy(const char *text, uint64_t generation)
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

struct query_engine *query_scene_engine(struct query_scene *f)
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

int query_scene_set_up(void **state)
{
    struct query_scene *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    log_init("test_query", LOG_ERROR, LOG_TEXT, 2);
    f->worker.loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    assert_non_null(f->worker.loop);
    assert_int_equal(reap_new(f->worker.loop, &f->worker.reap), 0);
    f->worker.policy = query_scene_policy(query_policy_a, 1);
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
    f->engine = query_scene_engine(f);
    *state = f;
    return 0;
}

int query_scene_tear_down(void **state)
{
    struct query_scene *f = *state;
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

enum query_outcome query_scene_ask(struct query_scene *f, const char *name, uint16_t qtype)
{
    struct host_name n;
    uint8_t wire[255];
    uint8_t msg[512];
    struct wbuf w = wbuf_make(msg, sizeof(msg));
    const struct reply to = {
        .send = query_scene_take_reply, .owner = f, .client = {.ip = ip_v4(127, 0, 0, 1), .port = 4000}};
    assert_int_equal(host_name_parse(span_str(name), &n), HOST_FAULT_NONE);
    dns_query_build(&w, 77, span_make(wire, host_name_to_wire(&n, wire)), qtype, false);
    return query_handle(f->engine, wbuf_span(&w), clock_mono_ms(), 0, &to);
}

unsigned query_scene_rcode(const struct query_scene *f)
{
    return f->last[3] & 15U;
}

unsigned query_scene_answers(const struct query_scene *f)
{
    return f->last[7];
}

void query_scene_run_until(struct query_scene *f, size_t replies)
{
    while (f->reply_count < replies) {
        ev_run(f->worker.loop, EVRUN_ONCE);
    }
}

uint64_t query_scene_counter(const struct query_scene *f, enum dnsd_counter c)
{
    return metrics_read(&f->worker.metrics, (size_t)c);
}

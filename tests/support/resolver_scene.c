/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/resolver_scene.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdlib.h>

/* What the pretended upstreams do, by the first label of the name. */
enum fake_verdict serve_by_label(void *ctx, const struct fake_query *q, bool tcp, struct fake_reply *out)
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

enum fake_verdict serve_nothing(void *ctx, const struct fake_query *q, bool tcp, struct fake_reply *out)
{
    (void)ctx;
    (void)q;
    (void)tcp;
    (void)out;
    return FAKE_SILENT;
}

void on_answer(void *ctx, const struct resolver_answer *a)
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

struct host_name name_of(const char *text)
{
    struct host_name n;
    assert_int_equal(host_name_parse(span_str(text), &n), HOST_FAULT_NONE);
    return n;
}

void ask(struct resolver_scene *f, struct asked *q, const char *name)
{
    struct host_name n = name_of(name);
    q->is_asking = true;
    q->ticket = resolver_ask(f->resolver, &n, DNS_A, on_answer, q);
    q->is_asking = false;
    assert_true(q->ticket != 0);
    assert_int_equal(q->calls, 0);
}

void ask_and_wait(struct resolver_scene *f, struct asked *q, const char *name)
{
    ask(f, q, name);
    assert_true(fake_run(f->loop, &q->is_done, LIMIT_MS));
    assert_int_equal(q->calls, 1);
}

struct resolver_config config_of(const struct addr upstreams[2])
{
    struct resolver_config cfg;
    resolver_config_defaults(&cfg);
    cfg.upstreams = upstreams;
    cfg.upstream_count = 2;
    return cfg;
}

void renew(struct resolver_scene *f, void (*change)(struct resolver_config *cfg))
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

void be_quick(struct resolver_config *cfg)
{
    cfg->attempt_ms = ATTEMPT_MS;
    cfg->total_ms = TOTAL_MS;
}

int resolver_scene_set_up(void **state)
{
    struct resolver_scene *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    assert_non_null(f->loop);
    fake_upstream_init(&f->first, f->loop, serve_by_label, f);
    fake_upstream_init(&f->second, f->loop, serve_by_label, f);
    renew(f, NULL);
    *state = f;
    return 0;
}

int resolver_scene_tear_down(void **state)
{
    struct resolver_scene *f = *state;
    resolver_free(f->resolver);
    fake_upstream_fini(&f->first);
    fake_upstream_fini(&f->second);
    ev_loop_destroy(f->loop);
    free(f);
    return 0;
}

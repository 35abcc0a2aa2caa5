/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/explain_live.h"

#include "common/base/clock.h"
#include "common/net/sock.h"
#include "common/run/upstreams.h"
#include "dnsd/from_resolver.h"
#include "egress/explain_words.h"
#include "tunneld/dial_plan.h"

#include <errno.h>
#include <ev.h>
#include <stdio.h>
#include <unistd.h>

/* ---- lookup ---- */

struct lookup {
    struct explain_live *live;
    unsigned open;          /* families not answered yet */
    int64_t first_addrs_ms; /* when the first address was known: the dial could begin then; -1: never */
    struct ev_loop *loop;
};
struct lookup_family {
    struct lookup *owner;
    struct resolver_answer *out;
};

static void on_answer(void *ctx, const struct resolver_answer *a)
{
    struct lookup_family *f = ctx;
    struct lookup *l = f->owner;
    *f->out = *a;
    if (a->status == RESOLVER_ADDRS && l->first_addrs_ms < 0) {
        l->first_addrs_ms = clock_mono_ms();
    }
    l->open--;
    if (l->open == 0) {
        ev_break(l->loop, EVBREAK_ALL);
    }
}

static int ask(struct resolver *r, const struct host_name *name, struct lookup *l)
{
    struct lookup_family v6 = {l, &l->live->v6};
    struct lookup_family v4 = {l, &l->live->v4};
    l->open = 2; /* IPv6 first, as tunneld does */
    resolver_ticket first = resolver_ask(r, name, DNS_AAAA, on_answer, &v6);
    resolver_ticket second = first == 0 ? 0 : resolver_ask(r, name, DNS_A, on_answer, &v4);
    if (second == 0) {
        resolver_cancel(r, first);
        return -ENOMEM;
    }
    (void)ev_run(l->loop, 0); /* the resolver has a deadline of its own for each question */
    return 0;
}

static int look_up(struct explain_facts *f, struct ev_loop *loop, struct lookup *l, struct err *err)
{
    const struct settings_tunneld *s = &f->cfg->tunneld;
    struct explain_live *live = &f->live;
    struct resolver_config cfg;
    struct resolver *resolver = NULL;
    struct dns_tls_store *tls = NULL;
    int rc = upstreams_find(&s->shared.upstream, s->resolv_conf, &live->upstreams, err);
    if (rc == 0) {
        rc = upstreams_open_tls(&live->upstreams, &f->cfg->tunneld_zones, &tls, err);
    }
    if (rc != 0) {
        return rc;
    }
    resolver_config_defaults(&cfg);
    cfg.upstreams = live->upstreams.addrs;
    cfg.upstream_count = live->upstreams.count;
    cfg.tls_names = live->upstreams.tls_names;
    cfg.tls = tls;
    cfg.zones = &f->cfg->tunneld_zones;
    cfg.ttl_min_s = f->cfg->dnsd.ttl_min_s;
    cfg.ttl_max_s = f->cfg->dnsd.ttl_max_s;
    cfg.ttl_neg_max_s = f->cfg->dnsd.ttl_neg_max_s;
    rc = resolver_new(loop, &cfg, &resolver, err);
    if (rc != 0) {
        goto out;
    }
    const struct zone *zone = zone_find(&f->cfg->tunneld_zones, &f->target.host.name);
    if (zone != NULL) { /* the resolver asks these */
        live->upstreams.count = zone->upstream_count;
        memcpy(live->upstreams.addrs, zone->upstreams, sizeof(live->upstreams.addrs));
        memcpy(live->upstreams.tls_names, zone->tls_names, sizeof(live->upstreams.tls_names));
    }
    int64_t started_ms = clock_mono_ms();
    rc = ask(resolver, &f->target.host.name, l);
    live->resolve_ms = clock_mono_ms() - started_ms;
    live->is_asked = rc == 0;
    if (rc != 0) {
        err_set(err, "out of memory");
    }
out:
    resolver_free(resolver);
    dns_tls_store_free(tls);
    return rc;
}

/* What dnsd would make of it, and which addresses the tunnels have. */
static void take_lookup(struct explain_facts *f)
{
    struct answer_lookup both;
    from_resolver(&f->live.v4, false, &both.v4);
    from_resolver(&f->live.v6, false, &both.v6);
    explain_facts_answer(f, &both);
    for (size_t i = 0; i < f->tunnel_count; i++) {
        struct explain_tunnel *t = &f->tunnels[i];
        if (!t->is_allowed) {
            continue;
        }
        for (size_t k = 0; k < f->live.v6.addr_count; k++) {
            explain_tunnel_add_addr(f, t, &f->live.v6.addrs[k]);
        }
        for (size_t k = 0; k < f->live.v4.addr_count; k++) {
            explain_tunnel_add_addr(f, t, &f->live.v4.addrs[k]);
        }
        explain_tunnel_judge_addrs(t);
    }
}

/* ---- dial ---- */

struct dialler;
struct attempt {
    ev_io io; /* active = under way */
    struct dialler *owner;
    struct explain_addr *addr;
    int64_t started_ms;
};
struct dialler { /* one port; as tunneld's dial, but it keeps what became of each address */
    struct ev_loop *loop;
    struct explain_tunnel *tunnel;
    struct dial_plan plan;
    ev_timer stagger, deadline;
    struct attempt attempts[DIAL_PLAN_MAX];
    size_t attempt_count;
    bool is_connected;
};

static void settle(struct attempt *a, enum explain_dial dial, int error)
{
    a->addr->dial = dial;
    a->addr->error = error;
    a->addr->ms = clock_mono_ms() - a->started_ms;
}

static void stop_attempt(struct attempt *a)
{
    if (ev_is_active(&a->io)) {
        int fd = a->io.fd;
        ev_io_stop(a->owner->loop, &a->io);
        (void)close(fd);
    }
}

static void step(struct dialler *d);

static void on_connect_event(struct ev_loop *loop, ev_io *w, int revents)
{
    struct attempt *a = w->data;
    struct dialler *d = a->owner;
    int rc = (revents & EV_ERROR) != 0 ? -ENOMEM : sock_connect_result(w->fd); /* epoll has refused it */
    stop_attempt(a);                                                           /* nothing was sent */
    if (rc == 0) {
        settle(a, EXPLAIN_DIAL_CONNECTED, 0);
        d->is_connected = true;
        ev_break(loop, EVBREAK_ALL);
        return;
    }
    settle(a, EXPLAIN_DIAL_FAILED, -rc);
    dial_plan_attempt_failed(&d->plan);
    step(d);
}

static void start_attempt(struct dialler *d, const struct ip *ip)
{
    REQUIRE(d->attempt_count < DIAL_PLAN_MAX);
    struct attempt *a = &d->attempts[d->attempt_count++];
    *a = (struct attempt){.owner = d, .started_ms = clock_mono_ms()};
    for (size_t i = 0; i < d->tunnel->addr_count; i++) {
        if (ip_is_equal(&d->tunnel->addrs[i].ip, ip)) {
            a->addr = &d->tunnel->addrs[i];
            break;
        }
    }
    REQUIRE(a->addr != NULL && a->addr->dest.verdict == VERDICT_ALLOW);
    int fd = sock_connect_tcp(&(struct addr){.ip = *ip, .port = d->tunnel->port});
    ev_io_init(&a->io, on_connect_event, fd, EV_WRITE);
    a->io.data = a;
    if (fd < 0) {
        settle(a, EXPLAIN_DIAL_FAILED, -fd);
        dial_plan_attempt_failed(&d->plan);
        return;
    }
    ev_io_start(d->loop, &a->io);
}

static void step(struct dialler *d)
{
    for (;;) {
        struct ip ip;
        int64_t wake_at_ms = -1;
        int64_t now_ms = clock_mono_ms();
        switch (dial_plan_next(&d->plan, now_ms, &ip, &wake_at_ms)) {
        case DIAL_STEP_START:
            start_attempt(d, &ip);
            break;
        case DIAL_STEP_WAIT:
            ev_timer_stop(d->loop, &d->stagger);
            if (wake_at_ms >= 0) {
                ev_now_update(d->loop);
                ev_timer_set(&d->stagger, (double)(wake_at_ms - now_ms) / 1000.0, 0.0);
                ev_timer_start(d->loop, &d->stagger);
            }
            return;
        case DIAL_STEP_FAILED:
            ev_break(d->loop, EVBREAK_ALL);
            return;
        }
    }
}

static void on_stagger_event(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    step(w->data);
}

static void on_deadline_event(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)w;
    (void)revents;
    ev_break(loop, EVBREAK_ALL);
}

/* The end: what is under way, and what was never begun. */
static void finish(struct dialler *d)
{
    ev_timer_stop(d->loop, &d->stagger);
    ev_timer_stop(d->loop, &d->deadline);
    for (size_t i = 0; i < d->attempt_count; i++) {
        struct attempt *a = &d->attempts[i];
        if (ev_is_active(&a->io)) {
            stop_attempt(a);
            settle(a, d->is_connected ? EXPLAIN_DIAL_OVERTAKEN : EXPLAIN_DIAL_SILENT, 0);
        }
    }
    for (size_t i = 0; d->is_connected && i < d->tunnel->addr_count; i++) {
        struct explain_addr *a = &d->tunnel->addrs[i];
        if (a->dest.verdict == VERDICT_ALLOW && a->dial == EXPLAIN_DIAL_NONE) {
            a->dial = EXPLAIN_DIAL_SPARE;
        }
    }
}

/* spent_ms: what the lookup took of the connect timeout, which is for both. */
static bool dial(struct ev_loop *loop, struct explain_tunnel *t, int64_t spent_ms)
{
    struct dialler d = {.loop = loop, .tunnel = t};
    dial_plan_init(&d.plan);
    for (size_t i = 0; i < t->addr_count; i++) {
        if (t->addrs[i].dest.verdict == VERDICT_ALLOW) {
            (void)dial_plan_add(&d.plan, &t->addrs[i].ip);
        }
    }
    dial_plan_complete(&d.plan);
    int64_t left_ms = t->name.timers.connect_ms - spent_ms;
    ev_now_update(loop);
    ev_timer_init(&d.stagger, on_stagger_event, 0.0, 0.0);
    d.stagger.data = &d;
    ev_timer_start(loop, &d.stagger);
    ev_timer_init(&d.deadline, on_deadline_event, left_ms > 0 ? (double)left_ms / 1000.0 : 0.0, 0.0);
    if (t->name.timers.connect_ms != 0) { /* 0: the kernel's own limit */
        ev_timer_start(loop, &d.deadline);
    }
    (void)ev_run(loop, 0);
    finish(&d);
    return d.is_connected;
}

/* ---- all ---- */

static void say_unresolved(struct explain_facts *f)
{
    char v4[EXPLAIN_TEXT_CAP / 3];
    char v6[EXPLAIN_TEXT_CAP / 3];
    (void)snprintf(f->why, sizeof f->why, "its name has no address now: A %s; AAAA %s",
                   explain_lookup_text(&f->live.v4, v4, sizeof v4),
                   explain_lookup_text(&f->live.v6, v6, sizeof v6));
}

static void dial_all(struct explain_facts *f, struct ev_loop *loop, int64_t spent_ms,
                     enum explain_outcome *outcome)
{
    bool has_addrs = false;
    for (size_t i = 0; i < f->tunnel_count; i++) {
        struct explain_tunnel *t = &f->tunnels[i];
        if (!t->is_allowed || (t->addr_count == 0 && !explain_is_unresolved(f, t))) {
            continue;
        }
        if (explain_is_chained(t)) { /* nothing is said to the chain proxy for the sake of an explanation */
            *outcome = EXPLAIN_OUTCOME_REACHED;
            continue;
        }
        has_addrs = true;
        t->is_dialled = true;
        t->is_connected = dial(loop, t, spent_ms);
        if (t->is_connected) {
            *outcome = EXPLAIN_OUTCOME_REACHED;
        }
    }
    if (*outcome == EXPLAIN_OUTCOME_UNREACHED && has_addrs) {
        (void)snprintf(f->why, sizeof f->why, "no permitted address can be connected to");
    } else if (*outcome == EXPLAIN_OUTCOME_UNREACHED) {
        say_unresolved(f);
    }
}

int explain_live_run(struct explain_facts *f, enum explain_outcome *outcome, struct err *err)
{
    *outcome = EXPLAIN_OUTCOME_DENIED;
    /* dnsd resolves an admitted name whatever tunneld makes of the port */
    bool wants_lookup = f->target.host.kind == HOST_DNS && (f->dns[0].route == ANSWER_ROUTE_RESOLVE ||
                                                            (f->name.kind == NAME_ADMITTED && f->is_allowed));
    if (!wants_lookup && !f->is_allowed) {
        return 0;
    }
    struct ev_loop *loop = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (loop == NULL) {
        err_set(err, "no event loop");
        return -ENOMEM;
    }
    int64_t started_ms = clock_mono_ms();
    struct lookup l = {.live = &f->live, .first_addrs_ms = -1, .loop = loop};
    int rc = 0;
    if (wants_lookup) {
        rc = look_up(f, loop, &l, err);
        if (rc == 0) {
            take_lookup(f);
            explain_facts_conclude(f);
        }
    }
    if (rc == 0 && f->is_allowed) {
        *outcome = EXPLAIN_OUTCOME_UNREACHED;
        dial_all(f, loop, l.first_addrs_ms < 0 ? 0 : l.first_addrs_ms - started_ms, outcome);
    }
    ev_loop_destroy(loop);
    return rc;
}

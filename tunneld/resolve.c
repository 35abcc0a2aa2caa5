/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/resolve.h"

#include <errno.h>
#include <stdlib.h>

enum { FAMILY_V6 = 0, FAMILY_V4, FAMILY_COUNT };

struct resolve_family {
    struct resolve *owner;
    resolver_ticket ticket; /* 0 = not asked, or answered */
    bool is_done;
    enum resolver_status status;
    enum resolver_fail why;
};

struct resolve {
    struct ev_loop *loop;
    struct resolver *resolver;
    resolve_event_fn *fn;
    void *ctx;
    struct resolve_family family[FAMILY_COUNT];
    ev_timer delay;
    struct ip addrs[FAMILY_COUNT * DNS_ADDRS_MAX]; /* not handed on yet */
    size_t addr_count;
};

static bool is_complete(const struct resolve *r)
{
    return r->family[FAMILY_V6].is_done && r->family[FAMILY_V4].is_done;
}

/* For the message only: NXDOMAIN if both families say so, else the failure of one, else NODATA. */
static void explain(const struct resolve *r, struct resolve_result *out)
{
    const struct resolve_family *v6 = &r->family[FAMILY_V6];
    const struct resolve_family *v4 = &r->family[FAMILY_V4];
    const struct resolve_family *telling = v4->status == RESOLVER_FAILED ? v4 : v6;
    if (v4->status == RESOLVER_NXDOMAIN && v6->status == RESOLVER_NXDOMAIN) {
        out->status = RESOLVER_NXDOMAIN;
    } else if (telling->status == RESOLVER_FAILED) {
        out->status = RESOLVER_FAILED;
        out->why = telling->why;
    } else {
        out->status = RESOLVER_NODATA;
    }
}

/* The last thing done with r in any call chain: the owner may free it. */
static void deliver(struct resolve *r)
{
    struct ip addrs[FAMILY_COUNT * DNS_ADDRS_MAX];
    struct resolve_result result = {
        .addrs = addrs, .addr_count = r->addr_count, .is_complete = is_complete(r)};
    memcpy(addrs, r->addrs, r->addr_count * sizeof addrs[0]);
    explain(r, &result);
    r->addr_count = 0;
    ev_timer_stop(r->loop, &r->delay);
    r->fn(r->ctx, &result);
}

static void on_delay_event(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    deliver(w->data);
}

static void add_addrs(struct resolve *r, const struct resolver_answer *a, bool in_front)
{
    size_t count = a->addr_count;
    REQUIRE(count <= DNS_ADDRS_MAX && r->addr_count <= DNS_ADDRS_MAX);
    size_t at = in_front ? 0 : r->addr_count;
    memmove(r->addrs + at + count, r->addrs + at, (r->addr_count - at) * sizeof r->addrs[0]);
    memcpy(r->addrs + at, a->addrs, count * sizeof r->addrs[0]);
    r->addr_count += count;
}

static void on_answer(void *ctx, const struct resolver_answer *a)
{
    struct resolve_family *f = ctx;
    struct resolve *r = f->owner;
    bool is_v6 = f == &r->family[FAMILY_V6];
    f->ticket = 0;
    f->is_done = true;
    f->status = a->status;
    f->why = a->why;
    if (a->status == RESOLVER_ADDRS) {
        add_addrs(r, a, is_v6);
    }
    if (is_complete(r) || (is_v6 && r->addr_count > 0)) {
        deliver(r);
    } else if (r->addr_count > 0) {
        ev_timer_set(&r->delay, RESOLVE_DELAY_MS / 1000.0, 0.0);
        ev_timer_start(r->loop, &r->delay);
    }
}

static void ask(struct resolve *r, int which, const struct host_name *name)
{
    struct resolve_family *f = &r->family[which];
    f->owner = r;
    f->ticket = resolver_ask(r->resolver, name, which == FAMILY_V6 ? DNS_AAAA : DNS_A, on_answer, f);
    if (f->ticket == 0) {
        f->is_done = true;
        f->status = RESOLVER_FAILED;
        f->why = RESOLVER_FAIL_MEMORY;
    }
}

int resolve_start(struct ev_loop *loop, struct resolver *resolver, const struct host_name *name,
                  resolve_event_fn *fn, void *ctx, struct resolve **out)
{
    struct resolve *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return -ENOMEM;
    }
    r->loop = loop;
    r->resolver = resolver;
    r->fn = fn;
    r->ctx = ctx;
    ev_timer_init(&r->delay, on_delay_event, 0.0, 0.0);
    r->delay.data = r;
    ask(r, FAMILY_V6, name);
    ask(r, FAMILY_V4, name);
    if (is_complete(r)) { /* neither could be asked: nobody would call back */
        free(r);
        return -ENOMEM;
    }
    *out = r;
    return 0;
}

void resolve_cancel(struct resolve *r)
{
    for (int i = 0; i < FAMILY_COUNT; i++) {
        if (r->family[i].ticket != 0) {
            resolver_cancel(r->resolver, r->family[i].ticket);
        }
    }
    ev_timer_stop(r->loop, &r->delay);
    free(r);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/dial.h"

#include "common/base/clock.h"
#include "common/net/sock.h"
#include "tunneld/dial_plan.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct dial_attempt {
    ev_io io; /* active = under way */
    struct dial *owner;
    struct addr addr;
};

struct dial {
    struct ev_loop *loop;
    dial_event_fn *fn;
    void *ctx;
    uint16_t port;
    struct dial_plan plan;
    ev_timer timer; /* the next attempt, or at once after something changed */
    struct dial_attempt attempts[DIAL_PLAN_MAX];
    size_t attempt_count;
    int error;
    struct addr error_addr;
};

static void note_error(struct dial *d, int error, const struct addr *addr)
{
    d->error = dial_plan_worse_error(d->error, error);
    d->error_addr = *addr;
}

/* Stops the watcher before anything can close the descriptor. */
static int take_fd(struct dial_attempt *a)
{
    ev_io_stop(a->owner->loop, &a->io);
    return a->io.fd;
}

static void step(struct dial *d);

static void on_connect_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    struct dial_attempt *a = w->data;
    struct dial *d = a->owner;
    int fd = take_fd(a);
    /* EV_ERROR: epoll has refused it. It has no error of its own then, and would pass for connected. */
    int rc = (revents & EV_ERROR) != 0 ? -ENOMEM : sock_connect_result(fd);
    if (rc == 0) {
        d->fn(d->ctx, &(struct dial_result){.fd = fd, .addr = a->addr}); /* frees d */
        return;
    }
    (void)close(fd);
    note_error(d, -rc, &a->addr);
    dial_plan_attempt_failed(&d->plan);
    step(d);
}

static void start_attempt(struct dial *d, const struct ip *ip)
{
    REQUIRE(d->attempt_count < DIAL_PLAN_MAX);
    struct dial_attempt *a = &d->attempts[d->attempt_count];
    a->owner = d;
    a->addr = (struct addr){.ip = *ip, .port = d->port};
    int fd = sock_connect_tcp(&a->addr);
    if (fd < 0) {
        note_error(d, -fd, &a->addr);
        dial_plan_attempt_failed(&d->plan);
        return;
    }
    d->attempt_count++;
    ev_io_init(&a->io, on_connect_event, fd, EV_WRITE);
    a->io.data = a;
    ev_io_start(d->loop, &a->io);
}

static void wake_at(struct dial *d, int64_t wait_ms)
{
    ev_timer_stop(d->loop, &d->timer);
    ev_timer_set(&d->timer, (double)wait_ms / 1000.0, 0.0);
    ev_timer_start(d->loop, &d->timer);
}

/* Nothing may touch d after it: the owner frees d when it is called back. */
static void step(struct dial *d)
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
            if (wake_at_ms >= 0) {
                ev_now_update(d->loop);
                wake_at(d, wake_at_ms - now_ms);
            }
            return;
        case DIAL_STEP_FAILED:
            d->fn(d->ctx, &(struct dial_result){.fd = -1, .error = d->error, .addr = d->error_addr});
            return;
        }
    }
}

static void on_timer_event(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    step(w->data);
}

int dial_start(struct ev_loop *loop, uint16_t port, dial_event_fn *fn, void *ctx, struct dial **out)
{
    struct dial *d = calloc(1, sizeof(*d));
    if (d == NULL) {
        return -ENOMEM;
    }
    d->loop = loop;
    d->port = port;
    d->fn = fn;
    d->ctx = ctx;
    dial_plan_init(&d->plan);
    ev_timer_init(&d->timer, on_timer_event, 0.0, 0.0);
    d->timer.data = d;
    *out = d;
    return 0;
}

void dial_add(struct dial *d, const struct ip *ip)
{
    if (dial_plan_add(&d->plan, ip)) {
        wake_at(d, 0);
    }
}

void dial_complete(struct dial *d)
{
    dial_plan_complete(&d->plan);
    wake_at(d, 0);
}

void dial_cancel(struct dial *d)
{
    ev_timer_stop(d->loop, &d->timer);
    for (size_t i = 0; i < d->attempt_count; i++) {
        if (ev_is_active(&d->attempts[i].io)) {
            (void)close(take_fd(&d->attempts[i]));
        }
    }
    free(d);
}

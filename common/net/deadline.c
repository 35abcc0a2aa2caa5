/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/deadline.h"

#include "common/base/clock.h"
#include "common/base/err.h"

#include <errno.h>
#include <stdlib.h>

struct deadline_list {
    struct ev_loop *loop;
    ev_timer timer;
    int64_t timer_at_ms; /* what the running timer was set for; it may fire early, never late */
    deadline_event_fn *fn;
    void *ctx;
    struct deadline **heap; /* a binary heap: no element is due before its parent */
    size_t count;
    size_t cap;
    bool firing;
};

static void place(struct deadline_list *l, struct deadline *d, size_t at)
{
    l->heap[at] = d;
    d->index = at + 1;
}

static void sift_up(struct deadline_list *l, size_t at)
{
    struct deadline *d = l->heap[at];
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (l->heap[parent]->at_ms <= d->at_ms) {
            break;
        }
        place(l, l->heap[parent], at);
        at = parent;
    }
    place(l, d, at);
}

static void sift_down(struct deadline_list *l, size_t at)
{
    struct deadline *d = l->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= l->count) {
            break;
        }
        if (child + 1 < l->count && l->heap[child + 1]->at_ms < l->heap[child]->at_ms) {
            child++;
        }
        if (d->at_ms <= l->heap[child]->at_ms) {
            break;
        }
        place(l, l->heap[child], at);
        at = child;
    }
    place(l, d, at);
}

static void heap_remove(struct deadline_list *l, struct deadline *d)
{
    size_t at = d->index - 1;
    REQUIRE(at < l->count && l->heap[at] == d);
    d->index = 0;
    l->count--;
    if (at == l->count) {
        return;
    }
    place(l, l->heap[l->count], at);
    sift_down(l, at);
    sift_up(l, l->heap[at]->index - 1);
}

/*
 * Keeps the timer at or before the earliest deadline. It is left alone when that moves later: firing for
 * nothing and looking again is cheaper than restarting it with every packet of every tunnel.
 */
static void rearm(struct deadline_list *l)
{
    if (l->count == 0) {
        ev_timer_stop(l->loop, &l->timer);
        return;
    }
    int64_t at_ms = l->heap[0]->at_ms;
    if (ev_is_active(&l->timer) && l->timer_at_ms <= at_ms) {
        return;
    }
    ev_timer_stop(l->loop, &l->timer);
    const int64_t now_ms = clock_mono_ms();
    int64_t wait_ms = at_ms > now_ms ? at_ms - now_ms : 0;
    ev_timer_set(&l->timer, (double)wait_ms / 1000.0, 0.0);
    l->timer_at_ms = at_ms;
    ev_timer_start(l->loop, &l->timer);
}

static void on_timer_event(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    struct deadline_list *l = w->data;
    int64_t now_ms = clock_mono_ms();
    l->firing = true;
    /* A callback may arm a deadline that is already due: that one waits for the next turn of the loop. */
    for (size_t budget = l->count; budget > 0 && l->count > 0; budget--) {
        struct deadline *d = l->heap[0];
        if (d->at_ms > now_ms) {
            break;
        }
        heap_remove(l, d);
        l->fn(l->ctx, d, now_ms);
    }
    l->firing = false;
    rearm(l);
}

int deadline_list_new(struct ev_loop *loop, deadline_event_fn *fn, void *ctx, struct deadline_list **out)
{
    struct deadline_list *l = calloc(1, sizeof(*l));
    if (l == NULL) {
        return -ENOMEM;
    }
    l->loop = loop;
    l->fn = fn;
    l->ctx = ctx;
    ev_timer_init(&l->timer, on_timer_event, 0.0, 0.0);
    l->timer.data = l;
    *out = l;
    return 0;
}

void deadline_list_free(struct deadline_list *l)
{
    if (l == NULL) {
        return;
    }
    REQUIRE(!l->firing);
    for (size_t i = 0; i < l->count; i++) {
        l->heap[i]->index = 0;
    }
    ev_timer_stop(l->loop, &l->timer);
    free(l->heap);
    free(l);
}

static int reserve_one(struct deadline_list *l)
{
    if (l->count < l->cap) {
        return 0;
    }
    size_t cap = l->cap == 0 ? 16 : l->cap * 2;
    struct deadline **heap = reallocarray(l->heap, cap, sizeof(struct deadline *));
    if (heap == NULL) {
        return -ENOMEM;
    }
    l->heap = heap;
    l->cap = cap;
    return 0;
}

int deadline_arm(struct deadline_list *l, struct deadline *d, int64_t at_ms)
{
    if (d->index != 0) {
        d->at_ms = at_ms;
        sift_down(l, d->index - 1);
        sift_up(l, d->index - 1);
    } else {
        int rc = reserve_one(l);
        if (rc != 0) {
            return rc;
        }
        d->at_ms = at_ms;
        place(l, d, l->count);
        l->count++;
        sift_up(l, l->count - 1);
    }
    rearm(l);
    return 0;
}

void deadline_cancel(struct deadline_list *l, struct deadline *d)
{
    if (d->index == 0) {
        return;
    }
    heap_remove(l, d);
    if (l->count == 0) {
        ev_timer_stop(l->loop, &l->timer);
    }
}

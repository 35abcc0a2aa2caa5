/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/busy_poll.h"

#include "common/base/clock.h"

static void on_turn_event(struct ev_loop *loop, ev_idle *w, int revents)
{
    (void)revents;
    struct busy_poll *b = w->data;
    if (clock_mono_us() >= b->until_us) {
        ev_idle_stop(loop, w);
        b->credit -= b->credit < BUSY_POLL_MISS_COST ? b->credit : BUSY_POLL_MISS_COST;
    }
}

void busy_poll_init(struct busy_poll *b, struct ev_loop *loop)
{
    *b = (struct busy_poll){.loop = loop, .declined = BUSY_POLL_TRIAL_EVERY};
    ev_idle_init(&b->awake, on_turn_event);
    b->awake.data = b;
}

void busy_poll_start(struct busy_poll *b)
{
    if (b->credit == 0 && ++b->declined < BUSY_POLL_TRIAL_EVERY) {
        return;
    }
    b->declined = 0;
    b->until_us = clock_mono_us() + BUSY_POLL_US;
    ev_idle_start(b->loop, &b->awake);
}

void busy_poll_hit(struct busy_poll *b)
{
    if (ev_is_active(&b->awake)) {
        ev_idle_stop(b->loop, &b->awake);
        b->credit += b->credit < BUSY_POLL_CREDIT_MAX ? 1 : 0;
    }
}

void busy_poll_stop(struct busy_poll *b)
{
    ev_idle_stop(b->loop, &b->awake);
}

bool busy_poll_is_on(const struct busy_poll *b)
{
    return ev_is_active(&b->awake);
}

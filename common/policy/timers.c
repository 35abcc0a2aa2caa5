/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/timers.h"

#include <limits.h>

/* Where keepalive is off nothing else would notice that sent bytes are never acknowledged. */
#define USER_TIMEOUT_WITHOUT_KEEPALIVE_MS 120000

void tunnel_timers_unset(struct tunnel_timers *t)
{
    *t = (struct tunnel_timers){
        .connect_ms = TIMER_UNSET,
        .idle_ms = TIMER_UNSET,
        .lifetime_ms = TIMER_UNSET,
        .half_close_ms = TIMER_UNSET,
        .user_ms = TIMER_UNSET,
    };
}

static void inherit(int64_t *value, int64_t lower)
{
    if (*value == TIMER_UNSET) {
        *value = lower;
    }
}

void tunnel_timers_inherit(struct tunnel_timers *t, const struct tunnel_timers *lower)
{
    inherit(&t->connect_ms, lower->connect_ms);
    inherit(&t->idle_ms, lower->idle_ms);
    inherit(&t->lifetime_ms, lower->lifetime_ms);
    inherit(&t->half_close_ms, lower->half_close_ms);
    inherit(&t->user_ms, lower->user_ms);
}

void tunnel_keepalive_inherit(struct tunnel_keepalive *k, const struct tunnel_keepalive *lower)
{
    if (k->mode == KEEPALIVE_UNSET) {
        *k = *lower;
    }
}

const struct tunnel_timers tunnel_builtin_timers = {
    .connect_ms = 10000,
    .idle_ms = 0,
    .lifetime_ms = 0,
    .half_close_ms = 300000,
    .user_ms = TIMER_AUTO,
};
const struct tunnel_keepalive tunnel_builtin_keepalive = {
    .mode = KEEPALIVE_ON, .idle_s = 60, .interval_s = 15, .probes = 4};

void tunnel_timers_builtin(struct tunnel_timers *t, struct tunnel_keepalive *k)
{
    *t = tunnel_builtin_timers;
    *k = tunnel_builtin_keepalive;
}

int64_t tunnel_user_timeout_ms(const struct tunnel_timers *t, const struct tunnel_keepalive *k)
{
    if (t->user_ms == TIMER_UNSET) {
        return 0;
    }
    if (t->user_ms != TIMER_AUTO) {
        return t->user_ms;
    }
    if (k->mode != KEEPALIVE_ON) {
        return USER_TIMEOUT_WITHOUT_KEEPALIVE_MS;
    }
    /* tcp(7): with TCP_USER_TIMEOUT set Linux ignores the probe count, so the two must agree. */
    int64_t ms = 1000 * ((int64_t)k->idle_s + (int64_t)k->interval_s * k->probes);
    return ms > INT_MAX ? INT_MAX : ms; /* the option takes an int */
}

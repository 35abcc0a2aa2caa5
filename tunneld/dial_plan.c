/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/dial_plan.h"

#include <errno.h>

enum { PLAN_V6 = 0, PLAN_V4 = 1 };
_Static_assert(DIAL_PLAN_MAX == 2UL * DIAL_PLAN_PER_FAMILY, "attempts are counted per family");

void dial_plan_init(struct dial_plan *p)
{
    *p = (struct dial_plan){0};
}

bool dial_plan_add(struct dial_plan *p, const struct ip *a)
{
    if (a->family != IP_V4 && a->family != IP_V6) {
        return false;
    }
    int family = a->family == IP_V4 ? PLAN_V4 : PLAN_V6;
    for (size_t i = 0; i < p->count[family]; i++) {
        if (ip_is_equal(&p->addrs[family][i], a)) {
            return false;
        }
    }
    if (p->count[family] == DIAL_PLAN_PER_FAMILY) {
        return false;
    }
    p->addrs[family][p->count[family]] = *a;
    p->count[family]++;
    return true;
}

void dial_plan_complete(struct dial_plan *p)
{
    p->is_complete = true;
}

static bool has_left(const struct dial_plan *p, int family)
{
    return p->started[family] < p->count[family];
}

enum dial_step dial_plan_next(struct dial_plan *p, int64_t now_ms, struct ip *out, int64_t *wake_at_ms)
{
    *wake_at_ms = -1;
    if (!has_left(p, PLAN_V6) && !has_left(p, PLAN_V4)) {
        return p->in_flight > 0 || !p->is_complete ? DIAL_STEP_WAIT : DIAL_STEP_FAILED;
    }
    if (p->in_flight > 0 && now_ms < p->next_at_ms) {
        *wake_at_ms = p->next_at_ms;
        return DIAL_STEP_WAIT;
    }
    int family = p->prefer_v4 ? PLAN_V4 : PLAN_V6;
    if (!has_left(p, family)) {
        family = family == PLAN_V4 ? PLAN_V6 : PLAN_V4;
    }
    *out = p->addrs[family][p->started[family]];
    p->started[family]++;
    p->in_flight++;
    p->prefer_v4 = family == PLAN_V6;
    p->next_at_ms = now_ms + DIAL_PLAN_STAGGER_MS;
    return DIAL_STEP_START;
}

void dial_plan_attempt_failed(struct dial_plan *p)
{
    if (CHECK(p->in_flight > 0)) {
        p->in_flight--;
    }
    p->next_at_ms = 0;
}

static int error_rank(int error)
{
    switch (error) {
    case ECONNREFUSED: /* the destination itself said no */
        return 3;
    case ETIMEDOUT: /* packets left, nothing came back */
        return 2;
    case 0:
        return 0;
    default: /* no route, no source address, no descriptor */
        return 1;
    }
}

int dial_plan_worse_error(int a, int b)
{
    return error_rank(b) > error_rank(a) ? b : a;
}

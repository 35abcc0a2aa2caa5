/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of a host's checked addresses is dialled when (RFC 8305, Happy Eyeballs): IPv6 first, families
 * interleaved, a new attempt 250 ms after the last one began or at once when one failed, several under way at
 * a time, the first that connects wins. Addresses may still be added while attempts run, as the second
 * family's answer arrives. Pure: the caller owns sockets and the clock.
 */
#pragma once

#include "common/base/ip.h"

#define DIAL_PLAN_STAGGER_MS 250 /* RFC 8305 section 5: Connection Attempt Delay */
#define DIAL_PLAN_PER_FAMILY                                                                                 \
    8U                     /* more addresses than that are not tried: 16 attempts are enough for one tunnel */
#define DIAL_PLAN_MAX 16UL /* of both families */

enum dial_step {
    DIAL_STEP_FAILED = 0, /* every address was tried, no more will come */
    DIAL_STEP_WAIT,       /* until *wake_at_ms, an attempt's end, or more addresses */
    DIAL_STEP_START       /* dial the address now and ask again */
};

struct dial_plan {
    struct ip addrs[2][DIAL_PLAN_PER_FAMILY]; /* [0] IPv6, [1] IPv4 */
    uint8_t count[2];                         /* known */
    uint8_t started[2];                       /* <= count */
    uint8_t in_flight;
    bool is_complete;   /* no more addresses will come */
    bool prefer_v4;     /* the family of the next attempt, if it has one left */
    int64_t next_at_ms; /* not before, unless nothing is in flight */
};

void dial_plan_init(struct dial_plan *p);
/* False if the address was left out: a duplicate, no family, or one too many. */
bool dial_plan_add(struct dial_plan *p, const struct ip *a);
/* No more addresses will come. */
void dial_plan_complete(struct dial_plan *p);
/*
 * What to do at now. START: *out is the address, counted as in flight from now on. WAIT: *wake_at_ms is when
 * to ask again, or -1 if only an event can change anything.
 */
enum dial_step dial_plan_next(struct dial_plan *p, int64_t now_ms, struct ip *out, int64_t *wake_at_ms);
/* An attempt ended without a connection: the next may begin at once. */
void dial_plan_attempt_failed(struct dial_plan *p);
/* The error of two that tells the client more: one heard from the destination over one of our own making. */
int dial_plan_worse_error(int a, int b);

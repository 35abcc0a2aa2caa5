/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps a loop awake for a moment while an answer is on its way that may come sooner than a thread goes to
 * sleep and is woken (busy polling, as in socket(7), SO_BUSY_POLL; here without the kernel's help). A sleep
 * costs both sides: the one who is woken, and the one who answers and has to wake it, which on a virtual core
 * is the greater part. The loop turns without blocking meanwhile, so everything else is served as ever, and
 * nothing happens where it would not have slept.
 *
 * It is done only where it pays. What comes in time earns credit, what does not costs some; without credit
 * one wait in BUSY_POLL_TRIAL_EVERY is spent to see whether that has changed. One loop, one thread.
 */
#pragma once

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#define BUSY_POLL_US 20 /* about what a sleep costs on a virtual core */
#define BUSY_POLL_CREDIT_MAX 8
#define BUSY_POLL_MISS_COST 2 /* of credit, against 1 that a hit earns: two of three have to be hits */
#define BUSY_POLL_TRIAL_EVERY 64

struct busy_poll {
    struct ev_loop *loop;
    ev_idle awake; /* active: the loop does not block */
    int64_t until_us;
    unsigned credit;
    unsigned declined; /* since the last wait */
};

/* The first wait is a trial. Does not move afterwards. */
void busy_poll_init(struct busy_poll *b, struct ev_loop *loop);
/* Something was asked, and nothing else is to be done: does not block for BUSY_POLL_US, if that pays. */
void busy_poll_start(struct busy_poll *b);
/* It has come. Ends the wait, if there is one. */
void busy_poll_hit(struct busy_poll *b);
/* It is not waited for any more; that says nothing. */
void busy_poll_stop(struct busy_poll *b);
bool busy_poll_is_on(const struct busy_poll *b);

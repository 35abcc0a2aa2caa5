/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Those who wait for the questions of a resolver: slots in one table that grows, in order of arrival within
 * their question, and in a line of those who want a stale answer at some time. A ticket is {generation, slot
 * + 1}. Pure. Owned by a resolver_core.
 */
#pragma once

#include "common/base/err.h"
#include "common/dns/resolver_core.h"

#define WAITER_NONE UINT32_MAX

struct waiter_list { /* the waiters of one question */
    uint32_t first, last;
};

struct waiter {
    resolver_event_fn *fn; /* NULL = the slot is free */
    void *ctx;
    struct resolver_question *question;
    int64_t stale_at_ms; /* 0 = not in the line */
    uint32_t generation;
    uint32_t prev, next; /* of the same question, or next of the free list */
    uint32_t line_prev, line_next;
};

struct waiters {
    struct waiter *slots;
    uint32_t cap;
    uint32_t free; /* head of the free list */
    uint32_t line_first, line_last;
};

void waiters_init(struct waiters *t);
void waiters_fini(struct waiters *t);
/* Makes sure that waiters_add() finds a slot. 0 or -ENOMEM. */
MUST_CHECK int waiters_reserve(struct waiters *t);
resolver_ticket waiters_add(struct waiters *t, struct waiter_list *list, struct resolver_question *q,
                            const struct resolver_ask *ask);
void waiters_remove(struct waiters *t, struct waiter_list *list, uint32_t slot);
/* The slot of a ticket, or WAITER_NONE if it is over. */
uint32_t waiters_find(const struct waiters *t, resolver_ticket ticket);
/* Into the line: at_ms is not before that of anybody in it. */
void waiters_line_up(struct waiters *t, uint32_t slot, int64_t at_ms);
void waiters_leave_line(struct waiters *t, uint32_t slot); /* fine if not in it */

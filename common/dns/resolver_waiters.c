/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/resolver_waiters.h"

#include <errno.h>
#include <stdlib.h>

#define WAITERS_FIRST 64U
#define WAITERS_MAX 65536U

void waiters_init(struct waiters *t)
{
    *t = (struct waiters){.free = WAITER_NONE, .line_first = WAITER_NONE, .line_last = WAITER_NONE};
}

void waiters_fini(struct waiters *t)
{
    free(t->slots);
    waiters_init(t);
}

int waiters_reserve(struct waiters *t)
{
    if (t->free != WAITER_NONE) {
        return 0;
    }
    const uint32_t cap = t->cap == 0 ? WAITERS_FIRST : t->cap * 2;
    if (cap > WAITERS_MAX) {
        return -ENOMEM;
    }
    struct waiter *slots = reallocarray(t->slots, cap, sizeof(*slots));
    if (slots == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = t->cap; i < cap; i++) {
        slots[i] = (struct waiter){.generation = 1, .next = i + 1 < cap ? i + 1 : WAITER_NONE};
    }
    t->free = t->cap;
    t->slots = slots;
    t->cap = cap;
    return 0;
}

resolver_ticket waiters_add(struct waiters *t, struct waiter_list *list, struct resolver_question *q,
                            const struct resolver_ask *ask)
{
    REQUIRE(t->free != WAITER_NONE);
    const uint32_t slot = t->free;
    struct waiter *w = &t->slots[slot];
    t->free = w->next;
    w->fn = ask->fn;
    w->ctx = ask->ctx;
    w->question = q;
    w->prev = list->last;
    w->next = WAITER_NONE;
    if (list->last == WAITER_NONE) {
        list->first = slot;
    } else {
        t->slots[list->last].next = slot;
    }
    list->last = slot;
    return (resolver_ticket)w->generation << 32 | (slot + 1U);
}

void waiters_remove(struct waiters *t, struct waiter_list *list, uint32_t slot)
{
    struct waiter *w = &t->slots[slot];
    REQUIRE(w->fn != NULL);
    waiters_leave_line(t, slot);
    if (w->prev == WAITER_NONE) {
        list->first = w->next;
    } else {
        t->slots[w->prev].next = w->next;
    }
    if (w->next == WAITER_NONE) {
        list->last = w->prev;
    } else {
        t->slots[w->next].prev = w->prev;
    }
    *w = (struct waiter){.generation = w->generation + 1, .next = t->free};
    t->free = slot;
}

uint32_t waiters_find(const struct waiters *t, resolver_ticket ticket)
{
    const uint32_t number = (uint32_t)(ticket & UINT32_MAX);
    if (number == 0 || number > t->cap) {
        return WAITER_NONE;
    }
    const struct waiter *w = &t->slots[number - 1];
    return w->fn != NULL && w->generation == (uint32_t)(ticket >> 32) ? number - 1 : WAITER_NONE;
}

void waiters_line_up(struct waiters *t, uint32_t slot, int64_t at_ms)
{
    struct waiter *w = &t->slots[slot];
    w->stale_at_ms = at_ms;
    w->line_prev = t->line_last;
    w->line_next = WAITER_NONE;
    if (t->line_last == WAITER_NONE) {
        t->line_first = slot;
    } else {
        t->slots[t->line_last].line_next = slot;
    }
    t->line_last = slot;
}

void waiters_leave_line(struct waiters *t, uint32_t slot)
{
    struct waiter *w = &t->slots[slot];
    if (w->stale_at_ms == 0) {
        return;
    }
    w->stale_at_ms = 0;
    if (w->line_prev == WAITER_NONE) {
        t->line_first = w->line_next;
    } else {
        t->slots[w->line_prev].line_next = w->line_next;
    }
    if (w->line_next == WAITER_NONE) {
        t->line_last = w->line_prev;
    } else {
        t->slots[w->line_next].line_prev = w->line_prev;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters. Each worker owns one struct metrics and is its only writer (relaxed atomics); any thread may
 * read. The names come from the daemon's own X-macro list; indexes beyond count are a bug (CHECK).
 * A gauge is a counter that also goes down: its worker adds the two's complement, and the sum over workers
 * is right.
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define METRICS_MAX 96

enum metrics_kind { METRICS_COUNTER = 0, METRICS_GAUGE };

struct metrics_info { /* of one index, for people and for scrapers */
    const char *name; /* [a-z0-9_]+ */
    enum metrics_kind kind;
    const char *help; /* one clause, no backslash and no line end */
};

struct metrics {
    _Atomic uint64_t value[METRICS_MAX];
};

static inline void metrics_add(struct metrics *m, size_t index, uint64_t n)
{
    /* one writer: a relaxed load and store are enough and cheaper than a locked add */
    uint64_t old = atomic_load_explicit(&m->value[index], memory_order_relaxed);
    atomic_store_explicit(&m->value[index], old + n, memory_order_relaxed);
}
static inline void metrics_sub(struct metrics *m, size_t index, uint64_t n)
{
    metrics_add(m, index, 0 - n);
}
static inline uint64_t metrics_read(const struct metrics *m, size_t index)
{
    return atomic_load_explicit(&m->value[index], memory_order_relaxed);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measuring: CPU time of this thread, instructions where the kernel counts them, memory. Single-threaded;
 * every failure ends the program with a message.
 */
#pragma once

#include "common/base/span.h"

#define BENCH_RUNS_MAX 31

struct bench_counter {
    int fd; /* of perf_event_open, or -1 */
};

struct bench_reading {
    double ns;           /* median over the runs, for one operation */
    double ns_low;       /* the fastest run */
    double ns_high;      /* the slowest */
    double instructions; /* median; < 0 if they cannot be counted */
};

void bench_counter_open(struct bench_counter *c);
void bench_counter_close(struct bench_counter *c);

/* Runs fn(ctx) so many times; it does `operations` operations each time. */
void bench_measure(const struct bench_counter *c, size_t runs, size_t operations, void (*fn)(void *ctx),
                   void *ctx, struct bench_reading *out);

uint64_t bench_cpu_ns(void);
uint64_t bench_random(uint64_t *state); /* xorshift64; *state must not be 0 */
/* Bytes in use on the heap. */
size_t bench_heap_bytes(void);
/* The highest resident size since bench_peak_reset(), in bytes; 0 if the kernel does not say. */
size_t bench_peak_bytes(void);
void bench_peak_reset(void);
_Noreturn void bench_die(const char *what);

/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench.h"

#include <fcntl.h>
#include <linux/perf_event.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void bench_die(const char *what)
{
    (void)fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

void bench_counter_open(struct bench_counter *c)
{
    struct perf_event_attr attr = {
        .type = PERF_TYPE_HARDWARE,
        .size = sizeof attr,
        .config = PERF_COUNT_HW_INSTRUCTIONS,
        .exclude_kernel = 1,
        .exclude_hv = 1,
    };
    c->fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0UL);
}

void bench_counter_close(struct bench_counter *c)
{
    if (c->fd >= 0) {
        (void)close(c->fd);
    }
}

static double instructions_now(const struct bench_counter *c)
{
    uint64_t count = 0;
    return c->fd >= 0 && read(c->fd, &count, sizeof count) == (ssize_t)sizeof count ? (double)count : -1;
}

uint64_t bench_cpu_ns(void)
{
    struct timespec t;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0) {
        bench_die("no clock of this thread's CPU time");
    }
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

uint64_t bench_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static int compare_doubles(const void *a, const void *b)
{
    const double *x = a;
    const double *y = b;
    return (*x > *y) - (*x < *y);
}

void bench_measure(const struct bench_counter *c, size_t runs, size_t operations, void (*fn)(void *ctx),
                   void *ctx, struct bench_reading *out)
{
    double ns[BENCH_RUNS_MAX];
    double instructions[BENCH_RUNS_MAX];
    if (runs == 0 || runs > BENCH_RUNS_MAX) {
        bench_die("too many runs");
    }
    fn(ctx); /* pages in what it uses */
    for (size_t i = 0; i < runs; i++) {
        double before = instructions_now(c);
        uint64_t start = bench_cpu_ns();
        fn(ctx);
        ns[i] = (double)(bench_cpu_ns() - start) / (double)operations;
        instructions[i] = before < 0 ? -1 : (instructions_now(c) - before) / (double)operations;
    }
    qsort(ns, runs, sizeof *ns, compare_doubles);
    qsort(instructions, runs, sizeof *instructions, compare_doubles);
    *out = (struct bench_reading){ns[runs / 2], ns[0], ns[runs - 1], instructions[runs / 2]};
}

size_t bench_heap_bytes(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

size_t bench_peak_bytes(void)
{
    size_t kib = 0;
    char line[256];
    FILE *f = fopen("/proc/self/status", "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0) {
            kib = strtoul(line + 6, NULL, 10);
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
    return kib << 10;
}

void bench_peak_reset(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t ignored = write(fd, "5", 1);
        (void)ignored;
        (void)close(fd);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the map of synthetic addresses costs when it is full: giving a name an address for the first time,
 * giving it again, and finding the name of an address, in random order. See docs/performance.md.
 */
#include "tests/bench/bench.h"

#include "common/run/synth_map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOW_S 100000

enum { NAMES = SYNTH_MAP_CAPACITY, NAMES_SMOKE = 512 };

/* What to look up and what to find, in one cache line and in the order of asking, so that nearly all that is
 * far away in memory is the map's. */
struct question {
    struct ip addr;
    uint8_t len;
    char text[46];
};
_Static_assert(sizeof(struct question) <= 64, "a cache line");

struct bench {
    struct synth_map *writer, *reader;
    struct question *questions;
    size_t count;
    uint32_t *order;
    struct host_name *names;
    struct ip *addrs;
    int64_t now_s;
};

static void give_all(void *ctx)
{
    struct bench *b = ctx;
    struct ip v6;
    for (size_t i = 0; i < b->count; i++) {
        const uint32_t at = b->order[i];
        const struct synth_request r = {.name = &b->names[at], .ttl_s = 30, .now_boot_s = b->now_s};
        if (synth_map_assign(b->writer, &r, &b->addrs[at], &v6) != 0) {
            bench_die("a name got no address");
        }
    }
}

static void find_all(void *ctx)
{
    struct bench *b = ctx;
    struct host_name found;
    for (size_t i = 0; i < b->count; i++) {
        const struct question *q = &b->questions[i];
        if (synth_map_lookup(b->reader, &q->addr, b->now_s, &found) != SYNTH_FOUND || found.len != q->len ||
            memcmp(found.text, q->text, q->len) != 0) {
            bench_die("an address has another name");
        }
    }
}

/* In another order than they were given in: the map's memory is not walked from one end to the other. */
static void ask_in_another_order(struct bench *b, uint64_t *random)
{
    for (size_t i = b->count; i > 1; i--) {
        const size_t k = (size_t)bench_random(random) % i;
        const struct question kept = b->questions[i - 1];
        b->questions[i - 1] = b->questions[k];
        b->questions[k] = kept;
    }
}

static void write_questions(struct bench *b)
{
    for (size_t i = 0; i < b->count; i++) {
        const struct host_name *n = &b->names[i];
        if (n->len > sizeof b->questions[i].text) {
            bench_die("a name that is too long");
        }
        b->questions[i].addr = b->addrs[i];
        b->questions[i].len = n->len;
        memcpy(b->questions[i].text, n->text, n->len);
    }
}

static void row(struct bench *b, const struct bench_counter *c, const char *what, size_t runs,
                void (*fn)(void *))
{
    struct bench_reading r;
    bench_measure(c, runs, b->count, fn, b, &r);
    (void)printf("%-44s %8.0f  %8.0f..%.0f\n", what, r.ns, r.ns_low, r.ns_high);
}

/* What can be done once only: bench_measure() would have done it before it measures. */
static void row_once(struct bench *b, const char *what, void (*fn)(void *))
{
    const uint64_t start = bench_cpu_ns();
    fn(b);
    (void)printf("%-44s %8.0f\n", what, (double)(bench_cpu_ns() - start) / (double)b->count);
}

static void fill(struct bench *b)
{
    uint64_t random = 0x5eed5eed5eed5eedU;
    b->order = calloc(b->count, sizeof *b->order);
    b->names = calloc(b->count, sizeof *b->names);
    b->addrs = calloc(b->count, sizeof *b->addrs);
    b->questions = aligned_alloc(64, b->count * sizeof *b->questions);
    if (b->questions == NULL || b->order == NULL || b->names == NULL || b->addrs == NULL) {
        bench_die("out of memory");
    }
    for (size_t i = 0; i < b->count; i++) {
        char text[64];
        int len = snprintf(text, sizeof text, "service%zu.team%zu.example.com", i, i / 100);
        if (host_name_parse(span_make(text, (size_t)len), &b->names[i]) != HOST_FAULT_NONE) {
            bench_die("a bad name");
        }
        b->order[i] = (uint32_t)i;
    }
    for (size_t i = b->count; i > 1; i--) {
        const size_t k = (size_t)bench_random(&random) % i;
        const uint32_t kept = b->order[i - 1];
        b->order[i - 1] = b->order[k];
        b->order[k] = kept;
    }
}

static void open_map(struct bench *b, const char *path)
{
    static const char *const pools[] = {"198.18.0.0/15", "fd00:5e11::/64"};
    const struct str_list list = {.items = (const char **)(uintptr_t)pools, .count = 2};
    struct synth_map_config cfg = {.path = path, .grace_s = 3600};
    struct err err = {""};
    if (guard_parse_pools(&list, &cfg.pools, &err) != 0 ||
        synth_map_open_writer(&cfg, b->now_s, &b->writer, &err) != 0 ||
        synth_map_open_reader(path, &b->reader, &err) != 0) {
        bench_die(err.text);
    }
}

int main(int argc, char **argv)
{
    const bool is_smoke = argc == 2 && strcmp(argv[1], "--smoke") == 0;
    struct bench b = {.count = is_smoke ? NAMES_SMOKE : NAMES, .now_s = NOW_S};
    struct bench_counter c;
    char dir[] = "/tmp/bench_map.XXXXXX";
    char path[64];
    char use[64];
    if ((argc > 1 && !is_smoke) || mkdtemp(dir) == NULL) {
        bench_die("usage: bench_map [--smoke]; needs /tmp");
    }
    (void)snprintf(path, sizeof path, "%s/map", dir);
    (void)snprintf(use, sizeof use, "%s/map.use", dir);
    const size_t runs = is_smoke ? 1 : 7;
    fill(&b);
    bench_counter_open(&c);
    open_map(&b, path);
    const size_t heap = bench_heap_bytes();
    (void)printf("%-44s %8s  %s\n", "the map, a name", "ns", "lowest..highest");
    row_once(&b, "given for the first time", give_all);
    (void)printf("%-44s %8.0f bytes\n", "memory of its writer",
                 (double)(bench_heap_bytes() - heap) / (double)b.count);
    row(&b, &c, "given again in the same second", runs, give_all);
    b.now_s++;
    row_once(&b, "given again in another second", give_all);
    write_questions(&b);
    uint64_t random = 0x0ddba11u;
    ask_in_another_order(&b, &random);
    row_once(&b, "looked up for the first time", find_all);
    ask_in_another_order(&b, &random);
    row(&b, &c, "looked up again", runs, find_all);
    b.count = b.count < 1024 ? b.count : 1024;
    row(&b, &c, "looked up again, of 1,024 names", runs, find_all);
    bench_counter_close(&c);
    synth_map_close(b.reader);
    synth_map_close(b.writer);
    (void)unlink(path);
    (void)unlink(use);
    (void)rmdir(dir);
    free(b.order);
    free(b.names);
    free(b.addrs);
    free(b.questions);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What loading a policy and what one decision costs: policies of 10 to 100,000 endpoints of a plausible
 * mixture, and some in which everything meets in one place. Names come in random order from all over the
 * policy, parsed beforehand. See docs/performance.md.
 */
#include "tests/bench/bench.h"

#include "common/base/buf.h"
#include "common/policy/judge_dest.h"
#include "common/policy/policy_load.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX_BYTES ((size_t)16 << 20)
#define PER_RULE 10

enum { NAMES = 16384, NAMES_SMOKE = 512 };

struct item {
    uint32_t offset; /* of the name, with a NUL behind it, in texts */
    enum host_kind kind;
    struct ip ip;
    uint16_t port;
    uint8_t len, label_count;
};

struct bench {
    struct bench_counter counter;
    size_t runs;
    size_t name_count;
    struct item *items;
    struct buf texts;
    uint64_t random;
    const struct policy *policy;
    size_t allowed; /* of the newest run */
};

static void put(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct buf *b, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (len < 0 || (size_t)len >= sizeof text ||
        buf_append(b, span_make(text, (size_t)len), TEXT_MAX_BYTES) != 0) {
        bench_die("the policy is too long");
    }
}

/* What endpoint i names. Seven of ten are exact, the others of all the shapes there are. */
static void put_host(struct buf *b, size_t i)
{
    switch (i % 10) {
    case 7:
        put(b, "*.tenant%zu.example.net", i);
        break;
    case 8:
        put(b, "api%zu-*.example.org", i);
        break;
    case 9:
        put(b, "%s%zu.%s", i % 20 == 9 ? "**.zone" : "*.bucket", i,
            i % 20 == 9 ? "example.io" : "*.store.example.io");
        break;
    default:
        put(b, "service%zu.team%zu.example.com", i, i / 100);
        break;
    }
}

/* A name that endpoint i admits. */
static void put_name(struct buf *b, size_t i)
{
    switch (i % 10) {
    case 7:
        put(b, "www.tenant%zu.example.net", i);
        break;
    case 8:
        put(b, "api%zu-east.example.org", i);
        break;
    case 9:
        put(b, i % 20 == 9 ? "a.b.zone%zu.example.io" : "www.bucket%zu.region-1.store.example.io", i);
        break;
    default:
        put_host(b, i);
        break;
    }
}

static void put_mixture(struct buf *b, size_t endpoints)
{
    put(b, "version: 1\nnetwork_policies:\n");
    for (size_t i = 0; i < endpoints; i++) {
        if (i % PER_RULE == 0) {
            put(b, "  rule%zu:\n    binaries: [{ path: \"/**\" }]\n    endpoints:\n", i / PER_RULE);
        }
        put(b, "      - { host: \"");
        put_host(b, i);
        put(b, "\", port: 443 }\n");
    }
}

static void put_one_rule(struct buf *b)
{
    put(b, "version: 1\nnetwork_policies:\n  rule:\n    binaries: [{ path: \"/**\" }]\n    endpoints:\n");
}

static void put_same_host(struct buf *b, size_t endpoints)
{
    put_one_rule(b);
    for (size_t i = 0; i < endpoints; i++) {
        put(b, "      - { host: one.example.com, port: %zu }\n", i % 50000 + 1);
    }
}

static void put_partials(struct buf *b, size_t endpoints)
{
    put_one_rule(b);
    for (size_t i = 0; i < endpoints; i++) {
        put(b, "      - { host: \"n%zu-*.example.com\", port: 443 }\n", i);
    }
}

static void put_prefixes(struct buf *b, size_t endpoints)
{
    put_one_rule(b);
    for (size_t i = 0; i < endpoints; i++) {
        put(b, "      - { port: 443, allowed_ips: [\"10.%zu.%zu.0/24\"] }\n", i / 256 % 256, i % 256);
    }
}

struct loaded {
    struct policy *policy;
    size_t text_bytes, rule_bytes, peak_bytes;
    double load_ms, compile_ms;
};

static void load(struct buf *yaml, struct loaded *out)
{
    const struct policy_text text = {.file = "bench.yaml", .text = buf_span(yaml)};
    struct policy_rules *rules = NULL;
    struct policy_diags diags = {0};
    size_t before = bench_heap_bytes();
    bench_peak_reset();
    uint64_t start = bench_cpu_ns();
    if (policy_load(&text, 1, &rules, &diags) != 0) {
        bench_die("the policy does not load");
    }
    uint64_t loaded = bench_cpu_ns();
    policy_diags_fini(&diags);
    out->rule_bytes = bench_heap_bytes() - before;
    uint64_t compiling = bench_cpu_ns();
    if (policy_compile(rules, 1, &out->policy) != 0) {
        bench_die("the policy does not compile");
    }
    out->compile_ms = (double)(bench_cpu_ns() - compiling) / 1e6;
    out->load_ms = (double)(loaded - start) / 1e6 + out->compile_ms;
    out->peak_bytes = bench_peak_bytes();
    out->text_bytes = yaml->len;
    buf_fini(yaml);
}

static void parse_host(struct bench *b, size_t at, struct buf *text, uint16_t port)
{
    struct host h;
    if (host_parse(buf_span(text), &h) != HOST_FAULT_NONE) {
        bench_die("a name that does not parse");
    }
    if (at == 0) {
        b->texts.len = 0;
    }
    b->items[at] = (struct item){.offset = (uint32_t)b->texts.len,
                                 .kind = h.kind,
                                 .ip = h.ip,
                                 .port = port,
                                 .len = h.name.len,
                                 .label_count = h.name.label_count};
    if (buf_append(&b->texts, span_make(h.name.text, h.name.len + 1U), SIZE_MAX) != 0) {
        bench_die("out of memory");
    }
    buf_fini(text);
}

/*
 * What is asked for has just been parsed in real life: it is in the caches, unlike what it is compared with.
 * So the names are kept close together and put into the same struct, one after another.
 */
static void next_host(const struct bench *b, size_t i, struct host *h)
{
    const struct item *item = &b->items[i];
    h->kind = item->kind;
    h->ip = item->ip;
    h->name.len = item->len;
    h->name.label_count = item->label_count;
    memcpy(h->name.text, b->texts.data + item->offset, item->len + 1U);
}

static void run_nothing(void *ctx)
{
    struct bench *b = ctx;
    struct host h = {0};
    b->allowed = 0;
    for (size_t i = 0; i < b->name_count; i++) {
        next_host(b, i, &h);
        b->allowed += h.kind != HOST_NONE;
    }
}

static void run_names(void *ctx)
{
    struct bench *b = ctx;
    struct name_verdict v;
    struct host h = {0};
    b->allowed = 0;
    for (size_t i = 0; i < b->name_count; i++) {
        next_host(b, i, &h);
        judge_name(b->policy, &h.name, &v);
        b->allowed += v.kind == NAME_ADMITTED;
    }
}

static void run_tunnels(void *ctx)
{
    struct bench *b = ctx;
    const struct judge_config cfg = {.option_timers = tunnel_builtin_timers};
    struct tunnel_verdict v;
    struct host h = {0};
    b->allowed = 0;
    for (size_t i = 0; i < b->name_count; i++) {
        next_host(b, i, &h);
        judge_tunnel(b->policy, &cfg, &h, b->items[i].port, &v);
        b->allowed += v.verdict == VERDICT_ALLOW;
    }
}

static void run_answers(void *ctx)
{
    struct bench *b = ctx;
    const struct dest_guard guard = {0};
    const struct ip ip = ip_v4(8, 8, 8, 8);
    struct dest_verdict v;
    struct host h = {0};
    b->allowed = 0;
    for (size_t i = 0; i < b->name_count; i++) {
        next_host(b, i, &h);
        judge_answer(b->policy, &guard, &h.name, &ip, false, &v);
        b->allowed += v.verdict == VERDICT_ALLOW;
    }
}

struct row {
    const char *what;
    void (*run)(void *ctx);
    bool is_allowed;
};

static void measure(struct bench *b, size_t endpoints, const struct row *row)
{
    struct bench_reading r;
    bench_measure(&b->counter, b->runs, b->name_count, row->run, b, &r);
    if (b->allowed != (row->is_allowed ? b->name_count : 0)) {
        bench_die(row->what);
    }
    (void)printf("%9zu  %-34s %7.0f  %6.0f..%-7.0f", endpoints, row->what, r.ns, r.ns_low, r.ns_high);
    if (r.instructions >= 0) {
        (void)printf(" %7.0f", r.instructions);
    }
    (void)printf("\n");
}

enum names { NAMES_ALLOWED, NAMES_SIBLING, NAMES_STRANGER, NAMES_DEEP, NAMES_SEARCH, NAMES_COUNT };

/* Fills the table with names in random order. */
static void choose_names(struct bench *b, size_t endpoints, enum names kind)
{
    for (size_t i = 0; i < b->name_count; i++) {
        struct buf text = {0};
        size_t which = (size_t)bench_random(&b->random) % endpoints;
        switch (kind) {
        case NAMES_SIBLING: /* under a parent that rules name */
            put(&text, "other%zu.team%zu.example.com", which, which / 100);
            break;
        case NAMES_STRANGER:
            put(&text, "www.host%zu.test", which);
            break;
        case NAMES_DEEP: /* 40 labels under "**", or under nothing */
            for (size_t k = 0; k < 40; k++) {
                put(&text, "l%zu.", k);
            }
            put(&text, "zone%zu.example.io", which / 20 * 20 + 9);
            break;
        case NAMES_SEARCH: /* as ndots:5 makes them */
            put_name(&text, which);
            put(&text, ".default.svc.cluster.local");
            break;
        case NAMES_ALLOWED:
        case NAMES_COUNT:
            put_name(&text, which);
            break;
        }
        parse_host(b, i, &text, 443);
    }
}

static void bench_mixture(struct bench *b, size_t endpoints, const struct loaded *l)
{
    static const struct {
        enum names names;
        struct row row;
    } rows[] = {
        {NAMES_ALLOWED, {"(the loop without a decision)", run_nothing, true}},
        {NAMES_ALLOWED, {"judge_name, admitted", run_names, true}},
        {NAMES_ALLOWED, {"judge_tunnel, admitted", run_tunnels, true}},
        {NAMES_ALLOWED, {"judge_answer, public address", run_answers, true}},
        {NAMES_DEEP, {"judge_name, 42 labels under **", run_names, true}},
        {NAMES_DEEP, {"judge_tunnel, 42 labels under **", run_tunnels, true}},
        {NAMES_SIBLING, {"judge_name, denied beside others", run_names, false}},
        {NAMES_SIBLING, {"judge_tunnel, denied beside others", run_tunnels, false}},
        {NAMES_STRANGER, {"judge_name, denied at once", run_names, false}},
        {NAMES_SEARCH, {"judge_name, search suffix", run_names, false}},
    };
    b->policy = l->policy;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        choose_names(b, endpoints, rows[i].names);
        measure(b, endpoints, &rows[i].row);
    }
}

static void print_load(size_t endpoints, const char *what, const struct loaded *l)
{
    (void)printf("%9zu  %-24s %8.1f %8.1f %8.0f %8.0f %8.0f %8.0f\n", endpoints, what, l->load_ms,
                 l->compile_ms, (double)l->text_bytes / (double)endpoints,
                 (double)policy_index_bytes(l->policy) / (double)endpoints,
                 (double)l->rule_bytes / (double)endpoints, (double)l->peak_bytes / 1048576);
}

/* Everything in one place: the rules that share a host, a parent or a prefix length. */
static void bench_crowd(struct bench *b, size_t endpoints)
{
    static const struct {
        const char *what;
        void (*fill)(struct buf *b, size_t endpoints);
        struct row rows[2];
    } crowds[] = {
        {"one host, many ports",
         put_same_host,
         {{"judge_tunnel, one host", run_tunnels, true}, {"judge_answer, one host", run_answers, true}}},
        {"partials of one parent",
         put_partials,
         {{"judge_name, partials", run_names, true}, {"judge_tunnel, partials", run_tunnels, true}}},
        {"hostless prefixes", put_prefixes, {{"judge_tunnel, hostless", run_tunnels, true}}},
    };
    for (size_t k = 0; k < sizeof crowds / sizeof crowds[0]; k++) {
        struct buf yaml = {0};
        struct loaded l;
        crowds[k].fill(&yaml, endpoints);
        load(&yaml, &l);
        b->policy = l.policy;
        for (size_t i = 0; i < b->name_count; i++) {
            struct buf text = {0};
            size_t which = (size_t)bench_random(&b->random) % endpoints;
            if (k == 0) {
                put(&text, "one.example.com");
            } else if (k == 1) {
                put(&text, "n%zu-east.example.com", which);
            } else {
                put(&text, "10.%zu.%zu.7", which / 256 % 256, which % 256);
            }
            parse_host(b, i, &text, (uint16_t)(k == 0 ? which % 50000 + 1 : 443));
        }
        for (size_t i = 0; i < 2 && crowds[k].rows[i].what != NULL; i++) {
            measure(b, endpoints, &crowds[k].rows[i]);
        }
        policy_unref(l.policy);
    }
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {10, 1000, 100000};
    bool is_smoke = argc == 2 && strcmp(argv[1], "--smoke") == 0;
    size_t size_count = is_smoke ? 2 : sizeof sizes / sizeof sizes[0];
    struct loaded loaded[sizeof sizes / sizeof sizes[0]];
    struct bench b = {.runs = is_smoke ? 1 : 15,
                      .name_count = is_smoke ? NAMES_SMOKE : NAMES,
                      .random = 0x5eed5eed5eed5eedU};
    if (argc > 1 && !is_smoke) {
        bench_die("usage: bench_policy [--smoke]");
    }
    (void)printf(
        "endpoints  mixture                   load ms  compile  text B  matcher B  rules B  peak MiB\n");
    for (size_t i = 0; i < size_count; i++) {
        struct buf yaml = {0};
        put_mixture(&yaml, sizes[i]);
        load(&yaml, &loaded[i]);
        print_load(sizes[i], "all shapes", &loaded[i]);
    }
    b.items = calloc(b.name_count, sizeof *b.items);
    if (b.items == NULL) {
        bench_die("out of memory");
    }
    bench_counter_open(&b.counter);
    (void)printf("\nendpoints  decision                              ns   lowest..highest%s\n",
                 b.counter.fd >= 0 ? "  instr." : "");
    for (size_t i = 0; i < size_count; i++) {
        bench_mixture(&b, sizes[i], &loaded[i]);
        policy_unref(loaded[i].policy);
    }
    bench_crowd(&b, is_smoke ? 100 : 10000);
    bench_counter_close(&b.counter);
    free(b.items);
    buf_fini(&b.texts);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts made to cost time or memory. What is refused where it begins is refused at once, however long it goes
 * on. Others once took minutes: each is far larger than a policy, and done within a second or two as long as
 * the work grows with the size of the text; the alarm ends a run in which it grows faster.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/buf.h"
#include "common/policy/policy_load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define ALARM_S 60
#define TEXT_MAX_BYTES ((size_t)16 << 20)

/* An optimised build is measured as it is used, any other with a margin. SAN_CFLAGS is empty but for those.
 */
#ifdef __OPTIMIZE__
#define SLOWER (sizeof SAN_CFLAGS > 1 ? 10 : 1)
#else
#define SLOWER 10
#endif

static void put(struct buf *b, const char *text)
{
    assert_int_equal(buf_append(b, span_str(text), TEXT_MAX_BYTES), 0);
}

/* The text count times, each with another number in the place of '@'. */
static void put_many(struct buf *b, size_t count, const char *text)
{
    struct span s = span_str(text);
    size_t at = span_find(s, '@');
    for (size_t i = 0; i < count; i++) {
        char number[24];
        (void)snprintf(number, sizeof number, "%zu", 100000 + i);
        assert_int_equal(buf_append(b, span_sub(s, 0, at), TEXT_MAX_BYTES), 0);
        if (at < s.len) {
            put(b, number);
            assert_int_equal(buf_append(b, span_sub(s, at + 1, s.len), TEXT_MAX_BYTES), 0);
        }
    }
}

static void load(struct buf *b, struct policy_diags *diags)
{
    const struct policy_text text = {.file = "big.yaml", .text = buf_span(b)};
    struct policy_rules *rules = NULL;
    (void)alarm(ALARM_S);
    int rc = policy_load(&text, 1, &rules, diags);
    (void)alarm(0);
    assert_int_equal(rc, diags->error_count > 0 ? -EINVAL : 0);
    policy_rules_free(rules);
    buf_fini(b);
}

/* libyaml compares each with all before it. */
static void test_tag_directives(void **state)
{
    (void)state;
    static const char *const heads[] = {"", "version: 1\n...\n"};
    for (size_t i = 0; i < 2; i++) {
        struct buf b = {0};
        struct policy_diags diags = {0};
        put(&b, heads[i]);
        put_many(&b, 200000, "%TAG !a@! x\n");
        put(&b, "---\nversion: 1\n");
        load(&b, &diags);
        assert_int_equal(diags.error_count, 1);
        assert_int_equal(diags.items[0].line, i == 0 ? 1 : 3);
        assert_non_null(strstr(diags.items[0].message, "%TAG"));
        policy_diags_fini(&diags);
    }
}

/* Each diagnostic shows its line, which is the whole file here. */
static void test_one_long_line(void **state)
{
    (void)state;
    struct buf b = {0};
    struct policy_diags diags = {0};
    put(&b, "{version: 1, network_policies: {r: {binaries: [{path: \"/**\"}], endpoints: [");
    put_many(&b, 2000, "{host: a.b, port: 0},");
    put_many(&b, 1, "{host: a.b, port: 0}");
    for (size_t i = 0; i < 15; i++) {
        char blanks[1 << 10];
        memset(blanks, ' ', sizeof blanks);
        for (size_t k = 0; k < 1024; k++) {
            assert_int_equal(buf_append(&b, span_make(blanks, sizeof blanks), TEXT_MAX_BYTES), 0);
        }
    }
    put(&b, "]}}}\n");
    load(&b, &diags);
    assert_int_equal(diags.error_count, 2001);
    assert_int_equal(diags.count, 1000);
    assert_non_null(strstr(diags.items[0].source_line, "{host: a.b, port: 0}"));
    policy_diags_fini(&diags);
}

/* Only the first thousand are kept: the rest needs no hint. */
static void test_unknown_keys(void **state)
{
    (void)state;
    struct buf b = {0};
    struct policy_diags diags = {0};
    put(&b, "version: 1\nnetwork_policies:\n  r:\n    binaries: [{ path: \"/**\" }]\n    endpoints:\n");
    put(&b, "    - host: a.b\n      port: 1\n");
    put_many(&b, 100000, "      abcdefghijklmnopqrstuvwxyz@: 1\n");
    load(&b, &diags);
    assert_int_equal(diags.error_count, 100000);
    assert_true(diags.overflowed);
    assert_non_null(diags.items[999].hint);
    policy_diags_fini(&diags);
}

/* Each entry takes its ports out of the same list, in no order: every port must come out once, and shaped. */
static void test_overlay_of_each_port(void **state)
{
    (void)state;
    struct buf b = {0};
    struct policy_diags diags = {0};
    struct policy_rules *rules = NULL;
    bool seen[1001] = {false};
    char line[64];
    put(&b,
        "version: 1\nnetwork_policies: {r: {binaries: [{path: \"/**\"}], endpoints: [{host: a.b, ports: [");
    for (unsigned port = 1; port <= 1000; port++) {
        (void)snprintf(line, sizeof line, "%u%s", port, port < 1000 ? "," : "]}]}}\n");
        put(&b, line);
    }
    put(&b, "egress:\n  endpoints:\n");
    for (unsigned i = 1; i < 1000; i++) {
        (void)snprintf(line, sizeof line, "  - { host: a.b, port: %u, proxy: direct }\n", i * 7 % 1000 + 1);
        put(&b, line);
    }
    const struct policy_text text = {.file = "big.yaml", .text = buf_span(&b)};
    assert_int_equal(policy_load(&text, 1, &rules, &diags), 0);
    const struct policy_rule *r = &rules->rules[0];
    assert_int_equal(r->endpoint_count, 1000);
    for (size_t i = 0; i < r->endpoint_count; i++) {
        assert_int_equal(r->endpoints[i].port_count, 1);
        uint16_t port = r->endpoints[i].ports[0];
        assert_true(port >= 1 && port <= 1000 && !seen[port]);
        assert_int_equal(r->endpoints[i].proxy, port == 1 ? PROXY_UNSET : PROXY_DIRECT);
        seen[port] = true;
    }
    policy_rules_free(rules);
    policy_diags_fini(&diags);
    buf_fini(&b);
}

/* As many entries as endpoints, all of one host: once the product of both, now little more than their sum. */
static void test_overlay_of_one_host(void **state)
{
    (void)state;
    struct buf b = {0};
    struct policy_diags diags = {0};
    struct policy_rules *rules = NULL;
    char line[80];
    const unsigned count = 20000;
    put(&b, "version: 1\nnetwork_policies:\n  r:\n    binaries: [{ path: \"/**\" }]\n    endpoints:\n");
    for (unsigned port = 1; port <= count; port++) {
        (void)snprintf(line, sizeof line, "      - { host: a.b, ports: [%u, %u] }\n", port, port + count);
        put(&b, line);
    }
    put(&b, "egress:\n  endpoints:\n");
    for (unsigned i = 1; i < count; i++) {
        (void)snprintf(line, sizeof line, "    - { host: a.b, port: %u, timeouts: { idle: %us } }\n",
                       i * 7 % count + 1, i * 7 % count + 1);
        put(&b, line);
    }
    const struct policy_text text = {.file = "big.yaml", .text = buf_span(&b)};
    (void)alarm(ALARM_S);
    assert_int_equal(policy_load(&text, 1, &rules, &diags), 0);
    (void)alarm(0);
    /* i * 7 % count is each of 1..count-1 once: all ports up to count are shaped, but for port 1 */
    assert_int_equal(rules->endpoint_count, 2 * count - 1);
    for (size_t i = 0; i < rules->endpoint_count; i++) {
        const struct policy_endpoint *e = &rules->endpoints[i];
        bool is_shaped = e->ports[0] > 1 && e->ports[0] <= count;
        assert_int_equal(e->port_count, e->ports[0] == 1 ? 2 : 1);
        assert_int_equal(e->timers.idle_ms, is_shaped ? e->ports[0] * 1000 : TIMER_UNSET);
        assert_int_equal(e->shape != NULL, is_shaped);
    }
    policy_rules_free(rules);
    policy_diags_fini(&diags);
    buf_fini(&b);
}

/* Each entry is refused once, not once for each endpoint that was shaped before. */
static void test_overlay_conflicts(void **state)
{
    (void)state;
    struct buf b = {0};
    struct policy_diags diags = {0};
    put(&b, "version: 1\nnetwork_policies:\n  r:\n    binaries: [{ path: \"/**\" }]\n    endpoints:\n");
    put_many(&b, 20000, "      - { host: a.b, port: 1 }\n");
    put(&b, "egress:\n  endpoints:\n");
    put_many(&b, 20000, "    - { host: a.b, proxy: direct }\n");
    load(&b, &diags);
    assert_int_equal(diags.error_count, 19999);
    assert_non_null(strstr(diags.items[0].message, "shaped before"));
    policy_diags_fini(&diags);
}

static void put_endpoints(struct buf *b)
{
    put(b, "version: 1\nnetwork_policies:\n  r:\n    binaries: [{ path: \"/**\" }]\n    endpoints:\n");
}

/* "*" behind the first label at one more set of places with each count: "a.*.b.c", "a.*.l.b.c", … */
static void put_placements(struct buf *b, size_t count)
{
    put_endpoints(b);
    for (size_t i = 0; i < count; i++) {
        put(b, "      - { host: \"a.*.");
        for (size_t k = 0; k < i; k++) {
            put(b, "l.");
        }
        put(b, "b.c\", port: 1 }\n      - { host: \"other.*.b.c\", port: 1 }\n");
    }
}

static void put_globs(struct buf *b, size_t count)
{
    put_endpoints(b);
    put(b, "      - { host: \"*x*.other.b.c\", port: 1 }\n      - { host: \"*100000*.b.c\", port: 2 }\n");
    put_many(b, count, "      - { host: \"*@*.b.c\", port: 1 }\n");
}

static void put_addresses(struct buf *b, size_t count)
{
    put(b, "version: 1\negress:\n  hosts:\n    a.b:\n");
    put_many(b, count, "      - \"2001:db8::@\"\n"); /* six digits: no address */
    for (size_t i = 0; i < b->len; i++) {
        if (i > 4 && memcmp(b->data + i - 4, "::10", 4) == 0) {
            b->data[i - 1] = ':'; /* "::1:0000", … */
        }
    }
}

/* Each bound: as many load, one more is one error that says how many. */
static void test_bounds(void **state)
{
    (void)state;
    static const struct {
        void (*fill)(struct buf *b, size_t count);
        size_t most;
        const char *number;
    } rows[] = {
        {put_placements, POLICY_PLACEMENTS_MAX, "32"},
        {put_globs, POLICY_GLOBS_MAX, "64"},
        {put_addresses, POLICY_HOST_ADDRS_MAX, "64"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (size_t over = 0; over < 2; over++) {
            struct buf b = {0};
            struct policy_diags diags = {0};
            rows[i].fill(&b, rows[i].most + over);
            load(&b, &diags);
            assert_int_equal(diags.error_count, over);
            if (over == 1) {
                assert_non_null(strstr(diags.items[0].message, rows[i].number));
            }
            policy_diags_fini(&diags);
        }
    }
}

#define LIT(text)                                                                                            \
    {                                                                                                        \
        (text), sizeof(text) - 1                                                                             \
    }
#define MANY 100000
#define FULL 0 /* as often as fits into the largest file */

struct piece {
    const char *bytes;
    size_t len;
};

struct hostile {
    const char *name;
    struct piece head, unit;
    size_t count;
    struct piece tail;
    uint32_t line;      /* of the first error; 0: it loads */
    const char *expect; /* part of its message */
    long max_ms, max_mib;
};

static const struct hostile hostiles[] = {
    {"alias bomb", LIT("a: &a [x]\n"), LIT("b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"), 40, LIT(""), 1,
     "an anchor", 100, 4},
    {"aliases", LIT("version: ["), LIT("*a,"), MANY, LIT("*a]\n"), 1, "an alias", 100, 4},
    {"anchors", LIT("version: 1\n"), LIT("k: &a 1\n"), MANY, LIT(""), 2, "an anchor", 100, 8},
    {"brackets", LIT(""), LIT("["), MANY, LIT(""), 1, "nested deeper", 100, 4},
    {"braces", LIT(""), LIT("{a: "), MANY, LIT(""), 1, "nested deeper", 100, 4},
    {"dashes", LIT(""), LIT("- "), MANY, LIT(""), 1, "nested deeper", 100, 4},
    {"complex keys", LIT(""), LIT("? "), MANY, LIT(""), 1, "a key must be", 100, 4},
    {"brackets, all of a file", LIT(""), LIT("["), FULL, LIT(""), 1, "nested deeper", 500, 4},
    {"too large", LIT("#"), LIT("#"), FULL, LIT(""), 1, "larger than 16 MiB", 100, 4},
    {"NUL", LIT("version: 1\n"), LIT("\0"), 1, LIT("\n"), 2, "a NUL byte", 100, 4},
    {"NUL at the end", LIT(""), LIT("# x\n"), FULL, LIT("\0"), (16U << 18), "a NUL byte", 500, 20},
    {"BOM", LIT("\xef\xbb\xbf"), LIT("version: 1\n"), 1, LIT(""), 0, NULL, 100, 4},
    {"two BOMs", LIT("\xef\xbb\xbf"), LIT("\xef\xbb\xbf"), 1, LIT("version: 1\n"), 1, "U+FEFF", 100, 4},
    {"BOMs", LIT(""), LIT("\xef\xbb\xbf"), MANY, LIT(""), 1, "U+FEFF", 100, 4},
    {"CRLF", LIT("version: 1\r\n"), LIT("\r\n"), MANY, LIT("network_policies: {}\r\n"), 0, NULL, 100, 4},
    {"CRLF and an error", LIT("version: 1\r\n"), LIT("\r\n"), MANY, LIT("x: 1\r\n"), MANY + 2, "unknown key",
     100, 8},
    {"CR alone", LIT("version: 1\r"), LIT("\r"), MANY, LIT("x: 1\r"), MANY + 2, "unknown key", 100, 8},
    {"invalid UTF-8", LIT("# "), LIT("\xff"), MANY, LIT(""), 1, "not valid UTF-8", 100, 4},
    {"overlong UTF-8", LIT("# "), LIT("\xc0\x80"), MANY, LIT(""), 1, "not valid UTF-8", 100, 4},
    {"invalid UTF-8 at the end", LIT("# "), LIT("\xe4\xb8\xad"), MANY, LIT("\xe4"), 1, "not valid UTF-8", 100,
     4},
    {"UTF-16LE", LIT(""),
     LIT("a\0:\0 \0"
         "1\0\n\0"),
     MANY, LIT(""), 1, "UTF-16", 100, 4},
    {"UTF-16BE", LIT(""),
     LIT("\0a\0:\0 \0"
         "1\0\n"),
     MANY, LIT(""), 1, "UTF-16", 100, 4},
    {"UTF-16 with a BOM", LIT("\xff\xfe"),
     LIT("a\0:\0 \0"
         "1\0\n\0"),
     MANY, LIT(""), 1, "UTF-16", 100, 4},
    {"tabs", LIT("version: 1\nnetwork_policies:\n"), LIT("\t"), MANY, LIT("a: {}\n"), 3, "YAML: ", 100, 4},
    {"a tab between", LIT("version:\t1\n"), LIT("#\t\n"), MANY, LIT(""), 0, NULL, 100, 8},
    {"unclosed quote", LIT("version: \""), LIT("a\n"), MANY, LIT(""), MANY + 1, "YAML: ", 100, 8},
    {"same key", LIT("version: 1\nnetwork_policies:\n"), LIT("  a: {}\n"), MANY, LIT(""), 4, "given before",
     100, 32},
    {"directives", LIT(""), LIT("%YAML 1.1\n"), MANY, LIT("---\nversion: 1\n"), 2, "YAML: ", 100, 8},
    {"documents", LIT("version: 1\n"), LIT("---\n"), MANY, LIT(""), 3, "a second document", 100, 4},
    {"too many values", LIT("version: ["), LIT("1,"), 4000001, LIT("1]\n"), 1, "4 million values", 2000, 512},
};

static void make_hostile(const struct hostile *h, struct buf *b)
{
    size_t max = TEXT_MAX_BYTES + 1;
    size_t count = h->count != FULL ? h->count : (TEXT_MAX_BYTES - h->tail.len) / h->unit.len;
    assert_int_equal(buf_append(b, span_make(h->head.bytes, h->head.len), max), 0);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(buf_append(b, span_make(h->unit.bytes, h->unit.len), max), 0);
    }
    assert_int_equal(buf_append(b, span_make(h->tail.bytes, h->tail.len), max), 0);
}

/* In a child: 0 if the text is judged as expected. */
static int judge_hostile(const struct hostile *h, struct span s)
{
    const struct policy_text text = {.file = "hostile.yaml", .text = s};
    struct policy_diags diags = {0};
    struct policy_rules *rules = NULL;
    int rc = policy_load(&text, 1, &rules, &diags);
    if (h->line == 0) {
        return rc == 0 ? 0 : 1;
    }
    if (rc == 0 || diags.count == 0 || diags.items[0].hint == NULL) {
        return 2;
    }
    if (diags.items[0].line != h->line || strstr(diags.items[0].message, h->expect) == NULL) {
        (void)fprintf(stderr, "%u: %s\n", diags.items[0].line, diags.items[0].message);
        return 3;
    }
    return 0;
}

/* What a child that judges the text used; without a text what it would have used for nothing. */
static struct rusage measure(const struct hostile *h, const struct buf *b)
{
    struct rusage used;
    int status = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)alarm(ALARM_S);
        _exit(b == NULL ? 0 : judge_hostile(h, buf_span(b)));
    }
    assert_int_equal(wait4(pid, &status, 0, &used), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fail_msg("%s: status %#x", h->name, (unsigned)status);
    }
    return used;
}

static long cpu_ms(const struct rusage *u)
{
    return (u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1000 +
           (u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1000;
}

/* Processor time, not the clock on the wall: the machine may be busy. */
static void test_hostile(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hostiles / sizeof hostiles[0]; i++) {
        const struct hostile *h = &hostiles[i];
        struct buf b = {0};
        make_hostile(h, &b);
        struct rusage nothing = measure(h, NULL);
        struct rusage used = measure(h, &b);
        long ms = cpu_ms(&used) - cpu_ms(&nothing);
        long mib = (used.ru_maxrss - nothing.ru_maxrss) / 1024;
        if (ms > h->max_ms * SLOWER || mib > h->max_mib * SLOWER) {
            fail_msg("%s: %ld ms, %ld MiB", h->name, ms, mib);
        }
        if (getenv("SHOW_COST") != NULL) {
            print_message("%s: %ld ms, %ld MiB\n", h->name, ms, mib);
        }
        buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_tag_directives),
        cmocka_unit_test(test_one_long_line),
        cmocka_unit_test(test_unknown_keys),
        cmocka_unit_test(test_overlay_of_each_port),
        cmocka_unit_test(test_overlay_of_one_host),
        cmocka_unit_test(test_overlay_conflicts),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests_name("policy_limits", tests, NULL, NULL);
}

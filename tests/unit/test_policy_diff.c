/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/policy_text.h"

#include "common/base/buf.h"

#include <stdio.h>
#include <stdlib.h>

/*
 * The compiled matcher against a loop over all endpoints, over random policies and names from so small an
 * alphabet that they meet often. The seed is fixed: a failure prints it and can be repeated; POLICY_DIFF_SEED
 * and POLICY_DIFF_ROUNDS make a longer run.
 */
#define ROUNDS 400
#define ENDPOINTS_MAX 24
#define NAMES_PER_ROUND 40
#define FOUND_MAX 64

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13; /* xorshift64, Marsaglia 2003 */
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static size_t below(uint64_t *seed, size_t bound)
{
    return (size_t)(next_random(seed) % bound);
}

static const char *const words[] = {"a", "b", "ab", "aab", "c"};
static const char *const globs[] = {"*", "a*", "*b", "*a*", "a*b"};

/* Names end in one of few suffixes, so that patterns and names share parents. */
static void put_suffix(struct wbuf *w, uint64_t *seed)
{
    static const char *const suffixes[] = {"a.b", "c.b", "b.b"};
    wbuf_str(w, suffixes[below(seed, 3)]);
}

static void put_name(struct wbuf *w, uint64_t *seed)
{
    for (size_t labels = below(seed, 4); labels > 0; labels--) {
        wbuf_printf(w, "%s.", words[below(seed, 5)]);
    }
    if (below(seed, 10) == 0) {
        wbuf_str(w, words[below(seed, 5)]); /* sometimes a short one */
    } else {
        put_suffix(w, seed);
    }
}

static void put_pattern(struct wbuf *w, uint64_t *seed)
{
    size_t kind = below(seed, 4);
    if (kind == 0) {
        put_name(w, seed);
        return;
    }
    wbuf_printf(w, "%s.", kind == 1 ? "**" : globs[below(seed, 5)]);
    for (size_t labels = below(seed, 3); labels > 0; labels--) {
        wbuf_printf(w, "%s.", below(seed, 2) == 0 ? "*" : words[below(seed, 5)]);
    }
    put_suffix(w, seed);
}

static struct policy *random_policy(uint64_t *seed)
{
    char text[ENDPOINTS_MAX * 64];
    struct wbuf w = wbuf_make(text, sizeof text);
    for (size_t i = below(seed, ENDPOINTS_MAX) + 1; i > 0; i--) {
        wbuf_str(&w, "{ host: \"");
        put_pattern(&w, seed);
        wbuf_printf(&w, "\", port: %u }%s", (unsigned)below(seed, 3) + 1, i > 1 ? "\n" : "");
    }
    wbuf_u8(&w, 0);
    assert_false(w.overflow);
    return policy_text_endpoints(text);
}

static size_t naive_match(const struct policy *p, const struct host_name *n,
                          const struct policy_endpoint **out)
{
    const struct policy_rules *r = policy_rules_of(p);
    size_t count = 0;
    for (size_t i = 0; i < r->rules[0].endpoint_count; i++) {
        const struct policy_endpoint *ep = &r->rules[0].endpoints[i];
        if (host_pattern_matches(&ep->pattern, n)) {
            size_t at = count++;
            for (; at > 0 && (host_pattern_compare(&ep->pattern, &out[at - 1]->pattern) < 0); at--) {
                out[at] = out[at - 1]; /* stable: equal ones stay in file order */
            }
            out[at] = ep;
        }
    }
    return count;
}

static bool naive_parent(const struct policy *p, const struct host_name *n)
{
    const struct policy_rules *r = policy_rules_of(p);
    for (size_t i = 0; i < r->rules[0].endpoint_count; i++) {
        if (host_pattern_reaches_below(&r->rules[0].endpoints[i].pattern, n)) {
            return true;
        }
    }
    return false;
}

static size_t check_name(const struct policy *p, const char *text, uint64_t seed)
{
    const struct policy_endpoint *found[FOUND_MAX] = {NULL};
    const struct policy_endpoint *expect[FOUND_MAX] = {NULL};
    struct host_name n = policy_text_name(text);
    size_t count = policy_match_name(p, &n, found, FOUND_MAX);
    if (count != naive_match(p, &n, expect) || memcmp(found, expect, sizeof found) != 0) {
        fail_msg("seed %llu: %s matches otherwise", (unsigned long long)seed, text);
    }
    if (policy_is_parent(p, &n) != naive_parent(p, &n)) {
        fail_msg("seed %llu: %s is a parent otherwise", (unsigned long long)seed, text);
    }
    return count;
}

static uint64_t number_from_environment(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    return text == NULL ? fallback : strtoull(text, NULL, 10);
}

static void test_same_as_naive(void **state)
{
    (void)state;
    uint64_t seed = number_from_environment("POLICY_DIFF_SEED", 0x5eed5eed5eed5eedULL) | 1;
    uint64_t rounds = number_from_environment("POLICY_DIFF_ROUNDS", ROUNDS);
    size_t hits = 0;
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t start = seed;
        struct policy *p = random_policy(&seed);
        for (size_t k = 0; k < NAMES_PER_ROUND; k++) {
            char text[64];
            struct wbuf w = wbuf_make(text, sizeof text);
            put_name(&w, &seed);
            wbuf_u8(&w, 0);
            hits += check_name(p, text, start) > 0;
        }
        policy_unref(p);
    }
    /* the comparison means something only if names match often, and often do not */
    size_t pairs = (size_t)rounds * NAMES_PER_ROUND;
    assert_true(hits > pairs / 5 && hits < pairs * 19 / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_naive),
    };
    return cmocka_run_group_tests_name("policy_diff", tests, NULL, NULL);
}

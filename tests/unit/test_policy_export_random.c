/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random policies in random layouts, each written twice: with extensions, and without them. What is exported
 * of the first must be the second, byte for byte.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/policy/policy_export.h"

#include <stdio.h>
#include <stdlib.h>

#define ROUNDS 600
#define MAX_KEYS 8

static const char *const ours[] = {
    "proxy: direct",
    "timeouts: { idle: 0, user: auto }",
    "keepalive: off",
    "dns: { types: [SRV, TXT] }", /* the same names again: */
    "'proxy': \"chain\"",
    "timeouts: {}",
    "\"keepalive\": {idle: 60s,probes: 4}",
    "dns: {types: [],}",
};

struct key {
    char text[80];
    bool is_ours;
};

struct writer {
    uint64_t state; /* of the generator */
    struct buf with, without;
    const char *newline;
    unsigned serial; /* makes hosts and rules differ */
};

static unsigned pick(struct writer *w, unsigned count)
{
    w->state = w->state * 6364136223846793005U + 1442695040888963407U;
    return (unsigned)((w->state >> 33) % count);
}

static void put_ours(struct writer *w, const char *text)
{
    assert_int_equal(buf_append(&w->with, span_str(text), SIZE_MAX), 0);
}

static void put_kept(struct writer *w, const char *text)
{
    assert_int_equal(buf_append(&w->without, span_str(text), SIZE_MAX), 0);
}

static void put(struct writer *w, const char *text)
{
    put_ours(w, text);
    put_kept(w, text);
}

/* To both texts, or only to the one with extensions. */
static void put_if(struct writer *w, bool is_ours, const char *text)
{
    put_ours(w, text);
    if (!is_ours) {
        put_kept(w, text);
    }
}

static void put_line(struct writer *w, bool is_ours, unsigned col, const char *text)
{
    char line[1000];
    (void)snprintf(line, sizeof line, "%*s%s%s", (int)col, "", text, w->newline);
    put_if(w, is_ours, line);
}

/* Host and port, some more, and some of ours, in any order. At least one is kept. */
static unsigned make_keys(struct writer *w, struct key keys[MAX_KEYS])
{
    static const char *const more[] = {"tls: skip", "enforcement: audit", "path: \"/x, y: #}{ z\"",
                                       "allowed_ips: [ 10.0.0.0/8 ]"};
    unsigned count = 0;
    (void)snprintf(keys[count++].text, sizeof keys[0].text, "host: h%u.example.com", w->serial++);
    (void)snprintf(keys[count++].text, sizeof keys[0].text,
                   pick(w, 2) ? "port: 443" : "\"ports\": [80, 443]");
    for (unsigned i = 0; i < 2; i++) {
        keys[i].is_ours = false;
    }
    if (pick(w, 2)) {
        keys[count].is_ours = false;
        (void)snprintf(keys[count++].text, sizeof keys[0].text, "%s", more[pick(w, 4)]);
    }
    unsigned first = pick(w, 4); /* the four names in turn, so that none comes twice */
    for (unsigned i = 0; i < 4 && pick(w, 3) > 0; i++) {
        keys[count].is_ours = true;
        (void)snprintf(keys[count++].text, sizeof keys[0].text, "%s", ours[(first + i) % 4 + 4 * pick(w, 2)]);
    }
    for (unsigned i = count - 1; i > 0; i--) {
        unsigned k = pick(w, i + 1);
        struct key other = keys[i];
        keys[i] = keys[k];
        keys[k] = other;
    }
    return count;
}

static bool has_kept(const struct key *keys, unsigned from, unsigned count)
{
    for (unsigned i = from; i < count; i++) {
        if (!keys[i].is_ours) {
            return true;
        }
    }
    return false;
}

/* "- key: value" with comments. The dash stays alone where a comment stands before the first key that stays.
 */
static void put_block_item(struct writer *w, unsigned col)
{
    struct key keys[MAX_KEYS];
    unsigned count = make_keys(w, keys);
    bool is_first_kept = true;
    char text[900];
    for (unsigned i = 0; i < count; i++) {
        const struct key *k = &keys[i];
        bool has_comment_above = i > 0 && pick(w, 3) == 0;
        const char *behind = pick(w, 3) == 0 ? "   # behind it" : "";
        (void)snprintf(text, sizeof text, "%s%s", k->text, behind);
        if (is_first_kept && !k->is_ours && i > 0 && has_comment_above) {
            (void)snprintf(text, sizeof text, "%*s-%s", (int)col, "", w->newline);
            put_kept(w, text);
            is_first_kept = false;
            (void)snprintf(text, sizeof text, "%s%s", k->text, behind);
        }
        if (has_comment_above) {
            put_line(w, k->is_ours, col + 2, "# right above");
        }
        char line[1000];
        (void)snprintf(line, sizeof line, "%*s%s%s%s", (int)col, "", i == 0 ? "- " : "  ", text, w->newline);
        put_ours(w, line);
        if (!k->is_ours) {
            (void)snprintf(line, sizeof line, "%*s%s%s%s", (int)col, "", is_first_kept ? "- " : "  ", text,
                           w->newline);
            put_kept(w, line);
            is_first_kept = false;
        } else if (pick(w, 4) == 0) {
            put_line(w, true, col + 4, "# deeper than ours");
        }
    }
}

/* "{ key: value, key: value }" on one line. */
static void put_flow_map(struct writer *w)
{
    static const char *const commas[] = {", ", ",", " , "};
    struct key keys[MAX_KEYS];
    unsigned count = make_keys(w, keys);
    unsigned style = pick(w, 3);
    const char *comma = commas[style];
    bool is_spaced = style < 2 ? style == 0 : pick(w, 2);
    bool is_closed_by_comma = style < 2 && pick(w, 4) == 0;
    bool is_first = true;
    put(w, is_spaced ? "{ " : "{");
    for (unsigned i = 0; i < count; i++) {
        put_ours(w, i == 0 ? "" : comma);
        put_ours(w, keys[i].text);
        if (!keys[i].is_ours) {
            put_kept(w, is_first ? "" : comma);
            put_kept(w, keys[i].text);
            is_first = false;
        }
    }
    put(w, is_closed_by_comma ? "," : "");
    put(w, is_spaced ? " }" : "}");
}

/* A key a line. */
static void put_long_flow_map(struct writer *w, unsigned col)
{
    struct key keys[MAX_KEYS];
    unsigned count = make_keys(w, keys);
    bool is_closed_by_comma = pick(w, 2);
    put(w, "{");
    put(w, w->newline);
    for (unsigned i = 0; i < count; i++) {
        bool is_ours = keys[i].is_ours;
        char text[900];
        if (pick(w, 4) == 0) {
            put_line(w, is_ours, col + 2, "# right above, with a } in it");
        }
        (void)snprintf(text, sizeof text, "%*s%s", (int)col + 2, "", keys[i].text);
        put_if(w, is_ours, text);
        put_ours(w, i + 1 < count || is_closed_by_comma ? "," : "");
        if (!is_ours) {
            put_kept(w, has_kept(keys, i + 1, count) || is_closed_by_comma ? "," : "");
        }
        put_if(w, is_ours, pick(w, 3) == 0 ? "  # behind it" : "");
        put_if(w, is_ours, w->newline);
    }
    char end[40];
    (void)snprintf(end, sizeof end, "%*s}", (int)col, "");
    put(w, end);
}

static void put_endpoints(struct writer *w, unsigned col)
{
    unsigned count = 1 + pick(w, 3);
    if (pick(w, 4) == 0) {
        char text[60];
        (void)snprintf(text, sizeof text, "%*sendpoints: [ ", (int)col, "");
        put(w, text);
        for (unsigned i = 0; i < count; i++) {
            put(w, i == 0 ? "" : ", ");
            put_flow_map(w);
        }
        put(w, " ]");
        put(w, w->newline);
        return;
    }
    put_line(w, false, col, "endpoints:");
    for (unsigned i = 0; i < count; i++) {
        char dash[40];
        unsigned shape = pick(w, 3);
        if (pick(w, 4) == 0) {
            put_line(w, false, col + 2, "# about the next item");
        }
        if (shape == 0) {
            put_block_item(w, col + 2);
            continue;
        }
        (void)snprintf(dash, sizeof dash, "%*s- ", (int)col + 2, "");
        put(w, dash);
        if (shape == 1) {
            put_flow_map(w);
        } else {
            put_long_flow_map(w, col + 4);
        }
        put(w, w->newline);
    }
}

static void put_rules(struct writer *w)
{
    unsigned step = 1 + pick(w, 4);
    put_line(w, false, 0, "network_policies:");
    for (unsigned i = 0, count = 1 + pick(w, 3); i < count; i++) {
        char key[40];
        bool is_end = pick(w, 2);
        (void)snprintf(key, sizeof key, "r%u:", w->serial++);
        put_line(w, false, step, "# about the rule");
        put_line(w, false, step, key);
        if (!is_end) {
            put_line(w, false, 2 * step, "binaries: [ { path: /bin/a } ]");
        }
        put_endpoints(w, 2 * step);
        if (is_end) {
            put_line(w, false, 2 * step, "binaries:");
            put_line(w, false, 2 * step, "- path: /bin/a");
        }
    }
}

static void put_egress(struct writer *w)
{
    put_line(w, true, 0, "# about egress");
    put_line(w, true, 0, "egress:");
    put_line(w, true, 2, "defaults: { timeouts: { idle: 0 } }");
    put_line(w, true, 2, "never:");
    put_line(w, true, 2, "- 10.0.0.1");
    put_line(w, true, 4, "# the end of egress");
}

static void put_policy(struct writer *w)
{
    unsigned egress_at = pick(w, 4);
    put_line(w, false, 0, "# the head of the file");
    put_line(w, false, 0, "");
    if (pick(w, 3) == 0) {
        put_line(w, true, 0, "preset:");
        put_line(w, true, 2, "name: x");
        put_line(w, true, 2, "description: \"y # z\"   # goes");
        put_kept(w, "version: 1");
        put_kept(w, w->newline);
    } else {
        put_line(w, false, 0, "version:   1   # spaces stay");
    }
    if (egress_at == 0) {
        put_egress(w);
    }
    put_rules(w);
    if (egress_at == 1) {
        put_egress(w);
    }
    if (pick(w, 2)) {
        put_line(w, false, 0, "# about the process");
        put_line(w, false, 0, "process: { run_as_user: sandbox }");
    }
    if (egress_at == 2) {
        put_egress(w);
    }
}

static void fail_export(const struct writer *w, struct span found, const char *what)
{
    struct span with = buf_span(&w->with);
    struct span without = buf_span(&w->without);
    (void)fprintf(stderr, "%s\n--- input\n%.*s--- output\n%.*s--- expected\n%.*s", what, (int)with.len,
                  (const char *)with.data, (int)found.len, (const char *)found.data, (int)without.len,
                  (const char *)without.data);
    fail_msg("%s", what);
}

static void check_export(struct writer *w, struct span input, struct span expect)
{
    const struct policy_text text = {"a.yaml", input};
    struct policy_diags errors = {0};
    struct policy_diags notes = {0};
    struct buf out = {0};
    if (policy_export(&text, 1, &out, &errors, &notes) != 0) {
        fail_export(w, buf_span(&out), errors.count > 0 ? errors.items[0].message : "out of memory");
    }
    if (!span_is_equal(buf_span(&out), expect)) {
        fail_export(w, buf_span(&out), "not what was expected");
    }
    policy_diags_fini(&errors);
    policy_diags_fini(&notes);
    buf_fini(&out);
}

static void test_layouts(void **state)
{
    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct writer w = {.state = round * 7919U + 1, .newline = round % 4 == 3 ? "\r\n" : "\n"};
        put_policy(&w);
        check_export(&w, buf_span(&w.with), buf_span(&w.without));
        check_export(&w, buf_span(&w.without), buf_span(&w.without));
        buf_fini(&w.with);
        buf_fini(&w.without);
    }
}

static size_t count_of(struct span s, struct span part)
{
    size_t count = 0;
    for (size_t i = 0; i + part.len <= s.len; i++) {
        count += span_is_equal(span_sub(s, i, part.len), part);
    }
    return count;
}

/* Two files, each with rules of its own: the comments of the rules come along, and nothing is written anew.
 */
static void test_merged(void **state)
{
    (void)state;
    const struct span about = SPAN_LIT("# about the rule");
    for (unsigned round = 0; round < ROUNDS / 3; round++) {
        struct writer a = {.state = round * 104729U + 2, .newline = round % 4 == 3 ? "\r\n" : "\n"};
        struct writer b = {.state = round * 1299709U + 3, .newline = round % 5 == 4 ? "\r\n" : "\n"};
        b.serial = 1000;
        put_rules(&a);
        put_rules(&b);
        put_line(&a, false, 0, "version: 1");
        put_line(&b, false, 0, "version: 1");
        const struct policy_text texts[] = {{"a.yaml", buf_span(&a.with)}, {"b.yaml", buf_span(&b.with)}};
        struct policy_diags errors = {0};
        struct policy_diags notes = {0};
        struct buf out = {0};
        if (policy_export(texts, 2, &out, &errors, &notes) != 0) {
            fail_export(&b, buf_span(&out), errors.count > 0 ? errors.items[0].message : "out of memory");
        }
        for (size_t i = 0; i < notes.count; i++) {
            assert_null(strstr(notes.items[i].message, "anew"));
        }
        assert_int_equal(count_of(buf_span(&out), about),
                         count_of(buf_span(&a.with), about) + count_of(buf_span(&b.with), about));
        check_export(&b, buf_span(&out), buf_span(&out));
        policy_diags_fini(&errors);
        policy_diags_fini(&notes);
        buf_fini(&out);
        buf_fini(&a.with);
        buf_fini(&a.without);
        buf_fini(&b.with);
        buf_fini(&b.without);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_merged),
    };
    return cmocka_run_group_tests_name("policy_export_random", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every file of policy-examples loads without a word, and NAME.expect says what it admits: one line per
 * decision, "host port allow|deny reason".
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "common/base/num.h"
#include "common/policy/judge_name.h"
#include "common/policy/policy_files.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

static const char *examples_dir(char *out, size_t cap)
{
    const char *top = getenv("top_srcdir");
    (void)snprintf(out, cap, "%s/policy-examples", top == NULL ? "." : top);
    return out;
}

static struct policy *load_example(const char *path)
{
    struct policy_rules *rules = NULL;
    struct policy_diags diags = {0};
    struct policy *policy = NULL;
    int rc = policy_files_load(&path, 1, &rules, &diags);
    for (size_t i = 0; i < diags.count; i++) {
        char *text = policy_diag_text(&diags.items[i], false);
        print_message("%s", text);
        free(text);
    }
    assert_int_equal(rc, 0);
    assert_int_equal(diags.error_count + diags.warning_count, 0);
    policy_diags_fini(&diags);
    assert_int_equal(policy_compile(rules, 1, &policy), 0);
    return policy;
}

static char *next_word(char **rest)
{
    char *word = *rest + strspn(*rest, " \t\n");
    size_t len = strcspn(word, " \t\n");
    if (len == 0) {
        return NULL;
    }
    *rest = word + len + (word[len] != '\0');
    word[len] = '\0';
    return word;
}

struct tally {
    size_t allowed, denied, literals, failed;
};

/* What a client could write must be judged too, so a host that is none is as denied as an unknown one. */
static void check_line(const struct policy *p, const char *where, char *line, struct tally *t)
{
    char *words[4] = {0};
    char *rest = line;
    for (size_t i = 0; i < 4; i++) {
        words[i] = next_word(&rest);
        assert_non_null(words[i]);
    }
    static const struct judge_config cfg = {
        .option_timers = {TIMER_UNSET, TIMER_UNSET, TIMER_UNSET, TIMER_UNSET, TIMER_UNSET}};
    struct host host;
    uint16_t port = 0;
    struct tunnel_verdict v;
    assert_int_equal(num_port(span_str(words[1]), &port), 0);
    assert_int_equal(host_parse(span_str(words[0]), &host), HOST_FAULT_NONE);
    judge_tunnel(p, &cfg, &host, port, &v);
    const char *verdict = v.verdict == VERDICT_ALLOW ? "allow" : "deny";
    if (strcmp(verdict, words[2]) != 0 || strcmp(reason_text(v.reason), words[3]) != 0) {
        print_error("%s: %s %s is %s %s, expected %s %s\n", where, words[0], words[1], verdict,
                    reason_text(v.reason), words[2], words[3]);
        t->failed++;
    }
    t->allowed += v.verdict == VERDICT_ALLOW;
    t->denied += v.verdict == VERDICT_DENY;
    t->literals += host.kind == HOST_IP;
}

static void check_example(const char *yaml, const char *expect)
{
    struct policy *p = load_example(yaml);
    FILE *f = fopen(expect, "re");
    if (f == NULL) {
        fail_msg("%s is missing", expect);
    }
    struct tally t = {0};
    char line[512];
    char where[1000];
    for (unsigned number = 1; fgets(line, sizeof line, f) != NULL; number++) {
        if (line[0] != '#' && line[0] != '\n') {
            (void)snprintf(where, sizeof where, "%s:%u", expect, number);
            check_line(p, where, line, &t);
        }
    }
    (void)fclose(f);
    policy_unref(p);
    assert_int_equal(t.failed, 0);
    assert_true(t.allowed > 0 && t.denied > 0 && t.literals > 0);
}

static void test_examples(void **state)
{
    (void)state;
    char dir[400];
    DIR *d = opendir(examples_dir(dir, sizeof dir));
    assert_non_null(d);
    size_t count = 0;
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        size_t len = strlen(e->d_name);
        if (len <= 5 || strcmp(e->d_name + len - 5, ".yaml") != 0) {
            continue;
        }
        char yaml[800];
        char expect[800];
        (void)snprintf(yaml, sizeof yaml, "%s/%s", dir, e->d_name);
        (void)snprintf(expect, sizeof expect, "%s/%.*s.expect", dir, (int)(len - 5), e->d_name);
        check_example(yaml, expect);
        count++;
    }
    (void)closedir(d);
    assert_true(count >= 6);
}

/* All of them together are one policy too: rule keys do not collide. */
static void test_together(void **state)
{
    (void)state;
    char dir[400];
    struct policy *p = load_example(examples_dir(dir, sizeof dir));
    assert_int_equal(policy_rules_of(p)->rule_count, 6);
    size_t count = 0;
    const uint16_t *ports = policy_ports(p, &count);
    assert_int_equal(count, 3);
    assert_int_equal(ports[0], 22);
    assert_int_equal(ports[1], 443);
    assert_int_equal(ports[2], 27017);
    policy_unref(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_together),
    };
    return cmocka_run_group_tests_name("policy_examples", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/explain_scene.h"

#include "egress/explain_print.h"

#include <stdlib.h>

static void load(struct explain_scene *s, const char *file, const char *yaml)
{
    struct policy_text text = {.file = file, .text = span_str(yaml)};
    struct policy_rules *rules = NULL;
    if (policy_load(&text, 1, &rules, &s->diags) != 0) {
        fail_msg("%s", s->diags.count > 0 ? s->diags.items[0].message : "the policy does not load");
    }
    assert_int_equal(policy_compile(rules, 1, &s->policy), 0);
}

void explain_scene_start(struct explain_scene *s, const char *yaml, const char *const *options)
{
    explain_scene_start_file(s, "test.yaml", yaml, options);
}

void explain_scene_start_file(struct explain_scene *s, const char *file, const char *yaml,
                              const char *const *options)
{
    char *argv[34] = {NULL};
    int argc = 0;
    argv[argc++] = (char *)(uintptr_t) "explain";
    for (size_t i = 0; options != NULL && options[i] != NULL && argc < 32; i++) {
        argv[argc++] = (char *)(uintptr_t)options[i];
    }
    argv[argc++] = (char *)(uintptr_t) "example.com";
    struct explain_options o;
    struct err err = {""};
    *s = (struct explain_scene){.policy = NULL};
    if (explain_options_parse(argc, argv, &o, &err) != 0) {
        fail_msg("%s", err.text);
    }
    s->args = o.daemons; /* the configuration points into it */
    if (explain_config_init(&s->cfg, &s->args, &err) != 0) {
        fail_msg("%s", err.text);
    }
    load(s, file, yaml);
    if (explain_config_policy(&s->cfg, s->policy, &err) != 0) {
        fail_msg("%s", err.text);
    }
}

void explain_scene_ask(struct explain_scene *s, const char *target)
{
    struct err err = {""};
    explain_facts_fini(&s->facts);
    if (explain_target_parse(target, &s->target, &err) != 0) {
        fail_msg("%s: %s", target, err.text);
    }
    assert_int_equal(explain_facts_gather(&s->cfg, s->policy, &s->diags, &s->target, &s->facts), 0);
}

void explain_scene_stop(struct explain_scene *s)
{
    explain_facts_fini(&s->facts);
    policy_diags_fini(&s->diags);
    policy_unref(s->policy);
    explain_config_fini(&s->cfg);
    daemon_args_fini(&s->args);
}

char *explain_scene_text(const struct explain_scene *s)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    explain_print_text(f, &s->facts, false);
    assert_int_equal(fclose(f), 0);
    return text;
}

char *explain_scene_json(const struct explain_scene *s)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    assert_non_null(f);
    assert_int_equal(explain_print_json(f, &s->facts, false), 0);
    assert_int_equal(fclose(f), 0);
    return text;
}

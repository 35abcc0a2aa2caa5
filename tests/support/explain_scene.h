/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What explain says about a policy given as text, for tests: fails the test where something does not load.
 */
#pragma once

#include "egress/explain_facts.h"

struct explain_scene {
    struct daemon_args args;
    struct explain_config cfg;
    struct policy *policy;
    struct policy_diags diags;
    struct explain_target target;
    struct explain_facts facts;
};

/* options: NULL-terminated, as on the command line; may be NULL. No environment but the test's own. */
void explain_scene_start(struct explain_scene *s, const char *yaml, const char *const *options);
/* The same, from a file of that name instead of test.yaml. */
void explain_scene_start_file(struct explain_scene *s, const char *file, const char *yaml,
                              const char *const *options);
/* Replaces the facts by those about the target. */
void explain_scene_ask(struct explain_scene *s, const char *target);
void explain_scene_stop(struct explain_scene *s);
/* The printed form; owned by the caller. */
char *explain_scene_text(const struct explain_scene *s);
char *explain_scene_json(const struct explain_scene *s);

/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/commands.h"

#include "common/policy/policy_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void commands_print_diags(const struct policy_diags *diags)
{
    bool colour = isatty(STDERR_FILENO) == 1 && getenv("NO_COLOR") == NULL;
    for (size_t i = 0; i < diags->count; i++) {
        char *text = policy_diag_text(&diags->items[i], colour);
        if (text != NULL) {
            size_t len = strlen(text);
            (void)fprintf(stderr, "%s%s", text, len > 0 && text[len - 1] == '\n' ? "" : "\n");
            free(text);
        }
    }
    if (diags->overflowed) {
        (void)fprintf(stderr, "(more than %zu problems: only the first are shown)\n", diags->count);
    }
}

static void check_usage(FILE *out)
{
    (void)fprintf(out, "usage: openshell-egress check FILE|DIRECTORY...\n"
                       "Loads the policy files together, as the daemons would, and lists every problem.\n"
                       "Exit status: 0 no errors, 1 errors, 2 usage.\n");
}

int command_check(int argc, char **argv)
{
    if (argc >= 2 && strcmp(argv[1], "--help") == 0) {
        check_usage(stdout);
        return 0;
    }
    if (argc >= 2 && argv[1][0] == '-' && strcmp(argv[1], "--") != 0) {
        (void)fprintf(stderr, "openshell-egress check: %s: no such option\n", argv[1]);
        check_usage(stderr);
        return 2;
    }
    int first = argc >= 2 && strcmp(argv[1], "--") == 0 ? 2 : 1;
    if (argc <= first) {
        check_usage(stderr);
        return 2;
    }
    struct policy_rules *rules = NULL;
    struct policy_diags diags = {0};
    int rc = policy_files_load((const char *const *)argv + first, (size_t)(argc - first), &rules, &diags);
    commands_print_diags(&diags);
    if (rc == -ENOMEM) {
        (void)fprintf(stderr, "openshell-egress: out of memory\n");
    }
    size_t endpoints = 0;
    for (size_t i = 0; rc == 0 && i < rules->rule_count; i++) {
        endpoints += rules->rules[i].endpoint_count;
    }
    if (rc == 0) {
        (void)printf("%zu rules, %zu endpoints: ", rules->rule_count, endpoints);
    }
    (void)printf("%zu errors, %zu warnings\n", diags.error_count, diags.warning_count);
    policy_rules_free(rules);
    policy_diags_fini(&diags);
    return rc == 0 ? 0 : 1;
}

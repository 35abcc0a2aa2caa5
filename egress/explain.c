/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/commands.h"
#include "egress/explain_live.h"
#include "egress/explain_print.h"
#include "egress/printed.h"

#include "common/policy/policy_files.h"
#include "common/run/exit_status.h"
#include "common/run/policy_report.h"

#include <errno.h>

#define PROGRAM "openshell-egress explain"
#define STATUS_ALLOWED 0
#define STATUS_DENIED 1
#define STATUS_ERROR 2

static void usage(FILE *out)
{
    (void)fprintf(
        out, "usage: openshell-egress explain [OPTION]... HOST[:PORT]\n"
             "Says what openshell-dnsd answers for the host and what openshell-tunneld does on the port, by "
             "which\n"
             "rule and why. Without a port: on every port that the policy names for the host.\n\n"
             "  --policy PATH         policy file or directory; may be repeated (default "
             "/etc/openshell/policy.yaml)\n"
             "  --live                also resolve, judge each address, and connect to the permitted ones\n"
             "  --format text|json    (default text)\n"
             "  --help\n"
             "Options of the daemons are taken as they have them (--l7, --answer, --never, --idle-timeout, "
             "...), and\n"
             "so are their environment variables.\n"
             "Exit status: 0 allowed (and, with --live, connected), 1 denied, 2 error or not reachable.\n");
}

static int load(const struct explain_config *cfg, struct policy **out, struct policy_diags *diags)
{
    const struct str_list *paths = &cfg->tunneld.shared.policy;
    struct policy_rules *rules = NULL;
    int rc = policy_files_load(paths->items, paths->count, &rules, diags);
    if (rc != 0) {
        policy_report_print(diags);
        return rc;
    }
    return policy_compile(rules, 1, out);
}

static int print(const struct explain_options *o, const struct explain_facts *f)
{
    if (o->is_json) {
        return explain_print_json(stdout, f, o->is_live);
    }
    explain_print_text(stdout, f, o->is_live);
    return 0;
}

static int explain(const struct explain_options *o, struct explain_config *cfg,
                   const struct explain_target *target, struct err *err)
{
    struct policy *policy = NULL;
    struct policy_diags diags = {0};
    struct explain_facts facts = {.cfg = NULL};
    enum explain_outcome outcome = EXPLAIN_OUTCOME_DENIED;
    int status = STATUS_ERROR;
    int rc = load(cfg, &policy, &diags);
    if (rc != 0) {
        err_set(err, rc == -ENOMEM ? "out of memory"
                                   : "the policy is not good: the daemons would not take it either");
        goto out;
    }
    rc = explain_config_policy(cfg, policy, err);
    rc = rc == 0 ? explain_facts_gather(cfg, policy, &diags, target, &facts) : rc;
    if (rc == 0 && o->is_live) {
        rc = explain_live_run(&facts, &outcome, err);
    }
    if (rc == -ENOMEM) {
        err_set(err, "out of memory");
    }
    if (rc != 0) {
        goto out;
    }
    rc = print(o, &facts);
    if (rc != 0 && ferror(stdout) == 0) { /* else printed() tells */
        err_set(err, "cannot write the result: %s", strerror(-rc));
        goto out;
    }
    status = facts.is_allowed ? STATUS_ALLOWED : STATUS_DENIED;
    if (o->is_live && outcome == EXPLAIN_OUTCOME_UNREACHED) {
        status = STATUS_ERROR;
    }
    status = printed(PROGRAM, status, STATUS_ERROR);
out:
    explain_facts_fini(&facts);
    policy_diags_fini(&diags);
    policy_unref(policy);
    return status;
}

int command_explain(int argc, char **argv)
{
    struct explain_options o;
    struct explain_target target;
    struct explain_config cfg = {.has_ipv6 = false};
    struct err err = {""};
    int status = STATUS_ERROR;
    int rc = explain_options_parse(argc, argv, &o, &err);
    if (rc == 0 && o.help) {
        usage(stdout);
        explain_options_fini(&o);
        return printed(PROGRAM, STATUS_ALLOWED, EXIT_STATUS_OS);
    }
    if (rc == 0) {
        rc = explain_target_parse(o.target, &target, &err);
    }
    if (rc == 0) {
        rc = explain_config_init(&cfg, &o.daemons, &err);
    }
    if (rc == 0) {
        status = explain(&o, &cfg, &target, &err);
    }
    if (err.text[0] != '\0') {
        (void)fprintf(stderr, PROGRAM ": %s\n", err.text);
    }
    explain_config_fini(&cfg);
    explain_options_fini(&o);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/policy_open.h"

#include "common/policy/policy_files.h"
#include "common/run/exit_status.h"
#include "common/run/policy_report.h"

#include <errno.h>
#include <stdio.h>

int policy_open(const struct arg_list *paths, struct policy **out)
{
    struct policy_rules *rules = NULL;
    struct policy_diags diags = {0};
    int rc = policy_files_load(paths->items, paths->count, &rules, &diags);
    policy_report_print(&diags);
    policy_diags_fini(&diags);
    if (rc == 0) {
        rc = policy_compile(rules, 1, out);
    }
    if (rc == 0) {
        return 0;
    }
    (void)fprintf(stderr, "openshell-egress: %s\n",
                  rc == -ENOMEM ? "out of memory" : "the policy was not accepted");
    return rc == -ENOMEM ? EXIT_STATUS_OS : EXIT_STATUS_CONFIG;
}

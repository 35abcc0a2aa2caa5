/* SPDX-License-Identifier: Apache-2.0 */
/* What was found in a policy, for people at the start and for the log afterwards. */
#pragma once

#include "common/policy/policy_changes.h"
#include "common/policy/policy_load.h"

/*
 * Is fd a terminal, not a dumb one (TERM), and NO_COLOR unset or empty (no-color.org)? The one place that
 * decides it.
 */
bool policy_report_wants_colour(int fd);
/* Every finding on standard error with its source line and caret. */
void policy_report_print(const struct policy_diags *diags);
/* One event each: policy_error or policy_warning with place and message; at most 100 of them, the rest is
 * counted. */
void policy_report_log(const struct policy_diags *diags, enum diag_severity severity);
/* One event each: policy_rule_added, policy_rule_removed, policy_rule_changed, policy_egress_changed; what is
 * beyond the limit of *changes is counted. */
void policy_report_changes(const struct policy_changes *changes);

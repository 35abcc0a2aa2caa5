/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is likely to be a mistake in a policy that loads: control-plane ports, address literals that are
 * never dialled, public resolvers, wildcards under which anybody can own a name, endpoints that overlap and
 * disagree, endpoints that never decide.
 * Rather silent than wrong: a finding names its repair. Pure; one thread. Cost is near linear in the number
 * of endpoints: where too many of them match the same names, not all are compared, and a finding says so.
 */
#pragma once

#include "common/policy/policy.h"
#include "common/policy/policy_load.h"

/*
 * Adds the findings as warnings, at most LINT_KIND_MAX of each kind (the last one then says how many more
 * there are). texts are those the policy was loaded from. 0 or -ENOMEM (some findings may be missing).
 */
#define LINT_KIND_MAX 100
MUST_CHECK int policy_lint(const struct policy *p, const struct policy_text *texts, size_t count,
                           struct policy_diags *diags);

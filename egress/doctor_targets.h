/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be tested: the arguments, else the hosts that a policy spells out; the probe behind them. */
#pragma once

#include "common/policy/policy.h"
#include "egress/doctor.h"

/* Owned by *f from now on, also on failure; policy may be NULL. 0 or -ENOMEM. */
MUST_CHECK int doctor_targets_fill(struct doctor_facts *f, const struct policy *policy,
                                   const struct doctor_target *given, size_t count);

/* SPDX-License-Identifier: Apache-2.0 */
/* What getaddrinfo(3) says, as a result. */
#pragma once

#include "egress/doctor.h"
#include "egress/doctor_lookup.h"

/* Pure. ms: how long it took. */
void doctor_system_judge(const struct doctor_lookup *l, bool is_probe, int64_t ms, struct doctor_result *out);
/* Fills the target's result and addresses. 0, or -errno if no child could be made. */
MUST_CHECK int doctor_system_check(struct doctor_target *t, int64_t end_ms);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a policy fit the daemon's pools? A synthetic address stands for a name and is never dialled as itself,
 * so a policy that also means it as a destination says something that cannot be. The loader knows no pools,
 * so both daemons look at start and at each reload.
 */
#pragma once

#include "common/policy/policy_rules.h"
#include "common/run/settings_tables.h"

/* 0, or -EINVAL with *err: the first place with an address of a pool, in allowed_ips, host or egress.hosts.
 */
MUST_CHECK int policy_pools_check(const struct str_list *pools, const struct policy_rules *rules,
                                  struct err *err);

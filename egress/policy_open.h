/* SPDX-License-Identifier: Apache-2.0 */
/* A policy as a command needs it: loaded as the daemons will, its problems on standard error. */
#pragma once

#include "common/policy/policy.h"
#include "egress/daemon_args.h"

/* 0 with *out (policy_unref() it), or the exit status that says why not. */
MUST_CHECK int policy_open(const struct arg_list *paths, struct policy **out);

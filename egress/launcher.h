/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outside half of `run`: starts the set-up child, receives its sockets, starts both daemons on them, lets
 * COMMAND go, forwards signals, and cleans up. Single-threaded; owns everything it starts.
 */
#pragma once

#include "egress/fence.h"
#include "egress/private_dir.h"
#include "egress/run_options.h"

/* Returns the exit status of `run`: COMMAND's, or 64, 71, 78 before it started. */
int launcher_run(const struct run_options *options, const struct fence_config *fence,
                 const struct private_dir *dir);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a daemon knows about the policy it runs and about its last attempt to replace it: for the log, /readyz
 * and /status. Written by the main thread's reload, read by the main thread's admin listener. Plain data.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POLICY_HEALTH_ERROR_CAP 512

struct policy_health {
    uint64_t generation;     /* in use by every worker */
    size_t rules, endpoints; /* of that generation */
    int64_t loaded_wall_s;   /* when it came into use, seconds since 1970 */
    bool is_stale;           /* the files say something else, and it was refused: the last good one stays */
    uint64_t failures;       /* reloads refused since start */
    int64_t failed_wall_s;   /* the last refusal; 0: none */
    size_t error_count;      /* of the last refusal, while is_stale */
    char error[POLICY_HEALTH_ERROR_CAP]; /* the first of them, "file:line:col: message"; "" unless is_stale */
};

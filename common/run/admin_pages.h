/* SPDX-License-Identifier: Apache-2.0 */
/* What the admin pages say: facts in, text out. Pure: no descriptor, clock or log. */
#pragma once

#include "common/base/json.h"
#include "common/base/metrics.h"
#include "common/run/admin_http.h"
#include "common/run/policy_health.h"

struct admin_facts {     /* all borrowed for the call */
    const char *program; /* "openshell-dnsd" */
    const char *listen;  /* where the admin listener itself is */
    int64_t pid, uptime_s;
    bool is_draining;
    unsigned workers;
    const struct policy_health *health;
    const char *const *files; /* that the policy was read from */
    size_t file_count;
    const struct metrics_info *counters;
    const uint64_t *values; /* of all workers together, by index */
    size_t counter_count;
    uint64_t capabilities;                        /* held: 1 << CAP_* */
    void (*status)(void *ctx, struct json *json); /* the daemon's own part of /status; may be NULL */
    void *ctx;
};

/* 0, -ENOMEM, or -E2BIG; out->body is the caller's in either case. */
MUST_CHECK int admin_pages_write(const struct admin_facts *f, enum admin_page page, struct admin_reply *out);

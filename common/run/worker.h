/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker: one thread, one loop, a reference to the current policy, a reaper and its counters. Everything in
 * it is used only by its own thread once it runs; other threads reach it through its mailbox (net/wake).
 */
#pragma once

#include "common/base/metrics.h"
#include "common/net/reap.h"
#include "common/policy/policy.h"

#include <ev.h>

struct worker {
    unsigned index;
    struct ev_loop *loop;
    struct reap *reap;
    struct policy *policy; /* a reference of this worker's; changes only between callbacks */
    struct metrics metrics;
    void *ctx;  /* the daemon's */
    void *data; /* the daemon's per-worker object */
};

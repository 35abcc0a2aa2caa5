/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workers of a daemon: makes them, talks to them through their mailboxes, ends them. Owned and used by
 * the main thread only.
 */
#pragma once

#include "common/run/daemon.h"

struct worker_pool;

struct worker_pool_config {
    const struct daemon_spec *spec;
    unsigned count;
    struct policy *policy; /* borrowed: each worker takes a reference */
    struct ev_loop *main_loop;
    void (*on_progress)(void *ctx); /* in the main thread: a worker took a policy, or is drained */
    void *ctx;
};

/* Loops and worker_start of each, no thread yet. 0 or -errno with *err; then every worker that started is
 * stopped. */
MUST_CHECK int worker_pool_new(const struct worker_pool_config *cfg, struct worker_pool **out,
                               struct err *err);
/* One thread each. On failure -errno; worker_pool_free is still to be called. */
MUST_CHECK int worker_pool_run(struct worker_pool *p, struct err *err);
/* Each worker gets its worker_policy called, also if it has this policy. */
void worker_pool_publish(struct worker_pool *p, struct policy *policy);
/* Other servers to ask, at least one; copied. */
void worker_pool_set_upstreams(struct worker_pool *p, const struct upstream_list *list);
/* Has every worker taken what was published last? */
bool worker_pool_has_taken(const struct worker_pool *p);
void worker_pool_drain(struct worker_pool *p);
bool worker_pool_is_drained(const struct worker_pool *p); /* every worker said daemon_worker_done */
/* A counter of all workers together. */
uint64_t worker_pool_counter(const struct worker_pool *p, size_t index);
/* Ends every loop, joins every thread, frees everything. NULL-safe. */
void worker_pool_free(struct worker_pool *p);

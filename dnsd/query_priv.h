/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two halves of a query engine share: query.c takes messages in and answers what is known,
 * query_pending.c holds the questions that have to wait. One worker's thread only.
 */
#pragma once

#include "dnsd/query.h"
#include "dnsd/query_brakes.h"
#include "dnsd/query_family.h"

struct query;

struct query_engine {
    struct query_engine_config cfg;
    int64_t now_ms;    /* of what is being handled: read once for a message, a reply or a deadline */
    uint64_t hot_hash; /* of the message that is being handled, if it was foreseen */
    struct deadline_list *deadlines;
    struct bad_family *bad;
    struct hot_answers *hot;
    struct dnsd_log log;
    struct query_brakes brakes;
    ev_timer flush; /* active only while suppressed log lines wait */
    struct query *first;
    size_t count;
    struct route_share share; /* of QUERY_IN_FLIGHT_MAX */
    bool is_draining;
    bool is_idle_said;
};

/* REPLY: the one place where answers leave. *ask is the question as it came. */
void query_send(struct query_engine *e, const struct answer_question *q, const struct answer *a,
                const struct dns_query *ask, const struct reply *to);
/* By the worker's policy of this moment; name is borrowed, NULL while it is not known. */
struct answer_question query_question(const struct query_engine *e, const struct dns_query *ask,
                                      const struct host_name *name, const struct reply *to);
/* A family that is bad beside a good one is remembered; *a is given its TTL. Does nothing for other answers.
 */
void query_remember_bad(struct query_engine *e, const struct answer_question *q, struct answer *a);

/*
 * A question that waits: made, stepped and ended here alone. It answers its client once, then it is gone; its
 * memory goes behind the turn, so that what has called it may still look at it.
 */

/* ASK for known->wants. Without memory the question is answered at once. */
void query_pending_start(struct query_engine *e, const struct answer_question *question,
                         const struct dns_query *ask, const struct reply *to,
                         const struct query_known *known);
/* The policy may be another one. May end any one of them, none other. */
void query_pending_step_all(struct query_engine *e);
/* For deadline_list_new(), with the engine's list. */
void query_pending_deadline(void *ctx, struct deadline *d, int64_t now_ms);
/* They end without a reply. */
void query_pending_end_all(struct query_engine *e);
/* Calls on_idle once the engine is draining and none is left. */
void query_pending_say_idle(struct query_engine *e);

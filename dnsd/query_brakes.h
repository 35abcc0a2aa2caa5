/* SPDX-License-Identifier: Apache-2.0 */
/* The brakes as a worker's conversations meet them, between CACHE and ASK: judged, counted, logged, answered.
 */
#pragma once

#include "common/run/brakes_log.h"
#include "common/run/worker.h"
#include "dnsd/answer.h"

struct query_brakes {
    struct worker *worker;
    struct brakes *brakes; /* of all workers */
    struct brakes_log log;
};

struct query_brakes_ask { /* borrowed for the call */
    const struct answer_question *question;
    const struct ip *client;
    const char *full; /* NULL, or why there is no room for another question: then nothing is taken */
    bool is_joined;   /* it waits for what is asked already */
    int64_t now_ms;
};

void query_brakes_init(struct query_brakes *b, struct worker *worker, struct brakes *brakes);
void query_brakes_fini(struct query_brakes *b);
/*
 * May the question go upstream? If not, *out is the answer; else it is as it was. *out is that of
 * answer_decide(): its endpoint admits the name. Call it once for a question, however often it is asked
 * upstream.
 */
bool query_brakes_pass(struct query_brakes *b, const struct query_brakes_ask *ask, struct answer *out);
/* A question that was stopped leaves with this answer: that of query_brakes_pass(), and no stale one. For
 * want of room it was not the brakes that stopped it: that is counted as it leaves. */
void query_brakes_count(struct query_brakes *b, const struct answer *stopped);

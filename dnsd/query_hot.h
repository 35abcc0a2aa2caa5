/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HOT: which answers of a conversation may be kept ready and given again (hot_answers.h), and how that is
 * done. Only where an answer leaves no trace but itself: no map to be kept alive, no log line for each. That
 * worker's thread only.
 */
#pragma once

#include "dnsd/hot_answers.h"
#include "dnsd/query.h"

/* False: nothing is kept or given again in this mode, or while each answer is logged. */
bool query_hot_is_on(const struct query_engine_config *cfg);

enum query_hot {
    QUERY_HOT_NONE = 0,  /* not known: decide as always */
    QUERY_HOT_SENT,      /* the answer has left and is counted */
    QUERY_HOT_DENY,      /* answer_denied() is to be sent */
    QUERY_HOT_DENY_NOISE /* the same, as noise */
};
struct query_hot_at {
    const struct query_engine_config *cfg;
    struct hot_answers *hot;
    int64_t now_ms;
    uint64_t hash; /* of the question (hot_answers_foresee); 0: not known */
};
/* question: with qname and type, its name is not needed. */
enum query_hot query_hot_answer(const struct query_hot_at *at, const struct answer_question *question,
                                const struct dns_query *ask, const struct reply *to);
/* Keeps an answer that says nothing but what the cache's entry for the asked family says. known: that entry;
 * other: that of the other family. Either may be NULL. */
void query_hot_keep(const struct query_hot_at *at, const struct answer_question *question,
                    const struct resolver_answer *known, const struct resolver_answer *other,
                    const struct answer *a);
void query_hot_keep_denied(const struct query_hot_at *at, const struct answer_question *question,
                           const struct answer *a);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log lines of a conversation, one token bucket for each kind of event, so that a flood of denials cannot
 * bury a dead upstream. What a bucket refused is counted and said later as suppressed=N: with the next line
 * of that kind, or by dnsd_log_flush(). One per worker.
 */
#pragma once

#include "common/base/log.h"
#include "dnsd/answer.h"
#include "dnsd/reply.h"

struct dnsd_log {
    struct log_limit denied, client, upstream, stale, admitted, open_zone, noise, local, rejected;
};

void dnsd_log_init(struct dnsd_log *l);
/* query is what was asked, a the answer that goes out. */
void dnsd_log_answer(struct dnsd_log *l, const struct answer_question *q, const struct answer *a,
                     const struct reply *to, int64_t now_ms);
/* What is no proper question; of a malformed one there may be no name. */
void dnsd_log_rejected(struct dnsd_log *l, const struct dns_query *ask, enum dns_rcode rcode,
                       const struct reply *to, int64_t now_ms);
/* True if suppressed events wait for being said. */
bool dnsd_log_wants_flush(const struct dnsd_log *l);
/* Says how many events of each kind were suppressed since the last line of that kind. */
void dnsd_log_flush(struct dnsd_log *l);

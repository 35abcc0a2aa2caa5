/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/query_counters.h"

#include "dnsd/dnsd_counters.h"

void query_counters_answer(struct metrics *m, const struct answer *a)
{
    static const enum dnsd_counter counters[] = {
        [ANSWER_EVENT_DENIED] = DNSD_COUNTER_DENIED,       [ANSWER_EVENT_NOISE] = DNSD_COUNTER_NOISE,
        [ANSWER_EVENT_LOCAL] = DNSD_COUNTER_LOCAL,         [ANSWER_EVENT_ADMITTED] = DNSD_COUNTER_ADMITTED,
        [ANSWER_EVENT_OPEN_ZONE] = DNSD_COUNTER_OPEN_ZONE, [ANSWER_EVENT_FAILED] = DNSD_COUNTER_FAILED};
    if (a->event == ANSWER_EVENT_BRAKED) {
        return; /* counted where they were asked */
    }
    const bool is_stranger = a->reason == REASON_CLIENT_NOT_ALLOWED;
    metrics_add(m, (size_t)(is_stranger ? DNSD_COUNTER_CLIENT_REFUSED : counters[a->event]), 1);
    if (a->is_busy) {
        metrics_add(m, (size_t)DNSD_COUNTER_BUSY, 1);
    }
    if (a->is_repaired) {
        metrics_add(m, (size_t)DNSD_COUNTER_REPAIRED, 1);
    }
    if (a->is_stale) {
        metrics_add(m, (size_t)DNSD_COUNTER_STALE, 1);
    }
    if (a->addrs_refused > 0) {
        metrics_add(m, (size_t)DNSD_COUNTER_ADDRESSES_LEFT_OUT, a->addrs_refused);
    }
    if (a->left_out > 0) {
        metrics_add(m, (size_t)DNSD_COUNTER_RECORDS_LEFT_OUT, a->left_out);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/query_brakes.h"

#include "dnsd/dnsd_counters.h"

void query_brakes_init(struct query_brakes *b, struct worker *worker, struct brakes *brakes)
{
    b->worker = worker;
    b->brakes = brakes;
    brakes_log_init(&b->log, worker->loop);
}

void query_brakes_fini(struct query_brakes *b)
{
    brakes_log_fini(&b->log);
}

void query_brakes_count(struct query_brakes *b, const struct answer *stopped)
{
    static const struct {
        enum brakes_verdict verdict;
        enum dnsd_counter counter;
    } brakes[] = {{BRAKES_RATE, DNSD_COUNTER_RATE_LIMITED},
                  {BRAKES_BUDGET, DNSD_COUNTER_WILDCARD_BUDGET},
                  {BRAKES_LENGTH, DNSD_COUNTER_WILDCARD_LENGTH}};
    for (size_t i = 0; i < sizeof(brakes) / sizeof(brakes[0]); i++) {
        if (stopped->event == ANSWER_EVENT_BRAKED && stopped->reason == brakes_reason(brakes[i].verdict)) {
            metrics_add(&b->worker->metrics, (size_t)brakes[i].counter, 1);
        }
    }
}

bool query_brakes_pass(struct query_brakes *b, const struct query_brakes_ask *ask, struct answer *out)
{
    const struct answer_question *question = ask->question;
    if (ask->full != NULL) {
        answer_busy(out, ask->full);
        return false;
    }
    const struct policy_endpoint *endpoint = out->endpoint;
    const bool is_wildcard = endpoint != NULL && endpoint->host_kind == ENDPOINT_WILDCARD;
    const struct brakes_question q = {.sandbox = question->sandbox,
                                      .client = ask->client,
                                      .name = question->name,
                                      .pattern = is_wildcard ? &endpoint->pattern.text : NULL,
                                      .is_joined = ask->is_joined,
                                      .now_ms = ask->now_ms};
    struct brakes_outcome outcome;
    brakes_judge(b->brakes, &q, &outcome);
    if (outcome.verdict == BRAKES_GO && !outcome.is_new_name) {
        return true;
    }
    if (outcome.verdict == BRAKES_GO) {
        metrics_add(&b->worker->metrics, DNSD_COUNTER_WILDCARD_NAMES, 1);
    }
    brakes_log_name(&b->log, &q, &outcome, endpoint);
    brakes_log_stop(&b->log, &q, &outcome, endpoint);
    if (outcome.verdict == BRAKES_GO) {
        return true;
    }
    answer_braked(question, outcome.verdict, out);
    return false;
}

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

static enum dnsd_counter counter_of(enum brakes_verdict v)
{
    switch (v) {
    case BRAKES_RATE:
        return DNSD_COUNTER_RATE_LIMITED;
    case BRAKES_BUDGET:
        return DNSD_COUNTER_WILDCARD_BUDGET;
    case BRAKES_LENGTH:
        return DNSD_COUNTER_WILDCARD_LENGTH;
    case BRAKES_GO:
        break;
    }
    return DNSD_COUNTER_WILDCARD_NAMES;
}

bool query_brakes_pass(struct query_brakes *b, const struct answer_question *question,
                       const struct ip *client, const char *full, int64_t now_ms, struct answer *out)
{
    if (full != NULL) {
        metrics_add(&b->worker->metrics, DNSD_COUNTER_BUSY, 1);
        answer_failure(out, DNS_EDE_OTHER, full);
        return false;
    }
    const struct policy_endpoint *endpoint = out->endpoint;
    const bool is_wildcard = endpoint != NULL && endpoint->host_kind == ENDPOINT_WILDCARD;
    const struct brakes_question q = {.sandbox = question->sandbox,
                                      .client = client,
                                      .name = question->name,
                                      .pattern = is_wildcard ? &endpoint->pattern.text : NULL,
                                      .now_ms = now_ms};
    struct brakes_outcome outcome;
    brakes_judge(b->brakes, &q, &outcome);
    if (outcome.verdict == BRAKES_GO && !outcome.is_new_name) {
        return true;
    }
    metrics_add(&b->worker->metrics, (size_t)counter_of(outcome.verdict), 1);
    brakes_log_name(&b->log, &q, &outcome, endpoint);
    brakes_log_stop(&b->log, &q, &outcome, endpoint);
    if (outcome.verdict == BRAKES_GO) {
        return true;
    }
    answer_braked(question, outcome.verdict, out);
    return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/query_hot.h"

#include "common/base/scratch.h"
#include "dnsd/dnsd_counters.h"

#define DENIED_MS 5000 /* short, so that denials are the first to go where room is needed */

bool query_hot_is_on(const struct query_engine_config *cfg)
{
    return cfg->answer->mode == ANSWER_REAL && cfg->direct == NULL && !log_is_on(LOG_DEBUG);
}

static struct hot_question hot_question(const struct query_hot_at *at, const struct answer_question *q)
{
    return (struct hot_question){.qname = q->qname,
                                 .qtype = q->qtype,
                                 .generation = policy_generation(q->policy),
                                 .turn = resolver_turn(at->cfg->resolver),
                                 .has_ipv6 = q->has_ipv6,
                                 .hash = at->hash};
}

static void send_hot(const struct query_hot_at *at, const struct hot_question *q,
                     const struct hot_answer *hot, const struct dns_query *ask, const struct reply *to)
{
    const struct query_engine_config *cfg = at->cfg;
    const uint32_t left_s = (uint32_t)((hot->expires_ms - at->now_ms + 999) / 1000); /* as the cache counts */
    const uint32_t ttl_s = hot->kind == HOT_HIDDEN ? cfg->answer->deny_ttl_s : left_s;
    reply_answer(to, &(struct dns_answer){.query = ask,
                                          .rcode = DNS_NOERROR,
                                          .addrs = hot->addrs,
                                          .addr_count = hot->addr_count,
                                          .ttl_s = ttl_s,
                                          .soa = hot->addr_count == 0 ? cfg->soa : NULL,
                                          .soa_serial = (uint32_t)q->generation,
                                          .soa_ttl_s = ttl_s,
                                          .ede = DNS_EDE_NONE});
    metrics_add(&cfg->worker->metrics, DNSD_COUNTER_ADMITTED, 1);
    metrics_add(&cfg->worker->metrics, DNSD_COUNTER_HOT, 1);
}

enum query_hot query_hot_answer(const struct query_hot_at *at, const struct answer_question *question,
                                const struct dns_query *ask, const struct reply *to)
{
    SCRATCH struct hot_answer known;
    const struct hot_question q = hot_question(at, question);
    if (!hot_answers_get(at->hot, &q, at->now_ms, &known)) {
        return QUERY_HOT_NONE;
    }
    if (known.kind == HOT_ADMITTED || known.kind == HOT_HIDDEN) {
        send_hot(at, &q, &known, ask, to);
        return QUERY_HOT_SENT;
    }
    if (ask->has_opt) {
        return QUERY_HOT_NONE; /* the text that explains may hold the name */
    }
    return known.kind == HOT_NOISE ? QUERY_HOT_DENY_NOISE : QUERY_HOT_DENY;
}

/* An empty family is only so as long as the other one, if it counts, does not fail. */
static int64_t until_ms(const struct answer_question *question, const struct resolver_answer *known,
                        const struct resolver_answer *other)
{
    if (known->status != RESOLVER_NODATA || !answer_other_counts(question)) {
        return known->renew_ms;
    }
    if (other == NULL || !other->from_cache || other->is_stale || other->status == RESOLVER_FAILED) {
        return 0;
    }
    return known->renew_ms < other->expires_ms ? known->renew_ms : other->expires_ms;
}

/* AAAA that is not given out has a TTL of its own, and lasts no longer than the A that it is made of. */
static bool is_made_of(const struct resolver_answer *known, const struct answer *a, bool is_hidden)
{
    return known != NULL && known->from_cache &&
           (is_hidden || known->status == (a->addr_count > 0 ? RESOLVER_ADDRS : RESOLVER_NODATA));
}

void query_hot_keep(const struct query_hot_at *at, const struct answer_question *question,
                    const struct resolver_answer *known, const struct resolver_answer *other,
                    const struct answer *a)
{
    const bool is_plain = a->event == ANSWER_EVENT_ADMITTED && a->rcode == DNS_NOERROR && !a->is_repaired &&
                          !a->wants_synthetic && a->ede == DNS_EDE_NONE && a->addrs_refused == 0;
    const bool is_hidden = answer_hides_aaaa(question);
    if (!is_plain || !query_hot_is_on(at->cfg) || a->addr_count > HOT_ADDRS_MAX ||
        !is_made_of(known, a, is_hidden)) {
        return;
    }
    struct hot_answer ready = {.kind = is_hidden ? HOT_HIDDEN : HOT_ADMITTED,
                               .addr_count = a->addr_count,
                               .expires_ms = known->expires_ms,
                               .until_ms = until_ms(question, known, other)};
    if (ready.until_ms <= at->now_ms) {
        return;
    }
    memcpy(ready.addrs, a->addrs, a->addr_count * sizeof(a->addrs[0]));
    const struct hot_question q = hot_question(at, question);
    hot_answers_put(at->hot, &q, at->now_ms, &ready);
}

void query_hot_keep_denied(const struct query_hot_at *at, const struct answer_question *question,
                           const struct answer *a)
{
    if (a->is_plain_denial && query_hot_is_on(at->cfg) &&
        !hot_answers_note_denied(at->hot, at->hash, at->now_ms)) {
        const struct hot_question q = hot_question(at, question);
        const struct hot_answer ready = {.kind = a->event == ANSWER_EVENT_NOISE ? HOT_NOISE : HOT_DENIED,
                                         .expires_ms = at->now_ms + DENIED_MS,
                                         .until_ms = at->now_ms + DENIED_MS};
        hot_answers_put(at->hot, &q, at->now_ms, &ready);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/query_priv.h"

#include "common/base/clock.h"
#include "common/base/htab.h"
#include "common/base/scratch.h"
#include "dnsd/direct.h"

#include <stdlib.h>

#define QUESTION_MAX (255 + 4) /* QNAME, QTYPE, QCLASS */

struct query {
    struct reap_node reap; /* first: freed through it */
    struct query_engine *engine;
    struct query *next, *prev;
    struct deadline deadline;
    int64_t started_ms;
    int64_t arrived_ms; /* when one family was known so well that the other must not be slow; 0: not yet */
    struct reply to;
    struct dns_query ask; /* its spans point into question */
    uint8_t question[QUESTION_MAX];
    struct host_name name;
    size_t route; /* whose place it holds */
    struct answer_decided decided;
    struct query_family v4, v6; /* a question for SRV or TXT has one answer, in v4 */
    bool has_ended;             /* only its memory is still there */
};

static struct query_family *family_of(struct query *q, enum ip_family family)
{
    return family == IP_V4 ? &q->v4 : &q->v6;
}

static void free_query(struct reap_node *n)
{
    struct query *q = HTAB_ENTRY(n, struct query, reap);
    free(q->v4.kept);
    free(q->v6.kept);
    free(q);
}

void query_pending_say_idle(struct query_engine *e)
{
    if (e->is_draining && e->count == 0 && !e->is_idle_said) {
        e->is_idle_said = true;
        e->cfg.on_idle(e->cfg.ctx);
    }
}

/* The one end of a conversation: nothing calls back after this. */
static void end_query(struct query *q)
{
    struct query_engine *e = q->engine;
    query_family_cancel(e->cfg.resolver, &q->v4);
    query_family_cancel(e->cfg.resolver, &q->v6);
    deadline_cancel(e->deadlines, &q->deadline);
    if (q->prev != NULL) {
        q->prev->next = q->next;
    } else {
        e->first = q->next;
    }
    if (q->next != NULL) {
        q->next->prev = q->prev;
    }
    e->count--;
    route_share_give(&e->share, q->route);
    q->has_ended = true;
    q->reap.free_fn = free_query;
    reap_later(e->cfg.worker->reap, &q->reap);
    query_pending_say_idle(e);
}

static void finish_query(struct query *q, const struct answer_question *question, struct answer *a)
{
    direct_prepare(&q->engine->cfg, question, a);
    query_remember_bad(q->engine, question, a);
    query_send(q->engine, question, a, &q->ask, &q->to);
    end_query(q);
}

static void fail_query(struct query *q, const struct answer_question *question, const char *text)
{
    SCRATCH struct answer a;
    answer_failure(&a, DNS_EDE_OTHER, text);
    finish_query(q, question, &a);
}

static void query_step(struct query *q);

/*
 * Addresses are an answer without the other family, and so is it that A finds no such name (RFC 8020). Not
 * NODATA: then all that the name has is in the other family, however slow that is.
 */
static void note_arrival(struct query *q, const struct query_family *f, const struct resolver_answer *a,
                         int64_t now_ms)
{
    const bool is_no_name = a->status == RESOLVER_NXDOMAIN && f == &q->v4;
    if ((a->status == RESOLVER_ADDRS || is_no_name) && q->arrived_ms == 0) {
        q->arrived_ms = now_ms;
    }
}

/* Mostly one reply is all that is needed: then nothing is copied. */
static void take_reply(struct query *q, struct query_family *f, const struct resolver_answer *a)
{
    q->engine->now_ms = clock_mono_ms();
    f->ticket = 0;
    f->answer = a;
    note_arrival(q, f, a, q->engine->now_ms);
    query_step(q);
    if (!q->has_ended && f->answer == a && !query_family_keep(f, a)) { /* else it is asked again */
        const struct answer_question question = query_question(q->engine, &q->ask, &q->name, &q->to);
        fail_query(q, &question, "out of memory");
    }
}

static void on_v4_event(void *ctx, const struct resolver_answer *a)
{
    struct query *q = ctx;
    take_reply(q, &q->v4, a);
}

static void on_v6_event(void *ctx, const struct resolver_answer *a)
{
    struct query *q = ctx;
    take_reply(q, &q->v6, a);
}

/* ASK, unless it is asked or known already. False: the resolver could not even start. */
static bool ask_family(struct query *q, enum ip_family family)
{
    struct query_family *f = family_of(q, family);
    if (query_family_is_settled(f)) {
        return true;
    }
    const struct resolver_ask ask = {.name = &q->name,
                                     .qtype = query_family_type(q->ask.qtype, family),
                                     .is_again = query_family_is_old_news(f),
                                     .fn = family == IP_V4 ? on_v4_event : on_v6_event,
                                     .ctx = q};
    query_family_forget(f);
    f->ticket = resolver_ask_at(q->engine->cfg.resolver, &ask, q->engine->now_ms);
    return f->ticket != 0;
}

/* When to look again: the whole time, a silent family's, or the other family's turn. */
static int64_t next_deadline_ms(const struct query *q, const struct answer_question *question)
{
    int64_t at_ms = q->started_ms + QUERY_TOTAL_MS;
    if (q->arrived_ms != 0 && q->arrived_ms + QUERY_SILENT_MS < at_ms) {
        at_ms = q->arrived_ms + QUERY_SILENT_MS;
    } else if (q->arrived_ms == 0 && (query_family_is_unasked(&q->v4) || query_family_is_unasked(&q->v6)) &&
               answer_other_counts(question)) {
        at_ms = q->started_ms + QUERY_OTHER_AFTER_MS;
    }
    return at_ms;
}

/* DECIDE, if the policy is another one by now. */
static enum answer_route decide_query(struct query *q, const struct answer_question *question,
                                      struct answer *a)
{
    struct ip reverse;
    if (answer_decided_again(question, &q->decided, a)) {
        return ANSWER_ROUTE_RESOLVE;
    }
    const enum answer_route route = answer_decide(question, a, &reverse);
    if (route == ANSWER_ROUTE_RESOLVE) {
        answer_decided_keep(question, a, &q->decided);
    }
    return route;
}

/* ASK for what is missing, and wait. */
static void ask_for(struct query *q, const struct answer_question *question, unsigned wants)
{
    if (((wants & (ANSWER_WANTS_V4 | ANSWER_WANTS_RECORDS)) != 0 && !ask_family(q, IP_V4)) ||
        ((wants & ANSWER_WANTS_V6) != 0 && !ask_family(q, IP_V6)) ||
        deadline_arm(q->engine->deadlines, &q->deadline, next_deadline_ms(q, question)) != 0) {
        fail_query(q, question, "out of memory");
    }
}

/* SYNTHESISE if enough is known, else ask for what is missing and wait. The policy may be a newer one by now.
 */
static void query_step(struct query *q)
{
    struct query_engine *e = q->engine;
    const struct answer_question question = query_question(e, &q->ask, &q->name, &q->to);
    SCRATCH struct answer a;
    if (decide_query(q, &question, &a) != ANSWER_ROUTE_RESOLVE) {
        finish_query(q, &question, &a);
        return;
    }
    struct answer_lookup lookup;
    query_family_lookup(question.qtype, &q->v4, &q->v6, &lookup);
    unsigned wants = answer_from_lookup(&question, &lookup, &a);
    if (wants == 0) {
        finish_query(q, &question, &a);
    } else {
        ask_for(q, &question, wants);
    }
}

/* What had expired is better than silence. Silence beside the other family's answer is remembered. */
static void give_up_family(struct query *q, enum ip_family family, int64_t now_ms)
{
    struct query_family *f = family_of(q, family);
    SCRATCH struct resolver_answer stale;
    if (!query_family_is_pending(f)) {
        return;
    }
    if (resolver_take_stale(q->engine->cfg.resolver, f->ticket, &stale)) {
        f->ticket = 0;
        f->is_silent = !query_family_keep(f, &stale);
        return;
    }
    query_family_cancel(q->engine->cfg.resolver, f);
    f->is_silent = true;
    if (q->arrived_ms != 0) {
        const struct resolver_answer *other = family_of(q, family == IP_V4 ? IP_V6 : IP_V4)->answer;
        const bool is_no_name = other != NULL && other->status == RESOLVER_NXDOMAIN;
        bad_family_put(q->engine->bad, &q->name, family,
                       is_no_name ? BAD_BESIDE_NO_NAME : BAD_BESIDE_ADDRESSES, now_ms);
    }
}

void query_pending_deadline(void *ctx, struct deadline *d, int64_t now_ms)
{
    (void)ctx;
    struct query *q = HTAB_ENTRY(d, struct query, deadline);
    q->engine->now_ms = now_ms;
    const struct answer_question question = query_question(q->engine, &q->ask, &q->name, &q->to);
    if (now_ms >= q->started_ms + QUERY_TOTAL_MS ||
        (q->arrived_ms != 0 && now_ms >= q->arrived_ms + QUERY_SILENT_MS)) {
        give_up_family(q, IP_V4, now_ms);
        give_up_family(q, IP_V6, now_ms);
    } else if (!ask_family(q, IP_V4) || !ask_family(q, IP_V6)) {
        fail_query(q, &question, "out of memory");
        return;
    }
    query_step(q);
}

static struct query *new_query(struct query_engine *e, const struct dns_query *ask,
                               const struct host_name *name, size_t route, const struct reply *to)
{
    const bool is_sound = name != NULL && CHECK(ask->question.len <= QUESTION_MAX);
    struct query *q = is_sound ? malloc(sizeof(*q)) : NULL;
    if (q == NULL || name == NULL) {
        return NULL;
    }
    memset(&q->reap, 0, sizeof(q->reap));
    memset(&q->deadline, 0, sizeof(q->deadline));
    q->engine = e;
    q->started_ms = e->now_ms;
    q->arrived_ms = 0;
    q->has_ended = false;
    q->v4 = (struct query_family){0};
    q->v6 = (struct query_family){0};
    q->to = *to;
    q->ask = *ask;
    memcpy(q->question, ask->question.data, ask->question.len);
    q->ask.question = span_make(q->question, ask->question.len);
    q->ask.qname = span_make(q->question, ask->qname.len);
    q->name = *name;
    q->prev = NULL;
    q->next = e->first;
    if (e->first != NULL) {
        e->first->prev = q;
    }
    e->first = q;
    e->count++;
    q->route = route;
    route_share_take(&e->share, route);
    return q;
}

/* False: no memory. */
static bool take_known(struct query *q, struct query_family *f, const struct query_family *known)
{
    *f = (struct query_family){
        .is_silent = known->is_silent, .remembered = known->remembered, .is_judged = known->is_judged};
    if (known->answer == NULL) {
        return true;
    }
    note_arrival(q, f, known->answer, q->started_ms);
    return query_family_keep(f, known->answer);
}

void query_pending_start(struct query_engine *e, const struct answer_question *question,
                         const struct dns_query *ask, const struct reply *to, const struct query_known *known)
{
    struct query *q = new_query(e, ask, question->name, known->route, to);
    if (q == NULL) {
        SCRATCH struct answer a;
        answer_failure(&a, DNS_EDE_OTHER, "out of memory");
        query_send(e, question, &a, ask, to);
        return;
    }
    struct answer_question own = *question;
    own.qname = q->ask.qname;
    own.name = &q->name;
    q->decided = known->decided;
    if (take_known(q, &q->v4, &known->v4) && take_known(q, &q->v6, &known->v6)) {
        ask_for(q, &own, known->wants);
    } else {
        fail_query(q, &own, "out of memory");
    }
}

/* A step ends its own conversation at most, whose memory is still there then. */
void query_pending_step_all(struct query_engine *e)
{
    for (struct query *q = e->first, *next; q != NULL; q = next) {
        next = q->next;
        query_step(q);
    }
}

void query_pending_end_all(struct query_engine *e)
{
    while (e->first != NULL) {
        end_query(e->first);
    }
}

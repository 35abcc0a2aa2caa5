/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/query.h"

#include "common/base/clock.h"
#include "common/base/htab.h"
#include "common/base/scratch.h"
#include "common/dns/dns_rr.h"
#include "dnsd/direct.h"
#include "dnsd/dnsd_counters.h"
#include "dnsd/query_brakes.h"
#include "dnsd/query_counters.h"
#include "dnsd/query_family.h"
#include "dnsd/query_held.h"
#include "dnsd/query_hot.h"
#include "dnsd/query_loop.h"

#include <errno.h>
#include <stdlib.h>

#define QUESTION_MAX (255 + 4) /* QNAME, QTYPE, QCLASS */
#define FLUSH_AFTER_S 10.0

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
    struct answer_decided decided;
    struct query_family v4, v6; /* a question for SRV or TXT has one answer, in v4 */
    bool has_ended;             /* only its memory is still there */
};

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
    bool is_draining;
    bool is_idle_said;
};

static void count(struct query_engine *e, enum dnsd_counter c)
{
    metrics_add(&e->cfg.worker->metrics, (size_t)c, 1);
}

/* REPLY: the one place where answers leave. */
static void send_answer(struct query_engine *e, const struct answer_question *q, const struct answer *a,
                        const struct dns_query *ask, const struct reply *to)
{
    struct dns_answer wire;
    answer_to_wire(a, ask, e->cfg.soa, (uint32_t)policy_generation(q->policy), &wire);
    reply_answer(to, &wire);
    query_counters_answer(&e->cfg.worker->metrics, a);
    dnsd_log_answer(&e->log, q, a, to, e->now_ms);
    if (dnsd_log_wants_flush(&e->log) && !ev_is_active(&e->flush)) {
        ev_timer_set(&e->flush, FLUSH_AFTER_S, 0.0);
        ev_timer_start(e->cfg.worker->loop, &e->flush);
    }
}

static void on_flush_event(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    struct query_engine *e = w->data;
    dnsd_log_flush(&e->log);
}

/* The one place that says by whose policy a client is judged: so far there is one for all. */
static void choose_policy(const struct query_engine *e, const struct ip *client, struct answer_question *q)
{
    (void)client;
    q->sandbox = 0;
    q->policy = e->cfg.worker->policy;
}

static struct answer_question make_question(const struct query_engine *e, const struct dns_query *ask,
                                            const struct host_name *name, const struct reply *to)
{
    struct answer_question q = {.cfg = e->cfg.answer,
                                .qname = ask->qname,
                                .name = name,
                                .qtype = ask->qtype,
                                .has_ipv6 = false,
                                .is_silent = !ask->has_opt};
    choose_policy(e, &to->client.ip, &q);
    /* Matters only where AAAA records are judged; looking costs a system call now and then. */
    if ((ask->qtype == DNS_A || ask->qtype == DNS_AAAA) && answer_minds_ipv6(e->cfg.answer)) {
        q.has_ipv6 = e->cfg.has_ipv6(e->cfg.ctx, e->now_ms);
    }
    return q;
}

static struct query_family *family_of(struct query *q, enum ip_family family)
{
    return family == IP_V4 ? &q->v4 : &q->v6;
}

/* ---- the object of a conversation that has to wait ---- */

static void free_query(struct reap_node *n)
{
    struct query *q = HTAB_ENTRY(n, struct query, reap);
    free(q->v4.kept);
    free(q->v6.kept);
    free(q);
}

static void say_idle(struct query_engine *e)
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
    q->has_ended = true;
    q->reap.free_fn = free_query;
    reap_later(e->cfg.worker->reap, &q->reap);
    say_idle(e);
}

/* The client, too, is not to hold it for longer than it is remembered here. */
static void remember_bad(struct query_engine *e, const struct answer_question *q, struct answer *a)
{
    if (a->is_repaired) {
        const enum ip_family family = q->qtype == DNS_A ? IP_V4 : IP_V6;
        bad_family_put(e->bad, q->name, family, e->now_ms);
        const uint32_t left_s = bad_family_left_s(e->bad, q->name, family, e->now_ms);
        a->soa_ttl_s = left_s > 0 ? left_s : a->soa_ttl_s;
    }
}

static void finish_query(struct query *q, const struct answer_question *question, struct answer *a)
{
    direct_prepare(&q->engine->cfg, question, a);
    remember_bad(q->engine, question, a);
    send_answer(q->engine, question, a, &q->ask, &q->to);
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
    if (!q->has_ended && !query_family_keep(f, a)) {
        const struct answer_question question = make_question(q->engine, &q->ask, &q->name, &q->to);
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
    const struct answer_question question = make_question(e, &q->ask, &q->name, &q->to);
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
        bad_family_put(q->engine->bad, &q->name, family, now_ms);
    }
}

static void on_query_deadline(void *ctx, struct deadline *d, int64_t now_ms)
{
    (void)ctx;
    struct query *q = HTAB_ENTRY(d, struct query, deadline);
    q->engine->now_ms = now_ms;
    const struct answer_question question = make_question(q->engine, &q->ask, &q->name, &q->to);
    if (now_ms >= q->started_ms + QUERY_TOTAL_MS ||
        (q->arrived_ms != 0 && now_ms >= q->arrived_ms + QUERY_SILENT_MS)) {
        give_up_family(q, IP_V4, now_ms);
        give_up_family(q, IP_V6, now_ms);
    } else if (!ask_family(q, answer_first_family(&question) == IP_V4 ? IP_V6 : IP_V4)) {
        fail_query(q, &question, "out of memory");
        return;
    }
    query_step(q);
}

/* Why no conversation may begin, or NULL. */
static const char *why_full(const struct query_engine *e)
{
    const char *many = e->count >= QUERY_IN_FLIGHT_MAX ? "too many questions in flight" : NULL;
    return e->is_draining ? "shutting down" : many;
}

static struct query *new_query(struct query_engine *e, const struct dns_query *ask,
                               const struct host_name *name, const struct reply *to)
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
    return q;
}

/* ---- the fast path ---- */

static struct query_hot_at hot_at(const struct query_engine *e)
{
    return (struct query_hot_at){.cfg = &e->cfg, .hot = e->hot, .now_ms = e->now_ms, .hash = e->hot_hash};
}

/* True if the question was answered a moment ago and has been answered so again. */
static bool answer_again(struct query_engine *e, const struct answer_question *question,
                         const struct dns_query *ask, const struct reply *to)
{
    if (!query_hot_is_on(&e->cfg)) {
        return false;
    }
    SCRATCH struct answer a;
    const struct query_hot_at at = hot_at(e);
    const enum query_hot hot = query_hot_answer(&at, question, ask, to);
    switch (hot) {
    case QUERY_HOT_NONE:
        return false;
    case QUERY_HOT_SENT:
        break;
    case QUERY_HOT_DENY:
    case QUERY_HOT_DENY_NOISE:
        answer_denied(question, hot == QUERY_HOT_DENY_NOISE, &a);
        send_answer(e, question, &a, ask, to);
        break;
    }
    return true;
}

/* False: no memory. */
static bool take_known(struct query *q, struct query_family *f, const struct query_family *known)
{
    *f = (struct query_family){.is_silent = known->is_silent, .is_remembered = known->is_remembered};
    if (known->answer == NULL) {
        return true;
    }
    note_arrival(q, f, known->answer, q->started_ms);
    return query_family_keep(f, known->answer);
}

static void start_query(struct query_engine *e, const struct answer_question *question,
                        const struct dns_query *ask, const struct reply *to, const struct query_known *known)
{
    struct query *q = new_query(e, ask, question->name, to);
    if (q == NULL) {
        SCRATCH struct answer a;
        answer_failure(&a, DNS_EDE_OTHER, "out of memory");
        send_answer(e, question, &a, ask, to);
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

static void resolve(struct query_engine *e, const struct answer_question *question, struct answer *a,
                    const struct dns_query *ask, const struct reply *to)
{
    SCRATCH struct query_known known;
    query_known_init(&known, e->cfg.resolver, e->bad, e->now_ms);
    answer_decided_keep(question, a, &known.decided);
    const bool is_v4 = answer_first_family(question) == IP_V4;
    (void)query_known_peek(&known, question, is_v4 ? IP_V4 : IP_V6);
    struct answer_lookup lookup;
    query_family_lookup(question->qtype, &known.v4, &known.v6, &lookup);
    known.wants = answer_from_lookup(question, &lookup, a);
    if (known.wants != 0 && answer_other_counts(question) &&
        query_known_peek(&known, question, is_v4 ? IP_V6 : IP_V4)) {
        query_family_lookup(question->qtype, &known.v4, &known.v6, &lookup);
        known.wants = answer_from_lookup(question, &lookup, a);
    }
    if (known.wants != 0) {
        if (query_brakes_pass(&e->brakes, question, &to->client.ip, why_full(e), e->now_ms, a)) {
            start_query(e, question, ask, to, &known);
            return;
        }
        if (!query_held(e->cfg.resolver, question, known.now_ms, a)) {
            query_brakes_count(&e->brakes, a);
        }
    }
    direct_prepare(&e->cfg, question, a);
    remember_bad(e, question, a);
    const struct query_hot_at at = hot_at(e);
    query_hot_keep(&at, question, is_v4 ? known.v4.answer : known.v6.answer,
                   is_v4 ? known.v6.answer : known.v4.answer, a);
    send_answer(e, question, a, ask, to);
}

static void answer_query(struct query_engine *e, const struct dns_query *ask, const struct reply *to)
{
    struct answer_question question = make_question(e, ask, NULL, to);
    if (answer_again(e, &question, ask, to)) {
        return;
    }
    SCRATCH struct host_name name;
    question.name = host_name_from_wire(ask->qname, &name) == HOST_FAULT_NONE ? &name : NULL;
    SCRATCH struct answer a;
    struct ip reverse;
    SCRATCH struct host_name held;
    const struct query_hot_at at = hot_at(e);
    switch (answer_decide(&question, &a, &reverse)) {
    case ANSWER_ROUTE_RESOLVE:
        resolve(e, &question, &a, ask, to);
        return;
    case ANSWER_ROUTE_REVERSE:
        answer_from_map(&question, synth_alloc_name(e->cfg.map, &reverse, clock_boot_s(), &held), &a);
        break;
    case ANSWER_ROUTE_DONE:
        direct_prepare(&e->cfg, &question, &a); /* a static host */
        query_hot_keep_denied(&at, &question, &a);
        break;
    }
    send_answer(e, &question, &a, ask, to);
}

uint64_t query_foresee(const struct query_engine *e, struct span message)
{
    struct cursor c = cursor_make(message);
    cursor_skip(&c, DNS_HEADER_LEN);
    const struct span qname = dns_qname_read(&c);
    const uint16_t qtype = cursor_u16(&c);
    return cursor_is_ok(&c) && query_hot_is_on(&e->cfg) ? hot_answers_foresee(e->hot, qname, qtype) : 0;
}

enum query_outcome query_handle(struct query_engine *e, struct span message, uint64_t foreseen,
                                const struct reply *to)
{
    struct dns_query ask;
    enum dns_rcode rcode;
    enum dns_query_result result = dns_query_parse(message, &ask, &rcode);
    e->now_ms = clock_mono_ms();
    e->hot_hash = foreseen;
    if (result == DNS_QUERY_DROP) {
        count(e, DNSD_COUNTER_DROPPED);
        return QUERY_DROPPED;
    }
    count(e, DNSD_COUNTER_QUERIES);
    if (!acl_admits(e->cfg.acl, &to->client.ip)) {
        const struct answer_question question = make_question(e, &ask, NULL, to);
        SCRATCH struct answer a;
        answer_refuse_client(&a);
        send_answer(e, &question, &a, &ask, to);
    } else if (result == DNS_QUERY_ERROR) {
        count(e, DNSD_COUNTER_ERRORS);
        dnsd_log_rejected(&e->log, &ask, rcode, to, e->now_ms);
        reply_answer(to, &(struct dns_answer){.query = &ask, .rcode = rcode, .ede = DNS_EDE_NONE});
    } else if (query_answer_loop(&e->cfg, &ask, to)) {
        count(e, DNSD_COUNTER_LOCAL);
    } else {
        answer_query(e, &ask, to);
    }
    return QUERY_TAKEN;
}

/* A step ends its own conversation at most, whose memory is still there then. */
void query_engine_take_policy(struct query_engine *e)
{
    e->now_ms = clock_mono_ms();
    for (struct query *q = e->first, *next; q != NULL; q = next) {
        next = q->next;
        query_step(q);
    }
    resolver_drop_unwanted(e->cfg.resolver);
}

void query_engine_take_upstreams(struct query_engine *e)
{
    bad_family_forget(e->bad);
}

size_t query_in_flight(const struct query_engine *e)
{
    return e->count;
}

int query_engine_new(const struct query_engine_config *cfg, struct query_engine **out)
{
    struct query_engine *e = calloc(1, sizeof(*e));
    if (e == NULL) {
        return -ENOMEM;
    }
    e->cfg = *cfg;
    dnsd_log_init(&e->log);
    query_brakes_init(&e->brakes, cfg->worker, cfg->brakes);
    ev_timer_init(&e->flush, on_flush_event, 0.0, 0.0);
    e->flush.data = e;
    int rc = deadline_list_new(cfg->worker->loop, on_query_deadline, e, &e->deadlines);
    rc = rc == 0 ? bad_family_new(&e->bad) : rc;
    rc = rc == 0 ? hot_answers_new(cfg->hot_bytes, &e->hot) : rc;
    if (rc != 0) {
        bad_family_free(e->bad);
        deadline_list_free(e->deadlines);
        free(e);
        return rc;
    }
    *out = e;
    return 0;
}

void query_engine_drain(struct query_engine *e)
{
    e->is_draining = true;
    say_idle(e);
}

void query_engine_free(struct query_engine *e)
{
    if (e == NULL) {
        return;
    }
    e->is_idle_said = true;
    while (e->first != NULL) {
        end_query(e->first);
    }
    ev_timer_stop(e->cfg.worker->loop, &e->flush);
    dnsd_log_flush(&e->log);
    query_brakes_fini(&e->brakes);
    deadline_list_free(e->deadlines);
    bad_family_free(e->bad);
    hot_answers_free(e->hot);
    free(e);
}

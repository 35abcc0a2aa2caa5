/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/query.h"

#include "common/base/clock.h"
#include "common/base/scratch.h"
#include "common/dns/dns_rr.h"
#include "dnsd/direct.h"
#include "dnsd/dnsd_counters.h"
#include "dnsd/query_counters.h"
#include "dnsd/query_held.h"
#include "dnsd/query_hot.h"
#include "dnsd/query_loop.h"
#include "dnsd/query_priv.h"

#include <errno.h>
#include <stdlib.h>

#define FLUSH_AFTER_S 10.0

static void count(struct query_engine *e, enum dnsd_counter c)
{
    metrics_add(&e->cfg.worker->metrics, (size_t)c, 1);
}

void query_send(struct query_engine *e, const struct answer_question *q, const struct answer *a,
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

struct answer_question query_question(const struct query_engine *e, const struct dns_query *ask,
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

/* The client, too, is not to hold it for longer than it is remembered here. */
void query_remember_bad(struct query_engine *e, const struct answer_question *q, struct answer *a)
{
    if (a->is_repaired) {
        const enum ip_family family = q->qtype == DNS_A ? IP_V4 : IP_V6;
        bad_family_put(e->bad, q->name, family, BAD_BESIDE_ADDRESSES, e->now_ms);
        const uint32_t left_s = bad_family_left_s(e->bad, q->name, family, e->now_ms);
        a->soa_ttl_s = left_s > 0 ? left_s : a->soa_ttl_s;
    }
}

/* Why no conversation may begin, or NULL. */
static const char *why_full(const struct query_engine *e, size_t route)
{
    const bool has_room = route_share_has_room(&e->share, route);
    return e->is_draining ? "shutting down" : has_room ? NULL : resolver_fail_sentence(RESOLVER_FAIL_BUSY);
}

/*
 * Where AAAA is not given out, a client's two questions for a name wait for one packet: the second one takes
 * no token. Nor does whoever asks again, but holds a place: those that are not the route's own are left to
 * those who take tokens.
 */
static bool is_joined(const struct query_engine *e, const struct answer_question *q, size_t route)
{
    const bool is_of_a = answer_hides_aaaa(q) || (q->qtype == DNS_A && !answer_other_counts(q));
    return is_of_a && brakes_has_rate(e->cfg.brakes) && route_share_has_own(&e->share, route) &&
           resolver_is_asked(e->cfg.resolver, q->name, DNS_A);
}

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
        query_send(e, question, &a, ask, to);
        break;
    }
    return true;
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
        known.route = resolver_route_of(e->cfg.resolver, question->name);
        const struct query_brakes_ask may = {.question = question,
                                             .client = &to->client.ip,
                                             .full = why_full(e, known.route),
                                             .is_joined = is_joined(e, question, known.route),
                                             .now_ms = e->now_ms};
        if (query_brakes_pass(&e->brakes, &may, a)) {
            query_pending_start(e, question, ask, to, &known);
            return;
        }
        if (!query_held(e->cfg.resolver, question, known.now_ms, a)) {
            query_brakes_count(&e->brakes, a);
        }
    }
    direct_prepare(&e->cfg, question, a);
    query_remember_bad(e, question, a);
    const struct query_hot_at at = hot_at(e);
    query_hot_keep(&at, question, is_v4 ? known.v4.answer : known.v6.answer,
                   is_v4 ? known.v6.answer : known.v4.answer, a);
    query_send(e, question, a, ask, to);
}

static void answer_query(struct query_engine *e, const struct dns_query *ask, const struct reply *to)
{
    struct answer_question question = query_question(e, ask, NULL, to);
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
        answer_from_pool(&question, synth_alloc_name(e->cfg.map, &reverse, clock_boot_s(), &held), &a);
        break;
    case ANSWER_ROUTE_DONE:
        direct_prepare(&e->cfg, &question, &a); /* a static host */
        query_hot_keep_denied(&at, &question, &a);
        break;
    }
    query_send(e, &question, &a, ask, to);
}

uint64_t query_foresee(const struct query_engine *e, struct span message)
{
    struct cursor c = cursor_make(message);
    cursor_skip(&c, DNS_HEADER_LEN);
    const struct span qname = dns_qname_read(&c);
    const uint16_t qtype = cursor_u16(&c);
    return cursor_is_ok(&c) && query_hot_is_on(&e->cfg) ? hot_answers_foresee(e->hot, qname, qtype) : 0;
}

void query_fetch(const struct query_engine *e, uint64_t foreseen)
{
    hot_answers_fetch(e->hot, foreseen);
}

enum query_outcome query_handle(struct query_engine *e, struct span message, int64_t now_ms,
                                uint64_t foreseen, const struct reply *to)
{
    struct dns_query ask;
    enum dns_rcode rcode;
    enum dns_query_result result = dns_query_parse(message, &ask, &rcode);
    e->now_ms = now_ms;
    e->hot_hash = foreseen;
    if (result == DNS_QUERY_DROP) {
        count(e, DNSD_COUNTER_DROPPED);
        return QUERY_DROPPED;
    }
    count(e, DNSD_COUNTER_QUERIES);
    if (!acl_admits(e->cfg.acl, &to->client.ip)) {
        const struct answer_question question = query_question(e, &ask, NULL, to);
        SCRATCH struct answer a;
        answer_refuse_client(&a);
        query_send(e, &question, &a, &ask, to);
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

void query_engine_take_policy(struct query_engine *e)
{
    e->now_ms = clock_mono_ms();
    query_pending_step_all(e);
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
    route_share_init(&e->share, QUERY_IN_FLIGHT_MAX, resolver_route_count(cfg->resolver));
    int rc = deadline_list_new(cfg->worker->loop, query_pending_deadline, e, &e->deadlines);
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
    query_pending_say_idle(e);
}

void query_engine_free(struct query_engine *e)
{
    if (e == NULL) {
        return;
    }
    e->is_idle_said = true;
    query_pending_end_all(e);
    ev_timer_stop(e->cfg.worker->loop, &e->flush);
    dnsd_log_flush(&e->log);
    query_brakes_fini(&e->brakes);
    deadline_list_free(e->deadlines);
    bad_family_free(e->bad);
    hot_answers_free(e->hot);
    free(e);
}

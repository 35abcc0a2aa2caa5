/* SPDX-License-Identifier: Apache-2.0 */
/* From a whole request to a connected upstream: name, lookup, addresses, dial. */
#include "tunneld/session_priv.h"

#include "common/base/clock.h"
#include "tunneld/tunneld_counters.h"

#include <errno.h>

static void on_client_hangup(struct hangup_watch *w)
{
    struct session *s = w->ctx;
    session_log_fault(
        s, &(struct session_fault){.reason = REASON_CLIENT_RESET, .cause = hangup_error(s->client_fd)});
    session_end(s, REASON_CLIENT_RESET);
}

void session_decide_stop(struct session *s)
{
    if (s->resolve != NULL) {
        resolve_cancel(s->resolve);
        s->resolve = NULL;
    }
    if (s->dial != NULL) {
        dial_cancel(s->dial);
        s->dial = NULL;
    }
    session_chain_stop(s);
    hangup_stop(s->tw->relay_env.hangup, &s->hangup);
}

static enum reason dial_reason(int error)
{
    switch (error) {
    case EMFILE: /* the daemon's own limit, as it is for accept(2) */
    case ENFILE:
        return REASON_LIMIT_REACHED;
    case ENOMEM:
    case ENOBUFS:
        return REASON_INTERNAL;
    case ETIMEDOUT: /* the kernel's SYN retries */
        return REASON_UPSTREAM_TIMEOUT;
    default:
        return REASON_UPSTREAM_UNREACHABLE;
    }
}

static void on_dial(void *ctx, const struct dial_result *r)
{
    struct session *s = ctx;
    session_decide_stop(s); /* frees the dial; its descriptor is ours now */
    if (r->fd < 0) {
        s->upstream = r->addr;
        session_fail(s, &(struct session_fault){.reason = dial_reason(r->error), .cause = r->error});
        return;
    }
    session_established(s, r->fd, &r->addr);
}

static int add_addr(struct session *s, const struct host *host, const struct ip *ip)
{
    struct addr to = {.ip = *ip, .port = s->port};
    struct dest_verdict v;
    if (!admit_addr(&s->tw->admit, s->endpoint, host, &to, &v)) {
        if (s->refused_addr.ip.family == IP_NONE) {
            s->refused = v;
            s->refused_addr = to;
        }
        return 0;
    }
    if (s->dial == NULL) {
        int rc = dial_start(s->tw->relay_env.loop, s->port, on_dial, s, &s->dial);
        if (rc != 0) {
            return rc;
        }
    }
    dial_add(s->dial, ip);
    return 0;
}

/* A request that is passed on to ourselves would come back for ever. */
static enum reason refused_reason(const struct session *s)
{
    bool is_loop = s->is_forwarded && guard_is_own(own_guard_of(s->tw->guard), &s->refused_addr);
    return is_loop ? REASON_PROXY_LOOP : REASON_SSRF_DENIED;
}

/* Judges each address; only those that pass reach the dial. complete: no more will come. */
static void decide_addrs(struct session *s, const struct ip *addrs, size_t count, bool complete,
                         const struct session_fault *if_none)
{
    const struct host host = session_host(s);
    bool is_dialling = s->dial != NULL;
    if (!is_dialling) {
        session_move(s, SESSION_DECIDE_ADDR);
    }
    for (size_t i = 0; i < count; i++) {
        int rc = add_addr(s, &host, &addrs[i]);
        if (rc != 0) {
            session_fail(s, &(struct session_fault){.reason = REASON_INTERNAL, .cause = -rc});
            return;
        }
    }
    if (complete && s->dial != NULL) {
        dial_complete(s->dial);
    } else if (complete && s->refused_addr.ip.family != IP_NONE) {
        session_fail(s, &(struct session_fault){.reason = refused_reason(s), .why = s->refused.why});
        return;
    } else if (complete) {
        session_fail(s, if_none);
        return;
    }
    if (!is_dialling) {
        session_move(s, s->dial != NULL ? SESSION_DIAL : SESSION_RESOLVE);
    }
}

static const char *resolve_why(const struct resolve_result *r)
{
    switch (r->status) {
    case RESOLVER_NXDOMAIN:
        return "no such name";
    case RESOLVER_NODATA:
    case RESOLVER_ADDRS:
    case RESOLVER_RECORDS:
        return "the name has no address";
    case RESOLVER_FAILED:
        break;
    }
    return resolver_fail_sentence(r->why);
}

struct session_fault session_resolve_fault(const struct resolve_result *r)
{
    bool is_silence = r->status == RESOLVER_FAILED && r->why == RESOLVER_FAIL_TIMEOUT;
    return (struct session_fault){
        .reason = REASON_DNS_FAILED, .cause = is_silence ? ETIMEDOUT : 0, .why = resolve_why(r)};
}

static void on_resolve(void *ctx, const struct resolve_result *r)
{
    struct session *s = ctx;
    if (r->is_complete) {
        resolve_cancel(s->resolve); /* done: only its memory */
        s->resolve = NULL;
    }
    const struct session_fault none = session_resolve_fault(r);
    decide_addrs(s, r->addrs, r->addr_count, r->is_complete, &none);
}

/* Is the cache going to answer, so that nothing goes upstream? */
static bool is_cached(const struct session *s, const struct host_name *name, int64_t now_ms)
{
    struct resolver_answer a;
    return resolver_peek(s->tw->resolver, name, DNS_AAAA, now_ms, &a) &&
           resolver_peek(s->tw->resolver, name, DNS_A, now_ms, &a);
}

/* What had expired, for a name that the brakes stop: using it leaks nothing. At most 2 * DNS_ADDRS_MAX. */
static size_t find_stale(const struct session *s, int64_t now_ms, struct ip *addrs)
{
    static const uint16_t types[] = {DNS_AAAA, DNS_A};
    const struct host host = session_host(s);
    struct resolver_answer a;
    size_t count = 0;
    for (size_t i = 0; i < 2; i++) {
        if (resolver_peek(s->tw->resolver, &host.name, types[i], now_ms, &a) ||
            resolver_peek_stale(s->tw->resolver, &host.name, types[i], now_ms, &a)) {
            memcpy(addrs + count, a.addrs, a.addr_count * sizeof(a.addrs[0]));
            count += a.addr_count;
        }
    }
    return count;
}

static void brake(struct session *s, enum brakes_verdict verdict, int64_t now_ms)
{
    struct ip addrs[2 * DNS_ADDRS_MAX];
    const struct session_fault fault = {.reason = brakes_reason(verdict), .why = brakes_text(verdict)};
    const size_t count = find_stale(s, now_ms, addrs);
    if (count > 0) {
        decide_addrs(s, addrs, count, true, &fault);
    } else { /* the fault is logged as every denial is */
        session_fail(s, &fault);
    }
}

static enum tunneld_counter brake_counter(enum brakes_verdict v)
{
    switch (v) {
    case BRAKES_RATE:
        return TUNNELD_COUNTER_RATE_LIMITED;
    case BRAKES_BUDGET:
        return TUNNELD_COUNTER_WILDCARD_BUDGET;
    case BRAKES_LENGTH:
        return TUNNELD_COUNTER_WILDCARD_LENGTH;
    case BRAKES_GO:
        break;
    }
    return TUNNELD_COUNTER_WILDCARD_NAMES;
}

enum brakes_verdict session_ask_brakes(struct session *s)
{
    const struct host host = session_host(s);
    struct name_verdict v; /* of the name alone: an exact rule on another port is an exact rule */
    judge_name(s->tw->admit.policy, &host.name, &v);
    const struct brakes_question q = {.sandbox = 0,
                                      .client = &s->client.ip,
                                      .name = &host.name,
                                      .pattern = v.is_wildcard ? &v.endpoint->pattern.text : NULL,
                                      .now_ms = clock_mono_ms()};
    struct brakes_outcome outcome;
    if (is_cached(s, &host.name, q.now_ms)) {
        return BRAKES_GO;
    }
    brakes_judge(s->tw->daemon->brakes, &q, &outcome);
    if (outcome.verdict != BRAKES_GO || outcome.is_new_name) {
        metrics_add(&s->tw->worker->metrics, (size_t)brake_counter(outcome.verdict), 1);
    }
    if (outcome.verdict == BRAKES_GO) {
        brakes_log_name(&s->tw->brakes_log, &q, &outcome, v.endpoint);
    }
    return outcome.verdict;
}

/* False: the name may not go upstream, and the session has gone on without, or failed. */
static bool pass_brakes(struct session *s)
{
    const enum brakes_verdict v = session_ask_brakes(s);
    if (v != BRAKES_GO) {
        brake(s, v, clock_mono_ms());
    }
    return v == BRAKES_GO;
}

static void find_addrs(struct session *s)
{
    static const struct session_fault none = {.reason = REASON_DNS_FAILED, .why = "the name has no address"};
    const struct host host = session_host(s);
    const struct policy_host *h = admit_static(&s->tw->admit, &host);
    if (host.kind == HOST_IP) {
        decide_addrs(s, &host.ip, 1, true, &none);
    } else if (h != NULL) {
        decide_addrs(s, h->addrs, h->addr_count, true, &none);
    } else if (pass_brakes(s)) {
        int rc =
            resolve_start(s->tw->relay_env.loop, s->tw->resolver, &host.name, on_resolve, s, &s->resolve);
        if (rc != 0) {
            session_fail(s, &(struct session_fault){.reason = REASON_INTERNAL, .cause = -rc});
            return;
        }
        session_move(s, SESSION_RESOLVE);
    }
}

/* What would have it carried, where that is an option's doing. */
static const char *name_why(const struct session *s, const struct tunnel_verdict *v)
{
    if (v->reason != REASON_L7_REQUIRED) {
        return NULL;
    }
    if (!s->tw->admit.judge->has_chain) {
        return v->endpoint->proxy == PROXY_CHAIN
                   ? "the endpoint says proxy: chain, and there is no --chain-proxy"
                   : "give --chain-proxy, or write proxy: direct at the endpoint to have it carried raw";
    }
    return "--chain-except keeps it from the chain proxy, and a raw tunnel would allow more than the rule";
}

void session_decide_name(struct session *s)
{
    session_move(s, SESSION_DECIDE_NAME);
    const struct host host = session_host(s);
    struct tunnel_verdict v;
    bool is_admitted = admit_tunnel(&s->tw->admit, &host, s->port, &v);
    s->endpoint = v.endpoint;
    s->carriage = v.carriage;
    s->refused = (struct dest_verdict){0};
    s->refused_addr = (struct addr){0};
    s->timers = v.timers;
    s->keepalive = v.keepalive;
    if (!is_admitted) {
        session_fail(s, &(struct session_fault){.reason = v.reason, .why = name_why(s, &v)});
        return;
    }
    struct session_fault fault;
    if (!session_take_rule(s, &fault)) {
        session_fail(s, &fault);
        return;
    }
    s->hangup.fn = on_client_hangup;
    s->hangup.ctx = s;
    int rc = hangup_start(s->tw->relay_env.hangup, &s->hangup, s->client_fd);
    if (rc != 0) {
        session_fail(s, &(struct session_fault){.reason = REASON_INTERNAL, .cause = -rc});
        return;
    }
    if (s->carriage == CARRY_CHAIN) {
        session_chain_start(s);
    } else {
        find_addrs(s);
    }
}

void session_decide_timeout(struct session *s)
{
    if (s->carriage == CARRY_CHAIN) {
        session_chain_timeout(s);
    } else if (s->dial == NULL) {
        session_fail(s, &(struct session_fault){
                            .reason = REASON_DNS_FAILED, .cause = ETIMEDOUT, .why = "no answer in time"});
    } else {
        session_fail(s, &(struct session_fault){.reason = REASON_UPSTREAM_TIMEOUT,
                                                .cause = ETIMEDOUT,
                                                .why = "no address answered in time"});
    }
}

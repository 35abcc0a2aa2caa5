/* SPDX-License-Identifier: Apache-2.0 */
/* What a session takes of the limits, and what its client is told where nothing is left. */
#include "tunneld/session_priv.h"

#include "tunneld/tunneld_counters.h"

#include <errno.h>

static struct session_fault limit_fault(enum limits_verdict v)
{
    struct session_fault fault = {.reason = REASON_LIMIT_REACHED};
    switch (v) {
    case LIMITS_TOTAL:
        fault.why = "the daemon holds as many connections as it may (--max-tunnels)";
        return fault;
    case LIMITS_CLIENT:
        fault.status = 429;
        fault.why = "this client holds as many connections as it may (--max-tunnels-per-client)";
        return fault;
    case LIMITS_HEADS:
        fault.status = 429;
        fault.why = "this client has as many unfinished requests as it may (--max-heads-per-client)";
        return fault;
    case LIMITS_RULE:
        fault.why = "this rule has admitted as many tunnels as it may (--max-tunnels-per-rule)";
        return fault;
    case LIMITS_MEMORY:
    case LIMITS_TAKEN:
        break;
    }
    return (struct session_fault){.reason = REASON_INTERNAL, .cause = ENOMEM};
}

static void count_head(struct session *s)
{
    s->is_head_counted = true;
    metrics_add(&s->tw->worker->metrics, TUNNELD_COUNTER_HEADS, 1);
}

bool session_take_place(struct session *s, struct session_fault *fault)
{
    const struct tunneld *daemon = s->tw->daemon;
    bool with_head = s->kind == LISTEN_CONNECT;
    if (!acl_admits(&daemon->acl, &s->client.ip)) {
        *fault = (struct session_fault){.reason = REASON_CLIENT_NOT_ALLOWED,
                                        .why = "this client address is not served (--allow-client)"};
        return false;
    }
    enum limits_verdict v = limits_take(daemon->limits, &s->client.ip, with_head);
    if (v != LIMITS_TAKEN) {
        *fault = limit_fault(v);
        return false;
    }
    s->is_counted = true;
    if (with_head) {
        count_head(s);
    }
    return true;
}

void session_give_place(struct session *s)
{
    session_give_head(s);
    if (s->is_counted) {
        s->is_counted = false;
        limits_give(s->tw->daemon->limits, &s->client.ip);
    }
}

bool session_take_head(struct session *s, struct session_fault *fault)
{
    enum limits_verdict v = limits_take_head(s->tw->daemon->limits, &s->client.ip);
    if (v != LIMITS_TAKEN) {
        *fault = limit_fault(v);
        return false;
    }
    count_head(s);
    return true;
}

void session_give_head(struct session *s)
{
    if (s->is_head_counted) {
        s->is_head_counted = false;
        metrics_sub(&s->tw->worker->metrics, TUNNELD_COUNTER_HEADS, 1);
        limits_give_head(s->tw->daemon->limits, &s->client.ip);
    }
}

bool session_take_rule(struct session *s, struct session_fault *fault)
{
    session_give_rule(s);
    enum limits_verdict v = limits_take_rule(s->tw->daemon->limits, s->endpoint->rule->key, &s->counted_rule);
    if (v != LIMITS_TAKEN) {
        *fault = limit_fault(v);
        return false;
    }
    return true;
}

void session_give_rule(struct session *s)
{
    limits_give_rule(s->tw->daemon->limits, s->counted_rule);
    s->counted_rule = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a session says: log lines, and the HTTP answer to a fault. */
#include "tunneld/session_priv.h"

#include "tunneld/tls_sni.h"
#include "tunneld/tunneld_counters.h"

#include <errno.h>
#include <stdio.h>

#define KV_MAX 16
#define RETRY_AFTER_S 5

struct kv_list {
    struct log_kv items[KV_MAX];
    size_t count;
};

static void add(struct kv_list *l, struct log_kv kv)
{
    REQUIRE(l->count + 1 < KV_MAX);
    l->items[l->count] = kv;
    l->count++;
    l->items[l->count] = (struct log_kv){.kind = LOG_KIND_END};
}

/* Not strerror(3): no locale, no static buffer, and words that scripts can rely on. */
static const char *cause_text(int cause)
{
    switch (cause) {
    case ECONNREFUSED:
        return "connection refused";
    case ECONNRESET:
    case EPIPE: /* the same after a FIN */
        return "connection reset";
    case ETIMEDOUT:
        return "timed out";
    case EHOSTUNREACH:
        return "no route to host";
    case ENETUNREACH:
        return "network is unreachable";
    case EADDRNOTAVAIL:
        return "no local address or port is left";
    case EACCES:
    case EPERM:
        return "forbidden by the local firewall";
    case EMFILE:
    case ENFILE:
        return "no descriptor is left";
    case ENOMEM:
    case ENOBUFS:
        return "out of memory";
    default:
        return "operating system error";
    }
}

static const char *via_text(const struct session *s)
{
    if (s->kind == LISTEN_CAPTURE) {
        return s->steered != STEERED_NOT ? "steer" : "capture";
    }
    return s->is_forwarded ? "forward" : "connect";
}

struct session_texts {
    char client[ADDR_TEXT_CAP];
    char addr[ADDR_TEXT_CAP];
    char chain[SESSION_CHAIN_TEXT_CAP];
};

static void add_names(struct kv_list *l, const struct session *s, struct session_texts *t)
{
    add(l, kv_str("host", s->host_text != NULL ? s->host_text : "-"));
    add(l, kv_u64("port", s->port));
    add(l, kv_str("client", addr_text(&s->client, t->client)));
}

/* addr is the chain proxy's then: what it was asked for. */
static void add_chain(struct kv_list *l, const struct session *s, struct session_texts *t)
{
    if (s->carriage == CARRY_CHAIN) {
        add(l, kv_str("chain", session_chain_text(s, t->chain)));
    }
}

static void count(const struct session *s, enum tunneld_counter c, uint64_t n)
{
    metrics_add(&s->tw->worker->metrics, (size_t)c, n);
}

void session_log_open(struct session *s, const char *rule, int64_t now_ms)
{
    struct session_texts t;
    struct kv_list l = {.count = 0};
    count(s, TUNNELD_COUNTER_TUNNELS_OPENED, 1);
    count(s, TUNNELD_COUNTER_TUNNELS, 1);
    add_names(&l, s, &t);
    add(&l, kv_str("addr", addr_text(&s->upstream, t.addr)));
    add_chain(&l, s, &t);
    add(&l, kv_str("rule", rule));
    add(&l, kv_str("via", via_text(s)));
    add(&l, kv_i64("connect_ms", now_ms - s->asked_ms));
    log_event(LOG_INFO, "tunnel_open", l.items);
}

/* Whose doing the end was. */
static const char *who_text(const struct session *s, enum reason reason)
{
    if (reason == REASON_CLIENT_CLOSED || reason == REASON_CLIENT_RESET) {
        return "client";
    }
    if (reason == REASON_UPSTREAM_CLOSED || reason == REASON_UPSTREAM_RESET) {
        return "upstream";
    }
    if (reason == REASON_PEER_VANISHED) {
        return s->relay.end.side == RELAY_CLIENT ? "client" : "upstream";
    }
    return "tunneld";
}

/* What a new policy has in place of the rule that admitted it. */
static void add_now(struct kv_list *l, const struct session *s, enum reason reason)
{
    if (reason == REASON_POLICY_CHANGED && s->revoked_now != NULL) {
        add(l, kv_str("rule_now", s->revoked_now));
    }
}

static void add_revoked(struct kv_list *l, const struct session *s, enum reason reason)
{
    if (reason == REASON_POLICY_CHANGED && s->revoked_rule != NULL) {
        add(l, kv_str("rule", s->revoked_rule));
    }
    add_now(l, s, reason);
}

void session_log_close(struct session *s, enum reason reason, int64_t now_ms)
{
    struct session_texts t;
    struct kv_list l = {.count = 0};
    const uint64_t up = s->relay.leg[RELAY_UPSTREAM].sent_bytes, down = s->relay.leg[RELAY_CLIENT].sent_bytes;
    metrics_sub(&s->tw->worker->metrics, TUNNELD_COUNTER_TUNNELS, 1);
    count(s, TUNNELD_COUNTER_BYTES_UP, up);
    count(s, TUNNELD_COUNTER_BYTES_DOWN, down);
    add(&l, kv_str("reason", reason_text(reason)));
    add_names(&l, s, &t);
    add(&l, kv_str("addr", addr_text(&s->upstream, t.addr)));
    add_chain(&l, s, &t);
    add(&l, kv_str("via", via_text(s)));
    add(&l, kv_u64("bytes_up", up));
    add(&l, kv_u64("bytes_down", down));
    add(&l, kv_i64("duration_ms", now_ms - s->opened_ms));
    add(&l, kv_str("who", who_text(s, reason)));
    add_revoked(&l, s, reason);
    if (s->relay.end.error != 0) {
        add(&l, kv_str("error", cause_text(s->relay.end.error)));
    }
    log_event(LOG_INFO, "tunnel_close", l.items);
}

void session_log_forward(struct session *s, const struct session_exchange *x, int64_t now_ms)
{
    struct session_texts t;
    struct kv_list l = {.count = 0};
    count(s, TUNNELD_COUNTER_FORWARDED, 1);
    count(s, TUNNELD_COUNTER_BYTES_UP, x->bytes_up);
    count(s, TUNNELD_COUNTER_BYTES_DOWN, x->bytes_down);
    if (x->reason != REASON_NONE) {
        add(&l, kv_str("reason", reason_text(x->reason)));
    }
    if (x->status != 0) {
        add(&l, kv_u64("status", x->status));
    }
    add(&l, kv_str("method", x->method));
    if (s->steered != STEERED_NOT) {
        add(&l, kv_str("via", via_text(s)));
    }
    add_names(&l, s, &t);
    add(&l, kv_str("addr", addr_text(&s->upstream, t.addr)));
    add(&l, kv_str("rule", x->rule));
    add_now(&l, s, x->reason);
    add(&l, kv_u64("bytes_up", x->bytes_up));
    add(&l, kv_u64("bytes_down", x->bytes_down));
    add(&l, kv_i64("duration_ms", now_ms - s->asked_ms));
    log_event(LOG_INFO, "forward", l.items);
}

enum fault_class { FAULT_DENIED = 0, FAULT_FAILED, FAULT_REQUEST };

static enum fault_class classify(enum reason r)
{
    switch (r) {
    case REASON_BAD_REQUEST:
    case REASON_METHOD_NOT_ALLOWED:
    case REASON_HEAD_TIMEOUT:
    case REASON_HEAD_TOO_LARGE:
        return FAULT_REQUEST;
    case REASON_POLICY_DENIED:
    case REASON_BINARY_DENIED:
    case REASON_L7_REQUIRED:
    case REASON_SSRF_DENIED:
    case REASON_CLIENT_NOT_ALLOWED:
    case REASON_NOT_MAPPED:
    case REASON_STEER_NO_NAME:
    case REASON_LIMIT_REACHED:
    case REASON_RATE_LIMITED:
    case REASON_WILDCARD_BUDGET:
    case REASON_WILDCARD_LENGTH:
        return FAULT_DENIED;
    case REASON_DNS_FAILED:
    case REASON_UPSTREAM_UNREACHABLE:
    case REASON_UPSTREAM_TIMEOUT:
    case REASON_CHAIN_FAILED:
    case REASON_PROXY_LOOP:
    case REASON_BAD_RESPONSE:
    case REASON_CLIENT_CLOSED:
    case REASON_UPSTREAM_CLOSED:
    case REASON_CLIENT_RESET:
    case REASON_UPSTREAM_RESET:
    case REASON_PEER_VANISHED:
    case REASON_IDLE:
    case REASON_LIFETIME:
    case REASON_HALF_CLOSED:
    case REASON_SNI_MISMATCH:
    case REASON_POLICY_CHANGED:
    case REASON_SHUTDOWN:
    case REASON_INTERNAL:
    case REASON_NONE:
    case REASON_COUNT:
        break;
    }
    return FAULT_FAILED;
}

/* The address a fault is about: one that may not be dialled, was never handed out, or did not answer. */
static const struct addr *fault_addr(const struct session *s)
{
    const struct addr *a = s->refused_addr.ip.family != IP_NONE ? &s->refused_addr : &s->upstream;
    return a->ip.family == IP_NONE ? NULL : a;
}

static const char *rule_text(const struct session *s)
{
    const char *rule = s->endpoint != NULL ? s->endpoint->rule->key : session_forward_rule(s);
    return rule != NULL ? rule : "none";
}

static const char *fault_why(const struct session_fault *fault)
{
    if (fault->why != NULL) {
        return fault->why;
    }
    return fault->cause != 0 ? cause_text(fault->cause) : NULL;
}

void session_log_fault(struct session *s, const struct session_fault *fault)
{
    static const char *const events[] = {"tunnel_denied", "tunnel_failed", "request_refused"};
    static const enum tunneld_counter counters[] = {TUNNELD_COUNTER_DENIED, TUNNELD_COUNTER_FAILED,
                                                    TUNNELD_COUNTER_BAD_REQUESTS};
    enum fault_class class = classify(fault->reason);
    count(s, counters[class], 1);
    if (fault->reason == REASON_CHAIN_FAILED) {
        count(s, TUNNELD_COUNTER_CHAIN_FAILED, 1);
    }
    if (fault->reason == REASON_LIMIT_REACHED) {
        count(s, TUNNELD_COUNTER_LIMIT_REACHED, 1);
    }
    const enum log_level level = class == FAULT_REQUEST ? LOG_INFO : LOG_WARN;
    struct log_limit *limit = class == FAULT_DENIED ? &s->tw->denied_limit : &s->tw->failed_limit;
    uint64_t suppressed = 0;
    if (!log_is_on(level) || !tunneld_worker_may_log(s->tw, limit, &suppressed)) {
        return;
    }
    struct session_texts t;
    struct kv_list l = {.count = 0};
    const struct addr *addr = fault_addr(s);
    const char *why = fault_why(fault);
    add(&l, kv_str("reason", reason_text(fault->reason)));
    add_names(&l, s, &t);
    if (addr != NULL) {
        add(&l, kv_str("addr", addr_text(addr, t.addr)));
    }
    add(&l, kv_str("rule", rule_text(s)));
    add_now(&l, s, fault->reason);
    add(&l, kv_str("via", via_text(s)));
    if (fault->received_status != 0) {
        add(&l, kv_i64("received_status", fault->received_status));
    }
    if (why != NULL) {
        add(&l, kv_str("why", why));
    }
    if (suppressed > 0) {
        add(&l, kv_u64("suppressed", suppressed));
    }
    log_event(level, events[class], l.items);
}

void session_log_sni(struct session *s, const struct tls_sni *hello, bool is_enforced)
{
    uint64_t suppressed = 0;
    if (!tunneld_worker_may_log(s->tw, &s->tw->denied_limit, &suppressed)) {
        return;
    }
    struct session_texts t;
    struct kv_list l = {.count = 0};
    const struct span name = span_make(hello->name, hello->name_len);
    add_names(&l, s, &t);
    add(&l, name.len > 0 ? kv_span("sni", name) : kv_str("sni", "-"));
    if (hello->has_ech) {
        add(&l, kv_span("ech", name));
    }
    add(&l, kv_str("via", via_text(s)));
    add(&l, kv_str("why", tls_sni_why(hello)));
    add(&l, kv_str("effect", is_enforced ? "closed" : "passed"));
    if (suppressed > 0) {
        add(&l, kv_u64("suppressed", suppressed));
    }
    log_event(LOG_WARN, "sni_mismatch", l.items);
}

void session_log_ech(struct session *s, const struct tls_sni *hello)
{
    struct session_texts t;
    struct kv_list l = {.count = 0};
    add_names(&l, s, &t);
    add(&l, kv_span("ech", span_make(hello->name, hello->name_len)));
    add(&l, kv_str("via", via_text(s)));
    log_event(LOG_DEBUG, "sni_ech", l.items);
}

static const char *outcome_text(enum reason r)
{
    switch (r) {
    case REASON_POLICY_DENIED:
        return "not permitted by policy";
    case REASON_BINARY_DENIED:
        return "not permitted by policy for this program";
    case REASON_L7_REQUIRED:
        return "needs a proxy that inspects HTTP: a raw tunnel would allow more than the rule";
    case REASON_SSRF_DENIED:
        return "blocked: its address may not be dialled";
    case REASON_RATE_LIMITED:
    case REASON_WILDCARD_BUDGET:
    case REASON_WILDCARD_LENGTH:
        return "not resolved: a limit was met";
    case REASON_DNS_FAILED:
        return "failed: the name could not be resolved";
    case REASON_UPSTREAM_UNREACHABLE:
        return "failed: could not connect";
    case REASON_UPSTREAM_TIMEOUT:
        return "failed: no connection in time";
    case REASON_CHAIN_FAILED:
        return "failed: the chain proxy did not open a tunnel";
    case REASON_CLIENT_NOT_ALLOWED:
    case REASON_NOT_MAPPED:
    case REASON_STEER_NO_NAME:
    case REASON_LIMIT_REACHED:
    case REASON_BAD_REQUEST:
    case REASON_METHOD_NOT_ALLOWED:
    case REASON_HEAD_TIMEOUT:
    case REASON_HEAD_TOO_LARGE:
    case REASON_CLIENT_CLOSED:
    case REASON_CLIENT_RESET:
    case REASON_HALF_CLOSED:
    case REASON_SNI_MISMATCH:
    case REASON_INTERNAL:
    case REASON_NONE:
    case REASON_COUNT:
        break;
    case REASON_SHUTDOWN:
        return "failed: the proxy is stopping";
    case REASON_PROXY_LOOP:
        return "refused: it leads back to this proxy";
    case REASON_BAD_RESPONSE:
        return "failed: the server's answer is not one that can be passed on";
    case REASON_UPSTREAM_CLOSED:
    case REASON_UPSTREAM_RESET:
    case REASON_PEER_VANISHED:
        return "failed: the server ended the connection";
    case REASON_IDLE:
    case REASON_LIFETIME:
        return "failed: no answer in time";
    case REASON_POLICY_CHANGED:
        return "no longer permitted by policy";
    }
    return "refused";
}

size_t session_write_reply(const struct session *s, const struct session_fault *fault, void *out, size_t cap)
{
    char addr[ADDR_TEXT_CAP];
    char rule[1024];
    char why[256];
    uint8_t detail[HOST_TEXT_CAP + 256];
    const struct addr *a = fault_addr(s);
    struct wbuf w = wbuf_make(detail, sizeof detail - 1);
    if (s->host_text == NULL) {
        wbuf_str(&w, "request refused");
    } else {
        const char *asked = s->is_forwarded ? "http://" : "CONNECT ";
        wbuf_printf(&w, "%s%s:%u %s", s->kind == LISTEN_CAPTURE ? "" : asked, s->host_text, (unsigned)s->port,
                    outcome_text(fault->reason));
        if (a != NULL) {
            wbuf_printf(&w, " (%s)", addr_text(a, addr));
        }
    }
    detail[w.len] = '\0';
    struct http_reply r = {.reason = fault->reason,
                           .status = fault->status,
                           .cause = fault->cause,
                           .received_status = fault->received_status,
                           .error_type = fault->error_type,
                           .detail = (const char *)detail,
                           .keeps_open = fault->keeps_open,
                           .has_no_body = fault->has_no_body,
                           .why = fault_why(fault)};
    if (fault->reason == REASON_POLICY_DENIED) {
        const struct host host = session_host(s);
        const struct admit *admit = &s->tw->admit;
        const char *never =
            host.kind == HOST_IP ? judge_never_helps(admit->policy, admit->guard, &host.ip, s->port) : NULL;
        r.why = "no endpoint of the policy names this host and port";
        if (never != NULL) {
            (void)snprintf(why, sizeof why, "%s, and one that did would not help: %s", r.why, never);
            r.why = why;
        } else if (judge_suggest(&host, s->port, rule, sizeof rule) > 0) {
            r.rule_missing = rule;
        }
    } else if (fault->reason == REASON_LIMIT_REACHED) {
        r.retry_after_s = RETRY_AFTER_S;
    } else if (fault->reason == REASON_RATE_LIMITED) {
        r.retry_after_s = 1;
    }
    return http_reply_write(&r, out, cap);
}

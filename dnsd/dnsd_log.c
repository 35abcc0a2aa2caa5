/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/dnsd_log.h"

#include "common/base/buf.h"
#include "common/dns/dns_ldns.h"

#define DNSD_LOG_RATE 50 /* lines a second of one kind and worker */
#define TYPE_TEXT_CAP 16
#define NAME_TEXT_CAP (2 * HOST_NAME_MAX_LEN + 2) /* every byte may need a backslash */

struct line {
    enum log_level level;
    const char *event;
    struct log_limit *limit;
};

void dnsd_log_init(struct dnsd_log *l)
{
    struct log_limit *all[] = {&l->denied, &l->client,    &l->upstream, &l->stale,   &l->admitted,
                               &l->noise,  &l->open_zone, &l->local,    &l->rejected};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        *all[i] = (struct log_limit){.rate = DNSD_LOG_RATE, .tokens = 2.0 * DNSD_LOG_RATE};
    }
}

/* A dot or a backslash within a label as master files have them (RFC 1035 5.1): else it would look like
 * another name. False: no room. */
static bool put_label(struct wbuf *w, struct span label)
{
    for (size_t i = 0; i < label.len; i++) {
        const uint8_t c = label.data[i];
        if (c == '.' || c == '\\') {
            wbuf_u8(w, '\\');
        }
        wbuf_u8(w, c);
    }
    return !w->overflow;
}

/* The name as asked, dots between labels; log_event() escapes what is not printable. Returns the length. */
static size_t name_text(struct span wire, uint8_t *out, size_t cap)
{
    struct wbuf w = wbuf_make(out, cap);
    for (size_t at = 0; at < wire.len && wire.data[at] != 0;) {
        const size_t len = wire.data[at];
        if (len > wire.len - at - 1) {
            break;
        }
        wbuf_str(&w, at > 0 ? "." : "");
        if (!put_label(&w, span_sub(wire, at + 1, len))) {
            break;
        }
        at += len + 1;
    }
    if (w.len == 0) {
        wbuf_u8(&w, '.');
    }
    return w.len;
}

static bool choose_line(struct dnsd_log *l, const struct answer *a, struct line *out)
{
    switch (a->event) {
    case ANSWER_EVENT_DENIED:
        *out = a->reason == REASON_CLIENT_NOT_ALLOWED
                   ? (struct line){LOG_WARN, "dns_client_refused", &l->client}
                   : (struct line){LOG_WARN, "dns_denied", &l->denied};
        return true;
    case ANSWER_EVENT_NOISE:
        *out = (struct line){LOG_DEBUG, "dns_noise", &l->noise};
        return true;
    case ANSWER_EVENT_LOCAL:
        *out = (struct line){LOG_DEBUG, "dns_local", &l->local};
        return true;
    case ANSWER_EVENT_BRAKED:
        return false; /* the brakes say so */
    case ANSWER_EVENT_ADMITTED:
        if (a->target.len > 0) { /* some of the SRV records, for want of an endpoint */
            *out = (struct line){LOG_WARN, "dns_target_denied", &l->denied};
            return true;
        }
        if (a->addrs_refused > 0 && a->is_refusal_new) {
            *out = (struct line){LOG_WARN, "dns_address_denied", &l->denied};
            return true;
        }
        *out = a->is_stale ? (struct line){LOG_WARN, "dns_stale", &l->stale}
                           : (struct line){LOG_DEBUG, "dns_admitted", &l->admitted};
        return true;
    case ANSWER_EVENT_OPEN_ZONE:
        if (a->addrs_refused > 0 && a->is_refusal_new) {
            *out = (struct line){LOG_WARN, "dns_address_denied", &l->denied};
            return true;
        }
        *out = a->is_stale ? (struct line){LOG_WARN, "dns_stale", &l->stale}
                           : (struct line){LOG_DEBUG, "dns_open_zone", &l->open_zone};
        return true;
    case ANSWER_EVENT_FAILED:
        *out = (struct line){LOG_WARN, "dns_failed", &l->upstream};
        return true;
    }
    return false;
}

static bool has_outcome(const struct answer *a)
{
    return a->event == ANSWER_EVENT_ADMITTED || a->event == ANSWER_EVENT_OPEN_ZONE ||
           a->event == ANSWER_EVENT_LOCAL;
}

/* Of a failure: who was asked, and for which zone. Returns how many keys; text is for them. */
static size_t put_asked(const struct answer_question *q, const struct answer *a, struct log_kv kv[2],
                        char text[ADDR_TEXT_CAP])
{
    size_t n = 0;
    if (a->event != ANSWER_EVENT_FAILED || a->reason != REASON_DNS_FAILED) {
        return 0;
    }
    if (a->upstream.ip.family != IP_NONE) {
        kv[n++] = kv_str("upstream", addr_text(&a->upstream, text));
    }
    const struct zone *z = q->name == NULL ? NULL : zone_find(q->cfg->zones, q->name);
    if (z != NULL) {
        kv[n++] = kv_name("zone", &z->suffix);
    }
    return n;
}

void dnsd_log_answer(struct dnsd_log *l, const struct answer_question *q, const struct answer *a,
                     const struct reply *to, int64_t now_ms)
{
    struct line line = {LOG_DEBUG, NULL, NULL};
    uint64_t suppressed = 0;
    if (!choose_line(l, a, &line) || !log_is_on(line.level) ||
        !log_limit_take(line.limit, now_ms, &suppressed)) {
        return;
    }
    uint8_t name[NAME_TEXT_CAP];
    char type[TYPE_TEXT_CAP];
    char upstream[ADDR_TEXT_CAP];
    struct log_kv kv[16]; /* those of a failure are none of those of an outcome */
    size_t n = 0;
    kv[n++] = kv_span("name", span_make(name, name_text(q->qname, name, sizeof(name))));
    kv[n++] = kv_str("type", dns_type_text(q->qtype, type, sizeof(type)));
    kv[n++] = kv_ip("client", &to->client.ip);
    if (a->reason != REASON_NONE) {
        kv[n++] = kv_str("reason", reason_text(a->reason));
    }
    if (a->why[0] != '\0') {
        kv[n++] = kv_str("why", a->why);
    }
    n += put_asked(q, a, &kv[n], upstream);
    if (a->endpoint != NULL) {
        kv[n++] = kv_str("rule", a->endpoint->rule->key);
    }
    if (a->target.len > 0) {
        kv[n++] = kv_str("target", a->target.text);
        kv[n++] = kv_u64("port", a->target_port);
    }
    if (a->addrs_refused > 0) {
        kv[n++] = kv_ip("address", &a->refused);
        kv[n++] = kv_u64("refused", a->addrs_refused);
    }
    if (has_outcome(a)) {
        kv[n++] = kv_str("rcode", dns_rcode_text((uint16_t)a->rcode));
        kv[n++] = kv_u64("addrs", a->addr_count);
        if (a->has_records) {
            kv[n++] = kv_u64("records", a->records.count);
        }
    }
    if (suppressed > 0) {
        kv[n++] = kv_u64("suppressed", suppressed);
    }
    kv[n] = (struct log_kv){.key = NULL, .kind = LOG_KIND_END, .v.u64 = 0};
    log_event(line.level, line.event, kv);
}

void dnsd_log_rejected(struct dnsd_log *l, const struct dns_query *ask, enum dns_rcode rcode,
                       const struct reply *to, int64_t now_ms)
{
    uint64_t suppressed = 0;
    if (!log_is_on(LOG_DEBUG) || !log_limit_take(&l->rejected, now_ms, &suppressed)) {
        return;
    }
    uint8_t name[NAME_TEXT_CAP];
    char type[TYPE_TEXT_CAP];
    const bool has_question = ask->question.len > 0;
    log_event(
        LOG_DEBUG, "dns_rejected",
        LOG_KV(kv_span("name", span_make(name, has_question ? name_text(ask->qname, name, sizeof(name)) : 0)),
               kv_str("type", has_question ? dns_type_text(ask->qtype, type, sizeof(type)) : ""),
               kv_u64("opcode", ask->opcode), kv_ip("client", &to->client.ip),
               kv_str("rcode", dns_rcode_text((uint16_t)rcode)), kv_u64("suppressed", suppressed)));
}

static bool is_debug_refused(const struct dnsd_log *l)
{
    return l->admitted.refused > 0 || l->open_zone.refused > 0 || l->noise.refused > 0 ||
           l->local.refused > 0 || l->rejected.refused > 0;
}

bool dnsd_log_wants_flush(const struct dnsd_log *l)
{
    return l->denied.refused > 0 || l->client.refused > 0 || l->upstream.refused > 0 ||
           l->stale.refused > 0 || (log_is_on(LOG_DEBUG) && is_debug_refused(l));
}

static void flush_one(struct log_limit *limit, enum log_level level, const char *event)
{
    if (limit->refused > 0) {
        log_event(level, event, LOG_KV(kv_u64("suppressed", limit->refused)));
        limit->refused = 0;
    }
}

void dnsd_log_flush(struct dnsd_log *l)
{
    flush_one(&l->denied, LOG_WARN, "dns_denied");
    flush_one(&l->client, LOG_WARN, "dns_client_refused");
    flush_one(&l->upstream, LOG_WARN, "dns_failed");
    flush_one(&l->stale, LOG_WARN, "dns_stale");
    flush_one(&l->admitted, LOG_DEBUG, "dns_admitted");
    flush_one(&l->open_zone, LOG_DEBUG, "dns_open_zone");
    flush_one(&l->noise, LOG_DEBUG, "dns_noise");
    flush_one(&l->local, LOG_DEBUG, "dns_local");
    flush_one(&l->rejected, LOG_DEBUG, "dns_rejected");
}

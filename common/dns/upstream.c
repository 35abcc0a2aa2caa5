/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/upstream.h"

#include "common/base/buf.h"
#include "common/dns/dns_tls.h"

#include <errno.h>

#define DNS_PORT 53
#define DOT_PORT 853 /* RFC 7858 3.1 */
#define PROBE_MIN_MS 1000
#define PROBE_MAX_MS 30000
#define NO_EDNS_MS ((int64_t)3600 * 1000)
#define OPT_SILENCES 3
#define LATE_MIN_MS 50
#define LATE_UNKNOWN_MS 250
#define RTT_MAX_MS 10000
#define UDP_PROBE_MIN_MS ((int64_t)10 * 1000)
#define UDP_PROBE_MAX_MS ((int64_t)600 * 1000)

int upstream_set_init(struct upstream_set *set, const struct addr *addrs, size_t count, struct err *err)
{
    *set = (struct upstream_set){0};
    if (count == 0 || count > UPSTREAM_MAX) {
        err_set(err, "%zu upstream resolvers given, between 1 and %d are needed", count, UPSTREAM_MAX);
        return -EINVAL;
    }
    for (size_t i = 0; i < count; i++) {
        char text[ADDR_TEXT_CAP];
        if (addrs[i].ip.family == IP_NONE || addrs[i].port == 0) {
            err_set(err, "upstream %s is no address with a port", addr_text(&addrs[i], text));
            return -EINVAL;
        }
        for (size_t j = 0; j < i; j++) {
            if (addr_is_equal(&addrs[i], &addrs[j])) {
                err_set(err, "upstream %s is given twice", addr_text(&addrs[i], text));
                return -EINVAL;
            }
        }
        set->list[i].addr = addrs[i];
    }
    set->count = count;
    return 0;
}

static const char *name_fault(struct span name)
{
    struct host h;
    enum host_fault f = host_parse(name, &h);
    if (name.len == 0) {
        return "the name that the server's certificate has is missing (tls://ADDR[:PORT]#NAME)";
    }
    return f == HOST_FAULT_NONE ? NULL : host_fault_text(f);
}

/* What no question can be sent to, or none without more than is said. 169.254.0.0/16 can: clouds answer
 * there. */
static const char *address_fault(const struct ip *ip)
{
    const enum ip_class class = ip_classify(ip);
    if (class == IP_CLASS_MULTICAST || (class == IP_CLASS_RESERVED && ip->family == IP_V4)) {
        return "a multicast, broadcast or reserved address: name that of one server";
    }
    if (class == IP_CLASS_LINK_LOCAL && ip->family == IP_V6) {
        return "a link-local address, which is of one interface: name another address of the server";
    }
    return NULL;
}

const char *upstream_parse(struct span text, struct addr *out, struct span *tls_name)
{
    static const struct span scheme = {(const uint8_t *)"tls://", 6};
    bool is_tls = span_is_equal(span_sub(text, 0, scheme.len), scheme);
    struct span name = span_sub(text, text.len, 0);
    struct span where = text;
    if (is_tls) {
        where = span_sub(text, scheme.len, text.len);
        size_t hash = span_find(where, '#');
        name = span_sub(where, hash + 1, where.len);
        where = span_sub(where, 0, hash);
    }
    if (span_find(where, '%') < where.len) {
        return "addresses with a scope, as fe80::1%eth0, are not taken: name another address of the server";
    }
    if (addr_lacks_brackets(where)) {
        return "lacks its brackets, as in [::1]:53";
    }
    struct addr a;
    if (addr_parse(where, is_tls ? DOT_PORT : DNS_PORT, &a) != 0 || a.port == 0 ||
        ip_classify(&a.ip) == IP_CLASS_UNSPECIFIED) {
        return "not an address (ADDR, ADDR:PORT, [IPV6]:PORT, tls://ADDR[:PORT]#NAME)";
    }
    const char *fault = address_fault(&a.ip);
    if (fault == NULL && is_tls) {
        fault = name_fault(name);
    }
    if (fault == NULL && is_tls && !dns_tls_is_built()) {
        fault = "this build has no DNS over TLS (configure it --with-openssl)";
    }
    if (fault == NULL) {
        *out = a;
        *tls_name = name;
    }
    return fault;
}

const char *upstream_text(const struct addr *a, struct span tls_name, char text[UPSTREAM_TEXT_CAP])
{
    char addr[ADDR_TEXT_CAP];
    struct wbuf w = wbuf_make(text, UPSTREAM_TEXT_CAP - 1);
    wbuf_str(&w, tls_name.len > 0 ? "tls://" : "");
    wbuf_str(&w, addr_text(a, addr));
    wbuf_str(&w, tls_name.len > 0 ? "#" : "");
    wbuf_put(&w, tls_name);
    text[w.len] = '\0';
    return text;
}

int upstream_set_replace(struct upstream_set *set, const struct addr *addrs, size_t count,
                         uint8_t moved[UPSTREAM_MAX], struct err *err)
{
    struct upstream_set next;
    int rc = upstream_set_init(&next, addrs, count, err);
    if (rc != 0) {
        return rc;
    }
    memset(moved, UPSTREAM_GONE, UPSTREAM_MAX);
    for (size_t i = 0; i < set->count; i++) {
        for (size_t j = 0; j < next.count; j++) {
            if (addr_is_equal(&set->list[i].addr, &next.list[j].addr)) {
                next.list[j] = set->list[i];
                moved[i] = (uint8_t)j;
            }
        }
    }
    *set = next;
    return 0;
}

size_t upstream_pick_working(const struct upstream_set *set, uint32_t skip)
{
    for (size_t i = 0; i < set->count; i++) {
        if ((skip & (1U << i)) == 0 && set->list[i].failures == 0 && !set->list[i].is_loop) {
            return i;
        }
    }
    return UPSTREAM_NONE;
}

bool upstream_is_any_with_tcp(const struct upstream_set *set, uint32_t skip)
{
    for (size_t i = 0; i < set->count; i++) {
        if (upstream_has_no_tcp(&set->list[i])) {
            skip |= 1U << i;
        }
    }
    return upstream_pick_working(set, skip) != UPSTREAM_NONE;
}

size_t upstream_pick(const struct upstream_set *set, uint32_t skip)
{
    size_t best = upstream_pick_working(set, skip);
    if (best != UPSTREAM_NONE) {
        return best;
    }
    for (size_t i = 0; i < set->count; i++) {
        if ((skip & (1U << i)) != 0 || set->list[i].is_loop) {
            continue;
        }
        if (best == UPSTREAM_NONE || set->list[i].probe_ms < set->list[best].probe_ms) {
            best = i;
        }
    }
    return best;
}

static int64_t probe_wait_ms(uint32_t failures)
{
    int64_t wait_ms = PROBE_MIN_MS;
    for (uint32_t i = 1; i < failures && wait_ms < PROBE_MAX_MS; i++) {
        wait_ms *= 2;
    }
    return wait_ms < PROBE_MAX_MS ? wait_ms : PROBE_MAX_MS;
}

size_t upstream_pick_probe(struct upstream_set *set, uint32_t skip, int64_t now_ms)
{
    for (size_t i = 0; i < set->count; i++) {
        struct upstream *u = &set->list[i];
        if ((skip & (1U << i)) == 0 && u->failures > 0 && !u->is_loop && u->probe_ms <= now_ms) {
            u->probe_ms = now_ms + probe_wait_ms(u->failures);
            return i;
        }
    }
    return UPSTREAM_NONE;
}

void upstream_note_reply(struct upstream *u, int64_t now_ms)
{
    u->failures = 0;
    u->reply_ms = now_ms;
}

void upstream_note_rtt(struct upstream *u, int64_t rtt_ms)
{
    uint32_t rtt = (uint32_t)(rtt_ms < 0 ? 0 : rtt_ms > RTT_MAX_MS ? RTT_MAX_MS : rtt_ms);
    if (!u->has_rtt) {
        u->has_rtt = true;
        u->rtt_x8 = rtt * 8;
        u->rtt_dev_x4 = rtt * 2;
        return;
    }
    uint32_t smooth = u->rtt_x8 / 8;
    uint32_t dev = rtt > smooth ? rtt - smooth : smooth - rtt;
    u->rtt_dev_x4 = u->rtt_dev_x4 - u->rtt_dev_x4 / 4 + dev;
    u->rtt_x8 = u->rtt_x8 - u->rtt_x8 / 8 + rtt;
}

int64_t upstream_late_ms(const struct upstream *u)
{
    if (!u->has_rtt) {
        return LATE_UNKNOWN_MS;
    }
    int64_t late_ms = (int64_t)u->rtt_x8 / 8 + u->rtt_dev_x4; /* RTT + 4 deviations */
    return late_ms > LATE_MIN_MS ? late_ms : LATE_MIN_MS;
}

void upstream_note_udp_reply(struct upstream *u, int64_t now_ms)
{
    u->udp_reply_ms = now_ms;
    u->prefers_tcp = false;
    u->udp_silences = 0;
    u->udp_losses = 0;
}

static int64_t udp_wait_ms(const struct upstream *u)
{
    int64_t wait_ms = UDP_PROBE_MIN_MS;
    for (uint32_t i = 0; i < u->udp_silences && wait_ms < UDP_PROBE_MAX_MS; i++) {
        wait_ms *= 2;
    }
    return wait_ms < UDP_PROBE_MAX_MS ? wait_ms : UDP_PROBE_MAX_MS;
}

void upstream_note_udp_blocked(struct upstream *u, int64_t now_ms)
{
    if (!u->prefers_tcp && !u->is_stream_only) {
        u->prefers_tcp = true;
        u->udp_silences = 0;
        u->udp_probe_ms = now_ms + udp_wait_ms(u);
    }
}

void upstream_note_udp_lost(struct upstream *u, int64_t sent_ms)
{
    if (u->udp_losses == 0) {
        u->udp_lost_ms = sent_ms;
    }
    u->udp_losses += u->udp_losses < UINT32_MAX ? 1 : 0;
    u->udp_lost_sent_ms = sent_ms;
}

bool upstream_is_down(const struct upstream *u)
{
    return u->failures >= UPSTREAM_ILL_AFTER;
}

bool upstream_is_udp_blocked(const struct upstream *u)
{
    return u->udp_losses >= UPSTREAM_ILL_AFTER;
}

bool upstream_wants_tcp(const struct upstream *u)
{
    return u->is_stream_only || u->prefers_tcp;
}

bool upstream_take_udp_probe(struct upstream *u, int64_t now_ms)
{
    if (!u->prefers_tcp || now_ms < u->udp_probe_ms) {
        return false;
    }
    u->udp_silences += u->udp_silences < UINT32_MAX ? 1 : 0; /* until it answers */
    u->udp_probe_ms = now_ms + udp_wait_ms(u);
    return true;
}

void upstream_note_tcp_failed(struct upstream *u)
{
    u->prefers_tcp = false;
}

void upstream_note_no_tcp(struct upstream *u, int64_t sent_ms, int64_t now_ms)
{
    const bool has_answered_since = u->tcp_reply_ms != 0 && u->tcp_reply_ms >= sent_ms;
    const bool is_known = u->tcp_failures > 0 && sent_ms <= u->tcp_failed_ms;
    if (has_answered_since || is_known) {
        return;
    }
    u->tcp_failures += u->tcp_failures < UINT32_MAX ? 1 : 0;
    u->tcp_failed_ms = now_ms;
    u->tcp_probe_ms = now_ms + probe_wait_ms(u->tcp_failures);
}

void upstream_note_tcp_reply(struct upstream *u, int64_t now_ms)
{
    u->tcp_failures = 0;
    u->tcp_reply_ms = now_ms;
}

bool upstream_has_no_tcp(const struct upstream *u)
{
    return u->tcp_failures > 0;
}

bool upstream_take_tcp_probe(struct upstream *u, int64_t now_ms)
{
    if (u->tcp_failures == 0 || now_ms < u->tcp_probe_ms) {
        return false;
    }
    u->tcp_probe_ms = now_ms + probe_wait_ms(u->tcp_failures);
    return true;
}

void upstream_note_failure(struct upstream *u, int64_t sent_ms, int64_t now_ms)
{
    bool lived_since = u->reply_ms != 0 && u->reply_ms >= sent_ms;
    bool known = u->failures > 0 && sent_ms <= u->failed_ms;
    if (lived_since || known) {
        return;
    }
    if (u->failures == 0) {
        u->down_ms = sent_ms;
    }
    u->failures += u->failures < UINT32_MAX ? 1 : 0;
    u->failed_ms = now_ms;
    u->failed_sent_ms = sent_ms;
    u->probe_ms = now_ms + probe_wait_ms(u->failures);
    if (u->casing == UPSTREAM_CASE_PROBE) {
        u->casing = UPSTREAM_CASE_FOLDED; /* perhaps it cannot bear mixed case: not worth another wait */
    } else if (u->casing == UPSTREAM_CASE_ECHOED) {
        u->casing = UPSTREAM_CASE_PLAIN; /* another server may stand there when it comes back */
    }
}

void upstream_note_no_edns(struct upstream *u, int64_t now_ms)
{
    u->no_edns_until_ms = now_ms + NO_EDNS_MS;
    u->opt_silences = 0;
}

void upstream_note_opt_silent(struct upstream *u, int64_t sent_ms, int64_t now_ms)
{
    if ((u->opt_reply_ms != 0 && u->opt_reply_ms >= sent_ms) ||
        (u->opt_silent_ms != 0 && u->opt_silent_ms >= sent_ms)) {
        return;
    }
    u->opt_silent_ms = now_ms;
    u->opt_silences++;
    if (u->opt_silences >= OPT_SILENCES) {
        upstream_note_no_edns(u, now_ms);
    }
}

void upstream_note_opt_reply(struct upstream *u, int64_t now_ms)
{
    u->opt_reply_ms = now_ms;
    u->opt_silences = 0;
}

bool upstream_wants_edns(const struct upstream *u, int64_t now_ms)
{
    return now_ms >= u->no_edns_until_ms;
}

bool upstream_wants_random_case(const struct upstream *u)
{
    return !u->is_stream_only && (u->casing == UPSTREAM_CASE_PROBE || u->casing == UPSTREAM_CASE_ECHOED);
}

void upstream_note_plain_reply(struct upstream *u)
{
    if (u->casing == UPSTREAM_CASE_PLAIN) {
        u->casing = UPSTREAM_CASE_PROBE;
    }
}

void upstream_note_case(struct upstream *u, bool is_same)
{
    u->casing = is_same ? UPSTREAM_CASE_ECHOED : UPSTREAM_CASE_FOLDED;
}

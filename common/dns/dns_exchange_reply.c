/* SPDX-License-Identifier: Apache-2.0 */
/* What comes back: replies and failures of sockets. */
#include "common/dns/dns_exchange_priv.h"

#include "common/base/scratch.h"

/* The upstream gave an answer that helps nobody: the next one is asked at once. */
static void give_up(struct dns_exchange *x, size_t i, enum dns_exchange_fail why)
{
    size_t upstream = x->slots[i].upstream;
    const bool decides_doubt = x->slots[i].is_beside && dns_exchange_is_doubted(x, &x->slots[i]);
    x->given_up |= 1U << upstream;
    dns_exchange_note_why(x, why);
    dns_exchange_drop_slot(x, i);
    for (size_t j = 0; j < x->slot_count; j++) {
        if ((x->slots[j].is_beside || decides_doubt) && x->slots[j].upstream == upstream) {
            dns_exchange_drop_slot(x, j); /* it has spoken: no need to find out the other way */
        }
    }
    x->tcp_due &= ~(1U << upstream);
}

/* The question over TCP beside one over UDP to the same upstream, or NO_SLOT. */
static size_t beside_of(const struct dns_exchange *x, const struct dns_exchange_slot *s)
{
    for (size_t i = 0; i < x->slot_count; i++) {
        const struct dns_exchange_slot *b = &x->slots[i];
        if (!s->tcp && b->is_beside && b->upstream == s->upstream && !b->is_late && !b->wants_close &&
            (b->is_open || b->wants_open)) {
            return i;
        }
    }
    return NO_SLOT;
}

/* What the slot asked is asked over TCP already: that decides. False: it is not. */
static bool leave_to_beside(struct dns_exchange *x, size_t i)
{
    const size_t beside = beside_of(x, &x->slots[i]);
    const bool was_waited_for = x->current == i;
    if (beside == NO_SLOT) {
        return false;
    }
    dns_exchange_drop_slot(x, i);
    x->current = was_waited_for ? beside : x->current;
    return true;
}

/* Asks the same upstream again, in another way. */
static void ask_again(struct dns_exchange *x, size_t i, bool tcp, bool with_opt)
{
    bool is_edns_retry = x->slots[i].is_edns_retry || (x->slots[i].with_opt && !with_opt);
    if (x->sends >= DNS_EXCHANGE_SENDS_MAX) {
        give_up(x, i, DNS_EXCHANGE_FAIL_SERVFAIL);
        return;
    }
    bool is_hedge = x->slots[i].is_hedge;
    bool is_beside = x->slots[i].is_beside;
    dns_exchange_want_open(x, i, x->slots[i].upstream, tcp, with_opt);
    x->slots[i].is_edns_retry = is_edns_retry;
    x->slots[i].is_hedge = is_hedge;
    x->slots[i].is_beside = is_beside;
}

/*
 * Its answer is cut, and its TCP failed lately: another one that works is asked, which is sooner there than
 * that is found out once more, and TCP beside it if it is time to look. Once for a name: where all others do
 * not help either, it is asked over TCP. False: there is no other one.
 */
static bool pass_over(struct dns_exchange *x, size_t i, int64_t now_ms)
{
    const size_t at = x->slots[i].upstream;
    const uint32_t bit = 1U << at;
    struct upstream *u = &x->env->upstreams.list[at];
    if (!upstream_has_no_tcp(u) || (x->passed_over & bit) != 0 ||
        !upstream_is_any_with_tcp(&x->env->upstreams, x->tried | x->given_up)) {
        return false;
    }
    const bool with_opt = x->slots[i].with_opt;
    x->passed_over |= bit;
    dns_exchange_drop_slot(x, i);
    if (x->sends < DNS_EXCHANGE_SENDS_MAX && upstream_take_tcp_probe(u, now_ms)) {
        dns_exchange_want_open(x, i, at, true, with_opt);
        x->slots[i].is_beside = true;
        x->slots[i].is_probe = true;
        x->tcp_done |= bit;
    }
    return true;
}

/* A CNAME without its address: the target is asked for, of all upstreams anew. */
static void follow(struct dns_exchange *x, const struct dns_reply *r)
{
    x->hops += r->hop_count > 0 ? r->hop_count : 1U;
    x->ttl_s = r->ttl_s < x->ttl_s ? r->ttl_s : x->ttl_s;
    if (x->name_count == 0) {
        (void)dns_exchange_remember_name(x); /* the first name of a chain is one of it */
    }
    x->name = r->target;
    x->result.target = r->target;
    if (x->hops > DNS_EXCHANGE_HOPS_MAX || !dns_exchange_remember_name(x)) {
        dns_exchange_note_why(x, DNS_EXCHANGE_FAIL_CNAME);
        dns_exchange_finish(x, DNS_EXCHANGE_FAILED);
        return;
    }
    for (size_t i = 0; i < x->slot_count; i++) {
        dns_exchange_drop_slot(x, i);
    }
    dns_exchange_begin_name(x);
}

static void accept_reply(struct dns_exchange *x, const struct dns_reply *r, enum dns_exchange_status status)
{
    if (r->hop_count > 0) {
        x->hops += r->hop_count;
        x->result.target = r->target;
    }
    if (x->hops > DNS_EXCHANGE_HOPS_MAX) {
        dns_exchange_note_why(x, DNS_EXCHANGE_FAIL_CNAME);
        dns_exchange_finish(x, DNS_EXCHANGE_FAILED);
        return;
    }
    x->ttl_s = r->ttl_s < x->ttl_s ? r->ttl_s : x->ttl_s;
    if (status == DNS_EXCHANGE_ADDRS) {
        x->result.addr_count = r->addr_count;
        memcpy(x->result.addrs, r->addrs, r->addr_count * sizeof(r->addrs[0]));
    }
    dns_exchange_finish(x, status);
}

static void take_error(struct dns_exchange *x, size_t i, const struct dns_reply *r)
{
    const struct dns_exchange_slot *s = &x->slots[i];
    bool is_edns_trouble = r->rcode == DNS_FORMERR || r->rcode == DNS_NOTIMP || r->rcode == DNS_BADVERS;
    if (is_edns_trouble && s->with_opt) {
        ask_again(x, i, s->tcp, false);
        return;
    }
    const enum dns_exchange_fail why = r->is_bad_chain ? DNS_EXCHANGE_FAIL_CNAME : DNS_EXCHANGE_FAIL_SERVFAIL;
    give_up(x, i, r->rcode == DNS_REFUSED ? DNS_EXCHANGE_FAIL_REFUSED : why);
}

static void take_reply(struct dns_exchange *x, size_t i, const struct dns_reply *r, int64_t now_ms)
{
    const struct dns_exchange_slot *s = &x->slots[i];
    switch (r->kind) {
    case DNS_REPLY_MISMATCH:
        break;
    case DNS_REPLY_TRUNCATED:
        if (s->tcp) {
            give_up(x, i, DNS_EXCHANGE_FAIL_SERVFAIL); /* TCP has nothing to be cut for */
        } else if (!leave_to_beside(x, i) && !pass_over(x, i, now_ms)) {
            ask_again(x, i, true, s->with_opt);
        }
        break;
    case DNS_REPLY_ADDRS:
        accept_reply(x, r, DNS_EXCHANGE_ADDRS);
        break;
    case DNS_REPLY_RECORDS:
        accept_reply(x, r, DNS_EXCHANGE_RECORDS);
        break;
    case DNS_REPLY_CNAME:
        follow(x, r);
        break;
    case DNS_REPLY_NODATA:
        /* Empty, no recursion and no SOA: a referral or a server that does not serve us (RFC 2308 2.2). */
        if (!r->ra && !r->has_soa) {
            give_up(x, i, DNS_EXCHANGE_FAIL_REFUSED);
        } else {
            accept_reply(x, r, DNS_EXCHANGE_NODATA);
        }
        break;
    case DNS_REPLY_NXDOMAIN:
        accept_reply(x, r, DNS_EXCHANGE_NXDOMAIN);
        break;
    case DNS_REPLY_ERROR:
        take_error(x, i, r);
        break;
    }
}

static bool has_upper(struct span wire)
{
    for (size_t i = 0; i < wire.len; i++) {
        if (wire.data[i] >= 'A' && wire.data[i] <= 'Z') {
            return true;
        }
    }
    return false;
}

/* Its upstream has not answered the same question with OPT over UDP. */
static const struct dns_exchange_slot *find_silent_to_opt(const struct dns_exchange *x,
                                                          const struct dns_exchange_slot *s)
{
    for (size_t i = 0; i < x->slot_count; i++) {
        const struct dns_exchange_slot *o = &x->slots[i];
        if (o->is_open && o->is_late && o->with_opt && !o->tcp && o->upstream == s->upstream) {
            return o;
        }
    }
    return NULL;
}

static void learn_edns(struct dns_exchange *x, const struct dns_exchange_slot *s, int64_t now_ms)
{
    struct upstream *u = dns_exchange_slot_upstream(x, s);
    if (s->with_opt) {
        upstream_note_opt_reply(u, now_ms);
        return;
    }
    const struct dns_exchange_slot *o = find_silent_to_opt(x, s);
    if (o != NULL && now_ms - s->sent_ms <= upstream_late_ms(u)) {
        upstream_note_opt_silent(u, o->sent_ms, now_ms);
    }
}

/* What a matching reply to qname, as sent, tells about the upstream, whatever it says about the name. */
static void learn(struct dns_exchange *x, const struct dns_exchange_slot *s, struct span qname,
                  struct span msg, int64_t now_ms)
{
    struct upstream *u = dns_exchange_slot_upstream(x, s);
    x->env->has_health_news |= u->reply_ms == 0 || u->failures > 0 || u->udp_losses > 0 || u->prefers_tcp;
    upstream_note_reply(u, now_ms);
    x->env->stats.replies++;
    if (!s->tcp) {
        upstream_note_udp_reply(u, now_ms);
        learn_edns(x, s, now_ms);
    } else {
        upstream_note_tcp_reply(u, now_ms);
    }
    if (s->tcp && s->is_beside && !dns_exchange_is_doubted(x, s) &&
        u->udp_reply_ms < s->sent_ms - x->env->attempt_ms) {
        upstream_note_udp_lost(u, s->sent_ms - x->env->attempt_ms);
        upstream_note_udp_blocked(u, now_ms);
    }
    if (s->tcp == u->is_stream_only) {
        upstream_note_rtt(u, now_ms - s->sent_ms);
    }
    if (!s->is_mixed_case) {
        upstream_note_plain_reply(u);
        return;
    }
    if (msg.len < DNS_HEADER_LEN + qname.len || !has_upper(qname)) {
        return; /* no question in it, or nothing to see: the dice fell on lower case only */
    }
    upstream_note_case(u, span_is_equal(qname, span_sub(msg, DNS_HEADER_LEN, qname.len)));
}

/*
 * All but the case of its name fits: forged, or the upstream has changed. TCP tells, which nobody can forge
 * blindly. The true reply may still come to the socket meanwhile.
 */
static void doubt_case(struct dns_exchange *x, const struct dns_exchange_slot *s)
{
    const uint32_t bit = 1U << s->upstream;
    if ((x->tcp_done & bit) == 0) {
        x->tcp_due |= bit;
        x->case_doubted |= bit;
    }
}

bool dns_exchange_reply(struct dns_exchange *x, size_t slot, struct span msg, int64_t now_ms)
{
    REQUIRE(slot < DNS_EXCHANGE_SLOTS);
    const struct dns_exchange_slot *s = &x->slots[slot];
    if (!s->is_open || s->wants_close) {
        return true; /* nothing more is wanted of this socket */
    }
    SCRATCH uint8_t wire[255];
    struct dns_sent sent = {.id = s->id,
                            .qtype = x->qtype,
                            .exact_case = s->is_exact_case,
                            .qname = dns_exchange_slot_qname(x, s, wire),
                            .records = x->is_done ? NULL : x->result.records};
    SCRATCH struct dns_reply r;
    dns_reply_parse(msg, &sent, &r);
    if (r.kind == DNS_REPLY_MISMATCH) {
        x->env->stats.mismatches++;
        dns_exchange_slot_upstream(x, s)->mismatches++;
        if (s->tcp && !r.is_unreadable) { /* nobody else can have said that, and it will not say more */
            dns_exchange_fail_reason(x, slot, DNS_EXCHANGE_FAIL_MALFORMED);
            dns_exchange_io_failed(x, slot, false, now_ms);
            return true;
        }
    }
    if (r.kind == DNS_REPLY_MISMATCH && !s->tcp) {
        sent.exact_case = false;
        if (s->is_exact_case && !x->is_done) {
            dns_reply_parse(msg, &sent, &r);
            if (r.kind != DNS_REPLY_MISMATCH) {
                doubt_case(x, s);
            }
        }
        return false;
    }

    learn(x, s, sent.qname, msg, now_ms);
    x->slots[slot].is_probe = false; /* what it was to find out is known */
    x->slots[slot].is_overtaken = false;
    if (x->is_done) {
        dns_exchange_drop_slot(x, slot);
        return true;
    }
    if (r.kind == DNS_REPLY_MISMATCH) { /* the name's records, or a limit of ours: it is not the upstream */
        give_up(x, slot, DNS_EXCHANGE_FAIL_MALFORMED);
        return true;
    }
    bool is_answer = r.kind != DNS_REPLY_ERROR && r.kind != DNS_REPLY_TRUNCATED;
    if (s->is_edns_retry && is_answer) {
        upstream_note_no_edns(dns_exchange_slot_upstream(x, s), now_ms);
    }
    x->env->stats.hedge_wins += s->is_hedge && is_answer ? 1 : 0;
    take_reply(x, slot, &r, now_ms);
    return true;
}

void dns_exchange_fail_reason(struct dns_exchange *x, size_t slot, enum dns_exchange_fail why)
{
    REQUIRE(slot < DNS_EXCHANGE_SLOTS);
    struct dns_exchange_slot *s = &x->slots[slot];
    if (s->is_open && !s->wants_close) {
        s->failure = why;
        dns_exchange_note_why(x, why);
    }
}

static enum upstream_trouble trouble_of(enum dns_exchange_fail why)
{
    if (why >= DNS_EXCHANGE_FAIL_TLS && why <= DNS_EXCHANGE_FAIL_TLS_NAME) {
        return UPSTREAM_TLS_FAILED;
    }
    if (why == DNS_EXCHANGE_FAIL_MALFORMED) {
        return UPSTREAM_MALFORMED;
    }
    return why == DNS_EXCHANGE_FAIL_TIMEOUT ? UPSTREAM_SILENT : UPSTREAM_UNREACHABLE;
}

void dns_exchange_io_failed(struct dns_exchange *x, size_t slot, bool is_local, int64_t now_ms)
{
    REQUIRE(slot < DNS_EXCHANGE_SLOTS);
    struct dns_exchange_slot *s = &x->slots[slot];
    if (!s->is_open || s->wants_close) {
        return;
    }
    struct upstream *u = dns_exchange_slot_upstream(x, s);
    const enum dns_exchange_fail why = is_local ? DNS_EXCHANGE_FAIL_LOCAL : DNS_EXCHANGE_FAIL_NETWORK;
    if (s->tcp && !is_local) {
        upstream_note_no_tcp(u, s->sent_ms, now_ms);
    }
    x->env->has_health_news |= !is_local;
    /* Asked in another way as well: that decides. */
    const bool is_udp_probe = s->is_probe && !s->tcp && u->prefers_tcp;
    if (is_udp_probe && !is_local) {
        upstream_note_udp_lost(u, s->sent_ms);
    }
    if (s->is_beside || is_udp_probe) {
        dns_exchange_note_why(x, why);
        dns_exchange_drop_slot(x, slot);
        return;
    }
    if (s->tcp && u->prefers_tcp && !is_local) {
        upstream_note_tcp_failed(u);
        ask_again(x, slot, false, s->with_opt);
        return;
    }
    if (!is_local) {
        u->trouble = trouble_of(s->failure);
        upstream_note_failure(u, s->sent_ms, now_ms);
    }
    dns_exchange_note_why(x, why);
    if (leave_to_beside(x, slot)) {
        return;
    }
    uint32_t bit = 1U << s->upstream;
    bool is_udp_refused = !s->tcp && !s->is_probe && !is_local && (x->tcp_done & bit) == 0;
    give_up(x, slot, why);
    if (is_udp_refused && !x->is_done) {
        x->tcp_due |= bit; /* a firewall may refuse UDP only */
    }
}

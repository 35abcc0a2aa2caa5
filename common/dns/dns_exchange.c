/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_exchange.h"

#include "common/base/hash.h"

#define NO_SLOT DNS_EXCHANGE_SLOTS

static struct upstream *slot_upstream(struct dns_exchange *x, const struct dns_exchange_slot *s)
{
    return &x->env->upstreams.list[s->upstream];
}

static bool is_in_use(const struct dns_exchange_slot *s)
{
    return s->is_open || s->wants_open;
}

static void note_why(struct dns_exchange *x, enum dns_exchange_fail why)
{
    if (why > x->why) {
        x->why = why;
    }
}

static void drop_slot(struct dns_exchange *x, size_t i)
{
    struct dns_exchange_slot *s = &x->slots[i];
    s->wants_close = s->is_open;
    s->wants_open = false;
    if (x->current == i) {
        x->current = NO_SLOT;
    }
}

/* The result stands. Probes that are under way may still bring an upstream back; everything else is closed.
 */
static void finish(struct dns_exchange *x, enum dns_exchange_status status)
{
    x->is_done = true;
    x->result.status = status;
    x->result.ttl_s = x->ttl_s;
    x->result.why = status == DNS_EXCHANGE_FAILED ? x->why : DNS_EXCHANGE_FAIL_NONE;
    for (size_t i = 0; i < DNS_EXCHANGE_SLOTS; i++) {
        struct dns_exchange_slot *s = &x->slots[i];
        if (!(s->is_probe && s->is_open && !s->wants_close && !s->is_late)) {
            drop_slot(x, i);
        }
    }
}

/* The names asked so far are kept as hashes. A collision could only refuse a chain of its own owner's making.
 */
static bool remember_name(struct dns_exchange *x)
{
    static const struct hash_key key = {0};
    uint64_t hash = hash_siphash(&key, host_name_span(&x->name));
    for (unsigned i = 0; i < x->name_count; i++) {
        if (x->names[i] == hash) {
            return false;
        }
    }
    if (x->name_count == DNS_EXCHANGE_HOPS_MAX + 1) {
        return false;
    }
    x->names[x->name_count++] = hash;
    return true;
}

void dns_exchange_start(struct dns_exchange *x, struct dns_exchange_env *env, const struct host_name *name,
                        uint16_t qtype, int64_t now_ms)
{
    *x = (struct dns_exchange){
        .env = env,
        .name = *name,
        .qtype = qtype,
        .end_ms = now_ms + env->total_ms,
        .current = NO_SLOT,
        .is_probe_due = true,
        .ttl_s = UINT32_MAX,
    };
    (void)remember_name(x);
}

/* A free slot, or the oldest late one: its reply is the least likely to come. */
static size_t take_slot(struct dns_exchange *x)
{
    size_t oldest = NO_SLOT;
    for (size_t i = 0; i < DNS_EXCHANGE_SLOTS; i++) {
        if (!is_in_use(&x->slots[i])) {
            return i;
        }
        if (x->slots[i].is_late && (oldest == NO_SLOT || x->slots[i].sent_ms < x->slots[oldest].sent_ms)) {
            oldest = i;
        }
    }
    return oldest;
}

/* Asks for a (re)opened socket in slot i; a socket that is there is closed first. */
static void want_open(struct dns_exchange *x, size_t i, size_t upstream, bool tcp, bool with_opt)
{
    bool is_open = x->slots[i].is_open;
    x->slots[i] = (struct dns_exchange_slot){
        .is_open = is_open,
        .wants_close = is_open,
        .wants_open = true,
        .tcp = tcp,
        .with_opt = with_opt,
        .upstream = (uint8_t)upstream,
    };
}

/* Opens the next attempt, or ends the exchange if there is nobody left to ask. */
static void choose(struct dns_exchange *x, int64_t now_ms)
{
    const struct upstream_set *set = &x->env->upstreams;
    bool is_failover = set->count > 1 && (x->tried | x->given_up) != 0;
    size_t upstream = upstream_pick(set, x->tried | x->given_up);
    if (upstream == UPSTREAM_NONE) {
        upstream = upstream_pick(set, x->given_up);
        x->tried = 0;
        x->round++;
    }
    if (upstream == UPSTREAM_NONE || x->sends >= DNS_EXCHANGE_SENDS_MAX) {
        finish(x, DNS_EXCHANGE_FAILED);
        return;
    }
    x->env->stats.failovers += is_failover ? 1 : 0;
    x->tried |= 1U << upstream;

    /* It is being asked already, as a probe or over TCP: wait for that. */
    for (size_t i = 0; i < DNS_EXCHANGE_SLOTS; i++) {
        if (is_in_use(&x->slots[i]) && !x->slots[i].is_late && x->slots[i].upstream == upstream) {
            x->current = i;
            return;
        }
    }
    size_t i = take_slot(x);
    if (i == NO_SLOT) {
        finish(x, DNS_EXCHANGE_FAILED); /* cannot be: at most one attempt and one probe are not late */
        return;
    }
    /* Silence may be the answer of a middlebox to EDNS: the second round goes without. */
    bool with_opt = x->round == 0 && upstream_wants_edns(&set->list[upstream], now_ms);
    want_open(x, i, upstream, false, with_opt);
    x->current = i;
}

/* Beside the first attempt of a question one failed upstream is asked too, if its time has come. */
static void choose_probe(struct dns_exchange *x, int64_t now_ms)
{
    x->is_probe_due = false;
    size_t upstream = upstream_pick_probe(&x->env->upstreams, x->tried | x->given_up, now_ms);
    size_t i = take_slot(x);
    if (upstream == UPSTREAM_NONE || i == NO_SLOT) {
        return;
    }
    want_open(x, i, upstream, false, upstream_wants_edns(&x->env->upstreams.list[upstream], now_ms));
    x->slots[i].is_probe = true;
}

/* Judges attempts whose time is over. True if there was one. */
static bool expire(struct dns_exchange *x, int64_t now_ms)
{
    bool changed = false;
    for (size_t i = 0; i < DNS_EXCHANGE_SLOTS; i++) {
        struct dns_exchange_slot *s = &x->slots[i];
        if (!s->is_open || s->is_late || now_ms < s->deadline_ms) {
            continue;
        }
        changed = true;
        s->is_late = true;
        x->env->stats.timeouts++;
        upstream_note_failure(slot_upstream(x, s), s->sent_ms, now_ms);
        if (x->current == i) {
            x->current = NO_SLOT;
        }
        if (x->is_done) {
            drop_slot(x, i);
        }
    }
    return changed;
}

/* One step that needs no driver. False: there is nothing to do but wait. */
static bool advance(struct dns_exchange *x, int64_t now_ms)
{
    if (expire(x, now_ms)) {
        return true;
    }
    if (x->is_done) {
        return false;
    }
    if (now_ms >= x->end_ms) {
        note_why(x, DNS_EXCHANGE_FAIL_TIMEOUT);
        finish(x, DNS_EXCHANGE_FAILED);
        return true;
    }
    if (x->current == NO_SLOT) {
        choose(x, now_ms);
        return true;
    }
    if (x->is_probe_due) {
        choose_probe(x, now_ms);
        return true;
    }
    return false;
}

/* The question in wire form as the slot sends it; out has 255 bytes. */
static struct span slot_qname(const struct dns_exchange *x, const struct dns_exchange_slot *s,
                              uint8_t out[255])
{
    size_t len = host_name_to_wire(&x->name, out);
    if (s->is_mixed_case) {
        dns_wire_name_randomise(out, len, s->case_bits);
    }
    return span_make(out, len);
}

static void open_slot(struct dns_exchange *x, size_t i, int64_t now_ms, const struct dns_entropy *rnd,
                      struct dns_action *out)
{
    struct dns_exchange_slot *s = &x->slots[i];
    const struct upstream *u = slot_upstream(x, s);
    s->is_open = true;
    s->wants_open = false;
    s->id = rnd->id;
    s->is_mixed_case = upstream_wants_random_case(u);
    s->is_exact_case = u->casing == UPSTREAM_CASE_ECHOED && !s->tcp;
    memcpy(s->case_bits, rnd->case_bits, sizeof(s->case_bits));
    s->sent_ms = now_ms;
    s->deadline_ms = now_ms + x->env->attempt_ms;
    x->sends++;
    if (s->tcp) {
        x->env->stats.sent_tcp++;
    } else {
        x->env->stats.sent_udp++;
    }

    uint8_t wire[255];
    struct wbuf w = wbuf_make(out->msg, sizeof(out->msg));
    dns_query_build(&w, s->id, slot_qname(x, s, wire), x->qtype, s->with_opt);
    REQUIRE(!w.overflow);
    out->kind = DNS_ACTION_OPEN;
    out->slot = i;
    out->upstream = s->upstream;
    out->tcp = s->tcp;
    out->to = u->addr;
    out->msg_len = w.len;
}

/* Tells the driver to close or open one slot. False: none wants to. */
static bool serve_slots(struct dns_exchange *x, int64_t now_ms, const struct dns_entropy *rnd,
                        struct dns_action *out)
{
    for (size_t i = 0; i < DNS_EXCHANGE_SLOTS; i++) {
        struct dns_exchange_slot *s = &x->slots[i];
        if (s->wants_close) {
            s->wants_close = false;
            s->is_open = false;
            out->kind = DNS_ACTION_CLOSE;
            out->slot = i;
            return true;
        }
    }
    if (x->is_done && !x->is_answered) {
        x->is_answered = true;
        out->kind = DNS_ACTION_ANSWER;
        return true;
    }
    for (size_t i = 0; i < DNS_EXCHANGE_SLOTS; i++) {
        if (x->slots[i].wants_open) {
            open_slot(x, i, now_ms, rnd, out);
            return true;
        }
    }
    return false;
}

void dns_exchange_next(struct dns_exchange *x, int64_t now_ms, const struct dns_entropy *rnd,
                       struct dns_action *out)
{
    do {
        if (serve_slots(x, now_ms, rnd, out)) {
            return;
        }
    } while (advance(x, now_ms));

    out->kind = x->is_done ? DNS_ACTION_END : DNS_ACTION_WAIT;
    out->until_ms = x->is_done ? INT64_MAX : x->end_ms;
    for (size_t i = 0; i < DNS_EXCHANGE_SLOTS; i++) {
        const struct dns_exchange_slot *s = &x->slots[i];
        if (s->is_open && !s->is_late) {
            out->kind = DNS_ACTION_WAIT;
            out->until_ms = s->deadline_ms < out->until_ms ? s->deadline_ms : out->until_ms;
        }
    }
}

/* The upstream gave an answer that helps nobody: the next one is asked at once. */
static void give_up(struct dns_exchange *x, size_t i, enum dns_exchange_fail why)
{
    x->given_up |= 1U << x->slots[i].upstream;
    note_why(x, why);
    drop_slot(x, i);
}

/* Asks the same upstream again, in another way. */
static void ask_again(struct dns_exchange *x, size_t i, bool tcp, bool with_opt)
{
    bool is_edns_retry = x->slots[i].is_edns_retry || (x->slots[i].with_opt && !with_opt);
    if (x->sends >= DNS_EXCHANGE_SENDS_MAX) {
        give_up(x, i, DNS_EXCHANGE_FAIL_SERVFAIL);
        return;
    }
    want_open(x, i, x->slots[i].upstream, tcp, with_opt);
    x->slots[i].is_edns_retry = is_edns_retry;
}

/* A CNAME without its address: the target is asked for, of all upstreams anew. */
static void follow(struct dns_exchange *x, const struct dns_reply *r)
{
    x->hops += r->hop_count > 0 ? r->hop_count : 1U;
    x->ttl_s = r->ttl_s < x->ttl_s ? r->ttl_s : x->ttl_s;
    x->name = r->target;
    if (x->hops > DNS_EXCHANGE_HOPS_MAX || !remember_name(x)) {
        note_why(x, DNS_EXCHANGE_FAIL_CNAME);
        finish(x, DNS_EXCHANGE_FAILED);
        return;
    }
    for (size_t i = 0; i < DNS_EXCHANGE_SLOTS; i++) {
        drop_slot(x, i);
    }
    x->tried = 0;
    x->given_up = 0;
    x->round = 0;
}

static void accept_reply(struct dns_exchange *x, const struct dns_reply *r, enum dns_exchange_status status)
{
    if (x->hops + r->hop_count > DNS_EXCHANGE_HOPS_MAX) {
        note_why(x, DNS_EXCHANGE_FAIL_CNAME);
        finish(x, DNS_EXCHANGE_FAILED);
        return;
    }
    x->ttl_s = r->ttl_s < x->ttl_s ? r->ttl_s : x->ttl_s;
    if (status == DNS_EXCHANGE_ADDRS) {
        x->result.addr_count = r->addr_count;
        memcpy(x->result.addrs, r->addrs, r->addr_count * sizeof(r->addrs[0]));
    }
    finish(x, status);
}

static void take_error(struct dns_exchange *x, size_t i, const struct dns_reply *r)
{
    const struct dns_exchange_slot *s = &x->slots[i];
    bool is_edns_trouble = r->rcode == DNS_FORMERR || r->rcode == DNS_NOTIMP || r->rcode == DNS_BADVERS;
    if (is_edns_trouble && s->with_opt) {
        ask_again(x, i, s->tcp, false);
        return;
    }
    give_up(x, i, r->rcode == DNS_REFUSED ? DNS_EXCHANGE_FAIL_REFUSED : DNS_EXCHANGE_FAIL_SERVFAIL);
}

static void take_reply(struct dns_exchange *x, size_t i, const struct dns_reply *r)
{
    const struct dns_exchange_slot *s = &x->slots[i];
    switch (r->kind) {
    case DNS_REPLY_MISMATCH:
        break;
    case DNS_REPLY_TRUNCATED:
        if (s->tcp) {
            give_up(x, i, DNS_EXCHANGE_FAIL_SERVFAIL); /* TCP has nothing to be cut for */
        } else {
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
        if (!r->ra && r->ttl_s == 0) {
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

/* What a matching reply tells about the upstream, whatever it says about the name. */
static void learn(struct dns_exchange *x, const struct dns_exchange_slot *s, struct span msg, int64_t now_ms)
{
    struct upstream *u = slot_upstream(x, s);
    upstream_note_reply(u, now_ms);
    x->env->stats.replies++;
    if (!s->is_mixed_case) {
        upstream_note_plain_reply(u);
        return;
    }
    uint8_t sent[255];
    uint8_t lower[255];
    struct span qname = slot_qname(x, s, sent);
    size_t lower_len = host_name_to_wire(&x->name, lower);
    if (msg.len < DNS_HEADER_LEN + qname.len || span_is_equal(qname, span_make(lower, lower_len))) {
        return; /* no question in it, or nothing to see: the dice fell on lower case only */
    }
    upstream_note_case(u, span_is_equal(qname, span_sub(msg, DNS_HEADER_LEN, qname.len)));
}

bool dns_exchange_reply(struct dns_exchange *x, size_t slot, struct span msg, int64_t now_ms)
{
    REQUIRE(slot < DNS_EXCHANGE_SLOTS);
    const struct dns_exchange_slot *s = &x->slots[slot];
    if (!s->is_open || s->wants_close) {
        return true; /* nothing more is wanted of this socket */
    }
    uint8_t wire[255];
    struct dns_sent sent = {.id = s->id,
                            .qtype = x->qtype,
                            .exact_case = s->is_exact_case,
                            .qname = slot_qname(x, s, wire),
                            .records = x->is_done ? NULL : x->result.records};
    struct dns_reply r;
    dns_reply_parse(msg, &sent, &r);
    if (r.kind == DNS_REPLY_MISMATCH) {
        x->env->stats.mismatches++;
        sent.exact_case = false;
        if (s->is_exact_case) {
            dns_reply_parse(msg, &sent, &r);
        }
        if (r.kind == DNS_REPLY_MISMATCH || x->is_done) {
            return false;
        }
        /* All but the case fits: forged, or the upstream has changed. TCP tells, which nobody can forge
         * blindly. */
        ask_again(x, slot, true, s->with_opt);
        return true;
    }

    learn(x, s, msg, now_ms);
    x->slots[slot].is_probe = false; /* what it was to find out is known */
    if (x->is_done) {
        drop_slot(x, slot);
        return true;
    }
    bool is_answer = r.kind != DNS_REPLY_ERROR && r.kind != DNS_REPLY_TRUNCATED;
    if (s->is_edns_retry && is_answer) {
        upstream_note_no_edns(slot_upstream(x, s), now_ms);
    }
    take_reply(x, slot, &r);
    return true;
}

void dns_exchange_io_failed(struct dns_exchange *x, size_t slot, bool is_local, int64_t now_ms)
{
    REQUIRE(slot < DNS_EXCHANGE_SLOTS);
    struct dns_exchange_slot *s = &x->slots[slot];
    if (!s->is_open || s->wants_close) {
        return;
    }
    if (!is_local) {
        upstream_note_failure(slot_upstream(x, s), s->sent_ms, now_ms);
    }
    give_up(x, slot, DNS_EXCHANGE_FAIL_NETWORK);
}

static uint32_t move_bits(uint32_t bits, const uint8_t moved[UPSTREAM_MAX])
{
    uint32_t out = 0;
    for (size_t i = 0; i < UPSTREAM_MAX; i++) {
        if ((bits & (1U << i)) != 0 && moved[i] != UPSTREAM_GONE) {
            out |= 1U << moved[i];
        }
    }
    return out;
}

void dns_exchange_upstreams_moved(struct dns_exchange *x, const uint8_t moved[UPSTREAM_MAX])
{
    x->tried = move_bits(x->tried, moved);
    x->given_up = move_bits(x->given_up, moved);
    for (size_t i = 0; i < DNS_EXCHANGE_SLOTS; i++) {
        struct dns_exchange_slot *s = &x->slots[i];
        if (!is_in_use(s)) {
            continue;
        }
        if (moved[s->upstream] == UPSTREAM_GONE) {
            drop_slot(x, i);
            s->upstream = 0; /* until it is closed; nothing is learned from it any more */
        } else {
            s->upstream = moved[s->upstream];
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_exchange_priv.h"

#include "common/base/hash.h"
#include "common/base/scratch.h"

#define PAD_BLOCK 128 /* RFC 8467 4.1 */

static bool is_in_use(const struct dns_exchange_slot *s)
{
    return s->is_open || s->wants_open;
}

void dns_exchange_note_why(struct dns_exchange *x, enum dns_exchange_fail why)
{
    if (why > x->why) {
        x->why = why;
    }
}

void dns_exchange_drop_slot(struct dns_exchange *x, size_t i)
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
void dns_exchange_finish(struct dns_exchange *x, enum dns_exchange_status status)
{
    x->is_done = true;
    x->result.status = status;
    x->result.ttl_s = x->ttl_s;
    x->result.hops = x->hops;
    x->result.why = status == DNS_EXCHANGE_FAILED ? x->why : DNS_EXCHANGE_FAIL_NONE;
    for (size_t i = 0; i < x->slot_count; i++) {
        struct dns_exchange_slot *s = &x->slots[i];
        bool lingers = s->is_probe || s->is_overtaken;
        if (!(lingers && s->is_open && !s->wants_close && !s->is_late)) {
            dns_exchange_drop_slot(x, i);
        }
    }
}

/* The names asked so far are kept as hashes. A collision could only refuse a chain of its own owner's making.
 */
bool dns_exchange_remember_name(struct dns_exchange *x)
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

/* Nobody has been asked for x->name yet. */
void dns_exchange_begin_name(struct dns_exchange *x)
{
    x->wire_len = host_name_to_wire(&x->name, x->wire);
    x->current = NO_SLOT;
    x->tried = 0;
    x->given_up = 0;
    x->tcp_due = 0;
    x->tcp_done = 0;
    x->case_doubted = 0;
    x->passed_over = 0;
    x->round = 0;
    x->hedge_ms = INT64_MAX;
}

void dns_exchange_start(struct dns_exchange *x, struct dns_exchange_env *env, const struct host_name *name,
                        uint16_t qtype, int64_t now_ms)
{
    /* Two kilobytes, most of them addresses, hashes and slots that are counted: only what is read is set. */
    x->env = env;
    x->name = *name;
    x->qtype = qtype;
    x->end_ms = now_ms + env->total_ms;
    for (size_t i = 0; i < DNS_EXCHANGE_SLOTS; i++) {
        x->slots[i].is_open = false; /* dns_exchange_want_open() sets the rest */
    }
    x->slot_count = 0;
    x->sends = 0;
    x->hops = 0;
    x->name_count = 0;
    x->is_hedged = false;
    x->is_probe_due = true;
    x->is_done = false;
    x->is_answered = false;
    x->why = DNS_EXCHANGE_FAIL_NONE;
    x->ttl_s = UINT32_MAX;
    x->result.addr_count = 0;
    x->result.hops = 0;
    x->result.target.len = 0;
    x->result.records = NULL;
    x->result.upstream = (struct addr){0};
    dns_exchange_begin_name(x);
    env->hedge_credit += env->hedge_credit < DNS_EXCHANGE_HEDGE_CREDIT_MAX ? 1 : 0;
}

/* A free slot, or the oldest late one: its reply is the least likely to come. */
static size_t take_slot(struct dns_exchange *x)
{
    size_t oldest = NO_SLOT;
    for (size_t i = 0; i < x->slot_count; i++) {
        if (!is_in_use(&x->slots[i])) {
            return i;
        }
        if (x->slots[i].is_late && (oldest == NO_SLOT || x->slots[i].sent_ms < x->slots[oldest].sent_ms)) {
            oldest = i;
        }
    }
    return x->slot_count < DNS_EXCHANGE_SLOTS ? x->slot_count++ : oldest;
}

/* Asks for a (re)opened socket in slot i; a socket that is there is closed first. */
void dns_exchange_want_open(struct dns_exchange *x, size_t i, size_t upstream, bool tcp, bool with_opt)
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

/* Whose reply is welcome, but not waited for: UDP is asked again meanwhile. */
static bool is_only_doubt(const struct dns_exchange *x, const struct dns_exchange_slot *s)
{
    return s->is_beside && dns_exchange_is_doubted(x, s);
}

static size_t find_asking(const struct dns_exchange *x, size_t upstream)
{
    for (size_t i = 0; i < x->slot_count; i++) {
        const struct dns_exchange_slot *s = &x->slots[i];
        if (is_in_use(s) && !s->is_late && s->upstream == upstream && !is_only_doubt(x, s)) {
            return i;
        }
    }
    return NO_SLOT;
}

/* An attempt beside the one that is over, which is now the one to wait for: a hedge, or a try over TCP. */
static size_t find_beside(const struct dns_exchange *x, bool is_hedge)
{
    for (size_t i = 0; i < x->slot_count; i++) {
        const struct dns_exchange_slot *s = &x->slots[i];
        if ((is_hedge ? s->is_hedge : s->is_beside && !is_only_doubt(x, s)) && is_in_use(s) && !s->is_late) {
            return i;
        }
    }
    return NO_SLOT;
}

/* An attempt beside the one that is waited for; NULL if there is no room. */
static struct dns_exchange_slot *ask_beside(struct dns_exchange *x, size_t upstream, bool tcp, int64_t now_ms)
{
    size_t i = take_slot(x);
    if (i == NO_SLOT) {
        return NULL;
    }
    dns_exchange_want_open(x, i, upstream, tcp,
                           upstream_wants_edns(&x->env->upstreams.list[upstream], now_ms));
    return &x->slots[i];
}

/* An upstream that was silent to UDP, or refused it, or whose reply there was doubted, over TCP. */
static void choose_tcp(struct dns_exchange *x, int64_t now_ms)
{
    for (size_t i = 0; i < x->env->upstreams.count; i++) {
        uint32_t bit = 1U << i;
        if ((x->tcp_due & bit) == 0) {
            continue;
        }
        x->tcp_due &= ~bit;
        x->tcp_done |= bit;
        struct dns_exchange_slot *s =
            x->sends < DNS_EXCHANGE_SENDS_MAX ? ask_beside(x, i, true, now_ms) : NULL;
        if (s != NULL) {
            s->is_beside = true;
        }
        return;
    }
}

/* Opens the next attempt, or ends the exchange if there is nobody left to ask. */
static void choose(struct dns_exchange *x, int64_t now_ms)
{
    const struct upstream_set *set = &x->env->upstreams;
    x->current = find_beside(x, true);
    if (x->current != NO_SLOT) {
        return;
    }
    bool is_failover = set->count > 1 && (x->tried | x->given_up) != 0;
    size_t upstream = upstream_pick(set, x->tried | x->given_up);
    if (upstream == UPSTREAM_NONE) {
        x->current = find_beside(x, false);
        if (x->current != NO_SLOT) {
            return;
        }
        upstream = upstream_pick(set, x->given_up);
        x->tried = 0;
        x->round++;
    }
    if (upstream == UPSTREAM_NONE && x->tcp_due != 0) {
        choose_tcp(x, now_ms); /* refused over UDP: nothing else is left, and choose() comes again */
        return;
    }
    if (upstream == UPSTREAM_NONE || x->sends >= DNS_EXCHANGE_SENDS_MAX) {
        const bool is_loop = upstream_pick(set, 0) == UPSTREAM_NONE; /* there is none that may be asked */
        dns_exchange_note_why(x, is_loop ? DNS_EXCHANGE_FAIL_LOOP : DNS_EXCHANGE_FAIL_NETWORK);
        dns_exchange_finish(x, DNS_EXCHANGE_FAILED);
        return;
    }
    x->env->stats.failovers += is_failover ? 1 : 0;
    x->tried |= 1U << upstream;
    x->current = find_asking(x, upstream); /* as a probe, say: then that is waited for */
    if (x->current != NO_SLOT) {
        return;
    }
    size_t i = take_slot(x);
    if (i == NO_SLOT) {
        dns_exchange_finish(x, DNS_EXCHANGE_FAILED); /* cannot be: at most four are not late at a time */
        return;
    }
    /* Silence may be the answer of a middlebox to EDNS, unless none can see it: the second round goes
     * without. */
    const struct upstream *u = &set->list[upstream];
    bool with_opt = (x->round == 0 || u->is_private) && upstream_wants_edns(u, now_ms);
    dns_exchange_want_open(x, i, upstream, upstream_wants_tcp(u), with_opt);
    x->current = i;
}

/* Beside the first attempt of a question one failed upstream is asked too, or UDP where it is out of use, if
 * the time for that has come. */
static void choose_probe(struct dns_exchange *x, int64_t now_ms)
{
    x->is_probe_due = false;
    size_t asked = x->slots[x->current].upstream;
    struct dns_exchange_slot *s = NULL;
    if (upstream_take_udp_probe(&x->env->upstreams.list[asked], now_ms)) {
        s = ask_beside(x, asked, false, now_ms);
    } else {
        size_t upstream = upstream_pick_probe(&x->env->upstreams, x->tried | x->given_up, now_ms);
        if (upstream != UPSTREAM_NONE) {
            s = ask_beside(x, upstream, upstream_wants_tcp(&x->env->upstreams.list[upstream]), now_ms);
        }
    }
    if (s != NULL) {
        s->is_probe = true;
    }
}

/* The reply takes longer than usual: another upstream that works is asked beside. */
static void choose_hedge(struct dns_exchange *x, int64_t now_ms)
{
    x->hedge_ms = INT64_MAX;
    size_t upstream = upstream_pick_working(&x->env->upstreams, x->tried | x->given_up);
    if (upstream == UPSTREAM_NONE || find_asking(x, upstream) != NO_SLOT ||
        x->env->hedge_credit < DNS_EXCHANGE_HEDGE_COST) {
        return;
    }
    struct dns_exchange_slot *s =
        ask_beside(x, upstream, upstream_wants_tcp(&x->env->upstreams.list[upstream]), now_ms);
    if (s != NULL) {
        s->is_hedge = true;
        x->slots[x->current].is_overtaken = true;
        x->tried |= 1U << upstream;
        x->is_hedged = true;
        x->env->hedge_credit -= DNS_EXCHANGE_HEDGE_COST;
        x->env->stats.hedges++;
    }
}

/* An attempt was not answered in time. */
static void note_silence(struct dns_exchange *x, const struct dns_exchange_slot *s, int64_t now_ms)
{
    struct upstream *u = dns_exchange_slot_upstream(x, s);
    uint32_t bit = 1U << s->upstream;
    x->env->stats.timeouts++;
    x->env->has_health_news = true;
    if (s->is_probe && !s->tcp && u->prefers_tcp) {
        upstream_note_udp_lost(u, s->sent_ms);
        return; /* UDP is blocked still */
    }
    if (s->tcp) {
        upstream_note_no_tcp(u, s->sent_ms, now_ms);
    }
    if (s->tcp && !s->is_beside) {
        upstream_note_tcp_failed(u);
    }
    u->trouble = UPSTREAM_SILENT;
    upstream_note_failure(u, s->sent_ms, now_ms);
    bool is_mute = !s->tcp && !s->is_probe && u->udp_reply_ms < s->sent_ms;
    if (is_mute && (x->tcp_done & bit) == 0) {
        x->tcp_due |= bit;
    }
}

/* Judges attempts whose time is over. True if there was one. */
static bool expire(struct dns_exchange *x, int64_t now_ms)
{
    bool changed = false;
    for (size_t i = 0; i < x->slot_count; i++) {
        struct dns_exchange_slot *s = &x->slots[i];
        if (!s->is_open || s->is_late || now_ms < s->deadline_ms) {
            continue;
        }
        changed = true;
        s->is_late = true;
        note_silence(x, s, now_ms);
        if (x->current == i) {
            x->current = NO_SLOT;
        }
        if (x->is_done) {
            dns_exchange_drop_slot(x, i);
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
        dns_exchange_note_why(x, DNS_EXCHANGE_FAIL_TIMEOUT);
        dns_exchange_finish(x, DNS_EXCHANGE_FAILED);
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
    if (x->tcp_due != 0) {
        choose_tcp(x, now_ms);
        return true;
    }
    if (now_ms >= x->hedge_ms) {
        choose_hedge(x, now_ms);
        return true;
    }
    return false;
}

/* The question in wire form as the slot sends it; out has 255 bytes. */
struct span dns_exchange_slot_qname(const struct dns_exchange *x, const struct dns_exchange_slot *s,
                                    uint8_t out[255])
{
    memcpy(out, x->wire, x->wire_len);
    if (s->is_mixed_case) {
        dns_wire_name_randomise(out, x->wire_len, s->case_bits);
    }
    return span_make(out, x->wire_len);
}

static void open_slot(struct dns_exchange *x, size_t i, int64_t now_ms, const struct dns_entropy *rnd,
                      struct dns_action *out)
{
    struct dns_exchange_slot *s = &x->slots[i];
    const struct upstream *u = dns_exchange_slot_upstream(x, s);
    s->is_open = true;
    s->wants_open = false;
    s->id = rnd->id;
    /* After a doubt that TCP has not settled: one attempt in vain is enough. */
    s->is_mixed_case = upstream_wants_random_case(u) && (s->tcp || !dns_exchange_is_doubted(x, s));
    s->is_exact_case = u->casing == UPSTREAM_CASE_ECHOED && !s->tcp && s->is_mixed_case;
    memcpy(s->case_bits, rnd->case_bits, sizeof(s->case_bits));
    s->sent_ms = now_ms;
    s->deadline_ms = now_ms + x->env->attempt_ms;
    x->sends++;
    if (i == x->current && !x->is_hedged && x->env->upstreams.count > 1) {
        x->hedge_ms = now_ms + upstream_late_ms(u);
    }
    if (s->tcp) {
        x->env->stats.sent_tcp++;
    } else {
        x->env->stats.sent_udp++;
    }

    SCRATCH uint8_t wire[255];
    struct wbuf w = wbuf_make(out->msg, sizeof(out->msg));
    dns_query_build(&w, s->id, dns_exchange_slot_qname(x, s, wire), x->qtype, s->with_opt);
    if (u->is_private && s->with_opt) {
        dns_query_pad(&w, PAD_BLOCK);
    }
    REQUIRE(!w.overflow);
    out->kind = DNS_ACTION_OPEN;
    out->slot = i;
    out->upstream = s->upstream;
    x->result.upstream = s->is_probe ? x->result.upstream : u->addr;
    out->tcp = s->tcp;
    out->to = u->addr;
    out->msg_len = w.len;
}

/* Tells the driver to close or open one slot. False: none wants to. */
static bool serve_slots(struct dns_exchange *x, int64_t now_ms, const struct dns_entropy *rnd,
                        struct dns_action *out)
{
    for (size_t i = 0; i < x->slot_count; i++) {
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
    for (size_t i = 0; i < x->slot_count; i++) {
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
    out->until_ms = x->is_done ? INT64_MAX : x->end_ms < x->hedge_ms ? x->end_ms : x->hedge_ms;
    for (size_t i = 0; i < x->slot_count; i++) {
        const struct dns_exchange_slot *s = &x->slots[i];
        if (s->is_open && !s->is_late) {
            out->kind = DNS_ACTION_WAIT;
            out->until_ms = s->deadline_ms < out->until_ms ? s->deadline_ms : out->until_ms;
        }
    }
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
    x->tcp_due = move_bits(x->tcp_due, moved);
    x->tcp_done = move_bits(x->tcp_done, moved);
    x->case_doubted = move_bits(x->case_doubted, moved);
    x->passed_over = move_bits(x->passed_over, moved);
    for (size_t i = 0; i < x->slot_count; i++) {
        struct dns_exchange_slot *s = &x->slots[i];
        if (!is_in_use(s)) {
            continue;
        }
        if (moved[s->upstream] == UPSTREAM_GONE) {
            dns_exchange_drop_slot(x, i);
            s->upstream = 0; /* until it is closed; nothing is learned from it any more */
        } else {
            s->upstream = moved[s->upstream];
        }
    }
}

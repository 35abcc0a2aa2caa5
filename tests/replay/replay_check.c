/* SPDX-License-Identifier: Apache-2.0 */
/* The lines of a scenario that say what has to have happened. */
#include "tests/replay/replay.h"

const struct event *replay_next_event(struct player *p, enum event_kind kind, const char *what)
{
    if (p->seen == p->event_count) {
        replay_fail(p, "no %s: nothing happened", what);
    }
    const struct event *e = &p->events[p->seen++];
    if (e->kind != kind) {
        replay_fail(p, "no %s but %s at %lld ms", what, e->kind == EVENT_SEND ? "an attempt" : "the answer",
                    (long long)e->at_ms);
    }
    return e;
}

void replay_check_nothing(struct player *p)
{
    if (p->seen == p->event_count) {
        return;
    }
    const struct event *e = &p->events[p->seen];
    replay_fail(p, "unexpected: %s at %lld ms", e->kind == EVENT_SEND ? "an attempt" : "the answer",
                (long long)e->at_ms);
}

/* send N UPSTREAM [udp|tcp] [opt|noopt] [lower|mixed] [name NAME] [at MS] */
void replay_do_send(struct player *p, const struct words *w)
{
    const struct event *e = replay_next_event(p, EVENT_SEND, "attempt");
    const struct send *s = &p->sends[e->send];
    if (w->count < 3 || (size_t)replay_read_number(p, w->list[1]) != e->send + 1) {
        replay_fail(p, "this is attempt %zu", e->send + 1);
    }
    size_t upstream = replay_read_upstream(p, w->list[2]);
    char text[ADDR_TEXT_CAP];
    if (!addr_is_equal(&s->to, &p->env.upstreams.list[upstream].addr)) {
        replay_fail(p, "it went to %s", addr_text(&s->to, text));
    }
    struct fake_query q;
    if (!fake_query_read(span_make(s->msg, s->msg_len), &q)) {
        replay_fail(p, "what was sent is no query");
    }
    for (size_t i = 3; i < w->count; i++) {
        const char *word = w->list[i];
        bool is_right = (replay_is_word(word, "udp") && !s->tcp) || (replay_is_word(word, "tcp") && s->tcp) ||
                        (replay_is_word(word, "opt") && q.has_opt) ||
                        (replay_is_word(word, "noopt") && !q.has_opt) ||
                        (replay_is_word(word, "lower") && !q.is_mixed_case) ||
                        (replay_is_word(word, "mixed") && q.is_mixed_case);
        if (replay_is_word(word, "at") && i + 1 < w->count) {
            is_right = replay_read_number(p, w->list[++i]) == e->at_ms;
        } else if (replay_is_word(word, "name") && i + 1 < w->count) {
            struct host_name name = replay_read_name(p, w->list[++i]);
            is_right = host_name_is_equal(&name, &q.name);
        }
        if (!is_right) {
            replay_fail(p, "not so: %s (%s, %s, %s, %s, at %lld ms)", w->list[i], s->tcp ? "tcp" : "udp",
                        q.has_opt ? "opt" : "noopt", q.is_mixed_case ? "mixed" : "lower", q.name.text,
                        (long long)e->at_ms);
        }
    }
}

static void check_failed(const struct player *p, const char *word)
{
    static const struct {
        const char *word;
        enum dns_exchange_fail why;
    } fails[] = {{"timeout", DNS_EXCHANGE_FAIL_TIMEOUT}, {"servfail", DNS_EXCHANGE_FAIL_SERVFAIL},
                 {"refused", DNS_EXCHANGE_FAIL_REFUSED}, {"network", DNS_EXCHANGE_FAIL_NETWORK},
                 {"local", DNS_EXCHANGE_FAIL_LOCAL},     {"cname", DNS_EXCHANGE_FAIL_CNAME},
                 {"loop", DNS_EXCHANGE_FAIL_LOOP},       {"malformed", DNS_EXCHANGE_FAIL_MALFORMED}};
    for (size_t i = 0; i < sizeof(fails) / sizeof(fails[0]); i++) {
        if (replay_is_word(word, fails[i].word)) {
            if (p->exchange.result.why != fails[i].why) {
                replay_fail(p, "it failed for another reason (%d)", (int)p->exchange.result.why);
            }
            return;
        }
    }
    replay_fail(p, "%s is no reason", word);
}

/* answer failed WHY | nodata | nxdomain | addrs IP… ; then [ttl SECONDS] [at MS] */
void replay_do_answer(struct player *p, const struct words *w)
{
    static const char *const statuses[] = {[DNS_EXCHANGE_FAILED] = "failed",
                                           [DNS_EXCHANGE_ADDRS] = "addrs",
                                           [DNS_EXCHANGE_RECORDS] = "records",
                                           [DNS_EXCHANGE_NODATA] = "nodata",
                                           [DNS_EXCHANGE_NXDOMAIN] = "nxdomain"};
    const struct event *e = replay_next_event(p, EVENT_ANSWER, "answer");
    const struct dns_exchange_result *r = &p->exchange.result;
    if (w->count < 2 || !replay_is_word(w->list[1], statuses[r->status])) {
        replay_fail(p, "the answer is %s", statuses[r->status]);
    }
    size_t addr_count = 0;
    for (size_t i = 2; i < w->count; i++) {
        struct ip ip;
        if (replay_is_word(w->list[i], "at")) {
            int64_t at_ms = replay_read_number(p, w->list[++i]);
            if (at_ms != e->at_ms) {
                replay_fail(p, "it came at %lld ms", (long long)e->at_ms);
            }
        } else if (replay_is_word(w->list[i], "ttl")) {
            if (replay_read_number(p, w->list[++i]) != (int64_t)r->ttl_s) {
                replay_fail(p, "the TTL is %u", r->ttl_s);
            }
        } else if (r->status == DNS_EXCHANGE_FAILED) {
            check_failed(p, w->list[i]);
        } else if (ip_parse(span_str(w->list[i]), &ip) != 0 || addr_count >= r->addr_count ||
                   !ip_is_equal(&ip, &r->addrs[addr_count++])) {
            replay_fail(p, "%s is not the next address", w->list[i]);
        }
    }
    if (addr_count != r->addr_count) {
        replay_fail(p, "there are %zu addresses", r->addr_count);
    }
}

static const char *case_word(enum upstream_case casing)
{
    switch (casing) {
    case UPSTREAM_CASE_PLAIN:
        return "plain";
    case UPSTREAM_CASE_PROBE:
        return "probe";
    case UPSTREAM_CASE_ECHOED:
        return "echoed";
    case UPSTREAM_CASE_FOLDED:
        return "folded";
    }
    return "?";
}

/* learned UPSTREAM [edns|noedns] [CASE] [udp|tcp] [failures N] [lost N] [late MS] [mismatches N] */
void replay_do_learned(struct player *p, const struct words *w)
{
    const struct upstream *u =
        &p->env.upstreams.list[replay_read_upstream(p, w->count > 1 ? w->list[1] : "")];
    bool has_edns = upstream_wants_edns(u, START_MS + p->now_ms);
    for (size_t i = 2; i < w->count; i++) {
        const char *word = w->list[i];
        const char *over = upstream_wants_tcp(u) ? "tcp" : "udp";
        bool is_right = replay_is_word(word, has_edns ? "edns" : "noedns") ||
                        replay_is_word(word, case_word(u->casing)) || replay_is_word(word, over);
        if (replay_is_word(word, "failures") && i + 1 < w->count) {
            is_right = replay_read_number(p, w->list[++i]) == (int64_t)u->failures;
        } else if (replay_is_word(word, "lost") && i + 1 < w->count) {
            is_right = replay_read_number(p, w->list[++i]) == (int64_t)u->udp_losses;
        } else if (replay_is_word(word, "late") && i + 1 < w->count) {
            is_right = replay_read_number(p, w->list[++i]) == upstream_late_ms(u);
        } else if (replay_is_word(word, "mismatches") && i + 1 < w->count) {
            is_right = replay_read_number(p, w->list[++i]) == (int64_t)u->mismatches;
        }
        if (!is_right) {
            replay_fail(p, "not so: %s (%s, %s, %s, %u failures, late after %lld ms, %llu mismatches)",
                        w->list[i], has_edns ? "edns" : "noedns", case_word(u->casing), over, u->failures,
                        (long long)upstream_late_ms(u), (unsigned long long)u->mismatches);
        }
    }
}

/* counted WHAT N … */
void replay_do_counted(struct player *p, const struct words *w)
{
    const struct dns_exchange_stats *s = &p->env.stats;
    const struct {
        const char *word;
        uint64_t count;
    } counters[] = {{"udp", s->sent_udp},          {"tcp", s->sent_tcp},         {"replies", s->replies},
                    {"mismatches", s->mismatches}, {"timeouts", s->timeouts},    {"failovers", s->failovers},
                    {"hedges", s->hedges},         {"hedge_wins", s->hedge_wins}};
    for (size_t i = 1; i < w->count; i += 2) {
        size_t at = 0;
        while (at < sizeof(counters) / sizeof(counters[0]) &&
               !replay_is_word(w->list[i], counters[at].word)) {
            at++;
        }
        if (at == sizeof(counters) / sizeof(counters[0]) || i + 1 == w->count) {
            replay_fail(p, "%s is no counter", w->list[i]);
        }
        if (replay_read_number(p, w->list[i + 1]) != (int64_t)counters[at].count) {
            replay_fail(p, "%s is %llu", w->list[i], (unsigned long long)counters[at].count);
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays the scenarios of tests/replay/[*].rpl against dns_exchange: servers, client and time are lines of
 * text, so a question of retry, failover or forgery is ten lines that run in no time. The lines are described
 * in tests/replay/README.md. Without arguments all scenarios of the source tree are played.
 */
#include "common/dns/dns_exchange.h"
#include "tests/support/fake_reply.h"

#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define EVENTS_MAX 256
#define SENDS_MAX 128
#define WORDS_MAX 32
#define START_MS 1000000
#define SCENARIOS_MIN 25 /* fewer means that they were not found */

enum event_kind { EVENT_SEND = 0, EVENT_ANSWER };

struct event {
    enum event_kind kind;
    int64_t at_ms;
    size_t send; /* index in sends */
};

struct send {
    size_t slot;
    bool is_open;
    bool tcp;
    struct addr to;
    size_t msg_len;
    uint8_t msg[DNS_EXCHANGE_QUERY_CAP];
};

struct player {
    const char *path;
    int line;
    struct dns_exchange_env env;
    struct dns_exchange exchange;
    bool is_asking;
    bool has_ended;
    int64_t now_ms;   /* since the beginning of the scenario */
    int64_t until_ms; /* what the exchange waits for, on its scale */
    struct dns_entropy entropy;
    struct event events[EVENTS_MAX]; /* what it did and no line has asked for yet: [seen, event_count) */
    size_t event_count, seen;
    struct send sends[SENDS_MAX]; /* attempts since "ask", in order */
    size_t send_count;
};

struct words {
    size_t count;
    char *list[WORDS_MAX];
};

static void fail(const struct player *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), noreturn));

static void fail(const struct player *p, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fprintf(stderr, "%s:%d: ", p->path, p->line);
    (void)vfprintf(stderr, fmt, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

static bool is_word(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

static int64_t read_number(const struct player *p, const char *word)
{
    char *end = NULL;
    long long n = word == NULL ? -1 : strtoll(word, &end, 10);
    if (word == NULL || end == word || *end != '\0' || n < 0) {
        fail(p, "a number is needed, not %s", word == NULL ? "the end of the line" : word);
    }
    return n;
}

static struct host_name read_name(const struct player *p, const char *word)
{
    struct host_name name;
    if (host_name_parse(span_str(word), &name) != HOST_FAULT_NONE) {
        fail(p, "%s is no name", word);
    }
    return name;
}

/* Upstreams are called a, b, c … */
static size_t read_upstream(const struct player *p, const char *word)
{
    size_t i = (size_t)(unsigned char)word[0] - 'a';
    if (word[0] < 'a' || word[1] != '\0' || i >= p->env.upstreams.count) {
        fail(p, "%s is no upstream", word);
    }
    return i;
}

static void add_event(struct player *p, enum event_kind kind, size_t send)
{
    if (p->event_count == EVENTS_MAX) {
        fail(p, "too many events");
    }
    p->events[p->event_count++] = (struct event){.kind = kind, .at_ms = p->now_ms, .send = send};
}

static void note_open(struct player *p, const struct dns_action *act)
{
    if (p->send_count == SENDS_MAX) {
        fail(p, "too many attempts");
    }
    for (size_t i = 0; i < p->send_count; i++) {
        if (p->sends[i].is_open && p->sends[i].slot == act->slot) {
            fail(p, "slot %zu was opened twice", act->slot);
        }
    }
    struct send *s = &p->sends[p->send_count];
    *s = (struct send){
        .slot = act->slot, .is_open = true, .tcp = act->tcp, .to = act->to, .msg_len = act->msg_len};
    memcpy(s->msg, act->msg, act->msg_len);
    if (s->msg[0] != p->entropy.id >> 8 || s->msg[1] != (p->entropy.id & 0xff)) {
        fail(p, "the attempt does not use the fresh ID");
    }
    p->entropy.id = (uint16_t)(p->entropy.id * 25173U + 13849U);
    add_event(p, EVENT_SEND, p->send_count++);
}

static void note_close(struct player *p, size_t slot)
{
    for (size_t i = 0; i < p->send_count; i++) {
        if (p->sends[i].is_open && p->sends[i].slot == slot) {
            p->sends[i].is_open = false;
            return;
        }
    }
    fail(p, "slot %zu was closed but not open", slot);
}

static void pump(struct player *p)
{
    for (int budget = 0; budget < 1000; budget++) {
        struct dns_action act;
        dns_exchange_next(&p->exchange, START_MS + p->now_ms, &p->entropy, &act);
        switch (act.kind) {
        case DNS_ACTION_OPEN:
            note_open(p, &act);
            break;
        case DNS_ACTION_CLOSE:
            note_close(p, act.slot);
            break;
        case DNS_ACTION_ANSWER:
            add_event(p, EVENT_ANSWER, 0);
            break;
        case DNS_ACTION_WAIT:
            if (act.until_ms <= START_MS + p->now_ms) {
                fail(p, "it waits for a time that is over");
            }
            p->until_ms = act.until_ms;
            return;
        case DNS_ACTION_END:
            p->has_ended = true;
            p->until_ms = INT64_MAX;
            return;
        }
    }
    fail(p, "the exchange spins");
}

/* Time passes as it would for a real driver: with a look at each moment the exchange asked for. */
static void pass_time(struct player *p, int64_t to_ms)
{
    if (to_ms < p->now_ms) {
        fail(p, "time goes forwards only");
    }
    while (p->is_asking && !p->has_ended && p->until_ms - START_MS <= to_ms) {
        p->now_ms = p->until_ms - START_MS;
        pump(p);
    }
    p->now_ms = to_ms;
}

static const struct event *next_event(struct player *p, enum event_kind kind, const char *what)
{
    if (p->seen == p->event_count) {
        fail(p, "no %s: nothing happened", what);
    }
    const struct event *e = &p->events[p->seen++];
    if (e->kind != kind) {
        fail(p, "no %s but %s at %lld ms", what, e->kind == EVENT_SEND ? "an attempt" : "the answer",
             (long long)e->at_ms);
    }
    return e;
}

static void check_nothing(struct player *p)
{
    if (p->seen == p->event_count) {
        return;
    }
    const struct event *e = &p->events[p->seen];
    fail(p, "unexpected: %s at %lld ms", e->kind == EVENT_SEND ? "an attempt" : "the answer",
         (long long)e->at_ms);
}

/* The previous question has to be over in every respect: answered, seen, all sockets closed. */
static void finish_question(struct player *p)
{
    if (!p->is_asking) {
        return;
    }
    check_nothing(p);
    if (!p->exchange.is_answered) {
        fail(p, "the question was not answered");
    }
    if (!p->has_ended) {
        pass_time(p, p->now_ms + p->env.attempt_ms); /* a probe may linger as long */
    }
    check_nothing(p);
    if (!p->has_ended) {
        fail(p, "the exchange has not ended");
    }
    for (size_t i = 0; i < p->send_count; i++) {
        if (p->sends[i].is_open) {
            fail(p, "attempt %zu was not closed", i + 1);
        }
    }
    p->is_asking = false;
}

/* upstreams COUNT */
static void do_upstreams(struct player *p, const struct words *w)
{
    struct addr addrs[UPSTREAM_MAX + 1];
    size_t count = (size_t)read_number(p, w->list[1]);
    for (size_t i = 0; i < count && i <= UPSTREAM_MAX; i++) {
        addrs[i] = (struct addr){.ip = ip_v4(192, 0, 2, (uint8_t)(i + 1)), .port = 53};
    }
    struct err err = {0};
    if (upstream_set_init(&p->env.upstreams, addrs, count, &err) != 0) {
        fail(p, "%s", err.text);
    }
}

/* ask NAME A|AAAA */
static void do_ask(struct player *p, const struct words *w)
{
    finish_question(p);
    if (w->count != 3) {
        fail(p, "ask NAME A|AAAA");
    }
    struct host_name name = read_name(p, w->list[1]);
    uint16_t qtype = is_word(w->list[2], "AAAA") ? DNS_AAAA : DNS_A;
    p->send_count = 0;
    p->event_count = 0;
    p->seen = 0;
    p->is_asking = true;
    p->has_ended = false;
    dns_exchange_start(&p->exchange, &p->env, &name, qtype, START_MS + p->now_ms);
    pump(p);
}

/* send N UPSTREAM [udp|tcp] [opt|noopt] [lower|mixed] [name NAME] [at MS] */
static void do_send(struct player *p, const struct words *w)
{
    const struct event *e = next_event(p, EVENT_SEND, "attempt");
    const struct send *s = &p->sends[e->send];
    if (w->count < 3 || (size_t)read_number(p, w->list[1]) != e->send + 1) {
        fail(p, "this is attempt %zu", e->send + 1);
    }
    size_t upstream = read_upstream(p, w->list[2]);
    char text[ADDR_TEXT_CAP];
    if (!addr_is_equal(&s->to, &p->env.upstreams.list[upstream].addr)) {
        fail(p, "it went to %s", addr_text(&s->to, text));
    }
    struct fake_query q;
    if (!fake_query_read(span_make(s->msg, s->msg_len), &q)) {
        fail(p, "what was sent is no query");
    }
    for (size_t i = 3; i < w->count; i++) {
        const char *word = w->list[i];
        bool is_right = (is_word(word, "udp") && !s->tcp) || (is_word(word, "tcp") && s->tcp) ||
                        (is_word(word, "opt") && q.has_opt) || (is_word(word, "noopt") && !q.has_opt) ||
                        (is_word(word, "lower") && !q.is_mixed_case) ||
                        (is_word(word, "mixed") && q.is_mixed_case);
        if (is_word(word, "at") && i + 1 < w->count) {
            is_right = read_number(p, w->list[++i]) == e->at_ms;
        } else if (is_word(word, "name") && i + 1 < w->count) {
            struct host_name name = read_name(p, w->list[++i]);
            is_right = host_name_is_equal(&name, &q.name);
        }
        if (!is_right) {
            fail(p, "not so: %s (%s, %s, %s, %s, at %lld ms)", w->list[i], s->tcp ? "tcp" : "udp",
                 q.has_opt ? "opt" : "noopt", q.is_mixed_case ? "mixed" : "lower", q.name.text,
                 (long long)e->at_ms);
        }
    }
}

static bool read_rcode(const char *word, struct fake_reply *f)
{
    static const struct {
        const char *word;
        uint16_t rcode;
    } rcodes[] = {{"nodata", DNS_NOERROR},  {"nxdomain", DNS_NXDOMAIN}, {"servfail", DNS_SERVFAIL},
                  {"refused", DNS_REFUSED}, {"formerr", DNS_FORMERR},   {"notimp", DNS_NOTIMP},
                  {"badvers", DNS_BADVERS}};
    for (size_t i = 0; i < sizeof(rcodes) / sizeof(rcodes[0]); i++) {
        if (is_word(word, rcodes[i].word)) {
            f->rcode = rcodes[i].rcode;
            return true;
        }
    }
    return false;
}

static bool read_flag(const char *word, struct fake_reply *f)
{
    struct {
        const char *word;
        bool *flag;
    } flags[] = {{"tc", &f->tc},
                 {"nora", &f->no_ra},
                 {"badid", &f->bad_id},
                 {"badname", &f->bad_question},
                 {"othercase", &f->other_case},
                 {"lower", &f->lower_case},
                 {"bare", &f->no_question},
                 {"query", &f->not_response}};
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        if (is_word(word, flags[i].word)) {
            *flags[i].flag = true;
            return true;
        }
    }
    return false;
}

/* RCODE, flags, soa SECONDS, ttl SECONDS, cname NAME (in order of the chain), addr IP */
static void read_reply(const struct player *p, const struct words *w, struct fake_reply *f)
{
    *f = (struct fake_reply){.ttl_s = 60};
    for (size_t i = 2; i < w->count; i++) {
        const char *word = w->list[i];
        if (read_rcode(word, f) || read_flag(word, f)) {
            continue;
        }
        const char *value = i + 1 < w->count ? w->list[++i] : "";
        if (is_word(word, "soa")) {
            f->has_soa = true;
            f->soa_min_s = (uint32_t)read_number(p, value);
        } else if (is_word(word, "ttl")) {
            f->ttl_s = (uint32_t)read_number(p, value);
        } else if (is_word(word, "cname") && f->cname_count < FAKE_CNAMES_MAX) {
            f->cnames[f->cname_count++] = read_name(p, value);
        } else if (!is_word(word, "addr") || f->addr_count == FAKE_ADDRS_MAX ||
                   ip_parse(span_str(value), &f->addrs[f->addr_count++]) != 0) {
            fail(p, "%s %s makes no reply", word, value);
        }
    }
}

static const struct send *read_send(const struct player *p, const struct words *w)
{
    size_t n = w->count < 2 ? 0 : (size_t)read_number(p, w->list[1]);
    if (n == 0 || n > p->send_count) {
        fail(p, "there is no such attempt");
    }
    return &p->sends[n - 1];
}

/* reply N … : taken. forged N … : ignored. Both fail on a socket that was closed. */
static void do_reply(struct player *p, const struct words *w)
{
    const struct send *s = read_send(p, w);
    if (!s->is_open) {
        fail(p, "attempt %s has no socket any more", w->list[1]);
    }
    uint8_t msg[4096];
    size_t len = 0;
    if (w->count == 3 && is_word(w->list[2], "garbage")) {
        len = 40;
        memset(msg, 0xff, len);
    } else if (w->count == 3 && is_word(w->list[2], "empty")) {
        len = 0;
    } else {
        struct fake_reply f;
        read_reply(p, w, &f);
        len = fake_reply_build(&f, span_make(s->msg, s->msg_len), msg, sizeof(msg));
    }
    bool taken = dns_exchange_reply(&p->exchange, s->slot, span_make(msg, len), START_MS + p->now_ms);
    if (taken != is_word(w->list[0], "reply")) {
        fail(p, "the reply was %s", taken ? "taken" : "ignored");
    }
    pump(p);
}

/* iofail N [local] */
static void do_iofail(struct player *p, const struct words *w)
{
    const struct send *s = read_send(p, w);
    if (!s->is_open) {
        fail(p, "attempt %s has no socket any more", w->list[1]);
    }
    bool is_local = w->count == 3 && is_word(w->list[2], "local");
    dns_exchange_io_failed(&p->exchange, s->slot, is_local, START_MS + p->now_ms);
    pump(p);
}

static void check_failed(const struct player *p, const char *word)
{
    static const struct {
        const char *word;
        enum dns_exchange_fail why;
    } fails[] = {{"timeout", DNS_EXCHANGE_FAIL_TIMEOUT},
                 {"servfail", DNS_EXCHANGE_FAIL_SERVFAIL},
                 {"refused", DNS_EXCHANGE_FAIL_REFUSED},
                 {"network", DNS_EXCHANGE_FAIL_NETWORK},
                 {"cname", DNS_EXCHANGE_FAIL_CNAME}};
    for (size_t i = 0; i < sizeof(fails) / sizeof(fails[0]); i++) {
        if (is_word(word, fails[i].word)) {
            if (p->exchange.result.why != fails[i].why) {
                fail(p, "it failed for another reason (%d)", (int)p->exchange.result.why);
            }
            return;
        }
    }
    fail(p, "%s is no reason", word);
}

/* answer failed WHY | nodata | nxdomain | addrs IP… ; then [ttl SECONDS] [at MS] */
static void do_answer(struct player *p, const struct words *w)
{
    static const char *const statuses[] = {"failed", "addrs", "nodata", "nxdomain"};
    const struct event *e = next_event(p, EVENT_ANSWER, "answer");
    const struct dns_exchange_result *r = &p->exchange.result;
    if (w->count < 2 || !is_word(w->list[1], statuses[r->status])) {
        fail(p, "the answer is %s", statuses[r->status]);
    }
    size_t addr_count = 0;
    for (size_t i = 2; i < w->count; i++) {
        struct ip ip;
        if (is_word(w->list[i], "at")) {
            int64_t at_ms = read_number(p, w->list[++i]);
            if (at_ms != e->at_ms) {
                fail(p, "it came at %lld ms", (long long)e->at_ms);
            }
        } else if (is_word(w->list[i], "ttl")) {
            if (read_number(p, w->list[++i]) != (int64_t)r->ttl_s) {
                fail(p, "the TTL is %u", r->ttl_s);
            }
        } else if (r->status == DNS_EXCHANGE_FAILED) {
            check_failed(p, w->list[i]);
        } else if (ip_parse(span_str(w->list[i]), &ip) != 0 || addr_count >= r->addr_count ||
                   !ip_is_equal(&ip, &r->addrs[addr_count++])) {
            fail(p, "%s is not the next address", w->list[i]);
        }
    }
    if (addr_count != r->addr_count) {
        fail(p, "there are %zu addresses", r->addr_count);
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

/* learned UPSTREAM [edns|noedns] [CASE] [failures N] */
static void do_learned(struct player *p, const struct words *w)
{
    const struct upstream *u = &p->env.upstreams.list[read_upstream(p, w->count > 1 ? w->list[1] : "")];
    bool has_edns = upstream_wants_edns(u, START_MS + p->now_ms);
    for (size_t i = 2; i < w->count; i++) {
        const char *word = w->list[i];
        bool is_right = is_word(word, has_edns ? "edns" : "noedns") || is_word(word, case_word(u->casing));
        if (is_word(word, "failures") && i + 1 < w->count) {
            is_right = read_number(p, w->list[++i]) == (int64_t)u->failures;
        }
        if (!is_right) {
            fail(p, "not so: %s (%s, %s, %u failures)", w->list[i], has_edns ? "edns" : "noedns",
                 case_word(u->casing), u->failures);
        }
    }
}

static void play_line(struct player *p, const struct words *w)
{
    const char *verb = w->list[0];
    if (is_word(verb, "upstreams")) {
        do_upstreams(p, w);
    } else if (is_word(verb, "ask")) {
        do_ask(p, w);
    } else if (is_word(verb, "time")) {
        pass_time(p, read_number(p, w->list[1]));
    } else if (is_word(verb, "send")) {
        do_send(p, w);
    } else if (is_word(verb, "reply") || is_word(verb, "forged")) {
        do_reply(p, w);
    } else if (is_word(verb, "iofail")) {
        do_iofail(p, w);
    } else if (is_word(verb, "answer")) {
        do_answer(p, w);
    } else if (is_word(verb, "nothing")) {
        check_nothing(p);
    } else if (is_word(verb, "ended")) {
        if (!p->has_ended) {
            fail(p, "it has not ended");
        }
    } else if (is_word(verb, "learned")) {
        do_learned(p, w);
    } else {
        fail(p, "%s is no verb", verb);
    }
}

static void play(const char *path)
{
    struct player *p = calloc(1, sizeof(*p));
    FILE *in = fopen(path, "re");
    if (p == NULL || in == NULL) {
        (void)fprintf(stderr, "%s: cannot be read\n", path);
        exit(1);
    }
    p->path = path;
    p->env.attempt_ms = 800;
    p->env.total_ms = 3500;
    p->entropy.id = 0x1234;
    memset(p->entropy.case_bits, 0x5a, sizeof(p->entropy.case_bits));

    char line[512];
    while (fgets(line, (int)sizeof(line), in) != NULL) {
        p->line++;
        line[strcspn(line, "#\n")] = '\0';
        struct words w = {0};
        char *rest = line;
        for (char *word = strsep(&rest, " \t"); word != NULL; word = strsep(&rest, " \t")) {
            if (*word != '\0' && w.count < WORDS_MAX - 1) {
                w.list[w.count++] = word;
            }
        }
        if (w.count > 0) {
            play_line(p, &w);
        }
    }
    finish_question(p);
    if (p->send_count == 0) {
        fail(p, "nothing was asked");
    }
    (void)fclose(in);
    free(p);
    (void)printf("ok %s\n", path);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        play(argv[i]);
    }
    if (argc > 1) {
        return 0;
    }
    const char *top = getenv("top_srcdir");
    char pattern[4096];
    (void)snprintf(pattern, sizeof(pattern), "%s/tests/replay/*.rpl", top == NULL ? "." : top);
    glob_t found = {0};
    if (glob(pattern, 0, NULL, &found) != 0 || found.gl_pathc < SCENARIOS_MIN) {
        (void)fprintf(stderr, "%s: fewer than %d scenarios\n", pattern, SCENARIOS_MIN);
        return 1;
    }
    for (size_t i = 0; i < found.gl_pathc; i++) {
        play(found.gl_pathv[i]);
    }
    globfree(&found);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays the scenarios of tests/replay/[*].rpl against dns_exchange: servers, client and time are lines of
 * text, so a question of retry, failover or forgery is ten lines that run in no time. The lines are described
 * in tests/replay/README.md. Without arguments all scenarios of the source tree are played.
 */
#include "tests/replay/replay.h"

#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define SCENARIOS_MIN 60 /* fewer means that they were not found */

void replay_fail(const struct player *p, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fprintf(stderr, "%s:%d: ", p->path, p->line);
    (void)vfprintf(stderr, fmt, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

bool replay_is_word(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

int64_t replay_read_number(const struct player *p, const char *word)
{
    char *end = NULL;
    long long n = word == NULL ? -1 : strtoll(word, &end, 10);
    if (word == NULL || end == word || *end != '\0' || n < 0) {
        replay_fail(p, "a number is needed, not %s", word == NULL ? "the end of the line" : word);
    }
    return n;
}

struct host_name replay_read_name(const struct player *p, const char *word)
{
    struct host_name name;
    if (host_name_parse(span_str(word), &name) != HOST_FAULT_NONE) {
        replay_fail(p, "%s is no name", word);
    }
    return name;
}

/* Upstreams are called a, b, c … */
size_t replay_read_upstream(const struct player *p, const char *word)
{
    size_t i = (size_t)(unsigned char)word[0] - 'a';
    if (word[0] < 'a' || word[1] != '\0' || i >= p->env.upstreams.count) {
        replay_fail(p, "%s is no upstream", word);
    }
    return i;
}

static void add_event(struct player *p, enum event_kind kind, size_t send)
{
    if (p->event_count == EVENTS_MAX) {
        replay_fail(p, "too many events");
    }
    p->events[p->event_count++] = (struct event){.kind = kind, .at_ms = p->now_ms, .send = send};
}

static void note_open(struct player *p, const struct dns_action *act)
{
    if (p->send_count == SENDS_MAX) {
        replay_fail(p, "too many attempts");
    }
    for (size_t i = 0; i < p->send_count; i++) {
        if (p->sends[i].is_open && p->sends[i].slot == act->slot) {
            replay_fail(p, "slot %zu was opened twice", act->slot);
        }
    }
    struct send *s = &p->sends[p->send_count];
    *s = (struct send){
        .slot = act->slot, .is_open = true, .tcp = act->tcp, .to = act->to, .msg_len = act->msg_len};
    memcpy(s->msg, act->msg, act->msg_len);
    if (s->msg[0] != p->entropy.id >> 8 || s->msg[1] != (p->entropy.id & 0xff)) {
        replay_fail(p, "the attempt does not use the fresh ID");
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
    replay_fail(p, "slot %zu was closed but not open", slot);
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
                replay_fail(p, "it waits for a time that is over");
            }
            p->until_ms = act.until_ms;
            return;
        case DNS_ACTION_END:
            p->has_ended = true;
            p->until_ms = INT64_MAX;
            return;
        }
    }
    replay_fail(p, "the exchange spins");
}

/* Time passes as it would for a real driver: with a look at each moment the exchange asked for. */
static void pass_time(struct player *p, int64_t to_ms)
{
    if (to_ms < p->now_ms) {
        replay_fail(p, "time goes forwards only");
    }
    while (p->is_asking && !p->has_ended && p->until_ms - START_MS <= to_ms) {
        p->now_ms = p->until_ms - START_MS;
        pump(p);
    }
    p->now_ms = to_ms;
}

/* The previous question has to be over in every respect: answered, seen, all sockets closed. */
static void finish_question(struct player *p)
{
    if (!p->is_asking) {
        return;
    }
    replay_check_nothing(p);
    if (!p->exchange.is_answered) {
        replay_fail(p, "the question was not answered");
    }
    if (!p->has_ended) {
        pass_time(p, p->now_ms + p->env.attempt_ms); /* a probe may linger as long */
    }
    replay_check_nothing(p);
    if (!p->has_ended) {
        replay_fail(p, "the exchange has not ended");
    }
    for (size_t i = 0; i < p->send_count; i++) {
        if (p->sends[i].is_open) {
            replay_fail(p, "attempt %zu was not closed", i + 1);
        }
    }
    p->is_asking = false;
}

/* upstreams COUNT */
static void do_upstreams(struct player *p, const struct words *w)
{
    struct addr addrs[UPSTREAM_MAX + 1];
    size_t count = (size_t)replay_read_number(p, w->list[1]);
    for (size_t i = 0; i < count && i <= UPSTREAM_MAX; i++) {
        addrs[i] = (struct addr){.ip = ip_v4(192, 0, 2, (uint8_t)(i + 1)), .port = 53};
    }
    struct err err = {0};
    if (upstream_set_init(&p->env.upstreams, addrs, count, &err) != 0) {
        replay_fail(p, "%s", err.text);
    }
}

/* ask NAME A|AAAA */
static void do_ask(struct player *p, const struct words *w)
{
    finish_question(p);
    if (w->count != 3) {
        replay_fail(p, "ask NAME A|AAAA");
    }
    struct host_name name = replay_read_name(p, w->list[1]);
    uint16_t qtype = replay_is_word(w->list[2], "AAAA") ? DNS_AAAA : DNS_A;
    p->send_count = 0;
    p->event_count = 0;
    p->seen = 0;
    p->is_asking = true;
    p->has_ended = false;
    dns_exchange_start(&p->exchange, &p->env, &name, qtype, START_MS + p->now_ms);
    pump(p);
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
        if (replay_is_word(word, rcodes[i].word)) {
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
        if (replay_is_word(word, flags[i].word)) {
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
        if (read_rcode(word, f) || read_flag(word, f) || replay_is_word(word, "short")) {
            continue;
        }
        const char *value = i + 1 < w->count ? w->list[++i] : "";
        if (replay_is_word(word, "soa")) {
            f->has_soa = true;
            f->soa_min_s = (uint32_t)replay_read_number(p, value);
        } else if (replay_is_word(word, "ttl")) {
            f->ttl_s = (uint32_t)replay_read_number(p, value);
        } else if (replay_is_word(word, "cname") && f->cname_count < FAKE_CNAMES_MAX) {
            f->cnames[f->cname_count++] = replay_read_name(p, value);
        } else if (!replay_is_word(word, "addr") || f->addr_count == FAKE_ADDRS_MAX ||
                   ip_parse(span_str(value), &f->addrs[f->addr_count++]) != 0) {
            replay_fail(p, "%s %s makes no reply", word, value);
        }
    }
}

static const struct send *read_send(const struct player *p, const struct words *w)
{
    size_t n = w->count < 2 ? 0 : (size_t)replay_read_number(p, w->list[1]);
    if (n == 0 || n > p->send_count) {
        replay_fail(p, "there is no such attempt");
    }
    return &p->sends[n - 1];
}

/* reply N … : taken. forged N … : ignored. Both fail on a socket that was closed. */
static void do_reply(struct player *p, const struct words *w)
{
    const struct send *s = read_send(p, w);
    if (!s->is_open) {
        replay_fail(p, "attempt %s has no socket any more", w->list[1]);
    }
    uint8_t msg[4096];
    size_t len = 0;
    if (w->count == 3 && replay_is_word(w->list[2], "garbage")) {
        len = 40;
        memset(msg, 0xff, len);
    } else if (w->count == 3 && replay_is_word(w->list[2], "empty")) {
        len = 0;
    } else {
        struct fake_reply f;
        read_reply(p, w, &f);
        len = fake_reply_build(&f, span_make(s->msg, s->msg_len), msg, sizeof(msg));
        len -= replay_is_word(w->list[w->count - 1], "short") ? 1 : 0; /* its last record cannot be read */
    }
    bool taken = dns_exchange_reply(&p->exchange, s->slot, span_make(msg, len), START_MS + p->now_ms);
    if (taken != replay_is_word(w->list[0], "reply")) {
        replay_fail(p, "the reply was %s", taken ? "taken" : "ignored");
    }
    pump(p);
}

/* iofail N [local] */
static void do_iofail(struct player *p, const struct words *w)
{
    const struct send *s = read_send(p, w);
    if (!s->is_open) {
        replay_fail(p, "attempt %s has no socket any more", w->list[1]);
    }
    bool is_local = w->count == 3 && replay_is_word(w->list[2], "local");
    dns_exchange_io_failed(&p->exchange, s->slot, is_local, START_MS + p->now_ms);
    pump(p);
}

/* stream UPSTREAM | loop UPSTREAM | noloop UPSTREAM */
static void do_kind(struct player *p, const struct words *w)
{
    struct upstream *u = &p->env.upstreams.list[replay_read_upstream(p, w->count > 1 ? w->list[1] : "")];
    if (replay_is_word(w->list[0], "stream")) {
        u->is_stream_only = true;
    } else {
        u->is_loop = replay_is_word(w->list[0], "loop");
    }
}

static void play_line(struct player *p, const struct words *w)
{
    const char *verb = w->list[0];
    if (replay_is_word(verb, "upstreams")) {
        do_upstreams(p, w);
    } else if (replay_is_word(verb, "ask")) {
        do_ask(p, w);
    } else if (replay_is_word(verb, "time")) {
        pass_time(p, replay_read_number(p, w->list[1]));
    } else if (replay_is_word(verb, "send")) {
        replay_do_send(p, w);
    } else if (replay_is_word(verb, "reply") || replay_is_word(verb, "forged")) {
        do_reply(p, w);
    } else if (replay_is_word(verb, "iofail")) {
        do_iofail(p, w);
    } else if (replay_is_word(verb, "answer")) {
        replay_do_answer(p, w);
    } else if (replay_is_word(verb, "nothing")) {
        replay_check_nothing(p);
    } else if (replay_is_word(verb, "ended")) {
        if (!p->has_ended) {
            replay_fail(p, "it has not ended");
        }
    } else if (replay_is_word(verb, "learned")) {
        replay_do_learned(p, w);
    } else if (replay_is_word(verb, "counted")) {
        replay_do_counted(p, w);
    } else if (replay_is_word(verb, "credit")) {
        p->env.hedge_credit = (unsigned)replay_read_number(p, w->list[1]) * DNS_EXCHANGE_HEDGE_COST;
    } else if (replay_is_word(verb, "stream") || replay_is_word(verb, "loop") ||
               replay_is_word(verb, "noloop")) {
        do_kind(p, w);
    } else {
        replay_fail(p, "%s is no verb", verb);
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
        replay_fail(p, "nothing was asked");
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

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plays the scenarios of tests/replay/resolver/[*].rpl against resolver_core, and what dnsd makes of its
 * answers under a policy that changes: clients, upstreams and time are lines of text. The lines are described
 * in tests/replay/README.md. Without arguments all scenarios of the source tree are played.
 */
#include "common/policy/policy_load.h"
#include "tests/replay/replay_answer.h"

#include <stdio.h>
#include <stdlib.h>

#define EVENTS_MAX 512
#define CLIENTS_MAX 100
#define EXCHANGES_MAX 200
#define WORDS_MAX 32
#define START_MS 1000000
#define SCENARIOS_MIN 20 /* fewer means that they were not found */

enum event_kind { EVENT_EXCHANGE = 0, EVENT_CANCELLED, EVENT_ANSWER };

struct event {
    enum event_kind kind;
    int64_t at_ms;
    size_t which; /* exchange or client, from 1 */
};

struct player;

struct client {
    struct player *player;
    size_t number;
    resolver_ticket ticket;
    bool is_query; /* judged by the policy, and told what dnsd tells */
    struct host_name name;
    uint8_t qname[255];
    size_t qname_len;
    uint16_t qtype;
    struct resolver_answer raw;
    struct dns_rrset records; /* of raw */
    struct answer answer;
};

struct exchange {
    struct resolver_question *question; /* NULL = it has ended */
    struct host_name name;
    uint16_t qtype;
};

struct player {
    const struct replay_line *at;
    struct resolver_core_config cfg;
    struct resolver_core *core;
    struct policy *policy;
    uint64_t generation;
    struct answer_config answer_cfg;
    struct dest_guard guard;
    int64_t now_ms; /* since the beginning of the scenario */
    bool is_asking; /* no call back may come */
    bool has_no_memory;
    struct event events[EVENTS_MAX];
    size_t event_count, seen;
    struct client clients[CLIENTS_MAX + 1];
    struct exchange exchanges[EXCHANGES_MAX + 1];
    size_t exchange_count;
};

static struct client *read_client(struct player *p, const struct replay_line *w)
{
    const int64_t n = replay_number(w, 1);
    if (n == 0 || n > CLIENTS_MAX) {
        replay_fail(w, "clients are 1 to %d", CLIENTS_MAX);
    }
    return &p->clients[n];
}

/* ---- what the core does ---- */

static void add_event(struct player *p, enum event_kind kind, size_t which)
{
    if (p->event_count == EVENTS_MAX) {
        replay_fail(p->at, "too many events");
    }
    p->events[p->event_count++] = (struct event){.kind = kind, .at_ms = p->now_ms, .which = which};
}

static void *start_exchange(void *ctx, const struct host_name *name, uint16_t qtype,
                            struct resolver_question *q)
{
    struct player *p = ctx;
    if (p->has_no_memory) {
        return NULL;
    }
    if (p->exchange_count == EXCHANGES_MAX) {
        replay_fail(p->at, "too many exchanges");
    }
    struct exchange *x = &p->exchanges[++p->exchange_count];
    *x = (struct exchange){.question = q, .name = *name, .qtype = qtype};
    add_event(p, EVENT_EXCHANGE, p->exchange_count);
    return x;
}

static void cancel_exchange(void *ctx, void *exchange)
{
    struct player *p = ctx;
    struct exchange *x = exchange;
    if (x->question == NULL) {
        replay_fail(p->at, "an exchange that has ended was cancelled");
    }
    x->question = NULL;
    add_event(p, EVENT_CANCELLED, (size_t)(x - p->exchanges));
}

static struct answer_question question_of(const struct client *c)
{
    return (struct answer_question){.cfg = &c->player->answer_cfg,
                                    .policy = c->player->policy,
                                    .qname = span_make(c->qname, c->qname_len),
                                    .name = &c->name,
                                    .qtype = c->qtype};
}

/* What dnsd would say to client c now. False: it has to ask first. */
static bool judge(struct client *c, const struct resolver_answer *known)
{
    const struct answer_question q = question_of(c);
    struct ip reverse;
    if (answer_decide(&q, &c->answer, &reverse) != ANSWER_ROUTE_RESOLVE) {
        return true;
    }
    struct answer_lookup l;
    from_resolver(known, false, dns_rrset_is_type(c->qtype) ? &l.records : &l.v4);
    from_resolver(NULL, false, &l.v6);
    return answer_from_lookup(&q, &l, &c->answer) == 0;
}

static void on_answer(void *ctx, const struct resolver_answer *a)
{
    struct client *c = ctx;
    if (c->player->is_asking) {
        replay_fail(c->player->at, "client %zu was called back inside", c->number);
    }
    if (c->ticket == 0) {
        replay_fail(c->player->at, "client %zu was called back twice, or after it was cancelled", c->number);
    }
    c->ticket = 0;
    resolver_answer_copy(&c->raw, a);
    if (a->records != NULL) {
        memcpy(&c->records, a->records, dns_rrset_size(a->records));
        c->raw.records = &c->records;
    }
    if (c->is_query && !judge(c, a)) {
        replay_fail(c->player->at, "an answer, and yet it wants to ask");
    }
    add_event(c->player, EVENT_ANSWER, c->number);
}

static void run(struct player *p)
{
    for (int budget = 0; budget < 1000; budget++) {
        if (resolver_core_until_ms(p->core) > START_MS + p->now_ms) {
            return;
        }
        if (!resolver_core_run(p->core, START_MS + p->now_ms)) {
            replay_fail(p->at, "nobody has freed the core");
        }
    }
    replay_fail(p->at, "the core spins");
}

static void pass_time(struct player *p, int64_t to_ms)
{
    if (to_ms < p->now_ms) {
        replay_fail(p->at, "time goes forwards only");
    }
    for (int64_t until_ms = resolver_core_until_ms(p->core); until_ms <= START_MS + to_ms;
         until_ms = resolver_core_until_ms(p->core)) {
        p->now_ms = until_ms - START_MS;
        run(p);
    }
    p->now_ms = to_ms;
}

static const struct event *next_event(struct player *p, enum event_kind kind, size_t which)
{
    static const char *const names[] = {"exchange", "cancelled", "answer"};
    if (p->seen == p->event_count) {
        replay_fail(p->at, "no %s %zu: nothing happened", names[kind], which);
    }
    const struct event *e = &p->events[p->seen++];
    if (e->kind != kind || e->which != which) {
        replay_fail(p->at, "%s %zu at %lld ms", names[e->kind], e->which, (long long)e->at_ms);
    }
    return e;
}

static void check_nothing(struct player *p)
{
    if (p->seen < p->event_count) {
        (void)next_event(p, EVENT_ANSWER, 0); /* says what it is */
    }
}

/* ---- the lines ---- */

static void begin(struct player *p)
{
    if (p->core == NULL && resolver_core_new(&p->cfg, &p->core) != 0) {
        replay_fail(p->at, "no core");
    }
}

/* config KEY NUMBER */
static void do_config(struct player *p, const struct replay_line *w)
{
    const char *key = replay_word(w, 1);
    const uint32_t n = (uint32_t)replay_number(w, 2);
    struct {
        const char *key;
        uint32_t *value;
    } values[] = {{"stale", &p->cfg.stale_s},
                  {"ttl-min", &p->cfg.ttls.min_s},
                  {"ttl-max", &p->cfg.ttls.max_s},
                  {"ttl-neg-max", &p->cfg.ttls.neg_max_s}};
    if (p->core != NULL) {
        replay_fail(p->at, "config comes first");
    }
    if (replay_is(key, "questions")) {
        p->cfg.max_questions = n;
        return;
    }
    if (replay_is(key, "cache")) {
        p->cfg.cache_bytes = n;
        return;
    }
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        if (replay_is(key, values[i].key)) {
            *values[i].value = n;
            return;
        }
    }
    replay_fail(p->at, "%s is no key", key);
}

/* policy [HOST[,SRV|,TXT] …]: those are admitted, with records of that type, and nothing else */
static void do_policy(struct player *p, const struct replay_line *w)
{
    char text[2048];
    int len = snprintf(text, sizeof(text),
                       "version: 1\nnetwork_policies:\n  web:\n    endpoints:\n"
                       "      - { host: always.example, port: 443 }\n");
    for (size_t i = 1; i < w->count; i++) {
        const char *comma = strchr(w->words[i], ',');
        const int host_len = comma == NULL ? (int)strlen(w->words[i]) : (int)(comma - w->words[i]);
        len += snprintf(text + len, sizeof(text) - (size_t)len,
                        "      - { host: '%.*s', port: 443, dns: { types: [%s] } }\n", host_len, w->words[i],
                        comma == NULL ? "" : comma + 1);
    }
    const struct policy_text t = {.file = "p.yaml", .text = span_make(text, (size_t)len)};
    struct policy_diags diags = {0};
    struct policy_rules *rules = NULL;
    policy_unref(p->policy);
    if (policy_load(&t, 1, &rules, &diags) != 0 || policy_compile(rules, ++p->generation, &p->policy) != 0) {
        replay_fail(p->at, "this makes no policy");
    }
    policy_diags_fini(&diags);
}

/* ask CLIENT NAME TYPE; query CLIENT NAME [TYPE] */
static void do_ask(struct player *p, const struct replay_line *w, bool is_query)
{
    struct client *c = read_client(p, w);
    if (c->ticket != 0) {
        replay_fail(p->at, "client %zu is still waiting", c->number);
    }
    c->is_query = is_query;
    c->name = replay_name(w, 2);
    c->qtype = is_query && w->count < 4 ? DNS_A : replay_type(w, 3);
    p->is_asking = true;
    struct resolver_answer known;
    if (is_query) {
        c->qname_len = host_name_to_wire(&c->name, c->qname);
        if (judge(c, NULL) ||
            (resolver_core_peek(p->core, &c->name, c->qtype, START_MS + p->now_ms, &known) &&
             judge(c, &known))) {
            p->is_asking = false;
            add_event(p, EVENT_ANSWER, c->number);
            return;
        }
    }
    const struct resolver_ask ask = {.name = &c->name,
                                     .qtype = c->qtype,
                                     .is_again = !is_query && replay_is(w->words[w->count - 1], "again"),
                                     .fn = on_answer,
                                     .ctx = c};
    c->ticket = resolver_core_ask(p->core, &ask, START_MS + p->now_ms);
    p->is_asking = false;
    const bool is_refused = w->count > (is_query ? 3U : 4U) && replay_is(w->words[w->count - 1], "refused");
    if ((c->ticket == 0) != is_refused) {
        replay_fail(p->at, "the core %s", is_refused ? "took it" : "did not take it");
    }
    run(p);
}

static void do_answer(struct player *p, const struct replay_line *w)
{
    const struct client *c = read_client(p, w);
    const struct event *e = next_event(p, EVENT_ANSWER, c->number);
    if (c->is_query) {
        replay_check_dnsd(w, &c->answer, e->at_ms);
    } else {
        replay_check_resolver(w, &c->raw, e->at_ms, 2);
    }
}

/* exchange N NAME TYPE [at MS] */
static void do_exchange(struct player *p, const struct replay_line *w)
{
    const size_t n = (size_t)replay_number(w, 1);
    const struct event *e = next_event(p, EVENT_EXCHANGE, n);
    const struct host_name name = replay_name(w, 2);
    const struct exchange *x = &p->exchanges[n];
    if (!host_name_is_equal(&x->name, &name) || x->qtype != replay_type(w, 3)) {
        replay_fail(p->at, "it is for %s", x->name.text);
    }
    if (w->count > 4 && replay_number(w, 5) != e->at_ms) {
        replay_fail(p->at, "it began at %lld ms", (long long)e->at_ms);
    }
}

/* reply N STATUS [IP …|RECORD …|WHY] [ttl S] */
static void do_reply(struct player *p, const struct replay_line *w)
{
    static const enum dns_exchange_status kinds[] = {DNS_EXCHANGE_FAILED, DNS_EXCHANGE_ADDRS,
                                                     DNS_EXCHANGE_RECORDS, DNS_EXCHANGE_NODATA,
                                                     DNS_EXCHANGE_NXDOMAIN};
    static const struct {
        const char *word;
        enum dns_exchange_fail why;
    } fails[] = {{"timeout", DNS_EXCHANGE_FAIL_TIMEOUT}, {"servfail", DNS_EXCHANGE_FAIL_SERVFAIL},
                 {"refused", DNS_EXCHANGE_FAIL_REFUSED}, {"network", DNS_EXCHANGE_FAIL_NETWORK},
                 {"cname", DNS_EXCHANGE_FAIL_CNAME},     {"memory", DNS_EXCHANGE_FAIL_MEMORY},
                 {"local", DNS_EXCHANGE_FAIL_LOCAL}};
    const size_t n = (size_t)replay_number(w, 1);
    if (n == 0 || n > p->exchange_count || p->exchanges[n].question == NULL) {
        replay_fail(p->at, "no exchange %zu is under way", n);
    }
    struct dns_exchange_result r = {.ttl_s = 60};
    struct dns_rrset records; /* gone before anybody is called back */
    dns_rrset_start(&records, p->exchanges[n].qtype);
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        r.status = replay_is(replay_word(w, 2), replay_statuses[k]) ? kinds[k] : r.status;
    }
    for (size_t i = 3; i < w->count; i++) {
        if (replay_is(w->words[i], "ttl")) {
            r.ttl_s = (uint32_t)replay_number(w, ++i);
            continue;
        }
        if (r.status == DNS_EXCHANGE_RECORDS) {
            replay_add_record(w, w->words[i], &records);
            continue;
        }
        bool is_known = r.status == DNS_EXCHANGE_ADDRS && r.addr_count < DNS_ADDRS_MAX &&
                        ip_parse(span_str(w->words[i]), &r.addrs[r.addr_count]) == 0;
        r.addr_count += is_known ? 1 : 0;
        for (size_t k = 0; k < sizeof(fails) / sizeof(fails[0]); k++) {
            if (r.status == DNS_EXCHANGE_FAILED && replay_is(w->words[i], fails[k].word)) {
                r.why = fails[k].why;
                is_known = true;
            }
        }
        if (!is_known) {
            replay_fail(p->at, "%s makes no reply", w->words[i]);
        }
    }
    r.records = r.status == DNS_EXCHANGE_RECORDS ? &records : NULL;
    struct resolver_question *q = p->exchanges[n].question;
    p->exchanges[n].question = NULL;
    p->is_asking = true; /* not from in here */
    resolver_core_done(q, &r, START_MS + p->now_ms);
    memset(&records, 0xEE, sizeof(records));
    p->is_asking = false;
    run(p);
}

/* peek NAME TYPE miss|STATUS … */
static void do_peek(struct player *p, const struct replay_line *w)
{
    const struct host_name name = replay_name(w, 1);
    struct resolver_answer a;
    const bool is_known = resolver_core_peek(p->core, &name, replay_type(w, 2), START_MS + p->now_ms, &a);
    if (is_known == replay_is(replay_word(w, 3), "miss")) {
        replay_fail(p->at, "it is %s", is_known ? replay_statuses[a.status] : "not known");
    }
    if (is_known) {
        replay_check_resolver(w, &a, p->now_ms, 3);
    }
}

/* give-up CLIENT stale … | nothing */
static void do_give_up(struct player *p, const struct replay_line *w)
{
    struct client *c = read_client(p, w);
    struct resolver_answer a;
    const bool is_stale = resolver_core_take_stale(p->core, c->ticket, START_MS + p->now_ms, &a);
    if (is_stale == replay_is(replay_word(w, 2), "nothing")) {
        replay_fail(p->at, "there is %s", is_stale ? "a stale answer" : "nothing");
    }
    if (is_stale) {
        c->ticket = 0;
        replay_check_resolver(w, &a, p->now_ms, 2);
    }
}

/* counter NAME NUMBER */
static void do_counter(struct player *p, const struct replay_line *w)
{
    static const char *const names[] = {
#define X(name, text, kind, help) text,
        RESOLVER_COUNTER_LIST(X)
#undef X
    };
    const int64_t want = replay_number(w, 2);
    for (size_t i = 0; i < RESOLVER_COUNTER_COUNT; i++) {
        if (replay_is(names[i], replay_word(w, 1))) {
            const uint64_t n = resolver_core_counter(p->core, (enum resolver_counter)i);
            if (n != (uint64_t)want) {
                replay_fail(p->at, "it is %llu", (unsigned long long)n);
            }
            return;
        }
    }
    replay_fail(p->at, "%s is no counter", w->words[1]);
}

static void play_line(void *ctx, const struct replay_line *w)
{
    struct player *p = ctx;
    const char *verb = w->words[0];
    p->at = w;
    if (replay_is(verb, "config")) {
        do_config(p, w);
        return;
    }
    begin(p);
    if (replay_is(verb, "time")) {
        pass_time(p, replay_number(w, 1));
    } else if (replay_is(verb, "policy")) {
        do_policy(p, w);
    } else if (replay_is(verb, "ask") || replay_is(verb, "query")) {
        do_ask(p, w, replay_is(verb, "query"));
    } else if (replay_is(verb, "answer")) {
        do_answer(p, w);
    } else if (replay_is(verb, "exchange")) {
        do_exchange(p, w);
    } else if (replay_is(verb, "reply")) {
        do_reply(p, w);
    } else if (replay_is(verb, "peek")) {
        do_peek(p, w);
    } else if (replay_is(verb, "cancel")) {
        struct client *c = read_client(p, w);
        resolver_core_cancel(p->core, c->ticket);
        c->ticket = 0;
    } else if (replay_is(verb, "cancelled")) {
        (void)next_event(p, EVENT_CANCELLED, (size_t)replay_number(w, 1));
    } else if (replay_is(verb, "give-up")) {
        do_give_up(p, w);
    } else if (replay_is(verb, "memory")) {
        p->has_no_memory = replay_is(replay_word(w, 1), "none");
    } else if (replay_is(verb, "counter")) {
        do_counter(p, w);
    } else if (replay_is(verb, "nothing")) {
        check_nothing(p);
    } else {
        replay_fail(p->at, "%s is no verb", verb);
    }
}

static void finish(void *ctx)
{
    struct player *p = ctx;
    check_nothing(p);
    if (p->event_count == 0) {
        replay_fail(p->at, "nothing happened at all");
    }
    resolver_core_free(p->core); /* cancels what is under way */
    policy_unref(p->policy);
    for (size_t i = 1; i <= p->exchange_count; i++) {
        if (p->exchanges[i].question != NULL) {
            replay_fail(p->at, "exchange %zu was forgotten", i);
        }
    }
    free(p);
}

static void *start(void)
{
    struct player *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return NULL;
    }
    p->cfg = (struct resolver_core_config){
        .ttls = {.min_s = 0, .max_s = 3600, .neg_max_s = 60},
        .stale_s = 3600,
        .cache_bytes = 1 << 20,
        .max_questions = 4096,
        .driver = {.start = start_exchange, .cancel = cancel_exchange, .ctx = p}};
    p->answer_cfg = (struct answer_config){
        .aaaa = AAAA_NODATA, .deny_ttl_s = 10, .synthetic_ttl_s = 30, .guard = &p->guard};
    for (size_t i = 0; i <= CLIENTS_MAX; i++) {
        p->clients[i].player = p;
        p->clients[i].number = i;
    }
    return p;
}

int main(int argc, char **argv)
{
    static const struct replay_kind kind = {.directory = "tests/replay/resolver",
                                            .scenarios_min = SCENARIOS_MIN,
                                            .start = start,
                                            .line = play_line,
                                            .finish = finish};
    return replay_main(&kind, argc, argv);
}

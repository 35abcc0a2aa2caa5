/* SPDX-License-Identifier: Apache-2.0 */
/* What the player of scenarios (replay_exchange.c) and the lines that check something (replay_check.c) share.
 */
#pragma once

#include "common/dns/dns_exchange.h"
#include "tests/support/fake_reply.h"

#define EVENTS_MAX 256
#define SENDS_MAX 128
#define WORDS_MAX 32
#define START_MS 1000000

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

void replay_fail(const struct player *p, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), noreturn));
bool replay_is_word(const char *a, const char *b);
int64_t replay_read_number(const struct player *p, const char *word);
struct host_name replay_read_name(const struct player *p, const char *word);
size_t replay_read_upstream(const struct player *p, const char *word);
const struct event *replay_next_event(struct player *p, enum event_kind kind, const char *what);
void replay_check_nothing(struct player *p);
void replay_do_send(struct player *p, const struct words *w);
void replay_do_answer(struct player *p, const struct words *w);
void replay_do_learned(struct player *p, const struct words *w);
void replay_do_counted(struct player *p, const struct words *w);

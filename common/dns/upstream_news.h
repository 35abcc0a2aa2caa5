/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has been said of upstreams, so that each thing is said once: every worker looks after the upstreams by
 * itself, and each of them finds the same loop and its share of the same forgeries. One object for all
 * workers of a process, any thread, one short lock. Time is a parameter; nothing allocates after the start.
 * UPSTREAM_NEWS_MAX addresses are known; the one that was spoken of longest ago makes room.
 */
#pragma once

#include "common/net/addr.h"

#include <stdbool.h>
#include <stdint.h>

#define UPSTREAM_NEWS_MAX 320 /* 16 default ones and 16 of each of 16 zones, and some that were before */
/* A loop nobody has found again for so long is news when it is: twice the time between two checks, and some.
 */
#define UPSTREAM_NEWS_LOOP_MS 150000
/* So many forgeries within a minute are worth a line; stray ones happen. */
#define UPSTREAM_NEWS_FORGED_MIN 16
#define UPSTREAM_NEWS_FORGED_MS 60000
/* The same trouble with TLS, or its end, is worth a line once in so long. */
#define UPSTREAM_NEWS_TLS_MS 60000
#define UPSTREAM_NEWS_TLS_KINDS 5 /* of trouble that are told apart */
/* That it fails is said once in so long, and each time so is that it does no more. */
#define UPSTREAM_NEWS_ILL_MS 60000

enum upstream_news_ill { UPSTREAM_NEWS_DOWN = 0, UPSTREAM_NEWS_UDP_BLOCKED, UPSTREAM_NEWS_ILL_COUNT };

struct upstream_news_failure {
    enum upstream_news_ill ill;
    int64_t since_ms; /* when what failed first was sent */
    int64_t sent_ms;  /* and what failed last */
};

struct upstream_news;
MUST_CHECK int upstream_news_new(struct upstream_news **out); /* 0 or -ENOMEM */
void upstream_news_free(struct upstream_news *n);             /* NULL-safe */
/*
 * It was found to be a loop before there was anybody to report it as below, and that has been said: to those
 * who start it is one, and if the first to report it finds that it is none, that is worth a line. That it is
 * one still is not.
 */
void upstream_news_found_loop(struct upstream_news *n, const struct addr *upstream, int64_t now_ms);
/* What those who start hold of it until they have asked: a loop was found there of late. */
bool upstream_news_is_loop(struct upstream_news *n, const struct addr *upstream, int64_t now_ms);
/* A check ended so; it is reported each time. True if that is worth a line. */
bool upstream_news_loop(struct upstream_news *n, const struct addr *upstream, bool is_loop, int64_t now_ms);
/*
 * Somebody forged a reply. 0, or that so many are worth a line: at most two a minute, one when they get many,
 * and later how many there were.
 */
uint64_t upstream_news_forged(struct upstream_news *n, const struct addr *upstream, int64_t now_ms);
/*
 * TLS failed, or did not. True if that is worth a line, and *suppressed is how many failures there were since
 * the last one. A server that comes and goes, or one of several behind an address that is broken, is both in
 * turn: each kind < UPSTREAM_NEWS_TLS_KINDS is said once a minute, and that it is over once a minute.
 */
bool upstream_news_tls_failed(struct upstream_news *n, const struct addr *upstream, size_t kind,
                              int64_t now_ms, uint64_t *suppressed);
bool upstream_news_tls_restored(struct upstream_news *n, const struct addr *upstream, int64_t now_ms,
                                uint64_t *suppressed);
/*
 * It fails, reported by each worker that finds it so and again when it goes on: true if that is worth a line,
 * and *suppressed is how often it began to fail without one since the last. What was sent before somebody had
 * an answer is no news.
 */
bool upstream_news_failing(struct upstream_news *n, const struct addr *upstream,
                           const struct upstream_news_failure *f, int64_t now_ms, uint64_t *suppressed);
/* It answers, reported by each worker that had not known. True if that is worth a line: it was said to fail,
 * for *down_ms by now. */
bool upstream_news_answers(struct upstream_news *n, const struct addr *upstream, enum upstream_news_ill ill,
                           int64_t now_ms, int64_t *down_ms);
/* The same from a worker that has known nothing else: its last answer came then, which counts if nothing was
 * sent in vain since. */
bool upstream_news_answered(struct upstream_news *n, const struct addr *upstream, enum upstream_news_ill ill,
                            int64_t reply_ms, int64_t *down_ms);
/* For those who look: it fails since *since_ms. */
bool upstream_news_is_failing(struct upstream_news *n, const struct addr *upstream,
                              enum upstream_news_ill ill, int64_t *since_ms);

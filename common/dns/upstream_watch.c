/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/upstream_watch.h"

#include "common/base/clock.h"
#include "common/base/log.h"

#include <errno.h>
#include <stdlib.h>

#define WAIT_MS 1500       /* less than until the second check */
#define SECOND_CHECK_S 2.0 /* by then our own workers answer too */
#define CHECK_EVERY_S 60.0
#define SILENCES_MAX 3 /* a loop that is silent so often in a row is taken for another server */

struct upstream_watch {
    struct ev_loop *loop;
    struct upstream_watch_config cfg;
    struct loop_check *check;
    ev_timer timer;
    bool is_first;
    struct upstream_news *own_news; /* NULL: cfg.news is another's */
    unsigned silences[UPSTREAM_MAX];
};

static void set_loop(struct upstream_watch *w, struct upstream *u, bool is_loop, enum loop_verdict v)
{
    char text[ADDR_TEXT_CAP];
    u->is_loop = is_loop;
    if (!upstream_news_loop(w->cfg.news, &u->addr, is_loop, clock_mono_ms())) {
        return;
    }
    if (is_loop) {
        log_event(LOG_ERROR, "upstream_loop",
                  LOG_KV(kv_str("upstream", addr_text(&u->addr, text)),
                         kv_str("is", v == LOOP_SELF ? "this process" : "another openshell-dnsd"),
                         kv_str("effect", "not asked until it is something else")));
    } else {
        log_event(LOG_WARN, "upstream_loop_over", LOG_KV(kv_str("upstream", addr_text(&u->addr, text))));
    }
}

static void on_verdict(void *ctx, size_t upstream, enum loop_verdict v)
{
    struct upstream_watch *w = ctx;
    struct upstream *u = &w->cfg.set->list[upstream];
    switch (v) {
    case LOOP_MISMATCH:
        w->silences[upstream]++;
        if (u->is_loop && w->silences[upstream] >= SILENCES_MAX) {
            set_loop(w, u, false, v);
        }
        return;
    case LOOP_NONE:
        set_loop(w, u, false, v);
        break;
    case LOOP_OTHER:
    case LOOP_SELF:
        set_loop(w, u, true, v);
        break;
    }
    w->silences[upstream] = 0;
}

static void tell_answered(struct upstream_watch *w, const struct upstream *u);

static void on_timer_event(struct ev_loop *loop, ev_timer *timer, int revents)
{
    (void)revents;
    struct upstream_watch *w = timer->data;
    for (size_t i = 0; i < w->cfg.set->count; i++) {
        const struct upstream *u = &w->cfg.set->list[i];
        tell_answered(w, u);
        struct dns_streams *streams = upstream_wants_tcp(u) ? w->cfg.streams(w->cfg.ctx, i) : NULL;
        if (streams != NULL || !u->is_stream_only) {
            loop_check_ask(w->check, i, &u->addr, streams);
        }
    }
    timer->repeat = w->is_first ? SECOND_CHECK_S : CHECK_EVERY_S;
    w->is_first = false;
    ev_timer_again(loop, timer);
}

int upstream_watch_new(struct ev_loop *loop, const struct upstream_watch_config *cfg,
                       struct upstream_watch **out)
{
    struct upstream_watch *w = calloc(1, sizeof(*w));
    if (w == NULL) {
        return -ENOMEM;
    }
    w->loop = loop;
    w->cfg = *cfg;
    const struct loop_check_config check = {.own = cfg->own, .wait_ms = WAIT_MS};
    int rc = 0;
    if (cfg->news == NULL) {
        rc = upstream_news_new(&w->own_news);
        w->cfg.news = w->own_news;
    }
    if (rc == 0) {
        rc = loop_check_new(loop, &check, on_verdict, w, &w->check);
    }
    if (rc != 0) {
        upstream_news_free(w->own_news);
        free(w);
        return rc;
    }
    ev_timer_init(&w->timer, on_timer_event, 0.0, 0.0);
    w->timer.data = w;
    upstream_watch_restart(w);
    *out = w;
    return 0;
}

void upstream_watch_free(struct upstream_watch *w)
{
    if (w == NULL) {
        return;
    }
    ev_timer_stop(w->loop, &w->timer);
    loop_check_free(w->check);
    upstream_news_free(w->own_news);
    free(w);
}

void upstream_watch_restart(struct upstream_watch *w)
{
    loop_check_cancel(w->check);
    memset(w->silences, 0, sizeof(w->silences));
    w->is_first = true;
    const int64_t now_ms = clock_mono_ms();
    for (size_t i = 0; i < w->cfg.set->count; i++) {
        struct upstream *u = &w->cfg.set->list[i];
        u->is_loop = u->is_loop || upstream_news_is_loop(w->cfg.news, &u->addr, now_ms);
    }
    ev_timer_stop(w->loop, &w->timer);
    ev_timer_set(&w->timer, 0.0, 0.0);
    ev_timer_start(w->loop, &w->timer);
}

void upstream_watch_forged(struct upstream_watch *w, size_t upstream, int64_t now_ms)
{
    const struct addr *addr = &w->cfg.set->list[upstream].addr;
    char text[ADDR_TEXT_CAP];
    const uint64_t count = upstream_news_forged(w->cfg.news, addr, now_ms);
    if (count > 0) {
        log_event(LOG_WARN, "dns_forgery_suspected",
                  LOG_KV(kv_str("upstream", addr_text(addr, text)), kv_u64("count", count)));
    }
}

static const char *const trouble_texts[] = {
    [UPSTREAM_SILENT] = "no_reply",
    [UPSTREAM_UNREACHABLE] = "unreachable",
    [UPSTREAM_TLS_FAILED] = "tls",
    [UPSTREAM_MALFORMED] = "malformed",
};

static void tell_failing(struct upstream_watch *w, const struct upstream *u, enum upstream_news_ill ill,
                         int64_t now_ms)
{
    const bool is_down = ill == UPSTREAM_NEWS_DOWN;
    const struct upstream_news_failure f = {.ill = ill,
                                            .since_ms = is_down ? u->down_ms : u->udp_lost_ms,
                                            .sent_ms = is_down ? u->failed_sent_ms : u->udp_lost_sent_ms};
    uint64_t suppressed = 0;
    char text[ADDR_TEXT_CAP];
    if (upstream_news_failing(w->cfg.news, &u->addr, &f, now_ms, &suppressed)) {
        log_event(LOG_WARN, "upstream_failing",
                  LOG_KV(kv_str("addr", addr_text(&u->addr, text)),
                         kv_str("why", is_down ? trouble_texts[u->trouble] : "udp_blocked"),
                         kv_str("effect", is_down ? "asked after the others" : "asked over TCP"),
                         kv_u64("suppressed", suppressed)));
    }
}

static void log_restored(const struct upstream *u, enum upstream_news_ill ill, int64_t down_ms)
{
    char text[ADDR_TEXT_CAP];
    log_event(LOG_INFO, "upstream_restored",
              LOG_KV(kv_str("addr", addr_text(&u->addr, text)),
                     kv_str("over", ill == UPSTREAM_NEWS_DOWN ? "any" : "udp"),
                     kv_u64("down_s", (uint64_t)(down_ms > 0 ? down_ms : 0) / 1000)));
}

static void tell_answers(struct upstream_watch *w, const struct upstream *u, enum upstream_news_ill ill,
                         int64_t now_ms)
{
    int64_t down_ms = 0;
    if (upstream_news_answers(w->cfg.news, &u->addr, ill, now_ms, &down_ms)) {
        log_restored(u, ill, down_ms);
    }
}

/* Another worker found it failing, and is asked nothing any more, so that it will not find out. */
static void tell_answered(struct upstream_watch *w, const struct upstream *u)
{
    int64_t down_ms = 0;
    if (u->failures == 0 &&
        upstream_news_answered(w->cfg.news, &u->addr, UPSTREAM_NEWS_DOWN, u->reply_ms, &down_ms)) {
        log_restored(u, UPSTREAM_NEWS_DOWN, down_ms);
    }
    if (u->udp_losses == 0 &&
        upstream_news_answered(w->cfg.news, &u->addr, UPSTREAM_NEWS_UDP_BLOCKED, u->udp_reply_ms, &down_ms)) {
        log_restored(u, UPSTREAM_NEWS_UDP_BLOCKED, down_ms);
    }
}

/* Each change is told, and each further failure, which may be due by then; after one failure it is neither.
 */
static void look_after(struct upstream_watch *w, struct upstream *u, int64_t now_ms)
{
    if (upstream_is_down(u) && u->told_failures != u->failures) {
        tell_failing(w, u, UPSTREAM_NEWS_DOWN, now_ms);
        u->told = UPSTREAM_TOLD_ILL;
        u->told_failures = u->failures;
    } else if (u->failures == 0 && u->reply_ms != 0 && u->told != UPSTREAM_TOLD_WELL) {
        tell_answers(w, u, UPSTREAM_NEWS_DOWN, now_ms);
        u->told = UPSTREAM_TOLD_WELL;
        u->told_failures = 0;
    }
    if (upstream_is_udp_blocked(u) && u->told_losses != u->udp_losses) {
        tell_failing(w, u, UPSTREAM_NEWS_UDP_BLOCKED, now_ms);
        u->told_udp = UPSTREAM_TOLD_ILL;
        u->told_losses = u->udp_losses;
    } else if (u->udp_losses == 0 && u->udp_reply_ms != 0 && u->told_udp != UPSTREAM_TOLD_WELL) {
        tell_answers(w, u, UPSTREAM_NEWS_UDP_BLOCKED, now_ms);
        u->told_udp = UPSTREAM_TOLD_WELL;
        u->told_losses = 0;
    }
}

void upstream_watch_health(struct upstream_watch *w, int64_t now_ms)
{
    for (size_t i = 0; i < w->cfg.set->count; i++) {
        look_after(w, &w->cfg.set->list[i], now_ms);
    }
}

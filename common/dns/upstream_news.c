/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/upstream_news.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct moment {
    bool was; /* at_ms is when */
    int64_t at_ms;
};

struct tls_news {
    struct moment failed[UPSTREAM_NEWS_TLS_KINDS], restored; /* when they were said last */
    bool is_down;        /* it failed since it was said to be restored, said or not */
    uint64_t suppressed; /* failures since the last line */
};

struct ill_news {
    bool is_ill, is_said;
    int64_t since_ms;    /* is_ill */
    int64_t sent_ms;     /* is_ill: when what failed last was sent */
    struct moment over;  /* when somebody had an answer last, having had none */
    struct moment told;  /* when it was said to fail */
    uint64_t suppressed; /* how often it began to fail since, and was not said to */
};

struct item {
    struct addr addr; /* family IP_NONE: free */
    int64_t used_ms;
    bool is_loop;
    bool is_found_loop; /* by the start; nobody has reported since */
    int64_t loop_ms;    /* when either was found last */
    uint64_t forged;
    int64_t window_ms; /* when it began; forged 0: none has */
    struct tls_news tls;
    struct ill_news ills[UPSTREAM_NEWS_ILL_COUNT];
};

struct upstream_news {
    pthread_mutex_t lock; /* guards what follows */
    struct item items[UPSTREAM_NEWS_MAX];
};

int upstream_news_new(struct upstream_news **out)
{
    struct upstream_news *n = calloc(1, sizeof(*n));
    if (n == NULL) {
        return -ENOMEM;
    }
    (void)pthread_mutex_init(&n->lock, NULL); /* cannot fail for a default mutex on Linux */
    *out = n;
    return 0;
}

void upstream_news_free(struct upstream_news *n)
{
    if (n != NULL) {
        (void)pthread_mutex_destroy(&n->lock);
        free(n);
    }
}

static struct item *find(struct upstream_news *n, const struct addr *a, int64_t now_ms)
{
    struct item *oldest = &n->items[0];
    for (size_t i = 0; i < UPSTREAM_NEWS_MAX; i++) {
        struct item *it = &n->items[i];
        if (it->addr.ip.family == IP_NONE || addr_is_equal(&it->addr, a)) {
            oldest = it; /* the free ones are behind all that are taken */
            break;
        }
        oldest = it->used_ms < oldest->used_ms ? it : oldest;
    }
    if (!addr_is_equal(&oldest->addr, a)) {
        *oldest = (struct item){.addr = *a};
    }
    oldest->used_ms = now_ms;
    return oldest;
}

void upstream_news_found_loop(struct upstream_news *n, const struct addr *upstream, int64_t now_ms)
{
    (void)pthread_mutex_lock(&n->lock);
    struct item *it = find(n, upstream, now_ms);
    it->is_found_loop = true;
    it->loop_ms = now_ms;
    (void)pthread_mutex_unlock(&n->lock);
}

bool upstream_news_is_loop(struct upstream_news *n, const struct addr *upstream, int64_t now_ms)
{
    bool is_loop = false;
    (void)pthread_mutex_lock(&n->lock);
    for (size_t i = 0; i < UPSTREAM_NEWS_MAX; i++) {
        const struct item *it = &n->items[i];
        is_loop = is_loop || (addr_is_equal(&it->addr, upstream) && (it->is_loop || it->is_found_loop) &&
                              now_ms - it->loop_ms < UPSTREAM_NEWS_LOOP_MS);
    }
    (void)pthread_mutex_unlock(&n->lock);
    return is_loop;
}

bool upstream_news_loop(struct upstream_news *n, const struct addr *upstream, bool is_loop, int64_t now_ms)
{
    (void)pthread_mutex_lock(&n->lock);
    struct item *it = find(n, upstream, now_ms);
    const bool was_loop = (it->is_loop || it->is_found_loop) && now_ms - it->loop_ms < UPSTREAM_NEWS_LOOP_MS;
    const bool is_over = it->is_found_loop && !is_loop;
    it->is_loop = is_loop;
    it->is_found_loop = false;
    it->loop_ms = now_ms;
    (void)pthread_mutex_unlock(&n->lock);
    return was_loop != is_loop || is_over;
}

uint64_t upstream_news_forged(struct upstream_news *n, const struct addr *upstream, int64_t now_ms)
{
    uint64_t worth = 0;
    (void)pthread_mutex_lock(&n->lock);
    struct item *it = find(n, upstream, now_ms);
    if (it->forged == 0 || now_ms - it->window_ms >= UPSTREAM_NEWS_FORGED_MS) {
        worth = it->forged > UPSTREAM_NEWS_FORGED_MIN ? it->forged : 0;
        it->forged = 0;
        it->window_ms = now_ms;
    }
    it->forged++;
    if (it->forged == UPSTREAM_NEWS_FORGED_MIN) {
        worth = it->forged;
    }
    (void)pthread_mutex_unlock(&n->lock);
    return worth;
}

/* True, and it is taken down, if it was not so long ago already. */
static bool take(struct moment *m, int64_t pause_ms, int64_t now_ms)
{
    if (m->was && now_ms - m->at_ms < pause_ms) {
        return false;
    }
    *m = (struct moment){.was = true, .at_ms = now_ms};
    return true;
}

bool upstream_news_tls_failed(struct upstream_news *n, const struct addr *upstream, size_t kind,
                              int64_t now_ms, uint64_t *suppressed)
{
    REQUIRE(kind < UPSTREAM_NEWS_TLS_KINDS);
    (void)pthread_mutex_lock(&n->lock);
    struct tls_news *tls = &find(n, upstream, now_ms)->tls;
    const bool is_worth = take(&tls->failed[kind], UPSTREAM_NEWS_TLS_MS, now_ms);
    tls->is_down = true;
    *suppressed = tls->suppressed;
    tls->suppressed = is_worth ? 0 : tls->suppressed + 1;
    (void)pthread_mutex_unlock(&n->lock);
    return is_worth;
}

bool upstream_news_tls_restored(struct upstream_news *n, const struct addr *upstream, int64_t now_ms,
                                uint64_t *suppressed)
{
    (void)pthread_mutex_lock(&n->lock);
    struct tls_news *tls = &find(n, upstream, now_ms)->tls;
    const bool is_worth = tls->is_down && take(&tls->restored, UPSTREAM_NEWS_TLS_MS, now_ms);
    *suppressed = tls->suppressed;
    if (is_worth) {
        tls->is_down = false;
        tls->suppressed = 0;
    }
    (void)pthread_mutex_unlock(&n->lock);
    return is_worth;
}

bool upstream_news_failing(struct upstream_news *n, const struct addr *upstream,
                           const struct upstream_news_failure *f, int64_t now_ms, uint64_t *suppressed)
{
    REQUIRE(f->ill < UPSTREAM_NEWS_ILL_COUNT);
    bool is_worth = false;
    (void)pthread_mutex_lock(&n->lock);
    struct ill_news *ill = &find(n, upstream, now_ms)->ills[f->ill];
    const bool is_old = ill->over.was && f->sent_ms <= ill->over.at_ms;
    ill->sent_ms = f->sent_ms > ill->sent_ms ? f->sent_ms : ill->sent_ms;
    if (!is_old && !ill->is_said) {
        is_worth = take(&ill->told, UPSTREAM_NEWS_ILL_MS, now_ms);
        ill->suppressed += !is_worth && !ill->is_ill ? 1 : 0;
        ill->since_ms = ill->is_ill ? ill->since_ms : f->since_ms;
        ill->is_ill = true;
        ill->is_said = is_worth;
    }
    *suppressed = ill->suppressed;
    ill->suppressed = is_worth ? 0 : ill->suppressed;
    (void)pthread_mutex_unlock(&n->lock);
    return is_worth;
}

/* The lock is held. */
static bool end_ill(struct ill_news *known, int64_t now_ms, int64_t *down_ms)
{
    const bool is_worth = known->is_said;
    *down_ms = known->is_ill ? now_ms - known->since_ms : 0;
    known->is_ill = false;
    known->is_said = false;
    known->over = (struct moment){.was = true, .at_ms = now_ms};
    return is_worth;
}

bool upstream_news_answers(struct upstream_news *n, const struct addr *upstream, enum upstream_news_ill ill,
                           int64_t now_ms, int64_t *down_ms)
{
    REQUIRE(ill < UPSTREAM_NEWS_ILL_COUNT);
    (void)pthread_mutex_lock(&n->lock);
    const bool is_worth = end_ill(&find(n, upstream, now_ms)->ills[ill], now_ms, down_ms);
    (void)pthread_mutex_unlock(&n->lock);
    return is_worth;
}

bool upstream_news_answered(struct upstream_news *n, const struct addr *upstream, enum upstream_news_ill ill,
                            int64_t reply_ms, int64_t *down_ms)
{
    REQUIRE(ill < UPSTREAM_NEWS_ILL_COUNT);
    bool is_worth = false;
    (void)pthread_mutex_lock(&n->lock);
    for (size_t i = 0; i < UPSTREAM_NEWS_MAX; i++) {
        struct item *it = &n->items[i];
        if (addr_is_equal(&it->addr, upstream) && it->ills[ill].is_ill && reply_ms > it->ills[ill].sent_ms) {
            is_worth = end_ill(&it->ills[ill], reply_ms, down_ms);
        }
    }
    (void)pthread_mutex_unlock(&n->lock);
    return is_worth;
}

bool upstream_news_is_failing(struct upstream_news *n, const struct addr *upstream,
                              enum upstream_news_ill ill, int64_t *since_ms)
{
    REQUIRE(ill < UPSTREAM_NEWS_ILL_COUNT);
    bool is_failing = false;
    (void)pthread_mutex_lock(&n->lock);
    for (size_t i = 0; i < UPSTREAM_NEWS_MAX; i++) {
        const struct item *it = &n->items[i];
        if (addr_is_equal(&it->addr, upstream) && it->ills[ill].is_ill) {
            is_failing = true;
            *since_ms = it->ills[ill].since_ms;
        }
    }
    (void)pthread_mutex_unlock(&n->lock);
    return is_failing;
}

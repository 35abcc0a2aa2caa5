/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/resolver_core.h"

#include "common/base/htab.h"
#include "common/base/scratch.h"
#include "common/dns/resolver_waiters.h"

#include <errno.h>
#include <stdlib.h>

#define SPARES_MAX 64 /* questions kept for the next one: some 1.5 KiB each */

/* A question with all who wait for it: under way (in the table) or ready (in the list, with its answer). */
struct resolver_question {
    struct htab_node node;
    struct resolver_question *next; /* ready, or spare */
    struct resolver_core *core;
    void *exchange; /* NULL = ready */
    struct waiter_list waiters;
    size_t route;
    bool is_renewal;
    bool is_again;         /* somebody asked although it was remembered to have failed */
    bool outlives_waiters; /* its answer is wanted by the cache */
    uint16_t qtype;
    struct host_name name;
    struct resolver_answer answer; /* once it is ready */
    struct dns_rrset *records;     /* of the answer, if it has some */
};

struct resolver_core {
    struct resolver_core_config cfg;
    struct cache *cache;
    struct htab asking; /* by the cache's hashes */
    struct waiters waiters;
    struct resolver_question *ready_first, *ready_last;
    struct resolver_question *spares;
    size_t spare_count;
    struct route_share share;         /* of max_questions */
    size_t renewals;                  /* under way */
    bool is_failing[ROUTE_SHARE_MAX]; /* its last exchange ended in silence, or nobody could be reached */
    bool *gone;                       /* set by resolver_core_free() for the run that is under way */
    struct metrics *count;            /* cfg.metrics, or own */
    size_t count_first;
    struct cache_stats counted;
    struct metrics own;
};

static void count(struct resolver_core *c, enum resolver_counter which, uint64_t n)
{
    metrics_add(c->count, c->count_first + (size_t)which, n);
}

uint64_t resolver_core_counter(const struct resolver_core *c, enum resolver_counter which)
{
    return metrics_read(c->count, c->count_first + (size_t)which);
}

void *resolver_core_driver_ctx(const struct resolver_question *q)
{
    return q->core->cfg.driver.ctx;
}

const struct host_name *resolver_core_name(const struct resolver_question *q)
{
    return &q->name;
}

uint16_t resolver_core_type(const struct resolver_question *q)
{
    return q->qtype;
}

static struct cache_key key_of(const struct resolver_question *q)
{
    return (struct cache_key){.name = &q->name, .qtype = q->qtype, .hash = q->node.hash};
}

static void count_cache(struct resolver_core *c)
{
    const struct cache_stats now = cache_stats(c->cache), *said = &c->counted;
    if (now.entries != said->entries || now.bytes != said->bytes || now.evicted != said->evicted) {
        count(c, RESOLVER_COUNTER_CACHE_ENTRIES, now.entries - said->entries);
        count(c, RESOLVER_COUNTER_CACHE_BYTES, now.bytes - said->bytes);
        count(c, RESOLVER_COUNTER_CACHE_EVICTED, now.evicted - said->evicted);
        c->counted = now;
    }
}

/* ---- answers ---- */

static void answer_stale(struct resolver_core *c, const struct cache_found *found, enum resolver_fail why,
                         struct resolver_answer *out)
{
    resolver_answer_from_cache(&found->answer, out);
    out->is_stale = true;
    out->why = why;
    out->ttl_s = RESOLVER_STALE_TTL_S;
    count(c, RESOLVER_COUNTER_STALE, 1);
}

/* The stale answer for a question of which nothing fresh is to be had. */
static bool find_stale(struct resolver_core *c, const struct resolver_question *q, enum resolver_fail why,
                       int64_t now_ms, struct resolver_answer *out)
{
    SCRATCH struct cache_found found;
    const struct cache_key key = key_of(q);
    if (cache_get(c->cache, &key, now_ms, &found) != CACHE_STALE) {
        return false;
    }
    answer_stale(c, &found, why, out);
    return true;
}

/* Nobody could be asked, whatever the name. */
static bool is_no_upstream(enum resolver_fail why)
{
    return why == RESOLVER_FAIL_TIMEOUT || (why >= RESOLVER_FAIL_NETWORK && why <= RESOLVER_FAIL_TLS_NAME);
}

static size_t route_of(const struct resolver_core *c, const struct host_name *name)
{
    const size_t route = c->cfg.driver.route != NULL ? c->cfg.driver.route(c->cfg.driver.ctx, name) : 0;
    REQUIRE(route < ROUTE_SHARE_MAX);
    return route;
}

/* What the exchange of q brought, for the cache, and for those who wait. */
static void take_answer(struct resolver_core *c, struct resolver_question *q, int64_t now_ms)
{
    const struct resolver_answer *a = &q->answer;
    const struct cache_key key = key_of(q);
    if (a->status != RESOLVER_FAILED) {
        SCRATCH struct cache_answer entry;
        resolver_answer_to_cache(a, &entry);
        cache_put(c->cache, &key, now_ms, &entry);
        c->is_failing[q->route] = false;
        return;
    }
    const enum resolver_fail why = a->why;
    if (why != RESOLVER_FAIL_MEMORY && why != RESOLVER_FAIL_LOCAL) { /* those are ours, not the name's */
        cache_fail(c->cache, &key, now_ms, (uint8_t)why);
        if (q->is_again) {
            cache_confirm(c->cache, &key);
        }
        count(c, RESOLVER_COUNTER_LOOKUP_FAILURES, 1);
        c->is_failing[q->route] = is_no_upstream(why);
    }
    if (q->waiters.first != WAITER_NONE) {
        (void)find_stale(c, q, why, now_ms, &q->answer);
    }
}

void resolver_core_forgive(struct resolver_core *c)
{
    cache_forgive(c->cache);
    memset(c->is_failing, 0, sizeof(c->is_failing));
    count_cache(c);
}

/* ---- questions ---- */

static bool match_question(const struct htab_node *node, const void *key)
{
    const struct resolver_question *q = HTAB_ENTRY(node, const struct resolver_question, node);
    const struct cache_key *k = key;
    return q->qtype == k->qtype && host_name_is_equal(&q->name, k->name);
}

static struct resolver_question *new_question(struct resolver_core *c, const struct cache_key *k)
{
    struct resolver_question *q = c->spares;
    if (q != NULL) {
        c->spares = q->next;
        c->spare_count--;
    } else {
        q = malloc(sizeof(*q));
        if (q == NULL) {
            return NULL;
        }
    }
    q->node = (struct htab_node){.hash = k->hash};
    q->next = NULL;
    q->core = c;
    q->exchange = NULL;
    q->waiters = (struct waiter_list){.first = WAITER_NONE, .last = WAITER_NONE};
    q->is_renewal = false;
    q->is_again = false;
    q->outlives_waiters = false;
    q->qtype = k->qtype;
    q->name = *k->name;
    q->answer.addr_count = 0;
    q->records = NULL;
    return q;
}

static void free_question(struct resolver_core *c, struct resolver_question *q)
{
    free(q->records);
    if (c->spare_count >= SPARES_MAX) {
        free(q);
        return;
    }
    q->records = NULL;
    q->next = c->spares;
    c->spares = q;
    c->spare_count++;
}

/* Until now the records were somebody else's. */
static void keep_records(struct resolver_question *q)
{
    if (q->answer.status != RESOLVER_RECORDS) {
        return;
    }
    q->records = malloc(sizeof(*q->records));
    if (q->records == NULL) {
        resolver_answer_set(&q->answer, RESOLVER_FAILED, RESOLVER_FAIL_MEMORY);
        return;
    }
    memcpy(q->records, q->answer.records, dns_rrset_size(q->answer.records));
    q->answer.records = q->records;
}

static void make_ready(struct resolver_core *c, struct resolver_question *q)
{
    keep_records(q);
    q->next = NULL;
    if (c->ready_last == NULL) {
        c->ready_first = q;
    } else {
        c->ready_last->next = q;
    }
    c->ready_last = q;
}

/* Under way no more, however it ended. */
static void leave_table(struct resolver_core *c, struct resolver_question *q)
{
    htab_remove(&c->asking, &q->node);
    route_share_give(&c->share, q->route);
    q->exchange = NULL;
    c->renewals -= q->is_renewal ? 1U : 0U;
}

void resolver_core_done(struct resolver_question *q, const struct dns_exchange_result *result, int64_t now_ms)
{
    struct resolver_core *c = q->core;
    leave_table(c, q);
    resolver_answer_from_exchange(result, &c->cfg.ttls, &q->answer);
    take_answer(c, q, now_ms);
    count_cache(c);
    if (q->waiters.first == WAITER_NONE) {
        free_question(c, q);
    } else {
        make_ready(c, q);
    }
}

/* Under way from now on, or no memory. There is room for its route. */
static bool set_off(struct resolver_core *c, struct resolver_question *q)
{
    q->exchange = c->cfg.driver.start(c->cfg.driver.ctx, &q->name, q->qtype, q);
    if (q->exchange != NULL) {
        htab_insert(&c->asking, &q->node, q->node.hash);
        route_share_take(&c->share, q->route);
    }
    return q->exchange != NULL;
}

/* Under way, or ready if that cannot be; NULL: no memory. */
static struct resolver_question *start_question(struct resolver_core *c, const struct cache_key *k,
                                                int64_t now_ms)
{
    struct resolver_question *q = new_question(c, k);
    if (q == NULL) {
        return NULL;
    }
    q->route = route_of(c, k->name);
    const bool is_busy = !route_share_has_room(&c->share, q->route);
    if (!is_busy && set_off(c, q)) {
        return q;
    }
    const enum resolver_fail why = is_busy ? RESOLVER_FAIL_BUSY : RESOLVER_FAIL_MEMORY;
    if (!find_stale(c, q, why, now_ms, &q->answer)) {
        if (!is_busy) {
            free_question(c, q);
            return NULL;
        }
        resolver_answer_set(&q->answer, RESOLVER_FAILED, why);
    }
    make_ready(c, q);
    return q;
}

/* Asks for what is still known. Best effort. */
static void renew(struct resolver_core *c, const struct cache_key *k)
{
    const size_t route = route_of(c, k->name);
    if (c->is_failing[route] || c->renewals >= RESOLVER_RENEWALS_MAX ||
        !route_share_has_own(&c->share, route) || htab_find(&c->asking, k->hash, match_question, k) != NULL) {
        return;
    }
    struct resolver_question *q = new_question(c, k);
    if (q == NULL) {
        return;
    }
    q->route = route;
    if (!set_off(c, q)) {
        free_question(c, q);
        return;
    }
    q->is_renewal = true;
    q->outlives_waiters = true;
    c->renewals++;
    count(c, RESOLVER_COUNTER_PREFETCHES, 1);
}

/* ---- asking ---- */

/* True: *out is what is known, and nobody is to be asked. *has_stale: something is there for later. */
static bool look_up(struct resolver_core *c, const struct cache_key *k, int64_t now_ms,
                    struct resolver_answer *out, bool *has_stale)
{
    SCRATCH struct cache_found found;
    const enum cache_age age = cache_get(c->cache, k, now_ms, &found);
    *has_stale = age == CACHE_STALE;
    count_cache(c);
    if (age == CACHE_FRESH) {
        resolver_answer_from_cache(&found.answer, out);
        if (found.is_worth_renew) {
            renew(c, k);
        }
    } else if (!found.has_failed) {
        return false;
    } else if (age == CACHE_STALE) {
        answer_stale(c, &found, (enum resolver_fail)found.why, out);
    } else {
        resolver_answer_set(out, RESOLVER_FAILED, (enum resolver_fail)found.why);
        out->from_cache = true;
        out->is_confirmed = found.is_confirmed;
        out->is_nobody_there = is_no_upstream(out->why) && c->is_failing[route_of(c, k->name)];
    }
    return true;
}

bool resolver_core_peek(struct resolver_core *c, const struct host_name *name, uint16_t qtype, int64_t now_ms,
                        struct resolver_answer *out)
{
    const struct cache_key key = cache_key_make(c->cache, name, qtype);
    bool has_stale = false;
    const bool is_known = look_up(c, &key, now_ms, out, &has_stale);
    count(c, RESOLVER_COUNTER_CACHE_HITS, is_known ? 1 : 0);
    return is_known;
}

bool resolver_core_peek_stale(struct resolver_core *c, const struct host_name *name, uint16_t qtype,
                              int64_t now_ms, struct resolver_answer *out)
{
    const struct cache_key key = cache_key_make(c->cache, name, qtype);
    SCRATCH struct cache_found found;
    if (cache_get(c->cache, &key, now_ms, &found) != CACHE_STALE) {
        return false;
    }
    answer_stale(c, &found, RESOLVER_FAIL_HELD, out);
    return true;
}

resolver_ticket resolver_core_ask(struct resolver_core *c, const struct resolver_ask *ask, int64_t now_ms)
{
    if (waiters_reserve(&c->waiters) != 0) {
        return 0;
    }
    const struct cache_key key = cache_key_make(c->cache, ask->name, ask->qtype);
    SCRATCH struct resolver_answer known;
    struct resolver_question *q = NULL;
    bool has_stale = false;
    if (look_up(c, &key, now_ms, &known, &has_stale) && !(ask->is_again && known.status == RESOLVER_FAILED)) {
        count(c, RESOLVER_COUNTER_CACHE_HITS, 1);
        q = new_question(c, &key);
        if (q != NULL) {
            resolver_answer_copy(&q->answer, &known);
            make_ready(c, q);
        }
    } else {
        struct htab_node *node = htab_find(&c->asking, key.hash, match_question, &key);
        count(c, RESOLVER_COUNTER_CACHE_MISSES, 1);
        if (node != NULL) {
            q = HTAB_ENTRY(node, struct resolver_question, node);
            count(c, RESOLVER_COUNTER_COALESCED, 1);
        } else {
            q = start_question(c, &key, now_ms);
        }
    }
    if (q == NULL) {
        return 0;
    }
    q->is_again = q->is_again || ask->is_again;
    const resolver_ticket ticket = waiters_add(&c->waiters, &q->waiters, q, ask);
    if (has_stale && q->exchange != NULL) {
        waiters_line_up(&c->waiters, q->waiters.last, now_ms + RESOLVER_STALE_AFTER_MS);
    }
    return ticket;
}

/* Its exchange, which is not over, ends with it. */
static void drop_question(struct resolver_core *c, struct resolver_question *q)
{
    c->cfg.driver.cancel(c->cfg.driver.ctx, q->exchange);
    leave_table(c, q);
    free_question(c, q);
}

bool resolver_core_is_asked(struct resolver_core *c, const struct host_name *name, uint16_t qtype)
{
    const struct cache_key key = cache_key_make(c->cache, name, qtype);
    return htab_find(&c->asking, key.hash, match_question, &key) != NULL;
}

uint32_t resolver_core_turn(const struct resolver_core *c)
{
    return cache_turn(c->cache);
}

void resolver_core_drop_unwanted(struct resolver_core *c)
{
    for (struct htab_node *n = c->asking.oldest, *newer; n != NULL; n = newer) {
        newer = n->newer;
        struct resolver_question *q = HTAB_ENTRY(n, struct resolver_question, node);
        if (q->waiters.first == WAITER_NONE) {
            drop_question(c, q);
        }
    }
}

void resolver_core_cancel(struct resolver_core *c, resolver_ticket t)
{
    const uint32_t slot = waiters_find(&c->waiters, t);
    if (slot == WAITER_NONE) {
        return;
    }
    struct resolver_question *q = c->waiters.slots[slot].question;
    waiters_remove(&c->waiters, &q->waiters, slot);
    /* Nobody wants it any more. A ready one goes when its turn comes. */
    if (q->waiters.first == WAITER_NONE && q->exchange != NULL && !q->outlives_waiters) {
        drop_question(c, q);
    }
}

bool resolver_core_take_stale(struct resolver_core *c, resolver_ticket t, int64_t now_ms,
                              struct resolver_answer *out)
{
    const uint32_t slot = waiters_find(&c->waiters, t);
    if (slot == WAITER_NONE) {
        return false;
    }
    struct resolver_question *q = c->waiters.slots[slot].question;
    if (!find_stale(c, q, RESOLVER_FAIL_NONE, now_ms, out)) {
        return false;
    }
    q->outlives_waiters = true;
    waiters_remove(&c->waiters, &q->waiters, slot);
    return true;
}

/* ---- answering ---- */

int64_t resolver_core_until_ms(const struct resolver_core *c)
{
    if (c->ready_first != NULL) {
        return INT64_MIN;
    }
    const uint32_t slot = c->waiters.line_first;
    return slot == WAITER_NONE ? INT64_MAX : c->waiters.slots[slot].stale_at_ms;
}

/* Calls back one who waits for q. False: that freed the core. */
static bool call_back(struct resolver_core *c, struct resolver_question *q, uint32_t slot,
                      const struct resolver_answer *a)
{
    const bool *gone = c->gone;
    resolver_event_fn *fn = c->waiters.slots[slot].fn;
    void *ctx = c->waiters.slots[slot].ctx;
    waiters_remove(&c->waiters, &q->waiters, slot);
    fn(ctx, a);
    return !*gone;
}

static bool run_ready(struct resolver_core *c)
{
    /* What becomes ready meanwhile waits for the next run: a cached answer asked for again must not spin. */
    const struct resolver_question *last = c->ready_last;
    bool is_last = last == NULL;
    while (!is_last && c->ready_first != NULL) {
        struct resolver_question *q = c->ready_first;
        REQUIRE(q != NULL);                    /* nobody but this takes one off the list, and last is on it */
        SCRATCH struct resolver_answer answer; /* outlives q if a call back frees the core */
        resolver_answer_copy(&answer, &q->answer);
        while (q->waiters.first != WAITER_NONE) {
            if (!call_back(c, q, q->waiters.first, &answer)) {
                return false;
            }
        }
        is_last = q == last;
        c->ready_first = q->next;
        if (c->ready_first == NULL) {
            c->ready_last = NULL;
        }
        free_question(c, q);
    }
    return true;
}

/* Those who have waited long enough for news. */
static bool run_line(struct resolver_core *c, int64_t now_ms)
{
    struct waiters *t = &c->waiters;
    while (t->line_first != WAITER_NONE && t->slots[t->line_first].stale_at_ms <= now_ms) {
        const uint32_t slot = t->line_first;
        struct resolver_question *q = t->slots[slot].question;
        struct resolver_answer answer;
        waiters_leave_line(t, slot);
        if (q->exchange == NULL || !find_stale(c, q, RESOLVER_FAIL_NONE, now_ms, &answer)) {
            continue; /* its answer is ready; or what was there made room for something else */
        }
        q->outlives_waiters = true;
        if (!call_back(c, q, slot, &answer)) {
            return false;
        }
    }
    return true;
}

bool resolver_core_run(struct resolver_core *c, int64_t now_ms)
{
    bool gone = false;
    c->gone = &gone;
    if (!run_ready(c) || !run_line(c, now_ms)) {
        return false;
    }
    c->gone = NULL;
    count_cache(c);
    return true;
}

int resolver_core_new(const struct resolver_core_config *cfg, struct resolver_core **out)
{
    struct resolver_core *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return -ENOMEM;
    }
    c->cfg = *cfg;
    route_share_init(&c->share, cfg->max_questions, cfg->route_count > 0 ? cfg->route_count : 1);
    c->count = cfg->metrics != NULL ? cfg->metrics : &c->own;
    c->count_first = cfg->metrics != NULL ? cfg->metrics_first : 0;
    waiters_init(&c->waiters);
    int rc = htab_init(&c->asking, 64);
    if (rc == 0) {
        rc = cache_new(cfg->cache_bytes, cfg->stale_s, &c->cache);
    }
    if (rc != 0) {
        resolver_core_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

static void free_chain(struct resolver_question *q)
{
    while (q != NULL) {
        struct resolver_question *next = q->next;
        free(q->records);
        free(q);
        q = next;
    }
}

void resolver_core_free(struct resolver_core *c)
{
    if (c == NULL) {
        return;
    }
    if (c->gone != NULL) {
        *c->gone = true;
    }
    while (c->asking.oldest != NULL) {
        struct resolver_question *q = HTAB_ENTRY(c->asking.oldest, struct resolver_question, node);
        c->cfg.driver.cancel(c->cfg.driver.ctx, q->exchange);
        htab_remove(&c->asking, &q->node);
        free(q);
    }
    htab_fini(&c->asking);
    free_chain(c->ready_first);
    free_chain(c->spares);
    waiters_fini(&c->waiters);
    cache_free(c->cache);
    free(c);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/brakes.h"

#include "common/base/htab.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define RATE_PERIOD_MS 1000U
#define BUDGET_PERIOD_MS 60000U
#define BURST_PERIODS 2U
#define NAME_WAYS 4U
#define NAME_SETS (BRAKES_NAMES_MAX / NAME_WAYS)

/* Holds tokens in parts of 1/period: each millisecond brings as many parts as a period brings tokens. */
struct bucket {
    uint64_t parts;
    int64_t last_ms;
};

struct client {
    struct htab_node node;
    uint32_t sandbox;
    struct ip ip;
    struct bucket bucket;
    int64_t stopped_ms[BRAKES_GO]; /* when each verdict last came; 0: never */
};

struct wildcard {
    struct htab_node node;
    uint32_t sandbox;
    struct host_name pattern;
    struct bucket bucket;
};

struct name_set {
    uint64_t hashes[NAME_WAYS]; /* 0: free */
    uint32_t seen_s[NAME_WAYS];
};

struct brakes {
    struct brakes_config cfg;
    struct hash_key name_key;
    pthread_mutex_t lock; /* guards what follows, but for the keys of the tables */
    struct htab client_table, wildcard_table;
    struct client *clients; /* pages of it that were never used cost nothing */
    size_t client_count;
    struct wildcard *wildcards;
    size_t wildcard_count;
    struct name_set *names;
};

/* The hashes of a question, made before the lock is taken. */
struct hashes {
    uint64_t client, wildcard, name;
};

/* ---- buckets ---- */

static uint64_t bucket_cap(uint32_t count, uint32_t period_ms)
{
    return (uint64_t)BURST_PERIODS * count * period_ms;
}

static void bucket_start(struct bucket *b, uint32_t count, uint32_t period_ms, int64_t now_ms)
{
    b->parts = bucket_cap(count, period_ms);
    b->last_ms = now_ms;
}

/* Fills what time has brought. A clock that steps back brings nothing. */
static bool bucket_has(struct bucket *b, uint32_t count, uint32_t period_ms, int64_t now_ms)
{
    const uint64_t cap = bucket_cap(count, period_ms);
    if (now_ms > b->last_ms) {
        const uint64_t elapsed_ms = (uint64_t)(now_ms - b->last_ms);
        b->parts = elapsed_ms >= (uint64_t)BURST_PERIODS * period_ms ? cap : b->parts + elapsed_ms * count;
        b->parts = b->parts > cap ? cap : b->parts;
        b->last_ms = now_ms;
    }
    return b->parts >= period_ms;
}

/* ---- clients ---- */

struct client_key {
    uint32_t sandbox;
    const struct ip *ip;
};

static bool match_client(const struct htab_node *node, const void *key)
{
    const struct client *c = HTAB_ENTRY(node, const struct client, node);
    const struct client_key *k = key;
    return c->sandbox == k->sandbox && ip_is_equal(&c->ip, k->ip);
}

static uint64_t hash_client(const struct brakes *b, const struct brakes_question *q)
{
    uint8_t key[sizeof(q->sandbox) + 1 + sizeof(q->client->bytes)];
    memcpy(key, &q->sandbox, sizeof(q->sandbox));
    key[sizeof(q->sandbox)] = q->client->family;
    memcpy(key + sizeof(q->sandbox) + 1, q->client->bytes, sizeof(q->client->bytes));
    return htab_hash(&b->client_table, span_make(key, sizeof(key)));
}

/* The client's entry, a new one if need be in the place of the one that was used longest ago. */
static struct client *client_of(struct brakes *b, const struct brakes_question *q, uint64_t hash)
{
    const struct client_key key = {.sandbox = q->sandbox, .ip = q->client};
    struct htab_node *node = htab_find(&b->client_table, hash, match_client, &key);
    if (node != NULL) {
        htab_touch(&b->client_table, node);
        return HTAB_ENTRY(node, struct client, node);
    }
    struct client *c = NULL;
    if (b->client_count < BRAKES_CLIENTS_MAX) {
        c = &b->clients[b->client_count++];
    } else {
        c = HTAB_ENTRY(b->client_table.oldest, struct client, node);
        htab_remove(&b->client_table, &c->node);
    }
    *c = (struct client){.sandbox = q->sandbox, .ip = *q->client};
    bucket_start(&c->bucket, b->cfg.rate, RATE_PERIOD_MS, q->now_ms);
    htab_insert(&b->client_table, &c->node, hash);
    return c;
}

/* ---- wildcards ---- */

struct wildcard_key {
    uint32_t sandbox;
    const struct host_name *pattern;
};

static bool match_wildcard(const struct htab_node *node, const void *key)
{
    const struct wildcard *w = HTAB_ENTRY(node, const struct wildcard, node);
    const struct wildcard_key *k = key;
    return w->sandbox == k->sandbox && host_name_is_equal(&w->pattern, k->pattern);
}

static uint64_t hash_sandbox_name(const struct hash_key *key, uint32_t sandbox, const struct host_name *name)
{
    uint8_t bytes[sizeof(sandbox) + HOST_NAME_MAX_LEN];
    memcpy(bytes, &sandbox, sizeof(sandbox));
    memcpy(bytes + sizeof(sandbox), name->text, name->len);
    return hash_siphash(key, span_make(bytes, sizeof(sandbox) + name->len));
}

static struct wildcard *wildcard_of(struct brakes *b, const struct brakes_question *q, uint64_t hash)
{
    const struct wildcard_key key = {.sandbox = q->sandbox, .pattern = q->pattern};
    struct htab_node *node = htab_find(&b->wildcard_table, hash, match_wildcard, &key);
    if (node != NULL) {
        htab_touch(&b->wildcard_table, node);
        return HTAB_ENTRY(node, struct wildcard, node);
    }
    struct wildcard *w = NULL;
    if (b->wildcard_count < BRAKES_WILDCARDS_MAX) {
        w = &b->wildcards[b->wildcard_count++];
    } else {
        w = HTAB_ENTRY(b->wildcard_table.oldest, struct wildcard, node);
        htab_remove(&b->wildcard_table, &w->node);
    }
    *w = (struct wildcard){.sandbox = q->sandbox, .pattern = *q->pattern};
    bucket_start(&w->bucket, b->cfg.wildcard_budget, BUDGET_PERIOD_MS, q->now_ms);
    htab_insert(&b->wildcard_table, &w->node, hash);
    return w;
}

/* ---- names that were seen ---- */

static struct name_set *set_of(struct brakes *b, uint64_t hash)
{
    return &b->names[hash % NAME_SETS];
}

static bool is_seen(struct brakes *b, uint64_t hash, uint32_t now_s)
{
    struct name_set *s = set_of(b, hash);
    for (size_t i = 0; i < NAME_WAYS; i++) {
        if (s->hashes[i] == hash) {
            s->seen_s[i] = now_s;
            return true;
        }
    }
    return false;
}

static void remember(struct brakes *b, uint64_t hash, uint32_t now_s)
{
    struct name_set *s = set_of(b, hash);
    size_t best = 0;
    for (size_t i = 0; i < NAME_WAYS && s->hashes[best] != 0; i++) {
        if (s->hashes[i] == 0 || s->seen_s[i] < s->seen_s[best]) {
            best = i;
        }
    }
    s->hashes[best] = hash;
    s->seen_s[best] = now_s;
}

/* ---- the judgement ---- */

static enum brakes_verdict judge_wildcard(struct brakes *b, const struct brakes_question *q,
                                          const struct hashes *h, bool *is_new)
{
    const uint32_t now_s = (uint32_t)(q->now_ms / 1000);
    *is_new = !is_seen(b, h->name, now_s);
    if (!*is_new) {
        return BRAKES_GO;
    }
    if (b->cfg.wildcard_budget > 0) {
        struct wildcard *w = wildcard_of(b, q, h->wildcard);
        if (!bucket_has(&w->bucket, b->cfg.wildcard_budget, BUDGET_PERIOD_MS, q->now_ms)) {
            return BRAKES_BUDGET;
        }
        w->bucket.parts -= BUDGET_PERIOD_MS;
    }
    remember(b, h->name, now_s);
    return BRAKES_GO;
}

/* The rate comes first: what it stops is asked again, and must not have used up budget. */
static void judge_locked(struct brakes *b, const struct brakes_question *q, const struct hashes *h,
                         struct brakes_outcome *out)
{
    struct client *c = b->cfg.rate > 0 && !q->is_joined ? client_of(b, q, h->client) : NULL;
    if (out->verdict != BRAKES_LENGTH) {
        out->verdict = BRAKES_GO;
        if (c != NULL && !bucket_has(&c->bucket, b->cfg.rate, RATE_PERIOD_MS, q->now_ms)) {
            out->verdict = BRAKES_RATE;
        } else if (q->pattern != NULL) {
            out->verdict = judge_wildcard(b, q, h, &out->is_new_name);
        }
    }
    if (out->verdict == BRAKES_GO) {
        if (c != NULL) {
            c->bucket.parts -= RATE_PERIOD_MS;
        }
        return;
    }
    out->is_new_name = false;
    c = c != NULL ? c : client_of(b, q, h->client);
    int64_t *stopped_ms = &c->stopped_ms[out->verdict];
    out->is_onset = *stopped_ms == 0 || q->now_ms - *stopped_ms > BRAKES_QUIET_MS;
    *stopped_ms = q->now_ms > 0 ? q->now_ms : 1;
}

bool brakes_is_too_long(const struct brakes_config *cfg, const struct host_name *name)
{
    return cfg->wildcard_length > 0 && name->len > cfg->wildcard_length;
}

bool brakes_has_rate(const struct brakes *b)
{
    return b->cfg.rate > 0;
}

void brakes_judge(struct brakes *b, const struct brakes_question *q, struct brakes_outcome *out)
{
    struct hashes h = {0};
    *out = (struct brakes_outcome){.verdict = BRAKES_GO};
    if (q->pattern == NULL && (b->cfg.rate == 0 || q->is_joined)) {
        return;
    }
    h.client = hash_client(b, q);
    if (q->pattern != NULL) {
        h.wildcard = hash_sandbox_name(&b->wildcard_table.key, q->sandbox, q->pattern);
        h.name = hash_sandbox_name(&b->name_key, q->sandbox, q->name);
        h.name = h.name != 0 ? h.name : 1;
        if (brakes_is_too_long(&b->cfg, q->name)) {
            out->verdict = BRAKES_LENGTH;
        }
    }
    (void)pthread_mutex_lock(&b->lock);
    judge_locked(b, q, &h, out);
    (void)pthread_mutex_unlock(&b->lock);
}

/* ---- words ---- */

enum reason brakes_reason(enum brakes_verdict v)
{
    switch (v) {
    case BRAKES_RATE:
        return REASON_RATE_LIMITED;
    case BRAKES_BUDGET:
        return REASON_WILDCARD_BUDGET;
    case BRAKES_LENGTH:
        return REASON_WILDCARD_LENGTH;
    case BRAKES_GO:
        break;
    }
    return REASON_NONE;
}

const char *brakes_text(enum brakes_verdict v)
{
    switch (v) {
    case BRAKES_RATE:
        return "this client asks upstream too often (--rate-limit)";
    case BRAKES_BUDGET:
        return "too many new names through one wildcard (--wildcard-budget)";
    case BRAKES_LENGTH:
        return "too long for a name that only a wildcard admits (--wildcard-length)";
    case BRAKES_GO:
        break;
    }
    return "";
}

/* ---- life ---- */

struct brakes_config brakes_config_of(const struct settings_shared *s)
{
    return (struct brakes_config){
        .rate = s->rate_limit, .wildcard_budget = s->wildcard_budget, .wildcard_length = s->wildcard_length};
}

static int init_tables(struct brakes *b)
{
    int rc = htab_init(&b->client_table, BRAKES_CLIENTS_MAX);
    if (rc == 0) {
        rc = htab_init(&b->wildcard_table, BRAKES_WILDCARDS_MAX);
    }
    return rc;
}

int brakes_new(const struct brakes_config *cfg, struct brakes **out)
{
    struct brakes *b = calloc(1, sizeof(*b));
    if (b == NULL) {
        return -ENOMEM;
    }
    b->cfg = *cfg;
    hash_key_init(&b->name_key);
    int rc = -pthread_mutex_init(&b->lock, NULL);
    if (rc != 0) {
        free(b);
        return rc;
    }
    rc = init_tables(b);
    b->clients = calloc(BRAKES_CLIENTS_MAX, sizeof(*b->clients));
    b->wildcards = calloc(BRAKES_WILDCARDS_MAX, sizeof(*b->wildcards));
    b->names = calloc(NAME_SETS, sizeof(*b->names));
    if (rc != 0 || b->clients == NULL || b->wildcards == NULL || b->names == NULL) {
        brakes_free(b);
        return -ENOMEM;
    }
    *out = b;
    return 0;
}

void brakes_free(struct brakes *b)
{
    if (b == NULL) {
        return;
    }
    htab_fini(&b->client_table);
    htab_fini(&b->wildcard_table);
    free(b->clients);
    free(b->wildcards);
    free(b->names);
    (void)pthread_mutex_destroy(&b->lock);
    free(b);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/limits.h"

#include "common/base/htab.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct limits_client {
    struct htab_node node;
    struct ip ip;
    uint32_t count;
    uint32_t heads; /* of them: not finished */
};

struct limits_rule {
    struct htab_node node;
    uint32_t count;
    char key[];
};

struct limits {
    pthread_mutex_t lock;
    struct limits_config max;
    uint64_t total;
    struct htab clients, rules;
};

static bool match_client(const struct htab_node *node, const void *key)
{
    return ip_compare(&HTAB_ENTRY(node, const struct limits_client, node)->ip, key) == 0;
}

static uint64_t hash_client(const struct limits *l, const struct ip *client)
{
    uint8_t key[1 + sizeof client->bytes];
    key[0] = client->family;
    memcpy(key + 1, client->bytes, sizeof client->bytes);
    return htab_hash(&l->clients, span_make(key, sizeof key));
}

static struct limits_client *find_client(struct limits *l, const struct ip *client, uint64_t hash)
{
    struct htab_node *node = htab_find(&l->clients, hash, match_client, client);
    return node == NULL ? NULL : HTAB_ENTRY(node, struct limits_client, node);
}

static bool match_rule(const struct htab_node *node, const void *key)
{
    return strcmp(HTAB_ENTRY(node, const struct limits_rule, node)->key, key) == 0;
}

static int init_tables(struct limits *l)
{
    int rc = htab_init(&l->clients, 64);
    if (rc != 0) {
        return rc;
    }
    rc = htab_init(&l->rules, 16);
    if (rc != 0) {
        htab_fini(&l->clients);
    }
    return rc;
}

static void fini_tables(struct limits *l)
{
    htab_fini(&l->clients);
    htab_fini(&l->rules);
}

int limits_new(const struct limits_config *cfg, struct limits **out)
{
    struct limits *l = calloc(1, sizeof(*l));
    if (l == NULL) {
        return -ENOMEM;
    }
    int rc = init_tables(l);
    if (rc == 0) {
        rc = -pthread_mutex_init(&l->lock, NULL);
        if (rc != 0) {
            fini_tables(l);
        }
    }
    if (rc != 0) {
        free(l);
        return rc;
    }
    l->max = *cfg;
    *out = l;
    return 0;
}

void limits_free(struct limits *l)
{
    if (l == NULL) {
        return;
    }
    while (l->clients.newest != NULL) {
        struct limits_client *c = HTAB_ENTRY(l->clients.newest, struct limits_client, node);
        htab_remove(&l->clients, &c->node);
        free(c);
    }
    while (l->rules.newest != NULL) {
        struct limits_rule *r = HTAB_ENTRY(l->rules.newest, struct limits_rule, node);
        htab_remove(&l->rules, &r->node);
        free(r);
    }
    fini_tables(l);
    (void)pthread_mutex_destroy(&l->lock);
    free(l);
}

static bool is_reached(uint32_t max, uint64_t count)
{
    return max > 0 && count >= max;
}

static enum limits_verdict take(struct limits *l, const struct ip *client, bool with_head)
{
    if (is_reached(l->max.max_total, l->total)) {
        return LIMITS_TOTAL;
    }
    uint64_t hash = hash_client(l, client);
    struct limits_client *c = find_client(l, client, hash);
    if (c != NULL && is_reached(l->max.max_per_client, c->count)) {
        return LIMITS_CLIENT;
    }
    if (c != NULL && with_head && is_reached(l->max.max_heads, c->heads)) {
        return LIMITS_HEADS;
    }
    if (c == NULL) {
        c = calloc(1, sizeof(*c));
        if (c == NULL) {
            return LIMITS_MEMORY;
        }
        c->ip = *client;
        htab_insert(&l->clients, &c->node, hash);
    }
    c->count++;
    c->heads += with_head ? 1 : 0;
    l->total++;
    return LIMITS_TAKEN;
}

enum limits_verdict limits_take(struct limits *l, const struct ip *client, bool with_head)
{
    (void)pthread_mutex_lock(&l->lock);
    enum limits_verdict v = take(l, client, with_head);
    (void)pthread_mutex_unlock(&l->lock);
    return v;
}

void limits_give(struct limits *l, const struct ip *client)
{
    (void)pthread_mutex_lock(&l->lock);
    struct limits_client *c = find_client(l, client, hash_client(l, client));
    if (CHECK(c != NULL)) {
        l->total--;
        c->count--;
        if (c->count == 0) {
            htab_remove(&l->clients, &c->node);
            free(c);
        }
    }
    (void)pthread_mutex_unlock(&l->lock);
}

enum limits_verdict limits_take_head(struct limits *l, const struct ip *client)
{
    enum limits_verdict v = LIMITS_HEADS;
    (void)pthread_mutex_lock(&l->lock);
    struct limits_client *c = find_client(l, client, hash_client(l, client));
    if (CHECK(c != NULL) && !is_reached(l->max.max_heads, c->heads)) {
        c->heads++;
        v = LIMITS_TAKEN;
    }
    (void)pthread_mutex_unlock(&l->lock);
    return v;
}

void limits_give_head(struct limits *l, const struct ip *client)
{
    (void)pthread_mutex_lock(&l->lock);
    struct limits_client *c = find_client(l, client, hash_client(l, client));
    if (CHECK(c != NULL && c->heads > 0)) {
        c->heads--;
    }
    (void)pthread_mutex_unlock(&l->lock);
}

static enum limits_verdict take_rule(struct limits *l, const char *key, struct limits_rule **out)
{
    size_t size = strlen(key) + 1;
    uint64_t hash = htab_hash(&l->rules, span_make(key, size));
    struct htab_node *node = htab_find(&l->rules, hash, match_rule, key);
    struct limits_rule *r = node == NULL ? NULL : HTAB_ENTRY(node, struct limits_rule, node);
    if (r != NULL && is_reached(l->max.max_per_rule, r->count)) {
        return LIMITS_RULE;
    }
    if (r == NULL) {
        r = calloc(1, sizeof(*r) + size);
        if (r == NULL) {
            return LIMITS_MEMORY;
        }
        memcpy(r->key, key, size);
        htab_insert(&l->rules, &r->node, hash);
    }
    r->count++;
    *out = r;
    return LIMITS_TAKEN;
}

enum limits_verdict limits_take_rule(struct limits *l, const char *key, struct limits_rule **out)
{
    *out = NULL;
    if (l->max.max_per_rule == 0) {
        return LIMITS_TAKEN;
    }
    (void)pthread_mutex_lock(&l->lock);
    enum limits_verdict v = take_rule(l, key, out);
    (void)pthread_mutex_unlock(&l->lock);
    return v;
}

void limits_give_rule(struct limits *l, struct limits_rule *r)
{
    if (r == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&l->lock);
    r->count--;
    if (r->count == 0) {
        htab_remove(&l->rules, &r->node);
        free(r);
    }
    (void)pthread_mutex_unlock(&l->lock);
}

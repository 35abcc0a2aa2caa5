/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/limits.h"

#include "common/base/htab.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct limits_client {
    struct htab_node node;
    struct ip ip;
    uint32_t count;
};

struct limits {
    pthread_mutex_t lock;
    uint32_t max_total, max_per_client;
    uint64_t total;
    struct htab clients;
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

static struct limits_client *find(struct limits *l, const struct ip *client, uint64_t hash)
{
    struct htab_node *node = htab_find(&l->clients, hash, match_client, client);
    return node == NULL ? NULL : HTAB_ENTRY(node, struct limits_client, node);
}

int limits_new(uint32_t max_total, uint32_t max_per_client, struct limits **out)
{
    struct limits *l = calloc(1, sizeof(*l));
    if (l == NULL) {
        return -ENOMEM;
    }
    int rc = htab_init(&l->clients, 64);
    if (rc == 0) {
        rc = -pthread_mutex_init(&l->lock, NULL);
        if (rc != 0) {
            htab_fini(&l->clients);
        }
    }
    if (rc != 0) {
        free(l);
        return rc;
    }
    l->max_total = max_total;
    l->max_per_client = max_per_client;
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
    htab_fini(&l->clients);
    (void)pthread_mutex_destroy(&l->lock);
    free(l);
}

static enum limits_verdict take(struct limits *l, const struct ip *client)
{
    if (l->max_total > 0 && l->total >= l->max_total) {
        return LIMITS_TOTAL;
    }
    uint64_t hash = hash_client(l, client);
    struct limits_client *c = find(l, client, hash);
    if (c != NULL && l->max_per_client > 0 && c->count >= l->max_per_client) {
        return LIMITS_CLIENT;
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
    l->total++;
    return LIMITS_TAKEN;
}

enum limits_verdict limits_take(struct limits *l, const struct ip *client)
{
    (void)pthread_mutex_lock(&l->lock);
    enum limits_verdict v = take(l, client);
    (void)pthread_mutex_unlock(&l->lock);
    return v;
}

void limits_give(struct limits *l, const struct ip *client)
{
    (void)pthread_mutex_lock(&l->lock);
    struct limits_client *c = find(l, client, hash_client(l, client));
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/nft_until.h"

#include "common/base/htab.h"

#include <errno.h>
#include <stdlib.h>

#define KEY_LEN 19 /* family, address, port */

struct until_key {
    uint8_t bytes[KEY_LEN];
};

struct until_entry {
    struct htab_node node;
    int64_t until_ms;
    struct until_key key;
};

struct nft_until {
    struct htab table;
    struct until_entry entries[NFT_UNTIL_MAX]; /* the first table.count are in the table */
};

static struct until_key key_of(const struct ip *addr, uint16_t port)
{
    struct until_key k;
    k.bytes[0] = addr->family;
    memcpy(k.bytes + 1, addr->bytes, sizeof addr->bytes);
    k.bytes[KEY_LEN - 2] = (uint8_t)(port >> 8);
    k.bytes[KEY_LEN - 1] = (uint8_t)port;
    return k;
}

static bool is_match(const struct htab_node *node, const void *key)
{
    const struct until_entry *e = HTAB_ENTRY(node, const struct until_entry, node);
    const struct until_key *k = key;
    return memcmp(e->key.bytes, k->bytes, KEY_LEN) == 0;
}

int nft_until_new(struct nft_until **out)
{
    struct nft_until *u = calloc(1, sizeof *u); /* pages that are not in use cost nothing */
    if (u == NULL || htab_init(&u->table, NFT_UNTIL_MAX) != 0) {
        free(u);
        return -ENOMEM;
    }
    *out = u;
    return 0;
}

void nft_until_free(struct nft_until *u)
{
    if (u != NULL) {
        htab_fini(&u->table);
        free(u);
    }
}

uint64_t nft_until_left_ms(const struct nft_until *u, const struct ip *addr, uint16_t port, int64_t now_ms)
{
    const struct until_key k = key_of(addr, port);
    const uint64_t hash = htab_hash(&u->table, span_make(k.bytes, KEY_LEN));
    const struct htab_node *node = htab_find(&u->table, hash, is_match, &k);
    if (node == NULL) {
        return 0;
    }
    const int64_t until_ms = HTAB_ENTRY(node, const struct until_entry, node)->until_ms;
    return until_ms > now_ms ? (uint64_t)(until_ms - now_ms) : 0;
}

/* One that was never in use, or the one that was noted longest ago. */
static struct until_entry *take_entry(struct nft_until *u)
{
    if (u->table.count < NFT_UNTIL_MAX) {
        return &u->entries[u->table.count];
    }
    struct until_entry *e = HTAB_ENTRY(u->table.oldest, struct until_entry, node);
    htab_remove(&u->table, &e->node);
    return e;
}

void nft_until_note(struct nft_until *u, const struct ip *addr, uint16_t port, int64_t until_ms)
{
    const struct until_key k = key_of(addr, port);
    const uint64_t hash = htab_hash(&u->table, span_make(k.bytes, KEY_LEN));
    struct htab_node *node = htab_find(&u->table, hash, is_match, &k);
    if (node != NULL) {
        struct until_entry *e = HTAB_ENTRY(node, struct until_entry, node);
        e->until_ms = until_ms > e->until_ms ? until_ms : e->until_ms;
        htab_touch(&u->table, node);
        return;
    }
    struct until_entry *e = take_entry(u);
    e->key = k;
    e->until_ms = until_ms;
    htab_insert(&u->table, &e->node, hash);
}

size_t nft_until_count(const struct nft_until *u)
{
    return u->table.count;
}

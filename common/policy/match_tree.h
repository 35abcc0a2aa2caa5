/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nodes of a compiled policy's index: a tree whose edges are byte strings of several kinds (labels of
 * host names from the right, parts of a wildcard label, addresses), kept as one hash table from (parent,
 * kind, bytes) to the child. So a step down costs one probe, however many children a node has.
 *
 * Filled, then sealed, then only read. Sealed, the nodes of a bucket lie side by side, so that a probe
 * touches two places in memory. The hash is a keyed multiplication, several times as fast as SipHash over
 * strings as short as these; what SipHash would make unlikely is ruled out instead: sealing draws another key
 * until no bucket holds more than MATCH_BUCKET_MAX. Keys are compared, so a collision is never a wrong
 * answer. Owns its copies of the bytes.
 */
#pragma once

#include "common/base/err.h"
#include "common/base/hash.h"

#define MATCH_NONE UINT32_MAX
#define MATCH_ROOT 0U       /* there from the start; above the top-level labels */
#define MATCH_BYTES_MAX 63U /* of one edge */
#define MATCH_INLINE_BYTES 16U
#define MATCH_BUCKET_MAX 16U
#define MATCH_FILTER_BITS_MIN ((size_t)1 << 12)
#define MATCH_FILTER_BITS_MAX ((size_t)1 << 20)

enum match_kind {
    MATCH_LABEL = 0, /* a whole label, "*" or "**" */
    MATCH_HOST,      /* no bytes; value: the entry of egress.hosts */
    MATCH_HEADS,     /* no bytes; value: a mask of the lengths of the heads beside it */
    MATCH_HEAD,      /* what stands before the first star of a label; value: a mask of lengths of tails */
    MATCH_TAIL,      /* below a head: what stands behind the last star; value: the first inner */
    MATCH_INNER,     /* below a tail: a whole label with two stars or more; value: the next one */
    MATCH_ADDRESS,   /* family and bytes */
    MATCH_HOSTLESS,  /* family, prefix length, bytes */
    MATCH_LISTED,    /* likewise, below the host whose allowed_ips hold it */
    MATCH_NEVER,     /* likewise */
    MATCH_PORT       /* below what is never dialled, on this port */
};

enum match_flag {
    MATCH_HAS_BELOW = 1U << 0,   /* there are labels to the left of this one */
    MATCH_HAS_STAR = 1U << 1,    /* "*" is one of them */
    MATCH_HAS_STARS = 1U << 2,   /* "**" is one of them */
    MATCH_HAS_PARTIAL = 1U << 3, /* a label with a star among other bytes is one of them */
    MATCH_HAS_LISTED = 1U << 4,  /* MATCH_LISTED children */
    MATCH_HAS_HOST = 1U << 5,    /* a MATCH_HOST child */
    MATCH_EVERY_PORT = 1U << 6,  /* never dialled on any port */
    MATCH_HAS_PORTS = 1U << 7,   /* never dialled on the ports that are its children */
    MATCH_IS_WILDCARD = 1U << 8, /* the pattern that ends here has a star */
    MATCH_DNS_TYPES = 3U << 9    /* what endpoints whose host ends here have in "dns" (MATCH_DNS_SHIFT) */
};
#define MATCH_DNS_SHIFT 9

struct match_node {
    uint32_t parent;
    uint32_t group; /* the user's; MATCH_NONE at first */
    uint32_t value; /* the user's, by kind; else the group's first endpoint; MATCH_NONE at first */
    uint16_t flags; /* enum match_flag */
    uint8_t kind;   /* enum match_kind */
    uint8_t len;
    uint8_t bytes[MATCH_INLINE_BYTES]; /* if longer: where they are in the tree's */
};

/*
 * A node, and the hash of the way to it, from which those of its children are made: so that they can be
 * worked out, and fetched, before the nodes on the way are there.
 */
struct match_at {
    uint32_t node; /* MATCH_NONE: no such child */
    uint64_t way;
};

struct match_tree {
    struct hash_key key;
    struct match_node *nodes; /* sealed: the root and then each bucket's, one after another */
    size_t node_count, node_cap;
    uint32_t *slots;   /* while it is filled: open addressing; index of a node, 0 (nobody's child) = free */
    size_t slot_count; /* a power of two */
    uint32_t *starts;  /* sealed: where each bucket's nodes start */
    size_t bucket_count;
    uint64_t *filter;   /* sealed: of match_tree_may_lead() */
    size_t filter_bits; /* a power of two */
    uint8_t *bytes;     /* edges that do not fit into their nodes */
    size_t byte_count, byte_cap;
};

MUST_CHECK int match_tree_init(struct match_tree *t); /* 0 or -ENOMEM; fini is safe in both cases */
void match_tree_fini(struct match_tree *t);

/* Filling. Finds or makes; at most MATCH_BYTES_MAX bytes. MATCH_NONE: out of memory. Nodes may move. */
MUST_CHECK uint32_t match_tree_add(struct match_tree *t, uint32_t parent, enum match_kind kind,
                                   struct span bytes);
/*
 * Sealing: nodes get other indexes, MATCH_ROOT stays. *places, which the caller frees, tells where each node
 * is now. 0, or -ENOMEM: only fini can follow.
 */
MUST_CHECK int match_tree_seal(struct match_tree *t, uint32_t **places);

/* Sealed. */
static inline struct match_at match_tree_root(void)
{
    return (struct match_at){MATCH_ROOT, 0};
}
/* The child; edges longer than the maximum do not exist. */
struct match_at match_tree_find(const struct match_tree *t, struct match_at parent, enum match_kind kind,
                                struct span bytes);
/* The way to a label's node, which may not be there. */
uint64_t match_tree_way(const struct match_tree *t, uint64_t parent_way, struct span label);
/*
 * False: the way leads to no top-level label, and to no label that has others to its left (a Bloom filter;
 * true for some that do not). Eight to sixteen bits for each that does, half a kilobyte as a rule, stay in
 * the caches and tell of most names that were never asked for that they are not there, however large the tree
 * is.
 */
static inline bool match_tree_may_lead(const struct match_tree *t, uint64_t way)
{
    /* two places from lower bits; the highest choose the bucket */
    const size_t a = (size_t)way & (t->filter_bits - 1);
    const size_t b = (size_t)(way >> 20) & (t->filter_bits - 1);
    return (t->filter[a / 64] >> a % 64 & t->filter[b / 64] >> b % 64 & 1) != 0;
}
/* Ways that will be looked at soon: memory is asked for all of them before any is waited for. */
void match_tree_prefetch(const struct match_tree *t, const uint64_t *ways, size_t count);
/* Either way. */
struct span match_tree_bytes(const struct match_tree *t, uint32_t node);
size_t match_tree_memory(const struct match_tree *t); /* bytes allocated */

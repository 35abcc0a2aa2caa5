/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nodes of a compiled policy's index: a tree whose edges are byte strings of several kinds (labels of
 * host names from the right, parts of a wildcard label, addresses), kept as one hash table from (parent,
 * kind, bytes) to the child. So a step down costs one probe, however many children a node has. Open
 * addressing under a random SipHash key, keys compared; filled once, then only read. Owns its copies of the
 * bytes.
 */
#pragma once

#include "common/base/err.h"
#include "common/base/hash.h"

#define MATCH_NONE UINT32_MAX
#define MATCH_ROOT 0U       /* there from the start; above the top-level labels */
#define MATCH_BYTES_MAX 63U /* of one edge */

enum match_kind {
    MATCH_LABEL = 0, /* a whole label, "*" or "**" */
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
    MATCH_HAS_HOST = 1U << 5,    /* egress.hosts has the name; value: which entry */
    MATCH_EVERY_PORT = 1U << 6,  /* never dialled on any port */
    MATCH_HAS_PORTS = 1U << 7    /* never dialled on the ports that are its children */
};

struct match_node {
    uint32_t parent;
    uint32_t offset; /* of its bytes */
    uint32_t group;  /* the user's; MATCH_NONE at first */
    uint32_t value;  /* the user's; MATCH_NONE at first */
    uint8_t len;
    uint8_t kind;  /* enum match_kind */
    uint8_t flags; /* enum match_flag */
};

struct match_tree {
    struct hash_key key;
    struct match_node *nodes;
    uint32_t *slots; /* index of a node; 0 (the root, which is nobody's child) = free */
    uint8_t *bytes;
    size_t node_count, node_cap;
    size_t slot_count; /* a power of two */
    size_t byte_count, byte_cap;
};

MUST_CHECK int match_tree_init(struct match_tree *t); /* 0 or -ENOMEM; fini is safe in both cases */
void match_tree_fini(struct match_tree *t);
/* The index of the child, MATCH_NONE if there is none. Edges longer than MATCH_BYTES_MAX do not exist. */
uint32_t match_tree_find(const struct match_tree *t, uint32_t parent, enum match_kind kind,
                         struct span bytes);
/* Finds or makes; at most MATCH_BYTES_MAX bytes. MATCH_NONE: out of memory. Pointers to nodes end here. */
MUST_CHECK uint32_t match_tree_add(struct match_tree *t, uint32_t parent, enum match_kind kind,
                                   struct span bytes);
/* Gives back what was allocated ahead: call it when everything is added. 0 or -ENOMEM. */
MUST_CHECK int match_tree_seal(struct match_tree *t);
struct span match_tree_bytes(const struct match_tree *t, uint32_t node);
size_t match_tree_memory(const struct match_tree *t); /* bytes allocated */

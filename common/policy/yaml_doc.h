/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded YAML tree with positions. Refuses what a policy never needs: aliases, anchors, merge keys, tags,
 * more than one document (but see header), duplicate keys, non-scalar keys, NUL, depth > 16, more than 4
 * million nodes, more than 16 MiB. The only file that includes <yaml.h>. Nodes live in an arena owned by the
 * document.
 */
#pragma once

#include "common/base/err.h"
#include "common/base/span.h"

enum yaml_kind { YAML_NONE = 0, YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml_pos {
    uint32_t line; /* 1-based */
    uint32_t col;  /* 1-based, in characters */
    uint32_t len;  /* characters to underline, >= 1 */
};

struct yaml_node {
    enum yaml_kind kind;
    bool is_plain; /* scalar: written without quotes */
    struct yaml_pos pos;
    uint32_t start;   /* bytes of the text before the value: before its bracket, if it stands in one */
    struct span text; /* scalar: its value */
    struct span key;  /* member of a map: its key */
    struct yaml_pos key_pos;
    uint32_t key_start;      /* bytes of the text before the key */
    struct yaml_node *first; /* list and map: children in order */
    struct yaml_node *next;  /* sibling */
    uint32_t count;          /* children */
    uint32_t end; /* bytes up to the end of the value: behind its quote, bracket or last child (of an empty
                     value: up to the next token at most) */
};

struct yaml_doc;

/* A problem of the text itself. Only the first one exists: parsing stops there. */
struct yaml_fault {
    struct yaml_pos pos;
    char message[200];
    char hint[200]; /* "" if none */
};

/*
 * Parses text (borrowed for the call; scalars are copied). An empty text or a null document gives a root of
 * YAML_NONE. A leading header document as "openshell policy get --full" prints it (a map of plain scalars,
 * then
 * "---") is skipped. 0, -EINVAL with *fault filled, -E2BIG with *fault, -ENOMEM.
 */
MUST_CHECK int yaml_doc_parse(struct span text, struct yaml_doc **out, struct yaml_fault *fault);
const struct yaml_node *yaml_doc_root(const struct yaml_doc *doc);
void yaml_doc_free(struct yaml_doc *doc);
/* Same kinds, texts and quoting; keys in the same order. Where things stand does not matter. */
bool yaml_is_same_tree(const struct yaml_node *a, const struct yaml_node *b);
const struct yaml_node *yaml_map_get(const struct yaml_node *map, const char *key); /* NULL if absent */

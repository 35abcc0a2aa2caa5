/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Properties of a parsed document: bounded, positions inside the text and in order, keys unique, no NUL in
 * any text.
 */
#include "tests/fuzz/fuzz.h"

#include "common/policy/yaml_doc.h"

#include <errno.h>

#define MAX_DEPTH 16

static void require_text(struct span s)
{
    REQUIRE(s.len == 0 || s.data != NULL);
    REQUIRE(span_find(s, 0) == s.len);
}

static void require_pos(struct yaml_pos pos, size_t size)
{
    REQUIRE(pos.line >= 1 && pos.line <= size + 1);
    REQUIRE(pos.col >= 1 && pos.col <= size + 1);
    REQUIRE(pos.len >= 1 && pos.len <= size + 1);
}

static void require_map(const struct yaml_node *map)
{
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
        REQUIRE(n->key.len > 0);
        require_text(n->key);
        for (const struct yaml_node *other = map->first; map->count < 64 && other != n; other = other->next) {
            REQUIRE(!span_is_equal(other->key, n->key));
        }
    }
}

/* Bytes of the text: children lie in order inside their parent, each behind its key. */
static void require_range(const struct yaml_node *n, size_t size)
{
    REQUIRE(n->start <= n->end && n->end <= size);
    uint32_t at = n->start;
    for (const struct yaml_node *child = n->first; child != NULL; child = child->next) {
        uint32_t from = n->kind == YAML_MAP ? child->key_start : child->start;
        REQUIRE(at <= from && from <= child->start && child->end <= n->end);
        at = child->end;
    }
}

static void require_node(const struct yaml_node *n, size_t size)
{
    size_t count = 0;
    for (const struct yaml_node *child = n->first; child != NULL; child = child->next) {
        count++;
    }
    REQUIRE(count == n->count);
    require_pos(n->pos, size);
    require_range(n, size);
    switch (n->kind) {
    case YAML_SCALAR:
        REQUIRE(count == 0);
        require_text(n->text);
        break;
    case YAML_MAP:
        require_map(n);
        break;
    case YAML_LIST:
        break;
    case YAML_NONE:
        REQUIRE(count == 0);
        break;
    }
}

static void require_tree(const struct yaml_node *root, size_t size)
{
    const struct yaml_node *stack[MAX_DEPTH + 1];
    size_t depth = 0;
    require_node(root, size);
    stack[depth++] = root->first;
    while (depth > 0) {
        const struct yaml_node *n = stack[depth - 1];
        if (n == NULL) {
            depth--;
            continue;
        }
        stack[depth - 1] = n->next;
        require_node(n, size);
        REQUIRE(n->kind != YAML_NONE);
        if (n->first != NULL) {
            REQUIRE(depth <= MAX_DEPTH);
            stack[depth++] = n->first;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct yaml_doc *doc = NULL;
    struct yaml_fault fault;
    int rc = yaml_doc_parse(span_make(data, size), &doc, &fault);
    REQUIRE(rc == 0 || rc == -EINVAL || rc == -E2BIG);
    REQUIRE((rc == 0) == (doc != NULL));
    if (rc == 0) {
        require_tree(yaml_doc_root(doc), size);
        yaml_doc_free(doc);
    } else {
        REQUIRE(fault.message[0] != '\0');
        require_pos(fault.pos, size);
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/yaml_doc.h"

#include "common/base/hash.h"
#include "common/policy/arena.h"
#include "common/policy/yaml_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#define MAX_DEPTH 16 /* libyaml 0.2.5 has no limit of its own */
#define MAX_NODES ((size_t)4000000)
#define SMALL_MAP ((size_t)16) /* up to this many keys are compared pairwise */

struct yaml_doc {
    struct arena *arena;
    struct yaml_node *root;
};

struct frame {
    struct yaml_node *node;
    struct yaml_node *last; /* newest child */
    struct span key;        /* the key that waits for its value */
    struct yaml_pos key_pos;
    uint32_t key_start;
    bool has_key;
};

struct builder {
    yaml_parser_t parser;
    struct yaml_doc *doc;
    struct yaml_fault *fault;
    struct yaml_text text;
    struct yaml_cursor cursor; /* where the newest event starts, or ends */
    size_t skipped;            /* bytes of the text in front of its body */
    struct hash_key hash_key;
    struct frame stack[MAX_DEPTH];
    size_t depth;
    size_t node_count;
    size_t document_count;
    bool is_done;
};

static const char star_hint[] = "a value that starts with * must be quoted: \"*.example.com\"";

static int fail(struct builder *b, struct yaml_pos pos, const char *message, const char *hint)
{
    b->fault->pos = pos;
    (void)snprintf(b->fault->message, sizeof b->fault->message, "%s", message);
    (void)snprintf(b->fault->hint, sizeof b->fault->hint, "%s", hint);
    return -EINVAL;
}

static struct yaml_pos make_pos(const struct builder *b, const yaml_mark_t *start, const yaml_mark_t *end)
{
    size_t len = 1;
    if (end->line == start->line && end->column > start->column) {
        len = end->column - start->column;
    }
    return (struct yaml_pos){
        .line = (uint32_t)(start->line + 1 + b->text.first_line),
        .col = (uint32_t)(start->column + 1),
        .len = (uint32_t)len,
    };
}

static struct yaml_pos event_pos(const struct builder *b, const yaml_event_t *e)
{
    return make_pos(b, &e->start_mark, &e->end_mark);
}

/* Moves the cursor to a mark; marks come in order. The byte offset in the whole text. */
static uint32_t move_to(struct builder *b, const yaml_mark_t *mark)
{
    yaml_cursor_advance(&b->cursor, b->text.body, mark->line, mark->column);
    return (uint32_t)(b->skipped + b->cursor.offset);
}

static bool is_alias_error(const struct builder *b)
{
    return b->parser.context != NULL && strcmp(b->parser.context, "while scanning an alias") == 0;
}

/* libyaml says what its scanner saw; people need to know what to write instead. */
static const char *syntax_hint(const struct builder *b, const yaml_mark_t *at)
{
    struct yaml_cursor c = {0};
    yaml_cursor_advance(&c, b->text.body, at->line, at->column);
    uint8_t here = c.offset < b->text.body.len ? b->text.body.data[c.offset] : 0;
    uint8_t before = c.offset > 0 ? b->text.body.data[c.offset - 1] : 0;
    const char *problem = b->parser.problem == NULL ? "" : b->parser.problem;
    if (is_alias_error(b)) {
        return star_hint;
    }
    if (here == '\t' || before == '\t' || strstr(problem, "tab") != NULL) {
        return "indent with spaces, not with tabs";
    }
    if (here == '@' || here == '`' || here == '%') {
        return "a value that starts with this character must be quoted";
    }
    if (strstr(problem, "mapping values are not allowed") != NULL) {
        return "quote a value that holds \": \", and indent all keys of a map alike";
    }
    if (strstr(problem, "expected key") != NULL || strstr(problem, "block end") != NULL ||
        strstr(problem, "expected '-'") != NULL) {
        return "indent all keys of a map, and all items of a list, alike";
    }
    if (strstr(problem, "expected ',' or") != NULL) {
        return "a bracket or brace that was opened is not closed, or a comma is missing";
    }
    if (strstr(problem, "could not find expected ':'") != NULL) {
        return "a key is followed by a colon and a space";
    }
    return "look here and on the line before for a quote or a bracket without its partner";
}

static int syntax_error(struct builder *b)
{
    const yaml_parser_t *p = &b->parser;
    if (p->error == YAML_MEMORY_ERROR) {
        return -ENOMEM;
    }
    char message[sizeof b->fault->message];
    const char *problem = p->problem == NULL ? "not YAML" : p->problem;
    if (p->context == NULL) {
        (void)snprintf(message, sizeof message, "YAML: %s", problem);
    } else {
        (void)snprintf(message, sizeof message, "YAML: %s, %s", p->context, problem);
    }
    struct yaml_pos pos = make_pos(b, &p->problem_mark, &p->problem_mark);
    if (is_alias_error(b) && pos.col > 1) {
        pos.col--; /* libyaml stands behind the star */
    }
    return fail(b, pos, message, syntax_hint(b, &p->problem_mark));
}

static int copy_text(struct builder *b, const yaml_event_t *e, struct span *out)
{
    struct span s = span_make(e->data.scalar.value, e->data.scalar.length);
    if (span_find(s, 0) < s.len) {
        return fail(b, event_pos(b, e), "a NUL character", "a policy never needs one: remove it");
    }
    char *copy = arena_text(b->doc->arena, s);
    if (copy == NULL) {
        return -ENOMEM;
    }
    *out = span_make(copy, s.len);
    return 0;
}

/* Aliases, anchors and tags: never needed, and each a way to say something other than what is seen. */
static int refuse_properties(struct builder *b, const yaml_event_t *e)
{
    const yaml_char_t *anchor = NULL;
    const yaml_char_t *tag = NULL;
    bool has_bare_tag = false;
    if (e->type == YAML_ALIAS_EVENT) {
        return fail(b, event_pos(b, e), "an alias (*name) is not accepted in a policy", star_hint);
    }
    if (e->type == YAML_SCALAR_EVENT) {
        anchor = e->data.scalar.anchor;
        tag = e->data.scalar.tag;
        /* "! text": libyaml drops the tag but leaves its traces */
        bool is_plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        has_bare_tag = !is_plain && e->data.scalar.plain_implicit;
        has_bare_tag = has_bare_tag || (is_plain && yaml_cursor_byte(&b->cursor, b->text.body) == '!');
    } else if (e->type == YAML_SEQUENCE_START_EVENT) {
        anchor = e->data.sequence_start.anchor;
        tag = e->data.sequence_start.tag;
    } else if (e->type == YAML_MAPPING_START_EVENT) {
        anchor = e->data.mapping_start.anchor;
        tag = e->data.mapping_start.tag;
    }
    if (anchor != NULL) {
        return fail(b, event_pos(b, e), "an anchor (&name) is not accepted in a policy",
                    "write the value out, or quote a text that starts with &");
    }
    if (tag != NULL || has_bare_tag) {
        return fail(b, event_pos(b, e), "a tag (!name) is not accepted in a policy",
                    "remove it, or quote a text that starts with !");
    }
    return 0;
}

static struct yaml_node *add_node(struct builder *b, enum yaml_kind kind, const yaml_event_t *e)
{
    struct yaml_node *n = arena_alloc(b->doc->arena, sizeof *n);
    if (n == NULL) {
        return NULL;
    }
    n->kind = kind;
    n->pos = event_pos(b, e);
    n->start = move_to(b, &e->start_mark);
    n->end = n->start;
    b->node_count++;
    if (b->depth == 0) {
        b->doc->root = n;
        return n;
    }
    struct frame *top = &b->stack[b->depth - 1];
    if (top->node->kind == YAML_MAP) {
        n->key = top->key;
        n->key_pos = top->key_pos;
        n->key_start = top->key_start;
        top->has_key = false;
    }
    if (top->last == NULL) {
        top->node->first = n;
    } else {
        top->last->next = n;
    }
    top->last = n;
    top->node->count++;
    return n;
}

static bool wants_key(const struct builder *b)
{
    return b->depth > 0 && b->stack[b->depth - 1].node->kind == YAML_MAP && !b->stack[b->depth - 1].has_key;
}

static int on_key(struct builder *b, const yaml_event_t *e)
{
    struct frame *top = &b->stack[b->depth - 1];
    if (e->type != YAML_SCALAR_EVENT) {
        return fail(
            b, event_pos(b, e), "a key must be a plain word, not a list or a map",
            "write a word and a colon; quote a text that begins with { or [, and fill in placeholders");
    }
    int rc = copy_text(b, e, &top->key);
    if (rc != 0) {
        return rc;
    }
    if (span_is_equal(top->key, SPAN_LIT("<<"))) {
        return fail(b, event_pos(b, e), "a merge key (<<) is not accepted in a policy", "write the keys out");
    }
    if (top->key.len == 0) {
        return fail(b, event_pos(b, e), "an empty key", "a key is a word followed by a colon");
    }
    top->key_pos = event_pos(b, e);
    top->key_start = move_to(b, &e->start_mark);
    top->has_key = true;
    return 0;
}

static int on_scalar(struct builder *b, const yaml_event_t *e)
{
    struct yaml_node *n = add_node(b, YAML_SCALAR, e);
    if (n == NULL) {
        return -ENOMEM;
    }
    n->is_plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    n->end = move_to(b, &e->end_mark);
    return copy_text(b, e, &n->text);
}

static int on_open(struct builder *b, const yaml_event_t *e)
{
    if (b->depth == MAX_DEPTH) {
        return fail(b, event_pos(b, e), "nested deeper than 16 levels",
                    "no policy needs so many: remove brackets or indentation here");
    }
    struct yaml_node *n = add_node(b, e->type == YAML_MAPPING_START_EVENT ? YAML_MAP : YAML_LIST, e);
    if (n == NULL) {
        return -ENOMEM;
    }
    if (n->pos.len > 1) {
        n->pos.len = 1; /* the mark of a flow collection is its bracket */
    }
    b->stack[b->depth++] = (struct frame){.node = n};
    return 0;
}

static int duplicate_key(struct builder *b, const struct yaml_node *first, const struct yaml_node *second)
{
    char message[sizeof b->fault->message];
    (void)snprintf(message, sizeof message, "this key was given before, on line %u", first->key_pos.line);
    return fail(b, second->key_pos, message, "remove one of the two, or merge them");
}

static int check_keys_pairwise(struct builder *b, const struct yaml_node *map)
{
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
        for (const struct yaml_node *m = map->first; m != n; m = m->next) {
            if (span_is_equal(m->key, n->key)) {
                return duplicate_key(b, m, n);
            }
        }
    }
    return 0;
}

/* libyaml does not see duplicate keys. The table is keyed: nobody can choose keys that all collide. */
static int check_keys(struct builder *b, const struct yaml_node *map)
{
    if (map->count <= SMALL_MAP) {
        return check_keys_pairwise(b, map);
    }
    size_t cap = SMALL_MAP * 2;
    while (cap < (size_t)map->count * 2) {
        cap *= 2;
    }
    const struct yaml_node **seen = calloc(cap, sizeof *seen);
    if (seen == NULL) {
        return -ENOMEM;
    }
    int rc = 0;
    for (const struct yaml_node *n = map->first; n != NULL && rc == 0; n = n->next) {
        size_t i = (size_t)hash_siphash(&b->hash_key, n->key) & (cap - 1);
        while (seen[i] != NULL && !span_is_equal(seen[i]->key, n->key)) {
            i = (i + 1) & (cap - 1);
        }
        if (seen[i] != NULL) {
            rc = duplicate_key(b, seen[i], n);
        }
        seen[i] = n;
    }
    free(seen);
    return rc;
}

/* libyaml lets a block end where the next token begins; ours ends with its last child. */
static int on_close(struct builder *b, const yaml_event_t *e)
{
    const struct frame *top = &b->stack[--b->depth];
    struct yaml_node *n = top->node;
    struct span from = span_sub(b->text.body, n->start - b->skipped, 1);
    uint8_t first = from.len == 0 ? 0 : from.data[0];
    if (first == '{' || first == '[') {
        n->end = move_to(b, &e->end_mark);
    } else if (top->last != NULL) {
        n->end = top->last->end;
    }
    return n->kind == YAML_MAP ? check_keys(b, n) : 0;
}

static int on_document(struct builder *b, const yaml_event_t *e)
{
    if (++b->document_count > 1) {
        return fail(b, event_pos(b, e), "a second document is not accepted in a policy file",
                    "put it into a file of its own, and remove the line ---");
    }
    return 0; /* yaml_text_check has refused %TAG */
}

static int on_event(struct builder *b, const yaml_event_t *e)
{
    bool is_node = e->type == YAML_SCALAR_EVENT || e->type == YAML_ALIAS_EVENT ||
                   e->type == YAML_SEQUENCE_START_EVENT || e->type == YAML_MAPPING_START_EVENT;
    if (is_node) {
        (void)move_to(b, &e->start_mark);
        int rc = refuse_properties(b, e);
        if (rc != 0) {
            return rc;
        }
        if (b->node_count >= MAX_NODES) {
            (void)fail(b, event_pos(b, e), "more than 4 million values",
                       "split the policy into several files");
            return -E2BIG;
        }
        if (wants_key(b)) {
            return on_key(b, e);
        }
    }
    switch (e->type) {
    case YAML_STREAM_END_EVENT:
        b->is_done = true;
        return 0;
    case YAML_DOCUMENT_START_EVENT:
        return on_document(b, e);
    case YAML_SCALAR_EVENT:
        return on_scalar(b, e);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        return on_open(b, e);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return on_close(b, e);
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_DOCUMENT_END_EVENT:
    case YAML_ALIAS_EVENT:
        break;
    }
    return 0;
}

static int build(struct builder *b)
{
    while (!b->is_done) {
        yaml_event_t event;
        if (!yaml_parser_parse(&b->parser, &event)) {
            return syntax_error(b);
        }
        int rc = on_event(b, &event);
        yaml_event_delete(&event);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

static bool is_null(const struct yaml_node *n)
{
    return n->kind == YAML_SCALAR && n->is_plain &&
           (n->text.len == 0 || span_is_equal(n->text, SPAN_LIT("~")) ||
            span_is_equal_nocase(n->text, SPAN_LIT("null")));
}

static int parse_body(struct yaml_doc *doc, const struct yaml_text *text, size_t skipped,
                      struct yaml_fault *fault)
{
    struct builder *b = calloc(1, sizeof *b);
    if (b == NULL || !yaml_parser_initialize(&b->parser)) {
        free(b);
        return -ENOMEM;
    }
    b->doc = doc;
    b->fault = fault;
    b->text = *text;
    b->skipped = skipped;
    hash_key_init(&b->hash_key);
    yaml_parser_set_encoding(&b->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b->parser, text->body.data, text->body.len);
    int rc = build(b);
    yaml_parser_delete(&b->parser);
    free(b);
    return rc;
}

int yaml_doc_parse(struct span text, struct yaml_doc **out, struct yaml_fault *fault)
{
    *out = NULL;
    memset(fault, 0, sizeof *fault);
    struct yaml_text body;
    int rc = yaml_text_check(text, &body, fault);
    if (rc != 0) {
        return rc;
    }
    struct yaml_doc *doc = calloc(1, sizeof *doc);
    if (doc == NULL) {
        return -ENOMEM;
    }
    doc->arena = arena_new();
    rc = doc->arena == NULL ? -ENOMEM : 0;
    if (rc == 0 && body.body.len > 0) {
        rc = parse_body(doc, &body, (size_t)(body.body.data - text.data), fault);
    }
    if (rc == 0 && (doc->root == NULL || is_null(doc->root))) {
        struct yaml_pos pos = doc->root == NULL ? (struct yaml_pos){1, 1, 1} : doc->root->pos;
        doc->root = arena_alloc(doc->arena, sizeof *doc->root);
        rc = doc->root == NULL ? -ENOMEM : 0;
        if (rc == 0) {
            doc->root->pos = pos;
        }
    }
    if (rc != 0) {
        yaml_doc_free(doc);
        return rc;
    }
    *out = doc;
    return 0;
}

const struct yaml_node *yaml_doc_root(const struct yaml_doc *doc)
{
    return doc->root;
}

void yaml_doc_free(struct yaml_doc *doc)
{
    if (doc != NULL) {
        arena_free(doc->arena);
        free(doc);
    }
}

const struct yaml_node *yaml_map_get(const struct yaml_node *map, const char *key)
{
    if (map == NULL || map->kind != YAML_MAP) {
        return NULL;
    }
    struct span wanted = span_str(key);
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
        if (span_is_equal(n->key, wanted)) {
            return n;
        }
    }
    return NULL;
}

static bool is_same_node(const struct yaml_node *a, const struct yaml_node *b)
{
    return a->kind == b->kind && a->count == b->count && a->is_plain == b->is_plain &&
           span_is_equal(a->text, b->text);
}

/* The stack stands in for recursion. */
bool yaml_is_same_tree(const struct yaml_node *a, const struct yaml_node *b)
{
    const struct yaml_node *left[MAX_DEPTH + 1];
    const struct yaml_node *right[MAX_DEPTH + 1];
    size_t depth = 0;
    if (!is_same_node(a, b)) {
        return false;
    }
    left[depth] = a->first;
    right[depth++] = b->first;
    while (depth > 0) {
        const struct yaml_node *x = left[depth - 1];
        const struct yaml_node *y = right[depth - 1];
        if (x == NULL || y == NULL) {
            depth--; /* both: the counts were equal */
            continue;
        }
        if (!span_is_equal(x->key, y->key) || !is_same_node(x, y)) {
            return false;
        }
        left[depth - 1] = x->next;
        right[depth - 1] = y->next;
        if (x->first != NULL && depth <= MAX_DEPTH) {
            left[depth] = x->first;
            right[depth++] = y->first;
        }
    }
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A tree as plain block YAML: what is written when a text cannot be edited. Comments are not in the tree. */
#include "common/policy/policy_export_parts.h"
#include "common/policy/yaml_scalar.h"

#include <errno.h>
#include <stdio.h>

#define MAX_DEPTH 18 /* yaml_doc refuses more than 16 */
#define LIMIT EXPORT_MAX_BYTES

struct frame {
    const struct yaml_node *next; /* to be written */
    enum yaml_kind kind;          /* of the collection */
    enum export_place place;      /* of the collection */
    size_t col;
    bool is_inline; /* the next one stands behind a dash: no indentation */
};

struct emitter {
    struct buf *out;
    const char *newline;
    struct frame stack[MAX_DEPTH];
    size_t depth;
    int rc; /* the first failure */
};

static void put(struct emitter *em, struct span s)
{
    if (em->rc == 0) {
        em->rc = buf_append(em->out, s, LIMIT);
    }
}

static void put_str(struct emitter *em, const char *s)
{
    put(em, span_str(s));
}

static void put_spaces(struct emitter *em, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        put_str(em, " ");
    }
}

static uint32_t decode(struct span s, size_t at, size_t len)
{
    static const uint8_t masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = s.data[at] & masks[len];
    for (size_t i = 1; i < len; i++) {
        c = (c << 6) | (s.data[at + i] & 0x3fU);
    }
    return c;
}

/* Everything but printable ASCII is escaped: what a text check refuses may have come from an escape. */
static void put_quoted(struct emitter *em, struct span s)
{
    put_str(em, "\"");
    for (size_t i = 0; i < s.len;) {
        size_t len = span_char_len(s, i);
        len = len == 0 ? 1 : len;
        uint32_t c = decode(s, i, len);
        char text[16];
        if (c == '"' || c == '\\') {
            (void)snprintf(text, sizeof text, "\\%c", (char)c);
        } else if (c == '\n') {
            (void)snprintf(text, sizeof text, "\\n");
        } else if (c >= 0x20 && c < 0x7f) {
            (void)snprintf(text, sizeof text, "%c", (char)c);
        } else if (c < 0x10000) {
            (void)snprintf(text, sizeof text, "\\u%04x", (unsigned)c);
        } else {
            (void)snprintf(text, sizeof text, "\\U%08x", (unsigned)c);
        }
        put_str(em, text);
        i += len;
    }
    put_str(em, "\"");
}

static bool is_key_byte(uint8_t c)
{
    return (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == '/';
}

/* What a reader of YAML 1.1 might take for something else than a text is quoted as well. */
static void put_key(struct emitter *em, struct span key)
{
    static const char *const words[] = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"};
    bool is_plain = key.len > 0 && ascii_lower(key.data[0]) >= 'a' && ascii_lower(key.data[0]) <= 'z';
    for (size_t i = 0; i < key.len; i++) {
        is_plain = is_plain && is_key_byte(key.data[i]);
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        is_plain = is_plain && !span_is_equal_nocase(key, span_str(words[i]));
    }
    if (is_plain) {
        put(em, key);
    } else {
        put_quoted(em, key);
    }
}

static void put_scalar(struct emitter *em, const struct yaml_node *n)
{
    bool is_one_line = span_find(n->text, '\n') == n->text.len;
    if (n->is_plain && is_one_line) {
        put_str(em, n->text.len == 0 ? "" : " ");
        put(em, n->text);
    } else {
        put_str(em, " ");
        put_quoted(em, n->text);
    }
    put_str(em, em->newline);
}

/* Behind "key:" or "-" of a parent that starts at col. */
static void put_value(struct emitter *em, const struct yaml_node *n, const struct frame *parent)
{
    if (n->kind == YAML_SCALAR) {
        put_scalar(em, n);
        return;
    }
    if (n->first == NULL || em->depth == MAX_DEPTH) {
        put_str(em, n->kind == YAML_LIST ? " []" : " {}");
        put_str(em, em->newline);
        return;
    }
    bool is_inline = parent->kind == YAML_LIST && n->kind == YAML_MAP;
    put_str(em, is_inline ? " " : em->newline);
    em->stack[em->depth++] = (struct frame){
        .next = n->first,
        .kind = n->kind,
        .place = export_child_place(parent->place, n),
        .col = parent->col + 2,
        .is_inline = is_inline,
    };
}

static void put_children(struct emitter *em)
{
    while (em->depth > 0 && em->rc == 0) {
        struct frame *top = &em->stack[em->depth - 1];
        const struct yaml_node *n = top->next;
        if (n == NULL) {
            em->depth--;
            continue;
        }
        top->next = n->next;
        if (top->kind == YAML_MAP && export_is_dropped(top->place, n)) {
            continue;
        }
        const struct frame parent = *top;
        put_spaces(em, parent.is_inline ? 0 : parent.col);
        top->is_inline = false;
        if (parent.kind == YAML_MAP) {
            put_key(em, n->key);
            put_str(em, ":");
        } else {
            put_str(em, "-");
        }
        put_value(em, n, &parent);
    }
}

int export_emit_entry(const struct yaml_node *n, enum export_place place, const struct export_indent *indent,
                      struct buf *out)
{
    struct emitter em = {.out = out, .newline = indent->newline};
    const struct frame parent = {.kind = YAML_MAP, .col = indent->col};
    if (n == NULL) { /* never; a tree has no such node */
        return -EINVAL;
    }
    put_spaces(&em, indent->col);
    put_key(&em, n->key);
    put_str(&em, ":");
    put_value(&em, n, &parent);
    if (em.depth > 0) {
        em.stack[0].place = place;
    }
    put_children(&em);
    return em.rc;
}

static void emit_section(const struct exporter *e, enum export_section_id id, struct emitter *em)
{
    const struct export_section *section = &e->sections[id];
    const struct export_indent indent = {2, em->newline};
    enum export_place place = id == EXPORT_POLICIES ? EXPORT_RULE : EXPORT_OTHER;
    const struct yaml_node *whole = section->whole.node;
    bool is_list_of_entries = id == EXPORT_POLICIES || id == EXPORT_MIDDLEWARES;
    if (whole == NULL && section->added_count == 0) {
        return;
    }
    if (!is_list_of_entries || (whole != NULL && whole->first == NULL && section->added_count == 0)) {
        em->rc = export_emit_entry(whole, EXPORT_OTHER, &(struct export_indent){0, em->newline}, em->out);
        return;
    }
    put_str(em, export_section_key(id));
    put_str(em, ":");
    put_str(em, em->newline);
    for (const struct yaml_node *n = whole == NULL ? NULL : whole->first; n != NULL && em->rc == 0;
         n = n->next) {
        em->rc = export_emit_entry(n, place, &indent, em->out);
    }
    for (size_t i = 0; i < section->added_count && em->rc == 0; i++) {
        em->rc = export_emit_entry(section->added[i].node, place, &indent, em->out);
    }
}

int export_emit_document(const struct exporter *e, struct buf *out)
{
    struct emitter em = {.out = out, .newline = "\n"};
    put_str(&em, "version: 1\n");
    for (int id = EXPORT_FILESYSTEM; id < EXPORT_SECTION_COUNT && em.rc == 0; id++) {
        emit_section(e, (enum export_section_id)id, &em);
    }
    return em.rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of the base, edited, with what further files add to it. An entry of a further file comes with its
 * comments and as it is laid out, moved to the base's indentation; one that is no block is written anew.
 */
#include "common/policy/policy_export_parts.h"
#include "common/policy/yaml_text.h"

#include <errno.h>
#include <stdlib.h>

#define LIMIT EXPORT_MAX_BYTES

static int put(struct buf *out, const char *text)
{
    return buf_append(out, span_str(text), LIMIT);
}

static int put_spaces(struct buf *out, size_t count)
{
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = put(out, " ");
    }
    return rc;
}

/* Lines of s, moved from one column to another, with the newline of the base. */
static int put_moved(struct span s, size_t col, const struct export_indent *indent, struct buf *out)
{
    int rc = 0;
    size_t at = 0;
    while (at < s.len && rc == 0) {
        size_t end = at;
        while (yaml_break_len(s, end) == 0 && end < s.len) {
            end++;
        }
        struct span line = span_sub(s, at, end - at);
        for (size_t surplus = col; surplus > indent->col && line.len > 0 && line.data[0] == ' '; surplus--) {
            line = span_sub(line, 1, line.len);
        }
        if (line.len > 0 && indent->col > col) {
            rc = put_spaces(out, indent->col - col);
        }
        rc = rc == 0 ? buf_append(out, line, LIMIT) : rc;
        rc = rc == 0 ? put(out, indent->newline) : rc;
        at = end + yaml_break_len(s, end);
    }
    return rc;
}

/* An entry with the comments that are its own. */
static int put_entry(const struct exporter *e, const struct export_entry *entry, enum export_place place,
                     const struct export_indent *indent, struct buf *out)
{
    const struct export_source *s = &e->sources[entry->file];
    const struct yaml_node *n = entry->node;
    struct export_edits edits = {.source = s};
    size_t line = 0;
    if (!entry->is_block || !export_is_line_start(s, n->key_start, &line)) {
        return export_emit_entry(n, place, indent, out);
    }
    size_t col = n->key_start - line;
    size_t from = export_comments_above(s, line, col, entry->floor);
    size_t to = export_value_end(&edits, n->end, col);
    if (place == EXPORT_RULE) {
        export_edit_rule(&edits, n);
    }
    struct buf text = {0};
    int rc = 0;
    if (edits.is_unsure) {
        rc = export_emit_entry(n, place, indent, out);
    } else {
        rc = edits.is_out_of_memory ? -ENOMEM : export_apply(&edits, from, to, &text);
        rc = rc == 0 ? put_moved(buf_span(&text), col, indent, out) : rc;
    }
    buf_fini(&text);
    export_edits_fini(&edits);
    return rc;
}

static int put_added(const struct exporter *e, enum export_section_id id, const struct export_indent *indent,
                     struct buf *out)
{
    enum export_place place = id == EXPORT_POLICIES ? EXPORT_RULE : EXPORT_OTHER;
    const struct export_section *section = &e->sections[id];
    int rc = 0;
    for (size_t i = 0; i < section->added_count && rc == 0; i++) {
        rc = put_entry(e, &section->added[i], place, indent, out);
    }
    return rc;
}

static const char *newline_of(const struct export_source *s)
{
    size_t end = export_line_end(s, s->begin);
    if (end == s->text.len || s->text.data[end] == '\n') {
        return "\n";
    }
    return yaml_break_len(s->text, end) == 2 ? "\r\n" : "\r";
}

struct merge {
    const struct exporter *e;
    const struct export_source *base;
    struct export_edits edits;
    struct buf added[EXPORT_SECTION_COUNT + 1]; /* one for each section, one behind the root; never moved */
    size_t col;                                 /* of the keys of the root */
    const char *newline;
};

/* Makes a place behind a line for text that begins a line of its own. */
static int begin_line(const struct merge *m, size_t at, struct buf *out)
{
    bool is_open =
        at > m->base->begin && m->base->text.data[at - 1] != '\n' && m->base->text.data[at - 1] != '\r';
    return is_open ? put(out, m->newline) : 0;
}

/* "network_policies: {}" or a longer flow map: becomes a block, so that entries can follow. */
static int open_flow(struct merge *m, enum export_section_id id, size_t at)
{
    const struct yaml_node *n = m->e->sections[id].whole.node;
    struct buf *out = &m->added[id];
    enum export_place place = id == EXPORT_POLICIES ? EXPORT_RULE : EXPORT_OTHER;
    const struct export_indent indent = {m->col + 2, m->newline};
    size_t from = n->start;
    while (from > m->base->begin && m->base->text.data[from - 1] == ' ') {
        from--;
    }
    export_edit(&m->edits, from, n->end, (struct span){0});
    int rc = begin_line(m, at, out);
    for (const struct yaml_node *child = n->first; child != NULL && rc == 0; child = child->next) {
        rc = export_emit_entry(child, place, &indent, out);
    }
    return rc == 0 ? put_added(m->e, id, &indent, out) : rc;
}

/* What further files add to a section that the base has. */
static int add_to_section(struct merge *m, enum export_section_id id)
{
    const struct yaml_node *n = m->e->sections[id].whole.node;
    size_t at = export_value_end(&m->edits, n->end, m->col);
    size_t line = 0;
    int rc = 0;
    if (export_is_flow(m->base, n)) {
        rc = open_flow(m, id, at);
    } else if (!export_is_line_start(m->base, n->first->key_start, &line)) {
        m->edits.is_unsure = true;
    } else {
        const struct export_indent indent = {n->first->key_start - line, m->newline};
        rc = begin_line(m, at, &m->added[id]);
        rc = rc == 0 ? put_added(m->e, id, &indent, &m->added[id]) : rc;
    }
    export_edit(&m->edits, at, at, buf_span(&m->added[id]));
    return rc;
}

/* A section that only further files have. */
static int add_section(struct merge *m, enum export_section_id id, struct buf *out)
{
    const struct export_section *section = &m->e->sections[id];
    const struct export_indent indent = {m->col, m->newline};
    const struct export_indent inner = {m->col + 2, m->newline};
    int rc = put(out, m->newline);
    if (section->whole.node != NULL) {
        return rc == 0 ? put_entry(m->e, &section->whole, EXPORT_OTHER, &indent, out) : rc;
    }
    rc = rc == 0 ? put_spaces(out, m->col) : rc;
    rc = rc == 0 ? put(out, export_section_key(id)) : rc;
    rc = rc == 0 ? put(out, ":") : rc;
    rc = rc == 0 ? put(out, m->newline) : rc;
    return rc == 0 ? put_added(m->e, id, &inner, out) : rc;
}

static bool is_in_base(const struct export_section *section)
{
    return section->whole.node != NULL && section->whole.file == 0;
}

static int edit_sections(struct merge *m, const struct yaml_node *root)
{
    struct buf *tail = &m->added[EXPORT_SECTION_COUNT];
    size_t end = export_is_flow(m->base, root) ? root->end : export_value_end(&m->edits, root->end, m->col);
    int rc = 0;
    for (int i = EXPORT_FILESYSTEM; i < EXPORT_SECTION_COUNT && rc == 0; i++) {
        enum export_section_id id = (enum export_section_id)i;
        const struct export_section *section = &m->e->sections[id];
        bool is_missing = !is_in_base(section) && (section->whole.node != NULL || section->added_count > 0);
        if (export_is_flow(m->base, root) && (is_missing || section->added_count > 0)) {
            m->edits.is_unsure = true;
        } else if (is_missing) {
            rc = tail->len == 0 ? begin_line(m, end, tail) : 0;
            rc = rc == 0 ? add_section(m, id, tail) : rc;
        } else if (section->added_count > 0) {
            rc = add_to_section(m, id);
        }
    }
    if (tail->len > 0) {
        export_edit(&m->edits, end, end, buf_span(tail));
    }
    return rc;
}

static int compare_edits(const void *a, const void *b)
{
    const struct export_edit *x = a;
    const struct export_edit *y = b;
    if (x->from != y->from) {
        return x->from < y->from ? -1 : 1;
    }
    if (x->to != y->to) {
        return x->to < y->to ? -1 : 1;
    }
    return (x->order > y->order) - (x->order < y->order);
}

static void edit_rules(struct merge *m)
{
    const struct export_section *section = &m->e->sections[EXPORT_POLICIES];
    bool is_reopened =
        section->added_count > 0 && is_in_base(section) && export_is_flow(m->base, section->whole.node);
    if (!is_in_base(section) || is_reopened) {
        return;
    }
    for (const struct yaml_node *n = section->whole.node->first; n != NULL; n = n->next) {
        export_edit_rule(&m->edits, n);
    }
}

int export_edit_document(const struct exporter *e, struct buf *out)
{
    const struct yaml_node *root = yaml_doc_root(e->docs[0]);
    struct merge m = {.e = e, .base = &e->sources[0], .edits = {.source = &e->sources[0]}};
    size_t line = 0;
    m.newline = newline_of(m.base);
    if (!export_is_flow(m.base, root)) {
        m.edits.is_unsure = !export_is_line_start(m.base, root->start, &line);
        m.col = root->start - line;
    }
    export_edit_map(&m.edits, root, EXPORT_ROOT);
    edit_rules(&m);
    int rc = edit_sections(&m, root);
    if (rc == 0 && m.edits.is_out_of_memory) {
        rc = -ENOMEM;
    }
    if (rc == 0 && m.edits.is_unsure) {
        rc = -EAGAIN;
    }
    if (rc == 0) {
        if (m.edits.count > 1) {
            qsort(m.edits.items, m.edits.count, sizeof *m.edits.items, compare_edits);
        }
        rc = export_apply(&m.edits, m.base->begin, m.base->text.len, out);
    }
    for (size_t i = 0; i < sizeof m.added / sizeof m.added[0]; i++) {
        buf_fini(&m.added[i]);
    }
    export_edits_fini(&m.edits);
    return rc;
}

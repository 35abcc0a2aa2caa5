/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of an export, one per file: what policy_export.c calls in order. Internal to policy. */
#pragma once

#include "common/policy/arena.h"
#include "common/policy/policy_export.h"
#include "common/policy/yaml_doc.h"

#define EXPORT_MAX_BYTES ((size_t)16 << 20) /* more could not be loaded again */

/* Where a node stands: only there can it be one that is dropped. */
enum export_place {
    EXPORT_OTHER = 0,
    EXPORT_ROOT,
    EXPORT_RULES,
    EXPORT_RULE,
    EXPORT_ENDPOINTS,
    EXPORT_ENDPOINT
};
enum export_place export_child_place(enum export_place parent, const struct yaml_node *child);
/* A key of the root that OpenShell does not have, or an extension key of an endpoint. */
bool export_is_dropped(enum export_place parent, const struct yaml_node *child);

struct export_entry {
    const struct yaml_node *node;
    const struct policy_rule *rule; /* of network_policies */
    uint32_t file;
    uint32_t floor; /* bytes of its file up to the end of the entry before it: its comments start behind */
    bool is_block;  /* its map is in block style */
};

enum export_section_id {
    EXPORT_VERSION = 0,
    EXPORT_FILESYSTEM,
    EXPORT_LANDLOCK,
    EXPORT_PROCESS,
    EXPORT_MIDDLEWARES,
    EXPORT_POLICIES,
    EXPORT_SECTION_COUNT
};
const char *export_section_key(enum export_section_id id);

struct export_section {         /* of the document to be written */
    struct export_entry whole;  /* node NULL: no file has it, or its entries come from further files only */
    struct export_entry *added; /* entries of further files */
    size_t added_count;
};

struct export_source {
    struct span text;
    size_t begin; /* behind a byte order mark and a header document */
};

struct exporter {
    struct arena *arena;
    struct policy_text *texts; /* the base first */
    struct yaml_doc **docs;
    struct export_source *sources;
    size_t count;
    const struct policy_rules *rules;  /* of all texts */
    struct export_entry *rule_entries; /* each rule, in the order of rules */
    struct export_section sections[EXPORT_SECTION_COUNT];
    struct policy_diags *errors;
    struct policy_diags *notes;
    bool is_out_of_memory; /* a note was lost */
};

/* policy_export_emit.c: plain block style, without comments. 0, -ENOMEM, -E2BIG. */
int export_emit_document(const struct exporter *e, struct buf *out);
struct export_indent {
    size_t col;
    const char *newline;
};
int export_emit_entry(const struct yaml_node *n, enum export_place place, const struct export_indent *indent,
                      struct buf *out);

/* policy_export_edit.c: what to take out of a text, and put in. */
struct export_edit {
    size_t from, to;
    size_t order;    /* of those at one place */
    struct span put; /* borrowed */
};
struct export_edits {
    const struct export_source *source;
    struct export_edit *items; /* owned, in order */
    size_t count, cap;
    bool is_unsure; /* a layout that is not understood: write anew instead */
    bool is_out_of_memory;
};
void export_edit(struct export_edits *ed, size_t from, size_t to, struct span put);
/* Takes the dropped keys out of a map; of the root, "preset" becomes the missing version. */
void export_edit_map(struct export_edits *ed, const struct yaml_node *map, enum export_place place);
void export_edit_rule(struct export_edits *ed, const struct yaml_node *rule);
/* Appends text [from, to) as edited. 0, -ENOMEM, -E2BIG. */
int export_apply(const struct export_edits *ed, size_t from, size_t to, struct buf *out);
void export_edits_fini(struct export_edits *ed);

/* policy_export_lines.c: where lines, and the comments of an entry, begin and end. */
bool export_is_flow(const struct export_source *s, const struct yaml_node *n);
/* Are there only spaces in front of `at` in its line? *line is then where the line starts. */
bool export_is_line_start(const struct export_source *s, size_t at, size_t *line);
/* The start of the comment block right above the line, as far indented as the entry, or the line. A block at
 * the head of the file is about the file, and stays. */
size_t export_comments_above(const struct export_source *s, size_t line, size_t col, size_t floor);
/* Behind the line on which a block value ends, its comment, and further comments that are indented deeper. */
size_t export_value_end(struct export_edits *ed, size_t end, size_t col);
/* The first byte from `at` on that is no space, line break or comment. */
size_t export_skip_gap(const struct export_source *s, size_t at);
size_t export_line_end(const struct export_source *s, size_t at);
size_t export_previous_line(const struct export_source *s, size_t line, size_t floor);
bool export_is_blank_line(const struct export_source *s, size_t line);
/* Drops one line break in front of `at`. */
size_t export_before_break(const struct export_source *s, size_t at);

/* policy_export_merge.c: the text of the base, edited, with what further files add. -EAGAIN: unsure. */
int export_edit_document(const struct exporter *e, struct buf *out);

/* policy_export_verify.c: is the document the input minus the extensions? NULL or what differs. */
const char *export_verify_tree(const struct exporter *e, const struct yaml_node *root);
/* 0 and *what likewise, or -ENOMEM. */
int export_verify_rules(const struct policy_rules *before, const struct policy_rules *after,
                        const char **what);

/* policy_export_notes.c, policy_export_overlap.c: what OpenShell will not do as we do. */
void export_note(struct exporter *e, struct policy_pos pos, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void export_note_all(struct exporter *e);
void export_note_overlaps(struct exporter *e);

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/policy_export.h"

#include "common/policy/policy_diag.h"
#include "common/policy/policy_export_parts.h"
#include "common/policy/yaml_text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define MESSAGE_CAP 512

const char *export_section_key(enum export_section_id id)
{
    switch (id) {
    case EXPORT_VERSION:
        return "version";
    case EXPORT_FILESYSTEM:
        return "filesystem_policy";
    case EXPORT_LANDLOCK:
        return "landlock";
    case EXPORT_PROCESS:
        return "process";
    case EXPORT_MIDDLEWARES:
        return "network_middlewares";
    case EXPORT_POLICIES:
        return "network_policies";
    case EXPORT_SECTION_COUNT:
        break;
    }
    return "";
}

void export_note(struct exporter *e, struct policy_pos pos, const char *fmt, ...)
{
    char message[MESSAGE_CAP];
    struct diag_place place = {
        .file = e->texts[pos.file].file, .pos = {.line = pos.line, .col = pos.col}, .file_index = pos.file};
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    if (policy_diags_add(e->notes, DIAG_WARNING, &place, message, NULL) != 0) {
        e->is_out_of_memory = true;
    }
}

static int refuse(const struct exporter *e, uint32_t file, struct yaml_pos pos, const char *hint,
                  const char *message)
{
    struct diag_place place = {.file = file < e->count ? e->texts[file].file : "export", .pos = pos};
    return policy_diags_add(e->errors, DIAG_ERROR, &place, message, hint) == 0 ? -EINVAL : -ENOMEM;
}

/* Our bug: said, and nothing is written. */
static int give_up(const struct exporter *e, const char *what)
{
    char message[MESSAGE_CAP];
    (void)snprintf(message, sizeof message,
                   "internal error: the exported policy would not be the same (%s); nothing is written",
                   what);
    int rc = refuse(e, UINT32_MAX, (struct yaml_pos){0}, "please report this, with the files", message);
    return rc == -EINVAL ? -EPROTO : rc;
}

/* Behind a byte order mark, and behind a header document with the line that ends it. */
static size_t find_begin(struct span text)
{
    struct yaml_text body;
    struct yaml_fault fault;
    if (yaml_text_check(text, &body, &fault) != 0) {
        return 0; /* it was parsed before */
    }
    size_t begin = (size_t)(body.body.data - text.data);
    if (body.first_line > 0) {
        while (begin < text.len && yaml_break_len(text, begin) == 0) {
            begin++;
        }
        begin += yaml_break_len(text, begin);
    }
    return begin;
}

static int parse_texts(struct exporter *e)
{
    for (size_t i = 0; i < e->count; i++) {
        struct yaml_fault fault;
        int rc = yaml_doc_parse(e->texts[i].text, &e->docs[i], &fault);
        if (rc != 0) {
            return rc == -ENOMEM ? rc : give_up(e, "a file"); /* policy_load has parsed it */
        }
        e->sources[i] = (struct export_source){e->texts[i].text, find_begin(e->texts[i].text)};
    }
    return 0;
}

/* 0: none of OpenShell's sections; 1: a preset; 2: a policy. */
static int base_rank(const struct yaml_node *root)
{
    bool has_sections = false;
    for (int id = EXPORT_FILESYSTEM; id < EXPORT_SECTION_COUNT; id++) {
        has_sections =
            has_sections || yaml_map_get(root, export_section_key((enum export_section_id)id)) != NULL;
    }
    return has_sections + (has_sections && yaml_map_get(root, "preset") == NULL);
}

/* The first policy, else the first preset, else the first file, moves to the front. True if one moved. */
static bool put_base_first(struct exporter *e)
{
    size_t base = 0;
    int best = -1;
    for (size_t i = 0; i < e->count; i++) {
        int rank = base_rank(yaml_doc_root(e->docs[i]));
        if (rank > best) {
            best = rank;
            base = i;
        }
    }
    if (base == 0) {
        return false;
    }
    struct policy_text text = e->texts[base];
    struct yaml_doc *doc = e->docs[base];
    struct export_source source = e->sources[base];
    memmove(e->texts + 1, e->texts, base * sizeof *e->texts);
    memmove(e->docs + 1, e->docs, base * sizeof(struct yaml_doc *));
    memmove(e->sources + 1, e->sources, base * sizeof *e->sources);
    e->texts[0] = text;
    e->docs[0] = doc;
    e->sources[0] = source;
    return true;
}

static const struct yaml_node *section_of(const struct exporter *e, size_t file, enum export_section_id id)
{
    return yaml_map_get(yaml_doc_root(e->docs[file]), export_section_key(id));
}

static struct export_entry make_entry(const struct exporter *e, const struct yaml_node *map, size_t file,
                                      const struct yaml_node *node, size_t floor)
{
    return (struct export_entry){
        .node = node,
        .file = (uint32_t)file,
        .floor = (uint32_t)floor,
        .is_block = !export_is_flow(&e->sources[file], map),
    };
}

/* Each rule's node. The loader kept the first of identical rules: its place tells which that is. */
static int find_rules(struct exporter *e)
{
    e->rule_entries = arena_array(e->arena, e->rules->rule_count, sizeof *e->rule_entries);
    if (e->rule_entries == NULL) {
        return -ENOMEM;
    }
    struct export_section *section = &e->sections[EXPORT_POLICIES];
    section->added = e->rule_entries;
    size_t found = 0;
    for (size_t file = 0; file < e->count; file++) {
        const struct yaml_node *map = section_of(e, file, EXPORT_POLICIES);
        size_t floor = map == NULL ? 0 : map->key_start; /* of the first: behind the line of the map's key */
        if (map != NULL && file == 0) {
            section->whole = make_entry(e, yaml_doc_root(e->docs[0]), 0, map, 0);
        }
        for (const struct yaml_node *n = map == NULL ? NULL : map->first; n != NULL; n = n->next) {
            const struct policy_rule *rule = found < e->rules->rule_count ? &e->rules->rules[found] : NULL;
            if (rule != NULL && rule->pos.file == file && rule->pos.line == n->key_pos.line &&
                rule->pos.col == n->key_pos.col) {
                e->rule_entries[found] = make_entry(e, map, file, n, floor);
                e->rule_entries[found++].rule = rule;
            }
            floor = n->end;
        }
        if (file == 0) {
            section->added = e->rule_entries + found;
        }
    }
    section->added_count = (size_t)(e->rule_entries + found - section->added);
    return found == e->rules->rule_count ? 0 : give_up(e, "the rules");
}

static const struct export_entry *find_middleware(const struct exporter *e, struct span key, size_t count)
{
    const struct export_entry *all = e->sections[EXPORT_MIDDLEWARES].added;
    for (size_t i = 0; i < count; i++) {
        if (span_is_equal(all[i].node->key, key)) {
            return &all[i];
        }
    }
    return NULL;
}

static int clash(const struct exporter *e, const struct export_entry *first, uint32_t file,
                 const struct yaml_node *second)
{
    char quoted[DIAG_QUOTE_CAP];
    char message[MESSAGE_CAP];
    (void)snprintf(message, sizeof message, "%s is already in %s on line %u, and differs",
                   diag_quote(second->key, quoted), e->texts[first->file].file, first->node->key_pos.line);
    return refuse(e, file, second->key_pos,
                  "one document holds only one of them: make them the same, or "
                  "export the files apart",
                  message);
}

/* There are few: policy_load has counted them. */
static int find_middlewares(struct exporter *e)
{
    struct export_section *section = &e->sections[EXPORT_MIDDLEWARES];
    size_t count = 0;
    for (size_t file = 0; file < e->count; file++) {
        const struct yaml_node *map = section_of(e, file, EXPORT_MIDDLEWARES);
        count += map == NULL ? 0 : map->count;
    }
    section->added = arena_array(e->arena, count, sizeof *section->added);
    if (section->added == NULL) {
        return -ENOMEM;
    }
    int rc = 0;
    size_t of_base = 0;
    count = 0;
    for (size_t file = 0; file < e->count; file++) {
        const struct yaml_node *map = section_of(e, file, EXPORT_MIDDLEWARES);
        size_t floor = map == NULL ? 0 : map->key_start; /* of the first: behind the line of the map's key */
        if (map != NULL && file == 0) {
            section->whole = make_entry(e, yaml_doc_root(e->docs[0]), 0, map, 0);
        }
        for (const struct yaml_node *n = map == NULL ? NULL : map->first; n != NULL; n = n->next) {
            const struct export_entry *known = find_middleware(e, n->key, count);
            if (known == NULL) {
                section->added[count++] = make_entry(e, map, file, n, floor);
            } else if (!yaml_is_same_tree(known->node, n)) {
                rc = clash(e, known, (uint32_t)file, n);
            }
            floor = n->end;
        }
        of_base = file == 0 ? count : of_base;
    }
    section->added += of_base; /* the base has its own already */
    section->added_count = count - of_base;
    return rc;
}

/* Sections that are not ours to enforce, so the loader merges nothing: only one can be written. */
static int find_whole(struct exporter *e, enum export_section_id id)
{
    struct export_section *section = &e->sections[id];
    int rc = 0;
    for (size_t file = 0; file < e->count; file++) {
        const struct yaml_node *root = yaml_doc_root(e->docs[file]);
        const struct yaml_node *n = section_of(e, file, id);
        if (n == NULL) {
            continue;
        }
        if (section->whole.node == NULL) {
            size_t floor = 0;
            for (const struct yaml_node *m = root->first; m != n; m = m->next) {
                floor = m->end;
            }
            section->whole = make_entry(e, root, file, n, floor);
        } else if (!yaml_is_same_tree(section->whole.node, n)) {
            rc = clash(e, &section->whole, (uint32_t)file, n);
        }
    }
    return rc;
}

static int make_model(struct exporter *e)
{
    int rc = find_rules(e);
    int last = find_middlewares(e);
    rc = rc == 0 ? last : rc;
    for (int id = EXPORT_FILESYSTEM; id <= EXPORT_PROCESS; id++) {
        last = find_whole(e, (enum export_section_id)id);
        rc = rc == 0 ? last : rc;
    }
    return rc;
}

/* Is the text what it should be? 0 and *what, NULL or what differs; -ENOMEM. */
static int verify_text(const struct exporter *e, struct span text, const char **what)
{
    struct yaml_doc *doc = NULL;
    struct yaml_fault fault;
    int rc = yaml_doc_parse(text, &doc, &fault);
    *what = rc == 0 ? export_verify_tree(e, yaml_doc_root(doc)) : "the text";
    yaml_doc_free(doc);
    return rc == -ENOMEM ? rc : 0;
}

/* Does the loader understand it as it did the input? */
static int verify_load(const struct exporter *e, struct span text, const char **what)
{
    const struct policy_text one = {.file = "export", .text = text};
    struct policy_rules *rules = NULL;
    struct policy_diags diags = {0};
    int rc = policy_load(&one, 1, &rules, &diags);
    *what = "it does not load";
    if (rc == 0) {
        rc = export_verify_rules(e->rules, rules, what);
    }
    policy_diags_fini(&diags);
    policy_rules_free(rules);
    return rc == -ENOMEM ? rc : 0;
}

/* The edited text if it is right, else the tree written anew. */
static int write_text(struct exporter *e, struct buf *text, const char **what)
{
    int rc = e->count == 0 ? -EAGAIN : export_edit_document(e, text);
    if (rc == 0) {
        rc = verify_text(e, buf_span(text), what);
    }
    if (rc == -EAGAIN || (rc == 0 && *what != NULL)) {
        buf_fini(text);
        rc = export_emit_document(e, text);
        if (e->count > 0) {
            export_note(e, (struct policy_pos){.line = 1, .col = 1},
                        "this layout cannot be edited: the policy is written anew, without comments");
        }
        rc = rc == 0 ? verify_text(e, buf_span(text), what) : rc;
    }
    return rc == 0 && *what == NULL ? verify_load(e, buf_span(text), what) : rc;
}

static int make_text(struct exporter *e, struct buf *text)
{
    const char *what = NULL;
    int rc = write_text(e, text, &what);
    if (rc == -E2BIG) {
        return refuse(e, 0, (struct yaml_pos){0}, "export fewer files at a time",
                      "the exported policy would be larger than 16 MiB");
    }
    if (rc == 0 && what != NULL) {
        return give_up(e, what);
    }
    return rc;
}

static int export_all(struct exporter *e, struct buf *out)
{
    struct policy_rules *rules = NULL;
    struct policy_diags warnings = {0}; /* those of "check" */
    struct buf text = {0};
    int rc = policy_load(e->texts, e->count, &rules, e->errors);
    rc = rc == 0 ? parse_texts(e) : rc;
    if (rc == 0 && put_base_first(e)) {
        policy_rules_free(rules);
        rules = NULL;
        rc = policy_load(e->texts, e->count, &rules, &warnings);
        rc = rc == -EINVAL ? give_up(e, "the order of files") : rc;
    }
    e->rules = rules;
    rc = rc == 0 ? make_model(e) : rc;
    if (rc == 0) {
        export_note_all(e);
        rc = make_text(e, &text);
    }
    if (rc == 0) {
        rc = e->is_out_of_memory ? -ENOMEM : buf_append(out, buf_span(&text), SIZE_MAX);
    }
    buf_fini(&text);
    policy_diags_fini(&warnings);
    policy_rules_free(rules);
    return rc;
}

int policy_export(const struct policy_text *texts, size_t count, struct buf *out, struct policy_diags *errors,
                  struct policy_diags *notes)
{
    struct exporter e = {.count = count, .errors = errors, .notes = notes, .arena = arena_new()};
    if (e.arena == NULL) {
        return -ENOMEM;
    }
    e.texts = arena_array(e.arena, count, sizeof *e.texts);
    e.docs = arena_array(e.arena, count, sizeof(struct yaml_doc *));
    e.sources = arena_array(e.arena, count, sizeof *e.sources);
    int rc = e.texts == NULL || e.docs == NULL || e.sources == NULL ? -ENOMEM : 0;
    if (rc == 0) {
        for (size_t i = 0; i < count; i++) {
            e.texts[i] = texts[i];
        }
        rc = export_all(&e, out);
        for (size_t i = 0; i < count; i++) {
            yaml_doc_free(e.docs[i]);
        }
    }
    arena_free(e.arena);
    return rc;
}

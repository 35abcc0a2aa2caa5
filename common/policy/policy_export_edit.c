/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes keys out of the text of a map. In block style a key goes with its lines, the comment behind it,
 * deeper comments below, and the comment block right above; in flow style with one comma. What is not
 * understood is marked unsure; what is misunderstood is found by whoever reads the result again.
 */
#include "common/policy/policy_export_parts.h"
#include "common/policy/policy_parts.h"

#include <errno.h>
#include <stdlib.h>

enum export_place export_child_place(enum export_place parent, const struct yaml_node *child)
{
    switch (parent) {
    case EXPORT_ROOT:
        return span_is_equal(child->key, SPAN_LIT("network_policies")) ? EXPORT_RULES : EXPORT_OTHER;
    case EXPORT_RULES:
        return EXPORT_RULE;
    case EXPORT_RULE:
        return span_is_equal(child->key, SPAN_LIT("endpoints")) ? EXPORT_ENDPOINTS : EXPORT_OTHER;
    case EXPORT_ENDPOINTS:
        return EXPORT_ENDPOINT;
    case EXPORT_ENDPOINT:
    case EXPORT_OTHER:
        break;
    }
    return EXPORT_OTHER;
}

bool export_is_dropped(enum export_place parent, const struct yaml_node *child)
{
    if (parent == EXPORT_ENDPOINT) {
        return load_is_extension(child->key);
    }
    if (parent != EXPORT_ROOT) {
        return false;
    }
    for (int id = EXPORT_VERSION; id < EXPORT_SECTION_COUNT; id++) {
        if (span_is_equal(child->key, span_str(export_section_key((enum export_section_id)id)))) {
            return false;
        }
    }
    return true;
}

void export_edit(struct export_edits *ed, size_t from, size_t to, struct span put)
{
    if (ed->count == ed->cap) {
        size_t cap = ed->cap == 0 ? 16 : ed->cap * 2;
        struct export_edit *items = realloc(ed->items, cap * sizeof *items);
        if (items == NULL) {
            ed->is_out_of_memory = true;
            return;
        }
        ed->items = items;
        ed->cap = cap;
    }
    ed->items[ed->count] = (struct export_edit){.from = from, .to = to, .order = ed->count, .put = put};
    ed->count++;
}

void export_edits_fini(struct export_edits *ed)
{
    free(ed->items);
    *ed = (struct export_edits){0};
}

int export_apply(const struct export_edits *ed, size_t from, size_t to, struct buf *out)
{
    int rc = 0;
    size_t at = from;
    for (size_t i = 0; i < ed->count && rc == 0; i++) {
        const struct export_edit *edit = &ed->items[i];
        if (edit->from > at) {
            rc = buf_append(out, span_sub(ed->source->text, at, edit->from - at), EXPORT_MAX_BYTES);
        }
        if (rc == 0) {
            rc = buf_append(out, edit->put, EXPORT_MAX_BYTES);
        }
        at = edit->to > at ? edit->to : at;
    }
    if (rc == 0 && at < to) {
        rc = buf_append(out, span_sub(ed->source->text, at, to - at), EXPORT_MAX_BYTES);
    }
    return rc;
}

/* Consecutive keys that are dropped. */
struct run {
    const struct yaml_node *before; /* the key in front, which stays; NULL: none */
    const struct yaml_node *first, *last;
};

/* Takes [from, to), whole lines, and the blank lines above where blank ones or nothing follow. */
static void cut_lines(struct export_edits *ed, size_t from, size_t to)
{
    const struct export_source *s = ed->source;
    if (from == s->begin) {
        while (to < s->text.len && export_is_blank_line(s, to)) {
            size_t end = export_line_end(s, to);
            to = end + (end < s->text.len) + (span_is_equal(span_sub(s->text, end, 2), SPAN_LIT("\r\n")));
        }
    } else if (to == s->text.len || export_is_blank_line(s, to)) {
        while (from > s->begin) {
            size_t above = export_previous_line(s, from, s->begin);
            if (!export_is_blank_line(s, above)) {
                break;
            }
            from = above;
        }
    }
    export_edit(ed, from, to, (struct span){0});
}

/* The first key of a list item stands behind its dash: what follows moves up, or the dash stays alone. */
static void cut_behind_dash(struct export_edits *ed, const struct run *run)
{
    const struct export_source *s = ed->source;
    const struct yaml_node *next = run->last->next;
    size_t line = 0;
    size_t from = run->first->key_start;
    size_t to = export_value_end(ed, run->last->end, run->first->key_pos.col - 1);
    if (next == NULL || !export_is_line_start(s, next->key_start, &line) || line < to) {
        ed->is_unsure = true;
        return;
    }
    if (export_skip_gap(s, to) == next->key_start &&
        span_find(span_sub(s->text, to, line - to), '#') == line - to) {
        export_edit(ed, from, next->key_start, (struct span){0});
        return;
    }
    while (from > s->begin && s->text.data[from - 1] == ' ') {
        from--;
    }
    export_edit(ed, from, export_before_break(s, to), (struct span){0});
}

static void cut_block(struct export_edits *ed, const struct run *run)
{
    const struct export_source *s = ed->source;
    size_t line = 0;
    if (!export_is_line_start(s, run->first->key_start, &line)) {
        cut_behind_dash(ed, run);
        return;
    }
    size_t floor = run->before == NULL ? s->begin : run->before->end;
    for (const struct yaml_node *n = run->first;; n = n->next) {
        if (!export_is_line_start(s, n->key_start, &line)) {
            ed->is_unsure = true;
            return;
        }
        size_t col = n->key_start - line;
        size_t from = export_comments_above(s, line, col, floor);
        cut_lines(ed, from, export_value_end(ed, n->end, col));
        floor = n->end;
        if (n == run->last) {
            break;
        }
    }
}

static bool has_comment(const struct export_source *s, size_t from, size_t to)
{
    return span_find(span_sub(s->text, from, to - from), '#') < to - from;
}

static size_t skip_spaces(const struct export_source *s, size_t at)
{
    while (at < s->text.len && (s->text.data[at] == ' ' || s->text.data[at] == '\t')) {
        at++;
    }
    return at;
}

static bool is_line_end(const struct export_source *s, size_t at)
{
    return at == s->text.len || s->text.data[at] == '\n' || s->text.data[at] == '\r';
}

/* Behind a comment, if one follows, and the line break; `at` if something else follows. */
static size_t rest_of_line(const struct export_source *s, size_t at)
{
    size_t end = skip_spaces(s, at);
    if (end < s->text.len && s->text.data[end] == '#') {
        end = export_line_end(s, end);
    }
    if (!is_line_end(s, end)) {
        return at;
    }
    return end + (span_is_equal(span_sub(s->text, end, 2), SPAN_LIT("\r\n")) ? 2 : (end < s->text.len));
}

/* [from, to) of a flow map: with its lines if it has them for itself, else with the spaces around. */
static void cut_flow_range(struct export_edits *ed, const struct run *run, size_t to)
{
    const struct export_source *s = ed->source;
    size_t from = run->first->key_start;
    size_t line = 0;
    size_t rest = rest_of_line(s, to);
    bool is_at_line_start = export_is_line_start(s, from, &line);
    if (is_at_line_start && rest > to) {
        size_t floor = run->before == NULL ? s->begin : run->before->end;
        export_edit(ed, export_comments_above(s, line, from - line, floor), rest, (struct span){0});
        return;
    }
    to = skip_spaces(s, to);
    if (is_line_end(s, to)) {
        while (from > s->begin && s->text.data[from - 1] == ' ') {
            from--;
        }
    }
    export_edit(ed, from, to, (struct span){0});
}

/* The last keys of a flow map that ends without a comma: the comma in front of them goes, too. */
static void cut_flow_tail(struct export_edits *ed, const struct run *run)
{
    const struct export_source *s = ed->source;
    size_t comma = run->before == NULL ? s->text.len : export_skip_gap(s, run->before->end);
    if (comma >= s->text.len || s->text.data[comma] != ',') {
        ed->is_unsure = true;
        return;
    }
    size_t line = 0;
    size_t to = run->last->end;
    size_t from = has_comment(s, run->before->end, comma) ? comma : run->before->end;
    if (!has_comment(s, comma, run->first->key_start)) {
        size_t rest = rest_of_line(s, to);
        if (rest > to && export_is_line_start(s, run->first->key_start, &line)) {
            to = export_before_break(s, rest);
        }
        export_edit(ed, from, to, (struct span){0});
        return;
    }
    export_edit(ed, from, comma + 1, (struct span){0});
    cut_flow_range(ed, run, to);
}

static void cut_flow(struct export_edits *ed, const struct run *run)
{
    const struct export_source *s = ed->source;
    size_t comma = export_skip_gap(s, run->last->end);
    if (comma < s->text.len && s->text.data[comma] == ',') {
        cut_flow_range(ed, run, comma + 1);
    } else {
        cut_flow_tail(ed, run);
    }
}

/* "preset" makes room for the version that it let be missing. */
static void put_version(struct export_edits *ed, const struct yaml_node *preset, bool is_flow)
{
    const struct export_source *s = ed->source;
    bool is_quoted = s->text.data[preset->key_start] == '"';
    size_t to = preset->end;
    if (!is_flow) {
        size_t end = export_value_end(ed, to, preset->key_pos.col - 1);
        to = end > to || end == s->text.len ? export_before_break(s, end) : to;
    }
    export_edit(ed, preset->key_start, to, is_quoted ? SPAN_LIT("\"version\": 1") : SPAN_LIT("version: 1"));
}

static bool is_replaced(const struct yaml_node *map, enum export_place place, const struct yaml_node *n)
{
    return place == EXPORT_ROOT && span_is_equal(n->key, SPAN_LIT("preset")) &&
           yaml_map_get(map, "version") == NULL;
}

void export_edit_map(struct export_edits *ed, const struct yaml_node *map, enum export_place place)
{
    bool is_flow = export_is_flow(ed->source, map);
    struct run run = {0};
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
        if (is_replaced(map, place, n)) {
            put_version(ed, n, is_flow);
            run.before = n;
            continue;
        }
        if (!export_is_dropped(place, n)) {
            run.before = n;
            continue;
        }
        run.first = run.first == NULL ? n : run.first;
        if (n->next != NULL && export_is_dropped(place, n->next) && !is_replaced(map, place, n->next)) {
            continue;
        }
        run.last = n;
        if (is_flow) {
            cut_flow(ed, &run);
        } else {
            cut_block(ed, &run);
        }
        run.first = NULL;
    }
}

void export_edit_rule(struct export_edits *ed, const struct yaml_node *rule)
{
    const struct yaml_node *endpoints = yaml_map_get(rule, "endpoints");
    for (const struct yaml_node *n = endpoints == NULL ? NULL : endpoints->first; n != NULL; n = n->next) {
        export_edit_map(ed, n, EXPORT_ENDPOINT);
    }
}

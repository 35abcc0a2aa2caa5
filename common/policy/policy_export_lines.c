/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/policy_export_parts.h"
#include "common/policy/yaml_text.h"

static bool is_break(uint8_t c)
{
    return c == '\n' || c == '\r'; /* yaml_text_check refuses the others */
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static size_t skip_blanks(const struct export_source *s, size_t at)
{
    while (at < s->text.len && is_blank(s->text.data[at])) {
        at++;
    }
    return at;
}

bool export_is_flow(const struct export_source *s, const struct yaml_node *n)
{
    uint8_t first = n->start < s->text.len ? s->text.data[n->start] : 0;
    return first == '{' || first == '[';
}

bool export_is_line_start(const struct export_source *s, size_t at, size_t *line)
{
    while (at > s->begin && s->text.data[at - 1] == ' ') {
        at--;
    }
    *line = at;
    return at == s->begin || is_break(s->text.data[at - 1]);
}

size_t export_line_end(const struct export_source *s, size_t at)
{
    while (at < s->text.len && !is_break(s->text.data[at])) {
        at++;
    }
    return at;
}

static size_t next_line(const struct export_source *s, size_t at)
{
    at = export_line_end(s, at);
    return at + yaml_break_len(s->text, at);
}

size_t export_before_break(const struct export_source *s, size_t at)
{
    if (at > s->begin && s->text.data[at - 1] == '\n') {
        at--;
        return at > s->begin && s->text.data[at - 1] == '\r' ? at - 1 : at;
    }
    return at > s->begin && s->text.data[at - 1] == '\r' ? at - 1 : at;
}

size_t export_previous_line(const struct export_source *s, size_t line, size_t floor)
{
    size_t at = export_before_break(s, line);
    while (at > floor && at > s->begin && !is_break(s->text.data[at - 1])) {
        at--;
    }
    return at;
}

bool export_is_blank_line(const struct export_source *s, size_t line)
{
    size_t at = skip_blanks(s, line);
    return at == s->text.len || is_break(s->text.data[at]);
}

/* Is the line nothing but a comment? *col is how far it is indented. */
static bool is_comment_line(const struct export_source *s, size_t line, size_t *col)
{
    size_t at = skip_blanks(s, line);
    *col = at - line;
    return at < s->text.len && s->text.data[at] == '#';
}

size_t export_comments_above(const struct export_source *s, size_t line, size_t col, size_t floor)
{
    size_t top = line;
    while (top > s->begin && top > floor) {
        size_t above = export_previous_line(s, top, floor);
        size_t comment_col = 0;
        if (above < floor || !is_comment_line(s, above, &comment_col) || comment_col != col) {
            break;
        }
        if (above > s->begin && !is_break(s->text.data[above - 1])) {
            break; /* the rest of the line on which the entry before ends */
        }
        top = above;
    }
    return top == s->begin ? line : top;
}

size_t export_value_end(struct export_edits *ed, size_t end, size_t col)
{
    const struct export_source *s = ed->source;
    size_t at = end;
    if (at == s->begin || !is_break(s->text.data[at - 1])) { /* else a block scalar, which ends its line */
        at = skip_blanks(s, at);
        if (at < s->text.len && s->text.data[at] == '#') {
            at = export_line_end(s, at);
        }
        size_t len = yaml_break_len(s->text, at);
        if (len == 0 && at < s->text.len) {
            ed->is_unsure = true;
        }
        at += len;
    }
    size_t last = at;
    size_t comment_col = 0;
    while (at < s->text.len) {
        bool is_comment = is_comment_line(s, at, &comment_col);
        if (!export_is_blank_line(s, at) && (!is_comment || comment_col <= col)) {
            break;
        }
        at = next_line(s, at);
        last = is_comment ? at : last;
    }
    return last;
}

size_t export_skip_gap(const struct export_source *s, size_t at)
{
    while (at < s->text.len) {
        uint8_t c = s->text.data[at];
        if (c == '#') {
            at = export_line_end(s, at);
        } else if (is_blank(c) || is_break(c)) {
            at++;
        } else {
            break;
        }
    }
    return at;
}

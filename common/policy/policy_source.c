/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/policy_source.h"

#include "common/policy/yaml_text.h"

#include <errno.h>
#include <stdlib.h>

int policy_source_init(struct policy_source *s, const struct policy_text *texts, size_t count)
{
    *s = (struct policy_source){.texts = texts, .count = count};
    s->starts = calloc(count + 1, sizeof *s->starts);
    return s->starts == NULL ? -ENOMEM : 0;
}

void policy_source_fini(struct policy_source *s)
{
    for (size_t i = 0; s->starts != NULL && i < s->count; i++) {
        free(s->starts[i]);
    }
    free(s->starts);
    *s = (struct policy_source){0};
}

/* Where each line of a text starts. */
static const uint32_t *line_starts(struct policy_source *s, uint32_t file)
{
    if (s->starts[file] != NULL) {
        return s->starts[file];
    }
    struct span text = s->texts[file].text;
    size_t lines = 1;
    for (size_t i = 0; i < text.len;) {
        size_t len = yaml_break_len(text, i);
        lines += len > 0;
        i += len > 0 ? len : 1;
    }
    uint32_t *starts = calloc(lines + 1, sizeof *starts);
    if (starts == NULL) {
        return NULL;
    }
    starts[0] = (uint32_t)lines;
    size_t line = 1;
    starts[line] = text.len >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    for (size_t i = 0; i < text.len;) {
        size_t len = yaml_break_len(text, i);
        i += len > 0 ? len : 1;
        if (len > 0) {
            starts[++line] = (uint32_t)i;
        }
    }
    s->starts[file] = starts;
    return starts;
}

static int find_line(struct policy_source *s, uint32_t file, uint32_t line, struct span *out)
{
    struct span text = s->texts[file].text;
    if (line == 0 || text.len > YAML_TEXT_MAX_BYTES) {
        return 0;
    }
    const uint32_t *starts = line_starts(s, file);
    if (starts == NULL) {
        return -ENOMEM;
    }
    if (line > starts[0]) {
        return 0;
    }
    size_t from = starts[line];
    size_t to = from;
    /* one character more than is kept: a file can be one line, and each of its diagnostics comes here */
    while (to < text.len && to - from < POLICY_DIAG_LINE_MAX_BYTES + 4 && yaml_break_len(text, to) == 0) {
        to++;
    }
    *out = span_sub(text, from, to - from);
    return 0;
}

static uint32_t word_len(struct span line, uint32_t col)
{
    size_t i = 0;
    for (uint32_t c = 1; c < col && i < line.len; c++) {
        size_t len = span_char_len(line, i);
        i += len == 0 ? 1 : len;
    }
    struct span rest = span_sub(line, i, line.len);
    if (rest.len > 0 && (rest.data[0] == '"' || rest.data[0] == '\'')) {
        size_t end = span_find(span_sub(rest, 1, rest.len), rest.data[0]);
        return end + 2 <= rest.len ? (uint32_t)(end + 2) : 1;
    }
    uint32_t len = 0;
    while (len < rest.len && rest.data[len] < 0x80 && memchr(" \t,:{}[]", rest.data[len], 8) == NULL) {
        len++;
    }
    return len == 0 ? 1 : len;
}

int policy_source_place(struct policy_source *s, uint32_t file, struct yaml_pos pos, struct diag_place *out)
{
    *out = (struct diag_place){.file = s->texts[file].file, .pos = pos, .file_index = file};
    int rc = find_line(s, file, pos.line, &out->source_line);
    if (pos.len == 0) {
        out->pos.len = word_len(out->source_line, pos.col);
    }
    return rc;
}

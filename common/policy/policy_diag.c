/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/policy_diag.h"

#include "common/base/buf.h"
#include "common/base/shown.h"
#include "common/policy/yaml_text.h"

#include <errno.h>
#include <stdlib.h>

#define QUOTE_MAX_BYTES ((size_t)60)
#define TEXT_MAX_BYTES ((size_t)16384)
#define WINDOW_CHARS ((size_t)120) /* of a source line */
#define WINDOW_BEFORE ((size_t)60) /* of them in front of the caret */

/* One character stays one character, so that columns keep their meaning. */
static char *safe_copy(struct span s, size_t max)
{
    char *out = malloc((s.len < max ? s.len : max) + 1);
    if (out == NULL) {
        return NULL;
    }
    size_t used = 0;
    size_t i = 0;
    while (i < s.len) {
        bool is_safe;
        size_t len = shown_char(s, i, &is_safe);
        if (used + len > max) {
            break;
        }
        if (is_safe) {
            memcpy(out + used, s.data + i, len);
            used += len;
        } else {
            out[used++] = s.data[i] == '\t' ? ' ' : '?';
        }
        i += len;
    }
    out[used] = '\0';
    return out;
}

static bool grow(struct policy_diags *d)
{
    if (d->count < d->cap) {
        return true;
    }
    size_t cap = d->cap == 0 ? 16 : d->cap * 2;
    struct policy_diag *items = realloc(d->items, cap * sizeof *items);
    if (items == NULL) {
        return false;
    }
    d->items = items;
    d->cap = cap;
    return true;
}

static void free_item(struct policy_diag *i)
{
    free(i->file);
    free(i->message);
    free(i->hint);
    free(i->source_line);
}

int policy_diags_add(struct policy_diags *d, enum diag_severity severity, const struct diag_place *place,
                     const char *message, const char *hint)
{
    if (severity == DIAG_ERROR) {
        d->error_count++;
    } else {
        d->warning_count++;
    }
    if (d->count >= POLICY_DIAGS_MAX) {
        d->overflowed = true;
        return 0;
    }
    if (!grow(d)) {
        return -ENOMEM;
    }
    bool has_hint = hint != NULL && hint[0] != '\0';
    struct policy_diag item = {
        .severity = severity,
        .topic = place->topic,
        .file = strndup(place->file, POLICY_DIAG_LINE_MAX_BYTES),
        .file_index = place->file_index,
        .line = place->pos.line,
        .col = place->pos.col,
        .len = place->pos.len == 0 ? 1 : place->pos.len,
        .message = safe_copy(span_str(message), POLICY_DIAG_LINE_MAX_BYTES),
        .hint = has_hint ? safe_copy(span_str(hint), POLICY_DIAG_LINE_MAX_BYTES) : NULL,
        .source_line = safe_copy(place->source_line, POLICY_DIAG_LINE_MAX_BYTES),
    };
    if (item.file == NULL || item.message == NULL || item.source_line == NULL ||
        (has_hint && item.hint == NULL)) {
        free_item(&item);
        return -ENOMEM;
    }
    d->items[d->count++] = item;
    return 0;
}

void policy_diags_fini(struct policy_diags *d)
{
    for (size_t i = 0; i < d->count; i++) {
        free_item(&d->items[i]);
    }
    free(d->items);
    *d = (struct policy_diags){0};
}

const char *diag_quote(struct span s, char out[DIAG_QUOTE_CAP])
{
    struct wbuf w = wbuf_make(out, DIAG_QUOTE_CAP - 1);
    wbuf_u8(&w, '"');
    for (size_t i = 0; i < s.len && i < QUOTE_MAX_BYTES; i++) {
        uint8_t c = s.data[i];
        if (c == '"' || c == '\\') {
            wbuf_u8(&w, '\\');
            wbuf_u8(&w, c);
        } else if (c >= 0x20 && c < 0x7f) {
            wbuf_u8(&w, c);
        } else {
            wbuf_printf(&w, "\\x%02x", (unsigned)c);
        }
    }
    wbuf_str(&w, s.len > QUOTE_MAX_BYTES ? "...\"" : "\"");
    out[w.len] = '\0';
    return out;
}

struct paint {
    const char *bold, *severity, *caret, *off;
};

static struct paint choose_paint(const struct policy_diag *d, bool colour)
{
    if (!colour) {
        return (struct paint){"", "", "", ""};
    }
    return (struct paint){
        .bold = "\033[1m",
        .severity = d->severity == DIAG_ERROR ? "\033[1;31m" : "\033[1;35m",
        .caret = "\033[1;32m",
        .off = "\033[0m",
    };
}

/* Byte offset of the character number `index` (0-based), or the length. */
static size_t char_offset(struct span s, size_t index)
{
    size_t i = 0;
    while (i < s.len && index > 0) {
        size_t len = span_char_len(s, i);
        i += len == 0 ? 1 : len;
        index--;
    }
    return i;
}

static size_t char_count(struct span s)
{
    size_t count = 0;
    for (size_t i = 0; i < s.len; count++) {
        size_t len = span_char_len(s, i);
        i += len == 0 ? 1 : len;
    }
    return count;
}

static void put_repeated(struct wbuf *w, char c, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        wbuf_u8(w, (uint8_t)c);
    }
}

static void put_source(struct wbuf *w, const struct policy_diag *d, const struct paint *paint)
{
    struct span line = span_str(d->source_line);
    size_t chars = char_count(line);
    if (d->line == 0 || line.len == 0 || d->col == 0 || d->col > chars + 1) {
        return;
    }
    size_t col = d->col - 1;
    size_t first = chars > WINDOW_CHARS && col > WINDOW_BEFORE ? col - WINDOW_BEFORE : 0;
    size_t last = chars - first > WINDOW_CHARS ? first + WINDOW_CHARS : chars;
    size_t from = char_offset(line, first);
    size_t to = char_offset(line, last);
    size_t carets = d->len < last - col ? d->len : last - col;
    wbuf_printf(w, "%6u | %s", d->line, first > 0 ? "..." : "");
    wbuf_put(w, span_sub(line, from, to - from));
    wbuf_printf(w, "%s\n       | ", last < chars ? "..." : "");
    put_repeated(w, ' ', col - first + (first > 0 ? 3 : 0));
    wbuf_str(w, paint->caret);
    put_repeated(w, '^', carets == 0 ? 1 : carets);
    wbuf_printf(w, "%s\n", paint->off);
}

char *policy_diag_text(const struct policy_diag *d, bool colour)
{
    char *file = safe_copy(span_str(d->file), POLICY_DIAG_LINE_MAX_BYTES);
    char *out = malloc(TEXT_MAX_BYTES);
    if (out == NULL || file == NULL) {
        free(file);
        free(out);
        return NULL;
    }
    struct wbuf w = wbuf_make(out, TEXT_MAX_BYTES - 1);
    struct paint paint = choose_paint(d, colour);
    wbuf_printf(&w, "%s%s:", paint.bold, file);
    free(file);
    if (d->line > 0) {
        wbuf_printf(&w, "%u:%u:", d->line, d->col);
    }
    const char *severity = d->severity == DIAG_ERROR ? "error" : "warning";
    wbuf_printf(&w, "%s %s%s:%s %s\n", paint.off, paint.severity, severity, paint.off, d->message);
    put_source(&w, d, &paint);
    if (d->hint != NULL) {
        wbuf_printf(&w, "       = hint: %s\n", d->hint);
    }
    out[w.len] = '\0';
    return out;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/policy_schema.h"

#include "common/base/buf.h"
#include "common/base/num.h"
#include "common/policy/policy_hint.h"
#include "common/policy/yaml_scalar.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define MESSAGE_CAP 1024

void *load_alloc(struct load *l, struct arena *a, size_t count, size_t size)
{
    void *p = arena_array(a, count, size);
    if (p == NULL) {
        l->is_out_of_memory = true;
    }
    return p;
}

char *load_text_copy(struct load *l, struct arena *a, struct span s)
{
    char *p = arena_text(a, s);
    if (p == NULL) {
        l->is_out_of_memory = true;
    }
    return p;
}

struct policy_pos load_pos(const struct load *l, struct yaml_pos pos)
{
    return (struct policy_pos){.file = l->file, .line = pos.line, .col = pos.col};
}

/* Of those behind the first thousand only the number is told. */
static bool is_kept(const struct load *l)
{
    return l->diags->count < POLICY_DIAGS_MAX;
}

struct diag_at {
    uint32_t file;
    struct yaml_pos pos;
    enum diag_severity severity;
    enum diag_topic topic;
    const char *hint;
};

__attribute__((format(printf, 3, 0))) static void add_diag(struct load *l, const struct diag_at *at,
                                                           const char *fmt, va_list args)
{
    char message[MESSAGE_CAP];
    (void)vsnprintf(message, sizeof message, fmt, args);
    struct diag_place place = {.file = l->texts[at->file].file, .pos = at->pos};
    if (is_kept(l) && policy_source_place(&l->source, at->file, at->pos, &place) != 0) {
        l->is_out_of_memory = true;
    }
    place.topic = at->topic;
    if (policy_diags_add(l->diags, at->severity, &place, message, at->hint) != 0) {
        l->is_out_of_memory = true;
    }
}

void load_error(struct load *l, struct yaml_pos pos, const char *hint, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    add_diag(l, &(struct diag_at){l->file, pos, DIAG_ERROR, DIAG_TOPIC_OTHER, hint}, fmt, args);
    va_end(args);
}

void load_error_at(struct load *l, struct policy_pos pos, const char *hint, const char *fmt, ...)
{
    struct yaml_pos at = {.line = pos.line, .col = pos.col};
    va_list args;
    va_start(args, fmt);
    add_diag(l, &(struct diag_at){pos.file, at, DIAG_ERROR, DIAG_TOPIC_OTHER, hint}, fmt, args);
    va_end(args);
}

void load_warning(struct load *l, struct policy_pos pos, const char *hint, const char *fmt, ...)
{
    struct yaml_pos at = {.line = pos.line, .col = pos.col};
    va_list args;
    va_start(args, fmt);
    add_diag(l, &(struct diag_at){pos.file, at, DIAG_WARNING, DIAG_TOPIC_OTHER, hint}, fmt, args);
    va_end(args);
}

void load_warning_on(struct load *l, enum diag_topic topic, struct policy_pos pos, const char *hint,
                     const char *fmt, ...)
{
    struct yaml_pos at = {.line = pos.line, .col = pos.col};
    va_list args;
    va_start(args, fmt);
    add_diag(l, &(struct diag_at){pos.file, at, DIAG_WARNING, topic, hint}, fmt, args);
    va_end(args);
}

static void unknown_key(struct load *l, const struct yaml_node *n, const struct key_table *table)
{
    if (!is_kept(l)) {
        load_error(l, n->key_pos, NULL, "unknown key"); /* only counted: look for no hint */
        return;
    }
    char text[MESSAGE_CAP];
    char quoted[DIAG_QUOTE_CAP];
    struct wbuf hint = wbuf_make(text, sizeof text);
    hint_unknown_key(n, table, &hint);
    load_error(l, n->key_pos, hint.overflow ? NULL : text, "unknown key %s in %s", diag_quote(n->key, quoted),
               table->what);
}

bool load_lacks(const struct load *l, const struct yaml_node *map, const struct key_table *table,
                const char *key)
{
    /* each misspelt key is a diagnostic: while those are kept there are few */
    return !is_kept(l) || !hint_is_misspelt(map, table, key);
}

static const char *found_text(const struct yaml_node *n)
{
    switch (n->kind) {
    case YAML_NONE:
        return "nothing";
    case YAML_LIST:
        return "a list";
    case YAML_MAP:
        return "a map";
    case YAML_SCALAR:
        break;
    }
    switch (yaml_scalar_type(n)) {
    case SCALAR_TEXT:
        return n->is_plain ? "a text" : "a quoted text";
    case SCALAR_NULL:
        return "nothing (null)";
    case SCALAR_BOOL:
        return "true or false";
    case SCALAR_INT:
        return yaml_is_decimal(n->text) ? "a number" : "a number that is not decimal";
    case SCALAR_FLOAT:
        return "a floating-point number";
    }
    return "";
}

static const char *wanted_text(enum key_kind kind)
{
    switch (kind) {
    case KEY_TEXT:
        return "a text";
    case KEY_WORD:
        return "a value";
    case KEY_BOOL:
        return "true or false";
    case KEY_I32:
    case KEY_U32:
        return "a number";
    case KEY_PORT:
        return "a port number";
    case KEY_PORTS:
        return "a list of port numbers";
    case KEY_TEXTS:
        return "a list of texts";
    case KEY_LIST:
        return "a list";
    case KEY_MAP:
        return "a map";
    case KEY_ANY:
        return "a value";
    }
    return "";
}

static bool wrong_type(struct load *l, const struct yaml_node *n, enum key_kind kind)
{
    char quoted[DIAG_QUOTE_CAP];
    const char *hint = hint_type(n, kind);
    if (n->key.len > 0) {
        load_error(l, n->pos, hint, "%s must be %s, not %s", diag_quote(n->key, quoted), wanted_text(kind),
                   found_text(n));
    } else {
        load_error(l, n->pos, hint, "%s belongs here, not %s", wanted_text(kind), found_text(n));
    }
    return false;
}

bool load_is_text(const struct yaml_node *n)
{
    return n->kind == YAML_SCALAR && yaml_scalar_type(n) == SCALAR_TEXT;
}

bool load_is_word(const struct yaml_node *n)
{
    return n->kind == YAML_SCALAR && yaml_scalar_type(n) != SCALAR_NULL;
}

static bool check_number(struct load *l, const struct yaml_node *n, enum key_kind kind)
{
    if (n->kind != YAML_SCALAR || !n->is_plain || !yaml_is_decimal(n->text) || n->text.data[0] == '+') {
        return wrong_type(l, n, kind);
    }
    struct span digits = n->text;
    bool is_negative = digits.data[0] == '-';
    if (is_negative) {
        digits = span_sub(digits, 1, digits.len);
    }
    uint64_t min = kind == KEY_PORT ? 1 : 0;
    uint64_t max = kind == KEY_PORT  ? 65535
                   : kind == KEY_U32 ? UINT32_MAX
                                     : (uint64_t)INT32_MAX + is_negative;
    uint64_t value = 0;
    if ((is_negative && kind != KEY_I32) || num_u64(digits, min, max, &value) != 0) {
        char quoted[DIAG_QUOTE_CAP];
        load_error(l, n->pos, hint_range(kind), "%s is out of range", diag_quote(n->text, quoted));
        return false;
    }
    return true;
}

static bool check_items(struct load *l, const struct yaml_node *n, enum key_kind kind)
{
    if (n->kind != YAML_LIST) {
        return wrong_type(l, n, kind);
    }
    bool is_right = true;
    for (const struct yaml_node *item = n->first; item != NULL; item = item->next) {
        if (kind == KEY_PORTS) {
            is_right = check_number(l, item, KEY_PORT) && is_right;
        } else if (!load_is_text(item)) {
            is_right = wrong_type(l, item, KEY_TEXT);
        }
    }
    return is_right;
}

bool load_check_value(struct load *l, const struct yaml_node *n, enum key_kind kind)
{
    bool is_right = false;
    switch (kind) {
    case KEY_TEXT:
        is_right = load_is_text(n);
        break;
    case KEY_WORD:
        is_right = load_is_word(n);
        break;
    case KEY_BOOL:
        is_right = n->kind == YAML_SCALAR && yaml_scalar_type(n) == SCALAR_BOOL;
        break;
    case KEY_I32:
    case KEY_U32:
    case KEY_PORT:
        return check_number(l, n, kind);
    case KEY_PORTS:
    case KEY_TEXTS:
        return check_items(l, n, kind);
    case KEY_LIST:
        is_right = n->kind == YAML_LIST;
        break;
    case KEY_MAP:
        is_right = n->kind == YAML_MAP;
        break;
    case KEY_ANY:
        is_right = true;
        break;
    }
    return is_right || wrong_type(l, n, kind);
}

bool load_check_map(struct load *l, const struct yaml_node *n, const struct key_table *table)
{
    if (n->kind != YAML_MAP) {
        char text[MESSAGE_CAP];
        struct wbuf hint = wbuf_make(text, sizeof text);
        hint_map_wanted(table, &hint);
        load_error(l, n->pos, hint.overflow ? NULL : text, "%s must be a map of keys, not %s", table->what,
                   found_text(n));
        return false;
    }
    for (const struct yaml_node *m = n->first; m != NULL; m = m->next) {
        size_t i = 0;
        while (i < table->count && !span_is_equal(m->key, span_str(table->keys[i].name))) {
            i++;
        }
        if (i == table->count) {
            unknown_key(l, m, table);
        } else {
            (void)load_check_value(l, m, table->keys[i].kind);
        }
    }
    return true;
}

bool load_get_text(const struct yaml_node *map, const char *key, struct span *out)
{
    const struct yaml_node *n = yaml_map_get(map, key);
    if (n == NULL || !load_is_text(n) || n->text.len == 0) {
        return false;
    }
    *out = n->text;
    return true;
}

bool load_get_bool(const struct yaml_node *map, const char *key)
{
    const struct yaml_node *n = yaml_map_get(map, key);
    return n != NULL && n->kind == YAML_SCALAR && yaml_scalar_type(n) == SCALAR_BOOL &&
           span_is_equal_nocase(n->text, SPAN_LIT("true"));
}

const struct yaml_node *load_get_list(const struct yaml_node *map, const char *key)
{
    const struct yaml_node *n = yaml_map_get(map, key);
    return n != NULL && n->kind == YAML_LIST && n->count > 0 ? n : NULL;
}

const struct yaml_node *load_get_map(const struct yaml_node *map, const char *key)
{
    const struct yaml_node *n = yaml_map_get(map, key);
    return n != NULL && n->kind == YAML_MAP ? n : NULL;
}

size_t load_get_word(struct load *l, const struct yaml_node *map, const char *key,
                     const struct word_list *list)
{
    struct span text;
    if (!load_get_text(map, key, &text)) {
        return 0;
    }
    for (size_t i = 1; i < list->count; i++) {
        struct span word = span_str(list->words[i]);
        if (list->nocase ? span_is_equal_nocase(text, word) : span_is_equal(text, word)) {
            return i;
        }
    }
    char hint_text[MESSAGE_CAP] = "";
    struct wbuf hint = wbuf_make(hint_text, sizeof hint_text);
    if (is_kept(l)) {
        hint_unknown_word(span_str(key), text, list, &hint);
    }
    char quoted[DIAG_QUOTE_CAP];
    load_error(l, yaml_map_get(map, key)->pos, hint.overflow ? NULL : hint_text,
               "%s is not a value of \"%s\"", diag_quote(text, quoted), key);
    return 0;
}

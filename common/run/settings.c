/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/settings.h"

#include "common/run/settings_value.h"

#include <errno.h>
#include <stdlib.h>

struct settings_arena {
    void **blocks; /* strings and list arrays, each from malloc */
    size_t count, cap;
    uint8_t *origin; /* enum settings_origin of each row */
};

static int arena_own(struct settings_arena *a, void *block)
{
    if (a->count == a->cap) {
        size_t cap = a->cap == 0 ? 32 : a->cap * 2;
        void **bigger = reallocarray(a->blocks, cap, sizeof(*bigger));
        if (bigger == NULL) {
            return -ENOMEM;
        }
        a->blocks = bigger;
        a->cap = cap;
    }
    a->blocks[a->count++] = block;
    return 0;
}

char *settings_keep(struct settings_arena *a, const char *text, size_t len)
{
    char *copy = strndup(text, len);
    if (copy != NULL && arena_own(a, copy) < 0) {
        free(copy);
        copy = NULL;
    }
    return copy;
}

/* Lists are short: a new array for each item keeps the ownership simple. */
int settings_list_add(struct settings_arena *a, struct str_list *list, const char *text, size_t len)
{
    const char **items = calloc(list->count + 2, sizeof(*items));
    if (items == NULL) {
        return -ENOMEM;
    }
    if (arena_own(a, items) < 0) {
        free(items);
        return -ENOMEM;
    }
    for (size_t i = 0; i < list->count; i++) {
        items[i] = list->items[i];
    }
    items[list->count] = settings_keep(a, text, len);
    if (items[list->count] == NULL) {
        return -ENOMEM;
    }
    list->items = items;
    list->count++;
    return 0;
}

enum settings_origin settings_origin_of(const struct settings_arena *a, size_t row)
{
    return (enum settings_origin)a->origin[row];
}

static const struct setting *find_row(const struct setting *table, struct span name)
{
    for (const struct setting *row = table; row->name != NULL; row++) {
        if (span_is_equal(span_str(row->name), name)) {
            return row;
        }
    }
    return NULL;
}

enum settings_origin settings_origin(const struct setting *table, const struct settings_arena *a,
                                     const char *name)
{
    const struct setting *row = find_row(table, span_str(name));
    return row == NULL ? ORIGIN_DEFAULT : settings_origin_of(a, (size_t)(row - table));
}

void settings_free(struct settings_arena *a)
{
    if (a == NULL) {
        return;
    }
    for (size_t i = 0; i < a->count; i++) {
        free(a->blocks[i]);
    }
    free(a->blocks);
    free(a->origin);
    free(a);
}

static const char space[] = " \t\r\n\v\f";

/* A list as one text: items separated by white space. Other kinds: the text is the value. */
static int set_text(struct settings_arena *a, const struct setting *row, void *out, const char *text,
                    struct err *err)
{
    if (row->kind != SETTING_LIST) {
        return settings_value_set(a, row, out, text, err);
    }
    struct str_list *list = (struct str_list *)(void *)((char *)out + row->offset);
    for (const char *p = text + strspn(text, space); *p != '\0'; p += strspn(p, space)) {
        size_t len = strcspn(p, space);
        if (settings_list_add(a, list, p, len) < 0) {
            return -ENOMEM;
        }
        p += len;
    }
    return 0;
}

/* A name cut short is the commonest slip; abbreviations are not taken (they change meaning when a name is
 * added). */
static void say_unknown(const struct setting *table, struct span name, struct err *err)
{
    const struct setting *near = NULL;
    size_t near_count = 0;
    for (const struct setting *row = table; row->name != NULL; row++) {
        if (name.len > 0 && span_is_equal(span_sub(span_str(row->name), 0, name.len), name)) {
            near = row;
            near_count++;
        }
    }
    int shown = (int)(name.len > 80 ? 80 : name.len);
    if (near_count == 1) {
        err_set(err, "--%.*s: unknown option (did you mean --%s?)", shown, (const char *)name.data,
                near->name);
    } else {
        err_set(err, "--%.*s: unknown option", shown, (const char *)name.data);
    }
}

/* One option at argv[*at]; moves *at behind it and its value. */
static int read_option(const struct settings_source *src, void *out, struct settings_arena *a, int *at,
                       struct err *err)
{
    const char *word = src->argv[*at] + 2;
    const char *equals = strchr(word, '=');
    struct span name = span_make(word, equals != NULL ? (size_t)(equals - word) : strlen(word));
    const struct setting *row = find_row(src->table, name);
    if (row == NULL) {
        say_unknown(src->table, name, err);
        return -EINVAL;
    }
    uint8_t *origin = &a->origin[row - src->table];
    if (*origin == ORIGIN_OPTION && row->kind != SETTING_LIST) {
        err_set(err, "--%s: given twice", row->name);
        return -EINVAL;
    }
    const char *value = equals != NULL ? equals + 1 : "true";
    *at += 1;
    if (equals == NULL && row->kind != SETTING_FLAG) {
        if (*at >= src->argc || strncmp(src->argv[*at], "--", 2) == 0) {
            char arg[64] = "";
            struct wbuf w = wbuf_make(arg, sizeof(arg) - 1);
            settings_arg_text(row, &w);
            err_set(err, "--%s: needs a value: --%s %s", row->name, row->name, arg);
            return -EINVAL;
        }
        value = src->argv[*at];
        *at += 1;
    }
    *origin = ORIGIN_OPTION;
    int rc = settings_value_set(a, row, out, value, err);
    if (rc == -EINVAL) {
        err_prefix(err, "--%s", row->name);
    }
    return rc;
}

static int read_options(const struct settings_source *src, void *out, struct settings_arena *a, int *rest,
                        struct err *err)
{
    int at = 1;
    while (at < src->argc) {
        const char *word = src->argv[at];
        if (src->stop_at_dashes && strcmp(word, "--") == 0) {
            at++;
            break;
        }
        if (strncmp(word, "--", 2) != 0 || word[2] == '\0') {
            err_set(err, "%.80s: unexpected argument%s", word,
                    word[0] == '-' && word[1] != '-' ? " (options begin with --)" : "");
            return -EINVAL;
        }
        int rc = read_option(src, out, a, &at, err);
        if (rc < 0) {
            return rc;
        }
    }
    if (rest != NULL) {
        *rest = at;
    }
    return 0;
}

/* PREFIX_NAME in upper case, '-' as '_'. */
const char *settings_variable(const char *env_prefix, const char *name, char text[SETTINGS_VARIABLE_CAP])
{
    struct wbuf w = wbuf_make(text, SETTINGS_VARIABLE_CAP - 1);
    wbuf_str(&w, env_prefix);
    wbuf_u8(&w, '_');
    for (const char *p = name; *p != '\0'; p++) {
        char c = *p == '-' ? '_' : *p;
        wbuf_u8(&w, (uint8_t)((c >= 'a' && c <= 'z') ? c - 32 : c));
    }
    text[w.len] = '\0';
    return text;
}

static int read_environment(const struct settings_source *src, const struct setting *row, void *out,
                            struct settings_arena *a, struct err *err)
{
    char name[SETTINGS_VARIABLE_CAP];
    (void)settings_variable(src->env_prefix, row->name, name);
    const char *text = row->option_only ? NULL : getenv(name);
    if (text == NULL || text[strspn(text, space)] == '\0') {
        text = row->derive != NULL ? row->derive() : NULL;
    }
    if (text == NULL) {
        return 0;
    }
    a->origin[row - src->table] = ORIGIN_ENVIRONMENT;
    int rc = set_text(a, row, out, text, err);
    if (rc == -EINVAL) {
        err_prefix(err, "%s (environment)", name);
    }
    return rc;
}

static int read_all(const struct settings_source *src, void *out, struct settings_arena *a, int *rest,
                    struct err *err)
{
    for (const struct setting *row = src->table; row->name != NULL; row++) {
        settings_value_unset(row, out);
    }
    int rc = read_options(src, out, a, rest, err);
    for (const struct setting *row = src->table; rc == 0 && row->name != NULL; row++) {
        const uint8_t *origin = &a->origin[row - src->table];
        if (*origin == ORIGIN_DEFAULT) {
            rc = read_environment(src, row, out, a, err);
        }
        if (rc == 0 && *origin == ORIGIN_DEFAULT && row->fallback != NULL) {
            rc = set_text(a, row, out, row->fallback, err);
            if (rc == -EINVAL) {
                err_prefix(err, "--%s (its default)", row->name);
            }
        }
    }
    return rc;
}

int settings_read(const struct settings_source *src, void *out, struct settings_arena **arena, int *rest,
                  struct err *err)
{
    size_t rows = 0;
    while (src->table[rows].name != NULL) {
        rows++;
    }
    *arena = NULL;
    struct settings_arena *a = calloc(1, sizeof(*a));
    if (a != NULL) {
        a->origin = calloc(rows + 1, 1);
    }
    if (a == NULL || a->origin == NULL) {
        settings_free(a);
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    int rc = read_all(src, out, a, rest, err);
    if (rc == -ENOMEM) {
        err_set(err, "out of memory");
    }
    *arena = a; /* also on failure: *out may already point into it */
    return rc;
}

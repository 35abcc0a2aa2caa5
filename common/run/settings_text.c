/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/settings_value.h"

#include "common/base/shown.h"

#include <stdio.h>

static const char *origin_text(enum settings_origin origin)
{
    switch (origin) {
    case ORIGIN_OPTION:
        return "option";
    case ORIGIN_ENVIRONMENT:
        return "environment";
    case ORIGIN_DEFAULT:
        break;
    }
    return "default";
}

void settings_dump(const struct settings_source *src, const void *settings,
                   const struct settings_arena *arena)
{
    char text[8192]; /* a longer list is cut */
    for (const struct setting *row = src->table; row->name != NULL; row++) {
        struct wbuf w = wbuf_make(text, sizeof(text) - 1);
        settings_value_text(row, settings, &w);
        text[w.len] = '\0';
        printf("%-22s %s  # from %s\n", row->name, shown_clean(text),
               origin_text(settings_origin_of(arena, (size_t)(row - src->table))));
    }
}

void settings_arg_text(const struct setting *row, struct wbuf *w)
{
    if (row->kind != SETTING_CHOICE) {
        wbuf_str(w, row->arg);
        return;
    }
    for (size_t i = 0; row->choices[i] != NULL; i++) {
        wbuf_printf(w, "%s%s", i == 0 ? "" : "|", row->choices[i]);
    }
}

void settings_help(const struct setting *table, const char *program, const char *summary)
{
    printf("Usage: %s [OPTION]...\n%s\n\n", program, summary);
    for (const struct setting *row = table; row->name != NULL; row++) {
        char left[96];
        struct wbuf w = wbuf_make(left, sizeof(left));
        wbuf_printf(&w, "--%s", row->name);
        if (row->kind != SETTING_FLAG) {
            wbuf_str(&w, " ");
            settings_arg_text(row, &w);
        }
        printf("  %-38.*s %s", (int)w.len, left, row->help);
        if (row->kind == SETTING_LIST) {
            printf("; may be repeated");
        }
        if (row->fallback != NULL && row->kind != SETTING_FLAG) {
            printf(" (default %s)", row->fallback);
        }
        putchar('\n');
    }
    printf("\nEach option can be given in the environment too: ");
    for (const char *p = program; *p != '\0'; p++) {
        putchar(*p == '-' ? '_' : (*p >= 'a' && *p <= 'z') ? *p - 32 : *p);
    }
    printf("_NAME, in upper case, '-' as '_',\nlists separated by white space; the option wins. Durations: "
           "250ms 10s 5m 1h 0. "
           "Sizes: 64KiB 10MiB.\nExit status: 0 asked to stop, 64 usage, 78 configuration or policy, 71 "
           "operating system. "
           "See %s(8).\n",
           program);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One setting's value from text and back to text; private to settings*.c. Pure but for the arena's memory.
 */
#pragma once

#include "common/run/settings.h"
#include "common/base/buf.h"

/* Owned copy of len bytes, NUL-terminated; NULL without memory. */
char *settings_keep(struct settings_arena *a, const char *text, size_t len);
/* Appends a kept copy to a list of the arena's. 0 or -ENOMEM. */
MUST_CHECK int settings_list_add(struct settings_arena *a, struct str_list *list, const char *text,
                                 size_t len);
enum settings_origin settings_origin_of(const struct settings_arena *a, size_t row);

/* The value of a row that nobody set and that has no default. */
void settings_value_unset(const struct setting *row, void *settings);
/*
 * Stores text as the row's value; a list gets one item. 0, -EINVAL with *err saying what is wrong (without
 * the setting's name), or -ENOMEM.
 */
MUST_CHECK int settings_value_set(struct settings_arena *a, const struct setting *row, void *settings,
                                  const char *text, struct err *err);
/* The value as it could be written on the command line; "(unset)" if there is none. */
void settings_value_text(const struct setting *row, const void *settings, struct wbuf *out);
/* What its value looks like, for a reader: "N", "a|b|c". Not for a flag. */
void settings_arg_text(const struct setting *row, struct wbuf *out);

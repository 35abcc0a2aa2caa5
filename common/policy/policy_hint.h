/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What someone who made a mistake in a policy most likely meant. Texts for people only: nothing is decided
 * here. Pure; any thread.
 */
#pragma once

#include "common/base/buf.h"
#include "common/policy/policy_schema.h"

/* The nearest of count names: at an edit distance of at most 2, or 3 for a long text. NULL: none is near. */
const char *hint_nearest(struct span text, const char *const *names, size_t count);

/* Each writes a text that ends with NUL into hint; with more than fits the overflow flag is set. */

/* For a key that the table does not have. */
void hint_unknown_key(const struct yaml_node *n, const struct key_table *table, struct wbuf *hint);
/* Does the map have a key that the table has not, and of which this name is the nearest? */
bool hint_is_misspelt(const struct yaml_node *map, const struct key_table *table, const char *name);
/* For a word that is none of the values of the key. */
void hint_unknown_word(struct span key, struct span text, const struct word_list *list, struct wbuf *hint);
/* For something else where a map with the keys of the table belongs. */
void hint_map_wanted(const struct key_table *table, struct wbuf *hint);

/* What to write for a value of the wrong type; n is the value, and has a key unless it is an item. */
const char *hint_type(const struct yaml_node *n, enum key_kind kind);
/* What to write for a number that is too small or too large. */
const char *hint_range(enum key_kind kind);

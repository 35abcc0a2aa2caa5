/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text of others as it may go to a terminal: nothing in a file name, a policy or an argument may steer the
 * terminal of who reads a message, or show a line in another order than it has. Pure.
 */
#pragma once

#include "common/base/span.h"

/*
 * Bytes of the character at s.data[i], i < s.len; 1 where it is not valid UTF-8. *is_safe: it may be shown as
 * it is. Controls (C0, DEL, C1), marks that reorder or break a line (U+061C, U+200E and F, U+2028..202E,
 * U+2066..9) and bytes that are no UTF-8 may not.
 */
size_t shown_char(struct span s, size_t i, bool *is_safe);

/*
 * In place: what may not be shown becomes one "?", a tab a space. One character stays one character, so that
 * columns keep their meaning. Returns text.
 */
char *shown_clean(char *text);

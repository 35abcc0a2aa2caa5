/* SPDX-License-Identifier: Apache-2.0 */
/* What the program did and no line of the scenario has asked for yet, as text, in order. For tests only. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define ACT_CAP 1024

struct acts;

struct acts *acts_new(void); /* ends the program without memory */
void acts_free(struct acts *a);
void acts_add(struct acts *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The oldest, or NULL; it stays. */
const char *acts_first(const struct acts *a);
void acts_drop(struct acts *a);

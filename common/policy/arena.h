/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is freed all at once: what a policy is made of. Blocks are zeroed and aligned for any type.
 * Not thread-safe; the owner calls arena_free().
 */
#pragma once

#include "common/base/err.h"
#include "common/base/span.h"

struct arena;

struct arena *arena_new(void);                                            /* NULL: out of memory */
void arena_free(struct arena *a);                                         /* NULL-safe */
MUST_CHECK void *arena_alloc(struct arena *a, size_t size);               /* NULL: out of memory */
MUST_CHECK void *arena_array(struct arena *a, size_t count, size_t size); /* NULL also on overflow */
/* A NUL-terminated copy. */
MUST_CHECK char *arena_text(struct arena *a, struct span s);

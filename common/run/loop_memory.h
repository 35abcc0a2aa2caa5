/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for libev, which aborts the process where it gets none. What it wants then is little, a table that
 * grows with the highest descriptor, and comes from a reserve that nobody else uses: a process without memory
 * goes on, while the queries and sessions that wanted more end. The reserve is never given back; libev's
 * tables double, so it lasts for some ten thousand descriptors. Any thread.
 */
#pragma once

#include <stddef.h>

#define LOOP_MEMORY_RESERVE_BYTES                                                                            \
    ((size_t)2 * 1024 * 1024) /* not touched until then, so it costs no memory */

typedef void *loop_memory_fn(void *ptr, size_t size); /* as realloc(3) */

/* Once, before the first loop is made. system: where memory comes from otherwise; realloc(3) but in tests. */
void loop_memory_init(loop_memory_fn *system);
/* libev's allocator (ev_set_allocator). */
void *loop_memory_resize(void *ptr, long size);

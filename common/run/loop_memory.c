/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/loop_memory.h"

#include <ev.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct block { /* in front of each piece of the reserve */
    _Alignas(max_align_t) size_t size;
};

static _Alignas(max_align_t) uint8_t reserve[LOOP_MEMORY_RESERVE_BYTES];
static _Atomic size_t reserve_used;
static loop_memory_fn *system_memory = realloc;

static bool is_reserved(const void *ptr)
{
    uintptr_t at = (uintptr_t)ptr, base = (uintptr_t)reserve;
    return at >= base && at - base < sizeof(reserve);
}

static void *take_reserve(size_t size)
{
    const size_t align = _Alignof(max_align_t);
    if (size > sizeof(reserve) / 2) {
        return NULL;
    }
    size_t whole = sizeof(struct block) + (size + align - 1) / align * align;
    size_t at = atomic_load(&reserve_used);
    do {
        if (whole > sizeof(reserve) - at) {
            return NULL;
        }
    } while (!atomic_compare_exchange_weak(&reserve_used, &at, at + whole));
    struct block *b = (struct block *)(void *)(reserve + at);
    b->size = size;
    return b + 1;
}

static size_t size_of(void *ptr)
{
    return is_reserved(ptr) ? ((struct block *)ptr)[-1].size : malloc_usable_size(ptr);
}

static void give(void *ptr)
{
    if (!is_reserved(ptr)) {
        free(ptr);
    }
}

static void *move(void *ptr, void *to, size_t size)
{
    if (to != NULL && ptr != NULL) {
        size_t old = size_of(ptr);
        memcpy(to, ptr, old < size ? old : size);
        give(ptr);
    }
    return to;
}

void *loop_memory_resize(void *ptr, long size)
{
    if (size <= 0) {
        give(ptr);
        return NULL;
    }
    size_t want = (size_t)size;
    void *to = is_reserved(ptr) ? move(ptr, system_memory(NULL, want), want) : system_memory(ptr, want);
    return to != NULL ? to : move(ptr, take_reserve(want), want);
}

void loop_memory_init(loop_memory_fn *system)
{
    system_memory = system;
    ev_set_allocator(loop_memory_resize);
}

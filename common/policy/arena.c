/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/arena.h"

#include <stdlib.h>

#define CHUNK_MIN_BYTES ((size_t)8 << 10)
#define CHUNK_MAX_BYTES ((size_t)1 << 20)

struct chunk {
    struct chunk *next;
    size_t used; /* at the front: blocks */
    size_t cap;  /* up to here; behind it texts */
    max_align_t data[];
};

struct arena {
    struct chunk *head; /* the one that is filled now */
    size_t next_bytes;  /* size of the next chunk */
};

struct arena *arena_new(void)
{
    struct arena *a = calloc(1, sizeof *a);
    if (a != NULL) {
        a->next_bytes = CHUNK_MIN_BYTES;
    }
    return a;
}

void arena_free(struct arena *a)
{
    if (a == NULL) {
        return;
    }
    struct chunk *c = a->head;
    while (c != NULL) {
        struct chunk *next = c->next;
        free(c);
        c = next;
    }
    free(a);
}

static struct chunk *add_chunk(struct arena *a, size_t size)
{
    size_t cap = size > a->next_bytes ? size : a->next_bytes;
    if (cap > SIZE_MAX - sizeof(struct chunk)) {
        return NULL;
    }
    struct chunk *c = calloc(1, sizeof *c + cap);
    if (c == NULL) {
        return NULL;
    }
    c->cap = cap;
    if (a->next_bytes < CHUNK_MAX_BYTES) {
        a->next_bytes *= 2;
    }
    c->next = a->head;
    a->head = c;
    return c;
}

void *arena_alloc(struct arena *a, size_t size)
{
    const size_t align = _Alignof(max_align_t);
    if (size > SIZE_MAX - align) {
        return NULL;
    }
    size_t rounded = size == 0 ? align : (size + align - 1) / align * align;
    struct chunk *c = a->head;
    if (c == NULL || c->cap - c->used < rounded) {
        c = add_chunk(a, rounded);
        if (c == NULL) {
            return NULL;
        }
    }
    void *block = (char *)c->data + c->used;
    c->used += rounded;
    return block;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size) {
        return NULL;
    }
    return arena_alloc(a, count * size);
}

/* Texts need no alignment: they fill their chunk from its end, side by side. */
char *arena_text(struct arena *a, struct span s)
{
    if (s.len > SIZE_MAX - 1) {
        return NULL;
    }
    struct chunk *c = a->head;
    if (c == NULL || c->cap - c->used < s.len + 1) {
        c = add_chunk(a, s.len + 1);
        if (c == NULL) {
            return NULL;
        }
    }
    c->cap -= s.len + 1;
    char *text = (char *)c->data + c->cap; /* zeroed, so it ends with a NUL */
    if (s.len > 0) {
        memcpy(text, s.data, s.len);
    }
    return text;
}

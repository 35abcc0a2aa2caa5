/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/scene_acts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define ACTS_MAX 256

struct acts {
    size_t count, seen;
    char text[ACTS_MAX][ACT_CAP];
};

struct acts *acts_new(void)
{
    struct acts *a = calloc(1, sizeof(*a));
    if (a == NULL) {
        abort();
    }
    return a;
}

void acts_free(struct acts *a)
{
    free(a);
}

void acts_add(struct acts *a, const char *fmt, ...)
{
    va_list ap;
    if (a->seen == a->count) {
        a->seen = a->count = 0;
    }
    if (a->count == ACTS_MAX) {
        (void)fprintf(stderr, "more than %d things happened that nobody asked for\n", ACTS_MAX);
        abort();
    }
    va_start(ap, fmt);
    (void)vsnprintf(a->text[a->count], ACT_CAP, fmt, ap);
    va_end(ap);
    a->count++;
}

const char *acts_first(const struct acts *a)
{
    return a->seen < a->count ? a->text[a->seen] : NULL;
}

void acts_drop(struct acts *a)
{
    a->seen += a->seen < a->count ? 1 : 0;
}

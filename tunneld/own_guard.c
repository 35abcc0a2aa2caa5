/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/own_guard.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

struct own_guard {
    struct guard guard;
    atomic_uint refs;
};

int own_guard_new(const struct settings_shared *s, const struct addr *listeners, size_t count,
                  struct own_guard **out, struct err *err)
{
    struct own_guard *g = calloc(1, sizeof(*g));
    int rc = -ENOMEM;
    *out = NULL;
    if (g == NULL) {
        err_set(err, "out of memory");
        return rc;
    }
    rc = guard_build(s, listeners, count, &g->guard, err);
    if (rc != 0) {
        free(g);
        return rc;
    }
    atomic_init(&g->refs, 1);
    *out = g;
    return 0;
}

const struct guard *own_guard_of(const struct own_guard *g)
{
    return &g->guard;
}

struct own_guard *own_guard_ref(struct own_guard *g)
{
    atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
    return g;
}

void own_guard_unref(struct own_guard *g)
{
    if (g == NULL || atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    guard_fini(&g->guard);
    free(g);
}

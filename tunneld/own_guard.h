/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guard that threads share: immutable, counted. A reload that changes what we listen on makes another one;
 * each worker goes over to it when it goes over to the policy.
 */
#pragma once

#include "common/run/guard.h"

struct own_guard;

/* As guard_build(). */
MUST_CHECK int own_guard_new(const struct settings_shared *s, const struct addr *listeners, size_t count,
                             struct own_guard **out, struct err *err);
const struct guard *own_guard_of(const struct own_guard *g);
struct own_guard *own_guard_ref(struct own_guard *g);
void own_guard_unref(struct own_guard *g); /* NULL-safe */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the current policy and replaces it all-or-nothing. Owned by the main thread; workers get references
 * through their own mailbox. A reload that fails leaves the last good policy and its generation.
 */
#pragma once

#include "common/policy/policy.h"
#include "common/policy/policy_load.h"

struct policy_store;

/* paths are borrowed for the store's life. No I/O yet. */
MUST_CHECK int policy_store_new(const char *const *paths, size_t count, struct policy_store **out);
void policy_store_free(struct policy_store *s);
/*
 * Reads, loads, compiles; on success the new policy is current with generation + 1 (the first is 1) and 0 is
 * returned; if the text is the same as before, 0 with *changed = false and the generation stays.
 * On failure -errno, *diags says why, the old one stays.
 */
MUST_CHECK int policy_store_reload(struct policy_store *s, struct policy_diags *diags, bool *changed);
struct policy *policy_store_current(const struct policy_store *s); /* borrowed; NULL before the first load */

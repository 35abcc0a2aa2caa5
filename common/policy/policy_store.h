/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the current policy and replaces it all-or-nothing. Owned by the main thread; workers get references
 * through their own mailbox. A reload that fails leaves the last good policy and its generation.
 */
#pragma once

#include "common/policy/policy.h"
#include "common/policy/policy_load.h"

struct policy_store;

/* What one look at the files gave. */
struct policy_reading {
    struct policy *candidate; /* a reference; generation is the current one's + 1. NULL: nothing new */
    bool is_repeated;         /* exactly what was refused the last time; it was not looked at again */
};

/* paths are borrowed for the store's life. No I/O yet. */
MUST_CHECK int policy_store_new(const char *const *paths, size_t count, struct policy_store **out);
void policy_store_free(struct policy_store *s);
/*
 * Reads, loads, compiles; nothing is replaced. 0 with what there is in *out: a candidate, a repetition (only
 * if may_repeat; what *diags then says has been said before), or neither: the texts are those of the current
 * policy. -errno: what is there cannot be used, *diags says why. A candidate is to be answered with one of
 * the next two.
 */
MUST_CHECK int policy_store_read(struct policy_store *s, bool may_repeat, struct policy_diags *diags,
                                 struct policy_reading *out);
/* The candidate of the last read becomes current. Takes the reference. */
void policy_store_accept(struct policy_store *s, struct policy *candidate);
/* Drops it; the same texts are a repetition until others have been read. Takes the reference. */
void policy_store_refuse(struct policy_store *s, struct policy *candidate);
/*
 * Reads and accepts: on success the new policy is current with generation + 1 (the first is 1) and 0 is
 * returned; if the text is the same as before, 0 with *changed = false and the generation stays.
 * On failure -errno, *diags says why, the old one stays.
 */
MUST_CHECK int policy_store_reload(struct policy_store *s, struct policy_diags *diags, bool *changed);
struct policy *policy_store_current(const struct policy_store *s); /* borrowed; NULL before the first load */

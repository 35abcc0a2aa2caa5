/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the files a --policy list names: a file, or a directory (*.yaml, *.yml, sorted). Blocking file I/O:
 * at start, on reload in the main thread, and in the front door only.
 */
#pragma once

#include "common/policy/policy_load.h"

struct policy_texts {          /* zero-initialised = empty; owner calls policy_texts_fini */
    struct policy_text *items; /* names and texts are owned */
    size_t count, cap;
    size_t total_bytes;
};
/* Reads only. 0, or -errno of the first path that failed, with a diag for each; *out holds what could be
 * read. */
MUST_CHECK int policy_files_read(const char *const *paths, size_t count, struct policy_texts *out,
                                 struct policy_diags *diags);
void policy_texts_fini(struct policy_texts *t);
/* Does a file of this name in a directory belong to the policy? */
bool policy_files_is_name(const char *name);

/*
 * Reads, loads and merges. 0 and *out; -EINVAL with *diags; -ENOENT, -EACCES, … with a diag naming the path.
 * Bounds: 16 MiB a file, 64 MiB in all, regular files only.
 */
MUST_CHECK int policy_files_load(const char *const *paths, size_t count, struct policy_rules **out,
                                 struct policy_diags *diags);

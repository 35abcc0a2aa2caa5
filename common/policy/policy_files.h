/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the files a --policy list names: a file, or a directory (*.yaml, *.yml, sorted). Blocking file I/O:
 * at start, on reload in the main thread, and in the front door only.
 */
#pragma once

#include "common/policy/policy.h"
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
/* The same, but the path "-" is standard input, shown as "<stdin>". Waits for its end. */
MUST_CHECK int policy_files_read_or_stdin(const char *const *paths, size_t count, struct policy_texts *out,
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

struct policy_check {          /* owner calls policy_check_fini */
    struct policy_texts texts; /* what could be read */
    struct policy *policy;     /* NULL if there was an error */
    struct policy_diags diags; /* of reading, loading and policy_lint.h */
};
/*
 * For people: reads (with "-" as standard input if wants_stdin), loads, compiles, and looks for what is
 * likely to be a mistake. 0; -EINVAL or the -errno of a path, with diags; -ENOMEM.
 */
MUST_CHECK int policy_check_files(const char *const *paths, size_t count, bool wants_stdin,
                                  struct policy_check *out);
void policy_check_fini(struct policy_check *c);

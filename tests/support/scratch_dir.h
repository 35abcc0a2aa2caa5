/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of a test's own under TMPDIR, removed with all that is in it. */
#pragma once

#include <stddef.h>

#define SCRATCH_PATH_CAP 512

struct scratch_dir {
    char path[SCRATCH_PATH_CAP / 2];
};

void scratch_dir_make(struct scratch_dir *d);
void scratch_dir_remove(struct scratch_dir *d);
/* "path/name" in out, which is returned. */
const char *scratch_dir_path(const struct scratch_dir *d, const char *name, char out[SCRATCH_PATH_CAP]);
void scratch_dir_write(const struct scratch_dir *d, const char *name, const void *bytes, size_t len);

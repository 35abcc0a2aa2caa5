/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One directory per run, 0700, below $XDG_RUNTIME_DIR or $TMPDIR or /tmp: the map, the daemons' log, and the
 * mount point for /etc. Removed at the end.
 */
#pragma once

#include "common/base/err.h"

#define PRIVATE_DIR_CAP 256
#define PRIVATE_FILE_CAP (PRIVATE_DIR_CAP + 16)

struct private_dir {
    char path[PRIVATE_DIR_CAP]; /* "" = none */
    char map[PRIVATE_FILE_CAP];
    char etc[PRIVATE_FILE_CAP];
    char log[PRIVATE_FILE_CAP]; /* of both daemons, unless there is --log */
};
MUST_CHECK int private_dir_new(struct private_dir *d, struct err *err);
void private_dir_remove(struct private_dir *d);

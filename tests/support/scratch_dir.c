/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/scratch_dir.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

void scratch_dir_make(struct scratch_dir *d)
{
    const char *tmp = getenv("TMPDIR");
    int len = snprintf(d->path, sizeof d->path, "%s/policy-test-XXXXXX", tmp == NULL ? "/tmp" : tmp);
    assert_true(len > 0 && (size_t)len < sizeof d->path);
    assert_non_null(mkdtemp(d->path));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void scratch_dir_remove(struct scratch_dir *d)
{
    assert_int_equal(nftw(d->path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

const char *scratch_dir_path(const struct scratch_dir *d, const char *name, char out[SCRATCH_PATH_CAP])
{
    int len = snprintf(out, SCRATCH_PATH_CAP, "%s/%s", d->path, name);
    assert_true(len > 0 && len < SCRATCH_PATH_CAP);
    return out;
}

void scratch_dir_write(const struct scratch_dir *d, const char *name, const void *bytes, size_t len)
{
    char path[SCRATCH_PATH_CAP];
    FILE *f = fopen(scratch_dir_path(d, name, path), "we");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/private_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *parent_dir(void)
{
    static const char *const candidates[] = {"XDG_RUNTIME_DIR", "TMPDIR"};
    for (size_t i = 0; i < sizeof candidates / sizeof candidates[0]; i++) {
        const char *dir = getenv(candidates[i]);
        if (dir != NULL && dir[0] == '/' && strlen(dir) < 200 && access(dir, W_OK | X_OK) == 0) {
            return dir;
        }
    }
    return "/tmp";
}

int private_dir_new(struct private_dir *d, struct err *err)
{
    *d = (struct private_dir){.path = ""};
    char path[PRIVATE_DIR_CAP];
    (void)snprintf(path, sizeof path, "%s/openshell-run.XXXXXX", parent_dir());
    if (mkdtemp(path) == NULL) {
        int error = errno;
        err_set(err, "a private directory in %s: %s", parent_dir(), strerror(error));
        return -error;
    }
    memcpy(d->path, path, sizeof path);
    (void)snprintf(d->map, sizeof d->map, "%s/egress.map", path);
    (void)snprintf(d->etc, sizeof d->etc, "%s/etc", path);
    (void)snprintf(d->log, sizeof d->log, "%s/egress.log", path);
    if (mkdir(d->etc, 0700) != 0) {
        int error = errno;
        err_set(err, "%s: %s", d->etc, strerror(error));
        private_dir_remove(d);
        return -error;
    }
    return 0;
}

void private_dir_remove(struct private_dir *d)
{
    if (d->path[0] == '\0') {
        return;
    }
    /* Ours alone (0700), flat but for the mount point, so one level of unlinking is all there is. */
    DIR *dir = opendir(d->path);
    if (dir != NULL) {
        const struct dirent *entry = NULL;
        while ((entry = readdir(dir)) != NULL) {
            if (entry->d_name[0] != '.' && unlinkat(dirfd(dir), entry->d_name, 0) != 0) {
                (void)unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
            }
        }
        (void)closedir(dir);
    }
    (void)rmdir(d->path);
    d->path[0] = '\0';
}

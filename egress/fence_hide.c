/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/fence.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEPT_MAX 64

/* Where programs outside listen. /var/run is a directory of its own on few systems, else a link to /run. */
static const char *const hidden[] = {"/run", "/var/run", "/tmp/.X11-unix"};
/* NixOS has its programs and drivers there. Nobody listens in them. */
static const char *const needed[] = {"/run/current-system", "/run/booted-system", "/run/wrappers",
                                     "/run/opengl-driver", "/run/opengl-driver-32"};

/* What is bound again over the cover: opened before it. */
struct kept {
    int fd;
    bool is_directory;
    char path[PATH_MAX]; /* without links */
};
struct kept_list {
    struct kept *items;
    size_t count;
};

static bool is_below(const char *path, const char *dir)
{
    size_t len = strlen(dir);
    return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

bool fence_is_hidden(const char *path)
{
    for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++) {
        if (is_below(path, hidden[i])) {
            return true;
        }
    }
    return false;
}

/* A path that is not hidden needs nothing; one that is not there is passed over unless must_exist. */
static int keep(struct kept_list *l, const char *path, bool must_exist, struct err *err)
{
    char real[PATH_MAX];
    struct stat st;
    if (realpath(path, real) == NULL) {
        int rc = -errno;
        err_set(err, "--keep: %s: %s", path, strerror(-rc));
        return must_exist ? rc : 0;
    }
    if (!fence_is_hidden(real)) {
        return 0;
    }
    if (l->count == KEPT_MAX) {
        err_set(err, "--keep: more than %d paths", KEPT_MAX);
        return -E2BIG;
    }
    struct kept *k = &l->items[l->count];
    k->fd = open(real, O_PATH | O_CLOEXEC);
    if (k->fd < 0 || fstat(k->fd, &st) != 0) {
        int rc = -errno;
        err_set(err, "--keep: %s: %s", real, strerror(-rc));
        return rc;
    }
    k->is_directory = S_ISDIR(st.st_mode);
    (void)snprintf(k->path, sizeof k->path, "%s", real);
    l->count++;
    return 0;
}

/* The socket that a kept variable names: a path, or "unix:path=PATH,...". */
static int keep_named(struct kept_list *l, const char *name, struct err *err)
{
    static const char dbus_path[] = "unix:path=";
    char path[PATH_MAX];
    const char *value = getenv(name);
    if (value == NULL) {
        return 0;
    }
    if (strcmp(name, "DISPLAY") == 0) {
        const char *number = strchr(value, ':');
        size_t len = number == NULL ? 0 : strspn(number + 1, "0123456789");
        (void)snprintf(path, sizeof path, "/tmp/.X11-unix/X%.*s", (int)len, number == NULL ? "" : number + 1);
    } else if (strcmp(name, "WAYLAND_DISPLAY") == 0 && value[0] != '/') {
        const char *dir = getenv("XDG_RUNTIME_DIR");
        (void)snprintf(path, sizeof path, "%s/%s", dir == NULL ? "" : dir, value);
    } else if (strncmp(value, dbus_path, sizeof dbus_path - 1) == 0) {
        const char *from = value + sizeof dbus_path - 1;
        (void)snprintf(path, sizeof path, "%.*s", (int)strcspn(from, ",;"), from);
    } else {
        (void)snprintf(path, sizeof path, "%s", value);
    }
    return path[0] == '/' ? keep(l, path, false, err) : 0;
}

static int open_kept(struct kept_list *l, const struct fence_environment *e, struct err *err)
{
    const char *etc[3];
    size_t etc_count = fence_etc_paths(etc);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof needed / sizeof needed[0]; i++) {
        rc = keep(l, needed[i], false, err);
    }
    for (size_t i = 0; rc == 0 && i < etc_count; i++) {
        rc = keep(l, etc[i], false, err); /* where it is a link to a file of /run, ours is mounted there */
    }
    for (size_t i = 0; rc == 0 && i < e->keep_count; i++) {
        rc = e->keep[i][0] == '/' ? keep(l, e->keep[i], true, err) : keep_named(l, e->keep[i], err);
    }
    return rc;
}

/* Every directory above path. */
static int make_parents(const char *path)
{
    char at[PATH_MAX];
    (void)snprintf(at, sizeof at, "%s", path);
    for (char *slash = strchr(at + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(at, 0755) != 0 && errno != EEXIST) {
            return -errno;
        }
        *slash = '/';
    }
    return 0;
}

static int bind_again(const struct kept *k)
{
    char from[64];
    int rc = make_parents(k->path);
    if (rc != 0) {
        return rc;
    }
    int fd = k->is_directory ? -1 : open(k->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (k->is_directory && mkdir(k->path, 0700) != 0 && errno != EEXIST) {
        return -errno;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    /* With all that is mounted below it: the cover over the private directory may be. */
    (void)snprintf(from, sizeof from, "/proc/self/fd/%d", k->fd);
    return mount(from, k->path, NULL, MS_BIND | MS_REC, NULL) == 0 ? 0 : -errno;
}

/* Programs want it to be there, if not what is in it. */
static int make_runtime_dir(const struct run_user *user)
{
    char own[64];
    const char *path = getenv("XDG_RUNTIME_DIR");
    uid_t uid = user != NULL ? user->uid : geteuid();
    if (path != NULL && user != NULL) {
        (void)snprintf(own, sizeof own, "/run/user/%u", (unsigned)uid);
        path = own;
    }
    if (path == NULL || !fence_is_hidden(path)) {
        return 0;
    }
    int rc = make_parents(path);
    if (rc == 0 && mkdir(path, 0700) == 0 && user != NULL) {
        rc = chown(path, user->uid, user->gid) == 0 ? 0 : -errno;
    }
    return rc;
}

static int cover(const char *dir, const char *options, unsigned long flags, struct err *err)
{
    if (mount("tmpfs", dir, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | flags, options) != 0) {
        int rc = -errno;
        err_set(err, "hiding %s: %s", dir, strerror(-rc));
        return rc;
    }
    return 0;
}

static int cover_hidden(const struct fence_config *cfg, const struct kept_list *l, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof hidden / sizeof hidden[0]; i++) {
        struct stat st;
        if (lstat(hidden[i], &st) == 0 && S_ISDIR(st.st_mode)) {
            rc = cover(hidden[i], "mode=0755,size=16m", 0, err);
        }
    }
    for (size_t i = 0; rc == 0 && i < l->count; i++) {
        rc = bind_again(&l->items[i]);
        if (rc != 0) {
            err_set(err, "--keep: %s: %s", l->items[i].path, strerror(-rc));
        }
    }
    if (rc != 0) {
        return rc;
    }
    rc = make_runtime_dir(cfg->user);
    if (rc != 0) {
        err_set(err, "an empty XDG_RUNTIME_DIR: %s", strerror(-rc));
    }
    return rc;
}

int fence_hide(const struct fence_config *cfg, struct err *err)
{
    struct kept_list l = {.items = calloc(KEPT_MAX, sizeof *l.items)};
    if (l.items == NULL) {
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    mode_t mask = umask(0);
    int rc = cover(cfg->private_dir, "mode=0555,size=4k,nr_inodes=1", MS_RDONLY, err);
    rc = rc == 0 ? open_kept(&l, &cfg->environment, err) : rc;
    rc = rc == 0 ? cover_hidden(cfg, &l, err) : rc;
    (void)umask(mask);
    for (size_t i = 0; i < l.count; i++) {
        (void)close(l.items[i].fd);
    }
    free(l.items);
    return rc;
}

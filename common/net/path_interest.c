/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/path_interest.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINKS_MAX 40 /* as the kernel's own walk, path_resolution(7) */
#define INTERESTS_MAX 4096

/* A name begins or ends to exist, becomes accessible, or the directory itself goes. */
#define NAMES_MASK                                                                                           \
    (IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)
#define CONTENT_MASK (NAMES_MASK | IN_MODIFY | IN_CLOSE_WRITE)

struct walk {
    struct path_interests *set;
    int fd;
    unsigned links;
    char dir[PATH_MAX];  /* where we are: no link in it */
    char rest[PATH_MAX]; /* still to go */
};

enum walk_end { WALK_NOWHERE = 0, WALK_FILE, WALK_DIRECTORY };

static void failed(struct walk *w, int error)
{
    if (w->set->error == 0) {
        w->set->error = error;
        (void)snprintf(w->set->where, sizeof(w->set->where), "%.255s", w->dir);
    }
}

static bool is_known(const struct path_interests *set, const struct path_interest *one)
{
    for (size_t i = 0; i < set->count; i++) {
        const struct path_interest *it = &set->items[i];
        bool is_same_name =
            it->name == NULL || one->name == NULL ? it->name == one->name : strcmp(it->name, one->name) == 0;
        if (it->wd == one->wd && it->mask == one->mask && is_same_name) {
            return true;
        }
    }
    return false;
}

static int append(struct path_interests *set, const struct path_interest *one)
{
    if (set->count == set->cap) {
        size_t cap = set->cap == 0 ? 16 : set->cap * 2;
        if (set->count >= INTERESTS_MAX) {
            return -ENOSPC;
        }
        struct path_interest *items = realloc(set->items, cap * sizeof(*items));
        if (items == NULL) {
            return -ENOMEM;
        }
        set->items = items;
        set->cap = cap;
    }
    char *name = one->name == NULL ? NULL : strdup(one->name);
    if (one->name != NULL && name == NULL) {
        return -ENOMEM;
    }
    set->items[set->count++] = (struct path_interest){.wd = one->wd, .mask = one->mask, .name = name};
    return 0;
}

/* Watches name in w->dir; name NULL: the directory as a whole. 0 or -errno. */
static int watch(struct walk *w, char *name, uint32_t mask)
{
    /* The same directory gives the same descriptor, so masks add up; concern() looks at each interest's own.
     */
    int wd =
        inotify_add_watch(w->fd, w->dir, mask | IN_MASK_ADD | IN_ONLYDIR | IN_DONT_FOLLOW | IN_EXCL_UNLINK);
    if (wd < 0) {
        /* gone or replaced since we came here: the directory above is watched and tells */
        return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
    }
    struct path_interest one = {.wd = wd, .mask = mask, .name = name};
    return is_known(w->set, &one) ? 0 : append(w->set, &one);
}

/* Splits the next component off; false at the end of the path. "." and empty ones are passed over. */
static bool next_component(struct walk *w, char name[NAME_MAX + 1])
{
    for (;;) {
        size_t skip = strspn(w->rest, "/");
        size_t len = strcspn(w->rest + skip, "/");
        if (len == 0 || len > NAME_MAX) {
            return false;
        }
        memcpy(name, w->rest + skip, len);
        name[len] = '\0';
        memmove(w->rest, w->rest + skip + len, strlen(w->rest + skip + len) + 1);
        if (strcmp(name, ".") != 0) {
            return true;
        }
    }
}

/* "dir/name" in out; false if it is too long. */
static bool join(const char *dir, const char *name, char out[PATH_MAX])
{
    size_t len = strlen(dir);
    const char *slash = len > 0 && dir[len - 1] == '/' ? "" : "/";
    int n = snprintf(out, PATH_MAX, "%s%s%s", dir, slash, name);
    return n > 0 && n < PATH_MAX;
}

static void start_at(struct walk *w, const char *path)
{
    (void)snprintf(w->dir, sizeof(w->dir), "%s", path[0] == '/' ? "/" : ".");
}

/* Goes on with the link's target in front of what is left. False: too long, or too many. */
static bool follow(struct walk *w, const char *link)
{
    char target[PATH_MAX], rest[PATH_MAX];
    ssize_t len = readlink(link, target, sizeof(target) - 1);
    if (len <= 0 || ++w->links > LINKS_MAX) {
        return false;
    }
    target[len] = '\0';
    if (!join(target, w->rest + strspn(w->rest, "/"), rest)) {
        return false;
    }
    memcpy(w->rest, rest, strlen(rest) + 1);
    if (target[0] == '/') {
        start_at(w, target);
    }
    return true;
}

/* One component; true if the walk goes on, otherwise *end says where it is. */
static bool step(struct walk *w, char *name, enum walk_end *end)
{
    char path[PATH_MAX];
    struct stat st;
    *end = WALK_NOWHERE;
    if (!join(w->dir, name, path)) {
        return false;
    }
    if (strcmp(name, "..") == 0) {
        memcpy(w->dir, path, strlen(path) + 1);
        return true;
    }
    int rc = watch(w, name, NAMES_MASK);
    bool is_there = lstat(path, &st) == 0;
    if (rc == -EACCES && is_there && S_ISDIR(st.st_mode)) {
        rc = 0; /* that a directory on the way is replaced will not be seen; the rest will */
    }
    if (rc < 0) {
        failed(w, -rc);
    }
    if (!is_there) {
        return false;
    }
    if (S_ISLNK(st.st_mode)) {
        return follow(w, path);
    }
    if (S_ISDIR(st.st_mode)) {
        memcpy(w->dir, path, strlen(path) + 1);
        return true;
    }
    rc = watch(w, name, CONTENT_MASK);
    if (rc < 0) {
        failed(w, -rc);
    }
    *end = WALK_FILE;
    return false;
}

static enum walk_end walk(struct walk *w, const char *path)
{
    char name[NAME_MAX + 1];
    enum walk_end end = WALK_DIRECTORY;
    if (snprintf(w->rest, sizeof(w->rest), "%s", path) >= PATH_MAX) {
        return WALK_NOWHERE;
    }
    start_at(w, path);
    w->links = 0;
    while (next_component(w, name)) {
        if (!step(w, name, &end)) {
            return end;
        }
        end = WALK_DIRECTORY;
    }
    return end;
}

/* w->dir is watched as a whole, and whatever its links lead to. */
static void add_directory(struct walk *w, path_wants_fn *wants)
{
    char dir[PATH_MAX], path[PATH_MAX];
    int rc = watch(w, NULL, CONTENT_MASK);
    if (rc < 0) {
        failed(w, -rc);
    }
    memcpy(dir, w->dir, sizeof(dir));
    DIR *d = opendir(dir);
    if (d == NULL) {
        return; /* whoever reads the policy says why */
    }
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        bool is_link = e->d_type == DT_LNK || e->d_type == DT_UNKNOWN;
        if (is_link && e->d_name[0] != '.' && (wants == NULL || wants(e->d_name)) &&
            join(dir, e->d_name, path)) {
            (void)walk(w, path);
        }
    }
    (void)closedir(d);
}

void path_interests_add(struct path_interests *set, int fd, const char *path, path_wants_fn *wants)
{
    struct walk w = {.set = set, .fd = fd};
    if (walk(&w, path) == WALK_DIRECTORY) {
        add_directory(&w, wants);
    }
}

bool path_interests_concern(const struct path_interests *set, const struct inotify_event *event,
                            path_wants_fn *wants)
{
    if ((event->mask & IN_Q_OVERFLOW) != 0) {
        return true; /* what was lost may have been anything */
    }
    bool is_about_itself = event->len == 0;
    for (size_t i = 0; i < set->count; i++) {
        const struct path_interest *it = &set->items[i];
        if (it->wd != event->wd || (event->mask & (it->mask | IN_IGNORED | IN_UNMOUNT)) == 0) {
            continue;
        }
        bool is_name = !is_about_itself && it->name != NULL && strcmp(it->name, event->name) == 0;
        bool is_wanted = !is_about_itself && it->name == NULL && (wants == NULL || wants(event->name));
        if (is_about_itself || is_name || is_wanted) {
            return true;
        }
    }
    return false;
}

bool path_interests_has(const struct path_interests *set, int wd)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->items[i].wd == wd) {
            return true;
        }
    }
    return false;
}

void path_interests_fini(struct path_interests *set)
{
    for (size_t i = 0; i < set->count; i++) {
        free(set->items[i].name);
    }
    free(set->items);
    *set = (struct path_interests){0};
}

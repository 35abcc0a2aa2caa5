/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/policy_files.h"

#include "common/base/buf.h"
#include "common/policy/policy_diag.h"
#include "common/policy/policy_lint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES ((size_t)16 << 20)
#define TOTAL_MAX_BYTES ((size_t)64 << 20)
#define READ_BYTES ((size_t)65536)

struct reader {
    struct policy_texts *texts;
    struct policy_diags *diags;
    int rc; /* the first failure */
};

static const char *read_hint(int error)
{
    switch (error) {
    case ENOENT:
        return "check the path: there is nothing of that name";
    case EACCES:
        return "the file must be readable for the user that reads it";
    case ELOOP:
        return "the links lead to each other: name the file itself";
    case E2BIG:
        return "remove rules that nothing uses, or write patterns in the place of many hosts";
    case ENOTDIR:
    case EISDIR:
    case ENAMETOOLONG:
    case EINVAL: /* neither a file nor a directory */
        return "name a policy file, or a directory that holds *.yaml or *.yml files";
    case ENOMEM:
        return "free some memory, then try again";
    case EMFILE:
    case ENFILE:
        return "raise the limit of open files, then try again";
    default:
        return NULL; /* the file system's own: the message says all that is known */
    }
}

/* Tells about a path and goes on: all of them are told in one run. */
static void fail(struct reader *r, const char *path, int error, const char *what)
{
    char message[256];
    struct diag_place place = {.file = path};
    if (what == NULL) {
        (void)snprintf(message, sizeof message, "cannot be read: %s", strerror(error));
        what = message;
    }
    if (policy_diags_add(r->diags, DIAG_ERROR, &place, what, read_hint(error)) != 0) {
        error = ENOMEM;
    }
    if (r->rc == 0) {
        r->rc = -error;
    }
}

static void warn(struct reader *r, const char *path, const char *what, const char *hint)
{
    struct diag_place place = {.file = path};
    if (policy_diags_add(r->diags, DIAG_WARNING, &place, what, hint) != 0 && r->rc == 0) {
        r->rc = -ENOMEM;
    }
}

static int add_text(struct policy_texts *t, const char *path, struct buf *b)
{
    if (t->count == t->cap) {
        size_t cap = t->cap == 0 ? 8 : t->cap * 2;
        struct policy_text *items = realloc(t->items, cap * sizeof *items);
        if (items == NULL) {
            return -ENOMEM;
        }
        t->items = items;
        t->cap = cap;
    }
    struct span s = buf_span(b);
    uint8_t *text = malloc(s.len + 1);
    char *file = strdup(path);
    if (text == NULL || file == NULL) {
        free(text);
        free(file);
        return -ENOMEM;
    }
    if (s.data != NULL && s.len > 0) {
        memcpy(text, s.data, s.len);
    }
    t->items[t->count++] = (struct policy_text){.file = file, .text = span_make(text, s.len)};
    t->total_bytes += s.len;
    return 0;
}

static void read_all(struct reader *r, const char *path, int fd)
{
    struct buf b = {0};
    uint8_t *block = malloc(READ_BYTES);
    int rc = block == NULL ? -ENOMEM : 0;
    bool is_end = false;
    while (rc == 0 && !is_end) {
        ssize_t got = read(fd, block, READ_BYTES);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            rc = -errno;
        } else if (got == 0) {
            is_end = true;
        } else {
            rc = buf_append(&b, span_make(block, (size_t)got), FILE_MAX_BYTES);
        }
    }
    free(block);
    if (rc == 0 && r->texts->total_bytes + buf_span(&b).len > TOTAL_MAX_BYTES) {
        fail(r, path, E2BIG, "all policy files together are larger than 64 MiB");
    } else if (rc == -E2BIG) {
        fail(r, path, E2BIG, "the file is larger than 16 MiB");
    } else {
        rc = rc == 0 ? add_text(r->texts, path, &b) : rc;
        if (rc != 0) {
            fail(r, path, -rc, NULL);
        }
    }
    buf_fini(&b);
}

static void refuse_kind(struct reader *r, const char *path, bool is_listed)
{
    if (is_listed) {
        warn(r, path, "is passed over: it is no regular file", "give it another name, or move it elsewhere");
    } else {
        fail(r, path, EINVAL, "is neither a regular file nor a directory");
    }
}

/* is_listed: found in a directory, where what is no file is passed over. */
static void read_file(struct reader *r, const char *path, bool is_listed)
{
    struct stat st;
    /* non-blocking: opening a FIFO must not hang */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 && errno == ENXIO) { /* a socket */
        refuse_kind(r, path, is_listed);
        return;
    }
    if (fd < 0) {
        fail(r, path, errno, NULL);
        return;
    }
    if (fstat(fd, &st) != 0) {
        fail(r, path, errno, NULL);
    } else if (S_ISREG(st.st_mode)) {
        read_all(r, path, fd);
    } else {
        refuse_kind(r, path, is_listed);
    }
    (void)close(fd);
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t len = strlen(name);
    size_t suffix_len = strlen(suffix);
    return len > suffix_len && strcmp(name + len - suffix_len, suffix) == 0;
}

bool policy_files_is_name(const char *name)
{
    return name[0] != '.' && (has_suffix(name, ".yaml") || has_suffix(name, ".yml"));
}

static int is_policy_name(const struct dirent *e)
{
    return policy_files_is_name(e->d_name);
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* bytes: the order must not depend on a locale */
}

static void read_directory(struct reader *r, const char *path)
{
    struct dirent **names = NULL;
    int count = scandir(path, &names, is_policy_name, compare_names);
    if (count < 0) {
        fail(r, path, errno, NULL);
        return;
    }
    if (count == 0) {
        warn(r, path, "the directory holds no *.yaml and no *.yml file",
             "a policy without rules admits nothing");
    }
    for (int i = 0; i < count; i++) {
        char file[4096];
        size_t path_len = strlen(path);
        const char *slash = path_len > 0 && path[path_len - 1] == '/' ? "" : "/";
        int len = snprintf(file, sizeof file, "%s%s%s", path, slash, names[i]->d_name);
        if (len < 0 || (size_t)len >= sizeof file) {
            fail(r, path, ENAMETOOLONG, NULL);
        } else {
            read_file(r, file, true);
        }
        free(names[i]);
    }
    free(names);
}

static void read_path(struct reader *r, const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        read_directory(r, path);
    } else {
        read_file(r, path, false);
    }
}

int policy_files_read(const char *const *paths, size_t count, struct policy_texts *out,
                      struct policy_diags *diags)
{
    struct reader r = {.texts = out, .diags = diags};
    *out = (struct policy_texts){0};
    for (size_t i = 0; i < count; i++) {
        read_path(&r, paths[i]);
    }
    return r.rc;
}

int policy_files_read_or_stdin(const char *const *paths, size_t count, struct policy_texts *out,
                               struct policy_diags *diags)
{
    struct reader r = {.texts = out, .diags = diags};
    *out = (struct policy_texts){0};
    for (size_t i = 0; i < count; i++) {
        if (strcmp(paths[i], "-") == 0) {
            read_all(&r, "<stdin>", STDIN_FILENO);
        } else {
            read_path(&r, paths[i]);
        }
    }
    return r.rc;
}

void policy_texts_fini(struct policy_texts *t)
{
    for (size_t i = 0; i < t->count; i++) {
        free((void *)(uintptr_t)t->items[i].file);
        free((void *)(uintptr_t)t->items[i].text.data);
    }
    free(t->items);
    *t = (struct policy_texts){0};
}

int policy_files_load(const char *const *paths, size_t count, struct policy_rules **out,
                      struct policy_diags *diags)
{
    struct policy_texts texts;
    *out = NULL;
    int read_rc = policy_files_read(paths, count, &texts, diags);
    /* what could be read is checked all the same, so that one run tells everything */
    int rc = policy_load(texts.items, texts.count, out, diags);
    policy_texts_fini(&texts);
    if (read_rc != 0) {
        policy_rules_free(*out);
        *out = NULL;
        return read_rc;
    }
    return rc;
}

int policy_check_files(const char *const *paths, size_t count, bool wants_stdin, struct policy_check *out)
{
    struct policy_rules *rules = NULL;
    *out = (struct policy_check){.policy = NULL};
    int read_rc = wants_stdin ? policy_files_read_or_stdin(paths, count, &out->texts, &out->diags)
                              : policy_files_read(paths, count, &out->texts, &out->diags);
    /* what could be read is checked all the same, so that one run tells everything */
    int rc = policy_load(out->texts.items, out->texts.count, &rules, &out->diags);
    if (read_rc != 0 || rc != 0) {
        policy_rules_free(rules);
        return read_rc != 0 ? read_rc : rc;
    }
    rc = policy_compile(rules, 1, &out->policy);
    return rc != 0 ? rc : policy_lint(out->policy, out->texts.items, out->texts.count, &out->diags);
}

void policy_check_fini(struct policy_check *c)
{
    policy_texts_fini(&c->texts);
    policy_unref(c->policy);
    policy_diags_fini(&c->diags);
    c->policy = NULL;
}

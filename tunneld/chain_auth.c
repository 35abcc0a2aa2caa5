/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/chain_auth.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What is wrong with the file itself, or NULL. */
static const char *file_fault(const struct stat *st, uid_t owner)
{
    if (!S_ISREG(st->st_mode)) {
        return "is not a regular file";
    }
    if (st->st_uid != 0 && st->st_uid != owner) {
        return "belongs to another user than root and the daemon's own";
    }
    if ((st->st_mode & (S_IWGRP | S_IRWXO)) != 0) {
        return "may be read by others or written by its group: chmod 600, or 640";
    }
    return NULL;
}

/* The line in text, without its end; what is wrong with it, or NULL. */
static const char *line_fault(struct span *text)
{
    if (text->len > 0 && text->data[text->len - 1] == '\n') {
        text->len--;
        text->len -= text->len > 0 && text->data[text->len - 1] == '\r' ? 1 : 0;
    }
    if (text->len > CHAIN_CREDENTIALS_CAP) {
        return "is longer than 512 bytes";
    }
    for (size_t i = 0; i < text->len; i++) { /* RFC 7617 2: no control characters */
        if (text->data[i] < ' ' || text->data[i] == 127) {
            return "is not one line of USER:PASSWORD: it has a second line or a control character";
        }
    }
    size_t colon = span_find(*text, ':');
    return colon == 0 || colon == text->len ? "is not of the form USER:PASSWORD" : NULL;
}

/* Reads until the end or until text is full; -errno. */
static ssize_t read_all(int fd, uint8_t *text, size_t cap)
{
    size_t len = 0;
    while (len < cap) {
        ssize_t got = read(fd, text + len, cap - len);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -errno;
        }
        if (got == 0) {
            break;
        }
        len += (size_t)got;
    }
    return (ssize_t)len;
}

static int read_basic(int fd, uid_t owner, char *basic, const char **fault)
{
    uint8_t text[CHAIN_CREDENTIALS_CAP + 3]; /* CR LF, and one byte more shows that it is too long */
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    *fault = file_fault(&st, owner);
    if (*fault != NULL) {
        return -EINVAL;
    }
    ssize_t len = read_all(fd, text, sizeof text);
    int rc = len < 0 ? (int)len : 0;
    if (rc == 0) {
        struct span line = span_make(text, (size_t)len);
        *fault = line_fault(&line);
        rc = *fault == NULL ? 0 : -EINVAL;
        if (rc == 0) {
            chain_basic(line, basic);
        }
    }
    explicit_bzero(text, sizeof text);
    return rc;
}

void chain_auth_init(struct chain_auth *a)
{
    *a = (struct chain_auth){.basic = ""};
    (void)pthread_mutex_init(&a->lock, NULL);
}

int chain_auth_load(struct chain_auth *a, const char *file, uid_t owner, struct err *err)
{
    char basic[CHAIN_BASIC_CAP];
    const char *fault = NULL;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    int rc = fd < 0 ? -errno : read_basic(fd, owner, basic, &fault);
    if (fd >= 0) {
        (void)close(fd);
    }
    if (rc == 0) {
        (void)pthread_mutex_lock(&a->lock);
        memcpy(a->basic, basic, sizeof a->basic);
        (void)pthread_mutex_unlock(&a->lock);
    } else {
        err_set(err, "--chain-auth-file: %.300s%s%s", file, fault == NULL ? ": " : " ",
                fault == NULL ? strerror(-rc) : fault);
    }
    explicit_bzero(basic, sizeof basic);
    return rc;
}

void chain_auth_get(struct chain_auth *a, char basic[CHAIN_BASIC_CAP])
{
    (void)pthread_mutex_lock(&a->lock);
    memcpy(basic, a->basic, CHAIN_BASIC_CAP);
    (void)pthread_mutex_unlock(&a->lock);
}

void chain_auth_fini(struct chain_auth *a)
{
    explicit_bzero(a->basic, sizeof a->basic);
    (void)pthread_mutex_destroy(&a->lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/synth_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int synth_file_read(int fd, void *out, size_t len, uint64_t at)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(fd, (char *)out + done, len - done, (off_t)(at + done));
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n == 0) {
            return -EIO;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int synth_file_write(int fd, const void *data, size_t len, uint64_t at)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(fd, (const char *)data + done, len - done, (off_t)(at + done));
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c == '\0' ? NULL : strchr(digits, c);
    return at == NULL ? -1 : (int)(at - digits);
}

int synth_file_boot_id(uint8_t out[16], struct err *err)
{
    static const char path[] = "/proc/sys/kernel/random/boot_id";
    char text[64] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    int rc = len < 0 ? -errno : 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    size_t nibbles = 0;
    memset(out, 0, 16);
    for (ssize_t i = 0; i < len && nibbles < 32; i++) {
        int digit = hex_digit(text[i]);
        if (digit >= 0) {
            out[nibbles / 2] = (uint8_t)(out[nibbles / 2] << 4 | digit);
            nibbles++;
        }
    }
    if (rc == 0 && nibbles < 32) {
        rc = -EIO;
    }
    if (rc < 0) {
        err_set(err, "%s: %s", path, strerror(-rc));
        err_add_hint(err, rc == -ENOENT ? "mount proc on /proc" : "");
    }
    return rc;
}

/* Whoever may write the file may send a client's connection to any admitted name: only root and ourselves. */
static int check_owner(const char *path, const struct stat *st, struct err *err)
{
    if (!S_ISREG(st->st_mode)) {
        err_set(err, "%s is not a regular file", path);
        return -EPERM;
    }
    if (st->st_uid != 0 && st->st_uid != geteuid()) {
        err_set(err, "%s belongs to uid %ju, not to root or uid %ju", path, (uintmax_t)st->st_uid,
                (uintmax_t)geteuid());
        return -EPERM;
    }
    if ((st->st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        err_set(err, "%s can be written by others (mode %04o)", path, (unsigned)(st->st_mode & 07777));
        return -EPERM;
    }
    return 0;
}

static int check_header(const char *path, int fd, const struct stat *st, struct synth_header *header,
                        struct err *err)
{
    uint8_t bytes[SYNTH_HEADER_BYTES];
    int rc = synth_file_read(fd, bytes, sizeof(bytes), 0);
    enum synth_header_fault fault = rc == 0      ? synth_header_decode(bytes, header)
                                    : rc == -EIO ? SYNTH_HEADER_FOREIGN
                                                 : SYNTH_HEADER_DAMAGED;
    switch (fault) {
    case SYNTH_HEADER_FOREIGN:
        err_set(err, "%s is not a map of synthetic addresses; remove it", path);
        return -EINVAL;
    case SYNTH_HEADER_VERSION:
        err_set(err, "%s is of another version", path);
        return -EPROTO;
    case SYNTH_HEADER_DAMAGED:
        err_set(err, "%s is damaged", path);
        return -EBADMSG;
    case SYNTH_HEADER_GOOD:
        break;
    }
    if ((uint64_t)st->st_size != synth_file_bytes(header->capacity)) {
        err_set(err, "%s is damaged (its size is wrong)", path);
        return -EBADMSG;
    }
    uint8_t boot_id[16];
    rc = synth_file_boot_id(boot_id, err);
    if (rc == 0 && memcmp(boot_id, header->boot_id, sizeof(boot_id)) != 0) {
        err_set(err, "%s was written before the last boot", path);
        rc = -ESTALE;
    }
    return rc;
}

int synth_file_open(const char *path, int flags, int *fd, struct stat *st, struct synth_header *header,
                    struct err *err)
{
    *fd = -1;
    int opened = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK); /* O_NONBLOCK: it may be a fifo */
    if (opened < 0) {
        int rc = -errno;
        if (rc != -ENOENT) {
            err_set(err, "%s: %s", path, strerror(-rc));
        }
        return rc;
    }
    int rc = fstat(opened, st) < 0 ? -errno : check_owner(path, st, err);
    if (rc == 0) {
        rc = check_header(path, opened, st, header, err);
    }
    if (rc == 0 || rc == -ESTALE || rc == -EPROTO || rc == -EBADMSG) {
        *fd = opened; /* for its lock, even if its content cannot be used */
    } else {
        (void)close(opened);
    }
    return rc;
}

int synth_file_lock(int fd, enum synth_lock which, bool is_shared)
{
    struct flock byte = {
        .l_type = is_shared ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)which, .l_len = 1};
    if (fcntl(fd, F_OFD_SETLK, &byte) < 0) {
        return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
    }
    return 0;
}

void synth_file_unlock(int fd, enum synth_lock which)
{
    struct flock byte = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = (off_t)which, .l_len = 1};
    (void)fcntl(fd, F_OFD_SETLK, &byte);
}

int synth_file_is_named(const char *path, int fd)
{
    struct stat opened;
    struct stat named;
    if (fstat(fd, &opened) < 0) {
        return -errno;
    }
    if (stat(path, &named) < 0) {
        return errno == ENOENT ? -EAGAIN : -errno;
    }
    return opened.st_dev == named.st_dev && opened.st_ino == named.st_ino ? 0 : -EAGAIN;
}

static int fill_new(int fd, const char *name, const struct synth_header *header, struct err *err)
{
    uint8_t bytes[SYNTH_HEADER_BYTES];
    struct stat st;
    uint64_t size = synth_file_bytes(header->capacity);
    int rc = fstat(fd, &st) < 0 ? -errno : check_owner(name, &st, err);
    if (rc < 0) {
        return rc;
    }
    /* What a writer that died half-way left behind; nobody else can be at it, since we hold its lock. */
    if (ftruncate(fd, 0) < 0 || fchmod(fd, 0644) < 0) {
        return -errno;
    }
    rc = -posix_fallocate(fd, 0, (off_t)size);
    if (rc < 0) {
        err_set(err, "%s: no room for %ju KiB: %s", name, (uintmax_t)(size / 1024), strerror(-rc));
        return rc;
    }
    synth_header_encode(header, bytes);
    return synth_file_write(fd, bytes, sizeof(bytes), 0);
}

/* link(2) and not rename(2) where nothing was there: a map that another writer has put there is not lost. */
static int put_in_place(const char *name, const char *path, bool is_replacing)
{
    if (is_replacing) {
        return rename(name, path) < 0 ? -errno : 0;
    }
    const int rc = link(name, path) == 0 ? 0 : errno == EEXIST ? -EAGAIN : -errno;
    (void)unlink(name);
    return rc;
}

/* A writer that died between its link(2) and its unlink(2) left the map under both names: it must not be
 * filled anew. */
static int drop_second_name(const char *name, int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        return -errno;
    }
    if (st.st_nlink < 2) {
        return 0;
    }
    (void)unlink(name);
    return -EAGAIN;
}

int synth_file_create(const char *path, const struct synth_header *header, bool is_replacing, int *fd,
                      struct err *err)
{
    char *name = NULL;
    int rc = 0;
    int made = -1;
    *fd = -1;
    if (asprintf(&name, "%s.new", path) < 0) {
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    made = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    rc = made < 0 ? -errno : drop_second_name(name, made);
    if (rc == 0) {
        rc = synth_file_lock(made, SYNTH_LOCK_PRESENCE, false);
    }
    if (rc == 0) {
        rc = synth_file_is_named(name, made);
    }
    if (rc == 0) {
        rc = fill_new(made, name, header, err);
    }
    if (rc == 0) {
        rc = put_in_place(name, path, is_replacing);
    }
    if (rc == 0) {
        rc = synth_file_lock(made, SYNTH_LOCK_PRESENCE, true);
    }
    rc = rc == -EBUSY ? -EAGAIN : rc;
    if (rc < 0 && rc != -EAGAIN && err != NULL && err->text[0] == '\0') {
        err_set(err, "%s: %s%s", name, strerror(-rc), rc == -ENOENT ? " (its directory must exist)" : "");
    }
    if (rc < 0 && made >= 0) {
        (void)close(made);
        made = -1;
    }
    free(name);
    *fd = made;
    return rc;
}

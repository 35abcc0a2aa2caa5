/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/synth_use.h"

#include "common/base/buf.h"
#include "common/run/synth_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAGIC "OSEGUSE\n"
#define USE_VERSION 1u
#define ENTRY_BYTES 4u

static void encode_header(const struct synth_header *map, uint8_t out[SYNTH_USE_HEADER_BYTES])
{
    const uint64_t tag = hash_siphash(&map->key, span_make(map->boot_id, sizeof(map->boot_id)));
    memset(out, 0, SYNTH_USE_HEADER_BYTES);
    struct wbuf w = wbuf_make(out, SYNTH_USE_HEADER_BYTES);
    wbuf_put(&w, SPAN_LIT(MAGIC));
    wbuf_u32(&w, USE_VERSION);
    wbuf_u32(&w, map->capacity);
    wbuf_u32(&w, (uint32_t)(tag >> 32));
    wbuf_u32(&w, (uint32_t)tag);
}

static uint64_t file_bytes(const struct synth_header *map)
{
    return SYNTH_USE_HEADER_BYTES + (uint64_t)map->capacity * ENTRY_BYTES;
}

static uint64_t entry_at(uint32_t slot)
{
    return SYNTH_USE_HEADER_BYTES + (uint64_t)slot * ENTRY_BYTES;
}

static int use_path(const char *map_path, char **out, struct err *err)
{
    if (asprintf(out, "%s.use", map_path) < 0) {
        *out = NULL;
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    return 0;
}

/* 0, or -EPERM (not to be trusted) or -ESTALE (not this map's), with *err. */
static int inspect(const char *path, int fd, const struct synth_header *map, uid_t map_owner, struct err *err)
{
    struct stat st;
    uint8_t want[SYNTH_USE_HEADER_BYTES];
    uint8_t have[SYNTH_USE_HEADER_BYTES];
    if (fstat(fd, &st) < 0) {
        err_set(err, "%s: %s", path, strerror(errno));
        return -EPERM;
    }
    if (!S_ISREG(st.st_mode) || (st.st_mode & S_IWOTH) != 0 ||
        (st.st_uid != 0 && st.st_uid != geteuid() && st.st_uid != map_owner)) {
        err_set(err, "%s: not a regular file of root, ours or the map's owner that others cannot write",
                path);
        return -EPERM;
    }
    encode_header(map, want);
    if ((uint64_t)st.st_size != file_bytes(map) || synth_file_read(fd, have, sizeof(have), 0) < 0 ||
        memcmp(want, have, sizeof(want)) != 0) {
        err_set(err, "%s: not of this map", path);
        return -ESTALE;
    }
    return 0;
}

static int open_checked(const char *path, int flags, const struct synth_header *map, uid_t map_owner,
                        struct synth_use *out, struct err *err)
{
    int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        int rc = -errno;
        err_set(err, "%s: %s", path, strerror(errno));
        return rc;
    }
    int rc = inspect(path, fd, map, map_owner, err);
    if (rc < 0) {
        (void)close(fd);
        return rc;
    }
    out->fd = fd;
    return 0;
}

static int fill(int fd, const struct synth_header *map)
{
    uint8_t header[SYNTH_USE_HEADER_BYTES];
    int rc = fchmod(fd, 0660) < 0 ? -errno : 0; /* whatever the umask says */
    if (rc == 0) {
        rc = -posix_fallocate(fd, 0, (off_t)file_bytes(map));
    }
    encode_header(map, header);
    return rc == 0 ? synth_file_write(fd, header, sizeof(header), 0) : rc;
}

/* Under a temporary name first: whoever opens the file finds it whole. */
static int create(const char *path, const struct synth_header *map, struct synth_use *out, struct err *err)
{
    char *name = NULL;
    if (asprintf(&name, "%s.XXXXXX", path) < 0) {
        err_set(err, "out of memory");
        return -ENOMEM;
    }
    int fd = mkostemp(name, O_CLOEXEC);
    int rc = fd < 0 ? -errno : fill(fd, map);
    if (rc == 0 && rename(name, path) < 0) {
        rc = -errno;
    }
    if (rc == 0) {
        out->fd = fd;
    } else {
        err_set(err, "%s: %s", path, strerror(-rc));
        if (fd >= 0) {
            (void)unlink(name);
            (void)close(fd);
        }
    }
    free(name);
    return rc;
}

int synth_use_open_reader(const char *map_path, const struct synth_header *map, struct synth_use *out,
                          struct err *err)
{
    char *path = NULL;
    *out = SYNTH_USE_NONE;
    int rc = use_path(map_path, &path, err);
    if (rc == 0) {
        struct err unused = {""}; /* what is of no use is replaced */
        rc = open_checked(path, O_RDWR, map, geteuid(), out, &unused);
        rc = rc == 0 || rc == -ENOMEM ? rc : create(path, map, out, err);
    }
    free(path);
    return rc;
}

int synth_use_open_writer(const char *map_path, const struct synth_header *map, uid_t map_owner,
                          struct synth_use *out, struct err *err)
{
    char *path = NULL;
    *out = SYNTH_USE_NONE;
    int rc = use_path(map_path, &path, err);
    if (rc == 0) {
        rc = open_checked(path, O_RDWR, map, map_owner, out, err);
    }
    free(path);
    return rc;
}

bool synth_use_is_current(const struct synth_use *u)
{
    struct stat st;
    return u->fd < 0 || (fstat(u->fd, &st) == 0 && st.st_nlink > 0);
}

uint32_t synth_use_read(const struct synth_use *u, uint32_t slot, int64_t now_s)
{
    uint8_t b[ENTRY_BYTES];
    if (u->fd < 0 || synth_file_read(u->fd, b, sizeof(b), entry_at(slot)) < 0) {
        return 0;
    }
    uint32_t at_s = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | (uint32_t)b[3];
    return (int64_t)at_s <= now_s ? at_s : 0;
}

int synth_use_write(const struct synth_use *u, uint32_t slot, int64_t now_s)
{
    uint8_t b[ENTRY_BYTES];
    struct wbuf w = wbuf_make(b, sizeof(b));
    wbuf_u32(&w, now_s < 0 ? 0 : now_s > (int64_t)UINT32_MAX ? UINT32_MAX : (uint32_t)now_s);
    return u->fd < 0 ? -EBADF : synth_file_write(u->fd, b, sizeof(b), entry_at(slot));
}

void synth_use_close(struct synth_use *u)
{
    if (u->fd >= 0) {
        (void)close(u->fd);
    }
    *u = SYNTH_USE_NONE;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/fence.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* One nameserver, no search list, ndots:1: a second nameserver is a hole, a search list only makes noise. */
const char fence_resolv_conf[] = "# written by openshell-egress run\n"
                                 "nameserver 127.0.0.1\n"
                                 "options ndots:1 timeout:2 attempts:2\n";
/* No resolve, mdns, myhostname or sss: they ask a process outside over a unix socket and would pass the
 * policy by. */
const char fence_nsswitch_conf[] = "# written by openshell-egress run\n"
                                   "passwd: files\ngroup: files\nshadow: files\n"
                                   "hosts: files dns\nnetworks: files\n"
                                   "protocols: files\nservices: files\n";
const char fence_hosts[] = "127.0.0.1 localhost\n"
                           "::1 localhost ip6-localhost ip6-loopback\n";

static const struct etc_file {
    const char *name;
    const char *text;
} etc_files[] = {
    {"resolv.conf", fence_resolv_conf},
    {"nsswitch.conf", fence_nsswitch_conf},
    {"hosts", fence_hosts},
};
#define ETC_FILE_COUNT (sizeof etc_files / sizeof etc_files[0])

static int write_new(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0) {
        return -errno;
    }
    size_t len = strlen(text);
    ssize_t wrote = write(fd, text, len);
    int rc = wrote == (ssize_t)len ? 0 : -EIO;
    if (rc == 0 && fchmod(fd, 0644) != 0) { /* whatever the umask says */
        rc = -errno;
    }
    (void)close(fd);
    return rc;
}

static int fill(const char *dir)
{
    char path[512];
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ETC_FILE_COUNT; i++) {
        (void)snprintf(path, sizeof path, "%s/upper/%s", dir, etc_files[i].name);
        rc = write_new(path, etc_files[i].text);
    }
    return rc;
}

/*
 * An overlay, because a bind mount on /etc/resolv.conf vanishes when the host replaces the file by rename,
 * and the command would then read the host's. Read-only: a write that vanishes with the fence would be worse
 * than an error.
 */
static int mount_overlay(const char *dir)
{
    char options[1600];
    (void)snprintf(options, sizeof options, "lowerdir=/etc,upperdir=%s/upper,workdir=%s/work,userxattr", dir,
                   dir);
    if (mount("overlay", "/etc", "overlay", MS_NOSUID | MS_NODEV | MS_RDONLY, options) == 0) {
        return 0;
    }
    (void)snprintf(options, sizeof options, "lowerdir=/etc,upperdir=%s/upper,workdir=%s/work", dir, dir);
    return mount("overlay", "/etc", "overlay", MS_NOSUID | MS_NODEV | MS_RDONLY, options) == 0 ? 0 : -errno;
}

/* Second best: each file by itself. */
static int mount_files(const char *dir)
{
    for (size_t i = 0; i < ETC_FILE_COUNT; i++) {
        char from[512];
        char to[64];
        (void)snprintf(from, sizeof from, "%s/upper/%s", dir, etc_files[i].name);
        (void)snprintf(to, sizeof to, "/etc/%s", etc_files[i].name);
        bool may_lack = i > 0; /* Alpine has no nsswitch.conf; without a resolv.conf there is no fence */
        if (mount(from, to, NULL, MS_BIND, NULL) != 0 && !(errno == ENOENT && may_lack)) {
            return -errno;
        }
    }
    return 0;
}

/*
 * As in most containers. An overlay is then refused to an ordinary user, since it would show what the mount
 * covers; and it is not needed: nobody there can replace the file by rename (EBUSY).
 */
static bool is_mount_point(const char *path)
{
    struct statx own;
    struct statx etc;
    return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_MNT_ID, &own) == 0 &&
           statx(AT_FDCWD, "/etc", 0, STATX_MNT_ID, &etc) == 0 && (own.stx_mask & STATX_MNT_ID) != 0 &&
           own.stx_mnt_id != etc.stx_mnt_id;
}

static int make_upper(const char *dir)
{
    char path[512];
    mode_t mask = umask(022);
    (void)snprintf(path, sizeof path, "%s/upper", dir);
    int rc = mkdir(path, 0755) == 0 ? 0 : -errno;
    (void)snprintf(path, sizeof path, "%s/work", dir);
    rc = rc == 0 && mkdir(path, 0755) != 0 ? -errno : rc;
    rc = rc == 0 ? fill(dir) : rc;
    (void)umask(mask);
    return rc;
}

int fence_etc(const char *etc_dir, bool degraded, struct err *err)
{
    char dir[64];
    if (mount("tmpfs", etc_dir, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755,size=1m") != 0) {
        err_set(err, "a tmpfs for /etc: %s", strerror(errno));
        return -errno;
    }
    int fd = open(etc_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        err_set(err, "%s: %s", etc_dir, strerror(errno));
        return -errno;
    }
    /* Not its path: a comma or backslash in it would read as part of the overlay's options. */
    (void)snprintf(dir, sizeof dir, "/proc/self/fd/%d", fd);
    int rc = make_upper(dir);
    if (rc != 0) {
        err_set(err, "writing the fence's resolv.conf: %s", strerror(-rc));
        (void)close(fd);
        return rc;
    }
    rc = mount_overlay(dir);
    if (rc != 0 && (degraded || is_mount_point("/etc/resolv.conf"))) {
        rc = mount_files(dir);
    }
    (void)close(fd);
    if (rc != 0) {
        err_set(err, "an overlay on /etc: %s%s", strerror(-rc),
                degraded ? ""
                         : " (--degraded binds resolv.conf, nsswitch.conf and hosts one by one instead)");
    }
    return rc;
}

size_t fence_etc_paths(const char *out[3])
{
    static const char *const paths[] = {"/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/hosts"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        out[i] = paths[i];
    }
    return sizeof paths / sizeof paths[0];
}

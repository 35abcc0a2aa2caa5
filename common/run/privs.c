/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/privs.h"

#include "common/base/log.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PASSWD_BYTES 65536

static int failed(struct err *err, const char *what)
{
    int rc = errno != 0 ? -errno : -EPERM;
    err_set(err, "giving up privileges: %s: %s", what, strerror(-rc));
    return rc;
}

struct target {
    char *name; /* owned; NULL: the groups are known */
    uid_t uid;
    gid_t gid;
    const gid_t *groups;
    size_t group_count;
};

static int find_user(const char *name, struct target *out, struct err *err)
{
    struct passwd entry, *found = NULL;
    char *text = malloc(PASSWD_BYTES);
    int rc = text == NULL ? ENOMEM : getpwnam_r(name, &entry, text, PASSWD_BYTES, &found);
    *out = (struct target){0};
    if (found != NULL) {
        out->name = strdup(entry.pw_name);
        out->uid = entry.pw_uid;
        out->gid = entry.pw_gid;
        rc = out->name == NULL ? ENOMEM : 0;
    }
    free(text);
    if (rc != 0) {
        err_set(err, "--user: %.80s: %s", name, strerror(rc));
        return -rc;
    }
    if (found == NULL) {
        err_set(err, "--user: there is no user %.80s", name);
        return -EINVAL;
    }
    return 0;
}

int privs_uid(const char *name, uid_t *out, struct err *err)
{
    struct target t = {.uid = geteuid()};
    int rc = name != NULL ? find_user(name, &t, err) : 0;
    *out = t.uid;
    free(t.name);
    return rc;
}

static int read_capabilities(uint64_t *effective, uint64_t *permitted)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2] = {{0}, {0}};
    if (syscall(SYS_capget, &head, data) < 0) {
        return -errno;
    }
    *effective = data[0].effective | (uint64_t)data[1].effective << 32;
    *permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    return 0;
}

static int write_capabilities(uint64_t mask)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2] = {{0}, {0}};
    data[0].effective = data[0].permitted = (uint32_t)mask;
    data[1].effective = data[1].permitted = (uint32_t)(mask >> 32);
    return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

/*
 * The bounding set can be reduced only with CAP_SETPCAP, so before the uid changes. Without it nothing is
 * lost: with no_new_privs no program can raise what the bounding set would forbid.
 */
static int drop_bounding(uint64_t keep, uint64_t effective, struct err *err)
{
    if ((effective & UINT64_C(1) << CAP_SETPCAP) == 0) {
        return 0;
    }
    for (unsigned long cap = 0; cap < 64; cap++) {
        int present = prctl(PR_CAPBSET_READ, cap, 0UL, 0UL, 0UL);
        if (present < 0) {
            break; /* beyond the last one this kernel knows */
        }
        if (present == 1 && (keep & UINT64_C(1) << cap) == 0 &&
            prctl(PR_CAPBSET_DROP, cap, 0UL, 0UL, 0UL) < 0) {
            return failed(err, "bounding set");
        }
    }
    return 0;
}

static int become(const struct target *to, uint64_t keep, struct err *err)
{
    if (getuid() == to->uid && geteuid() == to->uid && geteuid() != 0) {
        return 0; /* started as that user: groups cannot be and need not be changed */
    }
    if (keep != 0 && prctl(PR_SET_KEEPCAPS, 1UL, 0UL, 0UL, 0UL) < 0) {
        return failed(err, "keeping capabilities");
    }
    if ((to->name != NULL ? initgroups(to->name, to->gid) : setgroups(to->group_count, to->groups)) < 0) {
        int rc = failed(err, "supplementary groups");
        err_add_hint(err, rc == -EPERM ? "start as root to become somebody else, or leave --user out" : "");
        return rc;
    }
    if (setresgid(to->gid, to->gid, to->gid) < 0) {
        return failed(err, "group");
    }
    if (setresuid(to->uid, to->uid, to->uid) < 0) {
        return failed(err, "user");
    }
    return 0;
}

/* What a daemon of another uid must not be able to undo. */
static int verify(const struct target *to, uint64_t keep, struct err *err)
{
    uint64_t effective = 0, permitted = 0;
    uid_t r, e, s;
    gid_t rg, eg, sg;
    errno = 0;
    if (read_capabilities(&effective, &permitted) < 0 || ((effective | permitted) & ~keep) != 0) {
        return failed(err, "capabilities are still there");
    }
    if (to == NULL) {
        return 0;
    }
    if (getresuid(&r, &e, &s) < 0 || r != to->uid || e != to->uid || s != to->uid ||
        getresgid(&rg, &eg, &sg) < 0) {
        return failed(err, "the user did not change");
    }
    if (to->uid != 0 && (setuid(0) == 0 || seteuid(0) == 0)) {
        errno = EPERM;
        return failed(err, "root could be regained");
    }
    if (to->uid != 0 && to->gid != 0 && setgid(0) == 0) {
        errno = EPERM;
        return failed(err, "the root group could be regained");
    }
    return 0;
}

static int drop_all(const struct target *to, uint64_t keep, struct err *err)
{
    uint64_t effective = 0, permitted = 0;
    int rc = read_capabilities(&effective, &permitted);
    if (rc < 0) {
        errno = -rc;
        return failed(err, "reading capabilities");
    }
    rc = drop_bounding(keep, effective, err);
    if (rc == 0 && to != NULL) {
        rc = become(to, keep, err);
    }
    if (rc < 0) {
        return rc;
    }
    /* EINVAL: a kernel without ambient capabilities */
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0UL, 0UL, 0UL) < 0 && errno != EINVAL) {
        return failed(err, "ambient set");
    }
    rc = write_capabilities(permitted & keep);
    if (rc < 0) {
        errno = -rc;
        return failed(err, "capabilities");
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) < 0) {
        return failed(err, "no_new_privs");
    }
    return verify(to, keep, err);
}

int privs_drop(const char *name, uint64_t keep, struct err *err)
{
    struct target to = {0};
    int rc = name != NULL ? find_user(name, &to, err) : 0;
    if (rc == 0) {
        rc = drop_all(name != NULL ? &to : NULL, keep, err);
    }
    free(to.name);
    if (rc == 0 && geteuid() == 0) {
        log_event(LOG_WARN, "running_as_root",
                  LOG_KV(kv_str("note", "uid 0 without capabilities; --user NAME gives up the uid too")));
    }
    return rc;
}

int privs_drop_ids(const struct privs_ids *ids, uint64_t keep, struct err *err)
{
    struct target to = {0};
    if (ids != NULL) {
        to = (struct target){
            .uid = ids->uid, .gid = ids->gid, .groups = ids->groups, .group_count = ids->group_count};
    }
    return drop_all(ids != NULL ? &to : NULL, keep, err);
}

uint64_t privs_held(void)
{
    uint64_t effective = 0, permitted = 0;
    return read_capabilities(&effective, &permitted) == 0 ? permitted : 0;
}

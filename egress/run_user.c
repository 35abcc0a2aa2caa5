/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/run_user.h"

#include "common/base/num.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PASSWD_BYTES 65536

bool run_user_is_root(void)
{
    unsigned long inside = 0;
    unsigned long outside = 0;
    unsigned long count = 0;
    char line[128] = "";
    FILE *f = fopen("/proc/self/uid_map", "re");
    if (f != NULL) {
        if (fgets(line, sizeof line, f) != NULL) {
            char *at = line;
            inside = strtoul(at, &at, 10);
            outside = strtoul(at, &at, 10);
            count = strtoul(at, &at, 10);
        }
        (void)fclose(f);
    }
    return geteuid() == 0 && !(inside == 0 && outside != 0 && count == 1);
}

static bool is_id(const char *text, uint32_t *out)
{
    uint64_t n = 0;
    bool ok = text != NULL && num_u64(span_str(text), 0, UINT32_MAX - 1, &n) == 0; /* (uid_t)-1 is nobody's */
    *out = (uint32_t)n;
    return ok;
}

static int take(const struct passwd *entry, struct run_user *out, struct err *err)
{
    int count = RUN_USER_GROUPS_MAX;
    out->uid = entry->pw_uid;
    out->gid = entry->pw_gid;
    (void)snprintf(out->name, sizeof out->name, "%s", entry->pw_name);
    (void)snprintf(out->home, sizeof out->home, "%s", entry->pw_dir);
    (void)snprintf(out->shell, sizeof out->shell, "%s", entry->pw_shell);
    if (getgrouplist(entry->pw_name, entry->pw_gid, out->groups, &count) < 0) {
        err_set(err, "%s is in more than %d groups", entry->pw_name, RUN_USER_GROUPS_MAX);
        return -E2BIG;
    }
    out->group_count = (size_t)count;
    return 0;
}

/* 1 if there is such a user, 0 if not, -errno. */
static int look_up(const char *name, const uint32_t *uid, struct run_user *out, struct err *err)
{
    struct passwd entry;
    struct passwd *found = NULL;
    char *text = malloc(PASSWD_BYTES);
    int rc = ENOMEM;
    if (text != NULL) {
        rc = uid != NULL ? getpwuid_r(*uid, &entry, text, PASSWD_BYTES, &found)
                         : getpwnam_r(name, &entry, text, PASSWD_BYTES, &found);
    }
    if (found != NULL) {
        rc = take(found, out, err);
        rc = rc == 0 ? 1 : rc;
    } else if (rc != 0) {
        err_set(err, "looking a user up: %s", strerror(rc));
        rc = -rc;
    }
    free(text);
    return rc;
}

static int find_as(const char *as, struct run_user *out, struct err *err)
{
    uint32_t id = 0;
    struct err why = {""};
    int rc = look_up(as, NULL, out, &why);
    if (rc == 0 && is_id(as, &id)) {
        rc = look_up(as, &id, out, &why);
    }
    if (rc < 0) {
        err_set(err, "--as: %s", why.text);
        return rc;
    }
    if (rc == 0) {
        err_set(err, "--as: there is no user %.80s", as);
        return -EINVAL;
    }
    out->is_other = out->uid != geteuid();
    if (out->is_other && !run_user_is_root()) {
        err_set(err, "--as: only root can run a command as another user");
        return -EPERM;
    }
    return 0;
}

int run_user_find(const char *as, const char *sudo_uid, const char *sudo_gid, struct run_user *out,
                  struct err *err)
{
    uint32_t uid = 0;
    uint32_t gid = 0;
    struct err why = {""};
    *out = (struct run_user){0};
    if (as != NULL) {
        return find_as(as, out, err);
    }
    if (!run_user_is_root() || !is_id(sudo_uid, &uid) || uid == 0) {
        return 0;
    }
    int rc = look_up(NULL, &uid, out, &why);
    if (rc < 0) {
        err_set(err, "SUDO_UID: %s", why.text);
        return rc;
    }
    if (rc == 0 && !is_id(sudo_gid, &gid)) {
        err_set(err, "SUDO_UID=%u has no entry, and SUDO_GID is no number: name a user with --as", uid);
        return -EINVAL;
    }
    if (rc == 0) { /* without an entry there are no groups but that one */
        out->uid = uid;
        out->gid = gid;
    }
    out->is_other = true;
    return 0;
}

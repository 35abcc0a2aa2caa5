/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom COMMAND runs as where root runs `run`: --as USER, or who called sudo. With uid 0 the fence stops
 * mistakes, not attacks. Looked up outside the fence, which asks files alone.
 */
#pragma once

#include "common/run/privs.h"

#define RUN_USER_GROUPS_MAX 256

struct run_user {
    bool is_other; /* not who we are: the rest is valid */
    uid_t uid;
    gid_t gid;
    gid_t groups[RUN_USER_GROUPS_MAX];
    size_t group_count;
    char name[64];   /* "" = not known, and so the two below */
    char home[1024]; /* "" = not known */
    char shell[256];
};

/* Are we uid 0, other than in a user namespace that maps this one uid only (unshare -r)? */
bool run_user_is_root(void);
/* as is --as or NULL; sudo_uid and sudo_gid are the variables of sudo(8) or NULL. 0 or -errno with *err. */
MUST_CHECK int run_user_find(const char *as, const char *sudo_uid, const char *sudo_gid, struct run_user *out,
                             struct err *err);

/* SPDX-License-Identifier: Apache-2.0 */
/* Giving privileges up. Before threads start. */
#pragma once

#include "common/base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * --user: supplementary groups, gid, uid of NAME, verified not to be regainable; then every capability but
 * those in keep (a mask of 1 << CAP_*) leaves the effective, permitted, inheritable, ambient and bounding
 * sets; no_new_privs. name NULL: keeps the uid (a warning is logged for uid 0). 0 or -errno with *err.
 */
MUST_CHECK int privs_drop(const char *name, uint64_t keep, struct err *err);
/* A user whose numbers are known. */
struct privs_ids {
    uid_t uid;
    gid_t gid;
    const gid_t *groups; /* supplementary, borrowed */
    size_t group_count;
};
/* The same for ids; NULL: keeps the uid, without a word. */
MUST_CHECK int privs_drop_ids(const struct privs_ids *ids, uint64_t keep, struct err *err);
/* The uid that we shall have: that of the user NAME, or with name NULL the one that we have. 0 or -errno with
 * *err. */
MUST_CHECK int privs_uid(const char *name, uid_t *out, struct err *err);
/* The capabilities this thread could use, 1 << CAP_*: its permitted set; 0 if the kernel does not tell. */
uint64_t privs_held(void);

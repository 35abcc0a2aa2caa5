/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The credentials of --chain-auth-file: one line USER:PASSWORD, kept only in the form in which they are sent.
 * Never logged, never quoted in an error. The main thread loads them at the start and at each reload, workers
 * take a copy for each request; a lock is between them.
 */
#pragma once

#include "common/base/err.h"
#include "tunneld/chain_http.h"

#include <pthread.h>
#include <sys/types.h>

struct chain_auth {
    pthread_mutex_t lock;
    char basic[CHAIN_BASIC_CAP]; /* "" = none */
};

void chain_auth_init(struct chain_auth *a);
/*
 * Reads the file and replaces what is there; on failure that stays. 0, or -errno with *err naming the file:
 * it must be a regular file of root's or of owner's, that others can neither read nor write and its
 * group cannot write (symbolic links are followed: a mounted secret is one).
 */
MUST_CHECK int chain_auth_load(struct chain_auth *a, const char *file, uid_t owner, struct err *err);
/* "" without credentials. */
void chain_auth_get(struct chain_auth *a, char basic[CHAIN_BASIC_CAP]);
void chain_auth_fini(struct chain_auth *a);

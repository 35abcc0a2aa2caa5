/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --transparent auto: a capture listener on every port that the policy names. Follows a policy by adding to
 * and removing from the daemon's listening sockets, and remembers what became of each port. The main
 * thread's.
 */
#pragma once

#include "common/base/json.h"
#include "common/run/capture_auto.h"
#include "tunneld/listen.h"

enum listen_auto_state { LISTEN_AUTO_FAILED = 0, LISTEN_AUTO_SKIPPED, LISTEN_AUTO_OPEN };

struct listen_auto_port {
    struct addr addr;
    enum listen_auto_state state;
    int error;       /* failed: why, an errno */
    const char *why; /* skipped: the option that has it, a literal */
};

struct listen_auto { /* zero-initialised = the option is not given */
    struct capture_hosts hosts;
    struct addr admin;              /* port 0: there is none */
    struct listen_auto_port *ports; /* in the order of hosts, then of ports */
    size_t count;
};

bool listen_auto_is_on(const struct listen_auto *a);
/* At start: every port or an error, -errno with *err. */
MUST_CHECK int listen_auto_open(struct listen_auto *a, struct listen_set *set, const struct policy *p,
                                struct err *err);
/* Later: what cannot be had is logged and tried again by the next call. True if the set has changed. */
bool listen_auto_follow(struct listen_auto *a, struct listen_set *set, const struct policy *p);
/* Gives up what was added behind the id, and says why. */
void listen_auto_undo(struct listen_auto *a, struct listen_set *set, uint64_t last_id, const struct err *why);
/* For /status: what is not listened on. */
void listen_auto_write(const struct listen_auto *a, struct json *json);
void listen_auto_fini(struct listen_auto *a);

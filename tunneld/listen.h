/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listening sockets of the daemon, one set per worker. Own ones are bound once per worker with
 * SO_REUSEPORT, so that the kernel spreads clients; passed ones (LISTEN_FDS), and those that another process
 * makes for us (port_ask.h), are shared through duplicates.
 * The main thread's; once there are workers, whoever shares a set with them locks it.
 */
#pragma once

#include "common/net/addr.h"
#include "common/run/listen_fds.h"
#include "common/run/port_ask.h"
#include "common/run/settings.h"

#define LISTEN_CONNECT_PORT 3128 /* of --listen ADDR */

enum listen_kind { LISTEN_CONNECT = 0, LISTEN_CAPTURE };

struct listen_socket {
    uint64_t id; /* never used again; rising in a set's items */
    enum listen_kind kind;
    struct addr addr;
    int *fds;          /* one per worker; -1 once taken */
    bool takes_tproxy; /* capture: IP_TRANSPARENT is set */
    bool is_auto;      /* of --transparent auto */
    bool is_foreign;   /* it listens in another network namespace: its address is none of this host's */
};

struct listen_set { /* zero-initialised = empty */
    struct listen_socket *items;
    size_t count, cap;
    uint64_t last_id;
    unsigned worker_count;
    bool is_asking;          /* a socket named "ports" was passed: --transparent auto's are asked for there */
    struct port_asker asker; /* closed once the other half is gone; the main thread's alone */
};

/* Are all of them addresses? Opens nothing. 0, or -EINVAL with the bad item in *err. */
MUST_CHECK int listen_check(const struct str_list *list, enum listen_kind kind, struct err *err);
/* The bad item is in *err; -EINVAL -> configuration, else the operating system. */
MUST_CHECK int listen_bind(struct listen_set *set, const struct str_list *list, enum listen_kind kind,
                           struct err *err);
/* One more for --transparent auto; on failure -errno with *err, and the set is as it was. */
MUST_CHECK int listen_bind_auto(struct listen_set *set, const struct addr *addr, struct err *err);
/* Closes what nobody took of it. */
void listen_remove(struct listen_set *set, size_t index);
/* Takes the descriptors named "connect" and "capture", and one "ports"; others are an error. */
MUST_CHECK int listen_adopt(struct listen_set *set, const struct listen_fds *passed, struct err *err);
const char *listen_kind_text(enum listen_kind k);
void listen_fini(struct listen_set *set); /* closes what nobody took */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockets of dnsd: bound here (one set for each worker, SO_REUSEPORT) or passed to it. Main thread,
 * before the workers.
 */
#pragma once

#include "common/base/json.h"
#include "common/run/listen_fds.h"
#include "common/run/settings.h"
#include "dnsd/dnsd_worker.h"

struct listeners { /* zero-initialised = empty; owner calls listeners_fini */
    struct dnsd_socket *items;
    size_t count;
    bool is_passed;
    uint64_t netns; /* of the passed sockets; 0: ours, or the kernel does not tell */
};

/* Every item of --listen is an address, and none is there twice or is that of --admin (NULL: none). -EINVAL
 * names what is not so. */
MUST_CHECK int listeners_check(const struct str_list *listen, const char *admin, struct err *err);
/*
 * Binds UDP and TCP of each address for each worker; port 0 is the kernel's choice, one number for both. The
 * first socket of an address is bound alone, so that a port in use is an error and not shared with a
 * stranger. 0 or -errno with *err.
 */
MUST_CHECK int listeners_bind(struct listeners *l, const struct str_list *listen, unsigned worker_count,
                              struct err *err);
/* Fills in what listeners_bind() would bind, without a socket: for listeners_check_upstreams() alone. 0 or
 * -errno with *err. */
MUST_CHECK int listeners_foresee(struct listeners *l, const struct str_list *listen, struct err *err);
/* Takes every descriptor of passed; each serves in one worker, in turn. -EINVAL: not for dnsd. */
MUST_CHECK int listeners_adopt(struct listeners *l, struct listen_fds *passed, unsigned worker_count,
                               struct err *err);
/*
 * An upstream that is one of the listeners would make dnsd ask itself: -EINVAL naming both; what helps
 * depends on where the upstream comes from. Passed sockets of another network namespace may have the same
 * address and not be the same.
 */
MUST_CHECK int listeners_check_upstreams(const struct listeners *l, const struct addr *upstreams,
                                         size_t count, struct err *err);
/* The distinct addresses, at most cap; returns how many were written. */
size_t listeners_addrs(const struct listeners *l, struct addr *out, size_t cap);
void listeners_log(const struct listeners *l); /* "listening addr=… proto=…", once for each address */
/* One object {addr, kind, proto} each, once for each address, into the open array. */
void listeners_write(const struct listeners *l, struct json *json);
void listeners_fini(struct listeners *l); /* closes what no worker took */

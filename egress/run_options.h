/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of `openshell-egress run`: its own options, and the daemons' options routed to the daemon
 * (or daemons) whose settings table has them. Borrows argv. Pure but for memory.
 */
#pragma once

#include "egress/daemon_args.h"
#include "egress/fence.h"

#define RUN_KEEP_FDS_MAX 32

struct run_options {
    struct arg_list policies; /* at least the default */
    struct arg_list pools;    /* as given; empty = the default pools */
    struct daemon_args daemons;
    struct arg_list env;  /* --env, each NAME=VALUE */
    struct arg_list keep; /* --keep: names of variables, absolute paths */
    int keep_fds[RUN_KEEP_FDS_MAX];
    size_t keep_fd_count;
    const char *as;  /* --as or NULL */
    const char *log; /* --log FILE or NULL */
    enum fence_capture capture;
    bool no_proxy_env; /* --proxy-env off */
    bool degraded;     /* --degraded */
    bool summary;      /* --summary */
    bool help;
    char **cmd; /* NULL-terminated, at least one unless help */
};

/* argv[0] is "run". 0; -EINVAL with *err naming the option (exit 64); -ENOMEM. */
MUST_CHECK int run_options_parse(int argc, char **argv, struct run_options *out, struct err *err);
void run_options_fini(struct run_options *o);

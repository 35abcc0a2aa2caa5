/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main thread's loop while a daemon serves: signals, reload, the control descriptor, and the end. Private
 * to daemon.c. Made early, so that a signal that comes while the daemon starts is kept and not fatal.
 */
#pragma once

#include "common/net/path_watch.h"
#include "common/net/steady_io.h"
#include "common/policy/policy_store.h"
#include "common/run/policy_health.h"
#include "common/run/resolv_watch.h"
#include "common/run/worker_pool.h"

struct daemon_loop {
    const struct daemon_spec *spec;
    struct ev_loop *ev;
    struct policy_store *store; /* borrowed */
    struct worker_pool *pool;   /* borrowed, set before daemon_loop_run */
    struct policy *published;   /* a reference: what the workers have, or are about to get */
    struct policy *in_use;      /* a reference: what every worker has */
    struct policy_health health;
    struct path_watch *watch;    /* of the policy's paths; NULL: not to be had */
    int watch_error;             /* why not, as logged */
    struct resolv_watch *resolv; /* NULL: nothing to follow */
    struct steady_io signals, control;
    int signal_fd;  /* owned */
    int control_fd; /* owned; -1: none */
    ev_timer drain;
    ev_timer retry;     /* running: the files could not be read for a reason that passes */
    double retry_s;     /* how long it waits; 0: the last reading was no such one */
    bool is_announcing; /* published is not yet in use everywhere */
    bool is_asked;      /* SIGHUP wants an answer */
    bool is_reload_due; /* once the workers have taken what is published */
    bool is_stopping;
    bool is_drained;
};

/* Can this daemon serve the policy? 0, or -EINVAL with *err. At start and at each reload. */
MUST_CHECK int daemon_check_policy(const struct daemon_spec *spec, const struct policy *p, struct err *err);
/* Starts the watchers. Takes control_fd (-1: none). 0 or -errno with *err. */
MUST_CHECK int daemon_loop_init(struct daemon_loop *l, const struct daemon_spec *spec, int control_fd,
                                struct err *err);
/*
 * After open(): gets ready to follow resolv.conf if the upstreams are from there; daemon_loop_run begins. 0
 * or -ENOMEM with *err.
 */
MUST_CHECK int daemon_loop_init_upstreams(struct daemon_loop *l, struct err *err);
/* Runs until asked to stop and the workers are drained or out of time. */
void daemon_loop_run(struct daemon_loop *l);
void daemon_loop_fini(struct daemon_loop *l);
/* For worker_pool_config.on_progress; ctx is the loop. */
void daemon_loop_on_progress(void *ctx);

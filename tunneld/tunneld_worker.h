/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker's part of the tunnel daemon: its acceptors, its resolver, its sessions. Everything here belongs
 * to the worker's thread.
 */
#pragma once

#include "common/base/log.h"
#include "common/dns/resolver.h"
#include "common/net/acceptor.h"
#include "common/net/deadline.h"
#include "common/run/brakes_log.h"
#include "tunneld/admit.h"
#include "tunneld/relay.h"
#include "tunneld/tunneld.h"

struct session;
struct tunneld_worker;

struct tunneld_listener { /* an acceptor's context */
    struct tunneld_worker *tw;
    struct tunneld_listener *next; /* in the order of ids */
    uint64_t id;
    enum listen_kind kind;
    struct acceptor *acceptor;
};

struct tunneld_worker {
    struct worker *worker;
    struct tunneld *daemon;
    struct admit admit; /* its policy follows the worker's */
    struct resolver *resolver;
    struct deadline_list *deadlines;
    struct pipe_pool pipes;
    struct relay_env relay_env;         /* owns hangup and buffer, borrows pipes */
    struct tunneld_listener *listeners; /* none once it drains */
    struct own_guard *guard;            /* a reference; admit looks into it */
    struct session *sessions;           /* doubly linked */
    size_t session_count;
    size_t uncounted_count; /* of them: refused ones that no limit counts */
    struct log_limit denied_limit, failed_limit;
    ev_timer log_timer; /* says what they suppressed; active only while there is something */
    struct brakes_log brakes_log;
    ev_timer use_timer; /* tells the map which captured tunnels stand; not while there is none */
    bool is_draining, is_done;
};

int tunneld_worker_start(struct worker *w, struct err *err);
void tunneld_worker_policy(struct worker *w, struct policy *previous);
void tunneld_worker_upstreams(struct worker *w, const struct upstream_list *list);
void tunneld_worker_drain(struct worker *w);
void tunneld_worker_stop(struct worker *w);
/* A connection was captured: from now on the map hears of it. */
void tunneld_worker_captured(struct tunneld_worker *tw);
/* Whether limit, one of the worker's, lets a line be logged; *suppressed goes into it. What is not logged now
 * is counted there, or said by itself ten seconds later or at the end. */
bool tunneld_worker_may_log(struct tunneld_worker *tw, struct log_limit *limit, uint64_t *suppressed);
/* A session has left the list. */
void tunneld_worker_session_gone(struct tunneld_worker *tw);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tunnel daemon: what all its workers share. Built before threads start and not changed while they serve,
 * but for listeners and guard, which change under their lock where --transparent auto follows the policy;
 * limits, brakes, news and map have their own locks, and upstreams is the main thread's. tunneld_run() is
 * main() without the process.
 */
#pragma once

#include "common/run/acl.h"
#include "common/run/brakes.h"
#include "common/run/chain_config.h"
#include "common/run/daemon.h"
#include "common/run/synth_map.h"
#include "common/run/upstreams.h"
#include "tunneld/chain_auth.h"
#include "tunneld/limits.h"
#include "tunneld/listen.h"
#include "tunneld/listen_auto.h"
#include "tunneld/own_guard.h"

#include <pthread.h>

struct tunneld {
    struct settings_tunneld settings;
    struct judge_config judge;
    struct chain_config chain;
    struct chain_auth chain_auth; /* has its own lock */
    bool is_serving;              /* the main thread's: workers have been started */
    struct acl acl;
    struct steer_addrs steer;
    pthread_mutex_t listen_lock; /* of the next two while there are workers; only the main thread adds,
                                    removes and replaces, so it needs it only for that */
    struct listen_set listeners;
    struct own_guard *guard;  /* its listeners are those above */
    struct listen_auto autos; /* the main thread's, like the next two */
    bool is_auto;             /* --transparent auto is given, and sockets were not passed instead of it */
    uint64_t keep_caps;
    struct limits *limits;
    struct brakes *brakes;
    struct upstream_news *news;
    struct synth_map *map;          /* NULL without a capture listener */
    struct upstream_list upstreams; /* the main thread's; workers have their own copy */
    struct zone_set zones;
    struct dns_tls_store *tls; /* NULL: no upstream is asked over TLS */
    unsigned worker_count;
    char via[32]; /* what we are called in Via: of this process alone, so that only true loops are seen */
};

/* Warns of every endpoint that --l7=tunnel carries raw although its rules are about requests. */
void tunneld_warn_raw(const struct tunneld *d, const struct policy *p);
int tunneld_run(int argc, char **argv); /* the exit status */

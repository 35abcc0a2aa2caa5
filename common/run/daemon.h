/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a daemon, once for both: settings, --check, policy, sockets, privileges, workers, READY, reload
 * on SIGHUP, SIGTERM and SIGINT, end. The main thread owns the default loop and all signals.
 *
 * Order: read settings -> log -> load policy -> admin listener -> open() binds everything -> --user (groups,
 * gid, uid), capabilities dropped, no_new_privs -> the policy is read once more as that user -> workers ->
 * READY on --ready-fd and sd_notify -> loop.
 *
 * End: SIGTERM or SIGINT drains every worker and waits for daemon_worker_done of each, at most *drain_ms; a
 * second one ends at once. A launcher may pass a descriptor by OPENSHELL_CONTROL_FD=N (removed from the
 * environment): end of file on it acts like SIGTERM without waiting, so that a daemon never outlives its
 * launcher.
 */
#pragma once

#include "common/base/json.h"
#include "common/net/addr.h"
#include "common/run/listen_fds.h"
#include "common/run/settings_tables.h"
#include "common/run/upstreams.h"
#include "common/run/worker.h"

struct daemon_spec {
    const char *program;    /* "openshell-dnsd" */
    const char *summary;    /* for --help */
    const char *env_prefix; /* "OPENSHELL_DNSD" */
    const struct setting *table;
    void *settings;                 /* the daemon's settings struct */
    struct settings_shared *shared; /* inside it */
    void *ctx;
    const int64_t *drain_ms; /* inside the settings; NULL or 0: do not wait for sessions at the end */
    const uint64_t
        *keep_caps; /* capabilities that survive the start (1 << CAP_*); known once opened; NULL: none */
    /* Cross checks of settings and policy; no sockets. 0, or -EINVAL with *err -> exit 64 (usage) or 78
     * (policy). */
    int (*check_settings)(void *ctx, struct err *err);
    int (*check_policy)(void *ctx, const struct policy *p, struct err *err); /* at start and at each reload */
    /* --check, where the settings are good: what open() would refuse and no socket is needed to see. -EINVAL
     * with *err -> 78. May be NULL. */
    int (*check_open)(void *ctx, struct err *err);
    /* The main thread is asked to reload, or files have changed: what the daemon reads besides the policy.
     * May be NULL. */
    void (*reload)(void *ctx);
    /* Binds sockets, opens the map. Takes the descriptors of passed. admin is the address of the admin
     * listener, one more that nothing may reach; NULL: none. -errno with *err -> exit 71, -EINVAL -> 78. */
    int (*open)(void *ctx, struct listen_fds *passed, unsigned worker_count, const struct addr *admin,
                struct err *err);
    /*
     * Behind open(), also with every privilege: what is to be opened because of what the policy says. May be
     * NULL. -errno with *err -> as for open().
     */
    int (*open_policy)(void *ctx, const struct policy *p, struct err *err);
    /*
     * Main thread: opens and closes what this policy asks for and the last one did not; what cannot be had is
     * logged. Before the workers start, before a policy is published, and when a reload finds nothing new.
     * Not before every worker has taken what was published last. True: the workers are to look, for which
     * worker_policy is called, if need be with the policy that they have. May be NULL.
     */
    bool (*follow_policy)(void *ctx, const struct policy *p);
    /*
     * In the main thread, before threads: sets w->data and starts watchers on w->loop. 0, or -errno with *err
     * after undoing what it did: worker_stop is not called for this worker then.
     */
    int (*worker_start)(struct worker *w, struct err *err);
    /* In the worker's thread, w->policy is already the new one; previous is valid during the call, and may be
     * the same (follow_policy). */
    void (*worker_policy)(struct worker *w, struct policy *previous);
    /*
     * The servers that the daemon asks, filled by open(). Where they are those of a resolv.conf, it is
     * followed: the list is replaced in the main thread and told to each worker, in that worker's thread
     * (list is borrowed for the call). check_upstream is the main thread's; NULL: no listener of ours answers
     * DNS. upstreams NULL: nobody is asked.
     */
    struct upstream_list *upstreams;
    const char *const *resolv_conf; /* inside the settings */
    upstream_check_fn *check_upstream;
    void (*worker_upstreams)(struct worker *w, const struct upstream_list *list);
    /* In the worker's thread: stop accepting; call daemon_worker_done(w) once when nothing is left (may be at
     * once). */
    void (*worker_drain)(struct worker *w);
    /* In the worker's thread after its loop ended: close everything. Also for a worker whose thread never
     * ran. */
    void (*worker_stop)(struct worker *w);
    const struct metrics_info *counters; /* of worker.metrics, by index; for /status and /metrics */
    size_t counter_count;
    /* Members of the daemon's own in the object of /status. Main thread, while workers run; may be NULL. */
    void (*status)(void *ctx, struct json *json);
    void (*close)(void *ctx); /* main thread, last; also after a failed open, never without open */
};

int daemon_main(const struct daemon_spec *spec, int argc, char **argv); /* the exit status */
void daemon_worker_done(struct worker *w);

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/daemon_loop.h"

#include "common/run/daemon_reload.h"
#include "common/run/notify.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void on_hup(struct daemon_loop *l)
{
    daemon_reload_asked(l);
    if (l->resolv != NULL && !l->is_stopping) {
        resolv_watch_look(l->resolv);
    }
}

/* ---- upstreams ---- */

static void on_upstreams_change(void *ctx, const struct upstream_list *list)
{
    struct daemon_loop *l = ctx;
    *l->spec->upstreams = *list;
    worker_pool_set_upstreams(l->pool, list);
}

int daemon_loop_init_upstreams(struct daemon_loop *l, struct err *err)
{
    const struct daemon_spec *spec = l->spec;
    if (spec->upstreams == NULL || spec->shared->upstream.count > 0) {
        return 0;
    }
    const struct resolv_watch_config cfg = {.loop = l->ev,
                                            .path = *spec->resolv_conf,
                                            .in_use = *spec->upstreams,
                                            .quiet_ms = RESOLV_WATCH_QUIET_MS,
                                            .check = spec->check_upstream,
                                            .check_ctx = spec->ctx,
                                            .on_change = on_upstreams_change,
                                            .ctx = l};
    int rc = resolv_watch_new(&cfg, &l->resolv);
    if (rc != 0) {
        err_set(err, "out of memory");
    }
    return rc;
}

/* ---- end ---- */

static void finish(struct daemon_loop *l)
{
    l->is_drained = worker_pool_is_drained(l->pool);
    ev_break(l->ev, EVBREAK_ALL);
}

static void on_drain_timer(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    finish(w->data);
}

static void stop(struct daemon_loop *l, const char *why, int64_t drain_ms)
{
    if (l->is_stopping) { /* asked twice: at once */
        finish(l);
        return;
    }
    l->is_stopping = true;
    log_event(LOG_INFO, "stopping", LOG_KV(kv_str("why", why), kv_i64("drain_ms", drain_ms)));
    notify_service_manager("STOPPING=1");
    worker_pool_drain(l->pool);
    if (drain_ms <= 0) {
        finish(l);
        return;
    }
    ev_now_update(l->ev);
    ev_timer_set(&l->drain, (double)drain_ms / 1000.0, 0.0);
    ev_timer_start(l->ev, &l->drain);
}

static void on_signal_event(void *ctx)
{
    struct daemon_loop *l = ctx;
    struct signalfd_siginfo got;
    while (read(l->signal_fd, &got, sizeof(got)) == (ssize_t)sizeof(got)) {
        if (got.ssi_signo == SIGHUP) {
            on_hup(l);
        } else {
            stop(l, got.ssi_signo == SIGINT ? "SIGINT" : "SIGTERM",
                 l->spec->drain_ms != NULL ? *l->spec->drain_ms : 0);
        }
    }
}

/* Nothing is ever said on it: what counts is that whoever holds the other end is gone. */
static void on_control_readable(void *ctx)
{
    struct daemon_loop *l = ctx;
    char text[256];
    ssize_t n = read(l->control_fd, text, sizeof(text));
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR))) {
        return;
    }
    steady_io_stop(&l->control);
    (void)close(l->control_fd);
    l->control_fd = -1;
    stop(l, "launcher gone", 0);
}

void daemon_loop_on_progress(void *ctx)
{
    struct daemon_loop *l = ctx;
    if (worker_pool_has_taken(l->pool)) {
        daemon_reload_taken(l);
    }
    if (l->is_stopping && worker_pool_is_drained(l->pool)) {
        finish(l);
    }
}

/* ---- life ---- */

/*
 * The signals stay blocked to the end of the process: one that comes while the daemon starts is read once it
 * runs, and a late one must not make a death of an end that has begun. What is ignored, as nohup(1) has it of
 * SIGHUP and sh(1) of a background command's SIGINT, would not be queued at all.
 */
static int start_signals(struct daemon_loop *l)
{
    static const int heard[] = {SIGHUP, SIGTERM, SIGINT};
    const struct sigaction by_default = {.sa_handler = SIG_DFL};
    sigset_t set;
    (void)sigemptyset(&set);
    for (size_t i = 0; i < sizeof(heard) / sizeof(heard[0]); i++) {
        (void)sigaddset(&set, heard[i]);
    }
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (size_t i = 0; i < sizeof(heard) / sizeof(heard[0]); i++) {
        (void)sigaction(heard[i], &by_default, NULL);
    }
    l->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (l->signal_fd < 0) {
        return -errno;
    }
    steady_io_init(&l->signals, "signals", l->signal_fd, on_signal_event, l);
    steady_io_start(&l->signals, l->ev);
    return 0;
}

int daemon_loop_init(struct daemon_loop *l, const struct daemon_spec *spec, int control_fd, struct err *err)
{
    *l = (struct daemon_loop){.spec = spec, .control_fd = control_fd, .signal_fd = -1};
    l->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV); /* the default one comes with a signal watcher */
    if (l->ev == NULL) {
        err_set(err, "cannot make the event loop (epoll)");
        return -ENOMEM;
    }
    int rc = start_signals(l);
    if (rc < 0) {
        err_set(err, "cannot make a descriptor for signals: %s", strerror(-rc));
        return rc;
    }
    ev_timer_init(&l->drain, on_drain_timer, 0.0, 0.0);
    l->drain.data = l;
    if (control_fd >= 0) {
        steady_io_init(&l->control, "control", control_fd, on_control_readable, l);
        steady_io_start(&l->control, l->ev);
    }
    daemon_reload_init(l);
    return 0;
}

void daemon_loop_run(struct daemon_loop *l)
{
    if (l->resolv != NULL) {
        resolv_watch_start(l->resolv);
    }
    (void)ev_run(l->ev, 0);
}

void daemon_loop_fini(struct daemon_loop *l)
{
    if (l->ev != NULL) {
        steady_io_stop(&l->signals);
        if (l->signal_fd >= 0) {
            (void)close(l->signal_fd);
        }
        ev_timer_stop(l->ev, &l->drain);
        steady_io_stop(&l->control);
        daemon_reload_fini(l);
        resolv_watch_free(l->resolv);
        l->resolv = NULL;
        ev_loop_destroy(l->ev);
        l->ev = NULL;
    }
    if (l->control_fd >= 0) {
        (void)close(l->control_fd);
        l->control_fd = -1;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/daemon_loop.h"

#include "common/run/daemon_reload.h"
#include "common/run/notify.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

static void on_hup_signal(struct ev_loop *loop, ev_signal *w, int revents)
{
    (void)loop;
    (void)revents;
    struct daemon_loop *l = w->data;
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

static void on_end_signal(struct ev_loop *loop, ev_signal *w, int revents)
{
    (void)loop;
    (void)revents;
    struct daemon_loop *l = w->data;
    stop(l, w->signum == SIGINT ? "SIGINT" : "SIGTERM", l->spec->drain_ms != NULL ? *l->spec->drain_ms : 0);
}

/* Nothing is ever said on it: what counts is that whoever holds the other end is gone. */
static void on_control_readable(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)revents;
    struct daemon_loop *l = w->data;
    char text[256];
    ssize_t n = read(l->control_fd, text, sizeof(text));
    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR))) {
        return;
    }
    ev_io_stop(loop, w);
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

static void start_signal(struct daemon_loop *l, ev_signal *w, void (*on)(struct ev_loop *, ev_signal *, int),
                         int signum)
{
    ev_signal_init(w, on, signum);
    w->data = l;
    ev_signal_start(l->ev, w);
}

int daemon_loop_init(struct daemon_loop *l, const struct daemon_spec *spec, int control_fd, struct err *err)
{
    *l = (struct daemon_loop){.spec = spec, .control_fd = control_fd};
    l->ev = ev_default_loop(EVBACKEND_EPOLL | EVFLAG_NOENV);
    if (l->ev == NULL) {
        err_set(err, "cannot make the event loop (epoll, eventfd)");
        return -ENOMEM;
    }
    start_signal(l, &l->on_hup, on_hup_signal, SIGHUP);
    start_signal(l, &l->on_term, on_end_signal, SIGTERM);
    start_signal(l, &l->on_int, on_end_signal, SIGINT);
    ev_timer_init(&l->drain, on_drain_timer, 0.0, 0.0);
    l->drain.data = l;
    ev_io_init(&l->control, on_control_readable, control_fd, EV_READ);
    l->control.data = l;
    if (control_fd >= 0) {
        ev_io_start(l->ev, &l->control);
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

/* The end has begun: a late signal must not make a death of it, once libev has given the handlers back. */
static void block_end_signals(void)
{
    sigset_t late;
    (void)sigemptyset(&late);
    (void)sigaddset(&late, SIGHUP);
    (void)sigaddset(&late, SIGTERM);
    (void)sigaddset(&late, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &late, NULL);
}

void daemon_loop_fini(struct daemon_loop *l)
{
    if (l->ev != NULL) {
        block_end_signals();
        ev_signal_stop(l->ev, &l->on_hup);
        ev_signal_stop(l->ev, &l->on_term);
        ev_signal_stop(l->ev, &l->on_int);
        ev_timer_stop(l->ev, &l->drain);
        ev_io_stop(l->ev, &l->control);
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

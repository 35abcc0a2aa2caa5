/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/resolv_watch.h"

#include "common/dns/resolv_conf.h"
#include "common/net/path_watch.h"

#include <errno.h>
#include <stdlib.h>

struct resolv_watch {
    struct resolv_watch_config cfg;
    struct path_watch *watch; /* NULL: not to be had; then looking must do */
    ev_timer look;
    struct err fault; /* why the file is not followed now, as it was logged; "" = it is */
};

/* What the file says now, without our own addresses. 0 or -errno with *err. */
static int read_list(const struct resolv_watch *w, struct upstream_list *out, struct upstream_list *own,
                     struct err *err)
{
    *own = (struct upstream_list){.count = 0};
    int rc = resolv_conf_read(w->cfg.path, out->addrs, UPSTREAMS_MAX, &out->count, err);
    if (rc == 0) {
        rc = upstreams_drop_own(out, w->cfg.check, w->cfg.check_ctx, own, err);
        if (rc != 0) {
            err_prefix(err, "%s", w->cfg.path);
        }
    }
    return rc;
}

static void keep(struct resolv_watch *w, const struct err *why)
{
    char text[UPSTREAMS_TEXT_CAP];
    if (strcmp(w->fault.text, why->text) == 0) {
        return;
    }
    w->fault = *why;
    log_event(
        LOG_WARN, "upstreams_kept",
        LOG_KV(kv_str("why", why->text),
               kv_str("upstreams", upstreams_text(w->cfg.in_use.addrs, NULL, w->cfg.in_use.count, text))));
}

static void take(struct resolv_watch *w, const struct upstream_list *list, const struct upstream_list *own)
{
    char before[UPSTREAMS_TEXT_CAP];
    char now[UPSTREAMS_TEXT_CAP];
    const bool was_faulty = w->fault.text[0] != '\0';
    struct upstream_list *in_use = &w->cfg.in_use;
    w->fault.text[0] = '\0';
    (void)upstreams_text(list->addrs, NULL, list->count, now);
    if (upstreams_is_equal(list, in_use)) {
        if (was_faulty) {
            log_event(LOG_INFO, "upstreams_restored", LOG_KV(kv_str("upstreams", now)));
        }
        return;
    }
    upstreams_log_own(own, w->cfg.path, w->cfg.check, w->cfg.check_ctx);
    log_event(LOG_INFO, "upstreams_changed",
              LOG_KV(kv_str("old", upstreams_text(in_use->addrs, NULL, in_use->count, before)),
                     kv_str("new", now)));
    *in_use = *list;
    w->cfg.on_change(w->cfg.ctx, in_use);
}

void resolv_watch_look(struct resolv_watch *w)
{
    struct upstream_list list;
    struct upstream_list own;
    struct err err = {""};
    if (w->watch != NULL) {
        path_watch_begin(w->watch);
    }
    int rc = read_list(w, &list, &own, &err);
    if (w->watch != NULL && !path_watch_end(w->watch)) {
        return; /* changed while it was read: the watch calls again */
    }
    if (rc != 0) {
        keep(w, &err);
    } else {
        take(w, &list, &own);
    }
}

static void on_path_change(void *ctx)
{
    resolv_watch_look(ctx);
}

static void on_look_event(struct ev_loop *loop, ev_timer *t, int revents)
{
    (void)loop;
    (void)revents;
    resolv_watch_look(t->data);
}

static void on_watch_failure(void *ctx, const char *directory, int error)
{
    (void)ctx;
    log_event(LOG_DEBUG, "resolv_watch_failed",
              LOG_KV(kv_str("directory", directory), kv_str("why", strerror(error)),
                     kv_str("hint", "changes are seen every 30 s, and on SIGHUP")));
}

int resolv_watch_new(const struct resolv_watch_config *cfg, struct resolv_watch **out)
{
    struct resolv_watch *w = calloc(1, sizeof(*w));
    if (w == NULL) {
        return -ENOMEM;
    }
    w->cfg = *cfg;
    ev_timer_init(&w->look, on_look_event, RESOLV_WATCH_LOOK_S, RESOLV_WATCH_LOOK_S);
    w->look.data = w;
    const struct path_watch_config watch = {.loop = cfg->loop,
                                            .paths = &w->cfg.path,
                                            .path_count = 1,
                                            .quiet_ms = cfg->quiet_ms,
                                            .limit_ms = RESOLV_WATCH_LIMIT_MS,
                                            .on_change = on_path_change,
                                            .on_failure = on_watch_failure,
                                            .ctx = w};
    int rc = path_watch_new(&watch, &w->watch);
    if (rc != 0) {
        w->watch = NULL;
        on_watch_failure(w, "-", -rc);
    }
    *out = w;
    return 0;
}

void resolv_watch_start(struct resolv_watch *w)
{
    if (w->watch != NULL) {
        path_watch_arm(w->watch);
    }
    ev_timer_start(w->cfg.loop, &w->look);
    resolv_watch_look(w);
}

void resolv_watch_free(struct resolv_watch *w)
{
    if (w == NULL) {
        return;
    }
    ev_timer_stop(w->cfg.loop, &w->look);
    path_watch_free(w->watch);
    free(w);
}

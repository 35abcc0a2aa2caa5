/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/daemon_reload.h"

#include "common/base/shown.h"
#include "common/policy/policy_files.h"
#include "common/run/notify.h"
#include "common/run/policy_report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CHANGES_LOGGED_MAX 50

static void hold(struct policy **slot, struct policy *policy)
{
    struct policy *former = *slot;
    *slot = policy == NULL ? NULL : policy_ref(policy);
    policy_unref(former);
}

/* ---- health ---- */

/* Every worker runs the policy that is published. */
static void note_in_use(struct daemon_loop *l)
{
    const struct policy_rules *rules = policy_rules_of(l->published);
    struct policy_health *h = &l->health;
    hold(&l->in_use, l->published);
    h->generation = policy_generation(l->published);
    h->rules = rules->rule_count;
    h->endpoints = 0;
    for (size_t i = 0; i < rules->rule_count; i++) {
        h->endpoints += rules->rules[i].endpoint_count;
    }
    h->loaded_wall_s = (int64_t)time(NULL);
}

static const struct policy_diag *first_error(const struct policy_diags *diags)
{
    for (size_t i = 0; i < diags->count; i++) {
        if (diags->items[i].severity == DIAG_ERROR) {
            return &diags->items[i];
        }
    }
    return NULL;
}

static void note_refused(struct policy_health *h, const struct policy_diags *diags, const char *why)
{
    const struct policy_diag *d = first_error(diags);
    h->is_stale = true;
    h->failures++;
    h->failed_wall_s = (int64_t)time(NULL);
    h->error_count = diags->error_count > 0 ? diags->error_count : 1;
    if (d == NULL) {
        (void)snprintf(h->error, sizeof(h->error), "%s", why);
    } else if (d->line == 0) {
        (void)snprintf(h->error, sizeof(h->error), "%s: %s", d->file, d->message);
    } else {
        (void)snprintf(h->error, sizeof(h->error), "%s:%u:%u: %s", d->file, d->line, d->col, d->message);
    }
    (void)shown_clean(h->error); /* a file may have any name */
}

static void note_agreed(struct policy_health *h)
{
    h->is_stale = false;
    h->error_count = 0;
    h->error[0] = '\0';
}

/* For systemctl status; also ends a reload that was begun with RELOADING=1. */
static void tell_service_manager(const struct policy_health *h)
{
    char text[POLICY_HEALTH_ERROR_CAP + 128];
    if (h->is_stale) {
        (void)snprintf(text, sizeof(text),
                       "READY=1\nSTATUS=policy generation %ju kept, the files are refused: %s",
                       (uintmax_t)h->generation, h->error);
    } else {
        (void)snprintf(text, sizeof(text), "READY=1\nSTATUS=policy generation %ju: %zu rules, %zu endpoints",
                       (uintmax_t)h->generation, h->rules, h->endpoints);
    }
    notify_service_manager(text);
}

/* ---- what came of reading ---- */

static void refused(struct daemon_loop *l, const struct policy_diags *diags, const char *why)
{
    note_refused(&l->health, diags, why);
    log_event(LOG_ERROR, "policy_reload_failed",
              LOG_KV(kv_str("why", why), kv_u64("errors", diags->error_count),
                     kv_u64("kept_generation", policy_generation(l->published))));
    policy_report_log(diags, DIAG_ERROR);
}

static bool follow(struct daemon_loop *l)
{
    return l->spec->follow_policy != NULL && l->spec->follow_policy(l->spec->ctx, l->published);
}

/* The files say what is published. */
static void agreed(struct daemon_loop *l)
{
    bool was_stale = l->health.is_stale;
    note_agreed(&l->health);
    if (follow(l)) { /* what could not be had the last time */
        worker_pool_publish(l->pool, l->published);
    }
    log_event(was_stale || l->is_asked ? LOG_INFO : LOG_DEBUG,
              was_stale ? "policy_restored" : "policy_unchanged",
              LOG_KV(kv_u64("generation", policy_generation(l->published))));
}

/* Takes the candidate. */
static void consider(struct daemon_loop *l, struct policy *candidate, const struct policy_diags *diags)
{
    struct err err = {""};
    if (daemon_check_policy(l->spec, candidate, &err) < 0) {
        refused(l, diags, err.text);
        policy_store_refuse(l->store, candidate);
        return;
    }
    note_agreed(&l->health);
    policy_report_log(diags, DIAG_WARNING);
    policy_store_accept(l->store, candidate);
    hold(&l->published, candidate);
    (void)follow(l);
    worker_pool_publish(l->pool, candidate);
    l->is_announcing = true;
}

/* Nothing that is wrong with the files. */
static bool is_passing(int rc)
{
    return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM || rc == -ENOBUFS || rc == -EIO || rc == -EAGAIN;
}

static void plan_retry(struct daemon_loop *l, int rc)
{
    ev_timer_stop(l->ev, &l->retry);
    if (!is_passing(rc)) {
        l->retry_s = 0;
        return;
    }
    l->retry_s = l->retry_s > 0 ? 2 * l->retry_s : RELOAD_RETRY_S;
    l->retry_s = l->retry_s < RELOAD_RETRY_MAX_S ? l->retry_s : RELOAD_RETRY_MAX_S;
    ev_timer_set(&l->retry, l->retry_s, 0.0);
    ev_timer_start(l->ev, &l->retry);
}

static void judge(struct daemon_loop *l, int rc, const struct policy_reading *reading,
                  const struct policy_diags *diags)
{
    /* The same failure again is told as a repeated one. */
    plan_retry(l, reading->is_repeated && l->retry_s > 0 ? -EAGAIN : rc);
    if (rc < 0) {
        refused(l, diags, rc == -EINVAL || rc == -E2BIG ? "errors in the policy" : strerror(-rc));
    } else if (reading->candidate != NULL) {
        consider(l, reading->candidate, diags);
    } else if (reading->is_repeated) {
        log_event(LOG_DEBUG, "policy_still_refused",
                  LOG_KV(kv_u64("kept_generation", policy_generation(l->published))));
    } else {
        agreed(l);
    }
    if (!l->is_announcing) {
        tell_service_manager(&l->health);
    }
    l->is_asked = false;
}

static void reload(struct daemon_loop *l)
{
    struct policy_diags diags = {0};
    struct policy_reading reading;
    l->is_reload_due = !worker_pool_has_taken(l->pool);
    if (l->is_reload_due) {
        return; /* one change at a time: daemon_reload_taken calls again */
    }
    if (l->spec->reload != NULL) {
        l->spec->reload(l->spec->ctx);
    }
    if (l->watch != NULL) {
        path_watch_begin(l->watch);
    }
    int rc = policy_store_read(l->store, !l->is_asked, &diags, &reading);
    ev_now_update(l->ev); /* reading a large policy takes time that no timer should have lost */
    if (l->watch == NULL || path_watch_end(l->watch)) {
        judge(l, rc, &reading, &diags);
    } else {
        policy_unref(reading.candidate); /* changed while it was read: the watch calls again */
    }
    policy_diags_fini(&diags);
}

/* ---- the watch ---- */

static const char *remedy(int error)
{
    switch (error) {
    case ENOSPC:
        return "raise fs.inotify.max_user_watches; until then send SIGHUP after a change";
    case EMFILE:
        return "raise fs.inotify.max_user_instances or the limit of open files; until then send SIGHUP after "
               "a change";
    case EACCES:
        return "make the directory readable for the daemon's user, or send SIGHUP after a change";
    default:
        return "send SIGHUP after a change";
    }
}

static void on_watch_failure(void *ctx, const char *directory, int error)
{
    (void)ctx;
    log_event(LOG_WARN, "policy_watch_failed",
              LOG_KV(kv_str("directory", directory), kv_str("why", strerror(error)),
                     kv_str("hint", remedy(error))));
}

static void on_files_change(void *ctx)
{
    struct daemon_loop *l = ctx;
    if (!l->is_stopping) {
        reload(l);
    }
}

void daemon_reload_init(struct daemon_loop *l)
{
    const struct str_list *paths = &l->spec->shared->policy;
    const struct path_watch_config cfg = {.loop = l->ev,
                                          .paths = paths->items,
                                          .path_count = paths->count,
                                          .wants = policy_files_is_name,
                                          .quiet_ms = RELOAD_QUIET_MS,
                                          .limit_ms = RELOAD_LIMIT_MS,
                                          .on_change = on_files_change,
                                          .on_failure = on_watch_failure,
                                          .ctx = l};
    int rc = path_watch_new(&cfg, &l->watch);
    if (rc != l->watch_error) {
        l->watch_error = rc;
        if (rc < 0) {
            on_watch_failure(l, "-", -rc);
        }
    }
}

void daemon_reload_watch(struct daemon_loop *l)
{
    if (l->watch != NULL) {
        path_watch_arm(l->watch);
    }
}

static void on_retry_event(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)loop;
    (void)revents;
    on_files_change(w->data);
}

void daemon_reload_start(struct daemon_loop *l, struct policy *policy)
{
    ev_timer_init(&l->retry, on_retry_event, 0.0, 0.0);
    l->retry.data = l;
    hold(&l->published, policy);
    note_in_use(l);
}

void daemon_reload_asked(struct daemon_loop *l)
{
    if (l->is_stopping) {
        return;
    }
    notify_reloading();
    l->is_asked = true;
    if (l->watch == NULL) {
        daemon_reload_init(l); /* perhaps somebody raised the limit */
    }
    reload(l);
}

static void announce(struct daemon_loop *l)
{
    struct policy_changes changes;
    struct policy *former = policy_ref(l->in_use); /* the changes borrow from both */
    int rc = policy_changes_find(policy_rules_of(former), policy_rules_of(l->published), CHANGES_LOGGED_MAX,
                                 &changes);
    note_in_use(l);
    log_event(LOG_INFO, "policy_loaded",
              LOG_KV(kv_u64("generation", l->health.generation), kv_u64("rules", l->health.rules),
                     kv_u64("endpoints", l->health.endpoints), kv_u64("added", changes.added),
                     kv_u64("removed", changes.removed), kv_u64("changed", changes.changed)));
    if (rc == 0) {
        policy_report_changes(&changes);
    }
    policy_changes_fini(&changes);
    policy_unref(former);
    tell_service_manager(&l->health);
}

void daemon_reload_taken(struct daemon_loop *l)
{
    if (l->is_announcing) {
        l->is_announcing = false;
        announce(l);
    }
    if (l->is_reload_due && !l->is_stopping) {
        reload(l);
    }
}

void daemon_reload_fini(struct daemon_loop *l)
{
    ev_timer_stop(l->ev, &l->retry);
    path_watch_free(l->watch);
    l->watch = NULL;
    hold(&l->published, NULL);
    hold(&l->in_use, NULL);
}

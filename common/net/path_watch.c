/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/path_watch.h"

#include "common/base/clock.h"
#include "common/net/steady_io.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#define READS_MAX 64 /* of one wake-up; the rest comes with the next */
#define EVENTS_BYTES 4096
#define WRITTEN_MAX 16 /* files that are being written to; more of them are waited for until the limit */

_Static_assert(EVENTS_BYTES >= sizeof(struct inotify_event) + NAME_MAX + 1, "one event must fit");

struct written_file {
    int wd;
    char name[NAME_MAX + 1];
};

struct path_watch {
    struct path_watch_config cfg;
    int fd;
    struct steady_io readable;
    ev_timer quiet;
    struct path_interests interests;
    int told_error;                           /* the failure that on_failure told */
    bool has_change;                          /* not read yet */
    int64_t change_ms;                        /* the first of the changes not read yet */
    struct written_file written[WRITTEN_MAX]; /* written to and not closed since */
    size_t written_count;
    bool has_more_written; /* than there is room for */
};

/* ---- files that are being written to ---- */

static void note_written(struct path_watch *w, const struct inotify_event *e)
{
    if (w->written_count == WRITTEN_MAX) {
        w->has_more_written = true;
        return;
    }
    struct written_file *f = &w->written[w->written_count++];
    f->wd = e->wd;
    (void)snprintf(f->name, sizeof(f->name), "%s", e->name);
}

static void forget_written(struct path_watch *w, size_t i)
{
    w->written[i] = w->written[--w->written_count];
}

/* A file that was written to is waited for until it is closed, or the name is another's or nobody's. */
static void follow_writing(struct path_watch *w, const struct inotify_event *e)
{
    if (e->len == 0 || (e->mask & IN_ATTRIB) != 0) {
        return; /* of the directory itself; or of no concern to who writes */
    }
    for (size_t i = 0; i < w->written_count; i++) {
        if (w->written[i].wd == e->wd && strcmp(w->written[i].name, e->name) == 0) {
            if ((e->mask & IN_MODIFY) == 0) {
                forget_written(w, i);
            }
            return;
        }
    }
    if ((e->mask & IN_MODIFY) != 0) {
        note_written(w, e);
    }
}

/* Those in directories that are not watched any more: of their end nothing would be heard. */
static void forget_unwatched(struct path_watch *w)
{
    for (size_t i = w->written_count; i > 0; i--) {
        if (!path_interests_has(&w->interests, w->written[i - 1].wd)) {
            forget_written(w, i - 1);
        }
    }
}

/* ---- watches ---- */

static void tell_failure(struct path_watch *w)
{
    int error = w->interests.error;
    if (error != w->told_error) {
        w->told_error = error;
        if (error != 0) {
            w->cfg.on_failure(w->cfg.ctx, w->interests.where, error);
        }
    }
}

void path_watch_arm(struct path_watch *w)
{
    struct path_interests former = w->interests;
    w->interests = (struct path_interests){0};
    for (size_t i = 0; i < w->cfg.path_count; i++) {
        path_interests_add(&w->interests, w->fd, w->cfg.paths[i], w->cfg.wants);
    }
    for (size_t i = 0; i < former.count; i++) {
        int wd = former.items[i].wd;
        if (!path_interests_has(&w->interests, wd)) {
            (void)inotify_rm_watch(w->fd, wd); /* EINVAL: the kernel has removed it, or we a moment ago */
        }
    }
    path_interests_fini(&former);
    forget_unwatched(w);
    tell_failure(w);
}

/* ---- changes ---- */

static void wait_for_quiet(struct path_watch *w)
{
    int64_t now_ms = clock_mono_ms();
    if (!w->has_change) {
        w->has_change = true;
        w->change_ms = now_ms;
    }
    int64_t left_ms = w->change_ms + w->cfg.limit_ms - now_ms;
    bool is_written = w->written_count > 0 || w->has_more_written;
    int64_t wait_ms = is_written || left_ms < w->cfg.quiet_ms ? left_ms : w->cfg.quiet_ms;
    int64_t least_ms = w->cfg.quiet_ms / 10; /* a reading that is overtaken again and again must not spin */
    ev_now_update(w->cfg.loop);
    ev_timer_stop(w->cfg.loop, &w->quiet);
    ev_timer_set(&w->quiet, (double)(wait_ms > least_ms ? wait_ms : least_ms) / 1000.0, 0.0);
    ev_timer_start(w->cfg.loop, &w->quiet);
}

/* True if one of the events concerns us. */
static bool take_events(struct path_watch *w, const char *bytes, size_t len)
{
    bool concerns = false;
    for (size_t at = 0; at + sizeof(struct inotify_event) <= len;) {
        const struct inotify_event *e = (const struct inotify_event *)(const void *)(bytes + at);
        if (path_interests_concern(&w->interests, e, w->cfg.wants)) {
            concerns = true;
            follow_writing(w, e);
        }
        at += sizeof(*e) + e->len;
    }
    return concerns;
}

/* Reads what is there; true if something of it concerns us. Watches are renewed then: a link may lead
 * elsewhere. */
static bool drain(struct path_watch *w)
{
    _Alignas(struct inotify_event) char bytes[EVENTS_BYTES];
    bool concerns = false;
    for (unsigned i = 0; i < READS_MAX; i++) {
        ssize_t n = read(w->fd, bytes, sizeof(bytes));
        if (n <= 0) {
            break;
        }
        concerns = take_events(w, bytes, (size_t)n) || concerns;
    }
    if (concerns) {
        path_watch_arm(w);
        wait_for_quiet(w);
    }
    return concerns;
}

static void on_inotify_readable(void *ctx)
{
    (void)drain(ctx);
}

static void on_quiet_timer(struct ev_loop *loop, ev_timer *timer, int revents)
{
    (void)loop;
    (void)revents;
    struct path_watch *w = timer->data;
    w->cfg.on_change(w->cfg.ctx);
}

void path_watch_begin(struct path_watch *w)
{
    (void)drain(w);
    path_watch_arm(w);
    ev_timer_stop(w->cfg.loop, &w->quiet);
}

bool path_watch_end(struct path_watch *w)
{
    if (drain(w)) {
        return false;
    }
    w->has_change = false;
    w->written_count = 0;
    w->has_more_written = false;
    return true;
}

/* ---- life ---- */

int path_watch_new(const struct path_watch_config *cfg, struct path_watch **out)
{
    *out = NULL;
    struct path_watch *w = calloc(1, sizeof(*w));
    if (w == NULL) {
        return -ENOMEM;
    }
    w->cfg = *cfg;
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0) {
        int rc = -errno;
        free(w);
        return rc;
    }
    steady_io_init(&w->readable, "inotify", w->fd, on_inotify_readable, w);
    steady_io_start(&w->readable, cfg->loop);
    ev_init(&w->quiet, on_quiet_timer);
    w->quiet.data = w;
    *out = w;
    return 0;
}

void path_watch_free(struct path_watch *w)
{
    if (w == NULL) {
        return;
    }
    steady_io_stop(&w->readable);
    ev_timer_stop(w->cfg.loop, &w->quiet);
    (void)close(w->fd);
    path_interests_fini(&w->interests);
    free(w);
}

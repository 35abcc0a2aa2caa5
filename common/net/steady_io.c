/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/steady_io.h"

#include "common/base/clock.h"
#include "common/base/log.h"

#define WAIT_MIN_MS 100
#define WAIT_MAX_MS 5000
#define LOG_EVERY_MS 60000
/* libev tells of a failure when it next wakes up, which an idle loop does once a minute. */
#define LOOK_MS 20
#define HINT                                                                                                 \
    "epoll_ctl failed: raise fs.epoll.max_user_watches, which all programs of the user share, or the "       \
    "memory "                                                                                                \
    "limit of the cgroup"

static void wake_in(struct steady_io *s, int64_t ms)
{
    ev_timer_stop(s->loop, &s->again);
    ev_timer_set(&s->again, (double)ms / 1000.0, 0.0);
    ev_timer_start(s->loop, &s->again);
}

static void note_failure(struct steady_io *s)
{
    const int64_t now_ms = clock_mono_ms();
    s->failures++;
    if (s->logged_ms == 0 || now_ms - s->logged_ms >= LOG_EVERY_MS) {
        log_event(LOG_WARN, "watch_failed",
                  LOG_KV(kv_str("what", s->what), kv_u64("failures", s->failures),
                         kv_i64("retry_ms", s->wait_ms), kv_str("hint", HINT)));
        s->logged_ms = now_ms;
        s->failures = 0;
    }
    wake_in(s, s->wait_ms);
    s->wait_ms = s->wait_ms * 2 > WAIT_MAX_MS ? WAIT_MAX_MS : s->wait_ms * 2;
}

static void on_io_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    struct steady_io *s = w->data;
    if ((revents & EV_ERROR) != 0) {
        note_failure(s); /* libev has stopped it */
    } else {
        s->fn(s->ctx);
    }
}

static void on_again_event(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)revents;
    struct steady_io *s = w->data;
    if (ev_is_active(&s->io)) {
        s->wait_ms = WAIT_MIN_MS;
        return;
    }
    steady_io_start(s, loop);
    s->fn(s->ctx); /* what has come meanwhile, should it fail again; s may be gone afterwards */
}

void steady_io_init(struct steady_io *s, const char *what, int fd, steady_io_event_fn *fn, void *ctx)
{
    *s = (struct steady_io){.what = what, .fn = fn, .ctx = ctx, .wait_ms = WAIT_MIN_MS};
    ev_io_init(&s->io, on_io_event, fd, EV_READ);
    s->io.data = s;
    ev_timer_init(&s->again, on_again_event, 0.0, 0.0);
    ev_set_priority(&s->again, EV_MINPRI); /* after the failure that it is to find */
    s->again.data = s;
}

void steady_io_start(struct steady_io *s, struct ev_loop *loop)
{
    if (ev_is_active(&s->io)) {
        return;
    }
    s->loop = loop;
    /* Set anew each time: libev would not ask the kernel again for what it believes to be there. */
    ev_io_set(&s->io, s->io.fd, EV_READ);
    ev_io_start(loop, &s->io);
    wake_in(s, LOOK_MS);
}

void steady_io_stop(struct steady_io *s)
{
    if (s->loop != NULL) {
        ev_io_stop(s->loop, &s->io);
        ev_timer_stop(s->loop, &s->again);
    }
}

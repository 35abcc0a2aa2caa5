/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/wake.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void on_wake_event(void *ctx)
{
    struct wake *w = ctx;
    eventfd_t sends = 0;
    (void)eventfd_read(w->fd, &sends); /* before the call back: what is sent from now on is another time */
    w->fn(w->ctx);
}

int wake_init(struct wake *w, struct ev_loop *loop, wake_event_fn *fn, void *ctx)
{
    *w = (struct wake){.fn = fn, .ctx = ctx};
    w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (w->fd < 0) {
        return -errno;
    }
    w->is_open = true;
    steady_io_init(&w->io, "wake_up", w->fd, on_wake_event, w);
    ev_set_priority(&w->io.io, EV_MAXPRI);
    steady_io_start(&w->io, loop);
    return 0;
}

void wake_fini(struct wake *w)
{
    if (w->is_open) {
        w->is_open = false;
        steady_io_stop(&w->io);
        (void)close(w->fd);
    }
}

void wake_send(const struct wake *w)
{
    (void)eventfd_write(w->fd, 1); /* EAGAIN: so many sends wait that one more makes no difference */
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/hangup.h"

#include "common/net/sock.h"
#include "common/net/steady_io.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

struct hangup {
    struct steady_io io;
    int epoll_fd;
};

void hangup_stop(struct hangup *h, struct hangup_watch *w)
{
    if (!w->is_active) {
        return;
    }
    w->is_active = false;
    (void)CHECK(epoll_ctl(h->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL) == 0);
}

static void on_epoll_event(void *ctx)
{
    struct hangup *h = ctx;
    /* One at a time: what is called may stop other watches, and events already fetched would be stale. */
    struct epoll_event event;
    if (epoll_wait(h->epoll_fd, &event, 1, 0) == 1) {
        struct hangup_watch *w = event.data.ptr;
        hangup_stop(h, w);
        w->fn(w);
    }
}

int hangup_new(struct ev_loop *loop, struct hangup **out)
{
    struct hangup *h = calloc(1, sizeof(*h));
    if (h == NULL) {
        return -ENOMEM;
    }
    h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (h->epoll_fd < 0) {
        int rc = -errno;
        free(h);
        return rc;
    }
    steady_io_init(&h->io, "hangups", h->epoll_fd, on_epoll_event, h);
    steady_io_start(&h->io, loop);
    *out = h;
    return 0;
}

void hangup_free(struct hangup *h)
{
    if (h == NULL) {
        return;
    }
    steady_io_stop(&h->io);
    (void)close(h->epoll_fd);
    free(h);
}

int hangup_start(struct hangup *h, struct hangup_watch *w, int fd)
{
    if (w->is_active) {
        return 0;
    }
    struct epoll_event event = {.events = w->wants_fin ? EPOLLRDHUP : 0U, .data.ptr = w};
    if (epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        return -errno;
    }
    w->fd = fd;
    w->is_active = true;
    return 0;
}

bool hangup_is_fin(int fd)
{
    struct pollfd p = {.fd = fd, .events = 0};
    return poll(&p, 1, 0) >= 0 && (p.revents & (POLLERR | POLLHUP)) == 0;
}

int hangup_error(int fd)
{
    return -sock_connect_result(fd); /* SO_ERROR, whatever it is from */
}

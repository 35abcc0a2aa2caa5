/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/acceptor.h"

#include "common/base/log.h"
#include "common/net/sock.h"
#include "common/net/steady_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define ACCEPTOR_BATCH 64
#define ACCEPTOR_PAUSE_MIN_MS 100
#define ACCEPTOR_PAUSE_MAX_MS 5000

struct acceptor {
    struct acceptor_config cfg;
    struct steady_io io;
    ev_timer resume;
    int reserve_fd;   /* given up for a moment when the process has no descriptor left; -1 = not to be had */
    int64_t pause_ms; /* of the next pause */
    bool calling;     /* a callback of the owner's runs: acceptor_stop() must leave the memory to us */
    bool stopped;
};

static int accept_one(int listen_fd, struct addr *peer)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = (socklen_t)sizeof(ss);
    int fd = accept4(listen_fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    if (addr_from_sockaddr((const struct sockaddr *)&ss, len, peer) != 0) {
        *peer = (struct addr){0}; /* a unix socket has no address to speak of */
    }
    return fd;
}

static int open_reserve(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Uses the reserve descriptor to take and close what waits, so that clients hear at once. Returns how many;
 * *is_all: nobody waits any more. */
static uint64_t refuse_waiting(struct acceptor *a, bool *is_all)
{
    *is_all = false;
    if (a->reserve_fd < 0) {
        return 0;
    }
    (void)close(a->reserve_fd);
    a->reserve_fd = -1;
    uint64_t refused = 0;
    for (int i = 0; i < ACCEPTOR_BATCH && !a->stopped; i++) {
        struct addr peer;
        int fd = accept_one(a->cfg.fd, &peer);
        if (fd < 0) {
            *is_all = fd == -EAGAIN;
            break;
        }
        if (a->cfg.on_refuse != NULL) {
            a->cfg.on_refuse(a->cfg.ctx, fd, &peer);
        }
        (void)close(fd);
        refused++;
    }
    a->reserve_fd = open_reserve();
    return refused;
}

static void pause_accepting(struct acceptor *a, int error)
{
    uint64_t refused = 0;
    if (error == EMFILE || error == ENFILE) {
        bool is_all = false;
        refused = refuse_waiting(a, &is_all);
        if (a->stopped || (is_all && refused == 0)) {
            return; /* accept(2) wants a descriptor before it looks who waits: nobody did */
        }
    }
    if (a->cfg.on_pause != NULL) {
        a->cfg.on_pause(a->cfg.ctx);
    }
    char text[ADDR_TEXT_CAP] = "-";
    struct addr local;
    if (sock_local_addr(a->cfg.fd, &local) == 0) {
        (void)addr_text(&local, text);
    }
    log_event(LOG_WARN, "accept_paused",
              LOG_KV(kv_str("listen", text), kv_str("error", strerror(error)), kv_u64("refused", refused),
                     kv_i64("pause_ms", a->pause_ms)));
    steady_io_stop(&a->io);
    ev_timer_set(&a->resume, (double)a->pause_ms / 1000.0, 0.0);
    ev_timer_start(a->cfg.loop, &a->resume);
    a->pause_ms = a->pause_ms * 2 > ACCEPTOR_PAUSE_MAX_MS ? ACCEPTOR_PAUSE_MAX_MS : a->pause_ms * 2;
}

/* Errors of the one connection (accept(2), "Error handling"), not of the socket: the next one may be fine. */
static bool is_connection_error(int error)
{
    return error == EINTR || error == ECONNABORTED || error == EPROTO || error == EPERM ||
           error == ENETDOWN || error == ENOPROTOOPT || error == EHOSTDOWN || error == ENONET ||
           error == EHOSTUNREACH || error == EOPNOTSUPP || error == ENETUNREACH || error == ETIMEDOUT;
}

static void accept_batch(struct acceptor *a)
{
    for (int i = 0; i < ACCEPTOR_BATCH && !a->stopped; i++) {
        struct addr peer;
        int fd = accept_one(a->cfg.fd, &peer);
        if (fd >= 0) {
            a->pause_ms = ACCEPTOR_PAUSE_MIN_MS;
            a->cfg.on_accept(a->cfg.ctx, fd, &peer);
        } else if (fd == -EAGAIN) {
            return;
        } else if (!is_connection_error(-fd)) {
            pause_accepting(a, -fd);
            return;
        }
    }
}

static void release(struct acceptor *a)
{
    steady_io_stop(&a->io);
    ev_timer_stop(a->cfg.loop, &a->resume);
    (void)close(a->cfg.fd);
    if (a->reserve_fd >= 0) {
        (void)close(a->reserve_fd);
    }
    free(a);
}

static void on_listen_event(void *ctx)
{
    struct acceptor *a = ctx;
    a->calling = true;
    accept_batch(a);
    a->calling = false;
    if (a->stopped) {
        release(a);
    }
}

static void on_resume_event(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)revents;
    struct acceptor *a = w->data;
    if (a->reserve_fd < 0) {
        a->reserve_fd = open_reserve();
    }
    steady_io_start(&a->io, loop);
}

int acceptor_new(const struct acceptor_config *cfg, struct acceptor **out)
{
    struct acceptor *a = calloc(1, sizeof(*a));
    if (a == NULL) {
        return -ENOMEM;
    }
    a->cfg = *cfg;
    a->pause_ms = ACCEPTOR_PAUSE_MIN_MS;
    a->reserve_fd = open_reserve();
    steady_io_init(&a->io, "tcp_listener", cfg->fd, on_listen_event, a);
    ev_timer_init(&a->resume, on_resume_event, 0.0, 0.0);
    a->resume.data = a;
    steady_io_start(&a->io, cfg->loop);
    *out = a;
    return 0;
}

void acceptor_stop(struct acceptor *a)
{
    if (a == NULL) {
        return;
    }
    if (a->calling) {
        a->stopped = true;
        return;
    }
    release(a);
}

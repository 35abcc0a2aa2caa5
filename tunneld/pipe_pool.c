/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/pipe_pool.h"

#include "common/base/err.h"
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* A user who has used up his share of pipe memory (pipe(7), pipe-user-pages-soft) gets pipes of two pages, in
 * which splice is slower than copying. */
#define PIPE_BYTES_MIN (64 * 1024)

static void close_pipe(struct pipe_lent *lent)
{
    (void)close(lent->read_fd);
    (void)close(lent->write_fd);
    free(lent);
}

static struct pipe_lent *open_pipe(void)
{
    struct pipe_lent *lent = calloc(1, sizeof(*lent));
    int fds[2];
    if (lent == NULL || pipe2(fds, O_NONBLOCK | O_CLOEXEC) != 0) {
        free(lent);
        return NULL;
    }
    lent->read_fd = fds[0];
    lent->write_fd = fds[1];
    if (fcntl(fds[1], F_SETPIPE_SZ, (int)PIPE_POOL_BYTES) < 0 &&
        fcntl(fds[1], F_GETPIPE_SZ) < PIPE_BYTES_MIN) {
        close_pipe(lent);
        return NULL;
    }
    return lent;
}

struct pipe_lent *pipe_pool_take(struct pipe_pool *p)
{
    if (p->is_refused || p->lent_count >= PIPE_POOL_MAX) {
        return NULL;
    }
    struct pipe_lent *lent = p->spare;
    if (lent != NULL) {
        p->spare = lent->next;
        p->spare_count--;
        lent->next = NULL;
    } else {
        lent = open_pipe();
    }
    p->lent_count += lent != NULL ? 1 : 0;
    return lent;
}

void pipe_pool_give(struct pipe_pool *p, struct pipe_lent *lent)
{
    if (lent == NULL) {
        return;
    }
    REQUIRE(p->lent_count > 0);
    p->lent_count--;
    if (lent->len > 0 || p->is_refused || p->spare_count >= PIPE_POOL_KEPT) {
        close_pipe(lent);
        return;
    }
    lent->next = p->spare;
    p->spare = lent;
    p->spare_count++;
}

void pipe_pool_refuse(struct pipe_pool *p, int error)
{
    if (!p->is_refused) {
        p->is_refused = true;
        log_event(LOG_WARN, "splice_refused",
                  LOG_KV(kv_str("error", strerror(error)), kv_str("effect", "bulk is copied")));
    }
    pipe_pool_fini(p);
}

void pipe_pool_fini(struct pipe_pool *p)
{
    while (p->spare != NULL) {
        struct pipe_lent *lent = p->spare;
        p->spare = lent->next;
        p->spare_count--;
        close_pipe(lent);
    }
}

bool pipe_is_refusal(int error)
{
    return error == EINVAL || error == ENOSYS || error == EPERM;
}

/* Never SPLICE_F_MORE: it would hold back the end of what is sent, for up to 200 ms. */
static ssize_t move(int from, int to, size_t len)
{
    ssize_t n;
    do {
        n = splice(from, NULL, to, NULL, len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t pipe_fill(struct pipe_lent *lent, int fd)
{
    REQUIRE(lent->len == 0); /* otherwise EAGAIN could also mean that the pipe is full */
    ssize_t n = move(fd, lent->write_fd, PIPE_POOL_BYTES);
    lent->len = n > 0 ? (size_t)n : 0;
    return n;
}

ssize_t pipe_drain(struct pipe_lent *lent, int fd)
{
    ssize_t n = move(lent->read_fd, fd, lent->len);
    if (n == -EAGAIN) {
        return 0;
    }
    lent->len -= n > 0 ? (size_t)n : 0;
    return n;
}

ssize_t pipe_copy_out(struct pipe_lent *lent, void *out, size_t cap)
{
    ssize_t n;
    do {
        n = read(lent->read_fd, out, lent->len < cap ? lent->len : cap);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        return -errno;
    }
    lent->len -= (size_t)n;
    return n;
}

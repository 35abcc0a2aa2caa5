/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/udp_pool.h"

#include "common/net/sock.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* A socket that is used for ever could gather what nobody knows of: filters, options, a place on a NUMA node.
 */
#define USES_MAX 1000
#define TRIM_EVERY_S 1.0

struct udp_socket {
    struct udp_pool *pool;
    struct udp_socket *next; /* idle ones */
    int fd;
    ev_io io;            /* active from birth to close */
    udp_readable_fn *fn; /* NULL: idle */
    void *ctx;
    unsigned uses;
};

struct udp_pool {
    struct ev_loop *loop;
    struct udp_socket *leaving; /* given back in this turn of the loop, still connected */
    ev_prepare dissolve;        /* active while there are such */
    struct udp_socket *idle;
    size_t idle_count, max_idle;
    size_t idle_least; /* in this second: nobody has needed those */
    ev_timer trim;     /* active while there are idle ones */
    size_t in_use;
};

static void close_socket(struct udp_socket *s)
{
    ev_io_stop(s->pool->loop, &s->io); /* before the descriptor goes: libev aborts otherwise */
    (void)close(s->fd);
    free(s);
}

static bool unlink_socket(struct udp_socket **list, const struct udp_socket *s)
{
    while (*list != NULL && *list != s) {
        list = &(*list)->next;
    }
    if (*list == NULL) {
        return false;
    }
    *list = s->next;
    return true;
}

static void on_readable_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    (void)revents;
    struct udp_socket *s = w->data;
    if (s->fn != NULL) {
        s->fn(s->ctx, s->fd);
        return;
    }
    /* Nobody's, yet something came in before it was dissolved: it has no port any more, so this is the last.
     */
    struct udp_pool *p = s->pool;
    if (unlink_socket(&p->idle, s)) {
        p->idle_count--;
        p->idle_least = p->idle_count < p->idle_least ? p->idle_count : p->idle_least;
    } else {
        (void)CHECK(unlink_socket(&p->leaving, s));
    }
    close_socket(s);
}

static void on_trim_event(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)revents;
    struct udp_pool *p = w->data;
    for (size_t i = p->idle_least; i > 0 && p->idle != NULL; i--) {
        struct udp_socket *s = p->idle;
        p->idle = s->next;
        p->idle_count--;
        close_socket(s);
    }
    p->idle_least = p->idle_count;
    if (p->idle_count == 0) {
        ev_timer_stop(loop, &p->trim);
    }
}

static bool keep_idle(struct udp_pool *p, struct udp_socket *s)
{
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    if (p->idle_count >= p->max_idle || s->uses >= USES_MAX ||
        connect(s->fd, &nobody, (socklen_t)sizeof(nobody)) != 0) {
        return false;
    }
    s->next = p->idle;
    p->idle = s;
    p->idle_count++;
    if (!ev_is_active(&p->trim)) {
        p->idle_least = 0;
        ev_timer_set(&p->trim, TRIM_EVERY_S, TRIM_EVERY_S);
        ev_timer_start(p->loop, &p->trim);
    }
    return true;
}

static void dissolve_one(struct udp_pool *p)
{
    struct udp_socket *s = p->leaving;
    p->leaving = s->next;
    if (!keep_idle(p, s)) {
        close_socket(s);
    }
}

/* At the end of the turn, when the answers have gone out that came by these sockets. */
static void on_dissolve_event(struct ev_loop *loop, ev_prepare *w, int revents)
{
    (void)revents;
    struct udp_pool *p = w->data;
    while (p->leaving != NULL) {
        dissolve_one(p);
    }
    ev_prepare_stop(loop, &p->dissolve);
}

int udp_pool_new(struct ev_loop *loop, size_t max_idle, struct udp_pool **out)
{
    struct udp_pool *p = calloc(1, sizeof(*p));
    *out = p;
    if (p == NULL) {
        return -ENOMEM;
    }
    p->loop = loop;
    p->max_idle = max_idle;
    ev_timer_init(&p->trim, on_trim_event, TRIM_EVERY_S, TRIM_EVERY_S);
    p->trim.data = p;
    ev_prepare_init(&p->dissolve, on_dissolve_event);
    p->dissolve.data = p;
    return 0;
}

void udp_pool_free(struct udp_pool *p)
{
    if (p == NULL) {
        return;
    }
    (void)CHECK(p->in_use == 0);
    ev_timer_stop(p->loop, &p->trim);
    ev_prepare_stop(p->loop, &p->dissolve);
    while (p->leaving != NULL) {
        struct udp_socket *s = p->leaving;
        p->leaving = s->next;
        close_socket(s);
    }
    while (p->idle != NULL) {
        struct udp_socket *s = p->idle;
        p->idle = s->next;
        close_socket(s);
    }
    free(p);
}

static int make_socket(struct udp_pool *p, const struct addr *to, struct udp_socket **out)
{
    struct udp_socket *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return -ENOMEM;
    }
    s->fd = sock_connect_udp(to);
    if (s->fd < 0) {
        int rc = s->fd;
        free(s);
        return rc;
    }
    s->pool = p;
    ev_io_init(&s->io, on_readable_event, s->fd, EV_READ);
    s->io.data = s;
    ev_io_start(p->loop, &s->io);
    *out = s;
    return 0;
}

/* An idle socket, connected anew; NULL if there is none of the family or the kernel refuses. */
static struct udp_socket *reuse_socket(struct udp_pool *p, const struct addr *to)
{
    struct sockaddr_storage peer;
    socklen_t len = addr_to_sockaddr(to, &peer);
    while (p->idle == NULL && p->leaving != NULL) {
        dissolve_one(p);
    }
    struct udp_socket *s = p->idle;
    if (s == NULL) {
        return NULL;
    }
    p->idle = s->next;
    p->idle_count--;
    p->idle_least = p->idle_count < p->idle_least ? p->idle_count : p->idle_least;
    if (connect(s->fd, (const struct sockaddr *)&peer, len) != 0) {
        close_socket(s); /* of the other family, or no route: a new one will tell */
        return NULL;
    }
    return s;
}

int udp_pool_take(struct udp_pool *p, const struct addr *to, udp_readable_fn *fn, void *ctx,
                  struct udp_socket **out)
{
    struct udp_socket *s = reuse_socket(p, to);
    int rc = s == NULL ? make_socket(p, to, &s) : 0;
    if (rc != 0) {
        return rc;
    }
    s->fn = fn;
    s->ctx = ctx;
    s->uses++;
    p->in_use++;
    *out = s;
    return 0;
}

int udp_socket_fd(const struct udp_socket *s)
{
    return s->fd;
}

void udp_pool_give(struct udp_socket *s, bool is_quiet)
{
    if (s == NULL) {
        return;
    }
    struct udp_pool *p = s->pool;
    s->fn = NULL;
    s->ctx = NULL;
    p->in_use--;
    if (!is_quiet) {
        close_socket(s);
        return;
    }
    if (p->leaving == NULL) {
        ev_prepare_start(p->loop, &p->dissolve);
    }
    s->next = p->leaving;
    p->leaving = s;
}

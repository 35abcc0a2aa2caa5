/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/udp_pool.h"

#include "common/net/sock.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* A socket that is used for ever could gather what nobody knows of: filters, options, a place on a NUMA node.
 */
#define USES_MAX 1000
#define TICK_S 1.0
#define READY_MAX 4
#define LOOKS_MAX 8 /* spent sockets that are looked at for one that was connected to the same peer */

struct udp_socket {
    struct udp_pool *pool;
    struct udp_socket *next; /* spent or ready ones */
    int fd;
    ev_io io;            /* active from birth to close; or epoll has refused it */
    udp_readable_fn *fn; /* NULL: nobody's */
    void *ctx;
    struct addr to; /* the peer that it has always been connected to */
    unsigned uses;
    uint32_t tag;
    bool is_bound; /* to its own address, without a port */
    bool is_aged;  /* ready, and seen so by a tick */
};

struct socket_list {
    struct udp_socket *first;
    size_t count;
};

struct udp_pool {
    struct ev_loop *loop;
    struct socket_list spent; /* as they were given back: still connected, from a port that nobody uses now */
    struct socket_list ready; /* connected anew */
    size_t max_unused;
    ev_timer tick;       /* active while there are unused ones */
    size_t spent_least;  /* since the last tick: nobody has needed those */
    size_t takes;        /* since the last tick */
    bool is_doubtful;    /* since the last tick a question was not answered: perhaps the route has changed */
    struct addr last_to; /* of the last one taken */
    size_t in_use;
};

static void push(struct socket_list *l, struct udp_socket *s)
{
    s->next = l->first;
    l->first = s;
    l->count++;
}

static bool unlink_socket(struct socket_list *l, const struct udp_socket *s)
{
    struct udp_socket **at = &l->first;
    while (*at != NULL && *at != s) {
        at = &(*at)->next;
    }
    if (*at == NULL) {
        return false;
    }
    *at = s->next;
    l->count--;
    return true;
}

static void note_spent(struct udp_pool *p)
{
    p->spent_least = p->spent.count < p->spent_least ? p->spent.count : p->spent_least;
}

static void close_socket(struct udp_socket *s)
{
    ev_io_stop(s->pool->loop, &s->io); /* before the descriptor goes: libev aborts otherwise */
    (void)close(s->fd);
    free(s);
}

static void close_first(struct socket_list *l, size_t count)
{
    for (; count > 0 && l->first != NULL; count--) {
        struct udp_socket *s = l->first;
        l->first = s->next;
        l->count--;
        close_socket(s);
    }
}

static void on_readable_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    struct udp_socket *s = w->data;
    if (s->fn != NULL) {
        s->fn(s->ctx, (revents & EV_ERROR) != 0 ? -ENOMEM : s->fd);
        return;
    }
    /* Nobody has asked for it: whoever takes the socket next shall not find it there. */
    struct udp_pool *p = s->pool;
    (void)CHECK(unlink_socket(&p->ready, s) || unlink_socket(&p->spent, s));
    note_spent(p);
    close_socket(s);
}

/* A port that has been there for long could have been found by now. */
static void drop_aged(struct udp_pool *p)
{
    struct udp_socket **at = &p->ready.first;
    while (*at != NULL) {
        struct udp_socket *s = *at;
        if (s->is_aged) {
            *at = s->next;
            p->ready.count--;
            close_socket(s);
        } else {
            s->is_aged = true;
            at = &s->next;
        }
    }
}

static void on_tick_event(struct ev_loop *loop, ev_timer *w, int revents)
{
    (void)revents;
    struct udp_pool *p = w->data;
    if (p->is_doubtful) {
        close_first(&p->ready, p->ready.count);
    } else {
        drop_aged(p);
    }
    close_first(&p->spent, p->is_doubtful ? p->spent.count : p->spent_least);
    p->is_doubtful = false;
    p->takes = 0;
    p->spent_least = p->spent.count;
    if (p->spent.count + p->ready.count == 0) {
        ev_timer_stop(loop, &p->tick);
    }
}

static void start_tick(struct udp_pool *p)
{
    if (!ev_is_active(&p->tick)) {
        p->spent_least = 0;
        ev_timer_set(&p->tick, TICK_S, TICK_S);
        ev_timer_start(p->loop, &p->tick);
    }
}

int udp_pool_new(struct ev_loop *loop, size_t max_unused, struct udp_pool **out)
{
    struct udp_pool *p = calloc(1, sizeof(*p));
    *out = p;
    if (p == NULL) {
        return -ENOMEM;
    }
    p->loop = loop;
    p->max_unused = max_unused;
    ev_timer_init(&p->tick, on_tick_event, TICK_S, TICK_S);
    p->tick.data = p;
    return 0;
}

size_t udp_pool_close_unused(struct udp_pool *p)
{
    const size_t count = p->spent.count + p->ready.count;
    close_first(&p->spent, p->spent.count);
    close_first(&p->ready, p->ready.count);
    note_spent(p);
    return count;
}

void udp_pool_free(struct udp_pool *p)
{
    if (p == NULL) {
        return;
    }
    (void)CHECK(p->in_use == 0);
    ev_timer_stop(p->loop, &p->tick);
    (void)udp_pool_close_unused(p);
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
    s->to = *to;
    ev_io_init(&s->io, on_readable_event, s->fd, EV_READ);
    s->io.data = s;
    ev_io_start(p->loop, &s->io);
    *out = s;
    return 0;
}

/*
 * From another port. The first time the address that the route has given is kept: the kernel then looks for a
 * route once instead of twice, and leaves the socket in its place in the tables of addresses.
 */
static int connect_anew(struct udp_socket *s)
{
    struct addr local;
    bool knows_local = !s->is_bound && sock_local_addr(s->fd, &local) == 0;
    int rc = sock_disconnect_udp(s->fd);
    if (rc == 0 && knows_local) {
        sock_bind_address(s->fd, &local.ip);
    }
    s->is_bound = true;
    s->is_aged = false;
    return rc != 0 ? rc : sock_reconnect_udp(s->fd, &s->to);
}

/* One that was connected to the same peer, connected anew; NULL if there is none, or the kernel refuses. */
static struct udp_socket *renew_spent(struct udp_pool *p, const struct addr *to)
{
    struct udp_socket **at = &p->spent.first;
    for (unsigned i = 0; *at != NULL && i < LOOKS_MAX && !addr_is_equal(&(*at)->to, to); i++) {
        at = &(*at)->next;
    }
    struct udp_socket *s = *at;
    if (s == NULL || !addr_is_equal(&s->to, to)) {
        return NULL;
    }
    *at = s->next;
    p->spent.count--;
    note_spent(p);
    if (connect_anew(s) != 0) {
        close_socket(s); /* no route, its address is gone: a new one will tell */
        return NULL;
    }
    return s;
}

static struct udp_socket *take_ready(struct udp_pool *p, const struct addr *to)
{
    struct udp_socket *s = p->ready.first;
    if (s == NULL || !addr_is_equal(&s->to, to)) {
        return NULL;
    }
    p->ready.first = s->next;
    p->ready.count--;
    return s;
}

int udp_pool_take(struct udp_pool *p, const struct addr *to, udp_readable_fn *fn, void *ctx,
                  struct udp_socket **out)
{
    struct udp_socket *s = take_ready(p, to);
    if (s == NULL) {
        s = renew_spent(p, to);
    }
    int rc = s == NULL ? make_socket(p, to, &s) : 0;
    if (rc != 0) {
        return rc;
    }
    s->fn = fn;
    s->ctx = ctx;
    s->uses++;
    p->takes++;
    p->in_use++;
    p->last_to = *to;
    *out = s;
    return 0;
}

void udp_pool_prepare(struct udp_pool *p)
{
    /* None is made for a question that comes once in a while: it would only be closed again. */
    while (p->takes > 1 && p->ready.count < READY_MAX && p->spent.count + p->ready.count < p->max_unused) {
        struct udp_socket *s = renew_spent(p, &p->last_to);
        bool is_enough = s == NULL && p->ready.count > 0;
        if (is_enough || (s == NULL && make_socket(p, &p->last_to, &s) != 0)) {
            return;
        }
        push(&p->ready, s);
        start_tick(p);
    }
}

int udp_socket_fd(const struct udp_socket *s)
{
    return s->fd;
}

uint32_t udp_socket_tag(const struct udp_socket *s)
{
    return s->tag;
}

void udp_socket_set_tag(struct udp_socket *s, uint32_t tag)
{
    s->tag = tag;
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
    p->is_doubtful = p->is_doubtful || !is_quiet;
    const bool is_worn = s->uses >= USES_MAX || !ev_is_active(&s->io);
    if (!is_quiet || is_worn || p->spent.count + p->ready.count >= p->max_unused) {
        close_socket(s);
        return;
    }
    push(&p->spent, s);
    start_tick(p);
}

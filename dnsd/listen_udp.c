/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsd/listen_udp.h"

#include "common/base/clock.h"
#include "common/net/steady_io.h"
#include "dnsd/dnsd_counters.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define UDP_BATCH 32
/* In one wake-up. Then replies from upstream come to their turn: with fewer questions under way at a time,
 * what belongs to each is still in the processor's cache when its reply comes. */
#define UDP_TURN_MAX (2 * UDP_BATCH)
#define UDP_MESSAGE_MAX 2048 /* one question and an OPT need far less; more is malformed */
#define UDP_CONTROL_MAX CMSG_SPACE(sizeof(struct in6_pktinfo))

struct udp_control {
    _Alignas(struct cmsghdr) uint8_t bytes[UDP_CONTROL_MAX];
};

struct udp_out {
    union reply_sockaddr peer;
    socklen_t peer_len;
    struct udp_control control;
    size_t control_len;
    uint8_t message[DNS_UDP_MAX];
    size_t len;
};

struct listen_udp {
    struct worker *worker;
    struct query_engine *engine;
    int fd;
    struct steady_io io;
    ev_check again; /* running instead of io: more waits than one turn of the loop takes … */
    ev_idle busy;   /* … and it does not sleep before that has been read */
    bool
        has_many_addresses; /* bound to a wildcard: each question says which address of ours it was sent to */
    bool is_batching;       /* answers wait for the end of the batch that is being read */
    ev_prepare late;        /* running: answers wait for the end of the loop's turn … */
    ev_idle awake;          /* … and the loop does not sleep before, should that be behind it already */
    size_t out_count;
    struct mmsghdr out_msgs[UDP_BATCH]; /* point into out, for good */
    struct iovec out_iov[UDP_BATCH];
    struct udp_out out[UDP_BATCH];
    struct mmsghdr in_msgs[UDP_BATCH]; /* point into in, for good; the kernel overwrites the lengths */
    struct iovec in_iov[UDP_BATCH];
    uint8_t in[UDP_BATCH][UDP_MESSAGE_MAX];
    struct udp_control in_control[UDP_BATCH];
    union reply_sockaddr in_peer[UDP_BATCH];
};

static void count_unsent(struct listen_udp *u)
{
    metrics_add(&u->worker->metrics, DNSD_COUNTER_UNSENT, 1);
}

/* Sends what waits. An error concerns the first message only (a client without a route, a firewall): skip
 * that one. */
static void flush_out(struct listen_udp *u)
{
    struct mmsghdr *msgs = u->out_msgs;
    for (size_t i = 0; i < u->out_count; i++) {
        const struct udp_out *o = &u->out[i];
        u->out_iov[i].iov_len = o->len;
        msgs[i].msg_hdr.msg_namelen = o->peer_len;
        msgs[i].msg_hdr.msg_control = o->control_len > 0 ? u->out[i].control.bytes : NULL;
        msgs[i].msg_hdr.msg_controllen = o->control_len;
    }
    size_t sent = 0;
    while (sent < u->out_count) {
        int n = sendmmsg(u->fd, msgs + sent, (unsigned)(u->out_count - sent), MSG_DONTWAIT);
        if (n > 0) {
            sent += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            count_unsent(u);
            sent++;
        }
    }
    u->out_count = 0;
}

static size_t put_control(struct udp_control *c, int level, int type, const void *data, size_t len)
{
    struct cmsghdr *h = (struct cmsghdr *)(void *)c->bytes;
    h->cmsg_level = level;
    h->cmsg_type = type;
    h->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(h), data, len);
    return CMSG_SPACE(len);
}

/* The answer leaves from the address asked (RFC 2181 4.1). */
static size_t source_control(struct udp_control *c, const struct reply *to)
{
    memset(c, 0, sizeof(*c));
    if (to->local.family == IP_V4) {
        struct in_pktinfo info = {.ipi_ifindex = 0};
        memcpy(&info.ipi_spec_dst, to->local.bytes, sizeof(info.ipi_spec_dst));
        return put_control(c, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
    }
    if (to->local.family == IP_V6) {
        struct in6_pktinfo info = {.ipi6_ifindex = to->interface};
        memcpy(&info.ipi6_addr, to->local.bytes, sizeof(info.ipi6_addr));
        return put_control(c, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
    }
    return 0;
}

static void send_datagram(const struct reply *to, struct span message)
{
    struct listen_udp *u = to->owner;
    if (message.len == 0 || message.len > DNS_UDP_MAX) {
        count_unsent(u);
        return;
    }
    if (u->out_count == UDP_BATCH) {
        flush_out(u);
    }
    struct udp_out *o = &u->out[u->out_count++];
    o->peer = to->peer;
    o->peer_len = to->peer_len;
    o->control_len = source_control(&o->control, to);
    memcpy(o->message, message.data, message.len);
    o->len = message.len;
    if (u->is_batching) {
        return;
    }
    if (ev_pending_count(u->worker->loop) == 0) {
        flush_out(u); /* nothing else has come in this turn: it has nobody to wait for */
    } else {
        ev_prepare_start(u->worker->loop, &u->late); /* many upstream replies come in one turn */
        ev_idle_start(u->worker->loop, &u->awake);
    }
}

static void on_turn_end(struct ev_loop *loop, ev_prepare *w, int revents)
{
    (void)revents;
    struct listen_udp *u = w->data;
    ev_prepare_stop(loop, w);
    ev_idle_stop(loop, &u->awake);
    flush_out(u);
}

static void on_awake_event(struct ev_loop *loop, ev_idle *w, int revents)
{
    (void)loop;
    (void)w;
    (void)revents; /* that it is active is all it is for */
}

/* Which address of ours was asked. Absent on an exotic passed socket: then the kernel chooses the source. */
static void read_control(struct msghdr *h, struct reply *r)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            r->local.family = IP_V4;
            memcpy(r->local.bytes, &info.ipi_spec_dst, 4);
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof(info));
            r->local.family = IP_V6;
            memcpy(r->local.bytes, &info.ipi6_addr, 16);
            r->interface = IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr) ? info.ipi6_ifindex : 0;
        }
    }
}

static void handle_one(struct listen_udp *u, struct mmsghdr *m, const union reply_sockaddr *peer,
                       int64_t now_ms, uint64_t foreseen)
{
    struct reply r = {.send = send_datagram, .owner = u, .peer = *peer, .peer_len = m->msg_hdr.msg_namelen};
    if (addr_from_sockaddr(&peer->any, m->msg_hdr.msg_namelen, &r.client) != 0 || r.client.port == 0) {
        return; /* nobody can be answered there */
    }
    read_control(&m->msg_hdr, &r);
    size_t len = m->msg_len;
    if ((m->msg_hdr.msg_flags & MSG_TRUNC) != 0) {
        len = DNS_HEADER_LEN; /* longer than any question: the bare header is a FORMERR with the right ID */
    }
    (void)query_handle(u->engine, span_make(m->msg_hdr.msg_iov->iov_base, len), now_ms, foreseen, &r);
}

/* The kernel has overwritten the lengths of what it filled. */
static void prepare_in(struct listen_udp *u, size_t i)
{
    struct msghdr *h = &u->in_msgs[i].msg_hdr;
    h->msg_namelen = sizeof(u->in_peer[i]);
    h->msg_control = u->has_many_addresses ? u->in_control[i].bytes : NULL;
    h->msg_controllen = u->has_many_addresses ? sizeof(u->in_control[i].bytes) : 0;
}

static void prepare_messages(struct listen_udp *u)
{
    for (size_t i = 0; i < UDP_BATCH; i++) {
        u->in_iov[i] = (struct iovec){.iov_base = u->in[i], .iov_len = UDP_MESSAGE_MAX};
        u->in_msgs[i].msg_hdr =
            (struct msghdr){.msg_name = &u->in_peer[i], .msg_iov = &u->in_iov[i], .msg_iovlen = 1};
        prepare_in(u, i);
        u->out_iov[i] = (struct iovec){.iov_base = u->out[i].message, .iov_len = 0};
        u->out_msgs[i].msg_hdr =
            (struct msghdr){.msg_name = &u->out[i].peer, .msg_iov = &u->out_iov[i], .msg_iovlen = 1};
    }
}

/* How many there were. */
static int read_batch(struct listen_udp *u)
{
    struct mmsghdr *msgs = u->in_msgs;
    int n = recvmmsg(u->fd, msgs, UDP_BATCH, MSG_DONTWAIT, NULL);
    const int64_t now_ms = clock_mono_ms();
    u->is_batching = true;
    uint64_t foreseen[UDP_BATCH];
    foreseen[0] = 0; /* it is handled at once */
    for (int i = 1; i < n; i++) {
        foreseen[i] = query_foresee(u->engine, span_make(u->in[i], msgs[i].msg_len));
    }
    for (int i = 1; i < n; i++) {
        query_fetch(u->engine, foreseen[i]);
    }
    for (int i = 0; i < n; i++) {
        handle_one(u, &msgs[i], &u->in_peer[i], now_ms, foreseen[i]);
        prepare_in(u, (size_t)i);
    }
    u->is_batching = false;
    flush_out(u);
    return n < 0 ? 0 : n;
}

/* How many there were; as many as UDP_TURN_MAX: the socket may hold more. */
static int read_batches(struct listen_udp *u)
{
    int count = 0, n = UDP_BATCH;
    while (n == UDP_BATCH && count < UDP_TURN_MAX) {
        n = read_batch(u);
        count += n;
    }
    return count;
}

/*
 * Under load the socket is read in every turn, asked or not, until one finds nothing in it. Once it is out of
 * the loop's epoll the kernel has nobody to tell that a datagram came in, or left: that alone is a tenth of
 * what an answer costs.
 */
static void set_busy(struct listen_udp *u, bool is_busy)
{
    struct ev_loop *loop = u->worker->loop;
    if (is_busy) {
        steady_io_stop(&u->io);
        ev_check_start(loop, &u->again);
        ev_idle_start(loop, &u->busy);
    } else {
        ev_check_stop(loop, &u->again);
        ev_idle_stop(loop, &u->busy);
        steady_io_start(&u->io, loop);
    }
}

static void on_datagram_event(void *ctx)
{
    struct listen_udp *u = ctx;
    if (read_batches(u) == UDP_TURN_MAX) {
        set_busy(u, true);
    }
}

static void on_again_event(struct ev_loop *loop, ev_check *w, int revents)
{
    (void)loop;
    (void)revents;
    struct listen_udp *u = w->data;
    if (read_batches(u) == 0) {
        set_busy(u, false);
    }
}

static void stop_reading(struct listen_udp *u)
{
    struct ev_loop *loop = u->worker->loop;
    steady_io_stop(&u->io);
    ev_check_stop(loop, &u->again);
    ev_idle_stop(loop, &u->busy);
}

/*
 * A socket bound to one address needs no help to answer from it; one that is bound to all of them learns with
 * each question which was asked. It costs both the kernel and us a few hundred nanoseconds each way.
 */
static int ask_for_destination(int fd, bool *has_many_addresses)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = (socklen_t)sizeof(ss);
    const int off = 0, on = 1;
    int rc = 0;
    if (getsockname(fd, (struct sockaddr *)&ss, &len) != 0) {
        return -errno;
    }
    if (ss.ss_family == AF_INET) {
        const struct sockaddr_in *a = (const struct sockaddr_in *)(const void *)&ss;
        *has_many_addresses = a->sin_addr.s_addr == htonl(INADDR_ANY);
        rc = setsockopt(fd, IPPROTO_IP, IP_PKTINFO, *has_many_addresses ? &on : &off, (socklen_t)sizeof(on));
    } else if (ss.ss_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)(const void *)&ss;
        *has_many_addresses = IN6_IS_ADDR_UNSPECIFIED(&a->sin6_addr);
        rc = setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, *has_many_addresses ? &on : &off,
                        (socklen_t)sizeof(on));
    } else {
        return -EAFNOSUPPORT;
    }
    return rc == 0 ? 0 : -errno;
}

int listen_udp_new(struct worker *w, struct query_engine *engine, int fd, struct listen_udp **out)
{
    bool has_many_addresses = false;
    int rc = ask_for_destination(fd, &has_many_addresses);
    struct listen_udp *u = rc == 0 ? calloc(1, sizeof(*u)) : NULL;
    if (u == NULL) {
        (void)close(fd);
        return rc != 0 ? rc : -ENOMEM;
    }
    u->worker = w;
    u->engine = engine;
    u->fd = fd;
    u->has_many_addresses = has_many_addresses;
    prepare_messages(u);
    steady_io_init(&u->io, "udp_listener", fd, on_datagram_event, u);
    ev_prepare_init(&u->late, on_turn_end);
    ev_set_priority(&u->late, EV_MAXPRI); /* before what a client need not wait for */
    u->late.data = u;
    ev_idle_init(&u->awake, on_awake_event);
    ev_check_init(&u->again, on_again_event);
    u->again.data = u;
    ev_idle_init(&u->busy, on_awake_event);
    steady_io_start(&u->io, w->loop);
    *out = u;
    return 0;
}

void listen_udp_drain(struct listen_udp *u)
{
    stop_reading(u);
}

void listen_udp_free(struct listen_udp *u)
{
    if (u == NULL) {
        return;
    }
    stop_reading(u);
    ev_prepare_stop(u->worker->loop, &u->late);
    ev_idle_stop(u->worker->loop, &u->awake);
    flush_out(u);
    (void)close(u->fd);
    free(u);
}

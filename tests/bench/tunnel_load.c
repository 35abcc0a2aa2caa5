/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens tunnels through a CONNECT proxy and uses them; every byte that comes back is compared. For measuring
 * only: one thread, loopback or a namespace of its own, bounded in time.
 *
 *   tunnel_load setup  --proxy ADDR:PORT --target HOST [--ms N] [--count N in all] [--tunnels N at once]
 *   tunnel_load frames ...                             [--ms N] [--tunnels N] [--bytes N of a frame]
 *   tunnel_load down|up|both ...                       [--bytes N of a tunnel] [--tunnels N]
 *   tunnel_load idle   ...                             [--tunnels N]: says "open", waits for the end of its
 * input
 *
 * --port N --ports N: the target's ports, in turn. --direct ADDR: no proxy, straight to this address.
 */
#include "common/base/num.h"
#include "common/net/sock.h"
#include "tests/bench/tunnel_tools.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS 256
#define HEAD_MAX 1024U
#define FRAME_MAX 4096U
#define SAMPLES_MAX 4000000U
#define STALL_MS 5000

enum step { STEP_CONNECT = 0, STEP_HEAD, STEP_ECHO, STEP_SOURCE, STEP_SINK };

struct options {
    const char *mode, *target;
    struct addr proxy, direct;
    uint64_t port, ports, ms, count, tunnels, bytes;
};

struct tunnel {
    int fd;
    enum step step;
    size_t got; /* of the head, or of the frame */
    uint64_t done, number, sent_ns;
    uint8_t bytes[HEAD_MAX];
};

struct load {
    struct options opt;
    int epoll;
    uint64_t started, good, bad, left;
    uint64_t end_ns;
    uint32_t *samples_ns;
    size_t sample_count;
    struct tunnel *tunnels;
};

static uint8_t buffer[TUNNEL_CHUNK];

static uint16_t port_of(const struct options *o, uint64_t number)
{
    return (uint16_t)(o->port + number % o->ports);
}

static size_t write_head(const struct options *o, uint64_t number, char out[HEAD_MAX])
{
    unsigned port = port_of(o, number);
    return (size_t)snprintf(out, HEAD_MAX, "CONNECT %s:%u HTTP/1.1\r\nHost: %s:%u\r\n\r\n", o->target, port,
                            o->target, port);
}

/* A frame of the echo that no other tunnel and no other turn has. */
static void make_frame(const struct tunnel *t, uint8_t *frame, size_t len)
{
    memcpy(frame, tunnel_bulk(t->number * 7919 + t->done), len);
    frame[0] = 'E';
    memcpy(frame + 1, &t->number, len < 9 ? len - 1 : 8);
}

static int connect_to(const struct load *l, uint64_t number)
{
    struct addr to = l->opt.direct.ip.family != IP_NONE ? l->opt.direct : l->opt.proxy;
    if (l->opt.direct.ip.family != IP_NONE) {
        to.port = port_of(&l->opt, number);
    }
    int fd = sock_connect_tcp(&to);
    if (fd < 0) {
        errno = -fd;
        tunnel_die("connect");
    }
    return fd;
}

/* ---- set-ups ---- */

static void open_next(struct load *l, struct tunnel *t)
{
    *t = (struct tunnel){.fd = connect_to(l, l->started), .step = STEP_CONNECT, .number = l->started};
    l->started++;
    tunnel_watch(l->epoll, EPOLL_CTL_ADD, t->fd, EPOLLOUT, t);
}

static void close_one(struct load *l, struct tunnel *t, bool is_good)
{
    (void)close(t->fd);
    l->good += is_good ? 1 : 0;
    l->bad += is_good ? 0 : 1;
    bool is_enough = l->opt.count > 0 ? l->started >= l->opt.count : tunnel_now_ns() >= l->end_ns;
    if (!is_enough) {
        open_next(l, t);
    } else {
        t->fd = -1;
        l->left--;
    }
}

/* 1: the head is whole and says 200; 0: more is to come; -1: it is wrong, or something is behind it. */
static int judge_head(const struct tunnel *t)
{
    const char *end = memmem(t->bytes, t->got, "\r\n\r\n", 4);
    if (end == NULL) {
        return t->got < HEAD_MAX ? 0 : -1;
    }
    bool is_200 = t->got > 12 && memcmp(t->bytes, "HTTP/1.", 7) == 0 && memcmp(t->bytes + 8, " 200", 4) == 0;
    return is_200 && (const uint8_t *)end + 4 == t->bytes + t->got ? 1 : -1;
}

static bool send_frame(struct tunnel *t, size_t len)
{
    uint8_t frame[FRAME_MAX];
    make_frame(t, frame, len);
    t->got = 0;
    t->sent_ns = tunnel_now_ns();
    return send(t->fd, frame, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* 1: the whole frame came back as it was sent; 0: more is to come; -1: something else. */
static int take_frame(struct tunnel *t, size_t len)
{
    uint8_t frame[FRAME_MAX];
    ssize_t n = recv(t->fd, buffer, len - t->got, 0);
    if (n <= 0) {
        return n < 0 && errno == EAGAIN ? 0 : -1;
    }
    make_frame(t, frame, len);
    if (memcmp(buffer, frame + t->got, (size_t)n) != 0) {
        return -1;
    }
    t->got += (size_t)n;
    return t->got == len ? 1 : 0;
}

static void step_setup(struct load *l, struct tunnel *t)
{
    char head[HEAD_MAX];
    size_t len = l->opt.bytes;
    int rc = 0;
    if (t->step == STEP_CONNECT) {
        size_t size = write_head(&l->opt, t->number, head);
        rc = sock_connect_result(t->fd) == 0 && send(t->fd, head, size, MSG_NOSIGNAL) == (ssize_t)size ? 0
                                                                                                       : -1;
        tunnel_watch(l->epoll, EPOLL_CTL_MOD, t->fd, EPOLLIN, t);
        t->step = STEP_HEAD;
    } else if (t->step == STEP_HEAD) {
        ssize_t n = recv(t->fd, t->bytes + t->got, HEAD_MAX - t->got, 0);
        t->got += n > 0 ? (size_t)n : 0;
        rc = n <= 0 ? -1 : judge_head(t);
        if (rc == 1) {
            t->step = STEP_ECHO;
            rc = send_frame(t, len) ? 0 : -1;
        }
    } else {
        rc = take_frame(t, len);
    }
    if (rc != 0) {
        close_one(l, t, rc == 1);
    }
}

static void run_setup(struct load *l)
{
    l->left = l->opt.tunnels;
    for (uint64_t i = 0; i < l->opt.tunnels; i++) {
        open_next(l, &l->tunnels[i]);
    }
    while (l->left > 0) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(l->epoll, events, EVENTS, STALL_MS);
        if (count <= 0) {
            l->bad += l->left;
            return;
        }
        for (int i = 0; i < count; i++) {
            step_setup(l, events[i].data.ptr);
        }
    }
}

/* ---- tunnels that stay ---- */

static void await(const struct tunnel *t, short events)
{
    struct pollfd p = {.fd = t->fd, .events = events};
    if (poll(&p, 1, STALL_MS) != 1) {
        errno = ETIMEDOUT;
        tunnel_die("a tunnel does not answer");
    }
}

static void open_one(struct load *l, struct tunnel *t)
{
    char head[HEAD_MAX];
    *t = (struct tunnel){.fd = connect_to(l, l->started), .number = l->started};
    l->started++;
    await(t, POLLOUT);
    if (l->opt.direct.ip.family != IP_NONE) {
        return;
    }
    size_t size = write_head(&l->opt, t->number, head);
    int rc = send(t->fd, head, size, MSG_NOSIGNAL) == (ssize_t)size ? 0 : -1;
    while (rc == 0) {
        await(t, POLLIN);
        ssize_t n = recv(t->fd, t->bytes + t->got, HEAD_MAX - t->got, 0);
        t->got += n > 0 ? (size_t)n : 0;
        rc = n <= 0 ? -1 : judge_head(t);
    }
    if (rc < 0) {
        errno = EPROTO;
        tunnel_die("the proxy did not say 200");
    }
}

static void open_all(struct load *l)
{
    for (uint64_t i = 0; i < l->opt.tunnels; i++) {
        open_one(l, &l->tunnels[i]);
    }
}

static void note_sample(struct load *l, const struct tunnel *t)
{
    if (l->sample_count < SAMPLES_MAX) {
        l->samples_ns[l->sample_count] = (uint32_t)(tunnel_now_ns() - t->sent_ns);
        l->sample_count++;
    }
}

static void step_frames(struct load *l, struct tunnel *t)
{
    int rc = take_frame(t, l->opt.bytes);
    if (rc == 1) {
        note_sample(l, t);
        l->good++;
        t->done++;
        if (tunnel_now_ns() >= l->end_ns) {
            l->left--;
        } else if (!send_frame(t, l->opt.bytes)) {
            rc = -1;
        }
    }
    if (rc < 0) {
        errno = EBADMSG;
        tunnel_die("a frame came back wrong");
    }
}

static void pump_out(struct load *l, struct tunnel *t)
{
    while (t->done < l->opt.bytes) {
        const uint64_t rest = l->opt.bytes - t->done;
        ssize_t n =
            send(t->fd, tunnel_bulk(t->done), rest < TUNNEL_CHUNK ? rest : TUNNEL_CHUNK, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n < 0) {
            tunnel_die("send");
        }
        t->done += (uint64_t)n;
    }
    tunnel_watch(l->epoll, EPOLL_CTL_MOD, t->fd, EPOLLIN, t);
}

static void pump_in(struct load *l, struct tunnel *t)
{
    ssize_t n = recv(t->fd, buffer, sizeof(buffer), 0);
    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (t->step == STEP_SINK) {
        if (n != 1 || buffer[0] != 'k') {
            errno = EBADMSG;
            tunnel_die("what was sent did not arrive whole");
        }
        l->left--;
        l->good += l->opt.bytes;
        return;
    }
    if (n <= 0 || memcmp(buffer, tunnel_bulk(t->done), (size_t)n) != 0) {
        errno = EBADMSG;
        tunnel_die("what was received is not what was sent");
    }
    t->done += (uint64_t)n;
    if (t->done == l->opt.bytes) {
        l->left--;
        l->good += l->opt.bytes;
    }
}

static void step_any(struct load *l, struct tunnel *t, uint32_t events)
{
    if (t->step == STEP_ECHO) {
        step_frames(l, t);
    } else if ((events & EPOLLOUT) != 0) {
        pump_out(l, t);
    } else {
        pump_in(l, t);
    }
}

static void start_one(struct load *l, struct tunnel *t, enum step step)
{
    uint8_t order[TUNNEL_ORDER_BYTES];
    t->step = step;
    t->got = 0;
    if (step == STEP_ECHO) {
        tunnel_watch(l->epoll, EPOLL_CTL_ADD, t->fd, EPOLLIN, t);
        if (!send_frame(t, l->opt.bytes)) {
            tunnel_die("send");
        }
        return;
    }
    tunnel_order_write(order, step == STEP_SOURCE ? 'S' : 'K', l->opt.bytes);
    if (send(t->fd, order, sizeof(order), MSG_NOSIGNAL) != (ssize_t)sizeof(order)) {
        tunnel_die("send");
    }
    tunnel_watch(l->epoll, EPOLL_CTL_ADD, t->fd, step == STEP_SOURCE ? EPOLLIN : EPOLLOUT, t);
}

static enum step step_of(const struct options *o, uint64_t number)
{
    if (strcmp(o->mode, "frames") == 0) {
        return STEP_ECHO;
    }
    bool is_up = strcmp(o->mode, "up") == 0 || (strcmp(o->mode, "both") == 0 && number % 2 == 1);
    return is_up ? STEP_SINK : STEP_SOURCE;
}

/* All tunnels at once until each is done. */
static void run_traffic(struct load *l)
{
    l->left = l->opt.tunnels;
    l->end_ns = tunnel_now_ns() + l->opt.ms * 1000000U;
    for (uint64_t i = 0; i < l->opt.tunnels; i++) {
        start_one(l, &l->tunnels[i], step_of(&l->opt, i));
    }
    while (l->left > 0) {
        struct epoll_event events[EVENTS];
        int count = epoll_wait(l->epoll, events, EVENTS, STALL_MS);
        if (count < 0 && errno == EINTR) {
            continue; /* it was stopped and goes on */
        }
        if (count <= 0) {
            errno = ETIMEDOUT;
            tunnel_die("the tunnels stand still");
        }
        for (int i = 0; i < count; i++) {
            struct tunnel *t = events[i].data.ptr;
            if (t->done < l->opt.bytes || t->step != STEP_SOURCE) { /* its FIN does not matter */
                step_any(l, t, events[i].events);
            } else {
                tunnel_watch(l->epoll, EPOLL_CTL_DEL, t->fd, 0, t);
            }
        }
    }
}

/* Whoever measures looks on until this program's input ends; then every tunnel must still carry bytes. */
static void run_idle(struct load *l)
{
    char c;
    (void)puts("open");
    (void)fflush(stdout);
    while (read(STDIN_FILENO, &c, 1) == 1) {
    }
    for (uint64_t i = 0; i < l->opt.tunnels; i++) {
        struct tunnel *t = &l->tunnels[i];
        int rc = send_frame(t, l->opt.bytes) ? 0 : -1;
        while (rc == 0) {
            await(t, POLLIN);
            rc = take_frame(t, l->opt.bytes);
        }
        l->good += rc == 1 ? 1 : 0;
        l->bad += rc == 1 ? 0 : 1;
    }
}

static int compare_u32(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static double percentile_us(const struct load *l, unsigned percent)
{
    return l->sample_count == 0 ? 0.0 : (double)l->samples_ns[(l->sample_count - 1) * percent / 100] / 1e3;
}

static bool read_option(struct options *o, const char *name, const char *value)
{
    if (strcmp(name, "--proxy") == 0) {
        return addr_parse(span_str(value), 3128, &o->proxy) == 0;
    }
    if (strcmp(name, "--direct") == 0) {
        return addr_parse(span_str(value), 443, &o->direct) == 0;
    }
    if (strcmp(name, "--target") == 0) {
        o->target = value;
        return true;
    }
    const struct {
        const char *name;
        uint64_t *at;
    } numbers[] = {{"--port", &o->port},   {"--ports", &o->ports},     {"--ms", &o->ms},
                   {"--count", &o->count}, {"--tunnels", &o->tunnels}, {"--bytes", &o->bytes}};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (strcmp(name, numbers[i].name) == 0) {
            return num_u64(span_str(value), 1, (uint64_t)1 << 40, numbers[i].at) == 0;
        }
    }
    return false;
}

static bool read_options(struct options *o, int argc, char **argv)
{
    static const char *const modes[] = {"setup", "frames", "down", "up", "both", "idle"};
    *o = (struct options){.mode = argc > 1 ? argv[1] : "", .port = 443, .ports = 1, .ms = 1000};
    bool is_known = false;
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        is_known = is_known || strcmp(o->mode, modes[i]) == 0;
    }
    for (int i = 2; is_known && i < argc; i += 2) {
        is_known = i + 1 < argc && read_option(o, argv[i], argv[i + 1]);
    }
    bool is_bulk = strcmp(o->mode, "down") == 0 || strcmp(o->mode, "up") == 0 || strcmp(o->mode, "both") == 0;
    o->bytes = o->bytes > 0 ? o->bytes : is_bulk ? (uint64_t)1 << 30 : 125;
    o->tunnels = o->tunnels > 0 ? o->tunnels : 1;
    return is_known && (is_bulk || o->bytes <= FRAME_MAX) && o->tunnels <= 100000 &&
           (o->direct.ip.family != IP_NONE || (o->proxy.port != 0 && o->target != NULL));
}

int main(int argc, char **argv)
{
    struct load l = {.good = 0};
    if (!read_options(&l.opt, argc, argv)) {
        (void)fprintf(stderr, "tunnel_load: see its first lines for how it is called\n");
        return 64;
    }
    tunnel_raise_limit();
    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    l.tunnels = calloc(l.opt.tunnels, sizeof(*l.tunnels));
    l.samples_ns = calloc(SAMPLES_MAX, sizeof(*l.samples_ns));
    if (l.tunnels == NULL || l.samples_ns == NULL || l.epoll < 0) {
        tunnel_die("memory");
    }
    bool is_setup = strcmp(l.opt.mode, "setup") == 0;
    if (!is_setup) {
        open_all(&l);
    }
    uint64_t started_ns = tunnel_now_ns();
    l.end_ns = started_ns + l.opt.ms * 1000000U;
    if (is_setup) {
        run_setup(&l);
    } else if (strcmp(l.opt.mode, "idle") == 0) {
        run_idle(&l);
    } else {
        run_traffic(&l);
    }
    double seconds = (double)(tunnel_now_ns() - started_ns) / 1e9;
    qsort(l.samples_ns, l.sample_count, sizeof(*l.samples_ns), compare_u32);
    (void)printf("{\"good\":%ju,\"bad\":%ju,\"per_s\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f}\n",
                 (uintmax_t)l.good, (uintmax_t)l.bad, (double)l.good / seconds, percentile_us(&l, 50),
                 percentile_us(&l, 99));
    for (uint64_t i = 0; i < l.opt.tunnels && !is_setup; i++) {
        (void)close(l.tunnels[i].fd);
    }
    free(l.tunnels);
    free(l.samples_ns);
    return 0;
}

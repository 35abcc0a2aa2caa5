/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks a DNS server as fast as it answers (or one question at a time) and checks every answer. For
 * measuring only: one thread, loopback or a namespace of its own, bounded in time.
 *
 *   dns_load --server ADDR:PORT --pattern n%06u.bench.example --names N --expect addr|nxdomain
 *            [--type N] [--window N] [--seconds N] [--start N]
 */
#include "common/base/buf.h"
#include "common/base/host_name.h"
#include "common/base/num.h"
#include "common/net/addr.h"
#include "common/net/sock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define SOCKETS 16
#define BATCH 32
#define MESSAGE_MAX 512
#define SAMPLES_MAX 2000000
#define STALL_MS 300

enum expect { EXPECT_ADDR = 0, EXPECT_NXDOMAIN };

struct options {
    struct addr server;
    const char *pattern; /* holds one %06u */
    uint64_t names, window, seconds, type, start;
    enum expect expect;
};

struct question {
    uint16_t len;
    uint8_t bytes[MESSAGE_MAX / 2];
};

struct load {
    struct options opt;
    struct question *questions;
    int fds[SOCKETS];
    uint64_t next; /* name to ask */
    uint64_t in_flight[SOCKETS];
    uint16_t next_id[SOCKETS];
    uint64_t sent, good, bad, lost;
    uint32_t *samples_ns;
    size_t sample_count;
};

static void die(const char *what)
{
    (void)fprintf(stderr, "dns_load: %s: %s\n", what, strerror(errno));
    exit(2);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* "n%06u.bench.example" for one number: the bench's own patterns only, so no format of a stranger. */
static void make_name(const char *pattern, uint64_t number, char *out, size_t cap)
{
    const char *at = strstr(pattern, "%06u");
    if (at == NULL) {
        (void)snprintf(out, cap, "%s", pattern);
        return;
    }
    (void)snprintf(out, cap, "%.*s%06u%s", (int)(at - pattern), pattern, (unsigned)number, at + 4);
}

static void make_question(struct question *q, const struct options *o, uint64_t number)
{
    char text[HOST_NAME_MAX_LEN + 1];
    struct host_name name;
    make_name(o->pattern, number, text, sizeof(text));
    if (host_name_parse(span_str(text), &name) != HOST_FAULT_NONE) {
        errno = EINVAL;
        die("--pattern makes no host name");
    }
    struct wbuf w = wbuf_make(q->bytes, sizeof(q->bytes));
    static const uint8_t header[12] = {0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
    uint8_t wire[255];
    wbuf_put(&w, span_make(header, sizeof(header)));
    wbuf_put(&w, span_make(wire, host_name_to_wire(&name, wire)));
    wbuf_u16(&w, (uint16_t)o->type);
    wbuf_u16(&w, 1);
    q->len = (uint16_t)w.len;
}

static bool is_right(const struct load *l, const uint8_t *m, size_t len)
{
    if (len < 12 || (m[2] & 0x80) == 0) {
        return false;
    }
    unsigned rcode = m[3] & 15U;
    unsigned answers = (unsigned)m[6] << 8 | m[7];
    return l->opt.expect == EXPECT_ADDR ? rcode == 0 && answers > 0 : rcode == 3;
}

static uint64_t send_some(struct load *l, size_t s, uint64_t room)
{
    struct mmsghdr msgs[BATCH];
    struct iovec iov[BATCH];
    uint8_t bytes[BATCH][MESSAGE_MAX / 2];
    unsigned count = (unsigned)(room < BATCH ? room : BATCH);
    memset(msgs, 0, sizeof(msgs));
    for (unsigned i = 0; i < count; i++) {
        const struct question *q = &l->questions[l->next];
        l->next = l->next + 1 < l->opt.names ? l->next + 1 : 0;
        memcpy(bytes[i], q->bytes, q->len);
        bytes[i][0] = (uint8_t)(l->next_id[s] >> 8);
        bytes[i][1] = (uint8_t)(l->next_id[s] & 0xff);
        l->next_id[s]++;
        iov[i] = (struct iovec){.iov_base = bytes[i], .iov_len = q->len};
        msgs[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
    }
    int n = sendmmsg(l->fds[s], msgs, count, 0);
    if (n < 0) {
        if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR || errno == ECONNREFUSED) {
            return 0;
        }
        die("sendmmsg");
    }
    l->sent += (uint64_t)n;
    l->in_flight[s] += (uint64_t)n;
    return (uint64_t)n;
}

static void receive_some(struct load *l, size_t s)
{
    struct mmsghdr msgs[BATCH];
    struct iovec iov[BATCH];
    static uint8_t bytes[BATCH][MESSAGE_MAX * 3];
    memset(msgs, 0, sizeof(msgs));
    for (unsigned i = 0; i < BATCH; i++) {
        iov[i] = (struct iovec){.iov_base = bytes[i], .iov_len = sizeof(bytes[i])};
        msgs[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
    }
    int n = recvmmsg(l->fds[s], msgs, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < n; i++) {
        if (is_right(l, bytes[i], msgs[i].msg_len)) {
            l->good++;
        } else {
            l->bad++;
        }
        l->in_flight[s] -= l->in_flight[s] > 0 ? 1 : 0;
    }
}

static void forget_in_flight(struct load *l)
{
    for (size_t s = 0; s < SOCKETS; s++) {
        l->lost += l->in_flight[s];
        l->in_flight[s] = 0;
    }
}

/* Keeps window questions in flight, spread over the sockets, until the time is over. */
static void saturate(struct load *l)
{
    struct pollfd polls[SOCKETS];
    uint64_t per_socket = l->opt.window / SOCKETS > 0 ? l->opt.window / SOCKETS : 1;
    uint64_t end_ns = now_ns() + l->opt.seconds * 1000000000U;
    for (size_t s = 0; s < SOCKETS; s++) {
        polls[s] = (struct pollfd){.fd = l->fds[s], .events = POLLIN};
    }
    while (now_ns() < end_ns) {
        for (size_t s = 0; s < SOCKETS; s++) {
            while (l->in_flight[s] < per_socket && send_some(l, s, per_socket - l->in_flight[s]) > 0) {
            }
        }
        int ready = poll(polls, SOCKETS, STALL_MS);
        if (ready == 0) {
            forget_in_flight(l);
        }
        for (size_t s = 0; ready > 0 && s < SOCKETS; s++) {
            if (polls[s].revents != 0) {
                receive_some(l, s);
            }
        }
    }
}

/* One question, then its answer, and so on; how long each took. */
static void one_by_one(struct load *l)
{
    uint64_t end_ns = now_ns() + l->opt.seconds * 1000000000U;
    while (now_ns() < end_ns && l->sample_count < SAMPLES_MAX) {
        struct pollfd p = {.fd = l->fds[0], .events = POLLIN};
        uint64_t started_ns = now_ns();
        uint64_t good = l->good, bad = l->bad;
        if (send_some(l, 0, 1) == 0) {
            continue;
        }
        if (poll(&p, 1, 5000) <= 0) {
            l->lost++;
            l->in_flight[0] = 0;
            continue;
        }
        receive_some(l, 0);
        if (l->good > good || l->bad > bad) {
            l->samples_ns[l->sample_count++] = (uint32_t)(now_ns() - started_ns);
        }
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

static bool read_number(const char *value, uint64_t *out)
{
    return num_u64(span_str(value), 0, UINT32_MAX, out) == 0;
}

static bool read_option(struct options *o, const char *name, const char *value)
{
    if (strcmp(name, "--server") == 0) {
        return addr_parse(span_str(value), 53, &o->server) == 0;
    }
    if (strcmp(name, "--pattern") == 0) {
        o->pattern = value;
        return true;
    }
    if (strcmp(name, "--expect") == 0) {
        o->expect = strcmp(value, "nxdomain") == 0 ? EXPECT_NXDOMAIN : EXPECT_ADDR;
        return strcmp(value, "nxdomain") == 0 || strcmp(value, "addr") == 0;
    }
    const struct {
        const char *name;
        uint64_t *at;
    } numbers[] = {{"--names", &o->names},
                   {"--window", &o->window},
                   {"--seconds", &o->seconds},
                   {"--type", &o->type},
                   {"--start", &o->start}};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (strcmp(name, numbers[i].name) == 0) {
            return read_number(value, numbers[i].at);
        }
    }
    return false;
}

static void open_sockets(struct load *l)
{
    for (size_t s = 0; s < SOCKETS; s++) {
        l->fds[s] = sock_connect_udp(&l->opt.server);
        if (l->fds[s] < 0) {
            errno = -l->fds[s];
            die("socket");
        }
        int size = 1 << 20;
        (void)setsockopt(l->fds[s], SOL_SOCKET, SO_RCVBUF, &size, (socklen_t)sizeof(size));
    }
}

int main(int argc, char **argv)
{
    struct load l = {.opt = {.window = 256, .seconds = 4, .type = 1, .names = 1}};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!read_option(&l.opt, argv[i], argv[i + 1])) {
            (void)fprintf(stderr, "dns_load: %s %s\n", argv[i], argv[i + 1]);
            return 64;
        }
    }
    if (l.opt.pattern == NULL || l.opt.server.port == 0 || l.opt.names == 0 || argc % 2 == 0) {
        (void)fprintf(stderr, "dns_load: --server, --pattern and --names are needed\n");
        return 64;
    }
    l.questions = calloc(l.opt.names, sizeof(*l.questions));
    l.samples_ns = calloc(SAMPLES_MAX, sizeof(*l.samples_ns));
    if (l.questions == NULL || l.samples_ns == NULL) {
        die("memory");
    }
    for (uint64_t i = 0; i < l.opt.names; i++) {
        make_question(&l.questions[i], &l.opt, l.opt.start + i);
    }
    open_sockets(&l);
    uint64_t started_ns = now_ns();
    if (l.opt.window <= 1) {
        one_by_one(&l);
    } else {
        saturate(&l);
    }
    double seconds = (double)(now_ns() - started_ns) / 1e9;
    qsort(l.samples_ns, l.sample_count, sizeof(*l.samples_ns), compare_u32);
    (void)printf("{\"sent\":%ju,\"good\":%ju,\"bad\":%ju,\"lost\":%ju,\"qps\":%.0f,\"p50_us\":%.1f,"
                 "\"p99_us\":%.1f}\n",
                 (uintmax_t)l.sent, (uintmax_t)l.good, (uintmax_t)l.bad, (uintmax_t)l.lost,
                 (double)(l.good + l.bad) / seconds, percentile_us(&l, 50), percentile_us(&l, 99));
    for (size_t s = 0; s < SOCKETS; s++) {
        (void)close(l.fds[s]);
    }
    free(l.questions);
    free(l.samples_ns);
    return 0;
}

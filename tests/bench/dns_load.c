/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks a DNS server as fast as it answers (or one question at a time) and checks every answer: it belongs to
 * a question that waits, repeats it byte for byte, and says what is expected. For measuring only: one thread,
 * loopback or a namespace of its own, bounded in time.
 *
 *   dns_load --server ADDR:PORT --pattern n%07u.bench.example --names N --expect addr|nxdomain|echo
 *            [--type N] [--window N] [--seconds N] [--start N]
 *
 * addr: one address record, the one that dns_floor's authority gives. nxdomain: no record. echo: the question
 * with the QR bit, as dns_floor's echo sends it.
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
#define HEADER_LEN 12
#define DIGITS 7
#define NAMES_MAX 10000000
#define WAITING 256 /* places for the questions of a socket, by the low bits of their IDs */

enum expect { EXPECT_ADDR = 0, EXPECT_NXDOMAIN, EXPECT_ECHO };

struct options {
    struct addr server;
    const char *pattern; /* holds one %07u */
    uint64_t names, window, seconds, type, start;
    enum expect expect;
};

/* One question for all names: they differ in seven digits. */
struct question {
    size_t len;
    size_t digits_at; /* 0: the pattern has none */
    uint8_t bytes[MESSAGE_MAX / 2];
};

struct waiting {
    bool is_open;
    uint16_t id;
    uint32_t number; /* of the name */
};

struct source {
    int fd;
    uint64_t in_flight;
    uint16_t next_id;
    struct waiting waiting[WAITING];
};

struct load {
    struct options opt;
    struct question question;
    struct source sources[SOCKETS];
    uint64_t next; /* name to ask */
    uint64_t sent, good, bad, lost;
    uint64_t late; /* answers to nothing that waits */
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

/* "n%07u.bench.example" for the number 0: the bench's own patterns only, so no format of a stranger. */
static void make_name(const char *pattern, char *out, size_t cap)
{
    const char *at = strstr(pattern, "%07u");
    if (at == NULL) {
        (void)snprintf(out, cap, "%s", pattern);
        return;
    }
    (void)snprintf(out, cap, "%.*s0000000%s", (int)(at - pattern), pattern, at + 4);
}

static void make_question(struct question *q, const struct options *o)
{
    char text[HOST_NAME_MAX_LEN + 1];
    struct host_name name;
    make_name(o->pattern, text, sizeof(text));
    if (host_name_parse(span_str(text), &name) != HOST_FAULT_NONE) {
        errno = EINVAL;
        die("--pattern makes no host name");
    }
    struct wbuf w = wbuf_make(q->bytes, sizeof(q->bytes));
    static const uint8_t header[HEADER_LEN] = {0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0};
    uint8_t wire[255];
    wbuf_put(&w, span_make(header, sizeof(header)));
    wbuf_put(&w, span_make(wire, host_name_to_wire(&name, wire)));
    wbuf_u16(&w, (uint16_t)o->type);
    wbuf_u16(&w, 1);
    if (w.overflow) {
        errno = EINVAL;
        die("--pattern is too long");
    }
    q->len = w.len;
    const char *at = strstr(o->pattern, "%07u");
    q->digits_at = at == NULL ? 0 : HEADER_LEN + 1 + (size_t)(at - o->pattern);
}

/* The question for one name, but for its ID. */
static void write_question(const struct question *q, uint32_t number, uint8_t *out)
{
    memcpy(out, q->bytes, q->len);
    for (size_t i = q->digits_at == 0 ? 0 : DIGITS; i > 0; i--) {
        out[q->digits_at + i - 1] = (uint8_t)('0' + number % 10);
        number /= 10;
    }
}

/* One A record, the one of dns_floor.c, whatever its TTL. */
static bool is_the_address(const uint8_t *m, size_t len, size_t question_end)
{
    static const uint8_t head[] = {0xc0, 0x0c, 0, 1, 0, 1};
    static const uint8_t data[] = {0, 4, 8, 8, 4, 4};
    return len >= question_end + 16 && (m[3] & 15U) == 0 && m[6] == 0 && m[7] == 1 &&
           memcmp(m + question_end, head, sizeof(head)) == 0 &&
           memcmp(m + question_end + 10, data, sizeof(data)) == 0;
}

/* Is it what was asked for name number, repeated byte for byte, and the right answer to it? */
static bool is_right(const struct load *l, uint32_t number, const uint8_t *m, size_t len)
{
    const struct question *q = &l->question;
    uint8_t asked[sizeof(q->bytes)];
    write_question(q, number, asked);
    if (len < q->len || (m[2] & 0x80) == 0 || m[4] != 0 || m[5] != 1 ||
        memcmp(m + HEADER_LEN, asked + HEADER_LEN, q->len - HEADER_LEN) != 0) {
        return false;
    }
    switch (l->opt.expect) {
    case EXPECT_ADDR:
        return is_the_address(m, len, q->len);
    case EXPECT_NXDOMAIN:
        return (m[3] & 15U) == 3 && m[6] == 0 && m[7] == 0;
    case EXPECT_ECHO:
        return len == q->len;
    }
    return false;
}

static uint64_t send_some(struct load *l, struct source *s, uint64_t room)
{
    struct mmsghdr msgs[BATCH];
    struct iovec iov[BATCH];
    uint8_t bytes[BATCH][MESSAGE_MAX / 2];
    unsigned count = (unsigned)(room < BATCH ? room : BATCH);
    memset(msgs, 0, sizeof(msgs));
    for (unsigned i = 0; i < count; i++) {
        const uint16_t id = (uint16_t)(s->next_id + i);
        const uint32_t number = (uint32_t)(l->opt.start + (l->next + i) % l->opt.names);
        write_question(&l->question, number, bytes[i]);
        bytes[i][0] = (uint8_t)(id >> 8);
        bytes[i][1] = (uint8_t)(id & 0xff);
        s->waiting[id % WAITING] = (struct waiting){.is_open = true, .id = id, .number = number};
        iov[i] = (struct iovec){.iov_base = bytes[i], .iov_len = l->question.len};
        msgs[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
    }
    int n = sendmmsg(s->fd, msgs, count, 0);
    if (n < 0) {
        if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR || errno == ECONNREFUSED) {
            return 0;
        }
        die("sendmmsg");
    }
    s->next_id = (uint16_t)(s->next_id + n);
    l->next = (l->next + (uint64_t)n) % l->opt.names;
    l->sent += (uint64_t)n;
    s->in_flight += (uint64_t)n;
    return (uint64_t)n;
}

static void take_answer(struct load *l, struct source *s, const uint8_t *m, size_t len)
{
    const unsigned id = len < HEADER_LEN ? 0 : (unsigned)m[0] << 8 | m[1];
    struct waiting *w = &s->waiting[id % WAITING];
    if (len < HEADER_LEN || !w->is_open || w->id != id) {
        l->late++;
        return;
    }
    w->is_open = false;
    s->in_flight--;
    if (is_right(l, w->number, m, len)) {
        l->good++;
    } else {
        l->bad++;
    }
}

static void receive_some(struct load *l, struct source *s)
{
    struct mmsghdr msgs[BATCH];
    struct iovec iov[BATCH];
    static uint8_t bytes[BATCH][MESSAGE_MAX * 3];
    memset(msgs, 0, sizeof(msgs));
    for (unsigned i = 0; i < BATCH; i++) {
        iov[i] = (struct iovec){.iov_base = bytes[i], .iov_len = sizeof(bytes[i])};
        msgs[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
    }
    int n = recvmmsg(s->fd, msgs, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < n; i++) {
        take_answer(l, s, bytes[i], msgs[i].msg_len);
    }
}

static void forget(struct load *l, struct source *s)
{
    l->lost += s->in_flight;
    s->in_flight = 0;
    memset(s->waiting, 0, sizeof(s->waiting));
}

/* Keeps window questions in flight, spread over the sockets, until the time is over. */
static void saturate(struct load *l)
{
    struct pollfd polls[SOCKETS];
    uint64_t per_socket = l->opt.window / SOCKETS > 0 ? l->opt.window / SOCKETS : 1;
    uint64_t end_ns = now_ns() + l->opt.seconds * 1000000000U;
    for (size_t i = 0; i < SOCKETS; i++) {
        polls[i] = (struct pollfd){.fd = l->sources[i].fd, .events = POLLIN};
    }
    while (now_ns() < end_ns) {
        for (size_t i = 0; i < SOCKETS; i++) {
            struct source *s = &l->sources[i];
            while (s->in_flight < per_socket && send_some(l, s, per_socket - s->in_flight) > 0) {
            }
        }
        int ready = poll(polls, SOCKETS, STALL_MS);
        for (size_t i = 0; i < SOCKETS; i++) {
            if (ready == 0) {
                forget(l, &l->sources[i]);
            } else if (ready > 0 && polls[i].revents != 0) {
                receive_some(l, &l->sources[i]);
            }
        }
    }
}

/* One question, then its answer, and so on; how long each took. */
static void one_by_one(struct load *l)
{
    struct source *s = &l->sources[0];
    uint64_t end_ns = now_ns() + l->opt.seconds * 1000000000U;
    while (now_ns() < end_ns && l->sample_count < SAMPLES_MAX) {
        struct pollfd p = {.fd = s->fd, .events = POLLIN};
        uint64_t started_ns = now_ns();
        uint64_t answered = l->good + l->bad;
        if (send_some(l, s, 1) == 0) {
            continue;
        }
        if (poll(&p, 1, 5000) <= 0) {
            forget(l, s);
            continue;
        }
        receive_some(l, s);
        if (l->good + l->bad > answered) {
            l->samples_ns[l->sample_count++] = (uint32_t)(now_ns() - started_ns);
        } else {
            forget(l, s);
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
        static const char *const words[] = {
            [EXPECT_ADDR] = "addr", [EXPECT_NXDOMAIN] = "nxdomain", [EXPECT_ECHO] = "echo"};
        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
            if (strcmp(value, words[i]) == 0) {
                o->expect = (enum expect)i;
                return true;
            }
        }
        return false;
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
    for (size_t i = 0; i < SOCKETS; i++) {
        int fd = sock_connect_udp(&l->opt.server);
        if (fd < 0) {
            errno = -fd;
            die("socket");
        }
        int size = 1 << 20;
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, (socklen_t)sizeof(size));
        l->sources[i].fd = fd;
    }
}

static void print_result(struct load *l, double seconds)
{
    qsort(l->samples_ns, l->sample_count, sizeof(*l->samples_ns), compare_u32);
    (void)printf(
        "{\"sent\":%ju,\"good\":%ju,\"bad\":%ju,\"lost\":%ju,\"late\":%ju,\"qps\":%.0f,\"p50_us\":%.1f,"
        "\"p99_us\":%.1f}\n",
        (uintmax_t)l->sent, (uintmax_t)l->good, (uintmax_t)l->bad, (uintmax_t)l->lost, (uintmax_t)l->late,
        (double)(l->good + l->bad) / seconds, percentile_us(l, 50), percentile_us(l, 99));
}

int main(int argc, char **argv)
{
    static struct load l = {.opt = {.window = 256, .seconds = 4, .type = 1, .names = 1}};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!read_option(&l.opt, argv[i], argv[i + 1])) {
            (void)fprintf(stderr, "dns_load: %s %s\n", argv[i], argv[i + 1]);
            return 64;
        }
    }
    if (l.opt.pattern == NULL || l.opt.server.port == 0 || l.opt.names == 0 || l.opt.names > NAMES_MAX ||
        l.opt.start + l.opt.names > NAMES_MAX || l.opt.window > SOCKETS * (uint64_t)WAITING ||
        argc % 2 == 0) {
        (void)fprintf(stderr, "dns_load: --server, --pattern and --names (up to %d) are needed\n", NAMES_MAX);
        return 64;
    }
    l.samples_ns = calloc(SAMPLES_MAX, sizeof(*l.samples_ns));
    if (l.samples_ns == NULL) {
        die("memory");
    }
    make_question(&l.question, &l.opt);
    open_sockets(&l);
    uint64_t started_ns = now_ns();
    if (l.opt.window <= 1) {
        one_by_one(&l);
    } else {
        saturate(&l);
    }
    print_result(&l, (double)(now_ns() - started_ns) / 1e9);
    for (size_t i = 0; i < SOCKETS; i++) {
        (void)close(l.sources[i].fd);
    }
    free(l.samples_ns);
    return 0;
}

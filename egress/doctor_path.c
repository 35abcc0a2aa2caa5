/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/doctor_path.h"

#include "common/base/clock.h"
#include "common/base/rng.h"
#include "egress/doctor_io.h"
#include "egress/doctor_tls.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define HEAD_MAX 4096
#define BODY_MAX 2048
#define BODY_MS 500 /* tunneld sends it with the head */
#define NATIVE_MS 3000
#define QUIET_MS 600

enum doctor_fault doctor_fault_of(int rc)
{
    switch (-rc) {
    case 0:
        return DOCTOR_FAULT_NONE;
    case ETIMEDOUT:
        return DOCTOR_TIMEOUT;
    case ECONNREFUSED:
        return DOCTOR_CONN_REFUSED;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EADDRNOTAVAIL:
    case EACCES:
    case EPERM:
        return DOCTOR_UNREACHABLE;
    case ECONNRESET:
    case EPIPE:
        return DOCTOR_CONN_CUT;
    default:
        return DOCTOR_CONN_OTHER;
    }
}

/* Byte by byte: what is behind the head belongs to the tunnel. Its length, or -errno. */
static ssize_t read_head(int fd, uint8_t *head, int64_t end_ms)
{
    size_t len = 0;
    while (len < HEAD_MAX) {
        ssize_t n = doctor_io_receive(fd, head + len, 1, end_ms);
        if (n < 0) {
            return n;
        }
        len += (size_t)n;
        bool is_whole = len >= 4 && memcmp(head + len - 4, "\r\n\r\n", 4) == 0;
        bool is_other = len >= 5 && memcmp(head, "HTTP/", 5) != 0;
        if (n == 0 || is_whole || is_other) {
            break;
        }
    }
    return (ssize_t)len;
}

static void read_reason(int fd, struct doctor_way *out)
{
    uint8_t body[BODY_MAX];
    size_t len = 0;
    int64_t end_ms = clock_mono_ms() + BODY_MS;
    ssize_t n = 1;
    while (n > 0 && len < sizeof body && out->reason[0] == '\0') {
        n = doctor_io_receive(fd, body + len, sizeof body - len, end_ms);
        len += n > 0 ? (size_t)n : 0;
        doctor_http_reason(span_make(body, len), out->reason);
    }
}

void doctor_connect_open(const struct doctor_proxy *p, const struct doctor_target *t, int64_t end_ms,
                         struct doctor_way *out)
{
    uint8_t bytes[HEAD_MAX];
    char host[HOST_TEXT_CAP];
    struct wbuf w = wbuf_make(bytes, sizeof bytes);
    *out = (struct doctor_way){.fd = doctor_io_connect(&p->addr, end_ms)};
    if (out->fd < 0) {
        return;
    }
    (void)host_text(&t->host, host);
    wbuf_printf(&w, "CONNECT %s:%u HTTP/1.1\r\nHost: %s:%u\r\n\r\n", host, t->port, host, t->port);
    int rc = doctor_io_send(out->fd, wbuf_span(&w), end_ms);
    ssize_t n = rc == 0 ? read_head(out->fd, bytes, end_ms) : rc;
    if (n > 0) {
        out->status = doctor_http_status(span_make(bytes, (size_t)n));
        out->is_foreign = out->status == 0;
    }
    if (out->status == 200) {
        return;
    }
    if (out->status != 0) {
        read_reason(out->fd, out);
    }
    (void)close(out->fd);
    out->fd = n < 0 ? (int)n : -ECONNRESET;
}

static void judge_status(bool is_probe, const struct doctor_way *way, struct doctor_result *out)
{
    const char *gap = way->reason[0] == '\0' ? "" : " ";
    if (way->status == 200) {
        doctor_tell(out, is_probe ? DOCTOR_FAILED : DOCTOR_OK,
                    is_probe ? DOCTOR_NAME_EXISTS : DOCTOR_FAULT_NONE, "200");
    } else if (way->status == 403) {
        doctor_tell(out, is_probe ? DOCTOR_OK : DOCTOR_FAILED, is_probe ? DOCTOR_FAULT_NONE : DOCTOR_DENIED,
                    "403%s%s%s", gap, way->reason, is_probe ? ", as it should be" : "");
    } else {
        enum doctor_fault fault = way->status == 407                         ? DOCTOR_PROXY_AUTH
                                  : way->status >= 502 && way->status <= 504 ? DOCTOR_PROXY_GATEWAY
                                                                             : DOCTOR_PROXY_STATUS;
        doctor_tell(out, is_probe ? DOCTOR_NOTED : DOCTOR_FAILED, fault, "%d%s%s", way->status, gap,
                    way->reason);
    }
}

void doctor_connect_judge(const struct doctor_proxy *p, bool is_probe, const struct doctor_way *way,
                          struct doctor_result *out)
{
    if (way->status != 0) {
        judge_status(is_probe, way, out);
        if (p->from == NULL && doctor_is_good(out)) {
            doctor_tell(out, DOCTOR_NOTED, DOCTOR_PROXY_UNSET,
                        "%s answers, and neither HTTPS_PROXY nor HTTP_PROXY says so", p->url);
        }
    } else if (way->is_foreign) {
        doctor_tell(out, DOCTOR_FAILED, DOCTOR_NO_HTTP, "%s: what answers there is not HTTP", p->url);
    } else if (p->from == NULL) {
        doctor_tell(out, DOCTOR_FAILED, DOCTOR_NO_PROXY_THERE, "no HTTPS_PROXY, and %s: %s", p->url,
                    strerror(-way->fd));
    } else {
        doctor_tell(out, DOCTOR_FAILED, doctor_fault_of(way->fd), "%s: %s", p->url, strerror(-way->fd));
    }
}

/* Ports on which anything but TLS would be a surprise. */
static bool is_tls_port(uint16_t port)
{
    static const uint16_t ports[] = {443, 465, 636, 853, 990, 993, 995, 5671, 6697, 8443, 8883};
    for (size_t i = 0; i < sizeof ports / sizeof ports[0]; i++) {
        if (ports[i] == port) {
            return true;
        }
    }
    return false;
}

static bool wants_tls(const struct doctor_target *t)
{
    return t->websocket == DOCTOR_WEBSOCKET_TLS ||
           (t->websocket != DOCTOR_WEBSOCKET_PLAIN && is_tls_port(t->port));
}

static void judge_tls(const struct doctor_tls_answer *answer, ssize_t end, const struct doctor_target *t,
                      struct doctor_result *out)
{
    enum doctor_state other = wants_tls(t) ? DOCTOR_FAILED : DOCTOR_NOTED;
    switch (answer->kind) {
    case DOCTOR_TLS_HELLO:
        doctor_tell(out, DOCTOR_OK, DOCTOR_FAULT_NONE, "ServerHello");
        break;
    case DOCTOR_TLS_ALERTED:
        if (answer->alert == DOCTOR_TLS_ACCESS_DENIED) {
            doctor_tell(out, DOCTOR_FAILED, DOCTOR_TLS_DENIED,
                        "alert access_denied(49): openshell-tunneld refuses it");
        } else {
            doctor_tell(out, DOCTOR_NOTED, DOCTOR_TLS_ALERT, "alert %s(%u): TLS, though not to its liking",
                        doctor_tls_alert_text(answer->alert), answer->alert);
        }
        break;
    case DOCTOR_TLS_FOREIGN:
        doctor_tell(out, other, DOCTOR_NO_TLS, "what answers is not TLS");
        break;
    case DOCTOR_TLS_MORE:
        if (end == -ETIMEDOUT) {
            doctor_tell(out, other, DOCTOR_TIMEOUT, "no answer to a ClientHello");
        } else {
            doctor_tell(out, other, DOCTOR_CONN_CUT, "%s, without an answer to a ClientHello",
                        end == 0 ? "closed" : strerror((int)-end));
        }
        break;
    }
}

static void say_hello(int fd, const struct doctor_target *t, int64_t end_ms, struct doctor_result *out)
{
    uint8_t random[64];
    uint8_t bytes[1024];
    struct wbuf w = wbuf_make(bytes, sizeof bytes);
    struct doctor_tls_answer answer = {.kind = DOCTOR_TLS_MORE};
    rng_bytes(random, sizeof random);
    doctor_tls_hello(&w, &t->host, random);
    ssize_t n = doctor_io_send(fd, wbuf_span(&w), end_ms);
    size_t len = 0;
    if (n == 0) {
        do {
            n = doctor_io_receive(fd, bytes + len, sizeof bytes - len, end_ms);
            len += n > 0 ? (size_t)n : 0;
            doctor_tls_read(span_make(bytes, len), &answer);
        } while (n > 0 && answer.kind == DOCTOR_TLS_MORE && len < sizeof bytes);
    }
    judge_tls(&answer, n, t, out);
}

/*
 * On a port that is not known for TLS a ClientHello may itself be the reason for a reset. So first nothing is
 * said: a refused connection is cut then, too (openshell-tunneld looks for 250 ms), and a server that greets
 * is no TLS.
 */
static void check_tls(int fd, const struct doctor_target *t, int64_t end_ms, struct doctor_result *out)
{
    int64_t start_ms = clock_mono_ms();
    uint8_t greeting[64];
    int64_t quiet_ms = start_ms + QUIET_MS < end_ms ? start_ms + QUIET_MS : end_ms;
    ssize_t n = wants_tls(t) ? -ETIMEDOUT : doctor_io_receive(fd, greeting, sizeof greeting, quiet_ms);
    if (n > 0) {
        doctor_tell(out, DOCTOR_NOTED, DOCTOR_NO_TLS, "the server speaks first, and not TLS");
    } else if (n == -ETIMEDOUT) {
        say_hello(fd, t, end_ms, out);
    } else {
        doctor_tell(out, DOCTOR_FAILED, DOCTOR_CONN_CUT, "%s before a byte was sent",
                    n == 0 ? "closed" : "reset");
    }
    out->ms = clock_mono_ms() - start_ms;
}

void doctor_connect_check(struct doctor_facts *f, struct doctor_target *t, int64_t end_ms)
{
    struct doctor_result *r = &t->results[DOCTOR_CONNECT];
    struct doctor_way way;
    int64_t start_ms = clock_mono_ms();
    if (f->proxy.fault != DOCTOR_FAULT_NONE) {
        doctor_tell(r, DOCTOR_FAILED, f->proxy.fault, "%s: %s", f->proxy.url,
                    f->proxy.fault == DOCTOR_PROXY_NAME ? "its name has no address here"
                                                        : "not http://HOST:PORT");
        return;
    }
    doctor_connect_open(&f->proxy, t, end_ms, &way);
    r->ms = clock_mono_ms() - start_ms;
    doctor_connect_judge(&f->proxy, t->is_probe, &way, r);
    f->proxy.was_heard = f->proxy.was_heard || way.status != 0;
    if (way.fd >= 0) {
        if (!t->is_probe) {
            check_tls(way.fd, t, end_ms, &t->results[DOCTOR_CONNECT_TLS]);
        }
        (void)close(way.fd);
    }
}

static const struct ip *first_of(const struct doctor_target *t, enum ip_family family)
{
    for (size_t i = 0; i < t->addr_count; i++) {
        if (t->addrs[i].family == (uint8_t)family) {
            return &t->addrs[i];
        }
    }
    return NULL;
}

/* The way to the first address of a family; -ENOENT: it has none. */
static int try_family(const struct doctor_target *t, enum ip_family family, int64_t end_ms, struct addr *to)
{
    const struct ip *ip = first_of(t, family);
    if (ip == NULL) {
        return -ENOENT;
    }
    int64_t soon_ms = clock_mono_ms() + NATIVE_MS;
    *to = (struct addr){.ip = *ip, .port = t->port};
    return doctor_io_connect(to, soon_ms < end_ms ? soon_ms : end_ms);
}

static void judge_native(struct doctor_target *t, const int fd[2], const struct addr to[2])
{
    struct doctor_result *r = &t->results[DOCTOR_NATIVE];
    char first[ADDR_TEXT_CAP];
    char second[ADDR_TEXT_CAP];
    size_t good = fd[0] >= 0 ? 0 : 1;
    size_t bad = 1 - good;
    if (fd[good] >= 0) {
        t->native = to[good];
        (void)addr_text(&to[good], first);
        if (fd[bad] >= 0 || fd[bad] == -ENOENT) {
            doctor_tell(r, DOCTOR_OK, DOCTOR_FAULT_NONE, "%s", first);
        } else {
            doctor_tell(r, DOCTOR_NOTED, DOCTOR_HALF_IPV6, "%s, but %s: %s", first,
                        addr_text(&to[bad], second), strerror(-fd[bad]));
        }
        return;
    }
    size_t tried = fd[0] == -ENOENT ? 1 : 0;
    if (fd[tried] == -ENOENT) {
        doctor_tell(r, DOCTOR_NOT_TESTED, DOCTOR_FAULT_NONE, "no address to connect to");
        return;
    }
    t->native = to[tried];
    doctor_tell(r, DOCTOR_FAILED, doctor_fault_of(fd[tried]), "%s: %s", addr_text(&to[tried], first),
                strerror(-fd[tried]));
}

void doctor_native_check(struct doctor_target *t, int64_t end_ms)
{
    struct addr to[2] = {{.port = 0}, {.port = 0}};
    int64_t start_ms = clock_mono_ms();
    int fd[2];
    fd[0] = try_family(t, IP_V4, end_ms, &to[0]);
    fd[1] = try_family(t, IP_V6, end_ms, &to[1]);
    t->results[DOCTOR_NATIVE].ms = clock_mono_ms() - start_ms;
    judge_native(t, fd, to);
    int good = fd[0] >= 0 ? fd[0] : fd[1];
    if (good >= 0) {
        check_tls(good, t, end_ms, &t->results[DOCTOR_NATIVE_TLS]);
    }
    for (size_t i = 0; i < 2; i++) {
        if (fd[i] >= 0) {
            (void)close(fd[i]);
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/doctor_dns.h"

#include "common/base/clock.h"
#include "common/base/rng.h"
#include "common/net/sock.h"
#include "egress/doctor_io.h"

#include <errno.h>
#include <unistd.h>

/* A healthy openshell-dnsd answers within milliseconds, one whose upstreams are ill within four seconds. */
#define TRY_MS 1000
#define SERVER_MS 4500 /* for A and AAAA together */
#define DNS_PORT 53

static void build(const struct dns_sent *q, struct wbuf *w)
{
    dns_query_build(w, q->id, q->qname, q->qtype, false);
}

/* One packet out; whatever is no answer to it is not looked at. */
static int ask_udp_once(int fd, const struct dns_sent *q, int64_t end_ms, struct dns_reply *out)
{
    uint8_t bytes[DNS_UDP_MAX];
    struct wbuf w = wbuf_make(bytes, sizeof bytes);
    build(q, &w);
    int rc = doctor_io_send(fd, wbuf_span(&w), end_ms);
    while (rc == 0) {
        ssize_t n = doctor_io_receive(fd, bytes, sizeof bytes, end_ms);
        if (n < 0) {
            return (int)n;
        }
        dns_reply_parse(span_make(bytes, (size_t)n), q, out);
        if (out->kind != DNS_REPLY_MISMATCH) {
            return 0;
        }
        rc = clock_mono_ms() >= end_ms ? -ETIMEDOUT : 0;
    }
    return rc;
}

static int ask_udp(const struct addr *server, const struct dns_sent *q, int64_t end_ms, struct dns_reply *out)
{
    int fd = sock_connect_udp(server);
    int rc = fd < 0 ? fd : -ETIMEDOUT;
    while (rc == -ETIMEDOUT && clock_mono_ms() < end_ms) {
        int64_t try_ms = clock_mono_ms() + TRY_MS;
        rc = ask_udp_once(fd, q, try_ms < end_ms ? try_ms : end_ms, out);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return rc;
}

static int receive_all(int fd, uint8_t *data, size_t len, int64_t end_ms)
{
    while (len > 0) {
        ssize_t n = doctor_io_receive(fd, data, len, end_ms);
        if (n <= 0) {
            return n == 0 ? -ECONNRESET : (int)n;
        }
        data += n;
        len -= (size_t)n;
    }
    return 0;
}

static int ask_tcp(const struct addr *server, const struct dns_sent *q, int64_t end_ms, struct dns_reply *out)
{
    uint8_t bytes[2 + DNS_UDP_MAX]; /* a reply to one question of ours; more is cut off, and then no answer */
    struct wbuf w = wbuf_make(bytes, sizeof bytes);
    int fd = doctor_io_connect(server, end_ms);
    if (fd < 0) {
        return fd;
    }
    wbuf_u16(&w, 0);
    build(q, &w);
    bytes[0] = (uint8_t)((w.len - 2) >> 8);
    bytes[1] = (uint8_t)(w.len - 2);
    int rc = doctor_io_send(fd, wbuf_span(&w), end_ms);
    rc = rc == 0 ? receive_all(fd, bytes, 2, end_ms) : rc;
    size_t len = (size_t)bytes[0] << 8 | bytes[1];
    if (rc == 0 && len > DNS_UDP_MAX) {
        rc = -EPROTO;
    }
    rc = rc == 0 ? receive_all(fd, bytes, len, end_ms) : rc;
    if (rc == 0) {
        dns_reply_parse(span_make(bytes, len), q, out);
        rc = out->kind == DNS_REPLY_MISMATCH ? -EPROTO : 0;
    }
    (void)close(fd);
    return rc;
}

void doctor_dns_ask(const struct addr *server, bool is_tcp, const struct dns_sent *question, int64_t end_ms,
                    struct doctor_dns_answer *out)
{
    *out = (struct doctor_dns_answer){.rc = 0};
    out->rc = is_tcp ? ask_tcp(server, question, end_ms, &out->reply)
                     : ask_udp(server, question, end_ms, &out->reply);
}

static void ask_pair(const struct addr *server, bool is_tcp, const struct host_name *name, int64_t end_ms,
                     struct doctor_dns_pair *out)
{
    uint8_t wire[255];
    int64_t start_ms = clock_mono_ms();
    struct dns_sent q = {.id = rng_u16(), .qtype = DNS_A};
    q.qname = span_make(wire, host_name_to_wire(name, wire));
    int64_t half_ms = start_ms + SERVER_MS / 2;
    *out = (struct doctor_dns_pair){.server = *server};
    doctor_dns_ask(server, is_tcp, &q, half_ms < end_ms ? half_ms : end_ms, &out->a);
    bool has_family = out->a.rc == 0 && out->a.reply.kind != DNS_REPLY_NODATA;
    if (out->a.rc != 0 || (is_tcp && has_family)) {
        out->aaaa = out->a; /* it is dead; and over TCP the question is only whether it is served */
    } else {
        q.id = rng_u16();
        q.qtype = DNS_AAAA;
        half_ms = clock_mono_ms() + SERVER_MS / 2;
        doctor_dns_ask(server, is_tcp, &q, half_ms < end_ms ? half_ms : end_ms, &out->aaaa);
    }
    out->ms = clock_mono_ms() - start_ms;
}

static void keep_addresses(const struct doctor_dns_answer *answer, struct doctor_target *t)
{
    for (size_t i = 0;
         answer->rc == 0 && answer->reply.kind == DNS_REPLY_ADDRS && i < answer->reply.addr_count; i++) {
        if (t->addr_count < DOCTOR_ADDRS_MAX) {
            t->addrs[t->addr_count++] = answer->reply.addrs[i];
        }
    }
}

static void check_one(const struct doctor_facts *f, struct doctor_target *t, bool is_tcp, int64_t end_ms)
{
    const struct addr local = {.ip = ip_v4(127, 0, 0, 1), .port = DNS_PORT};
    struct doctor_dns_pair pairs[DOCTOR_SERVERS_MAX];
    size_t count = f->resolv.server_count > 0 ? f->resolv.server_count : 1;
    bool wants_addresses = t->addr_count == 0;
    for (size_t i = 0; i < count; i++) {
        ask_pair(f->resolv.server_count > 0 ? &f->resolv.servers[i] : &local, is_tcp, &t->host.name, end_ms,
                 &pairs[i]);
        if (wants_addresses && !is_tcp) {
            keep_addresses(&pairs[i].a, t);
            keep_addresses(&pairs[i].aaaa, t);
        }
    }
    doctor_dns_judge(pairs, count, t->is_probe, &t->results[is_tcp ? DOCTOR_DNS_TCP : DOCTOR_DNS_UDP]);
}

void doctor_dns_check(const struct doctor_facts *f, struct doctor_target *t, int64_t end_ms)
{
    check_one(f, t, false, end_ms);
    check_one(f, t, true, end_ms);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection to a steer address: dnsd has answered with ours in place of the server's, so what the client
 * says first tells where it wants to go: TLS by the name in its ClientHello, HTTP/1 by Host, each request by
 * its own. The port is the one that was connected to. Everything else names no host and is refused, as are
 * protocols in which the server speaks first: for them both ends wait until the head timer ends it.
 */
#include "tunneld/session_priv.h"

#include "common/base/clock.h"
#include "common/net/sock.h"
#include "tunneld/first_bytes.h"

#include <errno.h>
#include <stdlib.h>

struct session_steer {
    struct first_bytes first;
    struct tls_sni hello;
    bool is_tls;
};

/* Per read: what follows the name is kept while the server is dialled, so this bounds the memory of a client
 * that sends much and gets nowhere, as for CONNECT. */
#define STEER_READ_BYTES ((size_t)2 * HTTP_HEAD_MAX_BYTES)
_Static_assert(TLS_SNI_MAX_BYTES <= RELAY_BUFFER_BYTES, "the relay takes over what was kept");

void session_steer_stop(struct session *s)
{
    free(s->steer);
    s->steer = NULL;
}

static bool is_steer_addr(const struct session *s, const struct addr *a)
{
    const struct steer_addrs *steer = &s->tw->daemon->steer;
    return ip_is_equal(&steer->v4, &a->ip) || ip_is_equal(&steer->v6, &a->ip);
}

/* nft's redirect makes every address that was dialled one of ours, which may be a steer address: then what
 * was dialled counts, as the map knows it. */
bool session_is_steered(const struct session *s, uint16_t *port)
{
    struct addr local;
    struct addr before;
    if (sock_local_addr(s->client_fd, &local) != 0 || !is_steer_addr(s, &local)) {
        return false;
    }
    if (sock_original_dst(s->client_fd, local.ip.family, &before) == 0 && before.port != 0) {
        local = before;
    }
    *port = local.port;
    return is_steer_addr(s, &local);
}

static void no_name(struct session *s, const char *why)
{
    session_fail(s, &(struct session_fault){.reason = REASON_STEER_NO_NAME, .why = why});
}

static void steer_tls(struct session *s)
{
    const struct tls_sni *hello = &s->steer->hello;
    const struct host host = hello->host;
    if (hello->status != TLS_SNI_NAMED) {
        s->steered = STEERED_TLS;
        no_name(s, tls_sni_why(hello));
        return;
    }
    session_head_stop(s); /* the place among the unfinished ones is given up */
    session_steer_stop(s);
    s->steered = STEERED_TLS;
    s->asked_ms = clock_mono_ms();
    if (!session_set_host(s, &host)) {
        session_fail(s, &(struct session_fault){.reason = REASON_INTERNAL, .cause = ENOMEM});
        return;
    }
    session_decide_name(s);
}

static void look(struct session *s, struct span bytes)
{
    struct session_steer *t = s->steer;
    if (!t->is_tls) {
        switch (first_bytes_feed(&t->first, bytes)) {
        case FIRST_BYTES_MORE:
            return;
        case FIRST_BYTES_OTHER:
            no_name(s, "neither TLS nor HTTP: nothing in it names a host");
            return;
        case FIRST_BYTES_HTTP:
        case FIRST_BYTES_HTTP_HEAD:
            session_steer_stop(s);
            s->steered = STEERED_HTTP;
            session_head_steered(s);
            return;
        case FIRST_BYTES_TLS:
            t->is_tls = true;
            bytes = buf_span(&s->early); /* from the beginning */
            break;
        }
    }
    if (tls_sni_feed(&t->hello, bytes) != TLS_SNI_MORE) {
        steer_tls(s);
    }
}

void session_steer_read(struct session *s)
{
    uint8_t *buffer = s->tw->relay_env.buffer;
    const size_t room = TLS_SNI_MAX_BYTES - s->early.len;
    ssize_t got = recv(s->client_fd, buffer, room < STEER_READ_BYTES ? room : STEER_READ_BYTES, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0 && s->early.len == 0) { /* a probe: nothing was asked */
        session_end(s, REASON_CLIENT_CLOSED);
    } else if (got <= 0) {
        no_name(s, "the client ended before it named a host");
    } else if (buf_append(&s->early, span_make(buffer, (size_t)got), TLS_SNI_MAX_BYTES) != 0) {
        session_fail(s, &(struct session_fault){.reason = REASON_INTERNAL, .cause = ENOMEM});
    } else {
        look(s, span_make(buffer, (size_t)got));
    }
}

void session_steer_start(struct session *s, uint16_t port)
{
    struct session_fault fault;
    s->port = port;
    s->steered_port = port;
    s->steered = STEERED_UNKNOWN;
    s->steer = calloc(1, sizeof(*s->steer));
    if (s->steer == NULL) {
        session_fail(s, &(struct session_fault){.reason = REASON_INTERNAL, .cause = ENOMEM});
        return;
    }
    first_bytes_init(&s->steer->first);
    tls_sni_init(&s->steer->hello);
    if (!session_take_head(s, &fault)) {
        session_fail(s, &fault);
        return;
    }
    ev_io_start(s->tw->relay_env.loop, &s->client_io);
    session_move(s, SESSION_STEER);
}

void session_steer_due(struct session *s)
{
    no_name(s, "the client said nothing that names a host in time: protocols in which the server speaks "
               "first cannot be "
               "steered");
}

/* What is refused is told in the client's own protocol, which is known by now; else it is reset. */
bool session_steer_refuse(struct session *s)
{
    session_steer_stop(s);
    switch (s->steered) {
    case STEERED_NOT:
    case STEERED_HTTP: /* as every request is answered */
        return false;
    case STEERED_TLS:
        session_head_stop(s);
        buf_fini(&s->early);
        session_answer(s, span_make(tls_sni_access_denied, TLS_SNI_ALERT_BYTES));
        return true;
    case STEERED_UNKNOWN:
        break;
    }
    s->must_reset_client = true;
    session_end(s, REASON_STEER_NO_NAME);
    return true;
}

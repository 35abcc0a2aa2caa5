/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --sni: a tunnel stands, and what the client sends first is kept until it is known whether it is a
 * ClientHello that names the host. Whoever does not begin so waits for nothing: a first byte that is not TLS,
 * or anything from the server while the client is silent, starts the relay at once. Only a ClientHello that
 * has begun and is not whole has a time (--sni-wait).
 */
#include "tunneld/session_priv.h"

#include "common/base/clock.h"
#include "tunneld/tls_sni.h"
#include "tunneld/tunneld_counters.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

_Static_assert(TLS_SNI_MAX_BYTES <= RELAY_BUFFER_BYTES, "the relay takes over what was kept");

struct session_sni {
    struct tls_sni hello;
    ev_io upstream_io; /* while the client is silent */
    int64_t begun_ms;  /* -1: the client has sent nothing */
};

static const struct settings_tunneld *settings_of(const struct session *s)
{
    return &s->tw->daemon->settings;
}

bool session_sni_is_wanted(const struct session *s)
{
    return settings_of(s)->sni != SNI_OFF && !s->is_forwarded;
}

void session_sni_stop(struct session *s)
{
    if (s->sni != NULL) {
        ev_io_stop(s->tw->relay_env.loop, &s->sni->upstream_io);
        free(s->sni);
        s->sni = NULL;
    }
}

static void stop_watching(struct session *s)
{
    ev_io_stop(s->tw->relay_env.loop, &s->client_io);
    session_sni_stop(s);
}

/* Everything kept goes on, and all that follows. */
static void pass(struct session *s)
{
    stop_watching(s);
    if (session_relay_start(s)) {
        session_move(s, SESSION_RELAY);
    }
}

static void refuse(struct session *s)
{
    stop_watching(s);
    session_log_close(s, REASON_SNI_MISMATCH, clock_mono_ms());
    session_move(s, SESSION_DECIDE_SNI); /* no tunnel any more */
    buf_fini(&s->early);
    (void)close(s->upstream_fd);
    s->upstream_fd = -1;
    session_answer(s, span_make(tls_sni_access_denied, TLS_SNI_ALERT_BYTES));
}

/* What has been seen is all that will be. */
static void decide(struct session *s)
{
    const struct tls_sni *hello = &s->sni->hello;
    const struct host granted = session_host(s);
    bool is_allowed = tls_sni_agrees(hello, &granted);
    if (hello->has_ech) {
        metrics_add(&s->tw->worker->metrics, TUNNELD_COUNTER_SNI_ECH, 1);
    }
    if (!is_allowed) {
        bool is_enforced = settings_of(s)->sni == SNI_ENFORCE;
        metrics_add(&s->tw->worker->metrics, TUNNELD_COUNTER_SNI_MISMATCHES, 1);
        session_log_sni(s, hello, is_enforced);
        is_allowed = !is_enforced;
    } else if (hello->has_ech) {
        session_log_ech(s, hello);
    }
    if (is_allowed) {
        pass(s);
    } else {
        refuse(s);
    }
}

/* Bytes of the client, which are in s->early already. */
static void take(struct session *s, struct span bytes)
{
    if (tls_sni_feed(&s->sni->hello, bytes) != TLS_SNI_MORE) {
        decide(s);
        return;
    }
    if (s->sni->begun_ms < 0) {
        s->sni->begun_ms = clock_mono_ms();
        /* A TLS server has nothing to say yet, and if this is no TLS it waits no longer than the client. */
        ev_io_stop(s->tw->relay_env.loop, &s->sni->upstream_io);
        session_move(s, SESSION_PEEK_SNI);
    }
}

static void lose_client(struct session *s, int error)
{
    bool is_vanished = error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH;
    s->must_reset_upstream = true;
    session_end(s, is_vanished ? REASON_PEER_VANISHED : REASON_CLIENT_RESET);
}

void session_sni_read(struct session *s)
{
    uint8_t *buffer = s->tw->relay_env.buffer;
    ssize_t got = recv(s->client_fd, buffer, TLS_SNI_MAX_BYTES - s->early.len, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got < 0) {
        lose_client(s, errno);
    } else if (got == 0 && s->sni->begun_ms >= 0) {
        decide(s);
    } else if (got == 0) { /* the relay reads the FIN again */
        pass(s);
    } else if (buf_append(&s->early, span_make(buffer, (size_t)got), TLS_SNI_MAX_BYTES) != 0) {
        session_end(s, REASON_INTERNAL);
    } else {
        s->relay.last_ms = clock_mono_ms();
        take(s, span_make(buffer, (size_t)got));
    }
}

static void on_upstream_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    if ((revents & EV_ERROR) != 0) {
        session_end(w->data, REASON_INTERNAL); /* epoll has refused it: no reason to look no further */
    } else {
        pass(w->data); /* the server speaks first, or has ended: the relay sees which */
    }
}

void session_sni_start(struct session *s)
{
    s->relay.last_ms = s->opened_ms;
    s->sni = calloc(1, sizeof(*s->sni));
    if (s->sni == NULL) {
        session_move(s, SESSION_PEEK_SNI);
        session_end(s, REASON_INTERNAL);
        return;
    }
    tls_sni_init(&s->sni->hello);
    s->sni->begun_ms = -1;
    ev_io_init(&s->sni->upstream_io, on_upstream_event, s->upstream_fd, EV_READ);
    s->sni->upstream_io.data = s;
    ev_io_start(s->tw->relay_env.loop, &s->sni->upstream_io);
    ev_io_start(s->tw->relay_env.loop, &s->client_io);
    session_move(s, SESSION_PEEK_SNI);
    if (s->state == SESSION_PEEK_SNI && s->early.len > 0) {
        take(s, buf_span(&s->early));
    }
}

int64_t session_sni_due_ms(const struct session *s)
{
    const int64_t wait_ms = settings_of(s)->sni_wait_ms;
    return s->sni != NULL && s->sni->begun_ms >= 0 && wait_ms > 0 ? s->sni->begun_ms + wait_ms : -1;
}

void session_sni_due(struct session *s)
{
    decide(s);
}

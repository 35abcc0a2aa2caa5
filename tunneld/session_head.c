/* SPDX-License-Identifier: Apache-2.0 */
/* What is read from a client outside a tunnel: the request head, and what is thrown away behind an error. */
#include "tunneld/session_priv.h"

#include "common/base/clock.h"

#include <errno.h>
#include <stdlib.h>

#define LINGER_BYTES ((size_t)256 * 1024)
/* Per read before the tunnel stands. What was read behind the head is kept while the upstream is dialled, so
 * this bounds the memory of a client that sends much and gets nowhere; the kernel holds the rest. */
#define HEAD_READ_BYTES ((size_t)2 * HTTP_HEAD_MAX_BYTES)
_Static_assert(HEAD_READ_BYTES <= RELAY_BUFFER_BYTES, "the buffer takes one read");

static void fail_head(struct session *s)
{
    const struct http_head *h = s->head;
    struct session_fault fault = {.reason = REASON_BAD_REQUEST, .why = http_head_fault_text(h->fault)};
    if (h->fault == HTTP_HEAD_FAULT_TOO_LARGE) {
        fault.reason = REASON_HEAD_TOO_LARGE;
    } else if (h->fault == HTTP_HEAD_FAULT_TRACE) {
        fault.reason = REASON_METHOD_NOT_ALLOWED;
    } else if (h->fault == HTTP_HEAD_FAULT_HOST) {
        fault.why = host_fault_text(h->host_fault);
    }
    session_fail(s, &fault);
}

/* The head is whole. text: all of it, where it is a request to be passed on; behind: what follows it. */
static void start_request(struct session *s, struct span text, struct span behind)
{
    struct session_fault fault = {.reason = REASON_NONE};
    struct buf early = {.data = NULL};
    s->port = s->head->port;
    s->asked_ms = clock_mono_ms();
    if (s->head->status == HTTP_HEAD_FORWARD) {
        fault = session_forward_begin(s, text);
    }
    int rc = session_set_host(s, &s->head->host) ? 0 : -ENOMEM;
    if (rc == 0) {
        rc = buf_append(&early, behind, RELAY_BUFFER_BYTES);
    }
    if (rc != 0) {
        fault = (struct session_fault){.reason = REASON_INTERNAL, .cause = -rc};
    }
    buf_fini(&s->early); /* text and behind may have been its */
    s->early = early;
    session_head_stop(s);
    if (fault.reason != REASON_NONE) {
        session_fail(s, &fault);
    } else {
        session_decide_name(s);
    }
}

/* The next head on a kept connection has begun, and there is more to come of it. */
static void start_kept_head(struct session *s)
{
    struct session_fault fault;
    if (session_take_head(s, &fault)) {
        s->head_from_ms = clock_mono_ms(); /* its time starts with its first byte */
        session_move(s, SESSION_READ_HEAD);
    } else {
        session_fail(s, &fault);
    }
}

/* Feeds bytes, which are new, or all that s->early holds. */
static void take_head(struct session *s, struct span bytes, bool is_early)
{
    bool is_first = s->head->total == 0;
    size_t taken = http_head_feed(s->head, bytes);
    struct span text = span_sub(bytes, 0, taken);
    bool is_kept_text = s->head->status != HTTP_HEAD_BAD && !http_head_is_connect(s->head);
    int rc = 0;
    if (!is_early && is_kept_text && (s->head->status == HTTP_HEAD_MORE || s->early.len > 0)) {
        rc = buf_append(&s->early, text, HTTP_HEAD_MAX_BYTES);
        text = buf_span(&s->early);
    }
    if (rc != 0) {
        session_fail(s, &(struct session_fault){.reason = REASON_INTERNAL, .cause = -rc});
        return;
    }
    switch (s->head->status) {
    case HTTP_HEAD_MORE:
        if (is_first && s->is_kept) {
            start_kept_head(s);
        }
        break;
    case HTTP_HEAD_BAD:
        fail_head(s);
        break;
    case HTTP_HEAD_CONNECT:
    case HTTP_HEAD_FORWARD:
        start_request(s, text, span_sub(bytes, taken, bytes.len));
        break;
    }
}

static void read_head(struct session *s)
{
    uint8_t *buffer = s->tw->relay_env.buffer;
    if (s->head->total == 0 && s->early.len > 0) { /* it came with the request before */
        take_head(s, buf_span(&s->early), true);
        return;
    }
    ssize_t got = recv(s->client_fd, buffer, HEAD_READ_BYTES, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) { /* a probe, or a client that changed its mind: nothing was asked */
        session_end(s, REASON_CLIENT_CLOSED);
        return;
    }
    take_head(s, span_make(buffer, (size_t)got), false);
}

/* The answer is out. Closing with unread bytes would send RST, which makes the client lose it (RFC 9112 9.6).
 */
static void discard(struct session *s)
{
    ssize_t got = recv(s->client_fd, s->tw->relay_env.buffer, RELAY_BUFFER_BYTES, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    s->discarded_bytes += got > 0 ? (size_t)got : 0;
    if (got <= 0 || s->discarded_bytes > LINGER_BYTES) {
        session_end(s, REASON_NONE);
    }
}

/* Epoll has refused the client: nothing will be heard of it. */
static void lose_client(struct session *s)
{
    const bool is_idle = s->is_kept && s->head != NULL && s->head->total == 0;
    const bool is_over = s->state == SESSION_LINGER || s->state == SESSION_REFUSED;
    ev_io_set(&s->client_io, s->client_fd, EV_READ); /* lest libev believes that the kernel has it */
    if (is_over || is_idle) {
        s->must_reset_client = s->state == SESSION_REFUSED;
        session_end(s, REASON_NONE);
    } else if (s->state == SESSION_PEEK_SNI) {
        session_end(s, REASON_INTERNAL);
    } else {
        session_fail(s, &(struct session_fault){.reason = REASON_INTERNAL,
                                                .why = "the kernel refused to watch the connection (epoll)"});
    }
}

static void on_client_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    struct session *s = w->data;
    if ((revents & EV_ERROR) != 0) {
        lose_client(s);
    } else if (s->state == SESSION_LINGER) {
        discard(s);
    } else if (s->state == SESSION_PEEK_SNI) {
        session_sni_read(s);
    } else if (s->state == SESSION_REFUSED) {
        session_refusal_read(s);
    } else if (s->state == SESSION_STEER) {
        session_steer_read(s);
    } else {
        read_head(s);
    }
}

static bool new_head(struct session *s)
{
    s->head = malloc(sizeof(*s->head));
    if (s->head != NULL && s->steered == STEERED_HTTP) {
        http_head_init_steered(s->head, s->steered_port);
    } else if (s->head != NULL) {
        http_head_init(s->head);
    }
    return s->head != NULL;
}

int session_head_start(struct session *s)
{
    ev_io_init(&s->client_io, on_client_event, s->client_fd, EV_READ);
    s->client_io.data = s;
    if (s->kind == LISTEN_CAPTURE) {
        return 0;
    }
    if (!new_head(s)) {
        return -ENOMEM;
    }
    ev_io_start(s->tw->relay_env.loop, &s->client_io);
    return 0;
}

void session_linger_start(struct session *s)
{
    (void)shutdown(s->client_fd, SHUT_WR);
    free(s->head);
    s->head = NULL;
    session_give_head(s);
    session_give_rule(s);
    ev_io_start(s->tw->relay_env.loop, &s->client_io);
    session_move(s, SESSION_LINGER);
}

void session_head_stop(struct session *s)
{
    ev_io_stop(s->tw->relay_env.loop, &s->client_io);
    free(s->head);
    s->head = NULL;
    session_give_head(s);
}

void session_head_again(struct session *s)
{
    if (!new_head(s) || s->tw->is_draining) {
        session_end(s, s->head == NULL ? REASON_INTERNAL : REASON_SHUTDOWN);
        return;
    }
    free(s->host_text);
    s->host_text = NULL;
    s->port = 0;
    s->upstream = (struct addr){.port = 0};
    s->refused_addr = (struct addr){.port = 0};
    s->chained_ip = (struct ip){.family = IP_NONE};
    session_give_rule(s);
    session_revoke_forget(s);
    s->is_forwarded = false;
    s->is_kept = true;
    ev_io_start(s->tw->relay_env.loop, &s->client_io);
    if (s->early.len > 0) { /* in an event of its own: a client may have sent many at once */
        ev_feed_event(s->tw->relay_env.loop, &s->client_io, EV_READ);
    }
    session_move(s, SESSION_READ_HEAD);
}

void session_head_steered(struct session *s)
{
    if (!new_head(s)) {
        session_fail(s, &(struct session_fault){.reason = REASON_INTERNAL, .cause = ENOMEM});
        return;
    }
    session_move(s, SESSION_READ_HEAD);
    if (s->state == SESSION_READ_HEAD) {
        read_head(s);
    }
}

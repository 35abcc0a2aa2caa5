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

/* The head is whole: behind bytes of it belong to the tunnel. */
static void start_request(struct session *s, struct span behind)
{
    s->host = s->head->host;
    s->port = s->head->port;
    s->asked_ms = clock_mono_ms();
    session_head_stop(s);
    int rc = buf_append(&s->early, behind, HEAD_READ_BYTES);
    if (rc != 0) {
        session_fail(s, &(struct session_fault){.reason = REASON_INTERNAL, .cause = -rc});
        return;
    }
    session_decide_name(s);
}

static void read_head(struct session *s)
{
    uint8_t *buffer = s->tw->relay_env.buffer;
    ssize_t got = recv(s->client_fd, buffer, HEAD_READ_BYTES, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) { /* a probe, or a client that changed its mind: nothing was asked */
        session_end(s, REASON_CLIENT_CLOSED);
        return;
    }
    struct span bytes = span_make(buffer, (size_t)got);
    size_t taken = http_head_feed(s->head, bytes);
    switch (s->head->status) {
    case HTTP_HEAD_MORE:
        break;
    case HTTP_HEAD_BAD:
        fail_head(s);
        break;
    case HTTP_HEAD_CONNECT:
        start_request(s, span_sub(bytes, taken, bytes.len));
        break;
    case HTTP_HEAD_FORWARD:
        session_fail(s,
                     &(struct session_fault){.reason = REASON_BAD_REQUEST,
                                             .why = "this version of the proxy carries CONNECT only; plain "
                                                    "HTTP works without a proxy inside the fence"});
        break;
    }
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

static void on_client_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    (void)revents;
    struct session *s = w->data;
    if (s->state == SESSION_LINGER) {
        discard(s);
    } else {
        read_head(s);
    }
}

int session_head_start(struct session *s)
{
    ev_io_init(&s->client_io, on_client_event, s->client_fd, EV_READ);
    s->client_io.data = s;
    if (s->kind == LISTEN_CAPTURE) {
        return 0;
    }
    s->head = malloc(sizeof(*s->head));
    if (s->head == NULL) {
        return -ENOMEM;
    }
    http_head_init(s->head);
    ev_io_start(s->tw->relay_env.loop, &s->client_io);
    return 0;
}

void session_linger_start(struct session *s)
{
    (void)shutdown(s->client_fd, SHUT_WR);
    free(s->head);
    s->head = NULL;
    ev_io_start(s->tw->relay_env.loop, &s->client_io);
    session_move(s, SESSION_LINGER);
}

void session_head_stop(struct session *s)
{
    ev_io_stop(s->tw->relay_env.loop, &s->client_io);
    free(s->head);
    s->head = NULL;
}

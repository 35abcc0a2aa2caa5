/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A captured connection that is refused: the kernel has accepted it long ago, so the client believes that it
 * stands and sends what its protocol begins with. That tells in which protocol it can be told.
 */
#include "tunneld/session_priv.h"

#include "tunneld/first_bytes.h"

#include <errno.h>
#include <stdlib.h>

struct session_refusal {
    struct first_bytes first;
    size_t head_len, len; /* of the answer over HTTP */
    uint8_t answer[];
};

void session_answer(struct session *s, struct span bytes)
{
    /* Nothing is waiting in this socket's buffer: it takes an answer whole, or the client is gone or does not
     * read what it asked for, which lingering notices. */
    (void)!send(s->client_fd, bytes.data, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    session_linger_start(s);
}

void session_refusal_stop(struct session *s)
{
    free(s->refusal);
    s->refusal = NULL;
}

static void reset(struct session *s)
{
    s->must_reset_client = true;
    session_end(s, REASON_NONE);
}

void session_refusal_start(struct session *s, const struct session_fault *fault)
{
    uint8_t *text = s->tw->relay_env.buffer;
    _Static_assert(HTTP_REPLY_CAP <= RELAY_BUFFER_BYTES, "the buffer takes an answer");
    struct session_fault headless = *fault;
    headless.has_no_body = true;
    const size_t head_len = session_write_reply(s, &headless, text, HTTP_REPLY_CAP);
    const size_t len = session_write_reply(s, fault, text, HTTP_REPLY_CAP);
    struct session_refusal *r = malloc(sizeof(*r) + len);
    if (r == NULL || (fault->reason == REASON_NOT_MAPPED && s->host_text == NULL)) {
        free(r); /* what was never handed out stands for nothing that could be talked to */
        reset(s);
        return;
    }
    first_bytes_init(&r->first);
    r->head_len = head_len;
    r->len = len;
    memcpy(r->answer, text, len);
    s->refusal = r;
    ev_io_start(s->tw->relay_env.loop, &s->client_io);
    session_move(s, SESSION_REFUSED);
}

void session_refusal_read(struct session *s)
{
    struct session_refusal *r = s->refusal;
    uint8_t *buffer = s->tw->relay_env.buffer;
    ssize_t got = recv(s->client_fd, buffer, RELAY_BUFFER_BYTES, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    enum first_bytes_kind kind = FIRST_BYTES_OTHER;
    if (got > 0) {
        s->discarded_bytes += (size_t)got;
        kind = first_bytes_feed(&r->first, span_make(buffer, (size_t)got));
    }
    switch (kind) {
    case FIRST_BYTES_MORE:
        break;
    case FIRST_BYTES_OTHER:
        reset(s);
        break;
    case FIRST_BYTES_HTTP:
        session_answer(s, span_make(r->answer, r->len));
        break;
    case FIRST_BYTES_HTTP_HEAD:
        session_answer(s, span_make(r->answer, r->head_len));
        break;
    case FIRST_BYTES_TLS:
        session_answer(s, span_make(tls_sni_access_denied, TLS_SNI_ALERT_BYTES));
        break;
    }
}

void session_refusal_due(struct session *s)
{
    reset(s);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request for an http:// URL, from its head to the last byte of its answer: http_forward says what the
 * bytes are, this moves them. Each side is read only while nothing waits to be sent to the other
 * (back-pressure); what was read behind the request stays in s->early for the next one. A request that is
 * refused gets its answer in its turn.
 */
#include "tunneld/session_priv.h"

#include "common/base/clock.h"
#include "common/net/sock.h"
#include "tunneld/http_forward.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PUMP_ROUNDS 4 /* reads of the server per wake-up */
/* A read that could not be sent, and a head before it. */
#define UNSENT_MAX_BYTES ((size_t)2 * RELAY_BUFFER_BYTES)

enum { CLIENT = 0, SERVER };

struct forward_leg {
    struct session *session;
    ev_io io;
    struct buf unsent; /* for this side */
    uint64_t sent_bytes;
};

struct session_forward {
    struct http_forward http;
    struct forward_leg leg[2];
    struct hangup_watch hangup; /* of the client, while nothing of it is read or written */
    bool is_refused;            /* what is sent is our own answer */
    bool is_upload_over;        /* the server takes no more of the body */
    int64_t last_ms;
    char *rule; /* a copy: the policy may go before the answer is whole */
    char method[HTTP_HEAD_WORD_CAP + 1];
};

static void on_client_event(struct ev_loop *loop, ev_io *w, int revents);
static void on_server_event(struct ev_loop *loop, ev_io *w, int revents);
static void step(struct session *s);

static struct ev_loop *loop_of(const struct session *s)
{
    return s->tw->relay_env.loop;
}

static enum reason lost_reason(int error, bool is_client)
{
    if (error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH) {
        return REASON_PEER_VANISHED;
    }
    return is_client ? REASON_CLIENT_RESET : REASON_UPSTREAM_RESET;
}

static void on_client_hangup(struct hangup_watch *w)
{
    struct session *s = w->ctx;
    /* Nobody else finishes sending before the answer is there: the FIN of a client that waits is its end. */
    bool is_fin = hangup_is_fin(s->client_fd);
    session_end(s, is_fin ? REASON_CLIENT_CLOSED : lost_reason(hangup_error(s->client_fd), true));
}

/* ---- begin and end ---- */

static void copy_method(struct session_forward *f, const struct http_head *h)
{
    size_t len = h->method_len < HTTP_HEAD_WORD_CAP ? h->method_len : HTTP_HEAD_WORD_CAP;
    memcpy(f->method, h->method, len);
    f->method[len] = '\0';
}

struct session_fault session_forward_begin(struct session *s, struct span text)
{
    static const struct session_fault no_memory = {.reason = REASON_INTERNAL, .cause = ENOMEM};
    uint8_t head[HTTP_FORWARD_HEAD_CAP];
    struct wbuf w = wbuf_make(head, sizeof head);
    const struct http_forward_names names = {.via = s->tw->daemon->via,
                                             .idle_s = s->tw->daemon->settings.forward_idle_ms / 1000};
    struct session_forward *f = calloc(1, sizeof(*f));
    s->is_forwarded = true;
    if (f == NULL) {
        return no_memory;
    }
    s->forward = f;
    f->hangup.fn = on_client_hangup;
    f->hangup.ctx = s;
    f->hangup.wants_fin = true;
    f->leg[CLIENT].session = s;
    f->leg[SERVER].session = s;
    ev_io_init(&f->leg[CLIENT].io, on_client_event, s->client_fd, EV_READ);
    ev_io_init(&f->leg[SERVER].io, on_server_event, -1, EV_READ);
    f->leg[CLIENT].io.data = &f->leg[CLIENT];
    f->leg[SERVER].io.data = &f->leg[SERVER];
    copy_method(f, s->head);
    switch (http_forward_start(&f->http, s->head, text, &names, &w)) {
    case HTTP_FORWARD_FAULT_NONE:
        break;
    case HTTP_FORWARD_FAULT_LOOP:
        return (struct session_fault){.reason = REASON_PROXY_LOOP,
                                      .why = "the request has passed this proxy before (Via)"};
    case HTTP_FORWARD_FAULT_FIELDS:
        return (struct session_fault){.reason = REASON_BAD_REQUEST,
                                      .why = "the Connection header names too many fields"};
    case HTTP_FORWARD_FAULT_HOPS:
        return (struct session_fault){
            .reason = REASON_BAD_REQUEST,
            .why = "Max-Forwards lets this OPTIONS go no further, and the proxy itself has "
                   "no options to tell"};
    }
    if (buf_append(&f->leg[SERVER].unsent, wbuf_span(&w), UNSENT_MAX_BYTES) != 0) {
        return no_memory;
    }
    return (struct session_fault){.reason = REASON_NONE};
}

int64_t session_forward_last_ms(const struct session *s)
{
    return s->forward->last_ms;
}

const char *session_forward_rule(const struct session *s)
{
    return s->forward != NULL ? s->forward->rule : NULL;
}

static void stop_watchers(struct session *s)
{
    struct session_forward *f = s->forward;
    ev_io_stop(loop_of(s), &f->leg[CLIENT].io);
    ev_io_stop(loop_of(s), &f->leg[SERVER].io);
    hangup_stop(s->tw->relay_env.hangup, &f->hangup);
}

static void log_exchange(struct session *s, enum reason reason)
{
    const struct session_forward *f = s->forward;
    const struct session_exchange x = {.method = f->method,
                                       .rule = f->rule,
                                       .status = f->http.status,
                                       .reason = reason,
                                       .bytes_up = f->leg[SERVER].sent_bytes,
                                       .bytes_down = f->leg[CLIENT].sent_bytes};
    session_log_forward(s, &x, clock_mono_ms());
}

static void release(struct session *s)
{
    struct session_forward *f = s->forward;
    stop_watchers(s);
    http_forward_fini(&f->http);
    buf_fini(&f->leg[CLIENT].unsent);
    buf_fini(&f->leg[SERVER].unsent);
    free(f->rule);
    free(f);
    s->forward = NULL;
}

void session_forward_stop(struct session *s, enum reason reason)
{
    struct session_forward *f = s->forward;
    if (f == NULL) {
        return;
    }
    if (s->state == SESSION_FORWARD && !f->is_refused) {
        log_exchange(s, reason);
        /* No side may take what it got for the whole. */
        s->must_reset_upstream = true;
        s->must_reset_client =
            s->must_reset_client || f->leg[CLIENT].unsent.len > 0 || http_forward_ends_by_close(&f->http);
    }
    release(s);
}

static void close_server(struct session *s)
{
    bool is_whole = s->forward->http.up.status == HTTP_BODY_DONE && s->forward->leg[SERVER].unsent.len == 0;
    ev_io_stop(loop_of(s), &s->forward->leg[SERVER].io);
    if (s->upstream_fd >= 0) {
        if (is_whole) {
            (void)close(s->upstream_fd);
        } else {
            sock_close_reset(s->upstream_fd);
        }
        s->upstream_fd = -1;
    }
}

/* The answer is out, the server's or our own. */
static void finish(struct session *s)
{
    bool must_close = s->forward->http.must_close;
    if (!s->forward->is_refused) {
        log_exchange(s, REASON_NONE);
    }
    close_server(s);
    release(s);
    if (must_close) {
        session_linger_start(s);
    } else {
        session_head_again(s);
    }
}

/* 101: the rest is not HTTP. */
static void become_tunnel(struct session *s)
{
    char *rule = s->forward->rule;
    log_exchange(s, REASON_NONE);
    s->forward->rule = NULL;
    release(s);
    session_tunnel_start(s, rule);
    free(rule);
}

/* ---- sending ---- */

/* 0 or -errno; *sent is what the socket took. */
static int send_some(struct forward_leg *to, int fd, struct span bytes, size_t *sent)
{
    ssize_t n;
    do {
        n = send(fd, bytes.data, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    *sent = n > 0 ? (size_t)n : 0;
    if (n < 0) {
        return errno == EAGAIN ? 0 : -errno;
    }
    to->sent_bytes += (uint64_t)n;
    to->session->forward->last_ms = clock_mono_ms();
    return 0;
}

static int flush(struct forward_leg *to, int fd)
{
    size_t sent = 0;
    if (to->unsent.len == 0) {
        return 0;
    }
    int rc = send_some(to, fd, buf_span(&to->unsent), &sent);
    buf_consume(&to->unsent, sent);
    return rc;
}

static int deliver(struct forward_leg *to, int fd, struct span bytes)
{
    size_t sent = 0;
    int rc = to->unsent.len > 0 || bytes.len == 0 ? 0 : send_some(to, fd, bytes, &sent);
    return rc != 0 ? rc : buf_append(&to->unsent, span_sub(bytes, sent, bytes.len), UNSENT_MAX_BYTES);
}

/* The server takes no more, but may have said why: its answer is still read. */
static void give_up_upload(struct session *s)
{
    s->forward->is_upload_over = true;
    s->forward->http.must_close = true;
    buf_fini(&s->forward->leg[SERVER].unsent);
}

static void send_up(struct session *s, struct span bytes)
{
    struct session_forward *f = s->forward;
    if (!f->is_upload_over && (flush(&f->leg[SERVER], s->upstream_fd) != 0 ||
                               deliver(&f->leg[SERVER], s->upstream_fd, bytes) != 0)) {
        give_up_upload(s);
    }
}

/* False: the client is gone, and the session with it. */
static bool send_down(struct session *s, struct span bytes)
{
    struct forward_leg *to = &s->forward->leg[CLIENT];
    int rc = deliver(to, s->client_fd, bytes);
    if (rc != 0) {
        session_end(s, rc == -ENOMEM || rc == -E2BIG ? REASON_INTERNAL : lost_reason(-rc, true));
    }
    return rc == 0;
}

static bool flush_down(struct session *s)
{
    int rc = flush(&s->forward->leg[CLIENT], s->client_fd);
    if (rc != 0) {
        session_end(s, lost_reason(-rc, true));
    }
    return rc == 0;
}

/* ---- receiving ---- */

static bool wants_client(const struct session_forward *f)
{
    return !f->is_refused && !f->is_upload_over && f->http.up.status == HTTP_BODY_MORE &&
           f->leg[SERVER].unsent.len == 0;
}

static bool wants_server(const struct session_forward *f)
{
    return !f->is_refused && f->leg[CLIENT].unsent.len == 0 &&
           (f->http.state == HTTP_FORWARD_HEAD || f->http.state == HTTP_FORWARD_BODY);
}

/* -errno, 0 at the end, or how much. */
static ssize_t receive(struct session *s, int fd, size_t cap)
{
    ssize_t n;
    do {
        n = recv(fd, s->tw->relay_env.buffer, cap, MSG_DONTWAIT);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        s->forward->last_ms = clock_mono_ms();
    }
    return n < 0 ? -errno : n;
}

static size_t upload_cap(const struct http_body *up)
{
    bool is_less = up->kind == HTTP_BODY_LENGTH && up->left < RELAY_BUFFER_BYTES;
    return is_less ? (size_t)up->left : RELAY_BUFFER_BYTES; /* of the next request as little as can be */
}

/* False: the session is gone, or has gone on. */
static bool pump_up(struct session *s)
{
    struct session_forward *f = s->forward;
    ssize_t got = receive(s, s->client_fd, upload_cap(&f->http.up));
    if (got == -EAGAIN) {
        return true;
    }
    if (got <= 0) {
        session_end(s, got == 0 ? REASON_CLIENT_CLOSED : lost_reason((int)-got, true));
        return false;
    }
    struct span bytes = span_make(s->tw->relay_env.buffer, (size_t)got);
    size_t taken = http_forward_up(&f->http, bytes);
    if (f->http.up.status == HTTP_BODY_BAD) {
        session_fail(s, &(struct session_fault){.reason = REASON_BAD_REQUEST,
                                                .why = "the chunks of the body are malformed"});
        return false;
    }
    int rc = buf_append(&s->early, span_sub(bytes, taken, bytes.len), RELAY_BUFFER_BYTES);
    if (rc != 0) {
        session_end(s, REASON_INTERNAL);
        return false;
    }
    send_up(s, span_sub(bytes, 0, taken));
    return true;
}

/* The server's answer cannot be passed on. Always false: the session has gone on, or is gone. */
static bool fail_answer(struct session *s, enum reason reason, int cause)
{
    if (s->forward->http.status != 0) {
        session_end(s, reason);
    } else {
        session_fail(s,
                     &(struct session_fault){.reason = reason, .cause = cause, .why = s->forward->http.why});
    }
    return false;
}

static bool take_answer(struct session *s, struct span bytes)
{
    struct session_forward *f = s->forward;
    while (bytes.len > 0 && (f->http.state == HTTP_FORWARD_HEAD || f->http.state == HTTP_FORWARD_BODY)) {
        struct span pass;
        size_t taken = http_forward_down(&f->http, bytes, &f->leg[CLIENT].unsent, &pass);
        bytes = span_sub(bytes, taken, bytes.len);
        if (!send_down(s, pass)) {
            return false;
        }
    }
    if (f->http.state == HTTP_FORWARD_BAD) {
        return fail_answer(s, REASON_BAD_RESPONSE, 0);
    }
    if (f->http.state == HTTP_FORWARD_TUNNEL && !send_down(s, bytes)) {
        return false;
    }
    return flush_down(s);
}

static bool pump_down(struct session *s)
{
    struct session_forward *f = s->forward;
    f->http.must_close = f->http.must_close || s->tw->is_draining;
    for (int i = 0; i < PUMP_ROUNDS && wants_server(f); i++) {
        ssize_t got = receive(s, s->upstream_fd, RELAY_BUFFER_BYTES);
        if (got == -EAGAIN) {
            break;
        }
        if (got < 0) {
            return fail_answer(s, lost_reason((int)-got, false), (int)-got);
        }
        if (got == 0) {
            http_forward_down_end(&f->http);
            return f->http.state != HTTP_FORWARD_BAD || fail_answer(s, REASON_UPSTREAM_CLOSED, 0);
        }
        if (!take_answer(s, span_make(s->tw->relay_env.buffer, (size_t)got))) {
            return false;
        }
    }
    return true;
}

/* ---- events ---- */

static void arm(struct session *s, struct forward_leg *leg, int fd, int events)
{
    int now = ev_is_active(&leg->io) ? leg->io.events & (EV_READ | EV_WRITE) : 0;
    if (now != events) {
        ev_io_stop(loop_of(s), &leg->io);
        if (events != 0) {
            ev_io_set(&leg->io, fd, events);
            ev_io_start(loop_of(s), &leg->io);
        }
    }
}

/* The one place that arms the watchers. */
static void arm_both(struct session *s)
{
    struct session_forward *f = s->forward;
    int client = (wants_client(f) ? EV_READ : 0) | (f->leg[CLIENT].unsent.len > 0 ? EV_WRITE : 0);
    int server = (wants_server(f) ? EV_READ : 0) | (f->leg[SERVER].unsent.len > 0 ? EV_WRITE : 0);
    int rc = 0;
    if (client != 0) {
        hangup_stop(s->tw->relay_env.hangup, &f->hangup);
    } else {
        rc = hangup_start(s->tw->relay_env.hangup, &f->hangup, s->client_fd);
    }
    arm(s, &f->leg[CLIENT], s->client_fd, client);
    if (s->upstream_fd >= 0) {
        arm(s, &f->leg[SERVER], s->upstream_fd, server);
    }
    if (rc != 0) {
        session_end(s, REASON_INTERNAL);
    }
}

/* What follows from what has been read and sent; nothing is done with the session afterwards. */
static void step(struct session *s)
{
    struct session_forward *f = s->forward;
    bool is_down_out = f->leg[CLIENT].unsent.len == 0;
    if (is_down_out && (f->is_refused || f->http.state == HTTP_FORWARD_DONE)) {
        finish(s);
    } else if (is_down_out && f->http.state == HTTP_FORWARD_TUNNEL && f->leg[SERVER].unsent.len == 0) {
        become_tunnel(s);
    } else {
        arm_both(s);
    }
}

static void on_client_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    struct session *s = ((struct forward_leg *)w->data)->session;
    if ((revents & EV_ERROR) != 0) { /* epoll has refused it */
        session_end(s, REASON_INTERNAL);
        return;
    }
    if ((revents & EV_WRITE) != 0 && !flush_down(s)) {
        return;
    }
    if ((revents & EV_READ) != 0 && wants_client(s->forward) && !pump_up(s)) {
        return;
    }
    step(s);
}

static void on_server_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    struct session *s = ((struct forward_leg *)w->data)->session;
    if ((revents & EV_ERROR) != 0) {
        (void)fail_answer(s, REASON_INTERNAL, ENOMEM);
        return;
    }
    if ((revents & EV_WRITE) != 0) {
        send_up(s, (struct span){NULL, 0});
    }
    if ((revents & EV_READ) != 0 && wants_server(s->forward) && !pump_down(s)) {
        return;
    }
    step(s);
}

void session_forward_established(struct session *s)
{
    struct session_forward *f = s->forward;
    s->opened_ms = clock_mono_ms();
    f->last_ms = s->opened_ms;
    f->rule = strdup(s->endpoint->rule->key);
    s->endpoint = NULL; /* it may not outlive the policy */
    size_t taken = http_forward_up(&f->http, buf_span(&s->early));
    struct span body = span_sub(buf_span(&s->early), 0, taken);
    session_move(s, SESSION_FORWARD);
    if (f->rule == NULL || buf_append(&f->leg[SERVER].unsent, body, UNSENT_MAX_BYTES) != 0) {
        session_fail(s, &(struct session_fault){.reason = REASON_INTERNAL, .cause = ENOMEM});
        return;
    }
    buf_consume(&s->early, taken);
    if (f->http.up.status == HTTP_BODY_BAD) {
        session_fail(s, &(struct session_fault){.reason = REASON_BAD_REQUEST,
                                                .why = "the chunks of the body are malformed"});
        return;
    }
    send_up(s, (struct span){NULL, 0});
    step(s);
}

/* Can another request follow an answer of ours? Not where the end of this one has not been seen. */
static bool can_keep(const struct session *s, const struct session_fault *fault)
{
    const struct http_forward *http = &s->forward->http;
    return http->up.status == HTTP_BODY_DONE && !http->must_close && !s->tw->is_draining &&
           fault->reason != REASON_INTERNAL && fault->reason != REASON_BAD_REQUEST;
}

void session_forward_refuse(struct session *s, const struct session_fault *fault)
{
    struct session_forward *f = s->forward;
    struct session_fault shaped = *fault;
    uint8_t text[HTTP_REPLY_CAP];
    f->is_refused = true;
    close_server(s);
    buf_fini(&f->leg[SERVER].unsent);
    if (f->http.status != 0) { /* part of another answer is out already */
        s->must_reset_client = true;
        session_end(s, fault->reason);
        return;
    }
    shaped.keeps_open = can_keep(s, fault);
    shaped.has_no_body = f->http.is_head_request;
    f->http.must_close = !shaped.keeps_open;
    size_t len = session_write_reply(s, &shaped, text, sizeof text);
    int rc = buf_append(&f->leg[CLIENT].unsent, span_make(text, len), UNSENT_MAX_BYTES);
    if (rc != 0) {
        session_end(s, REASON_INTERNAL);
        return;
    }
    /* From here on only a client that does not read has a limit: that of one that does not ask. */
    s->timers = (struct tunnel_timers){.idle_ms = s->tw->daemon->settings.forward_idle_ms};
    s->revoke_at_ms = -1; /* the names of the rules stay for the log */
    f->last_ms = clock_mono_ms();
    session_move(s, SESSION_FORWARD);
    if (flush_down(s)) {
        step(s);
    }
}

void session_forward_due(struct session *s, enum reason reason)
{
    if (s->forward->is_refused || s->forward->http.status != 0) {
        session_end(s, reason);
        return;
    }
    session_fail(s, &(struct session_fault){.reason = reason,
                                            .status = reason == REASON_POLICY_CHANGED ? 403 : 504,
                                            .why = reason == REASON_POLICY_CHANGED
                                                       ? "a new policy was loaded meanwhile"
                                                       : "the server has not answered in time"});
}

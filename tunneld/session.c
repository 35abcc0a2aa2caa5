/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/session.h"

#include "common/base/clock.h"
#include "common/net/sock.h"
#include "tunneld/capture.h"
#include "tunneld/session_priv.h"
#include "tunneld/tunneld_counters.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#define LINGER_MS 2000
#define CHAIN_ANSWER_MS 60000 /* for a chain proxy where connect is 0: nothing else would end it */
#define UNCOUNTED_MAX 256     /* refused connections of a worker that may wait for their answer to be read */

static void free_session(struct reap_node *node)
{
    free(SESSION_OF(node, reap));
}

static void link_session(struct session *s)
{
    struct tunneld_worker *tw = s->tw;
    s->next = tw->sessions;
    if (s->next != NULL) {
        s->next->prev = s;
    }
    tw->sessions = s;
    tw->session_count++;
    tw->uncounted_count += s->is_counted ? 0 : 1;
}

static void unlink_session(struct session *s)
{
    struct tunneld_worker *tw = s->tw;
    if (s->prev != NULL) {
        s->prev->next = s->next;
    } else {
        tw->sessions = s->next;
    }
    if (s->next != NULL) {
        s->next->prev = s->prev;
    }
    tw->session_count--;
    tw->uncounted_count -= s->is_counted ? 0 : 1;
    session_give_place(s);
}

struct session *session_next(struct session *s)
{
    return s->next;
}

bool session_is_unused(const struct session *s)
{
    if (s->state == SESSION_STEER) {
        return s->early.len == 0;
    }
    return s->state == SESSION_READ_HEAD && s->head->total == 0;
}

static int64_t last_ms(const struct session *s)
{
    return s->forward != NULL ? session_forward_last_ms(s) : s->relay.last_ms;
}

static bool is_between_requests(const struct session *s)
{
    return s->is_kept && session_is_unused(s);
}

bool session_set_host(struct session *s, const struct host *host)
{
    char text[HOST_TEXT_CAP];
    free(s->host_text);
    s->host_text = strdup(host_text(host, text));
    return s->host_text != NULL;
}

struct host session_host(const struct session *s)
{
    struct host host = {.kind = HOST_NONE};
    if (s->host_text != NULL) {
        (void)CHECK(host_parse(span_str(s->host_text), &host) == HOST_FAULT_NONE);
    }
    return host;
}

static bool is_established(const struct session *s)
{
    return s->state == SESSION_PEEK_SNI || s->state == SESSION_RELAY || s->state == SESSION_HALF_CLOSED;
}

bool session_uses_map(struct session *s)
{
    const bool is_captured = s->kind == LISTEN_CAPTURE && s->steered == STEERED_NOT && is_established(s);
    if (is_captured) {
        capture_use(s->client_fd, s->tw->daemon->map, clock_boot_s());
    }
    return is_captured;
}

static void sooner(int64_t *at_ms, int64_t other_ms) /* -1 = never */
{
    if (other_ms >= 0 && (*at_ms < 0 || other_ms < *at_ms)) {
        *at_ms = other_ms;
    }
}

static void earlier(int64_t *at_ms, int64_t from_ms, int64_t after_ms)
{
    sooner(at_ms, after_ms > 0 ? from_ms + after_ms : -1);
}

/* When an established tunnel, or a request that is passed on, is to be looked at again; -1 = never. Idle time
 * is counted from the last byte.
 */
static int64_t tunnel_deadline(const struct session *s)
{
    int64_t at_ms = s->revoke_at_ms;
    earlier(&at_ms, last_ms(s), s->timers.idle_ms);
    earlier(&at_ms, s->opened_ms, s->timers.lifetime_ms);
    if (s->state == SESSION_HALF_CLOSED) {
        earlier(&at_ms, s->relay.last_ms, s->timers.half_close_ms);
    }
    return at_ms;
}

static bool is_due(int64_t now_ms, int64_t from_ms, int64_t after_ms)
{
    return after_ms > 0 && now_ms >= from_ms + after_ms;
}

static enum reason tunnel_due(const struct session *s, int64_t now_ms)
{
    if (s->revoke_at_ms >= 0 && now_ms >= s->revoke_at_ms) {
        return REASON_POLICY_CHANGED;
    }
    if (is_due(now_ms, s->opened_ms, s->timers.lifetime_ms)) {
        return REASON_LIFETIME;
    }
    if (s->state == SESSION_HALF_CLOSED && is_due(now_ms, s->relay.last_ms, s->timers.half_close_ms)) {
        return REASON_HALF_CLOSED;
    }
    return is_due(now_ms, last_ms(s), s->timers.idle_ms) ? REASON_IDLE : REASON_NONE;
}

static int64_t state_deadline(const struct session *s)
{
    int64_t at_ms = -1;
    switch (s->state) {
    case SESSION_STEER:
    case SESSION_READ_HEAD:
        if (is_between_requests(s)) {
            earlier(&at_ms, clock_mono_ms(), s->tw->daemon->settings.forward_idle_ms);
        } else {
            earlier(&at_ms, s->head_from_ms, s->tw->daemon->settings.head_ms);
        }
        break;
    case SESSION_RESOLVE:
    case SESSION_DIAL: /* with connect 0 the resolver's and the kernel's own limits end these */
        earlier(&at_ms, s->asked_ms, s->timers.connect_ms);
        break;
    case SESSION_CHAIN:
        if (s->timers.connect_ms > 0) {
            earlier(&at_ms, s->asked_ms, s->timers.connect_ms);
        } else {
            earlier(&at_ms, clock_mono_ms(), CHAIN_ANSWER_MS);
        }
        break;
    case SESSION_RELAY:
    case SESSION_HALF_CLOSED:
    case SESSION_FORWARD:
        return tunnel_deadline(s);
    case SESSION_PEEK_SNI:
        at_ms = tunnel_deadline(s);
        sooner(&at_ms, session_sni_due_ms(s));
        break;
    case SESSION_REFUSED:
        earlier(&at_ms, clock_mono_ms(), SESSION_REFUSAL_LOOK_MS);
        break;
    case SESSION_LINGER:
        earlier(&at_ms, clock_mono_ms(), LINGER_MS);
        break;
    case SESSION_CLOSED:
    case SESSION_CAPTURED: /* these are passed through within one call */
    case SESSION_DECIDE_NAME:
    case SESSION_DECIDE_ADDR:
    case SESSION_REPLY_200:
    case SESSION_DECIDE_SNI:
        break;
    }
    return at_ms;
}

/* The one place that arms a session's deadline; out of memory ends the session. */
static void arm_deadline(struct session *s)
{
    int64_t at_ms = state_deadline(s);
    if (at_ms < 0) {
        deadline_cancel(s->tw->deadlines, &s->deadline);
    } else if (deadline_arm(s->tw->deadlines, &s->deadline, at_ms) != 0) {
        if (!is_established(s)) {
            session_log_fault(s, &(struct session_fault){.reason = REASON_INTERNAL, .cause = ENOMEM});
        }
        session_end(s, REASON_INTERNAL);
    }
}

/* The one place that moves the state. It may end the session: callers do nothing with it afterwards. */
void session_move(struct session *s, enum session_state state)
{
    if (CHECK(s->state != SESSION_CLOSED)) {
        s->state = state;
        arm_deadline(s);
    }
}

static void close_fd(int *fd, bool must_reset)
{
    if (*fd >= 0) {
        if (must_reset) {
            sock_close_reset(*fd);
        } else {
            (void)close(*fd);
        }
        *fd = -1;
    }
}

static bool has_unsent(const struct session *s)
{
    return relay_has_unsent(&s->relay) || s->early.len > 0;
}

void session_end(struct session *s, enum reason reason)
{
    struct tunneld_worker *tw = s->tw;
    if (s->state == SESSION_CLOSED) {
        return;
    }
    (void)session_uses_map(s);
    if (is_established(s)) {
        session_log_close(s, reason, clock_mono_ms());
        if (has_unsent(s)) { /* cut off in the middle: a FIN would pass for the end */
            s->must_reset_client = true;
            s->must_reset_upstream = true;
        }
    }
    session_forward_stop(s, reason);
    s->state = SESSION_CLOSED;
    deadline_cancel(tw->deadlines, &s->deadline);
    session_head_stop(s);
    session_decide_stop(s);
    session_sni_stop(s);
    session_refusal_stop(s);
    session_steer_stop(s);
    session_give_rule(s);
    session_revoke_forget(s);
    relay_stop(&s->relay);
    close_fd(&s->client_fd, s->must_reset_client);
    close_fd(&s->upstream_fd, s->must_reset_upstream);
    buf_fini(&s->early);
    free(s->host_text);
    s->host_text = NULL;
    unlink_session(s);
    s->reap.free_fn = free_session;
    reap_later(tw->worker->reap, &s->reap);
    tunneld_worker_session_gone(tw);
}

void session_fail(struct session *s, const struct session_fault *fault)
{
    session_log_fault(s, fault);
    session_decide_stop(s);
    session_give_rule(s);
    s->endpoint = NULL; /* it may not outlive the policy */
    if (session_steer_refuse(s)) {
        return;
    }
    if (s->kind == LISTEN_CAPTURE && s->steered == STEERED_NOT) {
        session_refusal_start(s, fault);
        return;
    }
    if (s->forward != NULL) {
        session_forward_refuse(s, fault);
        return;
    }
    uint8_t text[HTTP_REPLY_CAP];
    size_t len = session_write_reply(s, fault, text, sizeof text);
    /* Nothing is waiting in this socket's buffer: it takes an answer whole, or the client is gone or does not
     * read what it asked for. */
    if (send(s->client_fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len) {
        session_end(s, fault->reason);
        return;
    }
    session_linger_start(s);
}

void session_shut_down(struct session *s)
{
    if (s->state == SESSION_RESOLVE || s->state == SESSION_DIAL || s->state == SESSION_CHAIN) {
        session_fail(s, &(struct session_fault){.reason = REASON_SHUTDOWN, .why = "tunneld is stopping"});
    }
    session_end(s, REASON_SHUTDOWN);
}

static void on_relay_event(void *ctx, enum relay_event e)
{
    struct session *s = ctx;
    switch (e) {
    case RELAY_HALF_CLOSED:
        session_move(s, SESSION_HALF_CLOSED);
        break;
    case RELAY_ENDED:
        s->must_reset_client = s->relay.end.must_reset && s->relay.end.side != RELAY_CLIENT;
        s->must_reset_upstream = s->relay.end.must_reset && s->relay.end.side != RELAY_UPSTREAM;
        session_end(s, s->relay.end.reason);
        break;
    }
}

static int set_keepalive(const struct session *s)
{
    int64_t user_ms = tunnel_user_timeout_ms(&s->timers, &s->keepalive);
    struct sock_keepalive k = {.user_timeout_ms = user_ms > INT_MAX ? INT_MAX : (unsigned)user_ms};
    if (s->keepalive.mode == KEEPALIVE_ON) {
        k.idle_s = s->keepalive.idle_s;
        k.interval_s = s->keepalive.interval_s;
        k.probes = s->keepalive.probes;
    }
    int rc = sock_set_keepalive(s->client_fd, &k);
    return rc != 0 ? rc : sock_set_keepalive(s->upstream_fd, &k);
}

void session_established(struct session *s, int upstream_fd, const struct addr *upstream)
{
    session_move(s, SESSION_REPLY_200);
    s->upstream_fd = upstream_fd;
    s->upstream = *upstream;
    int rc = set_keepalive(s);
    if (rc != 0) {
        session_fail(s, &(struct session_fault){
                            .reason = REASON_INTERNAL, .cause = -rc, .why = "the kernel refused keepalive"});
        return;
    }
    if (s->forward != NULL) {
        session_forward_established(s);
        return;
    }
    size_t len = strlen(http_reply_established);
    if (s->kind == LISTEN_CONNECT &&
        send(s->client_fd, http_reply_established, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len) {
        session_log_fault(s, &(struct session_fault){.reason = REASON_CLIENT_RESET});
        session_end(s, REASON_CLIENT_RESET);
        return;
    }
    session_tunnel_start(s, s->endpoint->rule->key);
}

bool session_relay_start(struct session *s)
{
    const int fds[2] = {s->client_fd, s->upstream_fd};
    s->relay.env = &s->tw->relay_env;
    s->relay.fn = on_relay_event;
    s->relay.ctx = s;
    int rc = relay_start(&s->relay, fds, &s->early, clock_mono_ms());
    if (rc != 0) {
        if (!is_established(s)) {
            session_log_fault(s, &(struct session_fault){.reason = REASON_INTERNAL, .cause = -rc});
        }
        session_end(s, REASON_INTERNAL);
    }
    return rc == 0;
}

void session_tunnel_start(struct session *s, const char *rule)
{
    bool is_peeked = session_sni_is_wanted(s);
    s->opened_ms = clock_mono_ms();
    if (!is_peeked && !session_relay_start(s)) {
        return;
    }
    session_log_open(s, rule, s->opened_ms);
    s->endpoint = NULL; /* it may not outlive the policy */
    if (is_peeked) {
        session_sni_start(s);
    } else {
        session_move(s, SESSION_RELAY);
    }
}

static void on_tunnel_deadline(struct session *s, int64_t now_ms)
{
    const enum reason reason = tunnel_due(s, now_ms);
    const int64_t hello_ms = s->state == SESSION_PEEK_SNI ? session_sni_due_ms(s) : -1;
    if (reason == REASON_NONE && hello_ms >= 0 && now_ms >= hello_ms) {
        session_sni_due(s);
    } else if (reason == REASON_NONE) {
        arm_deadline(s); /* bytes have moved since it was armed */
    } else if (s->state == SESSION_FORWARD) {
        session_forward_due(s, reason);
    } else {
        session_end(s, reason);
    }
}

void session_on_deadline(void *ctx, struct deadline *d, int64_t now_ms)
{
    (void)ctx;
    struct session *s = SESSION_OF(d, deadline);
    switch (s->state) {
    case SESSION_STEER:
        session_steer_due(s);
        break;
    case SESSION_READ_HEAD:
        if (is_between_requests(s)) { /* nothing was asked, so nothing is answered */
            session_end(s, REASON_IDLE);
            break;
        }
        session_fail(s, &(struct session_fault){.reason = REASON_HEAD_TIMEOUT,
                                                .why = "no complete request head arrived in time"});
        break;
    case SESSION_RESOLVE:
    case SESSION_DIAL:
    case SESSION_CHAIN:
        session_decide_timeout(s);
        break;
    case SESSION_PEEK_SNI:
    case SESSION_RELAY:
    case SESSION_HALF_CLOSED:
    case SESSION_FORWARD:
        on_tunnel_deadline(s, now_ms);
        break;
    case SESSION_REFUSED:
        session_refusal_due(s);
        break;
    case SESSION_LINGER:
        session_end(s, REASON_NONE);
        break;
    case SESSION_CLOSED:
    case SESSION_CAPTURED:
    case SESSION_DECIDE_NAME:
    case SESSION_DECIDE_ADDR:
    case SESSION_REPLY_200:
    case SESSION_DECIDE_SNI:
        (void)CHECK(s->state == SESSION_RELAY); /* no deadline is armed in these */
        break;
    }
}

static void rejudge_tunnel(struct session *s, const struct policy *previous)
{
    if (session_revoke(s, previous)) {
        arm_deadline(s);
    }
}

void session_rejudge(struct session *s, const struct policy *previous)
{
    switch (s->state) {
    case SESSION_RESOLVE:
    case SESSION_DIAL:
    case SESSION_CHAIN: /* what is under way was allowed by the old policy: ask the new one from the start */
        session_decide_stop(s);
        session_decide_name(s);
        break;
    case SESSION_PEEK_SNI:
    case SESSION_RELAY:
    case SESSION_HALF_CLOSED:
        rejudge_tunnel(s, previous);
        break;
    case SESSION_FORWARD:
        if (s->upstream_fd >= 0) { /* else it is being refused already */
            rejudge_tunnel(s, previous);
        }
        break;
    case SESSION_READ_HEAD:
    case SESSION_STEER:
    case SESSION_REFUSED:
    case SESSION_LINGER:
    case SESSION_CLOSED:
    case SESSION_CAPTURED:
    case SESSION_DECIDE_NAME:
    case SESSION_DECIDE_ADDR:
    case SESSION_REPLY_200:
    case SESSION_DECIDE_SNI:
        break;
    }
}

static void start_captured(struct session *s)
{
    struct addr dialled;
    struct host host = {.kind = HOST_NONE};
    uint16_t port;
    if (session_is_steered(s, &port)) {
        session_steer_start(s, port);
        return;
    }
    enum synth_found found =
        capture_identify(s->client_fd, s->tw->daemon->map, clock_boot_s(), &dialled, &host);
    s->port = dialled.port;
    s->asked_ms = clock_mono_ms();
    if (host.kind != HOST_NONE && !session_set_host(s, &host)) {
        session_fail(s, &(struct session_fault){.reason = REASON_INTERNAL, .cause = ENOMEM});
        return;
    }
    if (found != SYNTH_FOUND) {
        s->refused_addr = dialled;
        const char *why = found == SYNTH_EXPIRED ? "the address was handed out for a name, but long ago"
                                                 : "the address was never handed out for a name";
        session_fail(s, &(struct session_fault){.reason = REASON_NOT_MAPPED, .why = why});
        return;
    }
    synth_map_use(s->tw->daemon->map, &dialled.ip, clock_boot_s());
    tunneld_worker_captured(s->tw);
    session_decide_name(s);
}

void session_accept(struct tunneld_worker *tw, int fd, const struct addr *client, enum listen_kind kind)
{
    struct session_fault fault;
    metrics_add(&tw->worker->metrics, TUNNELD_COUNTER_CONNECTIONS, 1);
    struct session *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        struct session none = {.tw = tw, .kind = kind, .client = *client};
        session_log_fault(&none, &(struct session_fault){.reason = REASON_INTERNAL, .cause = ENOMEM});
        sock_close_reset(fd);
        return;
    }
    *s = (struct session){.tw = tw,
                          .kind = kind,
                          .client = *client,
                          .client_fd = fd,
                          .upstream_fd = -1,
                          .revoke_at_ms = -1,
                          .head_from_ms = clock_mono_ms(),
                          .state = kind == LISTEN_CAPTURE ? SESSION_CAPTURED : SESSION_READ_HEAD};
    sock_set_nodelay(fd);
    bool is_served = session_take_place(s, &fault);
    link_session(s);
    int rc = session_head_start(s);
    if (rc != 0) {
        is_served = false;
        fault = (struct session_fault){.reason = REASON_INTERNAL, .cause = -rc};
    }
    if (!is_served && tw->uncounted_count > UNCOUNTED_MAX) {
        session_log_fault(s, &fault);
        s->must_reset_client = true;
        session_end(s, fault.reason);
    } else if (!is_served) {
        session_fail(s, &fault);
    } else if (kind == LISTEN_CAPTURE) {
        start_captured(s);
    } else {
        session_move(s, SESSION_READ_HEAD);
    }
}

void session_refuse(struct tunneld_worker *tw, int fd, const struct addr *client, enum listen_kind kind)
{
    struct session s = {.tw = tw, .kind = kind, .client = *client};
    const struct session_fault fault = {.reason = REASON_LIMIT_REACHED,
                                        .why = "the daemon has no descriptor left"};
    uint8_t text[HTTP_REPLY_CAP];
    metrics_add(&tw->worker->metrics, TUNNELD_COUNTER_CONNECTIONS, 1);
    session_log_fault(&s, &fault);
    if (kind == LISTEN_CAPTURE) {
        sock_set_reset(fd);
        return;
    }
    /* There is no descriptor to linger on: what has come is read, since closing over it would send RST. */
    (void)!recv(fd, tw->relay_env.buffer, RELAY_BUFFER_BYTES, MSG_DONTWAIT);
    size_t len = session_write_reply(&s, &fault, text, sizeof text);
    (void)!send(fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

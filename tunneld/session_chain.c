/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an admitted name to a tunnel through the chain proxy: the target's address if that is what is asked
 * for (--chain-target=address), the proxy's own address, the connection to it, CONNECT and its answer.
 */
#include "tunneld/session_priv.h"

#include "common/base/clock.h"
#include "tunneld/chain_http.h"
#include "tunneld/tunneld_counters.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct session_chain {
    struct session *session;
    int fd; /* connected to the proxy; -1 once it was handed on */
    struct addr addr;
    ev_io io;
    struct chain_reply reply;
    bool has_credentials;
};

static const struct chain_config *config(const struct session *s)
{
    return &s->tw->daemon->chain;
}

static bool is_by_name(const struct session *s)
{
    return s->chained_ip.family == IP_NONE;
}

/* What the proxy is asked for. */
static struct host chain_target(const struct session *s)
{
    return is_by_name(s) ? session_host(s) : (struct host){.kind = HOST_IP, .ip = s->chained_ip};
}

const char *session_chain_text(const struct session *s, char text[SESSION_CHAIN_TEXT_CAP])
{
    char host[HOST_TEXT_CAP];
    const struct host target = chain_target(s);
    struct wbuf w = wbuf_make(text, SESSION_CHAIN_TEXT_CAP - 1);
    wbuf_printf(&w, "%s:%u", host_text(&target, host), (unsigned)s->port);
    text[w.len] = '\0';
    return text;
}

static void fail_internal(struct session *s, int rc)
{
    session_fail(s, &(struct session_fault){.reason = REASON_INTERNAL, .cause = -rc});
}

/* The proxy's connection and what is expected on it; frees. */
void session_chain_stop(struct session *s)
{
    struct session_chain *c = s->chain;
    if (c == NULL) {
        return;
    }
    ev_io_stop(s->tw->relay_env.loop, &c->io);
    if (c->fd >= 0) {
        (void)close(c->fd);
    }
    free(c);
    s->chain = NULL;
}

/* ---- CONNECT and its answer ---- */

static void fail_reply(struct session *s)
{
    const struct session_chain *c = s->chain;
    const struct chain_reply reply = c->reply; /* failing frees it */
    const struct chain_words words = {.has_credentials = c->has_credentials, .by_name = is_by_name(s)};
    s->upstream = c->addr;
    session_fail(s, &(struct session_fault){.reason = REASON_CHAIN_FAILED,
                                            .received_status = reply.code,
                                            .error_type = chain_reply_error_type(&reply),
                                            .why = chain_reply_why(&reply, &words)});
}

/*
 * Looks before it takes: what is behind the head stays in the socket, so that the relay finds it there like
 * everything that follows, and a server that speaks first needs no buffer here.
 */
static void read_reply(struct session *s)
{
    struct session_chain *c = s->chain;
    uint8_t *buffer = s->tw->relay_env.buffer;
    ssize_t got = recv(c->fd, buffer, CHAIN_REPLY_MAX_BYTES, MSG_PEEK | MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        chain_reply_closed(&c->reply);
    } else {
        size_t taken = chain_reply_feed(&c->reply, span_make(buffer, (size_t)got));
        if (recv(c->fd, buffer, taken, MSG_DONTWAIT) != (ssize_t)taken) { /* reset in between */
            chain_reply_closed(&c->reply);
        }
    }
    switch (c->reply.verdict) {
    case CHAIN_MORE:
        break;
    case CHAIN_FAILED:
        fail_reply(s);
        break;
    case CHAIN_ESTABLISHED: {
        int fd = c->fd;
        const struct addr addr = c->addr;
        c->fd = -1;
        session_decide_stop(s);
        metrics_add(&s->tw->worker->metrics, TUNNELD_COUNTER_TUNNELS_CHAINED, 1);
        session_established(s, fd, &addr);
        break;
    }
    }
}

static void on_reply_event(struct ev_loop *loop, ev_io *w, int revents)
{
    (void)loop;
    struct session_chain *c = w->data;
    if ((revents & EV_ERROR) != 0) {
        fail_internal(c->session, -ENOMEM); /* epoll has refused it: no answer would be heard */
    } else {
        read_reply(c->session);
    }
}

/* 0 or -errno. */
static int send_request(struct session *s, struct session_chain *c)
{
    uint8_t text[CHAIN_REQUEST_CAP];
    char basic[CHAIN_BASIC_CAP];
    const struct host target = chain_target(s);
    chain_auth_get(&s->tw->daemon->chain_auth, basic);
    c->has_credentials = basic[0] != '\0';
    size_t len = chain_request_write(&target, s->port, basic, text);
    /* Nothing was sent on this socket before: its buffer takes the request whole, or the proxy is gone. */
    ssize_t sent = send(c->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    int rc = sent == (ssize_t)len ? 0 : sent < 0 ? -errno : -ENOBUFS;
    explicit_bzero(text, sizeof text);
    explicit_bzero(basic, sizeof basic);
    return rc;
}

/* Takes fd. */
static void ask_proxy(struct session *s, int fd, const struct addr *addr)
{
    struct session_chain *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        (void)close(fd);
        fail_internal(s, -ENOMEM);
        return;
    }
    *c = (struct session_chain){.session = s, .fd = fd, .addr = *addr};
    chain_reply_init(&c->reply);
    ev_io_init(&c->io, on_reply_event, fd, EV_READ);
    c->io.data = c;
    s->chain = c;
    if (send_request(s, c) != 0) {
        chain_reply_closed(&c->reply);
        fail_reply(s);
        return;
    }
    ev_io_start(s->tw->relay_env.loop, &c->io);
    session_move(s, SESSION_CHAIN);
}

/* ---- the way to the proxy ---- */

static void fail_dial(struct session *s, int error)
{
    struct session_fault f = {.reason = REASON_CHAIN_FAILED,
                              .cause = error,
                              .error_type = "destination_ip_unroutable",
                              .why = "the chain proxy cannot be reached: no way leads to its address"};
    if (error == ECONNREFUSED) {
        f.error_type = "connection_refused";
        f.why = "the chain proxy cannot be reached: connection refused";
    } else if (error == ETIMEDOUT) {
        f.error_type = "connection_timeout";
        f.why = "the chain proxy cannot be reached: its address did not answer in time";
    } else if (error == EMFILE || error == ENFILE) {
        f = (struct session_fault){.reason = REASON_LIMIT_REACHED, .cause = error};
    } else if (error == ENOMEM || error == ENOBUFS) {
        f = (struct session_fault){.reason = REASON_INTERNAL, .cause = error};
    }
    session_fail(s, &f);
}

static void on_proxy_dial(void *ctx, const struct dial_result *r)
{
    struct session *s = ctx;
    dial_cancel(s->dial); /* frees it; its descriptor is ours now */
    s->dial = NULL;
    if (r->fd < 0) {
        s->upstream = r->addr;
        fail_dial(s, r->error);
        return;
    }
    ask_proxy(s, r->fd, &r->addr);
}

/* False if an address is one of our own: the proxy would be ourselves. -errno. */
static int add_proxy_addr(struct session *s, const struct ip *ip)
{
    const struct addr to = {.ip = *ip, .port = config(s)->port};
    if (guard_is_own(own_guard_of(s->tw->guard), &to)) {
        s->refused_addr = to;
        return 0;
    }
    if (s->dial == NULL) {
        int rc = dial_start(s->tw->relay_env.loop, to.port, on_proxy_dial, s, &s->dial);
        if (rc != 0) {
            return rc;
        }
    }
    dial_add(s->dial, ip);
    return 0;
}

static void dial_proxy(struct session *s, const struct ip *addrs, size_t count, bool is_complete)
{
    bool is_dialling = s->dial != NULL;
    for (size_t i = 0; i < count; i++) {
        int rc = add_proxy_addr(s, &addrs[i]);
        if (rc != 0) {
            fail_internal(s, rc);
            return;
        }
    }
    if (is_complete && s->dial != NULL) {
        s->refused_addr = (struct addr){0};
        dial_complete(s->dial);
    } else if (is_complete && s->refused_addr.ip.family != IP_NONE) {
        session_fail(s, &(struct session_fault){
                            .reason = REASON_PROXY_LOOP,
                            .why = "the address of --chain-proxy is a listener of this daemon's own"});
        return;
    } else if (is_complete) {
        session_fail(s, &(struct session_fault){.reason = REASON_CHAIN_FAILED,
                                                .error_type = "dns_error",
                                                .why = "the name of the chain proxy has no address"});
        return;
    }
    if (!is_dialling && s->dial != NULL) {
        session_move(s, SESSION_DIAL);
    }
}

static void on_proxy_resolve(void *ctx, const struct resolve_result *r)
{
    struct session *s = ctx;
    if (r->is_complete) {
        resolve_cancel(s->resolve); /* done: only its memory */
        s->resolve = NULL;
    }
    dial_proxy(s, r->addrs, r->addr_count, r->is_complete);
}

static void find_proxy(struct session *s)
{
    const struct chain_config *cfg = config(s);
    s->is_target_known = true;
    if (cfg->proxy.kind == HOST_IP) {
        dial_proxy(s, &cfg->proxy.ip, 1, true);
        return;
    }
    int rc = resolve_start(s->tw->relay_env.loop, s->tw->resolver, &cfg->proxy.name, on_proxy_resolve, s,
                           &s->resolve);
    if (rc != 0) {
        fail_internal(s, rc);
        return;
    }
    session_move(s, SESSION_RESOLVE);
}

/* ---- the target's address ---- */

/* Judges; of those that pass the first IPv4 address is taken, since nothing is known of the proxy's IPv6. */
static void consider_addrs(struct session *s, const struct ip *addrs, size_t count)
{
    const struct host host = session_host(s);
    for (size_t i = 0; i < count; i++) {
        const struct addr to = {.ip = addrs[i], .port = s->port};
        struct dest_verdict v;
        if (!admit_addr(&s->tw->admit, s->endpoint, &host, &to, &v)) {
            if (s->refused_addr.ip.family == IP_NONE) {
                s->refused = v;
                s->refused_addr = to;
            }
        } else if (s->chained_ip.family == IP_NONE ||
                   (s->chained_ip.family == IP_V6 && addrs[i].family == IP_V4)) {
            s->chained_ip = addrs[i];
        }
    }
}

/* All addresses are known. */
static void choose_addr(struct session *s, const struct session_fault *if_none)
{
    if (s->chained_ip.family != IP_NONE) {
        s->refused_addr = (struct addr){0};
        find_proxy(s);
    } else if (s->refused_addr.ip.family != IP_NONE) {
        session_fail(s, &(struct session_fault){.reason = REASON_SSRF_DENIED, .why = s->refused.why});
    } else {
        session_fail(s, if_none);
    }
}

static void on_target_resolve(void *ctx, const struct resolve_result *r)
{
    struct session *s = ctx;
    consider_addrs(s, r->addrs, r->addr_count);
    if (!r->is_complete) {
        return;
    }
    const struct session_fault none = session_resolve_fault(r);
    resolve_cancel(s->resolve);
    s->resolve = NULL;
    choose_addr(s, &none);
}

/* False: the name may not go upstream, and the session has failed. */
static bool pass_brakes(struct session *s)
{
    const enum brakes_verdict v = session_ask_brakes(s);
    if (v != BRAKES_GO) {
        session_fail(s, &(struct session_fault){.reason = brakes_reason(v), .why = brakes_text(v)});
    }
    return v == BRAKES_GO;
}

void session_chain_start(struct session *s)
{
    static const struct session_fault none = {.reason = REASON_DNS_FAILED, .why = "the name has no address"};
    const struct host host = session_host(s);
    const struct policy_host *h = admit_static(&s->tw->admit, &host);
    s->chained_ip = (struct ip){0};
    s->is_target_known = false;
    if (host.kind == HOST_IP) {
        consider_addrs(s, &host.ip, 1);
        choose_addr(s, &none);
    } else if (config(s)->by_name) {
        if (pass_brakes(s)) { /* the proxy asks the DNS for it */
            find_proxy(s);
        }
    } else if (h != NULL) {
        consider_addrs(s, h->addrs, h->addr_count);
        choose_addr(s, &none);
    } else if (pass_brakes(s)) {
        int rc = resolve_start(s->tw->relay_env.loop, s->tw->resolver, &host.name, on_target_resolve, s,
                               &s->resolve);
        if (rc != 0) {
            fail_internal(s, rc);
            return;
        }
        session_move(s, SESSION_RESOLVE);
    }
}

void session_chain_timeout(struct session *s)
{
    if (s->chain != NULL) {
        chain_reply_timeout(&s->chain->reply);
        fail_reply(s);
    } else if (s->dial != NULL) {
        fail_dial(s, ETIMEDOUT);
    } else if (s->is_target_known) {
        session_fail(s,
                     &(struct session_fault){.reason = REASON_CHAIN_FAILED,
                                             .cause = ETIMEDOUT,
                                             .error_type = "dns_timeout",
                                             .why = "the name of the chain proxy was not resolved in time"});
    } else {
        session_fail(s, &(struct session_fault){
                            .reason = REASON_DNS_FAILED, .cause = ETIMEDOUT, .why = "no answer in time"});
    }
}

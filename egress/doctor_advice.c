/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/doctor_advice.h"

#include <stdarg.h>
#include <stdio.h>

struct target_words {
    const struct doctor_facts *f;
    const struct doctor_target *t;
    char host[HOST_TEXT_CAP];
    char *out;
};

static const char *say(const struct target_words *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static const char *say(const struct target_words *w, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(w->out, DOCTOR_ADVICE_CAP, fmt, args);
    va_end(args);
    return w->out;
}

/* The pools of openshell-dnsd's manual: who else hands out such addresses is not asked here. */
static bool is_synthetic(const struct ip *ip)
{
    static const struct ip_prefix pools[] = {
        {.base = {.family = IP_V4, .bytes = {198, 18}}, .bits = 15},
        {.base = {.family = IP_V4, .bytes = {127, 64}}, .bits = 10},
        {.base = {.family = IP_V6, .bytes = {0xfd, 0x00, 0x5e, 0x11}}, .bits = 64},
    };
    bool is_in = false;
    for (size_t i = 0; i < sizeof pools / sizeof pools[0]; i++) {
        is_in = is_in || ip_prefix_contains(&pools[i], ip);
    }
    return is_in;
}

/* ENOTFOUND, 403 and access_denied are one decision with three faces. */
static const char *policy_advice(const struct target_words *w)
{
    const struct doctor_target *t = w->t;
    if (t->has_policy && t->is_admitted) {
        return say(w, "the --policy given here admits it, the daemons' own does not: give them this file, or "
                      "see whether "
                      "their log refused it at a reload");
    }
    if (t->has_policy && t->has_other_ports) {
        return say(w, "policy: the host is admitted on other ports; add %u to the `ports:` of its endpoint",
                   t->port);
    }
    return say(w,
               "policy: to admit it, add `- { host: %s, port: %u }` to the endpoints of a rule; "
               "`openshell-egress explain "
               "%s:%u` says more",
               w->host, t->port, w->host, t->port);
}

static bool system_found(const struct doctor_target *t)
{
    return doctor_is_good(&t->results[DOCTOR_SYSTEM]) != t->is_probe;
}

static const char *server_text(const struct doctor_facts *f, char text[IP_TEXT_CAP])
{
    static const struct ip local = {.family = IP_V4, .bytes = {127, 0, 0, 1}};
    return ip_text(f->resolv.server_count > 0 ? &f->resolv.servers[0].ip : &local, text);
}

static const char *dead_server_advice(const struct target_words *w)
{
    static const struct ip stub = {.family = IP_V4, .bytes = {127, 0, 0, 53}};
    char server[IP_TEXT_CAP];
    if (w->f->resolv.server_count > 0 && ip_is_equal(&w->f->resolv.servers[0].ip, &stub)) {
        return say(
            w,
            "/etc/resolv.conf: `nameserver 127.0.0.53` is the host's systemd-resolved, which is not in here; "
            "write openshell-dnsd's address, `nameserver 127.0.0.1`");
    }
    return say(w,
               "/etc/resolv.conf: no DNS at %s port 53; write `nameserver ADDRESS` of openshell-dnsd, or "
               "start it there "
               "(--listen %s:53)",
               server_text(w->f, server), server);
}

static const char *no_host_advice(const struct target_words *w, enum doctor_check c)
{
    const struct doctor_result *dns = &w->t->results[DOCTOR_DNS_UDP];
    if (c == DOCTOR_SYSTEM && doctor_is_good(dns)) {
        return say(w, "/etc/nsswitch.conf: DNS knows it and the system does not; write `hosts: files dns`");
    }
    if (c != DOCTOR_SYSTEM && system_found(w->t)) {
        return say(w, "/etc/hosts or nsswitch.conf: only the system knows it, not DNS; name it in `egress: "
                      "hosts:` of the "
                      "policy for programs with a resolver of their own");
    }
    return policy_advice(w);
}

static const char *ill_advice(const struct target_words *w, enum doctor_check c)
{
    if (c == DOCTOR_DNS_TCP && doctor_is_good(&w->t->results[DOCTOR_DNS_UDP])) {
        return say(
            w, "let TCP to port 53 through as well: answers that are cut short are asked for again over TCP");
    }
    if (c == DOCTOR_SYSTEM && doctor_is_good(&w->t->results[DOCTOR_DNS_UDP])) {
        return say(w, "/etc/resolv.conf: one `nameserver`, no `search`, `options ndots:1 timeout:2 "
                      "attempts:2`; the server "
                      "itself answers well");
    }
    enum doctor_fault dns = w->t->results[DOCTOR_DNS_UDP].fault;
    if (dns == DOCTOR_TRY_AGAIN) {
        return say(w,
                   "the resolver is ill, not the policy: openshell-dnsd's --upstream does not answer it, or "
                   "--allow-client leaves this program out; its log says which");
    }
    return dead_server_advice(w);
}

static const char *lookup_advice(const struct target_words *w, enum doctor_check c, enum doctor_fault fault)
{
    static const struct {
        enum doctor_fault fault;
        const char *text;
    } fixed[] = {
        {DOCTOR_ADDRCONFIG, "AI_ADDRCONFIG sees loopback only: give the sandbox an address, `ip address add "
                            "198.18.0.1/32 dev lo`"},
        {DOCTOR_FAMILY_ILL, "musl fails on that and others wait: let openshell-dnsd be the only nameserver "
                            "(it answers the missing family "
                            "with nothing), or `--aaaa nodata`"},
        {DOCTOR_SERVER_ILL, "/etc/resolv.conf: leave one nameserver, openshell-dnsd's; every program treats "
                            "a second in its own way"},
        {DOCTOR_LOOKUP_SLOW, "/etc/resolv.conf: a name that is denied is asked elsewhere first; leave one "
                             "`nameserver`, no `search`, "
                             "`options ndots:1`"},
        {DOCTOR_NAME_EXISTS, "/etc/resolv.conf: this server knows names that nobody has, it is no "
                             "openshell-dnsd; name that one alone"},
    };
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        if (fixed[i].fault == fault) {
            return say(w, "%s", fixed[i].text);
        }
    }
    if (fault == DOCTOR_NO_SUCH_HOST) {
        return no_host_advice(w, c);
    }
    if (fault == DOCTOR_NO_ADDRESS) {
        return say(
            w,
            "openshell-dnsd's log names the address it held back: `allowed_ips:` of the endpoint or `egress: "
            "hosts:` admits a private one; `openshell-egress explain --live %s` shows each",
            w->host);
    }
    return ill_advice(w, c);
}

static const char *place_of(const struct doctor_proxy *p)
{
    return p->from == NULL ? "HTTPS_PROXY" : p->from;
}

static const char *proxy_advice(const struct target_words *w, enum doctor_fault fault)
{
    const struct doctor_proxy *p = &w->f->proxy;
    if (fault == DOCTOR_DENIED) {
        return policy_advice(w);
    }
    if (fault == DOCTOR_NO_PROXY_THERE) {
        return say(w,
                   "for programs that use a proxy: start openshell-tunneld and set HTTPS_PROXY=%s; native "
                   "connections do "
                   "without",
                   p->url);
    }
    if (fault == DOCTOR_PROXY_UNSET) {
        return say(w, "export HTTPS_PROXY=%s HTTP_PROXY=%s NO_PROXY=localhost,127.0.0.1,::1", p->url, p->url);
    }
    if (fault == DOCTOR_PROXY_URL) {
        return say(w, "write %s=http://ADDRESS:PORT, with the port: programs disagree about its default",
                   place_of(p));
    }
    if (fault == DOCTOR_PROXY_NAME) {
        return say(w, "write the proxy's address in place of its name: %s=http://127.0.0.1:%u", place_of(p),
                   p->addr.port);
    }
    if (fault == DOCTOR_PROXY_AUTH) {
        return say(
            w,
            "%s: that proxy wants a password, openshell-tunneld never does; to chain it, --chain-auth-file",
            place_of(p));
    }
    if (fault == DOCTOR_PROXY_GATEWAY) {
        return say(
            w,
            "admitted, and openshell-tunneld cannot get there: its --upstream, --connect-timeout or route; "
            "`openshell-egress explain --live %s:%u` where it runs",
            w->host, w->t->port);
    }
    if (fault == DOCTOR_PROXY_STATUS) {
        return say(w, "openshell-tunneld's log has the reason (request_refused, tunnel_failed)");
    }
    return say(
        w,
        "nothing good at %s: start openshell-tunneld there (--listen), or correct %s=http://127.0.0.1:3128",
        p->url, place_of(p));
}

static const char *native_advice(const struct target_words *w, enum doctor_fault fault)
{
    if (fault == DOCTOR_HALF_IPV6) {
        return say(w, "IPv6 is half there: `--aaaa nodata` for openshell-dnsd, or bring both families "
                      "(`openshell-egress "
                      "capture up` with a --pool of each)");
    }
    if (w->t->host.kind == HOST_IP) {
        return say(
            w, "an address is carried only through CONNECT, or where the policy lets it out directly: use %s",
            place_of(&w->f->proxy));
    }
    if (!is_synthetic(&w->t->native.ip) && ip_classify(&w->t->native.ip) == IP_CLASS_LOOPBACK) {
        return say(w,
                   "`--answer steer` leads here, and openshell-tunneld does not take port %u: "
                   "`--transparent` at that "
                   "address, and the port in the policy",
                   w->t->port);
    }
    if (!is_synthetic(&w->t->native.ip)) {
        return say(w, "this address has no way out: `--answer synthetic` and --transparent with "
                      "`openshell-egress capture "
                      "up`, or let the program use HTTPS_PROXY");
    }
    if (fault == DOCTOR_UNREACHABLE) {
        return say(w, "no route to the pool: `openshell-egress capture up --mode redirect`, and "
                      "--transparent for openshell-tunneld");
    }
    return say(w,
               "nobody takes connections to port %u of the pool: name the port in the policy, and "
               "`--transparent auto` or "
               "`openshell-egress capture up`",
               w->t->port);
}

static const char *tls_advice(const struct target_words *w, enum doctor_fault fault)
{
    if (fault == DOCTOR_TLS_DENIED) {
        return policy_advice(w);
    }
    if (fault == DOCTOR_CONN_CUT || fault == DOCTOR_TIMEOUT) {
        return say(
            w,
            "openshell-tunneld's log has the reason (tunnel_denied, tunnel_failed, tunnel_close) for %s:%u",
            w->host, w->t->port);
    }
    return fault == DOCTOR_NO_TLS ? say(w, "the policy's port is %u: is it the right one?", w->t->port)
                                  : NULL;
}

static const char *idle_advice(const struct target_words *w)
{
    return say(
        w,
        "tunnel_close in openshell-tunneld's log: reason=idle is --idle-timeout or `timeouts: { idle: 0 }`, "
        "reason=lifetime is --lifetime; who=upstream is the server, or a proxy in between that is not ours "
        "(`proxy: direct` goes past a --chain-proxy): let the program ping; no such line: what cut it is "
        "between here and openshell-tunneld");
}

static const char *websocket_advice(const struct target_words *w, enum doctor_fault fault)
{
    static const struct {
        enum doctor_fault fault;
        const char *text;
    } fixed[] = {
        {DOCTOR_TLS_FAILED, "openshell-tunneld's log has the reason if it was ours (tunnel_denied, "
                            "tunnel_failed, tunnel_close); else the server wants another TLS"},
        {DOCTOR_DISTRUSTED,
         "programs refuse this certificate: if a proxy in between opens TLS (`tls: skip` in "
         "the policy keeps OpenShell's from it), trust its CA: SSL_CERT_FILE, "
         "NODE_EXTRA_CA_CERTS"},
        {DOCTOR_UPGRADE_REFUSED, "the way is good as far as to the server: name the path of its WebSocket, "
                                 "wss://HOST/PATH; the idle check stands in for it"},
        {DOCTOR_UPGRADE_WRONG,
         "what answers is no WebSocket server: a proxy in between that does not pass "
         "`Upgrade` on, or the wrong port; `tls: skip` or `proxy: direct` in the policy "
         "goes past it"},
        {DOCTOR_SERVER_CLOSED,
         "nothing in the network: the server closed it, as it does with who does not log "
         "in or beat in time; a shorter --idle shows the way alone"},
        {DOCTOR_NO_PONG,
         "a NAT or firewall forgot the connection and told nobody: `keepalive: { idle: 15s }` "
         "in the policy (--keepalive) for what openshell-tunneld dials, or let the program "
         "ping"},
        {DOCTOR_BAD_FRAME, "something in between writes into the connection, or the server speaks another "
                           "protocol behind the upgrade: `tls: skip` or `proxy: direct` in the policy"},
    };
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
        if (fixed[i].fault == fault) {
            return say(w, "%s", fixed[i].text);
        }
    }
    if (fault == DOCTOR_CUT_IDLE) {
        return idle_advice(w);
    }
    return fault == DOCTOR_DENIED ? policy_advice(w)
                                  : say(w,
                                        "openshell-tunneld's log has the reason (tunnel_denied, "
                                        "tunnel_failed, tunnel_close) for "
                                        "%s:%u",
                                        w->host, w->t->port);
}

const char *doctor_advice(const struct doctor_facts *f, const struct doctor_target *t, enum doctor_check c,
                          char text[DOCTOR_ADVICE_CAP])
{
    struct target_words w = {.f = f, .t = t, .out = text};
    enum doctor_fault fault = t->results[c].fault;
    (void)host_text(&t->host, w.host);
    if (fault == DOCTOR_FAULT_NONE || fault == DOCTOR_OUT_OF_TIME ||
        t->results[c].state == DOCTOR_NOT_TESTED) {
        return NULL;
    }
    switch (c) {
    case DOCTOR_SYSTEM:
    case DOCTOR_DNS_UDP:
    case DOCTOR_DNS_TCP:
        return lookup_advice(&w, c, fault);
    case DOCTOR_CONNECT:
        return proxy_advice(&w, fault);
    case DOCTOR_NATIVE:
        return native_advice(&w, fault);
    case DOCTOR_CONNECT_TLS:
    case DOCTOR_NATIVE_TLS:
        return t->results[c].state == DOCTOR_FAILED ? tls_advice(&w, fault) : NULL;
    case DOCTOR_CONNECT_IDLE:
    case DOCTOR_NATIVE_IDLE:
        return idle_advice(&w);
    case DOCTOR_CONNECT_WEBSOCKET:
    case DOCTOR_NATIVE_WEBSOCKET:
        return websocket_advice(&w, fault);
    }
    return NULL;
}

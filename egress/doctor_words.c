/* SPDX-License-Identifier: Apache-2.0 */
/* The names in JSON are documented in openshell-egress(1) and do not change. */
#include "egress/doctor.h"

#include <stdarg.h>
#include <stdio.h>

void doctor_tell(struct doctor_result *r, enum doctor_state state, enum doctor_fault fault, const char *fmt,
                 ...)
{
    va_list args;
    r->state = state;
    r->fault = fault;
    va_start(args, fmt);
    (void)vsnprintf(r->text, sizeof r->text, fmt, args);
    va_end(args);
}

struct span doctor_ws_path(const struct doctor_target *t)
{
    struct span path = span_str(t->ws_path);
    path = span_sub(path, 0, span_find(path, '?'));
    return path.len == 0 ? SPAN_LIT("/") : path;
}

const char *doctor_check_name(enum doctor_check c)
{
    switch (c) {
    case DOCTOR_SYSTEM:
        return "getaddrinfo";
    case DOCTOR_DNS_UDP:
        return "own resolver, UDP";
    case DOCTOR_DNS_TCP:
        return "own resolver, TCP";
    case DOCTOR_CONNECT:
        return "CONNECT";
    case DOCTOR_CONNECT_TLS:
        return "TLS over CONNECT";
    case DOCTOR_CONNECT_IDLE:
        return "idle, over CONNECT";
    case DOCTOR_CONNECT_WEBSOCKET:
        return "WebSocket, CONNECT";
    case DOCTOR_NATIVE:
        return "native TCP";
    case DOCTOR_NATIVE_TLS:
        return "native TLS";
    case DOCTOR_NATIVE_IDLE:
        return "idle, native";
    case DOCTOR_NATIVE_WEBSOCKET:
        return "WebSocket, native";
    }
    return "?";
}

const char *doctor_check_word(enum doctor_check c)
{
    switch (c) {
    case DOCTOR_SYSTEM:
        return "getaddrinfo";
    case DOCTOR_DNS_UDP:
        return "dns_udp";
    case DOCTOR_DNS_TCP:
        return "dns_tcp";
    case DOCTOR_CONNECT:
        return "connect";
    case DOCTOR_CONNECT_TLS:
        return "connect_tls";
    case DOCTOR_CONNECT_IDLE:
        return "connect_idle";
    case DOCTOR_CONNECT_WEBSOCKET:
        return "connect_websocket";
    case DOCTOR_NATIVE:
        return "native";
    case DOCTOR_NATIVE_TLS:
        return "native_tls";
    case DOCTOR_NATIVE_IDLE:
        return "native_idle";
    case DOCTOR_NATIVE_WEBSOCKET:
        return "native_websocket";
    }
    return "?";
}

const char *doctor_state_word(enum doctor_state s)
{
    switch (s) {
    case DOCTOR_NOT_TESTED:
        return "not_tested";
    case DOCTOR_FAILED:
        return "failed";
    case DOCTOR_NOTED:
        return "noted";
    case DOCTOR_OK:
        return "ok";
    }
    return "?";
}

const char *doctor_fault_word(enum doctor_fault f)
{
    static const char *const words[] = {
        [DOCTOR_NO_SUCH_HOST] = "no_such_host",
        [DOCTOR_NO_ADDRESS] = "no_address",
        [DOCTOR_TRY_AGAIN] = "try_again",
        [DOCTOR_LOOKUP_SLOW] = "slow",
        [DOCTOR_ADDRCONFIG] = "addrconfig",
        [DOCTOR_FAMILY_ILL] = "family_ill",
        [DOCTOR_SERVER_ILL] = "server_ill",
        [DOCTOR_NAME_EXISTS] = "name_exists",
        [DOCTOR_TIMEOUT] = "timeout",
        [DOCTOR_CONN_REFUSED] = "refused",
        [DOCTOR_UNREACHABLE] = "unreachable",
        [DOCTOR_CONN_CUT] = "cut",
        [DOCTOR_HALF_IPV6] = "half_ipv6",
        [DOCTOR_CONN_OTHER] = "system_error",
        [DOCTOR_PROXY_URL] = "proxy_url",
        [DOCTOR_PROXY_NAME] = "proxy_name",
        [DOCTOR_NO_PROXY_THERE] = "no_proxy_there",
        [DOCTOR_PROXY_UNSET] = "proxy_unset",
        [DOCTOR_NO_HTTP] = "not_a_proxy",
        [DOCTOR_DENIED] = "denied",
        [DOCTOR_PROXY_AUTH] = "proxy_auth",
        [DOCTOR_PROXY_GATEWAY] = "proxy_gateway",
        [DOCTOR_PROXY_STATUS] = "proxy_status",
        [DOCTOR_TLS_DENIED] = "tls_access_denied",
        [DOCTOR_TLS_ALERT] = "tls_alert",
        [DOCTOR_NO_TLS] = "no_tls",
        [DOCTOR_CUT_IDLE] = "cut_idle",
        [DOCTOR_OUT_OF_TIME] = "out_of_time",
        [DOCTOR_TLS_FAILED] = "tls_failed",
        [DOCTOR_DISTRUSTED] = "certificate",
        [DOCTOR_UPGRADE_REFUSED] = "upgrade_refused",
        [DOCTOR_UPGRADE_WRONG] = "upgrade_wrong",
        [DOCTOR_SERVER_CLOSED] = "server_closed",
        [DOCTOR_NO_PONG] = "no_pong",
        [DOCTOR_BAD_FRAME] = "bad_frame",
        [DOCTOR_NOT_BUILT] = "not_built",
    };
    return (size_t)f < sizeof words / sizeof words[0] ? words[f] : NULL;
}

/* A path begins at this check: connected, not refused inside TLS, not cut while it was idle. */
static bool path_works(const struct doctor_target *t, enum doctor_check tcp)
{
    bool works = doctor_is_good(&t->results[tcp]);
    for (int c = 1; c <= DOCTOR_CONNECT_WEBSOCKET - DOCTOR_CONNECT; c++) {
        works = works && t->results[(int)tcp + c].state != DOCTOR_FAILED;
    }
    return works;
}

static bool probe_is_good(const struct doctor_target *t)
{
    return doctor_is_good(&t->results[DOCTOR_SYSTEM]) && doctor_is_good(&t->results[DOCTOR_DNS_UDP]);
}

bool doctor_target_works(const struct doctor_target *t)
{
    if (t->is_probe) {
        return probe_is_good(t);
    }
    bool resolves = t->host.kind == HOST_IP || doctor_is_good(&t->results[DOCTOR_SYSTEM]);
    return resolves && (path_works(t, DOCTOR_CONNECT) || path_works(t, DOCTOR_NATIVE));
}

bool doctor_all_works(const struct doctor_facts *f)
{
    bool works = true;
    for (size_t i = 0; i < f->target_count; i++) {
        works = works && doctor_target_works(&f->targets[i]);
    }
    return works;
}

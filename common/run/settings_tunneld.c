/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/settings_tables.h"

#include "common/run/settings_shared.h"

#include <stddef.h>
#include <stdlib.h>
#include <strings.h>

static const char *const l7_modes[] = {"refuse", "tunnel", NULL};
static const char *const sni_modes[] = {"off", "warn", "enforce", NULL};
static const char *const chain_targets[] = {"name", "address", NULL};
static const char *const binary_identities[] = {"enforce", "ignore", NULL};

bool settings_upstream_identity_is_off(void)
{
    static const char *const off[] = {"relaxed", "disabled", "endpoint-only", "false", "0"};
    const char *text = getenv("OPENSHELL_NETWORK_BINARY_IDENTITY");
    for (size_t i = 0; text != NULL && i < sizeof(off) / sizeof(off[0]); i++) {
        if (strcasecmp(text, off[i]) == 0) {
            return true;
        }
    }
    return false;
}

static const char *upstream_identity(void)
{
    return settings_upstream_identity_is_off() ? "ignore" : NULL;
}

#define AT(member) offsetof(struct settings_tunneld, member)
#define TIMER(member) (offsetof(struct settings_tunneld, timers) + offsetof(struct tunnel_timers, member))

/* The tunnel timers have no default here: unset leaves the word to egress.defaults, then to the built-in
 * values. */
/* clang-format off */
const struct setting settings_tunneld_table[] = {
    {.name = "listen", .kind = SETTING_LIST, .offset = AT(listen), .arg = "ADDR[:PORT]", .fallback = "127.0.0.1:3128",
     .help = "take HTTP CONNECT and http:// requests here"},
    {.name = "transparent", .kind = SETTING_LIST, .offset = AT(transparent), .arg = "ADDR:PORT|[ADDR:]auto",
     .help = "take captured connections here; auto: on every port the policy names"},
    {.name = "resolv-conf", .kind = SETTING_STRING, .offset = AT(resolv_conf), .arg = "FILE",
     .fallback = "/etc/resolv.conf", .help = "where DNS servers are read if there is no --upstream"},
    {.name = "connect-timeout", .kind = SETTING_DURATION, .offset = TIMER(connect_ms), .arg = "DURATION",
     .help = "resolve and connect within; 0: the kernel's own limit (built in 10s)"},
    {.name = "head-timeout", .kind = SETTING_DURATION, .offset = AT(head_ms), .arg = "DURATION", .fallback = "10s",
     .help = "complete request head within; 0: never"},
    {.name = "forward-idle-timeout", .kind = SETTING_DURATION, .offset = AT(forward_idle_ms), .arg = "DURATION",
     .fallback = "60s", .help = "keep a client's connection between two http:// requests for; 0: for ever"},
    {.name = "idle-timeout", .kind = SETTING_DURATION, .offset = TIMER(idle_ms), .arg = "DURATION",
     .help = "close a tunnel that is silent both ways for; 0: never (built in 0)"},
    {.name = "lifetime", .kind = SETTING_DURATION, .offset = TIMER(lifetime_ms), .arg = "DURATION",
     .help = "close a tunnel of this age; 0: never (built in 0)"},
    {.name = "half-close-timeout", .kind = SETTING_DURATION, .offset = TIMER(half_close_ms), .arg = "DURATION",
     .help = "close a tunnel with one end finished and the other silent for; 0: never (built in 5m)"},
    {.name = "keepalive", .kind = SETTING_KEEPALIVE, .offset = AT(keepalive), .arg = "IDLE,INTERVAL,PROBES|off",
     .help = "TCP keepalive on both legs (built in 60s,15s,4)"},
    {.name = "user-timeout", .kind = SETTING_USER_TIMEOUT, .offset = TIMER(user_ms), .arg = "DURATION|auto",
     .help = "TCP_USER_TIMEOUT of both legs; 0: the kernel's (built in auto)"},
    {.name = "sni", .kind = SETTING_CHOICE, .offset = AT(sni), .choices = sni_modes, .fallback = "off",
     .help = "TLS in a tunnel must name the tunnel's host"},
    {.name = "sni-wait", .kind = SETTING_DURATION, .offset = AT(sni_wait_ms), .arg = "DURATION", .fallback = "2s",
     .help = "wait for the rest of a ClientHello; 0: for ever"},
    {.name = "l7", .kind = SETTING_CHOICE, .offset = AT(l7), .choices = l7_modes, .fallback = "refuse",
     .help = "endpoints whose rules need an HTTP proxy"},
    {.name = "chain-proxy", .kind = SETTING_STRING, .offset = AT(chain_proxy), .arg = "URL",
     .help = "carry these, and proxy: chain, through this HTTP proxy (http://HOST:PORT)"},
    {.name = "chain-target", .kind = SETTING_CHOICE, .offset = AT(chain_target), .choices = chain_targets,
     .fallback = "name", .help = "what the chain proxy is asked for"},
    {.name = "chain-auth-file", .kind = SETTING_STRING, .offset = AT(chain_auth_file), .arg = "FILE",
     .help = "USER:PASSWORD for the chain proxy (Basic)"},
    {.name = "chain-except", .kind = SETTING_LIST, .offset = AT(chain_except), .arg = "HOST|CIDR[:PORT]",
     .help = "keep this from the chain proxy"},
    {.name = "binary-identity", .kind = SETTING_CHOICE, .offset = AT(binary_identity), .choices = binary_identities,
     .fallback = "enforce", .derive = upstream_identity, .help = "rules that name binaries"},
    {.name = "max-tunnels", .kind = SETTING_NUMBER, .offset = AT(max_tunnels), .arg = "N", .fallback = "0",
     .max = 10000000, .help = "live tunnels in all; 0: no limit"},
    {.name = "max-tunnels-per-client", .kind = SETTING_NUMBER, .offset = AT(max_tunnels_per_client), .arg = "N",
     .fallback = "1024", .max = 10000000, .help = "live tunnels of one client address; 0: no limit"},
    {.name = "max-tunnels-per-rule", .kind = SETTING_NUMBER, .offset = AT(max_tunnels_per_rule), .arg = "N",
     .fallback = "0", .max = 10000000, .help = "live tunnels that one rule admits; 0: no limit"},
    {.name = "max-heads-per-client", .kind = SETTING_NUMBER, .offset = AT(max_heads_per_client), .arg = "N",
     .fallback = "512", .max = 10000000, .help = "unfinished request heads of one client address; 0: no limit"},
    {.name = "revoke-grace", .kind = SETTING_DURATION, .offset = AT(revoke_grace_ms), .arg = "DURATION",
     .fallback = "5s", .help = "time left to a tunnel that a new policy no longer admits"},
    {.name = "drain-timeout", .kind = SETTING_DURATION, .offset = AT(drain_ms), .arg = "DURATION", .fallback = "30s",
     .help = "time left to tunnels when asked to stop; 0: none"},
    SETTINGS_SHARED_ROWS(settings_tunneld),
    {.name = NULL},
};
/* clang-format on */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Properties of tunneld's decisions, over policies that are subsets of a few endpoints, any host, port and
 * address: what is admitted is named by the endpoint that admits it; what is dialled is in no class that
 * nothing overrides, and private only where the contract says so; a stricter setting never admits more; a
 * tunnel that stays is one that would be opened. Input: two bytes that choose endpoints, one of settings, two
 * of the port, sixteen of an address, and the rest is the host.
 */
#include "tests/fuzz/fuzz.h"

#include "common/policy/policy_load.h"
#include "tunneld/admit.h"

#include <stdio.h>

#define ADDRESS_AT 5U
#define HOST_AT 21U

static const char *const endpoints[] = {
    "{ host: a.example, port: 443 }",
    "{ host: a.example, port: 6443, allowed_ips: [\"10.0.0.0/8\", \"192.0.46.0/24\"] }",
    "{ host: a.example, port: 443, proxy: chain }",
    "{ host: a.example, port: 443, protocol: rest, enforcement: enforce, access: read-only }",
    "{ host: '*.w.example', ports: [80, 443, 10250] }",
    "{ host: '**.w.example', port: 443, allowed_ips: [\"10.1.0.0/16\"] }",
    "{host: b.w.example, port: 443, protocol: rest, enforcement: enforce, access: read-only, proxy: direct}",
    "{ host: 192.0.46.8, port: 443 }",
    "{ host: 10.1.2.3, port: 2379 }",
    "{ port: 443, allowed_ips: [\"192.0.46.0/24\", \"2606:4700::/32\"] }",
    "{ host: fixed.example, port: 443 }",
};
#define ENDPOINT_COUNT (sizeof endpoints / sizeof endpoints[0])

static struct policy *compile(unsigned chosen)
{
    char text[4096];
    size_t len = (size_t)snprintf(text, sizeof text,
                                  "version: 1\nnetwork_policies:\n  always:\n    endpoints:\n"
                                  "      - { host: always.example, port: 1 }\n"
                                  "  some:\n    binaries: [{ path: /bin/a }]\n    endpoints:\n"
                                  "      - { host: binary.example, port: 443 }\n"
                                  "  fuzz:\n    endpoints:\n      - { host: always.example, port: 2 }\n");
    for (size_t i = 0; i < ENDPOINT_COUNT; i++) {
        if ((chosen >> i & 1U) != 0) {
            len += (size_t)snprintf(text + len, sizeof text - len, "      - %s\n", endpoints[i]);
        }
    }
    if ((chosen >> (ENDPOINT_COUNT - 1) & 1U) != 0) {
        len += (size_t)snprintf(text + len, sizeof text - len,
                                "egress:\n  hosts:\n    fixed.example: [10.200.0.1]\n");
    }
    const struct policy_text t = {.file = "fuzz.yaml", .text = span_make(text, len)};
    struct policy_diags diags = {0};
    struct policy_rules *rules = NULL;
    struct policy *p = NULL;
    int rc = policy_load(&t, 1, &rules, &diags);
    policy_diags_fini(&diags);
    REQUIRE(rc == 0 && policy_compile(rules, 1, &p) == 0);
    return p;
}

/* Written down from the contract, by bytes: some of what nothing overrides. */
static bool is_never(const struct ip *a)
{
    const uint8_t *b = a->bytes;
    if (a->family == IP_V4) {
        return b[0] == 0 || b[0] == 127 || b[0] >= 224 || (b[0] == 169 && b[1] == 254) ||
               (b[0] == 168 && b[1] == 63 && b[2] == 129 && b[3] == 16);
    }
    static const uint8_t zeros[15] = {0};
    bool is_low = memcmp(b, zeros, 10) == 0; /* unspecified, loopback, mapped, compatible */
    return is_low || b[0] == 0xff || (b[0] == 0xfe && (b[1] & 0xc0) == 0x80) ||
           (b[0] == 0x20 && b[1] == 0x02) || (b[0] == 0x20 && b[1] == 0x01 && b[2] == 0 && b[3] == 0);
}

static bool is_private(const struct ip *a)
{
    const uint8_t *b = a->bytes;
    if (a->family == IP_V4) {
        return b[0] == 10 || (b[0] == 172 && (b[1] & 0xf0) == 16) || (b[0] == 192 && b[1] == 168) ||
               (b[0] == 100 && (b[1] & 0xc0) == 64);
    }
    return (b[0] & 0xfe) == 0xfc;
}

static bool is_control_port(uint16_t port)
{
    return port == 2379 || port == 2380 || port == 6443 || port == 10250 || port == 10255;
}

static bool is_listed(const struct policy_endpoint *e, const struct ip *ip)
{
    for (size_t i = 0; i < e->allowed_ip_count; i++) {
        if (ip_prefix_contains(&e->allowed_ips[i], ip)) {
            return true;
        }
    }
    return false;
}

static bool has_port(const struct policy_endpoint *e, uint16_t port)
{
    for (size_t i = 0; i < e->port_count; i++) {
        if (e->ports[i] == port) {
            return true;
        }
    }
    return false;
}

static bool is_named(const struct policy_endpoint *e, const struct host *host, bool is_static)
{
    switch (e->host_kind) {
    case ENDPOINT_EXACT:
        return host->kind == HOST_DNS && host_name_is_equal(&e->pattern.text, &host->name);
    case ENDPOINT_WILDCARD:
        return host->kind == HOST_DNS && host_pattern_matches(&e->pattern, &host->name);
    case ENDPOINT_IP:
        return host->kind == HOST_IP && ip_is_equal(&e->ip, &host->ip);
    case ENDPOINT_HOSTLESS:
        return host->kind == HOST_IP ? is_listed(e, &host->ip) : is_static;
    }
    return false;
}

static void require_name(const struct admit *a, const struct host *host, uint16_t port)
{
    struct tunnel_verdict any, raw;
    bool is_any = admit_tunnel(a, host, port, &any), is_raw = admit_name(a, host, port, &raw);
    REQUIRE(is_any == (any.verdict == VERDICT_ALLOW) && is_raw == (raw.verdict == VERDICT_ALLOW));
    REQUIRE(is_any || !is_raw);
    REQUIRE(is_any ? any.reason == REASON_NONE && any.carriage != CARRY_NONE
                   : any.reason == REASON_POLICY_DENIED || any.reason == REASON_BINARY_DENIED ||
                         any.reason == REASON_L7_REQUIRED);
    REQUIRE(is_raw == (is_any && any.carriage == CARRY_RAW));
    REQUIRE(a->judge->has_chain || any.carriage != CARRY_CHAIN);
    REQUIRE(admit_still_chained(a, host, port, NULL) == (is_any && any.carriage == CARRY_CHAIN));
    if (is_any) {
        bool is_static = admit_static(a, host) != NULL;
        REQUIRE(any.endpoint != NULL && has_port(any.endpoint, port) &&
                is_named(any.endpoint, host, is_static));
        REQUIRE(a->judge->ignore_binaries || any.endpoint->rule->admits_any_binary);
        REQUIRE(any.carriage != CARRY_RAW || a->judge->l7 == L7_TUNNEL || !any.endpoint->requires_l7 ||
                any.endpoint->proxy == PROXY_DIRECT);
    }
}

static void require_addr(const struct admit *a, const struct host *host, const struct addr *to)
{
    struct tunnel_verdict name;
    struct dest_verdict dest, strict;
    bool is_raw = admit_name(a, host, to->port, &name);
    if (name.endpoint == NULL) {
        REQUIRE(!admit_still(a, host, to));
        return;
    }
    bool is_dialled = admit_addr(a, name.endpoint, host, to, &dest);
    REQUIRE(is_dialled == (dest.verdict == VERDICT_ALLOW) && (is_dialled || dest.why[0] != '\0'));
    REQUIRE(admit_still(a, host, to) == (is_raw && is_dialled));
    const struct policy_host *h = admit_static(a, host);
    const struct ip fixed = ip_v4(10, 200, 0, 1);
    bool is_static = h != NULL && ip_is_equal(&to->ip, &fixed);
    bool is_exact = name.endpoint->host_kind == ENDPOINT_EXACT || name.endpoint->host_kind == ENDPOINT_IP;
    bool is_opened = is_listed(name.endpoint, &to->ip);
    if (is_dialled) {
        REQUIRE(!is_never(&to->ip));
        REQUIRE(is_static || name.endpoint->allowed_ip_count == 0 || is_opened);
        REQUIRE(!is_private(&to->ip) || is_static || is_exact || is_opened);
        REQUIRE(!is_control_port(to->port) || is_exact || name.endpoint->allowed_ip_count > 0);
    }
    const struct dest_guard strict_guard = {.strict_private = true};
    const struct admit strict_admit = {.judge = a->judge, .guard = &strict_guard, .policy = a->policy};
    bool is_strict = admit_addr(&strict_admit, name.endpoint, host, to, &strict);
    REQUIRE(is_dialled || !is_strict);
    REQUIRE(!is_strict || !is_private(&to->ip) || is_static || is_opened);
    const struct dest_never own = {.prefix = {.base = to->ip, .bits = to->ip.family == IP_V4 ? 32 : 128},
                                   .port = to->port,
                                   .what = "own listener"};
    const struct dest_guard own_guard = {.items = &own, .count = 1};
    const struct admit own_admit = {.judge = a->judge, .guard = &own_guard, .policy = a->policy};
    REQUIRE(!admit_addr(&own_admit, name.endpoint, host, to, &dest) && !admit_still(&own_admit, host, to));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HOST_AT) {
        return 0;
    }
    struct host host;
    uint16_t port = (uint16_t)(data[3] << 8 | data[4]);
    if (port == 0 || host_parse(span_make(data + HOST_AT, size - HOST_AT), &host) != HOST_FAULT_NONE) {
        return 0;
    }
    struct judge_config judge = {.l7 = (data[2] & 1U) != 0 ? L7_TUNNEL : L7_REFUSE,
                                 .ignore_binaries = (data[2] & 2U) != 0,
                                 .has_chain = (data[2] & 4U) != 0};
    const struct dest_guard guard = {.count = 0};
    tunnel_timers_unset(&judge.option_timers);
    struct policy *policy = compile((unsigned)(data[0] << 8 | data[1]));
    const struct admit a = {.judge = &judge, .guard = &guard, .policy = policy};
    struct addr to = {.ip = {.family = (data[2] & 8U) != 0 ? IP_V6 : IP_V4}, .port = port};
    memcpy(to.ip.bytes, data + ADDRESS_AT, to.ip.family == IP_V6 ? 16 : 4);
    require_name(&a, &host, port);
    require_addr(&a, &host, &to);
    if (host.kind == HOST_IP) {
        to.ip = host.ip;
        require_addr(&a, &host, &to);
    }
    policy_unref(policy);
    return 0;
}

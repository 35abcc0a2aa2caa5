/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy from any bytes loads or says why not; what loads compiles, and its decisions agree with its own
 * endpoints: what an endpoint names is admitted by name, and a tunnel is never allowed where nothing matches.
 */
#include "tests/fuzz/fuzz.h"

#include "common/policy/judge_dest.h"
#include "common/policy/judge_name.h"
#include "common/policy/policy_lint.h"
#include "common/policy/policy_load.h"

#include <errno.h>
#include <stdlib.h>

#define MAX_LOOKED_AT 50

static const struct judge_config config = {
    .option_timers = {TIMER_UNSET, TIMER_UNSET, TIMER_UNSET, TIMER_UNSET, TIMER_UNSET}};

static void require_timers(const struct tunnel_verdict *v)
{
    REQUIRE(v->timers.connect_ms >= 0 && v->timers.idle_ms >= 0 && v->timers.lifetime_ms >= 0);
    REQUIRE(v->timers.half_close_ms >= 0 && v->timers.user_ms != TIMER_UNSET);
    REQUIRE(v->keepalive.mode != KEEPALIVE_UNSET);
    int64_t user_ms = tunnel_user_timeout_ms(&v->timers, &v->keepalive);
    REQUIRE(user_ms >= 0 && user_ms <= INT32_MAX);
}

static void require_tunnel(const struct policy *p, const struct policy_endpoint *ep)
{
    struct host host = {.kind = HOST_IP, .ip = ep->ip};
    if (ep->host_kind == ENDPOINT_EXACT) {
        host = (struct host){.kind = HOST_DNS, .name = ep->pattern.text};
    }
    struct tunnel_verdict v;
    judge_tunnel(p, &config, &host, ep->ports[0], &v);
    REQUIRE(v.reason != REASON_POLICY_DENIED);
    REQUIRE((v.verdict == VERDICT_ALLOW) == (v.reason == REASON_NONE));
    if (v.reason != REASON_BINARY_DENIED) {
        REQUIRE(v.endpoint != NULL && policy_endpoint_compare(v.endpoint, ep) <= 0);
        require_timers(&v);
    }
    REQUIRE(v.verdict == VERDICT_DENY || !ep->requires_l7 || v.endpoint->proxy == PROXY_DIRECT ||
            !ep->rule->admits_any_binary);
}

static void require_address(const struct policy *p, const struct policy_endpoint *ep)
{
    static const struct dest_guard guard = {0};
    static const uint8_t addresses[][4] = {{127, 0, 0, 1}, {10, 0, 0, 1}, {8, 8, 8, 8}, {169, 254, 169, 254}};
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        struct ip ip = ip_v4(addresses[i][0], addresses[i][1], addresses[i][2], addresses[i][3]);
        struct dest_verdict v;
        judge_dest(p, &guard, ep, &ip, ep->ports[0], false, &v);
        REQUIRE((v.verdict == VERDICT_ALLOW) == (v.why[0] == '\0'));
        REQUIRE(v.verdict == VERDICT_DENY || ip_class_group(v.cls) != IP_GROUP_NEVER);
    }
}

static void require_endpoint(const struct policy *p, const struct policy_endpoint *ep)
{
    REQUIRE(ep->port_count > 0 && ep->ports[0] > 0);
    for (size_t i = 1; i < ep->port_count; i++) {
        REQUIRE(ep->ports[i - 1] < ep->ports[i]);
    }
    REQUIRE(ep->host_kind != ENDPOINT_HOSTLESS || ep->allowed_ip_count > 0);
    require_address(p, ep);
    if (ep->host_kind == ENDPOINT_EXACT) {
        struct name_verdict v;
        judge_name(p, &ep->pattern.text, &v);
        REQUIRE(v.kind == NAME_ADMITTED || v.kind == NAME_STATIC);
        REQUIRE(v.endpoint->host_kind == ENDPOINT_EXACT && !v.is_wildcard);
    }
    if (ep->host_kind == ENDPOINT_EXACT || ep->host_kind == ENDPOINT_IP) {
        require_tunnel(p, ep);
    }
}

static void require_policy(const struct policy *p)
{
    const struct policy_rules *r = policy_rules_of(p);
    size_t looked_at = 0;
    for (size_t i = 0; i < r->rule_count; i++) {
        for (size_t k = 0; k < r->rules[i].endpoint_count && looked_at++ < MAX_LOOKED_AT; k++) {
            REQUIRE(r->rules[i].endpoints[k].rule == &r->rules[i]);
            require_endpoint(p, &r->rules[i].endpoints[k]);
        }
    }
    struct host stranger = {.kind = HOST_IP, .ip = ip_v4(8, 8, 4, 4)};
    struct tunnel_verdict v;
    judge_tunnel(p, &config, &stranger, 65000, &v);
    REQUIRE(v.verdict == VERDICT_DENY || policy_match_ip(p, &stranger.ip, NULL, 0) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct policy_text text = {.file = "fuzz.yaml", .text = span_make(data, size)};
    struct policy_rules *rules = NULL;
    struct policy_diags diags = {0};
    int rc = policy_load(&text, 1, &rules, &diags);
    REQUIRE(rc == 0 || rc == -EINVAL);
    REQUIRE((rc == 0) == (diags.error_count == 0));
    for (size_t i = 0; i < diags.count; i++) {
        char *line = policy_diag_text(&diags.items[i], (i & 1) != 0);
        REQUIRE(line != NULL);
        free(line);
    }
    policy_diags_fini(&diags);
    if (rc == 0) {
        struct policy *p = NULL;
        struct policy_diags findings = {0};
        REQUIRE(policy_compile(rules, 1, &p) == 0);
        require_policy(p);
        REQUIRE(policy_lint(p, &text, 1, &findings) == 0 && findings.error_count == 0);
        for (size_t i = 0; i < findings.count; i++) {
            REQUIRE(findings.items[i].hint != NULL);
        }
        policy_diags_fini(&findings);
        policy_unref(p);
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which endpoints a raw tunnel would widen, and so must not carry: product 4.4, OpenShell's rules for
 * requests. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "tests/support/policy_text.h"

#include <stdio.h>

#define ENFORCED ", enforcement: enforce"
#define EVERYTHING "{ allow: { method: \"*\", path: \"/**\" } }"

static void check(const char *endpoint, bool expect)
{
    char line[512];
    (void)snprintf(line, sizeof line, "{ host: a.example.com, port: 443, %s }", endpoint);
    struct policy *p = policy_text_endpoints(line);
    if (policy_rules_of(p)->rules[0].endpoints[0].requires_l7 != expect) {
        fail_msg("%s", endpoint);
    }
    policy_unref(p);
}

static void test_access(void **state)
{
    (void)state;
    check("protocol: tcp", false);
    check("access: read-only" ENFORCED, false); /* without a protocol OpenShell looks at no request */
    check("protocol: rest, access: full" ENFORCED, false);
    check("protocol: rest, access: read-write" ENFORCED, true);
    check("protocol: rest, access: read-only" ENFORCED, true);
    check("protocol: rest, access: read-only, enforcement: audit", false);
    check("protocol: rest, access: read-only", false); /* audit is the default */
    check("protocol: websocket, access: full" ENFORCED, false);
    check("protocol: websocket, access: read-write" ENFORCED, true);
    check("protocol: sql, access: full", false);
}

static void test_rules(void **state)
{
    (void)state;
    check("protocol: rest, rules: [" EVERYTHING "]" ENFORCED, false);
    check("protocol: websocket, rules: [" EVERYTHING "]" ENFORCED, false);
    check("protocol: rest, rules: [{ allow: { method: \"*\", path: \"/a/**\" } }]" ENFORCED, true);
    check("protocol: rest, rules: [{ allow: { method: \"*\", path: \"/*\" } }]" ENFORCED, true);
    check("protocol: rest, rules: [{ allow: { method: GET, path: \"/**\" } }]" ENFORCED, true);
    check("protocol: rest, rules: [{ allow: { method: \"*\", path: \"/**\", query: { a: b } } }]" ENFORCED,
          true);
    check("protocol: json-rpc, rules: [" EVERYTHING "]" ENFORCED,
          true); /* a method of JSON-RPC, not of HTTP */
    check("protocol: mcp, rules: [" EVERYTHING "]" ENFORCED, true);
    check("protocol: mcp, mcp: { allow_all_known_mcp_methods: true }" ENFORCED, true);
    check("protocol: rest, access: full, deny_rules: [{ method: DELETE, path: \"/**\" }]" ENFORCED, true);
    check("protocol: rest, access: full, deny_rules: []" ENFORCED, false);
}

/* OpenShell refuses a persisted query that is not registered, with access: full too. */
static void test_operations(void **state)
{
    (void)state;
    check("protocol: graphql, access: full" ENFORCED, true);
    check("protocol: graphql, access: full, persisted_queries: allow_registered" ENFORCED, true);
    check("protocol: graphql, access: full", false);
    /* a websocket whose operations are judged: what else is sent as an operation is refused */
    check("protocol: websocket, rules: [" EVERYTHING ", { allow: { operation_type: query } }]" ENFORCED,
          true);
    check("protocol: websocket, access: full, persisted_queries: deny" ENFORCED, true);
    check("protocol: websocket, access: full, graphql_persisted_queries: { a: { operation_type: query } "
          "}" ENFORCED,
          true);
    check("protocol: websocket, access: full, graphql_persisted_queries: {}" ENFORCED, false);
    check("protocol: rest, access: full, persisted_queries: deny" ENFORCED, false); /* no meaning with rest */
}

static void test_path(void **state)
{
    (void)state;
    check("protocol: rest, access: full, path: /v1", true);
    check("protocol: rest, access: full, path: \"/**\"", false);
    check("protocol: rest, access: full, path: \"**\"", false);
    check("protocol: rest, access: full, path: \"\"", false);
    check("path: /v1", false);
}

static void test_credentials(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "websocket_credential_rewrite: true", "request_body_credential_rewrite: true",
        "credential_signing: sigv4, signing_service: s3", "credential_binding: { provider: x }"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char text[256];
        (void)snprintf(text, sizeof text, "protocol: rest, access: full, %s", keys[i]);
        check(text, true);
        check(keys[i], true);
        (void)snprintf(text, sizeof text, "%s, allow_uninspected_credentials: true", keys[i]);
        check(text, false);
        (void)snprintf(text, sizeof text, "%s, allow_uninspected_credentials: false", keys[i]);
        check(text, true);
    }
    check("websocket_credential_rewrite: false", false);
    check("credential_signing: \"\"", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_access), cmocka_unit_test(test_rules),       cmocka_unit_test(test_operations),
        cmocka_unit_test(test_path),   cmocka_unit_test(test_credentials),
    };
    return cmocka_run_group_tests_name("policy_raw", tests, NULL, NULL);
}

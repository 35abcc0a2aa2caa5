/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/policy_parts.h"

#define MAX_DEPTH 16 /* of a document: yaml_doc refuses more */

static const struct key_spec request_keys[] = {
    {"method", KEY_TEXT},         {"path", KEY_TEXT},           {"command", KEY_TEXT}, {"query", KEY_MAP},
    {"operation_type", KEY_TEXT}, {"operation_name", KEY_TEXT}, {"fields", KEY_TEXTS}, {"tool", KEY_ANY},
    {"params", KEY_MAP},
};
static const struct key_table allow_table = KEY_TABLE("\"allow\"", request_keys);
static const struct key_table deny_table = KEY_TABLE("a deny rule", request_keys);

/* A matcher is a text or { any: [texts] }. */
static void check_matcher(struct load *l, const struct yaml_node *n)
{
    static const struct key_spec keys[] = {{"any", KEY_TEXTS}};
    static const struct key_table table = KEY_TABLE("a matcher", keys);
    if (n->kind == YAML_MAP) {
        (void)load_check_map(l, n, &table);
    } else {
        (void)load_check_value(l, n, KEY_TEXT);
    }
}

static bool is_any_list(const struct yaml_node *n)
{
    return n->kind == YAML_LIST && span_is_equal(n->key, SPAN_LIT("any"));
}

/* "params": maps of maps whose leaves are matchers. The stack stands in for recursion. */
static void check_params(struct load *l, const struct yaml_node *params)
{
    const struct yaml_node *stack[MAX_DEPTH];
    size_t depth = 0;
    stack[depth++] = params->first;
    while (depth > 0) {
        const struct yaml_node *n = stack[depth - 1];
        if (n == NULL) {
            depth--;
            continue;
        }
        stack[depth - 1] = n->next;
        if (n->kind == YAML_MAP && depth < MAX_DEPTH) {
            stack[depth++] = n->first;
        } else if (is_any_list(n)) {
            (void)load_check_value(l, n, KEY_TEXTS);
        } else {
            (void)load_check_value(l, n, KEY_TEXT);
        }
    }
}

/* The keys that "allow" and an item of "deny_rules" share. */
static void check_request(struct load *l, const struct yaml_node *n, const struct key_table *table)
{
    if (!load_check_map(l, n, table)) {
        return;
    }
    const struct yaml_node *query = load_get_map(n, "query");
    for (const struct yaml_node *m = query == NULL ? NULL : query->first; m != NULL; m = m->next) {
        check_matcher(l, m);
    }
    const struct yaml_node *tool = yaml_map_get(n, "tool");
    if (tool != NULL) {
        check_matcher(l, tool);
    }
    const struct yaml_node *params = load_get_map(n, "params");
    if (params != NULL) {
        check_params(l, params);
    }
}

static bool is_any_path(struct span path)
{
    return span_is_equal(path, SPAN_LIT("/**")) || span_is_equal(path, SPAN_LIT("**"));
}

/* Does this "allow" let every request through? Only method and path may be there, each matching everything.
 */
static bool is_everything(const struct yaml_node *allow)
{
    struct span method;
    struct span path;
    if (allow->count != 2 || !load_get_text(allow, "method", &method) ||
        !load_get_text(allow, "path", &path)) {
        return false;
    }
    return is_any_path(path) && span_is_equal(method, SPAN_LIT("*"));
}

/* Does this "allow" name nothing? "query" alone is nothing: OpenShell takes it as a condition on a request. A
 * key that is wrong was reported, and meant something. */
static bool is_nothing(const struct yaml_node *allow)
{
    for (const struct yaml_node *m = allow->first; m != NULL; m = m->next) {
        bool is_empty = m->kind == YAML_SCALAR ? m->text.len == 0 : m->count == 0;
        if (!is_empty && !span_is_equal(m->key, SPAN_LIT("query"))) {
            return false;
        }
    }
    return true;
}

struct rules_found {
    bool admits_all;  /* one of them does */
    bool admits_some; /* one of them does, or one is wrong and was reported */
};

static struct rules_found load_rules(struct load *l, const struct yaml_node *rules)
{
    static const struct key_spec keys[] = {{"allow", KEY_MAP}};
    static const struct key_table table = KEY_TABLE("a rule of \"rules\"", keys);
    struct rules_found found = {false, false};
    for (const struct yaml_node *n = rules->first; n != NULL; n = n->next) {
        const struct yaml_node *allow = load_check_map(l, n, &table) ? yaml_map_get(n, "allow") : NULL;
        if (n->kind == YAML_MAP && allow == NULL) {
            load_error(l, n->pos, "write - allow: { method: GET, path: \"/**\" }", "a rule needs \"allow\"");
        }
        if (allow == NULL || allow->kind != YAML_MAP) {
            found.admits_some = true;
            continue;
        }
        check_request(l, allow, &allow_table);
        found.admits_all = found.admits_all || is_everything(allow);
        found.admits_some = found.admits_some || !is_nothing(allow);
    }
    return found;
}

/* OpenShell takes no GraphQL rule that does not say which kind of operation it is about. */
static void check_operation(struct load *l, const struct yaml_node *n)
{
    static const char *const words[] = {"", "query", "mutation", "subscription", "*"};
    static const struct word_list list = {words, 5, true};
    struct span text;
    const struct yaml_node *type = yaml_map_get(n, "operation_type");
    if (load_get_text(n, "operation_type", &text)) {
        (void)load_get_word(l, n, "operation_type", &list);
    } else if (type == NULL || load_is_text(type)) {
        load_error(l, type == NULL ? n->pos : type->pos,
                   "write operation_type: query, mutation or subscription",
                   "with protocol: graphql this needs \"operation_type\"");
    }
}

static void check_operations(struct load *l, const struct yaml_node *n)
{
    const struct yaml_node *rules = load_get_list(n, "rules");
    const struct yaml_node *deny_rules = load_get_list(n, "deny_rules");
    const struct yaml_node *queries = load_get_map(n, "graphql_persisted_queries");
    for (const struct yaml_node *r = rules == NULL ? NULL : rules->first; r != NULL; r = r->next) {
        const struct yaml_node *allow = r->kind == YAML_MAP ? load_get_map(r, "allow") : NULL;
        if (allow != NULL) {
            check_operation(l, allow);
        }
    }
    for (const struct yaml_node *d = deny_rules == NULL ? NULL : deny_rules->first; d != NULL; d = d->next) {
        if (d->kind == YAML_MAP) {
            check_operation(l, d);
        }
    }
    for (const struct yaml_node *q = queries == NULL ? NULL : queries->first; q != NULL; q = q->next) {
        if (q->kind == YAML_MAP) {
            check_operation(l, q);
        }
    }
}

static void check_graphql_queries(struct load *l, const struct yaml_node *map)
{
    static const struct key_spec keys[] = {
        {"operation_type", KEY_TEXT}, {"operation_name", KEY_TEXT}, {"fields", KEY_TEXTS}};
    static const struct key_table table = KEY_TABLE("a persisted query", keys);
    for (const struct yaml_node *n = map == NULL ? NULL : map->first; n != NULL; n = n->next) {
        (void)load_check_map(l, n, &table);
    }
}

/* The maps inside an endpoint, each by its own table. */
static void check_stanzas(struct load *l, const struct yaml_node *n)
{
    static const struct key_spec json_rpc_keys[] = {{"max_body_bytes", KEY_U32}};
    static const struct key_table json_rpc_table = KEY_TABLE("\"json_rpc\"", json_rpc_keys);
    static const struct key_spec mcp_keys[] = {{"max_body_bytes", KEY_U32},
                                               {"strict_tool_names", KEY_BOOL},
                                               {"allow_all_known_mcp_methods", KEY_BOOL}};
    static const struct key_table mcp_table = KEY_TABLE("\"mcp\"", mcp_keys);
    static const struct key_spec binding_keys[] = {{"provider", KEY_TEXT}};
    static const struct key_table binding_table = KEY_TABLE("\"credential_binding\"", binding_keys);
    const struct yaml_node *json_rpc = load_get_map(n, "json_rpc");
    const struct yaml_node *mcp = load_get_map(n, "mcp");
    const struct yaml_node *binding = load_get_map(n, "credential_binding");
    check_graphql_queries(l, load_get_map(n, "graphql_persisted_queries"));
    if (json_rpc != NULL) {
        (void)load_check_map(l, json_rpc, &json_rpc_table);
    }
    if (mcp != NULL) {
        (void)load_check_map(l, mcp, &mcp_table);
    }
    if (binding != NULL) {
        (void)load_check_map(l, binding, &binding_table);
        if (yaml_map_get(binding, "provider") == NULL) {
            load_error(l, binding->pos, "add provider: NAME", "\"credential_binding\" needs \"provider\"");
        }
    }
}

static void check_words(struct load *l, const struct yaml_node *n)
{
    static const char *const query_words[] = {"", "deny", "allow_registered"};
    static const struct word_list queries = {query_words, 3, false};
    static const char *const signing_words[] = {"", "sigv4", "sigv4:body", "sigv4:no_body"};
    static const struct word_list signing = {signing_words, 4, false};
    struct span text;
    (void)load_get_word(l, n, "persisted_queries", &queries);
    if (load_get_word(l, n, "credential_signing", &signing) > 0) {
        if (!load_get_text(n, "signing_service", &text)) {
            load_error(l, yaml_map_get(n, "credential_signing")->pos, "add signing_service: NAME, as in s3",
                       "\"credential_signing\" needs \"signing_service\"");
        }
        if (load_get_bool(n, "request_body_credential_rewrite")) {
            load_error(l, yaml_map_get(n, "credential_signing")->pos, "remove one of the two",
                       "\"credential_signing\" and \"request_body_credential_rewrite\" exclude each other");
        }
    }
    if (load_get_text(n, "path", &text) && text.data[0] != '/' && !span_is_equal(text, SPAN_LIT("**"))) {
        load_error(l, yaml_map_get(n, "path")->pos, "write \"/**\" for every path",
                   "\"path\" must start with / or be **");
    }
}

/* "protocol: tcp" promises a plain stream: keys that only an inspecting proxy could honour contradict it. */
static void check_tcp(struct load *l, const struct yaml_node *n, const struct load_endpoint *e)
{
    static const char *const texts[] = {"access", "enforcement", "path", "persisted_queries"};
    static const char *const flags[] = {"allow_encoded_slash", "websocket_credential_rewrite",
                                        "request_body_credential_rewrite"};
    static const char *const others[] = {
        "rules", "deny_rules", "graphql_persisted_queries", "graphql_max_body_bytes", "json_rpc", "mcp"};
    static const char message[] = "\"%s\" has no meaning with protocol: tcp";
    static const char hint[] = "remove the key, or the protocol";
    struct span text;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (load_get_text(n, texts[i], &text)) {
            load_error(l, yaml_map_get(n, texts[i])->key_pos, hint, message, texts[i]);
        }
    }
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (load_get_bool(n, flags[i])) {
            load_error(l, yaml_map_get(n, flags[i])->key_pos, hint, message, flags[i]);
        }
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        const struct yaml_node *m = yaml_map_get(n, others[i]);
        bool is_set =
            m != NULL && (m->kind == YAML_SCALAR ? !span_is_equal(m->text, SPAN_LIT("0"))
                                                 : m->count > 0 || span_is_equal(m->key, SPAN_LIT("mcp")));
        if (is_set) {
            load_error(l, m->key_pos, hint, message, others[i]);
        }
    }
    if (e->is_broken) {
        return;
    }
    if (e->ep.host_kind == ENDPOINT_IP || e->ep.host_kind == ENDPOINT_HOSTLESS) {
        load_error(l, n->pos, "leave the protocol out", "protocol: tcp needs a host name");
    } else if (load_get_text(n, "host", &text) && text.data[text.len - 1] == '.') {
        load_error(l, yaml_map_get(n, "host")->pos, "remove the dot at the end",
                   "protocol: tcp needs a host name without a dot at the end");
    }
}

static bool is_l7(enum policy_protocol p)
{
    return p != PROTOCOL_NONE && p != PROTOCOL_TCP;
}

struct l7_parts {
    const struct yaml_node *rules, *deny_rules;
    struct rules_found found;
    bool has_access;
    bool allows_all_mcp;
};

/* What to write where only rules can say what is allowed. */
static const char *rpc_hint(enum policy_protocol protocol)
{
    return protocol == PROTOCOL_MCP
               ? "write rules: [{ allow: { tool: NAME } }], or mcp: { allow_all_known_mcp_methods: true }"
               : "write rules: [{ allow: { method: NAME } }], or \"*\" as the name for every method";
}

/* The combinations OpenShell refuses. */
static void check_combination(struct load *l, const struct yaml_node *n, const struct load_endpoint *e,
                              const struct l7_parts *p)
{
    enum policy_protocol protocol = e->ep.protocol;
    bool is_rpc = protocol == PROTOCOL_JSON_RPC || protocol == PROTOCOL_MCP;
    if (p->rules != NULL && p->has_access) {
        load_error(l, p->rules->key_pos, "keep one of the two",
                   "\"rules\" and \"access\" exclude each other");
    }
    if (is_rpc && p->has_access) {
        load_error(l, yaml_map_get(n, "access")->key_pos, rpc_hint(protocol),
                   "\"access\" has no meaning with this protocol");
    }
    if (is_l7(protocol) && p->rules == NULL && !p->has_access && !p->allows_all_mcp) {
        load_error(l, yaml_map_get(n, "protocol")->pos,
                   is_rpc ? rpc_hint(protocol)
                          : "add access: full, or rules; or remove the protocol for a plain tunnel",
                   "an endpoint with this protocol must say what it allows");
    }
    if (p->deny_rules != NULL && !is_l7(protocol)) {
        load_error(l, p->deny_rules->key_pos, "add a protocol, such as rest",
                   "\"deny_rules\" need a protocol");
    } else if (p->deny_rules != NULL && protocol != PROTOCOL_MCP && p->rules == NULL && !p->has_access) {
        load_error(l, p->deny_rules->key_pos, "add access: full, or rules",
                   "\"deny_rules\" need something that they take away from");
    }
    if (p->rules != NULL && !p->found.admits_some && !p->allows_all_mcp) {
        load_error(l, p->rules->key_pos,
                   "name what is allowed, as in allow: { method: GET, path: \"/**\" }, or write access: full",
                   "these rules allow nothing: no \"allow\" says a method, a path or what else is meant");
    }
    if (protocol != PROTOCOL_MCP && load_get_map(n, "mcp") != NULL) {
        load_error(l, yaml_map_get(n, "mcp")->key_pos, "write protocol: mcp, or remove the key",
                   "\"mcp\" has a meaning only with protocol: mcp");
    }
    if (protocol == PROTOCOL_MCP && !e->is_broken && e->ep.host_kind == ENDPOINT_HOSTLESS) {
        load_error(l, n->pos, "add host: NAME", "protocol: mcp needs a host");
    }
    if (protocol == PROTOCOL_SQL && e->ep.is_enforced) {
        load_error(l, yaml_map_get(n, "enforcement")->pos, "write enforcement: audit",
                   "protocol: sql cannot be enforced");
    }
}

static bool has_credential_keys(const struct yaml_node *n)
{
    struct span text;
    bool is_rewritten = load_get_bool(n, "websocket_credential_rewrite") ||
                        load_get_bool(n, "request_body_credential_rewrite");
    return is_rewritten || load_get_text(n, "credential_signing", &text) ||
           load_get_map(n, "credential_binding") != NULL;
}

static bool names_operation(const struct yaml_node *request)
{
    struct span text;
    return load_get_text(request, "operation_type", &text) ||
           load_get_text(request, "operation_name", &text) || load_get_list(request, "fields") != NULL;
}

/*
 * Does OpenShell judge GraphQL operations here? Then it refuses persisted queries that are not registered,
 * with access: full too. With protocol: websocket it does so where anything is said about operations. Rules
 * that take away are no matter: with them less than everything is admitted anyway.
 */
static bool judges_operations(const struct yaml_node *n, enum policy_protocol protocol)
{
    const struct yaml_node *queries = load_get_map(n, "graphql_persisted_queries");
    const struct yaml_node *rules = load_get_list(n, "rules");
    struct span mode;
    if (protocol != PROTOCOL_WEBSOCKET) {
        return protocol == PROTOCOL_GRAPHQL;
    }
    bool is_judged = load_get_text(n, "persisted_queries", &mode) || (queries != NULL && queries->count > 0);
    for (const struct yaml_node *r = rules == NULL ? NULL : rules->first; r != NULL; r = r->next) {
        is_judged = is_judged || names_operation(yaml_map_get(r, "allow"));
    }
    return is_judged;
}

/* Without an L7 protocol "path" has no effect. */
static bool is_path_bound(const struct yaml_node *n, const struct load_endpoint *e)
{
    struct span path;
    return is_l7(e->ep.protocol) && load_get_text(n, "path", &path) && !is_any_path(path);
}

void load_l7(struct load *l, const struct yaml_node *n, struct load_endpoint *e)
{
    struct span text;
    struct l7_parts parts = {
        .rules = load_get_list(n, "rules"),
        .deny_rules = load_get_list(n, "deny_rules"),
        .has_access = load_get_text(n, "access", &text), /* a misspelt one too: it was reported */
        .allows_all_mcp = e->ep.protocol == PROTOCOL_MCP &&
                          load_get_bool(load_get_map(n, "mcp"), "allow_all_known_mcp_methods"),
    };
    check_stanzas(l, n);
    check_words(l, n);
    bool admits_all = e->ep.access == ACCESS_FULL;
    parts.found = parts.rules != NULL ? load_rules(l, parts.rules) : (struct rules_found){false, false};
    if (parts.found.admits_all) {
        admits_all = e->ep.protocol != PROTOCOL_MCP && e->ep.protocol != PROTOCOL_JSON_RPC;
    }
    for (const struct yaml_node *d = parts.deny_rules == NULL ? NULL : parts.deny_rules->first; d != NULL;
         d = d->next) {
        check_request(l, d, &deny_table);
    }
    if (e->ep.protocol == PROTOCOL_TCP) {
        check_tcp(l, n, e);
    } else {
        check_combination(l, n, e, &parts);
    }
    if (e->ep.protocol == PROTOCOL_GRAPHQL) {
        check_operations(l, n);
    }
    e->ep.admits_less = is_l7(e->ep.protocol) &&
                        (!admits_all || parts.deny_rules != NULL || judges_operations(n, e->ep.protocol));
    e->ep.is_path_bound = is_path_bound(n, e);
    e->ep.has_credentials = has_credential_keys(n) && !load_get_bool(n, "allow_uninspected_credentials");
}

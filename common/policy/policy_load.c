/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/policy_load.h"

#include "common/policy/policy_parts.h"

#include <errno.h>
#include <stdlib.h>

static void load_binaries(struct load *l, const struct yaml_node *list, struct policy_rule *rule)
{
    static const struct key_spec keys[] = {{"path", KEY_TEXT}, {"harness", KEY_BOOL}};
    static const struct key_table table = {"an item of \"binaries\"", keys, sizeof keys / sizeof keys[0],
                                           false, "{ path: /usr/bin/node }"};
    rule->admits_any_binary = list == NULL;
    const char **paths = list == NULL ? NULL : load_alloc(l, l->out, list->count, sizeof(const char *));
    for (const struct yaml_node *n = paths == NULL ? NULL : list->first; n != NULL; n = n->next) {
        struct span path;
        if (!load_check_map(l, n, &table)) {
            continue;
        }
        if (load_get_text(n, "path", &path)) {
            paths[rule->binary_count++] = load_text_copy(l, l->out, path);
            rule->admits_any_binary = rule->admits_any_binary || span_is_equal(path, SPAN_LIT("/**"));
        } else if ((yaml_map_get(n, "path") == NULL && load_lacks(l, n, &table, "path")) ||
                   (yaml_map_get(n, "path") != NULL && load_is_text(yaml_map_get(n, "path")))) {
            load_error(l, n->pos, "write { path: /usr/bin/node }, or { path: \"/**\" } for any program",
                       "an item of \"binaries\" needs \"path\"");
        }
    }
    rule->binaries = paths;
}

/* What is broken was reported and is not kept: a text of nothing else must not cost more than its tree. */
static void load_endpoints(struct load *l, const struct yaml_node *list, struct load_rule *r)
{
    for (const struct yaml_node *n = list == NULL ? NULL : list->first; n != NULL; n = n->next) {
        struct load_endpoint read = {0};
        load_endpoint(l, n, &read);
        if (read.is_broken) {
            continue;
        }
        struct load_endpoint *e = load_alloc(l, l->scratch, 1, sizeof *e);
        if (e == NULL) {
            return;
        }
        *e = read;
        if (r->last == NULL) {
            r->first = e;
        } else {
            r->last->next = e;
        }
        r->last = e;
    }
}

static bool is_key_match(const struct htab_node *node, const void *key)
{
    const struct load_rule *r = HTAB_ENTRY(node, const struct load_rule, by_key);
    const struct span *wanted = key;
    return span_is_equal(r->node->key, *wanted);
}

/* Another rule of the same key, or NULL. The same rule in two files is fine, two rules of one name are not.
 */
static const struct load_rule *find_namesake(struct load *l, const struct yaml_node *n, uint64_t hash)
{
    const struct htab_node *found = htab_find(&l->rules_by_key, hash, is_key_match, &n->key);
    return found == NULL ? NULL : HTAB_ENTRY(found, const struct load_rule, by_key);
}

static void tell_namesake(struct load *l, const struct yaml_node *n, const struct load_rule *first)
{
    char quoted[DIAG_QUOTE_CAP];
    load_error(l, n->key_pos, "give one of the two another key, or make them the same",
               "rule %s is already in %s on line %u, and differs", diag_quote(n->key, quoted),
               l->texts[first->rule.pos.file].file, first->rule.pos.line);
}

static void load_rule(struct load *l, const struct yaml_node *n)
{
    static const struct key_spec keys[] = {
        {"name", KEY_TEXT}, {"endpoints", KEY_LIST}, {"binaries", KEY_LIST}};
    static const struct key_table table = {
        "a rule", keys, sizeof keys / sizeof keys[0], true,
        "{ endpoints: [{ host: api.example.com, port: 443 }], binaries: [{ path: \"/**\" }] }"};
    uint64_t hash = htab_hash(&l->rules_by_key, n->key);
    struct span name = n->key;
    const struct load_rule *namesake = find_namesake(l, n, hash);
    if (namesake != NULL && yaml_is_same_tree(namesake->node, n)) {
        return;
    }
    if (namesake != NULL) {
        tell_namesake(l, n, namesake);
    }
    if (!load_check_map(l, n, &table)) {
        return;
    }
    struct load_rule *r = load_alloc(l, l->scratch, 1, sizeof *r);
    if (r == NULL) {
        return;
    }
    r->node = n;
    r->rule.pos = load_pos(l, n->key_pos);
    r->rule.key = load_text_copy(l, l->out, n->key);
    (void)load_get_text(n, "name", &name);
    r->rule.name = load_text_copy(l, l->out, name);
    load_endpoints(l, load_get_list(n, "endpoints"), r);
    load_binaries(l, load_get_list(n, "binaries"), &r->rule);
    if (namesake != NULL) {
        return; /* its own errors are told in the same run; it is not kept */
    }
    htab_insert(&l->rules_by_key, &r->by_key, hash);
    if (l->last_rule == NULL) {
        l->first_rule = r;
    } else {
        l->last_rule->next = r;
    }
    l->last_rule = r;
}

/* What OpenShell enforces elsewhere and we only check: files, Landlock, the process. */
static void check_foreign(struct load *l, const struct yaml_node *root)
{
    static const struct key_spec file_keys[] = {
        {"include_workdir", KEY_BOOL}, {"read_only", KEY_TEXTS}, {"read_write", KEY_TEXTS}};
    static const struct key_spec landlock_keys[] = {{"compatibility", KEY_TEXT}};
    static const struct key_spec process_keys[] = {{"run_as_user", KEY_TEXT}, {"run_as_group", KEY_TEXT}};
    static const struct key_spec preset_keys[] = {{"name", KEY_TEXT}, {"description", KEY_TEXT}};
    static const struct {
        const char *key;
        struct key_table table;
    } sections[] = {
        {"filesystem_policy", KEY_TABLE("\"filesystem_policy\"", file_keys)},
        {"landlock", KEY_TABLE("\"landlock\"", landlock_keys)},
        {"process", KEY_TABLE("\"process\"", process_keys)},
        {"preset", KEY_TABLE("\"preset\"", preset_keys)},
    };
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++) {
        const struct yaml_node *n = load_get_map(root, sections[i].key);
        if (n != NULL) {
            (void)load_check_map(l, n, &sections[i].table);
        }
    }
}

static void check_version(struct load *l, const struct yaml_node *root)
{
    const struct yaml_node *version = yaml_map_get(root, "version");
    if (version == NULL) {
        if (yaml_map_get(root, "preset") == NULL) {
            load_error(l, root->pos, "begin the file with version: 1", "\"version\" is missing");
        }
        return;
    }
    bool is_one =
        version->kind == YAML_SCALAR && version->is_plain && span_is_equal(version->text, SPAN_LIT("1"));
    if (!is_one) {
        load_error(l, version->pos, "write version: 1", "\"version\" must be the number 1");
    }
}

static void load_document(struct load *l, const struct yaml_node *root)
{
    static const struct key_spec keys[] = {
        {"version", KEY_ANY},          {"filesystem_policy", KEY_MAP},
        {"landlock", KEY_MAP},         {"process", KEY_MAP},
        {"network_policies", KEY_MAP}, {"network_middlewares", KEY_MAP},
        {"preset", KEY_MAP},           {"egress", KEY_MAP},
    };
    static const struct key_table table = {
        "a policy", keys, sizeof keys / sizeof keys[0], false,
        "version: 1 on a line of its own, then network_policies: with the rules below it"};
    if (root->kind == YAML_NONE) {
        load_error(l, root->pos, "a policy that admits nothing is: version: 1", "the file is empty");
        return;
    }
    if (!load_check_map(l, root, &table)) {
        return;
    }
    check_version(l, root);
    check_foreign(l, root);
    const struct yaml_node *rules = load_get_map(root, "network_policies");
    const struct yaml_node *middlewares = load_get_map(root, "network_middlewares");
    const struct yaml_node *egress = load_get_map(root, "egress");
    for (const struct yaml_node *n = rules == NULL ? NULL : rules->first; n != NULL; n = n->next) {
        load_rule(l, n);
    }
    if (middlewares != NULL) {
        load_middlewares(l, middlewares);
    }
    if (egress != NULL) {
        load_egress(l, egress);
    }
}

static const char *protocol_why(const struct policy_endpoint *ep)
{
    if (ep->has_credentials) {
        return "it carries credentials that a proxy must fill in";
    }
    return ep->is_middleware ? "a middleware must see its requests" : "its rules are about requests";
}

static void warn_endpoint(struct load *l, const struct policy_endpoint *ep)
{
    if (ep->proxy == PROXY_CHAIN) {
        load_warning_on(l, DIAG_TOPIC_CHAINED, ep->pos, NULL,
                        "proxy: chain: this endpoint is carried only where tunneld has a --chain-proxy");
        return;
    }
    if (ep->requires_l7 && ep->proxy == PROXY_DIRECT) {
        load_warning(l, ep->pos, NULL, "proxy: direct: this endpoint is carried raw although %s",
                     protocol_why(ep));
        return;
    }
    if (ep->requires_l7) {
        load_warning_on(
            l, DIAG_TOPIC_L7_REFUSED, ep->pos,
            "proxy: direct, here or in an overlay, carries it raw all the same",
            "a tunnel cannot honour this endpoint, so without a --chain-proxy it is refused by default: %s",
            protocol_why(ep));
    }
}

/* An endpoint whose ports an overlay has split is still one to the reader, unless the overlay made the
 * difference. */
static bool is_told(const struct load_endpoint *before, const struct policy_endpoint *ep)
{
    return before != NULL && before->ep.pos.file == ep->pos.file && before->ep.pos.line == ep->pos.line &&
           before->ep.pos.col == ep->pos.col && before->ep.proxy == ep->proxy;
}

static void derive(struct load *l)
{
    for (struct load_rule *r = l->first_rule; r != NULL; r = r->next) {
        const struct load_endpoint *before = NULL;
        if (r->rule.binary_count == 0 && r->rule.admits_any_binary) {
            load_warning(l, r->rule.pos,
                         "name the programs, or write binaries: [{ path: \"/**\" }] to mean any",
                         "rule \"%s\" names no binaries and admits any program", r->rule.key);
        }
        for (struct load_endpoint *e = r->first; e != NULL; e = e->next) {
            struct policy_endpoint *ep = &e->ep;
            ep->requires_l7 = (ep->is_enforced && ep->admits_less) || ep->is_path_bound ||
                              ep->has_credentials || ep->is_middleware;
            if (!is_told(before, ep)) {
                warn_endpoint(l, ep);
            }
            before = e;
        }
    }
}

static int load_text(struct load *l, struct yaml_doc **doc)
{
    struct yaml_fault fault;
    int rc = yaml_doc_parse(l->texts[l->file].text, doc, &fault);
    if (rc == 0) {
        load_document(l, yaml_doc_root(*doc));
    } else if (rc != -ENOMEM) {
        load_error(l, fault.pos, fault.hint, "%s", fault.message);
    }
    return rc == -ENOMEM ? rc : 0;
}

static int load_all(struct load *l, struct yaml_doc **docs)
{
    size_t errors = l->diags->error_count;
    int rc = 0;
    for (size_t i = 0; i < l->text_count && rc == 0; i++) {
        l->file = (uint32_t)i;
        rc = load_text(l, &docs[i]);
    }
    if (rc != 0 || l->is_out_of_memory) {
        return -ENOMEM; /* what is there is incomplete: judge nothing by it */
    }
    load_check_bounds(l);
    load_apply_overlays(l);
    load_check_statics(l);
    load_select_middlewares(l);
    derive(l);
    for (size_t i = 0; i < l->text_count; i++) {
        yaml_doc_free(docs[i]); /* nobody looks at it any more, and what is laid out now takes as much */
        docs[i] = NULL;
    }
    if (l->diags->error_count == errors) {
        load_finish(l);
    }
    return l->is_out_of_memory ? -ENOMEM : 0;
}

static int load_init(struct load *l)
{
    l->out = arena_new();
    l->scratch = arena_new();
    if (l->out == NULL || l->scratch == NULL || htab_init(&l->rules_by_key, 64) != 0 ||
        policy_source_init(&l->source, l->texts, l->text_count) != 0) {
        return -ENOMEM;
    }
    l->rules = load_alloc(l, l->out, 1, sizeof *l->rules);
    if (l->rules == NULL) {
        return -ENOMEM;
    }
    l->rules->arena = l->out;
    tunnel_timers_unset(&l->rules->default_timers);
    return 0;
}

int policy_load(const struct policy_text *texts, size_t count, struct policy_rules **out,
                struct policy_diags *diags)
{
    struct load l = {.texts = texts, .text_count = count, .diags = diags};
    struct yaml_doc **docs = calloc(count + 1, sizeof(struct yaml_doc *));
    size_t errors = diags->error_count;
    *out = NULL;
    int rc = docs == NULL ? -ENOMEM : load_init(&l);
    if (rc == 0) {
        rc = load_all(&l, docs);
    }
    for (size_t i = 0; i < count && docs != NULL; i++) {
        yaml_doc_free(docs[i]);
    }
    free(docs);
    if (l.rules_by_key.buckets != NULL) {
        htab_fini(&l.rules_by_key);
    }
    policy_source_fini(&l.source);
    arena_free(l.scratch);
    if (rc == 0 && diags->error_count > errors) {
        rc = -EINVAL;
    }
    if (rc != 0) {
        arena_free(l.out);
        return rc;
    }
    *out = l.rules;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two looks at a document before anyone sees it. The tree: every key and value of the input is there, in
 * order, with the same text and type, and nothing else. The rules: the loader understands both alike.
 */
#include "common/policy/policy_export_parts.h"
#include "common/policy/yaml_scalar.h"

#include <errno.h>
#include <stdlib.h>

#define MAX_DEPTH 18 /* yaml_doc refuses more than 16 */

static const struct yaml_node *skip_dropped(const struct yaml_node *n, enum yaml_kind kind,
                                            enum export_place place)
{
    while (n != NULL && kind == YAML_MAP && export_is_dropped(place, n)) {
        n = n->next;
    }
    return n;
}

/* How a text is quoted matters only where it makes it something else than a text. */
static bool is_same_node(const struct yaml_node *a, const struct yaml_node *b)
{
    return a != NULL && b != NULL && a->kind == b->kind && span_is_equal(a->key, b->key) &&
           span_is_equal(a->text, b->text) &&
           (a->kind != YAML_SCALAR || yaml_scalar_type(a) == yaml_scalar_type(b));
}

struct frame {
    const struct yaml_node *a, *b;
    enum yaml_kind kind;
    enum export_place place; /* of the collection that a is in */
};

/* Is b what a is without the keys that are dropped? The stack stands in for recursion. */
static bool is_reduced(const struct yaml_node *a, const struct yaml_node *b, enum export_place place)
{
    struct frame stack[MAX_DEPTH];
    size_t depth = 0;
    if (!is_same_node(a, b)) {
        return false;
    }
    stack[depth++] = (struct frame){a->first, b->first, a->kind, place};
    while (depth > 0) {
        struct frame *top = &stack[depth - 1];
        const struct yaml_node *x = skip_dropped(top->a, top->kind, top->place);
        const struct yaml_node *y = top->b;
        if (x == NULL || y == NULL) {
            if (x != y) {
                return false;
            }
            depth--;
            continue;
        }
        if (!is_same_node(x, y) || depth == MAX_DEPTH) {
            return false;
        }
        top->a = x->next;
        top->b = y->next;
        stack[depth++] = (struct frame){x->first, y->first, x->kind, export_child_place(top->place, x)};
    }
    return true;
}

/* The base's entries, then those of further files. */
static bool is_merged(const struct export_section *section, const struct yaml_node *found,
                      enum export_place place)
{
    const struct yaml_node *whole = section->whole.node;
    const struct yaml_node *y = found->first;
    if (found->kind != YAML_MAP) {
        return false;
    }
    for (const struct yaml_node *x = whole == NULL ? NULL : whole->first; x != NULL; x = x->next) {
        if (y == NULL || !is_reduced(x, y, place)) {
            return false;
        }
        y = y->next;
    }
    for (size_t i = 0; i < section->added_count; i++) {
        if (y == NULL || !is_reduced(section->added[i].node, y, place)) {
            return false;
        }
        y = y->next;
    }
    return y == NULL;
}

const char *export_verify_tree(const struct exporter *e, const struct yaml_node *root)
{
    const struct yaml_node *version = yaml_map_get(root, "version");
    size_t keys = 1;
    if (version == NULL || version->kind != YAML_SCALAR || yaml_scalar_type(version) != SCALAR_INT) {
        return "version";
    }
    for (int i = EXPORT_FILESYSTEM; i < EXPORT_SECTION_COUNT; i++) {
        enum export_section_id id = (enum export_section_id)i;
        const struct export_section *section = &e->sections[id];
        bool is_expected = section->whole.node != NULL || section->added_count > 0;
        const struct yaml_node *found = yaml_map_get(root, export_section_key(id));
        bool is_right = is_expected == (found != NULL);
        if (found != NULL && (id == EXPORT_POLICIES || id == EXPORT_MIDDLEWARES)) {
            is_right =
                is_right && is_merged(section, found, id == EXPORT_POLICIES ? EXPORT_RULE : EXPORT_OTHER);
        } else if (found != NULL && is_right) {
            is_right = is_reduced(section->whole.node, found, EXPORT_OTHER);
        }
        if (!is_right) {
            return export_section_key(id);
        }
        keys += is_expected;
    }
    return root->count == keys ? NULL : "the keys of the document";
}

static int compare_rules(const void *a, const void *b)
{
    const struct policy_rule *const *x = a;
    const struct policy_rule *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

static const struct policy_rule **sorted(const struct policy_rules *r)
{
    const struct policy_rule **rules = calloc(r->rule_count + 1, sizeof *rules);
    for (size_t i = 0; i < r->rule_count && rules != NULL; i++) {
        rules[i] = &r->rules[i];
    }
    if (rules != NULL && r->rule_count > 1) {
        qsort(rules, r->rule_count, sizeof *rules, compare_rules);
    }
    return rules;
}

static bool is_same_host(const struct policy_endpoint *a, const struct policy_endpoint *b)
{
    if (a->host_kind != b->host_kind) {
        return false;
    }
    switch (a->host_kind) {
    case ENDPOINT_HOSTLESS:
        return true;
    case ENDPOINT_IP:
        return ip_is_equal(&a->ip, &b->ip);
    case ENDPOINT_EXACT:
    case ENDPOINT_WILDCARD:
        break;
    }
    return host_name_is_equal(&a->pattern.text, &b->pattern.text);
}

static bool is_same_ips(const struct policy_endpoint *a, const struct policy_endpoint *b)
{
    bool is_same = a->allowed_ip_count == b->allowed_ip_count;
    for (size_t i = 0; is_same && i < a->allowed_ip_count; i++) {
        is_same = ip_is_equal(&a->allowed_ips[i].base, &b->allowed_ips[i].base) &&
                  a->allowed_ips[i].bits == b->allowed_ips[i].bits;
    }
    return is_same;
}

static bool is_same_endpoint(const struct policy_endpoint *a, const struct policy_endpoint *b)
{
    return is_same_host(a, b) && is_same_ips(a, b) && a->protocol == b->protocol && a->tls == b->tls &&
           a->access == b->access && a->is_enforced == b->is_enforced && a->admits_less == b->admits_less &&
           a->has_credentials == b->has_credentials && a->is_middleware == b->is_middleware &&
           a->is_path_bound == b->is_path_bound && a->requires_l7 == b->requires_l7;
}

static bool is_pure(const struct policy_endpoint *e)
{
    const struct tunnel_timers *t = &e->timers;
    return e->proxy == PROXY_UNSET && e->keepalive.mode == KEEPALIVE_UNSET && t->connect_ms == TIMER_UNSET &&
           t->idle_ms == TIMER_UNSET && t->lifetime_ms == TIMER_UNSET && t->half_close_ms == TIMER_UNSET &&
           t->user_ms == TIMER_UNSET && !e->dns.is_set;
}

static bool is_same_pos(const struct policy_pos *a, const struct policy_pos *b)
{
    return a->file == b->file && a->line == b->line && a->col == b->col;
}

/*
 * An overlay may have split an endpoint of the input by its ports: the pieces follow one another and have the
 * place of the whole. Each port of the output must be in exactly one of them.
 */
static bool are_pieces(const struct policy_endpoint *pieces, size_t count,
                       const struct policy_endpoint *whole)
{
    size_t ports = 0;
    for (size_t i = 0; i < count; i++) {
        if (!is_same_endpoint(&pieces[i], whole)) {
            return false;
        }
        for (size_t k = 0; k < pieces[i].port_count; k++) {
            if (!policy_has_port(whole->ports, whole->port_count, pieces[i].ports[k])) {
                return false;
            }
        }
        ports += pieces[i].port_count;
    }
    return ports == whole->port_count;
}

static bool is_same_rule(const struct policy_rule *a, const struct policy_rule *b)
{
    bool is_same = strcmp(a->key, b->key) == 0 && strcmp(a->name, b->name) == 0 &&
                   a->binary_count == b->binary_count && a->admits_any_binary == b->admits_any_binary;
    for (size_t i = 0; is_same && i < a->binary_count; i++) {
        is_same = strcmp(a->binaries[i], b->binaries[i]) == 0;
    }
    size_t i = 0;
    size_t k = 0;
    while (is_same && i < a->endpoint_count && k < b->endpoint_count) {
        size_t first = i++;
        while (i < a->endpoint_count && is_same_pos(&a->endpoints[i].pos, &a->endpoints[first].pos)) {
            i++;
        }
        is_same = are_pieces(&a->endpoints[first], i - first, &b->endpoints[k]) && is_pure(&b->endpoints[k]);
        k++;
    }
    return is_same && i == a->endpoint_count && k == b->endpoint_count;
}

int export_verify_rules(const struct policy_rules *before, const struct policy_rules *after,
                        const char **what)
{
    const struct policy_rule **a = sorted(before);
    const struct policy_rule **b = sorted(after);
    bool is_out_of_memory = a == NULL || b == NULL;
    *what = before->rule_count == after->rule_count ? NULL : "the number of rules";
    for (size_t i = 0; !is_out_of_memory && *what == NULL && i < before->rule_count; i++) {
        *what = is_same_rule(a[i], b[i]) ? NULL : "a rule";
    }
    if (*what == NULL && (after->host_count > 0 || after->never_count > 0 ||
                          after->default_keepalive.mode != KEEPALIVE_UNSET)) {
        *what = "egress";
    }
    free(a);
    free(b);
    return is_out_of_memory ? -ENOMEM : 0;
}

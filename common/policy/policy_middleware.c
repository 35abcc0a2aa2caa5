/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Middlewares are OpenShell's: code that sees requests. A tunnel shows it nothing, so an endpoint that one
 * may select requires L7. Whether a selector meets a wildcard is answered on the safe side: when in doubt, it
 * does.
 */
#include "common/policy/policy_parts.h"

#define MAX_MIDDLEWARES 10
#define MAX_PATTERNS 32
#define MAX_LABELS 128

struct labels {
    struct span at[MAX_LABELS];
    size_t count;
};

/* False if there are more than fit: such a pattern matches no name. */
static bool split(struct span text, struct labels *out)
{
    out->count = 0;
    for (;;) {
        if (out->count == MAX_LABELS) {
            return false;
        }
        size_t dot = span_find(text, '.');
        out->at[out->count++] = span_sub(text, 0, dot);
        if (dot == text.len) {
            return true;
        }
        text = span_sub(text, dot + 1, text.len);
    }
}

static bool is_glob(struct span label)
{
    return span_find(label, '*') < label.len || span_find(label, '?') < label.len ||
           span_find(label, '[') < label.len;
}

static bool is_recursive(struct span label)
{
    return span_is_equal(label, SPAN_LIT("**"));
}

/* May some label match both? Two globs: yes, when in doubt. A glob and a word: their literal ends must fit.
 */
static bool may_labels_meet(struct span a, struct span b)
{
    if (!is_glob(a) && !is_glob(b)) {
        return span_is_equal_nocase(a, b);
    }
    if (is_glob(a) && is_glob(b)) {
        return true;
    }
    struct span glob = is_glob(a) ? a : b;
    struct span word = is_glob(a) ? b : a;
    if (span_find(glob, '?') < glob.len || span_find(glob, '[') < glob.len) {
        return true;
    }
    size_t head = span_find(glob, '*');
    size_t tail = 0;
    while (tail < glob.len && glob.data[glob.len - 1 - tail] != '*') {
        tail++;
    }
    return word.len >= head + tail &&
           span_is_equal_nocase(span_sub(glob, 0, head), span_sub(word, 0, head)) &&
           span_is_equal_nocase(span_sub(glob, glob.len - tail, tail), span_sub(word, word.len - tail, tail));
}

/* Two names never meet if their last labels are words and differ: what most pairs come to, at little cost. */
static bool have_other_ends(struct span a, struct span b)
{
    size_t i = a.len;
    size_t j = b.len;
    while (i > 0 && j > 0 && ascii_lower(a.data[i - 1]) == ascii_lower(b.data[j - 1])) {
        i--;
        j--;
    }
    /* the label in which they differ must be free of globs in both, and so must what lies behind it */
    while (i > 0 && a.data[i - 1] != '.') {
        i--;
    }
    while (j > 0 && b.data[j - 1] != '.') {
        j--;
    }
    struct span end_a = span_sub(a, i, a.len);
    struct span end_b = span_sub(b, j, b.len);
    return !is_glob(end_a) && !is_glob(end_b) && !span_is_equal_nocase(end_a, end_b);
}

/* May some name match both patterns? reach[j]: the labels of a so far and the first j of b can be the same.
 */
static bool may_meet(struct span text_a, struct span text_b)
{
    struct labels a;
    struct labels b;
    if (have_other_ends(text_a, text_b) || !split(text_a, &a) || !split(text_b, &b)) {
        return false;
    }
    /*
     * step (i, j): label i of a against label j of b. A "**" stays while the other side moves on, and each
     * label of a name is taken by exactly one label of either pattern.
     */
    bool reach[MAX_LABELS + 1][2] = {{false}};
    reach[0][0] = true;
    for (size_t i = 0; i <= a.count; i++) {
        size_t now = i % 2;
        size_t then = 1 - now;
        for (size_t j = 0; j <= b.count; j++) {
            reach[j][then] = false;
        }
        for (size_t j = 0; j <= b.count; j++) {
            if (!reach[j][now] || i == a.count || j == b.count) {
                continue;
            }
            bool is_a_recursive = is_recursive(a.at[i]);
            bool is_b_recursive = is_recursive(b.at[j]);
            if (is_a_recursive || is_b_recursive || may_labels_meet(a.at[i], b.at[j])) {
                reach[j + 1][then] = true;
                reach[j + 1][now] = reach[j + 1][now] || is_a_recursive;
                reach[j][then] = reach[j][then] || is_b_recursive;
            }
        }
        if (i == a.count) {
            return reach[b.count][now];
        }
    }
    return false;
}

static struct span endpoint_text(const struct policy_endpoint *ep, char ip[IP_TEXT_CAP])
{
    return ep->host_kind == ENDPOINT_IP ? span_str(ip_text(&ep->ip, ip)) : host_name_span(&ep->pattern.text);
}

/* An exclusion counts only where it surely covers everything that the inclusion selects of the endpoint. */
static bool is_excluded(const struct load_selector *s, struct span include, struct span host)
{
    struct host_name name;
    bool is_name = host_name_parse(host, &name) == HOST_FAULT_NONE;
    for (const struct yaml_node *n = s->exclude == NULL ? NULL : s->exclude->first; n != NULL; n = n->next) {
        struct host_pattern p;
        enum host_fault why;
        bool is_pattern = host_pattern_parse(n->text, &p, &why) == PATTERN_FAULT_NONE;
        if (is_recursive(n->text) || span_is_equal_nocase(n->text, include) ||
            span_is_equal_nocase(n->text, host) ||
            (is_name && is_pattern && host_pattern_matches(&p, &name))) {
            return true;
        }
    }
    return false;
}

static bool is_selected(const struct load_selector *s, const struct policy_endpoint *ep)
{
    if (ep->host_kind == ENDPOINT_HOSTLESS) {
        return true; /* it admits hosts that nobody has named: any of them may be selected */
    }
    char ip[IP_TEXT_CAP];
    struct span host = endpoint_text(ep, ip);
    for (const struct yaml_node *n = s->include->first; n != NULL; n = n->next) {
        if (may_meet(n->text, host) && !is_excluded(s, n->text, host)) {
            return true;
        }
    }
    return false;
}

void load_select_middlewares(struct load *l)
{
    for (struct load_rule *r = l->selectors == NULL ? NULL : l->first_rule; r != NULL; r = r->next) {
        for (struct load_endpoint *e = r->first; e != NULL; e = e->next) {
            for (const struct load_selector *s = l->selectors; s != NULL && !e->ep.is_middleware;
                 s = s->next) {
                e->ep.is_middleware = is_selected(s, &e->ep);
            }
        }
    }
}

static bool check_patterns(struct load *l, const struct yaml_node *list)
{
    bool is_right = true;
    for (const struct yaml_node *n = list == NULL ? NULL : list->first; n != NULL; n = n->next) {
        char quoted[DIAG_QUOTE_CAP];
        struct labels labels;
        if (!load_is_text(n)) {
            is_right = false; /* reported as a wrong type */
            continue;
        }
        bool is_bad = n->text.len == 0 || !split(n->text, &labels);
        for (size_t i = 0; i < n->text.len; i++) {
            uint8_t c = n->text.data[i];
            is_bad = is_bad || c <= ' ' || c == '{' || c == '}';
        }
        for (size_t i = 0; !is_bad && i < labels.count; i++) {
            is_bad = labels.at[i].len == 0;
        }
        if (is_bad) {
            load_error(l, n->pos, "write a host, or a pattern such as *.example.com",
                       "%s is not a host pattern", diag_quote(n->text, quoted));
            is_right = false;
        }
    }
    return is_right;
}

static void load_selector(struct load *l, const struct yaml_node *n)
{
    static const struct key_spec keys[] = {{"include", KEY_TEXTS}, {"exclude", KEY_TEXTS}};
    static const struct key_table table = KEY_TABLE("a middleware's \"endpoints\"", keys);
    if (!load_check_map(l, n, &table)) {
        return;
    }
    const struct yaml_node *include = load_get_list(n, "include");
    const struct yaml_node *exclude = load_get_list(n, "exclude");
    if (include == NULL) {
        load_error(l, n->pos, "add include: [HOST]", "a middleware's \"endpoints\" need \"include\"");
        return;
    }
    if (include->count + (exclude == NULL ? 0 : exclude->count) > MAX_PATTERNS) {
        load_error(l, n->pos, "write fewer, broader patterns, or a second middleware",
                   "a middleware can have at most %d host patterns", MAX_PATTERNS);
        return;
    }
    bool is_right = check_patterns(l, include);
    if (!check_patterns(l, exclude) || !is_right) {
        return;
    }
    struct load_selector *s = load_alloc(l, l->scratch, 1, sizeof *s);
    if (s != NULL) {
        *s = (struct load_selector){.include = include, .exclude = exclude, .next = l->selectors};
        l->selectors = s;
    }
}

void load_middlewares(struct load *l, const struct yaml_node *n)
{
    static const struct key_spec keys[] = {
        {"name", KEY_TEXT},  {"middleware", KEY_TEXT}, {"order", KEY_I32},
        {"config", KEY_MAP}, {"on_error", KEY_TEXT},   {"endpoints", KEY_MAP},
    };
    static const struct key_table table = KEY_TABLE("a middleware", keys);
    static const char *const words[] = {"", "fail_closed", "fail_open"};
    static const struct word_list on_error = {words, 3, false};
    for (const struct yaml_node *m = n->first; m != NULL; m = m->next) {
        if (!load_check_map(l, m, &table)) {
            continue;
        }
        struct span text;
        const struct yaml_node *endpoints = load_get_map(m, "endpoints");
        (void)load_get_word(l, m, "on_error", &on_error);
        if (++l->selector_count > MAX_MIDDLEWARES) {
            load_error(l, m->key_pos, "remove those behind the tenth, or join some",
                       "a policy can have at most %d middlewares", MAX_MIDDLEWARES);
            return;
        }
        if (yaml_map_get(m, "middleware") == NULL ||
            (load_is_text(yaml_map_get(m, "middleware")) && !load_get_text(m, "middleware", &text))) {
            load_error(l, m->key_pos, "add middleware: NAME", "a middleware needs \"middleware\"");
        }
        if (endpoints != NULL) {
            load_selector(l, endpoints);
        } else if (yaml_map_get(m, "endpoints") == NULL) {
            load_error(l, m->key_pos, "add endpoints: { include: [HOST] }",
                       "a middleware needs \"endpoints\"");
        }
    }
}

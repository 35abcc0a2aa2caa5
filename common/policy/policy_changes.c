/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/policy_changes.h"

#include "common/base/buf.h"

#include <errno.h>
#include <stdlib.h>

#define MORE_CAP 32 /* " and N more" */
#define PORTS_SHOWN 4
#define WORD_CAP 512 /* the longest host, its ports and what differs */

struct finder {
    struct policy_changes *out;
    size_t limit;
    struct policy_change now; /* being written */
    struct wbuf detail;       /* its detail */
    size_t left_out;          /* words that did not fit */
    bool is_different;
};

/* ---- pairs ---- */

struct list {
    const void *items;
    size_t count;
};

typedef int compare_fn(const void *a, const void *b); /* two items */
/* One of both lists with the same identity, or one of one list and NULL. 0 or -errno. */
typedef int pair_fn(struct finder *f, const void *former, const void *current);

struct pairing {
    size_t size; /* of an item */
    compare_fn *compare;
    pair_fn *visit;
};

static int compare_pointers(const void *a, const void *b, void *compare)
{
    const struct pairing *how = compare;
    const void *const *x = a;
    const void *const *y = b;
    return how->compare(*x, *y);
}

static const void **sorted(const struct list *list, const struct pairing *how)
{
    const void **items = malloc((list->count + 1) * sizeof(*items));
    if (items != NULL) {
        for (size_t i = 0; i < list->count; i++) {
            items[i] = (const char *)list->items + i * how->size;
        }
        qsort_r(items, list->count, sizeof(*items), compare_pointers, (void *)(uintptr_t)how);
    }
    return items;
}

/* Visits what both lists hold, in order. */
static int pair(struct finder *f, struct list former, struct list current, const struct pairing *how)
{
    const void **a = sorted(&former, how);
    const void **b = sorted(&current, how);
    int rc = a == NULL || b == NULL ? -ENOMEM : 0;
    for (size_t i = 0, k = 0; rc == 0 && (i < former.count || k < current.count);) {
        int order = i == former.count ? 1 : k == current.count ? -1 : how->compare(a[i], b[k]);
        rc = how->visit(f, order <= 0 ? a[i] : NULL, order >= 0 ? b[k] : NULL);
        i += order <= 0;
        k += order >= 0;
    }
    free(a);
    free(b);
    return rc;
}

/* ---- words ---- */

static void begin(struct finder *f, const char *key)
{
    f->now.key = key;
    f->detail = wbuf_make(f->now.detail, sizeof(f->now.detail) - MORE_CAP);
    f->left_out = 0;
    f->is_different = false;
}

static void add_word(struct finder *f, struct span word)
{
    f->is_different = true;
    const char *space = f->detail.len > 0 ? " " : "";
    if (f->left_out > 0 || f->detail.len + 1 + word.len >= f->detail.cap) {
        f->left_out++;
        return;
    }
    wbuf_str(&f->detail, space);
    wbuf_put(&f->detail, word);
}

static void add_text(struct finder *f, const char *text)
{
    add_word(f, span_str(text));
}

static void finish(struct finder *f, enum policy_change_kind kind)
{
    struct wbuf *w = &f->detail;
    if (f->out->count >= f->limit) {
        return;
    }
    w->cap = sizeof(f->now.detail);
    if (f->left_out > 0) {
        wbuf_printf(w, "%s%zu more", w->len > 0 ? " and " : "", f->left_out);
    }
    f->now.detail[w->len] = '\0';
    f->now.kind = kind;
    f->out->items[f->out->count++] = f->now;
}

/* '+', '-' or '~' */
static char sign_of(const void *former, const void *current)
{
    return former == NULL ? '+' : current == NULL ? '-' : '~';
}

/* ---- endpoints ---- */

static int compare_numbers(size_t a, size_t b)
{
    return (a > b) - (a < b);
}

static int compare_prefixes(const struct ip_prefix *a, const struct ip_prefix *b)
{
    int order = ip_compare(&a->base, &b->base);
    return order != 0 ? order : compare_numbers(a->bits, b->bits);
}

static int compare_allowed(const struct policy_endpoint *a, const struct policy_endpoint *b)
{
    int order = compare_numbers(a->allowed_ip_count, b->allowed_ip_count);
    for (size_t i = 0; order == 0 && i < a->allowed_ip_count; i++) {
        order = compare_prefixes(&a->allowed_ips[i], &b->allowed_ips[i]);
    }
    return order;
}

static int compare_ports(const struct policy_endpoint *a, const struct policy_endpoint *b)
{
    int order = compare_numbers(a->port_count, b->port_count);
    for (size_t i = 0; order == 0 && i < a->port_count; i++) {
        order = compare_numbers(a->ports[i], b->ports[i]);
    }
    return order;
}

static int compare_hosts(const struct policy_endpoint *a, const struct policy_endpoint *b)
{
    int order = compare_numbers(a->host_kind, b->host_kind);
    if (order != 0) {
        return order;
    }
    switch (a->host_kind) {
    case ENDPOINT_HOSTLESS:
        return compare_allowed(a, b);
    case ENDPOINT_IP:
        return ip_compare(&a->ip, &b->ip);
    case ENDPOINT_EXACT:
    case ENDPOINT_WILDCARD:
        return strcmp(a->pattern.text.text, b->pattern.text.text);
    }
    return 0;
}

/* The same host and ports are the same endpoint; everything else is what may differ in it. */
static int compare_endpoints(const void *a, const void *b)
{
    int order = compare_hosts(a, b);
    return order != 0 ? order : compare_ports(a, b);
}

static void put_host(struct wbuf *w, const struct policy_endpoint *ep)
{
    char text[IP_TEXT_CAP];
    switch (ep->host_kind) {
    case ENDPOINT_HOSTLESS:
        for (size_t i = 0; i < ep->allowed_ip_count && i < 2; i++) {
            wbuf_printf(w, "%s%s/%u", i == 0 ? "" : ",", ip_text(&ep->allowed_ips[i].base, text),
                        ep->allowed_ips[i].bits);
        }
        if (ep->allowed_ip_count > 2) {
            wbuf_str(w, ",...");
        }
        break;
    case ENDPOINT_IP:
        wbuf_printf(w, ep->ip.family == IP_V6 ? "[%s]" : "%s", ip_text(&ep->ip, text));
        break;
    case ENDPOINT_EXACT:
    case ENDPOINT_WILDCARD:
        wbuf_put(w, host_name_span(&ep->pattern.text));
        break;
    }
}

static void put_endpoint(struct wbuf *w, const struct policy_endpoint *ep)
{
    put_host(w, ep);
    for (size_t i = 0; i < ep->port_count && i < PORTS_SHOWN; i++) {
        wbuf_printf(w, "%c%u", i == 0 ? ':' : ',', ep->ports[i]);
    }
    if (ep->port_count > PORTS_SHOWN) {
        wbuf_str(w, ",...");
    }
}

/* Writes name into the list in brackets if it is_different. */
static void put_aspect(struct wbuf *w, bool *is_first, const char *name, bool is_different)
{
    if (is_different) {
        wbuf_str(w, *is_first ? "(" : ",");
        wbuf_str(w, name);
        *is_first = false;
    }
}

static bool is_same_keepalive(const struct tunnel_keepalive *a, const struct tunnel_keepalive *b)
{
    return a->mode == b->mode && a->idle_s == b->idle_s && a->interval_s == b->interval_s &&
           a->probes == b->probes;
}

static void put_timers(struct wbuf *w, bool *is_first, const struct tunnel_timers *a,
                       const struct tunnel_timers *b)
{
    put_aspect(w, is_first, "connect", a->connect_ms != b->connect_ms);
    put_aspect(w, is_first, "idle", a->idle_ms != b->idle_ms);
    put_aspect(w, is_first, "lifetime", a->lifetime_ms != b->lifetime_ms);
    put_aspect(w, is_first, "half_close", a->half_close_ms != b->half_close_ms);
    put_aspect(w, is_first, "user", a->user_ms != b->user_ms);
}

/* True if anything was written. */
static bool put_aspects(struct wbuf *w, const struct policy_endpoint *a, const struct policy_endpoint *b)
{
    bool is_first = true;
    put_aspect(w, &is_first, "allowed_ips", compare_allowed(a, b) != 0);
    put_aspect(w, &is_first, "protocol", a->protocol != b->protocol);
    put_aspect(w, &is_first, "tls", a->tls != b->tls);
    put_aspect(w, &is_first, "access", a->access != b->access);
    put_aspect(w, &is_first, "enforcement", a->is_enforced != b->is_enforced);
    put_aspect(w, &is_first, "rules", a->admits_less != b->admits_less);
    put_aspect(w, &is_first, "credentials", a->has_credentials != b->has_credentials);
    put_aspect(w, &is_first, "middleware", a->is_middleware != b->is_middleware);
    put_aspect(w, &is_first, "path", a->is_path_bound != b->is_path_bound);
    put_aspect(w, &is_first, "proxy", a->proxy != b->proxy);
    put_timers(w, &is_first, &a->timers, &b->timers);
    put_aspect(w, &is_first, "keepalive", !is_same_keepalive(&a->keepalive, &b->keepalive));
    put_aspect(w, &is_first, "dns", a->dns.types != b->dns.types);
    if (!is_first) {
        wbuf_str(w, ")");
    }
    return !is_first;
}

static int visit_endpoint(struct finder *f, const void *former, const void *current)
{
    uint8_t bytes[WORD_CAP];
    struct wbuf w = wbuf_make(bytes, sizeof(bytes));
    char sign = sign_of(former, current);
    wbuf_printf(&w, "%c", sign);
    put_endpoint(&w, former != NULL ? former : current);
    if (sign != '~' || put_aspects(&w, former, current)) {
        add_word(f, wbuf_span(&w));
    }
    return 0;
}

/* ---- rules ---- */

static int compare_strings(const void *a, const void *b)
{
    const char *const *x = a;
    const char *const *y = b;
    return strcmp(*x, *y);
}

static int visit_binary(struct finder *f, const void *former, const void *current)
{
    if (former != NULL && current != NULL) {
        return 0;
    }
    const char *const *path = former != NULL ? former : current;
    uint8_t bytes[WORD_CAP];
    struct wbuf w = wbuf_make(bytes, sizeof(bytes));
    wbuf_printf(&w, "%cbinary:", sign_of(former, current));
    wbuf_str(&w, *path);
    add_word(f, wbuf_span(&w)); /* a path that is too long for it is left out, not the change */
    return 0;
}

static int compare_rules(const void *a, const void *b)
{
    const struct policy_rule *x = a;
    const struct policy_rule *y = b;
    return strcmp(x->key, y->key);
}

static int visit_rule(struct finder *f, const void *former, const void *current)
{
    static const struct policy_rule none = {.name = ""};
    static const struct pairing endpoints = {
        .size = sizeof(struct policy_endpoint), .compare = compare_endpoints, .visit = visit_endpoint};
    static const struct pairing binaries = {
        .size = sizeof(const char *), .compare = compare_strings, .visit = visit_binary};
    const struct policy_rule *a = former != NULL ? former : &none;
    const struct policy_rule *b = current != NULL ? current : &none;
    begin(f, former != NULL ? a->key : b->key);
    int rc = pair(f, (struct list){a->endpoints, a->endpoint_count},
                  (struct list){b->endpoints, b->endpoint_count}, &endpoints);
    if (rc == 0) {
        rc = pair(f, (struct list){a->binaries, a->binary_count}, (struct list){b->binaries, b->binary_count},
                  &binaries);
    }
    if (rc != 0) {
        return rc;
    }
    if (former == NULL) {
        f->out->added++;
        finish(f, POLICY_RULE_ADDED);
    } else if (current == NULL) {
        f->out->removed++;
        finish(f, POLICY_RULE_REMOVED);
    } else {
        if (strcmp(a->name, b->name) != 0) {
            add_text(f, "name");
        }
        if (f->is_different) {
            f->out->changed++;
            finish(f, POLICY_RULE_CHANGED);
        }
    }
    return 0;
}

/* ---- egress ---- */

static void finish_egress(struct finder *f)
{
    if (f->is_different) {
        f->out->egress_changed++;
        finish(f, POLICY_EGRESS_CHANGED);
    }
}

static void compare_defaults(struct finder *f, const struct policy_rules *a, const struct policy_rules *b)
{
    uint8_t bytes[WORD_CAP];
    struct wbuf w = wbuf_make(bytes, sizeof(bytes));
    bool is_first = true;
    begin(f, "defaults");
    put_timers(&w, &is_first, &a->default_timers, &b->default_timers);
    put_aspect(&w, &is_first, "keepalive", !is_same_keepalive(&a->default_keepalive, &b->default_keepalive));
    if (!is_first) {
        struct span names = wbuf_span(&w);
        add_word(f, span_make(names.data + 1, names.len - 1)); /* without the bracket */
    }
    finish_egress(f);
}

static int compare_static_hosts(const void *a, const void *b)
{
    const struct policy_host *x = a;
    const struct policy_host *y = b;
    return strcmp(x->name.text, y->name.text);
}

static bool is_same_addrs(const struct policy_host *a, const struct policy_host *b)
{
    bool is_same = a->addr_count == b->addr_count;
    for (size_t i = 0; is_same && i < a->addr_count; i++) {
        is_same = ip_compare(&a->addrs[i], &b->addrs[i]) == 0;
    }
    return is_same;
}

static int visit_static_host(struct finder *f, const void *former, const void *current)
{
    if (former != NULL && current != NULL && is_same_addrs(former, current)) {
        return 0;
    }
    const struct policy_host *h = former != NULL ? former : current;
    uint8_t bytes[WORD_CAP];
    struct wbuf w = wbuf_make(bytes, sizeof(bytes));
    wbuf_printf(&w, "%c", sign_of(former, current));
    wbuf_put(&w, host_name_span(&h->name));
    add_word(f, wbuf_span(&w));
    return 0;
}

static int compare_never(const void *a, const void *b)
{
    const struct policy_never *x = a;
    const struct policy_never *y = b;
    int order = compare_prefixes(&x->prefix, &y->prefix);
    return order != 0 ? order : compare_numbers(x->port, y->port);
}

static int visit_never(struct finder *f, const void *former, const void *current)
{
    if (former != NULL && current != NULL) {
        return 0;
    }
    const struct policy_never *n = former != NULL ? former : current;
    uint8_t bytes[WORD_CAP];
    char text[IP_TEXT_CAP];
    struct wbuf w = wbuf_make(bytes, sizeof(bytes));
    bool is_bracketed = n->prefix.base.family == IP_V6 && n->port != 0;
    wbuf_printf(&w, "%c%s%s/%u%s", sign_of(former, current), is_bracketed ? "[" : "",
                ip_text(&n->prefix.base, text), n->prefix.bits, is_bracketed ? "]" : "");
    if (n->port != 0) {
        wbuf_printf(&w, ":%u", n->port);
    }
    add_word(f, wbuf_span(&w));
    return 0;
}

static int compare_egress(struct finder *f, const struct policy_rules *a, const struct policy_rules *b)
{
    static const struct pairing hosts = {
        .size = sizeof(struct policy_host), .compare = compare_static_hosts, .visit = visit_static_host};
    static const struct pairing never = {
        .size = sizeof(struct policy_never), .compare = compare_never, .visit = visit_never};
    compare_defaults(f, a, b);
    begin(f, "hosts");
    int rc = pair(f, (struct list){a->hosts, a->host_count}, (struct list){b->hosts, b->host_count}, &hosts);
    if (rc == 0) {
        finish_egress(f);
        begin(f, "never");
        rc =
            pair(f, (struct list){a->never, a->never_count}, (struct list){b->never, b->never_count}, &never);
    }
    if (rc == 0) {
        finish_egress(f);
    }
    return rc;
}

int policy_changes_find(const struct policy_rules *former, const struct policy_rules *current, size_t limit,
                        struct policy_changes *out)
{
    static const struct pairing rules = {
        .size = sizeof(struct policy_rule), .compare = compare_rules, .visit = visit_rule};
    struct finder f = {.out = out, .limit = limit};
    *out = (struct policy_changes){.items = calloc(limit + 1, sizeof(*out->items))};
    int rc = out->items == NULL ? -ENOMEM : 0;
    if (rc == 0) {
        rc = pair(&f, (struct list){former->rules, former->rule_count},
                  (struct list){current->rules, current->rule_count}, &rules);
    }
    if (rc == 0) {
        rc = compare_egress(&f, former, current);
    }
    if (rc != 0) {
        policy_changes_fini(out);
    }
    return rc;
}

void policy_changes_fini(struct policy_changes *c)
{
    free(c->items);
    *c = (struct policy_changes){0};
}

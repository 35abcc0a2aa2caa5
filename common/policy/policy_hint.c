/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/policy_hint.h"

#include "common/policy/yaml_scalar.h"

#define NEAREST_MAX_LEN ((size_t)40)
#define MAX_NAMES 64
#define LISTED_KEYS ((size_t)12) /* of a table, in a hint */

/*
 * Mistakes whose repair is no matter of spelling: keys that OpenShell had once, and words of other formats.
 * For a key `where` is what its map is, for a value it is the key.
 */
static const struct slip {
    const char *where, *word, *hint;
} slips[] = {
    {"a policy", "inference", "OpenShell has no such section any more: remove it"},
    {"a policy", "rules", "rules go into \"network_policies\", each below a name of its own"},
    {"a policy", "endpoints", "endpoints go into a rule: network_policies: { NAME: { endpoints: [...] } }"},
    {"a policy", "binaries", "binaries go into a rule: network_policies: { NAME: { binaries: [...] } }"},
    {"a policy", "proxy", "this goes into an endpoint, or into egress: { endpoints: [...] }"},
    {"a policy", "timeouts", "this goes into an endpoint, or into egress: { defaults: { ... } }"},
    {"a policy", "keepalive", "this goes into an endpoint, or into egress: { defaults: { ... } }"},
    {"a policy", "dns", "this goes into an endpoint, or into egress: { endpoints: [...] }"},
    {"a policy", "hosts", "this goes into egress: { hosts: { ... } }"},
    {"a policy", "never", "this goes into egress: { never: [...] }"},
    {"an endpoint", "domain", "did you mean \"host\"?"},
    {"an endpoint", "address", "did you mean \"host\"?"},
    {"an endpoint", "ip", "one address goes into \"host\", a range into \"allowed_ips\""},
    {"an endpoint", "cidr", "did you mean \"allowed_ips\"?"},
    {"an endpoint", "binaries", "\"binaries\" belong to the rule, beside \"endpoints\""},
    {"an endpoint", "middleware", "a middleware selects its endpoints, in \"network_middlewares\""},
    {"an endpoint", "idle_timeout", "write timeouts: { idle: 5m }"},
    {"an endpoint", "connect_timeout", "write timeouts: { connect: 10s }"},
    {"a rule of \"rules\"", "deny", "what is denied goes into \"deny_rules\", beside \"rules\""},
    {"a deny rule", "allow", "write what is denied directly: { method: POST, path: \"/**\" }"},
    {"a deny rule", "deny", "write what is denied directly: { method: POST, path: \"/**\" }"},
    {"\"defaults\"", "dns", "there is no default for it: write it in each endpoint that needs it"},
    {"\"defaults\"", "proxy", "there is no default for it: write it in each endpoint that needs it"},
    {"an item of egress \"endpoints\"", "protocol",
     "an overlay cannot say what is allowed: write this in the endpoint of the rule"},
    {"an item of egress \"endpoints\"", "allowed_ips",
     "an overlay cannot say what is allowed: write this in the endpoint of the rule"},
    {"protocol", "https", "for inspected HTTPS requests write rest; for a plain tunnel remove the key"},
    {"protocol", "http", "for inspected HTTP requests write rest; for a plain tunnel remove the key"},
    {"protocol", "tls", "remove the key: a plain tunnel carries TLS"},
    {"protocol", "ssh", "remove the key: a plain tunnel carries it, or write tcp"},
    {"protocol", "wss", "write websocket"},
    {"protocol", "ws", "write websocket"},
    {"access", "allow", "one of: read-only, read-write, full (which allows everything)"},
    {"proxy", "none", "direct carries the endpoint raw, past any proxy"},
    {"proxy", "off", "direct carries the endpoint raw, past any proxy"},
};

static const char *find_slip(struct span where, struct span word)
{
    for (size_t i = 0; i < sizeof slips / sizeof slips[0]; i++) {
        if (span_is_equal(where, span_str(slips[i].where)) &&
            span_is_equal_nocase(word, span_str(slips[i].word))) {
            return slips[i].hint;
        }
    }
    return NULL;
}

static size_t min_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

const char *hint_nearest(struct span text, const char *const *names, size_t count)
{
    const char *best = NULL;
    size_t best_distance = text.len > 9 ? 4 : 3; /* a long word may be off by one more */
    for (size_t i = 0; i < count; i++) {
        struct span name = span_str(names[i]);
        if (name.len > NEAREST_MAX_LEN || text.len > NEAREST_MAX_LEN) {
            continue;
        }
        size_t distance = span_distance(text, name);
        if (distance < best_distance && distance < name.len) {
            best = names[i];
            best_distance = distance;
        }
    }
    return best;
}

static size_t common_len(struct span a, struct span b)
{
    size_t i = 0;
    while (i < a.len && i < b.len && ascii_lower(a.data[i]) == ascii_lower(b.data[i])) {
        i++;
    }
    return i;
}

/* The one name that begins like the text: "filesystem" for "filesystem_policy", "binary" for "binaries". */
static const char *find_alike(struct span text, const char *const *names, size_t count)
{
    const char *found = NULL;
    for (size_t i = 0; i < count; i++) {
        struct span name = span_str(names[i]);
        size_t common = common_len(text, name);
        bool is_whole = common >= 4 && common == min_of(text.len, name.len);
        bool is_half = common >= 5 && 2 * common >= name.len && 2 * common >= text.len;
        if ((is_whole || is_half) && found != NULL) {
            return NULL;
        }
        if (is_whole || is_half) {
            found = names[i];
        }
    }
    return found;
}

static size_t table_names(const struct key_table *table, const char *names[MAX_NAMES])
{
    size_t count = 0;
    for (size_t i = 0; i < table->count && count < MAX_NAMES; i++) {
        names[count++] = table->keys[i].name;
    }
    return count;
}

static void put_names(struct wbuf *hint, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        wbuf_printf(hint, "%s%s", i == 0 ? "" : ", ", names[i]);
    }
}

/* A key of an endpoint, or nearly one, in another map: most likely its place is wrong, not its name. */
static bool is_misplaced(struct span key, const struct key_table *table)
{
    const char *names[MAX_NAMES];
    return table->is_around_endpoints && key.len > 3 &&
           hint_nearest(key, names, table_names(&endpoint_table, names)) != NULL;
}

/* A rule that stands where its section should: fragments of policies are published so. */
static bool is_bare_rule(const struct yaml_node *n, const struct key_table *table)
{
    return span_is_equal(span_str(table->what), SPAN_LIT("a policy")) && n->kind == YAML_MAP &&
           yaml_map_get(n, "endpoints") != NULL;
}

void hint_unknown_key(const struct yaml_node *n, const struct key_table *table, struct wbuf *hint)
{
    const char *names[MAX_NAMES];
    struct span key = n->key;
    size_t count = table_names(table, names);
    const char *slip = find_slip(span_str(table->what), key);
    const char *nearest = hint_nearest(key, names, count);
    if (slip != NULL) {
        wbuf_str(hint, slip);
    } else if (is_bare_rule(n, table)) {
        wbuf_str(
            hint,
            "a rule goes below network_policies: indent it, and write that line in front if it is missing");
    } else if (nearest != NULL) {
        wbuf_printf(hint, "did you mean \"%s\"?", nearest);
    } else if (is_misplaced(key, table)) {
        wbuf_printf(hint, "this key belongs to %s: indent it, or put it into an item of \"endpoints\"",
                    endpoint_table.what);
    } else if (find_alike(key, names, count) != NULL) {
        wbuf_printf(hint, "did you mean \"%s\"?", find_alike(key, names, count));
    } else {
        wbuf_str(hint, count == 1 ? "the only key here is: " : "one of: ");
        put_names(hint, names, count);
    }
    wbuf_u8(hint, 0);
}

bool hint_is_misspelt(const struct yaml_node *map, const struct key_table *table, const char *name)
{
    const char *names[MAX_NAMES];
    size_t count = table_names(table, names);
    for (const struct yaml_node *n = map->first; n != NULL; n = n->next) {
        const char *nearest = hint_nearest(n->key, names, count);
        if (nearest != NULL && strcmp(nearest, name) == 0 && !span_is_equal(n->key, span_str(name))) {
            return true;
        }
    }
    return false;
}

void hint_unknown_word(struct span key, struct span text, const struct word_list *list, struct wbuf *hint)
{
    const char *slip = find_slip(key, text);
    const char *nearest = hint_nearest(text, list->words + 1, list->count - 1);
    if (slip != NULL) {
        wbuf_str(hint, slip);
    } else if (nearest != NULL) {
        wbuf_printf(hint, "did you mean \"%s\"?", nearest);
    } else {
        wbuf_str(hint, "one of: ");
        put_names(hint, list->words + 1, list->count - 1);
    }
    wbuf_u8(hint, 0);
}

void hint_map_wanted(const struct key_table *table, struct wbuf *hint)
{
    const char *names[MAX_NAMES];
    size_t count = table_names(table, names);
    if (table->example != NULL) {
        wbuf_printf(hint, "write %s", table->example);
    } else {
        wbuf_str(hint, "each key is written with a colon and its value behind it; the keys are: ");
        put_names(hint, names, min_of(count, LISTED_KEYS));
        wbuf_str(hint, count > LISTED_KEYS ? ", ..." : "");
    }
    wbuf_u8(hint, 0);
}

static const char *hint_null(enum key_kind kind)
{
    switch (kind) {
    case KEY_MAP:
        return "write {} for an empty map, or remove the key";
    case KEY_PORTS:
        return "write ports: [443], or port: 443 for one";
    case KEY_LIST:
    case KEY_TEXTS:
        return "write [] for an empty list, or remove the key";
    case KEY_TEXT:
    case KEY_WORD:
    case KEY_BOOL:
    case KEY_I32:
    case KEY_U32:
    case KEY_PORT:
    case KEY_ANY:
        break;
    }
    return "give a value, or remove the key";
}

static const char *hint_number(const struct yaml_node *n, enum key_kind kind)
{
    bool is_item = n->key.len == 0;
    if (n->kind == YAML_LIST && kind == KEY_PORT) {
        return is_item ? "write the numbers directly: ports: [80, 443]" : "several ports go into \"ports\"";
    }
    if (n->kind != YAML_SCALAR) {
        return "write one number, as in 443";
    }
    if (!n->is_plain) {
        return "write the number without quotes";
    }
    if (kind == KEY_PORT && span_find(n->text, '-') < n->text.len) {
        return "there are no port ranges: list each port in \"ports\"";
    }
    return "write a decimal number without leading zeros, as in 443";
}

const char *hint_type(const struct yaml_node *n, enum key_kind kind)
{
    if (n->kind == YAML_SCALAR && yaml_scalar_type(n) == SCALAR_NULL) {
        return hint_null(kind);
    }
    switch (kind) {
    case KEY_TEXT:
        if (span_is_equal(n->key, SPAN_LIT("host"))) {
            return "write one host name, or an IP address";
        }
        return n->kind == YAML_SCALAR ? "put it into double quotes"
                                      : "write one text, without brackets or dashes";
    case KEY_WORD:
        return "write one value, without brackets or dashes";
    case KEY_BOOL:
        return "write true or false, without quotes";
    case KEY_I32:
    case KEY_U32:
    case KEY_PORT:
        return hint_number(n, kind);
    case KEY_PORTS:
        return "write ports: [443], or port: 443 for one";
    case KEY_TEXTS:
    case KEY_LIST:
        return "each item of a list starts with \"- \", or the list stands in brackets";
    case KEY_MAP:
        return n->kind == YAML_LIST
                   ? "write a key and a colon in front of each item, in the place of the dash"
                   : "write each key of it on a line of its own, with a colon and a value";
    case KEY_ANY:
        break;
    }
    return NULL;
}

const char *hint_range(enum key_kind kind)
{
    if (kind == KEY_PORT) {
        return "a port is a number from 1 to 65535";
    }
    return kind == KEY_U32 ? "write a number from 0 to 4294967295"
                           : "write a number from -2147483648 to 2147483647";
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of one load, and the table-driven checks that every mapping of a policy goes through. Internal to
 * policy: policy_load.h is the door. A check reports what is wrong and goes on, so that one run finds every
 * error; a getter yields a value only if it has the right type, and says nothing.
 */
#pragma once

#include "common/base/htab.h"
#include "common/policy/arena.h"
#include "common/policy/policy_source.h"
#include "common/policy/yaml_text.h"

/* What is built while loading; the final arrays are laid out at the end, when everything is known. */
struct load_endpoint {
    struct policy_endpoint ep;
    struct load_endpoint *next; /* of the same rule */
    bool has_allowed_ips;       /* the key is there, whether or not its values are right */
    bool is_broken;             /* its host or ports are wrong: reported, and the endpoint not kept */
};

struct load_rule {
    struct policy_rule rule;
    const struct yaml_node *node;
    struct load_endpoint *first, *last;
    struct load_rule *next;
    struct htab_node by_key;
};

struct load_host { /* a "host" value: a pattern or an address */
    enum endpoint_host_kind kind;
    struct host_pattern pattern;
    struct ip ip;
};

struct load_tuning { /* what an endpoint, an overlay entry or the defaults may say about a tunnel */
    bool has_proxy, has_timers, has_keepalive;
    struct policy_dns dns;
    enum policy_proxy proxy;
    struct tunnel_timers timers;
    struct tunnel_keepalive keepalive;
};

struct load_overlay { /* an item of egress.endpoints */
    struct load_overlay *next;
    struct policy_pos pos;
    struct load_host host;
    const uint16_t *ports; /* none: all of the endpoint's */
    size_t port_count;
    struct load_tuning tuning;
    uint32_t number;            /* in order, from 1 */
    struct policy_shape *shape; /* what it says, for the endpoints; NULL until it applies to one */
};

struct load_static { /* an entry of egress.hosts */
    struct load_static *next;
    struct policy_host host;
};

struct load_never { /* an item of egress.never */
    struct load_never *next;
    struct policy_never never;
};

struct load_selector {               /* of a middleware */
    const struct yaml_node *include; /* lists */
    const struct yaml_node *exclude;
    struct load_selector *next;
};

struct load {
    struct policy_diags *diags;
    const struct policy_text *texts;
    size_t text_count;
    uint32_t file;         /* the one that is read now: index into texts */
    struct arena *out;     /* becomes the policy's */
    struct arena *scratch; /* freed at the end of the load */
    struct policy_rules *rules;
    struct policy_source source; /* of the texts */
    struct load_rule *first_rule, *last_rule;
    struct htab rules_by_key;
    struct load_selector *selectors;
    size_t selector_count;
    struct load_overlay *first_overlay, *last_overlay;
    struct load_static *first_static, *last_static;
    struct load_never *first_never, *last_never;
    struct policy_pos defaults_at; /* egress.defaults; line 0: not yet */
    bool is_out_of_memory;
};

/* Both NULL on failure, and the load is marked. */
void *load_alloc(struct load *l, struct arena *a, size_t count, size_t size);
char *load_text_copy(struct load *l, struct arena *a, struct span s);

void load_error(struct load *l, struct yaml_pos pos, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void load_warning(struct load *l, struct policy_pos pos, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void load_warning_on(struct load *l, enum diag_topic topic, struct policy_pos pos, const char *hint,
                     const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* An error at a place in any file. */
void load_error_at(struct load *l, struct policy_pos pos, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
struct policy_pos load_pos(const struct load *l, struct yaml_pos pos);

enum key_kind {
    KEY_TEXT = 0,
    KEY_WORD, /* text, a number or true/false: judged by its own parser */
    KEY_BOOL,
    KEY_I32,
    KEY_U32,
    KEY_PORT,
    KEY_PORTS, /* a list of ports */
    KEY_TEXTS, /* a list of texts */
    KEY_LIST,
    KEY_MAP,
    KEY_ANY
};

struct key_spec {
    const char *name;
    enum key_kind kind;
};

struct key_table {
    const char *what; /* "an endpoint" */
    const struct key_spec *keys;
    size_t count;
    bool is_around_endpoints; /* an unknown key here may be one of an endpoint, in the wrong place */
    const char *example;      /* how one is written, for a hint; NULL: its keys are named instead */
};

#define KEY_TABLE(what, rows)                                                                                \
    {                                                                                                        \
        what, rows, sizeof(rows) / sizeof(rows)[0], false, NULL                                              \
    }
extern const struct key_table endpoint_table; /* policy_endpoint.c; also to tell a misplaced key */

/* Reports a node that is no map, unknown keys and values of the wrong type. False if it is no map. */
bool load_check_map(struct load *l, const struct yaml_node *n, const struct key_table *table);
/*
 * For a map in which a key is missing that it must have: false if that key is there, misspelt. It was
 * reported, and one mistake is told once.
 */
bool load_lacks(const struct load *l, const struct yaml_node *map, const struct key_table *table,
                const char *key);
/* The same for one value. */
bool load_check_value(struct load *l, const struct yaml_node *n, enum key_kind kind);

/* False if absent or of the wrong type. An empty text counts as absent, as in OpenShell. */
bool load_get_text(const struct yaml_node *map, const char *key, struct span *out);
bool load_get_bool(const struct yaml_node *map, const char *key); /* false if absent */
/* NULL if absent, empty or of the wrong kind. */
const struct yaml_node *load_get_list(const struct yaml_node *map, const char *key);
const struct yaml_node *load_get_map(const struct yaml_node *map, const char *key);
bool load_is_text(const struct yaml_node *n); /* a scalar that YAML reads as a string */
bool load_is_word(const struct yaml_node *n); /* a scalar that is not null */

/*
 * The index of the text at key in words (compared without case if nocase), 0 if absent. Reports a word that
 * is not in the list and returns 0. words[0] is not a word but the default's place.
 */
struct word_list {
    const char *const *words;
    size_t count;
    bool nocase;
};
size_t load_get_word(struct load *l, const struct yaml_node *map, const char *key,
                     const struct word_list *list);

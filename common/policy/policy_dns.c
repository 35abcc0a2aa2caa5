/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "dns": which records of a name are asked for beyond its addresses. Only types that can be rebuilt and whose
 * targets can be judged are on offer; why another one is not is part of its error.
 */
#include "common/policy/policy_parts.h"

struct type_word {
    const char *word;
    uint8_t type;     /* 0: not on offer */
    const char *hint; /* why not */
};

static const char always_hint[] = "remove it";
static const char svcb_hint[] = "remove it: it would carry addresses and keys that nobody has judged";
static const char dnssec_hint[] = "remove it: answers are rebuilt here, so that no signature fits them";

static const struct type_word types[] = {
    {"SRV", POLICY_DNS_SRV, NULL},
    {"TXT", POLICY_DNS_TXT, NULL},
    {"A", 0, always_hint},
    {"AAAA", 0, always_hint},
    {"HTTPS", 0, svcb_hint},
    {"SVCB", 0, svcb_hint},
    {"ANY", 0, "name each type that is needed: no question for all of them is answered (RFC 8482)"},
    {"MX", 0, "remove it: a mail server is admitted by an endpoint with its own name, and port 25 or 587"},
    {"NS", 0, "remove it: whom to ask is the upstream's affair"},
    {"SOA", 0, "remove it: the zone's is not shown, each negative answer has one of our own"},
    {"PTR", 0, "remove it: of addresses only our own have names"},
    {"CNAME", 0, "remove it: aliases are followed here, and the answer has the name that was asked"},
    {"DNAME", 0, "remove it: aliases are followed here, and the answer has the name that was asked"},
    {"NAPTR", 0, "remove it: it rewrites names into others that nobody has judged"},
    {"CAA", 0, "remove it: it is for those who issue certificates"},
    {"DS", 0, dnssec_hint},
    {"DNSKEY", 0, dnssec_hint},
    {"RRSIG", 0, dnssec_hint},
    {"NSEC", 0, dnssec_hint},
    {"TLSA", 0, dnssec_hint},
};
#define TYPE_COUNT (sizeof types / sizeof types[0])

static const struct type_word *find_type(struct span text)
{
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        if (span_is_equal_nocase(text, span_str(types[i].word))) {
            return &types[i];
        }
    }
    return NULL;
}

static void load_type(struct load *l, const struct yaml_node *n, struct policy_dns *out)
{
    char quoted[DIAG_QUOTE_CAP];
    const struct type_word *t = find_type(n->text);
    diag_quote(n->text, quoted);
    if (t == NULL) {
        load_error(l, n->pos, "the types are SRV and TXT", "%s is no record type that can be asked for",
                   quoted);
    } else if (t->hint == always_hint) {
        load_error(l, n->pos, t->hint, "%s is always answered, it needs no place in the list", quoted);
    } else if (t->type == 0) {
        load_error(l, n->pos, t->hint, "%s is no record type that can be asked for", quoted);
    } else if (!span_is_equal(n->text, span_str(t->word))) {
        load_error(l, n->pos, t->type == POLICY_DNS_SRV ? "write SRV" : "write TXT",
                   "%s: record types are written in capitals", quoted);
    } else if ((out->types & t->type) != 0) {
        load_error(l, n->pos, "keep one of the two", "%s is in the list twice", quoted);
    } else {
        out->types = (uint8_t)(out->types | t->type);
    }
}

void load_dns(struct load *l, const struct yaml_node *n, struct policy_dns *out)
{
    static const struct key_spec keys[] = {{"types", KEY_TEXTS}};
    static const struct key_table table = {"\"dns\"", keys, 1, false, "{ types: [SRV, TXT] }"};
    if (n->kind != YAML_MAP) {
        return; /* reported as a wrong type */
    }
    out->is_set = true;
    if (!load_check_map(l, n, &table)) {
        return;
    }
    if (n->count == 0) {
        load_error(l, n->pos, "write { types: [SRV, TXT] }, or remove the key", "\"dns\" needs \"types\"");
    }
    const struct yaml_node *list = load_get_list(n, "types");
    for (const struct yaml_node *item = list == NULL ? NULL : list->first; item != NULL; item = item->next) {
        if (load_is_text(item)) {
            load_type(l, item, out);
        }
    }
}

void load_check_dns_host(struct load *l, const struct yaml_node *map, enum endpoint_host_kind kind)
{
    const struct yaml_node *dns = yaml_map_get(map, "dns");
    switch (kind) {
    case ENDPOINT_EXACT:
    case ENDPOINT_WILDCARD:
        return;
    case ENDPOINT_IP:
        load_error(l, dns->key_pos, "remove the key, or write the host as a name",
                   "an address has no records to ask for");
        return;
    case ENDPOINT_HOSTLESS:
        break;
    }
    load_error(l, dns->key_pos, "remove the key, or add host: NAME",
               "an endpoint without a host has no name to ask for");
}

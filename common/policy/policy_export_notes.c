/* SPDX-License-Identifier: Apache-2.0 */
/* What of the input OpenShell will not do, or do otherwise: each said once, where it was written. */
#include "common/policy/policy_diag.h"
#include "common/policy/policy_export_parts.h"

static struct policy_pos place_of(uint32_t file, struct yaml_pos pos)
{
    return (struct policy_pos){.file = file, .line = pos.line, .col = pos.col};
}

/* What becomes of an endpoint that we carry raw. */
static const char *without_direct(const struct policy_endpoint *ep)
{
    if (ep->requires_l7) {
        return "OpenShell inspects this endpoint and applies what is said about its requests";
    }
    if (ep->tls == TLS_SKIP) {
        return "OpenShell carries this endpoint raw because of tls: skip, and closes it at each policy "
               "change";
    }
    return "OpenShell opens TLS in its proxy here; tls: skip would carry it raw";
}

static const char *why_dropped(const struct yaml_node *n, const struct policy_endpoint *ep)
{
    if (span_is_equal(n->key, SPAN_LIT("proxy"))) {
        bool is_direct = span_is_equal(n->text, SPAN_LIT("direct"));
        return is_direct && ep != NULL ? without_direct(ep)
                                       : "OpenShell carries every endpoint through its own proxy";
    }
    if (span_is_equal(n->key, SPAN_LIT("timeouts"))) {
        return "OpenShell has no timers to set";
    }
    if (span_is_equal(n->key, SPAN_LIT("keepalive"))) {
        return "OpenShell sends no keepalive";
    }
    if (span_is_equal(n->key, SPAN_LIT("dns"))) {
        return "OpenShell answers only with addresses";
    }
    return "OpenShell does not know this key";
}

static void note_key(struct exporter *e, uint32_t file, const struct yaml_node *n,
                     const struct policy_endpoint *ep)
{
    bool is_word = span_is_equal(n->key, SPAN_LIT("proxy")); /* one of few, which the loader has checked */
    export_note(e, place_of(file, n->key_pos), "\"%.*s%s%.*s\" is dropped: %s", (int)n->key.len,
                (const char *)n->key.data, is_word ? ": " : "", is_word ? (int)n->text.len : 0,
                (const char *)n->text.data, why_dropped(n, ep));
}

/* OpenShell compares hosts as texts, without case. */
static void note_host(struct exporter *e, uint32_t file, const struct yaml_node *n,
                      const struct policy_endpoint *ep)
{
    char ip[IP_TEXT_CAP];
    if (ep->host_kind == ENDPOINT_HOSTLESS) {
        export_note(e, place_of(file, n->pos),
                    "OpenShell admits any name here whose addresses are in \"allowed_ips\"; here it admits "
                    "only the addresses");
        return;
    }
    const struct yaml_node *host = yaml_map_get(n, "host");
    struct span canonical =
        ep->host_kind == ENDPOINT_IP ? span_str(ip_text(&ep->ip, ip)) : host_name_span(&ep->pattern.text);
    if (host != NULL && !span_is_equal_nocase(host->text, canonical)) {
        export_note(e, place_of(file, host->pos),
                    "OpenShell compares hosts as texts and will not match this one: write \"%.*s\"",
                    (int)canonical.len, (const char *)canonical.data);
    }
}

static void note_rule(struct exporter *e, const struct export_entry *entry)
{
    const struct policy_rule *rule = entry->rule;
    const struct yaml_node *endpoints = yaml_map_get(entry->node, "endpoints");
    size_t i = 0;
    if (rule->binary_count == 0) {
        char quoted[DIAG_QUOTE_CAP];
        export_note(e, rule->pos,
                    "rule %s names no binaries: OpenShell then admits no program, unless process identity is "
                    "off",
                    diag_quote(span_str(rule->key), quoted));
    }
    for (const struct yaml_node *n = endpoints == NULL ? NULL : endpoints->first; n != NULL; n = n->next) {
        /* an overlay may have split an endpoint: the pieces follow, with the same place */
        while (i < rule->endpoint_count &&
               (rule->endpoints[i].pos.line < n->pos.line ||
                (rule->endpoints[i].pos.line == n->pos.line && rule->endpoints[i].pos.col < n->pos.col))) {
            i++;
        }
        if (i == rule->endpoint_count) {
            return;
        }
        note_host(e, entry->file, n, &rule->endpoints[i]);
        for (const struct yaml_node *key = n->first; key != NULL; key = key->next) {
            if (export_is_dropped(EXPORT_ENDPOINT, key)) {
                note_key(e, entry->file, key, &rule->endpoints[i]);
            }
        }
    }
}

static void note_overlay(struct exporter *e, uint32_t file, const struct yaml_node *item)
{
    for (const struct yaml_node *key = item->first; key != NULL; key = key->next) {
        if (export_is_dropped(EXPORT_ENDPOINT, key)) {
            note_key(e, file, key, NULL);
        }
    }
}

static void note_egress(struct exporter *e, uint32_t file, const struct yaml_node *egress)
{
    const struct yaml_node *defaults = yaml_map_get(egress, "defaults");
    const struct yaml_node *endpoints = yaml_map_get(egress, "endpoints");
    const struct yaml_node *hosts = yaml_map_get(egress, "hosts");
    const struct yaml_node *never = yaml_map_get(egress, "never");
    for (const struct yaml_node *n = defaults == NULL ? NULL : defaults->first; n != NULL; n = n->next) {
        note_key(e, file, n, NULL);
    }
    for (const struct yaml_node *n = endpoints == NULL ? NULL : endpoints->first; n != NULL; n = n->next) {
        note_overlay(e, file, n);
    }
    for (const struct yaml_node *n = hosts == NULL ? NULL : hosts->first; n != NULL; n = n->next) {
        char quoted[DIAG_QUOTE_CAP];
        export_note(
            e, place_of(file, n->key_pos),
            "the addresses of %s are dropped: OpenShell looks into the sandbox's /etc/hosts, then asks "
            "DNS",
            diag_quote(n->key, quoted));
    }
    for (const struct yaml_node *n = never == NULL ? NULL : never->first; n != NULL; n = n->next) {
        char quoted[DIAG_QUOTE_CAP];
        export_note(e, place_of(file, n->pos), "never %s is dropped: OpenShell dials it if a rule admits it",
                    diag_quote(n->text, quoted));
    }
}

void export_note_all(struct exporter *e)
{
    size_t i = 0;
    for (size_t file = 0; file < e->count; file++) {
        for (; i < e->rules->rule_count && e->rule_entries[i].file == file; i++) {
            note_rule(e, &e->rule_entries[i]);
        }
        const struct yaml_node *egress = yaml_map_get(yaml_doc_root(e->docs[file]), "egress");
        if (egress != NULL) {
            note_egress(e, (uint32_t)file, egress);
        }
    }
    export_note_overlaps(e);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/policy/policy_parts.h"

#include "common/base/num.h"

#include <errno.h>

void policy_rules_free(struct policy_rules *r)
{
    if (r != NULL) {
        arena_free(r->arena); /* holds r itself */
    }
}

bool policy_has_port(const uint16_t *ports, size_t count, uint16_t port)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ports[middle] < port) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < count && ports[low] == port;
}

bool policy_allows_ip(const struct policy_endpoint *ep, const struct ip *ip)
{
    size_t low = 0; /* how many begin at or before ip: only the last of them can hold it */
    size_t high = ep->allowed_ip_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ip_compare(&ep->allowed_ips[middle].base, ip) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 && ip_prefix_contains(&ep->allowed_ips[low - 1], ip);
}

int policy_never_parse(struct span text, struct ip_prefix *prefix, uint16_t *port)
{
    struct span addr = text;
    struct span rest = {0};
    *port = 0;
    if (text.len > 0 && text.data[0] == '[') {
        size_t close = span_find(text, ']');
        addr = span_sub(text, 1, close == 0 ? 0 : close - 1);
        rest = span_sub(text, close + (close < text.len), text.len);
        bool is_v6 = span_find(addr, ':') < addr.len;
        if (close == text.len || !is_v6 || rest.len == 0) {
            return -EINVAL;
        }
    } else if (span_find(text, '.') < text.len || span_find(text, '/') < text.len) {
        /* IPv4, or a range: the first colon behind the dots or the slash begins the port */
        size_t from = span_find(text, '/') < text.len ? span_find(text, '/') : 0;
        bool is_mapped = from == 0 && span_find(text, ':') < span_find(text, '.');
        size_t colon = is_mapped ? text.len : from + span_find(span_sub(text, from, text.len), ':');
        addr = span_sub(text, 0, colon);
        rest = span_sub(text, colon, text.len);
    }
    if (rest.len > 0 && (rest.data[0] != ':' || num_port(span_sub(rest, 1, rest.len), port) != 0)) {
        return -EINVAL;
    }
    return ip_prefix_parse(addr, prefix);
}

static void lay_out_rule(struct load *l, const struct load_rule *from, struct policy_rule *to,
                         struct policy_endpoint *endpoints)
{
    *to = from->rule;
    to->endpoints = endpoints + l->rules->endpoint_count;
    for (const struct load_endpoint *e = from->first; e != NULL; e = e->next) {
        endpoints[l->rules->endpoint_count] = e->ep;
        endpoints[l->rules->endpoint_count].rule = to;
        l->rules->endpoint_count++;
        to->endpoint_count++;
    }
}

static void lay_out_rules(struct load *l)
{
    size_t count = 0;
    size_t endpoint_count = 0;
    for (const struct load_rule *r = l->first_rule; r != NULL; r = r->next) {
        count++;
        for (const struct load_endpoint *e = r->first; e != NULL; e = e->next) {
            endpoint_count++;
        }
    }
    struct policy_rule *rules = load_alloc(l, l->out, count, sizeof *rules);
    struct policy_endpoint *endpoints = load_alloc(l, l->out, endpoint_count, sizeof *endpoints);
    if (rules == NULL || endpoints == NULL) {
        return;
    }
    for (const struct load_rule *r = l->first_rule; r != NULL; r = r->next) {
        lay_out_rule(l, r, &rules[l->rules->rule_count++], endpoints);
    }
    l->rules->rules = rules;
    l->rules->endpoints = endpoints;
}

static void lay_out_egress(struct load *l)
{
    size_t hosts = 0;
    size_t nevers = 0;
    for (const struct load_static *s = l->first_static; s != NULL; s = s->next) {
        hosts++;
    }
    for (const struct load_never *n = l->first_never; n != NULL; n = n->next) {
        nevers++;
    }
    struct policy_host *host = load_alloc(l, l->out, hosts, sizeof *host);
    struct policy_never *never = load_alloc(l, l->out, nevers, sizeof *never);
    if (host == NULL || never == NULL) {
        return;
    }
    for (const struct load_static *s = l->first_static; s != NULL; s = s->next) {
        host[l->rules->host_count++] = s->host;
    }
    for (const struct load_never *n = l->first_never; n != NULL; n = n->next) {
        never[l->rules->never_count++] = n->never;
    }
    l->rules->hosts = host;
    l->rules->never = never;
}

static void lay_out_files(struct load *l)
{
    const char **files = load_alloc(l, l->out, l->text_count, sizeof(const char *));
    for (size_t i = 0; i < l->text_count && files != NULL; i++) {
        files[i] = load_text_copy(l, l->out, span_str(l->texts[i].file));
    }
    l->rules->files = files;
    l->rules->file_count = l->text_count;
}

void load_finish(struct load *l)
{
    lay_out_files(l);
    lay_out_rules(l);
    lay_out_egress(l);
}

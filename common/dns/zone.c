/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/zone.h"

#include <errno.h>

#define TEXT_SHOWN_MAX 120

/* What is wrong, behind the text that it is wrong with. */
static int fault(struct err *err, struct span text, const char *why)
{
    const int shown = (int)(text.len > TEXT_SHOWN_MAX ? TEXT_SHOWN_MAX : text.len);
    err_set(err, "%.*s: %s", shown, (const char *)text.data, why);
    return -EINVAL;
}

static bool is_at_or_below(const struct host_name *name, const struct host_name *suffix)
{
    return host_name_is_equal(name, suffix) || host_name_is_below(name, suffix);
}

/* Names that both daemons answer themselves or never ask for: a zone there would do nothing. */
static const char *local_fault(const struct host_name *suffix)
{
    static const struct {
        const char *zone, *why;
    } local[] = {{"localhost", "localhost and all below it is this host, and is asked of nobody (RFC 6761)"},
                 {"in-addr.arpa", "reverse lookups are answered here, and are asked of nobody"},
                 {"ip6.arpa", "reverse lookups are answered here, and are asked of nobody"}};
    for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++) {
        struct host_name name;
        if (host_name_parse(span_str(local[i].zone), &name) == HOST_FAULT_NONE &&
            is_at_or_below(suffix, &name)) {
            return local[i].why;
        }
    }
    return NULL;
}

static const char *suffix_fault(struct span text, struct host_name *out)
{
    if (span_is_equal(text, SPAN_LIT("."))) {
        return "the root is no zone: its servers are given with --upstream";
    }
    enum host_fault f = host_name_parse(text, out);
    if (f != HOST_FAULT_NONE) {
        return f == HOST_FAULT_EMPTY ? "a suffix is missing in front of the \"=\"" : host_fault_text(f);
    }
    return local_fault(out);
}

static const char *upstream_fault(struct span text, struct zone *z)
{
    struct addr a;
    struct span tls_name;
    if (text.len == 0) {
        return "an address is missing";
    }
    const char *why = upstream_parse(text, &a, &tls_name);
    if (why != NULL && (span_find(text, '/') < text.len || addr_lacks_brackets(text))) {
        return why; /* it was meant to be an address */
    }
    if (why != NULL) {
        return "only addresses (ADDR, ADDR:PORT, [IPV6]:PORT, tls://ADDR[:PORT]#NAME) and, at the end, "
               "\"open\" can follow the \"=\"";
    }
    for (size_t i = 0; i < z->upstream_count; i++) {
        if (addr_is_equal(&a, &z->upstreams[i])) {
            return "an address is given twice";
        }
    }
    if (z->upstream_count == UPSTREAM_MAX) {
        return "too many addresses";
    }
    z->tls_names[z->upstream_count] = tls_name;
    z->upstreams[z->upstream_count++] = a;
    return NULL;
}

int zone_parse(struct span text, struct zone *out, struct err *err)
{
    *out = (struct zone){.is_open = false};
    size_t equals = span_find(text, '=');
    if (equals == text.len) {
        return fault(err, text, "not of the form SUFFIX=ADDR[:PORT][,ADDR...][,open]");
    }
    const char *why = suffix_fault(span_sub(text, 0, equals), &out->suffix);
    struct span rest = span_sub(text, equals + 1, text.len);
    bool is_more = true;
    while (why == NULL && is_more) {
        size_t comma = span_find(rest, ',');
        struct span item = span_sub(rest, 0, comma);
        is_more = comma < rest.len;
        rest = span_sub(rest, comma + 1, rest.len);
        if (!is_more && out->upstream_count > 0 && span_is_equal(item, SPAN_LIT("open"))) {
            out->is_open = true;
        } else {
            why = upstream_fault(item, out);
        }
    }
    return why == NULL ? 0 : fault(err, text, why);
}

int zone_set_add(struct zone_set *set, const struct zone *zone, struct err *err)
{
    for (size_t i = 0; i < set->count; i++) {
        if (host_name_is_equal(&set->items[i].suffix, &zone->suffix)) {
            return fault(err, host_name_span(&zone->suffix),
                         "given twice; list its addresses in one, separated by commas");
        }
    }
    if (set->count == ZONES_MAX) {
        err_set(err, "more than %d zones", ZONES_MAX);
        return -EINVAL;
    }
    set->items[set->count++] = *zone;
    return 0;
}

const struct zone *zone_find(const struct zone_set *set, const struct host_name *name)
{
    const struct zone *best = NULL;
    for (size_t i = 0; set != NULL && i < set->count; i++) {
        const struct zone *z = &set->items[i];
        if ((best == NULL || z->suffix.len > best->suffix.len) && is_at_or_below(name, &z->suffix)) {
            best = z;
        }
    }
    return best;
}

const struct zone *zone_find_open(const struct zone_set *set, const struct host_name *name)
{
    const struct zone *z = zone_find(set, name);
    return z != NULL && z->is_open ? z : NULL;
}

bool zone_is_open_parent(const struct zone_set *set, const struct host_name *name)
{
    bool is_parent = false;
    for (size_t i = 0; set != NULL && i < set->count && !is_parent; i++) {
        is_parent = set->items[i].is_open && host_name_is_below(&set->items[i].suffix, name);
    }
    return is_parent;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tunneld/http_copy.h"

#include <inttypes.h>

/* Elements of Via are PROTOCOL RECEIVED-BY [COMMENT] (RFC 9110 7.6.3). */
static bool is_via_of(struct span list, const char *receiver)
{
    struct span item;
    while (http_list_next(&list, &item)) {
        size_t space = span_find(item, ' ');
        struct span behind = span_trim_ows(span_sub(item, space, item.len));
        struct span name = span_sub(behind, 0, span_find(behind, ' '));
        if (span_is_equal_nocase(name, span_str(receiver))) {
            return true;
        }
    }
    return false;
}

static bool read_connection(struct span list, struct http_options *o)
{
    struct span item;
    while (http_list_next(&list, &item)) {
        if (o->count == HTTP_OPTIONS_MAX) {
            return false;
        }
        o->names[o->count] = item;
        o->count++;
        o->has_close = o->has_close || span_is_equal_nocase(item, SPAN_LIT("close"));
        o->has_upgrade = o->has_upgrade || span_is_equal_nocase(item, SPAN_LIT("upgrade"));
    }
    return true;
}

bool http_options_read(struct span fields, const char *receiver, struct http_options *out)
{
    struct http_field f;
    unsigned upgrades = 0;
    enum http_field_status status;
    *out = (struct http_options){.count = 0};
    while ((status = http_field_next(&fields, &f)) == HTTP_FIELD_ONE) {
        if (http_field_is(&f, "Connection")) {
            if (!read_connection(f.value, out)) {
                return false;
            }
        } else if (http_field_is(&f, "Proxy-Connection")) {
            out->has_close = out->has_close || http_list_has(f.value, "close");
        } else if (http_field_is(&f, "Upgrade")) {
            upgrades++;
            out->upgrade = upgrades == 1 ? f.value : (struct span){NULL, 0};
        } else if (http_field_is(&f, "Via") && receiver != NULL) {
            out->has_via = out->has_via || is_via_of(f.value, receiver);
        }
    }
    return status == HTTP_FIELD_END;
}

/* Connection may not name what is decided here: Via is where loops are seen. */
static bool is_named(const struct http_options *o, const struct http_field *f)
{
    for (size_t i = 0; i < o->count; i++) {
        if (span_is_equal_nocase(o->names[i], f->name)) {
            return !http_field_is(f, "Via");
        }
    }
    return false;
}

void http_copy_fields(struct span fields, const struct http_options *o, bool with_host, struct wbuf *out)
{
    struct http_field f;
    while (http_field_next(&fields, &f) == HTTP_FIELD_ONE) {
        if (http_field_is_hop(&f) || is_named(o, &f) || (!with_host && http_field_is(&f, "Host")) ||
            (o->drops_hops && http_field_is(&f, "Max-Forwards"))) {
            continue;
        }
        wbuf_put(out, f.name);
        wbuf_str(out, ": ");
        wbuf_put(out, f.value);
        wbuf_str(out, "\r\n");
    }
}

void http_copy_framing(const struct http_framing *f, struct wbuf *out)
{
    if (f->has_chunked) {
        wbuf_str(out, "Transfer-Encoding: chunked\r\n");
    } else if (f->has_length) {
        wbuf_printf(out, "Content-Length: %" PRIu64 "\r\n", f->length);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "egress/explain_target.h"

#include "common/base/num.h"

#include <errno.h>
#include <string.h>

#define SHOWN 200 /* bytes of what was typed that a message repeats */

/* The port that a program would use for a URL of the scheme; 0: unknown. */
static unsigned scheme_port(struct span scheme)
{
    static const struct {
        const char *name;
        unsigned port;
    } known[] = {{"https", 443}, {"wss", 443}, {"http", 80}, {"ws", 80}, {"ssh", 22}, {"postgres", 5432}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (span_is_equal(scheme, span_str(known[i].name))) {
            return known[i].port;
        }
    }
    return 0;
}

/* Decisions are about a host and a port; a URL taken as one would look as if its path counted. */
static void say_url(struct span text, size_t scheme_len, struct err *err)
{
    struct span rest = span_sub(text, scheme_len + 3, text.len);
    size_t end = rest.len;
    size_t from = 0;
    for (size_t i = 0; i < end; i++) {
        if (memchr("/?#", rest.data[i], 3) != NULL) {
            end = i;
        } else if (rest.data[i] == '@') {
            from = i + 1;
        }
    }
    struct span host = span_sub(rest, from, end - from);
    unsigned port = scheme_port(span_sub(text, 0, scheme_len));
    struct span tail =
        host.len > 0 && host.data[0] == '[' ? span_sub(host, span_find(host, ']'), host.len) : host;
    bool has_port = span_find(tail, ':') < tail.len;
    int shown = (int)(host.len > SHOWN ? SHOWN : host.len);
    if (has_port || port == 0) {
        err_set(err, "this is a URL, and a policy is about hosts and ports: type %.*s", shown,
                (const char *)host.data);
    } else {
        err_set(err, "this is a URL, and a policy is about hosts and ports: type %.*s:%u", shown,
                (const char *)host.data, port);
    }
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int check_shape(struct span text, struct err *err)
{
    for (size_t i = 0; i + 2 < text.len; i++) {
        if (memcmp(text.data + i, "://", 3) == 0) {
            say_url(text, i, err);
            return -EINVAL;
        }
    }
    bool is_port_only = text.len > 0 && text.data[0] == ':' && (text.len == 1 || text.data[1] != ':');
    if (text.len == 0 || is_port_only) { /* "::1" is an address */
        err_set(err, "an empty host: type HOST[:PORT], as gateway.discord.gg:443");
        return -EINVAL;
    }
    if (is_space(text.data[0]) || is_space(text.data[text.len - 1])) {
        err_set(err, "'%.*s' begins or ends with white space: type HOST[:PORT], as gateway.discord.gg:443",
                (int)(text.len > SHOWN ? SHOWN : text.len), (const char *)text.data);
        return -EINVAL;
    }
    size_t slash = span_find(text, '/');
    if (slash < text.len) {
        err_set(err, "a host has no \"/\": type %.*s", (int)(slash > SHOWN ? SHOWN : slash),
                (const char *)text.data);
        return -EINVAL;
    }
    return 0;
}

/* Where the host ends; *port_at is where the port's digits begin, or the length of the text. */
static int split(struct span text, struct span *host, size_t *port_at, struct err *err)
{
    size_t colon = span_find(text, ':');
    *host = text;
    *port_at = text.len;
    if (text.data[0] == '[') {
        size_t close = span_find(text, ']');
        struct span tail = span_sub(text, close + 1, text.len);
        if (close == text.len || (tail.len > 0 && tail.data[0] != ':')) {
            err_set(err, "an IPv6 address with a port is written [2001:db8::1]:443");
            return -EINVAL;
        }
        *host = span_sub(text, 0, close + 1);
        *port_at = tail.len > 0 ? close + 2 : text.len;
        return tail.len == 1 ? -ERANGE : 0;
    }
    struct span rest = span_sub(text, colon + 1, text.len);
    if (colon < text.len &&
        span_find(rest, ':') == rest.len) { /* one colon: else it is a bare IPv6 address */
        *host = span_sub(text, 0, colon);
        *port_at = colon + 1;
        return rest.len == 0 ? -ERANGE : 0;
    }
    return 0;
}

static void note_changes(struct explain_target *t)
{
    struct span typed = t->host_text;
    char text[IP_TEXT_CAP];
    if (t->host.kind == HOST_IP) {
        t->is_rewritten = !span_is_equal(typed, span_str(ip_text(&t->host.ip, text)));
        return;
    }
    t->lost_dot = typed.len > 0 && typed.data[typed.len - 1] == '.';
    for (size_t i = 0; i < typed.len; i++) {
        t->is_lowered = t->is_lowered || (typed.data[i] >= 'A' && typed.data[i] <= 'Z');
    }
}

int explain_target_parse(const char *text, struct explain_target *out, struct err *err)
{
    struct span all = span_str(text);
    *out = (struct explain_target){.typed = text};
    if (check_shape(all, err) != 0) {
        return -EINVAL;
    }
    struct span host;
    size_t port_at = all.len;
    int rc = split(all, &host, &port_at, err);
    if (rc == -EINVAL) {
        return rc;
    }
    struct span port = span_sub(all, port_at, all.len);
    if (rc == -ERANGE || (port_at < all.len && num_port(port, &out->port) != 0)) {
        err_set(err, "\"%.*s\" is no port: a number from 1 to 65535 without leading zeros",
                (int)(port.len > SHOWN ? SHOWN : port.len), (const char *)port.data);
        return -EINVAL;
    }
    out->fault = host_parse(host, &out->host);
    bool has_brackets = host.len > 1 && host.data[0] == '[';
    out->host_text = has_brackets ? span_sub(host, 1, host.len - 2) : host;
    if (out->fault == HOST_FAULT_NONE) {
        note_changes(out);
    }
    return 0;
}

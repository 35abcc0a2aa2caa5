/* SPDX-License-Identifier: Apache-2.0 */
#include "common/net/addr.h"

#include "common/base/buf.h"
#include "common/base/num.h"

#include <errno.h>

/* The part after the address: nothing, or ":PORT". */
static int parse_port(struct span rest, uint16_t default_port, uint16_t *out)
{
    if (rest.len == 0) {
        if (default_port == 0) {
            return -EINVAL;
        }
        *out = default_port;
        return 0;
    }
    if (rest.data[0] != ':') {
        return -EINVAL;
    }
    uint64_t port = 0;
    int rc = num_u64(span_sub(rest, 1, rest.len - 1), 0, UINT16_MAX, &port);
    if (rc == 0) {
        *out = (uint16_t)port;
    }
    return rc;
}

bool addr_lacks_brackets(struct span text)
{
    const struct span loopback = SPAN_LIT("::1:");
    uint16_t port;
    return span_is_equal(span_sub(text, 0, loopback.len), loopback) &&
           num_port(span_sub(text, loopback.len, text.len), &port) == 0;
}

int addr_parse(struct span text, uint16_t default_port, struct addr *out)
{
    struct span host = text;
    struct span rest = span_make(NULL, 0);
    bool bracketed = text.len > 0 && text.data[0] == '[';
    if (bracketed) {
        size_t close_at = span_find(text, ']');
        if (close_at == text.len) {
            return -EINVAL;
        }
        host = span_sub(text, 1, close_at - 1);
        rest = span_sub(text, close_at + 1, text.len - close_at - 1);
    } else {
        size_t colon = span_find(text, ':');
        struct span after = span_sub(text, colon, text.len - colon);
        /* Two colons: an IPv6 address alone. */
        if (after.len > 0 && span_find(span_sub(after, 1, after.len - 1), ':') == after.len - 1) {
            host = span_sub(text, 0, colon);
            rest = after;
        }
    }

    struct addr parsed = {0};
    int rc = ip_parse(host, &parsed.ip);
    if (rc != 0) {
        return rc;
    }
    if (bracketed && parsed.ip.family != IP_V6) {
        return -EINVAL;
    }
    rc = parse_port(rest, default_port, &parsed.port);
    if (rc == 0) {
        *out = parsed;
    }
    return rc;
}

const char *addr_text(const struct addr *a, char text[ADDR_TEXT_CAP])
{
    char ip[IP_TEXT_CAP];
    struct wbuf w = wbuf_make(text, ADDR_TEXT_CAP);
    wbuf_str(&w, a->ip.family == IP_V6 ? "[" : "");
    wbuf_str(&w, ip_text(&a->ip, ip));
    wbuf_str(&w, a->ip.family == IP_V6 ? "]:" : ":");
    wbuf_decimal(&w, a->port, 1);
    wbuf_u8(&w, 0);
    (void)CHECK(!w.overflow);
    return text;
}

bool addr_is_equal(const struct addr *a, const struct addr *b)
{
    return a->port == b->port && ip_is_equal(&a->ip, &b->ip);
}

socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *out)
{
    *out = (struct sockaddr_storage){0};
    if (a->ip.family == IP_V4) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port)};
        memcpy(&in.sin_addr, a->ip.bytes, 4);
        memcpy(out, &in, sizeof(in));
        return (socklen_t)sizeof(in);
    }
    if (a->ip.family == IP_V6) {
        struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(a->port)};
        memcpy(&in6.sin6_addr, a->ip.bytes, 16);
        memcpy(out, &in6, sizeof(in6));
        return (socklen_t)sizeof(in6);
    }
    return 0;
}

static struct addr from_in6(const struct sockaddr_in6 *in6)
{
    static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    struct addr a = {.port = ntohs(in6->sin6_port)};
    const uint8_t *bytes = in6->sin6_addr.s6_addr;
    if (memcmp(bytes, mapped_prefix, sizeof(mapped_prefix)) == 0) {
        a.ip.family = IP_V4;
        memcpy(a.ip.bytes, bytes + sizeof(mapped_prefix), 4);
    } else {
        a.ip.family = IP_V6;
        memcpy(a.ip.bytes, bytes, 16);
    }
    return a;
}

int addr_from_sockaddr(const struct sockaddr *sa, socklen_t len, struct addr *out)
{
    if (len < (socklen_t)sizeof(sa->sa_family)) {
        return -EAFNOSUPPORT;
    }
    if (sa->sa_family == AF_INET && len >= (socklen_t)sizeof(struct sockaddr_in)) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof(in)); /* the caller's storage may be only as aligned as struct sockaddr */
        *out = (struct addr){.ip = {.family = IP_V4}, .port = ntohs(in.sin_port)};
        memcpy(out->ip.bytes, &in.sin_addr, 4);
        return 0;
    }
    if (sa->sa_family == AF_INET6 && len >= (socklen_t)sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof(in6));
        *out = from_in6(&in6);
        return 0;
    }
    return -EAFNOSUPPORT;
}

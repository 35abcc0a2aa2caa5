/* SPDX-License-Identifier: Apache-2.0 */
#include "common/run/pool_routes.h"

#include "common/base/log.h"

#include <stdio.h>

#define BITS_MIN 8 /* fewer are a VPN's way to say "default" */
#define WARNINGS_MAX 4
#define TEXT_CAP (IP_TEXT_CAP + 4)

/* The next word between blanks; empty at the end. */
static struct span next_word(struct span *line)
{
    size_t start = 0;
    while (start < line->len && (line->data[start] == ' ' || line->data[start] == '\t')) {
        start++;
    }
    size_t end = start;
    while (end < line->len && line->data[end] > ' ') {
        end++;
    }
    const struct span word = span_sub(*line, start, end - start);
    *line = span_sub(*line, end, line->len);
    return word;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool parse_hex(struct span word, uint8_t *out, size_t bytes)
{
    for (size_t i = 0; word.len == 2 * bytes && i < bytes; i++) {
        const int high = hex_digit(word.data[2 * i]);
        const int low = hex_digit(word.data[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return word.len == 2 * bytes;
}

/* The kernel prints an IPv4 address as a number in the processor's byte order. */
static bool parse_v4(struct span word, uint8_t out[4])
{
    uint8_t printed[4];
    if (!parse_hex(word, printed, 4)) {
        return false;
    }
    uint32_t n =
        (uint32_t)printed[0] << 24 | (uint32_t)printed[1] << 16 | (uint32_t)printed[2] << 8 | printed[3];
    memcpy(out, &n, sizeof(n));
    return true;
}

static uint8_t mask_bits(const uint8_t mask[4])
{
    uint8_t bits = 0;
    while (bits < 32 && (mask[bits / 8] & 0x80u >> bits % 8) != 0) {
        bits++;
    }
    return bits;
}

bool pool_route_parse(enum ip_family family, struct span line, struct pool_route *out)
{
    struct span words[10];
    const size_t count = family == IP_V4 ? 8 : 10;
    uint8_t bits[4] = {0};
    *out = (struct pool_route){.prefix = {.base = {.family = (uint8_t)family}}};
    for (size_t i = 0; i < count; i++) {
        words[i] = next_word(&line);
    }
    const struct span dev = words[family == IP_V4 ? 0 : 9];
    const bool is_read =
        family == IP_V4 ? parse_v4(words[1], out->prefix.base.bytes) && parse_v4(words[7], bits)
                        : parse_hex(words[0], out->prefix.base.bytes, 16) && parse_hex(words[1], bits, 1);
    out->prefix.bits = family == IP_V4 ? mask_bits(bits) : bits[0];
    if (!is_read || dev.len == 0 || dev.len >= sizeof(out->dev) || span_is_equal(dev, SPAN_LIT("lo"))) {
        return false;
    }
    memcpy(out->dev, dev.data, dev.len);
    return out->prefix.bits >= BITS_MIN && out->prefix.bits <= (family == IP_V4 ? 32 : 128);
}

static const char *prefix_text(const struct ip_prefix *p, char out[TEXT_CAP])
{
    char text[IP_TEXT_CAP];
    (void)snprintf(out, TEXT_CAP, "%s/%u", ip_text(&p->base, text), p->bits);
    return out;
}

static void warn_family(enum ip_family family, const struct ip_prefix *pool, const char *path)
{
    char line[256];
    unsigned warnings = 0;
    FILE *f = fopen(path, "re");
    while (f != NULL && warnings < WARNINGS_MAX && fgets(line, sizeof(line), f) != NULL) {
        struct pool_route route;
        char pool_text[TEXT_CAP];
        char route_text[TEXT_CAP];
        if (pool_route_parse(family, span_str(line), &route) && ip_prefix_overlaps(&route.prefix, pool)) {
            log_event(LOG_WARN, "pool_overlaps_route",
                      LOG_KV(kv_str("pool", prefix_text(pool, pool_text)),
                             kv_str("route", prefix_text(&route.prefix, route_text)),
                             kv_str("dev", route.dev),
                             kv_str("hint", "what is in both cannot be reached through openshell-tunneld; "
                                            "give both daemons another --pool")));
            warnings++;
        }
    }
    if (f != NULL) {
        (void)fclose(f);
    }
}

void pool_routes_warn(const struct synth_pools *pools)
{
    if (pools->has_v4) {
        warn_family(IP_V4, &pools->v4, "/proc/net/route");
    }
    if (pools->has_v6) {
        warn_family(IP_V6, &pools->v6, "/proc/net/ipv6_route");
    }
}

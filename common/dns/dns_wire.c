/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_wire.h"

#include "common/base/num.h"

bool dns_wire_name_is_equal(struct span a, struct span b)
{
    /* A length byte is at most 63, below 'A': it never folds. */
    return span_is_equal_nocase(a, b);
}

void dns_wire_name_randomise(uint8_t *wire, size_t len, const uint8_t rnd[32])
{
    for (size_t i = 0; i < len && i < 256; i++) {
        /* Length bytes are below 'A' and stay. Without branches: nobody could predict them. */
        const uint8_t lower = wire[i] | 0x20U;
        const bool is_letter = (uint8_t)(lower - 'a') < 26;
        const bool upper = ((rnd[i / 8] >> (i % 8)) & 1) != 0;
        wire[i] = is_letter ? (uint8_t)(lower ^ (upper ? 0x20U : 0U)) : wire[i];
    }
}

/* Takes the last label off *rest. False if there is none. */
static bool label_pop(struct span *rest, struct span *label)
{
    if (rest->len == 0) {
        return false;
    }
    size_t start = rest->len;
    while (start > 0 && rest->data[start - 1] != '.') {
        start--;
    }
    *label = span_sub(*rest, start, rest->len - start);
    rest->len = start == 0 ? 0 : start - 1;
    return true;
}

static bool reverse_v4(struct span rest, struct ip *out)
{
    struct ip ip = {.family = IP_V4};
    struct span label;
    for (size_t i = 0; i < 4; i++) {
        uint64_t octet;
        if (!label_pop(&rest, &label) || num_u64(label, 0, 255, &octet) != 0) {
            return false;
        }
        ip.bytes[i] = (uint8_t)octet;
    }
    *out = ip;
    return rest.len == 0;
}

static bool reverse_v6(struct span rest, struct ip *out)
{
    static const uint8_t digits[] = "0123456789abcdef";
    struct ip ip = {.family = IP_V6};
    struct span label;
    for (size_t i = 0; i < 32; i++) {
        if (!label_pop(&rest, &label) || label.len != 1) {
            return false;
        }
        size_t nibble = span_find(span_make(digits, 16), label.data[0]);
        if (nibble == 16) {
            return false;
        }
        ip.bytes[i / 2] = (uint8_t)(((size_t)ip.bytes[i / 2] << 4) | nibble);
    }
    *out = ip;
    return rest.len == 0;
}

bool dns_reverse_parse(const struct host_name *n, struct ip *out)
{
    struct span rest = host_name_span(n);
    struct span top, second;
    struct ip ip;
    if (!label_pop(&rest, &top) || !label_pop(&rest, &second) || !span_is_equal(top, SPAN_LIT("arpa"))) {
        return false;
    }
    bool found = (span_is_equal(second, SPAN_LIT("in-addr")) && reverse_v4(rest, &ip)) ||
                 (span_is_equal(second, SPAN_LIT("ip6")) && reverse_v6(rest, &ip));
    if (found) {
        *out = ip;
    }
    return found;
}

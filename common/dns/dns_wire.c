/* SPDX-License-Identifier: Apache-2.0 */
#include "common/dns/dns_wire.h"

#include "common/base/num.h"

bool dns_wire_name_is_equal(struct span a, struct span b)
{
    /* A length byte is at most 63, below 'A': it never folds. */
    return span_is_equal_nocase(a, b);
}

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b)) /* eight times the same */

/* 0x20 in each byte of v that is an ASCII letter, 0 in the others. */
static inline uint64_t letter_case_bits(uint64_t v)
{
    const uint64_t lower = (v | EACH_BYTE(0x20)) & EACH_BYTE(0x7f);
    /* no byte carries into the next one: the sums are below 256 */
    const uint64_t from_a = lower + EACH_BYTE(0x80 - 'a');
    const uint64_t behind_z = lower + EACH_BYTE(0x80 - ('z' + 1));
    return ((from_a & ~behind_z & ~v) & EACH_BYTE(0x80)) >> 2;
}

/* The eight bits of rnd, the lowest first, as 0x20 or 0 in a byte each, in the order of memory. */
static inline uint64_t spread_bits(uint8_t rnd)
{
    static const uint8_t each[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    uint64_t which;
    memcpy(&which, each, sizeof(which));
    const uint64_t apart = EACH_BYTE(rnd) & which;
    return ((apart + EACH_BYTE(0x7f)) & EACH_BYTE(0x80)) >> 2; /* a byte that is not 0 reaches the top bit */
}

static inline void randomise8(uint8_t *at, size_t len, uint8_t rnd)
{
    uint64_t v = 0;
    memcpy(&v, at, len);
    const uint64_t letters = letter_case_bits(v);
    v = (v | letters) ^ (letters & spread_bits(rnd)); /* in lower case, then some of them in upper */
    memcpy(at, &v, len);
}

/* Length bytes are below 'A' and stay. Eight bytes at a time and without branches: nobody could predict them,
 * and each question does this twice. */
void dns_wire_name_randomise(uint8_t *wire, size_t len, const uint8_t rnd[32])
{
    const size_t end = len < 256 ? len : 256;
    size_t i = 0;
    for (; i + 8 <= end; i += 8) {
        randomise8(wire + i, 8, rnd[i / 8]);
    }
    if (i < end) {
        randomise8(wire + i, end - i, rnd[i / 8]);
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
